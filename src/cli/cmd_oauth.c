/* workers oauth …: access that people give to a worker. Must not print a token but where one is asked for. */
#include "cli/listing.h"
#include "cli/oauth_callback.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/oauth.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS ((int64_t)10 * 60 * 1000)
#define FAILURES_MAX 30 /* of looks at a request, in a row */

/* A question that is not a GET, about one declaration. */
static enum err_code ask(struct target *target, const char *method, const char *key, const char *rest,
                         struct buf *answer, struct err *err)
{
    struct buf path;
    path_make(&path, "/oauth", key, rest);
    const struct question question = {.method = method, .path = &path};
    enum err_code code = target_ask(target, &question, answer, err);
    buf_free(&path);
    return code;
}

/* A member of an answer, on one line whatever a server says. */
static void read_member(const struct buf *answer, const char *name, struct buf *out)
{
    const struct json_slice object = {buf_text(answer), answer->len};
    buf_init(out, BUF_UNLIMITED);
    object_add(&object, name, out);
    if (out->len > 0)
        text_make_plain(out->data, out->len);
}

static bool member_is(const struct buf *answer, const char *name, const char *word)
{
    struct buf value;
    read_member(answer, name, &value);
    bool same = strcmp(buf_text(&value), word) == 0;
    buf_free(&value);
    return same;
}

/* ---- start ---- */

/* A browser that comes back to this command. */
struct waiting {
    bool over;
    enum err_code code;
    struct err err;
};

static void browser_came(void *ctx, bool known, enum err_code code, const struct err *err)
{
    struct waiting *waiting = ctx;
    if (!known)
        return;
    waiting->over = true;
    waiting->code = code;
    if (code != ERR_NONE)
        waiting->err = *err;
}

static enum err_code too_late(const char *name, struct err *err)
{
    return err_set(err, ERR_TIMEOUT, "nobody came back from %s in time: start again", name);
}

static void show_request(const struct buf *request, const char *name)
{
    struct buf url, code, redirect;
    read_member(request, "url", &url);
    read_member(request, "userCode", &code);
    read_member(request, "redirectUrl", &redirect);
    if (code.len > 0)
        cli_note("Open this address on any device and enter the code:");
    else
        cli_note("Open this address in a browser and give access; %s then sends it back to %s:", name,
                 buf_text(&redirect));
    printf("%s\n%s%s", buf_text(&url), buf_text(&code), code.len > 0 ? "\n" : "");
    fflush(stdout);
    buf_free(&url);
    buf_free(&code);
    buf_free(&redirect);
}

static void run_out(uv_timer_t *timer)
{
    bool *late = timer->data;
    *late = true;
}

/* The browser comes back to this process. */
static enum err_code wait_here(struct target *target, const struct buf *request, const char *name,
                               struct err *err)
{
    struct waiting waiting = {0};
    struct oauth_callback *callback = NULL;
    struct buf redirect;
    uv_timer_t timer;
    bool late = false;
    uv_loop_t *loop = target->runtime->loop;
    read_member(request, "redirectUrl", &redirect);
    enum err_code code =
        oauth_callback_open(target->runtime, buf_text(&redirect), browser_came, &waiting, &callback, err);
    if (code == ERR_NONE) {
        show_request(request, name);
        uv_timer_init(loop, &timer);
        timer.data = &late;
        uv_timer_start(&timer, run_out, WAIT_MS, 0);
        while (!waiting.over && !late)
            uv_run(loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&timer, NULL);
        code = waiting.over ? waiting.code : too_late(name, err);
        if (waiting.over && code != ERR_NONE)
            *err = waiting.err;
    }
    oauth_callback_close(callback);
    uv_run(loop, UV_RUN_NOWAIT); /* closes the timer */
    buf_free(&redirect);
    return code;
}

/* It comes back to a server, or goes to another device: whoever is asked knows. */
static enum err_code wait_there(struct target *target, const char *key, const struct buf *request,
                                const char *name, struct err *err)
{
    struct buf id, rest, look, answer, why;
    enum err_code code = ERR_NONE;
    int failures = 0; /* in a row */
    read_member(request, "id", &id);
    path_make(&rest, "/requests", buf_text(&id), NULL);
    buf_init(&look, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_add(&look, buf_text(request), request->len);
    show_request(request, name);
    while (code == ERR_NONE && member_is(&look, "state", "waiting")) {
        const struct json_slice object = {buf_text(&look), look.len};
        int64_t seconds = object_number(&object, "interval");
        sleep((unsigned)(seconds < 1 ? 1 : seconds > 600 ? 600 : seconds));
        buf_clear(&answer);
        code = ask(target, "POST", key, buf_text(&rest), &answer, err);
        failures = code == ERR_IO ? failures + 1 : 0;
        if (code == ERR_NONE) {
            buf_clear(&look);
            buf_add(&look, buf_text(&answer), answer.len);
        } else if (failures > 0 && failures < FAILURES_MAX) {
            code = ERR_NONE; /* the server may be starting again */
        }
    }
    read_member(&look, "error", &why);
    if (code == ERR_NONE && member_is(&look, "state", "refused"))
        code = err_set(err, ERR_DENIED, "%s", buf_text(&why));
    else if (code == ERR_NONE && !member_is(&look, "state", "given"))
        code = too_late(name, err);
    buf_free(&id);
    buf_free(&rest);
    buf_free(&look);
    buf_free(&answer);
    buf_free(&why);
    return code;
}

static int run_start(const struct cli_args *args)
{
    struct target target;
    struct err err;
    struct buf request, name;
    const char *key = args->positional[0];
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&request, BUF_UNLIMITED);
    enum err_code code = ask(&target, "POST", key, "/start", &request, &err);
    read_member(&request, "name", &name);
    if (code == ERR_NONE && !member_is(&request, "state", "given"))
        code = target.remote == NULL && member_is(&request, "grant", "code")
                   ? wait_here(&target, &request, buf_text(&name), &err)
                   : wait_there(&target, key, &request, buf_text(&name), &err);
    if (code == ERR_NONE)
        cli_note("%s: access to %s is kept, sealed; scripts get it with accessToken()", key, buf_text(&name));
    else
        result = target_fail(&target, &err);
    buf_free(&request);
    buf_free(&name);
    target_close(&target);
    return result;
}

const struct command cmd_oauth_start = {
    .name = "oauth start",
    .arguments = "KEY",
    .summary = "Ask for access on behalf of somebody",
    .help = "Prints the address that a person opens in a browser, and waits until they come back; with the "
            "device grant, "
            "an\naddress and a code for any device. What is given is sealed into the project's store. With "
            "--server the\nbrowser comes back to the server, from wherever it is, and the server keeps what "
            "is given.\n\n"
            "Examples:\n  workers oauth start github\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_start,
};

/* ---- token ---- */

struct token_wait {
    struct target *target;
    const struct oauth *oauth;
    bool over;
    enum err_code code;
    struct err err;
};

static void token_ready(void *ctx, const char *token, enum err_code code, const struct err *err)
{
    struct token_wait *wait = ctx;
    struct grant grant;
    char time[ISO_UTC_SIZE];
    wait->over = true;
    wait->code = code;
    if (code != ERR_NONE) {
        wait->err = *err;
        return;
    }
    printf("%s\n", token);
    if (store_grant_get(wait->target->store, wait->oauth->key, &grant, &wait->err) == ERR_NONE &&
        grant.expires_ms > 0)
        cli_note("good until %s", iso_format_utc(grant.expires_ms, time));
    grant_free(&grant);
}

static enum err_code get_token(struct target *target, const char *key, struct err *err)
{
    struct token_wait wait = {.target = target};
    if (target->remote != NULL)
        return err_set(err, ERR_DENIED,
                       "a server tells nobody its access tokens: its scripts get them with accessToken(). "
                       "With --server local it is the project of this folder");
    enum err_code code = target_load(target, err);
    if (code == ERR_NONE)
        code = store_open(target->folder, true, &target->store, err);
    if (code == ERR_NONE)
        code = oauth_find(target->runtime->worker, key, &wait.oauth, err);
    if (code == ERR_NONE)
        code = oauth_token(target->runtime, wait.oauth, NULL, token_ready, &wait, err);
    if (code != ERR_NONE)
        return code;
    while (!wait.over)
        uv_run(target->runtime->loop, UV_RUN_ONCE);
    if (wait.code != ERR_NONE)
        *err = wait.err;
    return wait.code;
}

static int run_token(const struct cli_args *args)
{
    struct target target;
    struct err err;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    if (get_token(&target, args->positional[0], &err) != ERR_NONE)
        result = target_fail(&target, &err);
    target_close(&target);
    return result;
}

const struct command cmd_oauth_token = {
    .name = "oauth token",
    .arguments = "KEY",
    .summary = "Print an access token, renewed if need be",
    .help = "On standard output the token and nothing else. Of a server no token can be had.\n\n"
            "Examples:\n  workers oauth token github\n  curl -H \"Authorization: Bearer $(workers oauth "
            "token github)\" "
            "https://api.github.com/user\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_token,
};

/* ---- status ---- */

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
    return listing_run(args, &listing, "/oauth");
}

static const struct cli_option status_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_oauth_status = {
    .name = "oauth status",
    .arguments = "",
    .summary = "Show which access there is",
    .help = "State is good, expired (and cannot be renewed), or none.\n\nExamples:\n  workers oauth status\n",
    .options = status_options,
    .remote = true,
    .run = run_status,
};

/* ---- revoke ---- */

static int run_revoke(const struct cli_args *args)
{
    struct target target;
    struct err err;
    struct buf answer;
    const char *key = args->positional[0];
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&answer, BUF_UNLIMITED);
    if (ask(&target, "DELETE", key, NULL, &answer, &err) == ERR_NONE)
        cli_note(member_is(&answer, "revoked", "true")
                     ? "%s: access is revoked, and forgotten"
                     : "%s: access is forgotten; its provider has no address to revoke it at: do that in its "
                       "settings",
                 key);
    else
        result = target_fail(&target, &err);
    buf_free(&answer);
    target_close(&target);
    return result;
}

const struct command cmd_oauth_revoke = {
    .name = "oauth revoke",
    .arguments = "KEY",
    .summary = "Give access back, and forget it",
    .help = "Examples:\n  workers oauth revoke github\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_revoke,
};

/* ---- show-redirect-url ---- */

/* That of the declaration; url stays empty when it names none. */
static enum err_code find_callback_url(struct target *target, const char *key, struct buf *url,
                                       struct err *err)
{
    struct buf path, answer, known;
    struct json_scan scan;
    bool more = false, found = false;
    path_make(&path, "/oauth", NULL, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    buf_init(&known, BUF_UNLIMITED);
    enum err_code code = target_get(target, &path, &answer, err);
    json_scan_init(&scan, buf_text(&answer), answer.len);
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    while (code == ERR_NONE && !found && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        struct json_slice object;
        struct buf own;
        code = json_scan_skip(&scan, &object, err);
        buf_init(&own, BUF_UNLIMITED);
        object_add(&object, "key", &own);
        found = strcmp(buf_text(&own), key) == 0;
        if (found)
            object_add(&object, "callbackUrl", url);
        buf_addf(&known, "%s%s", known.len > 0 ? ", " : ": it has ", buf_text(&own));
        buf_free(&own);
    }
    if (code == ERR_NONE && !found)
        code = err_set(err, ERR_NOT_FOUND, "the worker declares no oauth \"%s\"%s", key, buf_text(&known));
    buf_free(&path);
    buf_free(&answer);
    buf_free(&known);
    return code;
}

/* The usual one: of a server, or of a command of this machine. */
static enum err_code find_usual_url(struct target *target, struct buf *url, struct err *err)
{
    struct buf path, answer;
    enum err_code code = ERR_NONE;
    if (target->remote == NULL) {
        buf_adds(url, OAUTH_CALLBACK_URL);
        return ERR_NONE;
    }
    path_make(&path, "/oauth/redirect-url", NULL, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    code = target_get(target, &path, &answer, err);
    const struct json_slice object = {buf_text(&answer), answer.len};
    object_add(&object, "url", url);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int run_show_redirect_url(const struct cli_args *args)
{
    struct target target;
    struct err err;
    struct buf url;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&url, BUF_UNLIMITED);
    enum err_code code =
        args->count > 0 ? find_callback_url(&target, args->positional[0], &url, &err) : ERR_NONE;
    if (code == ERR_NONE && url.len == 0)
        code = find_usual_url(&target, &url, &err);
    if (code == ERR_NONE)
        code = buf_status(&url, "the URL", &err);
    if (code != ERR_NONE) {
        result = target_fail(&target, &err);
    } else {
        text_make_plain(url.data, url.len);
        puts(buf_text(&url));
    }
    buf_free(&url);
    target_close(&target);
    return result;
}

const struct command cmd_oauth_show_redirect_url = {
    .name = "oauth show-redirect-url",
    .arguments = "[KEY]",
    .summary = "Print the redirect URL to register with a provider",
    .help = "That of this machine; with --server that of the server.\n\n"
            "Examples:\n  workers oauth show-redirect-url\n",
    .max_arguments = 1,
    .remote = true,
    .run = run_show_redirect_url,
};
