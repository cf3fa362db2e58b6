/* Runs Lua test files, each in an isolate of its own on a loop of its own, as scripts run in the program: on
 * the event loop, with all modules, under limits. Prints TAP and, last, "N passed, N failed".
 *
 *     run_lua_tests FILE...
 *
 * A file ends with "return tap.run" (tap.lua). It fails as a whole when it leaves a task, a request or a
 * handle of the loop behind. The module "testing" gives tests what scripts do not have. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/db.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "net/http_client.h"
#include "script/sources.h"
#include "script/task.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LOGS 256
#define MAX_VARIABLES 16
#define PACER_MS 5

struct log_line {
    char level[8];
    char *text;
    size_t len;
};

/* What the isolate of one file asks of the floors above. */
struct host {
    uv_loop_t *loop;
    struct http_client *client;
    struct log_line logs[MAX_LOGS];
    size_t log_count;
    struct {
        char name[64];
        char value[256];
    } variables[MAX_VARIABLES];
    char denied_host[256];
    char folder[PATH_MAX]; /* what scripts may read */
    int sent;
    int pacer_waits;
    int pacer_cancels;
    char last_pacer[64];
    int passed;
    int failed;
    bool ended;
    char failure[1024];
};

static struct {
    pid_t pid;
    int stdin_fd; /* the server ends when this closes, however we end */
    int port;
} server;

static int start_server(void)
{
    int in[2];
    int out[2];
    if (pipe(in) != 0 || pipe(out) != 0)
        return -1;
    server.pid = fork();
    if (server.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        close(out[0]);
        execlp("python3", "python3", HTTP_SERVER, "--exit-with-stdin", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server.stdin_fd = in[1];
    FILE *line = fdopen(out[0], "r");
    char text[16] = "";
    bool read = line != NULL && fgets(text, sizeof text, line) != NULL;
    if (line != NULL)
        fclose(line);
    server.port = (int)strtol(text, NULL, 10);
    return read && server.port > 0 ? 0 : -1;
}

static void stop_server(void)
{
    if (server.pid <= 0)
        return;
    close(server.stdin_fd);
    waitpid(server.pid, NULL, 0);
}

/* ---- the host ---- */

static void host_log(void *ctx, const char *level, const char *text, size_t len)
{
    struct host *host = ctx;
    if (host->log_count == MAX_LOGS)
        return;
    struct log_line *line = &host->logs[host->log_count++];
    snprintf(line->level, sizeof line->level, "%s", level);
    line->text = mem_strndup(text, len);
    line->len = line->text != NULL ? len : 0;
}

static const char *host_env(void *ctx, const char *name)
{
    struct host *host = ctx;
    for (size_t i = 0; i < MAX_VARIABLES; i++)
        if (host->variables[i].name[0] != '\0' && strcmp(host->variables[i].name, name) == 0)
            return host->variables[i].value;
    return NULL;
}

struct slot {
    uv_timer_t timer; /* first: freed as the handle */
    struct host *host;
    struct task *task;
};

static void free_slot(uv_handle_t *handle)
{
    mem_free(handle);
}

static void slot_comes(uv_timer_t *timer)
{
    struct slot *slot = (struct slot *)timer;
    struct task *task = slot->task;
    uv_close((uv_handle_t *)timer, free_slot);
    task_wake(task);
}

static enum err_code host_pacer_wait(void *ctx, const char *pacer, struct task *task, void **op,
                                     struct err *err)
{
    struct host *host = ctx;
    if (strcmp(pacer, "broken") == 0)
        return err_set(err, ERR_IO, "the store cannot be reached");
    struct slot *slot = mem_need(sizeof *slot);
    slot->host = host;
    slot->task = task;
    host->pacer_waits++;
    snprintf(host->last_pacer, sizeof host->last_pacer, "%s", pacer);
    uv_timer_init(host->loop, &slot->timer);
    uv_timer_start(&slot->timer, slot_comes, PACER_MS, 0);
    *op = slot;
    return ERR_NONE;
}

static void host_pacer_cancel(void *ctx, void *op)
{
    struct host *host = ctx;
    struct slot *slot = op;
    host->pacer_cancels++;
    uv_close((uv_handle_t *)&slot->timer, free_slot);
}

static struct http_client *host_http(void *ctx, struct err *err)
{
    struct host *host = ctx;
    if (host->client == NULL)
        host->client = http_client_new(host->loop, err);
    return host->client;
}

static void host_http_sent(void *ctx)
{
    struct host *host = ctx;
    host->sent++;
}

static enum err_code host_read_path(void *ctx, const char *path, char *resolved, size_t size, struct err *err)
{
    struct host *host = ctx;
    char full[PATH_MAX];
    char real[PATH_MAX];
    int len = path[0] == '/' ? snprintf(full, sizeof full, "%s", path)
                             : snprintf(full, sizeof full, "%s/%s", host->folder, path);
    if (len < 0 || (size_t)len >= sizeof full)
        return err_set(err, ERR_INVALID, "the path is too long");
    if (realpath(full, real) == NULL)
        return err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO,
                       "cannot read %s: %s", path, strerror(errno));
    size_t root = strlen(host->folder);
    if (strncmp(real, host->folder, root) != 0 || (real[root] != '/' && real[root] != '\0'))
        return err_set(err, ERR_DENIED, "%s may not be read: add it to permissions.read in workers.yaml",
                       path);
    snprintf(resolved, size, "%s", real);
    return ERR_NONE;
}

static enum err_code host_rows_address(void *ctx, const struct db_driver **driver, char *address, size_t size,
                                       struct err *err)
{
    struct host *host = ctx;
    *driver = &db_sqlite;
    snprintf(address, size, "%s/rows.db", host->folder);
    return access(address, F_OK) == 0 ? ERR_NONE : err_set(err, ERR_NOT_FOUND, "there is no store yet");
}

static enum err_code host_net_allowed(void *ctx, const char *name, int port, struct err *err)
{
    struct host *host = ctx;
    (void)port;
    if (strcmp(host->denied_host, name) != 0)
        return ERR_NONE;
    return err_set(err, ERR_DENIED, "%s may not be reached: add it to permissions.net in workers.yaml", name);
}

/* ---- the module "testing" ---- */

static struct host *host_of(lua_State *L)
{
    return isolate_host(isolate_of(L))->ctx;
}

static int testing_write(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    fwrite(text, 1, len, stdout);
    return 0;
}

static int testing_ended(lua_State *L)
{
    struct host *host = host_of(L);
    host->passed = (int)luaL_checkinteger(L, 1);
    host->failed = (int)luaL_checkinteger(L, 2);
    host->ended = true;
    return 0;
}

/* The lines logged since the last call: { { level, text }, … } */
static int testing_logs(lua_State *L)
{
    struct host *host = host_of(L);
    lua_newtable(L);
    for (size_t i = 0; i < host->log_count; i++) {
        lua_newtable(L);
        lua_pushstring(L, host->logs[i].level);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, host->logs[i].text, host->logs[i].len);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        mem_free(host->logs[i].text);
        host->logs[i].text = NULL;
    }
    host->log_count = 0;
    return 1;
}

/* setenv(name, value); value nil removes it */
static int testing_setenv(lua_State *L)
{
    struct host *host = host_of(L);
    const char *name = luaL_checkstring(L, 1);
    const char *value = luaL_optstring(L, 2, NULL);
    size_t at = 0;
    while (at < MAX_VARIABLES && strcmp(host->variables[at].name, name) != 0)
        at++;
    for (size_t i = 0; at == MAX_VARIABLES && i < MAX_VARIABLES; i++)
        if (host->variables[i].name[0] == '\0')
            at = i;
    if (at == MAX_VARIABLES)
        return luaL_error(L, "too many variables");
    snprintf(host->variables[at].name, sizeof host->variables[at].name, "%s", value != NULL ? name : "");
    snprintf(host->variables[at].value, sizeof host->variables[at].value, "%s", value != NULL ? value : "");
    return 0;
}

static int testing_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_mono_ns() / 1e6);
    return 1;
}

static int testing_counters(lua_State *L)
{
    struct host *host = host_of(L);
    lua_newtable(L);
    lua_pushinteger(L, host->sent);
    lua_setfield(L, -2, "sent");
    lua_pushinteger(L, host->pacer_waits);
    lua_setfield(L, -2, "pacerWaits");
    lua_pushinteger(L, host->pacer_cancels);
    lua_setfield(L, -2, "pacerCancels");
    lua_pushstring(L, host->last_pacer);
    lua_setfield(L, -2, "lastPacer");
    lua_pushinteger(L, host->client != NULL ? (lua_Integer)http_client_pending(host->client) : 0);
    lua_setfield(L, -2, "pending");
    return 1;
}

static int testing_deny(lua_State *L)
{
    struct host *host = host_of(L);
    snprintf(host->denied_host, sizeof host->denied_host, "%s", luaL_optstring(L, 1, ""));
    return 0;
}

static const char *file_path(lua_State *L, int arg, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s/%s", host_of(L)->folder, luaL_checkstring(L, arg)) >= PATH_MAX)
        luaL_error(L, "path too long");
    return path;
}

/* file(name, content) writes a file that scripts may read */
static int testing_file(lua_State *L)
{
    char path[PATH_MAX];
    size_t len = 0;
    const char *content = luaL_checklstring(L, 2, &len);
    FILE *file = fopen(file_path(L, 1, path), "wb");
    if (file == NULL)
        return luaL_error(L, "cannot write %s: %s", path, strerror(errno));
    fwrite(content, 1, len, file);
    fclose(file);
    return 0;
}

/* database(name, sql) makes a SQLite file, or changes it; "rows.db" is the worker's own */
static int testing_database(lua_State *L)
{
    char path[PATH_MAX];
    struct db *db = NULL;
    struct err err;
    const struct db_options options = {.create = true};
    const char *sql = luaL_checkstring(L, 2);
    enum err_code code = db_sqlite.open(file_path(L, 1, path), &options, &db, &err);
    if (code == ERR_NONE) {
        code = db_sqlite.exec(db, sql, &err);
        db_sqlite.close(db);
    }
    return code == ERR_NONE ? 0 : luaL_error(L, "%s", err.message);
}

static int testing_folder(lua_State *L)
{
    char path[PATH_MAX];
    if (mkdir(file_path(L, 1, path), 0700) != 0)
        return luaL_error(L, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

static int testing_fifo(lua_State *L)
{
    char path[PATH_MAX];
    if (mkfifo(file_path(L, 1, path), 0600) != 0)
        return luaL_error(L, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

/* symlink(target, name) */
static int testing_symlink(lua_State *L)
{
    char path[PATH_MAX];
    if (symlink(luaL_checkstring(L, 1), file_path(L, 2, path)) != 0)
        return luaL_error(L, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

/* How many files this process has open. */
static int testing_open_files(lua_State *L)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    lua_pushinteger(L, count);
    return 1;
}

/* A port of this machine where nobody listens. */
static int testing_closed_port(lua_State *L)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return luaL_error(L, "no port: %s", strerror(errno));
    close(fd);
    lua_pushinteger(L, ntohs(address.sin_port));
    return 1;
}

static int testing_collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCCOLLECT);
    lua_pushinteger(L, (lua_Integer)isolate_memory(isolate_of(L)));
    return 1;
}

/* Bytes of memory that the process has; 0 where a sanitizer holds on to what was freed. */
static int testing_resident(lua_State *L)
{
    long pages = 0;
#ifndef __SANITIZE_ADDRESS__
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file != NULL)
        fclose(file);
#endif
    lua_pushinteger(L, pages * sysconf(_SC_PAGESIZE));
    return 1;
}

/* date(seconds): the moment that many seconds from now as HTTP writes it; with a second argument "rfc850" or
 * "asctime", as it was written before. */
static int testing_http_date(lua_State *L)
{
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                          "%a %b %e %H:%M:%S %Y"};
    static const char *const names[] = {"imf", "rfc850", "asctime", NULL};
    time_t moment = (time_t)(clock_now_ms() / 1000 + luaL_checkinteger(L, 1));
    char text[64];
    struct tm parts;
    const char *format = formats[luaL_checkoption(L, 2, "imf", names)];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    strftime(text, sizeof text, format, gmtime_r(&moment, &parts));
#pragma GCC diagnostic pop
    lua_pushstring(L, text);
    return 1;
}

/* The manifest of what the file has declared, as JSON. */
static int testing_manifest(lua_State *L)
{
    const struct registration *registration = isolate_registry(isolate_of(L));
    enum { ROOM = 65536 };
    struct buf out;
    char *copy = lua_newuserdatauv(L, ROOM, 0); /* first, so that a Lua error cannot lose the buffer */
    buf_init(&out, ROOM);
    enum err_code code = worker_manifest(registration->worker, &out);
    size_t len = out.len < ROOM ? out.len : ROOM;
    memcpy(copy, buf_text(&out), len);
    buf_free(&out);
    if (code != ERR_NONE)
        return luaL_error(L, "no manifest");
    lua_pushlstring(L, copy, len);
    return 1;
}

static int luaopen_testing(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"write", testing_write},
        {"ended", testing_ended},
        {"logs", testing_logs},
        {"setenv", testing_setenv},
        {"now", testing_now},
        {"counters", testing_counters},
        {"deny", testing_deny},
        {"file", testing_file},
        {"database", testing_database},
        {"folder", testing_folder},
        {"fifo", testing_fifo},
        {"symlink", testing_symlink},
        {"openFiles", testing_open_files},
        {"closedPort", testing_closed_port},
        {"collect", testing_collect},
        {"resident", testing_resident},
        {"httpDate", testing_http_date},
        {"manifest", testing_manifest},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushfstring(L, "http://127.0.0.1:%d", server.port);
    lua_setfield(L, -2, "url");
    lua_pushinteger(L, server.port);
    lua_setfield(L, -2, "port");
    return 1;
}

/* ---- running a file ---- */

static void show_error(const char *path, const struct script_error *error)
{
    printf("not ok - %s: %s: %s\n", path, error->name, error->message);
    if (error->traceback != NULL)
        printf("%s\n", error->traceback);
}

struct run {
    struct host *host;
    const char *path;
};

static void file_done(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    (void)task;
    (void)co;
    struct run *run = ctx;
    if (error != NULL) {
        show_error(run->path, error);
        run->host->ended = false;
    }
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

static void count_handle(uv_handle_t *handle, void *ctx)
{
    int *count = ctx;
    if (!uv_is_closing(handle)) {
        printf("# left open: %s\n", uv_handle_type_name(uv_handle_get_type(handle)));
        (*count)++;
    }
}

static const struct script_module *all_modules(void)
{
    static struct script_module modules[64];
    size_t count = 0;
    for (; workers_modules[count].name != NULL && count < 62; count++)
        modules[count] = workers_modules[count];
    modules[count] = (struct script_module){"testing", luaopen_testing, NULL};
    return modules;
}

/* Adds to *passed and *failed. */
static void run_file(const char *path, int *passed, int *failed)
{
    uv_loop_t loop;
    struct err err;
    struct script_error error;
    struct scheduler *scheduler = NULL;
    struct sources *sources = NULL;
    struct isolate *isolate = NULL;
    struct host *host = mem_need(sizeof *host);
    struct run run = {host, path};
    struct registration registration = {.discover = true, .worker = worker_new()};
    char pattern[] = P_tmpdir "/lua-tests.XXXXXX";
    int left = 0;
    script_error_init(&error);
    printf("# %s\n", strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path);
    if (mkdtemp(pattern) == NULL || realpath(pattern, host->folder) == NULL || uv_loop_init(&loop) != 0) {
        printf("not ok - %s: cannot set up\n", path);
        (*failed)++;
        mem_free(host);
        return;
    }
    host->loop = &loop;
    const struct isolate_host functions = {
        .ctx = host,
        .log = host_log,
        .env = host_env,
        .pacer_wait = host_pacer_wait,
        .pacer_cancel = host_pacer_cancel,
        .http = host_http,
        .http_sent = host_http_sent,
        .read_path = host_read_path,
        .rows_address = host_rows_address,
        .net_allowed = host_net_allowed,
    };
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    bool started = scheduler_new(&loop, &scheduler, &err) == ERR_NONE &&
                   sources_open(slash != NULL ? folder : ".", path, &sources, &err) == ERR_NONE;
    if (started) {
        struct isolate_config config = {.limits = {.memory_bytes = (size_t)256 << 20, .cpu_ms = 60000},
                                        .scheduler = scheduler,
                                        .sources = sources,
                                        .host = &functions,
                                        .modules = all_modules(),
                                        .registry = &registration};
        started = isolate_open(&config, &isolate, &err) == ERR_NONE;
    }
    if (!started)
        printf("not ok - %s: %s\n", path, err.message);
    if (started && isolate_load_main(isolate, &error) != ERR_NONE)
        show_error(path, &error);
    else if (started &&
             task_start(isolate, isolate_state(isolate), 0, NULL, file_done, &run, NULL, &err) != ERR_NONE)
        printf("not ok - %s: %s\n", path, err.message);
    uv_run(&loop, UV_RUN_DEFAULT);
    *passed += host->passed;
    *failed += host->failed + (host->ended ? 0 : 1);

    if (host->client != NULL && http_client_pending(host->client) > 0) {
        printf("not ok - %s: requests are left\n", path);
        (*failed)++;
    }
    isolate_close(isolate);
    http_client_free(host->client);
    scheduler_free(scheduler);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_walk(&loop, count_handle, &left);
    if (left > 0 || uv_loop_close(&loop) != 0) {
        printf("not ok - %s: handles of the loop are left open\n", path);
        (*failed)++;
    }
    sources_free(sources);
    worker_free(registration.worker);
    script_error_free(&error);
    for (size_t i = 0; i < host->log_count; i++)
        mem_free(host->logs[i].text);
    nftw(host->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(host);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int passed = 0;
    int failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
        return 2;
    }
    if (start_server() != 0) {
        fprintf(stderr, "cannot start %s\n", HTTP_SERVER);
        stop_server();
        return 1;
    }
    for (int i = 1; i < argc; i++)
        run_file(argv[i], &passed, &failed);
    stop_server();
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
