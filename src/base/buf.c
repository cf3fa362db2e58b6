/* A growing byte buffer. Must not grow past its maximum, whoever feeds it. */
#include "base/buf.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_free(struct buf *buf)
{
    mem_free(buf->data);
    buf_init(buf, buf->max);
}

void buf_wipe(struct buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    buf_free(buf);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = buf->out_of_memory = false;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t len)
{
    if (buf->failed)
        return NULL;
    if (len > buf->max || buf->len > buf->max - len) {
        buf->failed = true;
        return NULL;
    }
    size_t need = buf->len + len + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap < 128 ? 128 : buf->cap;
        while (cap < need)
            cap += cap / 2 + 64;
        char *data = mem_realloc(buf->data, cap);
        if (data == NULL) {
            buf->failed = buf->out_of_memory = true;
            return NULL;
        }
        buf->data = data;
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    char *end = buf_reserve(buf, len);
    if (end == NULL)
        return;
    if (len > 0)
        memcpy(end, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_adds(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_addc(struct buf *buf, char c)
{
    if (buf->len + 1 < buf->cap && buf->len < buf->max && !buf->failed) {
        buf->data[buf->len++] = c;
        buf->data[buf->len] = '\0';
        return;
    }
    buf_add(buf, &c, 1);
}

void buf_addf(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    char *end = len >= 0 ? buf_reserve(buf, (size_t)len) : NULL;
    if (end != NULL) {
        vsnprintf(end, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    va_end(arguments);
}

enum err_code buf_status(const struct buf *buf, const char *what, struct err *err)
{
    if (!buf->failed)
        return ERR_NONE;
    if (!buf->out_of_memory)
        return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", what, buf->max);
    return err_nomem(err);
}

const char *buf_text(const struct buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}

char *buf_take(struct buf *buf, size_t *len)
{
    char *data = buf->data;
    if (len != NULL)
        *len = buf->len;
    size_t max = buf->max;
    buf_init(buf, max);
    return data;
}
