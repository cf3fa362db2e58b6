/* One page of a sync: the changes that one execute call returned, converted and checked.
 *
 * Who owns what: the page owns everything reachable from it, in its arena; page_reset ends it. It holds
 * nothing of Lua, so another thread may write it while the script runs on. */
#ifndef WORKERS_WORKER_PAGE_H
#define WORKERS_WORKER_PAGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "worker/value.h"
#include "worker/worker.h"

#include <lua.h>

#define ROW_KEY_MAX 4096 /* bytes, UTF-8 */

/* Changes are kept small: one thread writes them and another reads them, row after row. */
struct property_value {
    uint32_t property; /* index into the database's properties */
    struct cell value;
    const struct cell *end; /* of a date range; CELL_NULL when it has none */
};

/* A column that an upsert may leave as it is. */
struct optional_cell {
    bool given;
    struct cell cell;
};

/* What few changes have. */
struct change_extras {
    struct optional_cell icon, cover, content;
    struct cell upstream_updated_at; /* CELL_NULL when not given */
    int64_t upstream_ms;
};

struct change {
    bool is_delete;
    uint32_t database; /* index into the worker's databases */
    const char *key;
    size_t key_len;
    struct property_value *values;
    size_t value_count;
    const struct change_extras *extras; /* never NULL */
};

struct new_option {
    uint32_t database;
    uint32_t property;
    const char *name;
    size_t len;
};

struct page {
    struct arena arena;
    struct change *changes;
    size_t count;
    struct new_option *new_options; /* each once */
    size_t new_option_count;
    size_t new_option_room;
    struct buf scratch;
};

void page_init(struct page *page);
void page_free(struct page *page);
void page_reset(struct page *page);

/* What execute returned, but for the changes. */
struct page_result {
    int changes_index; /* of the changes table on the Lua stack, which page_read_result leaves there */
    size_t change_count;
    bool has_more;
    bool has_state;
    struct buf next_state; /* JSON with sorted keys; the caller frees it */
};

/* Checks the result of execute at index and pushes its changes table. state_max is the greatest size of the
 * state in bytes. Errors carry the path to the offending value. Never raises. */
enum err_code page_read_result(lua_State *L, int index, size_t state_max, struct page_result *out,
                               struct err *err) MUST_CHECK;

/* Converts changes first to first+count-1 (counted from 0) of the table at index into page, which must be
 * empty. database is the sync's own. Errors name the row's key, the property, what was expected and what
 * came. Never raises. */
enum err_code page_read_changes(lua_State *L, int index, size_t first, size_t count,
                                const struct worker *worker, size_t database, struct page *page,
                                struct err *err) MUST_CHECK;

#endif
