/* What the files of store/ share. */
#ifndef WORKERS_STORE_STORE_PRIV_H
#define WORKERS_STORE_STORE_PRIV_H

#include "base/crypto.h"
#include "store/store.h"

#define OWNER_SIZE 160

/* Columns that every table of a database begins with. */
enum {
    COLUMN_ID,
    COLUMN_KEY,
    COLUMN_ICON,
    COLUMN_COVER,
    COLUMN_CONTENT,
    COLUMN_UPSTREAM,
    COLUMN_SYNCED,
    FIXED_COLUMNS
};

/* One database as the store writes it. */
struct table {
    const struct database *database;
    size_t columns;                        /* all of them, fixed ones included */
    size_t *first_column;                  /* of each property */
    bool has_links;                        /* a two-way relation keeps a link table */
    struct db_stmt *select, *select_by_id; /* by id it has the key as well */
    struct db_stmt *insert, *update, *remove;
    struct db_stmt *row_json;                    /* for the outbox; NULL until it is needed */
    struct db_stmt **link_insert, **link_remove; /* of each property; NULL where there is none */
    int64_t next_id;
    bool next_id_dirty;
    bool changed;     /* a row of it, by the page in hand */
    int64_t found_id; /* the row that was found last; */
    bool in_order;    /* it came right after the one before */
};

/* Row ids touched by the page in hand, per database. */
struct touched {
    int64_t *ids;
    size_t count, room;
};

struct store {
    struct db *db;
    struct db *logs; /* opened at the first line */
    char *folder;    /* NULL when it is in memory */
    const struct worker *worker;
    struct table *tables; /* one for each database of the worker */
    struct touched *touched;
    struct page_counts counts; /* of the page in hand */
    bool in_page;
    bool preview;
    char now[32]; /* ISO time of the page in hand */
    char run_id[STORE_ID_SIZE];
    struct db_stmt *log_insert;
    struct db_stmt *fence, *other_cycles, *database_set, *page_state, *cycle_state,
        *page_counts; /* of every page */
    struct db_stmt *pacer_get, *pacer_set;
    struct db_stmt *mark_get, *mark_set;
    struct db_stmt *kv_get, *kv_set, *kv_delete, *kv_sweep, *kv_list;
    struct db_stmt *delivery_next, *delivery_claim, *delivery_payload, *delivery_end, *delivery_due,
        *delivery_last;
    struct db_stmt *delivery_insert, *payload_insert, *run_insert, *run_end;
    int64_t version; /* of the code that this process runs; 0: whatever there is */
    struct db_stmt *version_get;
    char owner[OWNER_SIZE]; /* this process's name; empty until it is needed */
};

/* The kinds of marks: sets of row ids, kept per sync and database. */
enum mark {
    MARK_SEEN = 1,      /* rows the open cycle has returned */
    MARK_BROUGHT = 2,   /* rows the sync's last finished cycle returned */
    MARK_PROTECTED = 3, /* rows another sync wrote since the cycle began */
};

/* tables.c */
enum err_code tables_migrate(struct store *store, const struct worker *worker, struct buf *report,
                             struct err *err) MUST_CHECK;
/* The same inside a transaction of the caller's. */
enum err_code tables_migrate_within(struct store *store, const struct worker *worker, struct buf *report,
                                    struct err *err) MUST_CHECK;
enum err_code tables_prepare(struct store *store, const struct worker *worker, struct err *err) MUST_CHECK;
void tables_release(struct store *store);
/* The name of the link table of a two-way relation, quoted. */
const char *tables_link_name(const struct database *database, const struct property *property, char *out,
                             size_t size);

/* marks.c: ids need not be sorted. */
enum err_code marks_add(struct store *store, const char *sync, const char *database, enum mark kind,
                        int64_t *ids, size_t count, struct err *err) MUST_CHECK;
/* A set read into memory. */
struct mark_set {
    uint8_t *bits; /* NULL when empty */
    int64_t size;  /* ids below this may be set */
};
enum err_code marks_load(struct store *store, const char *sync, const char *database, enum mark kind,
                         struct mark_set *out, struct err *err) MUST_CHECK;
void marks_free(struct mark_set *set);
bool marks_has(const struct mark_set *set, int64_t id);
enum err_code marks_clear(struct store *store, const char *sync, enum mark kind, struct err *err) MUST_CHECK;
/* What was seen becomes what was brought; with keep, added to it. */
enum err_code marks_promote(struct store *store, const char *sync, bool keep, struct err *err) MUST_CHECK;

/* write.c */
enum err_code write_links(struct store *store, struct table *table, size_t property, const char *key,
                          size_t key_len, const char *json, size_t len, struct err *err) MUST_CHECK;
enum err_code write_delete_row(struct store *store, struct table *table, int64_t id, const char *key,
                               size_t key_len, const char *run_id, const char *reason,
                               struct err *err) MUST_CHECK;

/* query.c */
/* Prepares a SELECT of a database's rows, for query_write_row; the key is its last column. condition is what
 * stands behind the table's name. */
enum err_code query_prepare_rows(struct db *db, const struct database *database, const char *condition,
                                 struct db_stmt **stmt, struct err *err) MUST_CHECK;
/* Appends the row as store_rows_json has it. */
enum err_code query_write_row(struct db_stmt *stmt, const struct database *database, struct buf *out,
                              struct err *err) MUST_CHECK;
/* The same with other names: of each property, NULL where it is left out. extras: icon, cover, content and
 * the upstream's time as well. */
enum err_code query_write_named(struct db_stmt *stmt, const struct database *database,
                                const char *const *names, bool extras, struct buf *out,
                                struct err *err) MUST_CHECK;

/* outbox.c */
/* Whether an automation waits for this. */
bool outbox_wants(const struct store *store, const struct table *table, enum row_event event);
/* The row as JSON; out is initialised here, and the caller's to free. */
enum err_code outbox_row(struct store *store, struct table *table, int64_t id, struct buf *out,
                         struct err *err) MUST_CHECK;
/* Tells the automations that wait for it. before is NULL for a new row; a deleted one is gone already. */
enum err_code outbox_add(struct store *store, struct table *table, enum row_event event, int64_t id,
                         const char *key, size_t key_len, const struct buf *before,
                         struct err *err) MUST_CHECK;

/* sweep.c */
enum err_code sweep_run(struct store *store, const struct capability *sync, const struct sync_lease *lease,
                        const struct page_end *end, struct sweep_outcome *out, struct err *err) MUST_CHECK;

/* owner.c */
/* This process's name as the owner of leases. */
void owner_name(char out[OWNER_SIZE]);
/* Whether it is known to be gone: a process of this machine that no longer runs. */
bool owner_is_gone(const char *owner);
/* Its process id, on its machine. */
int64_t owner_process(const char *owner);
/* Whether a lease of the owner, which may be NULL, still counts. */
bool owner_holds(const char *owner, int64_t expires_ms);
/* When a lease runs out that is taken now, in milliseconds of a clock of their own. */
int64_t lease_until(void);
bool lease_is_over(int64_t expires_ms);

/* runs.c: inside the caller's transaction. Texts may be NULL. */
struct run_begin {
    const char *id, *kind, *key, *cycle_id, *started_by, *delivery_id;
    int64_t attempt, started_ms;
};
enum err_code runs_begin(struct store *store, const struct run_begin *run, struct err *err) MUST_CHECK;
struct run_end {
    const char *id;
    int exit_code;
    const char *error, *traceback;
    const struct failure *failure; /* what kind error is of; NULL when it is not known */
    int64_t requests, peak_bytes, ended_ms;
};
/* Of a run that has ended already, error and exit code stay. */
enum err_code runs_end(struct store *store, const struct run_end *run, struct err *err) MUST_CHECK;

/* deliveries.c: the id of the next one in a lane (NULL: in none). */
enum err_code deliveries_new_id(struct store *store, const char *lane, char id[STORE_ID_SIZE],
                                struct err *err) MUST_CHECK;

/* schedules.c: inside the caller's transaction. */
/* Finds the sync due, says by what, and moves its schedule on. ERR_NOT_FOUND when it is not due. */
enum err_code schedules_take(struct store *store, struct sync_lease *lease, bool abandoned, int64_t now,
                             int64_t next_ms, const char **started_by, struct err *err) MUST_CHECK;
enum err_code schedules_retry(struct store *store, const char *key, int64_t retry_ms, int64_t next_ms,
                              struct err *err) MUST_CHECK;

/* secrets.c: inside the caller's transaction. Processes that have read them will read them anew. */
enum err_code secrets_changed(struct store *store, struct err *err) MUST_CHECK;

/* vault.c */
/* Appends the sealed form. It opens only under the same name. Inside the caller's write transaction. */
enum err_code vault_seal(struct store *store, const char *name, const char *plain, size_t len,
                         struct buf *out, struct err *err) MUST_CHECK;
/* plain, to be freed with crypto_free, has a NUL behind it. ERR_CORRUPT when it does not open; ERR_NOT_FOUND
 * and ERR_DENIED, with what to do, when the key is lost or another one. */
enum err_code vault_open(struct store *store, const char *name, const char *sealed, size_t len, char **plain,
                         size_t *plain_len, struct err *err) MUST_CHECK;
/* Bytes that only who has the key can make from the text. Inside the caller's write transaction. */
enum err_code vault_derive(struct store *store, const char *text, uint8_t out[CRYPTO_DIGEST_MAX],
                           struct err *err) MUST_CHECK;

/* kv_layer.c */
struct kv_layer_entry {
    size_t key_len, value_len;
    bool deleted;
    int64_t expires_ms; /* 0: never */
    char bytes[];       /* key and value */
};
/* Byte order. */
int kv_compare_keys(const char *a, size_t a_len, const char *b, size_t b_len);
/* Where the key is, or would be. */
size_t kv_layer_seek(const struct kv_layer *layer, const char *key, size_t len);
const struct kv_layer_entry *kv_layer_at(const struct kv_layer *layer, size_t at); /* NULL behind the last */
/* value NULL marks the key as deleted. ERR_LIMIT when the layer is full. */
enum err_code kv_layer_put(struct kv_layer *layer, const char *key, size_t len,
                           const struct json_slice *value, int64_t expires_ms, struct err *err) MUST_CHECK;

/* store.c */
/* Makes an empty file that nobody else may read, unless there is one. False with errno set. */
bool store_make_private(const char *path);
/* As store_check, of any file. */
enum err_code store_check_file(struct db *db, struct buf *problems, struct err *err) MUST_CHECK;

/* Shorthands. */
#define DRIVER(store) ((store)->db->driver)
enum err_code store_prepare(struct store *store, struct db_stmt **stmt, const char *sql,
                            struct err *err) MUST_CHECK;
/* Prepares *stmt unless it is; it lives until store_close. */
enum err_code store_prepare_once(struct store *store, struct db_stmt **stmt, const char *sql,
                                 struct err *err) MUST_CHECK;
/* Steps a statement that returns no row, and resets it. */
enum err_code store_step(struct store *store, struct db_stmt *stmt, struct err *err) MUST_CHECK;
void bind_cell(struct db_stmt *stmt, int index, const struct cell *cell);
void bind_str(struct db_stmt *stmt, int index, const char *text); /* NULL binds NULL */
char *column_copy(struct db_stmt *stmt, int column);              /* mem_free; NULL for NULL */

#endif
