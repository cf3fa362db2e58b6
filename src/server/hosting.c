/* Projects being served. Must not know HTTP. */
#include "server/hosting.h"

#include "base/mem.h"
#include "server/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One version of a project: what was read, and what serves it. */
struct version {
    struct hosted *hosted;
    struct project project;
    struct service *service;
    struct version *next;
};

struct hosted {
    struct hosting *hosting;
    char folder[PATH_MAX];
    struct version *current;
    struct version *leaving; /* earlier ones that still run something */
    uint64_t seen;           /* of the files when they were last read */
};

struct hosting {
    struct hosting_options options;
    struct gate gate;
    struct hosted *projects;
    size_t count;
    bool stopping;
};

/* ---- what a project says ---- */

static void on_log(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                   size_t len)
{
    const struct version *version = ctx;
    const struct hosting *hosting = version->hosted->hosting;
    if (run_id != NULL && version->service != NULL)
        service_log(version->service, run_id, level, text, len);
    hosting->options.say(hosting->options.ctx, version->project.config.name, key, level, text, len);
}

static void say(const struct hosted *hosted, const char *level, const char *text)
{
    const struct hosting *hosting = hosted->hosting;
    const char *name = hosted->current != NULL ? hosted->current->project.config.name : NULL;
    hosting->options.say(hosting->options.ctx, name, NULL, level, text, strlen(text));
}

static void on_ended(void *ctx, struct service *service, const struct run_report *report)
{
    const struct version *version = ctx;
    const struct hosting *hosting = version->hosted->hosting;
    if (hosting->options.ended != NULL)
        hosting->options.ended(hosting->options.ctx, service, report);
}

/* ---- loading ---- */

static void free_version(struct version *version)
{
    if (version == NULL)
        return;
    service_free(version->service);
    project_free(&version->project);
    mem_free(version);
}

static void on_idle(void *ctx, struct service *service)
{
    const struct version *version = ctx;
    struct hosting *hosting = version->hosted->hosting;
    (void)service;
    if (hosting->stopping && hosting_is_idle(hosting) && hosting->options.idle != NULL)
        hosting->options.idle(hosting->options.ctx);
}

/* A worker needs a name that its address is made of. */
static enum err_code fill_name(struct project *project, struct err *err)
{
    char name[CONFIG_NAME_MAX + 1];
    if (project->config.name != NULL)
        return ERR_NONE;
    config_name(&project->config, project->folder, name);
    project->config.name = mem_strndup(name, strlen(name));
    return project->config.name != NULL ? ERR_NONE : err_nomem(err);
}

/* At the first start there is a token for the owner of the project: in a file that nobody else can read. */
static enum err_code make_first_token(const struct version *version, struct store *store, struct err *err)
{
    char path[PATH_MAX + 32], token[TOKEN_SIZE];
    snprintf(path, sizeof path, "%s/.workers/token", version->project.folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) /* it was made before, and perhaps revoked since */
        return errno == EEXIST ? ERR_NONE
                               : err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    enum err_code code = store_token_make(store, "local", TOKEN_ADMIN, token, err);
    size_t len = strlen(token);
    token[len] = '\n';
    if (code == ERR_NONE && write(fd, token, len + 1) != (ssize_t)(len + 1))
        code = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    close(fd);
    if (code != ERR_NONE)
        unlink(path);
    return code == ERR_CONFLICT ? ERR_NONE : code;
}

static enum err_code start_service(struct version *version, struct runtime *runtime, struct err *err)
{
    struct hosting *hosting = version->hosted->hosting;
    const struct service_events events = {.ended = on_ended, .idle = on_idle, .ctx = version};
    struct buf report;
    buf_init(&report, (size_t)1024 * 1024);
    enum err_code code = runtime_open_store(runtime, false, &report, err);
    if (code == ERR_NONE && report.len > 0)
        on_log(version, NULL, NULL, "info", buf_text(&report), report.len - 1);
    buf_free(&report);
    if (code == ERR_NONE)
        code = make_first_token(version, runtime->store, err);
    if (code == ERR_NONE)
        store_rest(runtime->store); /* what reading it took is used by the next one that is loaded */
    if (code == ERR_NONE)
        code = service_new(runtime, &hosting->gate, &events, &version->service, err);
    if (code != ERR_NONE)
        runtime_free(runtime);
    return code;
}

static enum err_code load(struct hosted *hosted, struct version **out, struct err *err)
{
    struct version *version = mem_need(sizeof *version);
    struct runtime *runtime = NULL;
    struct script_error error;
    version->hosted = hosted;
    script_error_init(&error);
    enum err_code code = project_open(NULL, hosted->folder, &version->project, err);
    if (code == ERR_NONE)
        code = fill_name(&version->project, err);
    if (code == ERR_NONE) {
        config_close(&version->project.config);
        code =
            project_load(&version->project, hosted->hosting->options.loop, on_log, version, &runtime, &error);
        if (code != ERR_NONE)
            script_error_to_err(&error, err);
    }
    if (code == ERR_NONE)
        code = start_service(version, runtime, err);
    script_error_free(&error);
    if (code != ERR_NONE)
        free_version(version);
    else
        *out = version;
    return code;
}

/* ---- changes ---- */

static uint64_t look_at_files(const struct hosted *hosted)
{
    const struct project *project = &hosted->current->project;
    return watch_fingerprint(project->folder, project->script);
}

static void forget_leaving(struct hosted *hosted)
{
    for (struct version **at = &hosted->leaving; *at != NULL;) {
        struct version *version = *at;
        if (service_is_idle(version->service)) {
            *at = version->next;
            free_version(version);
        } else {
            at = &version->next;
        }
    }
}

static void reload(struct hosted *hosted)
{
    struct version *version = NULL;
    struct err err;
    if (load(hosted, &version, &err) != ERR_NONE) {
        err_context(&err, "not loaded anew, the earlier version goes on");
        say(hosted, "error", err.message);
        hosted->seen = look_at_files(hosted);
        return;
    }
    struct version *before = hosted->current;
    before->next = hosted->leaving;
    hosted->leaving = before;
    hosted->current = version;
    hosted->seen = look_at_files(hosted);
    service_stop(before->service);
    service_open_webhooks(version->service);
    service_look(version->service);
    say(hosted, "info", "loaded anew");
    hosted->hosting->options.reloaded(hosted->hosting->options.ctx, version->service);
}

void hosting_reload(struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count && !hosting->stopping; i++)
        reload(&hosting->projects[i]);
}

void hosting_tick(struct hosting *hosting)
{
    bool given_back = false;
    for (size_t i = 0; i < hosting->count; i++) {
        struct hosted *hosted = &hosting->projects[i];
        forget_leaving(hosted);
        given_back = service_gave_back(hosted->current->service) || given_back;
        if (hosting->stopping)
            continue;
        if (hosting->options.watch && look_at_files(hosted) != hosted->seen)
            reload(hosted);
        else
            service_poll(hosted->current->service, false);
    }
    if (given_back)
        malloc_trim(0); /* it lies between what is still used */
}

void hosting_look(struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count && !hosting->stopping; i++)
        service_look(hosting->projects[i].current->service);
}

/* ---- beginning and end ---- */

static enum err_code add(struct hosting *hosting, const char *folder, struct err *err)
{
    struct hosted *hosted = &hosting->projects[hosting->count];
    hosted->hosting = hosting;
    snprintf(hosted->folder, sizeof hosted->folder, "%s", folder);
    struct version *version = NULL;
    enum err_code code = load(hosted, &version, err);
    if (code != ERR_NONE)
        return err_context(err, "%s", folder);
    const char *name = version->project.config.name;
    if (hosting_find(hosting, name, strlen(name)) != NULL) {
        code = err_set(err, ERR_CONFLICT,
                       "%s: there is another worker \"%s\": set name: in the workers.yaml of one of them",
                       folder, name);
        free_version(version);
        return code;
    }
    hosted->current = version;
    hosted->seen = look_at_files(hosted);
    hosting->count++;
    return ERR_NONE;
}

enum err_code hosting_new(const struct hosting_options *options, struct hosting **out, struct err *err)
{
    *out = NULL;
    struct hosting *hosting = mem_need(sizeof *hosting);
    hosting->options = *options;
    hosting->gate.free = options->concurrency;
    hosting->projects = mem_zalloc((options->folder_count + 1) * sizeof *hosting->projects);
    enum err_code code = hosting->projects != NULL ? ERR_NONE : err_nomem(err);
    for (size_t i = 0; i < options->folder_count && code == ERR_NONE; i++)
        code = add(hosting, options->folders[i], err);
    if (code != ERR_NONE) {
        hosting_free(hosting);
        return code;
    }
    *out = hosting;
    hosting_look(hosting);
    return ERR_NONE;
}

void hosting_free(struct hosting *hosting)
{
    if (hosting == NULL)
        return;
    for (size_t i = 0; i < hosting->count; i++) {
        struct hosted *hosted = &hosting->projects[i];
        free_version(hosted->current);
        while (hosted->leaving != NULL) {
            struct version *next = hosted->leaving->next;
            free_version(hosted->leaving);
            hosted->leaving = next;
        }
    }
    mem_free(hosting->projects);
    mem_free(hosting);
}

void hosting_stop(struct hosting *hosting)
{
    hosting->stopping = true;
    for (size_t i = 0; i < hosting->count; i++)
        service_stop(hosting->projects[i].current->service);
    if (hosting_is_idle(hosting) && hosting->options.idle != NULL)
        hosting->options.idle(hosting->options.ctx);
}

void hosting_stop_now(struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count; i++) {
        service_stop_now(hosting->projects[i].current->service);
        for (struct version *at = hosting->projects[i].leaving; at != NULL; at = at->next)
            service_stop_now(at->service);
    }
}

bool hosting_is_idle(const struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count; i++) {
        if (!service_is_idle(hosting->projects[i].current->service))
            return false;
        for (struct version *at = hosting->projects[i].leaving; at != NULL; at = at->next)
            if (!service_is_idle(at->service))
                return false;
    }
    return true;
}

size_t hosting_count(const struct hosting *hosting)
{
    return hosting->count;
}

const char *hosting_folder(const struct hosting *hosting, size_t index)
{
    return hosting->projects[index].current->project.folder;
}

struct service *hosting_at(struct hosting *hosting, size_t index)
{
    return hosting->projects[index].current->service;
}

struct service *hosting_find(struct hosting *hosting, const char *name, size_t len)
{
    for (size_t i = 0; i < hosting->count; i++) {
        const char *own = hosting->projects[i].current->project.config.name;
        if (strlen(own) == len && memcmp(own, name, len) == 0)
            return hosting->projects[i].current->service;
    }
    return NULL;
}
