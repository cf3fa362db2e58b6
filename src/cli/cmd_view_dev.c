/* workers view dev: the views of a project with sample rows, shown anew when a file changes. A store of its
 * own in a temporary folder, and the server that everybody has, in a process of its own; this process looks
 * at the files, builds, and puts the sample rows in. */
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/view_build.h"
#include "cli/view_sample.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "net/http_listen.h"
#include "net/url.h"
#include "server/server.h"
#include "server/view_files.h"
#include "server/views.h"
#include "server/watch.h"
#include "store/store.h"
#include "worker/pack.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_USUAL "127.0.0.1:8324"
#define LOOK_MS 300
#define FOLDER_SIZE 600

struct looked {
    uint64_t sources, sample; /* marks of what was built and filled in last */
    bool again;               /* the last build was another one, of what had changed during the one before */
};

struct dev {
    const char *key; /* of the one view; NULL for all */
    struct project project;
    struct project copy;     /* the same files, with a folder of its own */
    struct runtime *runtime; /* NULL while another process is made, and when the script cannot be loaded */
    struct looked *looked;   /* of each view */
    size_t *said;            /* see view_sample_fill */
    size_t view_count, database_count;
    uint64_t script; /* mark of what was loaded last */
    char root[FOLDER_SIZE], folder[FOLDER_SIZE + CONFIG_NAME_MAX + 2];
    char token[TOKEN_SIZE];
    int listen_fd;
    char url[HTTP_LISTEN_TEXT_MAX + 8];
    unsigned char secret[VIEWS_SECRET_SIZE];
    pid_t server;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static bool is_meant(const struct dev *dev, const struct view *view)
{
    return dev->key == NULL || strcmp(dev->key, view->key) == 0;
}

/* ---- what changes ---- */

static uint64_t mark_of_sample(const struct dev *dev, const struct view *view)
{
    char path[2 * PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s/" VIEW_SAMPLE, dev->project.folder, view->path);
    if (stat(path, &status) != 0)
        return 1;
    return (uint64_t)status.st_mtim.tv_sec * 1000000007 + (uint64_t)status.st_mtim.tv_nsec +
           (uint64_t)status.st_size;
}

static uint64_t mark_of_sources(const struct dev *dev, const struct view *view)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dev->project.folder, view->path);
    return view_files_mark(path, view->output);
}

/* A build may write beside its sources each time, and what changes during it may be a person's doing as well:
 * such a change is built once more, but not for ever. */
static void build(const struct dev *dev, const struct view *view, struct looked *looked, uint64_t sources)
{
    struct err err;
    if (view_build(dev->project.folder, view, &stopping, &err) != ERR_NONE && !stopping)
        cli_fail(&err);
    uint64_t after = mark_of_sources(dev, view);
    looked->again = !looked->again && after != sources;
    looked->sources = looked->again ? sources : after;
}

/* Builds and fills in what has changed since. An error is said, and the next change may mend it. */
static void keep_up(struct dev *dev)
{
    const struct worker *worker = dev->runtime->worker;
    struct err err;
    for (size_t i = 0; i < worker->view_count && !stopping; i++) {
        const struct view *view = &worker->views[i];
        struct looked *looked = &dev->looked[i];
        if (!is_meant(dev, view))
            continue;
        uint64_t sources = mark_of_sources(dev, view), sample = mark_of_sample(dev, view);
        if (sources != looked->sources)
            build(dev, view, looked, sources);
        if (sample != looked->sample &&
            view_sample_fill(dev->runtime, dev->project.folder, view, dev->said, &err) != ERR_NONE)
            cli_fail(&err);
        looked->sample = sample;
    }
}

/* ---- the beginning ---- */

static enum err_code make_folder(struct dev *dev, struct err *err)
{
    char name[CONFIG_NAME_MAX + 1];
    enum err_code code = files_make_temporary("workers-view", dev->root, sizeof dev->root, err);
    if (code != ERR_NONE)
        return code;
    snprintf(dev->folder, sizeof dev->folder, "%s/%s", dev->root,
             config_name(&dev->project.config, dev->project.folder, name));
    return mkdir(dev->folder, 0700) == 0
               ? ERR_NONE
               : err_set(err, ERR_IO, "cannot make %s: %s", dev->folder, strerror(errno));
}

/* Nothing runs by itself: what is shown are samples. */
static enum err_code rest(struct dev *dev, struct err *err)
{
    const struct worker *worker = dev->runtime->worker;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < worker->capability_count && code == ERR_NONE; i++)
        code = store_sync_pause(dev->runtime->store, worker->capabilities[i].key, true, err);
    return code;
}

/* What was looked at and filled in: all of it is new. */
static void forget(struct dev *dev)
{
    const struct worker *worker = dev->runtime->worker;
    mem_free(dev->looked);
    mem_free(dev->said);
    dev->looked = mem_need((worker->view_count + 1) * sizeof *dev->looked);
    dev->said = mem_need((worker->database_count + 1) * sizeof *dev->said);
    dev->view_count = worker->view_count;
    dev->database_count = worker->database_count;
}

static enum err_code load(struct dev *dev, struct err *err)
{
    struct script_error error;
    struct buf report;
    script_error_init(&error);
    buf_init(&report, BUF_UNLIMITED);
    enum err_code code = project_open_version(dev->folder, dev->project.folder, &dev->copy, err);
    if (code == ERR_NONE &&
        (code = cli_runtime_open(&dev->copy, NULL, NULL, NULL, &dev->runtime, &error)) != ERR_NONE)
        script_error_to_err(&error, err);
    if (code == ERR_NONE)
        code = runtime_open_store(dev->runtime, false, &report, err);
    if (code == ERR_NONE && (dev->runtime->worker->view_count != dev->view_count ||
                             dev->runtime->worker->database_count != dev->database_count))
        forget(dev);
    buf_free(&report);
    script_error_free(&error);
    return code;
}

/* No process may have a store open while another is made of it. */
static void unload(struct dev *dev)
{
    runtime_free(dev->runtime);
    dev->runtime = NULL;
    project_free(&dev->copy);
}

/* Loads the script as it is now, and looks at all of its views anew. */
static enum err_code load_anew(struct dev *dev, struct err *err)
{
    dev->script = watch_fingerprint(dev->project.folder, dev->project.script);
    enum err_code code = load(dev, err);
    if (code == ERR_NONE)
        code = rest(dev, err);
    if (code != ERR_NONE)
        return code;
    const struct worker *worker = dev->runtime->worker;
    if (worker->view_count == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "the worker declares no views: worker:view(\"board\", { path = \"views/board\" })");
    if (dev->key != NULL && worker_view(worker, dev->key) == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no view \"%s\": workers view list shows them", dev->key);
    forget(dev);
    return ERR_NONE;
}

static enum err_code begin(struct dev *dev, const char *address, struct err *err)
{
    char bound[HTTP_LISTEN_TEXT_MAX] = "";
    if (address != NULL && strncmp(address, "unix:", 5) == 0)
        return err_set(err, ERR_INVALID, "a browser cannot open %s: listen at a port, as in " LISTEN_USUAL,
                       address);
    enum err_code code = make_folder(dev, err);
    if (code == ERR_NONE)
        code = load_anew(dev, err);
    if (code == ERR_NONE)
        code = store_token_make(dev->runtime->store, "view dev", TOKEN_READ, dev->token, err);
    if (code == ERR_NONE)
        code = http_listen(address != NULL ? address : LISTEN_USUAL, &dev->listen_fd, bound, err);
    snprintf(dev->url, sizeof dev->url, "http://%s", bound);
    return code == ERR_NONE ? crypto_random(dev->secret, sizeof dev->secret, err) : code;
}

static void end(struct dev *dev)
{
    unload(dev);
    project_free(&dev->project);
    mem_free(dev->looked);
    mem_free(dev->said);
    if (dev->listen_fd >= 0)
        close(dev->listen_fd);
    if (dev->root[0] != '\0')
        pack_remove(dev->root);
}

static void print_addresses(const struct dev *dev)
{
    const struct worker *worker = dev->runtime->worker;
    for (size_t i = 0; i < worker->view_count; i++) {
        struct buf key;
        if (!is_meant(dev, &worker->views[i]))
            continue;
        buf_init(&key, BUF_UNLIMITED);
        url_encode(&key, worker->views[i].key, strlen(worker->views[i].key));
        printf("%s" VIEWS_PATH "%s/%s/#token=%s\n", dev->url, strrchr(dev->folder, '/') + 1, buf_text(&key),
               dev->token);
        buf_free(&key);
    }
    fflush(stdout);
    cli_note("Sample rows; what changes is shown at once. Ctrl-C ends it.");
}

/* ---- the two processes ---- */

static int serve(const struct dev *dev)
{
    struct pulse pulse = {0};
    const char *const folders[] = {dev->folder};
    const struct server_options options = {.folders = folders,
                                           .folder_count = 1,
                                           .code = dev->project.folder,
                                           .listen_fd = dev->listen_fd,
                                           .url = dev->url,
                                           .views_secret = dev->secret,
                                           .concurrency = 1,
                                           .processes = 1};
    return server_run(&options, 0, &pulse);
}

static void catch_signals(void (*handler)(int))
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = handler};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
}

/* The server in a process of its own, with what is loaded; and that loaded here once more. */
static enum err_code start_server(struct dev *dev, struct err *err)
{
    unload(dev);
    fflush(NULL);
    pid_t parent = getpid();
    dev->server = fork();
    if (dev->server == 0) {
        catch_signals(SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody would end it */
        if (getppid() != parent || stopping)
            _exit(0);
        int result = serve(dev);
        fflush(NULL);
        _exit(result);
    }
    return dev->server > 0 ? load(dev, err)
                           : err_set(err, ERR_IO, "cannot start a process: %s", strerror(errno));
}

static void stop_server(struct dev *dev)
{
    int status = 0;
    if (dev->server <= 0)
        return;
    kill(dev->server, SIGTERM);
    while (waitpid(dev->server, &status, 0) < 0 && errno == EINTR)
        ;
    dev->server = 0;
}

/* What is loaded is what is shown. A script that cannot be loaded changes nothing but for what is said. */
static enum err_code change_script(struct dev *dev, struct err *err)
{
    unload(dev);
    if (load_anew(dev, err) != ERR_NONE) {
        cli_fail(err);
        unload(dev);
        return ERR_NONE;
    }
    keep_up(dev);
    stop_server(dev);
    enum err_code code = stopping ? ERR_NONE : start_server(dev, err);
    if (code == ERR_NONE)
        cli_note("loaded anew");
    return code;
}

/* Until a signal comes; or an error. */
static enum err_code watch(struct dev *dev, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    enum err_code code = ERR_NONE;
    int status = 0;
    while (!stopping && code == ERR_NONE) {
        nanosleep(&pause, NULL);
        if (stopping)
            break;
        if (waitpid(dev->server, &status, WNOHANG) == dev->server) {
            dev->server = 0;
            code = err_set(err, ERR_INTERNAL, "the server has ended");
        } else if (watch_fingerprint(dev->project.folder, dev->project.script) != dev->script) {
            code = change_script(dev, err);
        } else if (dev->runtime != NULL) {
            keep_up(dev);
        }
    }
    return stopping ? ERR_NONE : code;
}

static int run_dev(const struct cli_args *args)
{
    struct dev dev = {.key = args->count > 0 ? args->positional[0] : NULL, .listen_fd = -1};
    struct err err;
    if (project_open(NULL, ".", &dev.project, &err) != ERR_NONE)
        return cli_fail(&err);
    catch_signals(on_signal);
    enum err_code code = begin(&dev, cli_value(args, "--listen"), &err);
    if (code == ERR_NONE)
        keep_up(&dev);
    if (code == ERR_NONE && !stopping) {
        print_addresses(&dev);
        code = start_server(&dev, &err);
    }
    if (code == ERR_NONE && !stopping)
        code = watch(&dev, &err);
    stop_server(&dev);
    end(&dev);
    return code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
}

static const struct cli_option options[] = {
    {"--listen", NULL, "ADDRESS", LISTEN_USUAL " unless given"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_view_dev = {
    .name = "view dev",
    .arguments = "[KEY]",
    .summary = "Show views with sample rows, anew whenever a file changes",
    .help =
        "The rows are those of " VIEW_SAMPLE
        " in the view's folder: an object from data sources to lists of rows, "
        "each from\nthe names of the database's properties to values. Without it they are made up from the "
        "schema. "
        "A view with\na command is built again when its files change. Nothing of the project's own store is "
        "touched, and nothing of\nthe worker runs.\n\n"
        "Examples:\n  workers view dev\n  workers view dev board --listen 127.0.0.1:9000\n",
    .options = options,
    .max_arguments = 1,
    .run = run_dev,
};
