/* libFuzzer harness for regular expressions: no pattern and no text may crash, hang or leak; matches lie in
 * the text, in order, on characters, and come to an end.
 *
 * The first byte chooses after how many allocations memory is out (0: never), the second the flags; then come
 * the pattern, a zero byte and the text. */
#include "base/regex.h"
#include "base/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_STOPS 2000 /* asks of the host in one input: two million steps */

struct host {
    size_t used;
    size_t left;    /* allocations until memory is out */
    unsigned stops; /* asks until the search is stopped */
};

static void *host_resize(void *ctx, void *block, size_t old_size, size_t new_size)
{
    struct host *host = ctx;
    if (new_size == 0) {
        host->used -= old_size;
        free(block);
        return NULL;
    }
    if (host->left == 0)
        return NULL;
    host->left--;
    host->used += new_size - old_size;
    return realloc(block, new_size);
}

static bool host_stop(void *ctx)
{
    struct host *host = ctx;
    if (host->stops == 0)
        return true;
    host->stops--;
    return false;
}

static bool starts_character(const char *text, size_t len, size_t at)
{
    return at == len || ((unsigned char)text[at] & 0xC0) != 0x80;
}

static void check_spans(const struct regex *regex, const char *text, size_t len, size_t start,
                        const struct regex_span *spans)
{
    if (spans[0].begin < start || spans[0].begin > spans[0].end)
        abort();
    for (uint32_t i = 0; i <= regex_groups(regex); i++) {
        if (spans[i].begin == REGEX_UNSET)
            continue;
        if (spans[i].begin > spans[i].end || spans[i].end > len)
            abort();
        if (regex_needs_utf8(regex) &&
            (!starts_character(text, len, spans[i].begin) || !starts_character(text, len, spans[i].end)))
            abort();
    }
    for (uint32_t i = 0, group; i < regex_names(regex); i++)
        if (regex_name(regex, i, &group)[0] == '\0' || group == 0 || group > regex_groups(regex))
            abort();
}

/* In a text of ASCII both programs must find the same, if neither was stopped or ran out of memory. */
static void compare(struct regex_engine *engine, struct regex *regex, const char *text, size_t len,
                    size_t start, unsigned options)
{
    const struct regex_span *spans;
    struct regex_span first[REGEX_GROUPS_MAX + 1];
    struct err err;
    if (!text_is_ascii(text, len) ||
        regex_search(engine, regex, text, len, start, options, &spans, &err) != ERR_NONE)
        return;
    bool found = spans != NULL;
    if (found)
        memcpy(first, spans, (regex_groups(regex) + 1) * sizeof *first);
    if (regex_search(engine, regex, text, len, start, options | REGEX_ASCII_TEXT, &spans, &err) != ERR_NONE)
        return;
    if (found != (spans != NULL) ||
        (found && memcmp(first, spans, (regex_groups(regex) + 1) * sizeof *first) != 0))
        abort();
}

static void search_all(struct regex_engine *engine, struct regex *regex, const char *text, size_t len)
{
    size_t start = 0;
    unsigned options = 0;
    for (size_t count = 0;; count++) {
        const struct regex_span *spans;
        struct err err;
        if (count < 20)
            compare(engine, regex, text, len, start, options);
        if (regex_search(engine, regex, text, len, start, options, &spans, &err) != ERR_NONE || spans == NULL)
            return;
        check_spans(regex, text, len, start, spans);
        if (options != 0 && spans[0].end == start)
            abort();
        if (count > 2 * len + 2)
            abort();
        options = spans[0].begin == spans[0].end ? REGEX_FRESH : 0;
        start = spans[0].end;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 8192)
        return 0;
    struct host own = {.left = data[0] == 0 ? SIZE_MAX : data[0], .stops = MAX_STOPS};
    struct regex_host host = {.ctx = &own, .resize = host_resize, .stop = host_stop};
    const char *pattern = (const char *)data + 2;
    const char *zero = memchr(pattern, 0, size - 2);
    if (zero == NULL)
        return 0;
    size_t pattern_len = (size_t)(zero - pattern), len = size - 3 - pattern_len;
    char *text = malloc(len > 0 ? len : 1); /* of exactly its size, so that reading past its end is seen */
    if (text == NULL)
        return 0;
    memcpy(text, zero + 1, len);
    struct regex_engine *engine = NULL;
    struct regex *regex = NULL;
    struct err err;
    if (regex_engine_new(&host, &engine, &err) == ERR_NONE &&
        regex_compile(engine, pattern, pattern_len, data[1] & 63, &regex, &err) == ERR_NONE &&
        (!regex_needs_utf8(regex) || text_is_utf8(text, len, NULL)))
        search_all(engine, regex, text, len);
    regex_free(regex);
    regex_engine_free(engine);
    free(text);
    if (own.used != 0)
        abort();
    return 0;
}
