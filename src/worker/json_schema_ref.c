/* Finds what the references of a JSON Schema mean: JSON pointers within the same schema (RFC 6901 section 6).
 * Must not fetch anything from elsewhere. */
#include "worker/json_schema_priv.h"

#include "base/text.h"

#include <string.h>

static const struct schema_node never_node = {.never = true, .min_items = -1};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes percent encoding, then ~1 and ~0, into out, which has room for len bytes. */
static bool decode_pointer_part(const char *text, size_t len, char *out, size_t *out_len)
{
    size_t raw = 0;
    for (size_t i = 0; i < len; i++) {
        out[raw] = text[i];
        if (text[i] == '%') {
            int high = i + 2 < len ? hex_value(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            out[raw] = (char)(high * 16 + low);
            i += 2;
        }
        raw++;
    }
    if (!text_is_utf8(out, raw, NULL))
        return false;
    size_t to = 0;
    for (size_t i = 0; i < raw; i++) {
        bool escape = out[i] == '~' && i + 1 < raw && (out[i + 1] == '0' || out[i + 1] == '1');
        out[to++] = escape ? (out[i + 1] == '0' ? '~' : '/') : out[i];
        i += escape;
    }
    *out_len = to;
    return true;
}

static const struct schema_node *find_named(const struct schema_property *list, size_t count,
                                            const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].name.len == len && memcmp(list[i].name.text, name, len) == 0)
            return list[i].schema;
    return NULL;
}

static const struct schema_node *find_branch(const struct schema_node *node, const char *number, size_t len)
{
    size_t index = 0;
    if (len == 0 || len > 9 || (len > 1 && number[0] == '0'))
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (number[i] < '0' || number[i] > '9')
            return NULL;
        index = index * 10 + (size_t)(number[i] - '0');
    }
    return index < node->any_of_count ? node->any_of[index] : NULL;
}

static bool part_is(const char *part, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(part, name, len) == 0;
}

bool schema_ref_is_root(struct text_ref ref)
{
    return ref.len == 0 || part_is(ref.text, ref.len, "#") || part_is(ref.text, ref.len, "#/");
}

/* Follows the pointer. part is scratch space of at least ref.len bytes. */
static const struct schema_node *find_target(const struct json_schema *schema, struct text_ref ref,
                                             char *part)
{
    if (schema_ref_is_root(ref))
        return schema->root;
    if (ref.len < 2 || ref.text[0] != '#' || ref.text[1] != '/')
        return NULL;
    const struct schema_node *node = schema->root;
    const struct schema_property *list =
        NULL; /* after "properties" or "$defs": the next part is a name in it */
    size_t list_count = 0;
    bool branches = false; /* after "anyOf": the next part is a number */
    const char *at = ref.text + 2;
    const char *end = ref.text + ref.len;
    for (;;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        size_t len;
        if (!decode_pointer_part(at, (size_t)((slash != NULL ? slash : end) - at), part, &len))
            return NULL;
        if (list != NULL || branches) {
            node = branches ? find_branch(node, part, len) : find_named(list, list_count, part, len);
            list = NULL;
            branches = false;
        } else if (part_is(part, len, "properties") && node->has_properties) {
            list = node->properties;
            list_count = node->property_count;
        } else if (part_is(part, len, "$defs") && node->definitions != NULL) {
            list = node->definitions;
            list_count = node->definition_count;
        } else if (part_is(part, len, "anyOf")) {
            branches = true;
        } else if (part_is(part, len, "additionalProperties") && node->closed) {
            node = &never_node;
        } else {
            node = part_is(part, len, "items") ? node->items : NULL;
        }
        if (node == NULL)
            return NULL;
        if (slash == NULL)
            return list == NULL && !branches ? node : NULL;
        at = slash + 1;
    }
}

static bool says_nothing_but_ref(const struct schema_node *node)
{
    return node->ref.text != NULL && node->type == TYPE_ANY && node->format == NULL && node->values == NULL &&
           node->items == NULL && node->min_items < 0 && !node->has_properties && !node->has_required &&
           !node->closed && node->any_of == NULL && !node->never;
}

enum err_code schema_resolve_refs(struct json_schema *schema, struct err *err)
{
    for (struct schema_node *node = schema->nodes; node != NULL; node = node->next) {
        if (node->ref.text == NULL)
            continue;
        char *scratch = arena_alloc(&schema->arena, node->ref.len + 1);
        if (scratch == NULL)
            return err_nomem(err);
        node->target = find_target(schema, node->ref, scratch);
        if (node->target == NULL)
            return err_set(err, ERR_INVALID,
                           "invalid schema: the reference \"%.200s\" leads nowhere; write \"#\" for the "
                           "whole schema, or a path "
                           "within it such as \"#/properties/name\"",
                           node->ref.text);
    }
    /* A reference to a mere reference means what that one means. More hops than nodes are a circle. */
    for (struct schema_node *node = schema->nodes; node != NULL; node = node->next) {
        size_t hops = 0;
        while (node->target != NULL && says_nothing_but_ref(node->target)) {
            if (++hops > schema->node_count)
                return err_set(
                    err, ERR_INVALID,
                    "invalid schema: the reference \"%.200s\" leads back to itself and says nothing else",
                    node->ref.text);
            node->target = node->target->target;
        }
    }
    return ERR_NONE;
}
