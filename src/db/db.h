/* The database driver interface: connect, prepare, bind, step, transactions. Each engine is one file behind
 * it.
 *
 * Who owns what: a connection owns its statements until db_finalize or db_close; texts of
 * columns belong to the statement until its next step, reset or finalize. A connection is used by one
 * thread at a time.
 *
 * SQL is written once for all engines: placeholders are ?1, ?2, …; json_object(…) makes a JSON object. */
#ifndef WORKERS_DB_DB_H
#define WORKERS_DB_DB_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct db;
struct db_stmt;

enum db_step { DB_ROW, DB_DONE, DB_FAILED };
enum db_type { DB_NULL, DB_INTEGER, DB_REAL, DB_TEXT, DB_BLOB };

/* One column of a row; text also holds blobs. */
struct db_value {
    enum db_type type;
    union {
        int64_t integer;
        double real;
        const char *text;
    };
    size_t len; /* of the text, in bytes */
};

/* What a connection for statements that strangers wrote is held to. It only reads, and writes no file of its
 * own either. It is opened, used and closed by one thread, which has no other connection meanwhile.
 *
 * What the engine does within one of its steps is bounded by these sizes: seconds at the worst. */
struct db_guard {
    size_t memory_max; /* bytes that the engine may hold for it: sorting and grouping are done in memory */
    size_t value_max;  /* bytes of one value, also of those in between */
    /* Tables whose names begin so cannot be read, nor what the engine keeps of them; NULL for none. */
    const char *hidden;
    /* Asked every few microseconds; false ends the statement with ERR_CANCELLED. */
    bool (*go_on)(void *ctx);
    void *ctx;
};

struct db_options {
    bool read_only;
    bool create;  /* make the database when there is none */
    bool durable; /* a commit survives a power cut; otherwise the last ones may be lost, whole, in order */
    int busy_timeout_ms;          /* how long to wait for another connection's transaction */
    const struct db_guard *guard; /* NULL for our own statements; outlives the connection */
};

/* A function of SQL: the moment that a date means, in Unix milliseconds
 * (zoned_parse); NULL for what is no date. */
#define DB_MOMENT "workers_moment"

#define DB_MEMORY "memory:/"

/* One engine. Every function gets a valid connection or statement; failures are described in err. */
struct db_driver {
    const char *name;
    /* address: a file, or DB_MEMORY and a name: in memory, for all connections of the process that give the
     * same name, until the last is closed. */
    enum err_code (*open)(const char *address, const struct db_options *options, struct db **out,
                          struct err *err);
    void (*close)(struct db *db);
    enum err_code (*exec)(struct db *db, const char *sql,
                          struct err *err); /* one or several statements without rows */
    enum err_code (*prepare)(struct db *db, const char *sql, struct db_stmt **out, struct err *err);
    void (*finalize)(struct db_stmt *stmt);
    /* Binding counts from 1. Texts and blobs must stay valid until the statement is reset. */
    void (*bind_null)(struct db_stmt *stmt, int index);
    void (*bind_integer)(struct db_stmt *stmt, int index, int64_t value);
    void (*bind_real)(struct db_stmt *stmt, int index, double value);
    void (*bind_text)(struct db_stmt *stmt, int index, const char *text, size_t len);
    void (*bind_blob)(struct db_stmt *stmt, int index, const void *bytes, size_t len);
    int (*parameter_count)(struct db_stmt *stmt); /* the greatest index that can be bound */
    /* As it is written, with its mark: ":name", "?2"; NULL when it has no name. */
    const char *(*parameter_name)(struct db_stmt *stmt, int index);
    enum db_step (*step)(struct db_stmt *stmt, struct err *err);
    void (*reset)(struct db_stmt *stmt); /* forgets bindings too */
    /* Columns count from 0. */
    int (*column_count)(struct db_stmt *stmt);
    const char *(*column_name)(struct db_stmt *stmt, int column);
    enum db_type (*column_type)(struct db_stmt *stmt, int column);
    struct db_value (*column_value)(struct db_stmt *stmt, int column); /* as it is stored */
    /* These convert, as the engine does; NULL is 0. */
    int64_t (*column_integer)(struct db_stmt *stmt, int column);
    double (*column_real)(struct db_stmt *stmt, int column);
    const char *(*column_text)(struct db_stmt *stmt, int column, size_t *len); /* also blobs; NULL for NULL */
    /* A write transaction; begin waits for other writers up to the busy timeout (ERR_BUSY). */
    enum err_code (*begin)(struct db *db, struct err *err);
    /* The same, and its commit survives a power cut however the connection was opened. */
    enum err_code (*begin_durable)(struct db *db, struct err *err);
    enum err_code (*commit)(struct db *db, struct err *err); /* rolled back when it fails */
    void (*rollback)(struct db *db);
    int64_t (*changes)(struct db *db); /* rows changed by the last statement */
    /* Gives some of the space that is not used any more back to the system. */
    enum err_code (*shrink)(struct db *db, struct err *err);
    /* A number that is another one when somebody else has committed since; cheap. -1 when it is not known. */
    int64_t (*others)(struct db *db);
    /* Gives back the memory that it can do without until it is used again. */
    void (*rest)(struct db *db);
};

struct db {
    const struct db_driver *driver;
};

struct db_stmt {
    struct db *db;
};

extern const struct db_driver db_sqlite;

/* Runs a statement that returns no rows, with text parameters (NULL ends them); for rare statements. */
enum err_code db_run(struct db *db, struct err *err, const char *sql, ...) MUST_CHECK;
/* First column of the first row as an integer; absent when there is no row or it is NULL. */
enum err_code db_integer(struct db *db, const char *sql, int64_t absent, int64_t *out,
                         struct err *err) MUST_CHECK;

/* Binds by number (?1, or the nth ?) or, when name is not NULL, by name (:name, @name, $name). */
struct db_parameter {
    const char *name; /* without its mark */
    int number;       /* from 1 */
    struct db_value value;
};

struct db_statement {
    const char *sql;
    const struct db_parameter *parameters;
    size_t parameter_count;
};

/* Told of the columns once, before the first row. A failure ends the query with that code. */
struct db_sink {
    enum err_code (*columns)(void *ctx, int count, const char *const names[]);
    enum err_code (*row)(void *ctx, int count, const struct db_value values[]);
    void *ctx;
};

/* Runs one statement on a connection of its own, so that what it sees is one moment of what is committed.
 * ERR_INVALID names a parameter that is missing, or one that the statement does not have. */
enum err_code db_query(const struct db_driver *driver, const char *address, const struct db_options *options,
                       const struct db_statement *statement, const struct db_sink *sink,
                       struct err *err) MUST_CHECK;

/* A name as an SQL identifier, quoted; size must be at least 2 * strlen(name) + 3. Returns out. */
const char *db_quote(const char *name, char *out, size_t size);

#endif
