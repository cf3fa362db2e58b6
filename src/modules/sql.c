/* workers.sql: queries that only read, on the worker's own tables and on SQLite files that the script may
 * read. Arguments and results; how a query is run is in sql_query.c. */
#include "modules/sql_priv.h"

#include "base/text.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "script/budget.h"
#include "script/options.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

#define SQL_FILE "workers.sql.file"
#define ROWS_MAX 10000                            /* default of maxRows */
#define BYTES_MAX ((uint64_t)16 * 1024 * 1024)    /* default of maxBytes */
#define BYTES_LIMIT ((uint64_t)256 * 1024 * 1024) /* its greatest value */
#define TEXT_MAX ((size_t)256 * 1024)             /* bytes of a statement */
#define PARAMETERS_MAX 1000
#define PARAMETER_BYTES_MAX ((size_t)16 * 1024 * 1024) /* of all parameters together */
#define NAME_MAX_BYTES 64                              /* of the name of a parameter */
#define CELLS_PER_TICK 4096                            /* pushed between two looks at the CPU limit */

/* ---- arguments ---- */

static char *keep(lua_State *L, struct sql_query *query, const char *text, size_t len)
{
    char *copy = arena_strndup(&query->arena, text, len);
    if (copy == NULL)
        luaL_error(L, "%s: out of memory", query->function);
    return copy;
}

static void read_statement(lua_State *L, struct sql_query *query, int index)
{
    size_t len = 0;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s: argument 1 (text): expected a statement such as \"SELECT 1\", got %s",
                   query->function, lua_isnoneornil(L, index) ? "nothing" : luaL_typename(L, index));
    const char *text = lua_tolstring(L, index, &len);
    if (len > TEXT_MAX)
        luaL_error(L, "%s: argument 1 (text): the statement is longer than %d KiB; give values as parameters",
                   query->function, (int)(TEXT_MAX / 1024));
    if (strlen(text) != len)
        luaL_error(L, "%s: argument 1 (text): the statement contains a NUL byte", query->function);
    query->statement.sql = keep(L, query, text, len);
}

/* Key and value are on top of the stack. Returns how many bytes are to be copied. */
static size_t check_parameter(lua_State *L, const struct sql_query *query)
{
    char shown[NAME_MAX_BYTES + 2];
    size_t name_len = 0;
    if (lua_type(L, -2) == LUA_TSTRING) {
        const char *name = lua_tolstring(L, -2, &name_len);
        snprintf(shown, sizeof shown, ":%s", name);
        if (strlen(name) != name_len || name_len > NAME_MAX_BYTES)
            luaL_error(L, "%s: argument 2 (params): \"%s\" cannot be the name of a parameter",
                       query->function, shown + 1);
    } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= PARAMETERS_MAX) {
        snprintf(shown, sizeof shown, "?%d", (int)lua_tointeger(L, -2));
    } else {
        luaL_error(L, "%s: argument 2 (params): its keys must be names, or numbers from 1 to %d",
                   query->function, PARAMETERS_MAX);
    }
    bool null = lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == NULL;
    if (lua_type(L, -1) != LUA_TNUMBER && !lua_isboolean(L, -1) && lua_type(L, -1) != LUA_TSTRING && !null)
        luaL_error(
            L, "%s: argument 2 (params): %s must be a string, a number, true, false or workers.null, got %s",
            query->function, shown, luaL_typename(L, -1));
    return name_len + (lua_type(L, -1) == LUA_TSTRING ? lua_rawlen(L, -1) : 0);
}

/* A string is a text if it can be one. */
static void copy_parameter(lua_State *L, struct sql_query *query, struct db_parameter *parameter)
{
    struct db_value *value = &parameter->value;
    if (lua_type(L, -2) == LUA_TSTRING)
        parameter->name = keep(L, query, lua_tostring(L, -2), lua_rawlen(L, -2));
    else
        parameter->number = (int)lua_tointeger(L, -2);
    if (lua_isinteger(L, -1)) {
        *value = (struct db_value){.type = DB_INTEGER, .integer = lua_tointeger(L, -1)};
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        *value = (struct db_value){.type = DB_REAL, .real = lua_tonumber(L, -1)};
    } else if (lua_isboolean(L, -1)) {
        *value = (struct db_value){.type = DB_INTEGER, .integer = lua_toboolean(L, -1)};
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(L, -1, &len);
        *value = (struct db_value){.type = text_is_utf8(text, len, NULL) ? DB_TEXT : DB_BLOB, .len = len};
        value->text = keep(L, query, text, len);
    } else {
        *value = (struct db_value){.type = DB_NULL};
    }
}

/* Looks at everything before it copies anything. */
static void read_parameters(lua_State *L, struct sql_query *query, int index)
{
    size_t count = 0;
    size_t bytes = 0;
    if (lua_isnil(L, index))
        return;
    if (!lua_istable(L, index))
        luaL_error(L, "%s: argument 2 (params): expected a table such as { 1 } or { name = 1 }, got %s",
                   query->function, luaL_typename(L, index));
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        bytes += check_parameter(L, query);
        if (++count > PARAMETERS_MAX || bytes > PARAMETER_BYTES_MAX)
            luaL_error(L, "%s: argument 2 (params): at most %d parameters of %d MiB in all can be given",
                       query->function, PARAMETERS_MAX, (int)(PARAMETER_BYTES_MAX >> 20));
    }
    struct db_parameter *parameters = arena_zalloc(&query->arena, (count + 1) * sizeof *parameters);
    if (parameters == NULL)
        luaL_error(L, "%s: out of memory", query->function);
    query->statement.parameters = parameters;
    query->statement.parameter_count = count;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        copy_parameter(L, query, parameters++);
}

static const struct option_spec query_options[] = {
    {"maxRows", OPTION_INTEGER, false, NULL},
    {"maxBytes", OPTION_ANY, false, NULL},
    {NULL, 0, false, NULL},
};

static void read_options(lua_State *L, struct sql_query *query, int index)
{
    query->max_rows = ROWS_MAX;
    query->max_bytes = BYTES_MAX;
    if (lua_isnil(L, index))
        return;
    options_check(L, index, query_options, query->function);
    double rows = options_number(L, index, "maxRows", ROWS_MAX);
    if (!(rows >= 1 && rows <= INT_MAX))
        luaL_error(L, "%s: option \"maxRows\" must be a whole number of at least 1", query->function);
    query->max_rows = (int64_t)rows;
    query->max_bytes = options_size(L, index, "maxBytes", BYTES_MAX, query->function);
    if (query->max_bytes < 1 || query->max_bytes > BYTES_LIMIT)
        luaL_error(L, "%s: option \"maxBytes\" must be from 1 byte to %d MiB", query->function,
                   (int)(BYTES_LIMIT >> 20));
}

/* ---- results ---- */

/* Raises what went wrong. What was spent of the CPU limit counts either way. */
static struct sql_query *check_outcome(lua_State *L, struct sql_query **box)
{
    struct sql_query *query = *box;
    uint64_t spent_ns = query->cpu_spent_ns;
    bool failed = query->code != ERR_NONE;
    if (failed) {
        luaL_where(L, 1);
        lua_pushfstring(L, "%s: %s", query->function, query->err.message);
        lua_concat(L, 2);
        sql_query_release(box);
    }
    budget_spend(L, spent_ns);
    if (failed)
        lua_error(L);
    return query;
}

/* Pushes the list of the names of the columns. */
static void push_names(lua_State *L, const struct sql_query *query)
{
    const char *name = buf_text(&query->names);
    lua_createtable(L, query->columns, 0);
    for (int i = 1; i <= query->columns; i++) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, i);
        name += strlen(name) + 1;
    }
    json_push_array_metatable(L);
    lua_setmetatable(L, -2);
}

/* Pushes the value at *at, which moves on; false for NULL, which is not pushed. */
static bool push_value(lua_State *L, const char **at)
{
    enum db_type type = (enum db_type)(unsigned char)*(*at)++;
    uint64_t len = 0;
    int64_t integer = 0;
    double real = 0;
    switch (type) {
    case DB_NULL:
        return false;
    case DB_INTEGER:
        memcpy(&integer, *at, sizeof integer);
        *at += sizeof integer;
        lua_pushinteger(L, integer);
        return true;
    case DB_REAL:
        memcpy(&real, *at, sizeof real);
        *at += sizeof real;
        lua_pushnumber(L, real);
        return true;
    case DB_TEXT:
    case DB_BLOB:
        memcpy(&len, *at, sizeof len);
        *at += sizeof len;
        lua_pushlstring(L, *at, (size_t)len);
        *at += len;
        return true;
    }
    return false;
}

/* Pushes the rows: a list of tables by column name, with the names in the field columns. That one is in the
 * metatable, so that the rows are nothing but a list to whoever walks or encodes them. */
static void push_rows(lua_State *L, const struct sql_query *query)
{
    const char *at = buf_text(&query->values);
    unsigned cells = 0;
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, (int)query->rows, 0);
    push_names(L, query);
    int names = lua_gettop(L);
    for (int64_t row = 1; row <= query->rows; row++) {
        lua_createtable(L, 0, query->columns);
        for (int i = 1; i <= query->columns; i++) {
            lua_rawgeti(L, names, i);
            if (push_value(L, &at))
                lua_rawset(L, -3);
            else
                lua_pop(L, 1);
            if (++cells % CELLS_PER_TICK == 0)
                budget_tick(L);
        }
        lua_rawseti(L, names - 1, row);
    }
    lua_createtable(L, 0, 2); /* the metatable */
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, names);
    lua_setfield(L, -2, "columns");
    lua_setfield(L, -2, "__index");
    if (query->rows == 0) { /* JSON's [] */
        lua_createtable(L, 0, 0);
        json_push_array_metatable(L);
        lua_setmetatable(L, -2);
        lua_setfield(L, -2, "__jsonvalue");
    }
    lua_setmetatable(L, names - 1);
    lua_settop(L, names - 1);
}

static int query_over(lua_State *L, int status, lua_KContext box_index)
{
    (void)status;
    struct sql_query **box = lua_touserdata(L, (int)box_index);
    push_rows(L, check_outcome(L, box));
    sql_query_release(box);
    return 1;
}

/* ---- functions ---- */

/* stack: statement, parameters, options, …, box */
static int start(lua_State *L, struct sql_query *query)
{
    read_options(L, query, 3);
    read_statement(L, query, 1);
    read_parameters(L, query, 2);
    return sql_query_run(L, query, query_over);
}

static int sql_query(lua_State *L)
{
    const struct isolate_host *host = isolate_host(isolate_of(L));
    struct err err;
    task_wait_begin(L, "sql.query");
    lua_settop(L, 3);
    struct sql_query *query = sql_query_push(L, "sql.query");
    if (host->rows_address == NULL)
        return luaL_error(L, "sql.query: there are no rows to query here");
    if (host->rows_address(host->ctx, &query->driver, query->address, sizeof query->address, &err) !=
        ERR_NONE)
        return luaL_error(L, "sql.query: %s", err.message);
    return start(L, query);
}

/* What sql.open gives: the path of a file that was found to be a database. It is opened for each query. */
struct sql_file {
    bool closed;
    char path[];
};

static int open_over(lua_State *L, int status, lua_KContext box_index)
{
    (void)status;
    struct sql_query **box = lua_touserdata(L, (int)box_index);
    if ((*box)->code != ERR_NONE)
        err_context(&(*box)->err, "%.200s", lua_tostring(L, 1)); /* the path as the script knows it */
    const struct sql_query *query = check_outcome(L, box);
    size_t size = strlen(query->address) + 1;
    struct sql_file *file = lua_newuserdatauv(L, sizeof *file + size, 0);
    file->closed = false;
    memcpy(file->path, query->address, size);
    luaL_setmetatable(L, SQL_FILE);
    sql_query_release(box);
    return 1;
}

static int sql_open(lua_State *L)
{
    const struct isolate_host *host = isolate_host(isolate_of(L));
    size_t len = 0;
    struct stat status;
    struct err err;
    task_wait_begin(L, "sql.open");
    if (lua_type(L, 1) != LUA_TSTRING || lua_rawlen(L, 1) == 0)
        return luaL_error(L, "sql.open: argument 1 (path): expected the path of a SQLite file, got %s",
                          lua_isnoneornil(L, 1)           ? "nothing"
                          : lua_type(L, 1) == LUA_TSTRING ? "an empty string"
                                                          : luaL_typename(L, 1));
    const char *path = lua_tolstring(L, 1, &len);
    if (strlen(path) != len)
        return luaL_error(L, "sql.open: argument 1 (path): it contains a NUL byte");
    if (host->read_path == NULL)
        return luaL_error(L, "sql.open: files cannot be read from here");
    lua_settop(L, 1);
    struct sql_query *query = sql_query_push(L, "sql.open");
    query->driver = &db_sqlite;
    if (host->read_path(host->ctx, path, query->address, sizeof query->address, &err) != ERR_NONE)
        return luaL_error(L, "sql.open: %s", err.message);
    if (stat(query->address, &status) != 0 ||
        !S_ISREG(status.st_mode)) /* opening a pipe could take forever */
        return luaL_error(L, "sql.open: %s is not a plain file", path);
    query->statement.sql = "SELECT count(*) FROM sqlite_schema";
    query->max_rows = 1;
    query->max_bytes = 64;
    return sql_query_run(L, query, open_over);
}

static struct sql_file *check_file(lua_State *L, const char *method)
{
    struct sql_file *file = luaL_testudata(L, 1, SQL_FILE);
    if (file == NULL)
        luaL_error(L, "call it with a colon: database:%s(…)", method);
    return file;
}

static int database_query(lua_State *L)
{
    const struct sql_file *file = check_file(L, "query");
    task_wait_begin(L, "database:query");
    lua_settop(L, 4);
    if (file->closed)
        return luaL_error(L, "database:query: the database was closed");
    struct sql_query *query = sql_query_push(L, "database:query");
    query->driver = &db_sqlite;
    memcpy(query->address, file->path, strlen(file->path) + 1);
    lua_remove(L, 1);
    return start(L, query);
}

static int database_close(lua_State *L)
{
    check_file(L, "close")->closed = true;
    return 0;
}

static const struct script_function functions[] = {
    {"query", sql_query,
     "(text: string, params?: table, options?: { maxRows?: integer, maxBytes?: integer|string }): sql.Rows",
     "the rows that a SELECT on the worker's own tables gives"},
    {"open", sql_open, "(path: string): sql.Database", "a SQLite file of the project, for queries"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] = "---@class sql.Rows: table[] rows by column name; NULL is left out\n"
                            "---@field columns string[] names of the columns, in order\n"
                            "---@class sql.Database\n"
                            "---@field query fun(self: sql.Database, text: string, params?: table, options?: "
                            "{ maxRows?: integer, maxBytes?: integer|string }): sql.Rows\n"
                            "---@field close fun(self: sql.Database)\n";

const struct script_docs sql_docs = {"SQL queries on the worker's tables and on SQLite files", functions,
                                     types};

int luaopen_workers_sql(lua_State *L)
{
    static const luaL_Reg methods[] = {{"query", database_query}, {"close", database_close}, {NULL, NULL}};
    sql_query_setup(L);
    luaL_newmetatable(L, SQL_FILE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, database_close);
    lua_setfield(L, -2, "__close");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    functions_push(L, functions);
    return 1;
}
