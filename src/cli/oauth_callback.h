/* A listener on this machine to which a provider sends the browser back, once (RFC 8252, section 7.3).
 *
 * Who owns what: whoever opens one closes it. */
#ifndef WORKERS_CLI_OAUTH_CALLBACK_H
#define WORKERS_CLI_OAUTH_CALLBACK_H

#include "base/err.h"

#include <uv.h>

#define OAUTH_CALLBACK_URL "http://127.0.0.1:8322/oauth/callback" /* unless the script names another */

struct oauth_callback;

/* What the browser brings: code, or error with its description. Texts live during the call. */
typedef void (*oauth_came_fn)(void *ctx, const char *code, const char *error, const char *description);

/* Listens where url says, which is on this machine. Requests with another state are refused. came is called
 * once, from the loop. */
enum err_code oauth_callback_open(uv_loop_t *loop, const char *url, const char *state, oauth_came_fn came,
                                  void *ctx, struct oauth_callback **out, struct err *err) MUST_CHECK;
void oauth_callback_close(struct oauth_callback *callback);

#endif
