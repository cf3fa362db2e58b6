/* UTF-8 text utilities. Must not depend on the locale, and must accept any bytes. */
#include "base/text.h"

#include <string.h>

struct range {
    uint32_t first;
    uint32_t last;
};

/* Characters that take no column: combining marks, joiners, variation selectors (Unicode categories Mn, Me,
 * Cf). */
static const struct range zero_width[] = {
    {0x0300, 0x036F},   {0x0483, 0x0489},   {0x0591, 0x05BD},   {0x05BF, 0x05BF}, {0x05C1, 0x05C2},
    {0x05C4, 0x05C5},   {0x05C7, 0x05C7},   {0x0610, 0x061A},   {0x064B, 0x065F}, {0x0670, 0x0670},
    {0x06D6, 0x06DC},   {0x06DF, 0x06E4},   {0x06E7, 0x06E8},   {0x06EA, 0x06ED}, {0x0711, 0x0711},
    {0x0730, 0x074A},   {0x07A6, 0x07B0},   {0x07EB, 0x07F3},   {0x0816, 0x082D}, {0x0859, 0x085B},
    {0x08D3, 0x0902},   {0x093A, 0x093A},   {0x093C, 0x093C},   {0x0941, 0x0948}, {0x094D, 0x094D},
    {0x0951, 0x0957},   {0x0962, 0x0963},   {0x0981, 0x0981},   {0x09BC, 0x09BC}, {0x09C1, 0x09C4},
    {0x09CD, 0x09CD},   {0x0A01, 0x0A02},   {0x0A3C, 0x0A3C},   {0x0A41, 0x0A51}, {0x0A70, 0x0A71},
    {0x0A81, 0x0A82},   {0x0ABC, 0x0ABC},   {0x0AC1, 0x0AC8},   {0x0ACD, 0x0ACD}, {0x0B3C, 0x0B3C},
    {0x0B41, 0x0B44},   {0x0B4D, 0x0B4D},   {0x0BC0, 0x0BC0},   {0x0BCD, 0x0BCD}, {0x0C3E, 0x0C40},
    {0x0C46, 0x0C56},   {0x0CBC, 0x0CBC},   {0x0CCC, 0x0CCD},   {0x0D41, 0x0D44}, {0x0D4D, 0x0D4D},
    {0x0DCA, 0x0DCA},   {0x0DD2, 0x0DD6},   {0x0E31, 0x0E31},   {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E},
    {0x0EB1, 0x0EB1},   {0x0EB4, 0x0EBC},   {0x0EC8, 0x0ECD},   {0x0F18, 0x0F19}, {0x0F35, 0x0F35},
    {0x0F37, 0x0F37},   {0x0F39, 0x0F39},   {0x0F71, 0x0F7E},   {0x0F80, 0x0F84}, {0x0F86, 0x0F87},
    {0x0F8D, 0x0FBC},   {0x102D, 0x1030},   {0x1032, 0x1037},   {0x1039, 0x103A}, {0x103D, 0x103E},
    {0x1160, 0x11FF},   {0x135D, 0x135F},   {0x1712, 0x1714},   {0x1732, 0x1734}, {0x17B4, 0x17B5},
    {0x17B7, 0x17BD},   {0x17C6, 0x17C6},   {0x17C9, 0x17D3},   {0x180B, 0x180E}, {0x1920, 0x1922},
    {0x1A17, 0x1A18},   {0x1AB0, 0x1AFF},   {0x1B00, 0x1B03},   {0x1B34, 0x1B34}, {0x1DC0, 0x1DFF},
    {0x200B, 0x200F},   {0x202A, 0x202E},   {0x2060, 0x2064},   {0x20D0, 0x20F0}, {0x2CEF, 0x2CF1},
    {0x2DE0, 0x2DFF},   {0x302A, 0x302D},   {0x3099, 0x309A},   {0xA66F, 0xA672}, {0xA674, 0xA67D},
    {0xA69E, 0xA69F},   {0xA6F0, 0xA6F1},   {0xA8C4, 0xA8C5},   {0xA8E0, 0xA8F1}, {0xFB1E, 0xFB1E},
    {0xFE00, 0xFE0F},   {0xFE20, 0xFE2F},   {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB}, {0x1D167, 0x1D169},
    {0x1F3FB, 0x1F3FF}, {0xE0001, 0xE007F}, {0xE0100, 0xE01EF},
};

/* Characters that take two columns: East Asian wide and full-width forms, and emoji shown as pictures. */
static const struct range wide[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},   {0x23F0, 0x23F0},
    {0x23F3, 0x23F3},   {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x267F, 0x267F},
    {0x2693, 0x2693},   {0x26A1, 0x26A1},   {0x26AA, 0x26AB},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},
    {0x26CE, 0x26CE},   {0x26D4, 0x26D4},   {0x26EA, 0x26EA},   {0x26F2, 0x26F3},   {0x26F5, 0x26F5},
    {0x26FA, 0x26FA},   {0x26FD, 0x26FD},   {0x2705, 0x2705},   {0x270A, 0x270B},   {0x2728, 0x2728},
    {0x274C, 0x274C},   {0x274E, 0x274E},   {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},
    {0x27B0, 0x27B0},   {0x27BF, 0x27BF},   {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2B55, 0x2B55},
    {0x2E80, 0x3029},   {0x302E, 0x303E},   {0x3041, 0x3098},   {0x309B, 0x33FF},   {0x3400, 0x4DBF},
    {0x4E00, 0xA4CF},   {0xA960, 0xA97C},   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE10, 0xFE19},
    {0xFE30, 0xFE6B},   {0xFF01, 0xFF60},   {0xFFE0, 0xFFE6},   {0x16FE0, 0x18AFF}, {0x1B000, 0x1B2FF},
    {0x1F004, 0x1F004}, {0x1F0CF, 0x1F0CF}, {0x1F18E, 0x1F18E}, {0x1F191, 0x1F19A}, {0x1F1E6, 0x1F1FF},
    {0x1F200, 0x1F320}, {0x1F32D, 0x1F335}, {0x1F337, 0x1F37C}, {0x1F37E, 0x1F393}, {0x1F3A0, 0x1F3CA},
    {0x1F3CF, 0x1F3D3}, {0x1F3E0, 0x1F3F0}, {0x1F3F4, 0x1F3F4}, {0x1F3F8, 0x1F3FA}, {0x1F400, 0x1F43E},
    {0x1F440, 0x1F440}, {0x1F442, 0x1F4FC}, {0x1F4FF, 0x1F53D}, {0x1F54B, 0x1F54E}, {0x1F550, 0x1F567},
    {0x1F57A, 0x1F57A}, {0x1F595, 0x1F596}, {0x1F5A4, 0x1F5A4}, {0x1F5FB, 0x1F64F}, {0x1F680, 0x1F6C5},
    {0x1F6CC, 0x1F6CC}, {0x1F6D0, 0x1F6D2}, {0x1F6D5, 0x1F6DF}, {0x1F6EB, 0x1F6EC}, {0x1F6F4, 0x1F6FC},
    {0x1F7E0, 0x1F7F0}, {0x1F90C, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x20000, 0x3FFFD},
};

/* Non-ASCII characters that no name should keep: punctuation, symbols, spaces, emoji, private use. */
static const struct range not_letters[] = {
    {0x0080, 0x00A9}, {0x00AB, 0x00B1},   {0x00B4, 0x00B4},   {0x00B6, 0x00B8},    {0x00BB, 0x00BF},
    {0x00D7, 0x00D7}, {0x00F7, 0x00F7},   {0x02C2, 0x02C5},   {0x02D2, 0x02DF},    {0x037E, 0x037E},
    {0x0387, 0x0387}, {0x055A, 0x055F},   {0x0589, 0x058F},   {0x05BE, 0x05BE},    {0x05C0, 0x05C0},
    {0x05C3, 0x05C3}, {0x05F3, 0x05F4},   {0x0600, 0x060F},   {0x061B, 0x061F},    {0x066A, 0x066D},
    {0x06D4, 0x06D4}, {0x0964, 0x0965},   {0x0E3F, 0x0E3F},   {0x1680, 0x1680},    {0x2000, 0x2070},
    {0x207A, 0x207E}, {0x208A, 0x208E},   {0x20A0, 0x20CF},   {0x2100, 0x2101},    {0x2103, 0x2106},
    {0x2108, 0x2109}, {0x2114, 0x2118},   {0x211E, 0x2123},   {0x2190, 0x245F},    {0x249C, 0x24E9},
    {0x2500, 0x2BFF}, {0x2E00, 0x2E7F},   {0x3000, 0x3004},   {0x3008, 0x3020},    {0x3030, 0x3030},
    {0x303D, 0x303F}, {0x30FB, 0x30FB},   {0xD800, 0xF8FF},   {0xFE00, 0xFE1F},    {0xFE30, 0xFE6F},
    {0xFEFF, 0xFEFF}, {0xFF00, 0xFF0F},   {0xFF1A, 0xFF20},   {0xFF3B, 0xFF40},    {0xFF5B, 0xFF65},
    {0xFFE0, 0xFFFF}, {0x1D100, 0x1D1FF}, {0x1F000, 0x1FAFF}, {0xE0000, 0x10FFFF},
};

#define IN_TABLE(table, code_point) in_ranges(table, sizeof(table) / sizeof(table)[0], code_point)

static bool in_ranges(const struct range *ranges, size_t count, uint32_t code_point)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code_point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && code_point >= ranges[low].first;
}

static bool is_upper(unsigned char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(unsigned char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

size_t text_next_char(const char *text, size_t len, uint32_t *code_point)
{
    if (len == 0)
        return 0;
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char lead = bytes[0];
    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    }
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || len < size)
        return 0;
    uint32_t value = lead & (0x7FU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3FU);
    }
    if ((size == 3 && value < 0x800) || (size == 4 && value < 0x10000) || value > 0x10FFFF ||
        (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *code_point = value;
    return size;
}

/* How many bytes from here are ASCII: by eights, and the last few one by one. */
static size_t ascii_run(const char *text, size_t len)
{
    size_t at = 0;
    uint64_t eight = 0;
    for (; len - at >= sizeof eight; at += sizeof eight) {
        memcpy(&eight, text + at, sizeof eight);
        if ((eight & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (at < len && (unsigned char)text[at] < 0x80)
        at++;
    return at;
}

bool text_is_ascii(const char *text, size_t len)
{
    return ascii_run(text, len) == len;
}

bool text_is_utf8(const char *text, size_t len, size_t *bad)
{
    size_t at = 0;
    while (at < len) {
        at += ascii_run(text + at, len - at);
        if (at == len)
            break;
        uint32_t code_point;
        size_t size = text_next_char(text + at, len - at, &code_point);
        if (size == 0) {
            if (bad != NULL)
                *bad = at;
            return false;
        }
        at += size;
    }
    return true;
}

size_t text_display_width(const char *text, size_t len)
{
    size_t columns = 0;
    size_t at = 0;
    while (at < len) {
        uint32_t code_point;
        size_t size = text_next_char(text + at, len - at, &code_point);
        if (size == 0) {
            columns++;
            at++;
            continue;
        }
        at += size;
        if (code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0) ||
            IN_TABLE(zero_width, code_point))
            continue;
        columns += IN_TABLE(wide, code_point) ? 2 : 1;
    }
    return columns;
}

#define NEAREST_MAX 64 /* bytes; nobody misspells longer option names */

static size_t smallest(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein in its restricted form (a swapped pair is not edited again), in three rows. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAREST_MAX + 1];
    size_t *before = rows[0];
    size_t *last = rows[1];
    size_t *row = rows[2];
    for (size_t j = 0; j <= b_len; j++) {
        before[j] = 0;
        last[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            size_t best = smallest(smallest(last[j], row[j - 1]) + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = smallest(best, before[j - 2] + 1);
            row[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

int text_nearest(const char *word, size_t len, const char *const candidates[], size_t count)
{
    if (len == 0 || len > NEAREST_MAX)
        return -1;
    size_t limit = len / 3 > 1 ? len / 3 : 1;
    size_t best = limit + 1;
    int found = -1;
    for (size_t i = 0; i < count; i++) {
        size_t candidate_len = strlen(candidates[i]);
        if (candidate_len > NEAREST_MAX)
            continue;
        size_t distance = edit_distance(word, len, candidates[i], candidate_len);
        if (distance < best) {
            best = distance;
            found = (int)i;
        }
    }
    return found;
}

/* Whether a new word starts at the capital at position at, whose predecessor belongs to the same name. */
static bool starts_word(const char *text, size_t len, size_t at)
{
    unsigned char previous = (unsigned char)text[at - 1];
    if (!is_upper(previous))
        return true;
    if (at + 1 >= len || !is_lower((unsigned char)text[at + 1]))
        return false;
    /* "URLs" is one word: a lone plural s does not make its capital a new word's first letter. */
    bool plural = text[at + 1] == 's' && (at + 2 >= len || !is_lower((unsigned char)text[at + 2]));
    return !plural;
}

void text_snake_case(const char *text, size_t len, struct buf *out)
{
    size_t start = out->len;
    bool gap = false;
    size_t at = 0;
    while (at < len) {
        uint32_t code_point;
        size_t size = text_next_char(text + at, len - at, &code_point);
        unsigned char c = (unsigned char)text[at];
        bool keep = size > 1 ? !IN_TABLE(not_letters, code_point)
                             : size == 1 && (is_upper(c) || is_lower(c) || is_digit(c));
        if (!keep) {
            gap = true;
            at += size > 0 ? size : 1;
            continue;
        }
        bool first = out->len == start;
        if (!first && (gap || (is_upper(c) && starts_word(text, len, at))))
            buf_addc(out, '_');
        gap = false;
        if (is_upper(c))
            buf_addc(out, (char)(c - 'A' + 'a'));
        else
            buf_add(out, text + at, size);
        at += size;
        if (out->failed)
            return;
    }
    if (out->len == start)
        buf_adds(out, "property");
}

bool text_glob_match(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX; /* position after the last '*' seen */
    size_t resume = 0;      /* where that star's run ends for now */
    while (t < len) {
        if (p < pattern_len && pattern[p] == '*') {
            star = ++p;
            resume = t;
        } else if (p < pattern_len && pattern[p] == text[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern_len && pattern[p] == '*')
        p++;
    return p == pattern_len;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* A whole number and a unit from the table, product at most max. False when the text is nothing of the sort.
 */
static bool parse_quantity(const char *text, size_t len, const struct unit *units, uint64_t max,
                           uint64_t *value)
{
    uint64_t number = 0;
    size_t at = 0;
    while (at < len && is_digit((unsigned char)text[at])) {
        uint64_t digit = (uint64_t)(text[at] - '0');
        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
        at++;
    }
    if (at == 0)
        return false;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        size_t unit_len = strlen(unit->name);
        if (unit_len != len - at || memcmp(unit->name, text + at, unit_len) != 0)
            continue;
        if (number > max / unit->factor)
            return false;
        *value = number * unit->factor;
        return true;
    }
    return false;
}

/* The text as it may appear in a message: short, and without control characters. */
static const char *printable(const char *text, size_t len, char out[static 48])
{
    size_t to = 0;
    for (size_t i = 0; i < len && to < 40; i++)
        out[to++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    if (len > 40)
        memcpy(out + to, "...", 3);
    out[len > 40 ? to + 3 : to] = '\0';
    return out;
}

enum err_code text_parse_size(const char *text, size_t len, uint64_t *bytes, struct err *err)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", 1ULL << 10},
        {"MiB", 1ULL << 20},
        {"GiB", 1ULL << 30},
        {"TiB", 1ULL << 40},
        {"kB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"TB", 1000000000000},
        {NULL, 0},
    };
    char shown[48];
    if (parse_quantity(text, len, units, INT64_MAX, bytes))
        return ERR_NONE;
    return err_set(err, ERR_INVALID,
                   "\"%s\" is not a size; write a whole number and a unit, such as 64KiB, 256MiB or 2GiB",
                   printable(text, len, shown));
}

enum err_code text_parse_duration(const char *text, size_t len, int64_t *milliseconds, struct err *err)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}, {NULL, 0},
    };
    char shown[48];
    uint64_t value;
    if (parse_quantity(text, len, units, INT64_MAX, &value)) {
        *milliseconds = (int64_t)value;
        return ERR_NONE;
    }
    return err_set(
        err, ERR_INVALID,
        "\"%s\" is not a duration; write a whole number and a unit, such as 500ms, 30s, 15m, 12h or 7d",
        printable(text, len, shown));
}

void text_make_plain(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t code_point = 0;
        size_t size = text_next_char(text + at, len - at, &code_point);
        if (size == 0 || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0))
            memset(text + at, ' ', size > 0 ? size : 1);
        at += size > 0 ? size : 1;
    }
}
