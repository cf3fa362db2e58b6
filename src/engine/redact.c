/* Hiding secrets in text. */
#include "engine/redact.h"

#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/url.h"

#include <string.h>

#define SHORTEST 6
#define REPLACEMENT "[redacted]"

/* What a form is of. */
struct origin {
    uint64_t passing; /* the number of its value, when that passes; otherwise 0 */
    bool perhaps;     /* it may be no secret */
};

struct secret {
    char *value;
    size_t len;
    struct origin origin;
};

struct redactor {
    struct secret *secrets; /* longest first */
    size_t count, room;
    uint64_t passing; /* values that passed so far */
};

struct redactor *redactor_new(void)
{
    return mem_need(sizeof(struct redactor));
}

static void free_secret(struct secret *secret)
{
    crypto_free(secret->value, secret->len);
}

void redactor_free(struct redactor *redactor)
{
    if (redactor == NULL)
        return;
    for (size_t i = 0; i < redactor->count; i++)
        free_secret(&redactor->secrets[i]);
    mem_free(redactor->secrets);
    mem_free(redactor);
}

bool redactor_has_values(const struct redactor *redactor)
{
    return redactor->count > 0;
}

static struct secret *find(const struct redactor *redactor, const char *value, size_t len)
{
    for (size_t i = 0; i < redactor->count; i++)
        if (redactor->secrets[i].len == len && memcmp(redactor->secrets[i].value, value, len) == 0)
            return &redactor->secrets[i];
    return NULL;
}

/* ---- the forms of a value ---- */

static void add_form(struct redactor *redactor, struct origin origin, const char *value, size_t len)
{
    struct secret *known = len >= SHORTEST ? find(redactor, value, len) : NULL;
    if (known != NULL)
        known->origin.perhaps = known->origin.perhaps && origin.perhaps;
    if (len < SHORTEST || known != NULL)
        return;
    if (redactor->count == redactor->room) {
        size_t room = redactor->room > 0 ? redactor->room * 2 : 16;
        struct secret *larger = mem_need(room * sizeof *larger);
        if (redactor->count > 0)
            memcpy(larger, redactor->secrets, redactor->count * sizeof *larger);
        mem_free(redactor->secrets);
        redactor->secrets = larger;
        redactor->room = room;
    }
    size_t at = redactor->count;
    while (at > 0 && redactor->secrets[at - 1].len < len) {
        redactor->secrets[at] = redactor->secrets[at - 1];
        at--;
    }
    redactor->secrets[at] = (struct secret){.value = mem_need(len + 1), .len = len, .origin = origin};
    memcpy(redactor->secrets[at].value, value, len);
    redactor->count++;
}

/* Base64 writes three bytes as four characters, so a value looks different after a multiple of three bytes,
 * after one more and after two more. Only the characters that hold nothing of what stands before and behind
 * the value are kept. */
static void add_base64(struct redactor *redactor, struct origin origin, enum crypto_encoding encoding,
                       const char *value, size_t len)
{
    struct buf bytes;
    char *text = mem_need(crypto_encoded_len(encoding, len + 2) + 1);
    buf_init(&bytes, BUF_UNLIMITED);
    for (size_t before = 0; before < 3; before++) {
        buf_clear(&bytes);
        buf_add(&bytes, "\0\0", before);
        buf_add(&bytes, value, len);
        if (bytes.failed)
            break;
        crypto_encode(encoding, bytes.data, bytes.len, text);
        size_t first = (before * 8 + 5) / 6, end = bytes.len * 8 / 6;
        add_form(redactor, origin, text + first, end - first);
    }
    crypto_free(text, crypto_encoded_len(encoding, len + 2));
    buf_wipe(&bytes);
}

static void add_hex(struct redactor *redactor, struct origin origin, const char *value, size_t len)
{
    char *text = mem_need(len * 2 + 1);
    crypto_encode(CRYPTO_HEX, value, len, text);
    add_form(redactor, origin, text, len * 2);
    for (size_t i = 0; i < len * 2; i++)
        text[i] = (char)(text[i] >= 'a' ? text[i] - 'a' + 'A' : text[i]);
    add_form(redactor, origin, text, len * 2);
    crypto_free(text, len * 2);
}

/* The text is wiped and freed. */
static void add_text(struct redactor *redactor, struct origin origin, struct buf *text, size_t skip)
{
    if (!text->failed && text->len >= 2 * skip)
        add_form(redactor, origin, text->data + skip, text->len - 2 * skip);
    buf_wipe(text);
}

static void add_percent(struct redactor *redactor, struct origin origin, const char *value, size_t len)
{
    struct buf upper, lower, form;
    buf_init(&upper, BUF_UNLIMITED);
    buf_init(&lower, BUF_UNLIMITED);
    buf_init(&form, BUF_UNLIMITED);
    url_encode(&upper, value, len);
    url_encode(&lower, value, len);
    url_encode_form(&form, value, len);
    for (size_t i = 0; i + 2 < lower.len; i++)
        for (size_t k = 1; k <= 2 && lower.data[i] == '%'; k++)
            lower.data[i + k] =
                (char)(lower.data[i + k] >= 'A' ? lower.data[i + k] - 'A' + 'a' : lower.data[i + k]);
    add_text(redactor, origin, &upper, 0);
    add_text(redactor, origin, &lower, 0);
    add_text(redactor, origin, &form, 0);
}

/* As it stands between the quotes, once with slashes as they are, once as some writers escape them. */
static void add_json(struct redactor *redactor, struct origin origin, const char *value, size_t len)
{
    struct buf text, slashes;
    struct err ignored;
    buf_init(&text, BUF_UNLIMITED);
    buf_init(&slashes, BUF_UNLIMITED);
    if (json_write_string(&text, value, len, &ignored) == ERR_NONE)
        for (size_t i = 0; i < text.len; i++)
            buf_add(&slashes, text.data[i] == '/' ? "\\/" : &text.data[i], text.data[i] == '/' ? 2 : 1);
    add_text(redactor, origin, &text, 1);
    add_text(redactor, origin, &slashes, 1);
}

static void add_forms(struct redactor *redactor, struct origin origin, const char *value, size_t len)
{
    add_form(redactor, origin, value, len);
    add_base64(redactor, origin, CRYPTO_BASE64, value, len);
    add_base64(redactor, origin, CRYPTO_BASE64URL, value, len);
    add_hex(redactor, origin, value, len);
    add_percent(redactor, origin, value, len);
    add_json(redactor, origin, value, len);
}

void redactor_add(struct redactor *redactor, const char *value, size_t len)
{
    const struct secret *known = find(redactor, value, len);
    if (len >= SHORTEST && (known == NULL || known->origin.perhaps))
        add_forms(redactor, (struct origin){0}, value, len);
}

void redactor_add_perhaps(struct redactor *redactor, const char *value, size_t len)
{
    if (len >= SHORTEST && find(redactor, value, len) == NULL)
        add_forms(redactor, (struct origin){.perhaps = true}, value, len);
}

static void forget(struct redactor *redactor, uint64_t passing)
{
    size_t kept = 0;
    for (size_t i = 0; i < redactor->count; i++) {
        if (redactor->secrets[i].origin.passing == passing)
            free_secret(&redactor->secrets[i]);
        else
            redactor->secrets[kept++] = redactor->secrets[i];
    }
    redactor->count = kept;
}

void redactor_add_passing(struct redactor *redactor, const char *value, size_t len)
{
    if (len < SHORTEST || find(redactor, value, len) != NULL)
        return;
    if (++redactor->passing > REDACTOR_PASSING)
        forget(redactor, redactor->passing - REDACTOR_PASSING);
    add_forms(redactor, (struct origin){.passing = redactor->passing}, value, len);
}

/* How much of a secret gives it away: messages are cut to a length before they come here, and may end within
 * one. */
static size_t telling_part(const struct secret *secret)
{
    size_t half = (secret->len + 1) / 2;
    return half > SHORTEST ? half : SHORTEST;
}

static size_t same_bytes(const char *a, const char *b, size_t most)
{
    size_t len = 0;
    while (len < most && a[len] == b[len])
        len++;
    return len;
}

static void write_text(const struct redactor *redactor, bool perhaps, const char *text, size_t len,
                       struct buf *out)
{
    size_t at = 0;
    while (at < len) {
        /* The first match in the rest, the longest of those that begin there. */
        const char *found = NULL;
        size_t found_len = 0;
        for (size_t i = 0; i < redactor->count; i++) {
            const struct secret *secret = &redactor->secrets[i];
            if (secret->origin.perhaps && !perhaps)
                continue;
            size_t span = found != NULL ? (size_t)(found - (text + at)) + secret->len : len - at;
            if (span > len - at)
                span = len - at;
            const char *match = memmem(text + at, span, secret->value, telling_part(secret));
            if (match == NULL || (found != NULL && match > found))
                continue;
            size_t left = len - (size_t)(match - text);
            size_t match_len = same_bytes(match, secret->value, left < secret->len ? left : secret->len);
            if (found == NULL || match < found || match_len > found_len) {
                found = match;
                found_len = match_len;
            }
        }
        if (found == NULL) {
            buf_add(out, text + at, len - at);
            return;
        }
        buf_add(out, text + at, (size_t)(found - (text + at)));
        buf_adds(out, REPLACEMENT);
        at = (size_t)(found - text) + found_len;
    }
}

void redactor_write(const struct redactor *redactor, const char *text, size_t len, struct buf *out)
{
    write_text(redactor, true, text, len, out);
}

/* A value or a name, which the scanner stands behind; raw is how it was written. plain and hidden are empty.
 */
static enum err_code write_token(const struct redactor *redactor, const struct json_scan *scan,
                                 const struct json_slice *raw, struct buf *plain, struct buf *hidden,
                                 struct buf *out, struct err *err)
{
    if (scan->token == JSON_STRING)
        json_string_copy(scan, plain);
    else if (scan->token == JSON_NUMBER)
        buf_add(plain, raw->text, raw->len);
    write_text(redactor, false, buf_text(plain), plain->len, hidden);
    enum err_code code = buf_status(plain, "the value", err);
    if (code == ERR_NONE)
        code = buf_status(hidden, "the value", err);
    if (code != ERR_NONE)
        return code;
    if (plain->len == hidden->len && memcmp(buf_text(plain), buf_text(hidden), plain->len) == 0)
        buf_add(out, raw->text, raw->len);
    else
        code = json_write_string(out, buf_text(hidden), hidden->len, err);
    return code;
}

enum err_code redactor_write_json(const struct redactor *redactor, const char *text, size_t len,
                                  struct buf *out, struct err *err)
{
    struct json_scan scan;
    struct buf plain, hidden;
    buf_init(&plain, BUF_UNLIMITED);
    buf_init(&hidden, BUF_UNLIMITED);
    json_scan_init(&scan, text, len);
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && (code = json_scan_token(&scan, err)) == ERR_NONE && scan.token != JSON_END) {
        const struct json_slice raw = {scan.token_at, (size_t)(scan.at - scan.token_at)};
        buf_clear(&plain);
        buf_clear(&hidden);
        code = write_token(redactor, &scan, &raw, &plain, &hidden, out, err);
    }
    buf_wipe(&plain);
    buf_free(&hidden);
    return code == ERR_NONE ? buf_status(out, "the value", err) : code;
}

size_t redactor_safe_length(const struct redactor *redactor, const char *text, size_t len)
{
    size_t cut = 0;
    for (size_t i = 0; i < redactor->count; i++) {
        const struct secret *secret = &redactor->secrets[i];
        size_t begun = secret->len - 1 < len ? secret->len - 1 : len;
        while (begun > cut && memcmp(text + len - begun, secret->value, begun) != 0)
            begun--;
        cut = begun > cut ? begun : cut;
    }
    return len - cut;
}
