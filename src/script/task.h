/* Tasks: functions of a script that run as coroutines on the event loop.
 *
 * A task runs in slices; it gives way when it waits (sleep, pacer, HTTP) and, through the instruction hook,
 * when it has run long. Tasks are resumed from the scheduler's queue only, never from inside somebody's
 * callback.
 *
 * Who owns what: the isolate owns the task; it ends after its done callback has returned. A wait belongs to
 * the C function that began it, whose cancel function must release it. */
#ifndef WORKERS_SCRIPT_TASK_H
#define WORKERS_SCRIPT_TASK_H

#include "script/isolate.h"
#include "script/script_error.h"

struct scheduler;

enum err_code scheduler_new(uv_loop_t *loop, struct scheduler **out, struct err *err) MUST_CHECK;
/* No task may be left. The handles close on the next turn of the loop. */
void scheduler_free(struct scheduler *scheduler);
uv_loop_t *scheduler_loop(struct scheduler *scheduler);

/* Called once when the task has ended. On success its results are on the stack of co (all of it); on failure
 * error says why. May start other tasks and may close other isolates, but not its own: use scheduler_defer
 * for that. */
typedef void (*task_done_fn)(struct task *task, void *ctx, lua_State *co, const struct script_error *error);

/* Starts a task from the function and nargs arguments on top of from's stack (popped). It first runs when the
 * loop next turns. parent is NULL for a root task, which has the isolate's limits; children share their
 * root's. */
enum err_code task_start(struct isolate *isolate, lua_State *from, int nargs, struct task *parent,
                         task_done_fn done, void *ctx, struct task **out, struct err *err) MUST_CHECK;

/* Ends the task at its next instruction; pcall cannot hold it. Its done callback gets the code and text. */
void task_stop(struct task *task, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct task *task_current(lua_State *L); /* NULL while the script is being loaded */

/* For C functions that wait. task_wait_begin raises where waiting is impossible; after it the function starts
 * its operation, then returns task_wait(L, ctx, k). When the operation ends it calls task_wake, from the
 * loop; k then runs in the script's coroutine and pushes the results. cancel(op) is called instead when the
 * task is stopped meanwhile. */
void task_wait_begin(lua_State *L, const char *function);
void task_wait_set(struct task *task, void (*cancel)(void *op), void *op);
int task_wait(lua_State *L, lua_KContext ctx, lua_KFunction k);
void task_wake(struct task *task);

/* The caller's, until fn runs. */
struct deferred {
    struct deferred *next;
    void (*fn)(void *ctx);
    void *ctx;
};

/* Runs fn(ctx) from the loop, outside any task. Cannot fail: it is how things end when memory is out. */
void scheduler_defer(struct scheduler *scheduler, struct deferred *deferred, void (*fn)(void *ctx),
                     void *ctx);

#endif
