/* A server that is asked over HTTP, one request after the other. Must not send a token in the clear beyond
 * this machine, nor follow a server to another.
 *
 * Who owns what: whoever opens a remote closes it. */
#ifndef WORKERS_CLI_REMOTE_H
#define WORKERS_CLI_REMOTE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define REMOTE_TIMEOUT_MS 60000

struct remote;

/* url: http:// or https://, and http:// only for this machine. token is copied. ERR_INVALID: no such URL. */
enum err_code remote_open(const char *url, const char *token, struct remote **out,
                          struct err *err) MUST_CHECK;
void remote_close(struct remote *remote);
/* Whether the url names this machine. */
bool remote_is_loopback(const char *url);

struct remote_question {
    const char *method, *path; /* path: after /api/v1, with its query */
    const char *body;          /* JSON; NULL for none */
    size_t body_len;
    uint64_t timeout_ms;
};
/* Appends the answer, which is JSON. A failure names the server, and says what to do. */
enum err_code remote_ask(struct remote *remote, const struct remote_question *question, struct buf *answer,
                         struct err *err) MUST_CHECK;

#endif
