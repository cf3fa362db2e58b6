/* Reading declarations from a script: the Lua tables passed to worker:database, worker:sync, … become the
 * structs of worker/worker.h. All functions may raise, with messages that name the call and the option; what
 * they have allocated by then belongs to the worker's arena. */
#ifndef WORKERS_WORKER_DECLARE_H
#define WORKERS_WORKER_DECLARE_H

#include "worker/worker.h"

#include <lua.h>

/* A key is a non-empty string, unique among all declarations of the worker. */
void declare_check_key(lua_State *L, const struct worker *worker, const char *key, const char *method);

/* The table of options is at index. */
void declare_database(lua_State *L, struct worker *worker, const char *key, int index);
void declare_credential(lua_State *L, struct worker *worker, const char *key, int index);
void declare_oauth(lua_State *L, struct worker *worker, const char *key, int index);
/* method is "view", or "customBlock" of the original. */
void declare_view(lua_State *L, struct worker *worker, const char *method, const char *key, int index);
void declare_pacer(lua_State *L, struct worker *worker, const char *key, int index);
/* kind decides which options there are. */
void declare_capability(lua_State *L, struct worker *worker, enum capability_kind kind, const char *key,
                        int index);

/* Metatables of what worker:database and worker:pacer return; the handle's key is its field "key". */
#define DATABASE_HANDLE "workers.database"
#define PACER_HANDLE "workers.pacer"
#define OAUTH_HANDLE "workers.oauth"
#define VIEW_HANDLE "workers.view"

#endif
