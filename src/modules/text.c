/* workers.text: Unicode text for scripts, and the table of the module. Must not know how any of it works:
 * base/unicode.h does. HTML and Markdown are in text_markup.c. */
#include "modules/modules.h"
#include "modules/text_priv.h"

#include "base/text.h"
#include "base/unicode.h"
#include "script/budget.h"

#include <string.h>

#include <lauxlib.h>

#define RESULT_MAX ((size_t)128 << 20) /* bytes, before they become a Lua string */
#define BOX "workers.text"

static int box_release(lua_State *L)
{
    struct text_box *box = lua_touserdata(L, 1);
    html_free(&box->html);
    buf_free(&box->out);
    url_free(&box->base);
    return 0;
}

static void tick(void *context)
{
    budget_tick(context);
}

struct text_box *text_new_box(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", box_release}, {"__close", box_release}, {NULL, NULL}};
    struct text_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    html_init(&box->html, tick, L);
    buf_init(&box->out, RESULT_MAX);
    box->base = (struct url){.port = -1};
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, closers, 0);
    lua_setmetatable(L, -2);
    return box;
}

int text_push_result(lua_State *L, struct text_box *box, const char *function)
{
    struct err err;
    if (buf_status(&box->out, "the result", &err) != ERR_NONE)
        return luaL_error(L, "text.%s: %s", function, err.message);
    lua_pushlstring(L, buf_text(&box->out), box->out.len);
    buf_free(&box->out); /* not only when the collector comes */
    html_free(&box->html);
    return 1;
}

/* ---- arguments ---- */

const char *text_need_string(lua_State *L, const char *function, int index, const char *name, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "text.%s: argument %d (%s): string expected, got %s", function, index, name,
                   lua_isnoneornil(L, index) ? "nothing" : luaL_typename(L, index));
    return lua_tolstring(L, index, len);
}

bool text_check_utf8(lua_State *L, const char *text, size_t len, size_t *bad)
{
    /* In pieces, so that the clock is looked at. A piece that ends within a character is looked at again. */
    size_t at = 0;
    while (at < len) {
        size_t piece = len - at < TICKER_STEPS * 16 ? len - at : TICKER_STEPS * 16, good = piece;
        budget_tick(L);
        if (!text_is_utf8(text + at, piece, &good) && (at + piece == len || piece - good >= 4 || good == 0)) {
            *bad = at + good;
            return false;
        }
        at += good;
    }
    return true;
}

const char *text_need_text(lua_State *L, const char *function, int index, const char *name, size_t *len)
{
    size_t bad;
    const char *text = text_need_string(L, function, index, name, len);
    if (!text_check_utf8(L, text, *len, &bad))
        luaL_error(L, "text.%s: argument %d (%s): no UTF-8 at byte %I; text.toUtf8 repairs it or converts it",
                   function, index, name, (LUAI_UACINT)bad + 1);
    return text;
}

bool text_check_options(lua_State *L, const char *function, int index, const struct option_spec *specs)
{
    char what[64];
    if (lua_isnoneornil(L, index))
        return false;
    snprintf(what, sizeof what, "text.%s", function);
    options_check(L, index, specs, what);
    return true;
}

/* The option's place in names, the first when it is absent. */
static int option_of(lua_State *L, int index, const char *function, const char *option,
                     const char *const names[])
{
    luaL_Buffer list;
    const char *value = options_string(L, index, option, names[0]);
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(value, names[i]) == 0)
            return i;
    }
    luaL_buffinit(L, &list);
    for (int i = 0; names[i] != NULL; i++) {
        luaL_addstring(&list, i == 0 ? "\"" : names[i + 1] == NULL ? "\" or \"" : "\", \"");
        luaL_addstring(&list, names[i]);
    }
    luaL_addstring(&list, "\"");
    luaL_pushresult(&list);
    return luaL_error(L, "text.%s: option \"%s\": %s expected, got \"%s\"", function, option,
                      lua_tostring(L, -1), value);
}

/* ---- bytes into text ---- */

static int text_is_utf8_(lua_State *L)
{
    size_t len, bad = 0;
    const char *text = text_need_string(L, "isUtf8", 1, "text", &len);
    bool valid = text_check_utf8(L, text, len, &bad);
    lua_pushboolean(L, valid);
    if (valid)
        return 1;
    lua_pushinteger(L, (lua_Integer)bad + 1);
    return 2;
}

static int text_to_utf8(lua_State *L)
{
    static const struct option_spec specs[] = {
        {"from", OPTION_STRING, false, "the encoding of the bytes"},
        {"replacement", OPTION_TEXT, false, "what stands for bad bytes"},
        {NULL, OPTION_ANY, false, NULL},
    };
    static const char *const names[] = {"utf-8", "utf-16le", "utf-16be", "latin1", "windows-1252", NULL};
    static const enum unicode_encoding encodings[] = {UNICODE_UTF8, UNICODE_UTF16LE, UNICODE_UTF16BE,
                                                      UNICODE_LATIN1, UNICODE_WINDOWS_1252};
    size_t len, replacement_len = strlen(UNICODE_REPLACEMENT), bad;
    const char *bytes = text_need_string(L, "toUtf8", 1, "bytes", &len);
    const char *replacement = UNICODE_REPLACEMENT;
    enum unicode_encoding encoding = UNICODE_UTF8;
    if (text_check_options(L, "toUtf8", 2, specs)) {
        encoding = encodings[option_of(L, 2, "toUtf8", "from", names)];
        if (lua_getfield(L, 2, "replacement") != LUA_TNIL)
            replacement = lua_tolstring(L, -1, &replacement_len);
        if (!text_check_utf8(L, replacement, replacement_len, &bad))
            return luaL_error(L, "text.toUtf8: option \"replacement\": must be UTF-8");
    }
    struct text_box *box = text_new_box(L);
    unicode_to_utf8(&box->out, encoding, bytes, len, replacement, replacement_len, &box->html.ticker);
    return text_push_result(L, box, "toUtf8");
}

/* ---- lengths ---- */

static const char *const unit_names[] = {"codepoints", "graphemes", "bytes", NULL};
static const enum unicode_unit units[] = {UNICODE_CODE_POINTS, UNICODE_GRAPHEMES, UNICODE_BYTES};

static int text_length(lua_State *L)
{
    static const struct option_spec specs[] = {
        {"unit", OPTION_STRING, false, "what is counted"},
        {NULL, OPTION_ANY, false, NULL},
    };
    size_t len;
    const char *text = text_need_text(L, "length", 1, "text", &len);
    enum unicode_unit unit = UNICODE_CODE_POINTS;
    if (text_check_options(L, "length", 2, specs))
        unit = units[option_of(L, 2, "length", "unit", unit_names)];
    struct ticker ticker = {tick, L, 0};
    lua_pushinteger(L, (lua_Integer)unicode_count(text, len, unit, &ticker));
    return 1;
}

static int text_truncate(lua_State *L)
{
    static const struct option_spec specs[] = {
        {"ellipsis", OPTION_TEXT, false, "what ends a text that was cut"},
        {"unit", OPTION_STRING, false, "what is counted"},
        {NULL, OPTION_ANY, false, NULL},
    };
    size_t len, ellipsis_len = 0;
    const char *text = text_need_text(L, "truncate", 1, "text", &len), *ellipsis = "";
    int integral = 0;
    lua_Integer max = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &integral) : 0;
    if (!integral || max < 0)
        return luaL_error(L, "text.truncate: argument 2 (max): whole number from 0 expected, got %s",
                          luaL_tolstring(L, 2, NULL));
    enum unicode_unit unit = UNICODE_CODE_POINTS;
    lua_settop(L, 3);
    if (text_check_options(L, "truncate", 3, specs)) {
        unit = units[option_of(L, 3, "truncate", "unit", unit_names)];
        if (lua_getfield(L, 3, "ellipsis") != LUA_TNIL)
            ellipsis = lua_tolstring(L, -1, &ellipsis_len);
        if (!text_is_utf8(ellipsis, ellipsis_len, NULL))
            return luaL_error(L, "text.truncate: option \"ellipsis\": must be UTF-8");
    }
    struct ticker ticker = {tick, L, 0};
    size_t kept = unicode_prefix(text, len, unit, (size_t)max, &ticker);
    if (kept == len) {
        lua_settop(L, 1);
        return 1;
    }
    size_t width = unicode_count(ellipsis, ellipsis_len, unit, &ticker);
    if (width > 0 && width <= (size_t)max)
        kept = unicode_prefix(text, len, unit, (size_t)max - width, &ticker);
    else
        ellipsis_len = 0; /* no room for it */
    lua_pushlstring(L, text, kept);
    lua_pushlstring(L, ellipsis, ellipsis_len);
    lua_concat(L, 2);
    return 1;
}

static int text_trim(lua_State *L)
{
    size_t len, trimmed;
    const char *text = text_need_text(L, "trim", 1, "text", &len);
    struct ticker ticker = {tick, L, 0};
    size_t start = unicode_trim(text, len, &trimmed, &ticker);
    lua_pushlstring(L, text + start, trimmed);
    return 1;
}

/* ---- forms and case ---- */

static int map(lua_State *L, const char *function, unsigned maps)
{
    size_t len;
    const char *text = text_need_text(L, function, 1, "text", &len);
    struct text_box *box = text_new_box(L);
    unicode_map(&box->out, &box->html.work[0], maps, text, len, &box->html.ticker);
    return text_push_result(L, box, function);
}

static int text_nfc(lua_State *L)
{
    return map(L, "nfc", UNICODE_COMPOSE);
}

static int text_nfd(lua_State *L)
{
    return map(L, "nfd", 0);
}

static int text_nfkc(lua_State *L)
{
    return map(L, "nfkc", UNICODE_COMPOSE | UNICODE_COMPATIBLE);
}

static int text_nfkd(lua_State *L)
{
    return map(L, "nfkd", UNICODE_COMPATIBLE);
}

static int text_fold(lua_State *L)
{
    size_t len;
    const char *text = text_need_text(L, "fold", 1, "text", &len);
    struct text_box *box = text_new_box(L);
    unicode_fold(&box->out, &box->html.work[0], &box->html.work[1], text, len, &box->html.ticker);
    return text_push_result(L, box, "fold");
}

static int text_lower(lua_State *L)
{
    size_t len;
    const char *text = text_need_text(L, "lower", 1, "text", &len);
    struct text_box *box = text_new_box(L);
    unicode_lower(&box->out, text, len, &box->html.ticker);
    return text_push_result(L, box, "lower");
}

static int text_upper(lua_State *L)
{
    size_t len;
    const char *text = text_need_text(L, "upper", 1, "text", &len);
    struct text_box *box = text_new_box(L);
    unicode_upper(&box->out, text, len, &box->html.ticker);
    return text_push_result(L, box, "upper");
}

static int text_slug(lua_State *L)
{
    size_t len;
    const char *text = text_need_text(L, "slug", 1, "text", &len);
    struct text_box *box = text_new_box(L);
    struct buf *plain = &box->html.work[0];
    unicode_map(plain, &box->html.work[1], UNICODE_FOLD | UNICODE_COMPATIBLE | UNICODE_STRIP_MARKS, text, len,
                &box->html.ticker);
    bool gap = false;
    for (size_t at = 0; at < plain->len && !box->out.failed;) {
        uint32_t code_point;
        size_t size = text_next_char(plain->data + at, plain->len - at, &code_point);
        ticker_spend(&box->html.ticker, 4);
        if (unicode_class_of(code_point) == UNICODE_WORD) {
            if (gap && box->out.len > 0)
                buf_addc(&box->out, '-');
            buf_add(&box->out, plain->data + at, size);
            gap = false;
        } else {
            gap = true;
        }
        at += size;
    }
    return text_push_result(L, box, "slug");
}

/* ---- the module ---- */

static const struct script_function functions[] = {
    {"isUtf8", text_is_utf8_, "(text: string): boolean, integer?",
     "whether the bytes are UTF-8; if not, also where the first bad byte is"},
    {"toUtf8", text_to_utf8, "(bytes: string, options?: { from?: string, replacement?: string }): string",
     "UTF-8 from another encoding, or from UTF-8 with bad bytes in it"},
    {"length", text_length, "(text: string, options?: { unit?: string }): integer",
     "how many code points, or grapheme clusters, the text has"},
    {"truncate", text_truncate,
     "(text: string, max: integer, options?: { unit?: string, ellipsis?: string }): string",
     "the start of the text, at most max long, never cut within a character"},
    {"trim", text_trim, "(text: string): string", "the text without white space at either end"},
    {"nfc", text_nfc, "(text: string): string", "normal form C: accents and letters composed"},
    {"nfd", text_nfd, "(text: string): string", "normal form D: accents and letters apart"},
    {"nfkc", text_nfkc, "(text: string): string",
     "normal form KC: C, with compatibility characters made plain"},
    {"nfkd", text_nfkd, "(text: string): string",
     "normal form KD: D, with compatibility characters made plain"},
    {"fold", text_fold, "(text: string): string",
     "the text for comparisons in which neither case nor form of accents counts"},
    {"lower", text_lower, "(text: string): string", "the text in small letters"},
    {"upper", text_upper, "(text: string): string", "the text in capital letters"},
    {"slug", text_slug, "(text: string): string",
     "letters and digits in small letters without accents, with hyphens between words"},
    {"escapeHtml", text_escape_html, "(text: string): string",
     "the text with the characters that HTML reads as markup made references"},
    {"unescapeHtml", text_unescape_html, "(text: string): string",
     "the text with character references made characters"},
    {"htmlToText", text_html_to_text, "(html: string): string", "the text of the HTML, in lines"},
    {"htmlToMarkdown", text_html_to_markdown, "(html: string, options?: { baseUrl?: string }): string",
     "the HTML as CommonMark, with GFM tables"},
    {"escapeMarkdown", text_escape_markdown, "(text: string): string",
     "the text with what Markdown reads as markup escaped"},
    {"markdownTable", text_markdown_table,
     "(rows: any[][], options?: { header?: any[], align?: string[] }): string", "a GFM table of the rows"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs text_docs = {"Unicode text, HTML and Markdown", functions, NULL};

int luaopen_workers_text(lua_State *L)
{
    functions_push(L, functions);
    return 1;
}
