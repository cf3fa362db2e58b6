/* What the files of workers.sql share; nothing else includes this.
 *
 * Who owns what: a query belongs to its box, a userdata, and while it is on its way also to the pool of
 * threads; whoever is last frees it. It holds nothing of Lua, for it may outlive the script that asked. */
#ifndef WORKERS_MODULES_SQL_PRIV_H
#define WORKERS_MODULES_SQL_PRIV_H

#include "base/arena.h"
#include "base/buf.h"
#include "db/db.h"
#include "script/task.h"

#include <limits.h>
#include <lua.h>
#include <stdatomic.h>
#include <uv.h>

#define SQL_FUNCTION_MAX 32 /* bytes of the name of a function */

struct sql_line;

struct sql_query {
    /* What is asked. */
    char function[SQL_FUNCTION_MAX]; /* for messages */
    const struct db_driver *driver;
    char address[PATH_MAX];
    struct arena arena; /* the statement, names and texts of parameters */
    struct db_statement statement;
    int64_t max_rows;
    uint64_t max_bytes;
    /* What came of it. */
    enum err_code code;
    struct err err;
    uint64_t cpu_spent_ns;
    int columns;
    int64_t rows;
    struct buf names; /* of the columns, a NUL after each */
    struct buf
        values; /* row after row: a byte for the type of each, then the number, or the length and the bytes */
    /* On its way. */
    uv_work_t work;
    struct task *task; /* NULL when nobody waits any more */
    struct sql_line *line;
    struct sql_query *next; /* in the line */
    bool in_line;           /* waits for others of its isolate */
    bool in_pool;           /* from handing it to the pool until it comes back */
    atomic_bool stop;
    uint64_t cpu_left_ns;
    uint64_t cpu_start_ns, looked_ns; /* on the pool's thread */
};

/* Once for each state, before the others. */
void sql_query_setup(lua_State *L);
/* Pushes the box of a new query. Raises when memory is out. */
struct sql_query *sql_query_push(lua_State *L, const char *function);
/* To be returned after task_wait_begin, with the box on top of the stack: runs the query, then k, whose
 * context is the index of the box. */
int sql_query_run(lua_State *L, struct sql_query *query, lua_KFunction k);
/* Frees a query that has ended, at once: Lua would not know how large it is. */
void sql_query_release(struct sql_query **box);

#endif
