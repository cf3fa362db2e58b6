/* Which files of a folder .gitignore leaves out (gitignore(5)): the rules of each folder, from the top down.
 *
 * Who owns what: a struct ignore owns its rules until ignore_free. */
#ifndef WORKERS_WORKER_IGNORE_H
#define WORKERS_WORKER_IGNORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct ignore_rule {
    char *pattern; /* without its marks */
    char *folder;  /* where its file lies, from the top: "" or "a/b/" */
    bool negated, folders_only;
    bool anchored; /* it has a slash: it is about the path, not the last part of it */
};

struct ignore {
    struct ignore_rule *rules; /* the last one that fits counts */
    size_t count, room;
};

/* Adds the rules of one file. folder: "" or "a/b/". ERR_NOMEM. */
enum err_code ignore_add(struct ignore *ignore, const char *folder, const char *text, size_t len,
                         struct err *err) MUST_CHECK;
/* path from the top, with "/" between its parts and none at its end. Folders above it that are left out are
 * the caller's not to enter. */
bool ignore_leaves_out(const struct ignore *ignore, const char *path, bool is_folder);
/* Forgets the rules that were added last, so that count are left. */
void ignore_cut(struct ignore *ignore, size_t count);
void ignore_free(struct ignore *ignore);

#endif
