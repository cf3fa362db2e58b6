/* What is known of capabilities, syncs, runs and deliveries, as JSON: the same for the command line and the
 * API.
 *
 * Each appends one object. */
#ifndef WORKERS_API_DESCRIBE_H
#define WORKERS_API_DESCRIBE_H

#include "store/store.h"

/* What the store knows of a capability. */
struct capability_info {
    bool paused;
    int64_t next_ms; /* when a server runs it next; 0 when it is not known, or never */
};
/* Of each capability of the worker, in its order; to be freed. store may be NULL. NULL after an error. */
struct capability_info *capability_infos(struct store *store, const struct worker *worker,
                                         struct err *err) MUST_CHECK;
void describe_capability(const struct capability *capability, const struct capability_info *info,
                         struct buf *json);
void describe_sync(const struct capability *sync, const struct sync_info *info, struct buf *json);
void describe_run(const struct run_record *run, struct buf *json);
/* With what it carries, if the record has it. */
void describe_delivery(const struct delivery_record *record, struct buf *json);
const char *describe_endpoint_state(const struct endpoint *endpoint,
                                    bool paused); /* "open", "closed", "disabled" */
void describe_webhook(const struct capability *webhook, const struct endpoint *endpoint, bool paused,
                      const char *url, struct buf *json);

#endif
