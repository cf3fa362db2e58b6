/* workers.xml: the module, and finding one's way in a tree. Must not know expat: base/xml.c does.
 *
 * An element is a table: name, namespace, prefix, attributes, namespaces, and its children from 1 on, which
 * are strings and tables. Access is raw throughout. */
#include "modules/xml_priv.h"

#include "base/text.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <string.h>

#define STEPS_MAX 64 /* of a path */

/* ---- patterns ---- */

bool xml_pattern_parse(const char *text, const char *end, struct xml_pattern *pattern)
{
    *pattern = (struct xml_pattern){0};
    if (text < end && *text == '{') {
        const char *close = memrchr(text, '}', (size_t)(end - text)); /* a URI may have one in it */
        if (close == NULL)
            return false;
        pattern->space = text + 1;
        pattern->space_len = (size_t)(close - pattern->space);
        text = close + 1;
    } else {
        const char *colon = text < end ? memchr(text, ':', (size_t)(end - text)) : NULL;
        if (colon != NULL) {
            pattern->prefix = text;
            pattern->prefix_len = (size_t)(colon - text);
            text = colon + 1;
        }
    }
    if (end - text == 1 && *text == '*')
        return true;
    pattern->name = text;
    pattern->name_len = (size_t)(end - text);
    return text < end && memchr(text, '/', pattern->name_len) == NULL;
}

static bool part_fits(const char *wanted, size_t wanted_len, const char *part, size_t len)
{
    return wanted == NULL || (wanted_len == len && memcmp(wanted, part, len) == 0);
}

bool xml_pattern_fits(const struct xml_pattern *pattern, const struct xml_name *name)
{
    return part_fits(pattern->name, pattern->name_len, name->local, name->local_len) &&
           part_fits(pattern->space, pattern->space_len, name->space, name->space_len) &&
           part_fits(pattern->prefix, pattern->prefix_len, name->prefix, name->prefix_len);
}

/* Pushes the field of the table at index, which keeps its text where it is. */
static const char *push_field(lua_State *L, int index, const char *field, size_t *len)
{
    *len = 0;
    lua_pushstring(L, field);
    return lua_rawget(L, index) == LUA_TSTRING ? lua_tolstring(L, -1, len) : "";
}

bool xml_pattern_fits_node(lua_State *L, int index, const struct xml_pattern *pattern)
{
    struct xml_name name;
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        return false;
    name.local = push_field(L, index, "name", &name.local_len);
    name.space = push_field(L, index, "namespace", &name.space_len);
    name.prefix = push_field(L, index, "prefix", &name.prefix_len);
    bool fits = name.local_len > 0 && xml_pattern_fits(pattern, &name);
    lua_settop(L, top);
    return fits;
}

/* ---- arguments ---- */

/* False when argument 1 is nil, which stands for an element that was not found. */
static bool check_node(lua_State *L, const char *function)
{
    if (lua_isnil(L, 1))
        return false;
    if (!lua_istable(L, 1))
        luaL_error(L, "xml.%s: argument 1 (node): an element or nil expected, got %s", function,
                   luaL_typename(L, 1));
    return true;
}

static const char *check_string(lua_State *L, int arg, const char *function, const char *what, size_t *len)
{
    if (lua_type(L, arg) != LUA_TSTRING)
        luaL_error(L, "xml.%s: argument %d (%s): string expected, got %s", function, arg, what,
                   luaL_typename(L, arg));
    return lua_tolstring(L, arg, len);
}

/* Argument 2, the name of an element; absent is every element where that is allowed. */
static void check_name(lua_State *L, const char *function, bool optional, struct xml_pattern *pattern)
{
    size_t len = 0;
    *pattern = (struct xml_pattern){0};
    if (optional && lua_isnoneornil(L, 2))
        return;
    const char *name = check_string(L, 2, function, "name", &len);
    if (!xml_pattern_parse(name, name + len, pattern))
        luaL_error(L,
                   "xml.%s: argument 2 (name): \"name\", \"prefix:name\", \"{uri}name\" or \"*\" expected, "
                   "got \"%s\"",
                   function, name);
}

struct path {
    int count;
    struct xml_pattern steps[STEPS_MAX];
};

static void check_path(lua_State *L, const char *function, struct path *path)
{
    size_t len = 0;
    const char *text = check_string(L, 2, function, "path", &len);
    const char *end = text + len, *at = text;
    path->count = 0;
    for (;;) {
        const char *close = at < end && *at == '{' ? memchr(at, '}', (size_t)(end - at)) : at;
        const char *slash = close != NULL && close < end ? memchr(close, '/', (size_t)(end - close)) : NULL;
        if (path->count == STEPS_MAX)
            luaL_error(L, "xml.%s: argument 2 (path): more than %d steps", function, STEPS_MAX);
        if (!xml_pattern_parse(at, slash != NULL ? slash : end, &path->steps[path->count++]))
            luaL_error(L, "xml.%s: argument 2 (path): names with \"/\" between them expected, got \"%s\"",
                       function, text);
        if (slash == NULL)
            return;
        at = slash + 1;
    }
}

/* ---- finding ---- */

struct search {
    const struct path *path;
    int found; /* stack index of the list of what is found; 0: the first is enough */
    lua_Integer count;
    unsigned visited;
};

/* Among the children of the node on top of the stack. With one wanted, it is on top when true is returned. */
static bool search(lua_State *L, struct search *s, int step)
{
    int node = lua_gettop(L);
    luaL_checkstack(L, 10, "XML");
    for (lua_Integer i = 1;; i++) {
        if (++s->visited % XML_TICK_EVERY == 0)
            budget_tick(L);
        if (lua_rawgeti(L, node, i) == LUA_TNIL)
            break;
        if (xml_pattern_fits_node(L, -1, &s->path->steps[step])) {
            if (step + 1 < s->path->count) {
                if (search(L, s, step + 1))
                    return true;
            } else if (s->found == 0) {
                return true;
            } else {
                lua_pushvalue(L, -1);
                lua_rawseti(L, s->found, ++s->count);
            }
        }
        lua_settop(L, node);
    }
    lua_settop(L, node);
    return false;
}

/* Below argument 1. Argument 2 stays where it is, for the path lies in it. */
static int find_first(lua_State *L, const struct path *path)
{
    struct search s = {.path = path};
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    if (!search(L, &s, 0))
        lua_pushnil(L);
    return 1;
}

static int find_all(lua_State *L, bool there, const struct path *path)
{
    struct search s = {.path = path, .found = 3};
    lua_settop(L, 2);
    lua_newtable(L);
    json_push_array_metatable(L);
    lua_setmetatable(L, 3);
    lua_pushvalue(L, 1);
    if (there)
        search(L, &s, 0);
    lua_settop(L, 3);
    return 1;
}

static int xml_lua_child(lua_State *L)
{
    struct path path = {.count = 1};
    bool there = check_node(L, "child");
    check_name(L, "child", true, &path.steps[0]);
    return there ? find_first(L, &path) : 0;
}

static int xml_lua_children(lua_State *L)
{
    struct path path = {.count = 1};
    bool there = check_node(L, "children");
    check_name(L, "children", true, &path.steps[0]);
    return find_all(L, there, &path);
}

static int xml_lua_find(lua_State *L)
{
    struct path path;
    bool there = check_node(L, "find");
    check_path(L, "find", &path);
    return there ? find_first(L, &path) : 0;
}

static int xml_lua_find_all(lua_State *L)
{
    struct path path;
    bool there = check_node(L, "findAll");
    check_path(L, "findAll", &path);
    return find_all(L, there, &path);
}

static int xml_lua_attribute(lua_State *L)
{
    struct xml_pattern wanted;
    bool there = check_node(L, "attribute");
    size_t name_len = 0;
    check_string(L, 2, "attribute", "name", &name_len);
    if (!there)
        return 0;
    lua_settop(L, 2);
    lua_pushliteral(L, "attributes");
    if (lua_rawget(L, 1) != LUA_TTABLE)
        return 0;
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 3) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    check_name(L, "attribute", false, &wanted);
    if (wanted.space != NULL || wanted.prefix != NULL || wanted.name == NULL)
        return 0;
    /* By its local name, if one attribute alone has it. */
    bool found = false;
    lua_pushnil(L); /* what is found */
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        size_t len = 0;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : "";
        bool fits = len > name_len && memcmp(key + len - name_len, wanted.name, name_len) == 0 &&
                    (key[len - name_len - 1] == '}' || key[len - name_len - 1] == ':');
        if (fits && found)
            return 0;
        found |= fits;
        if (fits)
            lua_copy(L, -1, 4);
        lua_pop(L, 1);
    }
    return 1;
}

/* ---- text ---- */

struct texts {
    int list; /* stack index */
    lua_Integer count;
    unsigned visited;
};

/* Of the node on top of the stack, into the list. */
static void collect_texts(lua_State *L, struct texts *texts, int depth)
{
    int node = lua_gettop(L);
    luaL_checkstack(L, 10, "XML");
    if (depth > XML_DEPTH_MAX)
        luaL_error(L, "xml.text: elements are nested more than %d deep", XML_DEPTH_MAX);
    for (lua_Integer i = 1;; i++) {
        if (++texts->visited % XML_TICK_EVERY == 0)
            budget_tick(L);
        int type = lua_rawgeti(L, node, i);
        if (type == LUA_TNIL)
            break;
        if (type == LUA_TTABLE)
            collect_texts(L, texts, depth + 1);
        else if (type == LUA_TSTRING || type == LUA_TNUMBER)
            lua_rawseti(L, texts->list, ++texts->count);
        lua_settop(L, node);
    }
    lua_settop(L, node);
}

static int xml_lua_text(lua_State *L)
{
    bool there = check_node(L, "text");
    if (!lua_isnoneornil(L, 2)) {
        struct path path;
        check_path(L, "text", &path);
        if (there) {
            struct search s = {.path = &path};
            lua_settop(L, 2);
            lua_pushvalue(L, 1);
            there = search(L, &s, 0);
            if (there)
                lua_replace(L, 1);
        }
    }
    lua_settop(L, 1);
    if (!there)
        return 0;
    struct texts texts = {.list = 1};
    lua_newtable(L);
    lua_insert(L, 1);
    collect_texts(L, &texts, 1);
    if (texts.count == 1) {
        lua_rawgeti(L, 1, 1);
        lua_tostring(L, -1);
        return 1;
    }
    luaL_Buffer all;
    luaL_buffinit(L, &all);
    for (lua_Integer i = 1; i <= texts.count; i++) {
        lua_rawgeti(L, 1, i);
        luaL_addvalue(&all);
    }
    luaL_pushresult(&all);
    budget_tick(L);
    return 1;
}

bool xml_is_text(const char *text, size_t len, size_t *bad)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        uint32_t code_point = c;
        size_t size = c < 0x80 ? 1 : text_next_char(text + i, len - i, &code_point);
        *bad = i;
        if (size == 0 || (code_point < 0x20 && c != '\t' && c != '\n' && c != '\r') || code_point == 0xfffe ||
            code_point == 0xffff)
            return false;
        i += size;
    }
    return true;
}

/* ---- the module ---- */

static const struct script_function functions[] = {
    {"parse", xml_parse_call, "(text: string, options?: workers.xml.Options): workers.xml.Element",
     "the root element of a document"},
    {"elements", xml_elements_call,
     "(source: string|(fun(): string?)|table, name: string, options?: workers.xml.Options): fun(): "
     "workers.xml.Element?",
     "an iterator over the elements with that name, one after the other, for documents too large for a tree"},
    {"events", xml_events_call,
     "(source: string|(fun(): string?)|table, options?: workers.xml.Options): fun(): string?, any, string?",
     "an iterator over starts, ends, texts, comments and instructions"},
    {"child", xml_lua_child, "(node: workers.xml.Element?, name?: string): workers.xml.Element?",
     "the first child element with that name"},
    {"children", xml_lua_children, "(node: workers.xml.Element?, name?: string): workers.xml.Element[]",
     "all child elements with that name"},
    {"find", xml_lua_find, "(node: workers.xml.Element?, path: string): workers.xml.Element?",
     "the first element that a path of names leads to"},
    {"findAll", xml_lua_find_all, "(node: workers.xml.Element?, path: string): workers.xml.Element[]",
     "all elements that a path of names leads to"},
    {"attribute", xml_lua_attribute, "(node: workers.xml.Element?, name: string): string?",
     "the value of an attribute, in whatever namespace it is"},
    {"text", xml_lua_text, "(node: workers.xml.Element?, path?: string): string?",
     "all text in an element, or in the one that the path leads to"},
    {"encode", xml_encode_call, "(node: workers.xml.Element, options?: workers.xml.EncodeOptions): string",
     "an element and what is in it as a document"},
    {"escape", xml_escape_call, "(text: string): string", "the text as it is written in text and attributes"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] =
    "---@class workers.xml.Element\n"
    "---@field name string without its prefix\n"
    "---@field namespace? string the URI\n"
    "---@field prefix? string as written\n"
    "---@field attributes table<string, string> by name; in a namespace, by {uri}name or xml:name\n"
    "---@field namespaces? table<string, string> declared here: prefix, \"\" for none, to URI\n"
    "---@field [integer] string|workers.xml.Element|{ comment: string }|{ instruction: string, data: string "
    "}\n"
    "---@class workers.xml.Options\n"
    "---@field encoding? string instead of what the document declares\n"
    "---@field doctype? boolean allow a DOCTYPE, but no entities\n"
    "---@field comments? boolean keep comments\n"
    "---@field instructions? boolean keep processing instructions\n"
    "---@field keepWhitespace? boolean keep white space that is only layout\n"
    "---@class workers.xml.EncodeOptions\n"
    "---@field declaration? boolean false: without <?xml …?>\n"
    "---@field indent? boolean elements without text on lines of their own\n";

const struct script_docs xml_docs = {"XML documents", functions, types};

int luaopen_workers_xml(lua_State *L)
{
    xml_reading_open(L);
    xml_writing_open(L);
    functions_push(L, functions);
    return 1;
}
