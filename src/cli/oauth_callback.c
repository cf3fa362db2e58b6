/* Waiting for a browser that comes back from a provider. */
#include "cli/oauth_callback.h"

#include "base/mem.h"
#include "base/text.h"
#include "cli/remote.h"
#include "net/http_listen.h"
#include "net/http_server.h"
#include "net/url.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 4096

struct oauth_callback {
    struct http_server *server;
    int fd;
    char *path, *state;
    oauth_came_fn came; /* NULL when it has been called */
    void *ctx;
};

/* The value of a query's parameter; false when it is not there, or too long. */
static bool find(const char *query, const char *name, char out[TEXT_MAX])
{
    struct url_slice value;
    if (!url_find_parameter(query, name, &value) || value.len >= TEXT_MAX)
        return false;
    out[url_decode_loose(out, value.text, value.len, true)] = '\0';
    return true;
}

static void say(struct http_call *call, int status, const char *text)
{
    static const struct http_answer_field fields[] = {{"content-type", "text/html; charset=utf-8"},
                                                      {"content-security-policy", "default-src 'none'"},
                                                      {"connection", "close"}};
    char page[512];
    int len = snprintf(page, sizeof page, "<!doctype html><title>workers</title><p>%s</p>\n", text);
    http_call_answer(call, status, fields, 3, page, (size_t)len);
}

static void on_request(void *ctx, struct http_call *call)
{
    struct oauth_callback *callback = ctx;
    const char *query = http_call_query(call);
    char code[TEXT_MAX] = "", error[TEXT_MAX] = "", description[TEXT_MAX] = "", state[TEXT_MAX] = "";
    if (strcmp(http_call_path(call), callback->path) != 0) {
        say(call, 404, "There is nothing here.");
        return;
    }
    bool has_code = find(query, "code", code), has_error = find(query, "error", error);
    find(query, "error_description", description);
    if (!find(query, "state", state) || strcmp(state, callback->state) != 0 || (!has_code && !has_error)) {
        say(call, 400,
            "This is not the answer to the request that waits here. Start again: workers oauth start");
        return;
    }
    say(call, has_error ? 400 : 200,
        has_error ? "Access was not given. You can close this page."
                  : "Access was given. You can close this page.");
    text_make_plain(error, strlen(error));
    text_make_plain(description, strlen(description));
    oauth_came_fn came = callback->came;
    callback->came = NULL;
    if (came != NULL)
        came(callback->ctx, has_error ? NULL : code, has_error ? error : NULL, description);
}

enum err_code oauth_callback_open(uv_loop_t *loop, const char *url, const char *state, oauth_came_fn came,
                                  void *ctx, struct oauth_callback **out, struct err *err)
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
    *callback = (struct oauth_callback){.fd = -1, .came = came, .ctx = ctx};
    callback->path = mem_need_str(host[len] == '/' ? host + len : "/");
    callback->path[strcspn(callback->path, "?")] = '\0';
    callback->state = mem_need_str(state);
    enum err_code code = http_listen(address, &callback->fd, NULL, err);
    const struct http_server_options options = {.listen_fd = callback->fd,
                                                .header_max = 16384,
                                                .body_max = 1024,
                                                .bodies_max = 65536,
                                                .request_ms = 30000,
                                                .connections_max = 64,
                                                .request = on_request,
                                                .ctx = callback};
    if (code == ERR_NONE)
        code = http_server_new(loop, &options, &callback->server, err);
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
    http_server_free(callback->server);
    if (callback->fd >= 0)
        close(callback->fd);
    mem_free(callback->path);
    mem_free(callback->state);
    mem_free(callback);
}
