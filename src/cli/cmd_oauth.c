/* workers oauth …: access that people give to a worker. Must not print a token but where one is asked for. */
#include "cli/listing.h"
#include "cli/oauth_callback.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "engine/oauth.h"

#include <stdlib.h>
#include <string.h>

#define RANDOM_BYTES 32
#define RANDOM_TEXT 44 /* as base64url, and the NUL */
#define WAIT_MS ((uint64_t)10 * 60 * 1000)
#define POLL_DEFAULT_S 5

/* A command about one grant of the project. */
struct granting {
    struct target target;
    const struct oauth *oauth;
    const char *redirect_url;
    char state[RANDOM_TEXT], verifier[RANDOM_TEXT];
    struct oauth_callback *callback;
    uv_timer_t timer;
    bool timing;
    char *device_code;
    uint64_t poll_ms;
    bool over;
    enum err_code code;
    struct err err;
};

/* ---- opening ---- */

static enum err_code find_oauth(struct granting *granting, const char *key)
{
    const struct worker *worker = granting->target.runtime->worker;
    struct buf known;
    granting->oauth = worker_oauth(worker, key);
    if (granting->oauth != NULL)
        return ERR_NONE;
    buf_init(&known, BUF_UNLIMITED);
    for (size_t i = 0; i < worker->oauth_count; i++)
        buf_addf(&known, "%s%s", i > 0 ? ", " : ": it has ", worker->oauths[i].key);
    err_set(&granting->err, ERR_NOT_FOUND, "the worker declares no oauth \"%s\"%s", key, buf_text(&known));
    buf_free(&known);
    return ERR_NOT_FOUND;
}

/* With its script and its store. Returns an exit code; nothing is open unless it is EXIT_DONE. */
static int open_all(struct granting *granting, const char *key)
{
    const struct cli_args here = {.server = "local"};
    *granting = (struct granting){0};
    int result = target_open(&here, &granting->target);
    if (result != EXIT_DONE)
        return result;
    if (target_load(&granting->target, &granting->err) != ERR_NONE ||
        store_open(granting->target.folder, true, &granting->target.store, &granting->err) != ERR_NONE ||
        (key != NULL && find_oauth(granting, key) != ERR_NONE)) {
        result = target_fail(&granting->target, &granting->err);
        target_close(&granting->target);
    }
    return result;
}

static void stop(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(struct granting *granting)
{
    uv_loop_t *loop = granting->target.runtime->loop;
    oauth_callback_close(granting->callback);
    if (granting->timing)
        stop((uv_handle_t *)&granting->timer);
    uv_run(loop, UV_RUN_NOWAIT);
    if (granting->device_code != NULL)
        crypto_wipe(granting->device_code, strlen(granting->device_code));
    mem_free(granting->device_code);
    crypto_wipe(granting->verifier, sizeof granting->verifier);
    target_close(&granting->target);
}

static void end(struct granting *granting, enum err_code code)
{
    granting->over = true;
    granting->code = code;
}

static int wait_for_end(struct granting *granting)
{
    while (!granting->over)
        uv_run(granting->target.runtime->loop, UV_RUN_ONCE);
    return granting->code == ERR_NONE ? EXIT_DONE : cli_fail(&granting->err);
}

static void start_timer(struct granting *granting, uv_timer_cb fn, uint64_t delay_ms)
{
    if (!granting->timing)
        uv_timer_init(granting->target.runtime->loop, &granting->timer);
    granting->timing = true;
    granting->timer.data = granting;
    uv_timer_start(&granting->timer, fn, delay_ms, 0);
}

/* ---- random texts, and what is made of them ---- */

static enum err_code make_random(char out[RANDOM_TEXT], struct err *err)
{
    unsigned char bytes[RANDOM_BYTES];
    enum err_code code = crypto_random(bytes, sizeof bytes, err);
    if (code == ERR_NONE)
        crypto_encode(CRYPTO_BASE64URL, bytes, sizeof bytes, out);
    crypto_wipe(bytes, sizeof bytes);
    return code;
}

/* ---- a grant that has come ---- */

static void keep_grant(struct granting *granting, struct oauth_answer *answer)
{
    if (answer->code != ERR_NONE) {
        granting->err = answer->err;
        end(granting, answer->code);
    } else if (answer->grant.access == NULL) {
        end(granting, err_set(&granting->err, ERR_IO, "%s answered without a token", granting->oauth->name));
    } else {
        end(granting,
            store_grant_set(granting->target.store, granting->oauth->key, &answer->grant, &granting->err));
    }
}

static void token_came(void *ctx, struct oauth_answer *answer)
{
    keep_grant(ctx, answer);
}

/* ---- a person says yes in a browser ---- */

static void browser_came(void *ctx, const char *code, const char *error, const char *description)
{
    struct granting *granting = ctx;
    const struct oauth *oauth = granting->oauth;
    if (error != NULL) {
        end(granting, err_set(&granting->err, ERR_DENIED, "%s: access was not given: %.200s%s%.500s",
                              oauth->name, error, description[0] != '\0' ? ", " : "", description));
        return;
    }
    struct url_pair pairs[4] = {url_pair("grant_type", "authorization_code"), url_pair("code", code),
                                url_pair("redirect_uri", granting->redirect_url),
                                url_pair("code_verifier", granting->verifier)};
    enum err_code sent = oauth_post(granting->target.runtime, oauth, oauth->token_endpoint, pairs,
                                    oauth->pkce ? 4 : 3, token_came, granting, &granting->err);
    if (sent != ERR_NONE)
        end(granting, sent);
}

static enum err_code write_url(const struct granting *granting, struct buf *out, struct err *err)
{
    const struct oauth *oauth = granting->oauth;
    struct url_pair pairs[32];
    size_t count = 0;
    const char *id = NULL;
    char challenge[RANDOM_TEXT];
    unsigned char digest[32];
    enum err_code code = oauth_value(granting->target.runtime, oauth, oauth->client_id, &id, err);
    if (code == ERR_NONE && oauth->pkce)
        code = crypto_sha256(granting->verifier, strlen(granting->verifier), digest, err);
    if (code != ERR_NONE)
        return code;
    pairs[count++] = url_pair("response_type", "code");
    pairs[count++] = url_pair("client_id", id);
    pairs[count++] = url_pair("redirect_uri", granting->redirect_url);
    pairs[count++] = url_pair("state", granting->state);
    if (oauth->scope != NULL)
        pairs[count++] = url_pair("scope", oauth->scope);
    if (oauth->pkce) {
        crypto_encode(CRYPTO_BASE64URL, digest, sizeof digest, challenge);
        pairs[count++] = url_pair("code_challenge", challenge);
        pairs[count++] = url_pair("code_challenge_method", "S256");
    }
    for (size_t i = 0; i < oauth->parameter_count; i++)
        pairs[count++] = url_pair(oauth->parameters[i].name, oauth->parameters[i].value);
    url_add_query(out, oauth->authorization_endpoint, strlen(oauth->authorization_endpoint), pairs, count);
    return buf_status(out, "the address", err);
}

static void waited_long_enough(uv_timer_t *timer)
{
    struct granting *granting = timer->data;
    end(granting, err_set(&granting->err, ERR_TIMEOUT, "nobody came back from %s within ten minutes",
                          granting->oauth->name));
}

static enum err_code start_browser(struct granting *granting)
{
    struct buf url;
    buf_init(&url, BUF_UNLIMITED);
    enum err_code code = make_random(granting->state, &granting->err);
    if (code == ERR_NONE)
        code = make_random(granting->verifier, &granting->err);
    if (code == ERR_NONE)
        code = write_url(granting, &url, &granting->err);
    if (code == ERR_NONE)
        code = oauth_callback_open(granting->target.runtime->loop, granting->redirect_url, granting->state,
                                   browser_came, granting, &granting->callback, &granting->err);
    if (code == ERR_NONE) {
        cli_note("Open this address in a browser and give access; %s then sends it back to %s:",
                 granting->oauth->name, granting->redirect_url);
        printf("%s\n", buf_text(&url));
        fflush(stdout);
        start_timer(granting, waited_long_enough, WAIT_MS);
    }
    buf_free(&url);
    return code;
}

/* ---- on another device (RFC 8628) ---- */

static void poll_device(uv_timer_t *timer);

static void device_polled(void *ctx, struct oauth_answer *answer)
{
    struct granting *granting = ctx;
    bool slower = strcmp(answer->error, "slow_down") == 0;
    if (slower)
        granting->poll_ms += POLL_DEFAULT_S * 1000;
    if (slower || strcmp(answer->error, "authorization_pending") == 0 || answer->code == ERR_IO)
        start_timer(granting, poll_device, granting->poll_ms);
    else
        keep_grant(granting, answer);
}

static void poll_device(uv_timer_t *timer)
{
    struct granting *granting = timer->data;
    const struct url_pair pairs[] = {url_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                                     url_pair("device_code", granting->device_code)};
    enum err_code code =
        oauth_post(granting->target.runtime, granting->oauth, granting->oauth->token_endpoint, pairs, 2,
                   device_polled, granting, &granting->err);
    if (code != ERR_NONE)
        end(granting, code);
}

static void device_came(void *ctx, struct oauth_answer *answer)
{
    struct granting *granting = ctx;
    const struct json_slice object = {answer->json, answer->json_len};
    struct buf code, user_code, url;
    if (answer->code != ERR_NONE) {
        granting->err = answer->err;
        end(granting, answer->code);
        return;
    }
    buf_init(&code, BUF_UNLIMITED);
    buf_init(&user_code, BUF_UNLIMITED);
    buf_init(&url, BUF_UNLIMITED);
    object_add(&object, "device_code", &code);
    object_add(&object, "user_code", &user_code);
    object_add(&object, object_has(&object, "verification_uri") ? "verification_uri" : "verification_url",
               &url);
    if (user_code.len > 0)
        text_make_plain(user_code.data, user_code.len);
    if (url.len > 0)
        text_make_plain(url.data, url.len);
    int64_t interval = object_number(&object, "interval");
    granting->poll_ms = (uint64_t)(interval > 0 && interval < 600 ? interval : POLL_DEFAULT_S) * 1000;
    if (code.len == 0 || user_code.len == 0 || url.len == 0) {
        end(granting, err_set(&granting->err, ERR_IO, "%s answered without a code", granting->oauth->name));
    } else {
        cli_note("Open this address on any device and enter the code:");
        printf("%s\n%s\n", buf_text(&url), buf_text(&user_code));
        fflush(stdout);
        granting->device_code = mem_need_str(buf_text(&code));
        start_timer(granting, poll_device, granting->poll_ms);
    }
    buf_free(&code);
    buf_free(&user_code);
    buf_free(&url);
}

static enum err_code start_device(struct granting *granting)
{
    const struct oauth *oauth = granting->oauth;
    struct url_pair pairs[1];
    size_t count = 0;
    if (oauth->scope != NULL)
        pairs[count++] = url_pair("scope", oauth->scope);
    return oauth_post(granting->target.runtime, oauth, oauth->device_endpoint, pairs, count, device_came,
                      granting, &granting->err);
}

/* ---- start ---- */

static enum err_code start_client(struct granting *granting)
{
    const struct oauth *oauth = granting->oauth;
    struct url_pair pairs[2] = {url_pair("grant_type", "client_credentials")};
    size_t count = 1;
    if (oauth->scope != NULL)
        pairs[count++] = url_pair("scope", oauth->scope);
    return oauth_post(granting->target.runtime, oauth, oauth->token_endpoint, pairs, count, token_came,
                      granting, &granting->err);
}

static int run_start(const struct cli_args *args)
{
    static enum err_code (*const ways[])(struct granting *) = {
        [OAUTH_CODE] = start_browser, [OAUTH_CLIENT] = start_client, [OAUTH_DEVICE] = start_device};
    struct granting granting;
    const char *key = args->positional[0];
    int result = open_all(&granting, key);
    if (result != EXIT_DONE)
        return result;
    granting.redirect_url =
        granting.oauth->callback_url != NULL ? granting.oauth->callback_url : OAUTH_CALLBACK_URL;
    result = ways[granting.oauth->grant](&granting) == ERR_NONE ? wait_for_end(&granting)
                                                                : cli_fail(&granting.err);
    if (result == EXIT_DONE)
        cli_note("%s: access to %s is kept, sealed; scripts get it with accessToken()", key,
                 granting.oauth->name);
    close_all(&granting);
    return result;
}

const struct command cmd_oauth_start = {
    .name = "oauth start",
    .arguments = "KEY",
    .summary = "Ask for access on behalf of somebody",
    .help = "Prints the address that a person opens in a browser, and waits until they come back; with the "
            "device grant, "
            "an\naddress and a code for any device. What is given is sealed into the project's store.\n\n"
            "Examples:\n  workers oauth start github\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_start,
};

/* ---- token ---- */

static void token_ready(void *ctx, const char *token, enum err_code code, const struct err *err)
{
    struct granting *granting = ctx;
    struct grant grant;
    char time[ISO_UTC_SIZE];
    if (code != ERR_NONE) {
        granting->err = *err;
        end(granting, code);
        return;
    }
    printf("%s\n", token);
    if (store_grant_get(granting->target.store, granting->oauth->key, &grant, &granting->err) == ERR_NONE &&
        grant.expires_ms > 0)
        cli_note("good until %s", iso_format_utc(grant.expires_ms, time));
    grant_free(&grant);
    end(granting, ERR_NONE);
}

static int run_token(const struct cli_args *args)
{
    struct granting granting;
    int result = open_all(&granting, args->positional[0]);
    if (result != EXIT_DONE)
        return result;
    result = oauth_token(granting.target.runtime, granting.oauth, NULL, token_ready, &granting,
                         &granting.err) == ERR_NONE
                 ? wait_for_end(&granting)
                 : cli_fail(&granting.err);
    close_all(&granting);
    return result;
}

const struct command cmd_oauth_token = {
    .name = "oauth token",
    .arguments = "KEY",
    .summary = "Print an access token, renewed if need be",
    .help = "On standard output the token and nothing else.\n\n"
            "Examples:\n  workers oauth token github\n  curl -H \"Authorization: Bearer $(workers oauth "
            "token github)\" "
            "https://api.github.com/user\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_token,
};

/* ---- status ---- */

static void add_status(const struct oauth *oauth, const struct grant *grant, struct buf *out)
{
    static const char *const grants[] = {
        [OAUTH_CODE] = "code", [OAUTH_CLIENT] = "client", [OAUTH_DEVICE] = "device"};
    char time[ISO_UTC_SIZE];
    bool expired = grant->expires_ms != 0 && grant->expires_ms <= clock_now_ms();
    bool renewable = grant->refresh != NULL || oauth->grant == OAUTH_CLIENT;
    buf_adds(out, out->len > 1 ? ",{\"key\":" : "{\"key\":");
    json_write_text(out, oauth->key);
    buf_adds(out, ",\"name\":");
    json_write_text(out, oauth->name);
    buf_addf(out, ",\"grant\":\"%s\",\"state\":\"%s\",\"renewable\":%s", grants[oauth->grant],
             grant->access == NULL && oauth->grant != OAUTH_CLIENT ? "none"
             : expired && !renewable                               ? "expired"
                                                                   : "good",
             renewable ? "true" : "false");
    if (grant->expires_ms != 0)
        buf_addf(out, ",\"expiresAt\":\"%s\"", iso_format_utc(grant->expires_ms, time));
    if (grant->generation > 0)
        buf_addf(out, ",\"changedAt\":\"%s\"", iso_format_utc(grant->updated_ms, time));
    if (grant->scope != NULL) {
        buf_adds(out, ",\"scope\":");
        json_write_text(out, grant->scope);
    }
    buf_addc(out, '}');
}

static int run_status(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "OAUTH"}, .member = "key"},
        {.column = {.title = "PROVIDER"}, .member = "name"},
        {.column = {.title = "GRANT"}, .member = "grant"},
        {.column = {.title = "STATE"}, .member = "state"},
        {.column = {.title = "RENEWABLE"}, .member = "renewable"},
        {.column = {.title = "EXPIRES"}, .member = "expiresAt", .kind = CELL_TIME_IF},
        {.column = {.title = "SCOPE"}, .member = "scope"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "the worker declares no oauth"};
    struct granting granting;
    struct buf array;
    int result = open_all(&granting, NULL);
    if (result != EXIT_DONE)
        return result;
    buf_init(&array, BUF_UNLIMITED);
    buf_addc(&array, '[');
    const struct worker *worker = granting.target.runtime->worker;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < worker->oauth_count && code == ERR_NONE; i++) {
        struct grant grant;
        code = store_grant_get(granting.target.store, worker->oauths[i].key, &grant, &granting.err);
        if (code == ERR_NONE)
            add_status(&worker->oauths[i], &grant, &array);
        grant_free(&grant);
    }
    buf_addc(&array, ']');
    result = code == ERR_NONE ? listing_print(&listing, cli_format(args), &array) : cli_fail(&granting.err);
    buf_free(&array);
    close_all(&granting);
    return result;
}

static const struct cli_option status_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_oauth_status = {
    .name = "oauth status",
    .arguments = "",
    .summary = "Show which access there is",
    .help = "State is good, expired (and cannot be renewed), or none.\n\nExamples:\n  workers oauth status\n",
    .options = status_options,
    .run = run_status,
};

/* ---- revoke ---- */

static void revoked(void *ctx, struct oauth_answer *answer)
{
    struct granting *granting = ctx;
    granting->err = answer->err;
    end(granting, answer->code);
}

static int run_revoke(const struct cli_args *args)
{
    struct granting granting;
    struct grant grant;
    bool existed = false;
    const char *key = args->positional[0];
    int result = open_all(&granting, key);
    if (result != EXIT_DONE)
        return result;
    const struct oauth *oauth = granting.oauth;
    enum err_code code = store_grant_get(granting.target.store, key, &grant, &granting.err);
    if (code == ERR_NONE && grant.access == NULL)
        code = err_set(&granting.err, ERR_NOT_FOUND,
                       "there is no access to revoke for \"%s\": workers oauth status", key);
    if (code == ERR_NONE && oauth->revocation_endpoint != NULL) {
        const struct url_pair pairs[] = {
            url_pair("token", grant.refresh != NULL ? grant.refresh : grant.access),
            url_pair("token_type_hint", grant.refresh != NULL ? "refresh_token" : "access_token")};
        code = oauth_post(granting.target.runtime, oauth, oauth->revocation_endpoint, pairs, 2, revoked,
                          &granting, &granting.err);
        while (code == ERR_NONE && !granting.over)
            uv_run(granting.target.runtime->loop, UV_RUN_ONCE);
        code = code == ERR_NONE ? granting.code : code;
    }
    if (code == ERR_NONE)
        code = store_grant_delete(granting.target.store, key, &existed, &granting.err);
    if (code == ERR_NONE)
        cli_note(oauth->revocation_endpoint != NULL ? "%s: access is revoked, and forgotten"
                                                    : "%s: access is forgotten; its provider has no address "
                                                      "to revoke it at: do that in its settings",
                 key);
    else
        result = cli_fail(&granting.err);
    grant_free(&grant);
    close_all(&granting);
    return result;
}

const struct command cmd_oauth_revoke = {
    .name = "oauth revoke",
    .arguments = "KEY",
    .summary = "Give access back, and forget it",
    .help = "Examples:\n  workers oauth revoke github\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_revoke,
};

/* ---- show-redirect-url ---- */

static int run_show_redirect_url(const struct cli_args *args)
{
    struct granting granting;
    if (args->count == 0) {
        puts(OAUTH_CALLBACK_URL);
        return EXIT_DONE;
    }
    int result = open_all(&granting, args->positional[0]);
    if (result != EXIT_DONE)
        return result;
    puts(granting.oauth->callback_url != NULL ? granting.oauth->callback_url : OAUTH_CALLBACK_URL);
    close_all(&granting);
    return EXIT_DONE;
}

const struct command cmd_oauth_show_redirect_url = {
    .name = "oauth show-redirect-url",
    .arguments = "[KEY]",
    .summary = "Print the redirect URL to register with a provider",
    .help = "Examples:\n  workers oauth show-redirect-url\n",
    .max_arguments = 1,
    .run = run_show_redirect_url,
};
