/* The small values of a compiled JSON Schema: names, and scalars as enum holds them. Must not allocate. */
#include "worker/json_schema_priv.h"

#include <math.h>
#include <string.h>

const char *const schema_type_names[] = {"any",     "string", "number", "integer",
                                         "boolean", "null",   "array",  "object"};

int schema_compare_text(struct text_ref a, struct text_ref b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.text, b.text, len) : 0;
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

const struct schema_property *schema_find_property(const struct schema_node *node, const char *name,
                                                   size_t len)
{
    struct text_ref wanted = {name, len};
    size_t low = 0;
    size_t high = node->property_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = schema_compare_text(node->by_name[middle]->name, wanted);
        if (order == 0)
            return node->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool schema_read_scalar(lua_State *L, int index, struct enum_value *value)
{
    *value = (struct enum_value){.kind = VALUE_NULL};
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        value->kind = VALUE_STRING;
        value->string.text = lua_tolstring(L, index, &value->string.len);
        return true;
    case LUA_TBOOLEAN:
        value->kind = VALUE_BOOLEAN;
        value->integer = lua_toboolean(L, index);
        return true;
    case LUA_TNUMBER:
        value->kind = VALUE_INTEGER;
        if (lua_isinteger(L, index)) {
            value->integer = lua_tointeger(L, index);
            return true;
        }
        value->number = lua_tonumber(L, index);
        if (!isfinite(value->number))
            return false;
        if (value->number >= -0x1p63 && value->number < 0x1p63 && value->number == floor(value->number))
            value->integer = (long long)value->number;
        else
            value->kind = VALUE_FLOAT;
        return true;
    case LUA_TNIL:
        return true;
    case LUA_TLIGHTUSERDATA:
        return lua_touserdata(L, index) == NULL;
    default:
        return false;
    }
}

int schema_compare_scalars(const struct enum_value *a, const struct enum_value *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    switch (a->kind) {
    case VALUE_STRING:
        return schema_compare_text(a->string, b->string);
    case VALUE_FLOAT:
        return a->number < b->number ? -1 : a->number > b->number;
    case VALUE_INTEGER:
    case VALUE_BOOLEAN:
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    case VALUE_NULL:
        return 0;
    }
    return 0;
}
