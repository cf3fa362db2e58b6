/* What was deployed, and deploying. */
#include "api/routes.h"

#include "base/iso8601.h"

#include <stdlib.h>
#include <string.h>

#define NOTE_MAX 200

static enum err_code add_version(void *ctx, const struct version_record *version)
{
    struct api_request *request = ctx;
    char created[ISO_UTC_SIZE], activated[ISO_UTC_SIZE];
    api_comma(&request->out);
    buf_addf(&request->out,
             "{\"version\":%lld,\"active\":%s,\"digest\":\"%s\",\"files\":%lld,\"bytes\":%lld,\"createdAt\":"
             "\"%s\","
             "\"activatedAt\":\"%s\",\"note\":",
             (long long)version->number, version->active ? "true" : "false", version->digest,
             (long long)version->files, (long long)version->bytes,
             iso_format_utc(version->created_ms, created), iso_format_utc(version->activated_ms, activated));
    json_write_text(&request->out, version->note);
    buf_addc(&request->out, '}');
    return ERR_NONE;
}

static void list_versions(struct api_request *request, struct store *store)
{
    buf_addc(&request->out, '[');
    request->code = store_versions_each(store, add_version, request, &request->err);
    buf_addc(&request->out, ']');
}

/* The folder of the worker, without the store's own. */
static bool worker_folder(struct api_request *request, char *out, size_t size)
{
    size_t len = strlen(request->folder), last = strlen("/.workers");
    if (len <= last || len - last >= size) {
        request->code = err_set(&request->err, ERR_INTERNAL, "the store's folder is not where it should be");
        return false;
    }
    memcpy(out, request->folder, len - last);
    out[len - last] = '\0';
    return true;
}

/* A worker that is served from its own folder is not overwritten by what somebody sends. */
static bool takes_versions(struct api_request *request)
{
    struct store *store = NULL;
    int64_t active = 0;
    enum err_code code = store_open(request->folder, false, &store, &request->err);
    if (code == ERR_NONE)
        code = store_version_active(store, &active, &request->err);
    store_close(store);
    if (code == ERR_NONE && active == 0)
        code = err_set(
            &request->err, ERR_CONFLICT,
            "the worker \"%s\" is served from its own folder: deploy to a name that the home has, or that "
            "workers create makes",
            request->name);
    request->code = code;
    return code == ERR_NONE;
}

static void run(struct api_request *request, struct deploy *deploy)
{
    char folder[4096], note[NOTE_MAX + 1] = "";
    struct json_scan scan;
    if (api_body_text(request, "note", &scan) && scan.string.len > 0 &&
        !api_body_needs(request, "note", note, sizeof note))
        return;
    if (!takes_versions(request) || !worker_folder(request, folder, sizeof folder))
        return;
    deploy->folder = folder;
    deploy->plan = api_body_flag(request, "plan");
    deploy->note = note;
    request->code = request->deploy(deploy, &request->out, &request->err);
}

static void deploy_version(struct api_request *request, struct store *store)
{
    struct json_slice pack;
    (void)store;
    if (!api_body_member(request, "pack", &pack)) {
        request->code = err_set(&request->err, ERR_INVALID, "the body needs \"pack\", an object");
        return;
    }
    struct deploy deploy = {.pack = pack.text, .pack_len = pack.len};
    run(request, &deploy);
}

static void activate_version(struct api_request *request, struct store *store)
{
    char *end = NULL;
    struct deploy deploy = {.number = strtoll(request->parameters[0], &end, 10)};
    (void)store;
    if (*end != '\0' || deploy.number < 1)
        request->code =
            err_set(&request->err, ERR_NOT_FOUND, "there is no version \"%s\": workers versions lists them",
                    request->parameters[0]);
    else
        run(request, &deploy);
}

const struct route version_routes[] = {
    {.method = "GET",
     .path = "/versions",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "listVersions",
     .summary = "What was deployed, newest first",
     .success = 200,
     .work = list_versions},
    {.method = "POST",
     .path = "/versions",
     .scope = TOKEN_ADMIN,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .id = "deployVersion",
     .summary = "Deploys a version, or says what that would change",
     .body = "{\"type\":\"object\",\"required\":[\"pack\"],\"properties\":{\"pack\":{\"type\":\"object\"},"
             "\"plan\":{"
             "\"type\":\"boolean\"},\"note\":{\"type\":\"string\"}}}",
     .success = 200,
     .work = deploy_version},
    {.method = "POST",
     .path = "/versions/{version}/activate",
     .scope = TOKEN_ADMIN,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .id = "activateVersion",
     .summary = "Makes an earlier version the active one, or says what that would change",
     .body = "{\"type\":\"object\",\"properties\":{\"plan\":{\"type\":\"boolean\"}}}",
     .success = 200,
     .work = activate_version},
    {.method = "PATCH",
     .path = "",
     .scope = TOKEN_ADMIN,
     .kind = ROUTE_HOME,
     .capability = ROUTE_NONE,
     .id = "renameWorker",
     .summary = "Gives a worker of the home another name",
     .body = "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"}}}",
     .success = 200},
    {.method = "DELETE",
     .path = "",
     .scope = TOKEN_ADMIN,
     .kind = ROUTE_HOME,
     .capability = ROUTE_NONE,
     .id = "deleteWorker",
     .summary = "Takes a worker out of the home; its folder is kept",
     .success = 200},
    {0},
};
