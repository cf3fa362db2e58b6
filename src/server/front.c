/* The way of a request to whoever answers it. */
#include "server/front.h"

#include "api/route.h"
#include "base/mem.h"
#include "server/answer.h"
#include "server/api.h"
#include "server/mcp_http.h"
#include "server/oauth_return.h"
#include "server/views.h"
#include "worker/pack.h"

#include <string.h>
#include <unistd.h>

#define HEADER_MAX ((size_t)16 * 1024)
#define BODY_MAX ((size_t)1024 * 1024) /* but for webhooks */
#define PACK_BODY_MAX (PACK_MAX + (size_t)64 * 1024)
#define BODIES_MAX ((size_t)256 * 1024 * 1024)
#define REQUEST_MS 20000
#define CONNECTIONS_MAX 10000

struct front {
    struct http_server *http;
    struct ingress ingress;
    struct api api;
    struct mcp_http *mcp;
    struct oauth_returns returns;
    struct views views;
    bool stopping;
};

static bool begins_with(const char *path, const char *prefix)
{
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

/* "/api/v1/workers/NAME/versions" */
static bool takes_pack(const char *path)
{
    size_t len = strlen(path), end = strlen("/versions");
    return begins_with(path, API_ROOT "/workers/") && len > end && strcmp(path + len - end, "/versions") == 0;
}

static void on_begin(void *ctx, struct http_call *call)
{
    (void)ctx;
    if (begins_with(http_call_path(call), INGRESS_PATH))
        http_call_set_body_max(call, INGRESS_BODY_MAX);
    else if (takes_pack(http_call_path(call)))
        http_call_set_body_max(call, PACK_BODY_MAX);
}

/* Of this process alone: when several share the address, whichever was asked answers. */
static void answer_metrics(const struct front *front, struct http_call *call)
{
    static const struct http_answer_field type = {"content-type", "text/plain; version=0.0.4; charset=utf-8"};
    struct http_server_counts http;
    const struct ingress_counts *webhooks = &front->ingress.counts;
    struct buf out;
    buf_init(&out, 16 * 1024);
    http_server_get_counts(front->http, &http);
    const struct {
        const char *name, *type, *help, *labels;
        int64_t value;
    } metrics[] = {
        {"workers_http_connections", "gauge", "Connections that are open.", "", (int64_t)http.connections},
        {"workers_http_requests_total", "counter", "Requests.", "", (int64_t)http.requests},
        {"workers_http_dropped_total", "counter", "Connections closed by the server.", ",why=\"slow\"",
         (int64_t)http.too_slow},
        {"workers_http_dropped_total", NULL, NULL, ",why=\"room\"", (int64_t)http.evicted},
        {"workers_webhook_requests_total", "counter", "Requests for webhooks, by what became of them.",
         ",result=\"accepted\"", webhooks->accepted},
        {"workers_webhook_requests_total", NULL, NULL, ",result=\"repeated\"", webhooks->repeated},
        {"workers_webhook_requests_total", NULL, NULL, ",result=\"refused\"", webhooks->refused},
        {"workers_webhook_requests_total", NULL, NULL, ",result=\"limited\"", webhooks->limited},
        {"workers_webhook_requests_total", NULL, NULL, ",result=\"failed\"", webhooks->failed},
        {"workers_hosted", "gauge", "Workers that are served.", "",
         (int64_t)hosting_count(front->ingress.hosting)},
    };
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        if (metrics[i].type != NULL)
            buf_addf(&out, "# HELP %s %s\n# TYPE %s %s\n", metrics[i].name, metrics[i].help, metrics[i].name,
                     metrics[i].type);
        buf_addf(&out, "%s{process=\"%ld\"%s} %lld\n", metrics[i].name, (long)getpid(), metrics[i].labels,
                 (long long)metrics[i].value);
    }
    http_call_answer(call, 200, &type, 1, buf_text(&out), out.len);
    buf_free(&out);
}

static void on_request(void *ctx, struct http_call *call)
{
    struct front *front = ctx;
    const char *path = http_call_path(call);
    if (begins_with(path, INGRESS_PATH))
        ingress_request(&front->ingress, call);
    else if (api_answer(&front->api, call) || mcp_http_answer(front->mcp, call))
        return;
    else if (begins_with(path, VIEWS_PATH))
        views_request(&front->views, call);
    else if (strcmp(path, OAUTH_CALLBACK_PATH) == 0)
        oauth_returns_request(&front->returns, call);
    else if (strcmp(path, "/metrics") == 0)
        answer_metrics(front, call);
    else if (strcmp(path, "/healthz") == 0)
        answer_json(call, 200, "{\"status\":\"ok\"}", 15);
    else if (strcmp(path, "/readyz") == 0 && !front->stopping)
        answer_json(call, 200, "{\"status\":\"ready\"}", 18);
    else if (strcmp(path, "/readyz") == 0)
        answer_error_later(call, 503, "5", "stopping", "the server stops");
    else
        answer_error(call, 404, "not_found", "there is nothing at this path");
}

static void on_gone(void *ctx, struct http_call *call)
{
    (void)ctx;
    if (begins_with(http_call_path(call), INGRESS_PATH))
        ingress_gone(call);
    else if (strcmp(http_call_path(call), OAUTH_CALLBACK_PATH) == 0)
        oauth_return_gone(call);
    else if (mcp_http_owns(http_call_path(call)))
        mcp_http_gone(call);
    else
        api_gone(call);
}

enum err_code front_new(const struct front_options *options, struct front **out, struct err *err)
{
    *out = NULL;
    struct front *front = mem_need(sizeof *front);
    front->ingress = (struct ingress){.hosting = options->hosting, .say = options->say, .ctx = options->ctx};
    front->views = (struct views){.hosting = options->hosting};
    memcpy(front->views.secret, options->views_secret, sizeof front->views.secret);
    front->returns = (struct oauth_returns){.hosting = options->hosting};
    front->api = (struct api){.hosting = options->hosting, .loop = options->loop, .url = options->url};
    const struct http_server_options http = {.listen_fd = options->listen_fd,
                                             .header_max = HEADER_MAX,
                                             .body_max = BODY_MAX,
                                             .bodies_max = BODIES_MAX,
                                             .request_ms = REQUEST_MS,
                                             .connections_max = CONNECTIONS_MAX,
                                             .begin = on_begin,
                                             .request = on_request,
                                             .gone = on_gone,
                                             .ctx = front};
    enum err_code code = mcp_http_new(options->loop, &front->api, &front->mcp, err);
    if (code == ERR_NONE)
        code = http_server_new(options->loop, &http, &front->http, err);
    if (code != ERR_NONE) {
        mcp_http_free(front->mcp);
        mem_free(front);
        return code;
    }
    *out = front;
    return ERR_NONE;
}

void front_changed(struct front *front, const char *worker)
{
    mcp_http_changed(front->mcp, worker);
}

void front_stop(struct front *front)
{
    front->stopping = true;
    mcp_http_stop(front->mcp);
    http_server_stop(front->http);
}

bool front_is_idle(const struct front *front)
{
    return http_server_idle(front->http) && front->api.changing == 0;
}

void front_free(struct front *front)
{
    if (front == NULL)
        return;
    http_server_free(front->http);
    mcp_http_free(front->mcp);
    mem_free(front);
}
