/* workers.text: Unicode text, HTML and Markdown for scripts. Must not know how any of it works:
 * base/unicode.h, base/html.h and base/markdown.h do.
 *
 * Each call has its memory in one box, a userdata, so that the CPU limit may end it anywhere. */
#include "modules/modules.h"

#include "base/html.h"
#include "base/markdown.h"
#include "base/text.h"
#include "base/unicode.h"
#include "net/url.h"
#include "script/budget.h"
#include "script/options.h"

#include <string.h>

#include <lauxlib.h>

#define RESULT_MAX ((size_t)128 << 20) /* bytes, before they become a Lua string */
#define BOX "workers.text"

struct box {
    struct html html;
    struct buf out;
};

static int box_release(lua_State *L)
{
    struct box *box = lua_touserdata(L, 1);
    html_free(&box->html);
    buf_free(&box->out);
    return 0;
}

static void tick(void *context)
{
    budget_tick(context);
}

/* Pushes the box; its memory goes with it. */
static struct box *new_box(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", box_release}, {"__close", box_release}, {NULL, NULL}};
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
    html_init(&box->html, tick, L);
    buf_init(&box->out, RESULT_MAX);
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, closers, 0);
    lua_setmetatable(L, -2);
    return box;
}

static int push_result(lua_State *L, struct box *box, const char *function)
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

static const char *need_string(lua_State *L, const char *function, int index, const char *name, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "text.%s: argument %d (%s): string expected, got %s", function, index, name,
                   lua_isnoneornil(L, index) ? "nothing" : luaL_typename(L, index));
    return lua_tolstring(L, index, len);
}

static bool check_utf8(lua_State *L, const char *text, size_t len, size_t *bad)
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

static const char *need_text(lua_State *L, const char *function, int index, const char *name, size_t *len)
{
    size_t bad;
    const char *text = need_string(L, function, index, name, len);
    if (!check_utf8(L, text, *len, &bad))
        luaL_error(L, "text.%s: argument %d (%s): no UTF-8 at byte %I; text.toUtf8 repairs it or converts it",
                   function, index, name, (LUAI_UACINT)bad + 1);
    return text;
}

/* True when there is a table of options. */
static bool check_options(lua_State *L, const char *function, int index, const struct option_spec *specs)
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
    const char *text = need_string(L, "isUtf8", 1, "text", &len);
    bool valid = check_utf8(L, text, len, &bad);
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
    const char *bytes = need_string(L, "toUtf8", 1, "bytes", &len);
    const char *replacement = UNICODE_REPLACEMENT;
    enum unicode_encoding encoding = UNICODE_UTF8;
    if (check_options(L, "toUtf8", 2, specs)) {
        encoding = encodings[option_of(L, 2, "toUtf8", "from", names)];
        if (lua_getfield(L, 2, "replacement") != LUA_TNIL)
            replacement = lua_tolstring(L, -1, &replacement_len);
        if (!check_utf8(L, replacement, replacement_len, &bad))
            return luaL_error(L, "text.toUtf8: option \"replacement\": must be UTF-8");
    }
    struct box *box = new_box(L);
    unicode_to_utf8(&box->out, encoding, bytes, len, replacement, replacement_len, &box->html.ticker);
    return push_result(L, box, "toUtf8");
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
    const char *text = need_text(L, "length", 1, "text", &len);
    enum unicode_unit unit = UNICODE_CODE_POINTS;
    if (check_options(L, "length", 2, specs))
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
    const char *text = need_text(L, "truncate", 1, "text", &len), *ellipsis = "";
    int integral = 0;
    lua_Integer max = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &integral) : 0;
    if (!integral || max < 0)
        return luaL_error(L, "text.truncate: argument 2 (max): whole number from 0 expected, got %s",
                          luaL_tolstring(L, 2, NULL));
    enum unicode_unit unit = UNICODE_CODE_POINTS;
    lua_settop(L, 3);
    if (check_options(L, "truncate", 3, specs)) {
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
    const char *text = need_text(L, "trim", 1, "text", &len);
    struct ticker ticker = {tick, L, 0};
    size_t start = unicode_trim(text, len, &trimmed, &ticker);
    lua_pushlstring(L, text + start, trimmed);
    return 1;
}

/* ---- forms and case ---- */

static int map(lua_State *L, const char *function, unsigned maps)
{
    size_t len;
    const char *text = need_text(L, function, 1, "text", &len);
    struct box *box = new_box(L);
    unicode_map(&box->out, &box->html.work[0], maps, text, len, &box->html.ticker);
    return push_result(L, box, function);
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
    const char *text = need_text(L, "fold", 1, "text", &len);
    struct box *box = new_box(L);
    unicode_fold(&box->out, &box->html.work[0], &box->html.work[1], text, len, &box->html.ticker);
    return push_result(L, box, "fold");
}

static int text_lower(lua_State *L)
{
    size_t len;
    const char *text = need_text(L, "lower", 1, "text", &len);
    struct box *box = new_box(L);
    unicode_lower(&box->out, text, len, &box->html.ticker);
    return push_result(L, box, "lower");
}

static int text_upper(lua_State *L)
{
    size_t len;
    const char *text = need_text(L, "upper", 1, "text", &len);
    struct box *box = new_box(L);
    unicode_upper(&box->out, text, len, &box->html.ticker);
    return push_result(L, box, "upper");
}

static int text_slug(lua_State *L)
{
    size_t len;
    const char *text = need_text(L, "slug", 1, "text", &len);
    struct box *box = new_box(L);
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
    return push_result(L, box, "slug");
}

/* ---- HTML ---- */

/* Bytes that are no UTF-8 are repaired: pages are what they are. Pushes the box. */
static struct box *need_html(lua_State *L, const char *function, const char **text, size_t *len)
{
    size_t bad;
    *text = need_string(L, function, 1, "html", len);
    if (*len > HTML_INPUT_MAX)
        luaL_error(L, "text.%s: argument 1 (html): %I bytes; the most is %I", function, (LUAI_UACINT)*len,
                   (LUAI_UACINT)HTML_INPUT_MAX);
    struct box *box = new_box(L);
    if (check_utf8(L, *text, *len, &bad))
        return box;
    unicode_to_utf8(&box->out, UNICODE_UTF8, *text, *len, UNICODE_REPLACEMENT, strlen(UNICODE_REPLACEMENT),
                    &box->html.ticker);
    int top = lua_gettop(L);
    push_result(L, box, function);
    lua_replace(L, 1); /* keeps it */
    lua_settop(L, top);
    *text = lua_tolstring(L, 1, len);
    return box;
}

static int finish_html(lua_State *L, struct box *box, const char *function, enum err_code code,
                       const struct err *err)
{
    if (code != ERR_NONE)
        return luaL_error(L, "text.%s: %s", function, err->message);
    return push_result(L, box, function);
}

static int text_html_to_text(lua_State *L)
{
    const char *html;
    size_t len;
    struct err err;
    struct box *box = need_html(L, "htmlToText", &html, &len);
    enum err_code code = html_to_text(&box->html, html, len, &box->out, &err);
    return finish_html(L, box, "htmlToText", code, &err);
}

struct base_url {
    const char *text;
    size_t len;
};

/* A reference that means nothing at this base stays as it is. */
static void resolve(void *context, const char *reference, size_t len, struct buf *out)
{
    const struct base_url *base = context;
    struct err ignored;
    if (url_join(out, base->text, base->len, reference, len, &ignored) != ERR_NONE)
        buf_clear(out);
}

static int text_html_to_markdown(lua_State *L)
{
    static const struct option_spec specs[] = {
        {"baseUrl", OPTION_STRING, false, "where the page is, for its relative links"},
        {NULL, OPTION_ANY, false, NULL},
    };
    const char *html;
    size_t len;
    struct err err;
    struct base_url base = {NULL, 0};
    lua_settop(L, 2);
    need_string(L, "htmlToMarkdown", 1, "html", &len);
    if (check_options(L, "htmlToMarkdown", 2, specs) && lua_getfield(L, 2, "baseUrl") != LUA_TNIL)
        base.text = lua_tolstring(L, -1, &base.len);
    struct box *box = need_html(L, "htmlToMarkdown", &html, &len);
    struct html_links links = {resolve, &base};
    if (base.text != NULL && url_join(&box->out, base.text, base.len, "", 0, &err) != ERR_NONE)
        return luaL_error(L, "text.htmlToMarkdown: option \"baseUrl\": %s", err.message);
    buf_clear(&box->out);
    enum err_code code =
        html_to_markdown(&box->html, html, len, base.text != NULL ? &links : NULL, &box->out, &err);
    return finish_html(L, box, "htmlToMarkdown", code, &err);
}

static int text_escape_html(lua_State *L)
{
    size_t len;
    const char *text = need_string(L, "escapeHtml", 1, "text", &len);
    struct box *box = new_box(L);
    for (size_t at = 0, piece; at < len; at += piece) {
        piece = len - at < TICKER_STEPS ? len - at : TICKER_STEPS;
        html_escape(&box->out, text + at, piece);
        budget_tick(L);
    }
    return push_result(L, box, "escapeHtml");
}

static int text_unescape_html(lua_State *L)
{
    size_t len;
    struct err err;
    const char *text = need_string(L, "unescapeHtml", 1, "text", &len);
    if (memchr(text, '&', len) == NULL) {
        lua_settop(L, 1);
        return 1;
    }
    struct box *box = new_box(L);
    enum err_code code = html_unescape(&box->html, text, len, &box->out, &err);
    return finish_html(L, box, "unescapeHtml", code, &err);
}

/* ---- Markdown ---- */

static int text_escape_markdown(lua_State *L)
{
    size_t len;
    const char *text = need_text(L, "escapeMarkdown", 1, "text", &len);
    struct box *box = new_box(L);
    markdown_escape(&box->out, text, len, &box->html.ticker);
    return push_result(L, box, "escapeMarkdown");
}

#define COLUMNS_MAX 1000

/* Pushes a cell's text: of strings, numbers and booleans; "" for nil and null. index is of the value. */
static void push_cell(lua_State *L, lua_Integer row, lua_Integer column)
{
    int type = lua_type(L, -1);
    if (type == LUA_TNIL || (type == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == NULL)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    } else if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
        luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
    } else if (row == 0) {
        luaL_error(L, "text.markdownTable: option \"header\": entry %I: text or a number expected, got %s",
                   (LUAI_UACINT)column, luaL_typename(L, -1));
    } else {
        luaL_error(
            L, "text.markdownTable: argument 1 (rows): row %I, cell %I: text or a number expected, got %s",
            (LUAI_UACINT)row, (LUAI_UACINT)column, luaL_typename(L, -1));
    }
}

/* Writes the row on top of the stack, padded to columns. */
static void add_row(lua_State *L, struct box *box, lua_Integer row, lua_Integer columns)
{
    for (lua_Integer column = 1; column <= columns; column++) {
        size_t len;
        lua_rawgeti(L, -1, column);
        push_cell(L, row, column);
        const char *text = lua_tolstring(L, -1, &len);
        markdown_cell(&box->out, text, len);
        ticker_spend(&box->html.ticker, len + 16);
        lua_pop(L, 1);
    }
    markdown_end_row(&box->out);
    buf_addc(&box->out, '\n');
}

static lua_Integer need_columns(lua_State *L, int index, const char *what)
{
    lua_Integer columns = (lua_Integer)lua_rawlen(L, index);
    if (columns < 1 || columns > COLUMNS_MAX)
        luaL_error(L, "text.markdownTable: %s: a list of 1 to %d cells expected, got one of %I", what,
                   COLUMNS_MAX, (LUAI_UACINT)columns);
    return columns;
}

static enum markdown_align align_of(lua_State *L, int options, lua_Integer column)
{
    static const char *const names[] = {"", "left", "center", "right"};
    if (options == 0 || lua_getfield(L, options, "align") != LUA_TTABLE) {
        lua_pop(L, options == 0 ? 0 : 1);
        return MARKDOWN_NONE;
    }
    lua_rawgeti(L, -1, column);
    int found = lua_isnil(L, -1) ? MARKDOWN_NONE : -1;
    for (int i = 0; i < 4 && found < 0; i++) {
        if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), names[i]) == 0)
            found = i;
    }
    if (found < 0)
        luaL_error(L,
                   "text.markdownTable: option \"align\": entry %I: \"left\", \"center\", \"right\" or \"\" "
                   "expected, got %s",
                   (LUAI_UACINT)column, luaL_tolstring(L, -1, NULL));
    lua_pop(L, 2);
    return (enum markdown_align)found;
}

static int text_markdown_table(lua_State *L)
{
    static const struct option_spec specs[] = {
        {"align", OPTION_TABLE, false, "a list of \"left\", \"center\" and \"right\""},
        {"header", OPTION_TABLE, false, "a list of titles; without it the first row"},
        {NULL, OPTION_ANY, false, NULL},
    };
    if (!lua_istable(L, 1))
        return luaL_error(L, "text.markdownTable: argument 1 (rows): list of rows expected, got %s",
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    lua_settop(L, 2);
    int options = check_options(L, "markdownTable", 2, specs) ? 2 : 0;
    lua_Integer rows = (lua_Integer)lua_rawlen(L, 1), row = 1;
    struct box *box = new_box(L);
    bool header = options != 0 && lua_getfield(L, options, "header") == LUA_TTABLE;
    if (!header) {
        if (rows == 0)
            return luaL_error(L, "text.markdownTable: argument 1 (rows): no row, and no option \"header\"");
        if (lua_rawgeti(L, 1, row) != LUA_TTABLE)
            return luaL_error(L,
                              "text.markdownTable: argument 1 (rows): row 1: list of cells expected, got %s",
                              luaL_typename(L, -1));
    }
    lua_Integer columns =
        need_columns(L, lua_gettop(L), header ? "option \"header\"" : "argument 1 (rows): row 1");
    add_row(L, box, header ? 0 : row++, columns);
    lua_pop(L, 1);
    for (lua_Integer column = 1; column <= columns; column++)
        markdown_delimiter_cell(&box->out, align_of(L, options, column));
    markdown_end_row(&box->out);
    buf_addc(&box->out, '\n');
    for (; row <= rows; row++) {
        if (lua_rawgeti(L, 1, row) != LUA_TTABLE)
            return luaL_error(L,
                              "text.markdownTable: argument 1 (rows): row %I: list of cells expected, got %s",
                              (LUAI_UACINT)row, luaL_typename(L, -1));
        if ((lua_Integer)lua_rawlen(L, -1) > columns)
            return luaL_error(L, "text.markdownTable: argument 1 (rows): row %I has %I cells, the header %I",
                              (LUAI_UACINT)row, (LUAI_UACINT)lua_rawlen(L, -1), (LUAI_UACINT)columns);
        add_row(L, box, row, columns);
        lua_pop(L, 1);
    }
    return push_result(L, box, "markdownTable");
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
