/* Asking people for access, and giving it back: the same for a command of this machine and for a server.
 *
 * Who owns what: a question under way owns itself; the runtime outlives it. The loop's thread only. */
#ifndef WORKERS_ENGINE_OAUTH_ACCESS_H
#define WORKERS_ENGINE_OAUTH_ACCESS_H

#include "engine/oauth.h"

enum oauth_ask {
    OAUTH_ASK_START,  /* asks for access: what a person has to do for it */
    OAUTH_ASK_LOOK,   /* how that request stands; of a device the provider is asked, when it is time */
    OAUTH_ASK_REVOKE, /* gives access back, and forgets it */
};

struct oauth_question {
    enum oauth_ask ask;
    const char *key;          /* of the declaration */
    const char *id;           /* of the request; for OAUTH_ASK_LOOK */
    const char *callback_url; /* where people come back to, unless the declaration says */
    /* Of a server: begins the state, so that it is found among several. NULL: a command waits for the
     * browser.
     */
    const char *worker;
};

/* json is one object without any token, code or secret; empty after an error. */
typedef void (*oauth_told_fn)(void *ctx, enum err_code code, const struct buf *json, const struct err *err);
/* told is called once, now or later. */
void oauth_access(struct runtime *runtime, const struct oauth_question *question, oauth_told_fn told,
                  void *ctx);

/* What a browser brings back from a provider (RFC 6749, section 4.1.2). */
struct oauth_return {
    const char *state;
    const char *code;               /* NULL when there is an error */
    const char *error, *error_text; /* error_text may be empty */
    const char *issuer;             /* NULL when it does not say (RFC 9207) */
};
/* Gets the tokens and keeps them. ERR_NOT_FOUND, and nothing has changed: nobody waits for this state. */
void oauth_access_return(struct runtime *runtime, const struct oauth_return *back, oauth_told_fn told,
                         void *ctx);

#endif
