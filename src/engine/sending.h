/* Sending a delivery to a webhook of the worker's own, as its provider would: signed with the secrets of its
 * verify function, when that comes from workers.webhooks.
 *
 * Who owns what: the sending belongs to whoever starts it; sending_free after its done callback has run. */
#ifndef WORKERS_ENGINE_SENDING_H
#define WORKERS_ENGINE_SENDING_H

#include "engine/runtime.h"
#include "net/http_client.h"

struct sending;

struct sending_request {
    const struct capability *webhook;
    const char *url;
    struct http_slice body;
    const struct http_field *headers; /* in the place of those that are made */
    size_t header_count;
    const char *event; /* its name, for a provider that sends one; NULL for the provider's usual one */
    const char *id;    /* the delivery's, for a provider that sends one; NULL for a random one */
};

struct sending_end {
    const struct http_response *response; /* NULL: it was not sent, or not answered */
    const char *message;                  /* then why, redacted */
    bool is_signed;
};

typedef void (*sending_done_fn)(void *ctx, struct sending *sending, const struct sending_end *end);

/* request must outlive the sending. done is called from the loop, never from inside this function. Where the
 * worker may connect (permissions of workers.yaml) is not asked: it is not a script that sends. */
enum err_code sending_start(struct runtime *runtime, const struct sending_request *request,
                            sending_done_fn done, void *ctx, struct sending **out,
                            struct err *err) MUST_CHECK;
void sending_free(struct sending *sending);

#endif
