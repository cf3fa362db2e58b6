/* Checks Lua values against compiled JSON Schemas. Must stay bounded for any value and any schema: depth and
 * steps have limits, and paths are lists on the C stack that are written only when there is a mistake to
 * report. */
#include "worker/json_schema.h"
#include "worker/json_schema_priv.h"

#include "base/number.h"
#include "modules/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum verdict {
    PASS,
    FAIL,
    STOP, /* a limit was reached: the whole check ends */
};

/* One step on the way to a value or to a schema: a name, or an index when name is NULL. */
struct step {
    const struct step *up;
    const char
        *keyword; /* schema paths only: what holds the name or index; alone when name is NULL and index < 0 */
    const char *name;
    size_t name_len;
    long long index;
    struct text_ref base; /* schema paths only: where the path starts afresh, after a reference */
};

struct check {
    lua_State *L;
    struct buf *errors;
    size_t start; /* of the array in errors */
    int depth;
    long steps;
    bool full;      /* an error did not fit; no other is rendered until some are taken back */
    bool in_branch; /* inside anyOf, and not in a schema that Ajv compiles to a function of its own */
};

/* Reporting */

static void write_unsigned_pointer(struct buf *out, const char *name, size_t len)
{
    for (size_t i = 0, from = 0; i <= len; i++) {
        if (i < len && name[i] != '~' && name[i] != '/')
            continue;
        schema_write_escaped(out, name + from, i - from);
        if (i < len)
            buf_adds(out, name[i] == '~' ? "~0" : "~1");
        from = i + 1;
    }
}

static void write_instance_path(struct buf *out, const struct step *step)
{
    if (step == NULL)
        return;
    write_instance_path(out, step->up);
    buf_addc(out, '/');
    if (step->name != NULL)
        write_unsigned_pointer(out, step->name, step->name_len);
    else
        buf_addf(out, "%lld", step->index);
}

/* As a URI fragment: escaped as a JSON pointer, then percent-encoded. */
static void write_fragment(struct buf *out, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-_.!*'()", c) != NULL);
        if (plain)
            buf_addc(out, (char)c);
        else if (c == '~' || c == '/')
            buf_adds(out, c == '~' ? "~0" : "~1");
        else
            buf_addf(out, "%%%02X", (unsigned)c);
    }
}

static void write_schema_path(struct buf *out, const struct step *step)
{
    if (step == NULL) {
        buf_addc(out, '#');
        return;
    }
    if (step->base.text != NULL) {
        schema_write_escaped(out, step->base.text, step->base.len);
        return;
    }
    write_schema_path(out, step->up);
    buf_addf(out, "/%s", step->keyword);
    if (step->name != NULL) {
        buf_addc(out, '/');
        write_fragment(out, step->name, step->name_len);
    } else if (step->index >= 0) {
        buf_addf(out, "/%lld", step->index);
    }
}

static void cut(struct buf *buf, size_t len)
{
    buf->failed = false;
    if (len < buf->len)
        buf->len = len;
    if (buf->data != NULL)
        buf->data[buf->len] = '\0';
}

/* An error is reported in three parts: report_begin, its params (a JSON object) written by the caller, and
 * report_end. Returns what report_end needs to take back an error that does not fit. */
static size_t report_begin(struct check *check, const struct step *value, const struct step *schema,
                           const char *keyword)
{
    struct buf *out = check->errors;
    size_t before = out->len;
    if (check->full) {
        out->failed = true; /* what follows adds nothing */
        return before;
    }
    if (before > check->start + 1)
        buf_addc(out, ',');
    buf_adds(out, "{\"instancePath\":\"");
    write_instance_path(out, value);
    buf_adds(out, "\",\"schemaPath\":\"");
    write_schema_path(out, schema);
    buf_addf(out, "/%s\",\"keyword\":\"%s\",\"params\":", keyword, keyword);
    return before;
}

static void report_close(struct check *check, size_t before)
{
    buf_addc(check->errors, '}');
    check->full = check->errors->failed || check->errors->len >= check->errors->max;
    if (check->full)
        cut(check->errors, before);
}

static void report_end(struct check *check, size_t before, const char *message)
{
    buf_adds(check->errors, ",\"message\":");
    schema_write_string(check->errors, message, strlen(message));
    report_close(check, before);
}

static enum verdict fail_type(struct check *check, const struct schema_node *node, const struct step *value,
                              const struct step *schema)
{
    const char *name = schema_type_names[node->type];
    size_t before = report_begin(check, value, schema, "type");
    buf_addf(check->errors, "{\"type\":\"%s\"},\"message\":\"must be %s\"", name, name);
    report_close(check, before);
    return FAIL;
}

static enum verdict fail_limit(struct check *check, const struct step *value, const struct step *schema,
                               const char *keyword, long limit, const char *message)
{
    cut(check->errors, check->start + 1);
    check->full = false;
    size_t before = report_begin(check, value, schema, keyword);
    buf_addf(check->errors, "{\"limit\":%ld}", limit);
    report_end(check, before, message);
    return STOP;
}

/* Types */

struct shape {
    bool array;
    bool object;
};

static struct shape table_shape(lua_State *L, int index)
{
    struct shape shape = {false, false};
    if (lua_type(L, index) != LUA_TTABLE)
        return shape;
    bool marked = lua_getmetatable(L, index) != 0;
    if (marked)
        lua_pop(L, 1);
    lua_pushnil(L);
    bool empty = lua_next(L, index) == 0;
    if (!empty)
        lua_pop(L, 2);
    shape.array = (empty && !marked) || json_is_array(L, index);
    shape.object = (empty && !marked) || !shape.array;
    return shape;
}

static bool has_type(lua_State *L, int index, struct shape shape, enum schema_type type)
{
    int lua = lua_type(L, index);
    switch (type) {
    case TYPE_ANY:
        return true;
    case TYPE_STRING:
        return lua == LUA_TSTRING;
    case TYPE_NUMBER:
        return lua == LUA_TNUMBER && isfinite(lua_tonumber(L, index));
    case TYPE_INTEGER: {
        if (lua != LUA_TNUMBER || lua_isinteger(L, index))
            return lua == LUA_TNUMBER;
        double number = lua_tonumber(L, index);
        return isfinite(number) && number == floor(number);
    }
    case TYPE_BOOLEAN:
        return lua == LUA_TBOOLEAN;
    case TYPE_NULL:
        return lua == LUA_TNIL || (lua == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL);
    case TYPE_ARRAY:
        return shape.array;
    case TYPE_OBJECT:
        return shape.object;
    }
    return false;
}

/* Ajv looks at the type first unless keywords of that type follow, which then bring the type error
 * themselves. */
static bool checks_type_late(const struct schema_node *node)
{
    switch (node->type) {
    case TYPE_STRING:
    case TYPE_NUMBER:
        return node->format != NULL;
    case TYPE_ARRAY:
        return node->items != NULL || node->min_items >= 0;
    case TYPE_OBJECT:
        return node->has_properties || node->has_required || node->closed;
    default:
        return false;
    }
}

/* Keywords. Each finds the value at index. */

static enum verdict check_node(struct check *check, const struct schema_node *node, int index,
                               const struct step *value, const struct step *schema);

static enum verdict check_ref(struct check *check, const struct schema_node *node, int index,
                              const struct step *value)
{
    /* Ajv puts a schema without references in the place of the reference and names it so; any other becomes a
     * function of its own, whose paths start at "#". */
    struct step fresh = {.base = {"#", 1}};
    bool in_branch = check->in_branch;
    if (!schema_ref_is_root(node->ref) && !node->target->has_ref_inside)
        fresh.base = node->ref;
    else
        check->in_branch = false;
    enum verdict verdict = check_node(check, node->target, index, value, &fresh);
    check->in_branch = in_branch;
    return verdict;
}

static enum verdict check_enum(struct check *check, const struct schema_node *node, int index,
                               const struct step *value, const struct step *schema)
{
    struct enum_value found;
    if (schema_read_scalar(check->L, index, &found))
        for (size_t i = 0; i < node->value_count; i++)
            if (schema_compare_scalars(&node->values[i], &found) == 0)
                return PASS;
    size_t before = report_begin(check, value, schema, "enum");
    buf_adds(check->errors, "{\"allowedValues\":");
    schema_write_values(check->errors, node);
    buf_addc(check->errors, '}');
    report_end(check, before, "must be equal to one of the allowed values");
    return FAIL;
}

static enum verdict check_any_of(struct check *check, const struct schema_node *node, int index,
                                 const struct step *value, const struct step *schema)
{
    size_t before = check->errors->len;
    bool in_branch = check->in_branch;
    for (size_t i = 0; i < node->any_of_count; i++) {
        struct step branch = {.up = schema, .keyword = "anyOf", .index = (long long)i};
        check->in_branch = true;
        enum verdict verdict = check_node(check, node->any_of[i], index, value, &branch);
        check->in_branch = in_branch;
        if (verdict == STOP)
            return STOP;
        if (verdict == PASS) {
            check->full = check->full && check->errors->len == before;
            cut(check->errors, before);
            return PASS;
        }
    }
    before = report_begin(check, value, schema, "anyOf");
    buf_adds(check->errors, "{}");
    report_end(check, before, "must match a schema in anyOf");
    return FAIL;
}

static enum verdict check_format(struct check *check, const struct schema_node *node, int index,
                                 const struct step *value, const struct step *schema)
{
    size_t len;
    const char *text = lua_tolstring(check->L, index, &len);
    if (node->format->match(text, len))
        return PASS;
    size_t before = report_begin(check, value, schema, "format");
    buf_addf(check->errors, "{\"format\":\"%s\"},\"message\":\"must match format \\\"%s\\\"\"",
             node->format->name, node->format->name);
    report_close(check, before);
    return FAIL;
}

static enum verdict check_array(struct check *check, const struct schema_node *node, int index,
                                const struct step *value, const struct step *schema)
{
    lua_State *L = check->L;
    size_t count = lua_rawlen(L, index);
    if (node->min_items >= 0 && count < (unsigned long long)node->min_items) {
        size_t before = report_begin(check, value, schema, "minItems");
        buf_addf(check->errors, "{\"limit\":%lld},\"message\":\"must NOT have fewer than %lld items\"",
                 node->min_items, node->min_items);
        report_close(check, before);
        return FAIL;
    }
    if (node->items == NULL)
        return PASS;
    struct step items = {.up = schema, .keyword = "items", .index = -1};
    for (size_t i = 0; i < count; i++) {
        struct step element = {.up = value, .index = (long long)i};
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        enum verdict verdict = check_node(check, node->items, lua_gettop(L), &element, &items);
        lua_pop(L, 1);
        if (verdict != PASS)
            return verdict;
    }
    return PASS;
}

static enum verdict check_required(struct check *check, const struct schema_node *node, int index,
                                   const struct step *value, const struct step *schema)
{
    lua_State *L = check->L;
    for (size_t i = 0; i < node->required_count; i++) {
        const struct text_ref *name = &node->required[i];
        lua_pushlstring(L, name->text, name->len);
        lua_rawget(L, index);
        bool missing = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (!missing)
            continue;
        size_t before = report_begin(check, value, schema, "required");
        buf_adds(check->errors, "{\"missingProperty\":");
        schema_write_string(check->errors, name->text, name->len);
        buf_adds(check->errors, "},\"message\":\"must have required property '");
        schema_write_escaped(check->errors, name->text, name->len);
        buf_adds(check->errors, "'\"");
        report_close(check, before);
        return FAIL;
    }
    return PASS;
}

/* The text of a key, for a message; scratch has room for a number. */
static struct text_ref key_text(lua_State *L, int index, char scratch[static 40])
{
    struct text_ref text = {scratch, 0};
    if (lua_type(L, index) == LUA_TSTRING) {
        text.text = lua_tolstring(L, index, &text.len);
        return text;
    }
    if (lua_isinteger(L, index))
        snprintf(scratch, 40, "%lld", (long long)lua_tointeger(L, index));
    else if (lua_type(L, index) == LUA_TNUMBER)
        number_format_js(lua_tonumber(L, index), scratch);
    else
        snprintf(scratch, 40, "[%s]", lua_typename(L, lua_type(L, index)));
    text.len = strlen(scratch);
    return text;
}

static enum verdict check_additional(struct check *check, const struct schema_node *node, int index,
                                     const struct step *value, const struct step *schema)
{
    lua_State *L = check->L;
    char scratch[40];
    char kept[40];
    struct text_ref first = {NULL, 0};
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        struct text_ref key = key_text(L, -1, scratch);
        if (lua_type(L, -1) == LUA_TSTRING && schema_find_property(node, key.text, key.len) != NULL)
            continue;
        /* A table has no order: the least name is reported, so that the same input gives the same error. */
        if (first.text != NULL && schema_compare_text(key, first) >= 0)
            continue;
        first = key;
        if (key.text == scratch)
            first.text = memcpy(kept, scratch, sizeof kept);
    }
    if (first.text == NULL)
        return PASS;
    size_t before = report_begin(check, value, schema, "additionalProperties");
    buf_adds(check->errors, "{\"additionalProperty\":");
    schema_write_string(check->errors, first.text, first.len);
    buf_addc(check->errors, '}');
    report_end(check, before, "must NOT have additional properties");
    return FAIL;
}

static enum verdict check_object(struct check *check, const struct schema_node *node, int index,
                                 const struct step *value, const struct step *schema)
{
    lua_State *L = check->L;
    enum verdict verdict = check_required(check, node, index, value, schema);
    if (verdict == PASS && node->closed)
        verdict = check_additional(check, node, index, value, schema);
    for (size_t i = 0; i < node->property_count && verdict == PASS; i++) {
        const struct schema_property *property = &node->properties[i];
        struct step inner = {.up = value, .name = property->name.text, .name_len = property->name.len};
        struct step path = {.up = schema,
                            .keyword = "properties",
                            .name = property->name.text,
                            .name_len = property->name.len};
        lua_pushlstring(L, property->name.text, property->name.len);
        lua_rawget(L, index);
        if (!lua_isnil(L, -1))
            verdict = check_node(check, property->schema, lua_gettop(L), &inner, &path);
        lua_pop(L, 1);
    }
    return verdict;
}

static enum verdict check_keywords(struct check *check, const struct schema_node *node, int index,
                                   const struct step *value, const struct step *schema)
{
    lua_State *L = check->L;
    if (node->never) {
        size_t before = report_begin(check, value, schema, "false schema");
        buf_adds(check->errors, "{}");
        report_end(check, before, "boolean schema is false");
        return FAIL;
    }
    struct shape shape = table_shape(L, index);
    bool fits = has_type(L, index, shape, node->type);
    bool reported = !fits && !checks_type_late(node);
    if (reported)
        fail_type(check, node, value, schema);
    if (reported && !check->in_branch)
        return FAIL;
    /* In a branch Ajv goes on to the keywords that fit any type, and their errors follow that of the type. */
    enum verdict verdict = PASS;
    if (node->target != NULL)
        verdict = check_ref(check, node, index, value);
    if (verdict == PASS && node->values != NULL)
        verdict = check_enum(check, node, index, value, schema);
    if (verdict == PASS && node->any_of != NULL)
        verdict = check_any_of(check, node, index, value, schema);
    if (verdict != PASS)
        return verdict;
    if (reported)
        return FAIL;
    if (!fits)
        return fail_type(check, node, value, schema);
    if (node->format != NULL && lua_type(L, index) == LUA_TSTRING)
        return check_format(check, node, index, value, schema);
    if (shape.array && node->type != TYPE_OBJECT)
        verdict = check_array(check, node, index, value, schema);
    if (verdict == PASS && shape.object && node->type != TYPE_ARRAY)
        verdict = check_object(check, node, index, value, schema);
    return verdict;
}

static enum verdict check_node(struct check *check, const struct schema_node *node, int index,
                               const struct step *value, const struct step *schema)
{
    if (check->depth >= JSON_SCHEMA_MAX_DEPTH || !lua_checkstack(check->L, 8))
        return fail_limit(check, value, schema, "depth", JSON_SCHEMA_MAX_DEPTH,
                          "must not nest deeper than 512 levels, references included");
    if (++check->steps > JSON_SCHEMA_MAX_STEPS)
        return fail_limit(check, value, schema, "steps", JSON_SCHEMA_MAX_STEPS,
                          "takes too many steps to check; make the branches of anyOf differ nearer the top");
    check->depth++;
    enum verdict verdict = check_keywords(check, node, index, value, schema);
    check->depth--;
    return verdict;
}

enum err_code json_schema_validate(const struct json_schema *schema, lua_State *L, int index,
                                   struct buf *errors)
{
    struct check check = {.L = L, .errors = errors, .start = errors->len};
    int top = lua_gettop(L);
    buf_addc(errors, '[');
    bool room = !errors->failed;
    enum verdict verdict = check_node(&check, schema->root, lua_absindex(L, index), NULL, NULL);
    lua_settop(L, top);
    if (verdict == PASS) {
        cut(errors, check.start);
        return ERR_NONE;
    }
    if (room)
        buf_addc(errors, ']');
    return verdict == FAIL ? ERR_INVALID : ERR_LIMIT;
}
