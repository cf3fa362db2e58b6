/* What the files of workers.yaml share.
 *
 * Who owns what: the table of fields is constant; patterns point into the text they were made from. */
#ifndef WORKERS_WORKER_CONFIG_PRIV_H
#define WORKERS_WORKER_CONFIG_PRIV_H

#include "worker/config.h"

#define CONFIG_SHOWN_MAX 60 /* bytes of a key or value that a message repeats */
#define CONFIG_FIELDS_MAX 7 /* of one section */

enum field_type {
    FIELD_TEXT,
    FIELD_SIZE,
    FIELD_DURATION,
    FIELD_COUNT,
    FIELD_LIST,
    FIELD_SECTION,
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset; /* in struct config */
    uint64_t min;  /* FIELD_SIZE, FIELD_DURATION and FIELD_COUNT: bytes, milliseconds, a number */
    uint64_t max;
    const char *range;   /* the same in words */
    const char *example; /* how a right value looks */
    /* FIELD_TEXT and the entries of FIELD_LIST: NULL when the text is good, else what is wrong with it. */
    const char *(*wrong)(const char *text);
    const struct field *fields; /* FIELD_SECTION; ends with a NULL key */
};

/* All keys of the file; ends with a NULL key. */
extern const struct field config_fields[];

bool config_is_name_char(char c);

/* A host pattern, taken apart. */
struct host_pattern {
    const char *host; /* without brackets */
    size_t len;
    int port;      /* 0: any */
    int bits;      /* of a network, "10.0.0.0/8"; -1 for a host */
    bool bad_port; /* something stands behind the colon, but no port */
};

struct host_pattern config_split_host(const char *text);

/* What follows postgresql:// or postgres://; NULL for anything else. */
const char *config_after_postgresql(const char *text);

/* The start of what somebody wrote, fit for a message: controls as '?', no character cut in two. */
const char *config_shown(const char *text, size_t len, char out[static CONFIG_SHOWN_MAX + 4]);

#endif
