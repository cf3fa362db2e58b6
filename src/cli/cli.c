/* What commands share: arguments, output, the project. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

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

const char *cli_nth_value(const struct cli_args *args, const char *option, int n)
{
    for (int i = 0; i < args->given_count; i++)
        if (strcmp(args->command->options[args->given[i].option].name, option) == 0 && n-- == 0)
            return args->given[i].value;
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

bool cli_confirm(const char *question)
{
    char answer[16] = "";
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return false;
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* ---- output ---- */

enum cli_format cli_format(const struct cli_args *args)
{
    if (cli_flag(args, "--json"))
        return FORMAT_JSON;
    return cli_flag(args, "--plain") ? FORMAT_PLAIN : FORMAT_TABLE;
}

static int write_out(enum err_code code, const struct buf *out, const struct err *err)
{
    if (code == ERR_NONE)
        fwrite(buf_text(out), 1, out->len, stdout);
    return code == ERR_NONE ? EXIT_DONE : cli_fail(err);
}

int cli_print_json(const char *text, size_t len)
{
    struct buf out;
    struct err err;
    buf_init(&out, BUF_UNLIMITED);
    enum err_code code = json_reindent(text, len, &out, &err);
    buf_addc(&out, '\n');
    if (code == ERR_NONE)
        code = buf_status(&out, "the output", &err);
    int result = write_out(code, &out, &err);
    buf_free(&out);
    return result;
}

int cli_print_table(enum cli_format format, const struct table_printer *table, const char *empty)
{
    struct buf out;
    struct err err;
    enum err_code code = ERR_NONE;
    const struct table_style style = {.plain = format == FORMAT_PLAIN,
                                      .colour = cli_color(stdout),
                                      .width = (size_t)cli_terminal_width(stdout)};
    buf_init(&out, BUF_UNLIMITED);
    if (table_row_count(table) > 0)
        code = table_print(table, &style, &out, &err);
    else if (empty != NULL)
        cli_note("%s", empty);
    int result = write_out(code, &out, &err);
    buf_free(&out);
    return result;
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

void cli_write(FILE *stream, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t code_point = 0;
        size_t size = text_next_char(text + at, len - at, &code_point);
        bool control = size > 0 && (code_point < ' ' || (code_point >= 0x7f && code_point < 0xa0));
        if (control && code_point != '\n' && code_point != '\t')
            fputc(' ', stream);
        else
            fwrite(text + at, 1, size > 0 ? size : 1, stream);
        at += size > 0 ? size : 1;
    }
}

static void print_error(const char *message)
{
    bool color = cli_color(stderr);
    fprintf(stderr, "%serror:%s ", color ? "\033[31m" : "", color ? "\033[0m" : "");
    cli_write(stderr, message, strlen(message));
    fputc('\n', stderr);
}

int cli_fail(const struct err *err)
{
    print_error(err->message);
    return EXIT_FAILED_WORK;
}

void cli_print_traceback(const char *traceback)
{
    if (traceback == NULL || traceback[0] == '\0')
        return;
    cli_write(stderr, traceback, strlen(traceback));
    fputc('\n', stderr);
}

int cli_fail_script(const struct script_error *error)
{
    print_error(error->message != NULL ? error->message : "unknown error");
    cli_print_traceback(error->traceback);
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

/* "5 min ago", "in 12 s", "2026-11-23 09:12:00". */
static const char *time_for_people(int64_t ms, char *out, size_t size)
{
    int64_t ago = (clock_now_ms() - ms) / 1000;
    if (ago >= 0 && ago < 60) {
        snprintf(out, size, "%lld s ago", (long long)ago);
    } else if (ago < 0 && ago > -60) {
        snprintf(out, size, "in %lld s", (long long)-ago);
    } else if (ago <= -60 && ago > -3600) {
        snprintf(out, size, "in %lld min", (long long)(-ago / 60));
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

void cli_add_time(struct buf *out, bool plain, int64_t ms)
{
    char time[40];
    if (ms != 0)
        buf_adds(out, plain ? iso_format_utc(ms, time) : time_for_people(ms, time, sizeof time));
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

/* ---- the project ---- */

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
    fprintf(stderr, "%s%s%s: ", key != NULL ? key : "", key != NULL ? " " : "", level);
    cli_write(stderr, text, len);
    fputc('\n', stderr);
}

enum err_code cli_runtime_open(const struct project *project, uv_loop_t *loop, log_sink sink, void *ctx,
                               struct runtime **out, struct script_error *error)
{
    return project_load(project, loop, sink != NULL ? sink : log_to_stderr, ctx, out, error);
}
