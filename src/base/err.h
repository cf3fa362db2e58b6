/* Errors. A function that can fail returns enum err_code and fills a struct err that its caller owns.
 *
 * Who owns what: the caller owns the struct; it holds no pointers and needs no release. */
#ifndef WORKERS_BASE_ERR_H
#define WORKERS_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))

enum err_code {
    ERR_NONE = 0,
    ERR_NOMEM,     /* the system has no memory left */
    ERR_INVALID,   /* bad input: names what, where and the remedy */
    ERR_NOT_FOUND, /* something named does not exist */
    ERR_CONFLICT,  /* somebody else changed or holds it: a lost lease, a schema that cannot migrate */
    ERR_BUSY,      /* held for the moment; trying again may succeed */
    ERR_LIMIT,     /* a configured limit was reached; the message names it */
    ERR_IO,        /* files, sockets, disk full */
    ERR_CORRUPT,   /* stored data is not what was written */
    ERR_TIMEOUT,   /* a deadline passed */
    ERR_CANCELLED, /* somebody asked to stop */
    ERR_SCRIPT,    /* the script failed */
    ERR_DENIED,    /* a permission is missing; the message names the line to add */
    ERR_INTERNAL,  /* a mistake of ours */
};

#define ERR_MESSAGE_MAX 2048 /* bytes, including the closing NUL; longer messages end in "..." */

struct err {
    enum err_code code;
    char message[ERR_MESSAGE_MAX];
};

/* Sets code and message, returns code. Accepts err == NULL for callers that need only the code. */
enum err_code err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum err_code err_vset(struct err *err, enum err_code code, const char *format, va_list arguments);

/* Puts "context: " in front of the message; returns the code that is already set. */
enum err_code err_context(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum err_code err_nomem(struct err *err);

/* "NOMEM", "INVALID", …: for logs and JSON. */
const char *err_code_name(enum err_code code);

#endif
