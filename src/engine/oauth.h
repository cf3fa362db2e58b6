/* Access tokens of OAuth: kept, renewed ahead of time, and asked for once, however many ask (RFC 6749).
 *
 * Who owns what: a flight, the way to a token that somebody waits for, belongs to the runtime. The loop's
 * thread only. */
#ifndef WORKERS_ENGINE_OAUTH_H
#define WORKERS_ENGINE_OAUTH_H

#include "engine/runtime.h"
#include "modules/oauth.h"
#include "net/url.h"

/* ERR_NOT_FOUND says which there are. */
enum err_code oauth_find(const struct worker *worker, const char *key, const struct oauth **out,
                         struct err *err) MUST_CHECK;

/* For scripts, see isolate_host. */
enum err_code execution_oauth(void *ctx, struct oauth_call *call, struct task *task,
                              struct err *err) MUST_CHECK;
/* Whether a provider is being asked: what it answers may be the only refresh token that is still good. */
bool oauth_is_busy(const struct runtime *runtime);
/* Ends what is under way, when neither the store nor a provider can answer any more: it is told to those who
 * wait. */
void oauth_free(struct runtime *runtime);

/* token is NULL after an error: ERR_DENIED when a person has to say yes again, otherwise it may pass. */
typedef void (*oauth_token_fn)(void *ctx, const char *token, enum err_code code, const struct err *err);
/* An access token that is not stale (NULL for none). done is called from the loop, once, unless this fails.
 */
enum err_code oauth_token(struct runtime *runtime, const struct oauth *oauth, const char *stale,
                          oauth_token_fn done, void *ctx, struct err *err) MUST_CHECK;

/* ---- oauth_request.c: one request to a provider ---- */

struct oauth_answer {
    enum err_code code; /* ERR_NONE; ERR_DENIED: the provider said no; otherwise it may pass */
    struct err err;
    int status;         /* of HTTP; 0 when there is no answer */
    char error[64];     /* the provider's word, such as "invalid_grant"; empty for none */
    struct grant grant; /* when the answer has a token; the callee may take its texts */
    const char *json;   /* the answer, when it is JSON; during the call */
    size_t json_len;
};
typedef void (*oauth_answered_fn)(void *ctx, struct oauth_answer *answer);

/* Of requests that will have no answer. */
void oauth_requests_free(struct runtime *runtime);
/* Sends the pairs as a form, with who the client is. */
enum err_code oauth_post(struct runtime *runtime, const struct oauth *oauth, const char *url,
                         const struct url_pair *pairs, size_t count, oauth_answered_fn done, void *ctx,
                         struct err *err) MUST_CHECK;
/* Asks for a document, as anybody may. */
enum err_code oauth_get(struct runtime *runtime, const struct oauth *oauth, const char *url,
                        oauth_answered_fn done, void *ctx, struct err *err) MUST_CHECK;
/* A text of the declaration, or the variable that it names; ERR_NOT_FOUND says how to set that. */
enum err_code oauth_value(struct runtime *runtime, const struct oauth *oauth, const char *text,
                          const char **out, struct err *err) MUST_CHECK;

/* ---- oauth_discovery.c: where a provider's endpoints are ---- */

enum oauth_endpoint {
    OAUTH_ENDPOINT_AUTHORIZATION,
    OAUTH_ENDPOINT_TOKEN,
    OAUTH_ENDPOINT_DEVICE,
    OAUTH_ENDPOINT_REVOCATION,
    OAUTH_ENDPOINTS
};
/* Whether there is nothing to ask the issuer for this one. */
bool oauth_is_discovered(const struct runtime *runtime, const struct oauth *oauth,
                         enum oauth_endpoint endpoint);
typedef void (*oauth_discovered_fn)(void *ctx, enum err_code code, const struct err *err);
/* Asks the issuer if need be. done is called once, now or later. */
void oauth_discover(struct runtime *runtime, const struct oauth *oauth, enum oauth_endpoint endpoint,
                    oauth_discovered_fn done, void *ctx);
/* After that. The URL is the runtime's, and good until the loop goes on. */
enum err_code oauth_endpoint(const struct runtime *runtime, const struct oauth *oauth,
                             enum oauth_endpoint endpoint, const char **out, struct err *err) MUST_CHECK;
/* The same; NULL when there is none. */
const char *oauth_endpoint_if(const struct runtime *runtime, const struct oauth *oauth,
                              enum oauth_endpoint endpoint);
/* Whether the issuer says who it is when people come back from it (RFC 9207). */
bool oauth_names_itself(const struct runtime *runtime, const struct oauth *oauth);
void oauth_discoveries_free(struct runtime *runtime);

#endif
