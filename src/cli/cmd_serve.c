/* workers serve: keeps projects running. */
#include "cli/cli.h"

#include "base/crypto.h"
#include "engine/home.h"
#include "net/http_listen.h"
#include "server/beacon.h"
#include "server/server.h"
#include "server/views.h"

#include <string.h>
#include <unistd.h>

#define STUCK_MS 60000
#define GRACE_MS 40000
#define CONCURRENCY_DEFAULT 1000
#define LISTEN_DEFAULT "127.0.0.1:8321"

static void say_line(const char *line)
{
    cli_write(stderr, line, strlen(line));
    fputc('\n', stderr);
}

static int run_process(void *ctx, int index, struct pulse *pulse)
{
    return server_run(ctx, index, pulse);
}

/* A whole number in a range; -1 after a message. */
static int64_t number_option(const struct cli_args *args, const char *option, int64_t standard, int64_t max)
{
    int64_t number = standard;
    const char *text = cli_value(args, option);
    if (text != NULL && (!cli_number(text, &number) || number < 1 || number > max)) {
        cli_usage(args, "%s must be from 1 to %lld", option, (long long)max);
        return -1;
    }
    return number;
}

static int run_serve(const struct cli_args *args)
{
    static const char *const here[] = {"."};
    int64_t processes = number_option(args, "--processes", 1, 64);
    int64_t concurrency =
        processes > 0 ? number_option(args, "--concurrency", CONCURRENCY_DEFAULT, 1000000) : -1;
    if (concurrency < 0)
        return EXIT_USAGE;
    int listen_fd = -1;
    char bound[HTTP_LISTEN_TEXT_MAX] = "";
    struct err err;
    const char *address = cli_value(args, "--listen");
    if (http_listen(address != NULL ? address : LISTEN_DEFAULT, &listen_fd, bound, &err) != ERR_NONE)
        return cli_fail(&err);
    char url[BEACON_URL_MAX];
    const char *given = cli_value(args, "--url");
    if (given != NULL && strncmp(given, "http://", 7) != 0 && strncmp(given, "https://", 8) != 0)
        return cli_usage(args, "--url must begin with http:// or https://");
    if (given != NULL)
        snprintf(url, sizeof url, "%.*s", (int)(strlen(given) - (given[strlen(given) - 1] == '/')), given);
    else
        snprintf(url, sizeof url, "%s%s", strncmp(bound, "unix:", 5) == 0 ? "" : "http://", bound);
    bool with_home = cli_flag(args, "--home");
    char home[HOME_PATH_MAX];
    if (with_home && home_folder(home, &err) != ERR_NONE)
        return cli_fail(&err);
    unsigned char views_secret[VIEWS_SECRET_SIZE];
    if (crypto_random(views_secret, sizeof views_secret, &err) != ERR_NONE)
        return cli_fail(&err);
    const struct server_options options = {
        .folders = args->count > 0 ? args->positional : here,
        .folder_count = args->count > 0 ? (size_t)args->count
                        : with_home     ? 0
                                        : 1,
        .home = with_home ? home : NULL,
        .listen_fd = listen_fd,
        .url = url,
        .views_secret = views_secret,
        .concurrency = concurrency,
        .watch = cli_flag(args, "--watch"),
        .processes = (int)processes,
        .json = cli_flag(args, "--json"),
    };
    const struct supervisor_options supervisor = {
        .processes = (int)processes,
        .stuck_ms = STUCK_MS,
        .grace_ms = GRACE_MS,
        .process = run_process,
        .say = say_line,
        .ctx = (void *)(uintptr_t)&options,
    };
    fprintf(stderr, "listening on %s\n", bound);
    int result = supervisor_run(&supervisor);
    close(listen_fd);
    return result == 0 ? EXIT_DONE : EXIT_FAILED_WORK;
}

static const struct cli_option options[] = {
    {"--listen", NULL, "ADDRESS", "127.0.0.1:8321 unless given; unix:/path for a socket file"},
    {"--url", NULL, "URL", "how the server is reached from outside, behind a proxy"},
    {"--processes", NULL, "N", "so many processes share the work; 1 unless given"},
    {"--concurrency", NULL, "N", "executions at once in each process; 1000 unless given"},
    {"--home", NULL, NULL, "serve the workers that were deployed to this machine, and take more"},
    {"--watch", NULL, NULL, "load a project anew when its files change"},
    {"--json", NULL, NULL, "log lines as JSON"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_serve = {
    .name = "serve",
    .arguments = "[DIR…]",
    .summary = "Keep projects running: schedules, webhooks, automations",
    .help =
        "Starts the syncs and jobs of the project in each folder (the current one unless given) when they "
        "are\ndue, until Ctrl-C or SIGTERM. Then it ends after the pages in hand; the next start goes on "
        "from there.\nSIGHUP loads the projects anew.\n\n"
        "Under serve a script reaches only the hosts, folders and variables that its workers.yaml lists.\n\n"
        "With --home it serves what workers deploy puts into the home of this user (the folder in "
        "WORKERS_HOME, or\n"
        "~/.local/share/workers), also what comes later.\n\n"
        "Examples:\n  workers serve\n  workers serve --home\n  workers serve ~/workers/github ~/workers/shop "
        "--processes 2\n"
        "  workers serve --watch\n",
    .options = options,
    .min_arguments = 0,
    .max_arguments = CLI_MAX_ARGUMENTS,
    .run = run_serve,
};
