/* What the files that read declarations share. Nothing outside includes it. */
#ifndef WORKERS_WORKER_DECLARE_PRIV_H
#define WORKERS_WORKER_DECLARE_PRIV_H

#include "worker/worker.h"

#include <lua.h>

/* What is known of a provider of OAuth. */
struct oauth_provider {
    const char *key;
    struct oauth known; /* pkce: it takes it beside a secret */
};
/* The nth, from 0, in the order of their keys; NULL after the last. */
const struct oauth_provider *oauth_provider(size_t n);
const struct oauth_provider *oauth_provider_find(const char *key); /* NULL: nothing is known */

/* The block, or an error about memory when it is NULL. */
void *declare_need(lua_State *L, void *block);
/* A copy in the worker's arena; NULL for NULL. */
const char *declare_keep(lua_State *L, struct worker *worker, const char *text);
/* Makes room for one more element at the end of an array in the arena. */
void *declare_grow(lua_State *L, struct worker *worker, void *array, size_t count, size_t *room, size_t size);
/* Option "database" of the table at index: its place in the worker. */
size_t declare_read_database(lua_State *L, const struct worker *worker, int index, const char *where);

#endif
