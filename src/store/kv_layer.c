/* What an execution that writes nothing writes with workers.kv: a layer over the store, in memory, bounded.
 * Must not reach the store. */
#include "store/store_priv.h"

#include "base/mem.h"

#include <string.h>

#define LAYER_KEYS_MAX 100000
#define LAYER_BYTES_MAX ((size_t)64 * 1024 * 1024)

struct kv_layer {
    int references;
    struct kv_layer_entry **entries; /* in the order of their keys */
    size_t count, room;
    size_t bytes;
};

struct kv_layer *kv_layer_new(void)
{
    struct kv_layer *layer = mem_need(sizeof *layer);
    layer->references = 1;
    return layer;
}

void kv_layer_hold(struct kv_layer *layer)
{
    if (layer != NULL)
        layer->references++;
}

void kv_layer_release(struct kv_layer *layer)
{
    if (layer == NULL || --layer->references > 0)
        return;
    for (size_t i = 0; i < layer->count; i++)
        mem_free(layer->entries[i]);
    mem_free(layer->entries);
    mem_free(layer);
}

int kv_compare_keys(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

size_t kv_layer_seek(const struct kv_layer *layer, const char *key, size_t len)
{
    size_t low = 0;
    size_t high = layer->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct kv_layer_entry *entry = layer->entries[middle];
        if (kv_compare_keys(entry->bytes, entry->key_len, key, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct kv_layer_entry *kv_layer_at(const struct kv_layer *layer, size_t at)
{
    return at < layer->count ? layer->entries[at] : NULL;
}

/* Makes room for one entry more at the place. */
static bool insert(struct kv_layer *layer, size_t at)
{
    if (layer->count == layer->room) {
        size_t room = layer->room > 0 ? layer->room * 2 : 64;
        struct kv_layer_entry **entries = mem_realloc(layer->entries, room * sizeof *entries);
        if (entries == NULL)
            return false;
        layer->entries = entries;
        layer->room = room;
    }
    memmove(layer->entries + at + 1, layer->entries + at, (layer->count - at) * sizeof *layer->entries);
    layer->count++;
    return true;
}

static size_t size_of(const struct kv_layer_entry *entry)
{
    return sizeof *entry + entry->key_len + entry->value_len;
}

enum err_code kv_layer_put(struct kv_layer *layer, const char *key, size_t len,
                           const struct json_slice *value, int64_t expires_ms, struct err *err)
{
    size_t at = kv_layer_seek(layer, key, len);
    struct kv_layer_entry *old = at < layer->count ? layer->entries[at] : NULL;
    if (old != NULL && kv_compare_keys(old->bytes, old->key_len, key, len) != 0)
        old = NULL;
    size_t value_len = value != NULL ? value->len : 0;
    struct kv_layer_entry *entry = mem_alloc(sizeof *entry + len + value_len);
    if (entry == NULL)
        return err_nomem(err);
    *entry = (struct kv_layer_entry){
        .key_len = len, .value_len = value_len, .deleted = value == NULL, .expires_ms = expires_ms};
    memcpy(entry->bytes, key, len);
    if (value_len > 0)
        memcpy(entry->bytes + len, value->text, value_len);
    size_t bytes = layer->bytes + size_of(entry) - (old != NULL ? size_of(old) : 0);
    enum err_code code = ERR_NONE;
    if (bytes > LAYER_BYTES_MAX || (old == NULL && layer->count == LAYER_KEYS_MAX))
        code = err_set(err, ERR_LIMIT, "what a preview sets is kept in memory: at most %d keys and %zu MiB",
                       LAYER_KEYS_MAX, LAYER_BYTES_MAX >> 20);
    else if (old == NULL && !insert(layer, at))
        code = err_nomem(err);
    if (code != ERR_NONE) {
        mem_free(entry);
        return code;
    }
    mem_free(old);
    layer->entries[at] = entry;
    layer->bytes = bytes;
    return ERR_NONE;
}
