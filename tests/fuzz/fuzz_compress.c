/* libFuzzer harness for compressed data: no bytes may crash or leak, and what comes out goes in and out
 * again.
 *
 * The first byte chooses the format and the size of the pieces. */
#include "base/buf.h"
#include "base/compress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_OUTPUT ((size_t)1 << 20)

static enum err_code drain(struct compress *compress, size_t size, struct buf *out)
{
    struct err err;
    bool done = false;
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && !done && out->len < MAX_OUTPUT) {
        size_t written = 0;
        char *room = buf_reserve(out, size);
        code = compress_next(compress, room, size, &written, &done, &err);
        out->len += written;
    }
    compress_close(compress);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct compress compress;
    struct err err;
    struct buf text, packed, back;
    if (size == 0)
        return 0;
    enum compress_format format = (enum compress_format)(data[0] % 3);
    size_t piece = (size_t)1 << (data[0] / 3 % 17);
    buf_init(&text, BUF_UNLIMITED);
    buf_init(&packed, BUF_UNLIMITED);
    buf_init(&back, BUF_UNLIMITED);
    if (compress_open_reading(&compress, format, (const char *)data + 1, size - 1, &err) != ERR_NONE)
        abort();
    enum err_code code = drain(&compress, piece, &text);
    if (code != ERR_NONE && code != ERR_CORRUPT)
        abort();
    if (code == ERR_NONE && text.len < MAX_OUTPUT) {
        if (compress_open(&compress, format, 1, buf_text(&text), text.len, &err) != ERR_NONE ||
            drain(&compress, piece, &packed) != ERR_NONE)
            abort();
        if (compress_open_reading(&compress, format, packed.data, packed.len, &err) != ERR_NONE ||
            drain(&compress, piece, &back) != ERR_NONE)
            abort();
        if (back.len != text.len || memcmp(buf_text(&back), buf_text(&text), text.len) != 0)
            abort();
    }
    buf_free(&text);
    buf_free(&packed);
    buf_free(&back);
    return 0;
}
