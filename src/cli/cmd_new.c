/* workers new: makes a project from the templates in the binary. The work is done by scripts/init.lua, which
 * is trusted: it runs in a plain Lua state with a handful of file functions. */
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/scripts.h"
#include "cli/types.h"

#include "base/embed.h"
#include "worker/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_MAX ((size_t)4 * 1024 * 1024)
#define ARGUMENTS_MAX 500

extern char **environ;

static int host_exists(lua_State *L)
{
    struct stat status;
    lua_pushboolean(L, lstat(luaL_checkstring(L, 1), &status) == 0);
    return 1;
}

static int host_is_folder(lua_State *L)
{
    struct stat status;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &status) == 0 && S_ISDIR(status.st_mode));
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

static int host_link(lua_State *L)
{
    struct err err;
    enum err_code code = files_link(luaL_checkstring(L, 1), luaL_checkstring(L, 2), &err);
    return report(L, code, &err);
}

/* nil when nobody is there to be asked. */
static int host_confirm(lua_State *L)
{
    const char *question = luaL_checkstring(L, 1);
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return 0;
    lua_pushboolean(L, cli_confirm(question));
    return 1;
}

/* Whether the owner may run the file. */
static int host_is_program(lua_State *L)
{
    struct stat status;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &status) == 0 && (status.st_mode & S_IXUSR) != 0);
    return 1;
}

/* Lets those run the file who may read it. true, or nil and the message. */
static int host_make_program(lua_State *L)
{
    struct stat status;
    struct err err;
    const char *path = luaL_checkstring(L, 1);
    enum err_code code = ERR_NONE;
    if (stat(path, &status) != 0 || chmod(path, (status.st_mode & 0777) | (status.st_mode & 0444) >> 2) != 0)
        code = err_set(&err, ERR_IO, "cannot change %s: %s", path, strerror(errno));
    return report(L, code, &err);
}

/* Where a link leads; nothing for what is none. */
static int host_target(lua_State *L)
{
    char target[PATH_MAX];
    ssize_t len = readlink(luaL_checkstring(L, 1), target, sizeof target);
    if (len < 0)
        return 0;
    lua_pushlstring(L, target, (size_t)len);
    return 1;
}

/* The names in a folder; nil for what is none, and with a message for one that cannot be read. */
static int host_list(lua_State *L)
{
    struct err err;
    const char *path = luaL_checkstring(L, 1);
    DIR *folder = opendir(path);
    if (folder == NULL && (errno == ENOTDIR || errno == ENOENT))
        return 0;
    if (folder == NULL)
        return report(L, err_set(&err, ERR_IO, "cannot read %s: %s", path, strerror(errno)), &err);
    lua_newtable(L);
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

/* The text of a file; nil and a message. */
static int host_read(lua_State *L)
{
    struct buf text;
    struct err err;
    enum err_code code = config_read_file(luaL_checkstring(L, 1), FILE_MAX, &text, &err);
    if (code == ERR_NONE)
        lua_pushlstring(L, buf_text(&text), text.len);
    buf_free(&text);
    return code == ERR_NONE ? 1 : report(L, code, &err);
}

/* Whether a program ended well; what it says is not shown. */
static int host_run(lua_State *L)
{
    char *argv[ARGUMENTS_MAX + 1] = {NULL};
    int count = lua_gettop(L), status = 0;
    pid_t pid = 0;
    posix_spawn_file_actions_t actions;
    luaL_argcheck(L, count >= 1 && count <= ARGUMENTS_MAX, 1, "too many arguments");
    for (int i = 0; i < count; i++)
        argv[i] = (char *)(uintptr_t)luaL_checkstring(L, i + 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    bool ran = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    while (ran && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    lua_pushboolean(L, ran && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 1;
}

static int host_temporary(lua_State *L)
{
    char path[PATH_MAX];
    struct err err;
    enum err_code code = files_make_temporary("workers-new", path, sizeof path, &err);
    if (code != ERR_NONE)
        return report(L, code, &err);
    lua_pushstring(L, path);
    return 1;
}

static int host_remove(lua_State *L)
{
    pack_remove(luaL_checkstring(L, 1));
    return 0;
}

static void push_host(lua_State *L)
{
    static const luaL_Reg functions[] = {{"exists", host_exists},
                                         {"is_folder", host_is_folder},
                                         {"mkdir", host_mkdir},
                                         {"write", host_write},
                                         {"list", host_list},
                                         {"print", host_print},
                                         {"cwd", host_cwd},
                                         {"read", host_read},
                                         {"run", host_run},
                                         {"temporary", host_temporary},
                                         {"remove", host_remove},
                                         {"link", host_link},
                                         {"target", host_target},
                                         {"is_program", host_is_program},
                                         {"make_program", host_make_program},
                                         {"confirm", host_confirm},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_newtable(L);
    for (size_t i = 0; i < template_file_count; i++) {
        lua_pushlstring(L, template_files[i].begin,
                        (size_t)(template_files[i].end - template_files[i].begin));
        lua_setfield(L, -2, template_files[i].name);
    }
    lua_setfield(L, -2, "files");
    lua_pushliteral(L, WORKERS_VERSION);
    lua_setfield(L, -2, "version");
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static int scaffold(lua_State *L)
{
    const struct cli_args *args = lua_touserdata(L, 1);
    scripts_open(L);
    scripts_push(L, "init");
    push_host(L);
    lua_newtable(L);
    set_text(L, "directory", args->count > 0 ? args->positional[0] : NULL);
    set_text(L, "name", cli_value(args, "--name"));
    set_text(L, "template", cli_value(args, "--template"));
    set_text(L, "from", cli_value(args, "--from"));
    lua_pushboolean(L, cli_flag(args, "--force"));
    lua_setfield(L, -2, "force");
    lua_pushboolean(L, cli_flag(args, "--list"));
    lua_setfield(L, -2, "list");
    if (cli_flag(args, "--git") || cli_flag(args, "--no-git")) {
        lua_pushboolean(L, cli_flag(args, "--git"));
        lua_setfield(L, -2, "git");
    }
    lua_call(L, 2, 2);
    return 2;
}

static int run_new(const struct cli_args *args)
{
    struct err err;
    if (cli_flag(args, "--git") && cli_flag(args, "--no-git"))
        return cli_usage(args, "--git and --no-git exclude each other");
    if (cli_value(args, "--template") != NULL && cli_value(args, "--from") != NULL)
        return cli_usage(args, "--template and --from exclude each other");
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
    } else if (!cli_flag(args, "--list") &&
               types_write_project(args->count > 0 ? args->positional[0] : ".", NULL, &err) != ERR_NONE) {
        result = cli_fail(&err);
    }
    lua_close(L);
    return result;
}

static const struct cli_option options[] = {
    {"--name", NULL, "NAME", "the worker's name; made from the folder's unless given"},
    {"--template", NULL, "TEMPLATE", "which one; worker unless given"},
    {"--list", NULL, NULL, "show the templates, and make nothing"},
    {"--from", NULL, "DIR|ARCHIVE", "a template of your own"},
    {"--git", NULL, NULL, "make a git repository, also within another one"},
    {"--no-git", NULL, NULL, "make none; otherwise there is one when git is there and none is around"},
    {"--force", NULL, NULL, "overwrite files that are there"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_new = {
    .name = "new",
    .arguments = "[DIR]",
    .summary = "Make a project that runs at once",
    .help =
        "In a template of your own, {{name}}, {{title}} and {{version}} are filled in, _gitignore becomes "
        ".gitignore, and\n"
        "the lines of _template are a summary and the commands that are shown at the end.\n\n"
        "Examples:\n  workers new demo && cd demo && workers run src/main.lua\n  workers new . --name "
        "my-worker\n  workers new --list\n  workers new tasks --template sync-rest\n"
        "  workers new tasks --from ~/templates/ours\n",
    .options = options,
    .max_arguments = 1,
    .run = run_new,
};
