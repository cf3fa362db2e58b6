/* JSON objects of the API as a table for people, for programs, or as they are.
 *
 * Who owns what: nothing is kept; what a cell writes goes to the caller's buffer. */
#ifndef WORKERS_CLI_LISTING_H
#define WORKERS_CLI_LISTING_H

#include "base/json.h"
#include "cli/target.h"

/* ---- one object ---- */

/* Appends a member: a text, or a number, true or false as it stands; nothing when it is null or not there. */
void object_add(const struct json_slice *object, const char *name, struct buf *out);
int64_t object_number(const struct json_slice *object, const char *name); /* 0 when there is none */
double object_real(const struct json_slice *object, const char *name);
bool object_flag(const struct json_slice *object, const char *name);
bool object_has(const struct json_slice *object, const char *name);
int64_t object_time(const struct json_slice *object, const char *name); /* milliseconds; 0 for none */

/* ---- many ---- */

enum cell_kind {
    CELL_VALUE,
    CELL_TIME,    /* "never" when it is not there */
    CELL_TIME_IF, /* empty then */
};

struct listing_column {
    struct table_column column;
    const char *member;
    enum cell_kind kind;
    /* In the place of the member: appends the cell. plain: for programs. */
    void (*write)(const struct json_slice *object, bool plain, struct buf *out);
};

struct listing {
    const struct listing_column *columns; /* a title of NULL ends them */
    const char *empty;                    /* said on stderr when there is none; NULL: nothing */
    const char *member; /* of the answer, which is the array; NULL: it is the answer itself */
    int64_t limit;      /* how many without --limit, newest first, which have an "id"; 0: always all */
};

/* Prints an array. Returns the exit code. */
int listing_print(const struct listing *listing, enum cli_format format, const struct buf *array);
/* Asks for it (GET), page by page, and prints it. */
int listing_run(const struct cli_args *args, const struct listing *listing, const char *path);
/* Asks for one thing, the id's unless it is NULL, and prints it as JSON. */
int listing_one(const struct cli_args *args, const char *base, const char *id);

#endif
