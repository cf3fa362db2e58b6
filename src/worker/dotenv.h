/* .env files: names and values, one assignment after the other. Must not put a value into a message, nor
 * expand variables: a '$' is a '$'.
 *
 * Who owns what: a struct dotenv owns its names and values until dotenv_free. */
#ifndef WORKERS_WORKER_DOTENV_H
#define WORKERS_WORKER_DOTENV_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define DOTENV_MAX ((size_t)1024 * 1024) /* bytes of a file */

struct dotenv_entry {
    char *name;       /* [A-Za-z_][A-Za-z0-9_]* */
    char *value;      /* without NUL bytes */
    size_t value_len; /* bytes */
    size_t line;      /* from 1 */
    size_t begin;     /* where its line begins in the text */
    size_t end;       /* and where the line after it begins */
};

struct dotenv {
    struct dotenv_entry *entries; /* as in the file; of several with one name the last counts */
    size_t count;
    size_t room;
};

/* Reads a text:
 *   # a comment, and blank lines
 *   NAME=value             without blanks at both ends; " #" begins a comment
 *   export NAME=value      the same
 *   NAME='literally'       up to the next single quote, over lines
 *   NAME="with \n \r \t \" \\ \$"   other backslashes stay; over lines
 * Lines end in LF or CRLF, which become LF within quotes. A byte order mark at the start is skipped.
 *
 * ERR_INVALID: "FILE:LINE: what is wrong"; ERR_LIMIT: larger than DOTENV_MAX. On failure nothing is left to
 * free. */
enum err_code dotenv_parse(const char *text, size_t len, const char *filename, struct dotenv *env,
                           struct err *err) MUST_CHECK;
/* The same for a file; ERR_NOT_FOUND when there is none. */
enum err_code dotenv_load(const char *path, struct dotenv *env, struct err *err) MUST_CHECK;
/* NULL when there is none. */
const struct dotenv_entry *dotenv_get(const struct dotenv *env, const char *name);
/* Frees and zeroes; a zeroed struct is fine. */
void dotenv_free(struct dotenv *env);

bool dotenv_is_name(const char *name, size_t len);

/* Appends to out the text with name set to value (value NULL: with name taken out); all else stays as it is,
 * comments too. The value is quoted where it has to be. ERR_INVALID as dotenv_parse has it, for a bad name,
 * or for a value with a NUL byte. */
enum err_code dotenv_edit(const char *text, size_t len, const char *filename, const char *name,
                          const char *value, size_t value_len, struct buf *out, struct err *err) MUST_CHECK;

#endif
