/* A pack: the files of a project as one JSON text, the same for the same files:
 *
 *     {"files":[{"path":"src/main.lua","text":"…"},{"path":"logo.png","base64":"…"}]}
 *
 * sorted by the bytes of their paths. Its name is the SHA-256 of that text. Must not let a path lead out of
 * the folder it is for.
 *
 * Who owns what: buffers are the caller's. */
#ifndef WORKERS_WORKER_PACK_H
#define WORKERS_WORKER_PACK_H

#include "base/buf.h"
#include "base/err.h"

#define PACK_MAX ((size_t)16 * 1024 * 1024) /* bytes of the text */
#define PACK_FILES_MAX 5000
#define PACK_PATH_MAX 512   /* bytes */
#define PACK_DIGEST_SIZE 65 /* in hexadecimal digits, and the NUL */

struct pack_info {
    char digest[PACK_DIGEST_SIZE];
    int64_t files;
    int64_t bytes; /* of the files */
};

/* Packs what lies in the folder, without what a .gitignore leaves out, and never .git, .workers, .env or
 * .env.*; links are not followed. built are folders that a .gitignore cannot leave out, NULL at their end, or
 * NULL. ERR_LIMIT: it is too large, or has too many files; the message names the
 * largest. */
enum err_code pack_folder(const char *folder, const char *const built[], struct buf *out,
                          struct pack_info *info, struct err *err) MUST_CHECK;
/* Checks a pack that came from outside: its form, its paths, its order. */
enum err_code pack_check(const char *text, size_t len, struct pack_info *info, struct err *err) MUST_CHECK;
/* Writes the files of a checked pack into the folder, which appears whole or not at all. One that is there
 * and has them all is left alone. */
#define PACK_UNFINISHED ".new-" /* in the name of what is being written beside a folder */
enum err_code pack_unpack(const char *text, size_t len, const char *folder, struct err *err) MUST_CHECK;
/* Removes a folder with all that is in it, as far as that can be done. */
void pack_remove(const char *folder);
/* Told of each file of a checked pack; text is unescaped. */
typedef enum err_code (*pack_file_fn)(void *ctx, const char *path, const char *bytes, size_t len);
enum err_code pack_each(const char *text, size_t len, pack_file_fn each, void *ctx,
                        struct err *err) MUST_CHECK;

#endif
