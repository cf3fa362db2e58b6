/* Browsers that come back from a provider. Whoever comes, with whatever: nothing changes unless the state is
 * one that waits, and nothing that it brings is shown as HTML. */
#include "server/oauth_return.h"

#include "base/html.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/url.h"

#include <string.h>

#define TEXT_MAX 4096
#define UNDER_WAY_MAX 16 /* at once: anybody may come */

struct visit {
    struct http_call *call; /* NULL when the browser has left */
    oauth_returned_fn over;
    void *ctx;
};

/* ---- the page ---- */

static void show(struct http_call *call, int status, const char *text, const char *detail)
{
    static const struct http_answer_field fields[] = {{"content-type", "text/html; charset=utf-8"},
                                                      {"content-security-policy", "default-src 'none'"},
                                                      {"x-content-type-options", "nosniff"},
                                                      {"referrer-policy", "no-referrer"},
                                                      {"cache-control", "no-store"}};
    struct buf page;
    buf_init(&page, (size_t)64 * 1024);
    buf_addf(&page, "<!doctype html><title>workers</title><p>%s</p>\n", text);
    if (detail != NULL) {
        buf_adds(&page, "<p>");
        html_escape(&page, detail, strlen(detail));
        buf_adds(&page, "</p>\n");
    }
    http_call_answer(call, status, fields, sizeof fields / sizeof fields[0], buf_text(&page), page.len);
    buf_free(&page);
}

void oauth_return_refuse(struct http_call *call)
{
    show(call, 400,
         "This is not the answer to a request that waits here: it has been answered before, or it came too"
         " late. Nothing has changed. Start again: workers oauth start",
         NULL);
}

void oauth_return_gone(struct http_call *call)
{
    struct visit *visit = http_call_user(call);
    if (visit != NULL)
        visit->call = NULL;
}

/* ---- what the browser brings ---- */

/* The value of a parameter of the query; false when it is not there, or too long. */
static bool find(const struct http_call *call, const char *name, char out[TEXT_MAX])
{
    struct url_slice value;
    if (!url_find_parameter(http_call_query(call), name, &value) || value.len >= TEXT_MAX)
        return false;
    out[url_decode_loose(out, value.text, value.len, true)] = '\0';
    return true;
}

static void told(void *ctx, enum err_code code, const struct buf *json, const struct err *err)
{
    struct visit *visit = ctx;
    (void)json;
    if (visit->call != NULL) {
        http_call_set_user(visit->call, NULL);
        if (code == ERR_NONE)
            show(visit->call, 200, "Access was given. You can close this page.", NULL);
        else if (code == ERR_NOT_FOUND)
            oauth_return_refuse(visit->call);
        else
            show(visit->call, 400, "Access was not given. You can close this page.", err->message);
    }
    visit->over(visit->ctx, code != ERR_NOT_FOUND, code, err);
    mem_free(visit);
}

void oauth_return(struct runtime *runtime, struct http_call *call, oauth_returned_fn over, void *ctx)
{
    char code[TEXT_MAX] = "", error[TEXT_MAX] = "", text[TEXT_MAX] = "", state[TEXT_MAX] = "",
         issuer[TEXT_MAX] = "";
    struct err err;
    bool has_code = find(call, "code", code), has_error = find(call, "error", error);
    bool get = strcmp(http_call_method(call), "GET") == 0;
    if (!get || !find(call, "state", state) || (!has_code && !has_error)) {
        if (get)
            oauth_return_refuse(call);
        else
            show(call, 405, "A browser comes here with GET.", NULL);
        over(ctx, false, err_set(&err, ERR_NOT_FOUND, "nobody waits for this answer"), &err);
        return;
    }
    find(call, "error_description", text);
    bool has_issuer = find(call, "iss", issuer);
    text_make_plain(error, strlen(error));
    text_make_plain(text, strlen(text));
    struct visit *visit = mem_need(sizeof *visit);
    *visit = (struct visit){.call = call, .over = over, .ctx = ctx};
    http_call_set_user(call, visit);
    const struct oauth_return back = {.state = state,
                                      .code = has_error ? NULL : code,
                                      .error = error,
                                      .error_text = text,
                                      .issuer = has_issuer ? issuer : NULL};
    oauth_access_return(runtime, &back, told, visit);
}

/* ---- of a server ---- */

struct stay {
    struct oauth_returns *returns;
    struct service *service;
};

static void stay_over(void *ctx, bool known, enum err_code code, const struct err *err)
{
    struct stay *stay = ctx;
    (void)known;
    (void)code;
    (void)err;
    stay->returns->under_way--;
    service_release(stay->service);
    mem_free(stay);
}

void oauth_returns_request(struct oauth_returns *returns, struct http_call *call)
{
    char state[TEXT_MAX] = "";
    const char *end = find(call, "state", state) ? strrchr(state, '.') : NULL;
    struct service *service =
        end != NULL ? hosting_find(returns->hosting, state, (size_t)(end - state)) : NULL;
    if (service == NULL) {
        oauth_return_refuse(call);
        return;
    }
    if (returns->under_way == UNDER_WAY_MAX) {
        show(call, 503, "The server is busy. Load this page again in a moment.", NULL);
        return;
    }
    struct stay *stay = mem_need(sizeof *stay);
    *stay = (struct stay){.returns = returns, .service = service};
    returns->under_way++;
    service_hold(service);
    oauth_return(service_runtime(service), call, stay_over, stay);
}
