/* Brokered credentials: secrets that are put into requests below Lua, so that no script ever holds them.
 *
 * Who owns what: credentials belong to the worker that declares them. Their values are not here. */
#ifndef WORKERS_WORKER_CREDENTIAL_H
#define WORKERS_WORKER_CREDENTIAL_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct worker;

#define CREDENTIAL_MARKER "{{credential}}" /* where the value goes in a template */

struct credential_header {
    const char *name;
    const char *template; /* with the marker exactly once */
};

struct credential_transform {
    struct credential_header *headers; /* sorted by name */
    size_t header_count;
};

struct credential_rule {
    const char *domain; /* lower case: "api.example.com", or "*.example.com" for its subdomains */
    struct credential_transform *transforms;
    size_t transform_count;
};

struct credential {
    const char *key; /* the name of the variable that holds the value */
    struct credential_rule *rules;
    size_t rule_count;
};

const struct credential *worker_credential(const struct worker *worker, const char *key);

/* Calls each(ctx, credential, header) for every header that goes to the host, lower case. Stops when it
 * returns false, and returns that. */
typedef bool credential_each_fn(void *ctx, const struct credential *credential,
                                const struct credential_header *header);
bool credential_each_header(const struct worker *worker, const char *host, credential_each_fn *each,
                            void *ctx);

/* The header's value with the secret in the marker's place. The secret must be fit for a header: ERR_INVALID,
 * which names the key and never the value, when it is empty, has control characters, or is longer than 32
 * KiB. */
enum err_code credential_fill(const struct credential *credential, const struct credential_header *header,
                              const char *secret, struct buf *out, struct err *err) MUST_CHECK;

/* As the original SDK lays out the manifest's "credentials". */
void credential_write(const struct credential *credential, struct buf *out);

#endif
