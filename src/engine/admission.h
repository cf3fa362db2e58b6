/* Whether a webhook's request is let in: its verify and idempotencyKey functions, before anything is stored.
 *
 * Who owns what: the admission belongs to whoever starts it; admission_free after done has run. */
#ifndef WORKERS_ENGINE_ADMISSION_H
#define WORKERS_ENGINE_ADMISSION_H

#include "engine/runtime.h"

#define ADMISSION_MS 5000                   /* time for both functions */
#define ADMISSION_ANSWER_MAX ((size_t)8192) /* bytes of an answer of verify's own */

struct admission;

enum admission_verdict {
    ADMISSION_ADMIT,
    ADMISSION_ANSWER, /* verify answers itself, and nothing is delivered */
    ADMISSION_REFUSE, /* WebhookVerificationError, or verify returned false */
    ADMISSION_FAILED, /* a mistake of the script's, or of its settings */
};

struct admission_end {
    enum admission_verdict verdict;
    const char *idempotency_key; /* NULL for none */
    int status;                  /* of ADMISSION_ANSWER: 200 to 299, 400 to 499 */
    const char *type;            /* its content type */
    const char *body;
    size_t body_len;
    const char *message; /* of ADMISSION_REFUSE and ADMISSION_FAILED, redacted */
};

typedef void (*admission_done_fn)(void *ctx, struct admission *admission, const struct admission_end *end);

/* request must outlive the admission. done is called from the loop, never from inside this function. */
enum err_code admission_start(struct runtime *runtime, const struct capability *webhook,
                              const struct delivery *request, admission_done_fn done, void *ctx,
                              struct admission **out, struct err *err) MUST_CHECK;
void admission_free(struct admission *admission);

#endif
