/* workers.fs: files that a script may read. Must not write, and must not open a path that the host has not
 * resolved. */
#include "modules/modules.h"

#include "base/buf.h"
#include "modules/json.h"
#include "script/budget.h"
#include "script/options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BOX "workers.fs.file"
#define MAX_READ ((uint64_t)64 * 1024 * 1024) /* default of max, bytes */
#define MAX_LINE ((size_t)16 * 1024 * 1024)
#define CHUNK ((size_t)64 * 1024)
#define MAX_OPEN 64 /* files that one script holds open at once */

/* What the functions of one module instance share, their upvalue. */
struct shared {
    int open_files;
};

/* A file or folder while it is open. */
struct file {
    struct shared *shared; /* its userdata is the file's user value */
    int fd;                /* -1 when closed */
    DIR *folder;
    struct buf pending; /* read, but not returned yet */
    size_t begin;       /* of what is left in pending */
    bool at_end;
    lua_Integer line;
};

/* ---- opening ---- */

static int file_close(lua_State *L)
{
    struct file *file = luaL_checkudata(L, 1, FILE_BOX);
    if (file->folder != NULL)
        closedir(file->folder);
    else if (file->fd >= 0)
        close(file->fd);
    if (file->folder != NULL || file->fd >= 0)
        file->shared->open_files--;
    file->folder = NULL;
    file->fd = -1;
    buf_free(&file->pending);
    file->begin = 0;
    return 0;
}

/* The path in argument 1 as the script gave it. */
static const char *check_path(lua_State *L, const char *function)
{
    size_t len = 0;
    if (lua_type(L, 1) != LUA_TSTRING || lua_rawlen(L, 1) == 0)
        luaL_error(L, "%s: the path must be a non-empty string, got %s", function,
                   lua_isnoneornil(L, 1)           ? "nothing"
                   : lua_type(L, 1) == LUA_TSTRING ? "an empty string"
                                                   : luaL_typename(L, 1));
    const char *path = lua_tolstring(L, 1, &len);
    if (strlen(path) != len)
        luaL_error(L, "%s: the path contains a NUL byte", function);
    return path;
}

/* False when nothing is there and absent_ok; every other failure raises. */
static bool resolve(lua_State *L, const char *function, const char *path, char resolved[PATH_MAX],
                    bool absent_ok)
{
    const struct isolate_host *host = isolate_host(isolate_of(L));
    struct err err;
    if (host->read_path == NULL)
        luaL_error(L, "%s: files cannot be read from here", function);
    enum err_code code = host->read_path(host->ctx, path, resolved, PATH_MAX, &err);
    if (code == ERR_NOT_FOUND && absent_ok)
        return false;
    if (code != ERR_NONE)
        luaL_error(L, "%s: %s", function, err.message);
    return true;
}

/* Pushes the box of the opened path; as a folder if folder, else as a plain file. */
static struct file *open_path(lua_State *L, const char *function, bool folder)
{
    char resolved[PATH_MAX];
    struct stat status;
    const char *path = check_path(L, function);
    resolve(L, function, path, resolved, false);
    struct shared *shared = lua_touserdata(L, lua_upvalueindex(1));
    if (shared->open_files >= MAX_OPEN) {
        lua_gc(L, LUA_GCCOLLECT); /* closes the files that nobody uses any more */
        if (shared->open_files >= MAX_OPEN)
            luaL_error(L, "%s: %d files are open already; read them to their end, or leave their loops",
                       function, MAX_OPEN);
    }
    struct file *file = lua_newuserdatauv(L, sizeof *file, 1);
    *file = (struct file){.shared = shared, .fd = -1};
    buf_init(&file->pending, MAX_LINE + CHUNK);
    luaL_setmetatable(L, FILE_BOX);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setiuservalue(L, -2, 1);

    file->fd = open(resolved, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0)
        luaL_error(L, "%s: cannot read %s: %s", function, path, strerror(errno));
    shared->open_files++;
    if (fstat(file->fd, &status) != 0)
        luaL_error(L, "%s: cannot read %s: %s", function, path, strerror(errno));
    if (folder && !S_ISDIR(status.st_mode))
        luaL_error(L, "%s: %s is not a folder; use fs.read to read a file", function, path);
    if (!folder && S_ISDIR(status.st_mode))
        luaL_error(L, "%s: %s is a folder; use fs.list to see what is in it", function, path);
    if (!folder && !S_ISREG(status.st_mode))
        luaL_error(L, "%s: %s is not a plain file", function, path);
    if (folder) {
        file->folder = fdopendir(file->fd);
        if (file->folder == NULL)
            luaL_error(L, "%s: cannot read %s: %s", function, path, strerror(errno));
    }
    return file;
}

/* ---- whole files ---- */

/* Closes the file on top of the stack, which is popped. */
static void close_top(lua_State *L)
{
    lua_pushcfunction(L, file_close);
    lua_insert(L, -2);
    lua_call(L, 1, 0);
}

/* Pushes the content of the file in argument 1. */
static void push_content(lua_State *L, const char *function, uint64_t max)
{
    struct file *file = open_path(L, function, false);
    const char *path = lua_tostring(L, 1);
    int box = lua_gettop(L);
    luaL_Buffer content;
    luaL_buffinit(L, &content);
    uint64_t total = 0;
    for (;;) {
        char *room = luaL_prepbuffsize(&content, CHUNK);
        ssize_t got = read(file->fd, room, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            luaL_error(L, "%s: cannot read %s: %s", function, path, strerror(errno));
        if (got == 0)
            break;
        total += (uint64_t)got;
        if (total > max) {
            char text[32];
            snprintf(text, sizeof text, "%llu", (unsigned long long)max);
            luaL_error(L, "%s: %s is larger than %s bytes; give { max = } to read more, or use fs.lines",
                       function, path, text);
        }
        luaL_addsize(&content, (size_t)got);
        budget_tick(L);
    }
    luaL_pushresult(&content);
    lua_pushvalue(L, box);
    close_top(L);
    lua_remove(L, box);
}

static const struct option_spec read_options[] = {
    {"max", OPTION_ANY, false, NULL},
    {NULL, 0, false, NULL},
};

static int fs_read(lua_State *L)
{
    uint64_t max = MAX_READ;
    check_path(L, "fs.read");
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) {
        options_check(L, 2, read_options, "fs.read");
        max = options_size(L, 2, "max", max, "fs.read");
    }
    push_content(L, "fs.read", max);
    return 1;
}

static int fs_read_json(lua_State *L)
{
    struct err err;
    size_t len = 0;
    push_content(L, "fs.readJson", MAX_READ);
    const char *text = lua_tolstring(L, -1, &len);
    if (json_decode(L, text, len, &err) != ERR_NONE)
        return luaL_error(L, "fs.readJson: %s is not JSON: %s", lua_tostring(L, 1), err.message);
    return 1;
}

/* ---- lines ---- */

/* Reads on; false at the end of the file. */
static bool fill(lua_State *L, struct file *file, const char *path)
{
    if (file->begin > 0) {
        memmove(file->pending.data, file->pending.data + file->begin, file->pending.len - file->begin);
        file->pending.len -= file->begin;
        file->begin = 0;
    }
    if (file->pending.len > MAX_LINE)
        luaL_error(L, "fs.lines: line %I of %s is longer than %d MiB", (LUAI_UACINT)file->line + 1, path,
                   (int)(MAX_LINE >> 20));
    char *room = buf_reserve(&file->pending, CHUNK);
    if (room == NULL)
        luaL_error(L, "fs.lines: out of memory in line %I of %s", (LUAI_UACINT)file->line + 1, path);
    ssize_t got;
    do
        got = read(file->fd, room, CHUNK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        luaL_error(L, "fs.lines: cannot read %s: %s", path, strerror(errno));
    file->pending.len += (size_t)got;
    budget_tick(L);
    return got > 0;
}

/* Upvalues: file, path. */
static int next_line(lua_State *L)
{
    struct file *file = lua_touserdata(L, lua_upvalueindex(1));
    const char *path = lua_tostring(L, lua_upvalueindex(2));
    const char *end = NULL;
    size_t searched = 0;
    if (file->fd < 0)
        return 0;
    while (end == NULL) {
        size_t left = file->pending.len - file->begin;
        const char *begin = buf_text(&file->pending) + file->begin;
        end = left > searched ? memchr(begin + searched, '\n', left - searched) : NULL;
        searched = left;
        if (end == NULL && (file->at_end || !fill(L, file, path))) {
            file->at_end = true;
            break;
        }
    }
    const char *begin = buf_text(&file->pending) + file->begin;
    size_t left = file->pending.len - file->begin;
    if (end == NULL && left == 0) {
        lua_pushvalue(L, lua_upvalueindex(1));
        close_top(L);
        return 0;
    }
    size_t len = end != NULL ? (size_t)(end - begin) : left;
    file->begin += len + (end != NULL ? 1 : 0);
    file->line++;
    if (end != NULL && len > 0 && begin[len - 1] == '\r')
        len--;
    lua_pushlstring(L, begin, len);
    return 1;
}

/* Returns the four values of a generic for, so that a loop that is left early closes the file. */
static int fs_lines(lua_State *L)
{
    open_path(L, "fs.lines", false);
    int box = lua_gettop(L);
    lua_pushvalue(L, box);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, next_line, 2);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, box);
    return 4;
}

/* ---- folders ---- */

static int fs_exists(lua_State *L)
{
    char resolved[PATH_MAX];
    struct stat status;
    const char *path = check_path(L, "fs.exists");
    lua_pushboolean(L, resolve(L, "fs.exists", path, resolved, true) && stat(resolved, &status) == 0);
    return 1;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int fs_list(lua_State *L)
{
    struct file *file = open_path(L, "fs.list", true);
    int box = lua_gettop(L);
    size_t count = 0;
    lua_newtable(L); /* in the folder's order; keeps the names alive while they are sorted */
    struct dirent *entry;
    while ((entry = readdir(file->folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, (lua_Integer)++count);
        if (count % 1024 == 0)
            budget_tick(L);
    }
    const char **names = lua_newuserdatauv(L, (count + 1) * sizeof *names, 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        names[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    qsort(names, count, sizeof *names, compare_texts);
    json_push_array_metatable(L);
    lua_createtable(L, count < INT_MAX ? (int)count : 0, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_insert(L, -2);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, box);
    close_top(L);
    return 1;
}

static const struct script_function functions[] = {
    {"read", fs_read, "(path: string, options?: { max?: integer|string }): string",
     "the content of a file; an error when it is larger than max (\"64MiB\" unless given)"},
    {"readJson", fs_read_json, "(path: string): any", "the content of a JSON file, decoded"},
    {"lines", fs_lines, "(path: string): fun(): string?",
     "for a loop over the lines of a file, without their ends; at most 16 MiB each"},
    {"list", fs_list, "(path: string): string[]", "the names in a folder, sorted"},
    {"exists", fs_exists, "(path: string): boolean", "whether something is there"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs fs_docs = {"Files of the project, for reading", functions, NULL};

int luaopen_workers_fs(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", file_close}, {"__close", file_close}, {NULL, NULL}};
    luaL_newmetatable(L, FILE_BOX);
    luaL_setfuncs(L, closers, 0);
    lua_pop(L, 1);
    struct shared *shared = lua_newuserdatauv(L, sizeof *shared, 0);
    *shared = (struct shared){0};
    functions_push_shared(L, functions);
    return 1;
}
