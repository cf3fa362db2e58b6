/* Asking a server. */
#include "cli/remote.h"

#include "api/route.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/address.h"
#include "net/http_client.h"
#include "net/url.h"

#include <string.h>

#define ANSWER_MAX ((size_t)256 * 1024 * 1024)

struct remote {
    uv_loop_t loop;
    struct http_client *client;
    char *url; /* without a slash at its end */
    char *token;
};

struct exchange {
    struct http_response *response;
    struct err *err; /* of a failure */
    bool failed;
};

/* ---- opening ---- */

bool remote_is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    return address_names_loopback(host, strcspn(host, "/?#"));
}

enum err_code remote_open(const char *url, const char *token, struct remote **out, struct err *err)
{
    *out = NULL;
    bool tls = strncmp(url, "https://", 8) == 0;
    if (!tls && strncmp(url, "http://", 7) != 0)
        return err_set(err, ERR_INVALID,
                       "a server is named by its URL, such as https://workers.example.com, or by"
                       " the word local; not by \"%.100s\"",
                       url);
    size_t len = strlen(url);
    if (strpbrk(url, "@?#") != NULL || url[tls ? 8 : 7] == '\0')
        return err_set(err, ERR_INVALID, "the URL of a server has a host, and no user, query or fragment");
    if (!tls && !remote_is_loopback(url))
        return err_set(err, ERR_DENIED,
                       "%s would get the token in the clear: use https://, or a tunnel (ssh -L "
                       "8321:localhost:8321 HOST) and http://localhost:8321",
                       url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    struct remote *remote = mem_zalloc(sizeof *remote);
    if (remote == NULL)
        return err_nomem(err);
    remote->url = mem_strndup(url, len);
    remote->token = mem_strndup(token, strlen(token));
    if (uv_loop_init(&remote->loop) != 0) {
        mem_free(remote->url);
        mem_free(remote->token);
        mem_free(remote);
        return err_set(err, ERR_IO, "cannot start the event loop");
    }
    remote->client = http_client_new(&remote->loop, err);
    *out = remote;
    if (remote->client != NULL && remote->url != NULL && remote->token != NULL)
        return ERR_NONE;
    remote_close(remote);
    *out = NULL;
    return err_nomem(err);
}

void remote_close(struct remote *remote)
{
    if (remote == NULL)
        return;
    http_client_free(remote->client);
    uv_run(&remote->loop, UV_RUN_DEFAULT);
    uv_loop_close(&remote->loop);
    mem_free(remote->url);
    mem_free(remote->token);
    mem_free(remote);
}

/* ---- answers ---- */

/* The message of {"error":{"message":…}}, without what would drive the terminal; false when there is none. */
static bool find_message(const struct http_response *response, struct buf *out)
{
    struct json_slice error;
    struct json_scan scan;
    if (!json_find(response->body, response->body_len, "error", &error) ||
        !json_find_string(error.text, error.len, "message", &scan))
        return false;
    json_string_copy(&scan, out);
    if (out->len > 0)
        text_make_plain(out->data, out->len);
    return true;
}

static enum err_code refused(const struct remote *remote, const struct http_response *response,
                             struct err *err)
{
    struct json_slice error, word;
    struct buf message;
    buf_init(&message, BUF_UNLIMITED);
    enum err_code code = ERR_INVALID;
    bool said = find_message(response, &message);
    if (!said && response->status >= 300 && response->status <= 399)
        code = err_set(err, code, "%s sends elsewhere (status %d); give the address it has there",
                       remote->url, response->status);
    else if (!said)
        code =
            err_set(err, code,
                    "%s did not answer as workers serve does (status %d): is it the right URL, and does the"
                    " server run?",
                    remote->url, response->status);
    else if (response->status == 401)
        code = err_set(
            err, ERR_DENIED,
            "%s does not know the token, or does not serve this worker: make a token in the project there"
            " (workers tokens make NAME --scope admin) and set WORKERS_TOKEN to it",
            remote->url);
    else if (json_find(response->body, response->body_len, "error", &error) &&
             json_find(error.text, error.len, "code", &word) && word.len == 11 &&
             memcmp(word.text, "\"forbidden\"", 11) == 0)
        code = err_set(err, ERR_DENIED, "%s: %s", remote->url, buf_text(&message));
    else
        code = err_set(err, response->status == 404 ? ERR_NOT_FOUND : ERR_INVALID, "%s", buf_text(&message));
    buf_free(&message);
    return code;
}

/* ---- asking ---- */

static void done(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct exchange *exchange = ctx;
    exchange->response = response;
    exchange->failed = failure != NULL;
    if (failure != NULL)
        err_set(exchange->err, ERR_IO, "%s", failure->message);
}

enum err_code remote_ask(struct remote *remote, const struct remote_question *question, struct buf *answer,
                         struct err *err)
{
    static const struct http_field fields[] = {{{"Content-Type", 12}, {"application/json", 16}}};
    struct exchange exchange = {.err = err};
    struct http_request request;
    struct buf url;
    buf_init(&url, BUF_UNLIMITED);
    buf_addf(&url, "%s" API_ROOT "%s", remote->url, question->path);
    http_request_init(&request);
    request.method = http_slice(question->method);
    request.url = (struct http_slice){buf_text(&url), url.len};
    request.bearer = http_slice(remote->token);
    request.timeout_ms = question->timeout_ms;
    request.max_body = ANSWER_MAX;
    request.max_redirects = 0;
    request.environment_proxy = !remote_is_loopback(remote->url);
    if (question->body != NULL) {
        request.has_body = true;
        request.body = (struct http_slice){question->body, question->body_len};
        request.headers = fields;
        request.header_count = 1;
    }
    enum err_code code = buf_status(&url, "the URL", err);
    if (code == ERR_NONE)
        code = http_client_send(remote->client, &request, done, &exchange, NULL, err);
    while (code == ERR_NONE && exchange.response == NULL && !exchange.failed)
        uv_run(&remote->loop, UV_RUN_ONCE);
    buf_free(&url);
    if (code == ERR_NONE && exchange.failed)
        code = err_context(err, "%s cannot be asked", remote->url);
    struct http_response *response = exchange.response;
    struct err ignored;
    if (code == ERR_NONE && (response->status < 200 || response->status > 299 ||
                             json_check(response->body, response->body_len, &ignored) != ERR_NONE))
        code = refused(remote, response, err);
    if (code == ERR_NONE) {
        buf_add(answer, response->body, response->body_len);
        code = buf_status(answer, "the answer", err);
    }
    http_response_free(response);
    return code;
}
