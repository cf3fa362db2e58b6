/* Unicode text over utf8proc. Must not let utf8proc allocate, nor sort marks: its sort takes quadratic time
 * on long runs of them. */
#include "base/unicode.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define EXPANSION_MAX 18 /* code points that one becomes at most (U+FDFA) */

/* The next character; a byte that starts none is U+FFFD. The text is not at its end. */
static size_t next_char(const char *text, size_t len, uint32_t *code_point)
{
    size_t size = text_next_char(text, len, code_point);
    if (size > 0)
        return size;
    *code_point = 0xFFFD;
    return 1;
}

void unicode_add(struct buf *out, uint32_t code_point)
{
    if (code_point < 0x80) {
        buf_addc(out, (char)code_point);
        return;
    }
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t size = utf8proc_encode_char((utf8proc_int32_t)code_point, bytes);
    buf_add(out, bytes, (size_t)size);
}

static const utf8proc_property_t *property_of(uint32_t code_point)
{
    return utf8proc_get_property((utf8proc_int32_t)code_point);
}

/* ---- other encodings ---- */

/* 0x80 to 0x9F in windows-1252. */
static const uint16_t windows_1252[32] = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178,
};

uint32_t unicode_of_windows_1252(unsigned char byte)
{
    return byte >= 0x80 && byte < 0xA0 ? windows_1252[byte - 0x80] : byte;
}

struct replacement {
    const char *text;
    size_t len;
};

/* Length of the ill-formed part that a decoder replaces as one: the longest start of a character, or a byte.
 */
static size_t ill_formed_len(const unsigned char *bytes, size_t len)
{
    unsigned char lead = bytes[0];
    if (lead < 0xC2 || lead > 0xF4)
        return 1;
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    size_t at = 1;
    while (at < size && at < len && bytes[at] >= low && bytes[at] <= high) {
        low = 0x80;
        high = 0xBF;
        at++;
    }
    return at;
}

static void add_utf8(struct buf *out, const char *text, size_t len, struct replacement replacement,
                     struct ticker *ticker)
{
    while (len > 0 && !out->failed) {
        size_t piece = len < TICKER_STEPS ? len : TICKER_STEPS, good = piece;
        if (!text_is_utf8(text, piece, &good) && good == 0) {
            /* Looked at with all that follows: a piece's end must not look like the end of the text. */
            uint32_t code_point;
            size_t size = text_next_char(text, len, &code_point);
            if (size > 0) {
                buf_add(out, text, size);
            } else {
                size = ill_formed_len((const unsigned char *)text, len);
                buf_add(out, replacement.text, replacement.len);
            }
            good = size;
        } else {
            buf_add(out, text, good);
        }
        ticker_spend(ticker, good);
        text += good;
        len -= good;
    }
}

static uint32_t unit_at(const unsigned char *bytes, size_t at, bool big_endian)
{
    return big_endian ? (uint32_t)bytes[at] << 8 | bytes[at + 1] : (uint32_t)bytes[at + 1] << 8 | bytes[at];
}

static void add_utf16(struct buf *out, const unsigned char *bytes, size_t len, bool big_endian,
                      struct replacement replacement, struct ticker *ticker)
{
    size_t at = 0;
    if (len >= 2 && unit_at(bytes, 0, big_endian) == 0xFEFF)
        at = 2;
    while (len - at >= 2 && !out->failed) {
        ticker_spend(ticker, 2);
        uint32_t unit = unit_at(bytes, at, big_endian);
        at += 2;
        if (unit < 0xD800 || unit > 0xDFFF) {
            unicode_add(out, unit);
            continue;
        }
        uint32_t low = unit < 0xDC00 && len - at >= 2 ? unit_at(bytes, at, big_endian) : 0;
        if (low >= 0xDC00 && low <= 0xDFFF) {
            at += 2;
            unicode_add(out, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        } else {
            buf_add(out, replacement.text, replacement.len);
        }
    }
    if (at < len)
        buf_add(out, replacement.text, replacement.len);
}

static void add_single_bytes(struct buf *out, const unsigned char *bytes, size_t len, bool windows,
                             struct ticker *ticker)
{
    for (size_t at = 0; at < len && !out->failed; at++) {
        ticker_spend(ticker, 1);
        unicode_add(out, windows ? unicode_of_windows_1252(bytes[at]) : bytes[at]);
    }
}

void unicode_to_utf8(struct buf *out, enum unicode_encoding encoding, const char *bytes, size_t len,
                     const char *replacement, size_t replacement_len, struct ticker *ticker)
{
    const struct replacement instead = {replacement, replacement_len};
    switch (encoding) {
    case UNICODE_UTF8:
        if (len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
            bytes += 3;
            len -= 3;
        }
        add_utf8(out, bytes, len, instead, ticker);
        break;
    case UNICODE_UTF16LE:
    case UNICODE_UTF16BE:
        add_utf16(out, (const unsigned char *)bytes, len, encoding == UNICODE_UTF16BE, instead, ticker);
        break;
    case UNICODE_LATIN1:
    case UNICODE_WINDOWS_1252:
        add_single_bytes(out, (const unsigned char *)bytes, len, encoding == UNICODE_WINDOWS_1252, ticker);
        break;
    }
}

/* ---- counting and cutting ---- */

/* Length in bytes of the first cluster. */
static size_t cluster_len(const char *text, size_t len, struct ticker *ticker)
{
    uint32_t last;
    utf8proc_int32_t state = 0;
    size_t at = next_char(text, len, &last);
    while (at < len) {
        uint32_t next;
        size_t size = next_char(text + at, len - at, &next);
        ticker_spend(ticker, 8);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)last, (utf8proc_int32_t)next, &state))
            break;
        at += size;
        last = next;
    }
    return at;
}

static size_t unit_len(const char *text, size_t len, enum unicode_unit unit, struct ticker *ticker)
{
    uint32_t ignored;
    ticker_spend(ticker, 1);
    return unit == UNICODE_GRAPHEMES ? cluster_len(text, len, ticker) : next_char(text, len, &ignored);
}

size_t unicode_prefix(const char *text, size_t len, enum unicode_unit unit, size_t count,
                      struct ticker *ticker)
{
    if (count >= len)
        return len;
    if (unit == UNICODE_BYTES) {
        while (count > 0 && ((unsigned char)text[count] & 0xC0) == 0x80)
            count--;
        return count;
    }
    size_t at = 0;
    for (; count > 0 && at < len; count--)
        at += unit_len(text + at, len - at, unit, ticker);
    return at;
}

size_t unicode_count(const char *text, size_t len, enum unicode_unit unit, struct ticker *ticker)
{
    if (unit == UNICODE_BYTES)
        return len;
    size_t count = 0, at = 0;
    while (at < len) {
        if (unit == UNICODE_GRAPHEMES) {
            at += cluster_len(text + at, len - at, ticker);
            count++;
        } else { /* each character has one byte that is no continuation */
            size_t end = len - at < TICKER_STEPS ? len : at + TICKER_STEPS;
            ticker_spend(ticker, end - at);
            for (; at < end; at++)
                count += ((unsigned char)text[at] & 0xC0) != 0x80;
        }
    }
    return count;
}

/* ---- normal forms and folding ---- */

static unsigned combining_class(int32_t code_point)
{
    return (unsigned)utf8proc_get_property(code_point)->combining_class;
}

/* Whether what comes before and what starts here are mapped alike, together or apart. May say no too often.
 */
static bool is_boundary(uint32_t code_point)
{
    if (code_point < 0x80)
        return true;
    if (code_point >= 0x1100 && code_point <= 0x11FF) /* conjoining jamo, composed by rule */
        return false;
    const utf8proc_property_t *property = property_of(code_point);
    bool composes_backward = property->comb_index >= 0x8000 && property->comb_index != UINT16_MAX;
    return property->combining_class == 0 && property->decomp_seqindex == UINT16_MAX &&
           property->casefold_seqindex == UINT16_MAX && !composes_backward;
}

/* Puts each run of marks into the order of their classes and keeps equal ones as they are (Unicode 15.0
 * section 3.11, D109). Linear: short runs by insertion, long ones by counting into spare. */
static void order_run(int32_t *run, size_t len, int32_t *spare)
{
    if (len <= 16) {
        for (size_t i = 1; i < len; i++) {
            int32_t mark = run[i];
            unsigned class = combining_class(mark);
            size_t to = i;
            for (; to > 0 && combining_class(run[to - 1]) > class; to--)
                run[to] = run[to - 1];
            run[to] = mark;
        }
        return;
    }
    size_t start[257] = {0};
    for (size_t i = 0; i < len; i++)
        start[combining_class(run[i]) + 1]++;
    for (size_t class = 1; class < 257; class ++)
        start[class] += start[class - 1];
    for (size_t i = 0; i < len; i++)
        spare[start[combining_class(run[i])]++] = run[i];
    memcpy(run, spare, len * sizeof *run);
}

static void order_marks(int32_t *points, size_t count, int32_t *spare)
{
    for (size_t at = 0; at < count; at++) {
        size_t start = at;
        while (at < count && combining_class(points[at]) != 0)
            at++;
        if (at - start > 1)
            order_run(points + start, at - start, spare);
    }
}

struct mapper {
    struct buf *out;
    struct buf *points; /* decomposed code points since the last boundary, as int32_t */
    unsigned map;
    struct ticker *ticker;
};

#define JUNGSEONG_O_YAE 0x11A7

/* Returns the new count. utf8proc 2.8 takes U+11A7, a vowel, for a final consonant that is not there, and
 * drops it; since it composes with nothing before it, it may as well begin a text. */
static size_t compose(int32_t *points, size_t count)
{
    size_t to = 0;
    for (size_t at = 0, end; at < count; at = end) {
        for (end = at + 1; end < count && points[end] != JUNGSEONG_O_YAE;)
            end++;
        memmove(points + to, points + at, (end - at) * sizeof *points);
        to += (size_t)utf8proc_normalize_utf32(points + to, (utf8proc_ssize_t)(end - at),
                                               UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    }
    return to;
}

static void flush(struct mapper *mapper)
{
    struct buf *points = mapper->points;
    size_t count = points->len / sizeof(int32_t);
    ticker_spend(mapper->ticker, count * 16);
    if (buf_reserve(points, points->len) == NULL) { /* as much again, to sort into */
        mapper->out->failed = true;
        mapper->out->out_of_memory = points->out_of_memory;
        return;
    }
    int32_t *point = (int32_t *)(void *)points->data;
    order_marks(point, count, point + count);
    if (mapper->map & UNICODE_COMPOSE)
        count = compose(point, count);
    for (size_t i = 0; i < count; i++)
        unicode_add(mapper->out, (uint32_t)point[i]);
    buf_clear(points);
}

static bool is_mark(int32_t code_point)
{
    utf8proc_propval_t category = utf8proc_get_property(code_point)->category;
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
}

static void add_decomposed(struct mapper *mapper, uint32_t code_point)
{
    utf8proc_int32_t decomposed[EXPANSION_MAX];
    int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    options |= mapper->map & UNICODE_COMPATIBLE ? UTF8PROC_COMPAT : 0;
    options |= mapper->map & UNICODE_FOLD ? UTF8PROC_CASEFOLD : 0;
    int bound_class = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char((utf8proc_int32_t)code_point, decomposed, EXPANSION_MAX,
                                                     (utf8proc_option_t)options, &bound_class);
    if (count < 0 || count > EXPANSION_MAX) { /* cannot be */
        decomposed[0] = 0xFFFD;
        count = 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        if (!(mapper->map & UNICODE_STRIP_MARKS) || !is_mark(decomposed[i]))
            buf_add(mapper->points, &decomposed[i], sizeof decomposed[i]);
    }
    if (mapper->points->failed) {
        mapper->out->failed = true;
        mapper->out->out_of_memory = mapper->points->out_of_memory;
    }
}

#define CHUNK_POINTS 256 /* so that a flush is worth its calls */

void unicode_map(struct buf *out, struct buf *scratch, unsigned map, const char *text, size_t len,
                 struct ticker *ticker)
{
    struct mapper mapper = {out, scratch, map, ticker};
    buf_clear(scratch);
    for (size_t at = 0; at < len && !out->failed;) {
        uint32_t code_point;
        size_t size = next_char(text + at, len - at, &code_point);
        bool ascii = code_point < 0x80;
        /* The last of a run of ASCII characters may compose with what follows; those before it do not. */
        if (ascii && (at + 1 == len || (unsigned char)text[at + 1] < 0x80)) {
            if (scratch->len > 0)
                flush(&mapper);
            bool fold = (map & UNICODE_FOLD) && code_point >= 'A' && code_point <= 'Z';
            buf_addc(out, (char)(fold ? code_point - 'A' + 'a' : code_point));
            ticker_spend(ticker, 1);
        } else {
            if (scratch->len >= CHUNK_POINTS * sizeof(int32_t) && is_boundary(code_point))
                flush(&mapper);
            add_decomposed(&mapper, code_point);
            ticker_spend(ticker, 8);
        }
        at += size;
    }
    if (!out->failed && scratch->len > 0)
        flush(&mapper);
}

void unicode_fold(struct buf *out, struct buf *middle, struct buf *scratch, const char *text, size_t len,
                  struct ticker *ticker)
{
    /* In order before folding, because one mark becomes a letter (U+0345). */
    buf_clear(middle);
    unicode_map(middle, scratch, 0, text, len, ticker);
    if (middle->failed) {
        out->failed = true;
        out->out_of_memory = middle->out_of_memory;
        return;
    }
    unicode_map(out, scratch, UNICODE_FOLD | UNICODE_COMPOSE, buf_text(middle), middle->len, ticker);
}

/* ---- letter case ---- */

struct special_case {
    uint16_t code_point;
    uint16_t upper[3];
};

/* SpecialCasing.txt of Unicode 15.0, the unconditional mappings to upper case that are more than one
 * character; U+1F80 to U+1FAF are computed. */
static const struct special_case special_upper[] = {
    {0x00DF, {0x53, 0x53}},          {0x0149, {0x2BC, 0x4E}},         {0x01F0, {0x4A, 0x30C}},
    {0x0390, {0x399, 0x308, 0x301}}, {0x03B0, {0x3A5, 0x308, 0x301}}, {0x0587, {0x535, 0x552}},
    {0x1E96, {0x48, 0x331}},         {0x1E97, {0x54, 0x308}},         {0x1E98, {0x57, 0x30A}},
    {0x1E99, {0x59, 0x30A}},         {0x1E9A, {0x41, 0x2BE}},         {0x1F50, {0x3A5, 0x313}},
    {0x1F52, {0x3A5, 0x313, 0x300}}, {0x1F54, {0x3A5, 0x313, 0x301}}, {0x1F56, {0x3A5, 0x313, 0x342}},
    {0x1FB2, {0x1FBA, 0x399}},       {0x1FB3, {0x391, 0x399}},        {0x1FB4, {0x386, 0x399}},
    {0x1FB6, {0x391, 0x342}},        {0x1FB7, {0x391, 0x342, 0x399}}, {0x1FBC, {0x391, 0x399}},
    {0x1FC2, {0x1FCA, 0x399}},       {0x1FC3, {0x397, 0x399}},        {0x1FC4, {0x389, 0x399}},
    {0x1FC6, {0x397, 0x342}},        {0x1FC7, {0x397, 0x342, 0x399}}, {0x1FCC, {0x397, 0x399}},
    {0x1FD2, {0x399, 0x308, 0x300}}, {0x1FD3, {0x399, 0x308, 0x301}}, {0x1FD6, {0x399, 0x342}},
    {0x1FD7, {0x399, 0x308, 0x342}}, {0x1FE2, {0x3A5, 0x308, 0x300}}, {0x1FE3, {0x3A5, 0x308, 0x301}},
    {0x1FE4, {0x3A1, 0x313}},        {0x1FE6, {0x3A5, 0x342}},        {0x1FE7, {0x3A5, 0x308, 0x342}},
    {0x1FF2, {0x1FFA, 0x399}},       {0x1FF3, {0x3A9, 0x399}},        {0x1FF4, {0x38F, 0x399}},
    {0x1FF6, {0x3A9, 0x342}},        {0x1FF7, {0x3A9, 0x342, 0x399}}, {0x1FFC, {0x3A9, 0x399}},
    {0xFB00, {0x46, 0x46}},          {0xFB01, {0x46, 0x49}},          {0xFB02, {0x46, 0x4C}},
    {0xFB03, {0x46, 0x46, 0x49}},    {0xFB04, {0x46, 0x46, 0x4C}},    {0xFB05, {0x53, 0x54}},
    {0xFB06, {0x53, 0x54}},          {0xFB13, {0x544, 0x546}},        {0xFB14, {0x544, 0x535}},
    {0xFB15, {0x544, 0x53B}},        {0xFB16, {0x54E, 0x546}},        {0xFB17, {0x544, 0x53D}},
};

static int compare_special(const void *key, const void *entry)
{
    uint32_t code_point = *(const uint32_t *)key;
    uint32_t other = ((const struct special_case *)entry)->code_point;
    return code_point < other ? -1 : code_point > other;
}

static void add_upper(struct buf *out, uint32_t code_point)
{
    if (code_point >= 0x1F80 && code_point <= 0x1FAF) { /* Greek with iota below, which becomes a letter */
        static const uint16_t capitals[] = {0x1F08, 0x1F28, 0x1F68};
        unicode_add(out, capitals[(code_point - 0x1F80) / 16] + (code_point & 7));
        unicode_add(out, 0x399);
        return;
    }
    const struct special_case *special =
        bsearch(&code_point, special_upper, sizeof special_upper / sizeof special_upper[0],
                sizeof special_upper[0], compare_special);
    if (special == NULL) {
        unicode_add(out, (uint32_t)utf8proc_toupper((utf8proc_int32_t)code_point));
        return;
    }
    for (size_t i = 0; i < 3 && special->upper[i] != 0; i++)
        unicode_add(out, special->upper[i]);
}

void unicode_upper(struct buf *out, const char *text, size_t len, struct ticker *ticker)
{
    for (size_t at = 0; at < len && !out->failed;) {
        uint32_t code_point;
        at += next_char(text + at, len - at, &code_point);
        if (code_point < 0x80)
            buf_addc(out, (char)(code_point >= 'a' && code_point <= 'z' ? code_point - 32 : code_point));
        else
            add_upper(out, code_point);
        ticker_spend(ticker, 4);
    }
}

static bool is_cased(uint32_t code_point)
{
    utf8proc_int32_t point = (utf8proc_int32_t)code_point;
    utf8proc_propval_t category = property_of(code_point)->category;
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT || utf8proc_tolower(point) != point ||
           utf8proc_toupper(point) != point || code_point == 0xAA || code_point == 0xBA;
}

/* Unicode 15.0 section 3.13, D136: modifiers, marks, formats, and the punctuation that stands within words.
 */
static bool is_case_ignorable(uint32_t code_point)
{
    static const uint16_t within_words[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,
                                            0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                            0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof within_words / sizeof within_words[0]; i++) {
        if (code_point == within_words[i])
            return true;
    }
    utf8proc_propval_t category = property_of(code_point)->category;
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
           category == UTF8PROC_CATEGORY_SK;
}

/* Whether a cased letter follows, over what does not count. */
static bool cased_follows(const char *text, size_t len, struct ticker *ticker)
{
    for (size_t at = 0; at < len;) {
        uint32_t code_point;
        at += next_char(text + at, len - at, &code_point);
        ticker_spend(ticker, 4);
        if (!is_case_ignorable(code_point))
            return is_cased(code_point);
    }
    return false;
}

void unicode_lower(struct buf *out, const char *text, size_t len, struct ticker *ticker)
{
    bool after_cased = false; /* a cased letter stands before, over what does not count */
    for (size_t at = 0; at < len && !out->failed;) {
        uint32_t code_point;
        at += next_char(text + at, len - at, &code_point);
        ticker_spend(ticker, 4);
        if (code_point < 0x80) {
            buf_addc(out, (char)(code_point >= 'A' && code_point <= 'Z' ? code_point + 32 : code_point));
        } else if (code_point == 0x3A3) { /* SpecialCasing.txt, Final_Sigma */
            bool is_final = after_cased && !cased_follows(text + at, len - at, ticker);
            unicode_add(out, is_final ? 0x3C2 : 0x3C3);
        } else if (code_point == 0x130) {
            unicode_add(out, 'i');
            unicode_add(out, 0x307);
        } else {
            unicode_add(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code_point));
        }
        if (!is_case_ignorable(code_point))
            after_cased = is_cased(code_point);
    }
}

/* ---- classes ---- */

enum unicode_class unicode_class_of(uint32_t code_point)
{
    if (code_point < 0x80) {
        if (code_point == ' ' || (code_point >= '\t' && code_point <= '\r'))
            return UNICODE_SPACE;
        if (code_point < 0x20 || code_point == 0x7F)
            return UNICODE_OTHER;
        bool letter = (code_point | 32) >= 'a' && (code_point | 32) <= 'z';
        return letter || (code_point >= '0' && code_point <= '9') ? UNICODE_WORD : UNICODE_PUNCTUATION;
    }
    utf8proc_propval_t category = property_of(code_point)->category;
    if (code_point == 0x85 || (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP))
        return UNICODE_SPACE;
    if (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO)
        return UNICODE_PUNCTUATION;
    if (category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO)
        return UNICODE_SYMBOL;
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO)
        return UNICODE_WORD;
    return UNICODE_OTHER;
}

size_t unicode_trim(const char *text, size_t len, size_t *trimmed_len, struct ticker *ticker)
{
    size_t start = 0;
    uint32_t code_point;
    while (start < len) {
        size_t size = next_char(text + start, len - start, &code_point);
        if (unicode_class_of(code_point) != UNICODE_SPACE)
            break;
        ticker_spend(ticker, 4);
        start += size;
    }
    size_t end = len;
    while (end > start) {
        size_t last = end - 1;
        while (last > start && ((unsigned char)text[last] & 0xC0) == 0x80)
            last--;
        if (next_char(text + last, end - last, &code_point) != end - last ||
            unicode_class_of(code_point) != UNICODE_SPACE)
            break;
        ticker_spend(ticker, 4);
        end = last;
    }
    *trimmed_len = end - start;
    return start;
}
