/* The compiled form of a JSON Schema, shared by the files that compile, check and write it.
 *
 * Who owns what: the arena of struct json_schema owns every node, string and array. */
#ifndef WORKERS_WORKER_JSON_SCHEMA_PRIV_H
#define WORKERS_WORKER_JSON_SCHEMA_PRIV_H

#include "base/arena.h"
#include "base/buf.h"
#include "worker/formats.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum schema_type {
    TYPE_ANY, /* no "type" */
    TYPE_STRING,
    TYPE_NUMBER,
    TYPE_INTEGER,
    TYPE_BOOLEAN,
    TYPE_NULL,
    TYPE_ARRAY,
    TYPE_OBJECT,
};

struct text_ref {
    const char *text; /* NULL when absent */
    size_t len;
};

struct enum_value {
    enum { VALUE_STRING, VALUE_INTEGER, VALUE_FLOAT, VALUE_BOOLEAN, VALUE_NULL } kind;
    struct text_ref string;
    long long integer; /* also the boolean */
    double number;
};

struct schema_node;

struct schema_property {
    struct text_ref name;
    struct schema_node *schema;
};

struct schema_node {
    enum schema_type type;
    bool never; /* the schema "false" */
    bool has_properties;
    bool has_required;
    bool closed; /* additionalProperties is false */
    bool has_ref_inside;
    struct text_ref description;
    const struct string_format *format;
    struct enum_value *preset; /* the default; NULL when absent */
    struct enum_value *values;
    size_t value_count;
    struct schema_node *items;
    long long min_items; /* -1 when absent */
    struct schema_property *properties;
    size_t property_count;
    size_t listed_count;                    /* how many of them, the first ones, "required" lists */
    const struct schema_property **by_name; /* the same, sorted by name */
    struct text_ref *required;
    size_t required_count;
    struct schema_property *definitions;
    size_t definition_count;
    struct text_ref ref;
    const struct schema_node *target; /* what ref means */
    struct schema_node **any_of;
    size_t any_of_count;
    struct schema_node *next; /* all nodes of a schema, so that references can be resolved in one pass */
};

struct json_schema {
    struct arena arena;
    struct schema_node *root;
    struct schema_node *nodes;
    size_t node_count;
};

extern const char *const schema_type_names[]; /* indexed by enum schema_type */

/* Reads a string (not copied), boolean, finite number, nil or null; false for anything else. */
bool schema_read_scalar(lua_State *L, int index, struct enum_value *value);
int schema_compare_scalars(const struct enum_value *a, const struct enum_value *b);
int schema_compare_text(struct text_ref a, struct text_ref b);
const struct schema_property *schema_find_property(const struct schema_node *node, const char *name,
                                                   size_t len);

/* Sets the target of every reference; ERR_INVALID when one leads nowhere or in a circle. */
enum err_code schema_resolve_refs(struct json_schema *schema, struct err *err) MUST_CHECK;
/* "#", "#/" and "" all mean the whole schema. */
bool schema_ref_is_root(struct text_ref ref);

void schema_write_escaped(struct buf *out, const char *text, size_t len); /* without the quotes */
void schema_write_string(struct buf *out, const char *text, size_t len);
void schema_write_scalar(struct buf *out, const struct enum_value *value);
void schema_write_values(struct buf *out, const struct schema_node *node);

#endif
