/* workers view dev: the views of a project with sample rows, shown anew when a file changes. A store of its
 * own in a temporary folder, and the server that everybody has, in a process of its own; this process looks
 * at the files, builds, and puts the sample rows in. */
#include "cli/cli.h"
#include "cli/view_build.h"
#include "cli/view_sample.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "net/http_listen.h"
#include "net/url.h"
#include "server/server.h"
#include "server/view_files.h"
#include "server/views.h"
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
};

struct dev {
    const char *key; /* of the one view; NULL for all */
    struct project project;
    struct project copy; /* the same files, with a folder of its own */
    struct runtime *runtime;
    struct looked *looked; /* of each view */
    char root[FOLDER_SIZE], folder[FOLDER_SIZE + CONFIG_NAME_MAX + 2];
    char token[TOKEN_SIZE];
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

/* Builds and fills in what has changed since. An error is said, and the next change may mend it. */
static void keep_up(struct dev *dev)
{
    const struct worker *worker = dev->runtime->worker;
    struct err err;
    for (size_t i = 0; i < worker->view_count; i++) {
        const struct view *view = &worker->views[i];
        if (!is_meant(dev, view))
            continue;
        uint64_t sources = mark_of_sources(dev, view), sample = mark_of_sample(dev, view);
        if (sources != dev->looked[i].sources && view_build(dev->project.folder, view, &err) != ERR_NONE)
            cli_fail(&err);
        if (sample != dev->looked[i].sample &&
            view_sample_fill(dev->runtime, dev->project.folder, view, &err) != ERR_NONE)
            cli_fail(&err);
        dev->looked[i] = (struct looked){sources, sample};
    }
}

/* ---- the beginning ---- */

static enum err_code make_folder(struct dev *dev, struct err *err)
{
    char name[CONFIG_NAME_MAX + 1];
    const char *place = getenv("TMPDIR");
    snprintf(dev->root, sizeof dev->root, "%.500s/workers-view-XXXXXX",
             place != NULL && place[0] == '/' ? place : "/tmp");
    if (mkdtemp(dev->root) == NULL) {
        enum err_code code =
            err_set(err, ERR_IO, "cannot make a folder like %s: %s", dev->root, strerror(errno));
        dev->root[0] = '\0';
        return code;
    }
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

static enum err_code begin(struct dev *dev, struct err *err)
{
    enum err_code code = make_folder(dev, err);
    if (code == ERR_NONE)
        code = load(dev, err);
    if (code == ERR_NONE)
        code = rest(dev, err);
    if (code == ERR_NONE)
        code = store_token_make(dev->runtime->store, "view dev", TOKEN_READ, dev->token, err);
    if (code == ERR_NONE && dev->runtime->worker->view_count == 0)
        code = err_set(err, ERR_NOT_FOUND,
                       "the worker declares no views: worker:view(\"board\", { path = \"views/board\" })");
    if (code == ERR_NONE && dev->key != NULL && worker_view(dev->runtime->worker, dev->key) == NULL)
        code = err_set(err, ERR_NOT_FOUND, "there is no view \"%s\": workers view list shows them", dev->key);
    if (code == ERR_NONE)
        dev->looked = mem_need(dev->runtime->worker->view_count * sizeof *dev->looked);
    return code;
}

static void end(struct dev *dev)
{
    unload(dev);
    project_free(&dev->project);
    mem_free(dev->looked);
    if (dev->root[0] != '\0')
        pack_remove(dev->root);
}

static void print_addresses(const struct dev *dev, const char *url)
{
    const struct worker *worker = dev->runtime->worker;
    for (size_t i = 0; i < worker->view_count; i++) {
        struct buf key;
        if (!is_meant(dev, &worker->views[i]))
            continue;
        buf_init(&key, BUF_UNLIMITED);
        url_encode(&key, worker->views[i].key, strlen(worker->views[i].key));
        printf("%s" VIEWS_PATH "%s/%s/#token=%s\n", url, strrchr(dev->folder, '/') + 1, buf_text(&key),
               dev->token);
        buf_free(&key);
    }
    fflush(stdout);
    cli_note("Sample rows; what changes is shown at once. Ctrl-C ends it.");
}

/* ---- the two processes ---- */

static int serve(const struct dev *dev, int listen_fd, const char *url, const unsigned char *secret)
{
    struct pulse pulse = {0};
    const char *const folders[] = {dev->folder};
    const struct server_options options = {.folders = folders,
                                           .folder_count = 1,
                                           .code = dev->project.folder,
                                           .listen_fd = listen_fd,
                                           .url = url,
                                           .views_secret = secret,
                                           .concurrency = 1,
                                           .watch = true,
                                           .processes = 1};
    return server_run(&options, 0, &pulse);
}

static void watch(struct dev *dev, pid_t server, bool go_on)
{
    const struct sigaction action = {.sa_handler = on_signal};
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    int status = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    while (!stopping && go_on) {
        if (waitpid(server, &status, WNOHANG) == server)
            return;
        nanosleep(&pause, NULL);
        if (!stopping)
            keep_up(dev);
    }
    kill(server, SIGTERM);
    while (waitpid(server, &status, 0) < 0 && errno == EINTR)
        ;
}

static int run_dev(const struct cli_args *args)
{
    struct dev dev = {.key = args->count > 0 ? args->positional[0] : NULL};
    char bound[HTTP_LISTEN_TEXT_MAX] = "", url[HTTP_LISTEN_TEXT_MAX + 8];
    unsigned char secret[VIEWS_SECRET_SIZE];
    const char *address = cli_value(args, "--listen");
    int listen_fd = -1;
    struct err err;
    if (project_open(NULL, ".", &dev.project, &err) != ERR_NONE)
        return cli_fail(&err);
    enum err_code code = begin(&dev, &err);
    if (code == ERR_NONE)
        code = http_listen(address != NULL ? address : LISTEN_USUAL, &listen_fd, bound, &err);
    if (code == ERR_NONE)
        code = crypto_random(secret, sizeof secret, &err);
    if (code != ERR_NONE) {
        end(&dev);
        return cli_fail(&err);
    }
    snprintf(url, sizeof url, "http://%s", bound);
    keep_up(&dev);
    print_addresses(&dev, url);
    unload(&dev);
    fflush(NULL);
    pid_t parent = getpid(), server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody would end it */
        if (getppid() != parent)
            _exit(0);
        int result = serve(&dev, listen_fd, url, secret);
        fflush(NULL);
        _exit(result);
    }
    close(listen_fd);
    if (server < 0)
        code = err_set(&err, ERR_IO, "cannot start a process: %s", strerror(errno));
    else
        code = load(&dev, &err);
    if (server > 0)
        watch(&dev, server, code == ERR_NONE);
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
