/* What a project no longer wants to keep goes: at the end of `workers run`, and now and then under `workers
 * serve`.
 */
#ifndef WORKERS_ENGINE_UPKEEP_H
#define WORKERS_ENGINE_UPKEEP_H

#include "store/store.h"
#include "worker/config.h"

struct upkeep {
    struct history_plan plan;
    bool planned;
};

/* One step, on the store's thread; true when there is more to do. What fails is tried again another time. */
bool upkeep_step(struct upkeep *upkeep, struct store *store, const struct config *config);

#endif
