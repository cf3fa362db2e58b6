/* The modules that scripts can require, in one table, and what a worker's isolate keeps for them.
 *
 * Who owns what: the registration belongs to whoever opened the isolate and outlives it. */
#ifndef WORKERS_MODULES_MODULES_H
#define WORKERS_MODULES_MODULES_H

#include "script/isolate.h"
#include "worker/worker.h"

extern const struct script_module workers_modules[]; /* ends with a NULL name */

/* Given to isolate_open as registry. */
struct registration {
    struct worker *worker;
    /* true: the script is loaded to learn what it declares; worker is filled. false: worker is known, and
     * only the functions of the capability wanted are kept. */
    bool discover;
    const char *wanted; /* key of a capability; NULL keeps all */
};

/* Loads the main script and checks that it returned its worker. Leaves nothing on the stack. */
enum err_code modules_load_worker(struct isolate *isolate, struct script_error *error) MUST_CHECK;

/* Pushes the capability's function ("execute", "verify", "idempotencyKey", "when"); false when there is none.
 */
bool modules_push_function(struct isolate *isolate, const char *key, const char *name);

/* Pushes an empty context, the second argument of execute, with room for so many fields. Its notion is there
 * when it is asked for. */
void modules_push_context(lua_State *L, int fields);

/* workers.c: for C functions that wait for a pacer's slot. The key of the pacer handle at index, which holds
 * the string; NULL when it is none. */
const char *modules_pacer_key(lua_State *L, int index);
/* To be returned after task_wait_begin: k runs when the slot has come, with one value more on the stack. */
int modules_pacer_wait(lua_State *L, const char *key, lua_KContext ctx, lua_KFunction k);

int luaopen_workers(lua_State *L);
int luaopen_workers_builder(lua_State *L);
int luaopen_workers_time(lua_State *L);
int luaopen_workers_crypto(lua_State *L);
int luaopen_workers_csv(lua_State *L);
int luaopen_workers_xml(lua_State *L);
int luaopen_workers_yaml(lua_State *L);
int luaopen_workers_http(lua_State *L);
int luaopen_workers_log(lua_State *L);
int luaopen_workers_env(lua_State *L);
int luaopen_workers_fs(lua_State *L);
int luaopen_workers_url(lua_State *L);
int luaopen_workers_compress(lua_State *L);
int luaopen_workers_kv(lua_State *L);
int luaopen_workers_sql(lua_State *L);
int luaopen_workers_regex(lua_State *L);
int luaopen_workers_text(lua_State *L);

extern const struct script_docs workers_docs;
extern const struct script_docs builder_docs;
extern const struct script_docs cjson_docs;
extern const struct script_docs cjson_safe_docs;
extern const struct script_docs compress_docs;
extern const struct script_docs crypto_docs;
extern const struct script_docs csv_docs;
extern const struct script_docs env_docs;
extern const struct script_docs fs_docs;
extern const struct script_docs http_docs;
extern const struct script_docs json_docs;
extern const struct script_docs kv_docs;
extern const struct script_docs log_docs;
extern const struct script_docs sql_docs;
extern const struct script_docs regex_docs;
extern const struct script_docs text_docs;
extern const struct script_docs time_docs;
extern const struct script_docs url_docs;
extern const struct script_docs xml_docs;
extern const struct script_docs yaml_docs;

/* oauth.c: the method of the handle that worker:oauth returns, and what it needs. */
int oauth_access_token(lua_State *L);
void oauth_setup(lua_State *L);

/* async.c: waits; to be returned after task_wait_begin. k runs when the seconds, 0 to 1e9, have passed. */
int modules_sleep(lua_State *L, double seconds, lua_KContext ctx, lua_KFunction k);

/* async.c: what luaopen_workers puts into its table. */
int async_sleep(lua_State *L);
int async_all(lua_State *L);
int async_map(lua_State *L);
int async_race(lua_State *L);
int async_timeout(lua_State *L);

#endif
