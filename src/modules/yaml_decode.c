/* YAML text to Lua values over libyaml's parser. Must not keep malloc'd memory where a Lua error would lose
 * it: the parser and the current event live in a userdata box. */
#include "modules/json.h"
#include "modules/yaml.h"
#include "modules/yaml_priv.h"
#include "script/budget.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <yaml.h>

#define CORE_TAG "tag:yaml.org,2002:"

struct decoder {
    yaml_parser_t parser;
    yaml_event_t event;
    bool parser_open;
    bool event_open;
    const char *text;
    size_t len;
    int anchors; /* stack index: name -> serial number while its node is open, then {value, key text, nodes,
                    bytes} */
    lua_Integer serial;
    size_t nodes; /* read so far, aliases counted as what they stand for */
    size_t bytes; /* of scalars, likewise */
    size_t alias_nodes;
    size_t alias_bytes;
    unsigned events;
    struct err *err;
};

#define DECODER_TYPE "workers.yaml.decoder"

static void close_decoder(struct decoder *d)
{
    if (d->event_open)
        yaml_event_delete(&d->event);
    if (d->parser_open)
        yaml_parser_delete(&d->parser);
    d->event_open = d->parser_open = false;
}

static int release_decoder(lua_State *L)
{
    close_decoder(lua_touserdata(L, 1));
    return 0;
}

static enum err_code fail_at(struct decoder *d, yaml_mark_t mark, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static enum err_code fail_at(struct decoder *d, yaml_mark_t mark, enum err_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    err_vset(d->err, code, format, arguments);
    va_end(arguments);
    err_context(d->err, "line %zu, column %zu", mark.line + 1, mark.column + 1);
    return code;
}

/* The reader knows only an offset. */
static yaml_mark_t mark_of_offset(const struct decoder *d, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < d->len; i++) {
        unsigned char c = (unsigned char)d->text[i];
        if (c == '\n') {
            mark.line++;
            mark.column = 0;
        } else if ((c & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

/* 0 when the mark is at the end, or the text is UTF-16. */
static char char_at(const struct decoder *d, yaml_mark_t mark)
{
    size_t i = 0;
    for (size_t line = 0; line < mark.line && i < d->len; i++) {
        if (d->text[i] == '\n')
            line++;
    }
    for (size_t column = 0; i < d->len; i++) {
        if (((unsigned char)d->text[i] & 0xc0) != 0x80 && column++ == mark.column)
            return d->text[i];
    }
    return '\0';
}

/* What libyaml says of two frequent slips helps nobody. NULL for all others. */
static const char *better_words(const struct decoder *d, const char *problem)
{
    if (d->parser.error != YAML_SCANNER_ERROR || strstr(problem, "cannot start any token") == NULL)
        return NULL;
    switch (char_at(d, d->parser.problem_mark)) {
    case '\t':
        return "a tab stands where only spaces may; indent with spaces";
    case '@':
        return "a value cannot begin with '@'; put it in quotes";
    case '`':
        return "a value cannot begin with '`'; put it in quotes";
    case '%':
        return "a value cannot begin with '%'; put it in quotes";
    default:
        return NULL;
    }
}

static enum err_code parser_failed(struct decoder *d)
{
    const yaml_parser_t *p = &d->parser;
    const char *problem = p->problem != NULL ? p->problem : "malformed";
    const char *better = better_words(d, problem);
    if (better != NULL)
        return fail_at(d, p->problem_mark, ERR_INVALID, "%s", better);
    switch (p->error) {
    case YAML_MEMORY_ERROR:
        return err_nomem(d->err);
    case YAML_READER_ERROR:
        if (p->problem_value >= 0)
            return fail_at(d, mark_of_offset(d, p->problem_offset), ERR_INVALID, "%s: 0x%02X", problem,
                           (unsigned)p->problem_value);
        return fail_at(d, mark_of_offset(d, p->problem_offset), ERR_INVALID, "%s", problem);
    default:
        if (p->context != NULL)
            return fail_at(d, p->problem_mark, ERR_INVALID, "%s, %s", problem, p->context);
        return fail_at(d, p->problem_mark, ERR_INVALID, "%s", problem);
    }
}

/* Reads the next event into the box, releasing the one before. */
static enum err_code next_event(lua_State *L, struct decoder *d)
{
    if (d->event_open)
        yaml_event_delete(&d->event);
    d->event_open = false;
    if (++d->events % YAML_TICK_EVERY == 0)
        budget_tick(L);
    if (!yaml_parser_parse(&d->parser, &d->event))
        return parser_failed(d);
    d->event_open = true;
    return ERR_NONE;
}

/* What a node needs to remember while its children's events replace its own. */
struct node {
    yaml_mark_t mark;
    lua_Integer serial; /* of its anchor; 0 without one */
    size_t nodes_before;
    size_t bytes_before;
};

/* stack: unchanged */
static void open_anchor(lua_State *L, struct decoder *d, struct node *node, const yaml_char_t *anchor)
{
    *node = (struct node){.mark = d->event.start_mark, .nodes_before = d->nodes, .bytes_before = d->bytes};
    if (anchor == NULL)
        return;
    node->serial = ++d->serial;
    lua_pushinteger(L, node->serial);
    lua_setfield(L, d->anchors, (const char *)anchor);
    /* And by number, to find the name again when the event is gone. */
    lua_pushstring(L, (const char *)anchor);
    lua_rawseti(L, d->anchors, node->serial);
}

/* stack: …, value. key_text is the source text of a scalar, NULL for a collection. */
static void close_anchor(lua_State *L, struct decoder *d, const struct node *node, const char *key_text,
                         size_t len)
{
    if (node->serial == 0)
        return;
    lua_rawgeti(L, d->anchors, node->serial);
    lua_pushvalue(L, -1);
    lua_rawget(L, d->anchors);
    /* A child that took the same name has closed it, and comes later in the text than this node began. */
    bool ours = lua_isinteger(L, -1);
    lua_pop(L, 1);
    if (ours) {
        lua_createtable(L, 4, 0);
        lua_pushvalue(L, -3);
        lua_rawseti(L, -2, 1);
        if (key_text != NULL)
            lua_pushlstring(L, key_text, len);
        else
            lua_pushboolean(L, false);
        lua_rawseti(L, -2, 2);
        lua_pushinteger(L, (lua_Integer)(d->nodes - node->nodes_before));
        lua_rawseti(L, -2, 3);
        lua_pushinteger(L, (lua_Integer)(d->bytes - node->bytes_before));
        lua_rawseti(L, -2, 4);
        lua_rawset(L, d->anchors);
    } else {
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    lua_rawseti(L, d->anchors, node->serial);
}

static enum err_code refuse_tag(struct decoder *d, const char *tag, const char *kind)
{
    size_t core = strlen(CORE_TAG);
    bool short_form = strncmp(tag, CORE_TAG, core) == 0;
    const char *name = short_form ? tag + core : tag;
    return fail_at(
        d, d->event.start_mark, ERR_INVALID,
        "the tag %s%.*s%s is not supported on a %s; there are !!str !!int !!float !!bool !!null, !!seq "
        "and !!map",
        short_form ? "!!" : "", yaml_shown_len(name, strlen(name)), name, yaml_ellipsis(strlen(name)), kind);
}

static enum err_code push_tagged(lua_State *L, struct decoder *d, const char *tag, const char *text,
                                 size_t len)
{
    if (strcmp(tag, "!") == 0 || strcmp(tag, CORE_TAG "str") == 0) {
        lua_pushlstring(L, text, len);
        return ERR_NONE;
    }
    static const struct {
        const char *tag;
        enum scalar_type type;
        const char *name;
    } types[] = {{CORE_TAG "null", SCALAR_NULL, "null"},
                 {CORE_TAG "bool", SCALAR_BOOL, "a boolean"},
                 {CORE_TAG "int", SCALAR_INT, "an integer"},
                 {CORE_TAG "float", SCALAR_FLOAT, "a float"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(tag, types[i].tag) != 0)
            continue;
        enum scalar_type found = yaml_push_resolved(L, text, len);
        if (found == SCALAR_INT && types[i].type == SCALAR_FLOAT) {
            lua_pushnumber(L, lua_tonumber(L, -1));
            lua_replace(L, -2);
            return ERR_NONE;
        }
        if (found == types[i].type)
            return ERR_NONE;
        return fail_at(d, d->event.start_mark, ERR_INVALID, "\"%.*s%s\" is tagged as %s but is none",
                       yaml_shown_len(text, len), text, yaml_ellipsis(len), types[i].name);
    }
    return refuse_tag(d, tag, "scalar");
}

static enum err_code push_scalar(lua_State *L, struct decoder *d)
{
    const char *text = (const char *)d->event.data.scalar.value;
    size_t len = d->event.data.scalar.length;
    struct node node;
    open_anchor(L, d, &node, d->event.data.scalar.anchor);
    d->nodes++;
    d->bytes += len;
    if (d->event.data.scalar.tag != NULL) {
        enum err_code code = push_tagged(L, d, (const char *)d->event.data.scalar.tag, text, len);
        if (code != ERR_NONE)
            return code;
    } else if (!d->event.data.scalar.plain_implicit || yaml_push_resolved(L, text, len) == SCALAR_STRING) {
        lua_pushlstring(L, text, len);
    }
    close_anchor(L, d, &node, text, len);
    return ERR_NONE;
}

/* Pushes {value, key text, nodes, bytes} of the anchor that the current event names. */
static enum err_code push_anchor(lua_State *L, struct decoder *d)
{
    const char *name = (const char *)d->event.data.alias.anchor;
    yaml_mark_t mark = d->event.start_mark;
    size_t len = strlen(name);
    int type = lua_getfield(L, d->anchors, name);
    if (type == LUA_TNIL)
        return fail_at(d, mark, ERR_INVALID, "the alias *%.*s%s has no anchor before it",
                       yaml_shown_len(name, len), name, yaml_ellipsis(len));
    if (type != LUA_TTABLE)
        return fail_at(d, mark, ERR_INVALID, "the alias *%.*s%s stands inside the node that it names",
                       yaml_shown_len(name, len), name, yaml_ellipsis(len));
    lua_rawgeti(L, -1, 3);
    lua_rawgeti(L, -2, 4);
    size_t nodes = (size_t)lua_tointeger(L, -2), bytes = (size_t)lua_tointeger(L, -1);
    lua_pop(L, 2);
    /* Each addend is bounded by the sums before it, which are bounded too: no overflow. */
    d->alias_nodes += nodes;
    d->alias_bytes += bytes;
    d->nodes += nodes;
    d->bytes += bytes;
    if (d->alias_nodes > YAML_ALIAS_NODES_MAX)
        return fail_at(d, mark, ERR_LIMIT, "aliases stand for more than %d nodes in all",
                       YAML_ALIAS_NODES_MAX);
    if (d->alias_bytes > YAML_ALIAS_BYTES_MAX)
        return fail_at(d, mark, ERR_LIMIT, "aliases stand for more than %zu bytes in all",
                       YAML_ALIAS_BYTES_MAX);
    return ERR_NONE;
}

static enum err_code push_node(lua_State *L, struct decoder *d, int depth);

/* Collections may carry their own tag, or "!", which says nothing. */
static enum err_code check_collection_tag(struct decoder *d, const yaml_char_t *tag, const char *expected,
                                          const char *kind)
{
    const char *text = (const char *)tag;
    if (text == NULL || strcmp(text, "!") == 0 || strcmp(text, expected) == 0)
        return ERR_NONE;
    return refuse_tag(d, text, kind);
}

static enum err_code push_sequence(lua_State *L, struct decoder *d, int depth)
{
    struct node node;
    open_anchor(L, d, &node, d->event.data.sequence_start.anchor);
    d->nodes++;
    enum err_code code =
        check_collection_tag(d, d->event.data.sequence_start.tag, CORE_TAG "seq", "sequence");
    if (code != ERR_NONE)
        return code;
    lua_newtable(L);
    json_push_array_metatable(L);
    lua_setmetatable(L, -2);
    for (lua_Integer i = 1;; i++) {
        code = next_event(L, d);
        if (code != ERR_NONE)
            return code;
        if (d->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        code = push_node(L, d, depth + 1);
        if (code != ERR_NONE)
            return code;
        lua_rawseti(L, -2, i);
    }
    close_anchor(L, d, &node, NULL, 0);
    return ERR_NONE;
}

/* The current event is a key; pushes it as a string. */
static enum err_code push_key(lua_State *L, struct decoder *d)
{
    if (d->event.type == YAML_ALIAS_EVENT) {
        enum err_code code = push_anchor(L, d);
        if (code != ERR_NONE)
            return code;
        lua_rawgeti(L, -1, 2);
        lua_replace(L, -2);
        if (lua_type(L, -1) == LUA_TSTRING)
            return ERR_NONE;
    } else if (d->event.type == YAML_SCALAR_EVENT) {
        const char *text = (const char *)d->event.data.scalar.value;
        size_t len = d->event.data.scalar.length;
        enum err_code code = push_scalar(L, d);
        if (code != ERR_NONE)
            return code;
        lua_pop(L, 1);
        lua_pushlstring(L, text, len);
        return ERR_NONE;
    }
    return fail_at(d, d->event.start_mark, ERR_INVALID,
                   "a mapping's key must be a scalar; sequences and mappings as keys are not supported");
}

static enum err_code push_mapping(lua_State *L, struct decoder *d, int depth)
{
    struct node node;
    open_anchor(L, d, &node, d->event.data.mapping_start.anchor);
    d->nodes++;
    enum err_code code = check_collection_tag(d, d->event.data.mapping_start.tag, CORE_TAG "map", "mapping");
    if (code != ERR_NONE)
        return code;
    lua_newtable(L);
    bool empty = true;
    for (;;) {
        code = next_event(L, d);
        if (code != ERR_NONE)
            return code;
        if (d->event.type == YAML_MAPPING_END_EVENT)
            break;
        yaml_mark_t key_mark = d->event.start_mark;
        code = push_key(L, d);
        if (code != ERR_NONE)
            return code;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL) {
            size_t len;
            const char *key = lua_tolstring(L, -2, &len);
            return fail_at(d, key_mark, ERR_INVALID, "the key \"%.*s%s\" appears twice in one mapping",
                           yaml_shown_len(key, len), key, yaml_ellipsis(len));
        }
        lua_pop(L, 1);
        code = next_event(L, d);
        if (code != ERR_NONE)
            return code;
        code = push_node(L, d, depth + 1);
        if (code != ERR_NONE)
            return code;
        lua_rawset(L, -3);
        empty = false;
    }
    if (empty) {
        json_push_object_metatable(L);
        lua_setmetatable(L, -2);
    }
    close_anchor(L, d, &node, NULL, 0);
    return ERR_NONE;
}

/* The current event begins a node; pushes its value. On failure the stack may hold anything on top. */
static enum err_code push_node(lua_State *L, struct decoder *d, int depth)
{
    luaL_checkstack(L, 12, "YAML");
    switch (d->event.type) {
    case YAML_SCALAR_EVENT:
        return push_scalar(L, d);
    case YAML_ALIAS_EVENT: {
        enum err_code code = push_anchor(L, d);
        if (code != ERR_NONE)
            return code;
        lua_rawgeti(L, -1, 1);
        lua_replace(L, -2);
        return ERR_NONE;
    }
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (depth >= YAML_DEPTH_MAX)
            return fail_at(d, d->event.start_mark, ERR_LIMIT, "collections are nested more than %d deep",
                           YAML_DEPTH_MAX);
        return d->event.type == YAML_SEQUENCE_START_EVENT ? push_sequence(L, d, depth)
                                                          : push_mapping(L, d, depth);
    default:
        return fail_at(d, d->event.start_mark, ERR_INTERNAL, "a node expected");
    }
}

/* The events of a whole stream around its one document. */
static enum err_code push_stream(lua_State *L, struct decoder *d)
{
    enum err_code code = next_event(L, d); /* stream start */
    if (code == ERR_NONE)
        code = next_event(L, d);
    if (code != ERR_NONE)
        return code;
    if (d->event.type == YAML_STREAM_END_EVENT) {
        lua_pushlightuserdata(L, NULL);
        return ERR_NONE;
    }
    code = next_event(L, d); /* past the document start */
    if (code == ERR_NONE)
        code = push_node(L, d, 0);
    if (code == ERR_NONE)
        code = next_event(L, d); /* document end */
    if (code == ERR_NONE)
        code = next_event(L, d);
    if (code == ERR_NONE && d->event.type != YAML_STREAM_END_EVENT)
        return fail_at(d, d->event.start_mark, ERR_INVALID,
                       "a second document begins here; only one is supported");
    return code;
}

enum err_code yaml_decode(lua_State *L, const char *text, size_t len, struct err *err)
{
    luaL_checkstack(L, 12, "YAML");
    int top = lua_gettop(L);
    struct err ignored;
    struct decoder *d = yaml_new_box(L, sizeof *d, DECODER_TYPE, release_decoder);
    lua_newtable(L);
    d->anchors = top + 2;
    d->text = text;
    d->len = len;
    d->err = err != NULL ? err : &ignored;
    if (!yaml_parser_initialize(&d->parser)) {
        lua_settop(L, top);
        return err_nomem(err);
    }
    d->parser_open = true;
    yaml_parser_set_input_string(&d->parser, (const unsigned char *)text, len);
    enum err_code code = push_stream(L, d);
    /* Now rather than at some collection: the parser may hold much. */
    close_decoder(d);
    if (code == ERR_NONE)
        lua_replace(L, top + 1);
    lua_settop(L, code == ERR_NONE ? top + 1 : top);
    return code;
}
