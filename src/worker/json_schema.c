/* Compiles JSON Schemas. Must not raise, and must not allocate in Lua: its own memory would leak. Tables
 * are therefore walked with lua_next and never asked for a key. */
#include "worker/json_schema.h"
#include "worker/json_schema_priv.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Where the compiler is, for messages: a list on the C stack, innermost first. */
struct place {
    const struct place *up;
    const char *key;
    size_t key_len;
    long index; /* of an array's element, counted from 0; -1 for a key */
};

struct compiler {
    lua_State *L;
    struct json_schema *schema;
    struct err *err;
    int depth;
};

/* Messages */

static void write_place(struct buf *out, const struct place *place)
{
    if (place == NULL)
        return;
    write_place(out, place->up);
    if (place->index >= 0) {
        buf_addf(out, "[%ld]", place->index);
        return;
    }
    if (place->up != NULL)
        buf_addc(out, '.');
    buf_add(out, place->key, place->key_len);
}

static enum err_code refuse(struct compiler *compiler, const struct place *place, enum err_code code,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

static enum err_code refuse(struct compiler *compiler, const struct place *place, enum err_code code,
                            const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    err_vset(compiler->err, code, format, arguments);
    va_end(arguments);
    struct buf where;
    buf_init(&where, 400);
    write_place(&where, place);
    if (where.len > 0)
        err_context(compiler->err, "invalid schema at %s%s", buf_text(&where), where.failed ? "..." : "");
    else
        err_context(compiler->err, "invalid schema");
    buf_free(&where);
    return code;
}

static enum err_code out_of_memory(struct compiler *compiler)
{
    return err_nomem(compiler->err);
}

/* Reading Lua values */

static enum err_code copy_text(struct compiler *compiler, int index, struct text_ref *out)
{
    size_t len;
    const char *text = lua_tolstring(compiler->L, index, &len);
    out->len = len;
    out->text = arena_strndup(&compiler->schema->arena, text, len);
    return out->text != NULL ? ERR_NONE : out_of_memory(compiler);
}

static bool key_is(lua_State *L, int index, const char *name)
{
    size_t len;
    const char *key = lua_tolstring(L, index, &len);
    return len == strlen(name) && memcmp(key, name, len) == 0;
}

static void *take_array(struct compiler *compiler, size_t count, size_t size)
{
    if (count > SIZE_MAX / 2 / size)
        return NULL;
    return arena_zalloc(&compiler->schema->arena, count * size);
}

/* A j value keeps its schema in its metatable's __jsonvalue: puts that table in place of the value on the
 * top. */
static void unwrap_builder(lua_State *L)
{
    if (lua_type(L, -1) != LUA_TTABLE || !lua_getmetatable(L, -1))
        return;
    bool found = false;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) == LUA_TSTRING && key_is(L, -2, "__jsonvalue") && lua_istable(L, -1)) {
            found = true;
            break;
        }
        lua_pop(L, 1);
    }
    if (!found) {
        lua_pop(L, 1);
        return;
    }
    /* stack: value, metatable, key, schema */
    lua_replace(L, -4);
    lua_pop(L, 2);
}

static enum err_code compile_node(struct compiler *compiler, const struct place *place,
                                  struct schema_node **out);

static const char *type_on_top(lua_State *L)
{
    return lua_typename(L, lua_type(L, -1));
}

/* One function per keyword, each with the keyword's value on the top of the stack, where it leaves it. */

static enum err_code compile_type(struct compiler *compiler, const struct place *place,
                                  struct schema_node *node)
{
    lua_State *L = compiler->L;
    if (lua_type(L, -1) != LUA_TSTRING)
        return refuse(compiler, place, ERR_INVALID,
                      "must be one type name, not a %s; for several types use anyOf", type_on_top(L));
    for (int type = TYPE_STRING; type <= TYPE_OBJECT; type++)
        if (key_is(L, -1, schema_type_names[type])) {
            node->type = (enum schema_type)type;
            return ERR_NONE;
        }
    return refuse(
        compiler, place, ERR_INVALID,
        "unknown type \"%.80s\"; valid types are string, number, integer, boolean, null, array and object",
        lua_tostring(L, -1));
}

static enum err_code compile_description(struct compiler *compiler, const struct place *place,
                                         struct schema_node *node)
{
    if (lua_type(compiler->L, -1) != LUA_TSTRING)
        return refuse(compiler, place, ERR_INVALID, "must be a string, not a %s", type_on_top(compiler->L));
    return copy_text(compiler, -1, &node->description);
}

/* What is written here means the same in every one of them. */
static enum err_code compile_dialect(struct compiler *compiler, const struct place *place,
                                     struct schema_node *node)
{
    static const char *const known[] = {
        "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema"};
    const char *name = lua_type(compiler->L, -1) == LUA_TSTRING ? lua_tostring(compiler->L, -1) : "";
    (void)node;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], name) == 0)
            return ERR_NONE;
    return refuse(compiler, place, ERR_INVALID, "must be %s, or that of 2019-09 or draft 7", known[0]);
}

static enum err_code compile_format(struct compiler *compiler, const struct place *place,
                                    struct schema_node *node)
{
    size_t len;
    const char *name = lua_type(compiler->L, -1) == LUA_TSTRING ? lua_tolstring(compiler->L, -1, &len) : NULL;
    node->format = name != NULL ? format_find(name, len) : NULL;
    if (node->format != NULL)
        return ERR_NONE;
    return refuse(
        compiler, place, ERR_INVALID,
        "unknown format \"%.80s\"; valid formats are date-time, date, time, duration, email, hostname, "
        "ipv4, ipv6 and uuid",
        name != NULL ? name : type_on_top(compiler->L));
}

static int compare_scalar_pointers(const void *a, const void *b)
{
    return schema_compare_scalars(*(const struct enum_value *const *)a, *(const struct enum_value *const *)b);
}

static enum err_code refuse_duplicate_values(struct compiler *compiler, const struct place *place,
                                             const struct schema_node *node)
{
    const struct enum_value **sorted = take_array(compiler, node->value_count, sizeof(struct enum_value *));
    if (sorted == NULL)
        return out_of_memory(compiler);
    for (size_t i = 0; i < node->value_count; i++)
        sorted[i] = &node->values[i];
    qsort(sorted, node->value_count, sizeof *sorted, compare_scalar_pointers);
    for (size_t i = 1; i < node->value_count; i++) {
        if (schema_compare_scalars(sorted[i - 1], sorted[i]) != 0)
            continue;
        if (sorted[i]->kind == VALUE_STRING)
            return refuse(compiler, place, ERR_INVALID, "lists \"%.80s\" twice; name each value once",
                          sorted[i]->string.text);
        return refuse(compiler, place, ERR_INVALID, "lists a value twice; name each value once");
    }
    return ERR_NONE;
}

static enum err_code compile_enum(struct compiler *compiler, const struct place *place,
                                  struct schema_node *node)
{
    lua_State *L = compiler->L;
    size_t count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    if (count == 0)
        return refuse(compiler, place, ERR_INVALID, "needs at least one allowed value");
    if (count > JSON_SCHEMA_MAX_NODES)
        return refuse(compiler, place, ERR_LIMIT, "has more than %d values", JSON_SCHEMA_MAX_NODES);
    node->values = take_array(compiler, count, sizeof *node->values);
    if (node->values == NULL)
        return out_of_memory(compiler);
    for (size_t i = 0; i < count; i++) {
        struct place element = {place, NULL, 0, (long)i};
        struct enum_value *value = &node->values[node->value_count++];
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        enum err_code code = ERR_NONE;
        if (lua_isnil(L, -1) || !schema_read_scalar(L, -1, value))
            code = refuse(compiler, &element, ERR_INVALID,
                          "must be a string, a finite number, true, false or null, not a %s", type_on_top(L));
        else if (value->kind == VALUE_STRING)
            code = copy_text(compiler, -1, &value->string);
        lua_pop(L, 1);
        if (code != ERR_NONE)
            return code;
    }
    return refuse_duplicate_values(compiler, place, node);
}

static enum err_code compile_default(struct compiler *compiler, const struct place *place,
                                     struct schema_node *node)
{
    node->preset = take_array(compiler, 1, sizeof *node->preset);
    if (node->preset == NULL)
        return out_of_memory(compiler);
    if (!schema_read_scalar(compiler->L, -1, node->preset))
        return refuse(compiler, place, ERR_INVALID,
                      "must be a string, a finite number, true, false or null, not a %s",
                      type_on_top(compiler->L));
    return node->preset->kind == VALUE_STRING ? copy_text(compiler, -1, &node->preset->string) : ERR_NONE;
}

static enum err_code compile_min_items(struct compiler *compiler, const struct place *place,
                                       struct schema_node *node)
{
    struct enum_value value;
    if (lua_type(compiler->L, -1) != LUA_TNUMBER || !schema_read_scalar(compiler->L, -1, &value) ||
        value.kind != VALUE_INTEGER || value.integer < 0)
        return refuse(compiler, place, ERR_INVALID, "must be a whole number, 0 or more");
    node->min_items = value.integer;
    return ERR_NONE;
}

static enum err_code compile_items(struct compiler *compiler, const struct place *place,
                                   struct schema_node *node)
{
    return compile_node(compiler, place, &node->items);
}

/* A table of name = schema, in no particular order. */
static enum err_code compile_named(struct compiler *compiler, const struct place *place,
                                   struct schema_property **list, size_t *list_count)
{
    lua_State *L = compiler->L;
    if (!lua_istable(L, -1))
        return refuse(compiler, place, ERR_INVALID, "must be a table of name = schema, not a %s",
                      type_on_top(L));
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        bool named = lua_type(L, -2) == LUA_TSTRING;
        lua_pop(L, named ? 1 : 2);
        if (!named)
            return refuse(compiler, place, ERR_INVALID,
                          "must be a table of name = schema, but has a key that is no string");
        count++;
    }
    *list = take_array(compiler, count, sizeof **list);
    if (*list == NULL)
        return out_of_memory(compiler);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        struct schema_property *property = &(*list)[*list_count];
        enum err_code code = copy_text(compiler, -2, &property->name);
        if (code == ERR_NONE) {
            struct place inside = {place, property->name.text, property->name.len, -1};
            code = compile_node(compiler, &inside, &property->schema);
        }
        if (code != ERR_NONE) {
            lua_pop(L, 2);
            return code;
        }
        (*list_count)++;
        lua_pop(L, 1);
    }
    return ERR_NONE;
}

static enum err_code compile_properties(struct compiler *compiler, const struct place *place,
                                        struct schema_node *node)
{
    node->has_properties = true;
    return compile_named(compiler, place, &node->properties, &node->property_count);
}

static enum err_code compile_definitions(struct compiler *compiler, const struct place *place,
                                         struct schema_node *node)
{
    return compile_named(compiler, place, &node->definitions, &node->definition_count);
}

static enum err_code compile_required(struct compiler *compiler, const struct place *place,
                                      struct schema_node *node)
{
    lua_State *L = compiler->L;
    if (!lua_istable(L, -1))
        return refuse(compiler, place, ERR_INVALID, "must be a list of property names, not a %s",
                      type_on_top(L));
    size_t count = lua_rawlen(L, -1);
    if (count > JSON_SCHEMA_MAX_NODES)
        return refuse(compiler, place, ERR_LIMIT, "has more than %d names", JSON_SCHEMA_MAX_NODES);
    node->has_required = true;
    node->required = take_array(compiler, count, sizeof *node->required);
    if (node->required == NULL)
        return out_of_memory(compiler);
    for (size_t i = 0; i < count; i++) {
        struct place element = {place, NULL, 0, (long)i};
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        enum err_code code = lua_type(L, -1) == LUA_TSTRING
                                 ? copy_text(compiler, -1, &node->required[node->required_count++])
                                 : refuse(compiler, &element, ERR_INVALID,
                                          "must be a property name, not a %s", type_on_top(L));
        lua_pop(L, 1);
        if (code != ERR_NONE)
            return code;
    }
    return ERR_NONE;
}

static enum err_code compile_additional(struct compiler *compiler, const struct place *place,
                                        struct schema_node *node)
{
    if (!lua_isboolean(compiler->L, -1))
        return refuse(compiler, place, ERR_INVALID, "must be false, not a %s", type_on_top(compiler->L));
    node->closed = !lua_toboolean(compiler->L, -1);
    return ERR_NONE;
}

static enum err_code compile_ref(struct compiler *compiler, const struct place *place,
                                 struct schema_node *node)
{
    if (lua_type(compiler->L, -1) != LUA_TSTRING)
        return refuse(compiler, place, ERR_INVALID,
                      "must be a reference such as \"#/properties/name\", not a %s",
                      type_on_top(compiler->L));
    return copy_text(compiler, -1, &node->ref);
}

static enum err_code compile_any_of(struct compiler *compiler, const struct place *place,
                                    struct schema_node *node)
{
    lua_State *L = compiler->L;
    size_t count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    if (count == 0)
        return refuse(compiler, place, ERR_INVALID, "needs at least one schema");
    if (count > JSON_SCHEMA_MAX_NODES)
        return refuse(compiler, place, ERR_LIMIT, "has more than %d schemas", JSON_SCHEMA_MAX_NODES);
    node->any_of = take_array(compiler, count, sizeof *node->any_of);
    if (node->any_of == NULL)
        return out_of_memory(compiler);
    for (size_t i = 0; i < count; i++) {
        struct place element = {place, NULL, 0, (long)i};
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        enum err_code code = compile_node(compiler, &element, &node->any_of[node->any_of_count]);
        lua_pop(L, 1);
        if (code != ERR_NONE)
            return code;
        node->any_of_count++;
    }
    return ERR_NONE;
}

static const struct keyword {
    const char *name;
    enum err_code (*compile)(struct compiler *compiler, const struct place *place, struct schema_node *node);
} keywords[] = {
    {"type", compile_type},          {"description", compile_description},
    {"default", compile_default},    {"format", compile_format},
    {"enum", compile_enum},          {"items", compile_items},
    {"minItems", compile_min_items}, {"properties", compile_properties},
    {"required", compile_required},  {"additionalProperties", compile_additional},
    {"$schema", compile_dialect},    {"$defs", compile_definitions},
    {"$ref", compile_ref},           {"anyOf", compile_any_of},
};

#define KEYWORD_COUNT (sizeof keywords / sizeof keywords[0])

static enum err_code refuse_keyword(struct compiler *compiler, const struct place *place)
{
    lua_State *L = compiler->L;
    if (lua_type(L, -2) != LUA_TSTRING)
        return refuse(
            compiler, place, ERR_INVALID,
            "a schema's keys are names, but this one has a key that is a %s; write j.array or j.anyOf "
            "for a list",
            lua_typename(L, lua_type(L, -2)));
    const char *names[KEYWORD_COUNT];
    for (size_t i = 0; i < KEYWORD_COUNT; i++)
        names[i] = keywords[i].name;
    size_t len;
    const char *key = lua_tolstring(L, -2, &len);
    int nearest = text_nearest(key, len, names, KEYWORD_COUNT);
    if (nearest >= 0)
        return refuse(compiler, place, ERR_INVALID, "unknown keyword \"%.80s\"; did you mean \"%s\"?", key,
                      names[nearest]);
    return refuse(compiler, place, ERR_INVALID,
                  "unknown keyword \"%.80s\"; the keywords are type, description, default, format, enum, "
                  "items, minItems, "
                  "properties, required, additionalProperties, $defs, $ref and anyOf",
                  key);
}

/* What depends on several keywords at once */

static int compare_properties(const void *a, const void *b)
{
    const struct schema_property *const *left = a;
    const struct schema_property *const *right = b;
    return schema_compare_text((*left)->name, (*right)->name);
}

static enum err_code index_properties(struct compiler *compiler, struct schema_node *node)
{
    node->by_name = take_array(compiler, node->property_count, sizeof(struct schema_property *));
    if (node->by_name == NULL)
        return out_of_memory(compiler);
    for (size_t i = 0; i < node->property_count; i++)
        node->by_name[i] = &node->properties[i];
    if (node->property_count > 0)
        qsort(node->by_name, node->property_count, sizeof *node->by_name, compare_properties);
    return ERR_NONE;
}

/* A Lua table has no order, but "required" has: it lists the properties as they were declared. Any that it
 * does not list come last, by name. */
static enum err_code order_properties(struct compiler *compiler, const struct place *place,
                                      struct schema_node *node)
{
    struct schema_property *ordered = take_array(compiler, node->property_count, sizeof *ordered);
    bool *placed = take_array(compiler, node->property_count, sizeof *placed);
    if (ordered == NULL || placed == NULL)
        return out_of_memory(compiler);
    size_t count = 0;
    for (size_t i = 0; i < node->required_count; i++) {
        const struct schema_property *property =
            schema_find_property(node, node->required[i].text, node->required[i].len);
        if (property == NULL)
            continue;
        size_t at = (size_t)(property - node->properties);
        if (placed[at])
            return refuse(compiler, place, ERR_INVALID, "\"required\" lists \"%.80s\" twice",
                          property->name.text);
        placed[at] = true;
        ordered[count++] = *property;
    }
    node->listed_count = count;
    for (size_t i = 0; i < node->property_count; i++)
        if (!placed[node->by_name[i] - node->properties])
            ordered[count++] = *node->by_name[i];
    node->properties = ordered;
    return index_properties(compiler, node);
}

static bool named_ref_inside(const struct schema_property *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].schema->has_ref_inside ||
            (list[i].name.len == 4 && memcmp(list[i].name.text, "$ref", 4) == 0))
            return true;
    return false;
}

static bool find_ref_inside(const struct schema_node *node)
{
    if (node->ref.text != NULL || (node->items != NULL && node->items->has_ref_inside))
        return true;
    for (size_t i = 0; i < node->any_of_count; i++)
        if (node->any_of[i]->has_ref_inside)
            return true;
    return named_ref_inside(node->properties, node->property_count) ||
           named_ref_inside(node->definitions, node->definition_count);
}

static enum err_code compile_keywords(struct compiler *compiler, const struct place *place,
                                      struct schema_node *node)
{
    lua_State *L = compiler->L;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const struct keyword *keyword = NULL;
        for (size_t i = 0; i < KEYWORD_COUNT && keyword == NULL; i++)
            if (lua_type(L, -2) == LUA_TSTRING && key_is(L, -2, keywords[i].name))
                keyword = &keywords[i];
        struct place inside = {place, keyword != NULL ? keyword->name : "", 0, -1};
        inside.key_len = strlen(inside.key);
        enum err_code code =
            keyword != NULL ? keyword->compile(compiler, &inside, node) : refuse_keyword(compiler, place);
        if (code != ERR_NONE) {
            lua_pop(L, 2);
            return code;
        }
        lua_pop(L, 1);
    }
    return ERR_NONE;
}

static enum err_code compile_table(struct compiler *compiler, const struct place *place,
                                   struct schema_node **out)
{
    struct schema_node *node = arena_zalloc(&compiler->schema->arena, sizeof *node);
    if (node == NULL)
        return out_of_memory(compiler);
    node->min_items = -1;
    node->next = compiler->schema->nodes;
    compiler->schema->nodes = node;
    *out = node;
    enum err_code code = compile_keywords(compiler, place, node);
    if (code == ERR_NONE)
        code = index_properties(compiler, node);
    if (code == ERR_NONE)
        code = order_properties(compiler, place, node);
    node->has_ref_inside = code == ERR_NONE && find_ref_inside(node);
    return code;
}

/* Compiles the schema on the top of the stack, where it stays. */
static enum err_code compile_node(struct compiler *compiler, const struct place *place,
                                  struct schema_node **out)
{
    lua_State *L = compiler->L;
    if (compiler->depth >= JSON_SCHEMA_MAX_DEPTH)
        return refuse(compiler, NULL, ERR_LIMIT,
                      "nests deeper than %d levels; use j.ref(\"#\") for a schema that contains itself",
                      JSON_SCHEMA_MAX_DEPTH);
    if (++compiler->schema->node_count > JSON_SCHEMA_MAX_NODES)
        return refuse(compiler, NULL, ERR_LIMIT, "has more than %d parts; use j.ref for parts that repeat",
                      JSON_SCHEMA_MAX_NODES);
    if (!lua_checkstack(L, 10))
        return out_of_memory(compiler);
    int top = lua_gettop(L);
    lua_pushvalue(L, -1);
    unwrap_builder(L);
    enum err_code code;
    if (lua_istable(L, -1)) {
        compiler->depth++;
        code = compile_table(compiler, place, out);
        compiler->depth--;
    } else {
        code = refuse(compiler, place, ERR_INVALID, "must be a j value such as j.string(), not a %s",
                      type_on_top(L));
    }
    lua_settop(L, top);
    return code;
}

enum err_code json_schema_compile(lua_State *L, int index, struct json_schema **out, struct err *err)
{
    *out = NULL;
    struct json_schema *schema = mem_zalloc(sizeof *schema);
    if (schema == NULL)
        return err_nomem(err);
    arena_init(&schema->arena);
    struct compiler compiler = {L, schema, err, 0};
    enum err_code code = ERR_NONE;
    if (!lua_checkstack(L, 4)) {
        code = err_nomem(err);
        goto done;
    }
    int top = lua_gettop(L);
    lua_pushvalue(L, index);
    code = compile_node(&compiler, NULL, &schema->root);
    lua_settop(L, top);
    if (code == ERR_NONE)
        code = schema_resolve_refs(schema, err);
done:
    if (code == ERR_NONE)
        *out = schema;
    else
        json_schema_free(schema);
    return code;
}

void json_schema_free(struct json_schema *schema)
{
    if (schema == NULL)
        return;
    arena_free(&schema->arena);
    mem_free(schema);
}
