/* HTML by gumbo: parsing within bounds, and walking the tree. Must not call gumbo's own release, which
 * recurses: the arena takes everything back. */
#include "base/html_priv.h"

#include "base/mem.h"
#include "base/text.h"
#include "base/unicode.h"

#include <setjmp.h>
#include <string.h>
#include <strings.h>

void html_init(struct html *html, void (*tick)(void *context), void *context)
{
    *html = (struct html){.ticker = {.tick = tick, .context = context}};
    arena_init(&html->arena);
    buf_init(&html->source, HTML_INPUT_MAX);
    for (size_t i = 0; i < HTML_WORK_BUFFERS; i++)
        buf_init(&html->work[i], HTML_MEMORY_MAX);
}

void html_free(struct html *html)
{
    arena_free(&html->arena);
    buf_free(&html->source);
    for (size_t i = 0; i < HTML_WORK_BUFFERS; i++)
        buf_free(&html->work[i]);
}

/* ---- parsing ---- */

struct parse {
    struct html *html;
    jmp_buf out_of_memory;
};

/* gumbo does not look whether it got memory, so there is no way back into it without. It keeps nothing but
 * what it allocates, so leaving it is safe. */
static void *allocate(void *context, size_t size)
{
    struct parse *parse = context;
    struct html *html = parse->html;
    ticker_spend(&html->ticker, 64 + size / 16);
    void *block = NULL;
    if (size <= HTML_MEMORY_MAX && html->arena.total <= HTML_MEMORY_MAX - size)
        block = arena_alloc(&html->arena, size);
    if (block == NULL)
        longjmp(parse->out_of_memory, 1);
    return block;
}

static void deallocate(void *context, void *block)
{
    (void)context;
    (void)block; /* with the arena */
}

static const GumboNode *parse_tree(struct parse *parse, const char *text, size_t len)
{
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = allocate;
    options.deallocator = deallocate;
    options.userdata = parse;
    options.max_errors = 0;
    if (setjmp(parse->out_of_memory) != 0)
        return NULL;
    return gumbo_parse_with_options(&options, text, len)->root;
}

static enum err_code parse_failure(const struct html *html, struct err *err)
{
    if (html->arena.total < HTML_MEMORY_MAX / 2)
        return err_nomem(err);
    return err_set(err, ERR_LIMIT, "the HTML takes more than %zu bytes of memory; convert it in parts",
                   HTML_MEMORY_MAX);
}

enum err_code html_parse(struct html *html, const char *text, size_t len, const GumboNode **root,
                         struct err *err)
{
    if (len > HTML_INPUT_MAX)
        return err_set(err, ERR_LIMIT, "HTML of %zu bytes; the most is %zu", len, HTML_INPUT_MAX);
    enum err_code code = html_guard(html, &text, &len, err);
    if (code != ERR_NONE)
        return code;
    struct parse parse = {.html = html};
    *root = parse_tree(&parse, text, len);
    return *root != NULL ? ERR_NONE : parse_failure(html, err);
}

/* ---- walking ---- */

struct frame {
    const GumboNode *node;
    unsigned next; /* child */
};

static void push_frame(struct buf *frames, const GumboNode *node)
{
    struct frame frame = {node, 0};
    buf_add(frames, &frame, sizeof frame);
}

enum err_code html_walk(struct html *html, const GumboNode *root, const struct html_visitor *visitor,
                        struct err *err)
{
    struct buf *frames = &html->work[WORK_FRAMES];
    buf_clear(frames);
    if (visitor->enter(visitor->context, root))
        push_frame(frames, root);
    while (frames->len > 0 && !frames->failed) {
        ticker_spend(&html->ticker, 16);
        struct frame *frame = (struct frame *)(void *)(frames->data + frames->len) - 1;
        const GumboVector *children = &frame->node->v.element.children;
        if (frame->next == children->length) {
            visitor->leave(visitor->context, frame->node);
            frames->len -= sizeof *frame;
            continue;
        }
        const GumboNode *child = children->data[frame->next++];
        if (child->type == GUMBO_NODE_ELEMENT) {
            if (visitor->enter(visitor->context, child))
                push_frame(frames, child);
        } else if (child->type == GUMBO_NODE_TEXT || child->type == GUMBO_NODE_WHITESPACE ||
                   child->type == GUMBO_NODE_CDATA) {
            size_t len = strlen(child->v.text.text);
            ticker_spend(&html->ticker, len);
            visitor->text(visitor->context, child->v.text.text, len);
        }
    }
    return buf_status(frames, "the working memory for HTML", err);
}

enum err_code html_repair(struct html *html, struct buf *out, size_t start, const char *what, struct err *err)
{
    struct buf *copy = &html->work[WORK_PIECE];
    if (out->len > start && !out->failed && !text_is_utf8(out->data + start, out->len - start, NULL)) {
        buf_clear(copy);
        buf_add(copy, out->data + start, out->len - start);
        out->len = start;
        unicode_to_utf8(out, UNICODE_UTF8, buf_text(copy), copy->len, UNICODE_REPLACEMENT,
                        strlen(UNICODE_REPLACEMENT), &html->ticker);
        enum err_code code = buf_status(copy, what, err);
        if (code != ERR_NONE)
            return code;
    }
    return buf_status(out, what, err);
}

const char *html_attribute(const GumboNode *element, const char *name)
{
    const GumboVector *attributes = &element->v.element.attributes;
    for (unsigned i = 0; i < attributes->length; i++) {
        const GumboAttribute *attribute = attributes->data[i];
        if (strcasecmp(attribute->name, name) == 0)
            return attribute->value;
    }
    return NULL;
}

long html_number_attribute(const GumboNode *element, const char *name, long absent, long max)
{
    const char *text = html_attribute(element, name);
    if (text == NULL)
        return absent;
    while (html_is_space(*text))
        text++;
    text += *text == '+' ? 1 : 0;
    long number = 0;
    if (*text < '0' || *text > '9')
        return absent;
    for (; *text >= '0' && *text <= '9'; text++) {
        number = number * 10 + (*text - '0');
        if (number > max)
            return absent;
    }
    return number;
}

enum html_kind html_kind_of(const GumboNode *element)
{
    const GumboElement *e = &element->v.element;
    if (e->tag_namespace == GUMBO_NAMESPACE_SVG)
        return HTML_HIDDEN;
    if (html_attribute(element, "hidden") != NULL)
        return HTML_HIDDEN;
    switch (html_tag(element)) {
    case GUMBO_TAG_HEAD:
    case GUMBO_TAG_TITLE:
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_NOFRAMES:
    case GUMBO_TAG_NOEMBED:
    case GUMBO_TAG_AUDIO:
    case GUMBO_TAG_VIDEO:
    case GUMBO_TAG_CANVAS:
    case GUMBO_TAG_DATALIST:
    case GUMBO_TAG_RP:
        return HTML_HIDDEN;
    case GUMBO_TAG_P:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_UL:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_DIR:
    case GUMBO_TAG_MENU:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_LISTING:
    case GUMBO_TAG_XMP:
    case GUMBO_TAG_PLAINTEXT:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_HR:
    case GUMBO_TAG_FIGURE:
        return HTML_PARAGRAPH;
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_BODY:
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_DETAILS:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_HGROUP:
    case GUMBO_TAG_HTML:
    case GUMBO_TAG_LEGEND:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_OPTGROUP:
    case GUMBO_TAG_OPTION:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_SUMMARY:
    case GUMBO_TAG_TBODY:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TFOOT:
    case GUMBO_TAG_TH:
    case GUMBO_TAG_THEAD:
    case GUMBO_TAG_TR:
        return HTML_BLOCK;
    default:
        return HTML_INLINE;
    }
}

/* ---- character references ---- */

void html_escape(struct buf *out, const char *text, size_t len)
{
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        const char *reference = text[i] == '&'    ? "&amp;"
                                : text[i] == '<'  ? "&lt;"
                                : text[i] == '>'  ? "&gt;"
                                : text[i] == '"'  ? "&quot;"
                                : text[i] == '\'' ? "&#39;"
                                                  : NULL;
        if (reference == NULL)
            continue;
        buf_add(out, text + start, i - start);
        buf_adds(out, reference);
        start = i + 1;
    }
    buf_add(out, text + start, len - start);
}

/* ---- named references, by gumbo ---- */

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_digit(char c, bool hex)
{
    return (c >= '0' && c <= '9') || (hex && (c | 32) >= 'a' && (c | 32) <= 'f');
}

#define NAME_MAX_LEN 40 /* the longest is CounterClockwiseContourIntegral; */

/* Length of what may be a reference at the "&" at the start: with the name's ";" if it has one; 0 when it is
 * none for sure. */
static size_t reference_len(const char *text, size_t len)
{
    size_t at = 1;
    if (at < len && text[at] == '#') {
        at++;
        bool hex = at < len && (text[at] | 32) == 'x';
        at += hex ? 1 : 0;
        size_t start = at;
        while (at < len && is_digit(text[at], hex))
            at++;
        if (at == start)
            return 0;
    } else {
        while (at < len && at <= NAME_MAX_LEN && is_name(text[at]))
            at++;
        if (at == 1)
            return 0;
    }
    return at + (at < len && text[at] == ';' ? 1 : 0);
}

/* HTML standard, section 13.2.5.80, "numeric character reference end state". */
static uint32_t numeric_reference(const char *text, size_t len)
{
    bool hex = (text[2] | 32) == 'x';
    uint32_t number = 0;
    for (size_t at = hex ? 3 : 2; at < len && text[at] != ';' && number <= 0x10FFFF; at++) {
        uint32_t digit =
            text[at] <= '9' ? (uint32_t)(text[at] - '0') : (uint32_t)((text[at] | 32) - 'a') + 10;
        number = number * (hex ? 16 : 10) + digit;
    }
    if (number >= 0x80 && number < 0xA0)
        return unicode_of_windows_1252((unsigned char)number);
    bool is_character = number > 0 && number <= 0x10FFFF && (number < 0xD800 || number > 0xDFFF);
    return is_character ? number : 0xFFFD;
}

static bool enter_any(void *context, const GumboNode *element)
{
    (void)context;
    (void)element;
    return true;
}

static void leave_any(void *context, const GumboNode *element)
{
    (void)context;
    (void)element;
}

static void add_decoded(void *context, const char *text, size_t len)
{
    buf_add(context, text, len);
}

/* The names that the text has, each behind a space, which no name stands for, decoded by gumbo. */
static enum err_code decode_names(struct html *html, const char *text, size_t len, struct buf *decoded,
                                  struct err *err)
{
    struct buf *names = &html->source;
    buf_clear(names);
    buf_addc(names, '.'); /* begins the body, before which white space does not count */
    for (size_t at = 0; at < len;) {
        const char *found = memchr(text + at, '&', len - at);
        if (found == NULL)
            break;
        at = (size_t)(found - text);
        size_t size = reference_len(found, len - at);
        if (size > 0 && found[1] != '#') {
            buf_addc(names, ' ');
            buf_add(names, found, size);
        }
        at += size > 0 ? size : 1;
        ticker_spend(&html->ticker, 8);
    }
    enum err_code code = buf_status(names, "the text's character references", err);
    if (code != ERR_NONE || names->len == 1)
        return code;
    struct parse parse = {.html = html};
    const GumboNode *root = parse_tree(&parse, names->data, names->len);
    if (root == NULL)
        return parse_failure(html, err);
    const struct html_visitor visitor = {enter_any, leave_any, add_decoded, decoded};
    return html_walk(html, root, &visitor, err);
}

enum err_code html_unescape(struct html *html, const char *text, size_t len, struct buf *out, struct err *err)
{
    struct buf *decoded = &html->work[WORK_TEXT];
    buf_clear(decoded);
    enum err_code code = decode_names(html, text, len, decoded, err);
    if (code != ERR_NONE)
        return code;
    const char *next = buf_text(decoded), *end = next + decoded->len;
    next += decoded->len > 0 ? 1 : 0; /* the "." */
    for (size_t at = 0; at < len && !out->failed;) {
        const char *found = memchr(text + at, '&', len - at);
        size_t start = found != NULL ? (size_t)(found - text) : len;
        buf_add(out, text + at, start - at);
        ticker_spend(&html->ticker, (start - at) / 16 + 8);
        if (found == NULL)
            break;
        size_t size = reference_len(found, len - start);
        if (size == 0) {
            buf_addc(out, '&');
            size = 1;
        } else if (found[1] == '#') {
            unicode_add(out, numeric_reference(found, size));
        } else if (next < end) {
            next++; /* the space */
            size_t name = strcspn(next, " ");
            buf_add(out, next, name);
            next += name;
        }
        at = start + size;
    }
    return buf_status(out, "the text", err);
}
