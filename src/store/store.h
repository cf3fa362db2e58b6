/* The store: rows, state, runs, secrets of one worker, in one database, so that one transaction covers them.
 *
 * Who owns what: the store owns its connection and statements. It is used by one thread at a time; whoever
 * runs it on another thread must take turns. The struct worker given to store_use must outlive the store. */
#ifndef WORKERS_STORE_STORE_H
#define WORKERS_STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/failure.h"
#include "base/json.h"
#include "db/db.h"
#include "worker/page.h"
#include "worker/worker.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

#define STORE_ID_SIZE 37 /* of a run or a cycle: a UUID (RFC 9562, version 7) and the NUL */

/* ---- opening (store.c) ---- */

/* folder is the project's .workers folder; it is made when create is set. ERR_NOT_FOUND when there is no
 * store and create is not set. */
enum err_code store_open(const char *folder, bool create, struct store **out, struct err *err) MUST_CHECK;
/* A store that is gone when it is closed, at an address that begins with DB_MEMORY (db/db.h). It has no
 * folder, thus no secrets. */
enum err_code store_open_memory(const char *address, struct store **out, struct err *err) MUST_CHECK;
void store_close(struct store *store);

/* Brings the tables in line with what the worker declares, in one transaction, and prepares for writing it.
 * report gets one line for every change made. ERR_CONFLICT when a change cannot be made without losing data:
 * the message is the plan. */
enum err_code store_use(struct store *store, const struct worker *worker, struct buf *report,
                        struct err *err) MUST_CHECK;
/* The same for previews: the tables are brought in line inside each page's transaction, which is rolled back.
 */
enum err_code store_use_preview(struct store *store, const struct worker *worker, struct buf *report,
                                struct err *err) MUST_CHECK;

/* One transaction around several of the calls that say so: deliveries, schedules. durable: a power cut does
 * not undo it. Of begin: ERR_BUSY while somebody else writes. A commit that fails has rolled back. */
enum err_code store_begin(struct store *store, bool durable, struct err *err) MUST_CHECK;
enum err_code store_commit(struct store *store, struct err *err) MUST_CHECK;
void store_rollback(struct store *store);
/* The one after ERR_NONE, the other after a failure, which it returns. */
enum err_code store_finish(struct store *store, enum err_code code, struct err *err) MUST_CHECK;
/* Another number when somebody else has written since; -1 when it is not known. */
int64_t store_others(struct store *store);
/* What the database is, with its version: "SQLite 3.40.1". */
enum err_code store_engine(struct store *store, char *out, size_t size, struct err *err) MUST_CHECK;
/* Reads the whole database and appends what is wrong with it, one line each; nothing when it is as it was
 * written. */
enum err_code store_check(struct store *store, struct buf *problems, struct err *err) MUST_CHECK;
/* Gives back the memory that nobody needs until the store is used again. Outside a transaction. */
void store_rest(struct store *store);

/* ---- syncs: lease, cycle, state (syncs.c) ---- */

enum sync_status {
    STATUS_INITIALIZING,
    STATUS_HEALTHY,
    STATUS_WARNING,
    STATUS_ERROR,
    STATUS_HELD,
    STATUS_DISABLED
};
const char *sync_status_name(enum sync_status status);

/* A sync as the store knows it. Texts are owned; sync_info_free. Times are Unix milliseconds, 0 = never. */
struct sync_info {
    char *key;
    enum sync_status status;
    bool paused;
    int64_t failures; /* in a row */
    char *state;      /* JSON; NULL when there is none */
    size_t state_size;
    bool cycle_open;
    int64_t cycle_pages;
    int64_t last_success_ms;
    int64_t last_run_ms;
    int64_t next_ms; /* when a server runs it next; 0 when no server has served it, or it is paused */
    char *last_run_id;
    char *last_error;
    char *held_reason;
    bool running;       /* somebody holds its lease */
    int64_t running_in; /* the process that does, on its machine; 0 when it is not known */
    /* of the last run, so far: rows that were added, changed, deleted, or found as they were */
    int64_t run_started_ms, run_pages, run_rows;
};
void sync_info_free(struct sync_info *info);
/* An unknown key gives a fresh sync that never ran. */
enum err_code store_sync_info(struct store *store, const char *key, struct sync_info *out,
                              struct err *err) MUST_CHECK;
enum err_code store_sync_pause(struct store *store, const char *key, bool paused, struct err *err) MUST_CHECK;
/* Sets the state (JSON text), or forgets state and open cycle when it is NULL. ERR_BUSY while the sync runs.
 */
enum err_code store_sync_set_state(struct store *store, const char *key, const char *state,
                                   struct err *err) MUST_CHECK;

/* The right to run one sync, and the cycle in hand. */
struct sync_lease {
    char key[101];
    int64_t token; /* fencing token: greater than that of every earlier lease */
    char cycle_id[STORE_ID_SIZE];
    char run_id[STORE_ID_SIZE];
    bool resumed;        /* an earlier attempt left its cycle open */
    int64_t cycle_pages; /* committed before this attempt */
    struct buf state;    /* JSON; empty = no state */
    int64_t failures;    /* in a row, before this attempt */
    bool allow_deletes;  /* the trigger of this run says so */
};

/* How a sync is started by its schedule: only if it is due, which is asked together with taking the lease. */
struct sync_start {
    int64_t next_ms; /* its next tick; INT64_MAX for none */
};

#define LEASE_MS 30000

/* Takes the lease of the sync (ERR_BUSY when somebody alive holds it), opens a cycle or resumes the open one,
 * and records a run. A lease whose process on this machine is gone is taken over at once. start is NULL when
 * a person runs it; otherwise ERR_NOT_FOUND when it is not due, or paused. */
enum err_code store_sync_begin(struct store *store, const struct capability *sync,
                               const struct sync_start *start, struct sync_lease *out,
                               struct err *err) MUST_CHECK;
/* Keeps the lease alive. ERR_CONFLICT when it was lost. */
enum err_code store_sync_renew(struct store *store, const struct sync_lease *lease,
                               struct err *err) MUST_CHECK;

enum run_outcome { RUN_SUCCEEDED, RUN_FAILED, RUN_STOPPED, RUN_RATE_LIMITED };
struct sync_end {
    enum run_outcome outcome;
    const char *error, *traceback; /* NULL when there is none */
    struct failure failure;        /* of a failure */
    int64_t peak_bytes;
    int64_t retry_ms; /* of a sync on a schedule: when it goes on; 0: at its next tick */
    int64_t next_ms;  /* and when its next tick is; 0: as it stands */
};
/* Ends the attempt: writes the outcome into run and sync, and gives the lease back. A cycle that did not
 * reach its end stays open. */
enum err_code store_sync_end(struct store *store, struct sync_lease *lease, const struct sync_end *end,
                             struct err *err) MUST_CHECK;
void sync_lease_free(struct sync_lease *lease);

/* ---- pages (write.c, sweep.c) ---- */

struct page_counts {
    int64_t added, changed, unchanged, deleted, stale;
};

/* Told about every difference that a page makes, when asked for. property is NULL for whole rows; texts are
 * NULL for NULL. */
struct diff_sink {
    void (*row)(void *ctx, const struct database *database, const char *key,
                const char *what); /* "add", "change", "delete" */
    void (*property)(void *ctx, const char *property, const char *before, size_t before_len,
                     const char *after, size_t after_len);
    void *ctx;
};

struct sweep_outcome {
    bool done;          /* the cycle ended and swept */
    bool held;          /* the guard held it; nothing was deleted */
    int64_t candidates; /* rows the sweep deleted, or would have */
    int64_t rows;       /* rows it looked at */
    char reason[256];   /* why it was held */
};

/* A page's transaction: begin, any number of chunks, then end or abort. With preview set nothing is kept: end
 * rolls back. */
enum err_code store_page_begin(struct store *store, const struct sync_lease *lease, bool preview,
                               struct err *err) MUST_CHECK;
enum err_code store_page_write(struct store *store, const struct page *page, const struct diff_sink *diff,
                               struct err *err) MUST_CHECK;

struct page_end {
    const char *next_state; /* JSON text, NULL for none */
    size_t next_state_len;
    bool has_more;
    bool allow_deletes;           /* lets a sweep through that the guard would hold */
    int64_t requests;             /* HTTP requests since the last page */
    const struct diff_sink *diff; /* told of what the sweep deletes; NULL for nobody */
};
/* State, counters, seen rows and, at the end of a replace cycle, the sweep, all in the page's transaction,
 * which is then committed. counts are those of this page. On failure the transaction is rolled back. */
enum err_code store_page_end(struct store *store, const struct capability *sync, struct sync_lease *lease,
                             const struct page_end *end, struct page_counts *counts,
                             struct sweep_outcome *sweep, struct err *err) MUST_CHECK;
void store_page_abort(struct store *store);

/* ---- deleted rows (deleted.c) ---- */

struct deleted_row {
    int64_t id;
    char *database, *key, *run_id, *row; /* row: a JSON object from columns to values */
    int64_t deleted_ms;
};
typedef enum err_code (*deleted_fn)(void *ctx, const struct deleted_row *row);
struct deleted_filter {
    const char *database; /* NULL for all */
    int64_t before;       /* only of a smaller id; INT64_MAX for all */
    int64_t limit;
};
/* Newest first. */
enum err_code store_deleted_list(struct store *store, const struct deleted_filter *filter, deleted_fn each,
                                 void *ctx, struct err *err) MUST_CHECK;
/* Puts rows of a database back: one key, or every row deleted by a run, or all (both NULL). A row that exists
 * again is left as it is. restored is how many came back. */
enum err_code store_deleted_restore(struct store *store, const char *database, const char *key,
                                    const char *run_id, int64_t *restored, struct err *err) MUST_CHECK;

/* ---- runs (runs.c) ---- */

struct run_record {
    char *id, *kind, *key, *error;
    char *started_by;              /* "schedule", "retry", "webhook", …; NULL when it was not recorded */
    char *delivery_id;             /* NULL of a sync */
    char *traceback;               /* NULL when there is none */
    char *error_name, *error_code; /* see struct failure; NULL for none */
    int error_status;
    int64_t attempt;    /* from 1 */
    int64_t peak_bytes; /* of the script's memory; 0 when it was not recorded */
    int exit_code;      /* -1 while it runs */
    int64_t started_ms, ended_ms;
    struct page_counts counts;
    int64_t pages, requests;
};
typedef enum err_code (*run_fn)(void *ctx, const struct run_record *run);
struct run_filter {
    const char *key;    /* NULL for all */
    const char *before; /* only of a smaller id; NULL for all */
    bool failed_only;
    int64_t limit;
};
/* Newest first. */
enum err_code store_runs_list(struct store *store, const struct run_filter *filter, run_fn each, void *ctx,
                              struct err *err) MUST_CHECK;
/* By id or by a prefix of it that is unique. */
enum err_code store_run_get(struct store *store, const char *id, run_fn each, void *ctx,
                            struct err *err) MUST_CHECK;

/* ---- deliveries (deliveries.c): docs/decisions, "One queue of deliveries" ---- */

/* A new one. Texts are the caller's. */
struct delivery_new {
    char id[STORE_ID_SIZE];      /* made when it is empty; afterwards that of the delivery there is */
    const char *kind, *key;      /* of the capability that gets it */
    const char *started_by;      /* "schedule", "webhook", "row", "api", "replay" */
    const char *lane;            /* NULL: it waits for no other */
    const char *idempotency_key; /* NULL for none */
    int64_t due_ms;
    int64_t tick_ms;   /* of a schedule, 0 for none */
    const char *event; /* JSON */
    size_t event_len;
    const void *body; /* bytes that are no JSON; NULL for none */
    size_t body_len;
    bool repeated; /* out: there was one with this idempotency key, and nothing was added */
};
/* Inside a transaction of store_begin. */
enum err_code store_delivery_add(struct store *store, struct delivery_new *delivery,
                                 struct err *err) MUST_CHECK;

/* The lane of a job, which never runs beside itself. */
#define JOB_LANE_SIZE 112
void job_lane(const char *key, char out[JOB_LANE_SIZE]);
/* The same, unless one of its lane has not ended: then nothing is added, and repeated is set. */
enum err_code store_delivery_add_alone(struct store *store, struct delivery_new *delivery,
                                       struct err *err) MUST_CHECK;

/* One that is running, for whoever runs it. Texts are owned: delivery_free. */
struct delivery {
    char id[STORE_ID_SIZE], run_id[STORE_ID_SIZE];
    char started_by[16];
    int64_t token;   /* fencing token */
    int64_t attempt; /* from 1 */
    int64_t tick_ms; /* of a schedule */
    int64_t created_ms;
    char *event;
    size_t event_len;
    char *body; /* NULL for none */
    size_t body_len;
};
void delivery_free(struct delivery *delivery);
/* Gets what it now owns. */
typedef void (*delivery_fn)(void *ctx, struct delivery *delivery);
/* Takes up to limit deliveries that are due, oldest first, and records their runs. next_due_ms: when the next
 * that is not taken is due; INT64_MAX when there is none, or when it waits for another of its lane. Inside a
 * transaction of store_begin: what was taken counts when that is committed. */
enum err_code store_deliveries_claim(struct store *store, const struct capability *capability, int64_t limit,
                                     delivery_fn each, void *ctx, int64_t *next_due_ms,
                                     struct err *err) MUST_CHECK;

enum delivery_outcome {
    DELIVERY_DONE,
    DELIVERY_RETRY,    /* failed; it is due again after wait_ms */
    DELIVERY_LATER,    /* the same, but that does not count as a failure */
    DELIVERY_DEAD,     /* failed for good */
    DELIVERY_DECLINED, /* nobody wanted it: it is done, and the run is as if it had not been */
    DELIVERY_RELEASED, /* was not tried: it is ready for others, and the run is as if it had not been */
};
struct delivery_end {
    const struct delivery *delivery;
    enum delivery_outcome outcome;
    int64_t wait_ms; /* before it is tried again */
    int64_t requests, peak_bytes;
    const char *error, *traceback; /* NULL when there is none */
    struct failure failure;        /* of a failure */
};
/* Inside a transaction of store_begin. lost: somebody else has taken it over, and only the run was recorded.
 */
enum err_code store_delivery_end(struct store *store, const struct delivery_end *end, bool *lost,
                                 struct err *err) MUST_CHECK;
/* Keeps everything alive that this process runs. */
enum err_code store_deliveries_renew(struct store *store, struct err *err) MUST_CHECK;
/* Makes due what waits for a time that a clock said which was ahead, and has been set back since: at once, as
 * nobody knows how long it was meant to wait. Inside a transaction of store_begin. */
enum err_code store_deliveries_clock(struct store *store, const char *key, struct err *err) MUST_CHECK;
/* Makes what a process that is gone was running ready again, and ends its runs. count is how many. */
enum err_code store_deliveries_recover(struct store *store, int64_t *count, struct err *err) MUST_CHECK;

/* As the store knows one. Texts are NULL for NULL. */
struct delivery_record {
    char *id, *kind, *key, *state, *started_by, *error, *run_id, *idempotency_key;
    int64_t attempts, created_ms, due_ms, ended_ms;
    char *event; /* of store_delivery_get only */
    size_t event_len;
    char *body;
    size_t body_len;
};
typedef enum err_code (*delivery_record_fn)(void *ctx, const struct delivery_record *record);
#define DELIVERY_STATES "ready, running, done or dead"
bool delivery_state_known(const char *state);
struct delivery_filter {
    const char *key, *state; /* NULL for all */
    const char *before;      /* only of a smaller id; NULL for all */
    int64_t limit;
};
/* Newest first. */
enum err_code store_deliveries_list(struct store *store, const struct delivery_filter *filter,
                                    delivery_record_fn each, void *ctx, struct err *err) MUST_CHECK;
/* By id or by a prefix of it that is unique. */
enum err_code store_delivery_get(struct store *store, const char *id, delivery_record_fn each, void *ctx,
                                 struct err *err) MUST_CHECK;
struct delivery_counts {
    int64_t ready, running, dead;
};
enum err_code store_delivery_counts(struct store *store, struct delivery_counts *out,
                                    struct err *err) MUST_CHECK;
/* Makes a delivery that has ended ready again, with its attempts counted anew. ERR_BUSY while it is on its
 * way. */
enum err_code store_delivery_replay(struct store *store, const char *id, struct err *err) MUST_CHECK;

/* ---- tokens of the API (tokens.c) ---- */

#define TOKEN_SIZE 73        /* "workers_", 256 random bits in hexadecimal digits, the NUL */
#define TOKEN_DIGEST_SIZE 65 /* SHA-256 in hexadecimal digits, the NUL */
#define TOKEN_NAME_MAX 100
#define TOKEN_VARIABLE "WORKERS_TOKEN" /* the environment has it for commands, and no script gets it */

/* Each may do what those before it may. */
enum token_scope { TOKEN_READ, TOKEN_RUN, TOKEN_ADMIN };
const char *token_scope_name(enum token_scope scope);
bool token_scope_parse(const char *text, enum token_scope *out) MUST_CHECK;
enum err_code token_digest(const char *token, size_t len, char out[TOKEN_DIGEST_SIZE],
                           struct err *err) MUST_CHECK;

struct token_record {
    char name[TOKEN_NAME_MAX + 1];
    char digest[TOKEN_DIGEST_SIZE];
    enum token_scope scope;
    int64_t created_ms;
};
/* ERR_INVALID says what a name may be. */
enum err_code token_name_check(const char *name, struct err *err) MUST_CHECK;
/* Makes a token; nobody can read it again. ERR_CONFLICT when the name is taken, ERR_INVALID when it is no
 * good. */
enum err_code store_token_make(struct store *store, const char *name, enum token_scope scope,
                               char out[TOKEN_SIZE], struct err *err) MUST_CHECK;
typedef enum err_code (*token_fn)(void *ctx, const struct token_record *record);
enum err_code store_tokens_each(struct store *store, token_fn each, void *ctx, struct err *err) MUST_CHECK;
/* All of them, in an array of the caller's (mem_free); *out is NULL when there are none, and after an error.
 */
enum err_code store_tokens_read(struct store *store, struct token_record **out, size_t *count,
                                struct err *err) MUST_CHECK;
/* Whether the token is one of the records, and for what it is good. */
bool token_find(const struct token_record *records, size_t count, const char *token, size_t len,
                enum token_scope *scope);
enum err_code store_token_revoke(struct store *store, const char *name, bool *existed,
                                 struct err *err) MUST_CHECK;

/* ---- forgetting (history.c) ---- */

struct history_limits {
    int64_t runs_before_ms; /* of runs and deliveries */
    int64_t deleted_before_ms;
    uint64_t history_bytes; /* half of it for runs, half for deliveries */
};
/* What goes: runs and deliveries below these ids, and what was deleted before the time. */
struct history_plan {
    char first_run[STORE_ID_SIZE], first_delivery[STORE_ID_SIZE];
    int64_t deleted_before_ms;
};
enum err_code store_history_plan(struct store *store, const struct history_limits *limits,
                                 struct history_plan *out, struct err *err) MUST_CHECK;
/* Forgets some of it, and gives free space back; more: there is more to forget. What has not ended stays. */
enum err_code store_history_forget(struct store *store, const struct history_plan *plan, bool *more,
                                   struct err *err) MUST_CHECK;

/* ---- endpoints of webhooks (endpoints.c) ---- */

#define ENDPOINT_SECRET_SIZE 33 /* 128 bits in hexadecimal digits, and the NUL */

struct endpoint {
    char key[101];
    char secret[ENDPOINT_SECRET_SIZE]; /* of its address */
    int64_t generation;                /* of the secret */
    int64_t failures;                  /* verifications that failed, in a row */
    int64_t closed_ms;                 /* 0: it is open */
};
enum err_code store_endpoint_get(struct store *store, const char *key, struct endpoint *out,
                                 struct err *err) MUST_CHECK;
/* A new secret; the old address is gone. */
enum err_code store_endpoint_rotate(struct store *store, const char *key, struct err *err) MUST_CHECK;
/* Opens it, and forgets failures. */
enum err_code store_endpoint_reset(struct store *store, const char *key, struct err *err) MUST_CHECK;
/* A verification failed; after five in a row the endpoint is closed. */
enum err_code store_endpoint_refused(struct store *store, const char *key, struct err *err) MUST_CHECK;

/* ---- schedules (schedules.c) ---- */

/* When something runs next. Times are Unix milliseconds; 0 for none. */
struct schedule_entry {
    char key[101];
    char *schedule;       /* as the capability had it when next_ms was computed */
    int64_t next_ms;      /* INT64_MAX for none */
    int64_t set_ms;       /* when that was written, by the clock of then */
    int64_t retry_ms;     /* a sync that failed or was stopped goes on then */
    int64_t triggered_ms; /* somebody wants it to run, since then */
    bool allow_deletes;   /* of that run */
    bool paused;
    bool running;   /* somebody holds the lease of the sync */
    bool abandoned; /* whoever ran the sync is gone, and its cycle is open */
    int64_t failures;
    int64_t last_success_ms; /* 0 for never */
    char *held, *last_error; /* NULL for none; the store's, until the callback returns */
    char alerted[16];        /* what was told last: "ERROR", "HELD", "STALE"; empty when all is well */
};
typedef enum err_code (*schedule_fn)(void *ctx, const struct schedule_entry *entry);
enum err_code store_schedules_each(struct store *store, schedule_fn each, void *ctx,
                                   struct err *err) MUST_CHECK;
/* Sets when a sync that has failed is tried again. */
enum err_code store_schedule_retry(struct store *store, const char *key, int64_t retry_ms,
                                   struct err *err) MUST_CHECK;
/* Sets the schedule of a key and its next tick; what else is known of it stays. */
enum err_code store_schedule_set(struct store *store, const char *key, const char *schedule, int64_t next_ms,
                                 struct err *err) MUST_CHECK;
/* Moves the next tick on. moved is false when it is no longer at from_ms: somebody else has. Inside a
 * transaction of store_begin, so that what the tick causes is one with it. */
enum err_code store_schedule_advance(struct store *store, const char *key, int64_t from_ms, int64_t to_ms,
                                     bool *moved, struct err *err) MUST_CHECK;
/* What was told of it last, and adds the alert as a delivery. Inside a transaction of store_begin. */
enum err_code store_schedule_alert(struct store *store, const char *key, const char *alerted,
                                   const char *event, size_t event_len, struct err *err) MUST_CHECK;
/* Asks for a run as soon as may be. */
enum err_code store_schedule_trigger(struct store *store, const char *key, bool allow_deletes,
                                     struct err *err) MUST_CHECK;

/* ---- pacers (pacers.c) ---- */

/* Reserves up to want slots of the pacer, pace_ms apart, none later than horizon_ms from now but the first.
 * first_ms is the time of the first; the number reserved, at least 1, is in granted. */
enum err_code store_pacer_reserve(struct store *store, const char *key, double pace_ms, int64_t now_ms,
                                  int64_t horizon_ms, int64_t want, int64_t *first_ms, int64_t *granted,
                                  struct err *err) MUST_CHECK;

/* ---- the key-value store of scripts (kv.c, kv_layer.c) ---- */

/* Keys are UTF-8 without NUL, values JSON texts, as modules/kv.h limits them. Every change is a transaction
 * of its own that a power cut does not undo. With a layer, changes go to it instead, and what it has is read
 * before the store; layer is NULL otherwise. Not while a page is being written.
 *
 * A layer belongs to whoever holds it; holding and releasing is for one thread. It is used by one thread at a
 * time. */
struct kv_layer;
struct kv_layer *kv_layer_new(void); /* held once */
void kv_layer_hold(struct kv_layer *layer);
void kv_layer_release(struct kv_layer *layer); /* NULL is fine */

enum err_code store_kv_get(struct store *store, const struct kv_layer *layer, const char *key, size_t len,
                           struct buf *value, bool *found, struct err *err) MUST_CHECK;
/* value NULL deletes; ttl_ms 0 keeps for ever. ERR_LIMIT when there would be too many keys. */
enum err_code store_kv_set(struct store *store, struct kv_layer *layer, const char *key, size_t len,
                           const struct json_slice *value, int64_t ttl_ms, bool *existed,
                           struct err *err) MUST_CHECK;
/* Sets if what is there is, as a text, expected; expected NULL: if there is no such key. */
enum err_code store_kv_compare_and_set(struct store *store, struct kv_layer *layer, const char *key,
                                       size_t len, const struct json_slice *expected,
                                       const struct json_slice *value, int64_t ttl_ms, bool *done,
                                       struct err *err) MUST_CHECK;
/* A missing key counts as 0; when the key expires stays as it is. ERR_INVALID when it holds no integer,
 * ERR_LIMIT when the sum does not fit. */
enum err_code store_kv_increment(struct store *store, struct kv_layer *layer, const char *key, size_t len,
                                 int64_t by, int64_t *sum, struct err *err) MUST_CHECK;
typedef enum err_code (*kv_key_fn)(void *ctx, const char *key, size_t len);
/* The keys that begin with prefix, in byte order. */
enum err_code store_kv_list(struct store *store, const struct kv_layer *layer, const char *prefix, size_t len,
                            int64_t limit, kv_key_fn each, void *ctx, struct err *err) MUST_CHECK;
/* Removes what has expired. */
enum err_code store_kv_expire(struct store *store, int64_t now_ms, struct err *err) MUST_CHECK;

/* ---- secrets (secrets.c) ---- */

struct secret_info {
    const char *name;
    int64_t version; /* from 1 */
    int64_t created_ms;
    bool current;
    bool is_public; /* no secret: it may be seen in logs and results */
};
typedef enum err_code (*secret_fn)(void *ctx, const struct secret_info *info, const char *value, size_t len);
#define SECRET_NAME_MAX 128 /* bytes; letters, digits and _, and no digit first */
enum err_code store_secret_name(const char *name, size_t len, struct err *err) MUST_CHECK;

enum secret_change { SECRET_ADDED, SECRET_CHANGED, SECRET_UNCHANGED };
/* What setting it would be. value: at most 256 KiB without NUL bytes. */
enum err_code store_secret_compare(struct store *store, const char *name, const char *value, size_t len,
                                   enum secret_change *change, struct err *err) MUST_CHECK;
/* Inside the caller's transaction, as all that change secrets. The value before becomes an earlier version,
 * of which the last nine are kept. */
enum err_code store_secret_set(struct store *store, const char *name, const char *value, size_t len,
                               enum secret_change *change, struct err *err) MUST_CHECK;
/* Says whether it is a secret; it is one until this is said. */
enum err_code store_secret_publish(struct store *store, const char *name, bool is_public,
                                   struct err *err) MUST_CHECK;
/* With its earlier versions. */
enum err_code store_secret_unset(struct store *store, const char *name, bool *existed,
                                 struct err *err) MUST_CHECK;
/* Sets it to what it was in that version. ERR_NOT_FOUND. */
enum err_code store_secret_restore(struct store *store, const char *name, int64_t version,
                                   struct err *err) MUST_CHECK;
struct secret_query {
    const char *name; /* NULL: all */
    bool versions;    /* earlier ones as well */
    bool reveal;      /* value is NULL otherwise */
};
/* By name, the newest version first. ERR_CORRUPT, after all others: one of them does not open. */
enum err_code store_secrets_each(struct store *store, const struct secret_query *query, secret_fn each,
                                 void *ctx, struct err *err) MUST_CHECK;
/* Whether the key is there and opens every variable; count is how many there are. Fine when nothing was ever
 * sealed. */
enum err_code store_vault_check(struct store *store, int64_t *count, struct err *err) MUST_CHECK;
/* Another number after each change. */
enum err_code store_secrets_stamp(struct store *store, int64_t *stamp, struct err *err) MUST_CHECK;

/* ---- the key (vault.c) ---- */

struct key_rotation {
    bool forget;          /* what the key that there is does not open */
    int64_t sealed;       /* out: values that were sealed anew */
    struct buf forgotten; /* out: lines as "variable NAME"; the caller's */
};
/* Makes another key, seals everything with it, and puts it in the place of the one before. A crash at any
 * point leaves a key that opens what there is. Without forget, a key that is lost, wrong or does not open all
 * of it is an error, and nothing changes. */
enum err_code store_key_rotate(struct store *store, struct key_rotation *told, struct err *err) MUST_CHECK;

/* ---- deployed versions (versions.c) ---- */

#define VERSIONS_KEPT 10 /* beside the active one */

struct version_record {
    int64_t number; /* from 1; 0: nothing was deployed yet */
    const char *digest, *note;
    int64_t files, bytes, created_ms, activated_ms;
    bool active;
};
typedef enum err_code (*version_fn)(void *ctx, const struct version_record *version);
/* Newest first. */
enum err_code store_versions_each(struct store *store, version_fn each, void *ctx,
                                  struct err *err) MUST_CHECK;
/* The number of the version whose code runs; 0 for a project that is served from its folder. */
enum err_code store_version_active(struct store *store, int64_t *number, struct err *err) MUST_CHECK;
/* Its pack and manifest; ERR_NOT_FOUND. Either may be NULL. */
enum err_code store_version_read(struct store *store, int64_t number, struct buf *pack, struct buf *manifest,
                                 char digest[65], struct err *err) MUST_CHECK;
struct version_new {
    const char *digest, *note;
    const struct buf *pack, *manifest;
    int64_t files, bytes;
};
/* Makes the store one of the worker's, that is: migrates its tables, keeps the version, makes it the active
 * one and takes the syncs from whoever runs them, all in one transaction. A cycle of a replace sync begins
 * anew; what ran begins at once. version->digest NULL: it is there already, number. Out: number. report as in
 * store_use. */
enum err_code store_version_activate(struct store *store, const struct worker *worker,
                                     const struct version_new *version, int64_t *number, struct buf *report,
                                     struct err *err) MUST_CHECK;
/* What the code of this process is: whether it may still begin something (store_version_current). */
void store_version_is(struct store *store, int64_t number);
enum err_code store_version_current(struct store *store, bool *current, struct err *err) MUST_CHECK;

/* ---- grants of OAuth (grants.c) ---- */

#define GRANT_MAX ((size_t)256 * 1024) /* bytes of its tokens */

struct grant {
    int64_t generation; /* another one after each change; 0: there is none */
    int64_t expires_ms; /* of the access token; 0: it does not say */
    int64_t updated_ms;
    char *access, *refresh, *scope; /* refresh and scope: NULL when there is none */
};
void grant_free(struct grant *grant); /* and wipes it */
/* generation is 0 when there is none. */
enum err_code store_grant_get(struct store *store, const char *key, struct grant *out,
                              struct err *err) MUST_CHECK;
/* On the disk when it returns; gives the claim back. */
enum err_code store_grant_set(struct store *store, const char *key, const struct grant *grant,
                              struct err *err) MUST_CHECK;
/* The grant, if its access token is fresh: not about to expire, and not the one that is stale (NULL for
 * none). Otherwise what there is, and, unless another process has it, the right to ask for a new one:
 * claimed. */
enum err_code store_grant_claim(struct store *store, const char *key, const char *stale, struct grant *out,
                                bool *fresh, bool *claimed, struct err *err) MUST_CHECK;
enum err_code store_grant_release(struct store *store, const char *key, struct err *err) MUST_CHECK;
enum err_code store_grant_delete(struct store *store, const char *key, bool *existed,
                                 struct err *err) MUST_CHECK;

/* ---- requests for access by OAuth that people have not answered yet (access.c) ---- */

#define ACCESS_STATE_SIZE 160 /* bytes of what a browser brings back, and the NUL */

struct access_request {
    char id[STORE_ID_SIZE];
    char key[101]; /* of the declaration */
    int64_t expires_ms;
    int64_t interval_ms; /* at least so long between two questions about a device */
    /* NULL when there is none */
    char *verifier;     /* of PKCE (RFC 7636) */
    char *redirect_url; /* where people come back to */
    char *device_code;  /* RFC 8628 */
};
void access_request_free(struct access_request *request); /* and wipes it */
/* Keeps it, on the disk and sealed; sets its id. state: what the browser brings back, unguessable; NULL when
 * none comes. Of those that wait only the newest hundred are kept. */
enum err_code store_access_add(struct store *store, struct access_request *request, const char *state,
                               struct err *err) MUST_CHECK;
/* The request of that state, which nobody gets a second time. ERR_NOT_FOUND: there is none, or not any more;
 * then nothing has been written. */
enum err_code store_access_take(struct store *store, const char *state, struct access_request *out,
                                struct err *err) MUST_CHECK;

enum access_standing { ACCESS_WAITING, ACCESS_GIVEN, ACCESS_REFUSED, ACCESS_EXPIRED };
const char *access_standing_name(enum access_standing standing);
struct access_look {
    enum access_standing standing;
    char error[ERR_MESSAGE_MAX];   /* why it was refused */
    bool ask;                      /* the provider is to be asked about the device, and nobody else does */
    struct access_request request; /* its texts only when ask is set; to be freed */
};
/* ERR_NOT_FOUND: the declaration has no such request. */
enum err_code store_access_look(struct store *store, const char *key, const char *id, struct access_look *out,
                                struct err *err) MUST_CHECK;
/* The provider has nothing to say yet: it may be asked again after the interval. */
enum err_code store_access_later(struct store *store, const char *id, int64_t interval_ms,
                                 struct err *err) MUST_CHECK;
/* The request is over. error: why there is no access; NULL when there is. */
enum err_code store_access_end(struct store *store, const char *id, const char *error,
                               struct err *err) MUST_CHECK;

/* ---- logs (logs.c): a file of their own beside the store ---- */

enum err_code store_log(struct store *store, const char *run_id, const char *level, const char *text,
                        size_t len, struct err *err) MUST_CHECK;
typedef enum err_code (*log_fn)(void *ctx, int64_t id, int64_t at_ms, const char *level, const char *text,
                                size_t len);
/* The first lines of a run, up to limit, whose ids are greater than after_id. */
enum err_code store_logs_each(struct store *store, const char *run_id, int64_t after_id, int64_t limit,
                              log_fn each, void *ctx, struct err *err) MUST_CHECK;
/* As store_check, of the file of the logs; it is not made when it is not there. */
enum err_code store_logs_check(struct store *store, struct buf *problems, struct err *err) MUST_CHECK;
/* Deletes some of the oldest lines while the file is above max_bytes; more: it still is. */
enum err_code store_logs_trim(struct store *store, uint64_t max_bytes, bool *more,
                              struct err *err) MUST_CHECK;

/* ---- reading (query.c) ---- */

/* The path of the store's database; ERR_NOT_FOUND says how to make one. */
enum err_code store_path(const char *folder, char *path, size_t size, struct err *err) MUST_CHECK;
/* Runs one statement on a connection of its own that cannot write. guard: NULL for our own, and for those of
 * who could open the file as well. */
enum err_code store_query(const char *folder, const struct db_statement *statement,
                          const struct db_guard *guard, const struct db_sink *sink,
                          struct err *err) MUST_CHECK;

/* Appends the rows of a database as a JSON array, in the order of their keys. Each is an object from the
 * names of the declared properties to their values, without those that are NULL; the end of a range of dates
 * makes it {"start", "end"}. _icon, _cover, _content and _upstream_updated_at follow where the row has them.
 */
enum err_code store_rows_json(struct store *store, const struct database *database, struct buf *out,
                              struct err *err) MUST_CHECK;
/* Appends up to limit rows whose keys come after one ("" for the first), as a JSON array of {"key", "row"}.
 */
enum err_code store_rows_page(struct store *store, const struct database *database, const char *after,
                              int64_t limit, struct buf *out, struct err *err) MUST_CHECK;
/* Appends one row in the same form; ERR_NOT_FOUND. */
enum err_code store_row_get(struct store *store, const struct database *database, const char *key,
                            struct buf *out, struct err *err) MUST_CHECK;

/* ---- rows that fit a filter (filter.c) ---- */

#define ROWS_QUERY_MAX 1000       /* rows in an answer */
#define ROWS_OFFSET_MAX 100000000 /* rows before the first */

struct rows_query {
    const struct database *database;
    const char *const *names; /* of each property, as the asker calls it; NULL: it may not be seen */
    bool extras;              /* icon, cover, content and the upstream's time are in the rows as well */
    struct json_slice filter, sorts; /* as docs/views.md describes them; text is NULL for none */
    int64_t limit, offset;
};
/* Appends {"rows": […], "hasMore": …, "revision": …}, each row as {"key", "row"}, from the store of the
 * folder, on a connection of its own. ERR_INVALID names what the filter has wrong. */
enum err_code store_rows_query(const char *folder, const struct rows_query *query,
                               const struct db_guard *guard, struct buf *out, struct err *err) MUST_CHECK;
/* A number that is another one after each commit that has changed rows of the database; 0: it has no table
 * yet. */
enum err_code store_revision(struct store *store, const char *database, int64_t *revision,
                             struct err *err) MUST_CHECK;

/* Appends a query for the databases: database, title, table, rows. Empty when there are none. */
enum err_code store_databases_sql(const char *folder, struct buf *out, struct err *err) MUST_CHECK;
/* Which property is in which column: database, table, property, column, type, declared. */
extern const char store_schema_sql[];
/* Appends a query for the rows of a database in the order of their keys; with page, only those whose keys
 * come after ?1, and up to ?2. */
enum err_code store_export_sql(const char *folder, const char *database, bool page, struct buf *out,
                               struct err *err) MUST_CHECK;

#endif
