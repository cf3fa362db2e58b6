/* The request of a webhook as a Lua value. */
#include "engine/event.h"

#include "base/multipart.h"
#include "modules/json.h"
#include "net/url.h"

#include <lauxlib.h>
#include <string.h>
#include <strings.h>

/* The value of a header in the event on top of the stack; it stays valid as long as the event. */
static const char *header(lua_State *L, const char *name)
{
    const char *value = NULL;
    if (lua_getfield(L, -1, "headers") == LUA_TTABLE) {
        lua_getfield(L, -1, name);
        value = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return value;
}

/* Whether a content type is this one, or has this structured suffix (RFC 6839). */
static bool is_type(const char *value, const char *type, const char *suffix)
{
    size_t len = strcspn(value, "; \t");
    if (len == strlen(type) && strncasecmp(value, type, len) == 0)
        return true;
    size_t end = suffix != NULL ? strlen(suffix) : 0;
    return end > 0 && len > end && strncasecmp(value + len - end, suffix, end) == 0;
}

/* Pushes one part of a form, decoded. */
static void push_decoded(lua_State *L, const char *text, size_t len)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len + 1);
    luaL_pushresultsize(&buffer, url_decode_loose(out, text, len, true));
}

/* form[name] = value, both on top of the stack above the form; of a name that is there several times a list.
 */
static void add_field(lua_State *L)
{
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -4) == LUA_TNIL) {
        lua_pop(L, 1);
    } else if (json_is_array(L, -1)) {
        lua_insert(L, -2); /* list, value */
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    } else {
        lua_createtable(L, 2, 0);
        json_push_array_metatable(L);
        lua_setmetatable(L, -2); /* name, value, first, list */
        lua_insert(L, -3);       /* name, list, value, first */
        lua_rawseti(L, -3, 1);
        lua_rawseti(L, -2, 2);
    }
    lua_rawset(L, -3);
}

/* Pushes a table of the fields. */
static void push_form(lua_State *L, const char *text, size_t len)
{
    const char *end = text + len;
    lua_newtable(L);
    while (text < end) {
        const char *stop = memchr(text, '&', (size_t)(end - text));
        stop = stop != NULL ? stop : end;
        const char *equals = memchr(text, '=', (size_t)(stop - text));
        if (stop > text) {
            push_decoded(L, text, (size_t)((equals != NULL ? equals : stop) - text));
            push_decoded(L, equals != NULL ? equals + 1 : "",
                         equals != NULL ? (size_t)(stop - equals - 1) : 0);
            add_field(L);
        }
        text = stop + 1;
    }
}

static void push_text(lua_State *L, const struct multipart_text *text)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, text->len + 1);
    luaL_pushresultsize(&buffer, multipart_decode(text, out));
}

/* Pushes the value of a part: a string, or of a file { filename =, contentType =, content = }. */
static void push_part(lua_State *L, const struct multipart_part *part)
{
    if (part->filename.bytes == NULL) {
        lua_pushlstring(L, part->content, part->content_len);
        return;
    }
    lua_createtable(L, 0, 3);
    push_text(L, &part->filename);
    lua_setfield(L, -2, "filename");
    if (part->type.bytes != NULL) {
        push_text(L, &part->type);
        lua_setfield(L, -2, "contentType");
    }
    lua_pushlstring(L, part->content, part->content_len);
    lua_setfield(L, -2, "content");
}

/* Pushes a table of the fields; nothing when the body is damaged. */
static enum err_code push_multipart(lua_State *L, const char *type, const char *body, size_t len,
                                    struct err *err)
{
    struct multipart form;
    struct multipart_part part;
    bool found = true;
    enum err_code code = multipart_init(&form, type, strlen(type), body, len, err);
    lua_newtable(L);
    while (code == ERR_NONE && found) {
        code = multipart_next(&form, &part, &found, err);
        if (code != ERR_NONE || !found)
            continue;
        push_text(L, &part.name);
        push_part(L, &part);
        add_field(L);
    }
    if (code != ERR_NONE)
        lua_pop(L, 1);
    return code;
}

void event_push_webhook(lua_State *L, const struct delivery *delivery)
{
    struct err err;
    luaL_checkstack(L, 16, "event");
    if (json_decode(L, delivery->event, delivery->event_len, &err) != ERR_NONE || !lua_istable(L, -1))
        luaL_error(L, "the stored event is damaged");
    lua_pushstring(L, delivery->id);
    lua_setfield(L, -2, "deliveryId");
    if (delivery->body == NULL)
        return; /* an event that was sent as JSON, body and all */
    lua_pushlstring(L, delivery->body, delivery->body_len);
    lua_setfield(L, -2, "rawBody");
    const char *type = header(L, "content-type");
    if (type == NULL || delivery->body_len == 0)
        return;
    const char *damaged = NULL;
    if (is_type(type, "application/json", "+json")) {
        if (json_decode(L, delivery->body, delivery->body_len, &err) != ERR_NONE)
            damaged = "the body is not JSON";
    } else if (is_type(type, "multipart/form-data", NULL)) {
        if (push_multipart(L, type, delivery->body, delivery->body_len, &err) != ERR_NONE)
            damaged = "the body is not a form";
    } else if (is_type(type, "application/x-www-form-urlencoded", NULL)) {
        push_form(L, delivery->body, delivery->body_len);
    } else {
        return;
    }
    if (damaged != NULL)
        lua_pushfstring(L, "%s: %s", damaged, err.message);
    lua_setfield(L, -2, damaged != NULL ? "bodyError" : "body");
}
