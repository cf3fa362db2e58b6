/* XML texts to tables: whole trees, elements one by one, or events. Must not call into Lua while expat runs;
 * what it found is taken from the reader afterwards (base/xml.h).
 *
 * The reader takes its memory from the isolate's allocator, so it counts against the script's limit, and
 * lives in a userdata box. */
#include "modules/xml_priv.h"

#include "modules/chunks.h"
#include "script/budget.h"
#include "script/options.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#define READING_BOX "workers.xml.reading"

/* User values of the box, after those of its chunks. */
#define NAMES (CHUNKS_VALUES + 1)  /* NAME_PARTS for each name that has been used */
#define STACK (CHUNKS_VALUES + 2)  /* the elements that are open, outermost first */
#define PIECES (CHUNKS_VALUES + 3) /* of a text that is not complete */
#define WANTED (CHUNKS_VALUES + 4) /* the string of the pattern */
#define READING_VALUES (CHUNKS_VALUES + 4)

enum { PART_LOCAL = 1, PART_SPACE, PART_PREFIX, PART_KEY, NAME_PARTS = PART_KEY };

enum mode { MODE_TREE, MODE_ELEMENTS, MODE_EVENTS };

/* What is known of an element that is open. */
struct level {
    lua_Integer children;
    bool elements; /* has some */
    bool blanks;   /* texts of white space only */
    bool text;     /* other texts */
    bool keep;     /* xml:space="preserve" */
};

struct reading {
    struct xml_reader *reader;
    struct chunks chunks;
    const char *function; /* for messages */
    enum mode mode;
    bool keep_blanks;
    bool finished; /* the reader has had all */
    bool ended;
    struct err err;
    struct xml_pattern wanted; /* of MODE_ELEMENTS */
    int outside;               /* elements that are open around those that are built */
    int depth;                 /* of those that are built */
    lua_Integer pieces;
    bool blank; /* the pieces are white space */
    bool held;  /* the event has been taken from the reader, but not dealt with */
    struct xml_event event;
    struct level levels[XML_DEPTH_MAX];
};

/* ---- opening ---- */

static int release_reading(lua_State *L)
{
    struct reading *reading = luaL_checkudata(L, 1, READING_BOX);
    xml_reader_free(reading->reader);
    reading->reader = NULL;
    reading->ended = true;
    return 0;
}

/* A loop ends, or a script does the like while the reader is being used: then it goes with the box. */
static int close_reading(lua_State *L)
{
    struct reading *reading = luaL_checkudata(L, 1, READING_BOX);
    return reading->chunks.busy ? 0 : release_reading(L);
}

void xml_reading_open(lua_State *L)
{
    static const luaL_Reg metamethods[] = {
        {"__gc", release_reading}, {"__close", close_reading}, {NULL, NULL}};
    luaL_newmetatable(L, READING_BOX);
    luaL_setfuncs(L, metamethods, 0);
    lua_pushboolean(L, false); /* __gc is for the collector alone */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static const struct option_spec reading_options[] = {
    {"encoding", OPTION_STRING, false, XML_ENCODINGS}, {"doctype", OPTION_BOOLEAN, false, NULL},
    {"comments", OPTION_BOOLEAN, false, NULL},         {"instructions", OPTION_BOOLEAN, false, NULL},
    {"keepWhitespace", OPTION_BOOLEAN, false, NULL},   {NULL, 0, false, NULL},
};

static bool is_encoding(const char *name)
{
    static const char *const names[] = {"utf-8", "utf-16", "iso-8859-1", "us-ascii", "windows-1252"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

/* From the source in argument 1 and the options at index, which may be nil; pushes the box. */
static struct reading *open_reading(lua_State *L, const char *function, enum mode mode, int index)
{
    struct xml_options options = {0};
    void *ctx = NULL;
    lua_Alloc allocate = lua_getallocf(L, &ctx);
    bool keep_blanks = mode == MODE_EVENTS;
    if (!lua_isnil(L, index)) {
        options_check(L, index, reading_options, function);
        options.encoding = options_string(L, index, "encoding", NULL);
        options.doctype = options_boolean(L, index, "doctype", false);
        options.comments = options_boolean(L, index, "comments", false);
        options.instructions = options_boolean(L, index, "instructions", false);
        keep_blanks = options_boolean(L, index, "keepWhitespace", keep_blanks);
    }
    if (options.encoding != NULL && !is_encoding(options.encoding))
        luaL_error(L, "%s: option \"encoding\" must be one of %s, got \"%s\"", function, XML_ENCODINGS,
                   options.encoding);
    struct reading *reading = lua_newuserdatauv(L, sizeof *reading, READING_VALUES);
    memset(reading, 0, sizeof *reading);
    luaL_setmetatable(L, READING_BOX);
    reading->function = function;
    reading->mode = mode;
    reading->keep_blanks = keep_blanks;
    int box = lua_gettop(L);
    chunks_open(L, box, &reading->chunks, 1);
    for (int i = NAMES; i <= PIECES; i++) {
        lua_newtable(L);
        lua_setiuservalue(L, box, i);
    }
    reading->reader = xml_reader_new(&options, allocate, ctx);
    if (reading->reader == NULL)
        luaL_error(L, "%s: not enough memory", function);
    return reading;
}

/* ---- building ---- */

/* Stack indices while events are dealt with. */
struct frame {
    lua_State *L;
    struct reading *reading;
    int names;
    int stack;
    int pieces;
    int node;   /* the innermost element that is open, or nil */
    int spaces; /* what the next element declares, or nil */
};

static void open_frame(lua_State *L, int box, struct reading *reading, struct frame *f)
{
    luaL_checkstack(L, 24, "XML");
    *f = (struct frame){.L = L, .reading = reading};
    f->names = lua_gettop(L) + 1;
    f->stack = f->names + 1;
    f->pieces = f->names + 2;
    f->node = f->names + 3;
    f->spaces = f->names + 4;
    lua_getiuservalue(L, box, NAMES);
    lua_getiuservalue(L, box, STACK);
    lua_getiuservalue(L, box, PIECES);
    if (reading->depth > 0)
        lua_rawgeti(L, f->stack, reading->depth);
    else
        lua_pushnil(L);
    lua_pushnil(L);
}

/* Fills the parts of a name that is used for the first time. */
static void add_name(struct frame *f, uint32_t name)
{
    lua_State *L = f->L;
    lua_Integer base = (lua_Integer)name * NAME_PARTS;
    struct xml_name parts = xml_reader_name(f->reading->reader, name);
    bool is_xml = parts.space_len == sizeof XML_NAMESPACE_URI - 1 &&
                  memcmp(parts.space, XML_NAMESPACE_URI, parts.space_len) == 0;
    int top = lua_gettop(L);
    lua_pushlstring(L, parts.local, parts.local_len);
    if (parts.space_len > 0)
        lua_pushlstring(L, parts.space, parts.space_len);
    else
        lua_pushboolean(L, false);
    if (parts.prefix_len > 0)
        lua_pushlstring(L, parts.prefix, parts.prefix_len);
    else
        lua_pushboolean(L, false);
    /* Of an attribute: its name, {uri}name, or xml:name, for that prefix means the same everywhere. */
    lua_pushstring(L, is_xml ? "xml:" : parts.space_len > 0 ? "{" : "");
    lua_pushvalue(L, is_xml || parts.space_len == 0 ? top + 1 : top + 2);
    if (!is_xml && parts.space_len > 0) {
        lua_pushliteral(L, "}");
        lua_pushvalue(L, top + 1);
    }
    lua_concat(L, lua_gettop(L) - (top + 3));
    for (int part = NAME_PARTS; part > 0; part--)
        lua_rawseti(L, f->names, base + part);
}

/* Pushes the part of the name: a string, or false when it has none. */
static void push_part(struct frame *f, uint32_t name, int part)
{
    lua_State *L = f->L;
    lua_Integer base = (lua_Integer)name * NAME_PARTS;
    if (lua_rawgeti(L, f->names, base + part) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    add_name(f, name);
    lua_rawgeti(L, f->names, base + part);
}

/* Sets the field of the table on top to the part of the name, if it has it. */
static void set_part(struct frame *f, uint32_t name, int part, const char *field)
{
    push_part(f, name, part);
    if (lua_toboolean(f->L, -1))
        lua_setfield(f->L, -2, field);
    else
        lua_pop(f->L, 1);
}

/* Pushes a new node for the element that starts, and takes its attributes from the reader. *space becomes
 * what xml:space says: 0 nothing, 1 default, 2 preserve. */
static void push_element(struct frame *f, const struct xml_event *start, int *space)
{
    lua_State *L = f->L;
    struct xml_event event;
    *space = 0;
    lua_createtable(L, 0, 4);
    set_part(f, start->name, PART_LOCAL, "name");
    set_part(f, start->name, PART_SPACE, "namespace");
    set_part(f, start->name, PART_PREFIX, "prefix");
    lua_createtable(L, 0, start->count < INT_MAX ? (int)start->count : 0);
    for (uint32_t i = 0; i < start->count && xml_reader_next(f->reading->reader, &event); i++) {
        push_part(f, event.name, PART_KEY);
        if (strcmp(lua_tostring(L, -1), "xml:space") == 0)
            *space = event.second_len == 8 && memcmp(event.second, "preserve", 8) == 0 ? 2 : 1;
        lua_pushlstring(L, event.second, event.second_len);
        lua_rawset(L, -3);
        if (i % XML_TICK_EVERY == XML_TICK_EVERY - 1)
            budget_tick(L);
    }
    lua_setfield(L, -2, "attributes");
    if (!lua_isnil(L, f->spaces)) {
        lua_pushvalue(L, f->spaces);
        lua_setfield(L, -2, "namespaces");
        lua_pushnil(L);
        lua_replace(L, f->spaces);
    }
}

static void add_namespace(struct frame *f, const struct xml_event *event)
{
    lua_State *L = f->L;
    if (lua_isnil(L, f->spaces)) {
        lua_newtable(L);
        lua_replace(L, f->spaces);
    }
    lua_pushlstring(L, event->first, event->first_len);
    lua_pushlstring(L, event->second, event->second_len);
    lua_rawset(L, f->spaces);
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' && text[i] != '\n' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

static void add_piece(struct frame *f, const struct xml_event *event)
{
    struct reading *reading = f->reading;
    reading->blank = (reading->pieces == 0 || reading->blank) && is_blank(event->second, event->second_len);
    lua_pushlstring(f->L, event->second, event->second_len);
    lua_rawseti(f->L, f->pieces, ++reading->pieces);
}

/* Pushes the text that the pieces make. */
static void push_text(struct frame *f)
{
    lua_State *L = f->L;
    struct reading *reading = f->reading;
    if (reading->pieces == 1) {
        lua_rawgeti(L, f->pieces, 1);
    } else {
        luaL_Buffer text;
        luaL_buffinit(L, &text);
        for (lua_Integer i = 1; i <= reading->pieces; i++) {
            lua_rawgeti(L, f->pieces, i);
            luaL_addvalue(&text);
        }
        luaL_pushresult(&text);
    }
    for (; reading->pieces > 0; reading->pieces--) {
        lua_pushnil(L);
        lua_rawseti(L, f->pieces, reading->pieces);
    }
}

/* ---- trees ---- */

/* The text before whatever comes now becomes a child. */
static void end_text(struct frame *f)
{
    struct reading *reading = f->reading;
    if (reading->pieces == 0)
        return;
    struct level *level = &reading->levels[reading->depth - 1];
    if (reading->blank)
        level->blanks = true;
    else
        level->text = true;
    push_text(f);
    lua_rawseti(f->L, f->node, ++level->children);
}

/* Takes the value on top, a table, as the next child. */
static void add_child(struct frame *f)
{
    struct level *level = &f->reading->levels[f->reading->depth - 1];
    level->elements = true;
    lua_rawseti(f->L, f->node, ++level->children);
}

static void start_node(struct frame *f, const struct xml_event *event)
{
    lua_State *L = f->L;
    struct reading *reading = f->reading;
    int space = 0;
    bool keep = reading->keep_blanks;
    push_element(f, event, &space);
    if (reading->depth > 0) {
        keep = reading->levels[reading->depth - 1].keep;
        lua_pushvalue(L, -1);
        add_child(f);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, f->stack, ++reading->depth);
    lua_replace(L, f->node);
    reading->levels[reading->depth - 1] = (struct level){.keep = space == 2 || (keep && space == 0)};
}

/* White space beside elements, and no other text in sight, is layout. */
static void drop_layout(struct frame *f, const struct level *level)
{
    lua_State *L = f->L;
    lua_Integer kept = 0;
    if (!level->blanks || !level->elements || level->text || level->keep)
        return;
    for (lua_Integer i = 1; i <= level->children; i++) {
        if (lua_rawgeti(L, f->node, i) == LUA_TTABLE)
            lua_rawseti(L, f->node, ++kept);
        else
            lua_pop(L, 1);
    }
    for (lua_Integer i = level->children; i > kept; i--) {
        lua_pushnil(L);
        lua_rawseti(L, f->node, i);
    }
}

/* True when the outermost node is complete; it is pushed then. */
static bool end_node(struct frame *f)
{
    lua_State *L = f->L;
    struct reading *reading = f->reading;
    end_text(f);
    drop_layout(f, &reading->levels[reading->depth - 1]);
    lua_pushnil(L);
    lua_rawseti(L, f->stack, reading->depth--);
    if (reading->depth == 0) {
        lua_pushvalue(L, f->node);
        return true;
    }
    lua_rawgeti(L, f->stack, reading->depth);
    lua_replace(L, f->node);
    return false;
}

/* True when a result has been pushed. */
static bool take_for_tree(struct frame *f, const struct xml_event *event)
{
    lua_State *L = f->L;
    struct reading *reading = f->reading;
    if (reading->depth == 0 && event->type == XML_START) {
        struct xml_name name = xml_reader_name(reading->reader, event->name);
        if (reading->mode == MODE_TREE || xml_pattern_fits(&reading->wanted, &name)) {
            start_node(f, event);
            return false;
        }
        reading->outside++;
        lua_pushnil(L);
        lua_replace(L, f->spaces);
        return false;
    }
    if (reading->depth == 0) {
        reading->outside -= event->type == XML_END;
        if (event->type == XML_NAMESPACE)
            add_namespace(f, event);
        return false;
    }
    switch (event->type) {
    case XML_NAMESPACE:
        add_namespace(f, event);
        break;
    case XML_START:
        end_text(f);
        start_node(f, event);
        break;
    case XML_END:
        return end_node(f);
    case XML_TEXT:
        add_piece(f, event);
        break;
    case XML_COMMENT:
        end_text(f);
        lua_createtable(L, 0, 1);
        lua_pushlstring(L, event->second, event->second_len);
        lua_setfield(L, -2, "comment");
        add_child(f);
        break;
    case XML_INSTRUCTION:
        end_text(f);
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, event->first, event->first_len);
        lua_setfield(L, -2, "instruction");
        lua_pushlstring(L, event->second, event->second_len);
        lua_setfield(L, -2, "data");
        add_child(f);
        break;
    case XML_ATTRIBUTE: /* of an element that is not wanted */
        break;
    }
    return false;
}

/* ---- events ---- */

/* The same; three values are pushed. */
static bool take_for_events(struct frame *f, const struct xml_event *event)
{
    lua_State *L = f->L;
    struct reading *reading = f->reading;
    int space = 0;
    if (event->type == XML_TEXT) {
        add_piece(f, event);
        return false;
    }
    if (reading->pieces > 0) {
        reading->held = true;
        lua_pushliteral(L, "text");
        push_text(f);
        lua_pushnil(L);
        return true;
    }
    switch (event->type) {
    case XML_NAMESPACE:
        add_namespace(f, event);
        return false;
    case XML_START:
        lua_pushliteral(L, "start");
        push_element(f, event, &space);
        lua_pushnil(L);
        return true;
    case XML_END:
        lua_pushliteral(L, "end");
        push_part(f, event->name, PART_LOCAL);
        push_part(f, event->name, PART_SPACE);
        if (!lua_toboolean(L, -1)) {
            lua_pushnil(L);
            lua_replace(L, -2);
        }
        return true;
    case XML_COMMENT:
        lua_pushliteral(L, "comment");
        lua_pushlstring(L, event->second, event->second_len);
        lua_pushnil(L);
        return true;
    case XML_INSTRUCTION:
        lua_pushliteral(L, "instruction");
        lua_pushlstring(L, event->first, event->first_len);
        lua_pushlstring(L, event->second, event->second_len);
        return true;
    case XML_ATTRIBUTE:
    case XML_TEXT:
        break;
    }
    return false;
}

/* ---- reading on ---- */

enum outcome { OUTCOME_ITEM, OUTCOME_ASK, OUTCOME_END };

/* A failure shows when the events before it have been dealt with. */
static void feed(struct reading *reading, const char *data, size_t len, bool final)
{
    enum err_code code = xml_reader_feed(reading->reader, data, len, final, &reading->err);
    reading->finished = final || code != ERR_NONE;
}

/* Deals with events until a result has been pushed, until the source has to be asked, or to the end. What
 * else it pushes lies below the result. */
static enum outcome read_on(lua_State *L, int box, struct reading *reading)
{
    struct frame f;
    const char *data;
    size_t len;
    unsigned taken = 0;
    open_frame(L, box, reading, &f);
    while (!reading->ended) {
        while (reading->held || xml_reader_next(reading->reader, &reading->event)) {
            const struct xml_event event = reading->event;
            reading->held = false;
            if (reading->mode == MODE_EVENTS ? take_for_events(&f, &event) : take_for_tree(&f, &event))
                return OUTCOME_ITEM;
            if (++taken % XML_TICK_EVERY == 0)
                budget_tick(L);
        }
        if (reading->finished)
            break;
        budget_tick(L);
        if (chunks_slice(&reading->chunks, &data, &len))
            feed(reading, data, len, false);
        else if (reading->chunks.ended)
            feed(reading, "", 0, true);
        else
            return OUTCOME_ASK;
    }
    /* Now rather than at some collection: the reader may hold much. */
    xml_reader_free(reading->reader);
    reading->reader = NULL;
    reading->ended = true;
    if (reading->err.code != ERR_NONE)
        luaL_error(L, "%s: %s", reading->function, reading->err.message);
    return OUTCOME_END;
}

int xml_parse_call(lua_State *L)
{
    enum { BOX = 3, ROOT };
    chunks_check(L, 1, false, "xml.parse");
    lua_settop(L, 2);
    struct reading *reading = open_reading(L, "xml.parse", MODE_TREE, 2);
    lua_pushnil(L);
    while (read_on(L, BOX, reading) == OUTCOME_ITEM) {
        lua_replace(L, ROOT);
        lua_settop(L, ROOT);
    }
    lua_settop(L, ROOT);
    return 1;
}

/* Of next_item: the source has been asked, and what it said is on top of the stack. */
#define ASKED 1

/* Upvalue: the box. */
static int next_item(lua_State *L, int status, lua_KContext ctx)
{
    int box = lua_upvalueindex(1);
    struct reading *reading = lua_touserdata(L, box);
    (void)status; /* a source that fails does not come back here */
    for (;;) {
        if (ctx == ASKED)
            chunks_take(L, box, &reading->chunks, reading->function);
        lua_settop(L, 0);
        switch (read_on(L, box, reading)) {
        case OUTCOME_ITEM:
            chunks_leave(&reading->chunks);
            return reading->mode == MODE_EVENTS ? 3 : 1;
        case OUTCOME_END:
            chunks_leave(&reading->chunks);
            return 0;
        case OUTCOME_ASK:
            break;
        }
        lua_settop(L, 0);
        ctx = ASKED;
        lua_callk(L, chunks_ask(L, box), 1, ctx, next_item);
    }
}

static int first_item(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, lua_upvalueindex(1));
    chunks_enter(L, &reading->chunks, reading->function);
    lua_settop(L, 0);
    return next_item(L, LUA_OK, 0);
}

/* The four values of a generic for, so that a loop that is left early frees the reader in the box on top. */
static int push_loop(lua_State *L)
{
    int box = lua_gettop(L);
    lua_pushvalue(L, box);
    lua_pushcclosure(L, first_item, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, box);
    return 4;
}

int xml_events_call(lua_State *L)
{
    chunks_check(L, 1, true, "xml.events");
    lua_settop(L, 2);
    open_reading(L, "xml.events", MODE_EVENTS, 2);
    return push_loop(L);
}

int xml_elements_call(lua_State *L)
{
    enum { NAME = 2, OPTIONS, BOX };
    struct xml_pattern wanted;
    size_t len = 0;
    chunks_check(L, 1, true, "xml.elements");
    if (lua_type(L, NAME) != LUA_TSTRING)
        luaL_error(L, "xml.elements: argument 2 (name): string expected, got %s", luaL_typename(L, NAME));
    const char *name = lua_tolstring(L, NAME, &len);
    if (!xml_pattern_parse(name, name + len, &wanted))
        luaL_error(
            L,
            "xml.elements: argument 2 (name): \"name\", \"prefix:name\" or \"{uri}name\" expected, got "
            "\"%s\"",
            name);
    lua_settop(L, OPTIONS);
    struct reading *reading = open_reading(L, "xml.elements", MODE_ELEMENTS, OPTIONS);
    reading->wanted = wanted;
    lua_pushvalue(L, NAME);
    lua_setiuservalue(L, BOX, WANTED);
    return push_loop(L);
}
