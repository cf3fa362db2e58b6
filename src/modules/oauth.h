/* Asking for an access token, between handle:accessToken() and the host that gets it.
 *
 * Who owns what: the module owns the call until it is given to the host, and again when its task is woken. A
 * call that the script no longer waits for belongs to the host. It holds nothing of Lua. */
#ifndef WORKERS_MODULES_OAUTH_H
#define WORKERS_MODULES_OAUTH_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct task;

struct oauth_call {
    struct task *task; /* NULL when nobody waits any more */
    bool pending;      /* given to the host */
    char key[101];
    struct buf stale; /* a token that was refused; empty for none */
    enum err_code code;
    struct err err;
    struct buf token;
};

void oauth_call_free(struct oauth_call *call); /* NULL is fine */

#endif
