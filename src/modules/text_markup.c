/* workers.text: HTML and Markdown. Must not know how either works: base/html.h and base/markdown.h do. */
#include "modules/text_priv.h"

#include "base/markdown.h"
#include "base/unicode.h"
#include "script/budget.h"

#include <string.h>

#include <lauxlib.h>

/* ---- HTML ---- */

/* Bytes that are no UTF-8 are repaired: pages are what they are. Pushes the box. */
static struct text_box *need_html(lua_State *L, const char *function, const char **text, size_t *len)
{
    size_t bad;
    *text = text_need_string(L, function, 1, "html", len);
    if (*len > HTML_INPUT_MAX)
        luaL_error(L, "text.%s: argument 1 (html): %I bytes; the most is %I", function, (LUAI_UACINT)*len,
                   (LUAI_UACINT)HTML_INPUT_MAX);
    struct text_box *box = text_new_box(L);
    if (text_check_utf8(L, *text, *len, &bad))
        return box;
    unicode_to_utf8(&box->out, UNICODE_UTF8, *text, *len, UNICODE_REPLACEMENT, strlen(UNICODE_REPLACEMENT),
                    &box->html.ticker);
    int top = lua_gettop(L);
    text_push_result(L, box, function);
    lua_replace(L, 1); /* keeps it */
    lua_settop(L, top);
    *text = lua_tolstring(L, 1, len);
    return box;
}

static int finish_html(lua_State *L, struct text_box *box, const char *function, enum err_code code,
                       const struct err *err)
{
    if (code != ERR_NONE)
        return luaL_error(L, "text.%s: %s", function, err->message);
    return text_push_result(L, box, function);
}

int text_html_to_text(lua_State *L)
{
    const char *html;
    size_t len;
    struct err err;
    struct text_box *box = need_html(L, "htmlToText", &html, &len);
    enum err_code code = html_to_text(&box->html, html, len, &box->out, &err);
    return finish_html(L, box, "htmlToText", code, &err);
}

/* A reference that means nothing at this base stays as it is. */
static void resolve(void *context, const char *reference, size_t len, struct buf *out)
{
    struct url url = {.port = -1};
    struct err ignored;
    if (url_parse(&url, reference, len, context, &ignored) == ERR_NONE)
        buf_add(out, buf_text(&url.text), url.text.len);
    url_free(&url);
}

int text_html_to_markdown(lua_State *L)
{
    static const struct option_spec specs[] = {
        {"baseUrl", OPTION_STRING, false, "where the page is, for its relative links"},
        {NULL, OPTION_ANY, false, NULL},
    };
    const char *html, *base = NULL;
    size_t len, base_len;
    struct err err;
    lua_settop(L, 2);
    text_need_string(L, "htmlToMarkdown", 1, "html", &len);
    if (text_check_options(L, "htmlToMarkdown", 2, specs) && lua_getfield(L, 2, "baseUrl") != LUA_TNIL)
        base = lua_tolstring(L, -1, &base_len);
    struct text_box *box = need_html(L, "htmlToMarkdown", &html, &len);
    struct html_links links = {resolve, &box->base};
    if (base != NULL && url_parse(&box->base, base, base_len, NULL, &err) != ERR_NONE)
        return luaL_error(L, "text.htmlToMarkdown: option \"baseUrl\": %s", err.message);
    enum err_code code =
        html_to_markdown(&box->html, html, len, base != NULL ? &links : NULL, &box->out, &err);
    return finish_html(L, box, "htmlToMarkdown", code, &err);
}

int text_escape_html(lua_State *L)
{
    size_t len;
    const char *text = text_need_string(L, "escapeHtml", 1, "text", &len);
    struct text_box *box = text_new_box(L);
    for (size_t at = 0, piece; at < len; at += piece) {
        piece = len - at < TICKER_STEPS ? len - at : TICKER_STEPS;
        html_escape(&box->out, text + at, piece);
        budget_tick(L);
    }
    return text_push_result(L, box, "escapeHtml");
}

int text_unescape_html(lua_State *L)
{
    size_t len;
    struct err err;
    const char *text = text_need_string(L, "unescapeHtml", 1, "text", &len);
    if (memchr(text, '&', len) == NULL) {
        lua_settop(L, 1);
        return 1;
    }
    struct text_box *box = text_new_box(L);
    enum err_code code = html_unescape(&box->html, text, len, &box->out, &err);
    return finish_html(L, box, "unescapeHtml", code, &err);
}

/* ---- Markdown ---- */

int text_escape_markdown(lua_State *L)
{
    size_t len;
    const char *text = text_need_text(L, "escapeMarkdown", 1, "text", &len);
    struct text_box *box = text_new_box(L);
    markdown_escape(&box->out, text, len, &box->html.ticker);
    return text_push_result(L, box, "escapeMarkdown");
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
static void add_row(lua_State *L, struct text_box *box, lua_Integer row, lua_Integer columns)
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

int text_markdown_table(lua_State *L)
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
    int options = text_check_options(L, "markdownTable", 2, specs) ? 2 : 0;
    lua_Integer rows = (lua_Integer)lua_rawlen(L, 1), row = 1;
    struct text_box *box = text_new_box(L);
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
    return text_push_result(L, box, "markdownTable");
}
