/* Tables to XML texts. Must not write what is not well-formed: names and characters are checked, and
 * namespaces are declared where they are needed. Names are those of the fifth edition, of which our reader
 * knows most.
 *
 * Whatever is pointed to is held on the stack or in the list of anchors. */
#include "modules/xml_priv.h"

#include "base/buf.h"
#include "base/number.h"
#include "base/text.h"
#include "script/budget.h"
#include "script/options.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITING_BOX "workers.xml.writing"
#define ENCODE_MAX ((size_t)64 * 1024 * 1024) /* bytes of a document */
#define BINDINGS_MAX 1024                     /* prefixes that are declared around an element */
#define SHOWN_MAX 64                          /* bytes of a name in a message */

struct string {
    const char *text;
    size_t len;
};

/* A prefix, "" being the default, and the namespace that it stands for. */
struct binding {
    struct string prefix;
    struct string uri;
};

struct writing {
    struct buf out;
    lua_State *L;
    bool indent;
    int anchors; /* stack index of a list: strings of bindings */
    unsigned written;
    int depth;
    struct string path[XML_DEPTH_MAX];
    size_t bindings_count;
    struct binding bindings[BINDINGS_MAX];
};

static int release_writing(lua_State *L)
{
    struct writing *w = luaL_checkudata(L, 1, WRITING_BOX);
    buf_free(&w->out);
    return 0;
}

void xml_writing_open(lua_State *L)
{
    static const luaL_Reg metamethods[] = {{"__gc", release_writing}, {NULL, NULL}};
    luaL_newmetatable(L, WRITING_BOX);
    luaL_setfuncs(L, metamethods, 0);
    lua_pop(L, 1);
}

static struct string string_of(const char *text)
{
    return (struct string){text, strlen(text)};
}

static bool same(struct string a, struct string b)
{
    return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

static int shown(struct string s)
{
    size_t len = s.len < SHOWN_MAX ? s.len : SHOWN_MAX;
    while (len < s.len && len > 0 && ((unsigned char)s.text[len] & 0xc0) == 0x80)
        len--;
    return (int)len;
}

static int fail(struct writing *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Raises, with the names of the elements that lead to the mistake. */
static int fail(struct writing *w, const char *format, ...)
{
    struct err err;
    va_list arguments;
    va_start(arguments, format);
    err_vset(&err, ERR_INVALID, format, arguments);
    va_end(arguments);
    luaL_Buffer path;
    luaL_buffinit(w->L, &path);
    int from = w->depth > 8 ? w->depth - 8 : 0;
    luaL_addstring(&path, from > 0 ? "…" : "");
    for (int i = from; i < w->depth; i++) {
        luaL_addstring(&path, i > 0 ? "/" : "");
        luaL_addlstring(&path, w->path[i].text, (size_t)shown(w->path[i]));
    }
    luaL_addstring(&path, w->depth > 0 ? ": " : "");
    luaL_pushresult(&path);
    return luaL_error(w->L, "xml.encode: %s%s", lua_tostring(w->L, -1), err.message);
}

/* ---- text ---- */

enum place { IN_TEXT, IN_ATTRIBUTE, ANYWHERE };

/* In attributes also what a reader would turn into blanks. The line feed of a text is left; the return is
 * not, for readers turn it into a line feed. */
static void add_escaped(struct buf *out, struct string s, enum place place)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        const char *reference = NULL;
        switch (s.text[i]) {
        case '&':
            reference = "&amp;";
            break;
        case '<':
            reference = "&lt;";
            break;
        case '>':
            reference = "&gt;";
            break;
        case '"':
            reference = place != IN_TEXT ? "&quot;" : NULL;
            break;
        case '\'':
            reference = place == ANYWHERE ? "&apos;" : NULL;
            break;
        case '\r':
            reference = "&#13;";
            break;
        case '\n':
            reference = place != IN_TEXT ? "&#10;" : NULL;
            break;
        case '\t':
            reference = place != IN_TEXT ? "&#9;" : NULL;
            break;
        }
        if (reference == NULL)
            continue;
        buf_add(out, s.text + from, i - from);
        buf_adds(out, reference);
        from = i + 1;
    }
    buf_add(out, s.text + from, s.len - from);
}

/* The value on top of the stack as text; number has room for one. Raises when it has no text form or
 * characters that XML does not have. what names it. */
static struct string check_text(struct writing *w, const char *what, struct string name,
                                char number[NUMBER_TEXT_MAX])
{
    lua_State *L = w->L;
    struct string s = {number, 0};
    size_t bad = 0;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        s.text = lua_tolstring(L, -1, &s.len);
        break;
    case LUA_TNUMBER:
        s.len = lua_isinteger(L, -1) ? number_format_integer(lua_tointeger(L, -1), number)
                                     : number_format_js(lua_tonumber(L, -1), number);
        break;
    case LUA_TBOOLEAN:
        s = string_of(lua_toboolean(L, -1) ? "true" : "false");
        break;
    default:
        fail(w, "%s%.*s: a string, number or boolean expected, got %s", what, shown(name), name.text,
             luaL_typename(L, -1));
    }
    if (!xml_is_text(s.text, s.len, &bad))
        fail(w, "%s%.*s: byte %zu begins no character that XML has", what, shown(name), name.text, bad + 1);
    return s;
}

/* A character of a name, but the colon; first: at its beginning (XML 1.0, fifth edition, productions 4 and
 * 4a). */
static bool is_name_char(uint32_t c, bool first)
{
    static const struct {
        uint32_t low, high;
        bool first;
    } ranges[] = {
        {'-', '.', false},      {'0', '9', false},       {'A', 'Z', true},       {'_', '_', true},
        {'a', 'z', true},       {0xb7, 0xb7, false},     {0xc0, 0xd6, true},     {0xd8, 0xf6, true},
        {0xf8, 0x2ff, true},    {0x300, 0x36f, false},   {0x370, 0x37d, true},   {0x37f, 0x1fff, true},
        {0x200c, 0x200d, true}, {0x203f, 0x2040, false}, {0x2070, 0x218f, true}, {0x2c00, 0x2fef, true},
        {0x3001, 0xd7ff, true}, {0xf900, 0xfdcf, true},  {0xfdf0, 0xfffd, true}, {0x10000, 0xeffff, true},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].low && c <= ranges[i].high)
            return ranges[i].first || !first;
    return false;
}

/* A name without colon: NCName. */
static bool is_name(struct string s)
{
    uint32_t c = 0;
    for (size_t i = 0, size; i < s.len; i += size) {
        size = text_next_char(s.text + i, s.len - i, &c);
        if (size == 0 || !is_name_char(c, i == 0))
            return false;
    }
    return s.len > 0 && s.len <= XML_NAME_MAX;
}

/* ---- namespaces ---- */

/* What the prefix stands for here; NULL: nothing. */
static const struct binding *look_up(const struct writing *w, struct string prefix)
{
    for (size_t i = w->bindings_count; i > 0; i--)
        if (same(w->bindings[i - 1].prefix, prefix))
            return &w->bindings[i - 1];
    return NULL;
}

/* Pushes the string and puts it among the anchors, where it stays as long as the binding does. */
static struct string anchor(struct writing *w, struct string s, lua_Integer index)
{
    lua_pushlstring(w->L, s.text, s.len);
    s.text = lua_tostring(w->L, -1);
    lua_rawseti(w->L, w->anchors, index);
    return s;
}

/* Declares the prefix in the tag that is being written. */
static void declare(struct writing *w, struct string prefix, struct string uri)
{
    size_t bad;
    if (w->bindings_count == BINDINGS_MAX)
        fail(w, "more than %d prefixes are declared around this element", BINDINGS_MAX);
    if (prefix.len > 0 && !is_name(prefix))
        fail(w, "\"%.*s\" cannot be a prefix", shown(prefix), prefix.text);
    if (same(prefix, string_of("xml")) || same(prefix, string_of("xmlns")))
        fail(w, "the prefix \"%s\" is not to be declared", prefix.text);
    if (uri.len == 0 && prefix.len > 0)
        fail(w, "the prefix \"%.*s\" needs a namespace", shown(prefix), prefix.text);
    if (uri.len > XML_NAME_MAX || !xml_is_text(uri.text, uri.len, &bad) ||
        same(uri, string_of(XML_NAMESPACE_URI)) || same(uri, string_of("http://www.w3.org/2000/xmlns/")))
        fail(w, "\"%.*s\" cannot be declared as a namespace", shown(uri), uri.text);
    lua_Integer index = (lua_Integer)w->bindings_count * 2;
    struct binding *binding = &w->bindings[w->bindings_count];
    binding->prefix = anchor(w, prefix, index + 1);
    binding->uri = anchor(w, uri, index + 2);
    w->bindings_count++;
    buf_adds(&w->out, prefix.len > 0 ? " xmlns:" : " xmlns");
    buf_add(&w->out, prefix.text, prefix.len);
    buf_adds(&w->out, "=\"");
    add_escaped(&w->out, uri, IN_ATTRIBUTE);
    buf_adds(&w->out, "\"");
}

/* A prefix, not the default one, that stands for the namespace here; declares one when there is none. */
static struct string prefix_for(struct writing *w, struct string uri)
{
    char text[16];
    for (size_t i = w->bindings_count; i > 0; i--) {
        const struct binding *binding = &w->bindings[i - 1];
        if (binding->prefix.len > 0 && same(binding->uri, uri) && look_up(w, binding->prefix) == binding)
            return binding->prefix;
    }
    for (unsigned number = 1;; number++) {
        struct string prefix = {text, (size_t)snprintf(text, sizeof text, "ns%u", number)};
        if (look_up(w, prefix) == NULL) {
            declare(w, prefix, uri);
            return w->bindings[w->bindings_count - 1].prefix;
        }
    }
}

/* ---- elements ---- */

/* Pushes the field of the node; a string, or "" when it is nil. Anything else raises. */
static struct string push_field(struct writing *w, int node, const char *field)
{
    struct string s = {"", 0};
    lua_pushstring(w->L, field);
    int type = lua_rawget(w->L, node);
    if (type == LUA_TSTRING)
        s.text = lua_tolstring(w->L, -1, &s.len);
    else if (type != LUA_TNIL)
        fail(w, "%s: a string expected, got %s", field, luaL_typename(w->L, -1));
    return s;
}

static int compare_strings(const void *a, const void *b)
{
    const struct string *left = a, *right = b;
    size_t len = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->text, right->text, len);
    return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

static bool is_empty(lua_State *L, int table)
{
    lua_pushnil(L);
    if (lua_next(L, table) == 0)
        return true;
    lua_pop(L, 2);
    return false;
}

/* Pushes the field of the node, a table or nil, and two values that hold its keys in order; so many. */
static size_t push_sorted_keys(struct writing *w, int node, const char *field, const struct string **keys)
{
    lua_State *L = w->L;
    size_t count = 0;
    int table = lua_gettop(L) + 1;
    lua_pushstring(L, field);
    int type = lua_rawget(L, node);
    if (type != LUA_TTABLE && type != LUA_TNIL)
        fail(w, "%s: a table expected, got %s", field, luaL_typename(L, -1));
    if (type == LUA_TNIL || is_empty(L, table)) {
        lua_settop(L, table + 2);
        return 0;
    }
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            fail(w, "%s: the keys must be strings, but one is a %s", field, luaL_typename(L, -1));
        lua_pushvalue(L, -1);
        lua_rawseti(L, table + 1, (lua_Integer)++count);
    }
    struct string *list = lua_newuserdatauv(L, count * sizeof *list, 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, table + 1, (lua_Integer)i + 1);
        list[i].text = lua_tolstring(L, -1, &list[i].len);
        lua_pop(L, 1);
    }
    qsort(list, count, sizeof *list, compare_strings);
    *keys = list;
    return count;
}

/* "prefix:local" in two; without a colon the prefix is empty. */
static void split_name(struct string name, struct string *prefix, struct string *local)
{
    const char *colon = memchr(name.text, ':', name.len);
    *prefix = (struct string){"", 0};
    *local = name;
    if (colon == NULL || colon == name.text)
        return; /* a colon in front makes no name, which whoever checks it finds */
    *prefix = (struct string){name.text, (size_t)(colon - name.text)};
    *local = (struct string){colon + 1, name.len - prefix->len - 1};
}

static void add_qualified(struct buf *out, struct string prefix, struct string local)
{
    buf_add(out, prefix.text, prefix.len);
    if (prefix.len > 0)
        buf_addc(out, ':');
    buf_add(out, local.text, local.len);
}

/* The declarations that the node lists, and those that its own name needs. first: bindings before those of
 * this tag. */
static void add_declarations(struct writing *w, int node, struct string prefix, struct string uri)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);
    size_t first = w->bindings_count;
    const struct string *keys = NULL;
    size_t count = push_sorted_keys(w, node, "namespaces", &keys);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, keys[i].text, keys[i].len);
        if (lua_rawget(L, top + 1) != LUA_TSTRING)
            fail(w, "namespaces: the URI of \"%.*s\" must be a string", shown(keys[i]), keys[i].text);
        struct string declared = {lua_tostring(L, -1), lua_rawlen(L, -1)};
        /* The one declaration of xml that is allowed says nothing. */
        if (!same(keys[i], string_of("xml")) || !same(declared, string_of(XML_NAMESPACE_URI)))
            declare(w, keys[i], declared);
        lua_pop(L, 1);
    }
    lua_settop(L, top);
    if (same(prefix, string_of("xml")))
        return;
    const struct binding *binding = look_up(w, prefix);
    if (prefix.len > 0 && uri.len == 0) {
        if (binding == NULL)
            fail(w, "the prefix \"%.*s\" is not declared; give a namespace, or namespaces around it",
                 shown(prefix), prefix.text);
    } else if (binding == NULL ? uri.len > 0 : !same(binding->uri, uri)) {
        if (binding != NULL && binding >= w->bindings + first)
            fail(w, "the prefix \"%.*s\" is declared here for another namespace", shown(prefix), prefix.text);
        declare(w, prefix, uri);
    }
}

/* Finds the prefix that an attribute is to be written with, and its local name. */
static void resolve_attribute(struct writing *w, struct string key, struct string *prefix,
                              struct string *local, struct string *uri)
{
    *uri = (struct string){"", 0};
    if (key.len > 0 && key.text[0] == '{') {
        const char *close = memrchr(key.text, '}', key.len); /* a URI may have one in it */
        if (close == NULL)
            fail(w, "the attribute \"%.*s\" has no \"}\"", shown(key), key.text);
        *uri = (struct string){key.text + 1, (size_t)(close - key.text - 1)};
        *local = (struct string){close + 1, key.len - (size_t)(close + 1 - key.text)};
        *prefix = (struct string){"", 0};
        if (same(*uri, string_of(XML_NAMESPACE_URI)))
            *prefix = string_of("xml");
        else if (uri->len > 0)
            *prefix = prefix_for(w, *uri);
    } else {
        split_name(key, prefix, local);
        const struct binding *binding = look_up(w, *prefix);
        if (same(*prefix, string_of("xmlns")) || same(key, string_of("xmlns")))
            fail(w, "the attribute \"%.*s\" declares a namespace; give it in namespaces", shown(key),
                 key.text);
        if (same(*prefix, string_of("xml")))
            *uri = string_of(XML_NAMESPACE_URI);
        else if (prefix->len > 0 && binding == NULL)
            fail(w, "the prefix of the attribute \"%.*s\" is not declared", shown(key), key.text);
        else if (prefix->len > 0)
            *uri = binding->uri;
    }
    if (!is_name(*local))
        fail(w, "\"%.*s\" cannot be the name of an attribute", shown(key), key.text);
}

static void add_attributes(struct writing *w, int node)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);
    const struct string *keys = NULL;
    char number[NUMBER_TEXT_MAX];
    size_t count = push_sorted_keys(w, node, "attributes", &keys);
    lua_pushnil(L); /* the names in namespaces so far, by {uri}local */
    int seen = lua_gettop(L);
    for (size_t i = 0; i < count; i++) {
        struct string prefix, local, uri;
        resolve_attribute(w, keys[i], &prefix, &local, &uri);
        if (uri.len > 0) {
            if (lua_isnil(L, seen)) {
                lua_newtable(L);
                lua_replace(L, seen);
            }
            lua_pushlstring(L, uri.text, uri.len);
            lua_pushliteral(L, "}");
            lua_pushlstring(L, local.text, local.len);
            lua_concat(L, 3);
            lua_pushvalue(L, -1);
            if (lua_rawget(L, seen) != LUA_TNIL)
                fail(w, "the attribute \"%.*s\" is given twice", shown(keys[i]), keys[i].text);
            lua_pop(L, 1);
            lua_pushboolean(L, true);
            lua_rawset(L, seen);
        }
        lua_pushlstring(L, keys[i].text, keys[i].len);
        lua_rawget(L, top + 1);
        struct string value = check_text(w, "attribute ", keys[i], number);
        buf_addc(&w->out, ' ');
        add_qualified(&w->out, prefix, local);
        buf_adds(&w->out, "=\"");
        add_escaped(&w->out, value, IN_ATTRIBUTE);
        buf_addc(&w->out, '"');
        lua_settop(L, seen);
        if (i % XML_TICK_EVERY == XML_TICK_EVERY - 1)
            budget_tick(L);
    }
    lua_settop(L, top);
}

static void add_break(struct writing *w, int depth)
{
    buf_addc(&w->out, '\n');
    for (int i = 0; i < depth; i++)
        buf_adds(&w->out, "  ");
}

static void add_node(struct writing *w);

/* The comment or instruction at index; false when the table is neither. */
static bool add_other(struct writing *w, int node)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);
    char number[NUMBER_TEXT_MAX];
    struct string none = {"", 0};
    lua_pushliteral(L, "comment");
    if (lua_rawget(L, node) != LUA_TNIL) {
        struct string text = check_text(w, "comment", none, number);
        if (memmem(text.text, text.len, "--", 2) != NULL || (text.len > 0 && text.text[text.len - 1] == '-'))
            fail(w, "a comment cannot have \"--\" in it, nor end with \"-\"");
        buf_adds(&w->out, "<!--");
        buf_add(&w->out, text.text, text.len);
        buf_adds(&w->out, "-->");
        lua_settop(L, top);
        return true;
    }
    lua_settop(L, top);
    struct string target = push_field(w, node, "instruction");
    if (lua_isnil(L, -1)) {
        lua_settop(L, top);
        return false;
    }
    if (!is_name(target) || (target.len == 3 && strncasecmp(target.text, "xml", 3) == 0))
        fail(w, "\"%.*s\" cannot be the target of an instruction", shown(target), target.text);
    lua_pushliteral(L, "data");
    if (lua_rawget(L, node) == LUA_TNIL)
        lua_pushliteral(L, "");
    struct string data = check_text(w, "data", none, number);
    if (memmem(data.text, data.len, "?>", 2) != NULL)
        fail(w, "an instruction cannot have \"?>\" in it");
    buf_adds(&w->out, "<?");
    buf_add(&w->out, target.text, target.len);
    buf_adds(&w->out, data.len > 0 ? " " : "");
    buf_add(&w->out, data.text, data.len);
    buf_adds(&w->out, "?>");
    lua_settop(L, top);
    return true;
}

/* Whether all children are tables, so that line breaks between them change no text. */
static bool has_only_elements(lua_State *L, int node)
{
    bool only = true;
    for (lua_Integer i = 1; only && lua_rawgeti(L, node, i) != LUA_TNIL; i++) {
        only = lua_istable(L, -1);
        lua_pop(L, 1);
    }
    if (only)
        lua_pop(L, 1);
    return only;
}

static void add_children(struct writing *w, int node)
{
    lua_State *L = w->L;
    char number[NUMBER_TEXT_MAX];
    struct string none = {"", 0};
    bool indent = w->indent && has_only_elements(L, node);
    for (lua_Integer i = 1; lua_rawgeti(L, node, i) != LUA_TNIL; i++) {
        if (++w->written % XML_TICK_EVERY == 0)
            budget_tick(L);
        if (indent)
            add_break(w, w->depth);
        if (!lua_istable(L, -1))
            add_escaped(&w->out, check_text(w, "text", none, number), IN_TEXT);
        else if (!add_other(w, lua_gettop(L)))
            add_node(w);
        lua_settop(L, node + 2);
    }
    lua_pop(L, 1);
    if (indent)
        add_break(w, w->depth - 1);
}

/* The element on top of the stack. */
static void add_node(struct writing *w)
{
    lua_State *L = w->L;
    struct err err;
    int node = lua_gettop(L);
    size_t bindings = w->bindings_count;
    luaL_checkstack(L, 24, "XML");
    if (w->depth == XML_DEPTH_MAX)
        fail(w, "elements are nested more than %d deep", XML_DEPTH_MAX);
    struct string prefix, local, name = push_field(w, node, "name"); /* the name stays at node + 1 */
    if (name.len == 0)
        fail(w, "child: an element needs a name");
    w->path[w->depth++] = name;
    split_name(name, &prefix, &local);
    struct string given = push_field(w, node, "prefix");
    if (given.len > 0) {
        if (prefix.len > 0)
            fail(w, "the name has a prefix already; leave out prefix");
        prefix = given;
    }
    struct string uri = push_field(w, node, "namespace");
    if (!is_name(local) || (prefix.len > 0 && !is_name(prefix)))
        fail(w, "\"%.*s\" cannot be the name of an element", shown(name), name.text);
    buf_addc(&w->out, '<');
    add_qualified(&w->out, prefix, local);
    size_t tag_begin = w->out.len - prefix.len - (prefix.len > 0) - local.len;
    size_t tag_len = w->out.len - tag_begin;
    add_declarations(w, node, prefix, uri);
    add_attributes(w, node);
    lua_settop(L, node + 1);
    lua_rawgeti(L, node, 1);
    bool empty = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (empty) {
        buf_adds(&w->out, "/>");
    } else {
        buf_addc(&w->out, '>');
        add_children(w, node);
        buf_adds(&w->out, "</");
        char *room = buf_reserve(&w->out, tag_len + 1);
        if (room != NULL) {
            memcpy(room, w->out.data + tag_begin, tag_len);
            w->out.len += tag_len;
        }
        buf_addc(&w->out, '>');
    }
    if (buf_status(&w->out, "the document", &err) != ERR_NONE)
        luaL_error(L, "xml.encode: %s", err.message);
    w->depth--;
    w->bindings_count = bindings;
    lua_settop(L, node);
}

static struct writing *new_writing(lua_State *L)
{
    struct writing *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    buf_init(&w->out, ENCODE_MAX);
    w->L = L;
    luaL_setmetatable(L, WRITING_BOX);
    return w;
}

static int push_written(lua_State *L, struct writing *w)
{
    lua_pushlstring(L, buf_text(&w->out), w->out.len);
    buf_free(&w->out); /* now rather than at some collection */
    budget_tick(L);
    return 1;
}

static const struct option_spec encode_options[] = {
    {"declaration", OPTION_BOOLEAN, false, NULL},
    {"indent", OPTION_BOOLEAN, false, NULL},
    {NULL, 0, false, NULL},
};

int xml_encode_call(lua_State *L)
{
    bool declaration = true, indent = false;
    if (!lua_istable(L, 1))
        luaL_error(L, "xml.encode: argument 1 (node): an element expected, got %s", luaL_typename(L, 1));
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) {
        options_check(L, 2, encode_options, "xml.encode");
        declaration = options_boolean(L, 2, "declaration", true);
        indent = options_boolean(L, 2, "indent", false);
    }
    struct writing *w = new_writing(L);
    w->indent = indent;
    lua_newtable(L);
    w->anchors = lua_gettop(L);
    if (declaration)
        buf_adds(&w->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    lua_pushvalue(L, 1);
    add_node(w);
    if (indent)
        buf_addc(&w->out, '\n');
    return push_written(L, w);
}

int xml_escape_call(lua_State *L)
{
    struct string text;
    size_t bad = 0;
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "xml.escape: argument 1 (text): string expected, got %s", luaL_typename(L, 1));
    text.text = lua_tolstring(L, 1, &text.len);
    if (!xml_is_text(text.text, text.len, &bad))
        luaL_error(L, "xml.escape: byte %I begins no character that XML has", (LUAI_UACINT)bad + 1);
    struct writing *w = new_writing(L);
    add_escaped(&w->out, text, ANYWHERE);
    struct err err;
    if (buf_status(&w->out, "the text", &err) != ERR_NONE)
        luaL_error(L, "xml.escape: %s", err.message);
    return push_written(L, w);
}
