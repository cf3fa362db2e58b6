/* What is known of syncs, runs and deliveries, as JSON: the same for the command line and the API.
 *
 * Each appends one object. */
#ifndef WORKERS_ENGINE_DESCRIBE_H
#define WORKERS_ENGINE_DESCRIBE_H

#include "store/store.h"

void describe_sync(const struct capability *sync, const struct sync_info *info, struct buf *json);
void describe_run(const struct run_record *run, struct buf *json);
/* With what it carries, if the record has it. */
void describe_delivery(const struct delivery_record *record, struct buf *json);
const char *describe_endpoint_state(const struct endpoint *endpoint,
                                    bool paused); /* "open", "closed", "disabled" */
void describe_webhook(const struct capability *webhook, const struct endpoint *endpoint, bool paused,
                      const char *url, struct buf *json);

#endif
