/* Writes JSON Schemas as text. Must write valid JSON whatever bytes the names hold. */
#include "worker/json_schema.h"
#include "worker/json_schema_priv.h"

#include "base/number.h"
#include "base/text.h"

void schema_write_string(struct buf *out, const char *text, size_t len)
{
    buf_addc(out, '"');
    schema_write_escaped(out, text, len);
    buf_addc(out, '"');
}

void schema_write_escaped(struct buf *out, const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint32_t code_point;
        size_t size = text_next_char(text + at, len - at, &code_point);
        unsigned char c = (unsigned char)text[at];
        if (size == 0)
            buf_adds(out, "\xEF\xBF\xBD"); /* U+FFFD stands for a byte that is not UTF-8 */
        else if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < 0x20)
            buf_addf(out, "\\u%04x", (unsigned)c);
        else
            buf_add(out, text + at, size);
        at += size > 0 ? size : 1;
    }
}

void schema_write_scalar(struct buf *out, const struct enum_value *value)
{
    char number[NUMBER_TEXT_MAX];
    switch (value->kind) {
    case VALUE_STRING:
        schema_write_string(out, value->string.text, value->string.len);
        break;
    case VALUE_INTEGER:
        buf_addf(out, "%lld", value->integer);
        break;
    case VALUE_FLOAT:
        buf_add(out, number, number_format_js(value->number, number));
        break;
    case VALUE_BOOLEAN:
        buf_adds(out, value->integer ? "true" : "false");
        break;
    case VALUE_NULL:
        buf_adds(out, "null");
        break;
    }
}

void schema_write_values(struct buf *out, const struct schema_node *node)
{
    for (size_t i = 0; i < node->value_count; i++) {
        buf_addc(out, i == 0 ? '[' : ',');
        schema_write_scalar(out, &node->values[i]);
    }
    buf_addc(out, ']');
}

static void write_node(struct buf *out, const struct schema_node *node);

static void write_named(struct buf *out, const struct schema_property *list, size_t count)
{
    buf_addc(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        schema_write_string(out, list[i].name.text, list[i].name.len);
        buf_addc(out, ':');
        write_node(out, list[i].schema);
    }
    buf_addc(out, '}');
}

/* Writes "name": and the comma before it. */
static void begin_member(struct buf *out, size_t start, const char *name)
{
    if (out->len > start)
        buf_addc(out, ',');
    buf_addf(out, "\"%s\":", name);
}

static void write_object_members(struct buf *out, size_t start, const struct schema_node *node)
{
    if (node->has_properties) {
        begin_member(out, start, "properties");
        write_named(out, node->properties, node->property_count);
    }
    if (node->has_required) {
        begin_member(out, start, "required");
        buf_addc(out, '[');
        for (size_t i = 0; i < node->required_count; i++) {
            if (i > 0)
                buf_addc(out, ',');
            schema_write_string(out, node->required[i].text, node->required[i].len);
        }
        buf_addc(out, ']');
    }
    if (node->closed) {
        begin_member(out, start, "additionalProperties");
        buf_adds(out, "false");
    }
}

static void write_any_of(struct buf *out, const struct schema_node *node)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < node->any_of_count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        write_node(out, node->any_of[i]);
    }
    buf_addc(out, ']');
}

/* Recursion is bounded by JSON_SCHEMA_MAX_DEPTH, which the compiler held. */
static void write_node(struct buf *out, const struct schema_node *node)
{
    buf_addc(out, '{');
    size_t start = out->len;
    if (node->type != TYPE_ANY) {
        begin_member(out, start, "type");
        buf_addf(out, "\"%s\"", schema_type_names[node->type]);
    }
    if (node->format != NULL) {
        begin_member(out, start, "format");
        buf_addf(out, "\"%s\"", node->format->name);
    }
    if (node->ref.text != NULL) {
        begin_member(out, start, "$ref");
        schema_write_string(out, node->ref.text, node->ref.len);
    }
    if (node->values != NULL) {
        begin_member(out, start, "enum");
        schema_write_values(out, node);
    }
    if (node->any_of != NULL) {
        begin_member(out, start, "anyOf");
        write_any_of(out, node);
    }
    if (node->items != NULL) {
        begin_member(out, start, "items");
        write_node(out, node->items);
    }
    if (node->min_items >= 0) {
        begin_member(out, start, "minItems");
        buf_addf(out, "%lld", node->min_items);
    }
    write_object_members(out, start, node);
    if (node->definitions != NULL) {
        begin_member(out, start, "$defs");
        write_named(out, node->definitions, node->definition_count);
    }
    if (node->description.text != NULL) {
        begin_member(out, start, "description");
        schema_write_string(out, node->description.text, node->description.len);
    }
    if (node->preset != NULL) {
        begin_member(out, start, "default");
        schema_write_scalar(out, node->preset);
    }
    buf_addc(out, '}');
}

enum err_code json_schema_write(const struct json_schema *schema, struct buf *out)
{
    write_node(out, schema->root);
    return buf_status(out, "the JSON Schema", NULL);
}
