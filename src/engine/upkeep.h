/* What a project no longer wants to keep goes: at the end of `workers run`, and now and then under `workers
 * serve`.
 */
#ifndef WORKERS_ENGINE_UPKEEP_H
#define WORKERS_ENGINE_UPKEEP_H

#include "store/store.h"
#include "worker/config.h"

/* An eighth of what may be kept stays free after a look, and when about so much has been written since, it is
 * time for another: so files stay within their bytes. */
#define UPKEEP_SHARE 8

struct upkeep {
    struct history_plan plan;
    bool planned;
};

/* Whether so many bytes of records and lines, about, are a reason not to wait. */
bool upkeep_is_due(const struct config *config, uint64_t written);
/* One step, on the store's thread; true when there is more to do. What fails is tried again another time. */
bool upkeep_step(struct upkeep *upkeep, struct store *store, const struct config *config);

#endif
