/* workers test: finds the test files of the project, runs each in a process of its own, and prints one TAP 14
 * stream of them all. What runs in those processes is in testing/. */
#include "cli/cli.h"

#include "base/embed.h"
#include "base/mem.h"
#include "testing/harness.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUFFIX "_test.lua"
#define JOBS_MAX 256
#define OUTPUT_MAX ((size_t)64 * 1024 * 1024) /* of one file; more is left out */
#define FOLDERS_MAX 64                        /* inside each other */

/* One file of tests, and the process that runs it. */
struct test_file {
    char *path; /* absolute */
    pid_t pid;  /* 0 before its start */
    int output; /* -1 when it is closed */
    struct buf text;
    FILE *coverage;
    bool ended;
    int status; /* of waitpid */
};

struct suite {
    const struct cli_args *args;
    struct project project;
    struct test_file *files;
    size_t count, room;
    lua_State *coverage; /* when it is reported: its list of the project's files is on top of its stack */
    size_t started, printed;
    size_t jobs;
    int64_t passed, failed;
    size_t bad_files;
};

/* ---- finding files ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static void add_file(struct suite *suite, const char *path)
{
    for (size_t i = 0; i < suite->count; i++)
        if (strcmp(suite->files[i].path, path) == 0)
            return;
    if (suite->count == suite->room) {
        size_t room = suite->room * 2 + 16;
        struct test_file *files = mem_need(room * sizeof *files);
        if (suite->count > 0)
            memcpy(files, suite->files, suite->count * sizeof *files);
        mem_free(suite->files);
        suite->files = files;
        suite->room = room;
    }
    struct test_file *file = &suite->files[suite->count++];
    *file = (struct test_file){.path = mem_need_str(path), .output = -1};
    buf_init(&file->text, OUTPUT_MAX);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strcmp(entry->d_name, "lua_modules") != 0 &&
           strcmp(entry->d_name, "node_modules") != 0;
}

typedef void (*found_fn)(struct suite *suite, const char *path);

static void find_files(struct suite *suite, const char *folder, int depth, found_fn found)
{
    struct dirent **entries = NULL;
    int count = depth < FOLDERS_MAX ? scandir(folder, &entries, is_visible, by_name) : 0;
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        struct stat status;
        int len = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        free(entries[i]);
        if (len >= (int)sizeof path || lstat(path, &status) != 0)
            continue;
        if (S_ISDIR(status.st_mode))
            find_files(suite, path, depth + 1, found);
        else if (S_ISREG(status.st_mode))
            found(suite, path);
    }
    free(entries);
}

static void add_test(struct suite *suite, const char *path)
{
    if (ends_with(path, SUFFIX))
        add_file(suite, path);
}

static enum err_code find_named(struct suite *suite, const char *name, struct err *err)
{
    char path[PATH_MAX];
    struct stat status;
    if (realpath(name, path) == NULL || stat(path, &status) != 0)
        return err_set(err, ERR_NOT_FOUND, "cannot read %s: %s", name, strerror(errno));
    size_t folder_len = strlen(suite->project.folder);
    if (strncmp(path, suite->project.folder, folder_len) != 0 ||
        (path[folder_len] != '/' && path[folder_len] != '\0'))
        return err_set(err, ERR_INVALID, "%s is not below the project's folder %s", name,
                       suite->project.folder);
    if (S_ISDIR(status.st_mode))
        find_files(suite, path, 0, add_test);
    else if (ends_with(path, SUFFIX))
        add_file(suite, path);
    else
        return err_set(err, ERR_INVALID, "%s is no file of tests: its name must end in " SUFFIX, name);
    return ERR_NONE;
}

/* ---- running them ---- */

static int run_child(const struct suite *suite, const struct test_file *file, int output)
{
    FILE *out = fdopen(output, "w");
    if (out == NULL)
        return EXIT_FAILED_WORK;
    const struct harness_options options = {.folder = suite->project.folder,
                                            .script = suite->project.script,
                                            .config = &suite->project.config,
                                            .file = file->path,
                                            .filter = cli_value(suite->args, "--filter"),
                                            .record = cli_flag(suite->args, "--record"),
                                            .coverage = file->coverage,
                                            .out = out};
    int failures = harness_run(&options);
    fclose(out);
    return failures > 0 ? EXIT_FAILED_WORK : EXIT_DONE;
}

static enum err_code start_file(struct suite *suite, struct test_file *file, struct err *err)
{
    int ends[2];
    if (cli_flag(suite->args, "--coverage") && (file->coverage = tmpfile()) == NULL)
        return err_set(err, ERR_IO, "cannot make a temporary file: %s", strerror(errno));
    if (pipe(ends) != 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    fflush(stdout);
    fflush(stderr);
    file->pid = fork();
    if (file->pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return err_set(err, ERR_IO, "cannot start a process: %s", strerror(errno));
    }
    if (file->pid == 0) {
        close(ends[0]);
        for (size_t i = 0; i < suite->count; i++)
            if (suite->files[i].output >= 0)
                close(suite->files[i].output);
        exit(run_child(suite, file, ends[1]));
    }
    close(ends[1]);
    file->output = ends[0];
    suite->started++;
    return ERR_NONE;
}

/* Reads what has come; at its end, waits for the process. */
static void read_output(struct test_file *file)
{
    char piece[64 * 1024];
    ssize_t got = read(file->output, piece, sizeof piece);
    if (got > 0)
        buf_add(&file->text, piece, (size_t)got);
    if (got > 0 || (got < 0 && errno == EINTR))
        return;
    close(file->output);
    file->output = -1;
    while (waitpid(file->pid, &file->status, 0) < 0 && errno == EINTR)
        ;
    file->ended = true;
}

static size_t read_running(struct suite *suite)
{
    struct pollfd polls[JOBS_MAX];
    struct test_file *files[JOBS_MAX];
    nfds_t count = 0;
    for (size_t i = 0; i < suite->started; i++) {
        if (suite->files[i].ended)
            continue;
        files[count] = &suite->files[i];
        polls[count++] = (struct pollfd){.fd = suite->files[i].output, .events = POLLIN};
    }
    if (count > 0 && poll(polls, count, -1) > 0)
        for (nfds_t i = 0; i < count; i++)
            if (polls[i].revents != 0)
                read_output(files[i]);
    return count;
}

/* ---- printing ---- */

static const char *shown_path(const struct suite *suite, const struct test_file *file)
{
    return file->path + strlen(suite->project.folder) + 1;
}

static void count_line(struct suite *suite, const char *line)
{
    if (strncmp(line, "ok ", 3) == 0)
        suite->passed++;
    else if (strncmp(line, "not ok ", 7) == 0)
        suite->failed++;
}

static void print_file(struct suite *suite, struct test_file *file)
{
    const char *path = shown_path(suite, file);
    bool good = WIFEXITED(file->status) && WEXITSTATUS(file->status) == EXIT_DONE;
    printf("# Subtest: %s\n", path);
    for (const char *line = buf_text(&file->text); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        count_line(suite, line);
        printf("    %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    printf("%sok %zu - %s\n", good ? "" : "not ", ++suite->printed, path);
    if (WIFSIGNALED(file->status)) {
        suite->failed++;
        printf("  ---\n  message: \"the process that ran the file was ended by signal %d (%s)\"\n  ...\n",
               WTERMSIG(file->status), strsignal(WTERMSIG(file->status)));
    }
    suite->bad_files += !good;
    fflush(stdout);
    buf_free(&file->text);
}

static void print_ready(struct suite *suite)
{
    while (suite->printed < suite->count && suite->files[suite->printed].ended)
        print_file(suite, &suite->files[suite->printed]);
}

/* ---- coverage: scripts/coverage.lua, which is trusted, in a plain Lua state ---- */

static void add_own_file(struct suite *suite, const char *path)
{
    if (!ends_with(path, ".lua") || ends_with(path, SUFFIX))
        return;
    lua_pushstring(suite->coverage, path + strlen(suite->project.folder) + 1);
    lua_rawseti(suite->coverage, -2, (lua_Integer)lua_rawlen(suite->coverage, -2) + 1);
}

static int report_coverage(lua_State *L)
{
    struct suite *suite = lua_touserdata(L, 1);
    const struct embedded_file *script = embed_find(lua_files, "scripts/coverage.lua");
    luaL_openlibs(L);
    if (script == NULL || luaL_loadbufferx(L, script->begin, (size_t)(script->end - script->begin),
                                           "@scripts/coverage.lua", "t") != LUA_OK)
        return luaL_error(L, "scripts/coverage.lua cannot be loaded");
    lua_call(L, 0, 1);
    lua_pushstring(L, suite->project.folder);
    lua_newtable(L);
    suite->coverage = L;
    find_files(suite, suite->project.folder, 0, add_own_file);
    lua_newtable(L);
    for (size_t i = 0; i < suite->count; i++) {
        luaL_Buffer text;
        luaL_buffinit(L, &text);
        rewind(suite->files[i].coverage);
        for (;;) {
            char *piece = luaL_prepbuffer(&text);
            size_t got = fread(piece, 1, LUAL_BUFFERSIZE, suite->files[i].coverage);
            luaL_addsize(&text, got);
            if (got == 0)
                break;
        }
        luaL_pushresult(&text);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_call(L, 3, 1);
    printf("%s", luaL_checkstring(L, -1));
    return 0;
}

static int print_coverage(struct suite *suite)
{
    struct err err;
    int result = EXIT_DONE;
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        err_nomem(&err);
        return cli_fail(&err);
    }
    lua_pushcfunction(L, report_coverage);
    lua_pushlightuserdata(L, suite);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        err_set(&err, ERR_INTERNAL, "the coverage cannot be shown: %s", lua_tostring(L, -1));
        result = cli_fail(&err);
    }
    lua_close(L);
    return result;
}

/* ---- the command ---- */

static int run_files(struct suite *suite)
{
    struct err err;
    enum err_code code = ERR_NONE;
    printf("TAP version 14\n");
    for (;;) {
        size_t running = 0;
        for (size_t i = 0; i < suite->started; i++)
            running += !suite->files[i].ended;
        while (code == ERR_NONE && running < suite->jobs && suite->started < suite->count) {
            code = start_file(suite, &suite->files[suite->started], &err);
            running += code == ERR_NONE;
        }
        if (read_running(suite) == 0)
            break;
        print_ready(suite);
    }
    if (code != ERR_NONE) {
        printf("Bail out! %s\n", err.message);
        return cli_fail(&err);
    }
    printf("1..%zu\n", suite->count);
    printf("# %lld passed, %lld failed in %zu file%s\n", (long long)suite->passed, (long long)suite->failed,
           suite->count, suite->count == 1 ? "" : "s");
    if (cli_flag(suite->args, "--coverage"))
        print_coverage(suite);
    if (suite->passed + suite->failed == 0) {
        err_set(&err, ERR_NOT_FOUND, "there are no tests%s%s%s",
                cli_value(suite->args, "--filter") != NULL ? " whose names contain \"" : " in these files",
                cli_value(suite->args, "--filter") != NULL ? cli_value(suite->args, "--filter") : "",
                cli_value(suite->args, "--filter") != NULL ? "\"" : "");
        cli_fail(&err);
        return EXIT_USAGE;
    }
    return suite->failed > 0 || suite->bad_files > 0 ? EXIT_FAILED_WORK : EXIT_DONE;
}

static int run_test(const struct cli_args *args)
{
    struct suite suite = {.args = args};
    struct err err;
    int64_t jobs = sysconf(_SC_NPROCESSORS_ONLN);
    const char *given = cli_value(args, "--jobs");
    if (given != NULL && (!cli_number(given, &jobs) || jobs < 1 || jobs > JOBS_MAX))
        return cli_usage(args, "--jobs must be a whole number from 1 to %d", JOBS_MAX);
    suite.jobs = jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : (size_t)jobs;
    if (project_open(NULL, ".", &suite.project, &err) != ERR_NONE) {
        cli_fail(&err);
        return EXIT_USAGE;
    }
    enum err_code code = ERR_NONE;
    for (int i = 0; i < args->count && code == ERR_NONE; i++)
        code = find_named(&suite, args->positional[i], &err);
    if (args->count == 0)
        find_files(&suite, suite.project.folder, 0, add_test);
    if (code == ERR_NONE && suite.count == 0)
        code = err_set(&err, ERR_NOT_FOUND, "there are no tests below %s: files of tests end in " SUFFIX,
                       args->count > 0 ? args->positional[0] : suite.project.folder);
    int result = EXIT_USAGE;
    if (code != ERR_NONE)
        cli_fail(&err);
    else
        result = run_files(&suite);
    for (size_t i = 0; i < suite.count; i++) {
        if (suite.files[i].coverage != NULL)
            fclose(suite.files[i].coverage);
        buf_free(&suite.files[i].text);
        mem_free(suite.files[i].path);
    }
    mem_free(suite.files);
    project_free(&suite.project);
    return result;
}

static const struct cli_option options[] = {
    {"--filter", NULL, "TEXT", "only tests whose names contain it"},
    {"--jobs", NULL, "N", "how many files at once; as many as there are processors unless given"},
    {"--record", NULL, NULL, "make the recordings anew, with real requests"},
    {"--coverage", NULL, NULL, "show which lines of the project ran"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_test = {
    .name = "test",
    .arguments = "[PATH…]",
    .summary = "Run the tests of the project",
    .help =
        "Runs every file below the project's folder whose name ends in " SUFFIX
        ", or those given, each in a\nprocess of its own: a store in memory, no network, a clock that the "
        "tests move. Prints TAP 14.\n\n"
        "Examples:\n  workers test\n  workers test tests/tasks_test.lua --filter \"two pages\"\n  workers "
        "test --record\n  workers test --coverage\n",
    .options = options,
    .max_arguments = CLI_MAX_ARGUMENTS,
    .run = run_test,
};
