/* string.rep, string.format and the table functions, in bounded slices of work; and the installation of these
 * and of the pattern functions.
 *
 * Tables are read and written through lua_geti and lua_seti, so metamethods see what they would see from
 * Lua's own functions, in the same order. It must not hold memory outside the Lua state, since metamethods,
 * comparators and the meter may raise. */
#include "script/safelib.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <lauxlib.h>
#include <lualib.h>

#include "base/number.h"
#include "script/pattern.h"

enum {
    BYTES_PER_STEP = 16,
    MAX_STRING = INT_MAX,
    MAX_COPY = 1 << 20,
};

/* ---- string ---- */

/* (text, n [, separator]) -> text */
static int string_rep(lua_State *L)
{
    size_t len, separator_len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &separator_len);
    size_t unit = len + separator_len;
    if (n <= 0 || unit == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (unit < len || unit > (size_t)MAX_STRING / (size_t)n)
        return luaL_error(L, "resulting string too large");

    struct meter meter;
    meter_start(&meter, L);
    luaL_Buffer b;
    size_t total = unit * (size_t)n - separator_len;
    char *out = luaL_buffinitsize(L, &b, total);
    memcpy(out, text, len);
    size_t filled = len;
    if (n > 1) {
        memcpy(out + len, separator, separator_len);
        filled = unit;
    }
    /* What is there consists of whole units, so copying it from its start continues the sequence. */
    while (filled < total) {
        size_t part = filled < MAX_COPY ? filled : MAX_COPY - MAX_COPY % unit;
        if (part == 0)
            part = unit;
        if (part > total - filled)
            part = total - filled;
        memcpy(out + filled, out, part);
        filled += part;
        meter_spend(&meter, 1 + part / (BYTES_PER_STEP * 8));
    }
    luaL_pushresultsize(&b, total);
    return 1;
}

/* The functions that only go once over their strings need no bounds of their own: they look at the clock
 * first when there is much to go over. Upvalue 1 is Lua's function, which has no upvalues itself. */
static int charged(lua_State *L)
{
    struct meter meter;
    meter_start(&meter, L);
    for (int i = 1, count = lua_gettop(L); i <= count; i++)
        if (lua_type(L, i) == LUA_TSTRING)
            meter_spend(&meter, lua_rawlen(L, i) / BYTES_PER_STEP);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* ---- string.format ---- */

#define SHORT_RESULT 256 /* bytes */

/* What has been written of a short result. */
struct short_text {
    char bytes[SHORT_RESULT];
    size_t len;
};

static bool add_short(struct short_text *out, const char *text, size_t len)
{
    if (len > sizeof out->bytes - out->len)
        return false;
    memcpy(out->bytes + out->len, text, len);
    out->len += len;
    return true;
}

/* %d, %5d and %02d of an integer; at follows the percent sign and is left behind the d. */
static bool add_integer(lua_State *L, int arg, const char **at, struct short_text *out)
{
    const char *p = *at;
    bool zeros = *p == '0';
    if (zeros)
        p++;
    size_t width = 0;
    if (*p >= '1' && *p <= '9')
        width = (size_t)(*p++ - '0');
    if (*p != 'd' || !lua_isinteger(L, arg))
        return false;
    char digits[NUMBER_TEXT_MAX];
    size_t len = number_format_integer(lua_tointeger(L, arg), digits);
    bool negative = digits[0] == '-';
    *at = p + 1;
    if (zeros && negative && !add_short(out, "-", 1))
        return false;
    for (size_t i = len; i < width; i++)
        if (!add_short(out, zeros ? "0" : " ", 1))
            return false;
    bool signed_already = zeros && negative;
    return add_short(out, digits + signed_already, len - signed_already);
}

/* Whether the call is one of the everyday kind (texts and whole numbers, a short result), and so was done
 * here. */
static bool format_short(lua_State *L, struct short_text *out)
{
    size_t len = 0;
    const char *at = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    const char *end = at + len;
    if (at == NULL || len > SHORT_RESULT)
        return false;
    int arg = 1;
    while (at < end) {
        if (*at != '%') {
            if (!add_short(out, at++, 1))
                return false;
            continue;
        }
        at++; /* a string of Lua ends with a NUL, which no case takes */
        if (*at == '%') {
            if (!add_short(out, at++, 1))
                return false;
        } else if (*at == 's') {
            size_t text_len = 0;
            const char *text = lua_type(L, ++arg) == LUA_TSTRING ? lua_tolstring(L, arg, &text_len) : NULL;
            at++;
            if (text == NULL || !add_short(out, text, text_len))
                return false;
        } else if (!add_integer(L, ++arg, &at, out)) {
            return false;
        }
    }
    return true;
}

/* Lua's own goes through the C library for every number; scripts make dates and keys of them all the time. */
static int string_format(lua_State *L)
{
    struct short_text out;
    out.len = 0;
    if (!format_short(L, &out))
        return charged(L);
    lua_pushlstring(L, out.bytes, out.len);
    return 1;
}

/* ---- table ---- */

enum {
    READ = 1,
    WRITE = 2,
    LENGTH = 4,
};

static bool has_field(lua_State *L, int metatable, const char *name)
{
    lua_pushstring(L, name);
    bool found = lua_rawget(L, metatable) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

/* Raises unless the argument is a table or has the metamethods to act as one. */
static void check_table(lua_State *L, int arg, int uses)
{
    if (lua_type(L, arg) == LUA_TTABLE)
        return;
    if (lua_getmetatable(L, arg)) {
        int metatable = lua_gettop(L);
        if (((uses & READ) == 0 || has_field(L, metatable, "__index")) &&
            ((uses & WRITE) == 0 || has_field(L, metatable, "__newindex")) &&
            ((uses & LENGTH) == 0 || has_field(L, metatable, "__len"))) {
            lua_pop(L, 1);
            return;
        }
    }
    luaL_checktype(L, arg, LUA_TTABLE);
}

static lua_Integer check_length(lua_State *L, int arg, int uses)
{
    check_table(L, arg, uses | LENGTH);
    return luaL_len(L, arg);
}

/* Integers that wrap around, as Lua's do. */
static lua_Integer wrapping_add(lua_Integer a, lua_Integer b)
{
    return (lua_Integer)((lua_Unsigned)a + (lua_Unsigned)b);
}

/* (table, [position,] value) */
static int table_insert(lua_State *L)
{
    lua_Integer end = wrapping_add(check_length(L, 1, READ | WRITE), 1);
    lua_Integer position = end;
    int nargs = lua_gettop(L);
    if (nargs != 2 && nargs != 3)
        return luaL_error(L, "wrong number of arguments to 'insert'");
    if (nargs == 3) {
        position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)position - 1u < (lua_Unsigned)end, 2, "position out of bounds");
        struct meter meter;
        meter_start(&meter, L);
        for (lua_Integer i = end; i > position; i--) {
            lua_geti(L, 1, i - 1);
            lua_seti(L, 1, i);
            meter_spend(&meter, 1);
        }
    }
    lua_seti(L, 1, position);
    return 0;
}

/* (table [, position]) -> what was there */
static int table_remove(lua_State *L)
{
    lua_Integer size = check_length(L, 1, READ | WRITE);
    lua_Integer position = luaL_optinteger(L, 2, size);
    if (position != size)
        luaL_argcheck(L, (lua_Unsigned)position - 1u <= (lua_Unsigned)size, 1, "position out of bounds");
    struct meter meter;
    meter_start(&meter, L);
    lua_geti(L, 1, position);
    for (; position < size; position++) {
        lua_geti(L, 1, position + 1);
        lua_seti(L, 1, position);
        meter_spend(&meter, 1);
    }
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

/* (from, first, last, to [, into]) -> into */
static int table_move(lua_State *L)
{
    lua_Integer first = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_checkinteger(L, 3);
    lua_Integer to = luaL_checkinteger(L, 4);
    int into = lua_isnoneornil(L, 5) ? 1 : 5;
    check_table(L, 1, READ);
    check_table(L, into, WRITE);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
        lua_Integer n = last - first + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
        /* Upwards unless that would overwrite what is still to be read. */
        bool upwards = to > last || to <= first || (into != 1 && !lua_compare(L, 1, into, LUA_OPEQ));
        struct meter meter;
        meter_start(&meter, L);
        for (lua_Integer done = 0; done < n; done++) {
            lua_Integer i = upwards ? done : n - 1 - done;
            lua_geti(L, 1, first + i);
            lua_seti(L, into, to + i);
            meter_spend(&meter, 1);
        }
    }
    lua_pushvalue(L, into);
    return 1;
}

static void add_element(lua_State *L, luaL_Buffer *b, struct meter *meter, lua_Integer i)
{
    int type = lua_geti(L, 1, i);
    size_t len = 0;
    if (type == LUA_TSTRING)
        len = lua_rawlen(L, -1);
    else if (type != LUA_TNUMBER)
        luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1),
                   (LUAI_UACINT)i);
    luaL_addvalue(b);
    meter_spend(meter, 1 + len / BYTES_PER_STEP);
}

/* (table [, separator [, first [, last]]]) -> text */
static int table_concat(lua_State *L)
{
    lua_Integer last = check_length(L, 1, READ);
    size_t separator_len;
    const char *separator = luaL_optlstring(L, 2, "", &separator_len);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    struct meter meter;
    meter_start(&meter, L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; i < last; i++) {
        add_element(L, &b, &meter, i);
        if (separator_len > 0) {
            luaL_addlstring(&b, separator, separator_len);
            meter_spend(&meter, separator_len / BYTES_PER_STEP);
        }
    }
    if (i == last)
        add_element(L, &b, &meter, i);
    luaL_pushresult(&b);
    return 1;
}

/* (table [, first [, last]]) -> elements... */
static int table_unpack(lua_State *L)
{
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    if (first > last)
        return 0;
    lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)first;
    if (n >= (lua_Unsigned)INT_MAX || !lua_checkstack(L, (int)n + 1))
        return luaL_error(L, "too many results to unpack");
    struct meter meter;
    meter_start(&meter, L);
    for (lua_Unsigned i = 0; i <= n; i++) {
        lua_geti(L, 1, wrapping_add(first, (lua_Integer)i));
        meter_spend(&meter, 1);
    }
    return (int)n + 1;
}

/* ---- sort ----
 *
 * Quicksort in place, with the median of three as its pivot. A range whose partitions have been lopsided too
 * often is finished by heapsort, so that no input takes more than n log n comparisons. The table is argument
 * 1, the comparator (or nil) argument 2; helpers leave the stack as they found it unless they say otherwise.
 */

struct sorter {
    lua_State *L;
    struct meter meter;
    bool has_comparator;
};

/* Is the value at stack index a less than the one at b? Both are negative indices. */
static bool less(struct sorter *sorter, int a, int b)
{
    lua_State *L = sorter->L;
    if (sorter->has_comparator) {
        meter_spend(&sorter->meter, 1);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, a - 1);
        lua_pushvalue(L, b - 2);
        lua_call(L, 2, 1);
        bool result = lua_toboolean(L, -1);
        lua_pop(L, 1);
        return result;
    }
    size_t len = lua_type(L, a) == LUA_TSTRING ? lua_rawlen(L, a) : 0;
    meter_spend(&sorter->meter, 1 + len / BYTES_PER_STEP);
    return lua_compare(L, a, b, LUA_OPLT);
}

/* Stack: value of i, value of j. Stores them the other way round, and pops both. */
static void store_swapped(struct sorter *sorter, lua_Integer i, lua_Integer j)
{
    lua_seti(sorter->L, 1, i);
    lua_seti(sorter->L, 1, j);
}

/* Puts elements i and j, i before j, into order. */
static void order_pair(struct sorter *sorter, lua_Integer i, lua_Integer j)
{
    lua_State *L = sorter->L;
    lua_geti(L, 1, i);
    lua_geti(L, 1, j);
    if (less(sorter, -1, -2))
        store_swapped(sorter, i, j);
    else
        lua_pop(L, 2);
}

/* Moves the value on top of the stack, which it pops, down the heap over base+1 .. base+n, from its place i.
 */
static void sift_down(struct sorter *sorter, lua_Integer base, lua_Integer i, lua_Integer n)
{
    lua_State *L = sorter->L;
    while (i <= n / 2) {
        lua_Integer child = 2 * i;
        lua_geti(L, 1, base + child); /* stack: value, child */
        if (child < n) {
            lua_geti(L, 1, base + child + 1); /* stack: value, child, its sibling */
            if (less(sorter, -2, -1)) {
                lua_remove(L, -2);
                child++;
            } else {
                lua_pop(L, 1);
            }
        }
        if (!less(sorter, -2, -1)) {
            lua_pop(L, 1);
            break;
        }
        lua_seti(L, 1, base + i);
        i = child;
    }
    lua_seti(L, 1, base + i);
}

static void heap_sort(struct sorter *sorter, lua_Integer low, lua_Integer high)
{
    lua_State *L = sorter->L;
    lua_Integer base = low - 1, n = high - base;
    for (lua_Integer i = n / 2; i >= 1; i--) {
        lua_geti(L, 1, base + i);
        sift_down(sorter, base, i, n);
    }
    for (; n > 1; n--) {
        lua_geti(L, 1, base + n);
        lua_geti(L, 1, low);
        lua_seti(L, 1, base + n); /* stack: what was last */
        sift_down(sorter, base, 1, n - 1);
    }
}

/* Splits low .. high, of which low, the middle and high are in order already and high - 1 holds the pivot,
 * whose value is on top of the stack. Returns where the pivot ended; pops it. */
static lua_Integer partition(struct sorter *sorter, lua_Integer low, lua_Integer high)
{
    lua_State *L = sorter->L;
    lua_Integer pivot = high - 1, i = low, j = pivot;
    for (;;) {
        /* Both scans end at an element that is known not to pass; a comparator that says otherwise is wrong.
         */
        while (lua_geti(L, 1, ++i), less(sorter, -1, -2)) {
            if (i == pivot)
                luaL_error(L, "invalid order function for sorting");
            lua_pop(L, 1);
        }
        /* stack: pivot, element i */
        while (lua_geti(L, 1, --j), less(sorter, -3, -1)) {
            if (j < i)
                luaL_error(L, "invalid order function for sorting");
            lua_pop(L, 1);
        }
        /* stack: pivot, element i, element j */
        if (j < i)
            break;
        store_swapped(sorter, i, j);
    }
    lua_pop(L, 1);
    /* stack: pivot, element i */
    lua_seti(L, 1, pivot);
    lua_seti(L, 1, i);
    return i;
}

static void sort_range(struct sorter *sorter, lua_Integer low, lua_Integer high, int patience)
{
    lua_State *L = sorter->L;
    while (low < high) {
        if (patience-- == 0) {
            heap_sort(sorter, low, high);
            return;
        }
        order_pair(sorter, low, high);
        if (high - low == 1)
            return;
        lua_Integer middle = low + (high - low) / 2;
        lua_geti(L, 1, middle);
        lua_geti(L, 1, low);
        if (less(sorter, -2, -1)) {
            store_swapped(sorter, middle, low);
        } else {
            lua_pop(L, 2);
            order_pair(sorter, middle, high);
        }
        if (high - low == 2)
            return;
        /* The pivot waits next to the upper end while the rest is split. */
        lua_geti(L, 1, middle);
        lua_pushvalue(L, -1);
        lua_geti(L, 1, high - 1); /* stack: pivot, pivot, neighbour */
        store_swapped(sorter, middle, high - 1);
        lua_Integer split = partition(sorter, low, high);
        /* The smaller side by recursion, which bounds its depth; the larger by going round. */
        if (split - low < high - split) {
            sort_range(sorter, low, split - 1, patience);
            low = split + 1;
        } else {
            sort_range(sorter, split + 1, high, patience);
            high = split - 1;
        }
    }
}

/* (table [, comparator]) */
static int table_sort(lua_State *L)
{
    lua_Integer n = check_length(L, 1, READ | WRITE);
    if (n < 2)
        return 0;
    luaL_argcheck(L, n < INT_MAX, 1, "array too big");
    bool has_comparator = !lua_isnoneornil(L, 2);
    if (has_comparator)
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    int patience = 4;
    for (lua_Integer rest = n; rest > 1; rest /= 2)
        patience += 2;
    struct sorter sorter = {.L = L, .has_comparator = has_comparator};
    meter_start(&sorter.meter, L);
    sort_range(&sorter, 1, n, patience);
    return 0;
}

/* ---- installation ---- */

static void replace(lua_State *L, const char *library, const luaL_Reg *functions)
{
    if (lua_getglobal(L, library) != LUA_TTABLE)
        luaL_error(L, "the %s library must be open before its functions are replaced", library);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}

/* Puts function in the place of each of Lua's, which becomes its upvalue. */
static void wrap(lua_State *L, const char *library, const char *const names[], lua_CFunction function)
{
    if (lua_getglobal(L, library) != LUA_TTABLE)
        luaL_error(L, "the %s library must be open before its functions are replaced", library);
    for (int i = 0; names[i] != NULL; i++) {
        lua_getfield(L, -1, names[i]);
        lua_pushcclosure(L, function, 1);
        lua_setfield(L, -2, names[i]);
    }
    lua_pop(L, 1);
}

void safelib_install(lua_State *L)
{
    /* Not those that may take little of a long string, as sub does. */
    static const char *const format[] = {"format", NULL};
    static const char *const long_string[] = {"lower", "pack", "packsize", "reverse", "upper", NULL};
    static const char *const long_utf8[] = {"len", NULL};
    static const luaL_Reg string_functions[] = {
        {"find", pattern_find},   {"gmatch", pattern_gmatch}, {"gsub", pattern_gsub},
        {"match", pattern_match}, {"rep", string_rep},        {NULL, NULL},
    };
    static const luaL_Reg table_functions[] = {
        {"concat", table_concat}, {"insert", table_insert}, {"move", table_move}, {"remove", table_remove},
        {"sort", table_sort},     {"unpack", table_unpack}, {NULL, NULL},
    };
    luaL_checkstack(L, 4, NULL);
    replace(L, LUA_STRLIBNAME, string_functions);
    replace(L, LUA_TABLIBNAME, table_functions);
    wrap(L, LUA_STRLIBNAME, format, string_format);
    wrap(L, LUA_STRLIBNAME, long_string, charged);
    wrap(L, LUA_UTF8LIBNAME, long_utf8, charged);
}
