/* libFuzzer harness for base/multipart: no body may crash it or make it read beyond, what it gives lies in
 * the body, and what it gives comes back when it is written anew.
 *
 * The first line is the Content-Type, the rest the body. */
#include "base/multipart.h"

#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUNDARY "0123456789 fuzz"
#define TYPE "multipart/form-data; boundary=\"" BOUNDARY "\""

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "WRONG: %s\n", what);
        abort();
    }
}

/* What the text stands for, in memory of exactly the size that is promised to be enough. */
static char *decoded(const struct multipart_text *text, size_t *len)
{
    char *out = malloc(text->len + 1);
    need(out != NULL, "memory");
    *len = multipart_decode(text, out);
    need(*len <= text->len, "a text is longer than it was");
    return out;
}

static void add_quoted(struct buf *out, const char *name, const struct multipart_text *text)
{
    size_t len = 0;
    char *bytes = decoded(text, &len);
    buf_addf(out, "; %s=\"", name);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\r' || bytes[i] == '\n' || bytes[i] == '"')
            buf_addf(out, "%%%02X", (unsigned)bytes[i]);
        else if (bytes[i] == '\\')
            buf_adds(out, "\\\\");
        else
            buf_addc(out, bytes[i]);
    }
    buf_addc(out, '"');
    free(bytes);
}

/* A percent sign of %22, %0D or %0A cannot be written so that it comes back as what it is. */
static bool can_be_written(const struct multipart_text *text)
{
    size_t len = 0;
    char *bytes = decoded(text, &len);
    bool good = true;
    for (size_t i = 0; i + 2 < len; i++)
        good = good && !(bytes[i] == '%' && (memcmp(bytes + i + 1, "22", 2) == 0 ||
                                             (bytes[i + 1] == '0' && strchr("aAdD", bytes[i + 2]) != NULL)));
    free(bytes);
    return good;
}

static void add_part(struct buf *out, const struct multipart_part *part)
{
    buf_adds(out, "--" BOUNDARY "\r\nContent-Disposition: form-data");
    add_quoted(out, "name", &part->name);
    if (part->filename.bytes != NULL)
        add_quoted(out, "filename", &part->filename);
    buf_adds(out, "\r\n\r\n");
    buf_add(out, part->content, part->content_len);
    buf_adds(out, "\r\n");
}

static void need_same(const struct multipart_text *a, const struct multipart_text *b, const char *what)
{
    size_t a_len = 0, b_len = 0;
    need((a->bytes == NULL) == (b->bytes == NULL), what);
    if (a->bytes == NULL)
        return;
    char *a_bytes = decoded(a, &a_len), *b_bytes = decoded(b, &b_len);
    need(a_len == b_len && memcmp(a_bytes, b_bytes, a_len) == 0, what);
    free(a_bytes);
    free(b_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *type = (const char *)data;
    const char *line = size > 0 ? memchr(type, '\n', size) : NULL;
    if (line == NULL)
        return 0;
    size_t len = size - (size_t)(line + 1 - type);
    char *body = malloc(len + 1), *end = body + len; /* so that reading beyond it is seen */
    need(body != NULL, "memory");
    memcpy(body, line + 1, len);
    struct multipart form, again;
    struct multipart_part part, same;
    struct err err;
    struct buf written;
    bool found = true, comparable = true;
    size_t parts = 0;
    buf_init(&written, BUF_UNLIMITED);
    enum err_code code = multipart_init(&form, type, (size_t)(line - type), body, len, &err);
    bool started = code == ERR_NONE;
    while (code == ERR_NONE && found) {
        code = multipart_next(&form, &part, &found, &err);
        if (code != ERR_NONE || !found)
            continue;
        need(part.number == (int)++parts && parts <= MULTIPART_PARTS_MAX, "the number of parts");
        need(part.content >= body && part.content + part.content_len <= end, "a content is not in the body");
        need(part.name.bytes >= body && part.name.bytes + part.name.len <= end, "a name is not in the body");
        comparable = comparable && can_be_written(&part.name) &&
                     (part.filename.bytes == NULL || can_be_written(&part.filename)) &&
                     part.name.len < 2000 && part.filename.len < 2000 &&
                     memmem(part.content, part.content_len, BOUNDARY, sizeof BOUNDARY - 1) == NULL;
        add_part(&written, &part);
    }
    need(code == ERR_NONE || err.message[0] != '\0', "an error without a message");
    if (started && code == ERR_NONE && comparable) {
        buf_adds(&written, "--" BOUNDARY "--");
        need(multipart_init(&form, type, (size_t)(line - type), body, len, &err) == ERR_NONE &&
                 multipart_init(&again, TYPE, sizeof TYPE - 1, buf_text(&written), written.len, &err) ==
                     ERR_NONE,
             "it does not begin again");
        for (size_t i = 0; i <= parts; i++) {
            bool more = false;
            need(multipart_next(&form, &part, &found, &err) == ERR_NONE, err.message);
            need(multipart_next(&again, &same, &more, &err) == ERR_NONE, err.message);
            need(more == found && found == (i < parts), "another number of parts");
            if (!found)
                break;
            need_same(&part.name, &same.name, "another name");
            need_same(&part.filename, &same.filename, "another file name");
            need(part.content_len == same.content_len &&
                     memcmp(part.content, same.content, same.content_len) == 0,
                 "another content");
        }
    }
    buf_free(&written);
    free(body);
    return 0;
}
