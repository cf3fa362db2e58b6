/* Texts that come in pieces. Must not call the script's function itself: only the module that waits for it
 * knows how to go on. */
#include "modules/chunks.h"

#include <lauxlib.h>

void chunks_check(lua_State *L, int arg, bool function_allowed, const char *function)
{
    int type = lua_type(L, arg);
    if (type == LUA_TSTRING || (type == LUA_TFUNCTION && function_allowed))
        return;
    luaL_error(
        L, "%s: argument %d (%s): %s expected, got %s", function, arg, function_allowed ? "source" : "text",
        function_allowed ? "a string, or a function that returns strings," : "string", luaL_typename(L, arg));
}

void chunks_open(lua_State *L, int box, struct chunks *chunks, int source)
{
    *chunks = (struct chunks){.data = ""};
    lua_pushvalue(L, source);
    if (lua_type(L, source) == LUA_TSTRING) {
        chunks->data = lua_tolstring(L, source, &chunks->len);
        chunks->ended = true;
        lua_setiuservalue(L, box, CHUNKS_STRING);
    } else {
        lua_setiuservalue(L, box, CHUNKS_FUNCTION);
    }
}

bool chunks_slice(struct chunks *chunks, const char **data, size_t *len)
{
    size_t left = chunks->len - chunks->at;
    if (left == 0)
        return false;
    *data = chunks->data + chunks->at;
    *len = left < CHUNKS_SLICE ? left : CHUNKS_SLICE;
    chunks->at += *len;
    return true;
}

void chunks_enter(lua_State *L, struct chunks *chunks, const char *function)
{
    if (chunks->busy)
        luaL_error(L, "%s: this text is being read by somebody else, or reading it has failed", function);
    chunks->busy = true;
}

void chunks_leave(struct chunks *chunks)
{
    chunks->busy = false;
}

void chunks_ask(lua_State *L, int box)
{
    lua_getiuservalue(L, box, CHUNKS_FUNCTION);
}

void chunks_take(lua_State *L, int box, struct chunks *chunks, const char *function)
{
    chunks->data = "";
    chunks->len = chunks->at = 0;
    if (lua_isnil(L, -1))
        chunks->ended = true;
    else if (lua_type(L, -1) == LUA_TSTRING)
        chunks->data = lua_tolstring(L, -1, &chunks->len);
    else
        luaL_error(L, "%s: the source must return strings, and nil at the end; it returned a %s", function,
                   luaL_typename(L, -1));
    lua_setiuservalue(L, box, CHUNKS_STRING);
}
