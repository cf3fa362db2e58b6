/* workers.url: URLs and query strings for scripts. Must not parse URLs itself (net/url.h).
 *
 * A URL of at most URL_MAX bytes is parsed in a few milliseconds; what can be longer ticks the CPU limit. */
#include "modules/json.h"
#include "modules/modules.h"
#include "modules/pairs.h"
#include "net/url.h"
#include "script/budget.h"
#include "script/options.h"

#include <string.h>

#include <lauxlib.h>

#define BOX "workers.url.box"
#define MAX_TEXT ((size_t)64 * 1024 * 1024) /* bytes of what is encoded or decoded */

/* What a call holds outside Lua. */
struct box {
    struct url url;
    struct url other; /* a base, or the second of two */
    struct buf text;
    struct buf other_text;
};

static void release(struct box *box)
{
    url_free(&box->url);
    url_free(&box->other);
    buf_free(&box->text);
    buf_free(&box->other_text);
}

static int box_release(lua_State *L)
{
    release(luaL_checkudata(L, 1, BOX));
    return 0;
}

static struct box *push_box(lua_State *L)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = (struct box){0};
    buf_init(&box->text, MAX_TEXT);
    buf_init(&box->other_text, MAX_TEXT);
    luaL_setmetatable(L, BOX);
    return box;
}

/* ---- arguments and results ---- */

static const char *need_text(lua_State *L, const char *function, int index, const char *what, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "url.%s: argument %d (%s): string expected, got %s", function, index, what,
                   luaL_typename(L, index));
    return lua_tolstring(L, index, len);
}

static void need_table(lua_State *L, const char *function, int index, const char *what)
{
    if (!lua_istable(L, index))
        luaL_error(L, "url.%s: argument %d (%s): table expected, got %s", function, index, what,
                   luaL_typename(L, index));
}

static void check(lua_State *L, const char *function, enum err_code code, const struct err *err)
{
    if (code != ERR_NONE)
        luaL_error(L, "url.%s: %s", function, err->message);
}

/* The argument at index as a URL. what names it if there are several, else it is NULL. */
static void parse_argument(lua_State *L, const char *function, int index, const char *what,
                           const struct url *base, struct url *url)
{
    struct err err;
    size_t len = 0;
    const char *text = lua_tolstring(L, index, &len);
    enum err_code code = url_parse(url, text, len, base, &err);
    if (code != ERR_NONE && what != NULL)
        luaL_error(L, "url.%s: argument %d (%s): %s", function, index, what, err.message);
    check(L, function, code, &err);
}

/* Pushes the text in the box, and empties the box. */
static int push_text(lua_State *L, struct box *box)
{
    lua_pushlstring(L, buf_text(&box->text), box->text.len);
    release(box);
    budget_tick(L);
    return 1;
}

static int push_href(lua_State *L, struct box *box)
{
    lua_pushlstring(L, buf_text(&box->url.text), box->url.text.len);
    release(box);
    budget_tick(L);
    return 1;
}

/* ---- URLs ---- */

static void set_part(lua_State *L, const struct url *url, const struct url_part *part, const char *name)
{
    lua_pushlstring(L, url_part_text(url, part), part->len);
    lua_setfield(L, -2, name);
}

static int url_lua_parse(lua_State *L)
{
    size_t len;
    need_text(L, "parse", 1, "text", &len);
    bool has_base = !lua_isnoneornil(L, 2);
    if (has_base)
        need_text(L, "parse", 2, "base", &len);
    struct box *box = push_box(L);
    const struct url *url = &box->url;
    if (has_base)
        parse_argument(L, "parse", 2, "base", NULL, &box->other);
    parse_argument(L, "parse", 1, NULL, has_base ? &box->other : NULL, &box->url);
    bool has_origin = url_origin(&box->text, url);
    struct err err;
    check(L, "parse", buf_status(&box->text, "the origin", &err), &err);

    lua_createtable(L, 0, 10);
    set_part(L, url, &url->scheme, "scheme");
    if (url->user.len > 0 || url->password.len > 0)
        set_part(L, url, &url->user, "user");
    if (url->password.len > 0)
        set_part(L, url, &url->password, "password");
    if (url->has_host)
        set_part(L, url, &url->host, "host");
    if (url->port >= 0) {
        lua_pushinteger(L, url->port);
        lua_setfield(L, -2, "port");
    }
    set_part(L, url, &url->path, "path");
    if (url->has_query)
        set_part(L, url, &url->query, "query");
    if (url->has_fragment)
        set_part(L, url, &url->fragment, "fragment");
    if (has_origin) {
        lua_pushlstring(L, buf_text(&box->text), box->text.len);
        lua_setfield(L, -2, "origin");
    }
    push_href(L, box);
    lua_setfield(L, -2, "href");
    return 1;
}

static int url_lua_resolve(lua_State *L)
{
    size_t len;
    need_text(L, "resolve", 1, "base", &len);
    need_text(L, "resolve", 2, "reference", &len);
    struct box *box = push_box(L);
    parse_argument(L, "resolve", 1, "base", NULL, &box->other);
    parse_argument(L, "resolve", 2, "reference", &box->other, &box->url);
    return push_href(L, box);
}

static int url_lua_same_origin(lua_State *L)
{
    size_t len;
    struct err err;
    need_text(L, "sameOrigin", 1, "a", &len);
    need_text(L, "sameOrigin", 2, "b", &len);
    struct box *box = push_box(L);
    parse_argument(L, "sameOrigin", 1, "a", NULL, &box->url);
    parse_argument(L, "sameOrigin", 2, "b", NULL, &box->other);
    bool same = url_origin(&box->text, &box->url) && url_origin(&box->other_text, &box->other);
    check(L, "sameOrigin", buf_status(&box->text, "the origin", &err), &err);
    check(L, "sameOrigin", buf_status(&box->other_text, "the origin", &err), &err);
    same = same && box->text.len == box->other_text.len &&
           memcmp(buf_text(&box->text), buf_text(&box->other_text), box->text.len) == 0;
    release(box);
    lua_pushboolean(L, same);
    return 1;
}

/* ---- query strings ---- */

static void push_decoded(lua_State *L, const char *text, size_t len)
{
    luaL_Buffer buffer;
    char *room = luaL_buffinitsize(L, &buffer, len);
    luaL_pushresultsize(&buffer, url_decode_loose(room, text, len, true));
}

/* Pushes name and value of the next parameter of [*at, end), of which the empty ones are none, and moves on.
 * False at the end. */
static bool next_parameter(lua_State *L, const char **at, const char *end)
{
    while (*at < end && **at == '&')
        ++*at;
    if (*at == end)
        return false;
    const char *begin = *at;
    const char *stop = memchr(begin, '&', (size_t)(end - begin));
    if (stop == NULL)
        stop = end;
    const char *equals = memchr(begin, '=', (size_t)(stop - begin));
    const char *name_end = equals != NULL ? equals : stop;
    const char *value = equals != NULL ? equals + 1 : stop;
    push_decoded(L, begin, (size_t)(name_end - begin));
    push_decoded(L, value, (size_t)(stop - value));
    *at = stop;
    return true;
}

static const char *need_query(lua_State *L, const char *function, const char **end)
{
    size_t len;
    const char *text = need_text(L, function, 1, "text", &len);
    *end = text + len;
    return len > 0 && text[0] == '?' ? text + 1 : text;
}

static int url_lua_query(lua_State *L)
{
    const char *end;
    const char *at = need_query(L, "query", &end);
    lua_newtable(L);
    json_push_array_metatable(L);
    lua_setmetatable(L, -2);
    int list = lua_gettop(L);
    for (lua_Integer count = 1; next_parameter(L, &at, end); count++) {
        lua_createtable(L, 0, 2);
        lua_insert(L, -3);
        lua_setfield(L, -3, "value");
        lua_setfield(L, -2, "name");
        lua_rawseti(L, list, count);
        if (count % 1024 == 0)
            budget_tick(L);
    }
    budget_tick(L);
    return 1;
}

static int url_lua_query_map(lua_State *L)
{
    const char *end;
    const char *at = need_query(L, "queryMap", &end);
    lua_newtable(L);
    int map = lua_gettop(L);
    for (size_t count = 1; next_parameter(L, &at, end); count++) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, map) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_rawset(L, map);
        }
        lua_settop(L, map);
        if (count % 1024 == 0)
            budget_tick(L);
    }
    budget_tick(L);
    return 1;
}

static int url_lua_encode_query(lua_State *L)
{
    size_t count = 0;
    struct err err;
    need_table(L, "encodeQuery", 1, "parameters");
    lua_settop(L, 1);
    lua_newtable(L);
    const struct pairs_spec spec = {
        .function = "url.encodeQuery", .what = "query", .anchor = 2, .most = PAIRS_MAX, .list = true};
    const struct url_pair *pairs = pairs_collect(L, 1, &spec, &count);
    struct box *box = push_box(L);
    url_encode_pairs(&box->text, pairs, count);
    check(L, "encodeQuery", buf_status(&box->text, "the query", &err), &err);
    return push_text(L, box);
}

static int url_lua_with_query(lua_State *L)
{
    size_t len, count = 0;
    struct err err;
    const char *text = need_text(L, "withQuery", 1, "text", &len);
    need_table(L, "withQuery", 2, "parameters");
    if (len > URL_MAX)
        return luaL_error(L, "url.withQuery: the URL is longer than %d bytes", (int)URL_MAX);
    lua_settop(L, 2);
    lua_newtable(L);
    const struct pairs_spec spec = {
        .function = "url.withQuery", .what = "query", .anchor = 3, .most = PAIRS_MAX, .null = true};
    const struct url_pair *pairs = pairs_collect(L, 2, &spec, &count);
    struct box *box = push_box(L);
    check(L, "withQuery", url_set_query(&box->text, text, len, pairs, count, &err), &err);
    return push_text(L, box);
}

/* ---- building ---- */

static const struct option_spec parts_options[] = {
    {"scheme", OPTION_STRING, true, "such as \"https\""},
    {"user", OPTION_TEXT, false, NULL},
    {"password", OPTION_TEXT, false, NULL},
    {"host", OPTION_TEXT, false, NULL},
    {"port", OPTION_INTEGER, false, "0 to 65535"},
    {"path", OPTION_TEXT, false, NULL},
    {"query", OPTION_ANY, false, NULL},
    {"fragment", OPTION_TEXT, false, NULL},
    {"origin", OPTION_TEXT, false, NULL}, /* what parse gives fits too */
    {"href", OPTION_TEXT, false, NULL},
    {NULL, 0, false, NULL},
};

/* The table keeps the string. */
static struct url_slice read_part(lua_State *L, const char *name)
{
    struct url_slice slice = {0};
    lua_pushstring(L, name);
    if (lua_rawget(L, 1) == LUA_TSTRING)
        slice.text = lua_tolstring(L, -1, &slice.len);
    lua_pop(L, 1);
    return slice;
}

static int url_lua_build(lua_State *L)
{
    struct err err;
    struct url_parts parts = {.port = -1};
    options_check(L, 1, parts_options, "url.build");
    lua_settop(L, 1);
    lua_newtable(L); /* the anchor of a query's strings */
    parts.scheme = read_part(L, "scheme");
    parts.user = read_part(L, "user");
    parts.password = read_part(L, "password");
    parts.host = read_part(L, "host");
    parts.path = read_part(L, "path");
    parts.query = read_part(L, "query");
    parts.fragment = read_part(L, "fragment");
    lua_pushliteral(L, "port");
    if (lua_rawget(L, 1) != LUA_TNIL) {
        lua_Integer port = lua_tointeger(L, -1);
        if (port < 0 || port > 65535)
            return luaL_error(L, "url.build: option \"port\" must be from 0 to 65535, got %I",
                              (LUAI_UACINT)port);
        parts.port = (int)port;
    }
    lua_pushliteral(L, "query");
    int type = lua_rawget(L, 1);
    const struct url_pair *pairs = NULL;
    size_t count = 0;
    if (type == LUA_TTABLE) {
        const struct pairs_spec spec = {
            .function = "url.build", .what = "query", .anchor = 2, .most = PAIRS_MAX, .list = true};
        pairs = pairs_collect(L, -1, &spec, &count);
    } else if (type != LUA_TNIL && type != LUA_TSTRING) {
        return luaL_error(L, "url.build: option \"query\" must be a string or a table, got %s",
                          luaL_typename(L, -1));
    }
    struct box *box = push_box(L);
    url_encode_pairs(&box->text, pairs, count);
    check(L, "build", buf_status(&box->text, "the query", &err), &err);
    if (count > 0)
        parts.query = (struct url_slice){buf_text(&box->text), box->text.len};
    check(L, "build", url_build(&box->url, &parts, &err), &err);
    return push_href(L, box);
}

/* ---- components ---- */

static int url_lua_encode(lua_State *L)
{
    size_t len;
    struct err err;
    const char *text = need_text(L, "encode", 1, "text", &len);
    struct box *box = push_box(L);
    url_encode(&box->text, text, len);
    check(L, "encode", buf_status(&box->text, "the encoded text", &err), &err);
    return push_text(L, box);
}

static int url_lua_decode(lua_State *L)
{
    size_t len;
    struct err err;
    const char *text = need_text(L, "decode", 1, "text", &len);
    struct box *box = push_box(L);
    check(L, "decode", url_decode(&box->text, text, len, &err), &err);
    return push_text(L, box);
}

static const struct script_function functions[] = {
    {"parse", url_lua_parse, "(text: string, base?: string): workers.url.Parts",
     "the parts of a URL in their normal form; relative to base if there is one"},
    {"build", url_lua_build, "(parts: workers.url.Given): string", "the URL that these parts make"},
    {"resolve", url_lua_resolve, "(base: string, reference: string): string",
     "the URL that a reference means where base is the address of the page"},
    {"sameOrigin", url_lua_same_origin, "(a: string, b: string): boolean",
     "whether scheme, host and port of two URLs are the same"},
    {"query", url_lua_query, "(text: string): workers.url.Parameter[]",
     "the parameters of a query, decoded, in order, with repeats"},
    {"queryMap", url_lua_query_map, "(text: string): table<string, string>",
     "the first value of each parameter of a query, by name"},
    {"encodeQuery", url_lua_encode_query, "(parameters: table): string",
     "name = value, with lists for repeats, or a list of { name =, value = }, as a query"},
    {"withQuery", url_lua_with_query, "(text: string, parameters: table): string",
     "the URL with these parameters in the place of those of the same name; workers.null takes one out"},
    {"encode", url_lua_encode, "(text: string): string",
     "the text with all but letters, digits, - . _ ~ as %XX, for a path segment or a value"},
    {"decode", url_lua_decode, "(text: string): string",
     "the text with each %XX as the byte that it stands for"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] = "---@class workers.url.Parts\n"
                            "---@field scheme string in lower case, without the colon\n"
                            "---@field user? string percent-encoded\n"
                            "---@field password? string percent-encoded\n"
                            "---@field host? string in lower case; IPv6 in [ ]\n"
                            "---@field port? integer nil when it is the scheme's default\n"
                            "---@field path string percent-encoded\n"
                            "---@field query? string percent-encoded, without the question mark\n"
                            "---@field fragment? string percent-encoded, without the #\n"
                            "---@field origin? string scheme, host and port; nil for a scheme that has none\n"
                            "---@field href string the whole URL\n"
                            "---@class workers.url.Given\n"
                            "---@field scheme string\n"
                            "---@field user? string\n"
                            "---@field password? string\n"
                            "---@field host? string\n"
                            "---@field port? integer\n"
                            "---@field path? string\n"
                            "---@field query? string|table as encodeQuery takes it\n"
                            "---@field fragment? string\n"
                            "---@class workers.url.Parameter\n"
                            "---@field name string\n"
                            "---@field value string\n";

const struct script_docs url_docs = {"URLs as browsers read them, and query strings", functions, types};

int luaopen_workers_url(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", box_release}, {"__close", box_release}, {NULL, NULL}};
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, closers, 0);
    lua_pop(L, 1);
    functions_push(L, functions);
    return 1;
}
