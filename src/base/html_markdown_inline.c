/* HTML into Markdown: lines within containers, runs of inline content, links, images and code. Must not know
 * which element is what. */
#include "base/html_markdown_priv.h"

#include <string.h>
#include <strings.h>

/* ---- lines ---- */

struct container *writer_containers_of(const struct writer *writer, size_t *count)
{
    *count = writer->containers->len / sizeof(struct container);
    return (struct container *)(void *)writer->containers->data;
}

struct container *writer_innermost(const struct writer *writer)
{
    size_t count;
    struct container *containers = writer_containers_of(writer, &count);
    return &containers[count - 1];
}

void writer_push_container(struct writer *writer, const struct container *container)
{
    buf_add(writer->containers, container, sizeof *container);
}

void writer_pop_container(struct writer *writer)
{
    writer->containers->len -= sizeof(struct container);
}

static void add_spaces(struct buf *out, size_t count)
{
    while (count-- > 0)
        buf_addc(out, ' ');
}

void writer_begin_line(struct writer *writer)
{
    size_t count;
    struct container *containers = writer_containers_of(writer, &count);
    ticker_spend(&writer->html->ticker, count * 4);
    for (size_t i = 1; i < count; i++) { /* the first is the document */
        struct container *container = &containers[i];
        if (container->is_quote)
            buf_adds(writer->out, "> ");
        else if (container->marked)
            add_spaces(writer->out, strlen(container->marker));
        else
            buf_adds(writer->out, container->marker);
        container->marked = true;
    }
}

void writer_end_line(struct writer *writer)
{
    struct buf *out = writer->out;
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->len--;
    buf_addc(out, '\n');
}

void writer_line(struct writer *writer, const char *text, size_t len)
{
    writer_begin_line(writer);
    buf_add(writer->out, text, len);
    writer_end_line(writer);
}

static void write_lines(struct writer *writer, const char *text, size_t len)
{
    while (true) {
        const char *newline = memchr(text, '\n', len);
        size_t line = newline != NULL ? (size_t)(newline - text) : len;
        writer_begin_line(writer);
        buf_add(writer->out, text, line);
        if (line == 0 || writer->out->failed)
            writer_end_line(writer);
        else
            buf_addc(writer->out, '\n');
        if (newline == NULL || writer->out->failed)
            return;
        text += line + 1;
        len -= line + 1;
    }
}

/* Whether two blocks would become one, or the second no block, without a blank line between. */
static bool needs_blank_line(enum block before, enum block next)
{
    switch (before) {
    case PARAGRAPH:
        return next == PARAGRAPH || next == TABLE;
    case LIST:
        return next == PARAGRAPH || next == TABLE || next == LIST;
    case QUOTE:
        return next == PARAGRAPH || next == QUOTE || next == TABLE;
    case TABLE:
        return true;
    default:
        return false;
    }
}

void writer_begin_block(struct writer *writer, enum block block)
{
    struct container *container = writer_innermost(writer);
    bool blank =
        container->last != NOTHING && (!container->tight || needs_blank_line(container->last, block));
    container->last = block;
    if (blank)
        writer_line(writer, "", 0);
}

/* ---- inline content ---- */

static void open_format(struct writer *writer, const struct format *format)
{
    markdown_open(&writer->run, format->format, format->url, format->title);
}

static void close_formats(struct writer *writer)
{
    for (size_t i = writer->format_count; i > 0; i--)
        markdown_close(&writer->run, writer->formats[i - 1].format);
}

static void reopen_formats(struct writer *writer)
{
    for (size_t i = 0; i < writer->format_count; i++)
        open_format(writer, &writer->formats[i]);
}

bool writer_take_run(struct writer *writer, enum markdown_place place)
{
    bool empty = markdown_is_empty(&writer->run);
    if (empty && writer->run.added->len == 0)
        return false;
    if (empty) {
        buf_clear(writer->run.added);
    } else {
        close_formats(writer);
        buf_clear(writer->text);
        markdown_write(&writer->run, place, writer->text);
    }
    reopen_formats(writer);
    return !empty && writer->text->len > 0;
}

static void flush_paragraph(struct writer *writer)
{
    if (!writer_take_run(writer, MARKDOWN_PARAGRAPH))
        return;
    writer_begin_block(writer, PARAGRAPH);
    write_lines(writer, writer->text->data, writer->text->len);
}

void writer_end_inline(struct writer *writer)
{
    if (writer->verbatim != NULL)
        return;
    if (writer->plain == NULL)
        flush_paragraph(writer);
    else if (!markdown_ends_in_break(&writer->run))
        markdown_add_break(&writer->run);
}

void writer_break_line(struct writer *writer)
{
    if (writer->verbatim != NULL)
        buf_addc(writer->text, '\n');
    else if (writer->plain == NULL && markdown_ends_in_break(&writer->run))
        flush_paragraph(writer); /* an empty line */
    else
        markdown_add_break(&writer->run);
}

static bool is_open(const struct writer *writer, enum markdown_format format)
{
    for (size_t i = 0; i < writer->format_count; i++) {
        if (writer->formats[i].format == format)
            return true;
    }
    return false;
}

void writer_begin_format(struct writer *writer, const struct format *format)
{
    bool once = format->format == MARKDOWN_LINK || format->format == MARKDOWN_STRIKE;
    if (writer->verbatim != NULL || writer->format_count == MARKDOWN_FORMATS_MAX ||
        (once && is_open(writer, format->format)))
        return;
    writer->formats[writer->format_count++] = *format;
    open_format(writer, format);
}

void writer_end_format(struct writer *writer, const GumboNode *element)
{
    if (writer->format_count == 0 || writer->formats[writer->format_count - 1].element != element)
        return;
    writer->format_count--;
    markdown_close(&writer->run, writer->formats[writer->format_count].format);
}

/* ---- links ---- */

const char *writer_keep(struct writer *writer, const char *text, size_t len)
{
    const char *kept = NULL;
    if (writer->html->arena.total < HTML_MEMORY_MAX)
        kept = arena_strndup(&writer->html->arena, text, len);
    if (kept == NULL)
        writer->out->failed = writer->out->out_of_memory = true;
    return kept;
}

/* Schemes that are no address, and would be a danger or a burden in a text. */
static bool is_refused(const char *url)
{
    return strncasecmp(url, "javascript:", 11) == 0 || strncasecmp(url, "vbscript:", 9) == 0 ||
           strncasecmp(url, "data:", 5) == 0;
}

/* The URL of the attribute, NULL when there is none to write. */
static const char *url_of(struct writer *writer, const GumboNode *element, const char *attribute)
{
    const char *value = html_attribute(element, attribute);
    if (value == NULL)
        return NULL;
    while (*value != '\0' && (unsigned char)*value <= ' ')
        value++;
    size_t len = strlen(value);
    while (len > 0 && (unsigned char)value[len - 1] <= ' ')
        len--;
    struct buf *url = &writer->html->work[WORK_PIECE];
    buf_clear(url);
    for (size_t i = 0; i < len; i++) { /* browsers leave these out, also in the middle of a scheme */
        if (value[i] != '\n' && value[i] != '\r' && value[i] != '\t')
            buf_addc(url, value[i]);
    }
    if (is_refused(buf_text(url)))
        return NULL;
    const char *kept = writer_keep(writer, buf_text(url), url->len);
    if (kept == NULL || writer->links == NULL || writer->links->resolve == NULL)
        return kept;
    buf_clear(url);
    writer->links->resolve(writer->links->context, kept, strlen(kept), url);
    return url->len > 0 ? writer_keep(writer, url->data, url->len) : kept;
}

void writer_begin_link(struct writer *writer, const GumboNode *element)
{
    const char *url = url_of(writer, element, "href");
    if (url == NULL)
        return;
    const char *title = html_attribute(element, "title");
    writer_begin_format(writer, &(struct format){MARKDOWN_LINK, url, title, element});
}

void writer_add_image(struct writer *writer, const GumboNode *element)
{
    const char *alternative = html_attribute(element, "alt");
    if (alternative == NULL)
        alternative = "";
    size_t len = strlen(alternative);
    if (writer->verbatim != NULL) {
        buf_add(writer->text, alternative, len);
        return;
    }
    const char *url = url_of(writer, element, "src");
    if (url == NULL || *url == '\0') {
        markdown_add_text(&writer->run, alternative, len);
        return;
    }
    /* The alternative is a run of its own. */
    struct buf *image = &writer->html->work[WORK_PIECE];
    buf_clear(image);
    buf_adds(image, "![");
    bool space = false;
    for (size_t at = 0; at < len;) {
        size_t start = at;
        while (at < len && !html_is_space(alternative[at]))
            at++;
        if (at > start) {
            buf_adds(image, space ? " " : "");
            markdown_escape(image, alternative + start, at - start, &writer->html->ticker);
            space = true;
        }
        while (at < len && html_is_space(alternative[at]))
            at++;
    }
    buf_addc(image, ']');
    markdown_destination(image, url, html_attribute(element, "title"));
    const char *kept = writer_keep(writer, buf_text(image), image->len);
    if (kept != NULL)
        markdown_add_raw(&writer->run, kept, image->len);
}

/* ---- code ---- */

void writer_begin_verbatim(struct writer *writer, const GumboNode *element)
{
    if (writer->verbatim != NULL)
        return;
    writer->verbatim = element;
    buf_clear(writer->text);
}

void writer_end_code_span(struct writer *writer)
{
    writer->verbatim = NULL;
    const char *kept = writer_keep(writer, buf_text(writer->text), writer->text->len);
    if (kept != NULL)
        markdown_add_code(&writer->run, kept, writer->text->len);
}

/* What follows "language-" or "lang-" in the class attribute. */
static const char *language_of(const GumboNode *element, size_t *len)
{
    static const char *const prefixes[] = {"language-", "lang-"};
    const char *class = html_attribute(element, "class");
    while (class != NULL && *class != '\0') {
        while (html_is_space(*class))
            class ++;
        size_t word = strcspn(class, " \t\r\n\f");
        for (size_t i = 0; i < 2; i++) {
            size_t prefix = strlen(prefixes[i]);
            if (word > prefix && memcmp(class, prefixes[i], prefix) == 0) {
                *len = word - prefix;
                return class + prefix;
            }
        }
        class += word;
    }
    *len = 0;
    return "";
}

static const char *language_of_block(const GumboNode *pre, size_t *len)
{
    const char *language = language_of(pre, len);
    const GumboVector *children = &pre->v.element.children;
    for (unsigned i = 0; i < children->length && *len == 0; i++) {
        const GumboNode *child = children->data[i];
        if (child->type == GUMBO_NODE_ELEMENT && html_tag(child) == GUMBO_TAG_CODE)
            language = language_of(child, len);
    }
    return language;
}

void writer_end_code_block(struct writer *writer, const GumboNode *pre)
{
    struct buf *code = writer->text;
    writer->verbatim = NULL;
    if (writer->plain != NULL) {
        size_t start = 0, end = code->len;
        while (start < end && html_is_space(code->data[start]))
            start++;
        while (end > start && html_is_space(code->data[end - 1]))
            end--;
        const char *kept = writer_keep(writer, buf_text(code) + start, end - start);
        if (kept != NULL)
            markdown_add_code(&writer->run, kept, end - start);
        writer_end_inline(writer);
        return;
    }
    size_t language_len, len = code->len;
    const char *language = language_of_block(pre, &language_len);
    char mark = memchr(language, '`', language_len) != NULL ? '~' : '`';
    size_t width = markdown_fence(buf_text(code), len, mark);
    writer_begin_block(writer, CODE);
    writer_begin_line(writer);
    markdown_begin_fence(writer->out, mark, width, language, language_len);
    buf_addc(writer->out, '\n');
    if (len > 0 && code->data[len - 1] == '\n')
        len--;
    if (code->len > 0)
        write_lines(writer, code->data, len);
    writer_begin_line(writer);
    markdown_begin_fence(writer->out, mark, width, "", 0);
    buf_addc(writer->out, '\n');
}
