/* DEFLATE and its two wrappings, gzip and zlib, over zlib: one piece after the other, in bounded memory.
 *
 * Who owns what: a stream owns its memory, at most 300 KiB, from opening until compress_close; input and
 * output belong to the caller. */
#ifndef WORKERS_BASE_COMPRESS_H
#define WORKERS_BASE_COMPRESS_H

#include "base/err.h"

#include <stdbool.h>
#define ZLIB_CONST
#include <zlib.h>

enum compress_format {
    COMPRESS_GZIP, /* RFC 1952; reading takes several members, one after the other, and zero bytes behind them
                    */
    COMPRESS_ZLIB, /* RFC 1950 */
    COMPRESS_RAW,  /* RFC 1951 */
};

#define COMPRESS_LEVEL 6 /* unless another is asked for: 0 (stored) to 9 */

struct compress {
    z_stream stream;
    enum compress_format format;
    const char *input;
    size_t len;
    bool open;
    bool reading; /* inflates */
    bool ended;   /* a member has ended, and no other has begun */
};

/* ERR_NOMEM. The same input and level give the same bytes, whenever and wherever: gzip has no time and name.
 */
enum err_code compress_open(struct compress *compress, enum compress_format format, int level,
                            const char *input, size_t len, struct err *err) MUST_CHECK;

/* ERR_NOMEM. */
enum err_code compress_open_reading(struct compress *compress, enum compress_format format, const char *input,
                                    size_t len, struct err *err) MUST_CHECK;

/* Goes on by a slice that takes a few milliseconds: writes up to size bytes (1 at least) to out and says how
 * many in *written, which may be none before the end. *done: that was the end. ERR_CORRUPT: the input is not
 * what it should be, with where and why; ERR_NOMEM. */
enum err_code compress_next(struct compress *compress, char *out, size_t size, size_t *written, bool *done,
                            struct err *err) MUST_CHECK;

void compress_close(struct compress *compress); /* allowed twice, and for a zeroed one */

#endif
