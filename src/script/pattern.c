/* Matching of Lua patterns by backtracking, in bounded slices of work.
 *
 * A pattern is read as it is matched, piece by piece; so, as in Lua, a fault in it is an error only once
 * matching gets that far. A piece is one character, class or set with the repetition that follows it. Work is
 * counted in the meter: one step a piece or character, and a share of the length for what costs its length.
 *
 * It must not hold memory outside the Lua state: anything here may raise, and callbacks may run any Lua code.
 */
#include "script/pattern.h"

#include <stdbool.h>
#include <string.h>
#include <lauxlib.h>

#include "script/safelib.h"

enum {
    MAX_CAPTURES = 32,
    MAX_DEPTH = 200, /* nested attempts, as in Lua; bounds the C stack */
    BYTES_PER_STEP = 16,
    CAPTURE_OPEN = -1,
    CAPTURE_POSITION = -2,
};

struct capture {
    const char *start;
    ptrdiff_t len; /* bytes, or one of CAPTURE_* */
};

struct matcher {
    struct meter meter;
    const char *text, *text_end;
    const char *pattern_end;
    int ncaptures;
    struct capture captures[MAX_CAPTURES];
};

/* A pattern that is to be tried at one position after another. When its first piece has to match a character,
 * positions where it does not are skipped without starting an attempt. */
struct search {
    const char *pattern; /* after the anchor */
    const char *head_end;
    bool anchored;
    bool prepared;
    bool has_head;
};

/* ---- characters ---- */

enum {
    UPPER = 1,
    LOWER = 2,
    DIGIT = 4,
    HEX = 8,
    SPACE = 16,
    CONTROL = 32,
    PUNCTUATION = 64,
    ZERO = 128,
    ALPHA = UPPER | LOWER,
};

static const unsigned char traits[256] = {
    [0] = CONTROL | ZERO,
    [1 ... 8] = CONTROL,
    ['\t' ... '\r'] = CONTROL | SPACE,
    [14 ... 31] = CONTROL,
    [' '] = SPACE,
    ['!' ... '/'] = PUNCTUATION,
    ['0' ... '9'] = DIGIT | HEX,
    [':' ... '@'] = PUNCTUATION,
    ['A' ... 'F'] = UPPER | HEX,
    ['G' ... 'Z'] = UPPER,
    ['[' ... '`'] = PUNCTUATION,
    ['a' ... 'f'] = LOWER | HEX,
    ['g' ... 'z'] = LOWER,
    ['{' ... '~'] = PUNCTUATION,
    [127] = CONTROL,
};

/* The traits that each class letter stands for. %z is an old name that Lua still takes. */
static const unsigned char class_traits[256] = {
    ['a'] = ALPHA,
    ['c'] = CONTROL,
    ['d'] = DIGIT,
    ['g'] = ALPHA | DIGIT | PUNCTUATION,
    ['l'] = LOWER,
    ['p'] = PUNCTUATION,
    ['s'] = SPACE,
    ['u'] = UPPER,
    ['w'] = ALPHA | DIGIT,
    ['x'] = HEX,
    ['z'] = ZERO,
    ['A'] = ALPHA,
    ['C'] = CONTROL,
    ['D'] = DIGIT,
    ['G'] = ALPHA | DIGIT | PUNCTUATION,
    ['L'] = LOWER,
    ['P'] = PUNCTUATION,
    ['S'] = SPACE,
    ['U'] = UPPER,
    ['W'] = ALPHA | DIGIT,
    ['X'] = HEX,
    ['Z'] = ZERO,
};

static inline unsigned char byte_at(const char *p)
{
    return (unsigned char)*p;
}

/* Is c in the class %letter? An upper-case letter means the complement; no letter at all means itself. */
static inline bool class_has(unsigned char letter, unsigned char c)
{
    unsigned char wanted = class_traits[letter];
    if (wanted == 0)
        return letter == c;
    return ((traits[c] & wanted) != 0) == ((traits[letter] & LOWER) != 0);
}

/* Is c in the set that starts with '[' at set and ends with ']' at last? */
static bool set_has(const char *set, const char *last, unsigned char c)
{
    const char *p = set + 1;
    bool inside = true;
    if (*p == '^') {
        inside = false;
        p++;
    }
    while (p < last) {
        if (*p == '%') {
            if (class_has(byte_at(p + 1), c))
                return inside;
            p += 2;
        } else if (p[1] == '-' && p + 2 < last) {
            if (byte_at(p) <= c && c <= byte_at(p + 2))
                return inside;
            p += 3;
        } else {
            if (byte_at(p) == c)
                return inside;
            p++;
        }
    }
    return !inside;
}

/* ---- pieces ---- */

/* Where the single-character part of the piece at p ends, which is where its repetition mark would be. */
static const char *piece_end(struct matcher *m, const char *p)
{
    if (*p == '%') {
        if (p + 1 == m->pattern_end)
            luaL_error(m->meter.L, "malformed pattern (ends with '%%')");
        return p + 2;
    }
    if (*p != '[')
        return p + 1;
    const char *q = p + 1;
    if (*q == '^')
        q++;
    /* The first character of a set is a member even if it is ']'. Patterns end in a zero byte, which stops
     * both tests of *q at the end. */
    do {
        if (q == m->pattern_end)
            luaL_error(m->meter.L, "malformed pattern (missing ']')");
        if (*q++ == '%' && q < m->pattern_end)
            q++;
    } while (*q != ']' || q == m->pattern_end);
    meter_spend(&m->meter, (size_t)(q - p) / BYTES_PER_STEP);
    return q + 1;
}

static inline bool piece_has(const char *p, const char *end, unsigned char c)
{
    switch (*p) {
    case '.':
        return true;
    case '%':
        return class_has(byte_at(p + 1), c);
    case '[':
        return set_has(p, end - 1, c);
    default:
        return byte_at(p) == c;
    }
}

/* What it costs to hold one character against the piece. */
static inline size_t piece_cost(const char *p, const char *end)
{
    return 1 + (size_t)(end - p) / BYTES_PER_STEP;
}

/* The first position from s on whose character is in the piece (wanted) or is not (!wanted); the text's end
 * if there is none. */
static inline const char *scan(struct matcher *m, const char *s, const char *p, const char *end, bool wanted)
{
    size_t cost = piece_cost(p, end);
    ptrdiff_t slice = (ptrdiff_t)(METER_STEPS / cost) + 1;
    while (s < m->text_end) {
        const char *from = s;
        const char *stop = m->text_end - s > slice ? s + slice : m->text_end;
        switch (*p) {
        case '.':
            s = wanted ? s : stop;
            break;
        case '%': {
            unsigned char letter = byte_at(p + 1), mask = class_traits[letter];
            if (mask == 0) {
                while (s < stop && (byte_at(s) == letter) != wanted)
                    s++;
            } else {
                bool sought = wanted == ((traits[letter] & LOWER) != 0);
                while (s < stop && ((traits[byte_at(s)] & mask) != 0) != sought)
                    s++;
            }
            break;
        }
        case '[':
            while (s < stop && set_has(p, end - 1, byte_at(s)) != wanted)
                s++;
            break;
        default:
            if (wanted) {
                const char *found = memchr(s, *p, (size_t)(stop - s));
                s = found != NULL ? found : stop;
            } else {
                while (s < stop && *s == *p)
                    s++;
            }
        }
        meter_spend(&m->meter, (size_t)(s - from) * cost);
        if (s < stop)
            return s;
    }
    return s;
}

/* ---- matching ---- */

static const char *match_here(struct matcher *m, const char *s, const char *p, int depth);

/* After %b: p is at its two characters. Returns the end of the balanced text, or NULL. */
static const char *match_balanced(struct matcher *m, const char *s, const char *p)
{
    if (m->pattern_end - p < 2)
        luaL_error(m->meter.L, "malformed pattern (missing arguments to '%%b')");
    if (s == m->text_end || *s != p[0])
        return NULL;
    size_t open = 1;
    while (++s < m->text_end) {
        meter_spend(&m->meter, 1);
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

/* %f: is s where the text enters the set at p? Outside the text there are zero bytes. */
static bool at_frontier(struct matcher *m, const char *s, const char *p, const char *end)
{
    unsigned char before = s == m->text ? 0 : byte_at(s - 1);
    unsigned char after = s == m->text_end ? 0 : byte_at(s);
    meter_spend(&m->meter, piece_cost(p, end));
    return !set_has(p, end - 1, before) && set_has(p, end - 1, after);
}

/* %1 to %9: the end of another copy of that capture at s, or NULL. */
static const char *match_back(struct matcher *m, const char *s, unsigned char digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->ncaptures || m->captures[i].len == CAPTURE_OPEN)
        luaL_error(m->meter.L, "invalid capture index %%%d", i + 1);
    ptrdiff_t len = m->captures[i].len;
    if (len == CAPTURE_POSITION || len > m->text_end - s)
        return NULL;
    meter_spend(&m->meter, (size_t)len / BYTES_PER_STEP);
    return memcmp(m->captures[i].start, s, (size_t)len) == 0 ? s + len : NULL;
}

static const char *match_open(struct matcher *m, const char *s, const char *p, ptrdiff_t kind, int depth)
{
    if (m->ncaptures == MAX_CAPTURES)
        luaL_error(m->meter.L, "too many captures");
    m->captures[m->ncaptures] = (struct capture){.start = s, .len = kind};
    m->ncaptures++;
    const char *end = match_here(m, s, p, depth);
    if (end == NULL)
        m->ncaptures--;
    return end;
}

static const char *match_close(struct matcher *m, const char *s, const char *p, int depth)
{
    int i = m->ncaptures - 1;
    while (i >= 0 && m->captures[i].len != CAPTURE_OPEN)
        i--;
    if (i < 0)
        luaL_error(m->meter.L, "invalid pattern capture");
    m->captures[i].len = s - m->captures[i].start;
    const char *end = match_here(m, s, p, depth);
    if (end == NULL)
        m->captures[i].len = CAPTURE_OPEN;
    return end;
}

/* '*' and '+': the longest run first, then one character less at a time, down to least. */
static const char *match_longest(struct matcher *m, const char *s, const char *p, const char *end,
                                 ptrdiff_t least, int depth)
{
    const char *stop = scan(m, s, p, end, false);
    for (; stop - s >= least; stop--) {
        const char *found = match_here(m, stop, end + 1, depth);
        if (found != NULL)
            return found;
    }
    return NULL;
}

/* '-': the shortest run first. */
static const char *match_shortest(struct matcher *m, const char *s, const char *p, const char *end, int depth)
{
    size_t cost = piece_cost(p, end);
    for (;; s++) {
        const char *found = match_here(m, s, end + 1, depth);
        if (found != NULL)
            return found;
        if (s == m->text_end || !piece_has(p, end, byte_at(s)))
            return NULL;
        meter_spend(&m->meter, cost);
    }
}

/* The end of the match of the pattern from p on at s, or NULL. */
static const char *match_here(struct matcher *m, const char *s, const char *p, int depth)
{
    if (depth == 0)
        luaL_error(m->meter.L, "pattern too complex");
    depth--;
    while (p != m->pattern_end) {
        switch (*p) {
        case '(':
            if (p[1] == ')')
                return match_open(m, s, p + 2, CAPTURE_POSITION, depth);
            return match_open(m, s, p + 1, CAPTURE_OPEN, depth);
        case ')':
            return match_close(m, s, p + 1, depth);
        case '$':
            if (p + 1 == m->pattern_end)
                return s == m->text_end ? s : NULL;
            break;
        case '%':
            meter_spend(&m->meter, 1);
            if (p[1] == 'b') {
                s = match_balanced(m, s, p + 2);
                if (s == NULL)
                    return NULL;
                p += 4;
                continue;
            }
            if (p[1] == 'f') {
                p += 2;
                if (*p != '[')
                    luaL_error(m->meter.L, "missing '[' after '%%f' in pattern");
                const char *set_end = piece_end(m, p);
                if (!at_frontier(m, s, p, set_end))
                    return NULL;
                p = set_end;
                continue;
            }
            if (traits[byte_at(p + 1)] & DIGIT) {
                s = match_back(m, s, byte_at(p + 1));
                if (s == NULL)
                    return NULL;
                p += 2;
                continue;
            }
            break;
        default:
            break;
        }
        const char *end = piece_end(m, p);
        meter_spend(&m->meter, piece_cost(p, end));
        bool fits = s < m->text_end && piece_has(p, end, byte_at(s));
        if (!fits) {
            if (*end != '*' && *end != '?' && *end != '-')
                return NULL;
            /* No nested attempt, as in Lua: "pattern too complex" has to come at the same point. */
            p = end + 1;
            continue;
        }
        switch (*end) {
        case '*':
            return match_longest(m, s, p, end, 0, depth);
        case '+':
            return match_longest(m, s, p, end, 1, depth);
        case '-':
            return match_shortest(m, s, p, end, depth);
        case '?': {
            const char *found = match_here(m, s + 1, end + 1, depth);
            if (found != NULL)
                return found;
            p = end + 1;
            break;
        }
        default:
            s++;
            p = end;
        }
    }
    return s;
}

/* ---- searching ---- */

static void matcher_start(struct matcher *m, lua_State *L, const char *text, size_t text_len,
                          const char *pattern_end)
{
    meter_start(&m->meter, L);
    m->text = text;
    m->text_end = text + text_len;
    m->pattern_end = pattern_end;
    m->ncaptures = 0;
}

/* Looks at the first piece. Only called when an attempt is certain, since a malformed piece raises. */
static void search_prepare(struct search *search, struct matcher *m)
{
    const char *p = search->pattern;
    search->prepared = true;
    search->has_head = false;
    if (search->anchored || p == m->pattern_end || *p == '(' || *p == ')' || *p == '$')
        return;
    if (*p == '%' && (p[1] == 'b' || p[1] == 'f' || (traits[byte_at(p + 1)] & DIGIT)))
        return;
    search->head_end = piece_end(m, p);
    search->has_head = *search->head_end == '\0' || strchr("*?-", *search->head_end) == NULL;
}

/* Finds the first match that starts at *start or, if not anchored, after it: sets *start, returns its end. */
static const char *search_next(struct search *search, struct matcher *m, const char **start)
{
    if (!search->prepared)
        search_prepare(search, m);
    for (const char *s = *start;; s++) {
        if (search->has_head) {
            s = scan(m, s, search->pattern, search->head_end, true);
            if (s == m->text_end)
                return NULL;
        }
        meter_spend(&m->meter, 1);
        m->ncaptures = 0;
        const char *end = match_here(m, s, search->pattern, MAX_DEPTH);
        if (end != NULL) {
            *start = s;
            return end;
        }
        if (search->anchored || s == m->text_end)
            return NULL;
    }
}

/* A search for the needle's first byte is much the fastest where that byte is rare; where it proves not to
 * be, memmem, which is linear, takes over. The needle is not empty. */
static const char *find_in_slice(const char *text, size_t len, const char *needle, size_t needle_len)
{
    const char *last = text + len - needle_len;
    for (int tries = 0; tries < 32 && text <= last; tries++, text++) {
        text = memchr(text, *needle, (size_t)(last - text) + 1);
        if (text == NULL || memcmp(text, needle, needle_len) == 0)
            return text;
    }
    return text <= last ? memmem(text, (size_t)(last - text) + needle_len, needle, needle_len) : NULL;
}

/* The first needle in the text, or NULL. Goes in slices, so that a long text is not one long call. */
static const char *find_plain(struct meter *meter, const char *text, size_t len, const char *needle,
                              size_t needle_len)
{
    size_t slice = METER_STEPS * BYTES_PER_STEP;
    if (slice < needle_len * 4)
        slice = needle_len * 4;
    while (len >= needle_len) {
        size_t part = len < slice ? len : slice;
        const char *found = find_in_slice(text, part, needle, needle_len);
        if (found != NULL || part == len)
            return found;
        meter_spend(meter, part / BYTES_PER_STEP);
        /* A match may lie across the edge. */
        text += part - needle_len + 1;
        len -= part - needle_len + 1;
    }
    return NULL;
}

static bool has_specials(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p != '\0' && strchr("^$*+?.([%-", *p) != NULL)
            return true;
    }
    return false;
}

/* ---- results ---- */

/* Pushes capture i; the whole match stands for the first capture of a pattern without captures. */
static void push_capture(struct matcher *m, int i, const char *start, const char *end)
{
    lua_State *L = m->meter.L;
    if (i >= m->ncaptures) {
        if (i != 0)
            luaL_error(L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(L, start, (size_t)(end - start));
        return;
    }
    const struct capture *capture = &m->captures[i];
    if (capture->len == CAPTURE_OPEN)
        luaL_error(L, "unfinished capture");
    if (capture->len == CAPTURE_POSITION) {
        lua_pushinteger(L, capture->start - m->text + 1);
        return;
    }
    meter_spend(&m->meter, (size_t)capture->len / BYTES_PER_STEP);
    lua_pushlstring(L, capture->start, (size_t)capture->len);
}

/* Pushes all captures, or the whole match if there are none and it is given. Returns how many. */
static int push_captures(struct matcher *m, const char *start, const char *end)
{
    int n = m->ncaptures == 0 && start != NULL ? 1 : m->ncaptures;
    luaL_checkstack(m->meter.L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(m, i, start, end);
    return n;
}

/* The offset in a text of len bytes that the optional argument init names. It may lie beyond len. */
static size_t check_init(lua_State *L, int arg, size_t len)
{
    lua_Integer init = luaL_optinteger(L, arg, 1);
    if (init > 0)
        return (size_t)init - 1;
    if (init == 0 || init < -(lua_Integer)len)
        return 0;
    return len - (size_t)-init;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t init = check_init(L, 3, len);
    if (init > len) {
        luaL_pushfail(L);
        return 1;
    }
    const char *start = text + init, *end;
    if (find && (lua_toboolean(L, 4) || !has_specials(pattern, pattern + pattern_len))) {
        struct meter meter;
        meter_start(&meter, L);
        if (pattern_len > 0)
            start = find_plain(&meter, start, len - init, pattern, pattern_len);
        if (start == NULL) {
            luaL_pushfail(L);
            return 1;
        }
        lua_pushinteger(L, start - text + 1);
        lua_pushinteger(L, start - text + (lua_Integer)pattern_len);
        return 2;
    }
    struct matcher m;
    struct search search = {.pattern = pattern, .anchored = *pattern == '^'};
    if (search.anchored)
        search.pattern++;
    matcher_start(&m, L, text, len, pattern + pattern_len);
    end = search_next(&search, &m, &start);
    if (end == NULL) {
        luaL_pushfail(L);
        return 1;
    }
    if (!find)
        return push_captures(&m, start, end);
    lua_pushinteger(L, start - text + 1);
    lua_pushinteger(L, end - text);
    return push_captures(&m, NULL, NULL) + 2;
}

int pattern_find(lua_State *L)
{
    return find_or_match(L, true);
}

int pattern_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* ---- gmatch ---- */

/* The iterator's second upvalue; text and pattern are the others, which keeps what this points into alive. */
struct iteration {
    struct matcher m;
    struct search search;
    const char *next;
    const char *last_end; /* an empty match right there was part of the previous match */
};

static int gmatch_step(lua_State *L)
{
    struct iteration *it = lua_touserdata(L, lua_upvalueindex(3));
    /* Each call may come from another coroutine, and with an allowance of its own. */
    meter_start(&it->m.meter, L);
    while (it->next != NULL && it->next <= it->m.text_end) {
        const char *start = it->next;
        const char *end = search_next(&it->search, &it->m, &start);
        if (end == NULL)
            break;
        if (end != it->last_end) {
            it->next = it->last_end = end;
            return push_captures(&it->m, start, end);
        }
        it->next = start + 1;
    }
    return 0;
}

int pattern_gmatch(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t init = check_init(L, 3, len);
    lua_settop(L, 2);
    struct iteration *it = lua_newuserdatauv(L, sizeof *it, 0);
    matcher_start(&it->m, L, text, len, pattern + pattern_len);
    it->search = (struct search){.pattern = pattern};
    it->next = init > len ? NULL : text + init;
    it->last_end = NULL;
    lua_pushcclosure(L, gmatch_step, 3);
    return 1;
}

/* ---- gsub ---- */

/* Adds a replacement string, in which %0 to %9 are captures and %% is a percent sign. */
static void add_expanded(struct matcher *m, luaL_Buffer *b, const char *start, const char *end)
{
    size_t len;
    const char *p = lua_tolstring(m->meter.L, 3, &len);
    const char *stop = p + len;
    const char *mark;
    while ((mark = memchr(p, '%', (size_t)(stop - p))) != NULL) {
        luaL_addlstring(b, p, (size_t)(mark - p));
        meter_spend(&m->meter, 1 + (size_t)(mark - p) / BYTES_PER_STEP);
        unsigned char what = byte_at(mark + 1);
        if (what == '%') {
            luaL_addchar(b, '%');
        } else if (what == '0') {
            luaL_addlstring(b, start, (size_t)(end - start));
            meter_spend(&m->meter, (size_t)(end - start) / BYTES_PER_STEP);
        } else if (traits[what] & DIGIT) {
            push_capture(m, what - '1', start, end);
            luaL_addvalue(b);
        } else {
            luaL_error(m->meter.L, "invalid use of '%%' in replacement string");
        }
        p = mark + 2;
    }
    luaL_addlstring(b, p, (size_t)(stop - p));
    meter_spend(&m->meter, (size_t)(stop - p) / BYTES_PER_STEP);
}

/* Adds what replaces the match. False if it stays as it is, with nothing added. */
static bool add_replacement(struct matcher *m, luaL_Buffer *b, const char *start, const char *end, int kind)
{
    lua_State *L = m->meter.L;
    if (kind == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, start, end), 1);
    } else if (kind == LUA_TTABLE) {
        push_capture(m, 0, start, end);
        lua_gettable(L, 3);
    } else {
        add_expanded(m, b, start, end);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

int pattern_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    int kind = lua_type(L, 3);
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    luaL_argexpected(
        L, kind == LUA_TNUMBER || kind == LUA_TSTRING || kind == LUA_TFUNCTION || kind == LUA_TTABLE, 3,
        "string/function/table");
    struct matcher m;
    struct search search = {.pattern = pattern, .anchored = *pattern == '^'};
    if (search.anchored)
        search.pattern++;
    matcher_start(&m, L, text, len, pattern + pattern_len);

    luaL_Buffer b;
    luaL_buffinit(L, &b);
    lua_Integer n = 0;
    const char *kept = text; /* from here on, the text is not in the buffer yet */
    const char *next = text, *last_end = NULL;
    bool changed = false;
    while (n < max && next <= m.text_end) {
        const char *start = next;
        const char *end = search_next(&search, &m, &start);
        if (end == NULL)
            break;
        if (end != last_end) {
            n++;
            luaL_addlstring(&b, kept, (size_t)(start - kept));
            kept = start;
            if (add_replacement(&m, &b, start, end, kind)) {
                changed = true;
                kept = end;
            }
            next = last_end = end;
        } else {
            next = start + 1;
        }
        if (search.anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&b, kept, (size_t)(m.text_end - kept));
        luaL_pushresult(&b);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, n);
    return 2;
}
