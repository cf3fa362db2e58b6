/* Writing CommonMark 0.31: what can be written piece by piece. Must not know HTML. */
#include "base/markdown_priv.h"

#include "base/text.h"
#include "base/unicode.h"

#include <string.h>

static bool is_punctuation(char c)
{
    return c > ' ' && c < 0x7F && unicode_class_of((unsigned char)c) == UNICODE_PUNCTUATION;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool ends_word(const char *text, size_t len, size_t at)
{
    return at >= len || text[at] == ' ' || text[at] == '\t' || text[at] == '\n';
}

/* Whether an "&" at the start would be read as a character reference (section 2.5). */
static bool is_reference(const char *text, size_t len)
{
    size_t at = 1;
    if (at < len && text[at] == '#')
        at++;
    size_t start = at;
    while (at < len && at - start < 32 && (is_letter(text[at]) || is_digit(text[at])))
        at++;
    return at > start && at < len && text[at] == ';';
}

/* Which character of a line's start would make a block of it, SIZE_MAX when none would. What is escaped
 * anywhere (*, _, `, ~) is not looked for. */
static size_t block_start(const char *text, size_t len)
{
    size_t run = 1;
    switch (len > 0 ? text[0] : '\0') {
    case '#': /* heading */
        while (run < len && text[run] == '#')
            run++;
        return run <= 6 && ends_word(text, len, run) ? 0 : SIZE_MAX;
    case '>': /* quote */
    case '|': /* row of a table */
        return 0;
    case ':': /* delimiter row of a table */
        return len > 1 && text[1] == '-' ? 0 : SIZE_MAX;
    case '+': /* list */
        return ends_word(text, len, 1) ? 0 : SIZE_MAX;
    case '-': /* list, rule, heading above */
        return ends_word(text, len, 1) || text[1] == '-' ? 0 : SIZE_MAX;
    case '=': /* heading above */
        while (run < len && text[run] == '=')
            run++;
        return ends_word(text, len, run) ? 0 : SIZE_MAX;
    default: /* ordered list */
        for (run = 0; run < len && run < 9 && is_digit(text[run]);)
            run++;
        bool marks = run > 0 && run < len && (text[run] == '.' || text[run] == ')');
        return marks && ends_word(text, len, run + 1) ? run : SIZE_MAX;
    }
}

static size_t count_run(const char *text, size_t len)
{
    size_t run = 1;
    while (run < len && text[run] == text[0])
        run++;
    return run;
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c);
}

/* Whether the character, which is no "_", begins or ends something within a line. */
static bool is_special(const char *text, size_t len, size_t at)
{
    char before = at > 0 ? text[at - 1] : '\0';
    char after = at + 1 < len ? text[at + 1] : '\0';
    switch (text[at]) {
    case '`':
    case '[':
    case ']':
    case '~':
        return true;
    case '*':
        return before != ' ' || after != ' ';
    case '\\':
        return after == '\0' || after == '\n' || is_punctuation(after);
    case '<':
        return is_letter(after) || after == '/' || after == '!' || after == '?' || after == '\0';
    case '&':
        return is_reference(text + at, len - at);
    default:
        return false;
    }
}

void markdown_escape_line(struct buf *out, const char *text, size_t len, bool line_start)
{
    size_t block = line_start ? block_start(text, len) : SIZE_MAX;
    size_t start = 0;
    for (size_t at = 0; at < len;) {
        size_t run = 1;
        bool escape = at == block || is_special(text, len, at);
        if (text[at] == '_') {
            run = count_run(text + at, len - at);
            escape = at == 0 || at + run == len || !is_word(text[at - 1]) || !is_word(text[at + run]);
        }
        if (escape) {
            buf_add(out, text + start, at - start);
            for (size_t i = 0; i < run; i++) {
                buf_addc(out, '\\');
                buf_addc(out, text[at]);
            }
            start = at + run;
        }
        at += run;
    }
    buf_add(out, text + start, len - start);
}

void markdown_escape(struct buf *out, const char *text, size_t len, struct ticker *ticker)
{
    for (size_t at = 0; at < len && !out->failed;) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t end = newline != NULL ? (size_t)(newline - text) : len;
        size_t indent = at;
        while (indent < end && (text[indent] == ' ' || text[indent] == '\t'))
            indent++;
        bool code = indent - at >= 4 || memchr(text + at, '\t', indent - at) != NULL;
        if (code && indent < end) { /* an indented code block */
            buf_adds(out, text[at] == ' ' ? "&#32;" : "&#9;");
            at++;
        }
        buf_add(out, text + at, indent - at);
        /* In pieces, so that the clock is looked at. A piece ends where nothing is special. */
        bool line_start = true;
        for (at = indent; at < end;) {
            size_t piece = end;
            if (end - at > TICKER_STEPS) {
                piece = at + TICKER_STEPS;
                while (piece < end && !(is_word(text[piece - 1]) && is_word(text[piece])))
                    piece++;
            }
            markdown_escape_line(out, text + at, piece - at, line_start);
            ticker_spend(ticker, piece - at);
            line_start = false;
            at = piece;
        }
        if (newline != NULL) {
            buf_addc(out, '\n');
            at = end + 1;
        }
        ticker_spend(ticker, 1);
    }
}

/* ---- code ---- */

/* The length of the shortest run of backticks that the text has not. Runs of up to 63 are bits. */
static size_t missing_run(const char *text, size_t len)
{
    uint64_t seen = 0;
    size_t longest = 0, missing = 1;
    for (size_t at = 0; at < len;) {
        size_t run = text[at] == '`' ? count_run(text + at, len - at) : 0;
        seen |= run > 0 && run < 64 ? UINT64_C(1) << run : 0;
        longest = run > longest ? run : longest;
        at += run > 0 ? run : 1;
    }
    while (missing < 64 && (seen >> missing & 1) != 0)
        missing++;
    return missing < 64 ? missing : longest + 1;
}

static void add_times(struct buf *out, char c, size_t count)
{
    while (count-- > 0)
        buf_addc(out, c);
}

void markdown_code(struct buf *out, const char *text, size_t len)
{
    size_t ticks = missing_run(text, len);
    bool blank = true;
    for (size_t i = 0; i < len && blank; i++)
        blank = text[i] == ' ' || text[i] == '\n';
    bool spaces = (text[0] == ' ' || text[0] == '\n') && (text[len - 1] == ' ' || text[len - 1] == '\n');
    bool pad = text[0] == '`' || text[len - 1] == '`' || (spaces && !blank);
    add_times(out, '`', ticks);
    if (pad)
        buf_addc(out, ' ');
    for (size_t i = 0; i < len; i++)
        buf_addc(out, text[i] == '\n' || text[i] == '\r' ? ' ' : text[i]);
    if (pad)
        buf_addc(out, ' ');
    add_times(out, '`', ticks);
}

size_t markdown_fence(const char *text, size_t len, char mark)
{
    size_t longest = 2;
    for (size_t at = 0; at < len;) {
        size_t run = text[at] == mark ? count_run(text + at, len - at) : 0;
        longest = run > longest ? run : longest;
        at += run > 0 ? run : 1;
    }
    return longest + 1;
}

/* ---- destinations ---- */

/* Bytes of a destination or title, with these escaped by a backslash, and what would be a reference. */
static void add_quoted(struct buf *out, const char *text, size_t len, const char *escaped)
{
    for (size_t i = 0; i < len; i++) {
        bool backslash = text[i] == '\\' && (i + 1 == len || is_punctuation(text[i + 1]));
        bool reference = text[i] == '&' && is_reference(text + i, len - i);
        if (backslash || reference || (text[i] != '\\' && strchr(escaped, text[i]) != NULL))
            buf_addc(out, '\\');
        buf_addc(out, text[i] == '\n' || text[i] == '\r' ? ' ' : text[i]);
    }
}

void markdown_begin_fence(struct buf *out, char mark, size_t width, const char *language, size_t len)
{
    add_times(out, mark, width);
    add_quoted(out, language, len, "");
}

/* Words with one space between: a blank line would end the paragraph. */
static void add_title(struct buf *out, const char *title)
{
    static const char spaces[] = " \t\r\n\f";
    buf_adds(out, " \"");
    title += strspn(title, spaces);
    while (*title != '\0') {
        size_t len = strcspn(title, spaces);
        add_quoted(out, title, len, "\"");
        title += len;
        title += strspn(title, spaces);
        buf_adds(out, *title != '\0' ? " " : "");
    }
    buf_addc(out, '"');
}

void markdown_destination(struct buf *out, const char *url, const char *title)
{
    bool plain = url[0] != '\0' || title == NULL;
    for (const char *at = url; *at != '\0' && plain; at++)
        plain = (unsigned char)*at > ' ' && *at != 0x7F && strchr("()<>", *at) == NULL;
    buf_adds(out, plain ? "(" : "(<");
    add_quoted(out, url, strlen(url), plain ? "" : "<>");
    buf_adds(out, plain ? "" : ">");
    if (title != NULL)
        add_title(out, title);
    buf_addc(out, ')');
}

/* ---- tables ---- */

void markdown_cell(struct buf *out, const char *markdown, size_t len)
{
    buf_adds(out, "| ");
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        bool newline = markdown[i] == '\n' || markdown[i] == '\r';
        if (!newline && markdown[i] != '|')
            continue;
        buf_add(out, markdown + start, i - start);
        buf_adds(out, newline ? "<br>" : "\\|");
        if (markdown[i] == '\r' && i + 1 < len && markdown[i + 1] == '\n')
            i++;
        start = i + 1;
    }
    buf_add(out, markdown + start, len - start);
    buf_adds(out, len > 0 ? " " : "");
}

void markdown_delimiter_cell(struct buf *out, enum markdown_align align)
{
    static const char *const cells[] = {
        [MARKDOWN_NONE] = "| --- ",
        [MARKDOWN_LEFT] = "| :-- ",
        [MARKDOWN_CENTER] = "| :-: ",
        [MARKDOWN_RIGHT] = "| --: ",
    };
    buf_adds(out, cells[align]);
}

void markdown_end_row(struct buf *out)
{
    buf_addc(out, '|');
}
