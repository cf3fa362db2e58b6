/* Where a provider's endpoints are, as it says itself (OpenID Connect Discovery 1.0; RFC 8414). Asked for
 * when they are needed, and again after a while. */
#include "engine/oauth.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/address.h"

#include <string.h>

#define GOOD_MS ((int64_t)60 * 60 * 1000)
#define AGAIN_MS ((int64_t)60 * 1000) /* when it could not be asked again */
#define ENDPOINT_MAX 2000

struct waiter {
    oauth_discovered_fn done;
    void *ctx;
    struct waiter *next;
};

struct oauth_discovery {
    struct runtime *runtime;
    const struct oauth *oauth;
    char *urls[OAUTH_ENDPOINTS];
    bool names_itself; /* when people come back (RFC 9207) */
    bool known;
    int64_t good_ms; /* until when, by the monotonic clock */
    int attempt;
    struct waiter *first; /* while it is asked for */
    struct oauth_discovery *next;
};

static const char *const members[] = {
    [OAUTH_ENDPOINT_AUTHORIZATION] = "authorization_endpoint",
    [OAUTH_ENDPOINT_TOKEN] = "token_endpoint",
    [OAUTH_ENDPOINT_DEVICE] = "device_authorization_endpoint",
    [OAUTH_ENDPOINT_REVOCATION] = "revocation_endpoint",
};

static void forget_urls(struct oauth_discovery *discovery)
{
    for (int i = 0; i < OAUTH_ENDPOINTS; i++) {
        mem_free(discovery->urls[i]);
        discovery->urls[i] = NULL;
    }
    discovery->known = false;
}

static struct oauth_discovery *find(const struct runtime *runtime, const struct oauth *oauth)
{
    struct oauth_discovery *at = runtime->discoveries;
    while (at != NULL && at->oauth != oauth)
        at = at->next;
    return at;
}

void oauth_discoveries_free(struct runtime *runtime)
{
    while (runtime->discoveries != NULL) {
        struct oauth_discovery *discovery = runtime->discoveries;
        runtime->discoveries = discovery->next;
        forget_urls(discovery);
        while (discovery->first != NULL) {
            struct waiter *waiter = discovery->first;
            discovery->first = waiter->next;
            mem_free(waiter);
        }
        mem_free(discovery);
    }
}

/* ---- what is known ---- */

static const char *declared(const struct oauth *oauth, enum oauth_endpoint endpoint)
{
    const char *const urls[] = {[OAUTH_ENDPOINT_AUTHORIZATION] = oauth->authorization_endpoint,
                                [OAUTH_ENDPOINT_TOKEN] = oauth->token_endpoint,
                                [OAUTH_ENDPOINT_DEVICE] = oauth->device_endpoint,
                                [OAUTH_ENDPOINT_REVOCATION] = oauth->revocation_endpoint};
    return urls[endpoint];
}

const char *oauth_endpoint_if(const struct runtime *runtime, const struct oauth *oauth,
                              enum oauth_endpoint endpoint)
{
    const char *url = declared(oauth, endpoint);
    const struct oauth_discovery *discovery = url == NULL ? find(runtime, oauth) : NULL;
    return discovery != NULL ? discovery->urls[endpoint] : url;
}

enum err_code oauth_endpoint(const struct runtime *runtime, const struct oauth *oauth,
                             enum oauth_endpoint endpoint, const char **out, struct err *err)
{
    *out = oauth_endpoint_if(runtime, oauth, endpoint);
    return *out != NULL ? ERR_NONE
                        : err_set(err, ERR_NOT_FOUND, "oauth \"%s\": %s says nothing of its %s", oauth->key,
                                  oauth->issuer != NULL ? oauth->issuer : oauth->name, members[endpoint]);
}

bool oauth_names_itself(const struct runtime *runtime, const struct oauth *oauth)
{
    const struct oauth_discovery *discovery = find(runtime, oauth);
    return discovery != NULL && discovery->names_itself;
}

/* ---- reading the document ---- */

/* What tokens and people are sent to is an address of its own kind. */
static bool is_good_url(const char *url)
{
    bool tls = strncmp(url, "https://", 8) == 0;
    const char *host = strstr(url, "://");
    if (host == NULL || strlen(url) > ENDPOINT_MAX)
        return false;
    for (const char *at = url; *at != '\0'; at++)
        if (*at <= ' ' || *at >= 0x7f)
            return false;
    host += 3;
    return tls || (strncmp(url, "http://", 7) == 0 && address_names_loopback(host, strcspn(host, "/?#")));
}

static enum err_code read_document(struct oauth_discovery *discovery, const struct oauth_answer *answer,
                                   struct err *err)
{
    const char *issuer = discovery->oauth->issuer;
    char *own = json_find_copy(answer->json, answer->json_len, "issuer");
    struct json_slice flag;
    enum err_code code = ERR_NONE;
    if (own == NULL)
        code = err_set(err, ERR_INVALID, "%s does not answer with a description of itself", issuer);
    else if (strcmp(own, issuer) != 0) /* RFC 8414, section 3.3 */
        code = err_set(err, ERR_INVALID,
                       "%s calls itself %.200s: the option issuer must be what it calls itself", issuer, own);
    mem_free(own);
    forget_urls(discovery);
    for (int i = 0; i < OAUTH_ENDPOINTS && code == ERR_NONE; i++) {
        discovery->urls[i] = json_find_copy(answer->json, answer->json_len, members[i]);
        if (discovery->urls[i] != NULL && !is_good_url(discovery->urls[i]))
            code = err_set(err, ERR_INVALID, "%s names no URL with https:// as its %s", issuer, members[i]);
    }
    discovery->names_itself =
        code == ERR_NONE &&
        json_find(answer->json, answer->json_len, "authorization_response_iss_parameter_supported", &flag) &&
        flag.len == 4 && memcmp(flag.text, "true", 4) == 0;
    if (code != ERR_NONE)
        forget_urls(discovery);
    discovery->known = code == ERR_NONE;
    discovery->good_ms = clock_mono_ms() + GOOD_MS;
    return code;
}

/* ---- asking ---- */

static enum err_code ask(struct oauth_discovery *discovery, struct err *err);

static void tell(struct oauth_discovery *discovery, enum err_code code, const struct err *err)
{
    struct waiter *waiter = discovery->first;
    discovery->first = NULL;
    while (waiter != NULL) {
        struct waiter *next = waiter->next;
        waiter->done(waiter->ctx, code, err);
        mem_free(waiter);
        waiter = next;
    }
}

static void answered(void *ctx, struct oauth_answer *answer)
{
    struct oauth_discovery *discovery = ctx;
    struct err err = {0};
    bool elsewhere = answer->status >= 400 && answer->status <= 499 && answer->status != 429;
    enum err_code code = ERR_NONE;
    if (elsewhere && discovery->attempt == 0) {
        discovery->attempt++;
        code = ask(discovery, &err);
        if (code == ERR_NONE)
            return;
    } else if (answer->code == ERR_NONE && answer->status == 200) {
        code = read_document(discovery, answer, &err);
    } else {
        code = err_set(&err, answer->code == ERR_IO ? ERR_IO : ERR_INVALID,
                       "%s does not say where its endpoints are: %s", discovery->oauth->issuer,
                       answer->code != ERR_NONE ? answer->err.message : "it sends elsewhere");
    }
    if (code == ERR_IO && discovery->known) { /* what it said before is better than nothing */
        discovery->good_ms = clock_mono_ms() + AGAIN_MS;
        code = ERR_NONE;
    }
    if (code != ERR_NONE)
        err_context(&err, "oauth \"%s\"", discovery->oauth->key);
    tell(discovery, code, &err);
}

/* OpenID Connect puts its name behind the issuer's path, RFC 8414 before. */
static void write_url(const char *issuer, int attempt, struct buf *out)
{
    size_t len = strlen(issuer);
    while (len > 0 && issuer[len - 1] == '/')
        len--;
    const char *host = strstr(issuer, "://") + 3;
    size_t origin = (size_t)(host - issuer) + strcspn(host, "/");
    if (origin > len)
        origin = len;
    if (attempt == 0)
        buf_addf(out, "%.*s/.well-known/openid-configuration", (int)len, issuer);
    else
        buf_addf(out, "%.*s/.well-known/oauth-authorization-server%.*s", (int)origin, issuer,
                 (int)(len - origin), issuer + origin);
}

static enum err_code ask(struct oauth_discovery *discovery, struct err *err)
{
    struct buf url;
    buf_init(&url, 2 * ENDPOINT_MAX);
    write_url(discovery->oauth->issuer, discovery->attempt, &url);
    enum err_code code = buf_status(&url, "the address", err);
    if (code == ERR_NONE)
        code = oauth_get(discovery->runtime, discovery->oauth, buf_text(&url), answered, discovery, err);
    buf_free(&url);
    return code;
}

bool oauth_is_discovered(const struct runtime *runtime, const struct oauth *oauth,
                         enum oauth_endpoint endpoint)
{
    const struct oauth_discovery *discovery = find(runtime, oauth);
    return oauth->issuer == NULL || declared(oauth, endpoint) != NULL ||
           (discovery != NULL && discovery->known && clock_mono_ms() < discovery->good_ms);
}

void oauth_discover(struct runtime *runtime, const struct oauth *oauth, enum oauth_endpoint endpoint,
                    oauth_discovered_fn done, void *ctx)
{
    struct err err = {0};
    struct oauth_discovery *discovery = find(runtime, oauth);
    if (oauth_is_discovered(runtime, oauth, endpoint)) {
        done(ctx, ERR_NONE, &err);
        return;
    }
    if (discovery == NULL) {
        discovery = mem_need(sizeof *discovery);
        discovery->runtime = runtime;
        discovery->oauth = oauth;
        discovery->next = runtime->discoveries;
        runtime->discoveries = discovery;
    }
    struct waiter *waiter = mem_need(sizeof *waiter);
    bool asked = discovery->first != NULL;
    *waiter = (struct waiter){.done = done, .ctx = ctx, .next = discovery->first};
    discovery->first = waiter;
    if (asked)
        return;
    discovery->attempt = 0;
    enum err_code code = ask(discovery, &err);
    if (code != ERR_NONE)
        tell(discovery, code, &err);
}
