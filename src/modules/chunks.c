/* Texts that come in pieces. Must not call the script's function itself: only the module that waits for it
 * knows how to go on. */
#include "modules/chunks.h"

#include <lauxlib.h>

/* Pushes the value's function read; or nothing, when it has none. */
static bool push_read(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE) {
        if (luaL_getmetafield(L, index, "__index") == LUA_TNIL)
            return false;
        lua_pop(L, 1);
    }
    if (lua_getfield(L, index, "read") == LUA_TFUNCTION)
        return true;
    lua_pop(L, 1);
    return false;
}

void chunks_check(lua_State *L, int arg, bool pieces_allowed, const char *function)
{
    int type = lua_type(L, arg);
    if (type == LUA_TSTRING || (type == LUA_TFUNCTION && pieces_allowed))
        return;
    if (!pieces_allowed)
        luaL_error(L, "%s: argument %d (text): string expected, got %s", function, arg,
                   luaL_typename(L, arg));
    if (!push_read(L, arg))
        luaL_error(L,
                   "%s: argument %d (source): a string, a function that returns strings, or a response of "
                   "http.stream expected, got %s",
                   function, arg, luaL_typename(L, arg));
    lua_pop(L, 1);
}

void chunks_open(lua_State *L, int box, struct chunks *chunks, int source)
{
    *chunks = (struct chunks){.data = ""};
    if (lua_type(L, source) == LUA_TSTRING) {
        chunks->data = lua_tolstring(L, source, &chunks->len);
        chunks->ended = true;
        lua_pushvalue(L, source);
        lua_setiuservalue(L, box, CHUNKS_STRING);
        return;
    }
    if (lua_type(L, source) == LUA_TFUNCTION) {
        lua_pushvalue(L, source);
    } else {
        lua_pushvalue(L, source);
        lua_setiuservalue(L, box, CHUNKS_SELF);
        lua_getfield(L, source, "read");
    }
    lua_setiuservalue(L, box, CHUNKS_FUNCTION);
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

int chunks_ask(lua_State *L, int box)
{
    lua_getiuservalue(L, box, CHUNKS_FUNCTION);
    if (lua_getiuservalue(L, box, CHUNKS_SELF) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    return 0;
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
