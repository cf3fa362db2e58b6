/* Collecting differences for people and as JSON. */
#include "cli/diff.h"

#include "base/json.h"

#include <string.h>

#define SHOWN_BYTES 120

static void close_row(struct diff *diff)
{
    if (diff->in_row)
        buf_adds(&diff->json, "}}");
    diff->in_row = false;
}

static void on_row(void *ctx, const struct database *database, const char *key, const char *what)
{
    struct diff *diff = ctx;
    const char *sign = strcmp(what, "add") == 0 ? "+" : strcmp(what, "delete") == 0 ? "-" : "~";
    const char *color = *sign == '+' ? "\033[32m" : *sign == '-' ? "\033[31m" : "\033[33m";
    close_row(diff);
    buf_addf(&diff->text, "%s%s %s %s%s\n", diff->color ? color : "", sign, database->key, key,
             diff->color ? "\033[0m" : "");
    buf_adds(&diff->json, diff->json.len > 0 ? ",{\"change\":" : "{\"change\":");
    json_write_text(&diff->json, what);
    buf_adds(&diff->json, ",\"database\":");
    json_write_text(&diff->json, database->key);
    buf_adds(&diff->json, ",\"key\":");
    json_write_text(&diff->json, key);
    buf_adds(&diff->json, ",\"properties\":{");
    diff->in_row = true;
    diff->properties = 0;
}

/* A value on one line, shortened. */
static void add_shown(struct buf *out, const char *text, size_t len)
{
    if (text == NULL) {
        buf_adds(out, "(nothing)");
        return;
    }
    size_t shown = len < SHOWN_BYTES ? len : SHOWN_BYTES;
    while (shown < len && shown > 0 && ((unsigned char)text[shown] & 0xC0) == 0x80)
        shown--;
    for (size_t i = 0; i < shown; i++)
        buf_addc(out, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
    if (shown < len)
        buf_adds(out, "…");
}

static void add_json(struct buf *out, const char *text, size_t len)
{
    struct err ignored;
    if (text == NULL || json_write_string(out, text, len, &ignored) != ERR_NONE)
        buf_adds(out, "null");
}

static void on_property(void *ctx, const char *property, const char *before, size_t before_len,
                        const char *after, size_t after_len)
{
    struct diff *diff = ctx;
    if (before == NULL && after == NULL)
        return;
    buf_addf(&diff->text, "    %s: ", property);
    if (before != NULL) {
        add_shown(&diff->text, before, before_len);
        buf_adds(&diff->text, " → ");
    }
    add_shown(&diff->text, after, after_len);
    buf_addc(&diff->text, '\n');
    if (diff->properties++ > 0)
        buf_addc(&diff->json, ',');
    json_write_text(&diff->json, property);
    buf_adds(&diff->json, ":{\"before\":");
    add_json(&diff->json, before, before_len);
    buf_adds(&diff->json, ",\"after\":");
    add_json(&diff->json, after, after_len);
    buf_addc(&diff->json, '}');
}

void diff_init(struct diff *diff)
{
    *diff = (struct diff){.color = cli_color(stdout)};
    diff->sink = (struct diff_sink){.row = on_row, .property = on_property, .ctx = diff};
    buf_init(&diff->text, DIFF_MAX_BYTES);
    buf_init(&diff->json, DIFF_MAX_BYTES);
}

void diff_finish(struct diff *diff)
{
    close_row(diff);
}

void diff_free(struct diff *diff)
{
    buf_free(&diff->text);
    buf_free(&diff->json);
}
