/* Compression over zlib. Must not hold more than zlib's window at once. */
#include "base/compress.h"

#include "base/mem.h"

#include <string.h>

#define SLICE ((size_t)256 * 1024) /* bytes of input that one call works on */

static void *allocate(void *ctx, unsigned count, unsigned size)
{
    (void)ctx;
    return mem_alloc((size_t)count * size);
}

static void release(void *ctx, void *block)
{
    (void)ctx;
    mem_free(block);
}

/* As zlib wants to hear it. */
static int window_bits(enum compress_format format)
{
    static const int bits[] = {[COMPRESS_GZIP] = 15 + 16, [COMPRESS_ZLIB] = 15, [COMPRESS_RAW] = -15};
    return bits[format];
}

static void begin(struct compress *compress, enum compress_format format, const char *input, size_t len)
{
    *compress = (struct compress){.format = format, .input = input, .len = len};
    compress->stream.zalloc = allocate;
    compress->stream.zfree = release;
}

enum err_code compress_open(struct compress *compress, enum compress_format format, int level,
                            const char *input, size_t len, struct err *err)
{
    begin(compress, format, input, len);
    int memory_level = 8; /* zlib's default */
    if (deflateInit2(&compress->stream, level, Z_DEFLATED, window_bits(format), memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return err_nomem(err);
    compress->open = true;
    return ERR_NONE;
}

enum err_code compress_open_reading(struct compress *compress, enum compress_format format, const char *input,
                                    size_t len, struct err *err)
{
    begin(compress, format, input, len);
    if (inflateInit2(&compress->stream, window_bits(format)) != Z_OK)
        return err_nomem(err);
    compress->open = compress->reading = true;
    return ERR_NONE;
}

void compress_close(struct compress *compress)
{
    if (compress->open && compress->reading)
        inflateEnd(&compress->stream);
    else if (compress->open)
        deflateEnd(&compress->stream);
    compress->open = false;
}

/* Bytes of the input that were read. */
static size_t position(const struct compress *compress)
{
    const char *next = (const char *)compress->stream.next_in;
    return next != NULL ? (size_t)(next - compress->input) : 0;
}

/* Gives zlib the next slice of the input; whether it is the last. */
static bool feed(struct compress *compress)
{
    z_stream *stream = &compress->stream;
    size_t at = position(compress);
    size_t left = compress->len - at;
    stream->next_in = (const Bytef *)compress->input + at;
    stream->avail_in = (unsigned)(left < SLICE ? left : SLICE);
    return left <= SLICE;
}

/* What may follow the end of a member: another one, zero bytes as tapes have them, or nothing. Sets *done
 * unless another follows. */
static enum err_code after_member(struct compress *compress, bool *done, struct err *err)
{
    size_t at = position(compress);
    const char *rest = compress->input + at;
    size_t left = compress->len - at;
    if (compress->format == COMPRESS_GZIP && left >= 2 && memcmp(rest, "\x1f\x8b", 2) == 0) {
        compress->ended = false;
        return inflateReset(&compress->stream) == Z_OK ? ERR_NONE
                                                       : err_set(err, ERR_INTERNAL, "inflateReset");
    }
    for (size_t i = 0; i < left; i++) {
        if (compress->format != COMPRESS_GZIP || rest[i] != '\0')
            return err_set(err, ERR_CORRUPT,
                           "the compressed data ends at byte %zu of %zu; what follows is no part of it", at,
                           compress->len);
    }
    *done = true;
    return ERR_NONE;
}

static enum err_code read_failed(const struct compress *compress, int status, struct err *err)
{
    size_t at = position(compress);
    if (status == Z_MEM_ERROR)
        return err_nomem(err);
    if (compress->len == 0)
        return err_set(err, ERR_CORRUPT, "the compressed data is empty");
    if (status == Z_OK || status == Z_BUF_ERROR)
        return err_set(err, ERR_CORRUPT, "the compressed data is cut off after %zu bytes", compress->len);
    if (status == Z_NEED_DICT)
        return err_set(err, ERR_CORRUPT, "the compressed data needs a dictionary, which nobody has");
    if (at <= 2 && compress->format != COMPRESS_RAW)
        return err_set(err, ERR_CORRUPT, "the data is not in %s format",
                       compress->format == COMPRESS_GZIP ? "gzip" : "zlib");
    return err_set(err, ERR_CORRUPT, "the compressed data is damaged before byte %zu: %s", at + 1,
                   compress->stream.msg != NULL ? compress->stream.msg : "it makes no sense");
}

static enum err_code inflate_next(struct compress *compress, bool *done, struct err *err)
{
    z_stream *stream = &compress->stream;
    if (compress->ended)
        return after_member(compress, done, err);
    bool last = feed(compress);
    int status = inflate(stream, Z_NO_FLUSH);
    compress->ended = status == Z_STREAM_END;
    if (compress->ended || (status == Z_OK && (!last || stream->avail_out == 0)))
        return ERR_NONE;
    return read_failed(compress, status, err);
}

static enum err_code deflate_next(struct compress *compress, bool *done, struct err *err)
{
    bool last = feed(compress);
    int status = deflate(&compress->stream, last ? Z_FINISH : Z_NO_FLUSH);
    *done = status == Z_STREAM_END;
    if (*done || status == Z_OK)
        return ERR_NONE;
    return err_set(err, ERR_INTERNAL, "zlib does not compress: %d", status);
}

enum err_code compress_next(struct compress *compress, char *out, size_t size, size_t *written, bool *done,
                            struct err *err)
{
    z_stream *stream = &compress->stream;
    unsigned room = (unsigned)(size < SLICE ? size : SLICE);
    *done = false;
    stream->next_out = (Bytef *)out;
    stream->avail_out = room;
    enum err_code code =
        compress->reading ? inflate_next(compress, done, err) : deflate_next(compress, done, err);
    *written = room - stream->avail_out;
    return code;
}
