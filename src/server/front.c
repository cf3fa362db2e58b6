/* The way of a request to whoever answers it. */
#include "server/front.h"

#include "base/mem.h"
#include "server/answer.h"

#include <string.h>

#define HEADER_MAX ((size_t)32 * 1024)
#define BODY_MAX ((size_t)1024 * 1024) /* but for webhooks */
#define REQUEST_MS 20000
#define CONNECTIONS_MAX 10000

struct front {
    struct http_server *http;
    struct ingress ingress;
    bool stopping;
};

static bool begins_with(const char *path, const char *prefix)
{
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

static void on_begin(void *ctx, struct http_call *call)
{
    (void)ctx;
    if (begins_with(http_call_path(call), INGRESS_PATH))
        http_call_set_body_max(call, INGRESS_BODY_MAX);
}

static void on_request(void *ctx, struct http_call *call)
{
    struct front *front = ctx;
    const char *path = http_call_path(call);
    if (begins_with(path, INGRESS_PATH))
        ingress_request(&front->ingress, call);
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
    ingress_gone(call);
}

enum err_code front_new(const struct front_options *options, struct front **out, struct err *err)
{
    *out = NULL;
    struct front *front = mem_need(sizeof *front);
    front->ingress = (struct ingress){.hosting = options->hosting, .say = options->say, .ctx = options->ctx};
    const struct http_server_options http = {.listen_fd = options->listen_fd,
                                             .header_max = HEADER_MAX,
                                             .body_max = BODY_MAX,
                                             .request_ms = REQUEST_MS,
                                             .connections_max = CONNECTIONS_MAX,
                                             .begin = on_begin,
                                             .request = on_request,
                                             .gone = on_gone,
                                             .ctx = front};
    enum err_code code = http_server_new(options->loop, &http, &front->http, err);
    if (code != ERR_NONE) {
        mem_free(front);
        return code;
    }
    *out = front;
    return ERR_NONE;
}

void front_stop(struct front *front)
{
    front->stopping = true;
    http_server_stop(front->http);
}

bool front_is_idle(const struct front *front)
{
    return http_server_idle(front->http);
}

void front_free(struct front *front)
{
    if (front == NULL)
        return;
    http_server_free(front->http);
    mem_free(front);
}
