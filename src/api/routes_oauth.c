/* Access that people give by OAuth. Must not answer any token, code or secret. */
#include "api/routes.h"

#include "base/clock.h"
#include "base/iso8601.h"

#include <string.h>

static void add_access(struct api_request *request, const struct oauth *oauth, const struct grant *grant)
{
    static const char *const grants[] = {
        [OAUTH_CODE] = "code", [OAUTH_CLIENT] = "client", [OAUTH_DEVICE] = "device"};
    struct buf *out = &request->out;
    char time[ISO_UTC_SIZE];
    bool expired = grant->expires_ms != 0 && grant->expires_ms <= clock_now_ms();
    bool renewable = grant->refresh != NULL || oauth->grant == OAUTH_CLIENT;
    api_comma(out);
    buf_adds(out, "{\"key\":");
    json_write_text(out, oauth->key);
    buf_adds(out, ",\"name\":");
    json_write_text(out, oauth->name);
    buf_addf(out, ",\"grant\":\"%s\",\"state\":\"%s\",\"renewable\":%s", grants[oauth->grant],
             grant->access == NULL && oauth->grant != OAUTH_CLIENT ? "none"
             : expired && !renewable                               ? "expired"
                                                                   : "good",
             renewable ? "true" : "false");
    if (grant->expires_ms != 0)
        buf_addf(out, ",\"expiresAt\":\"%s\"", iso_format_utc(grant->expires_ms, time));
    if (grant->generation > 0)
        buf_addf(out, ",\"changedAt\":\"%s\"", iso_format_utc(grant->updated_ms, time));
    if (grant->scope != NULL) {
        buf_adds(out, ",\"scope\":");
        json_write_text(out, grant->scope);
    }
    if (oauth->callback_url != NULL) {
        buf_adds(out, ",\"callbackUrl\":");
        json_write_text(out, oauth->callback_url);
    }
    buf_addc(out, '}');
}

static void list_access(struct api_request *request, struct store *store)
{
    const struct worker *worker = request->worker;
    buf_addc(&request->out, '[');
    for (size_t i = 0; i < worker->oauth_count && request->code == ERR_NONE; i++) {
        struct grant grant = {0};
        if (store != NULL)
            request->code = store_grant_get(store, worker->oauths[i].key, &grant, &request->err);
        if (request->code == ERR_NONE)
            add_access(request, &worker->oauths[i], &grant);
        grant_free(&grant);
    }
    buf_addc(&request->out, ']');
}

static void get_redirect_url(struct api_request *request, struct store *store)
{
    struct buf url;
    (void)store;
    if (strncmp(request->url, "http", 4) != 0) { /* a socket file */
        request->code =
            err_set(&request->err, ERR_INVALID,
                    "a browser cannot come back to %s: start the server with --url https://…", request->url);
        return;
    }
    buf_init(&url, BUF_UNLIMITED);
    buf_addf(&url, "%s" OAUTH_CALLBACK_PATH, request->url);
    buf_adds(&request->out, "{\"url\":");
    json_write_text(&request->out, buf_text(&url));
    buf_addc(&request->out, '}');
    buf_free(&url);
}

const struct route oauth_routes[] = {
    {.method = "GET",
     .path = "/oauth",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "listAccess",
     .summary = "Which access there is, without its tokens",
     .success = 200,
     .work = list_access},
    {.method = "GET",
     .path = "/oauth/redirect-url",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_BARE,
     .id = "getRedirectUrl",
     .summary = "Where people come back to, unless the script says",
     .success = 200,
     .work = get_redirect_url},
    {.method = "POST",
     .path = "/oauth/{key}/start",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .kind = ROUTE_ACCESS_START,
     .id = "startAccess",
     .summary = "Asks for access: answers what a person has to do for it",
     .success = 200},
    {.method = "POST",
     .path = "/oauth/{key}/requests/{id}",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .kind = ROUTE_ACCESS_LOOK,
     .id = "lookAtAccess",
     .summary = "How a request for access stands; of a device the provider is asked, when it is time",
     .success = 200},
    {.method = "DELETE",
     .path = "/oauth/{key}",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .kind = ROUTE_ACCESS_REVOKE,
     .id = "revokeAccess",
     .summary = "Gives access back, and forgets it",
     .success = 200},
    {0},
};
