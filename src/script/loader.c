/* require and load for scripts: built-in modules, the project's files, nothing else. */
#include "script/isolate_priv.h"
#include "script/sources.h"

#include "base/embed.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define LOADED LUA_LOADED_TABLE /* where luaL_argerror looks for the names of functions */

/* Skips a byte-order mark and a first line that begins with #, keeping line numbers. */
static const char *script_begin(const char *text, size_t *len)
{
    const char *end = text + *len;
    if (*len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    if (text < end && *text == '#')
        while (text < end && *text != '\n')
            text++;
    *len = (size_t)(end - text);
    return text;
}

/* Lua says of every mistake where it is, but of this one. */
static void name_file(lua_State *L, const char *chunk)
{
    const char *message = lua_tostring(L, -1);
    if (message == NULL || strcmp(message, "C stack overflow") != 0)
        return;
    lua_pushfstring(L, "%s: brackets or blocks lie more than 200 deep within each other", chunk + 1);
    lua_replace(L, -2);
}

static int load_text(lua_State *L, const char *text, size_t len, const char *chunk)
{
    const char *begin = script_begin(text, &len);
    int status = luaL_loadbufferx(L, begin, len, chunk, "t");
    if (status == LUA_ERRSYNTAX || status == LUA_ERRRUN)
        name_file(L, chunk);
    return status;
}

/* Raises when the name that was not found is nearly that of a built-in. */
static void suggest_module(lua_State *L, const char *name)
{
    const struct script_module *module = isolate_of(L)->config.modules;
    /* the modules in Lua that scripts are meant to require */
    static const char *const in_lua[] = {"workers.alerts", "workers.aws",      "workers.graphql",
                                         "workers.j",      "workers.paginate", "workers.schema",
                                         "workers.table",  "workers.webhooks"};
    enum { IN_LUA = sizeof in_lua / sizeof in_lua[0] };
    const char *names[64];
    size_t count = 0;
    for (; module != NULL && module->name != NULL && count < 64 - IN_LUA; module++)
        names[count++] = module->name;
    for (size_t i = 0; i < IN_LUA; i++)
        names[count++] = in_lua[i];
    int nearest = text_nearest(name, strlen(name), names, count);
    if (nearest >= 0)
        luaL_error(L, "module '%s' not found; did you mean '%s'?", name, names[nearest]);
}

/* Pushes the loader function of the module, or raises. */
static void find_module(lua_State *L, const char *name)
{
    struct isolate *isolate = isolate_of(L);
    for (const struct script_module *module = isolate->config.modules; module != NULL && module->name != NULL;
         module++) {
        if (strcmp(module->name, name) == 0) {
            lua_pushcfunction(L, module->open);
            return;
        }
    }
    if (strncmp(name, "workers", 7) == 0 && (name[7] == '.' || name[7] == '\0')) {
        char file[128];
        snprintf(file, sizeof file, "lua/%s.lua", name);
        for (char *at = file + 4; at[4] != '\0'; at++) /* not the dot of .lua */
            if (*at == '.')
                *at = '/';
        const struct embedded_file *found = embed_find(lua_files, file);
        if (found != NULL) {
            lua_pushfstring(L, "=[%s]", name);
            if (load_text(L, found->begin, (size_t)(found->end - found->begin), lua_tostring(L, -1)) !=
                LUA_OK)
                lua_error(L);
            lua_remove(L, -2);
            return;
        }
    }
    const struct source *source = NULL;
    struct err err;
    enum err_code code = isolate->config.sources != NULL
                             ? sources_module(isolate->config.sources, name, &source, &err)
                             : err_set(&err, ERR_NOT_FOUND, "module '%s' not found", name);
    if (code == ERR_NOT_FOUND)
        suggest_module(L, name);
    if (code != ERR_NONE)
        luaL_error(L, "%s", err.message);
    lua_pushfstring(L, "@%s", source->name);
    if (load_text(L, source->text, source->len, lua_tostring(L, -1)) != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
}

static int script_require(lua_State *L)
{
    size_t len = 0;
    const char *name = luaL_checklstring(L, 1, &len);
    if (strlen(name) != len)
        return luaL_error(L, "\"%s\\0…\" is not a module name: it contains a NUL byte", name);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LOADED); /* stack: name, loaded */
    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        if (lua_touserdata(L, -1) == (void *)isolate_of(L))
            return luaL_error(L, "module '%s' requires itself (through the modules it requires)", name);
        return 1;
    }
    lua_pop(L, 1);
    find_module(L, name); /* stack: name, loaded, loader */
    lua_pushlightuserdata(L, isolate_of(L));
    lua_setfield(L, 2, name);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pushnil(L);
        lua_setfield(L, 2, lua_tostring(L, 1));
        return lua_error(L);
    }
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, lua_tostring(L, 1));
    return 1;
}

/* load(chunk, name, mode, env) with mode always "t". Lua's own load is upvalue 1. */
static int script_load(lua_State *L)
{
    bool with_env = lua_gettop(L) >= 4;
    lua_settop(L, with_env ? 4 : 3);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, with_env ? 4 : 3, LUA_MULTRET);
    return lua_gettop(L);
}

void loader_install(lua_State *L)
{
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, LOADED);
    /* stack: loaded */
    static const char *const libraries[] = {"string", "table", "math", "utf8", "os", "coroutine", NULL};
    for (int i = 0; libraries[i] != NULL; i++) {
        lua_getglobal(L, libraries[i]);
        lua_setfield(L, -2, libraries[i]);
    }
    lua_newtable(L); /* stack: loaded, package */
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "loaded");
    lua_setglobal(L, "package");
    lua_pop(L, 1);
    lua_register(L, "require", script_require);
    lua_getglobal(L, "load");
    lua_pushcclosure(L, script_load, 1);
    lua_setglobal(L, "load");
}

static int run_main(lua_State *L)
{
    const struct source *source = lua_touserdata(L, 1);
    lua_pushfstring(L, "@%s", source->name);
    if (load_text(L, source->text, source->len, lua_tostring(L, -1)) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    return 1;
}

enum err_code isolate_load_main(struct isolate *isolate, struct script_error *error)
{
    lua_State *L = isolate->L;
    if (isolate->config.sources == NULL)
        return script_error_set(error, ERR_INTERNAL, "no script to load");
    if (!lua_checkstack(L, 2))
        return script_error_set(error, ERR_LIMIT, "stack overflow");
    lua_pushcfunction(L, run_main);
    lua_pushlightuserdata(L, (void *)(uintptr_t)sources_main(isolate->config.sources));
    return isolate_call(isolate, 1, 1, error);
}
