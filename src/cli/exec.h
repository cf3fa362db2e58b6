/* Calling a capability: here, or on a server. */
#ifndef WORKERS_CLI_EXEC_H
#define WORKERS_CLI_EXEC_H

#include "cli/target.h"
#include "engine/call.h"

/* How a call on a server ended. */
struct call_answer {
    struct buf answer, name, message, trace;
    struct call_end end; /* points into them */
};
/* call_answer_free it, whatever comes back. input: JSON, empty for the usual one. */
enum err_code exec_on_server(struct target *target, const char *key, const struct buf *input,
                             struct call_answer *out, struct err *err) MUST_CHECK;
void call_answer_free(struct call_answer *answer);
/* Says why a call has failed. Returns the exit code. */
int exec_fail(const struct call_end *end);

#endif
