/* What the files that ask for access share. Nothing outside includes it. */
#ifndef WORKERS_ENGINE_OAUTH_ACCESS_PRIV_H
#define WORKERS_ENGINE_OAUTH_ACCESS_PRIV_H

#include "engine/oauth_access.h"

#define ACCESS_WAIT_MS ((int64_t)10 * 60 * 1000)

/* A question under way. */
struct access {
    struct runtime *runtime;
    const struct oauth *oauth;
    oauth_told_fn told;
    void *ctx;
    struct job job;
    void (*work)(struct access *access, struct store *store);
    void (*next)(struct access *access);
    void (*discovered)(struct access *access);
    enum err_code code; /* of the work */
    struct err err;
    char state[ACCESS_STATE_SIZE]; /* empty when no browser comes back */
    char id[STORE_ID_SIZE];        /* of the request that somebody looks at */
    struct access_request request;
    struct access_look look;
    struct grant grant;
    char *brought; /* the code */
    char *issuer;  /* what the provider calls itself, if it does */
    bool came;     /* a browser has come back, and the request is its own */
    char *user_code, *url;
    char *callback_url; /* of the question */
    bool served;        /* by a server, which has begun the state */
    struct buf out;
};

struct access *access_new(struct runtime *runtime, oauth_told_fn told, void *ctx);
/* With a store to work on; otherwise it is the end. */
bool access_has_store(struct access *access);

/* The end: whoever asked is told, and the question is no more. */
void access_end(struct access *access);
void access_fail(struct access *access, enum err_code code, const struct err *err);

/* Work on the store's thread. next is called when it has gone well; otherwise it is the end. */
void access_submit(struct access *access, void (*work)(struct access *access, struct store *store),
                   void (*next)(struct access *access));
void access_add_request(struct access *access, struct store *store); /* work: keeps the request */
void access_tell_request(struct access *access);                     /* and next: tells of it */
/* Keeps why there is no access, without secrets, for whoever waits. */
void access_refuse(struct access *access, const char *why, void (*next)(struct access *access));
/* Keeps the tokens of the answer, and it is the end. */
void access_take_grant(struct access *access, struct oauth_answer *answer);

/* next may post to this endpoint. */
void access_discover(struct access *access, enum oauth_endpoint endpoint,
                     void (*next)(struct access *access));
void access_post(struct access *access, enum oauth_endpoint endpoint, const struct url_pair *pairs,
                 size_t count, oauth_answered_fn answered);

/* oauth_browser.c */
void access_start_browser(struct access *access);
/* Somebody has come back, and there is no access: that is kept, and shown. */
void access_refuse_browser(struct access *access, const char *why);

#endif
