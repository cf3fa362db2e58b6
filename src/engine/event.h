/* What a capability is called with: deliveries as Lua values. */
#ifndef WORKERS_ENGINE_EVENT_H
#define WORKERS_ENGINE_EVENT_H

#include "store/store.h"

#include <lua.h>

/* Pushes the event of a webhook: what its JSON says of the request, deliveryId, rawBody, and body, which is
 * the raw one read as its content type says: JSON or a form, with files or without; nil when it is something
 * else, or damaged, which bodyError then tells. May raise. */
void event_push_webhook(lua_State *L, const struct delivery *delivery);

#endif
