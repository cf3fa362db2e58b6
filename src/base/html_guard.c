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
#define NAMES (UINT16_MAX + 1)
#define FORMATS_MAX 256 /* formatting elements that were opened and not closed */

enum group {
    ORDINARY,   /* any other element */
    SPECIAL,    /* the standard's category "special": an end tag of an ordinary element does not go past it */
    SCOPE,      /* special, and end tags of special elements do not go past it either */
    FORMATTING, /* taken up again after the block that it was left open in */
    VOID,
    RAW,     /* what is in it is text up to its end tag */
    DROPPED, /* never passed on */
    ONCE,    /* html and body: the second only adds attributes to the first */
};

struct open_element {
    GumboTag tag;
    uint16_t name; /* hash of the lower-case name; different names that share it count as one */
    uint8_t group;
};

struct guard {
    struct html *html;
    const char *text;
    size_t len;
    size_t copied; /* of the text, into html->source */
    struct open_element open[HTML_DEPTH_MAX];
    size_t depth;
    struct buf *above;      /* names of elements beyond the depth, which gumbo never sees: uint16_t */
    uint32_t *above_counts; /* by name, so that an end tag without its element costs nothing; NULL: none */
    size_t formats;
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
    case GUMBO_TAG_HR:
    case GUMBO_TAG_IMAGE:
    case GUMBO_TAG_IMG:
    case GUMBO_TAG_INPUT:
    case GUMBO_TAG_ISINDEX:
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
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_MARQUEE:
    case GUMBO_TAG_MATH:
    case GUMBO_TAG_OBJECT:
    case GUMBO_TAG_SVG:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_TH:
        return SCOPE;
    case GUMBO_TAG_HTML:
    case GUMBO_TAG_BODY:
        return ONCE;
    case GUMBO_TAG_FRAMESET:
        return DROPPED;
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_BUTTON:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_COLGROUP:
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
    case GUMBO_TAG_HEAD:
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
    case GUMBO_TAG_TBODY:
    case GUMBO_TAG_TFOOT:
    case GUMBO_TAG_THEAD:
    case GUMBO_TAG_TR:
    case GUMBO_TAG_UL:
        return SPECIAL;
    default:
        return ORDINARY;
    }
}

static bool is_special(const struct open_element *element)
{
    return element->group == SPECIAL || element->group == SCOPE;
}

/* ---- elements within the depth ---- */

static size_t above_count(const struct guard *guard)
{
    return guard->above->len / sizeof(uint16_t);
}

static void close_above(struct guard *guard)
{
    const uint16_t *names = (const uint16_t *)(const void *)guard->above->data;
    for (size_t i = above_count(guard); i > 0; i--)
        guard->above_counts[names[i - 1]]--;
    buf_clear(guard->above);
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
        return element->group == SCOPE || element->tag == GUMBO_TAG_BUTTON;
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
        if (guard->depth > 0 && guard->open[guard->depth - 1].tag == tag)
            close_down_to(guard, guard->depth - 1);
        return;
    case GUMBO_TAG_TD:
        guard->formats = 0; /* a cell begins with none */
        close_nearest(guard, family, AT_TABLE);
        return;
    case GUMBO_TAG_TR:
    case GUMBO_TAG_TBODY:
        close_nearest(guard, family, AT_TABLE);
        return;
    default:
        break;
    }
    if (group == SPECIAL || tag == GUMBO_TAG_TABLE)
        close_nearest(guard, GUMBO_TAG_P, AT_SCOPE);
}

/* False when the element is one too many. */
static bool open_element(struct guard *guard, GumboTag tag, uint16_t name, enum group group)
{
    if (group == FORMATTING && ++guard->formats > FORMATS_MAX)
        return false;
    close_implied(guard, tag, group);
    if (guard->depth < HTML_DEPTH_MAX) {
        guard->open[guard->depth++] = (struct open_element){tag, name, (uint8_t)group};
        return true;
    }
    if (guard->above_counts == NULL)
        guard->above_counts = arena_zalloc(&guard->html->arena, NAMES * sizeof *guard->above_counts);
    if (guard->above_counts != NULL) {
        buf_add(guard->above, &name, sizeof name);
        guard->above_counts[name] += guard->above->failed ? 0 : 1;
    } else {
        guard->above->failed = guard->above->out_of_memory = true;
    }
    return false;
}

/* False when the end tag belongs to an element that was one too many. */
static bool close_element(struct guard *guard, uint16_t name, enum group group)
{
    if (group == FORMATTING && guard->formats > 0)
        guard->formats--;
    if (guard->above_counts != NULL && guard->above_counts[name] > 0) {
        const uint16_t *names = (const uint16_t *)(const void *)guard->above->data;
        uint16_t last;
        do {
            last = names[above_count(guard) - 1];
            guard->above_counts[last]--;
            guard->above->len -= sizeof last;
        } while (last != name);
        return false;
    }
    bool past_special = false;
    for (size_t at = guard->depth; at > 0; at--) {
        const struct open_element *element = &guard->open[at - 1];
        if (element->name == name) {
            if (past_special && group == FORMATTING) {
                memmove(&guard->open[at - 1], &guard->open[at], (guard->depth - at) * sizeof *element);
                guard->depth--;
            } else {
                close_down_to(guard, at - 1);
            }
            return true;
        }
        past_special = past_special || is_special(element);
        if (past_special && group == ORDINARY)
            return true;
        if (group == SPECIAL && element->group == SCOPE && element->tag != GUMBO_TAG_TD &&
            element->tag != GUMBO_TAG_TH && element->tag != GUMBO_TAG_CAPTION)
            return true;
    }
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

/* Whether the text is read as SVG or MathML, where "/>" ends an element and no content is raw. */
static bool in_foreign(const struct guard *guard)
{
    for (size_t at = guard->depth; at > 0; at--) {
        GumboTag tag = guard->open[at - 1].tag;
        if (tag == GUMBO_TAG_SVG || tag == GUMBO_TAG_MATH)
            return true;
        if (tag == GUMBO_TAG_FOREIGNOBJECT || guard->open[at - 1].group == SPECIAL)
            return false;
    }
    return false;
}

/* Handles the tag whose "<" is at start and whose name begins at name. Returns where to go on. */
static size_t pass_tag(struct guard *guard, size_t start, size_t name, bool is_end)
{
    const char *text = guard->text;
    size_t behind = name;
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (; behind < guard->len && !is_space_or_slash(text[behind]) && text[behind] != '>'; behind++)
        hash =
            (hash ^ (unsigned char)(is_letter(text[behind]) ? text[behind] | 32 : text[behind])) * 16777619U;
    uint16_t short_hash = (uint16_t)(hash ^ hash >> 16);
    GumboTag tag = gumbo_tagn_enum(text + name, (unsigned)(behind - name));
    enum group group = group_of(tag);
    size_t attributes;
    bool self_closing;
    size_t end = skip_attributes(guard, behind, &attributes, &self_closing);
    ticker_spend(&guard->html->ticker, end - start);
    bool keep = attributes <= ATTRIBUTES_MAX && group != DROPPED;
    if (keep && is_end) {
        keep = close_element(guard, short_hash, group);
    } else if (keep && group == ONCE) {
        bool *seen = tag == GUMBO_TAG_BODY ? &guard->seen_body : &guard->seen_html;
        keep = !*seen;
        *seen = true;
    } else if (keep && group != VOID) {
        bool foreign = in_foreign(guard);
        if (group == RAW && !foreign) {
            if (tag == GUMBO_TAG_PLAINTEXT)
                return guard->len;
            return skip_past(guard, skip_raw(guard, end, text + name, behind - name), ">");
        }
        if (!(foreign && self_closing))
            keep = open_element(guard, tag, short_hash, group == RAW ? ORDINARY : group);
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
                   in_foreign(guard)) {
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
