/* A browser that comes back from a provider of OAuth: what it brings is taken, and it is shown a page.
 *
 * Who owns what: a visit under way owns itself, and holds its service. The loop's thread only. */
#ifndef WORKERS_SERVER_OAUTH_RETURN_H
#define WORKERS_SERVER_OAUTH_RETURN_H

#include "engine/oauth_access.h"
#include "net/http_server.h"
#include "server/hosting.h"

/* known: somebody waited for it, and knows now whether there is access; err says why not. */
typedef void (*oauth_returned_fn)(void *ctx, bool known, enum err_code code, const struct err *err);

/* Answers the call when the provider has been asked for the tokens. over is called once, now or later, after
 * the answer. */
void oauth_return(struct runtime *runtime, struct http_call *call, oauth_returned_fn over, void *ctx);
/* Says that nobody waits for it. */
void oauth_return_refuse(struct http_call *call);
/* The browser left before its answer. */
void oauth_return_gone(struct http_call *call);

/* ---- of a server ---- */

struct oauth_returns {
    struct hosting *hosting;
    int under_way; /* zero at first */
};
/* GET /oauth/callback: finds the worker by the state. */
void oauth_returns_request(struct oauth_returns *returns, struct http_call *call);

#endif
