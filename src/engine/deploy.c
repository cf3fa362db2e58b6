/* Loading a version in a throw-away isolate, saying what it changes, and making it the active one. */
#include "engine/deploy.h"

#include "base/json.h"
#include "base/mem.h"
#include "engine/project.h"
#include "store/store.h"
#include "worker/pack.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DESCRIPTION_MAX ((size_t)16 * 1024 * 1024)
#define REPORT_MAX ((size_t)1024 * 1024)

struct deployment {
    const struct deploy *deploy;
    struct store *store;
    struct project project;
    struct runtime *runtime;
    struct buf pack, description, before; /* before: the description of the active version; empty for none */
    struct buf report;                    /* what becomes of tables, a line each */
    struct pack_info info;
    int64_t active;
    char active_digest[PACK_DIGEST_SIZE];
};

/* ---- descriptions ---- */

static void write_list(const char *name, const struct config_list *list, struct buf *out)
{
    buf_addf(out, "%s\"%s\":[", out->data[out->len - 1] == '{' ? "" : ",", name);
    for (size_t i = 0; i < list->count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        json_write_text(out, list->items[i]);
    }
    buf_addc(out, ']');
}

/* {"manifest":…,"schedules":{key: text},"permissions":{"net":[…],"read":[…],"env":[…]}} */
static enum err_code describe(struct deployment *deployment, struct err *err)
{
    const struct worker *worker = deployment->runtime->worker;
    const struct config *config = &deployment->project.config;
    struct buf *out = &deployment->description;
    buf_adds(out, "{\"manifest\":");
    enum err_code code = worker_manifest(worker, out);
    if (code != ERR_NONE)
        return err_nomem(err);
    buf_adds(out, ",\"schedules\":{");
    bool any = false;
    for (size_t i = 0; i < worker->capability_count; i++) {
        const struct capability *capability = &worker->capabilities[i];
        struct buf text;
        if (capability->kind != CAPABILITY_SYNC && capability->kind != CAPABILITY_JOB)
            continue;
        buf_init(&text, 1024);
        schedule_describe(&capability->schedule, &text);
        buf_adds(out, any ? "," : "");
        json_write_text(out, capability->key);
        buf_addc(out, ':');
        json_write_text(out, buf_text(&text));
        any = true;
        buf_free(&text);
    }
    buf_adds(out, "},\"permissions\":{");
    write_list("net", &config->permissions.net, out);
    write_list("read", &config->permissions.read, out);
    write_list("env", &config->permissions.env, out);
    buf_adds(out, "}}");
    return buf_status(out, "the description", err);
}

/* A member of a member; an empty slice when it is not there. */
static struct json_slice member(const struct buf *description, const char *outer, const char *inner)
{
    struct json_slice slice = {"", 0}, found = {"", 0};
    if (json_find(buf_text(description), description->len, outer, &slice))
        json_find(slice.text, slice.len, inner, &found);
    return found;
}

/* ---- comparing ---- */

typedef void (*item_fn)(void *ctx, const struct json_slice *item);

static void each_item(const struct json_slice *array, item_fn each, void *ctx)
{
    struct json_scan scan;
    struct json_slice item;
    struct err ignored;
    bool more = false;
    json_scan_init(&scan, array->text, array->len);
    if (array->len == 0 || json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_ARRAY)
        return;
    while (json_scan_element(&scan, &more, &ignored) == ERR_NONE && more)
        if (json_scan_skip(&scan, &item, &ignored) == ERR_NONE)
            each(ctx, &item);
}

struct comparison {
    const struct json_slice *other; /* the array of the other side */
    const char *kind;               /* NULL: as the item says */
    const char *only, *differs; /* what an item is called that only this side has, or that differs; NULL: not
                                   said */
    struct buf *out;
    const struct json_slice *item;
    bool found, same;
};

static void look_for(void *ctx, const struct json_slice *item)
{
    struct comparison *comparison = ctx;
    const struct json_slice *wanted = comparison->item;
    struct json_slice a = *item, b = *wanted;
    bool objects = item->text[0] == '{' && wanted->text[0] == '{';
    if (objects &&
        (!json_find(item->text, item->len, "key", &a) || !json_find(wanted->text, wanted->len, "key", &b)))
        return;
    if (a.len != b.len || memcmp(a.text, b.text, a.len) != 0)
        return;
    comparison->found = true;
    comparison->same = item->len == wanted->len && memcmp(item->text, wanted->text, item->len) == 0;
}

#define CUSTOM_BLOCK "\"custom_block\"" /* what the original calls a view in the manifest */

static void say_item(const struct comparison *comparison, const char *change, const struct json_slice *item)
{
    struct buf *out = comparison->out;
    struct json_slice key = *item, kind;
    buf_adds(out, out->data[out->len - 1] == '[' ? "" : ",");
    buf_addf(out, "{\"change\":\"%s\",\"kind\":", change);
    if (comparison->kind != NULL)
        buf_addf(out, "\"%s\"", comparison->kind);
    else if (!json_find(item->text, item->len, "_tag", &kind))
        buf_adds(out, "\"capability\"");
    else if (kind.len == strlen(CUSTOM_BLOCK) && memcmp(kind.text, CUSTOM_BLOCK, kind.len) == 0)
        buf_adds(out, "\"view\"");
    else
        buf_add(out, kind.text, kind.len);
    bool object = json_find(item->text, item->len, "key", &key);
    buf_adds(out, object ? ",\"key\":" : ",\"value\":");
    buf_add(out, key.text, key.len);
    buf_addc(out, '}');
}

static void compare_item(void *ctx, const struct json_slice *item)
{
    struct comparison *comparison = ctx;
    comparison->item = item;
    comparison->found = comparison->same = false;
    each_item(comparison->other, look_for, comparison);
    if (!comparison->found && comparison->only != NULL)
        say_item(comparison, comparison->only, item);
    else if (comparison->found && !comparison->same && comparison->differs != NULL)
        say_item(comparison, comparison->differs, item);
}

/* Items that are gone, new, or others. */
static void compare(const struct deployment *deployment, const char *outer, const char *inner,
                    const char *kind, struct buf *out)
{
    const struct json_slice before = member(&deployment->before, outer, inner);
    const struct json_slice after = member(&deployment->description, outer, inner);
    struct comparison gone = {.other = &after, .kind = kind, .only = "removed", .out = out};
    struct comparison come = {
        .other = &before, .kind = kind, .only = "added", .differs = "changed", .out = out};
    each_item(&before, compare_item, &gone);
    each_item(&after, compare_item, &come);
}

/* Of capabilities that were there before and have another schedule now. */
static void compare_schedules(const struct deployment *deployment, struct buf *out)
{
    struct json_slice before, after = {"", 0}, was;
    struct json_scan scan;
    struct err ignored;
    bool more = false;
    if (!json_find(buf_text(&deployment->before), deployment->before.len, "schedules", &before) ||
        !json_find(buf_text(&deployment->description), deployment->description.len, "schedules", &after))
        return;
    json_scan_init(&scan, after.text, after.len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE)
        return;
    while (json_scan_member(&scan, &more, &ignored) == ERR_NONE && more) {
        struct buf key;
        struct json_slice now;
        buf_init(&key, 1024);
        json_string_copy(&scan, &key);
        if (json_scan_value(&scan, &ignored) != ERR_NONE ||
            json_scan_skip(&scan, &now, &ignored) != ERR_NONE) {
            buf_free(&key);
            return;
        }
        if (json_find(before.text, before.len, buf_text(&key), &was) &&
            (was.len != now.len || memcmp(was.text, now.text, now.len) != 0)) {
            buf_adds(out, out->data[out->len - 1] == '[' ? "{\"key\":" : ",{\"key\":");
            json_write_text(out, buf_text(&key));
            buf_addf(out, ",\"before\":%.*s,\"after\":%.*s}", (int)was.len, was.text, (int)now.len, now.text);
        }
        buf_free(&key);
    }
}

static void write_lines(const struct buf *lines, struct buf *out)
{
    const char *at = buf_text(lines);
    struct err ignored;
    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        buf_adds(out, out->data[out->len - 1] == '[' ? "" : ",");
        if (json_write_string(out, at, len, &ignored) != ERR_NONE)
            buf_adds(out, "\"\"");
        at += len + (at[len] == '\n');
    }
}

static void answer(const struct deployment *deployment, const char *status, int64_t number, struct buf *out)
{
    buf_addf(
        out,
        "{\"status\":\"%s\",\"version\":%lld,\"from\":%lld,\"digest\":\"%s\",\"files\":%lld,\"bytes\":%lld,"
        "\"changes\":[",
        status, (long long)number, (long long)deployment->active, deployment->info.digest,
        (long long)deployment->info.files, (long long)deployment->info.bytes);
    compare(deployment, "manifest", "credentials", "credential", out);
    compare(deployment, "manifest", "databases", "database", out);
    compare(deployment, "manifest", "pacers", "pacer", out);
    compare(deployment, "manifest", "capabilities", NULL, out);
    buf_adds(out, "],\"schedules\":[");
    compare_schedules(deployment, out);
    buf_adds(out, "],\"schema\":[");
    write_lines(&deployment->report, out);
    buf_adds(out, "],\"permissions\":[");
    compare(deployment, "permissions", "net", "net", out);
    compare(deployment, "permissions", "read", "read", out);
    compare(deployment, "permissions", "env", "env", out);
    buf_adds(out, "]}");
}

/* ---- the steps ---- */

static enum err_code open_store(struct deployment *deployment, struct err *err)
{
    char path[PATH_MAX];
    const struct deploy *deploy = deployment->deploy;
    snprintf(path, sizeof path, "%s/" PROJECT_VERSIONS, deploy->folder);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    snprintf(path, sizeof path, "%s/.workers", deploy->folder);
    enum err_code code = store_open(path, true, &deployment->store, err);
    if (code == ERR_NONE)
        code = store_version_active(deployment->store, &deployment->active, err);
    if (code == ERR_NONE && deployment->active > 0)
        code = store_version_read(deployment->store, deployment->active, NULL, &deployment->before,
                                  deployment->active_digest, err);
    return code;
}

static enum err_code take_pack(struct deployment *deployment, struct err *err)
{
    const struct deploy *deploy = deployment->deploy;
    char digest[PACK_DIGEST_SIZE];
    enum err_code code = ERR_NONE;
    if (deploy->pack != NULL)
        buf_add(&deployment->pack, deploy->pack, deploy->pack_len);
    else
        code = store_version_read(deployment->store, deploy->number, &deployment->pack, NULL, digest, err);
    if (code == ERR_NONE)
        code = buf_status(&deployment->pack, "the pack", err);
    return code == ERR_NONE
               ? pack_check(buf_text(&deployment->pack), deployment->pack.len, &deployment->info, err)
               : code;
}

/* What the script says while it loads is not for whoever deploys. */
static enum err_code load(struct deployment *deployment, struct err *err)
{
    char code_folder[PATH_MAX];
    struct script_error error;
    if (snprintf(code_folder, sizeof code_folder, "%s/" PROJECT_VERSIONS "/%s", deployment->deploy->folder,
                 deployment->info.digest) >= (int)sizeof code_folder)
        return err_set(err, ERR_INVALID, "the path of the worker is too long");
    enum err_code code = pack_unpack(buf_text(&deployment->pack), deployment->pack.len, code_folder, err);
    if (code == ERR_NONE)
        code = project_open_version(deployment->deploy->folder, code_folder, &deployment->project, err);
    if (code != ERR_NONE)
        return code;
    script_error_init(&error);
    code = project_load(&deployment->project, NULL, NULL, NULL, &deployment->runtime, &error);
    if (code != ERR_NONE)
        script_error_to_err(&error, err);
    script_error_free(&error);
    return code;
}

static enum err_code activate(struct deployment *deployment, int64_t *number, struct err *err)
{
    const struct deploy *deploy = deployment->deploy;
    const struct version_new version = {.digest = deploy->pack != NULL ? deployment->info.digest : NULL,
                                        .note = deploy->note != NULL ? deploy->note : "",
                                        .pack = &deployment->pack,
                                        .manifest = &deployment->description,
                                        .files = deployment->info.files,
                                        .bytes = deployment->info.bytes};
    *number = deploy->number;
    buf_clear(&deployment->report);
    return store_version_activate(deployment->store, deployment->runtime->worker, &version, number,
                                  &deployment->report, err);
}

static enum err_code run(struct deployment *deployment, struct buf *out, struct err *err)
{
    const struct deploy *deploy = deployment->deploy;
    int64_t number = deploy->number;
    enum err_code code = open_store(deployment, err);
    if (code == ERR_NONE)
        code = take_pack(deployment, err);
    if (code == ERR_NONE && deployment->active > 0 &&
        (deploy->pack != NULL ? strcmp(deployment->active_digest, deployment->info.digest) == 0
                              : deploy->number == deployment->active)) {
        buf_add(&deployment->description, buf_text(&deployment->before), deployment->before.len);
        answer(deployment, "unchanged", deployment->active, out);
        return buf_status(out, "the answer", err);
    }
    if (code == ERR_NONE)
        code = load(deployment, err);
    if (code == ERR_NONE)
        code = describe(deployment, err);
    if (code == ERR_NONE && deploy->plan)
        code = store_use_preview(deployment->store, deployment->runtime->worker, &deployment->report, err);
    else if (code == ERR_NONE)
        code = activate(deployment, &number, err);
    if (code == ERR_NONE)
        answer(deployment, deploy->plan ? "planned" : "deployed", number, out);
    return code == ERR_NONE ? buf_status(out, "the answer", err) : code;
}

/* ---- folders of versions that nobody keeps ---- */

#define UNFINISHED_S 3600 /* by then, whoever writes a folder has ended */

struct kept {
    const char *name;
    bool found;
};

static enum err_code compare_digest(void *ctx, const struct version_record *version)
{
    struct kept *kept = ctx;
    kept->found = kept->found || strcmp(version->digest, kept->name) == 0;
    return ERR_NONE;
}

static void remove_if_unused(struct deployment *deployment, const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    struct err ignored;
    struct kept kept = {.name = name};
    bool unfinished = strstr(name, PACK_UNFINISHED) != NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path || stat(path, &status) != 0)
        return;
    if (unfinished
            ? status.st_mtime < time(NULL) - UNFINISHED_S
            : strlen(name) == PACK_DIGEST_SIZE - 1 &&
                  store_versions_each(deployment->store, compare_digest, &kept, &ignored) == ERR_NONE &&
                  !kept.found)
        pack_remove(path);
}

/* Those of plans, and of versions that are not kept any more. */
static void remove_unused(struct deployment *deployment)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" PROJECT_VERSIONS, deployment->deploy->folder);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            remove_if_unused(deployment, path, entry->d_name);
    if (folder != NULL)
        closedir(folder);
}

enum err_code deploy_run(const struct deploy *deploy, struct buf *out, struct err *err)
{
    struct deployment deployment = {.deploy = deploy};
    buf_init(&deployment.pack, PACK_MAX);
    buf_init(&deployment.description, DESCRIPTION_MAX);
    buf_init(&deployment.before, DESCRIPTION_MAX);
    buf_init(&deployment.report, REPORT_MAX);
    enum err_code code = run(&deployment, out, err);
    if (deployment.store != NULL)
        remove_unused(&deployment);
    store_close(deployment.store);
    runtime_free(deployment.runtime);
    project_free(&deployment.project);
    buf_free(&deployment.pack);
    buf_free(&deployment.description);
    buf_free(&deployment.before);
    buf_free(&deployment.report);
    return code;
}
