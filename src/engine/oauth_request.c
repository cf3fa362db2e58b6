/* One request to an OAuth provider. Must not put a secret or a token into a message. */
#include "engine/oauth.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "engine/redact.h"
#include "net/http_client.h"

#include <stdio.h>
#include <string.h>

#define PAIRS_MAX 16
#define TIMEOUT_MS 20000 /* less than a claim lasts */
#define ANSWER_MAX ((size_t)256 * 1024)
#define WORDS_MAX 200 /* of what a provider says, in messages */

struct oauth_asking {
    struct runtime *runtime;
    const struct oauth *oauth;
    oauth_answered_fn done;
    void *ctx;
    struct oauth_asking *next;
};

enum err_code oauth_value(struct runtime *runtime, const struct oauth *oauth, const char *text,
                          const char **out, struct err *err)
{
    *out = text;
    if (text == NULL || text[0] != '$')
        return ERR_NONE;
    *out = environment_credential(runtime->environment, text + 1);
    if (*out != NULL && **out != '\0')
        return ERR_NONE;
    return err_set(err, ERR_NOT_FOUND, "oauth \"%s\" needs the variable %s: workers env set %s", oauth->key,
                   text + 1, text + 1);
}

/* ---- the answer ---- */

static char *take_text(const struct http_response *response, const char *name)
{
    return json_find_copy(response->body, response->body_len, name);
}

/* Seconds, as a number or, of some providers, as a text. */
static int64_t take_seconds(const struct http_response *response, const char *name)
{
    struct json_slice slice;
    int64_t seconds = 0;
    if (!json_find(response->body, response->body_len, name, &slice))
        return 0;
    size_t at = slice.len > 0 && slice.text[0] == '"';
    for (; at < slice.len && slice.text[at] >= '0' && slice.text[at] <= '9' && seconds < 1000000000; at++)
        seconds = seconds * 10 + (slice.text[at] - '0');
    return seconds;
}

static void read_token(const struct oauth_asking *asking, const struct http_response *response,
                       struct oauth_answer *answer)
{
    answer->grant.access = take_text(response, "access_token");
    if (answer->grant.access == NULL)
        return;
    answer->grant.refresh = take_text(response, "refresh_token");
    answer->grant.scope = take_text(response, "scope");
    int64_t lasts = take_seconds(response, "expires_in") * 1000;
    if (lasts == 0)
        lasts = asking->oauth->access_ms;
    answer->grant.expires_ms = lasts > 0 ? clock_now_ms() + lasts : 0;
    redactor_add_passing(asking->runtime->redactor, answer->grant.access, strlen(answer->grant.access));
    if (answer->grant.refresh != NULL)
        redactor_add_passing(asking->runtime->redactor, answer->grant.refresh, strlen(answer->grant.refresh));
}

/* What the provider says in words, on one line and cut. */
static void add_words(const struct http_response *response, struct buf *out)
{
    char *words = take_text(response, "error_description");
    if (words != NULL && words[0] != '\0')
        buf_addf(out, " (%.*s)", WORDS_MAX, words);
    if (out->len > 0)
        text_make_plain(out->data, out->len);
    mem_free(words);
}

static void read_error(const struct oauth_asking *asking, const struct http_response *response,
                       struct oauth_answer *answer)
{
    struct buf words;
    char *error = take_text(response, "error");
    buf_init(&words, BUF_UNLIMITED);
    add_words(response, &words);
    snprintf(answer->error, sizeof answer->error, "%s", error != NULL ? error : "");
    text_make_plain(answer->error, strlen(answer->error));
    bool passes = response->status >= 500 || response->status == 429 || response->status == 408 ||
                  strcmp(answer->error, "temporarily_unavailable") == 0 ||
                  strcmp(answer->error, "server_error") == 0;
    answer->code = err_set(&answer->err, passes ? ERR_IO : ERR_DENIED, "%s answered with status %d%s%s%s",
                           asking->oauth->name, response->status, error != NULL ? ", " : "",
                           error != NULL ? answer->error : "", buf_text(&words));
    buf_free(&words);
    mem_free(error);
}

static void forget(struct oauth_asking *asking)
{
    for (struct oauth_asking **at = &asking->runtime->askings; *at != NULL; at = &(*at)->next) {
        if (*at != asking)
            continue;
        *at = asking->next;
        return;
    }
}

static void done(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct oauth_asking *asking = ctx;
    struct oauth_answer answer = {0};
    if (failure != NULL) {
        answer.code =
            err_set(&answer.err, ERR_IO, "%s cannot be asked: %s", asking->oauth->name, failure->message);
    } else {
        answer.status = response->status;
        answer.json = response->body;
        answer.json_len = response->body_len;
        /* Some answer 200 to what has failed. */
        struct json_slice ignored;
        if (response->status >= 200 && response->status <= 299 &&
            !json_find(response->body, response->body_len, "error", &ignored))
            read_token(asking, response, &answer);
        else
            read_error(asking, response, &answer);
    }
    forget(asking);
    asking->done(asking->ctx, &answer);
    grant_free(&answer.grant);
    if (response != NULL)
        crypto_wipe(response->body, response->body_len);
    http_response_free(response);
    mem_free(asking);
}

void oauth_requests_free(struct runtime *runtime)
{
    while (runtime->askings != NULL) {
        struct oauth_asking *asking = runtime->askings;
        runtime->askings = asking->next;
        mem_free(asking);
    }
}

/* ---- the request ---- */

static bool allow_url(void *ctx, bool tls, const char *host, int port, char *reason)
{
    const struct oauth_asking *asking = ctx;
    struct err err;
    (void)tls;
    if (config_net_check(asking->runtime->options.config, host, port, &err) == ERR_NONE)
        return true;
    snprintf(reason, HTTP_REASON_MAX, "%.255s", err.message);
    return false;
}

static bool allow_address(void *ctx, const struct sockaddr *address, char *reason)
{
    const struct oauth_asking *asking = ctx;
    struct err err;
    if (config_address_check(asking->runtime->options.config, address, &err) == ERR_NONE)
        return true;
    snprintf(reason, HTTP_REASON_MAX, "%.255s", err.message);
    return false;
}

/* Within the limits of all of them. */
static enum err_code send_request(struct runtime *runtime, const struct oauth *oauth,
                                  struct http_request *request, oauth_answered_fn done_fn, void *ctx,
                                  struct err *err)
{
    struct http_client *client = runtime_http(runtime, err);
    if (client == NULL)
        return err->code;
    request->timeout_ms = TIMEOUT_MS;
    request->max_body = ANSWER_MAX;
    request->max_redirects = 0;
    request->environment_proxy = true;
    request->allow_url = allow_url;
    request->allow_address = allow_address;
    struct oauth_asking *asking = mem_need(sizeof *asking);
    *asking = (struct oauth_asking){.runtime = runtime, .oauth = oauth, .done = done_fn, .ctx = ctx};
    request->allow_ctx = asking;
    enum err_code code = http_client_send(client, request, done, asking, NULL, err);
    if (code != ERR_NONE) {
        mem_free(asking);
        return code;
    }
    asking->next = runtime->askings;
    runtime->askings = asking;
    return ERR_NONE;
}

enum err_code oauth_get(struct runtime *runtime, const struct oauth *oauth, const char *url,
                        oauth_answered_fn done_fn, void *ctx, struct err *err)
{
    static const struct http_field fields[] = {{{"Accept", 6}, {"application/json", 16}}};
    struct http_request request;
    http_request_init(&request);
    request.url = http_slice(url);
    request.headers = fields;
    request.header_count = 1;
    return send_request(runtime, oauth, &request, done_fn, ctx, err);
}

enum err_code oauth_post(struct runtime *runtime, const struct oauth *oauth, const char *url,
                         const struct url_pair *pairs, size_t count, oauth_answered_fn done_fn, void *ctx,
                         struct err *err)
{
    static const struct http_field fields[] = {
        {{"Content-Type", 12}, {"application/x-www-form-urlencoded", 33}},
        {{"Accept", 6}, {"application/json", 16}}};
    struct url_pair all[PAIRS_MAX];
    struct buf form, user, password;
    const char *id = NULL, *secret = NULL;
    struct http_request request;
    enum err_code code = oauth_value(runtime, oauth, oauth->client_id, &id, err);
    if (code == ERR_NONE && oauth->client_auth != OAUTH_PUBLIC)
        code = oauth_value(runtime, oauth, oauth->client_secret, &secret, err);
    if (code != ERR_NONE)
        return code;
    for (size_t i = 0; i < count && i < PAIRS_MAX - 2; i++)
        all[i] = pairs[i];
    if (oauth->client_auth != OAUTH_BASIC)
        all[count++] = url_pair("client_id", id);
    if (oauth->client_auth == OAUTH_BODY)
        all[count++] = url_pair("client_secret", secret);
    buf_init(&form, BUF_UNLIMITED);
    buf_init(&user, BUF_UNLIMITED);
    buf_init(&password, BUF_UNLIMITED);
    url_encode_pairs(&form, all, count);
    http_request_init(&request);
    request.method = http_slice("POST");
    request.url = http_slice(url);
    request.headers = fields;
    request.header_count = 2;
    request.has_body = true;
    request.body = (struct http_slice){buf_text(&form), form.len};
    if (oauth->client_auth == OAUTH_BASIC) { /* RFC 6749, section 2.3.1: encoded as in a form first */
        url_encode_form(&user, id, strlen(id));
        url_encode_form(&password, secret, strlen(secret));
        request.user = (struct http_slice){buf_text(&user), user.len};
        request.password = (struct http_slice){buf_text(&password), password.len};
    }
    code = form.failed || user.failed || password.failed
               ? err_nomem(err)
               : send_request(runtime, oauth, &request, done_fn, ctx, err);
    if (form.data != NULL)
        crypto_wipe(form.data, form.len);
    if (password.data != NULL)
        crypto_wipe(password.data, password.len);
    buf_free(&form);
    buf_free(&user);
    buf_free(&password);
    return code;
}
