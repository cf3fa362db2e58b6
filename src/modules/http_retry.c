/* workers.http: when a request is sent again, and after which wait. Must not send or wait itself. */
#include "modules/http_priv.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <math.h>
#include <string.h>

#define ATTEMPTS 4 /* with retry = true */
#define MAX_ATTEMPTS 20
#define BACKOFF_S 0.5
#define MAX_WAIT_S 60.0
#define MAX_WAIT_LIMIT_S 3600.0

static const struct option_spec retry_options[] = {
    {"attempts", OPTION_INTEGER, false, "how often it is sent in all, from 1 to 20"},
    {"backoff", OPTION_NUMBER, false, "seconds before the second attempt; doubled for each after it"},
    {"maxWait", OPTION_NUMBER, false, "seconds that one wait may take"},
    {"unsafe", OPTION_BOOLEAN, false, "true: also POST and PATCH"},
    {NULL, 0, false, NULL},
};

static void check_range(lua_State *L, const struct call *call, const char *name, double value, double low,
                        double high)
{
    if (!(value >= low && value <= high))
        luaL_error(L, "%s: option \"retry\": %s must be from %f to %f, got %f", call->function, name, low,
                   high, value);
}

void http_read_retry(lua_State *L, struct call *call)
{
    struct http_retry *retry = &call->retry;
    *retry = (struct http_retry){.attempts = 1, .backoff_s = BACKOFF_S, .max_wait_s = MAX_WAIT_S};
    if (!http_push_option(L, "retry"))
        return;
    if (lua_isboolean(L, -1)) {
        retry->attempts = lua_toboolean(L, -1) ? ATTEMPTS : 1;
    } else if (lua_isinteger(L, -1)) {
        check_range(L, call, "attempts", lua_tonumber(L, -1), 1, MAX_ATTEMPTS);
        retry->attempts = (int)lua_tointeger(L, -1);
    } else if (lua_istable(L, -1)) {
        lua_pushfstring(L, "%s: option \"retry\"", call->function);
        options_check(L, -2, retry_options, lua_tostring(L, -1));
        lua_pop(L, 1);
        double attempts = options_number(L, -1, "attempts", ATTEMPTS);
        retry->backoff_s = options_number(L, -1, "backoff", BACKOFF_S);
        retry->max_wait_s = options_number(L, -1, "maxWait", MAX_WAIT_S);
        retry->unsafe = options_boolean(L, -1, "unsafe", false);
        check_range(L, call, "attempts", attempts, 1, MAX_ATTEMPTS);
        check_range(L, call, "backoff", retry->backoff_s, 0, MAX_WAIT_LIMIT_S);
        check_range(L, call, "maxWait", retry->max_wait_s, 0, MAX_WAIT_LIMIT_S);
        retry->attempts = (int)attempts;
    } else {
        luaL_error(L, "%s: option \"retry\" must be true, a number of attempts or a table, got %s",
                   call->function, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
}

/* RFC 9110, section 9.2.2. */
static bool is_idempotent(struct http_slice method)
{
    static const char *const names[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (method.len == strlen(names[i]) && memcmp(method.text, names[i], method.len) == 0)
            return true;
    return false;
}

static const char *header(const struct call *call, const char *name)
{
    const struct http_header *found = http_headers_find(&call->response->headers, name, 0);
    return found != NULL ? found->value : NULL;
}

static bool fails_for_a_while(const struct call *call)
{
    switch (call->error) {
    case HTTP_ERROR_DNS:
    case HTTP_ERROR_CONNECT:
    case HTTP_ERROR_TIMEOUT:
    case HTTP_ERROR_RESET:
        return true;
    default:
        return false;
    }
}

/* Half of it is chance, so that many that failed together do not come back together. */
static double backoff(const struct call *call)
{
    double wait = call->retry.backoff_s * exp2(call->attempt - 1);
    if (wait > call->retry.max_wait_s)
        wait = call->retry.max_wait_s;
    uint32_t chance = 0;
    struct err ignored;
    if (crypto_random(&chance, sizeof chance, &ignored) != ERR_NONE)
        chance = (uint32_t)clock_mono_ns();
    return wait / 2 + wait / 2 * ((double)chance / 4294967295.0);
}

double http_retry_wait(const struct call *call)
{
    if (call->attempt >= call->retry.attempts)
        return -1;
    bool safe = call->retry.unsafe || is_idempotent(call->request.method);
    if (call->response == NULL)
        return safe && fails_for_a_while(call) ? backoff(call) : -1;
    int status = call->response->status;
    double asked = http_wait_seconds(header(call, "retry-after"), header(call, "x-ratelimit-remaining"),
                                     header(call, "x-ratelimit-reset"));
    /* What was refused for its rate was not done, whatever the method. */
    bool refused = status == 429 || (status == 403 && asked >= 0) || (status == 503 && asked >= 0);
    bool failed = status == 408 || status == 500 || status == 502 || status == 503 || status == 504;
    if (!refused && !(failed && safe))
        return -1;
    if (asked > call->retry.max_wait_s)
        return -1;
    double wait = backoff(call);
    return asked > wait ? asked : wait;
}
