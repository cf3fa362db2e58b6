/* workers new: makes a project from the templates in the binary. The work is done by scripts/init.lua, which
 * is trusted: it runs in a plain Lua state with a handful of file functions. */
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/scripts.h"
#include "cli/types.h"

#include "base/embed.h"

#include <dirent.h>
#include <lauxlib.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int host_exists(lua_State *L)
{
    struct stat status;
    lua_pushboolean(L, lstat(luaL_checkstring(L, 1), &status) == 0);
    return 1;
}

/* true, or nil and the message. */
static int report(lua_State *L, enum err_code code, const struct err *err)
{
    if (code == ERR_NONE) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    return 2;
}

/* Makes the folder and those above it. */
static int host_mkdir(lua_State *L)
{
    struct err err;
    enum err_code code = files_make_folder(luaL_checkstring(L, 1), &err);
    return report(L, code, &err);
}

static int host_write(lua_State *L)
{
    size_t len = 0;
    struct err err;
    const char *path = luaL_checkstring(L, 1);
    const char *text = luaL_checklstring(L, 2, &len);
    enum err_code code = files_write(path, text, len, &err);
    return report(L, code, &err);
}

static int host_list(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_newtable(L);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 1;
    lua_Integer count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++count);
    }
    closedir(folder);
    return 1;
}

static int host_print(lua_State *L)
{
    printf("%s\n", luaL_checkstring(L, 1));
    return 0;
}

static int host_cwd(lua_State *L)
{
    char path[PATH_MAX];
    if (getcwd(path, sizeof path) == NULL)
        return luaL_error(L, "the current folder is gone");
    lua_pushstring(L, path);
    return 1;
}

static void push_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"exists", host_exists}, {"mkdir", host_mkdir}, {"write", host_write}, {"list", host_list},
        {"print", host_print},   {"cwd", host_cwd},     {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_newtable(L);
    for (size_t i = 0; i < template_file_count; i++) {
        lua_pushlstring(L, template_files[i].begin,
                        (size_t)(template_files[i].end - template_files[i].begin));
        lua_setfield(L, -2, template_files[i].name);
    }
    lua_setfield(L, -2, "files");
}

static int scaffold(lua_State *L)
{
    const struct cli_args *args = lua_touserdata(L, 1);
    scripts_open(L);
    scripts_push(L, "init");
    push_host(L);
    lua_newtable(L);
    if (args->count > 0) {
        lua_pushstring(L, args->positional[0]);
        lua_setfield(L, -2, "directory");
    }
    lua_pushboolean(L, cli_flag(args, "--force"));
    lua_setfield(L, -2, "force");
    if (cli_value(args, "--name") != NULL) {
        lua_pushstring(L, cli_value(args, "--name"));
        lua_setfield(L, -2, "name");
    }
    lua_call(L, 2, 2);
    return 2;
}

static int run_new(const struct cli_args *args)
{
    struct err err;
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        err_nomem(&err);
        return cli_fail(&err);
    }
    lua_pushcfunction(L, scaffold);
    lua_pushlightuserdata(L, (void *)(uintptr_t)args);
    int result = EXIT_DONE;
    if (lua_pcall(L, 1, 2, 0) != LUA_OK) {
        err_set(&err, ERR_INTERNAL, "%s",
                lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "unknown error");
        result = cli_fail(&err);
    } else if (!lua_toboolean(L, -2)) {
        err_set(&err, ERR_INVALID, "%s",
                lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "the project was not made");
        result = cli_fail(&err);
    } else if (types_write_project(args->count > 0 ? args->positional[0] : ".", NULL, &err) != ERR_NONE) {
        result = cli_fail(&err);
    }
    lua_close(L);
    return result;
}

static const struct cli_option options[] = {
    {"--name", NULL, "NAME", "the worker's name; made from the folder's unless given"},
    {"--force", NULL, NULL, "overwrite files that are there"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_new = {
    .name = "new",
    .arguments = "[DIR]",
    .summary = "Make a project that runs at once",
    .help = "Examples:\n  workers new demo && cd demo && workers run src/main.lua\n  workers new . --name "
            "my-worker\n",
    .options = options,
    .max_arguments = 1,
    .run = run_new,
};
