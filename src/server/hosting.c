/* Projects being served. Must not know HTTP. */
#include "server/hosting.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/home.h"
#include "server/first_token.h"
#include "server/home_store.h"
#include "server/watch.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define AGAIN_MS 10000
#define SCAN_MS 2000

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
    bool of_home;
    dev_t device; /* of the folder of one that is of the home: another one of its name is another worker */
    ino_t inode;
    bool there;              /* in the scan under way: its folder was seen */
    struct version *current; /* NULL: it is gone, and what was under way ends */
    struct version *leaving; /* earlier ones that still run something */
    uint64_t seen;           /* of the files when they were last read */
    int64_t again_ms;        /* monotonic: a deployed version that cannot be loaded is not tried before */
};

/* A worker of the home that could not be loaded: it is tried again later, and what is wrong is said once. */
struct refusal {
    char *folder, *message;
    int64_t again_ms; /* monotonic */
    struct refusal *next;
};

struct hosting {
    struct hosting_options options;
    struct gate gate;
    struct hosted **projects;
    size_t count, room;
    struct hosted **gone; /* taken out of the home, with something still under way */
    size_t gone_count;
    struct refusal *refusals; /* workers of the home that cannot be loaded */
    struct home_store *home;  /* NULL when there is none */
    int64_t scanned_ms;       /* monotonic: when its workers were last looked for */
    bool stopping;
};

static void reload(struct hosted *hosted);

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

static void on_superseded(void *ctx, struct service *service)
{
    const struct version *version = ctx;
    struct hosted *hosted = version->hosted;
    (void)service;
    if (!hosted->hosting->stopping && version == hosted->current && clock_mono_ms() >= hosted->again_ms)
        reload(hosted);
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

static enum err_code start_service(struct version *version, struct runtime *runtime, struct err *err)
{
    struct hosting *hosting = version->hosted->hosting;
    const struct service_events events = {
        .ended = on_ended, .superseded = on_superseded, .idle = on_idle, .ctx = version};
    struct buf report;
    buf_init(&report, (size_t)1024 * 1024);
    enum err_code code = runtime_open_store(runtime, false, &report, err);
    if (code == ERR_NONE && report.len > 0)
        on_log(version, NULL, NULL, "info", buf_text(&report), report.len - 1);
    buf_free(&report);
    if (code == ERR_NONE)
        code = first_token_make(version->project.folder, runtime->store, err);
    if (code == ERR_NONE)
        store_rest(runtime->store); /* what reading it took is used by the next one that is loaded */
    if (code == ERR_NONE)
        code = service_new(runtime, &hosting->gate, &events, &version->service, err);
    if (code != ERR_NONE)
        runtime_free(runtime);
    return code;
}

static enum err_code load_once(struct hosted *hosted, struct version **out, struct err *err)
{
    struct version *version = mem_need(sizeof *version);
    struct runtime *runtime = NULL;
    struct script_error error;
    version->hosted = hosted;
    script_error_init(&error);
    const char *files = hosted->hosting->options.code;
    enum err_code code = files != NULL ? project_open_version(hosted->folder, files, &version->project, err)
                                       : project_open(NULL, hosted->folder, &version->project, err);
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

/* Another version may be deployed in the moment in which one is loaded. */
static enum err_code load(struct hosted *hosted, struct version **out, struct err *err)
{
    enum err_code code = load_once(hosted, out, err);
    for (int again = 0; code == ERR_BUSY && again < 3; again++)
        code = load_once(hosted, out, err);
    return code;
}

/* ---- changes ---- */

static uint64_t look_at_files(const struct hosted *hosted)
{
    const struct project *project = &hosted->current->project;
    return project->version > 0
               ? 0
               : watch_fingerprint(project->code[0] != '\0' ? project->code : project->folder,
                                   project->script);
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
        err_context(&err, hosted->current->project.version > 0
                              ? "the version that was deployed cannot be loaded"
                              : "not loaded anew, the earlier version goes on");
        say(hosted, "error", err.message);
        hosted->seen = look_at_files(hosted);
        hosted->again_ms = clock_mono_ms() + AGAIN_MS;
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
    if (version->project.version > 0) {
        char text[64];
        snprintf(text, sizeof text, "version %lld is active", (long long)version->project.version);
        say(hosted, "info", text);
    } else {
        say(hosted, "info", "loaded anew");
    }
    hosted->hosting->options.reloaded(hosted->hosting->options.ctx, version->service);
}

void hosting_reload(struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count && !hosting->stopping; i++)
        reload(hosting->projects[i]);
}

void hosting_reload_one(struct hosting *hosting, const char *name)
{
    for (size_t i = 0; i < hosting->count && !hosting->stopping; i++)
        if (strcmp(hosting->projects[i]->current->project.config.name, name) == 0) {
            reload(hosting->projects[i]);
            return;
        }
}

static void free_hosted(struct hosted *hosted)
{
    free_version(hosted->current);
    while (hosted->leaving != NULL) {
        struct version *next = hosted->leaving->next;
        free_version(hosted->leaving);
        hosted->leaving = next;
    }
    mem_free(hosted);
}

static void tick(struct hosted *hosted)
{
    const struct hosting *hosting = hosted->hosting;
    struct service *service = hosted->current->service;
    if (hosting->stopping)
        return;
    if (service_is_superseded(service)) {
        if (clock_mono_ms() >= hosted->again_ms)
            reload(hosted);
    } else if (hosting->options.watch && look_at_files(hosted) != hosted->seen) {
        reload(hosted);
    } else {
        service_poll(service, false);
    }
}

void hosting_tick(struct hosting *hosting)
{
    bool given_back = false;
    if (hosting->home != NULL && !hosting->stopping) {
        if (home_store_poll(hosting->home))
            hosting_home_changed(hosting);
        if (clock_mono_ms() - hosting->scanned_ms >= SCAN_MS)
            hosting_scan(hosting);
    }
    for (size_t i = 0; i < hosting->count; i++) {
        struct hosted *hosted = hosting->projects[i];
        forget_leaving(hosted);
        given_back = service_gave_back(hosted->current->service) || given_back;
        tick(hosted);
    }
    for (size_t i = 0; i < hosting->gone_count;) {
        struct hosted *hosted = hosting->gone[i];
        forget_leaving(hosted);
        if (hosted->leaving == NULL) {
            free_hosted(hosted);
            hosting->gone[i] = hosting->gone[--hosting->gone_count];
        } else {
            i++;
        }
    }
    if (given_back)
        malloc_trim(0); /* it lies between what is still used */
}

void hosting_look(struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count && !hosting->stopping; i++)
        service_look(hosting->projects[i]->current->service);
}

/* ---- beginning and end ---- */

static enum err_code add(struct hosting *hosting, const char *folder, bool of_home, struct err *err)
{
    if (hosting->count + hosting->gone_count == hosting->room) { /* both lists have room for all */
        size_t room = hosting->room > 0 ? 2 * hosting->room : 8;
        struct hosted **projects = mem_realloc(hosting->projects, room * sizeof *projects);
        if (projects == NULL)
            return err_nomem(err);
        hosting->projects = projects;
        struct hosted **gone = mem_realloc(hosting->gone, room * sizeof *gone);
        if (gone == NULL)
            return err_nomem(err);
        hosting->gone = gone;
        hosting->room = room;
    }
    struct hosted *hosted = mem_need(sizeof *hosted);
    hosted->hosting = hosting;
    hosted->of_home = of_home;
    snprintf(hosted->folder, sizeof hosted->folder, "%s", folder);
    struct stat status;
    enum err_code code =
        stat(folder, &status) == 0
            ? ERR_NONE
            : err_set(err, ERR_NOT_FOUND, "the folder cannot be opened: %s", strerror(errno));
    hosted->device = code == ERR_NONE ? status.st_dev : 0;
    hosted->inode = code == ERR_NONE ? status.st_ino : 0;
    if (code == ERR_NONE)
        code = load(hosted, &hosted->current, err);
    if (code != ERR_NONE) {
        mem_free(hosted);
        return err_context(err, "%s", folder);
    }
    const char *name = hosted->current->project.config.name;
    if (hosting_find(hosting, name, strlen(name)) != NULL) {
        code = err_set(err, ERR_CONFLICT,
                       "%s: there is another worker \"%s\": set name: in the workers.yaml of one of them",
                       folder, name);
        free_hosted(hosted);
        return code;
    }
    hosted->seen = look_at_files(hosted);
    hosting->projects[hosting->count++] = hosted;
    return ERR_NONE;
}

/* ---- the home ---- */

static struct refusal *find_refusal(const struct hosting *hosting, const char *folder)
{
    struct refusal *refusal = hosting->refusals;
    while (refusal != NULL && strcmp(refusal->folder, folder) != 0)
        refusal = refusal->next;
    return refusal;
}

static void refuse(struct hosting *hosting, const char *folder, const char *message)
{
    struct refusal *refusal = find_refusal(hosting, folder);
    if (refusal == NULL) {
        refusal = mem_need(sizeof *refusal);
        refusal->folder = mem_need_str(folder);
        refusal->next = hosting->refusals;
        hosting->refusals = refusal;
    }
    if (refusal->message == NULL || strcmp(refusal->message, message) != 0)
        hosting->options.say(hosting->options.ctx, NULL, NULL, "error", message, strlen(message));
    mem_free(refusal->message);
    refusal->message = mem_need_str(message);
    refusal->again_ms = clock_mono_ms() + AGAIN_MS;
}

static void forget_refusals(struct hosting *hosting, const char *folder)
{
    for (struct refusal **at = &hosting->refusals; *at != NULL;) {
        struct refusal *refusal = *at;
        if (folder != NULL && strcmp(refusal->folder, folder) != 0) {
            at = &refusal->next;
            continue;
        }
        *at = refusal->next;
        mem_free(refusal->folder);
        mem_free(refusal->message);
        mem_free(refusal);
    }
}

static struct hosted *find_of_home(const struct hosting *hosting, const char *folder)
{
    for (size_t i = 0; i < hosting->count; i++)
        if (hosting->projects[i]->of_home && strcmp(hosting->projects[i]->folder, folder) == 0)
            return hosting->projects[i];
    return NULL;
}

static enum err_code mark(void *ctx, const char *name, const char *folder)
{
    struct hosting *hosting = ctx;
    struct hosted *hosted = find_of_home(hosting, folder);
    struct stat status;
    (void)name;
    if (hosted != NULL && stat(folder, &status) == 0)
        hosted->there = status.st_dev == hosted->device && status.st_ino == hosted->inode;
    return ERR_NONE;
}

static enum err_code add_missing(void *ctx, const char *name, const char *folder)
{
    struct hosting *hosting = ctx;
    const struct refusal *refusal = find_refusal(hosting, folder);
    struct err err;
    (void)name;
    if (find_of_home(hosting, folder) != NULL || (refusal != NULL && clock_mono_ms() < refusal->again_ms))
        return ERR_NONE;
    if (add(hosting, folder, true, &err) != ERR_NONE) {
        refuse(hosting, folder, err.message);
        return ERR_NONE;
    }
    forget_refusals(hosting, folder);
    struct service *service = hosting->projects[hosting->count - 1]->current->service;
    service_look(service);
    if (hosting->options.added != NULL)
        hosting->options.added(hosting->options.ctx, folder, service);
    return ERR_NONE;
}

static void take_out(struct hosting *hosting, size_t index)
{
    struct hosted *hosted = hosting->projects[index];
    say(hosted, "info", "is not in the home any more");
    service_stop(hosted->current->service);
    hosted->current->next = hosted->leaving;
    hosted->leaving = hosted->current;
    hosted->current = NULL;
    memmove(&hosting->projects[index], &hosting->projects[index + 1],
            (hosting->count - index - 1) * sizeof *hosting->projects);
    hosting->count--;
    hosting->gone[hosting->gone_count++] = hosted;
}

void hosting_scan(struct hosting *hosting)
{
    struct err err;
    if (hosting->home == NULL || hosting->stopping)
        return;
    hosting->scanned_ms = clock_mono_ms();
    for (size_t i = 0; i < hosting->count; i++)
        hosting->projects[i]->there = !hosting->projects[i]->of_home;
    enum err_code code = home_each(hosting->options.home, mark, hosting, &err);
    for (size_t i = hosting->count; code == ERR_NONE && i-- > 0;)
        if (!hosting->projects[i]->there)
            take_out(hosting, i);
    if (code == ERR_NONE)
        code = home_each(hosting->options.home, add_missing, hosting, &err);
    if (code != ERR_NONE)
        refuse(hosting, hosting->options.home, err.message);
}

/* ---- the whole ---- */

enum err_code hosting_new(const struct hosting_options *options, struct hosting **out, struct err *err)
{
    *out = NULL;
    struct hosting *hosting = mem_need(sizeof *hosting);
    hosting->options = *options;
    hosting->gate.free = options->concurrency;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < options->folder_count && code == ERR_NONE; i++)
        code = add(hosting, options->folders[i], false, err);
    if (code == ERR_NONE && options->home != NULL)
        code = home_store_open(options->home, &hosting->home, err);
    if (code != ERR_NONE) {
        hosting_free(hosting);
        return code;
    }
    *out = hosting;
    hosting_scan(hosting);
    hosting_look(hosting);
    return ERR_NONE;
}

void hosting_free(struct hosting *hosting)
{
    if (hosting == NULL)
        return;
    for (size_t i = 0; i < hosting->count; i++)
        free_hosted(hosting->projects[i]);
    for (size_t i = 0; i < hosting->gone_count; i++)
        free_hosted(hosting->gone[i]);
    forget_refusals(hosting, NULL);
    home_store_close(hosting->home);
    mem_free(hosting->projects);
    mem_free(hosting->gone);
    mem_free(hosting);
}

void hosting_stop(struct hosting *hosting)
{
    hosting->stopping = true;
    for (size_t i = 0; i < hosting->count; i++)
        service_stop(hosting->projects[i]->current->service);
    if (hosting_is_idle(hosting) && hosting->options.idle != NULL)
        hosting->options.idle(hosting->options.ctx);
}

static void stop_leaving(const struct hosted *hosted)
{
    for (struct version *at = hosted->leaving; at != NULL; at = at->next)
        service_stop_now(at->service);
}

void hosting_stop_now(struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count; i++) {
        service_stop_now(hosting->projects[i]->current->service);
        stop_leaving(hosting->projects[i]);
    }
    for (size_t i = 0; i < hosting->gone_count; i++)
        stop_leaving(hosting->gone[i]);
}

static bool is_idle(const struct hosted *hosted)
{
    if (hosted->current != NULL && !service_is_idle(hosted->current->service))
        return false;
    for (struct version *at = hosted->leaving; at != NULL; at = at->next)
        if (!service_is_idle(at->service))
            return false;
    return true;
}

bool hosting_is_idle(const struct hosting *hosting)
{
    for (size_t i = 0; i < hosting->count; i++)
        if (!is_idle(hosting->projects[i]))
            return false;
    for (size_t i = 0; i < hosting->gone_count; i++)
        if (!is_idle(hosting->gone[i]))
            return false;
    return true;
}

size_t hosting_count(const struct hosting *hosting)
{
    return hosting->count;
}

const char *hosting_folder(const struct hosting *hosting, size_t index)
{
    return hosting->projects[index]->current->project.folder;
}

struct service *hosting_at(struct hosting *hosting, size_t index)
{
    return hosting->projects[index]->current->service;
}

int64_t hosting_version(const struct hosting *hosting, size_t index)
{
    return hosting->projects[index]->current->project.version;
}

struct service *hosting_find(struct hosting *hosting, const char *name, size_t len)
{
    for (size_t i = 0; i < hosting->count; i++) {
        const char *own = hosting->projects[i]->current->project.config.name;
        if (strlen(own) == len && memcmp(own, name, len) == 0)
            return hosting->projects[i]->current->service;
    }
    return NULL;
}

const char *hosting_home(const struct hosting *hosting)
{
    return hosting->home != NULL ? hosting->options.home : NULL;
}

/* What the workers share may be other variables now. */
void hosting_home_changed(struct hosting *hosting)
{
    home_store_reread(hosting->home);
    for (size_t i = 0; i < hosting->count; i++)
        service_variables_changed(hosting->projects[i]->current->service);
}

bool hosting_home_token(struct hosting *hosting, const char *token, size_t len, enum token_scope *scope)
{
    return hosting->home != NULL && home_store_token(hosting->home, token, len, scope);
}

bool hosting_token(struct hosting *hosting, const struct service *service, const char *token, size_t len,
                   enum token_scope *scope)
{
    if (service_token(service, token, len, scope))
        return true;
    for (size_t i = 0; i < hosting->count; i++)
        if (hosting->projects[i]->of_home && hosting->projects[i]->current->service == service)
            return hosting_home_token(hosting, token, len, scope);
    return false;
}
