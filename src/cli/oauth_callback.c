/* Waiting for a browser that comes back from a provider. */
#include "cli/oauth_callback.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/remote.h"
#include "net/http_listen.h"
#include "net/http_server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_MS 2000 /* a browser that does not read its page for so long will not */

struct oauth_callback {
    struct runtime *runtime;
    struct http_server *server;
    int fd;
    char *path;
    oauth_returned_fn over;
    void *ctx;
};

static void on_request(void *ctx, struct http_call *call)
{
    struct oauth_callback *callback = ctx;
    if (strcmp(http_call_path(call), callback->path) == 0)
        oauth_return(callback->runtime, call, callback->over, callback->ctx);
    else
        http_call_answer(call, 404, NULL, 0, "There is nothing here.\n", 23);
}

static void on_gone(void *ctx, struct http_call *call)
{
    (void)ctx;
    oauth_return_gone(call);
}

enum err_code oauth_callback_open(struct runtime *runtime, const char *url, oauth_returned_fn over, void *ctx,
                                  struct oauth_callback **out, struct err *err)
{
    char address[256];
    *out = NULL;
    const char *host = strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
    if (host == NULL || !remote_is_loopback(url))
        return err_set(err, ERR_INVALID,
                       "callbackUrl %s is not on this machine: workers oauth start can wait only at a URL "
                       "such as " OAUTH_CALLBACK_URL,
                       url);
    size_t len = strcspn(host, "/?");
    snprintf(address, sizeof address, "%.*s%s", (int)(len < 200 ? len : 200), host,
             memchr(host, ':', len) == NULL ? ":80" : "");
    struct oauth_callback *callback = mem_need(sizeof *callback);
    *callback = (struct oauth_callback){.runtime = runtime, .fd = -1, .over = over, .ctx = ctx};
    callback->path = mem_need_str(host[len] == '/' ? host + len : "/");
    callback->path[strcspn(callback->path, "?")] = '\0';
    enum err_code code = http_listen(address, &callback->fd, NULL, err);
    const struct http_server_options options = {.listen_fd = callback->fd,
                                                .header_max = 16384,
                                                .body_max = 1024,
                                                .bodies_max = 65536,
                                                .request_ms = 30000,
                                                .connections_max = 64,
                                                .request = on_request,
                                                .gone = on_gone,
                                                .ctx = callback};
    if (code == ERR_NONE)
        code = http_server_new(runtime->loop, &options, &callback->server, err);
    if (code != ERR_NONE) {
        oauth_callback_close(callback);
        return code;
    }
    *out = callback;
    return ERR_NONE;
}

void oauth_callback_close(struct oauth_callback *callback)
{
    if (callback == NULL)
        return;
    int64_t end_ms = clock_mono_ms() + FLUSH_MS;
    if (callback->server != NULL)
        http_server_stop(callback->server);
    while (callback->server != NULL && !http_server_idle(callback->server) && clock_mono_ms() < end_ms)
        uv_run(callback->runtime->loop, UV_RUN_NOWAIT);
    http_server_free(callback->server);
    if (callback->fd >= 0)
        close(callback->fd);
    mem_free(callback->path);
    mem_free(callback);
}
