/* A person says yes in a browser, and comes back (RFC 6749, section 4.1; RFC 7636; RFC 9207). */
#include "engine/oauth_access_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define RANDOM_BYTES 32
#define RANDOM_TEXT 44 /* as base64url, and the NUL */
#define LOOK_S 1       /* between two looks at a request that a browser ends */

/* ---- where the person goes ---- */

static enum err_code make_random(char out[RANDOM_TEXT], struct err *err)
{
    unsigned char bytes[RANDOM_BYTES];
    enum err_code code = crypto_random(bytes, sizeof bytes, err);
    if (code == ERR_NONE)
        crypto_encode(CRYPTO_BASE64URL, bytes, sizeof bytes, out);
    crypto_wipe(bytes, sizeof bytes);
    return code;
}

static enum err_code write_url(const struct access *access, struct buf *out, struct err *err)
{
    const struct oauth *oauth = access->oauth;
    const char *verifier = access->request.verifier;
    struct url_pair pairs[32];
    size_t count = 0;
    const char *id = NULL;
    char challenge[RANDOM_TEXT];
    unsigned char digest[32];
    const char *endpoint = NULL;
    enum err_code code = oauth_endpoint(access->runtime, oauth, OAUTH_ENDPOINT_AUTHORIZATION, &endpoint, err);
    if (code == ERR_NONE)
        code = oauth_value(access->runtime, oauth, oauth->client_id, &id, err);
    if (code == ERR_NONE && oauth->pkce)
        code = crypto_sha256(verifier, strlen(verifier), digest, err);
    if (code != ERR_NONE)
        return code;
    pairs[count++] = url_pair("response_type", "code");
    pairs[count++] = url_pair("client_id", id);
    pairs[count++] = url_pair("redirect_uri", access->request.redirect_url);
    pairs[count++] = url_pair("state", access->state);
    if (oauth->scope != NULL)
        pairs[count++] = url_pair("scope", oauth->scope);
    if (oauth->pkce) {
        crypto_encode(CRYPTO_BASE64URL, digest, sizeof digest, challenge);
        pairs[count++] = url_pair("code_challenge", challenge);
        pairs[count++] = url_pair("code_challenge_method", "S256");
    }
    for (size_t i = 0; i < oauth->parameter_count; i++)
        pairs[count++] = url_pair(oauth->parameters[i].name, oauth->parameters[i].value);
    url_add_query(out, endpoint, strlen(endpoint), pairs, count);
    return buf_status(out, "the address", err);
}

/* A server answers at one path of its URL. */
static enum err_code check_redirect(const char *url, struct err *err)
{
    size_t len = strlen(url), path_len = strlen(OAUTH_CALLBACK_PATH);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return err_set(err, ERR_INVALID,
                       "a browser cannot come back to %s: start the server with --url https://…", url);
    if (len < path_len || strcmp(url + len - path_len, OAUTH_CALLBACK_PATH) != 0)
        return err_set(err, ERR_INVALID,
                       "callbackUrl %s is not where a server waits: it must end with " OAUTH_CALLBACK_PATH,
                       url);
    return ERR_NONE;
}

void access_start_browser(struct access *access)
{
    const char *redirect_url =
        access->oauth->callback_url != NULL ? access->oauth->callback_url : access->callback_url;
    size_t begun = strlen(access->state);
    char random[RANDOM_TEXT], verifier[RANDOM_TEXT];
    struct buf url;
    struct err err;
    buf_init(&url, BUF_UNLIMITED);
    enum err_code code = access->served ? check_redirect(redirect_url, &err) : ERR_NONE;
    if (code == ERR_NONE)
        code = make_random(random, &err);
    if (code == ERR_NONE)
        code = make_random(verifier, &err);
    if (code == ERR_NONE) {
        snprintf(access->state + begun, sizeof access->state - begun, "%s", random);
        access->request.verifier = mem_need_str(verifier);
        access->request.redirect_url = mem_need_str(redirect_url);
        access->request.expires_ms = clock_now_ms() + ACCESS_WAIT_MS;
        access->request.interval_ms = LOOK_S * 1000;
        code = write_url(access, &url, &err);
    }
    if (code == ERR_NONE)
        access->url = mem_need_str(buf_text(&url));
    crypto_wipe(verifier, sizeof verifier);
    buf_free(&url);
    if (code != ERR_NONE)
        access_fail(access, code, &err);
    else
        access_submit(access, access_add_request, access_tell_request);
}

/* ---- somebody has come back ---- */

/* The refusal is kept; whoever asks is told of it. */
static void fail_with_refusal(struct access *access)
{
    access->code = ERR_DENIED;
    err_set(&access->err, ERR_DENIED, "%s", access->look.error);
    access_end(access);
}

void access_refuse_browser(struct access *access, const char *why)
{
    access_refuse(access, why, fail_with_refusal);
}

static void take_request(struct access *access, struct store *store)
{
    access->code = store_access_take(store, access->state, &access->request, &access->err);
    access->came = access->code == ERR_NONE;
}

static void code_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    struct err err;
    if (answer->code != ERR_NONE) {
        access_refuse_browser(access, answer->err.message);
    } else if (answer->grant.access == NULL) {
        err_set(&err, ERR_IO, "%s answered without a token", access->oauth->name);
        access_refuse_browser(access, err.message);
    } else {
        access_take_grant(access, answer);
    }
}

/* A process that has not read the client's secret yet would not know it, to redact it. */
static void learn_secret(const struct access *access)
{
    const char *secret = NULL;
    struct err ignored; /* without the variable nobody has it */
    enum err_code code =
        oauth_value(access->runtime, access->oauth, access->oauth->client_secret, &secret, &ignored);
    (void)code;
}

/* Whether it is another provider that answers (RFC 9207, section 2.4). */
static bool is_other_issuer(const struct access *access)
{
    const struct oauth *oauth = access->oauth;
    if (oauth->issuer == NULL)
        return false;
    return access->issuer != NULL ? strcmp(access->issuer, oauth->issuer) != 0
                                  : oauth_names_itself(access->runtime, oauth);
}

static void exchange_code(struct access *access)
{
    const struct access_request *request = &access->request;
    struct err why;
    if (is_other_issuer(access)) {
        err_set(&why, ERR_DENIED, "%s: the answer is not from %s", access->oauth->name,
                access->oauth->issuer);
        access_refuse_browser(access, why.message);
        return;
    }
    const struct url_pair pairs[4] = {
        url_pair("grant_type", "authorization_code"), url_pair("code", access->brought),
        url_pair("redirect_uri", request->redirect_url), url_pair("code_verifier", request->verifier)};
    redactor_add_passing(access->runtime->redactor, access->brought, strlen(access->brought));
    access_post(access, OAUTH_ENDPOINT_TOKEN, pairs, access->oauth->pkce ? 4 : 3, code_answered);
}

/* The state was good: what the browser brings is asked about. */
static void came_back(struct access *access)
{
    struct err why;
    access->oauth = worker_oauth(access->runtime->worker, access->request.key);
    if (access->oauth == NULL) {
        err_set(&why, ERR_DENIED, "the worker does not declare oauth \"%s\" any more", access->request.key);
        access_refuse_browser(access, why.message);
    } else if (access->brought == NULL) {
        learn_secret(access);
        err_set(&why, ERR_DENIED, "%s: access was not given: %s", access->oauth->name, access->look.error);
        access_refuse_browser(access, why.message);
    } else {
        access_discover(access, OAUTH_ENDPOINT_TOKEN, exchange_code);
    }
}

void oauth_access_return(struct runtime *runtime, const struct oauth_return *back, oauth_told_fn told,
                         void *ctx)
{
    struct access *access = access_new(runtime, told, ctx);
    if (!access_has_store(access))
        return;
    snprintf(access->state, sizeof access->state, "%s", back->state);
    access->issuer = back->issuer != NULL ? mem_need_str(back->issuer) : NULL;
    if (back->code != NULL)
        access->brought = mem_need_str(back->code);
    else
        snprintf(access->look.error, sizeof access->look.error, "%.200s%s%.500s", back->error,
                 back->error_text[0] != '\0' ? ", " : "", back->error_text);
    access_submit(access, take_request, came_back);
}
