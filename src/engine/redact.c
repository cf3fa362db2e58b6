/* Hiding secrets in text. */
#include "engine/redact.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <string.h>

#define SHORTEST 6
#define REPLACEMENT "[redacted]"

struct secret {
    char *value;
    size_t len;
};

struct redactor {
    struct secret *secrets; /* longest first */
    size_t count, room;
};

struct redactor *redactor_new(void)
{
    return mem_need(sizeof(struct redactor));
}

void redactor_free(struct redactor *redactor)
{
    if (redactor == NULL)
        return;
    for (size_t i = 0; i < redactor->count; i++) {
        crypto_wipe(redactor->secrets[i].value, redactor->secrets[i].len);
        mem_free(redactor->secrets[i].value);
    }
    mem_free(redactor->secrets);
    mem_free(redactor);
}

bool redactor_has_values(const struct redactor *redactor)
{
    return redactor->count > 0;
}

static void add_form(struct redactor *redactor, const char *value, size_t len)
{
    if (len < SHORTEST)
        return;
    for (size_t i = 0; i < redactor->count; i++)
        if (redactor->secrets[i].len == len && memcmp(redactor->secrets[i].value, value, len) == 0)
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
    redactor->secrets[at].value = mem_need(len + 1);
    memcpy(redactor->secrets[at].value, value, len);
    redactor->secrets[at].len = len;
    redactor->count++;
}

/* Base64 writes three bytes as four characters, so a value looks different after a multiple of three bytes,
 * after one more and after two more. Only the characters that hold nothing of what stands before and behind
 * the value are kept. */
static void add_base64(struct redactor *redactor, enum crypto_encoding encoding, const char *value,
                       size_t len)
{
    size_t size = len + 2;
    char *bytes = mem_need(size);
    char *text = mem_need(crypto_encoded_len(encoding, size) + 1);
    for (size_t before = 0; before < 3; before++) {
        memcpy(bytes + before, value, len);
        crypto_encode(encoding, bytes, before + len, text);
        size_t first = (before * 8 + 5) / 6, end = (before + len) * 8 / 6;
        add_form(redactor, text + first, end - first);
        crypto_wipe(bytes, size);
    }
    crypto_wipe(text, crypto_encoded_len(encoding, size));
    mem_free(text);
    mem_free(bytes);
}

static void add_hex(struct redactor *redactor, const char *value, size_t len)
{
    char *text = mem_need(len * 2 + 1);
    crypto_encode(CRYPTO_HEX, value, len, text);
    add_form(redactor, text, len * 2);
    for (size_t i = 0; i < len * 2; i++)
        text[i] = (char)(text[i] >= 'a' ? text[i] - 'a' + 'A' : text[i]);
    add_form(redactor, text, len * 2);
    crypto_wipe(text, len * 2);
    mem_free(text);
}

static void add_text(struct redactor *redactor, struct buf *text)
{
    if (!text->failed)
        add_form(redactor, text->data, text->len);
    crypto_wipe(text->data, text->len);
    buf_free(text);
}

/* What RFC 3986 section 2.3 calls unreserved, which every writer of URLs leaves as it is. */
static bool stays_in_urls(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

static void add_percent(struct redactor *redactor, const char *digits, const char *space, const char *value,
                        size_t len)
{
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (stays_in_urls(value[i]))
            buf_add(&text, value + i, 1);
        else if (byte == ' ' && space != NULL)
            buf_adds(&text, space);
        else
            buf_add(&text, (char[3]){'%', digits[byte >> 4], digits[byte & 15]}, 3);
    }
    add_text(redactor, &text);
}

/* As a string of JSON (RFC 8259 section 7). */
static void add_json(struct redactor *redactor, const char *slash, const char *value, size_t len)
{
    static const char SHORT[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)value[i];
        size_t at = 0;
        while (at < sizeof SHORT - 1 && SHORT[at] != value[i])
            at += 2;
        if (byte == '/')
            buf_adds(&text, slash);
        else if (at < sizeof SHORT - 1)
            buf_add(&text, (char[2]){'\\', SHORT[at + 1]}, 2);
        else if (byte < 0x20)
            buf_addf(&text, "\\u%04x", byte);
        else
            buf_add(&text, value + i, 1);
    }
    add_text(redactor, &text);
}

void redactor_add(struct redactor *redactor, const char *value, size_t len)
{
    static const char UPPER[] = "0123456789ABCDEF", LOWER[] = "0123456789abcdef";
    if (len < SHORTEST)
        return;
    for (size_t i = 0; i < redactor->count; i++)
        if (redactor->secrets[i].len == len && memcmp(redactor->secrets[i].value, value, len) == 0)
            return;
    add_form(redactor, value, len);
    add_base64(redactor, CRYPTO_BASE64, value, len);
    add_base64(redactor, CRYPTO_BASE64URL, value, len);
    add_hex(redactor, value, len);
    add_percent(redactor, UPPER, NULL, value, len);
    add_percent(redactor, LOWER, NULL, value, len);
    add_percent(redactor, UPPER, "+", value, len);
    add_json(redactor, "/", value, len);
    add_json(redactor, "\\/", value, len);
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

void redactor_write(const struct redactor *redactor, const char *text, size_t len, struct buf *out)
{
    size_t at = 0;
    while (at < len) {
        /* The first match in the rest, the longest of those that begin there. */
        const char *found = NULL;
        size_t found_len = 0;
        for (size_t i = 0; i < redactor->count; i++) {
            const struct secret *secret = &redactor->secrets[i];
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
