/* What scripts/lint.lua needs of the outside: the files of the project, the names that scripts find, a place
 * to print to. Must not judge. */
#include "cli/lint.h"
#include "cli/cli.h"
#include "cli/files.h"
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

struct lint {
    struct runtime *runtime;
    const struct buf *names;
    const struct lint_options *options;
};

/* Keeps the source for host_write, in the table at the index. */
static void remember(lua_State *L, int sources, const struct source *source)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)source);
    lua_setfield(L, sources, source->name);
}

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
    remember(L, lua_upvalueindex(2), source);
    lua_pushstring(L, source->name);
    lua_pushlstring(L, source->text, source->len);
    return 2;
}

/* Puts a text in the place of a source's file. true, or nil and a message. */
static int host_write(lua_State *L)
{
    size_t len = 0;
    struct err err;
    const char *text = luaL_checklstring(L, 2, &len);
    lua_getfield(L, lua_upvalueindex(1), luaL_checkstring(L, 1));
    const struct source *source = lua_touserdata(L, -1);
    if (source == NULL)
        return luaL_error(L, "there is no such source");
    const struct files_text old = {.at = source->text, .len = source->len}, new = {.at = text, .len = len};
    if (files_replace(source->path, source->name, &old, &new, &err) == ERR_NONE) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.message);
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

static void push_host(lua_State *L, const struct lint *lint)
{
    const struct source *source = sources_main(lint->runtime->sources);
    lua_newtable(L); /* the sources */
    remember(L, lua_gettop(L), source);
    lua_newtable(L);
    lua_pushlstring(L, buf_text(lint->names), lint->names->len);
    lua_setfield(L, -2, "api");
    lua_pushstring(L, source->name);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, source->text, source->len);
    lua_setfield(L, -2, "text");
    lua_pushlightuserdata(L, lint->runtime);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, host_find, 2);
    lua_setfield(L, -2, "find");
    lua_pushcfunction(L, lint->options->as_json ? host_print_json : host_print);
    lua_setfield(L, -2, "print");
    if (lint->options->fix) {
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, host_write, 1);
        lua_setfield(L, -2, "write");
    }
    lua_remove(L, -2);
}

static int count_of(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return count;
}

static int run(lua_State *L)
{
    const struct lint *lint = lua_touserdata(L, 1);
    scripts_open(L);
    scripts_push(L, "lint");
    push_host(L, lint);
    lua_pushboolean(L, lint->options->as_json);
    lua_call(L, 2, 2);
    return 2;
}

enum err_code lint_print(struct runtime *runtime, const struct lint_options *options,
                         struct lint_counts *counts, struct err *err)
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
    struct lint lint = {.runtime = runtime, .names = &names, .options = options};
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &lint);
    bool ended = lua_pcall(L, 1, 2, 0) == LUA_OK;
    if (!ended || lua_isnil(L, 1)) {
        const char *message = lua_tostring(L, -1);
        code = err_set(err, ended ? ERR_IO : ERR_INTERNAL, "%s", message != NULL ? message : "unknown error");
        goto done;
    }
    *counts = (struct lint_counts){.errors = count_of(L, "error"),
                                   .warnings = count_of(L, "warning"),
                                   .notes = count_of(L, "note"),
                                   .fixed = count_of(L, "fixed")};
done:
    if (L != NULL)
        lua_close(L);
    buf_free(&names);
    return code;
}
