/* What commands share: arguments, output, the project. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "worker/dotenv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DATA_MAX ((size_t)256 * 1024 * 1024)

/* ---- arguments ---- */

const char *cli_value(const struct cli_args *args, const char *option)
{
    const struct cli_option *options = args->command->options;
    for (int i = 0; options != NULL && options[i].name != NULL; i++)
        if (strcmp(options[i].name, option) == 0)
            return args->values[i];
    return NULL;
}

bool cli_flag(const struct cli_args *args, const char *option)
{
    return cli_value(args, option) != NULL;
}

int cli_usage(const struct cli_args *args, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nHelp: workers %s --help\n", args->command->name);
    return EXIT_USAGE;
}

bool cli_number(const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 0)
        return false;
    *out = number;
    return true;
}

static enum err_code read_stream(int fd, const char *name, struct buf *out, struct err *err)
{
    for (;;) {
        char *end = buf_reserve(out, 64 * 1024);
        if (end == NULL)
            return buf_status(out, name, err);
        ssize_t got = read(fd, end, 64 * 1024);
        if (got < 0)
            return err_set(err, ERR_IO, "cannot read %s: %s", name, strerror(errno));
        if (got == 0)
            return ERR_NONE;
        out->len += (size_t)got;
        out->data[out->len] = '\0';
    }
}

enum err_code cli_read_data(const char *value, struct buf *out, struct err *err)
{
    buf_init(out, DATA_MAX);
    if (strcmp(value, "-") == 0)
        return read_stream(STDIN_FILENO, "standard input", out, err);
    if (value[0] != '@') {
        buf_adds(out, value);
        return buf_status(out, "the data", err);
    }
    int fd = open(value + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot read %s: %s", value + 1, strerror(errno));
    enum err_code code = read_stream(fd, value + 1, out, err);
    close(fd);
    return code;
}

/* ---- output ---- */

enum cli_format cli_format(const struct cli_args *args)
{
    if (cli_flag(args, "--json"))
        return FORMAT_JSON;
    return cli_flag(args, "--plain") ? FORMAT_PLAIN : FORMAT_TABLE;
}

int cli_print(enum cli_format format, const struct table_printer *table, struct buf *json, const char *empty)
{
    struct buf out;
    struct err err;
    enum err_code code = ERR_NONE;
    buf_init(&out, BUF_UNLIMITED);
    if (format == FORMAT_JSON) {
        buf_addc(json, ']');
        code = buf_status(json, "the output", &err);
        if (code == ERR_NONE)
            code = json_reindent(buf_text(json), json->len, &out, &err);
        buf_addc(&out, '\n');
    } else if (table_row_count(table) == 0) {
        if (empty != NULL)
            cli_note("%s", empty);
    } else {
        const struct table_style style = {.plain = format == FORMAT_PLAIN,
                                          .colour = cli_color(stdout),
                                          .width = (size_t)cli_terminal_width(stdout)};
        code = table_print(table, &style, &out, &err);
    }
    if (code == ERR_NONE)
        fwrite(buf_text(&out), 1, out.len, stdout);
    buf_free(&out);
    return code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
}

bool cli_color(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(fileno(stream)) && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

int cli_terminal_width(FILE *stream)
{
    struct winsize size = {0};
    if (!isatty(fileno(stream)) || ioctl(fileno(stream), TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col > 0 ? size.ws_col : 80;
}

int cli_fail(const struct err *err)
{
    bool color = cli_color(stderr);
    fprintf(stderr, "%serror:%s %s\n", color ? "\033[31m" : "", color ? "\033[0m" : "", err->message);
    return EXIT_FAILED_WORK;
}

int cli_fail_script(const struct script_error *error)
{
    bool color = cli_color(stderr);
    fprintf(stderr, "%serror:%s %s\n", color ? "\033[31m" : "", color ? "\033[0m" : "",
            error->message != NULL ? error->message : "unknown error");
    if (error->traceback != NULL && error->traceback[0] != '\0')
        fprintf(stderr, "%s\n", error->traceback);
    return EXIT_FAILED_WORK;
}

void cli_note(const char *format, ...)
{
    fflush(stdout); /* where both end up in one place, in order */
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

const char *cli_time(int64_t ms, char *out, size_t size)
{
    int64_t ago = (clock_now_ms() - ms) / 1000;
    if (ms <= 0) {
        snprintf(out, size, "never");
    } else if (ago >= 0 && ago < 60) {
        snprintf(out, size, "%lld s ago", (long long)ago);
    } else if (ago >= 60 && ago < 3600) {
        snprintf(out, size, "%lld min ago", (long long)(ago / 60));
    } else {
        time_t seconds = (time_t)(ms / 1000);
        struct tm local;
        localtime_r(&seconds, &local);
        strftime(out, size, "%Y-%m-%d %H:%M:%S", &local);
    }
    return out;
}

const char *cli_duration(uint64_t ms, char *out, size_t size)
{
    if (ms < 1000)
        snprintf(out, size, "%llu ms", (unsigned long long)ms);
    else if (ms < 60000)
        snprintf(out, size, "%.1f s", (double)ms / 1000.0);
    else if (ms < 3600000)
        snprintf(out, size, "%llu:%02llu min", (unsigned long long)(ms / 60000),
                 (unsigned long long)(ms / 1000 % 60));
    else
        snprintf(out, size, "%llu:%02llu h", (unsigned long long)(ms / 3600000),
                 (unsigned long long)(ms / 60000 % 60));
    return out;
}

void cli_no_capability(const struct worker *worker, const char *key, struct err *err)
{
    int nearest = -1;
    const char **keys = mem_alloc((worker->capability_count + 1) * sizeof *keys);
    for (size_t i = 0; keys != NULL && i < worker->capability_count; i++)
        keys[i] = worker->capabilities[i].key;
    if (keys != NULL)
        nearest = text_nearest(key, strlen(key), keys, worker->capability_count);
    if (nearest >= 0)
        err_set(err, ERR_NOT_FOUND, "the worker has no capability \"%s\"; did you mean \"%s\"?", key,
                keys[nearest]);
    else
        err_set(err, ERR_NOT_FOUND,
                "the worker has no capability \"%s\": workers capabilities list shows them", key);
    mem_free(keys);
}

/* ---- the project ---- */

static void folder_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    snprintf(out, size, "%.*s", (int)len, path);
}

static enum err_code find_script(const char *script, struct cli_project *out, struct err *err)
{
    char absolute[PATH_MAX];
    if (realpath(script, absolute) == NULL)
        return err_set(err, ERR_NOT_FOUND, "cannot read %s: %s", script, strerror(errno));
    struct stat status;
    if (stat(absolute, &status) == 0 && S_ISDIR(status.st_mode))
        return err_set(err, ERR_INVALID,
                       "%s is a folder; give the path of a Lua script, as in: workers run src/main.lua",
                       script);
    snprintf(out->script, sizeof out->script, "%s", absolute);
    return ERR_NONE;
}

enum err_code cli_project_open(const char *script, struct cli_project *out, struct err *err)
{
    char file[PATH_MAX];
    *out = (struct cli_project){0};
    enum err_code code = script != NULL ? find_script(script, out, err) : ERR_NONE;
    if (code != ERR_NONE)
        return code;
    code = config_find(script != NULL ? out->script : ".", file, sizeof file, err);
    if (code == ERR_NONE) {
        out->has_file = true;
        folder_of(file, out->folder, sizeof out->folder);
        code = config_load(file, &out->config, err);
    } else if (code == ERR_NOT_FOUND && script != NULL) {
        /* A script alone is a project of its own. */
        config_default(&out->config);
        folder_of(out->script, out->folder, sizeof out->folder);
        return ERR_NONE;
    } else if (code == ERR_NOT_FOUND && access(".workers/worker.db", F_OK) == 0) {
        /* What a script alone has left behind: its rows, runs and secrets can be looked at from its folder.
         */
        config_default(&out->config);
        if (getcwd(out->folder, sizeof out->folder) == NULL)
            return err_set(err, ERR_IO, "cannot find the current folder: %s", strerror(errno));
        return ERR_NONE; /* without a script, see cli_runtime_open */
    } else if (code == ERR_NOT_FOUND) {
        return err_set(
            err, code,
            "there is no workers.yaml here or in a folder above: give a script, as in: workers run "
            "script.lua, or make a project: workers new");
    }
    if (code == ERR_NONE && script == NULL &&
        snprintf(out->script, sizeof out->script, "%s/%s", out->folder, out->config.main) >=
            (int)sizeof out->script)
        code = err_set(err, ERR_INVALID, "the path of the main script is too long");
    if (code == ERR_NONE && script == NULL && access(out->script, F_OK) != 0)
        code = err_set(err, ERR_NOT_FOUND,
                       "there is no script %s: main in workers.yaml names it (src/main.lua unless given); "
                       "make the file, or "
                       "correct the line",
                       out->script);
    if (code != ERR_NONE)
        cli_project_free(out);
    return code;
}

void cli_project_free(struct cli_project *project)
{
    config_free(&project->config);
}

bool cli_log_is_shown(const char *level)
{
    return strcmp(level, "trace") != 0 && strcmp(level, "http") != 0;
}

static void log_to_stderr(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                          size_t len)
{
    (void)ctx;
    (void)run_id;
    if (!cli_log_is_shown(level))
        return;
    fprintf(stderr, "%s%s%s: %.*s\n", key != NULL ? key : "", key != NULL ? " " : "", level, (int)len, text);
}

/* What a script raises while it loads may hold what it has read from the environment. */
static void redact_error(struct runtime *runtime, struct script_error *error)
{
    char **texts[] = {&error->message, &error->traceback};
    for (int i = 0; i < 2; i++) {
        char *text = *texts[i];
        if (text == NULL)
            continue;
        *texts[i] = runtime_redacted(runtime, text);
        mem_free(text);
    }
}

enum err_code cli_runtime_open(const struct cli_project *project, log_sink sink, void *ctx,
                               struct runtime **out, struct script_error *error)
{
    char env[PATH_MAX];
    struct err err;
    *out = NULL;
    if (project->script[0] == '\0')
        return script_error_set(
            error, ERR_NOT_FOUND,
            "there is no workers.yaml here to name the script: write one with main: script.lua, or use "
            "workers run script.lua");
    const struct runtime_options options = {.folder = project->folder,
                                            .script = project->script,
                                            .config = &project->config,
                                            .log = sink != NULL ? sink : log_to_stderr,
                                            .log_ctx = ctx};
    enum err_code code = runtime_open(&options, out, &err);
    if (code == ERR_NONE && snprintf(env, sizeof env, "%s/.env", project->folder) < (int)sizeof env)
        code = environment_load_file((*out)->environment, env, &err);
    if (code != ERR_NONE)
        script_error_set(error, code, "%s", err.message);
    else
        code = runtime_load(*out, error);
    if (code != ERR_NONE) {
        if (*out != NULL)
            redact_error(*out, error);
        runtime_free(*out);
        *out = NULL;
    }
    return code;
}

enum err_code cli_store_open(const struct cli_project *project, bool create, struct store **out,
                             struct err *err)
{
    char folder[PATH_MAX + 16];
    snprintf(folder, sizeof folder, "%s/.workers", project->folder);
    return store_open(folder, create, out, err);
}
