/* What an examination has found: one line each, and what to do about it.
 *
 * Who owns what: findings own their texts; findings_free. */
#ifndef WORKERS_CLI_FINDINGS_H
#define WORKERS_CLI_FINDINGS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum finding_level { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct finding {
    enum finding_level level;
    const char *check; /* a word for what was looked at, a literal */
    char *text;        /* one line */
    char *remedy;      /* a command or a step, one line; NULL when there is nothing to do */
};

#define FINDINGS_MAX 64

struct findings {
    struct finding items[FINDINGS_MAX];
    size_t count;
};

void findings_free(struct findings *findings);
/* remedy: "" for none. Of both the first line is kept; what is beyond FINDINGS_MAX is not. */
void findings_add(struct findings *findings, enum finding_level level, const char *check, const char *remedy,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
bool findings_failed(const struct findings *findings);
/* On stdout. */
void findings_print(const struct findings *findings);
/* Appends {"ok": …, "checks": [{"check", "level", "message", "remedy"}]}. */
void findings_json(const struct findings *findings, struct buf *out);

#endif
