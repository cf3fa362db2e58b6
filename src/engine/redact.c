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

void redactor_add(struct redactor *redactor, const char *value, size_t len)
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
