/* What a script declares, outside Lua: databases, pacers, capabilities.
 *
 * Who owns what: a struct worker owns everything reachable from it, in one arena; it lives until worker_free
 * and does not change once the script has been loaded, so any thread may read it. */
#ifndef WORKERS_WORKER_WORKER_H
#define WORKERS_WORKER_WORKER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "worker/credential.h"
#include "worker/oauth.h"
#include "worker/schedule.h"
#include "worker/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_schema;

enum property_type {
    PROPERTY_TITLE,
    PROPERTY_TEXT,
    PROPERTY_URL,
    PROPERTY_EMAIL,
    PROPERTY_PHONE,
    PROPERTY_CHECKBOX,
    PROPERTY_FILE,
    PROPERTY_NUMBER,
    PROPERTY_DATE,
    PROPERTY_SELECT,
    PROPERTY_MULTI_SELECT,
    PROPERTY_STATUS,
    PROPERTY_PEOPLE,
    PROPERTY_PLACE,
    PROPERTY_RELATION,
    PROPERTY_TYPE_COUNT,
};

struct select_option {
    const char *name;
    size_t len;
    const char *color; /* NULL when not given */
    int group;         /* of a status: index of its group; else 0 */
};

struct property {
    const char *name;
    size_t name_len;
    const char *column; /* snake_case, unique in its table */
    enum property_type type;
    bool strict;        /* an undeclared option is an error instead of a new option */
    const char *format; /* of number and date; NULL when not given */
    struct select_option *options;
    size_t option_count;
    const char *groups[3]; /* of a status, in declared order */
    size_t group_count;
    const char *related_database; /* of a relation */
    bool two_way;
    const char *related_property;
};

struct database {
    const char *key;
    const char *where; /* "src/main.lua:12: ", for errors found once everything is declared */
    const char *type;  /* "managed" or "attached" */
    const char *table;
    const char *initial_title;
    size_t primary_key; /* index into properties */
    struct property *properties;
    size_t property_count;
    const char *icon_json; /* databaseIcon as JSON, NULL when not given */
    const char *sub_items_parent;
    const char *sub_items_child;
};

struct pacer {
    const char *key;
    double allowed_requests;
    double interval_ms;
};

enum capability_kind {
    CAPABILITY_SYNC,
    CAPABILITY_TOOL,
    CAPABILITY_WEBHOOK,
    CAPABILITY_AUTOMATION,
    CAPABILITY_JOB
};

/* What happens to a row. Bit n of trigger_events stands for the nth. */
enum row_event { ROW_INSERTED, ROW_UPDATED, ROW_DELETED };

enum sync_mode { SYNC_REPLACE, SYNC_INCREMENTAL };

struct capability {
    enum capability_kind kind;
    const char *key;
    const char *title;       /* all but syncs */
    const char *description; /* all but syncs */
    /* syncs, and automations with a trigger */
    size_t database; /* index into the worker's databases */
    /* automations */
    bool has_trigger;
    bool has_when;
    unsigned trigger_events;
    /* syncs */
    enum sync_mode mode;
    bool mode_given;
    double sweep_max_delete_ratio; /* 0–1; a sweep above it is held */
    int64_t sweep_min_rows;        /* tables smaller than this are swept whatever the ratio */
    /* syncs and jobs */
    struct schedule schedule;
    bool schedule_given;
    /* tools */
    struct json_schema *input_schema;
    struct json_schema *output_schema; /* NULL when not given */
    int read_only_hint;                /* -1 not given, 0, 1 */
    bool hints_given;
    bool has_dry_run; /* it may be asked to say what it would do, with "dryRun" in its input */
    /* webhooks */
    bool has_verify;
    bool has_idempotency_key;
};

#define DRY_RUN_PROPERTY "dryRun"

struct worker {
    struct arena arena;
    struct database *databases;
    size_t database_count;
    struct pacer *pacers;
    size_t pacer_count;
    struct capability *capabilities;
    size_t capability_count;
    struct credential *credentials;
    size_t credential_count;
    struct oauth *oauths;
    size_t oauth_count, oauth_room;
    struct view *views;
    size_t view_count, view_room;
    bool has_alert; /* there is a function for alerts */
    size_t database_room, pacer_room, capability_room, credential_room;
};

#define WORKER_ALERT                                                                                         \
    "@alert" /* stands for a key where the function for alerts is meant; no key begins so                    \
              */

/* Tables whose names begin so are the program's own: who could not open the file does not read them. */
#define RESERVED_TABLES "_workers_"

struct worker *worker_new(void); /* NULL when memory is out */
void worker_free(struct worker *worker);

const struct capability *worker_capability(const struct worker *worker, const char *key);
#define CAPABILITY_ANY (-1)
/* The same of one kind, or CAPABILITY_ANY; NULL after an error: ERR_NOT_FOUND with what may have been meant,
 * or ERR_INVALID when it is of another kind. */
const struct capability *worker_find(const struct worker *worker, const char *key, int kind,
                                     struct err *err) MUST_CHECK;
const struct pacer *worker_pacer(const struct worker *worker, const char *key);
/* Index of the database, or SIZE_MAX. */
size_t worker_database(const struct worker *worker, const char *key);
const struct property *database_property(const struct database *database, const char *name, size_t len);

const char *capability_kind_name(enum capability_kind kind); /* "sync", "tool", … */
const char *property_type_name(enum property_type type);     /* as in the manifest: "title", "text", … */
enum property_type property_type_of(const char *name);       /* PROPERTY_TYPE_COUNT when there is none */

/* Checks what can only be checked once everything is declared: relations lead to declared databases, table
 * names do not collide. */
enum err_code worker_check(struct worker *worker, struct err *err) MUST_CHECK;

/* The manifest as JSON: what the original SDK gives for the same declarations, and new keys of ours. */
enum err_code worker_manifest(const struct worker *worker, struct buf *out) MUST_CHECK;

/* The JSON Schema-like definition of one database: key, table, properties with columns. */
void worker_write_property(const struct property *property, struct buf *out);

#endif
