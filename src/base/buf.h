/* A growing byte buffer with a mandatory maximum.
 *
 * Who owns what: the buffer owns its bytes until buf_free, or until buf_take hands them to the caller. */
#ifndef WORKERS_BASE_BUF_H
#define WORKERS_BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct buf {
    char *data; /* NUL-terminated whenever it is not NULL */
    size_t len;
    size_t cap;
    size_t max;
    bool failed;        /* an append did not fit or memory was out; sticky, so that callers may check once */
    bool out_of_memory; /* it was memory, not the maximum */
};

#define BUF_UNLIMITED ((size_t)1 << 40)

/* max is the greatest number of bytes the buffer may ever hold. Allocates nothing. */
void buf_init(struct buf *buf, size_t max);
void buf_free(struct buf *buf);
void buf_wipe(struct buf *buf);  /* frees, and overwrites what it held */
void buf_clear(struct buf *buf); /* keeps the memory; clears the failure */

/* Appends; after the first failure they do nothing and buf_status reports it. */
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_adds(struct buf *buf, const char *text);
void buf_addc(struct buf *buf, char c);
void buf_addf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for len more bytes at the end, NULL on failure; buf->len is the caller's to advance. */
char *buf_reserve(struct buf *buf, size_t len);

/* ERR_NONE, ERR_LIMIT (the maximum was reached) or ERR_NOMEM; what names the content for the message. */
enum err_code buf_status(const struct buf *buf, const char *what, struct err *err) MUST_CHECK;

/* The bytes, never NULL, even when empty. */
const char *buf_text(const struct buf *buf);
/* Hands the bytes over (mem_free), leaves the buffer empty. NULL when nothing was ever written. */
char *buf_take(struct buf *buf, size_t *len);

#endif
