/* workers.http: bodies of form data with files (multipart/form-data, RFC 7578). Must not send anything. */
#include "modules/http_priv.h"

#include "base/crypto.h"
#include "base/number.h"

#include <math.h>
#include <string.h>

#define BOUNDARY_RANDOM 16 /* bytes: that many cannot be in the content by chance */
#define MAX_PARTS 10000

static const struct option_spec part_options[] = {
    {"name", OPTION_STRING, true, "the field's name"},
    {"value", OPTION_ANY, false, NULL},
    {"content", OPTION_TEXT, false, "the file's bytes"},
    {"filename", OPTION_STRING, false, "the file's name"},
    {"contentType", OPTION_STRING, false, "such as \"image/png\""},
    {NULL, 0, false, NULL},
};

/* In quotes; what would end them is percent-encoded, as browsers do. */
static void add_quoted(struct buf *out, const char *text, size_t len)
{
    buf_addc(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            buf_adds(out, "%22");
        else if (text[i] == '\r')
            buf_adds(out, "%0D");
        else if (text[i] == '\n')
            buf_adds(out, "%0A");
        else
            buf_addc(out, text[i]);
    }
    buf_addc(out, '"');
}

/* The scalar at index as text; what is on the stack keeps it. */
static const char *scalar(lua_State *L, const struct call *call, int index, char digits[NUMBER_TEXT_MAX],
                          size_t *len)
{
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return lua_tolstring(L, index, len);
    case LUA_TBOOLEAN:
        *len = lua_toboolean(L, index) ? 4 : 5;
        return lua_toboolean(L, index) ? "true" : "false";
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            *len = number_format_integer(lua_tointeger(L, index), digits);
            return digits;
        }
        if (isfinite(lua_tonumber(L, index))) {
            *len = number_format_js(lua_tonumber(L, index), digits);
            return digits;
        }
        break;
    default:
        break;
    }
    luaL_error(L,
               "%s: option \"multipart\": a value must be a string, a finite number, true or false, got %s",
               call->function, luaL_typename(L, index));
    return NULL;
}

/* The field of the part at index, or NULL. Stays on the stack. */
static const char *part_text(lua_State *L, int index, const char *name, size_t *len)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
    return lua_tolstring(L, -1, len);
}

static void check_content_type(lua_State *L, const struct call *call, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
            luaL_error(L, "%s: option \"multipart\": contentType must be plain ASCII", call->function);
}

/* One part, the table on top of the stack. */
static void add_part(lua_State *L, struct call *call, const char *boundary)
{
    struct buf *out = &call->body;
    int top = lua_gettop(L);
    lua_pushfstring(L, "%s: option \"multipart\"", call->function);
    options_check(L, top, part_options, lua_tostring(L, -1));
    size_t len = 0;
    buf_addf(out, "--%s\r\nContent-Disposition: form-data; name=", boundary);
    const char *name = part_text(L, top, "name", &len);
    add_quoted(out, name, len);
    const char *filename = part_text(L, top, "filename", &len);
    if (filename != NULL) {
        buf_adds(out, "; filename=");
        add_quoted(out, filename, len);
    }
    buf_adds(out, "\r\n");
    const char *type = part_text(L, top, "contentType", &len);
    if (type != NULL)
        check_content_type(L, call, type, len);
    else if (filename != NULL)
        type = "application/octet-stream";
    if (type != NULL)
        buf_addf(out, "Content-Type: %s\r\n", type);
    buf_adds(out, "\r\n");
    const char *content = part_text(L, top, "content", &len);
    lua_pushliteral(L, "value");
    bool has_value = lua_rawget(L, top) != LUA_TNIL;
    if (has_value == (content != NULL))
        luaL_error(L, "%s: option \"multipart\": part \"%s\" must have either value or content",
                   call->function, name);
    char digits[NUMBER_TEXT_MAX];
    if (has_value)
        content = scalar(L, call, -1, digits, &len);
    buf_add(out, content, len);
    buf_adds(out, "\r\n");
    lua_settop(L, top);
}

const char *http_read_multipart(lua_State *L, struct call *call)
{
    unsigned char bytes[BOUNDARY_RANDOM];
    char boundary[2 * BOUNDARY_RANDOM + 1];
    struct err err;
    if (crypto_random(bytes, sizeof bytes, &err) != ERR_NONE)
        luaL_error(L, "%s: %s", call->function, err.message);
    crypto_encode(CRYPTO_HEX, bytes, sizeof bytes, boundary);
    int list = lua_gettop(L);
    size_t count = lua_istable(L, list) ? lua_rawlen(L, list) : 0;
    if (count == 0 || count > MAX_PARTS)
        luaL_error(
            L,
            "%s: option \"multipart\" must be a list of parts { { name = , value = }, { name = , content = , "
            "filename = }, … }",
            call->function);
    luaL_checkstack(L, 12, NULL);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, list, (lua_Integer)i);
        add_part(L, call, boundary);
        lua_pop(L, 1);
    }
    buf_addf(&call->body, "--%s--\r\n", boundary);
    return lua_pushfstring(L, "multipart/form-data; boundary=%s", boundary);
}
