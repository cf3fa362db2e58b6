/* From sample.json to rows, the way that the rows of a sync go. */
#include "cli/view_sample.h"

#include "cli/scripts.h"
#include "modules/json.h"
#include "store/store.h"
#include "worker/page.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SAMPLE_MAX ((size_t)4 * 1024 * 1024)
#define SYNC_KEY "view dev"

struct sample {
    const struct worker *worker;
    const struct view *view;
    const struct buf *text; /* of the file; empty when there is none */
};

/* ---- in Lua ---- */

static void set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void push_property(lua_State *L, const struct property *property)
{
    lua_newtable(L);
    set_text(L, "name", property->name);
    set_text(L, "type", property_type_name(property->type));
    lua_newtable(L);
    for (size_t i = 0; i < property->option_count; i++) {
        lua_pushstring(L, property->options[i].name);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "options");
}

static void push_sources(lua_State *L, const struct sample *sample)
{
    lua_newtable(L);
    for (size_t i = 0; i < sample->view->source_count; i++) {
        const struct view_source *source = &sample->view->sources[i];
        const struct database *database = &sample->worker->databases[source->database];
        lua_newtable(L);
        set_text(L, "key", source->key);
        set_text(L, "primary", database->properties[database->primary_key].name);
        lua_newtable(L);
        for (size_t k = 0; k < database->property_count; k++) {
            push_property(L, &database->properties[k]);
            lua_rawseti(L, -2, (lua_Integer)k + 1);
        }
        lua_setfield(L, -2, "properties");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* Leaves the lists of changes, and of each whether the file says them. */
static int make_changes(lua_State *L)
{
    const struct sample *sample = lua_touserdata(L, 1);
    struct err err;
    scripts_open(L);
    scripts_push(L, "sample");
    push_sources(L, sample);
    if (sample->text->len == 0)
        lua_pushnil(L);
    else if (json_decode(L, buf_text(sample->text), sample->text->len, &err) != ERR_NONE)
        return luaL_error(L, "%s", err.message);
    else if (!lua_istable(L, -1))
        return luaL_error(L, "it must be an object, from data sources to lists of rows");
    lua_call(L, 2, 2);
    return 2;
}

/* ---- in the store ---- */

static enum err_code write_page(struct store *store, const struct capability *sync, const struct page *page,
                                struct err *err)
{
    struct sync_lease lease = {0};
    struct page_counts counts;
    struct sweep_outcome sweep;
    const struct page_end end = {.allow_deletes = true};
    const struct sync_end over = {.outcome = RUN_SUCCEEDED};
    enum err_code code = store_sync_begin(store, sync, NULL, &lease, err);
    if (code != ERR_NONE)
        return code;
    code = store_page_begin(store, &lease, false, err);
    if (code == ERR_NONE && (code = store_page_write(store, page, NULL, err)) != ERR_NONE)
        store_page_abort(store);
    if (code == ERR_NONE)
        code = store_page_end(store, sync, &lease, &end, &counts, &sweep, err);
    struct err ignored;
    enum err_code ended = store_sync_end(store, &lease, &over, code == ERR_NONE ? err : &ignored);
    sync_lease_free(&lease);
    return code == ERR_NONE ? ended : code;
}

/* The list of changes at the top of the stack becomes all rows that the data source has. */
static enum err_code write_source(lua_State *L, struct runtime *runtime, const struct view_source *source,
                                  struct err *err)
{
    char key[128];
    struct page page;
    snprintf(key, sizeof key, SYNC_KEY " %s", runtime->worker->databases[source->database].key);
    const struct capability sync = {.kind = CAPABILITY_SYNC,
                                    .key = key,
                                    .mode = SYNC_REPLACE,
                                    .database = source->database,
                                    .sweep_max_delete_ratio = 1};
    page_init(&page);
    enum err_code code = page_read_changes(L, lua_gettop(L), 0, (size_t)luaL_len(L, -1), runtime->worker,
                                           source->database, &page, err);
    if (code == ERR_NONE)
        code = write_page(runtime->store, &sync, &page, err);
    page_free(&page);
    return code;
}

/* Whether the rows of the data source go into its database: the first that the file says, or else the first;
 * and none that are made up where the file of another view says some. number: of this view, from 1. */
static bool is_chosen(lua_State *L, int given, const struct view *view, size_t number, size_t index,
                      const size_t said[])
{
    size_t chosen = SIZE_MAX;
    bool is_given = false;
    for (size_t i = 0; i < view->source_count && !is_given; i++) {
        if (view->sources[i].database != view->sources[index].database)
            continue;
        lua_rawgeti(L, given, (lua_Integer)i + 1);
        is_given = lua_toboolean(L, -1);
        lua_pop(L, 1);
        chosen = is_given || chosen == SIZE_MAX ? i : chosen;
    }
    size_t other = said[view->sources[index].database];
    return chosen == index && (is_given || other == 0 || other == number);
}

static enum err_code fill(lua_State *L, struct runtime *runtime, const struct sample *sample, size_t said[],
                          struct err *err)
{
    lua_pushcfunction(L, make_changes);
    lua_pushlightuserdata(L, (void *)(uintptr_t)sample);
    if (lua_pcall(L, 1, 2, 0) != LUA_OK) {
        const char *message = lua_tostring(L, -1);
        return err_set(err, ERR_INVALID, "%s", message != NULL ? message : "no memory");
    }
    enum err_code code = ERR_NONE;
    int given = lua_gettop(L), lists = given - 1;
    size_t number = (size_t)(sample->view - sample->worker->views) + 1;
    for (size_t i = 0; i < sample->view->source_count && code == ERR_NONE; i++) {
        const struct view_source *source = &sample->view->sources[i];
        if (!is_chosen(L, given, sample->view, number, i, said))
            continue;
        lua_rawgeti(L, given, (lua_Integer)i + 1);
        said[source->database] = lua_toboolean(L, -1) ? number : 0;
        lua_rawgeti(L, lists, (lua_Integer)i + 1);
        if ((code = write_source(L, runtime, source, err)) != ERR_NONE)
            err_context(err, "\"%s\"", source->key);
        lua_settop(L, given); /* what was read has left something there */
    }
    return code;
}

enum err_code view_sample_fill(struct runtime *runtime, const char *code_folder, const struct view *view,
                               size_t said[], struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    snprintf(path, sizeof path, "%s/%s/" VIEW_SAMPLE, code_folder, view->path);
    enum err_code code = config_read_file(path, SAMPLE_MAX, &text, err);
    if (code == ERR_NOT_FOUND)
        code = ERR_NONE;
    const struct sample sample = {.worker = runtime->worker, .view = view, .text = &text};
    lua_State *L = luaL_newstate();
    if (L == NULL)
        code = err_nomem(err);
    if (code == ERR_NONE && (code = fill(L, runtime, &sample, said, err)) != ERR_NONE)
        err_context(err, "%s", path);
    if (L != NULL)
        lua_close(L);
    buf_free(&text);
    return code;
}
