/* Opening, limiting and closing a Lua state. Must not know any module or anything that scripts declare. */
#include "script/isolate_priv.h"

#include "base/mem.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(void *ud, void *block, size_t old_size, size_t new_size)
{
    struct isolate *isolate = ud;
    /* Without a block Lua passes the kind of object as old_size. */
    return heap_realloc(&isolate->heap, block, block != NULL ? old_size : 0, new_size);
}

/* Reached only when an error escapes every protected call, which is a mistake of ours. */
static int panic(lua_State *L)
{
    (void)L;
    return 0;
}

static int open_libraries(lua_State *L)
{
    sandbox_install(L);
    return 0;
}

enum err_code isolate_open(const struct isolate_config *config, struct isolate **out, struct err *err)
{
    *out = NULL;
    struct isolate *isolate = mem_zalloc(sizeof *isolate);
    if (isolate == NULL)
        return err_nomem(err);
    isolate->config = *config;
    isolate->host = *config->host;
    heap_init(&isolate->heap, config->limits.memory_bytes);
    isolate->L = lua_newstate(allocate, isolate);
    if (isolate->L == NULL) {
        heap_free(&isolate->heap);
        mem_free(isolate);
        return err_nomem(err);
    }
    lua_atpanic(isolate->L, panic);
    *(uintptr_t *)lua_getextraspace(isolate->L) = (uintptr_t)isolate;

    struct script_error failure;
    script_error_init(&failure);
    lua_pushcfunction(isolate->L, open_libraries);
    enum err_code code = isolate_call(isolate, 0, 0, &failure);
    if (code != ERR_NONE) {
        script_error_to_err(&failure, err);
        isolate_close(isolate);
    } else {
        *out = isolate;
    }
    script_error_free(&failure);
    return code;
}

void isolate_close(struct isolate *isolate)
{
    if (isolate == NULL)
        return;
    task_drop_all(isolate);
    isolate->no_wait++;
    lua_close(isolate->L);
    heap_free(&isolate->heap);
    mem_free(isolate);
}

lua_State *isolate_state(struct isolate *isolate)
{
    return isolate->L;
}

struct isolate *isolate_of(lua_State *L)
{
    return (struct isolate *)(*(uintptr_t *)lua_getextraspace(L) & ~(ISOLATE_PARKED | ISOLATE_STOPPED));
}

const struct isolate_host *isolate_host(struct isolate *isolate)
{
    return &isolate->host;
}

struct scheduler *isolate_scheduler(struct isolate *isolate)
{
    return isolate->config.scheduler;
}

void *isolate_registry(struct isolate *isolate)
{
    return isolate->config.registry;
}

size_t isolate_memory(const struct isolate *isolate)
{
    return isolate->heap.used;
}

size_t isolate_memory_peak(const struct isolate *isolate)
{
    return isolate->heap.peak;
}

void isolate_reset_peak(struct isolate *isolate)
{
    isolate->heap.peak = isolate->heap.used;
}

bool isolate_is_quiet(const struct isolate *isolate)
{
    return isolate->tasks == NULL;
}

/* Message handler: turns the error value into a script_error while the stack is still there. */
static int capture(lua_State *L)
{
    script_error_capture(isolate_of(L)->call_error, L);
    return 1;
}

enum err_code isolate_call(struct isolate *isolate, int nargs, int nresults, struct script_error *error)
{
    lua_State *L = isolate->L;
    int base = lua_gettop(L) - nargs; /* stack: …, function, arguments */
    if (!lua_checkstack(L, 4)) {
        lua_settop(L, base - 1);
        return script_error_set(error, ERR_LIMIT, "stack overflow");
    }
    struct budget *outer_budget = isolate->budget;
    struct script_error *outer_error = isolate->call_error;
    isolate->call_error = error;
    lua_pushcfunction(L, capture);
    lua_insert(L, base);
    hook_install(L);
    if (outer_budget == NULL) {
        isolate->load_budget = (struct budget){.cpu_limit_ms = isolate->config.limits.cpu_ms};
        hook_slice_begin(isolate, &isolate->load_budget);
    }
    isolate->no_wait++;
    lua_State *outer = hook_enter(L);
    int status = lua_pcall(L, nargs, nresults, base);
    hook_leave(outer);
    isolate->no_wait--;
    const struct stop_reason *stop = hook_stop_reason(isolate);
    if (outer_budget == NULL)
        hook_slice_end(isolate);
    isolate->call_error = outer_error;
    lua_remove(L, base);
    if (stop != NULL) { /* also when a pcall held the error to the end */
        lua_settop(L, base - 1);
        return script_error_set(error, stop->code, "%s", stop->message);
    }
    if (status == LUA_OK)
        return ERR_NONE;
    if (status == LUA_ERRMEM)
        script_error_memory(error, isolate); /* Lua does not call the handler then */
    lua_settop(L, base - 1);
    return error->code != ERR_NONE ? error->code
                                   : script_error_set(error, ERR_SCRIPT, "error in error handling");
}
