/* Folders and files that commands write: projects, definition files. Must not know what is in them.
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_CLI_FILES_H
#define WORKERS_CLI_FILES_H

#include "base/err.h"

#include <stddef.h>

struct files_text {
    const char *at;
    size_t len;
};

/* Makes the folder and those above it. One that is there is fine. */
enum err_code files_make_folder(const char *path, struct err *err) MUST_CHECK;
/* A new folder for its owner only, in the place of temporary files (TMPDIR, or /tmp): path becomes its own,
 * and
 * "" when there is none. It is the caller's to take away. name: what its own begins with. */
enum err_code files_make_temporary(const char *name, char *path, size_t size, struct err *err) MUST_CHECK;
/* Writes the file, over one that is there. */
enum err_code files_write(const char *path, const char *text, size_t len, struct err *err) MUST_CHECK;
/* The same for a file that only its owner may read: it is written beside and put into place, whole or not at
 * all. One that is there loses the rights that others have. */
enum err_code files_write_private(const char *path, const char *text, size_t len, struct err *err) MUST_CHECK;
/* Puts the text in the place of the file's, whole or not at all, when that is what it was: old. The file
 * keeps its owner and its rights, and a link to it leads to it. shown: what messages call it. */
enum err_code files_replace(const char *path, const char *shown, const struct files_text *old,
                            const struct files_text *text, struct err *err) MUST_CHECK;
/* Makes a symbolic link to the target, in the place of a file or link that is there. */
enum err_code files_link(const char *path, const char *target, struct err *err) MUST_CHECK;

#endif
