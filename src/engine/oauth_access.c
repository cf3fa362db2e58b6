/* Asking people for access: in a browser, on another device, or nobody at all. What is needed when they
 * answer is in the store, so that any process can go on. */
#include "engine/oauth_access.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define RANDOM_BYTES 32
#define RANDOM_TEXT 44 /* as base64url, and the NUL */
#define WAIT_MS ((int64_t)10 * 60 * 1000)
#define DEVICE_WAIT_MAX_S 3600
#define POLL_DEFAULT_S 5
#define LOOK_S 1 /* between two looks at a request that a browser ends */
#define ANSWER_MAX ((size_t)64 * 1024)

struct access {
    struct runtime *runtime;
    const struct oauth *oauth;
    oauth_told_fn told;
    void *ctx;
    struct job job;
    void (*work)(struct access *access, struct store *store);
    void (*next)(struct access *access);
    void (*discovered)(struct access *access);
    enum err_code code; /* of the work */
    struct err err;
    char state[ACCESS_STATE_SIZE]; /* empty when no browser comes back */
    char id[STORE_ID_SIZE];        /* of the request that somebody looks at */
    struct access_request request;
    struct access_look look;
    struct grant grant;
    char *brought; /* the code */
    char *issuer;  /* what the provider calls itself, if it does */
    bool came;     /* a browser has come back, and the request is its own */
    char *user_code, *url;
    char *callback_url; /* of the question */
    bool served;        /* by a server, which has begun the state */
    struct buf out;
};

/* ---- the end ---- */

static void wipe_text(char **text)
{
    if (*text != NULL)
        crypto_wipe(*text, strlen(*text));
    mem_free(*text);
    *text = NULL;
}

static void end(struct access *access)
{
    if (access->code == ERR_NONE)
        access->code = buf_status(&access->out, "the answer", &access->err);
    if (access->code != ERR_NONE) {
        char *plain = runtime_redacted(access->runtime, access->err.message);
        buf_clear(&access->out);
        /* One that has been found is not one that nobody waits for. */
        if (access->came && access->code == ERR_NOT_FOUND)
            access->code = ERR_INVALID;
        err_set(&access->err, access->code, "%s", plain != NULL ? plain : "out of memory");
        mem_free(plain);
    }
    access->told(access->ctx, access->code, &access->out, &access->err);
    grant_free(&access->grant);
    access_request_free(&access->request);
    access_request_free(&access->look.request);
    wipe_text(&access->brought);
    mem_free(access->user_code);
    mem_free(access->url);
    mem_free(access->issuer);
    mem_free(access->callback_url);
    buf_free(&access->out);
    mem_free(access);
}

static void fail(struct access *access, enum err_code code, const struct err *err)
{
    access->code = code;
    access->err = *err;
    end(access);
}

/* ---- jobs on the store ---- */

static void work(struct job *job, struct store *store)
{
    struct access *access = job->owner;
    access->work(access, store);
}

static void after(struct job *job)
{
    struct access *access = job->owner;
    if (access->code != ERR_NONE)
        end(access);
    else
        access->next(access);
}

/* next is called when the work has gone well; otherwise it is the end. */
static void submit(struct access *access, void (*work_fn)(struct access *, struct store *),
                   void (*next)(struct access *))
{
    access->work = work_fn;
    access->next = next;
    access->job = (struct job){.work = work, .after = after, .owner = access};
    executor_submit(access->runtime->executor, &access->job);
}

static void add_request(struct access *access, struct store *store)
{
    access->code = store_access_add(store, &access->request, access->state[0] != '\0' ? access->state : NULL,
                                    &access->err);
}

static void take_request(struct access *access, struct store *store)
{
    access->code = store_access_take(store, access->state, &access->request, &access->err);
    access->came = access->code == ERR_NONE;
}

static void look_at_request(struct access *access, struct store *store)
{
    access->code = store_access_look(store, access->oauth->key, access->id, &access->look, &access->err);
}

static void ask_later(struct access *access, struct store *store)
{
    access->code =
        store_access_later(store, access->look.request.id, access->look.request.interval_ms, &access->err);
}

static const char *request_id(const struct access *access)
{
    return access->request.id[0] != '\0' ? access->request.id : access->look.request.id;
}

static void keep_grant(struct access *access, struct store *store)
{
    access->code = store_grant_set(store, access->oauth->key, &access->grant, &access->err);
    if (access->code == ERR_NONE && request_id(access)[0] != '\0')
        access->code = store_access_end(store, request_id(access), NULL, &access->err);
}

/* Whoever waits is told why there is no access. */
static void keep_refusal(struct access *access, struct store *store)
{
    access->code = store_access_end(store, request_id(access), access->look.error, &access->err);
}

/* ---- answers ---- */

static void add_text(struct buf *out, const char *name, const char *text)
{
    struct err ignored;
    buf_addf(out, ",\"%s\":", name);
    if (json_write_string(out, text, strlen(text), &ignored) != ERR_NONE)
        buf_adds(out, "\"(not valid UTF-8)\"");
}

static void tell_given(struct access *access)
{
    buf_adds(&access->out, "{\"state\":\"given\"");
    add_text(&access->out, "name", access->oauth->name);
    buf_addc(&access->out, '}');
    end(access);
}

static void tell_request(struct access *access)
{
    static const char *const grants[] = {
        [OAUTH_CODE] = "code", [OAUTH_CLIENT] = "client", [OAUTH_DEVICE] = "device"};
    const struct access_request *request = &access->request;
    char time[ISO_UTC_SIZE];
    buf_addf(&access->out, "{\"id\":\"%s\",\"grant\":\"%s\",\"state\":\"waiting\",\"interval\":%lld",
             request->id, grants[access->oauth->grant], (long long)request->interval_ms / 1000);
    add_text(&access->out, "name", access->oauth->name);
    add_text(&access->out, "url", access->url);
    if (request->redirect_url != NULL)
        add_text(&access->out, "redirectUrl", request->redirect_url);
    if (access->user_code != NULL)
        add_text(&access->out, "userCode", access->user_code);
    buf_addf(&access->out, ",\"expiresAt\":\"%s\"}", iso_format_utc(request->expires_ms, time));
    end(access);
}

static void tell_look(struct access *access)
{
    const struct access_look *look = &access->look;
    buf_addf(&access->out, "{\"state\":\"%s\",\"interval\":%lld", access_standing_name(look->standing),
             (long long)look->request.interval_ms / 1000);
    add_text(&access->out, "name", access->oauth->name);
    if (look->standing == ACCESS_REFUSED)
        add_text(&access->out, "error", look->error);
    buf_addc(&access->out, '}');
    end(access);
}

/* The refusal is kept; whoever asks is told of it. */
static void fail_with_refusal(struct access *access)
{
    access->code = ERR_DENIED;
    err_set(&access->err, ERR_DENIED, "%s", access->look.error);
    end(access);
}

static void refuse(struct access *access, const char *why, void (*next)(struct access *))
{
    char *plain = runtime_redacted(access->runtime, why);
    access->look.standing = ACCESS_REFUSED;
    snprintf(access->look.error, sizeof access->look.error, "%s", plain != NULL ? plain : "out of memory");
    mem_free(plain);
    submit(access, keep_refusal, next);
}

/* ---- a person says yes in a browser ---- */

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

static void start_browser(struct access *access)
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
        access->request.expires_ms = clock_now_ms() + WAIT_MS;
        access->request.interval_ms = LOOK_S * 1000;
        code = write_url(access, &url, &err);
    }
    if (code == ERR_NONE)
        access->url = mem_need_str(buf_text(&url));
    crypto_wipe(verifier, sizeof verifier);
    buf_free(&url);
    if (code != ERR_NONE)
        fail(access, code, &err);
    else
        submit(access, add_request, tell_request);
}

/* ---- on another device (RFC 8628) ---- */

/* A text of the answer, on one line; NULL when there is none. */
static char *plain_text(const struct oauth_answer *answer, const char *name)
{
    char *text = json_find_copy(answer->json, answer->json_len, name);
    if (text != NULL && text[0] != '\0') {
        text_make_plain(text, strlen(text));
        return text;
    }
    mem_free(text);
    return NULL;
}

static int64_t whole_number(const struct oauth_answer *answer, const char *name, int64_t max, int64_t absent)
{
    struct json_slice slice;
    int64_t number = 0;
    if (!json_find(answer->json, answer->json_len, name, &slice) || slice.len == 0 || slice.len > 9)
        return absent;
    for (size_t i = 0; i < slice.len && slice.text[i] >= '0' && slice.text[i] <= '9'; i++)
        number = number * 10 + (slice.text[i] - '0');
    return number < 1 || number > max ? absent : number;
}

static void device_came(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    struct err err;
    if (answer->code != ERR_NONE) {
        fail(access, answer->code, &answer->err);
        return;
    }
    access->request.device_code = json_find_copy(answer->json, answer->json_len, "device_code");
    access->user_code = plain_text(answer, "user_code");
    access->url = plain_text(answer, "verification_uri");
    if (access->url == NULL)
        access->url = plain_text(answer, "verification_url");
    access->request.interval_ms = whole_number(answer, "interval", 600, POLL_DEFAULT_S) * 1000;
    access->request.expires_ms =
        clock_now_ms() + whole_number(answer, "expires_in", DEVICE_WAIT_MAX_S, WAIT_MS / 1000) * 1000;
    if (access->request.device_code == NULL || access->user_code == NULL || access->url == NULL)
        fail(access, err_set(&err, ERR_IO, "%s answered without a code", access->oauth->name), &err);
    else
        submit(access, add_request, tell_request);
}

/* ---- tokens ---- */

static void take_grant(struct access *access, struct oauth_answer *answer)
{
    access->grant = answer->grant;
    answer->grant = (struct grant){0};
    submit(access, keep_grant, tell_given);
}

static void client_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    struct err err;
    if (answer->code != ERR_NONE)
        fail(access, answer->code, &answer->err);
    else if (answer->grant.access == NULL)
        fail(access, err_set(&err, ERR_IO, "%s answered without a token", access->oauth->name), &err);
    else
        take_grant(access, answer);
}

static void code_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    struct err err;
    if (answer->code != ERR_NONE) {
        refuse(access, answer->err.message, fail_with_refusal);
    } else if (answer->grant.access == NULL) {
        err_set(&err, ERR_IO, "%s answered without a token", access->oauth->name);
        refuse(access, err.message, fail_with_refusal);
    } else {
        take_grant(access, answer);
    }
}

static void device_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    bool slower = strcmp(answer->error, "slow_down") == 0;
    if (answer->code == ERR_NONE && answer->grant.access != NULL) {
        take_grant(access, answer);
    } else if (slower || strcmp(answer->error, "authorization_pending") == 0 || answer->code == ERR_IO) {
        access->look.request.interval_ms += slower ? POLL_DEFAULT_S * 1000 : 0;
        submit(access, ask_later, tell_look);
    } else {
        refuse(access,
               answer->code != ERR_NONE ? answer->err.message : "the provider answered without a token",
               tell_look);
    }
}

/* ---- questions to the provider ---- */

/* Nothing was asked. */
static void give_up(struct access *access, enum err_code code, const struct err *err)
{
    if (access->came)
        refuse(access, err->message, fail_with_refusal);
    else
        fail(access, code, err);
}

static void discovered(void *ctx, enum err_code code, const struct err *err)
{
    struct access *access = ctx;
    if (code != ERR_NONE)
        give_up(access, code, err);
    else
        access->discovered(access);
}

/* next may ask for this endpoint. */
static void discover(struct access *access, enum oauth_endpoint endpoint, void (*next)(struct access *access))
{
    access->discovered = next;
    oauth_discover(access->runtime, access->oauth, endpoint, discovered, access);
}

static void post(struct access *access, enum oauth_endpoint endpoint, const struct url_pair *pairs,
                 size_t count, oauth_answered_fn answered)
{
    struct err err;
    const char *url = NULL;
    enum err_code code = oauth_endpoint(access->runtime, access->oauth, endpoint, &url, &err);
    if (code == ERR_NONE)
        code = oauth_post(access->runtime, access->oauth, url, pairs, count, answered, access, &err);
    if (code != ERR_NONE)
        give_up(access, code, &err);
}

static void start_device(struct access *access)
{
    const char *scope = access->oauth->scope;
    const struct url_pair pairs[] = {url_pair("scope", scope != NULL ? scope : "")};
    post(access, OAUTH_ENDPOINT_DEVICE, pairs, scope != NULL ? 1 : 0, device_came);
}

static void start_client(struct access *access)
{
    const char *scope = access->oauth->scope;
    const struct url_pair pairs[] = {url_pair("grant_type", "client_credentials"),
                                     url_pair("scope", scope != NULL ? scope : "")};
    post(access, OAUTH_ENDPOINT_TOKEN, pairs, scope != NULL ? 2 : 1, client_answered);
}

static void ask_about_device(struct access *access)
{
    const struct url_pair pairs[] = {url_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                                     url_pair("device_code", access->look.request.device_code)};
    post(access, OAUTH_ENDPOINT_TOKEN, pairs, 2, device_answered);
}

static void looked(struct access *access)
{
    if (access->look.ask)
        discover(access, OAUTH_ENDPOINT_TOKEN, ask_about_device);
    else
        tell_look(access);
}

/* ---- somebody has come back ---- */

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
        refuse(access, why.message, fail_with_refusal);
        return;
    }
    const struct url_pair pairs[4] = {
        url_pair("grant_type", "authorization_code"), url_pair("code", access->brought),
        url_pair("redirect_uri", request->redirect_url), url_pair("code_verifier", request->verifier)};
    redactor_add_passing(access->runtime->redactor, access->brought, strlen(access->brought));
    post(access, OAUTH_ENDPOINT_TOKEN, pairs, access->oauth->pkce ? 4 : 3, code_answered);
}

/* The state was good: what the browser brings is asked about. */
static void came_back(struct access *access)
{
    struct err why;
    access->oauth = worker_oauth(access->runtime->worker, access->request.key);
    if (access->oauth == NULL) {
        err_set(&why, ERR_DENIED, "the worker does not declare oauth \"%s\" any more", access->request.key);
        refuse(access, why.message, fail_with_refusal);
    } else if (access->brought == NULL) {
        learn_secret(access);
        err_set(&why, ERR_DENIED, "%s: access was not given: %s", access->oauth->name, access->look.error);
        refuse(access, why.message, fail_with_refusal);
    } else {
        discover(access, OAUTH_ENDPOINT_TOKEN, exchange_code);
    }
}

/* ---- giving access back ---- */

static void forget_grant(struct access *access, struct store *store)
{
    bool existed = false;
    access->code = store_grant_delete(store, access->oauth->key, &existed, &access->err);
}

static void tell_forgotten(struct access *access)
{
    buf_adds(&access->out, "{\"revoked\":false}");
    end(access);
}

static void tell_revoked(struct access *access)
{
    buf_adds(&access->out, "{\"revoked\":true}");
    end(access);
}

static void revoke_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    if (answer->code != ERR_NONE)
        fail(access, answer->code, &answer->err);
    else
        submit(access, forget_grant, tell_revoked);
}

static void read_grant(struct access *access, struct store *store)
{
    const char *key = access->oauth->key;
    access->code = store_grant_get(store, key, &access->grant, &access->err);
    if (access->code == ERR_NONE && access->grant.access == NULL)
        access->code = err_set(&access->err, ERR_NOT_FOUND,
                               "there is no access to revoke for \"%s\": workers oauth status", key);
}

static void give_back(struct access *access)
{
    const struct grant *grant = &access->grant;
    if (oauth_endpoint_if(access->runtime, access->oauth, OAUTH_ENDPOINT_REVOCATION) == NULL) {
        submit(access, forget_grant, tell_forgotten);
        return;
    }
    const struct url_pair pairs[] = {
        url_pair("token", grant->refresh != NULL ? grant->refresh : grant->access),
        url_pair("token_type_hint", grant->refresh != NULL ? "refresh_token" : "access_token")};
    post(access, OAUTH_ENDPOINT_REVOCATION, pairs, 2, revoke_answered);
}

static void grant_was_read(struct access *access)
{
    discover(access, OAUTH_ENDPOINT_REVOCATION, give_back);
}

/* ---- who asks ---- */

static struct access *new_access(struct runtime *runtime, oauth_told_fn told, void *ctx)
{
    struct access *access = mem_need(sizeof *access);
    access->runtime = runtime;
    access->told = told;
    access->ctx = ctx;
    buf_init(&access->out, ANSWER_MAX);
    return access;
}

/* With a store to work on; otherwise it is the end. */
static bool has_store(struct access *access)
{
    struct err err;
    if (access->runtime->executor == NULL && runtime_share_store(access->runtime, &err) != ERR_NONE) {
        fail(access, err.code, &err);
        return false;
    }
    return true;
}

static void start(struct access *access, const struct oauth_question *question)
{
    static const struct {
        enum oauth_endpoint endpoint;
        void (*start)(struct access *access);
    } ways[] = {[OAUTH_CODE] = {OAUTH_ENDPOINT_AUTHORIZATION, start_browser},
                [OAUTH_DEVICE] = {OAUTH_ENDPOINT_DEVICE, start_device},
                [OAUTH_CLIENT] = {OAUTH_ENDPOINT_TOKEN, start_client}};
    const struct oauth *oauth = access->oauth;
    snprintf(access->request.key, sizeof access->request.key, "%s", oauth->key);
    access->callback_url = mem_need_str(question->callback_url);
    access->served = question->worker != NULL;
    if (oauth->grant == OAUTH_CODE && access->served)
        snprintf(access->state, sizeof access->state, "%s.", question->worker);
    discover(access, ways[oauth->grant].endpoint, ways[oauth->grant].start);
}

void oauth_access(struct runtime *runtime, const struct oauth_question *question, oauth_told_fn told,
                  void *ctx)
{
    struct access *access = new_access(runtime, told, ctx);
    struct err err;
    enum err_code code = oauth_find(runtime->worker, question->key, &access->oauth, &err);
    if (code != ERR_NONE) {
        fail(access, code, &err);
        return;
    }
    if (!has_store(access))
        return;
    switch (question->ask) {
    case OAUTH_ASK_START:
        start(access, question);
        break;
    case OAUTH_ASK_LOOK:
        snprintf(access->id, sizeof access->id, "%s", question->id);
        submit(access, look_at_request, looked);
        break;
    case OAUTH_ASK_REVOKE:
        submit(access, read_grant, grant_was_read);
        break;
    }
}

void oauth_access_return(struct runtime *runtime, const struct oauth_return *back, oauth_told_fn told,
                         void *ctx)
{
    struct access *access = new_access(runtime, told, ctx);
    if (!has_store(access))
        return;
    snprintf(access->state, sizeof access->state, "%s", back->state);
    access->issuer = back->issuer != NULL ? mem_need_str(back->issuer) : NULL;
    if (back->code != NULL)
        access->brought = mem_need_str(back->code);
    else
        snprintf(access->look.error, sizeof access->look.error, "%.200s%s%.500s", back->error,
                 back->error_text[0] != '\0' ? ", " : "", back->error_text);
    submit(access, take_request, came_back);
}
