/* One isolate = one lua_State in which one script runs: its memory and CPU limits, its sandbox, its modules.
 *
 * Who owns what: the isolate owns the Lua state and every task in it; whoever opens it closes it, from the
 * loop's thread, never from inside a Lua call.
 *
 * C code that calls into Lua goes through isolate_call (protected, with a traceback) or starts a task
 * (script/task.h); there is no other way in. */
#ifndef WORKERS_SCRIPT_ISOLATE_H
#define WORKERS_SCRIPT_ISOLATE_H

#include "base/err.h"
#include "script/functions.h"

#include <lua.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

struct buf;
struct db_driver;
struct isolate;
struct kv_call;
struct oauth_call;
struct scheduler;
struct sources;
struct script_error;
struct task;

struct isolate_limits {
    size_t memory_bytes; /* of the Lua state; 0 = no limit */
    uint64_t cpu_ms;  /* of one task and its children, or of loading; waiting does not count; 0 = no limit */
    uint64_t wall_ms; /* of one task from its start, waiting included; 0 = no limit */
    const char *wall_setting; /* where that is set, for the message; NULL: limits.wall */
};

/* One Lua module written in C; luaopen as in Lua's own require. */
struct script_module {
    const char *name;
    lua_CFunction open;
    const struct script_docs *docs; /* NULL when the module is not for scripts' eyes */
};

/* What modules ask of the floors above. Every function gets ctx first. Optional ones may be NULL. */
struct isolate_host {
    void *ctx;
    /* One line of the script's log. level is "debug", "info", "warn" or "error"; "http" for a request, which
     * is for those who look into the log later. */
    void (*log)(void *ctx, const char *level, const char *text, size_t len);
    /* How far the execution is; total is negative, message NULL when not given. */
    void (*progress)(void *ctx, double progress, double total, const char *message);
    /* Value of an environment variable that the script may see, NULL if there is none or it may not. */
    const char *(*env)(void *ctx, const char *name);
    /* Calls back (task_wake) when the pacer's next slot has come. */
    enum err_code (*pacer_wait)(void *ctx, const char *pacer, struct task *task, void **op, struct err *err);
    void (*pacer_cancel)(void *ctx, void *op);
    /* The task goes on with its slot now, which may be a moment after it was woken. */
    void (*pacer_begun)(void *ctx, const char *pacer);
    /* The process's HTTP client; created at first use. */
    struct http_client *(*http)(void *ctx, struct err *err);
    /* Called once for every request that leaves. */
    void (*http_sent)(void *ctx);
    /* Resolves a path that the script may read to an absolute one; ERR_DENIED names the line to add. */
    enum err_code (*read_path)(void *ctx, const char *path, char *resolved, size_t size, struct err *err);
    /* The database that holds the worker's rows, for reading; ERR_NOT_FOUND says how to make one. */
    enum err_code (*rows_address)(void *ctx, const struct db_driver **driver, char *address, size_t size,
                                  struct err *err);
    /* Starts an operation on the worker's key-value store (modules/kv.h); when it has ended, its outcome is
     * in the call, and task_wake is called. kv_cancel gives the call up: it is freed when that is safe. */
    enum err_code (*kv)(void *ctx, struct kv_call *call, struct task *task, struct err *err);
    void (*kv_cancel)(void *ctx, struct kv_call *call);
    /* Gets an access token (modules/oauth.h); when that is over, its outcome is in the call, and task_wake is
     * called. */
    enum err_code (*oauth)(void *ctx, struct oauth_call *call, struct task *task, struct err *err);
    /* Whether the script was asked to change nothing, also elsewhere. NULL: it was not. */
    bool (*dry_run)(void *ctx);
    /* Whether the script may connect to port of host; ERR_DENIED names the line to add. */
    enum err_code (*net_allowed)(void *ctx, const char *host, int port, struct err *err);
    /* Gives the fields that are put into a request to the host below Lua, one by one to take
     * (net/http_client.h). */
    enum err_code (*http_fields)(void *ctx, bool tls, const char *host,
                                 bool (*take)(void *taking, const char *name, const char *value, size_t len),
                                 void *taking, struct err *err);
    /* Appends the text without what http_fields has put into requests; false when it has none of that. */
    bool (*http_scrub)(void *ctx, const char *text, size_t len, struct buf *out);
    /* How many bytes of the text can be given to it while more is to come: those before the beginning of such
     * a value. */
    size_t (*http_scrub_safe)(void *ctx, const char *text, size_t len);
    /* The script has declared a credential: from now on its variable is not there for scripts. ERR_DENIED
     * when the script has read it before. */
    enum err_code (*credential_declared)(void *ctx, const char *key, struct err *err);
    /* The same for an address that the host has resolved to. */
    enum err_code (*address_allowed)(void *ctx, const struct sockaddr *address, struct err *err);
};

struct isolate_config {
    struct isolate_limits limits;
    struct scheduler *scheduler;
    struct sources *sources; /* files of the project, read once; shared by its isolates */
    const struct isolate_host *host;
    const struct script_module *modules; /* ends with a NULL name */
    void *registry;                      /* whatever the modules of the worker need; see isolate_registry */
};

/* Opens a state with the sandbox in place and nothing loaded. */
enum err_code isolate_open(const struct isolate_config *config, struct isolate **out,
                           struct err *err) MUST_CHECK;
/* Ends tasks that still run (their callbacks are not called) and closes the state. NULL is fine. */
void isolate_close(struct isolate *isolate);

lua_State *isolate_state(struct isolate *isolate);
struct isolate *isolate_of(lua_State *L);
const struct isolate_host *isolate_host(struct isolate *isolate);
struct scheduler *isolate_scheduler(struct isolate *isolate);
void *isolate_registry(struct isolate *isolate);
size_t isolate_memory(const struct isolate *isolate);      /* bytes in use */
size_t isolate_memory_peak(const struct isolate *isolate); /* bytes */
void isolate_reset_peak(struct isolate *isolate);          /* to what is in use */
bool isolate_is_quiet(const struct isolate *isolate);      /* no task is left in it */

/* The one helper for protected calls: the function and nargs arguments are on the stack of isolate_state and
 * are replaced by nresults results, or by nothing on failure. The script cannot wait in it. */
enum err_code isolate_call(struct isolate *isolate, int nargs, int nresults,
                           struct script_error *error) MUST_CHECK;

/* Tells fn of every line that any script of the process runs from now on; where->currentline is filled. It
 * makes scripts several times slower. fn must not raise. */
void isolate_watch_lines(void (*fn)(lua_State *L, lua_Debug *where));

/* Runs the body of the project's main script; its one result is left on the stack. */
enum err_code isolate_load_main(struct isolate *isolate, struct script_error *error) MUST_CHECK;

#endif
