/* regex.replace: replacements in text, with references to groups, and by functions. */
#include "modules/regex_priv.h"

#include "script/safelib.h"

#include <lauxlib.h>
#include <string.h>

/* A part of a replacement: bytes as they are, or a group of the match by number or name. */
struct part {
    const char *text; /* or the name */
    size_t len;
    enum { PART_TEXT, PART_GROUP, PART_NAME } kind;
    uint32_t group;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number of up to three digits; 0 bytes when there is none. */
static size_t read_group(const char *p, const char *end, uint32_t *group)
{
    size_t len = 0;
    *group = 0;
    while (len < 3 && p + len < end && is_digit(p[len]))
        *group = *group * 10 + (uint32_t)(p[len++] - '0');
    return len;
}

/* Reads the part that begins with a dollar sign at p and returns where it ends, NULL when it is none. */
static const char *read_reference(const char *p, const char *end, struct part *part)
{
    if (p + 1 < end && p[1] == '$') {
        *part = (struct part){.text = p, .len = 1, .kind = PART_TEXT};
        return p + 2;
    }
    bool braces = p + 1 < end && p[1] == '{';
    const char *begins = p + (braces ? 2 : 1);
    *part = (struct part){.kind = PART_GROUP};
    size_t len = read_group(begins, end, &part->group);
    if (!braces)
        return len > 0 ? begins + len : NULL;
    const char *close = begins < end ? memchr(begins, '}', (size_t)(end - begins)) : NULL;
    if (close == NULL || close == begins)
        return NULL;
    if (begins + len != close)
        *part = (struct part){.text = begins, .len = (size_t)(close - begins), .kind = PART_NAME};
    return close + 1;
}

static const char *next_part(const char *p, const char *end, struct part *part)
{
    if (*p == '$')
        return read_reference(p, end, part);
    const char *dollar = memchr(p, '$', (size_t)(end - p));
    const char *stop = dollar != NULL ? dollar : end;
    *part = (struct part){.text = p, .len = (size_t)(stop - p), .kind = PART_TEXT};
    return stop;
}

/* The group with this name; of several, the one that is set if spans says so. False when there is none. */
static bool find_name(const struct regex *regex, const char *name, size_t len, const struct regex_span *spans,
                      uint32_t *group)
{
    bool found = false;
    for (uint32_t i = 0; i < regex_names(regex); i++) {
        uint32_t candidate;
        const char *other = regex_name(regex, i, &candidate);
        if (strlen(other) != len || memcmp(other, name, len) != 0)
            continue;
        if (!found || (spans != NULL && spans[*group].begin == REGEX_UNSET))
            *group = candidate;
        found = true;
    }
    return found;
}

/* Raises when the replacement refers to what the pattern does not have. */
static void check_replacement(const struct regex_call *call, const char *text, size_t len)
{
    lua_State *L = call->L;
    const struct regex *regex = call->compiled->regex;
    const char *end = text + len;
    struct meter meter;
    meter_start(&meter, L);
    for (const char *p = text; p < end;) {
        struct part part;
        const char *next = next_part(p, end, &part);
        if (next == NULL)
            luaL_error(
                L,
                "regex.replace: argument 3 (replacement): the $ at byte %I refers to no group; write $1, "
                "${name}, or $$ for a dollar sign",
                (lua_Integer)(p - text) + 1);
        if (part.kind == PART_GROUP && part.group > regex_groups(regex))
            luaL_error(
                L,
                "regex.replace: argument 3 (replacement): there is no group %d; the pattern has %d (for "
                "group 1 with a digit behind it, write ${1}0)",
                (int)part.group, (int)regex_groups(regex));
        if (part.kind == PART_NAME && !find_name(regex, part.text, part.len, NULL, &part.group)) {
            lua_pushlstring(L, part.text, part.len);
            luaL_error(
                L, "regex.replace: argument 3 (replacement): there is no group named \"%s\" in the pattern",
                lua_tostring(L, -1));
        }
        meter_spend(&meter, 1 + regex_names(regex));
        p = next;
    }
}

static void add_replacement(const struct regex_call *call, luaL_Buffer *out, struct meter *meter,
                            const struct regex_span *spans)
{
    size_t len;
    const char *p = lua_tolstring(call->L, 3, &len);
    const struct regex *regex = call->compiled->regex;
    for (const char *end = p + len; p < end;) {
        struct part part;
        p = next_part(p, end, &part);
        if (part.kind == PART_NAME)
            find_name(regex, part.text, part.len, spans, &part.group);
        if (part.kind != PART_TEXT) {
            struct regex_span span = spans[part.group];
            part.text = call->text + span.begin;
            part.len = span.begin == REGEX_UNSET ? 0 : span.end - span.begin;
        }
        if (part.len > 0)
            luaL_addlstring(out, part.text, part.len);
        meter_spend(meter, 1 + part.len / BYTES_PER_STEP);
    }
}

/* Calls the function at index 3 with the match, and adds what it returns; false when that is to keep. */
static bool add_result(const struct regex_call *call, luaL_Buffer *out, const struct regex_span *spans)
{
    lua_State *L = call->L;
    lua_pushvalue(L, 3);
    regex_push_match(call, spans);
    lua_call(L, 1, 1);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "regex.replace: the function must return a string, or nil to keep the text; got %s",
                   luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

int regex_lua_replace(lua_State *L)
{
    struct regex_call call;
    struct meter meter;
    luaL_Buffer out;
    regex_begin_call(L, &call, "replace");
    int kind = lua_type(L, 3);
    if (kind != LUA_TSTRING && kind != LUA_TFUNCTION)
        return luaL_error(L, "regex.replace: argument 3 (replacement): string or function expected, got %s",
                          luaL_typename(L, 3));
    lua_Integer limit = regex_read_limit(&call, 4, 0), count = 0;
    if (kind == LUA_TSTRING)
        check_replacement(&call, lua_tostring(L, 3), lua_rawlen(L, 3));
    meter_start(&meter, L);
    luaL_buffinit(L, &out);
    size_t kept = 0; /* from here on the text is not in the buffer yet */
    size_t next = 0;
    bool fresh = false, changed = false;
    while (count < limit) {
        const struct regex_span *spans = regex_next_match(&call, next, fresh);
        if (spans == NULL)
            break;
        struct regex_span whole = *spans; /* a function may search too */
        luaL_addlstring(&out, call.text + kept, whole.begin - kept);
        meter_spend(&meter, 1 + (whole.end - kept) / BYTES_PER_STEP);
        kept = whole.begin;
        bool replaced = true;
        if (kind == LUA_TSTRING)
            add_replacement(&call, &out, &meter, spans);
        else
            replaced = add_result(&call, &out, spans);
        if (replaced) {
            kept = whole.end;
            changed = true;
        }
        next = whole.end;
        fresh = whole.begin == whole.end;
        count++;
    }
    if (changed) {
        luaL_addlstring(&out, call.text + kept, call.len - kept);
        luaL_pushresult(&out);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}
