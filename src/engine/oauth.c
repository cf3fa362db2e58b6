/* The way to an access token: read it; or get the right to ask for another, ask, and keep what comes before
 * anybody uses it. Who comes while somebody is under way waits for the same. */
#include "engine/oauth.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "script/task.h"
#include "script/timer.h"

#include <string.h>

#define POLL_MS 50
#define PATIENCE_MS 60000 /* for another process that asks */

struct waiter {
    oauth_token_fn done;
    void *ctx;
    struct waiter *next;
};

enum step {
    STEP_CLAIM,
    STEP_YIELD, /* the right goes back while the issuer is asked where its endpoints are */
    STEP_KEEP,
    STEP_RELEASE,
};

struct oauth_flight {
    struct runtime *runtime;
    const struct oauth *oauth;
    char *stale; /* NULL for none */
    struct waiter *first, *last;
    struct job job;
    enum step step;
    struct grant grant; /* as it was read, then as it is to be kept */
    bool fresh, claimed;
    int64_t deadline_ms;
    struct timer *timer;
    enum err_code code; /* of the job */
    struct err err;
    enum err_code failure; /* why there is no token, while the claim is given back */
    struct err why;
    bool refused; /* by the provider: another process may have had more luck */
    struct oauth_flight *next;
};

static void submit(struct oauth_flight *flight, enum step step);

/* ---- the end ---- */

static void free_flight(struct oauth_flight *flight)
{
    for (struct oauth_flight **at = &flight->runtime->flights; *at != NULL; at = &(*at)->next) {
        if (*at != flight)
            continue;
        *at = flight->next;
        break;
    }
    timer_close(&flight->timer);
    grant_free(&flight->grant);
    mem_free(flight->stale);
    mem_free(flight);
}

bool oauth_is_busy(const struct runtime *runtime)
{
    for (const struct oauth_flight *at = runtime->flights; at != NULL; at = at->next)
        if (at->claimed)
            return true;
    return false;
}

/* Tells everybody; token is NULL after an error. */
static void land(struct oauth_flight *flight, const char *token, enum err_code code, const struct err *err)
{
    struct waiter *waiter = flight->first;
    char *copy = token != NULL ? mem_need_str(token) : NULL;
    struct err why = {0};
    if (token != NULL)
        redactor_add_passing(flight->runtime->redactor, token, strlen(token));
    if (err != NULL)
        why = *err;
    struct runtime *runtime = flight->runtime;
    free_flight(flight); /* who is told may ask again */
    while (waiter != NULL) {
        struct waiter *next = waiter->next;
        waiter->done(waiter->ctx, copy, code, &why);
        mem_free(waiter);
        waiter = next;
    }
    if (copy != NULL)
        crypto_wipe(copy, strlen(copy));
    mem_free(copy);
    if (runtime->oauth_over != NULL && !oauth_is_busy(runtime))
        runtime->oauth_over(runtime->oauth_ctx);
}

/* ---- asking the provider ---- */

static void give_back(struct oauth_flight *flight, enum err_code code, const struct err *err)
{
    flight->failure = code;
    flight->why = *err;
    submit(flight, STEP_RELEASE);
}

static void answered(void *ctx, struct oauth_answer *answer)
{
    struct oauth_flight *flight = ctx;
    struct err err;
    if (answer->code == ERR_NONE && answer->grant.access != NULL) {
        struct grant *grant = &answer->grant;
        if (grant->refresh == NULL) { /* it goes on being good */
            grant->refresh = flight->grant.refresh;
            flight->grant.refresh = NULL;
        }
        if (grant->scope == NULL) {
            grant->scope = flight->grant.scope;
            flight->grant.scope = NULL;
        }
        grant_free(&flight->grant);
        flight->grant = *grant;
        *grant = (struct grant){0};
        submit(flight, STEP_KEEP);
        return;
    }
    const char *key = flight->oauth->key;
    flight->refused = answer->code == ERR_DENIED;
    if (answer->code == ERR_NONE)
        give_back(
            flight,
            err_set(&err, ERR_IO, "oauth \"%s\": %s answered without a token", key, flight->oauth->name),
            &err);
    else if (answer->code != ERR_DENIED)
        give_back(flight,
                  err_set(&err, ERR_IO, "oauth \"%s\": %s; the grant is kept", key, answer->err.message),
                  &err);
    else if (flight->oauth->grant == OAUTH_CLIENT)
        give_back(flight, err_set(&err, ERR_DENIED, "oauth \"%s\": %s", key, answer->err.message), &err);
    else
        give_back(flight,
                  err_set(&err, ERR_DENIED,
                          "oauth \"%s\": %s: ask for access again with workers oauth start %s", key,
                          answer->err.message, key),
                  &err);
}

static void request_token(struct oauth_flight *flight)
{
    const struct oauth *oauth = flight->oauth;
    struct url_pair pairs[3];
    size_t count = 0;
    struct err err;
    enum err_code code = ERR_NONE;
    const char *url = NULL; /* the token endpoint */
    if (oauth->grant == OAUTH_CLIENT) {
        pairs[count++] = url_pair("grant_type", "client_credentials");
        if (oauth->scope != NULL)
            pairs[count++] = url_pair("scope", oauth->scope);
    } else if (flight->grant.refresh != NULL) {
        url = oauth->refresh_endpoint;
        pairs[count++] = url_pair("grant_type", "refresh_token");
        pairs[count++] = url_pair("refresh_token", flight->grant.refresh);
    } else if (flight->grant.access != NULL) {
        code = err_set(
            &err, ERR_DENIED,
            "oauth \"%s\": the access token has expired, and %s gave none to renew it with: workers oauth"
            " start %s",
            oauth->key, oauth->name, oauth->key);
    } else {
        code = err_set(&err, ERR_DENIED, "oauth \"%s\": nobody has given access yet: workers oauth start %s",
                       oauth->key, oauth->key);
    }
    if (code == ERR_NONE && url == NULL &&
        !oauth_is_discovered(flight->runtime, oauth, OAUTH_ENDPOINT_TOKEN)) {
        submit(flight, STEP_YIELD); /* it would last longer than the right to ask */
        return;
    }
    if (code == ERR_NONE && url == NULL)
        code = oauth_endpoint(flight->runtime, oauth, OAUTH_ENDPOINT_TOKEN, &url, &err);
    if (code == ERR_NONE)
        code = oauth_post(flight->runtime, oauth, url, pairs, count, answered, flight, &err);
    if (code != ERR_NONE)
        give_back(flight, code, &err);
}

static void discovered(void *ctx, enum err_code code, const struct err *err)
{
    struct oauth_flight *flight = ctx;
    if (code != ERR_NONE)
        land(flight, NULL, code, err);
    else
        submit(flight, STEP_CLAIM);
}

/* ---- jobs on the store ---- */

static void work(struct job *job, struct store *store)
{
    struct oauth_flight *flight = job->owner;
    const char *key = flight->oauth->key;
    struct grant grant = {0};
    switch (flight->step) {
    case STEP_CLAIM:
        grant_free(&flight->grant);
        flight->code = store_grant_claim(store, key, flight->stale, &flight->grant, &flight->fresh,
                                         &flight->claimed, &flight->err);
        break;
    case STEP_YIELD:
        flight->code = store_grant_release(store, key, &flight->err);
        break;
    case STEP_KEEP:
        flight->code = store_grant_set(store, key, &flight->grant, &flight->err);
        break;
    case STEP_RELEASE:
        flight->code = store_grant_release(store, key, &flight->err);
        /* Somebody may have renewed it with the same refresh token a moment before, and that is good then. */
        if (flight->code == ERR_NONE && flight->refused &&
            store_grant_get(store, key, &grant, &flight->err) == ERR_NONE &&
            grant.generation != flight->grant.generation && grant.access != NULL) {
            grant_free(&flight->grant);
            flight->grant = grant;
            flight->fresh = true;
        } else {
            grant_free(&grant);
        }
        break;
    }
}

static void try_again(void *ctx)
{
    submit(ctx, STEP_CLAIM);
}

static void after(struct job *job)
{
    struct oauth_flight *flight = job->owner;
    struct err err;
    if (flight->step == STEP_RELEASE) {
        if (flight->fresh)
            land(flight, flight->grant.access, ERR_NONE, NULL);
        else
            land(flight, NULL, flight->failure, &flight->why);
    } else if (flight->code != ERR_NONE) {
        err_set(&err, flight->code, "oauth \"%s\": %s", flight->oauth->key, flight->err.message);
        land(flight, NULL, flight->code, &err);
    } else if (flight->step == STEP_YIELD) {
        flight->claimed = false;
        oauth_discover(flight->runtime, flight->oauth, OAUTH_ENDPOINT_TOKEN, discovered, flight);
    } else if (flight->step == STEP_KEEP || flight->fresh) {
        land(flight, flight->grant.access, ERR_NONE, NULL);
    } else if (flight->claimed) {
        request_token(flight);
    } else if (clock_mono_ms() > flight->deadline_ms) {
        err_set(&err, ERR_TIMEOUT, "oauth \"%s\": another process has been asking for a token for %d s",
                flight->oauth->key, PATIENCE_MS / 1000);
        land(flight, NULL, ERR_TIMEOUT, &err);
    } else {
        timer_start(flight->timer, POLL_MS, 0);
    }
}

static void submit(struct oauth_flight *flight, enum step step)
{
    flight->step = step;
    flight->job = (struct job){.work = work, .after = after, .owner = flight};
    executor_submit(flight->runtime->executor, &flight->job);
}

/* ---- who asks ---- */

enum err_code oauth_find(const struct worker *worker, const char *key, const struct oauth **out,
                         struct err *err)
{
    struct buf known;
    *out = worker_oauth(worker, key);
    if (*out != NULL)
        return ERR_NONE;
    buf_init(&known, BUF_UNLIMITED);
    for (size_t i = 0; i < worker->oauth_count; i++)
        buf_addf(&known, "%s%s", i > 0 ? ", " : ": it has ", worker->oauths[i].key);
    err_set(err, ERR_NOT_FOUND, "the worker declares no oauth \"%.100s\"%s", key, buf_text(&known));
    buf_free(&known);
    return ERR_NOT_FOUND;
}

static bool same_text(const char *a, const char *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

enum err_code oauth_token(struct runtime *runtime, const struct oauth *oauth, const char *stale,
                          oauth_token_fn done, void *ctx, struct err *err)
{
    if (runtime->executor == NULL && runtime_share_store(runtime, err) != ERR_NONE)
        return err->code;
    struct waiter *waiter = mem_need(sizeof *waiter);
    *waiter = (struct waiter){.done = done, .ctx = ctx};
    for (struct oauth_flight *at = runtime->flights; at != NULL; at = at->next) {
        if (at->oauth != oauth || !same_text(at->stale, stale))
            continue;
        at->last->next = waiter;
        at->last = waiter;
        return ERR_NONE;
    }
    struct oauth_flight *flight = mem_need(sizeof *flight);
    flight->runtime = runtime;
    flight->oauth = oauth;
    flight->stale = stale != NULL ? mem_need_str(stale) : NULL;
    flight->first = flight->last = waiter;
    flight->deadline_ms = clock_mono_ms() + PATIENCE_MS;
    flight->timer = timer_new(runtime->loop, try_again, flight);
    flight->next = runtime->flights;
    runtime->flights = flight;
    submit(flight, STEP_CLAIM);
    return ERR_NONE;
}

static void tell_script(void *ctx, const char *token, enum err_code code, const struct err *err)
{
    struct oauth_call *call = ctx;
    call->pending = false;
    call->code = code;
    if (code != ERR_NONE)
        call->err = *err;
    else
        buf_adds(&call->token, token);
    if (call->task == NULL)
        oauth_call_free(call);
    else
        task_wake(call->task);
}

enum err_code execution_oauth(void *ctx, struct oauth_call *call, struct task *task, struct err *err)
{
    struct runtime *runtime = ((struct execution *)ctx)->runtime;
    const struct oauth *oauth = worker_oauth(runtime->worker, call->key);
    if (oauth == NULL)
        return err_set(err, ERR_NOT_FOUND, "the worker declares no oauth \"%s\"", call->key);
    call->task = task;
    call->pending = true;
    enum err_code code = oauth_token(runtime, oauth, call->stale.len > 0 ? buf_text(&call->stale) : NULL,
                                     tell_script, call, err);
    call->pending = code == ERR_NONE;
    return code;
}

void oauth_free(struct runtime *runtime)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "the program ends");
    oauth_requests_free(runtime);
    oauth_discoveries_free(runtime);
    runtime->oauth_over = NULL;
    while (runtime->flights != NULL) {
        const struct oauth_flight *flight = runtime->flights;
        struct err ignored;
        /* Otherwise its lease would have to run out; and does, if this fails. */
        enum err_code code = flight->claimed && runtime->store != NULL
                                 ? store_grant_release(runtime->store, flight->oauth->key, &ignored)
                                 : ERR_NONE;
        (void)code;
        land(runtime->flights, NULL, ERR_CANCELLED, &err);
    }
}
