/* A listener on this machine to which a provider sends the browser back (RFC 8252, section 7.3).
 *
 * Who owns what: whoever opens one closes it, before the runtime. */
#ifndef WORKERS_CLI_OAUTH_CALLBACK_H
#define WORKERS_CLI_OAUTH_CALLBACK_H

#include "server/oauth_return.h"

struct oauth_callback;

/* Listens where url says, which is on this machine. over is told, from the loop, of every browser that has
 * come; what is not the answer to a request that waits is refused. */
enum err_code oauth_callback_open(struct runtime *runtime, const char *url, oauth_returned_fn over, void *ctx,
                                  struct oauth_callback **out, struct err *err) MUST_CHECK;
/* Lets the page that is under way get to the browser. */
void oauth_callback_close(struct oauth_callback *callback);

#endif
