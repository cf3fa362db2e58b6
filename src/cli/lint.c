/* What scripts/lint.lua needs of the outside: the files of the project, the names that scripts find, a place
 * to print to. Must not judge. */
#include "cli/lint.h"
#include "cli/cli.h"
#include "cli/scripts.h"

#include "base/embed.h"
#include "modules/modules.h"

#include <lauxlib.h>
#include <string.h>

#define MODULE_IN_LUA "lua/workers/"
#define INSTALLED "lua_modules/" /* the code of others */

/* ---- the names that scripts find ---- */

static void add_module_names(struct buf *out)
{
    for (size_t i = 0; workers_modules[i].name != NULL; i++)
        buf_addf(out, "%s ", workers_modules[i].name);
    size_t prefix = strlen(MODULE_IN_LUA);
    for (size_t i = 0; i < lua_file_count; i++) {
        const char *name = lua_files[i].name;
        if (strncmp(name, MODULE_IN_LUA, prefix) == 0 && strchr(name + prefix, '/') == NULL)
            buf_addf(out, "workers.%.*s ", (int)(strlen(name + prefix) - strlen(".lua")), name + prefix);
    }
}

static enum err_code list_names(struct isolate *isolate, const struct buf *modules, struct buf *out,
                                struct err *err)
{
    const struct embedded_file *script = embed_find(lua_files, "scripts/lint/api.lua");
    lua_State *L = isolate_state(isolate);
    if (script == NULL ||
        luaL_loadbufferx(L, script->begin, (size_t)(script->end - script->begin), "=api", "t") != LUA_OK)
        return err_set(err, ERR_INTERNAL, "the list of names cannot be made");
    lua_pushlstring(L, buf_text(modules), modules->len);
    struct script_error error;
    script_error_init(&error);
    enum err_code code = isolate_call(isolate, 1, 1, &error);
    if (code != ERR_NONE) {
        code = script_error_to_err(&error, err);
    } else {
        size_t len = 0;
        const char *text = lua_tolstring(L, -1, &len);
        if (text != NULL)
            buf_add(out, text, len);
        lua_pop(L, 1);
        code = buf_status(out, "the list of names", err);
    }
    script_error_free(&error);
    return code;
}

static enum err_code read_names(struct runtime *runtime, struct buf *out, struct err *err)
{
    struct isolate *isolate = NULL;
    struct buf modules;
    buf_init(&modules, BUF_UNLIMITED);
    add_module_names(&modules);
    const struct isolate_host host = {.ctx = NULL};
    struct registration registration = {.worker = runtime->worker};
    const struct isolate_config config = {.scheduler = runtime->scheduler,
                                          .sources = runtime->sources,
                                          .host = &host,
                                          .modules = workers_modules,
                                          .registry = &registration};
    enum err_code code = buf_status(&modules, "the list of modules", err);
    if (code == ERR_NONE)
        code = isolate_open(&config, &isolate, err);
    if (code == ERR_NONE)
        code = list_names(isolate, &modules, out, err);
    isolate_close(isolate);
    buf_free(&modules);
    return code;
}

/* ---- the host ---- */

static int host_find(lua_State *L)
{
    struct runtime *runtime = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    const struct source *source = NULL;
    struct err err;
    /* a built-in module comes before a file of its name */
    if (strncmp(name, "workers.", 8) == 0 || strcmp(name, "workers") == 0 ||
        sources_module(runtime->sources, name, &source, &err) != ERR_NONE ||
        strncmp(source->name, INSTALLED, strlen(INSTALLED)) == 0)
        return 0;
    lua_pushstring(L, source->name);
    lua_pushlstring(L, source->text, source->len);
    return 2;
}

static int host_print(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    cli_write(stdout, text, len);
    fputc('\n', stdout);
    return 0;
}

static int host_print_json(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    if (cli_print_json(text, len) != EXIT_DONE)
        return luaL_error(L, "the findings cannot be printed");
    return 0;
}

struct lint {
    struct runtime *runtime;
    const struct buf *names;
    bool as_json;
};

static void push_host(lua_State *L, const struct lint *lint)
{
    const struct source *source = sources_main(lint->runtime->sources);
    lua_newtable(L);
    lua_pushlstring(L, buf_text(lint->names), lint->names->len);
    lua_setfield(L, -2, "api");
    lua_pushstring(L, source->name);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, source->text, source->len);
    lua_setfield(L, -2, "text");
    lua_pushlightuserdata(L, lint->runtime);
    lua_pushcclosure(L, host_find, 1);
    lua_setfield(L, -2, "find");
    lua_pushcfunction(L, lint->as_json ? host_print_json : host_print);
    lua_setfield(L, -2, "print");
}

static int run(lua_State *L)
{
    const struct lint *lint = lua_touserdata(L, 1);
    scripts_open(L);
    scripts_push(L, "lint");
    push_host(L, lint);
    lua_pushboolean(L, lint->as_json);
    lua_call(L, 2, 3);
    return 3;
}

enum err_code lint_print(struct runtime *runtime, bool as_json, struct lint_counts *counts, struct err *err)
{
    *counts = (struct lint_counts){0};
    struct buf names;
    buf_init(&names, BUF_UNLIMITED);
    lua_State *L = NULL;
    enum err_code code = read_names(runtime, &names, err);
    if (code != ERR_NONE)
        goto done;
    L = luaL_newstate();
    if (L == NULL) {
        code = err_nomem(err);
        goto done;
    }
    struct lint lint = {.runtime = runtime, .names = &names, .as_json = as_json};
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &lint);
    if (lua_pcall(L, 1, 3, 0) != LUA_OK) {
        const char *message = lua_tostring(L, -1);
        code = err_set(err, ERR_INTERNAL, "%s", message != NULL ? message : "unknown error");
        goto done;
    }
    counts->errors = (int)lua_tointeger(L, -3);
    counts->warnings = (int)lua_tointeger(L, -2);
    counts->notes = (int)lua_tointeger(L, -1);
done:
    if (L != NULL)
        lua_close(L);
    buf_free(&names);
    return code;
}
