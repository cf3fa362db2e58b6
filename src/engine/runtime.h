/* One process's runtime for one worker: event loop, script, store, HTTP client, environment, pacers.
 *
 * Who owns what: the runtime owns everything in it; executions (cycles and calls) belong to whoever starts
 * them and end before the runtime is freed. */
#ifndef WORKERS_ENGINE_RUNTIME_H
#define WORKERS_ENGINE_RUNTIME_H

#include "engine/executor.h"
#include "engine/redact.h"
#include "modules/modules.h"
#include "script/isolate.h"
#include "script/script_error.h"
#include "script/sources.h"
#include "script/task.h"
#include "worker/config.h"

#include <uv.h>

struct runtime;
struct pacers;
struct http_stand_in;

/* Told of every log line, already redacted. run_id and key may be NULL. */
typedef void (*log_sink)(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                         size_t len);

struct runtime_options {
    const char *folder;          /* the project's folder; the store is in its .workers */
    int64_t version;             /* that was deployed; 0: none */
    const char *code;            /* where its files are; NULL: there as well */
    const char *script;          /* path of the main script */
    const struct config *config; /* outlives the runtime */
    log_sink log;
    void *log_ctx;
    const struct http_stand_in *stand_in; /* in the place of the network; NULL outside tests */
    uv_loop_t *loop;                      /* shared with others; NULL for one of its own */
};

struct runtime {
    struct runtime_options options;
    uv_loop_t *loop;
    uv_loop_t own_loop;
    struct scheduler *scheduler;
    struct sources *sources;
    struct worker *worker;
    struct store *store;
    struct executor *executor; /* NULL while there is no store */
    struct http_client *http;  /* made by the first request */
    struct redactor *redactor;
    struct redactor *credentials; /* values that were put into requests: what comes back must not hold them */
    struct environment *environment;
    struct pacers *pacers;
    struct oauth_flight *flights; /* tokens that are being asked for */
    struct oauth_asking *askings; /* of providers */
    struct oauth_discovery *discoveries;
    void (*oauth_over)(void *ctx); /* told when no provider is asked any more; NULL for nobody */
    void *oauth_ctx;
    char store_folder[4096];
    char memory_store[32];  /* its address when it is in memory; else empty */
    unsigned memory_stores; /* made so far */
    bool keeps_warm;        /* isolates of calls, for the next one */
    struct warm *warm;
    struct call *starting, *starting_last; /* calls that wait for their turn to begin */
    struct deferred start;
};

/* Reads the script; runs nothing yet. */
enum err_code runtime_open(const struct runtime_options *options, struct runtime **out,
                           struct err *err) MUST_CHECK;
/* Runs the script once to learn what it declares. */
enum err_code runtime_load(struct runtime *runtime, struct script_error *error) MUST_CHECK;
/* Opens the store and brings its tables in line; for a preview nothing of that is kept. report gets what was
 * changed, one line each. */
enum err_code runtime_open_store(struct runtime *runtime, bool preview, struct buf *report,
                                 struct err *err) MUST_CHECK;
/* Opens the store for what needs no tables of the worker's: pacers and values of a run that writes no rows.
 */
enum err_code runtime_share_store(struct runtime *runtime, struct err *err) MUST_CHECK;
/* A fresh store in memory, fresh pacers, no given variables. No execution may be under way. */
enum err_code runtime_renew_memory(struct runtime *runtime, struct err *err) MUST_CHECK;
/* The client of all requests, made by the first; NULL when it cannot be made. */
struct http_client *runtime_http(struct runtime *runtime, struct err *err) MUST_CHECK;
void runtime_free(struct runtime *runtime);

/* Told of what an execution says while it runs. Texts are redacted, and live during the call. */
struct observer {
    void (*log)(void *ctx, const char *level, const char *text, size_t len);
    void (*progress)(void *ctx, double progress, double total, const char *message); /* see isolate_host */
    void *ctx;
};

/* One execution's connection to the outside, given to its isolate as the host. */
struct execution {
    struct runtime *runtime;
    const char *key;
    char run_id[STORE_ID_SIZE];      /* empty when the run is not recorded */
    const struct observer *observer; /* NULL for nobody */
    bool writes_nothing;             /* a preview: what it sets with workers.kv goes to kv_layer */
    bool dry_run;                    /* it was asked to change nothing elsewhere either */
    struct kv_layer *kv_layer;       /* made by the first such call; NULL otherwise */
    int64_t requests;                /* HTTP requests sent */
    int waiting_on_pacer;            /* branches that wait for a slot */
    int waiting_on_http;             /* requests under way */
    struct isolate_host host;
    struct registration registration;
};

void execution_init(struct execution *execution, struct runtime *runtime, const char *key);
void execution_free(struct execution *execution);
/* Opens an isolate for the execution and loads the script for its capability. */
enum err_code execution_open(struct execution *execution, struct isolate **out,
                             struct script_error *error) MUST_CHECK;
void execution_log(struct execution *execution, const char *level, const char *text, size_t len);

/* The message without secrets; the caller frees it. */
char *runtime_redacted(struct runtime *runtime, const char *text);

/* environment.c */
struct environment;
struct environment *environment_new(struct runtime *runtime);
void environment_free(struct environment *environment);
/* NULL when there is no such variable or the script may not see it. Values from .env and from the sealed
 * secrets are hidden in everything that is written from then on. */
const char *environment_get(struct environment *environment, const char *name);
/* The variable is a credential from now on: environment_get has it no more. ERR_DENIED when it was read
 * before. */
enum err_code environment_hide(struct environment *environment, const char *name, struct err *err) MUST_CHECK;
/* Its value, for nobody but the request that it goes into; NULL when it is not set. */
const char *environment_credential(struct environment *environment, const char *name);
/* Sets a variable for scripts, in the place of a real one, until environment_take_back. With if_unset a real
 * one stays. ERR_NOMEM. */
enum err_code environment_give(struct environment *environment, const char *name, const char *value,
                               bool if_unset) MUST_CHECK;
void environment_take_back(struct environment *environment);
/* Reads the project's .env file; a missing one is fine. */
enum err_code environment_load_file(struct environment *environment, const char *path,
                                    struct err *err) MUST_CHECK;

/* Reads the sealed secrets, with the thread that has the store. What is wrong with them is logged. */
void environment_read_store(struct environment *environment, struct store *store);
/* Reads them anew: those of the home have changed. */
void environment_read_again(struct environment *environment);
/* Whether the store's secrets are others than those that were read (store_secrets_stamp); they are read anew.
 */
bool environment_changed(struct environment *environment, int64_t stamp);

/* kv.c: as in struct isolate_host. */
enum err_code execution_kv(struct execution *execution, struct kv_call *call, struct task *task,
                           struct err *err) MUST_CHECK;
void execution_kv_cancel(struct kv_call *call);

/* pacers.c */
struct pacers *pacers_new(struct runtime *runtime);
void pacers_free(struct pacers *pacers);
/* counter is incremented while the task waits. */
enum err_code pacers_wait(struct pacers *pacers, const char *key, struct task *task, int *counter, void **op,
                          struct err *err) MUST_CHECK;
void pacers_cancel(void *op);
/* The task that was given the pacer's last slot begins with it now: the next slots keep their distance to
 * this moment, not to that of the wake-up, since the process may have stood still in between. */
void pacers_begun(struct pacers *pacers, const char *key);

#endif
