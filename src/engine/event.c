/* The request of a webhook as a Lua value. */
#include "engine/event.h"

#include "base/buf.h"
#include "base/mem.h"
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

/* Pushes a table of the fields; one that is there several times is a list. */
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
            /* stack: form, name, value */
            lua_pushvalue(L, -2);
            int type = lua_rawget(L, -4);
            if (type == LUA_TNIL) {
                lua_pop(L, 1);
            } else if (type == LUA_TTABLE) {
                lua_insert(L, -2); /* list, value */
                lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
            } else {
                json_push_array_metatable(L);
                lua_createtable(L, 2, 0);
                lua_insert(L, -2);
                lua_setmetatable(L, -2); /* name, value, first, list */
                lua_insert(L, -3);       /* name, list, value, first */
                lua_rawseti(L, -3, 1);
                lua_rawseti(L, -2, 2);
            }
            lua_rawset(L, -3);
        }
        text = stop + 1;
    }
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
    if (is_type(type, "application/json", "+json")) {
        if (json_decode(L, delivery->body, delivery->body_len, &err) == ERR_NONE) {
            lua_setfield(L, -2, "body");
        } else {
            lua_pushfstring(L, "the body is not JSON: %s", err.message);
            lua_setfield(L, -2, "bodyError");
        }
    } else if (is_type(type, "application/x-www-form-urlencoded", NULL)) {
        push_form(L, delivery->body, delivery->body_len);
        lua_setfield(L, -2, "body");
    }
}
