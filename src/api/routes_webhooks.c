/* Webhooks. */
#include "api/routes.h"

#include "api/describe.h"

#include <stdio.h>

static void list_webhooks(struct api_request *request, struct store *store)
{
    const struct worker *worker = request->worker;
    buf_addc(&request->out, '[');
    for (size_t i = 0; i < worker->capability_count && request->code == ERR_NONE; i++) {
        const struct capability *webhook = &worker->capabilities[i];
        struct endpoint endpoint = {0};
        struct sync_info info = {0};
        char url[1024];
        if (webhook->kind != CAPABILITY_WEBHOOK)
            continue;
        request->code = store_endpoint_get(store, webhook->key, &endpoint, &request->err);
        if (request->code == ERR_NONE)
            request->code = store_sync_info(store, webhook->key, &info, &request->err);
        snprintf(url, sizeof url, "%s/webhooks/%s/%s/%s", request->url, request->name, endpoint.secret,
                 webhook->key);
        api_comma(&request->out);
        describe_webhook(webhook, &endpoint, info.paused, url, &request->out);
        sync_info_free(&info);
    }
    buf_addc(&request->out, ']');
}

static void reset_webhook(struct api_request *request, struct store *store)
{
    request->code = store_endpoint_reset(store, request->capability->key, &request->err);
    api_done(request);
}

static void rotate_webhook(struct api_request *request, struct store *store)
{
    request->code = store_endpoint_rotate(store, request->capability->key, &request->err);
    api_done(request);
}

const struct route webhook_routes[] = {
    {.method = "GET",
     .path = "/webhooks",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_MAKES | ROUTE_WRITES,
     .id = "listWebhooks",
     .summary = "Webhooks with their addresses",
     .success = 200,
     .work = list_webhooks},
    {.method = "POST",
     .path = "/webhooks/{key}/reset",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_WEBHOOK,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "resetWebhook",
     .summary = "Opens a webhook again that was closed",
     .success = 200,
     .work = reset_webhook},
    {.method = "POST",
     .path = "/webhooks/{key}/rotate",
     .scope = TOKEN_ADMIN,
     .capability = CAPABILITY_WEBHOOK,
     .needs = ROUTE_WORKER | ROUTE_MAKES | ROUTE_WRITES,
     .id = "rotateWebhook",
     .summary = "Gives a webhook a new address",
     .success = 200,
     .work = rotate_webhook},
    {0},
};
