/* Why a capability does not do what it should, from what the API tells of it: the same here and on a server.
 * Must not ask for anything itself.
 *
 * Who owns what: nothing is kept; findings are the caller's. */
#ifndef WORKERS_CLI_DIAGNOSIS_H
#define WORKERS_CLI_DIAGNOSIS_H

#include "base/json.h"
#include "cli/findings.h"

#include <stdint.h>

/* Objects of the API as JSON; a text of NULL: there is none, or it could not be had. */
struct evidence {
    const char *key, *kind;    /* of the capability */
    struct json_slice sync;    /* GET /syncs/{key} */
    struct json_slice run;     /* the last one, of GET /runs */
    struct json_slice webhook; /* of GET /webhooks */
    struct json_slice dead;    /* the last delivery that was given up */
    const char *rate_limited;  /* the log line of the last run that says so; NULL: it is not waiting */
    bool enabled;
    int64_t now_ms;
    bool unserved; /* no server runs for it */
    /* How one execute of a sync has ended (POST …/exec) that was tried for this: from its state, and, when
     * that has failed, from none. */
    struct json_slice probe, afresh;
    struct json_slice state; /* that it was tried from */
    const char *not_probed;  /* why there is none; NULL: nothing was to be tried */
};

/* Whether a call that has failed from a state may fail because of it: worth trying without. */
bool diagnosis_may_be_state(const struct json_slice *call);
void diagnose(const struct evidence *evidence, struct findings *out);

#endif
