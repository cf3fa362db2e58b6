/* workers.csv: texts of comma-separated values to rows and back. Must not know the syntax: base/csv.c does.
 *
 * Reading holds no memory outside Lua: chunks are strings, and the parts of a field are put together in a
 * userdata. */
#include "modules/modules.h"

#include "base/csv.h"
#include "base/number.h"
#include "modules/chunks.h"
#include "modules/json.h"
#include "script/budget.h"
#include "script/options.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#define MAX_FIELD ((size_t)16 * 1024 * 1024)  /* default of maxField, bytes */
#define MAX_FIELDS 100000                     /* default of maxFields */
#define ENCODE_MAX ((size_t)64 * 1024 * 1024) /* bytes of an encoded text */
#define LIST_HINT 64                          /* entries that a row's list begins with, at most */
#define TICK_ROWS 256                         /* between two ticks of the CPU limit */

/* User values of a reading box, after those of its chunks. */
#define SCRATCH (CHUNKS_VALUES + 1)
#define NAMES (CHUNKS_VALUES + 2) /* of the columns; nil when rows are lists */
#define READER_VALUES (CHUNKS_VALUES + 2)

struct reading {
    struct csv_reader reader;
    struct chunks chunks;
    const char *function; /* for messages */
    bool header;          /* the first record holds the names, and has not come yet */
    bool named;           /* rows are tables by name */
    bool strict;          /* every record has as many fields as the first, or as there are names */
    bool ended;
    size_t columns; /* 0 while unknown */
    size_t fields;  /* of the row at hand */
};

/* ---- options ---- */

#define FORMAT_OPTIONS                                                                                       \
    {"delimiter", OPTION_STRING, false, "one character"}, {"quote", OPTION_ANY, false, NULL},                \
        {"escape", OPTION_STRING, false, "one character"},                                                   \
    {                                                                                                        \
        "comment", OPTION_STRING, false, "one character"                                                     \
    }

static const struct option_spec reading_options[] = {
    FORMAT_OPTIONS,
    {"header", OPTION_ANY, false, NULL},
    {"strict", OPTION_BOOLEAN, false, NULL},
    {"trim", OPTION_BOOLEAN, false, NULL},
    {"skipEmpty", OPTION_BOOLEAN, false, NULL},
    {"maxField", OPTION_INTEGER, false, "bytes"},
    {"maxFields", OPTION_INTEGER, false, "fields in a record"},
    {NULL, 0, false, NULL},
};

static const struct option_spec encode_options[] = {
    FORMAT_OPTIONS,
    {"header", OPTION_TABLE, false, "a list of names"},
    {"newline", OPTION_STRING, false, "\"\\r\\n\" or \"\\n\""},
    {"bom", OPTION_BOOLEAN, false, NULL},
    {"quoteAll", OPTION_BOOLEAN, false, NULL},
    {"safe", OPTION_BOOLEAN, false, NULL},
    {NULL, 0, false, NULL},
};

static char character_option(lua_State *L, int index, const char *function, const char *name, char absent)
{
    char c = absent;
    int type = lua_getfield(L, index, name);
    if (type == LUA_TSTRING && lua_rawlen(L, -1) == 1)
        c = lua_tostring(L, -1)[0];
    else if (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))
        c = '\0';
    else if (type != LUA_TNIL)
        luaL_error(L, "%s: option \"%s\" must be one ASCII character%s", function, name,
                   strcmp(name, "quote") == 0 ? ", or false for none" : "");
    lua_pop(L, 1);
    return c;
}

static size_t limit_option(lua_State *L, int index, const char *function, const char *name, size_t absent)
{
    size_t limit = absent;
    if (lua_getfield(L, index, name) != LUA_TNIL) {
        lua_Integer value = lua_tointeger(L, -1);
        if (value < 1 || value > INT_MAX)
            luaL_error(L, "%s: option \"%s\" must be from 1 to %d, got %I", function, name, INT_MAX,
                       (LUAI_UACINT)value);
        limit = (size_t)value;
    }
    lua_pop(L, 1);
    return limit;
}

/* The characters; index is that of a checked table of options. */
static void read_format(lua_State *L, int index, const char *function, struct csv_format *format)
{
    struct err err;
    *format = (struct csv_format){
        .delimiter = character_option(L, index, function, "delimiter", ','),
        .quote = character_option(L, index, function, "quote", '"'),
        .escape = character_option(L, index, function, "escape", '\0'),
        .comment = character_option(L, index, function, "comment", '\0'),
        .skip_empty = true,
        .max_field = MAX_FIELD,
        .max_fields = MAX_FIELDS,
    };
    if (format->escape == format->quote)
        format->escape = '\0'; /* doubling, which is the rule anyway */
    if (csv_check_format(format, &err) != ERR_NONE)
        luaL_error(L, "%s: option %s", function, err.message);
}

/* Checks the list of names on top of the stack; the count. */
static size_t check_names(lua_State *L, const char *where)
{
    size_t count = lua_rawlen(L, -1);
    int list = lua_gettop(L);
    lua_createtable(L, 0, count < INT_MAX ? (int)count : 0); /* name -> position */
    for (size_t i = 1; i <= count; i++) {
        if (lua_rawgeti(L, list, (lua_Integer)i) != LUA_TSTRING)
            luaL_error(L, "%s must be a list of strings, but entry %I is a %s", where, (LUAI_UACINT)i,
                       luaL_typename(L, -1));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL)
            luaL_error(L, "%s: the columns %I and %I have the same name \"%s\"", where, lua_tointeger(L, -1),
                       (LUAI_UACINT)i, lua_tostring(L, -2));
        lua_pop(L, 1);
        lua_pushinteger(L, (lua_Integer)i);
        lua_rawset(L, -3);
        if (i % 1024 == 0)
            budget_tick(L);
    }
    lua_settop(L, list);
    return count;
}

/* A copy of the list in the option header, checked, is pushed; the count. */
static size_t push_names(lua_State *L, int index, const char *function)
{
    lua_getfield(L, index, "header");
    size_t count = lua_rawlen(L, -1);
    if (count == 0)
        luaL_error(L, "%s: option \"header\" must be a list of names, and at least one", function);
    if (count > MAX_FIELDS)
        luaL_error(L, "%s: option \"header\" has more than %d names", function, MAX_FIELDS);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    lua_pushfstring(L, "%s: option \"header\"", function);
    lua_insert(L, -2);
    check_names(L, lua_tostring(L, -2));
    return count;
}

/* ---- reading ---- */

/* From the arguments source and options; pushes the box. */
static struct reading *open_reading(lua_State *L, const char *function, bool function_allowed)
{
    struct csv_format format;
    chunks_check(L, 1, function_allowed, function);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    options_check(L, 2, reading_options, function);
    read_format(L, 2, function, &format);
    format.trim = options_boolean(L, 2, "trim", false);
    format.skip_empty = options_boolean(L, 2, "skipEmpty", true);
    format.max_field = limit_option(L, 2, function, "maxField", MAX_FIELD);
    format.max_fields = limit_option(L, 2, function, "maxFields", MAX_FIELDS);
    int header = lua_getfield(L, 2, "header");
    bool first_row = header == LUA_TBOOLEAN && lua_toboolean(L, -1);
    if (header != LUA_TNIL && header != LUA_TBOOLEAN && header != LUA_TTABLE)
        luaL_error(L, "%s: option \"header\" must be true or a list of names, got %s", function,
                   luaL_typename(L, -1));
    lua_settop(L, 2);

    struct reading *reading = lua_newuserdatauv(L, sizeof *reading, READER_VALUES);
    *reading = (struct reading){.function = function, .header = first_row};
    csv_reader_init(&reading->reader, &format);
    chunks_open(L, 3, &reading->chunks, 1);
    if (header == LUA_TTABLE) {
        reading->columns = push_names(L, 2, function);
        lua_setiuservalue(L, 3, NAMES);
        lua_settop(L, 3);
    }
    reading->named = first_row || header == LUA_TTABLE;
    reading->strict = options_boolean(L, 2, "strict", reading->named);
    return reading;
}

static void grow_scratch(lua_State *L, int box, struct csv_reader *reader)
{
    size_t size = reader->scratch_need + reader->scratch_need / 2 + 64;
    char *memory = lua_newuserdatauv(L, size, 0);
    if (reader->scratch_len > 0)
        memcpy(memory, reader->scratch, reader->scratch_len);
    csv_set_scratch(reader, memory, size);
    lua_setiuservalue(L, box, SCRATCH);
}

static void refuse_record(lua_State *L, struct reading *reading, const char *what)
{
    reading->ended = true;
    luaL_error(L, "%s: line %I: the record has %s than the %I %s", reading->function,
               (LUAI_UACINT)reading->reader.record_line, what, (LUAI_UACINT)reading->columns,
               reading->named ? "columns" : "of the first one");
}

/* Puts the field into the row at stack index row; of the first field makes it. */
static void add_field(lua_State *L, int box, struct reading *reading, int row, const struct csv_field *field)
{
    bool named = reading->named && !reading->header;
    size_t index = reading->fields++;
    if (index == 0) {
        /* One long row must not make every short one large. */
        int size = (int)(named || reading->columns < LIST_HINT ? reading->columns : LIST_HINT);
        lua_createtable(L, named ? 0 : size, named ? size : 0);
        lua_replace(L, row);
    }
    if (reading->columns > 0 && index >= reading->columns && (reading->strict || reading->named)) {
        if (reading->strict || field->len > 0)
            refuse_record(L, reading, "more fields");
        return;
    }
    if (!named) {
        lua_pushlstring(L, field->bytes, field->len);
        lua_rawseti(L, row, (lua_Integer)index + 1);
        return;
    }
    lua_getiuservalue(L, box, NAMES);
    lua_rawgeti(L, -1, (lua_Integer)index + 1);
    lua_pushlstring(L, field->bytes, field->len);
    lua_rawset(L, row);
    lua_pop(L, 1);
}

/* The record is complete; true when it is a row, false when it held the names. */
static bool end_record(lua_State *L, int box, struct reading *reading, int row)
{
    size_t fields = reading->fields;
    reading->fields = 0;
    if (reading->header) {
        reading->header = false;
        lua_pushfstring(L, "%s: line %I", reading->function, (LUAI_UACINT)reading->reader.record_line);
        lua_pushvalue(L, row);
        reading->ended = true; /* unless the names are good */
        reading->columns = check_names(L, lua_tostring(L, -2));
        reading->ended = false;
        lua_setiuservalue(L, box, NAMES);
        lua_pop(L, 1);
        return false;
    }
    if (reading->columns == 0)
        reading->columns = fields;
    if (fields >= reading->columns)
        return true;
    if (reading->strict)
        refuse_record(L, reading, "fewer fields");
    if (!reading->named)
        return true;
    lua_getiuservalue(L, box, NAMES);
    for (size_t i = fields; i < reading->columns; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_pushliteral(L, "");
        lua_rawset(L, row);
    }
    lua_pop(L, 1);
    return true;
}

enum outcome { OUTCOME_ROW, OUTCOME_ASK, OUTCOME_END };

/* Reads on until the row at stack index row is complete, until the source has to be asked, or to the end. */
static enum outcome read_row(lua_State *L, int box, struct reading *reading, int row)
{
    struct csv_field field;
    struct err err;
    const char *data;
    size_t len;
    luaL_checkstack(L, 8, "CSV");
    while (!reading->ended) {
        switch (csv_next(&reading->reader, &field, &err)) {
        case CSV_FIELD:
            add_field(L, box, reading, row, &field);
            if (field.last && end_record(L, box, reading, row))
                return OUTCOME_ROW;
            break;
        case CSV_ROOM:
            grow_scratch(L, box, &reading->reader);
            break;
        case CSV_MORE:
            if (chunks_slice(&reading->chunks, &data, &len)) {
                budget_tick(L);
                csv_feed(&reading->reader, data, len);
            } else if (reading->chunks.ended) {
                csv_finish(&reading->reader);
            } else {
                return OUTCOME_ASK;
            }
            break;
        case CSV_FAILED:
            reading->ended = true;
            luaL_error(L, "%s: %s", reading->function, err.message);
            break;
        case CSV_END:
            reading->ended = true;
        }
    }
    return OUTCOME_END;
}

static int csv_lua_parse(lua_State *L)
{
    enum { BOX = 3, ROW, LIST };
    struct reading *reading = open_reading(L, "csv.parse", false);
    lua_Integer count = 0;
    lua_pushnil(L);
    lua_newtable(L);
    while (read_row(L, BOX, reading, ROW) == OUTCOME_ROW) {
        lua_pushvalue(L, ROW);
        lua_rawseti(L, LIST, ++count);
    }
    json_push_array_metatable(L);
    lua_setmetatable(L, LIST);
    lua_getiuservalue(L, BOX, NAMES);
    return 2;
}

/* Of next_row: the source has been asked, and what it said is on top of the stack. */
#define ASKED 1

/* Upvalue: the box. */
static int next_row(lua_State *L, int status, lua_KContext ctx)
{
    enum { ROW = 1 };
    int box = lua_upvalueindex(1);
    struct reading *reading = lua_touserdata(L, box);
    (void)status; /* a source that fails does not come back here */
    for (;;) {
        if (ctx == ASKED)
            chunks_take(L, box, &reading->chunks, reading->function);
        switch (read_row(L, box, reading, ROW)) {
        case OUTCOME_ROW:
            chunks_leave(&reading->chunks);
            lua_settop(L, ROW);
            lua_pushinteger(L, (lua_Integer)reading->reader.record_line);
            return 2;
        case OUTCOME_END:
            chunks_leave(&reading->chunks);
            return 0;
        case OUTCOME_ASK:
            break;
        }
        ctx = ASKED;
        lua_callk(L, chunks_ask(L, box), 1, ctx, next_row);
    }
}

static int csv_lua_next(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, lua_upvalueindex(1));
    chunks_enter(L, &reading->chunks, reading->function);
    lua_settop(L, 0);
    lua_pushnil(L); /* the row */
    return next_row(L, LUA_OK, 0);
}

static int csv_lua_rows(lua_State *L)
{
    open_reading(L, "csv.rows", true);
    lua_pushcclosure(L, csv_lua_next, 1);
    return 1;
}

/* ---- writing ---- */

#define TEXT_BOX "workers.csv.text"

static int release_text(lua_State *L)
{
    buf_free(lua_touserdata(L, 1));
    return 0;
}

/* Pushes a box with an empty buffer, which goes with it. */
static struct buf *new_text(lua_State *L)
{
    struct buf *text = lua_newuserdatauv(L, sizeof *text, 0);
    buf_init(text, ENCODE_MAX);
    luaL_getmetatable(L, TEXT_BOX);
    lua_setmetatable(L, -2);
    return text;
}

struct writing {
    struct csv_format format;
    struct buf *text;
    const char *newline;
    bool quote_all;
    bool safe;
};

/* Whether a spreadsheet would take the text for a formula (OWASP, CSV injection). Numbers with a sign are
 * what they look like. */
static bool is_formula(const char *bytes, size_t len)
{
    struct number ignored;
    if (len == 0 || memchr("=+-@\t\r\n", bytes[0], 7) == NULL)
        return false;
    size_t sign = bytes[0] == '+' || bytes[0] == '-' ? 1 : 0;
    return number_parse(bytes + sign, len - sign, &ignored) != NUMBER_OK;
}

/* Appends the value on top of the stack. where names it in messages and is on the stack below. */
static void add_value(lua_State *L, const struct writing *writing, size_t index, size_t count,
                      const char *where)
{
    char number[NUMBER_TEXT_MAX];
    const char *bytes = number;
    size_t len = 0;
    struct err err;
    bool is_text = false;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        bytes = lua_tolstring(L, -1, &len);
        is_text = true;
        break;
    case LUA_TNUMBER:
        len = lua_isinteger(L, -1) ? number_format_integer(lua_tointeger(L, -1), number)
                                   : number_format_js(lua_tonumber(L, -1), number);
        break;
    case LUA_TBOOLEAN:
        bytes = lua_toboolean(L, -1) ? "true" : "false";
        len = strlen(bytes);
        break;
    case LUA_TNIL:
        break;
    default:
        if (lua_type(L, -1) == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == NULL)
            break; /* workers.null */
        luaL_error(L, "csv.encode: %s, field %I: a string, number, boolean or nil expected, got %s", where,
                   (LUAI_UACINT)index, luaL_typename(L, -1));
    }
    char guarded[2] = {'\'', '\0'};
    if (writing->safe && is_text && is_formula(bytes, len)) {
        lua_pushstring(L, guarded);
        lua_pushvalue(L, -2);
        lua_concat(L, 2);
        lua_replace(L, -2);
        bytes = lua_tolstring(L, -1, &len);
    }
    if (csv_add_field(writing->text, &writing->format, bytes, len, index == 1, count == 1, writing->quote_all,
                      &err) != ERR_NONE)
        luaL_error(L, "csv.encode: %s, field %I: %s", where, (LUAI_UACINT)index, err.message);
}

/* The row on top of the stack is a list: how many fields it has. Raises when it is none. */
static size_t count_fields(lua_State *L, const char *where)
{
    size_t count = lua_rawlen(L, -1), keys = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING)
            luaL_error(L, "csv.encode: %s has the key \"%s\"; give { header = { … } } to write rows by name",
                       where, lua_tostring(L, -1));
        int integral = 0;
        lua_Integer position = lua_tointegerx(L, -1, &integral);
        keys += integral && position >= 1 && (size_t)position <= count ? 1 : count + 1;
    }
    if (keys != count)
        luaL_error(L, "csv.encode: %s has holes; write workers.null where a field is empty", where);
    return count;
}

/* stack: rows, options, box, names or nil, a place for where, row */
enum { ENCODE_ROWS = 1, ENCODE_OPTIONS, ENCODE_BOX, ENCODE_NAMES, ENCODE_WHERE, ENCODE_ROW };

static void add_row(lua_State *L, const struct writing *writing, size_t columns)
{
    const char *where = lua_tostring(L, ENCODE_WHERE);
    struct err err;
    bool by_name = columns > 0 && lua_rawlen(L, ENCODE_ROW) == 0;
    size_t count = by_name ? columns : count_fields(L, where);
    if (columns > 0 && count != columns)
        luaL_error(L, "csv.encode: %s has %I fields, but there are %I columns", where, (LUAI_UACINT)count,
                   (LUAI_UACINT)columns);
    if (count == 0)
        luaL_error(L, "csv.encode: %s is empty", where);
    for (size_t i = 1; i <= count; i++) {
        if (by_name) {
            lua_rawgeti(L, ENCODE_NAMES, (lua_Integer)i);
            lua_rawget(L, ENCODE_ROW);
        } else {
            lua_rawgeti(L, ENCODE_ROW, (lua_Integer)i);
        }
        add_value(L, writing, i, count, where);
        lua_pop(L, 1);
        if (i % 1024 == 0)
            budget_tick(L);
    }
    buf_adds(writing->text, writing->newline);
    if (buf_status(writing->text, "the text", &err) != ERR_NONE)
        luaL_error(L, "csv.encode: %s: %s; encode fewer rows at a time", where, err.message);
}

static int csv_lua_encode(lua_State *L)
{
    struct writing writing = {.newline = "\r\n"};
    size_t columns = 0;
    if (!lua_istable(L, ENCODE_ROWS))
        luaL_error(L, "csv.encode: argument 1 (rows): a list of rows expected, got %s",
                   luaL_typename(L, ENCODE_ROWS));
    lua_settop(L, ENCODE_OPTIONS);
    if (lua_isnil(L, ENCODE_OPTIONS)) {
        lua_newtable(L);
        lua_replace(L, ENCODE_OPTIONS);
    }
    options_check(L, ENCODE_OPTIONS, encode_options, "csv.encode");
    read_format(L, ENCODE_OPTIONS, "csv.encode", &writing.format);
    writing.newline = options_string(L, ENCODE_OPTIONS, "newline", "\r\n");
    if (strcmp(writing.newline, "\r\n") != 0 && strcmp(writing.newline, "\n") != 0)
        luaL_error(L, "csv.encode: option \"newline\" must be \"\\r\\n\" or \"\\n\"");
    writing.quote_all = options_boolean(L, ENCODE_OPTIONS, "quoteAll", false);
    writing.safe = options_boolean(L, ENCODE_OPTIONS, "safe", false);
    if (writing.quote_all && writing.format.quote == '\0')
        luaL_error(L, "csv.encode: option \"quoteAll\" needs a \"quote\"");

    writing.text = new_text(L);
    if (options_boolean(L, ENCODE_OPTIONS, "bom", false))
        buf_adds(writing.text, "\xef\xbb\xbf");
    lua_settop(L, ENCODE_ROW);
    if (lua_getfield(L, ENCODE_OPTIONS, "header") != LUA_TNIL) {
        columns = push_names(L, ENCODE_OPTIONS, "csv.encode");
        lua_copy(L, -1, ENCODE_NAMES);
        lua_copy(L, -1, ENCODE_ROW);
        lua_pushliteral(L, "the header");
        lua_replace(L, ENCODE_WHERE);
        lua_settop(L, ENCODE_ROW);
        add_row(L, &writing, columns);
    }
    lua_settop(L, ENCODE_WHERE);
    size_t rows = lua_rawlen(L, ENCODE_ROWS);
    for (size_t i = 1; i <= rows; i++) {
        lua_pushfstring(L, "row %I", (LUAI_UACINT)i);
        lua_replace(L, ENCODE_WHERE);
        if (lua_rawgeti(L, ENCODE_ROWS, (lua_Integer)i) != LUA_TTABLE)
            luaL_error(L, "csv.encode: row %I: a table expected, got %s", (LUAI_UACINT)i,
                       luaL_typename(L, -1));
        add_row(L, &writing, columns);
        lua_settop(L, ENCODE_WHERE);
        if (i % TICK_ROWS == 0)
            budget_tick(L);
    }
    lua_pushlstring(L, buf_text(writing.text), writing.text->len);
    buf_free(writing.text); /* now rather than at some collection */
    return 1;
}

static const struct script_function functions[] = {
    {"parse", csv_lua_parse, "(text: string, options?: workers.csv.ReadOptions): table[], string[]?",
     "the rows of a text, and the names of its columns if it has some"},
    {"rows", csv_lua_rows,
     "(source: string|(fun(): string?)|table, options?: workers.csv.ReadOptions): fun(): table?, integer?",
     "an iterator over rows and their lines, which reads its source only as far as it has to"},
    {"encode", csv_lua_encode, "(rows: table[], options?: workers.csv.WriteOptions): string",
     "the rows as text, by RFC 4180 unless the options say otherwise"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] =
    "---@class workers.csv.Format\n"
    "---@field delimiter? string one ASCII character, a comma unless given\n"
    "---@field quote? string|false one ASCII character; false: nothing is quoted\n"
    "---@field escape? string makes the next character an ordinary one\n"
    "---@field comment? string what lines begin with that are no records\n"
    "---@class workers.csv.ReadOptions: workers.csv.Format\n"
    "---@field header? boolean|string[] true: the first row names the columns; a list: these names do\n"
    "---@field strict? boolean every row must have as many fields as the first, or as there are names\n"
    "---@field trim? boolean blanks around fields are dropped\n"
    "---@field skipEmpty? boolean false: an empty line is a row with one empty field\n"
    "---@field maxField? integer bytes of the longest field\n"
    "---@field maxFields? integer fields of the longest row\n"
    "---@class workers.csv.WriteOptions: workers.csv.Format\n"
    "---@field header? string[] the first line, and the order of the fields of rows by name\n"
    "---@field newline? string \"\\r\\n\" or \"\\n\"\n"
    "---@field bom? boolean begin with a byte order mark, as Excel wants it for UTF-8\n"
    "---@field quoteAll? boolean quote every field\n"
    "---@field safe? boolean keep spreadsheets from taking texts for formulas\n";

const struct script_docs csv_docs = {"Comma-separated values", functions, types};

int luaopen_workers_csv(lua_State *L)
{
    static const luaL_Reg metamethods[] = {{"__gc", release_text}, {"__close", release_text}, {NULL, NULL}};
    luaL_newmetatable(L, TEXT_BOX);
    luaL_setfuncs(L, metamethods, 0);
    lua_pop(L, 1);
    functions_push(L, functions);
    return 1;
}
