/* Asking for access: of nobody at all, on another device, and what is common to these and browsers
 * (oauth_browser.c). What is needed when people answer is in the store, so that any process can go on. */
#include "engine/oauth_access_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define DEVICE_WAIT_MAX_S 3600
#define POLL_DEFAULT_S 5
#define ANSWER_MAX ((size_t)64 * 1024)

/* ---- the end ---- */

static void wipe_text(char **text)
{
    if (*text != NULL)
        crypto_wipe(*text, strlen(*text));
    mem_free(*text);
    *text = NULL;
}

void access_end(struct access *access)
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

void access_fail(struct access *access, enum err_code code, const struct err *err)
{
    access->code = code;
    access->err = *err;
    access_end(access);
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
        access_end(access);
    else
        access->next(access);
}

void access_submit(struct access *access, void (*work_fn)(struct access *, struct store *),
                   void (*next)(struct access *))
{
    access->work = work_fn;
    access->next = next;
    access->job = (struct job){.work = work, .after = after, .owner = access};
    executor_submit(access->runtime->executor, &access->job);
}

void access_add_request(struct access *access, struct store *store)
{
    access->code = store_access_add(store, &access->request, access->state[0] != '\0' ? access->state : NULL,
                                    &access->err);
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
    access_end(access);
}

void access_tell_request(struct access *access)
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
    access_end(access);
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
    access_end(access);
}

void access_refuse(struct access *access, const char *why, void (*next)(struct access *))
{
    char *plain = runtime_redacted(access->runtime, why);
    access->look.standing = ACCESS_REFUSED;
    snprintf(access->look.error, sizeof access->look.error, "%s", plain != NULL ? plain : "out of memory");
    mem_free(plain);
    access_submit(access, keep_refusal, next);
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
        access_fail(access, answer->code, &answer->err);
        return;
    }
    access->request.device_code = json_find_copy(answer->json, answer->json_len, "device_code");
    access->user_code = plain_text(answer, "user_code");
    access->url = plain_text(answer, "verification_uri");
    if (access->url == NULL)
        access->url = plain_text(answer, "verification_url");
    access->request.interval_ms = whole_number(answer, "interval", 600, POLL_DEFAULT_S) * 1000;
    access->request.expires_ms =
        clock_now_ms() + whole_number(answer, "expires_in", DEVICE_WAIT_MAX_S, ACCESS_WAIT_MS / 1000) * 1000;
    if (access->request.device_code == NULL || access->user_code == NULL || access->url == NULL)
        access_fail(access, err_set(&err, ERR_IO, "%s answered without a code", access->oauth->name), &err);
    else
        access_submit(access, access_add_request, access_tell_request);
}

/* ---- tokens ---- */

void access_take_grant(struct access *access, struct oauth_answer *answer)
{
    access->grant = answer->grant;
    answer->grant = (struct grant){0};
    access_submit(access, keep_grant, tell_given);
}

static void client_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    struct err err;
    if (answer->code != ERR_NONE)
        access_fail(access, answer->code, &answer->err);
    else if (answer->grant.access == NULL)
        access_fail(access, err_set(&err, ERR_IO, "%s answered without a token", access->oauth->name), &err);
    else
        access_take_grant(access, answer);
}

static void device_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    bool slower = strcmp(answer->error, "slow_down") == 0;
    if (answer->code == ERR_NONE && answer->grant.access != NULL) {
        access_take_grant(access, answer);
    } else if (slower || strcmp(answer->error, "authorization_pending") == 0 || answer->code == ERR_IO) {
        access->look.request.interval_ms += slower ? POLL_DEFAULT_S * 1000 : 0;
        access_submit(access, ask_later, tell_look);
    } else {
        access_refuse(
            access, answer->code != ERR_NONE ? answer->err.message : "the provider answered without a token",
            tell_look);
    }
}

/* ---- questions to the provider ---- */

/* Nothing was asked. */
static void give_up(struct access *access, enum err_code code, const struct err *err)
{
    if (access->came)
        access_refuse_browser(access, err->message);
    else
        access_fail(access, code, err);
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
void access_discover(struct access *access, enum oauth_endpoint endpoint, void (*next)(struct access *access))
{
    access->discovered = next;
    oauth_discover(access->runtime, access->oauth, endpoint, discovered, access);
}

void access_post(struct access *access, enum oauth_endpoint endpoint, const struct url_pair *pairs,
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
    access_post(access, OAUTH_ENDPOINT_DEVICE, pairs, scope != NULL ? 1 : 0, device_came);
}

static void start_client(struct access *access)
{
    const char *scope = access->oauth->scope;
    const struct url_pair pairs[] = {url_pair("grant_type", "client_credentials"),
                                     url_pair("scope", scope != NULL ? scope : "")};
    access_post(access, OAUTH_ENDPOINT_TOKEN, pairs, scope != NULL ? 2 : 1, client_answered);
}

static void ask_about_device(struct access *access)
{
    const struct url_pair pairs[] = {url_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                                     url_pair("device_code", access->look.request.device_code)};
    access_post(access, OAUTH_ENDPOINT_TOKEN, pairs, 2, device_answered);
}

static void looked(struct access *access)
{
    if (access->look.ask)
        access_discover(access, OAUTH_ENDPOINT_TOKEN, ask_about_device);
    else
        tell_look(access);
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
    access_end(access);
}

static void tell_revoked(struct access *access)
{
    buf_adds(&access->out, "{\"revoked\":true}");
    access_end(access);
}

static void revoke_answered(void *ctx, struct oauth_answer *answer)
{
    struct access *access = ctx;
    if (answer->code != ERR_NONE)
        access_fail(access, answer->code, &answer->err);
    else
        access_submit(access, forget_grant, tell_revoked);
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
        access_submit(access, forget_grant, tell_forgotten);
        return;
    }
    const struct url_pair pairs[] = {
        url_pair("token", grant->refresh != NULL ? grant->refresh : grant->access),
        url_pair("token_type_hint", grant->refresh != NULL ? "refresh_token" : "access_token")};
    access_post(access, OAUTH_ENDPOINT_REVOCATION, pairs, 2, revoke_answered);
}

static void grant_was_read(struct access *access)
{
    access_discover(access, OAUTH_ENDPOINT_REVOCATION, give_back);
}

/* ---- who asks ---- */

struct access *access_new(struct runtime *runtime, oauth_told_fn told, void *ctx)
{
    struct access *access = mem_need(sizeof *access);
    access->runtime = runtime;
    access->told = told;
    access->ctx = ctx;
    buf_init(&access->out, ANSWER_MAX);
    return access;
}

/* With a store to work on; otherwise it is the end. */
bool access_has_store(struct access *access)
{
    struct err err;
    if (access->runtime->executor == NULL && runtime_share_store(access->runtime, &err) != ERR_NONE) {
        access_fail(access, err.code, &err);
        return false;
    }
    if (access->runtime->executor == NULL) {
        access_fail(access, err_set(&err, ERR_INVALID, "access by OAuth needs a store of SQLite"), &err);
        return false;
    }
    return true;
}

static void start(struct access *access, const struct oauth_question *question)
{
    static const struct {
        enum oauth_endpoint endpoint;
        void (*start)(struct access *access);
    } ways[] = {[OAUTH_CODE] = {OAUTH_ENDPOINT_AUTHORIZATION, access_start_browser},
                [OAUTH_DEVICE] = {OAUTH_ENDPOINT_DEVICE, start_device},
                [OAUTH_CLIENT] = {OAUTH_ENDPOINT_TOKEN, start_client}};
    const struct oauth *oauth = access->oauth;
    snprintf(access->request.key, sizeof access->request.key, "%s", oauth->key);
    access->callback_url = mem_need_str(question->callback_url);
    access->served = question->worker != NULL;
    if (oauth->grant == OAUTH_CODE && access->served)
        snprintf(access->state, sizeof access->state, "%s.", question->worker);
    access_discover(access, ways[oauth->grant].endpoint, ways[oauth->grant].start);
}

void oauth_access(struct runtime *runtime, const struct oauth_question *question, oauth_told_fn told,
                  void *ctx)
{
    struct access *access = access_new(runtime, told, ctx);
    struct err err;
    enum err_code code = oauth_find(runtime->worker, question->key, &access->oauth, &err);
    if (code != ERR_NONE) {
        access_fail(access, code, &err);
        return;
    }
    if (!access_has_store(access))
        return;
    switch (question->ask) {
    case OAUTH_ASK_START:
        start(access, question);
        break;
    case OAUTH_ASK_LOOK:
        snprintf(access->id, sizeof access->id, "%s", question->id);
        access_submit(access, look_at_request, looked);
        break;
    case OAUTH_ASK_REVOKE:
        access_submit(access, read_grant, grant_was_read);
        break;
    }
}
