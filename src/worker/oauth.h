/* Access on behalf of people, by OAuth 2 (RFC 6749, 7636, 8628, 7009): what a script declares of a provider.
 *
 * Who owns what: declarations belong to the worker. A text that begins with "$" names a variable, which is
 * read when it is needed. */
#ifndef WORKERS_WORKER_OAUTH_H
#define WORKERS_WORKER_OAUTH_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OAUTH_CALLBACK_PATH "/oauth/callback"
#define OAUTH_CALLBACK_URL                                                                                   \
    "http://127.0.0.1:8322" OAUTH_CALLBACK_PATH /* where a command of this machine waits */

struct worker;

enum oauth_grant {
    OAUTH_CODE,   /* a person says yes in a browser */
    OAUTH_CLIENT, /* the worker stands for itself */
    OAUTH_DEVICE, /* a person says yes on another device */
};

/* How the worker says who it is at the token endpoint. */
enum oauth_client_auth { OAUTH_BODY, OAUTH_BASIC, OAUTH_PUBLIC /* an id, and no secret */ };

struct oauth_parameter {
    const char *name, *value;
};

struct oauth {
    const char *key;
    size_t before;                                       /* so many capabilities were declared before it */
    const char *provider;                                /* NULL when not given */
    const char *name;                                    /* what people see */
    const char *authorization_endpoint, *token_endpoint; /* URLs; NULL when not given, as what follows */
    const char *device_endpoint, *revocation_endpoint;
    const char *refresh_endpoint; /* of the few providers where tokens are renewed elsewhere; or NULL */
    const char *issuer;           /* says where those are that are not given */
    const char *client_id, *client_secret; /* client_secret: NULL for a public client */
    const char *scope;                     /* NULL when not given */
    const char *callback_url;              /* NULL: this machine's */
    struct oauth_parameter *parameters;    /* added to the authorization URL */
    size_t parameter_count;
    int64_t access_ms; /* how long an access token is good, when the answer does not say; 0: not known */
    enum oauth_grant grant;
    enum oauth_client_auth client_auth;
    bool pkce;
};

const struct oauth *worker_oauth(const struct worker *worker, const char *key);
/* Appends it as the manifest has it. A secret that stands in the script is not in it. */
void oauth_write(const struct oauth *oauth, struct buf *out);

#endif
