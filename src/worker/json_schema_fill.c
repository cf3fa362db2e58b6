/* Puts defaults in place. Must only be called where Lua may raise. */
#include "worker/json_schema.h"
#include "worker/json_schema_priv.h"

#include "modules/json.h"

#include <lauxlib.h>

static void fill_node(lua_State *L, const struct schema_node *node, int index, long *steps);

static void push_scalar(lua_State *L, const struct enum_value *value)
{
    switch (value->kind) {
    case VALUE_STRING:
        lua_pushlstring(L, value->string.text, value->string.len);
        break;
    case VALUE_INTEGER:
        lua_pushinteger(L, value->integer);
        break;
    case VALUE_FLOAT:
        lua_pushnumber(L, value->number);
        break;
    case VALUE_BOOLEAN:
        lua_pushboolean(L, value->integer != 0);
        break;
    case VALUE_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    }
}

static void fill_object(lua_State *L, const struct schema_node *node, int index, long *steps)
{
    for (size_t i = 0; i < node->property_count; i++) {
        const struct schema_property *property = &node->properties[i];
        lua_pushlstring(L, property->name.text, property->name.len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, index) != LUA_TNIL) {
            fill_node(L, property->schema, lua_gettop(L), steps);
        } else if (property->schema->preset != NULL) {
            push_scalar(L, property->schema->preset);
            lua_replace(L, -2);
            lua_rawset(L, index);
            continue;
        }
        lua_pop(L, 2);
    }
}

static void fill_node(lua_State *L, const struct schema_node *node, int index, long *steps)
{
    if (!lua_istable(L, index))
        return;
    luaL_checkstack(L, 8, "the input nests too deeply");
    *steps += 1 + (long)node->property_count;
    if (*steps > JSON_SCHEMA_MAX_STEPS)
        luaL_error(L, "the input has too many places for defaults");
    if (node->target != NULL)
        fill_node(L, node->target, index, steps);
    if (!json_is_array(L, index)) {
        fill_object(L, node, index, steps);
        return;
    }
    if (node->items == NULL)
        return;
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, index, i);
        fill_node(L, node->items, lua_gettop(L), steps);
        lua_pop(L, 1);
    }
}

void json_schema_fill(const struct json_schema *schema, lua_State *L, int index)
{
    long steps = 0;
    fill_node(L, schema->root, lua_absindex(L, index), &steps);
}
