/* Runs of inline content into CommonMark. Must not depend on how a reader treats what the specification
 * leaves open: whether a delimiter opens or closes is decided here by the rules of section 6.2, and where
 * they would say otherwise, the letter beside it is written as a character reference, which counts as
 * punctuation. */
#include "base/markdown_priv.h"

#include "base/text.h"
#include "base/unicode.h"

#include <string.h>
#include <strings.h>

enum kind { TEXT, SPACE, BREAK, CODE, RAW, OPEN, CLOSE };

struct item {
    enum kind kind;
    enum markdown_format format; /* of OPEN and CLOSE */
    const char *text;            /* of a link: its URL */
    size_t len;
    const char *title;
    char delimiter;    /* of OPEN and CLOSE, but for links */
    bool encode_first; /* of TEXT: its first or last character becomes a reference */
    bool encode_last;
};

static struct item *items_of(const struct buf *buf)
{
    return (struct item *)(void *)buf->data;
}

static size_t count_of(const struct buf *buf)
{
    return buf->len / sizeof(struct item);
}

static void add_item(struct buf *items, const struct item *item)
{
    buf_add(items, item, sizeof *item);
}

/* ---- adding ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

/* The text with each run of white space as one space; the text itself when it is like that already. */
static const char *collapse(struct markdown_run *run, const char *text, size_t *len)
{
    bool as_it_is = true;
    for (size_t i = 0; i < *len && as_it_is; i++)
        as_it_is = !is_space(text[i]) || (text[i] == ' ' && !is_space(text[i + 1]));
    if (as_it_is)
        return text;
    char *copy = arena_alloc(run->arena, *len);
    if (copy == NULL) {
        run->added->failed = run->added->out_of_memory = true;
        return NULL;
    }
    size_t to = 0;
    for (size_t i = 0; i < *len; i++) {
        if (!is_space(text[i]))
            copy[to++] = text[i];
        else if (!is_space(text[i + 1]))
            copy[to++] = ' ';
    }
    *len = to;
    return copy;
}

void markdown_add_space(struct markdown_run *run)
{
    add_item(run->added, &(struct item){.kind = SPACE});
}

void markdown_add_break(struct markdown_run *run)
{
    add_item(run->added, &(struct item){.kind = BREAK});
}

void markdown_add_text(struct markdown_run *run, const char *text, size_t len)
{
    size_t start = 0, end = len;
    ticker_spend(run->ticker, len);
    while (start < end && is_space(text[start]))
        start++;
    while (end > start && is_space(text[end - 1]))
        end--;
    if (start > 0)
        markdown_add_space(run);
    if (start == end)
        return;
    struct item item = {.kind = TEXT, .len = end - start};
    item.text = collapse(run, text + start, &item.len);
    if (item.text == NULL)
        return;
    add_item(run->added, &item);
    if (end < len)
        markdown_add_space(run);
}

void markdown_add_code(struct markdown_run *run, const char *text, size_t len)
{
    if (len > 0)
        add_item(run->added, &(struct item){.kind = CODE, .text = text, .len = len});
}

void markdown_add_raw(struct markdown_run *run, const char *markdown, size_t len)
{
    add_item(run->added, &(struct item){.kind = RAW, .text = markdown, .len = len});
}

void markdown_open(struct markdown_run *run, enum markdown_format format, const char *url, const char *title)
{
    add_item(run->added, &(struct item){.kind = OPEN, .format = format, .text = url, .title = title});
}

void markdown_close(struct markdown_run *run, enum markdown_format format)
{
    add_item(run->added, &(struct item){.kind = CLOSE, .format = format});
}

bool markdown_is_empty(const struct markdown_run *run)
{
    const struct item *items = items_of(run->added);
    for (size_t i = count_of(run->added); i > 0; i--) {
        enum kind kind = items[i - 1].kind;
        if (kind == TEXT || kind == CODE || kind == RAW)
            return false;
    }
    return true;
}

bool markdown_ends_in_break(const struct markdown_run *run)
{
    const struct item *items = items_of(run->added);
    size_t i = count_of(run->added);
    while (i > 0 && (items[i - 1].kind == SPACE || items[i - 1].kind == OPEN || items[i - 1].kind == CLOSE))
        i--;
    return i > 0 && items[i - 1].kind == BREAK;
}

/* ---- order: white space out of formats, nothing empty ---- */

struct sorter {
    struct buf *items;
    enum kind pending; /* SPACE or BREAK before the next content, else TEXT */
    struct item open[MARKDOWN_FORMATS_MAX];
    size_t depth;
    size_t written; /* of those open */
};

static struct item *last_item(const struct buf *items)
{
    return items->len > 0 ? items_of(items) + count_of(items) - 1 : NULL;
}

/* Before content: what was held back. A format that ends and begins again at once goes on. */
static void write_pending(struct sorter *sorter)
{
    if (sorter->pending != TEXT && sorter->items->len > 0)
        add_item(sorter->items, &(struct item){.kind = sorter->pending});
    sorter->pending = TEXT;
    while (sorter->written < sorter->depth) {
        const struct item *item = &sorter->open[sorter->written++];
        const struct item *last = last_item(sorter->items);
        if (last != NULL && last->kind == CLOSE && last->format == item->format &&
            item->format != MARKDOWN_LINK)
            sorter->items->len -= sizeof *last;
        else
            add_item(sorter->items, item);
    }
}

static void sort_items(struct markdown_run *run, bool breaks)
{
    struct sorter sorter = {.items = run->items, .pending = TEXT};
    const struct item *items = items_of(run->added);
    size_t count = count_of(run->added);
    buf_clear(run->items);
    for (size_t i = 0; i < count; i++) {
        switch (items[i].kind) {
        case SPACE:
            sorter.pending = sorter.pending == BREAK ? BREAK : SPACE;
            break;
        case BREAK:
            sorter.pending = breaks ? BREAK : SPACE;
            break;
        case OPEN:
            if (sorter.depth < MARKDOWN_FORMATS_MAX)
                sorter.open[sorter.depth++] = items[i];
            break;
        case CLOSE:
            if (sorter.depth > 0 && sorter.written == sorter.depth--) {
                sorter.written--;
                add_item(run->items, &items[i]);
            }
            break;
        default:
            write_pending(&sorter);
            add_item(run->items, &items[i]);
        }
    }
    ticker_spend(run->ticker, count * 4);
}

/* Code spans that touch become one: their backticks would be read as one run. */
static void merge_codes(struct markdown_run *run)
{
    struct item *items = items_of(run->items);
    size_t count = count_of(run->items), to = 0;
    for (size_t i = 0; i < count; i++) {
        size_t end = i, len = 0;
        for (; end < count && items[end].kind == CODE; end++)
            len += items[end].len;
        struct item item = items[i];
        if (end > i + 1) {
            char *text = arena_alloc(run->arena, len);
            if (text == NULL) {
                run->items->failed = run->items->out_of_memory = true;
                return;
            }
            item.text = text;
            item.len = len;
            for (; i < end; text += items[i++].len)
                memcpy(text, items[i].text, items[i].len);
            i--;
        }
        items[to++] = item;
    }
    run->items->len = to * sizeof *items;
}

/* ---- delimiters ---- */

static bool is_delimiter(const struct item *item)
{
    return (item->kind == OPEN || item->kind == CLOSE) && item->format != MARKDOWN_LINK;
}

/* "*" and "_" by turns, from the outside in, and beside another delimiter the one that it has not. */
static void choose_delimiters(struct item *items, size_t count)
{
    char open[MARKDOWN_FORMATS_MAX];
    size_t depth = 0;
    for (size_t i = 0; i < count; i++) {
        struct item *item = &items[i];
        if (!is_delimiter(item))
            continue;
        if (item->kind == CLOSE) {
            item->delimiter = open[--depth];
            continue;
        }
        item->delimiter = '~';
        if (item->format != MARKDOWN_STRIKE) {
            size_t outer = depth;
            while (outer > 0 && open[outer - 1] == '~')
                outer--;
            item->delimiter = outer > 0 && open[outer - 1] == '*' ? '_' : '*';
            if (i > 0 && items[i - 1].kind == CLOSE && items[i - 1].delimiter == item->delimiter)
                item->delimiter = item->delimiter == '*' ? '_' : '*';
        }
        open[depth++] = item->delimiter;
    }
}

static size_t last_char(const char *text, size_t len, uint32_t *code_point)
{
    size_t at = len - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    if (text_next_char(text + at, len - at, code_point) != len - at) {
        *code_point = 0xFFFD;
        return len - 1;
    }
    return at;
}

static size_t first_char(const char *text, size_t len, uint32_t *code_point)
{
    size_t size = text_next_char(text, len, code_point);
    if (size == 0)
        *code_point = 0xFFFD;
    return size > 0 ? size : 1;
}

/* Of the character that the item ends (or begins) with. */
static enum unicode_class edge_class(const struct item *items, size_t count, size_t at, bool last)
{
    if (at >= count || items[at].kind == SPACE || items[at].kind == BREAK)
        return UNICODE_SPACE;
    const struct item *item = &items[at];
    if (item->kind != TEXT)
        return UNICODE_PUNCTUATION;
    uint32_t code_point;
    if (last) {
        bool one = last_char(item->text, item->len, &code_point) == 0;
        return item->encode_last || (one && item->encode_first) ? UNICODE_PUNCTUATION
                                                                : unicode_class_of(code_point);
    }
    bool one = first_char(item->text, item->len, &code_point) == item->len;
    return item->encode_first || (one && item->encode_last) ? UNICODE_PUNCTUATION
                                                            : unicode_class_of(code_point);
}

/* Makes the delimiter at position at open or close, whichever it should. True when that took a change. */
static bool settle(struct item *items, size_t count, size_t at)
{
    bool opens = items[at].kind == OPEN;
    size_t inside = opens ? at + 1 : at - 1, outside = opens ? at - 1 : at + 1;
    bool changed = false;
    enum unicode_class inner = edge_class(items, count, inside, !opens);
    if (inner == UNICODE_SPACE && inside < count && items[inside].kind == TEXT) { /* such as U+00A0 */
        *(opens ? &items[inside].encode_first : &items[inside].encode_last) = true;
        inner = UNICODE_PUNCTUATION;
        changed = true;
    }
    bool needs_gap = items[at].delimiter == '_' || inner == UNICODE_PUNCTUATION || inner == UNICODE_SYMBOL;
    enum unicode_class outer = edge_class(items, count, outside, opens);
    if (needs_gap && outer != UNICODE_SPACE && outer != UNICODE_PUNCTUATION) {
        *(opens ? &items[outside].encode_last : &items[outside].encode_first) = true;
        changed = true;
    }
    return changed;
}

#define SETTLE_ROUNDS 8 /* one is enough but for formats around single letters */

/* White space at the ends of lines is dropped by readers, that of Unicode by some. */
static void keep_spaces(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t code_point;
        struct item *item = &items[i];
        if (item->kind != TEXT)
            continue;
        first_char(item->text, item->len, &code_point);
        if ((i == 0 || item[-1].kind == BREAK) && unicode_class_of(code_point) == UNICODE_SPACE)
            item->encode_first = true;
        last_char(item->text, item->len, &code_point);
        if ((i + 1 == count || item[1].kind == BREAK) && unicode_class_of(code_point) == UNICODE_SPACE)
            item->encode_last = true;
    }
}

static void settle_delimiters(struct item *items, size_t count)
{
    bool changed = true;
    for (int round = 0; changed && round < SETTLE_ROUNDS; round++) {
        changed = false;
        for (size_t i = count; i > 0; i--) {
            if (is_delimiter(&items[i - 1]) && items[i - 1].kind == OPEN)
                changed |= settle(items, count, i - 1);
        }
        for (size_t i = 0; i < count; i++) {
            if (is_delimiter(&items[i]) && items[i].kind == CLOSE)
                changed |= settle(items, count, i);
        }
    }
}

/* ---- writing ---- */

static void write_reference(struct buf *out, const char *text, size_t len)
{
    uint32_t code_point;
    first_char(text, len, &code_point);
    if (code_point == 0xA0)
        buf_adds(out, "&nbsp;");
    else
        buf_addf(out, "&#%u;", (unsigned)code_point);
}

static void write_text(struct buf *out, const struct item *item, bool line_start, bool before_link)
{
    uint32_t ignored;
    size_t start = item->encode_first ? first_char(item->text, item->len, &ignored) : 0;
    size_t end = item->encode_last ? last_char(item->text, item->len, &ignored) : item->len;
    if (start > 0)
        write_reference(out, item->text, start);
    if (end < start)
        return; /* the same character */
    bool exclaims = before_link && end == item->len && end > start && item->text[end - 1] == '!';
    markdown_escape_line(out, item->text + start, end - start - (exclaims ? 1 : 0), line_start && start == 0);
    if (exclaims)
        buf_adds(out, "\\!");
    if (end < item->len)
        write_reference(out, item->text + end, item->len - end);
}

/* Whether <text> means what [text](url) does (section 6.4). */
static bool is_autolink(const struct item *link, const struct item *text)
{
    if (link->title != NULL || text->kind != TEXT || text->len == 0)
        return false;
    for (size_t i = 0; i < text->len; i++) {
        if ((unsigned char)text->text[i] <= ' ' || strchr("<>\"&\\", text->text[i]) != NULL)
            return false;
    }
    size_t scheme = strspn(link->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    if (strncasecmp(link->text, "mailto:", 7) == 0) {
        const char *address = link->text + 7;
        const char *at = strchr(address, '@');
        size_t name = strspn(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-");
        size_t host = at != NULL ? strspn(at + 1, "abcdefghijklmnopqrstuvwxyz0123456789.") : 0;
        if (at == address + name && name > 0 && host > 0 && at[1] != '.' && at[1 + host] == '\0' &&
            at[host] != '.' && strstr(at, "..") == NULL)
            return strlen(address) == text->len && memcmp(address, text->text, text->len) == 0;
    }
    return scheme >= 2 && scheme <= 32 && unicode_class_of((unsigned char)link->text[0]) == UNICODE_WORD &&
           link->text[0] > '9' && link->text[scheme] == ':' && strlen(link->text) == text->len &&
           memcmp(link->text, text->text, text->len) == 0;
}

static void write_delimiter(struct buf *out, const struct item *item)
{
    buf_addc(out, item->delimiter);
    if (item->format != MARKDOWN_EMPHASIS)
        buf_addc(out, item->delimiter);
}

static void write_items(const struct markdown_run *run, enum markdown_place place, struct buf *out)
{
    const struct item *items = items_of(run->items);
    size_t count = count_of(run->items);
    const struct item *link = NULL;
    bool line_start = place == MARKDOWN_PARAGRAPH;
    for (size_t i = 0; i < count; i++) {
        const struct item *item = &items[i];
        const struct item *next = i + 1 < count ? item + 1 : NULL;
        ticker_spend(run->ticker, item->len + 8);
        switch (item->kind) {
        case TEXT:
            write_text(out, item, line_start,
                       next != NULL && next->kind == OPEN && next->format == MARKDOWN_LINK);
            break;
        case SPACE:
            buf_addc(out, ' ');
            break;
        case BREAK:
            buf_adds(out, place == MARKDOWN_PARAGRAPH ? "\\\n" : "\n");
            line_start = place == MARKDOWN_PARAGRAPH;
            continue;
        case CODE:
            markdown_code(out, item->text, item->len);
            break;
        case RAW:
            buf_add(out, item->text, item->len);
            break;
        case OPEN:
            if (item->format != MARKDOWN_LINK) {
                write_delimiter(out, item);
            } else if (count - i > 2 && items[i + 2].kind == CLOSE && is_autolink(item, &items[i + 1])) {
                buf_addc(out, '<');
                buf_add(out, items[i + 1].text, items[i + 1].len);
                buf_addc(out, '>');
                i += 2;
            } else {
                link = item;
                buf_addc(out, '[');
            }
            break;
        case CLOSE:
            if (item->format != MARKDOWN_LINK) {
                write_delimiter(out, item);
            } else if (link != NULL) {
                buf_addc(out, ']');
                markdown_destination(out, link->text, link->title);
                link = NULL;
            }
            break;
        }
        line_start = false;
    }
}

void markdown_write(struct markdown_run *run, enum markdown_place place, struct buf *out)
{
    sort_items(run, place != MARKDOWN_HEADING);
    size_t start = out->len;
    if (run->items->len > 0 && !run->items->failed)
        merge_codes(run);
    if (run->items->len > 0 && !run->items->failed && !run->added->failed) {
        choose_delimiters(items_of(run->items), count_of(run->items));
        keep_spaces(items_of(run->items), count_of(run->items));
        settle_delimiters(items_of(run->items), count_of(run->items));
        write_items(run, place, out);
    }
    if (run->items->failed || run->added->failed) {
        out->failed = true;
        out->out_of_memory = run->items->out_of_memory || run->added->out_of_memory;
    }
    /* A heading may be closed by a run of "#", which is no text then (section 4.2). */
    if (place == MARKDOWN_HEADING && !out->failed && out->len > start && out->data[out->len - 1] == '#') {
        out->len--;
        buf_adds(out, "\\#");
    }
    buf_clear(run->added);
}
