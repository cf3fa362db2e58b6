/* What stands between hostile HTML and gumbo. Must not change pages that people write.
 *
 * gumbo looks through its stack of open elements for nearly every tag, takes one more element for each
 * formatting element that was left open when a paragraph begins, compares each attribute of a tag with all
 * those before, and releases what stood before a <frameset> by recursion. All of that is harmless as long as
 * the numbers are small. So the tags are looked through here first, with the rules for end tags of the HTML
 * standard (section 13.2.6.4.7) as far as they decide how many elements are open, and a tag that would be one
 * too many is replaced by a space. Its text stays.
 *
 * Where the model and gumbo differ, time and memory are still bounded: gumbo allocates for each tag, and the
 * allocator counts memory and ticks. */
#include "base/html_priv.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define ATTRIBUTES_MAX 256 /* of a tag */
#define FORMATS_MAX 32     /* formatting elements that were opened and not closed */

enum group {
    ORDINARY,   /* any other element */
    SPECIAL,    /* the standard's category "special": an end tag of an ordinary element does not go past it */
    SCOPE,      /* special, and end tags of special elements do not go past it either */
    FORMATTING, /* taken up again after the block that it was left open in */
    VOID,
    RAW,     /* what is in it is text up to its end tag */
    DROPPED, /* never passed on */
    ONCE,    /* html and body: the second only adds attributes to the first */
    PART,    /* of a table; nothing outside of one */
};

struct open_element {
    GumboTag tag; /* those that gumbo does not know are one and the same tag in HTML */
    enum group group;
    GumboNamespaceEnum space;
    const char *name; /* in the text */
    size_t name_len;
};

struct guard {
    struct html *html;
    const char *text;
    size_t len;
    size_t copied; /* of the text, into html->source */
    struct open_element open[HTML_DEPTH_MAX];
    size_t depth;
    struct buf *above;                   /* GumboTag of elements beyond the depth, which gumbo never sees */
    size_t above_counts[GUMBO_TAG_LAST]; /* so that an end tag without its element costs nothing */
    size_t formats;                      /* of all tags */
    size_t formats_by_tag[GUMBO_TAG_LAST];
    bool seen_html;
    bool seen_body;
};

static enum group group_of(GumboTag tag)
{
    switch (tag) {
    case GUMBO_TAG_AREA:
    case GUMBO_TAG_BASE:
    case GUMBO_TAG_BASEFONT:
    case GUMBO_TAG_BGSOUND:
    case GUMBO_TAG_BR:
    case GUMBO_TAG_COL:
    case GUMBO_TAG_EMBED:
    case GUMBO_TAG_FRAME:
    case GUMBO_TAG_HEAD: /* begins and ends by itself */
    case GUMBO_TAG_HR:
    case GUMBO_TAG_IMAGE:
    case GUMBO_TAG_IMG:
    case GUMBO_TAG_INPUT:
    case GUMBO_TAG_KEYGEN:
    case GUMBO_TAG_LINK:
    case GUMBO_TAG_MENUITEM:
    case GUMBO_TAG_META:
    case GUMBO_TAG_PARAM:
    case GUMBO_TAG_SOURCE:
    case GUMBO_TAG_TRACK:
    case GUMBO_TAG_WBR:
        return VOID;
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_NOEMBED:
    case GUMBO_TAG_NOFRAMES:
    case GUMBO_TAG_PLAINTEXT:
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_TEXTAREA:
    case GUMBO_TAG_TITLE:
    case GUMBO_TAG_XMP:
        return RAW;
    case GUMBO_TAG_A:
    case GUMBO_TAG_B:
    case GUMBO_TAG_BIG:
    case GUMBO_TAG_CODE:
    case GUMBO_TAG_EM:
    case GUMBO_TAG_FONT:
    case GUMBO_TAG_I:
    case GUMBO_TAG_NOBR:
    case GUMBO_TAG_S:
    case GUMBO_TAG_SMALL:
    case GUMBO_TAG_STRIKE:
    case GUMBO_TAG_STRONG:
    case GUMBO_TAG_TT:
    case GUMBO_TAG_U:
        return FORMATTING;
    case GUMBO_TAG_APPLET:
    case GUMBO_TAG_MARQUEE:
    case GUMBO_TAG_MATH:
    case GUMBO_TAG_OBJECT:
    case GUMBO_TAG_SVG:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_TEMPLATE:
        return SCOPE;
    case GUMBO_TAG_HTML:
    case GUMBO_TAG_BODY:
        return ONCE;
    case GUMBO_TAG_FRAMESET:
    case GUMBO_TAG_ISINDEX:
        return DROPPED;
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_COLGROUP:
    case GUMBO_TAG_TBODY:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TFOOT:
    case GUMBO_TAG_TH:
    case GUMBO_TAG_THEAD:
    case GUMBO_TAG_TR:
        return PART;
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_BUTTON:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_DETAILS:
    case GUMBO_TAG_DIR:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_HGROUP:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_LISTING:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_MENU:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_P:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_SUMMARY:
    case GUMBO_TAG_UL:
        return SPECIAL;
    default:
        return ORDINARY;
    }
}

static bool is_special(const struct open_element *element)
{
    return element->group == SPECIAL || element->group == SCOPE || element->group == PART;
}

/* Whether end tags of special elements stop here. */
static bool is_scope(const struct open_element *element)
{
    return element->group == SCOPE || element->tag == GUMBO_TAG_TD || element->tag == GUMBO_TAG_TH ||
           element->tag == GUMBO_TAG_CAPTION;
}

/* ---- elements within the depth ---- */

static size_t above_count(const struct guard *guard)
{
    return guard->above->len / sizeof(GumboTag);
}

static void close_above(struct guard *guard)
{
    if (guard->above->len == 0)
        return;
    buf_clear(guard->above);
    memset(guard->above_counts, 0, sizeof guard->above_counts);
}

/* Closes everything down to the open element at position at, and that one. */
static void close_down_to(struct guard *guard, size_t at)
{
    close_above(guard);
    guard->depth = at;
}

enum barrier {
    AT_SPECIAL, /* special elements but address, div and p */
    AT_SCOPE,   /* cells, captions, objects and the like; buttons */
    AT_TABLE,
};

static bool stops(enum barrier barrier, const struct open_element *element)
{
    switch (barrier) {
    case AT_SPECIAL:
        return is_special(element) && element->tag != GUMBO_TAG_ADDRESS && element->tag != GUMBO_TAG_DIV &&
               element->tag != GUMBO_TAG_P;
    case AT_SCOPE:
        return is_scope(element) || element->tag == GUMBO_TAG_BUTTON;
    case AT_TABLE:
        return element->tag == GUMBO_TAG_TABLE || element->tag == GUMBO_TAG_TEMPLATE;
    }
    return true;
}

/* Elements of which one ends another of the family. */
static GumboTag family_of(GumboTag tag)
{
    switch (tag) {
    case GUMBO_TAG_DT:
        return GUMBO_TAG_DD;
    case GUMBO_TAG_TH:
        return GUMBO_TAG_TD;
    case GUMBO_TAG_THEAD:
    case GUMBO_TAG_TFOOT:
        return GUMBO_TAG_TBODY;
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
        return GUMBO_TAG_H1;
    default:
        return tag;
    }
}

static void close_nearest(struct guard *guard, GumboTag family, enum barrier barrier)
{
    for (size_t at = guard->depth; at > 0; at--) {
        if (family_of(guard->open[at - 1].tag) == family) {
            close_down_to(guard, at - 1);
            return;
        }
        if (stops(barrier, &guard->open[at - 1]))
            return;
    }
}

static void close_top(struct guard *guard, GumboTag family)
{
    if (guard->depth > 0 && family_of(guard->open[guard->depth - 1].tag) == family)
        close_down_to(guard, guard->depth - 1);
}

static bool is_open(const struct guard *guard, GumboTag tag)
{
    for (size_t at = guard->depth; at > 0; at--) {
        if (guard->open[at - 1].tag == tag)
            return true;
    }
    return false;
}

/* Start tags end what cannot hold them. */
static void close_implied(struct guard *guard, GumboTag tag, enum group group)
{
    GumboTag family = family_of(tag);
    switch (family) {
    case GUMBO_TAG_LI:
    case GUMBO_TAG_DD:
        close_nearest(guard, family, AT_SPECIAL);
        break;
    case GUMBO_TAG_OPTION:
    case GUMBO_TAG_OPTGROUP:
        close_top(guard, GUMBO_TAG_OPTION);
        break;
    case GUMBO_TAG_H1:
        close_top(guard, family);
        break;
    case GUMBO_TAG_BUTTON:
    case GUMBO_TAG_TABLE: /* right in a table */
        close_nearest(guard, family, AT_SCOPE);
        break;
    case GUMBO_TAG_TD:
        guard->formats = 0; /* a cell begins with none */
        memset(guard->formats_by_tag, 0, sizeof guard->formats_by_tag);
        close_nearest(guard, family, AT_TABLE);
        break;
    case GUMBO_TAG_TR:
    case GUMBO_TAG_TBODY:
        close_nearest(guard, family, AT_TABLE);
        break;
    default:
        break;
    }
    bool in_paragraph = tag == GUMBO_TAG_BUTTON || tag == GUMBO_TAG_SELECT || tag == GUMBO_TAG_NOSCRIPT;
    if ((group == SPECIAL && !in_paragraph) || tag == GUMBO_TAG_TABLE || tag == GUMBO_TAG_HR ||
        tag == GUMBO_TAG_XMP)
        close_nearest(guard, GUMBO_TAG_P, AT_SCOPE);
}

/* HTML elements that do not stay in SVG or MathML but end it (section 13.2.6.5). */
static bool breaks_out(GumboTag tag, enum group group)
{
    switch (tag) {
    case GUMBO_TAG_BODY:
    case GUMBO_TAG_BR:
    case GUMBO_TAG_EMBED:
    case GUMBO_TAG_HEAD:
    case GUMBO_TAG_HR:
    case GUMBO_TAG_IMG:
    case GUMBO_TAG_META:
    case GUMBO_TAG_RUBY:
    case GUMBO_TAG_SPAN:
    case GUMBO_TAG_SUB:
    case GUMBO_TAG_SUP:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_VAR:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_LISTING:
    case GUMBO_TAG_MENU:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_P:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_UL:
        return true;
    default:
        return group == FORMATTING && tag != GUMBO_TAG_A && tag != GUMBO_TAG_FONT;
    }
}

/* Elements of SVG and MathML that hold HTML again. */
static bool holds_html(const struct open_element *element)
{
    switch (element->tag) {
    case GUMBO_TAG_FOREIGNOBJECT:
    case GUMBO_TAG_DESC:
    case GUMBO_TAG_TITLE:
        return element->space == GUMBO_NAMESPACE_SVG;
    case GUMBO_TAG_MI:
    case GUMBO_TAG_MO:
    case GUMBO_TAG_MN:
    case GUMBO_TAG_MS:
    case GUMBO_TAG_MTEXT:
        return element->space == GUMBO_NAMESPACE_MATHML;
    default:
        return false;
    }
}

/* How what comes is read. In SVG and MathML "/>" ends an element, and nothing is void or raw. */
static GumboNamespaceEnum current_space(const struct guard *guard)
{
    const struct open_element *top = guard->depth > 0 ? &guard->open[guard->depth - 1] : NULL;
    return top == NULL || holds_html(top) ? GUMBO_NAMESPACE_HTML : top->space;
}

/* Within a list of options nearly all tags do nothing. Returns how many of its elements are open, 0 outside.
 */
static size_t depth_in_select(const struct guard *guard)
{
    for (size_t at = guard->depth; at > 0 && guard->depth - at < 3; at--) {
        GumboTag tag = guard->open[at - 1].tag;
        if (tag == GUMBO_TAG_SELECT && guard->open[at - 1].space == GUMBO_NAMESPACE_HTML)
            return guard->depth - at + 1;
        if (tag != GUMBO_TAG_OPTION && tag != GUMBO_TAG_OPTGROUP)
            return 0;
    }
    return 0;
}

static void end_format(struct guard *guard, GumboTag tag)
{
    if (guard->formats_by_tag[tag] > 0) {
        guard->formats_by_tag[tag]--;
        guard->formats--;
    }
}

static void close_element(struct guard *guard, GumboTag tag, enum group group);

/* HTML alone: what a start tag does before its element begins. False when there will be none. */
static bool prepare(struct guard *guard, GumboTag tag, enum group group)
{
    size_t select = depth_in_select(guard);
    if (select > 0 && tag != GUMBO_TAG_OPTION && tag != GUMBO_TAG_OPTGROUP) {
        bool ends_select = tag == GUMBO_TAG_SELECT || tag == GUMBO_TAG_INPUT || tag == GUMBO_TAG_KEYGEN ||
                           tag == GUMBO_TAG_TEXTAREA;
        if (ends_select)
            close_down_to(guard, guard->depth - select);
        if (!ends_select || tag == GUMBO_TAG_SELECT)
            return tag == GUMBO_TAG_TEMPLATE;
    }
    if (group == PART && !is_open(guard, GUMBO_TAG_TABLE) && !is_open(guard, GUMBO_TAG_TEMPLATE))
        return false;
    if (tag == GUMBO_TAG_FORM && is_open(guard, tag))
        return false;
    if (tag == GUMBO_TAG_A || tag == GUMBO_TAG_NOBR) { /* ends the one before it */
        end_format(guard, tag);
        if (is_open(guard, tag))
            close_element(guard, tag, group);
    }
    close_implied(guard, tag, group);
    return group != VOID;
}

/* False when the element is one too many. */
static bool open_element(struct guard *guard, GumboTag tag, enum group group, const char *name,
                         size_t name_len, bool self_closing)
{
    if (group == FORMATTING && guard->formats >= FORMATS_MAX)
        return false;
    if (breaks_out(tag, group)) {
        while (current_space(guard) != GUMBO_NAMESPACE_HTML)
            close_down_to(guard, guard->depth - 1);
    }
    struct open_element element = {tag, group, current_space(guard), name, name_len};
    if (element.space == GUMBO_NAMESPACE_HTML) {
        if (!prepare(guard, tag, group))
            return true;
        guard->formats += group == FORMATTING ? 1 : 0;
        guard->formats_by_tag[tag] += group == FORMATTING ? 1 : 0;
        element.space = tag == GUMBO_TAG_SVG    ? GUMBO_NAMESPACE_SVG
                        : tag == GUMBO_TAG_MATH ? GUMBO_NAMESPACE_MATHML
                                                : GUMBO_NAMESPACE_HTML;
    }
    if (element.space != GUMBO_NAMESPACE_HTML) {
        if (self_closing)
            return true;
        element.group = holds_html(&element) ? SCOPE : ORDINARY;
    }
    if (guard->depth < HTML_DEPTH_MAX) {
        guard->open[guard->depth++] = element;
        return true;
    }
    buf_add(guard->above, &tag, sizeof tag);
    guard->above_counts[tag] += guard->above->failed ? 0 : 1;
    return false;
}

static void close_above_one(struct guard *guard, GumboTag tag)
{
    const GumboTag *tags = (const GumboTag *)(const void *)guard->above->data;
    GumboTag last;
    do {
        last = tags[above_count(guard) - 1];
        guard->above_counts[last]--;
        guard->above->len -= sizeof last;
    } while (last != tag);
}

/* Whether an end tag of the element (with its group) ends nothing below this one. */
static bool stops_end(const struct open_element *element, GumboTag tag, enum group group)
{
    switch (group) {
    case ORDINARY:
        return is_special(element);
    case FORMATTING:
        return is_scope(element);
    case PART:
        return element->tag == GUMBO_TAG_TABLE || element->tag == GUMBO_TAG_TEMPLATE;
    default:
        if (tag == GUMBO_TAG_TABLE)
            return false;
        if (tag == GUMBO_TAG_NOSCRIPT || tag == GUMBO_TAG_SVG || tag == GUMBO_TAG_MATH)
            return is_special(element);
        return is_scope(element) ||
               (tag == GUMBO_TAG_LI && (element->tag == GUMBO_TAG_OL || element->tag == GUMBO_TAG_UL)) ||
               (tag == GUMBO_TAG_P && element->tag == GUMBO_TAG_BUTTON);
    }
}

/* In SVG and MathML names are compared letter by letter, and by gumbo with whatever follows them. */
static bool close_foreign(struct guard *guard, const char *name, size_t name_len, bool bare)
{
    for (size_t at = guard->depth; at > 0 && guard->open[at - 1].space != GUMBO_NAMESPACE_HTML; at--) {
        const struct open_element *element = &guard->open[at - 1];
        if (bare && element->name_len == name_len && strncasecmp(element->name, name, name_len) == 0) {
            close_down_to(guard, at - 1);
            return true;
        }
    }
    return false;
}

/* Closes as an end tag does that is read as HTML. */
static void close_element(struct guard *guard, GumboTag tag, enum group group)
{
    bool past_special = false;
    for (size_t at = guard->depth; at > 0; at--) {
        const struct open_element *element = &guard->open[at - 1];
        if (element->tag == tag && element->space == GUMBO_NAMESPACE_HTML) {
            /* A form ends without what was opened in it; a format goes on in the block after it. */
            if (tag == GUMBO_TAG_FORM || (past_special && group == FORMATTING)) {
                memmove(&guard->open[at - 1], &guard->open[at], (guard->depth - at) * sizeof *element);
                guard->depth--;
            } else {
                close_down_to(guard, at - 1);
            }
            return;
        }
        if (stops_end(element, tag, group))
            return;
        past_special = past_special || is_special(element);
    }
}

/* False when the end tag belongs to an element that was one too many. bare: nothing stands behind the name.
 */
static bool pass_end(struct guard *guard, GumboTag tag, enum group group, const char *name, size_t name_len,
                     bool bare)
{
    if (depth_in_select(guard) > 0 && tag != GUMBO_TAG_SELECT && tag != GUMBO_TAG_OPTION &&
        tag != GUMBO_TAG_OPTGROUP)
        return true;
    end_format(guard, tag);
    if (guard->above_counts[tag] > 0) {
        close_above_one(guard, tag);
        return false;
    }
    if (!close_foreign(guard, name, name_len, bare))
        close_element(guard, tag, group);
    return true;
}

/* ---- the text ---- */

static void drop(struct guard *guard, size_t from, size_t to)
{
    struct buf *source = &guard->html->source;
    buf_add(source, guard->text + guard->copied, from - guard->copied);
    buf_addc(source, ' ');
    guard->copied = to;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space_or_slash(char c)
{
    return html_is_space(c) || c == '/';
}

/* Behind the tag's ">", or the end of the text. at is behind the name. */
static size_t skip_attributes(const struct guard *guard, size_t at, size_t *attributes, bool *self_closing)
{
    const char *text = guard->text;
    size_t len = guard->len;
    *attributes = 0;
    *self_closing = false;
    while (at < len) {
        if (text[at] == '>') {
            *self_closing = text[at - 1] == '/';
            return at + 1;
        }
        if (is_space_or_slash(text[at])) {
            at++;
            continue;
        }
        ++*attributes;
        do
            at++;
        while (at < len && !is_space_or_slash(text[at]) && text[at] != '>' && text[at] != '=');
        size_t value = at;
        while (value < len && html_is_space(text[value]))
            value++;
        if (value == len || text[value] != '=')
            continue;
        at = value + 1;
        while (at < len && html_is_space(text[at]))
            at++;
        if (at < len && (text[at] == '"' || text[at] == '\'')) {
            const char *end = memchr(text + at + 1, text[at], len - at - 1);
            at = end != NULL ? (size_t)(end - text) + 1 : len;
        } else {
            while (at < len && !html_is_space(text[at]) && text[at] != '>')
                at++;
        }
    }
    return len;
}

/* Behind the next occurrence of end, from at on; the end of the text when there is none. */
static size_t skip_past(const struct guard *guard, size_t at, const char *end)
{
    const char *found = memmem(guard->text + at, guard->len - at, end, strlen(end));
    return found != NULL ? (size_t)(found - guard->text) + strlen(end) : guard->len;
}

/* Where the end tag of an element starts whose content is text. */
static size_t skip_raw(const struct guard *guard, size_t at, const char *name, size_t name_len)
{
    while (at < guard->len) {
        const char *found = memchr(guard->text + at, '<', guard->len - at);
        if (found == NULL)
            return guard->len;
        at = (size_t)(found - guard->text);
        size_t behind = at + 2 + name_len;
        if (behind < guard->len && found[1] == '/' && strncasecmp(found + 2, name, name_len) == 0 &&
            (is_space_or_slash(guard->text[behind]) || guard->text[behind] == '>'))
            return at;
        at++;
    }
    return guard->len;
}

/* Handles the tag whose "<" is at start and whose name begins at name. Returns where to go on. */
static size_t pass_tag(struct guard *guard, size_t start, size_t name, bool is_end)
{
    const char *text = guard->text;
    size_t behind = name;
    while (behind < guard->len && !is_space_or_slash(text[behind]) && text[behind] != '>')
        behind++;
    GumboTag tag = gumbo_tagn_enum(text + name, (unsigned)(behind - name));
    enum group group = group_of(tag);
    size_t attributes;
    bool self_closing;
    size_t end = skip_attributes(guard, behind, &attributes, &self_closing);
    ticker_spend(&guard->html->ticker, end - start);
    bool keep = attributes <= ATTRIBUTES_MAX && group != DROPPED;
    if (keep && is_end) {
        keep = pass_end(guard, tag, group, text + name, behind - name,
                        behind < guard->len && text[behind] == '>');
    } else if (keep && group == ONCE) {
        bool *seen = tag == GUMBO_TAG_BODY ? &guard->seen_body : &guard->seen_html;
        keep = !*seen;
        *seen = true;
    } else if (keep) {
        bool ignored = depth_in_select(guard) > 0 && tag != GUMBO_TAG_SCRIPT && tag != GUMBO_TAG_TEXTAREA;
        bool raw = group == RAW && current_space(guard) == GUMBO_NAMESPACE_HTML && !ignored;
        if (raw) {
            prepare(guard, tag, VOID);
            if (tag == GUMBO_TAG_PLAINTEXT)
                return guard->len;
            return skip_past(guard, skip_raw(guard, end, text + name, behind - name), ">");
        }
        keep = open_element(guard, tag, group == RAW ? ORDINARY : group, text + name, behind - name,
                            self_closing);
    }
    if (!keep)
        drop(guard, start, end);
    return end;
}

static void pass_text(struct guard *guard)
{
    size_t at = 0;
    while (at < guard->len && !guard->html->source.failed && !guard->above->failed) {
        const char *found = memchr(guard->text + at, '<', guard->len - at);
        if (found == NULL)
            break;
        size_t start = (size_t)(found - guard->text);
        ticker_spend(&guard->html->ticker, (start - at) / 16 + 8);
        char next = start + 1 < guard->len ? found[1] : '\0';
        char after = start + 2 < guard->len ? found[2] : '\0';
        if (is_letter(next)) {
            at = pass_tag(guard, start, start + 1, false);
        } else if (next == '/' && is_letter(after)) {
            at = pass_tag(guard, start, start + 2, true);
        } else if (next == '!' && guard->len - start >= 4 && memcmp(found, "<!--", 4) == 0) {
            /* "<!-->" and "<!--->" are whole comments */
            size_t inside = start + 4;
            size_t dash = inside < guard->len && guard->text[inside] == '-' ? 1 : 0;
            bool empty = inside + dash < guard->len && guard->text[inside + dash] == '>';
            at = empty ? inside + dash + 1 : skip_past(guard, inside, "-->");
        } else if (next == '!' && guard->len - start >= 9 && memcmp(found, "<![CDATA[", 9) == 0 &&
                   current_space(guard) != GUMBO_NAMESPACE_HTML) {
            at = skip_past(guard, start, "]]>");
        } else if (next == '!' || next == '?' || next == '/') {
            at = skip_past(guard, start, ">");
        } else {
            at = start + 1;
        }
    }
}

enum err_code html_guard(struct html *html, const char **text, size_t *len, struct err *err)
{
    struct guard *guard = arena_zalloc(&html->arena, sizeof *guard);
    if (guard == NULL)
        return err_nomem(err);
    guard->html = html;
    guard->text = *text;
    guard->len = *len;
    guard->above = &html->work[WORK_FRAMES];
    buf_clear(&html->source);
    buf_clear(guard->above);
    pass_text(guard);
    if (guard->above->failed)
        return buf_status(guard->above, "the working memory for HTML", err);
    if (guard->copied == 0)
        return ERR_NONE;
    buf_add(&html->source, guard->text + guard->copied, guard->len - guard->copied);
    *text = buf_text(&html->source);
    *len = html->source.len;
    return buf_status(&html->source, "the HTML", err);
}
