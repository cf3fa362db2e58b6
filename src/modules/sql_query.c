/* Running the queries of workers.sql. Must not run one on the loop's thread, nor on a connection without a
 * guard. */
#include "modules/sql_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "script/budget.h"
#include "worker/worker.h"

#include <lauxlib.h>
#include <string.h>

#define BOX "workers.sql.query"
#define LINE "workers.sql.line"
#define AT_ONCE 2                       /* queries of one isolate in the pool, which others need as well */
#define NAMES_MAX ((size_t)1024 * 1024) /* bytes of the names of all columns */
#define VALUE_MAX ((size_t)16 * 1024 * 1024)   /* of one value, also in between */
#define MEMORY_MAX ((size_t)128 * 1024 * 1024) /* of the database engine for one query */
#define BUSY_TIMEOUT_MS 5000
#define LOOK_NS 500000 /* between two looks at the query's CPU time */

/* The queries of one isolate that wait for their turn. It lives as long as the state or a query needs it. */
struct sql_line {
    int references;
    int running;
    uv_loop_t *loop;
    struct sql_query *first, *last;
};

static const char line_key = 'l'; /* its address names the line in the registry */

static void line_release(struct sql_line *line)
{
    if (line != NULL && --line->references == 0)
        mem_free(line);
}

static void query_free(struct sql_query *query)
{
    if (query == NULL)
        return;
    line_release(query->line);
    arena_free(&query->arena);
    buf_free(&query->names);
    buf_free(&query->values);
    mem_free(query);
}

/* ---- on the pool's thread ---- */

static bool go_on(void *ctx)
{
    struct sql_query *query = ctx;
    if (atomic_load(&query->stop))
        return false;
    uint64_t now = clock_mono_ns();
    if (now - query->looked_ns < LOOK_NS)
        return true;
    query->looked_ns = now;
    return clock_thread_cpu_ns() - query->cpu_start_ns < query->cpu_left_ns;
}

static enum err_code take_columns(void *ctx, int count, const char *const names[])
{
    struct sql_query *query = ctx;
    query->columns = count;
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++)
            if (strcmp(names[i], names[j]) == 0)
                return err_set(&query->err, ERR_INVALID,
                               "two columns are called \"%.100s\": give one of them another name with AS",
                               names[i]);
        buf_add(&query->names, names[i], strlen(names[i]) + 1);
    }
    return buf_status(&query->names, "the list of columns", &query->err);
}

static void add_value(struct buf *out, const struct db_value *value)
{
    uint64_t len = value->len;
    buf_addc(out, (char)value->type);
    switch (value->type) {
    case DB_NULL:
        break;
    case DB_INTEGER:
        buf_add(out, &value->integer, sizeof value->integer);
        break;
    case DB_REAL:
        buf_add(out, &value->real, sizeof value->real);
        break;
    case DB_TEXT:
    case DB_BLOB:
        buf_add(out, &len, sizeof len);
        buf_add(out, value->text, value->len);
        break;
    }
}

static enum err_code take_row(void *ctx, int count, const struct db_value values[])
{
    struct sql_query *query = ctx;
    if (query->rows == query->max_rows)
        return err_set(
            &query->err, ERR_LIMIT,
            "there are more than %lld rows: narrow the query with WHERE or LIMIT, or raise maxRows",
            (long long)query->max_rows);
    for (int i = 0; i < count; i++)
        add_value(&query->values, &values[i]);
    query->rows++;
    if (!query->values.failed)
        return ERR_NONE;
    if (query->values.out_of_memory)
        return err_nomem(&query->err);
    return err_set(&query->err, ERR_LIMIT,
                   "the rows are larger than %llu bytes: select fewer columns or rows, or raise maxBytes",
                   (unsigned long long)query->max_bytes);
}

static void work(uv_work_t *handle)
{
    struct sql_query *query = handle->data;
    const struct db_sink sink = {.columns = take_columns, .row = take_row, .ctx = query};
    const struct db_guard guard = {.memory_max = MEMORY_MAX,
                                   .value_max = VALUE_MAX,
                                   .hidden = RESERVED_TABLES,
                                   .go_on = go_on,
                                   .ctx = query};
    const struct db_options options = {.busy_timeout_ms = BUSY_TIMEOUT_MS, .guard = &guard};
    query->cpu_start_ns = clock_thread_cpu_ns();
    query->code = db_query(query->driver, query->address, &options, &query->statement, &sink, &query->err);
    query->cpu_spent_ns = clock_thread_cpu_ns() - query->cpu_start_ns;
}

/* ---- waiting ---- */

static void start(struct sql_query *query);

static void take_out(struct sql_query *query)
{
    struct sql_line *line = query->line;
    struct sql_query *previous = NULL;
    for (struct sql_query *at = line->first; at != query; at = at->next)
        previous = at;
    if (previous != NULL)
        previous->next = query->next;
    else
        line->first = query->next;
    if (line->last == query)
        line->last = previous;
    query->in_line = false;
}

static void start_next(struct sql_line *line)
{
    struct sql_query *next = line->first;
    if (next == NULL || line->running >= AT_ONCE)
        return;
    take_out(next);
    start(next);
}

static void after_work(uv_work_t *handle, int status)
{
    struct sql_query *query = handle->data;
    struct sql_line *line = query->line;
    (void)status; /* UV_ECANCELED only when nobody waits */
    query->in_pool = false;
    line->running--;
    start_next(line);
    if (query->task == NULL)
        query_free(query);
    else
        task_wake(query->task);
}

static void start(struct sql_query *query)
{
    query->in_pool = true;
    query->line->running++;
    uv_queue_work(query->line->loop, &query->work, work, after_work); /* fails for want of a function only */
}

/* The script no longer waits: a query that runs is freed when it comes back from the pool. */
static void give_up(struct sql_query *query)
{
    query->task = NULL;
    if (query->in_line) {
        take_out(query);
        query_free(query);
        return;
    }
    atomic_store(&query->stop, true);
    uv_cancel((uv_req_t *)&query->work); /* in vain when it runs already */
}

static void cancel(void *op)
{
    struct sql_query **box = op;
    give_up(*box);
    *box = NULL;
}

void sql_query_release(struct sql_query **box)
{
    query_free(*box);
    *box = NULL;
}

static int box_release(lua_State *L)
{
    struct sql_query **box = luaL_checkudata(L, 1, BOX);
    if (*box != NULL && ((*box)->in_pool || (*box)->in_line))
        cancel(box);
    else
        sql_query_release(box);
    return 0;
}

static int close_line(lua_State *L)
{
    struct sql_line **line = luaL_checkudata(L, 1, LINE);
    line_release(*line);
    *line = NULL;
    return 0;
}

void sql_query_setup(lua_State *L)
{
    static const luaL_Reg query_closers[] = {{"__gc", box_release}, {"__close", box_release}, {NULL, NULL}};
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, query_closers, 0);
    luaL_newmetatable(L, LINE);
    lua_pushcfunction(L, close_line);
    lua_setfield(L, -2, "__gc");
    struct sql_line **line = lua_newuserdatauv(L, sizeof *line, 0);
    *line = NULL;
    luaL_setmetatable(L, LINE);
    *line = mem_need(sizeof **line);
    (*line)->references = 1;
    (*line)->loop = scheduler_loop(isolate_scheduler(isolate_of(L)));
    lua_rawsetp(L, LUA_REGISTRYINDEX, &line_key);
    lua_pop(L, 2);
}

struct sql_query *sql_query_push(lua_State *L, const char *function)
{
    struct sql_query **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, BOX);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &line_key);
    struct sql_line *line = *(struct sql_line **)lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct sql_query *query = mem_zalloc(sizeof *query);
    if (query == NULL)
        luaL_error(L, "%s: out of memory", function);
    *box = query;
    query->line = line;
    line->references++;
    arena_init(&query->arena);
    buf_init(&query->names, NAMES_MAX);
    query->work.data = query;
    snprintf(query->function, sizeof query->function, "%s", function);
    return query;
}

int sql_query_run(lua_State *L, struct sql_query *query, lua_KFunction k)
{
    struct sql_line *line = query->line;
    query->task = task_current(L);
    query->cpu_left_ns = budget_left_ns(L);
    buf_init(&query->values, (size_t)query->max_bytes);
    query->in_line = true;
    query->next = NULL;
    if (line->last != NULL)
        line->last->next = query;
    else
        line->first = query;
    line->last = query;
    start_next(line);
    task_wait_set(query->task, cancel, lua_touserdata(L, -1));
    return task_wait(L, lua_gettop(L), k);
}
