/* The module "workers": the worker object, null, arrays, waiting, errors. */
#include "modules/modules.h"

#include "base/text.h"
#include "modules/json.h"
#include "script/options.h"
#include "script/script_error.h"
#include "script/task.h"
#include "worker/declare.h"

#include <lauxlib.h>
#include <string.h>

#define WORKER "workers.worker"
#define FUNCTIONS "workers.functions" /* registry: key -> { execute =, verify = } */

static struct registration *registration_of(lua_State *L)
{
    struct registration *registration = isolate_registry(isolate_of(L));
    if (registration == NULL)
        luaL_error(L, "this script is not loaded as a worker");
    return registration;
}

/* ---- the worker object ---- */

static int worker_create(lua_State *L)
{
    registration_of(L);
    if (lua_getfield(L, LUA_REGISTRYINDEX, FUNCTIONS) != LUA_TNIL)
        return luaL_error(L, "workers.new: a script has one worker; it was already made");
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, FUNCTIONS);
    lua_newtable(L);
    luaL_setmetatable(L, WORKER);
    return 1;
}

/* Checks self, key and options of worker:method(key, options). The string returned is on the stack at 2. */
static const char *check_arguments(lua_State *L, const char *method)
{
    if (luaL_testudata(L, 1, WORKER) == NULL && !lua_istable(L, 1))
        luaL_error(L, "call it with a colon: worker:%s(\"key\", { … })", method);
    if (lua_type(L, 1) == LUA_TTABLE) {
        if (!lua_getmetatable(L, 1) || luaL_getmetatable(L, WORKER) != LUA_TTABLE || !lua_rawequal(L, -1, -2))
            luaL_error(L, "call it with a colon: worker:%s(\"key\", { … })", method);
        lua_pop(L, 2);
    }
    if (lua_type(L, 2) != LUA_TSTRING || lua_rawlen(L, 2) == 0)
        luaL_error(L, "worker:%s: the key must be a non-empty string, got %s", method,
                   lua_isnoneornil(L, 2)           ? "nothing"
                   : lua_type(L, 2) == LUA_TSTRING ? "an empty string"
                                                   : luaL_typename(L, 2));
    if (task_current(L) != NULL)
        luaL_error(
            L, "worker:%s: declarations belong at the top level of the script, not into a running function",
            method);
    const char *key = lua_tostring(L, 2);
    if (strlen(key) != lua_rawlen(L, 2))
        luaL_error(L, "worker:%s: the key contains a NUL byte", method);
    return key;
}

static void push_handle(lua_State *L, const char *metatable)
{
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "key");
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "config");
    luaL_setmetatable(L, metatable);
}

static int refuse_changed_script(lua_State *L, const char *method, const char *key)
{
    return luaL_error(
        L,
        "worker:%s(\"%s\"): the script declared something else when it was first loaded; declarations must "
        "not depend on time, chance or the environment",
        method, key);
}

static int worker_declare_database(lua_State *L)
{
    const char *key = check_arguments(L, "database");
    struct registration *registration = registration_of(L);
    lua_settop(L, 3);
    if (registration->discover) {
        declare_check_key(L, registration->worker, key, "database");
        declare_database(L, registration->worker, key, 3);
    } else if (worker_database(registration->worker, key) == SIZE_MAX) {
        return refuse_changed_script(L, "database", key);
    }
    push_handle(L, DATABASE_HANDLE);
    return 1;
}

static int worker_declare_pacer(lua_State *L)
{
    const char *key = check_arguments(L, "pacer");
    struct registration *registration = registration_of(L);
    lua_settop(L, 3);
    if (registration->discover) {
        declare_check_key(L, registration->worker, key, "pacer");
        declare_pacer(L, registration->worker, key, 3);
    } else if (worker_pacer(registration->worker, key) == NULL) {
        return refuse_changed_script(L, "pacer", key);
    }
    push_handle(L, PACER_HANDLE);
    return 1;
}

static int worker_declare_oauth(lua_State *L)
{
    const char *key = check_arguments(L, "oauth");
    struct registration *registration = registration_of(L);
    lua_settop(L, 3);
    if (registration->discover) {
        declare_check_key(L, registration->worker, key, "oauth");
        declare_oauth(L, registration->worker, key, 3);
    } else if (worker_oauth(registration->worker, key) == NULL) {
        return refuse_changed_script(L, "oauth", key);
    }
    push_handle(L, OAUTH_HANDLE);
    return 1;
}

/* "view", or the original's name, is the upvalue. */
static int worker_declare_view(lua_State *L)
{
    const char *method = lua_tostring(L, lua_upvalueindex(1));
    const char *key = check_arguments(L, method);
    struct registration *registration = registration_of(L);
    lua_settop(L, 3);
    if (registration->discover) {
        declare_check_key(L, registration->worker, key, method);
        declare_view(L, registration->worker, method, key, 3);
    } else if (worker_view(registration->worker, key) == NULL) {
        return refuse_changed_script(L, method, key);
    }
    push_handle(L, VIEW_HANDLE);
    return 1;
}

static int worker_declare_credential(lua_State *L)
{
    const char *key = check_arguments(L, "credential");
    struct registration *registration = registration_of(L);
    lua_settop(L, 3);
    if (registration->discover) {
        declare_check_key(L, registration->worker, key, "credential");
        declare_credential(L, registration->worker, key, 3);
    } else if (worker_credential(registration->worker, key) == NULL) {
        return refuse_changed_script(L, "credential", key);
    }
    const struct isolate_host *host = isolate_host(isolate_of(L));
    struct err err;
    if (host->credential_declared != NULL && host->credential_declared(host->ctx, key, &err) != ERR_NONE)
        return luaL_error(L, "worker:credential(\"%s\"): %s", key, err.message);
    return 0;
}

static void keep_functions(lua_State *L, const char *key)
{
    lua_getfield(L, LUA_REGISTRYINDEX, FUNCTIONS);
    static const char *const names[] = {"execute", "verify", "idempotencyKey"};
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_getfield(L, 3, names[i]);
        lua_setfield(L, -2, names[i]);
    }
    if (lua_getfield(L, 3, "trigger") == LUA_TTABLE) {
        lua_getfield(L, -1, "when");
        lua_setfield(L, -3, "when");
    }
    lua_pop(L, 1);
    lua_setfield(L, -2, key);
    lua_pop(L, 1);
}

/* worker:onAlert(fn): kept as the execute of a capability whose key nobody else can have. */
static int worker_on_alert(lua_State *L)
{
    struct registration *registration = registration_of(L);
    if (luaL_testudata(L, 1, WORKER) == NULL && !lua_istable(L, 1))
        return luaL_error(L, "call it with a colon: worker:onAlert(function(alert) … end)");
    if (lua_type(L, 2) != LUA_TFUNCTION)
        return luaL_error(L, "worker:onAlert: expected a function, got %s", luaL_typename(L, 2));
    if (task_current(L) != NULL)
        return luaL_error(L, "worker:onAlert: declarations belong at the top level of the script, not into a "
                             "running function");
    if (registration->discover && registration->worker->has_alert)
        return luaL_error(L, "worker:onAlert: it was called before; a worker has one function for alerts");
    registration->worker->has_alert = registration->worker->has_alert || registration->discover;
    if (!registration->discover && registration->wanted != NULL &&
        strcmp(registration->wanted, WORKER_ALERT) != 0)
        return 0;
    lua_getfield(L, LUA_REGISTRYINDEX, FUNCTIONS);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "execute");
    lua_setfield(L, -2, WORKER_ALERT);
    return 0;
}

static int worker_declare(lua_State *L)
{
    enum capability_kind kind = (enum capability_kind)lua_tointeger(L, lua_upvalueindex(1));
    const char *method = capability_kind_name(kind);
    const char *key = check_arguments(L, method);
    struct registration *registration = registration_of(L);
    lua_settop(L, 3);
    if (registration->discover) {
        declare_check_key(L, registration->worker, key, method);
        declare_capability(L, registration->worker, kind, key, 3);
        keep_functions(L, key);
    } else if (registration->wanted == NULL || strcmp(registration->wanted, key) == 0) {
        const struct capability *capability = worker_capability(registration->worker, key);
        if (capability == NULL || capability->kind != kind || !lua_istable(L, 3))
            return refuse_changed_script(L, method, key);
        keep_functions(L, key);
    }
    lua_createtable(L, 0, 2);
    lua_pushstring(L, method);
    lua_setfield(L, -2, "_tag");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "key");
    return 1;
}

/* ---- pacers ---- */

struct pacer_wait {
    const struct isolate_host *host;
    void *op;
    const char *key;
    lua_KContext ctx;
    lua_KFunction k;
};

const char *modules_pacer_key(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    bool is_pacer = lua_istable(L, index) && lua_getmetatable(L, index);
    if (!is_pacer)
        return NULL;
    luaL_getmetatable(L, PACER_HANDLE);
    is_pacer = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    lua_pushliteral(L, "key");
    lua_rawget(L, index);
    const char *key = is_pacer && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); /* the handle still holds the string */
    return key;
}

static void cancel_pacer(void *op)
{
    struct pacer_wait *wait = op;
    wait->host->pacer_cancel(wait->host->ctx, wait->op);
}

static int pacer_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int slot_begun(lua_State *L, int status, lua_KContext ctx)
{
    const struct pacer_wait *wait = (const struct pacer_wait *)ctx;
    if (wait->host->pacer_begun != NULL)
        wait->host->pacer_begun(wait->host->ctx, wait->key);
    return wait->k(L, status, wait->ctx);
}

int modules_pacer_wait(lua_State *L, const char *key, lua_KContext ctx, lua_KFunction k)
{
    const struct isolate_host *host = isolate_host(isolate_of(L));
    struct pacer_wait *wait = lua_newuserdatauv(L, sizeof *wait, 0); /* stays on the stack while waiting */
    *wait = (struct pacer_wait){.host = host, .key = key, .ctx = ctx, .k = k};
    if (host->pacer_wait == NULL)
        return k(L, LUA_OK, ctx);
    struct err err;
    if (host->pacer_wait(host->ctx, key, task_current(L), &wait->op, &err) != ERR_NONE)
        return script_raise_err(L, &err);
    task_wait_set(task_current(L), cancel_pacer, wait);
    return task_wait(L, (lua_KContext)wait, slot_begun);
}

static int pacer_wait(lua_State *L)
{
    const char *key = modules_pacer_key(L, 1);
    if (key == NULL)
        return luaL_error(L, "call it with a colon: pacer:wait()");
    task_wait_begin(L, "pacer:wait");
    lua_settop(L, 1);
    return modules_pacer_wait(L, key, 0, pacer_over);
}

/* ---- errors ---- */

static int rate_limit_error(lua_State *L)
{
    static const struct option_spec options[] = {
        {"retryAfter", OPTION_NUMBER, false, "seconds"},
        {"message", OPTION_TEXT, false, NULL},
        {NULL, 0, false, NULL},
    };
    double retry_after = -1;
    const char *message = "Rate limited by external API";
    if (!lua_isnoneornil(L, 1)) {
        options_check(L, 1, options, "workers.RateLimitError");
        retry_after = options_number(L, 1, "retryAfter", -1);
        message = options_string(L, 1, "message", message);
    }
    script_push_error(L, "RateLimitError", "rate_limited", message, strlen(message));
    if (retry_after >= 0) {
        lua_pushnumber(L, retry_after);
        lua_setfield(L, -2, "retryAfter");
    }
    return 1;
}

static int webhook_verification_error(lua_State *L)
{
    size_t len = 0;
    const char *message = luaL_optlstring(L, 1, "Webhook verification failed", &len);
    script_push_error(L, "WebhookVerificationError", "verification", message, len);
    return 1;
}

/* ---- the module ---- */

static int make_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1))
        lua_newtable(L);
    else
        luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_push_array_metatable(L);
    lua_setmetatable(L, 1);
    return 1;
}

static int make_object(lua_State *L)
{
    if (lua_isnoneornil(L, 1))
        lua_newtable(L);
    else
        luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_push_object_metatable(L);
    lua_setmetatable(L, 1);
    return 1;
}

/* workers.schema, workers.builder and workers.j are loaded when they are first asked for. */
static int module_index(lua_State *L)
{
    static const char *const parts[] = {"schema", "builder", "j"};
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strcmp(parts[i], name) != 0)
            continue;
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushfstring(L, "workers.%s", name);
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, 1, name);
        return 1;
    }
    return luaL_error(L, "the module workers has no \"%s\"", luaL_tolstring(L, 2, NULL));
}

static void make_metatable(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    if (methods != NULL)
        luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* What worker:synk finds. */
static int no_method(lua_State *L)
{
    static const char *const methods[] = {"database", "pacer",      "credential", "sync", "tool",
                                          "webhook",  "automation", "job",        "view", "onAlert"};
    size_t len = 0;
    const char *name = luaL_tolstring(L, 2, &len);
    int nearest = text_nearest(name, len, methods, sizeof methods / sizeof methods[0]);
    if (nearest >= 0)
        return luaL_error(L, "a worker has no method \"%s\"; did you mean \"%s\"?", name, methods[nearest]);
    return luaL_error(
        L,
        "a worker has no method \"%s\"; it has database, pacer, credential, oauth, sync, tool, webhook, "
        "automation, job, view and onAlert",
        name);
}

static void make_worker_metatable(lua_State *L)
{
    static const luaL_Reg methods[] = {{"database", worker_declare_database},
                                       {"pacer", worker_declare_pacer},
                                       {"credential", worker_declare_credential},
                                       {"oauth", worker_declare_oauth},
                                       {"onAlert", worker_on_alert},
                                       {NULL, NULL}};
    make_metatable(L, WORKER, methods);
    lua_getfield(L, -1, "__index");
    for (int kind = CAPABILITY_SYNC; kind <= CAPABILITY_JOB; kind++) {
        lua_pushinteger(L, kind);
        lua_pushcclosure(L, worker_declare, 1);
        lua_setfield(L, -2, capability_kind_name((enum capability_kind)kind));
    }
    static const char *const views[] = {"view", "customBlock"};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        lua_pushstring(L, views[i]);
        lua_pushcclosure(L, worker_declare_view, 1);
        lua_setfield(L, -2, views[i]);
    }
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, no_method);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 2);
}

static const struct script_function functions[] = {
    {"new", worker_create, "(): workers.Worker", "makes the worker; once in a script"},
    {"array", make_array, "(t?: table): table",
     "marks the table, or a new one, as an array: an empty one is [] in JSON"},
    {"object", make_object, "(t?: table): table", "marks it as an object: an empty one is {}"},
    {"sleep", async_sleep, "(seconds: number)", "waits; other syncs go on"},
    {"all", async_all, "(functions: (fun(): any)[]): any[]",
     "calls the functions side by side; the list of their results"},
    {"map", async_map,
     "(list: any[], options: { concurrency?: integer }|function, fn?: fun(item: any, index: integer): any): "
     "any[]",
     "calls the function for each item, 8 at a time unless concurrency says otherwise; the list of results"},
    {"race", async_race, "(functions: (fun(): any)[]): any",
     "calls the functions side by side; returns or raises what the first one to end does"},
    {"timeout", async_timeout, "(seconds: number, fn: fun(): any): any",
     "calls the function; raises a TimeoutError when it has not ended by then"},
    {"RateLimitError", rate_limit_error,
     "(options?: { retryAfter?: number, message?: string }): workers.Error",
     "makes an error that lets a sync wait and go on"},
    {"WebhookVerificationError", webhook_verification_error, "(message?: string): workers.Error",
     "makes an error to raise in verify"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs workers_docs = {
    "The worker and what it declares, null and arrays, waiting",
    functions,
    "---@class workers\n"
    "---@field null lightuserdata JSON's null; clears a property\n"
    "---@field version string the program's\n"
    "---@field CREDENTIAL_VALUE string stands for a credential's value in its templates\n"
    "---@field schema workers.schema\n"
    "---@field builder workers.builder\n"
    "---@field j workers.j\n"
    "---@class workers.Worker\n"
    "---@field database fun(self: workers.Worker, key: string, options: workers.DatabaseOptions): "
    "workers.Database\n"
    "---@field pacer fun(self: workers.Worker, key: string, options: workers.PacerOptions): workers.Pacer\n"
    "---@field credential fun(self: workers.Worker, key: string, options: workers.CredentialOptions)\n"
    "---@field oauth fun(self: workers.Worker, key: string, options: workers.OauthOptions): workers.Oauth\n"
    "---@field sync fun(self: workers.Worker, key: string, options: workers.SyncOptions)\n"
    "---@field tool fun(self: workers.Worker, key: string, options: workers.ToolOptions)\n"
    "---@field webhook fun(self: workers.Worker, key: string, options: workers.WebhookOptions)\n"
    "---@field automation fun(self: workers.Worker, key: string, options: workers.AutomationOptions)\n"
    "---@field job fun(self: workers.Worker, key: string, options: workers.JobOptions)\n"
    "---@field view fun(self: workers.Worker, key: string, options: workers.ViewOptions)\n"
    "---@field customBlock fun(self: workers.Worker, key: string, options: workers.ViewOptions)\n"
    "---@field onAlert fun(self: workers.Worker, f: fun(alert: workers.Alert, ctx: workers.Context))\n"
    "---@class workers.Alert\n"
    "---@field type \"ERROR\"|\"RECOVERED\"|\"HELD\"|\"STALE\"\n"
    "---@field worker string\n"
    "---@field sync string\n"
    "---@field at string\n"
    "---@field message? string what is wrong\n"
    "---@field lastSuccessAt? string\n"
    "---@class workers.Database what worker:database returned\n"
    "---@class workers.Pacer what worker:pacer returned\n"
    "---@field wait fun(self: workers.Pacer) returns when its turn has come\n"
    "---@class workers.Oauth what worker:oauth returned\n"
    "---@field accessToken fun(self: workers.Oauth): string a token that is good now\n"
    "---@class workers.Error\n"
    "---@field name string\n"
    "---@field code string\n"
    "---@field message string\n"
    "---@field retryAfter? number seconds\n"
    "---@class workers.PacerOptions\n"
    "---@field allowedRequests number\n"
    "---@field intervalMs number\n"
    "---@class workers.CredentialOptions\n"
    "---@field network { domain: string, transform: { headers: table<string, string> }[] }[]\n"
    "---@class workers.DatabaseOptions\n"
    "---@field type \"managed\"\n"
    "---@field initialTitle string\n"
    "---@field primaryKeyProperty string\n"
    "---@field schema { properties: table<string, workers.schema.Property>, databaseIcon?: workers.Value, "
    "subItems?: { parentPropertyName: string, childPropertyName: string } }\n"
    "---@alias workers.Schedule string|{ cron?: string, timezone?: string, every?: string, missed?: "
    "\"once\"|\"skip\"|\"all\" }\n"
    "---@class workers.Change\n"
    "---@field type \"upsert\"|\"delete\"\n"
    "---@field key string|integer\n"
    "---@field properties? table<string, any>\n"
    "---@field targetDatabaseKey? string\n"
    "---@field upstreamUpdatedAt? string an ISO 8601 time\n"
    "---@field icon? workers.Value|lightuserdata\n"
    "---@field cover? workers.Value|lightuserdata\n"
    "---@field pageContentMarkdown? string|lightuserdata\n"
    "---@class workers.Page\n"
    "---@field changes workers.Change[]\n"
    "---@field hasMore boolean\n"
    "---@field nextState? any where the next page begins\n"
    "---@class workers.Context\n"
    "---@field key string of the capability\n"
    "---@field runId? string of what is recorded\n"
    "---@field deliveryId? string the same at every attempt\n"
    "---@field attempt? integer from 1\n"
    "---@field startedBy? string \"schedule\", \"webhook\", \"row\", \"api\", \"replay\"\n"
    "---@field scheduledAt? string of a job: the time of its tick\n"
    "---@field preview? boolean of a sync\n"
    "---@field dryRun? boolean of a tool\n"
    "---@class workers.SyncOptions\n"
    "---@field database workers.Database\n"
    "---@field execute fun(state: any, ctx: workers.Context): workers.Page\n"
    "---@field mode? \"replace\"|\"incremental\"\n"
    "---@field schedule? workers.Schedule\n"
    "---@field sweep? { maxDeleteRatio?: number, minRows?: integer }\n"
    "---@class workers.ToolOptions\n"
    "---@field title string\n"
    "---@field description string\n"
    "---@field schema workers.j.Value\n"
    "---@field outputSchema? workers.j.Value\n"
    "---@field hints? { readOnlyHint?: boolean }\n"
    "---@field dryRun? boolean callers may set dryRun in the input; execute looks at ctx.dryRun\n"
    "---@field execute fun(input: any, ctx: workers.Context): any\n"
    "---@class workers.WebhookOptions\n"
    "---@field title string\n"
    "---@field description string\n"
    "---@field verify? fun(request: table, ctx: workers.Context): table?\n"
    "---@field idempotencyKey? fun(request: table): string?\n"
    "---@field execute fun(events: table[], ctx: workers.Context)\n"
    "---@class workers.RowEvent\n"
    "---@field id string the same at every attempt\n"
    "---@field type \"insert\"|\"update\"|\"delete\"\n"
    "---@field at string\n"
    "---@field database string\n"
    "---@field key string\n"
    "---@field row? table<string, any> unless it was deleted\n"
    "---@field before? table<string, any> unless it is new\n"
    "---@class workers.AutomationOptions\n"
    "---@field title string\n"
    "---@field description string\n"
    "---@field trigger? { database: workers.Database, on?: (\"insert\"|\"update\"|\"delete\")[], when?: "
    "fun(event: workers.RowEvent): any }\n"
    "---@field execute fun(event: any, ctx: workers.Context)\n"
    "---@class workers.JobOptions\n"
    "---@field title string\n"
    "---@field description string\n"
    "---@field schedule? workers.Schedule\n"
    "---@field execute fun(input: any, ctx: workers.Context): any\n"
    "---@class workers.OauthOptions\n"
    "---@field provider? string one whose endpoints are known, such as \"google\"\n"
    "---@field name? string what people see\n"
    "---@field authorizationEndpoint? string\n"
    "---@field tokenEndpoint? string\n"
    "---@field refreshEndpoint? string\n"
    "---@field deviceAuthorizationEndpoint? string\n"
    "---@field revocationEndpoint? string\n"
    "---@field issuer? string says where the endpoints are\n"
    "---@field clientId string the id, or \"$NAME\" of a variable\n"
    "---@field clientSecret? string \"$NAME\" of a variable\n"
    "---@field scope? string\n"
    "---@field authorizationParams? table<string, string>\n"
    "---@field callbackUrl? string\n"
    "---@field accessTokenExpireMs? number\n"
    "---@field grant? \"code\"|\"client\"|\"device\"\n"
    "---@field clientAuth? \"body\"|\"basic\"|\"none\"\n"
    "---@field pkce? boolean\n"
    "---@class workers.ViewOptions\n"
    "---@field path string the folder of its files\n"
    "---@field type? \"static\"|\"project\"\n"
    "---@field command? string what builds a project\n"
    "---@field output? string the folder that the command makes\n"
    "---@field name? string\n"
    "---@field description? string\n"
    "---@field dataSources? table<string, workers.ViewSource>\n"
    "---@field icon? workers.Value\n"
    "---@field slashCommand? string\n"
    "---@field version? integer\n"
    "---@class workers.ViewSource\n"
    "---@field database? workers.Database that of the same key unless given\n"
    "---@field name? string\n"
    "---@field description? string\n"
    "---@field icon? workers.Value\n"
    "---@field properties? table<string, string|{ name: string, description?: string, type?: string }> all "
    "unless given\n",
};

int luaopen_workers(lua_State *L)
{
    static const luaL_Reg pacer_methods[] = {{"wait", pacer_wait}, {NULL, NULL}};
    static const luaL_Reg oauth_methods[] = {{"accessToken", oauth_access_token}, {NULL, NULL}};
    make_worker_metatable(L);
    make_metatable(L, DATABASE_HANDLE, NULL);
    make_metatable(L, PACER_HANDLE, pacer_methods);
    make_metatable(L, OAUTH_HANDLE, oauth_methods);
    make_metatable(L, VIEW_HANDLE, NULL);
    oauth_setup(L);
    lua_pop(L, 4);
    functions_push(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushliteral(L, CREDENTIAL_MARKER);
    lua_setfield(L, -2, "CREDENTIAL_VALUE");
    lua_pushliteral(L, WORKERS_VERSION);
    lua_setfield(L, -2, "version");
    lua_createtable(L, 0, 1);
    lua_getglobal(L, "require");
    lua_pushcclosure(L, module_index, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    return 1;
}

/* ---- for the engine ---- */

static int check_worker(lua_State *L)
{
    bool is_worker = lua_istable(L, 1) && lua_getmetatable(L, 1);
    if (is_worker) {
        luaL_getmetatable(L, WORKER);
        is_worker = lua_rawequal(L, -1, -2);
    }
    lua_pushboolean(L, is_worker);
    return 1;
}

enum err_code modules_load_worker(struct isolate *isolate, struct script_error *error)
{
    lua_State *L = isolate_state(isolate);
    enum err_code code = isolate_load_main(isolate, error);
    if (code != ERR_NONE)
        return code;
    const char *got = lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1);
    lua_pushcfunction(L, check_worker);
    lua_insert(L, -2);
    code = isolate_call(isolate, 1, 1, error);
    if (code != ERR_NONE)
        return code;
    bool is_worker = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!is_worker)
        return script_error_set(
            error, ERR_INVALID,
            "the script must end with \"return worker\", the object that workers.new() gave; it returned %s",
            got);
    struct registration *registration = isolate_registry(isolate);
    struct err err;
    if (registration->discover && worker_check(registration->worker, &err) != ERR_NONE)
        return script_error_set(error, err.code, "%s", err.message);
    return ERR_NONE;
}

static int get_function(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, FUNCTIONS);
    if (lua_istable(L, -1) && lua_getfield(L, -1, lua_touserdata(L, 1)) == LUA_TTABLE)
        lua_getfield(L, -1, lua_touserdata(L, 2));
    else
        lua_pushnil(L);
    return 1;
}

bool modules_push_function(struct isolate *isolate, const char *key, const char *name)
{
    lua_State *L = isolate_state(isolate);
    struct script_error ignored;
    script_error_init(&ignored);
    if (!lua_checkstack(L, 4))
        return false;
    lua_pushcfunction(L, get_function);
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    lua_pushlightuserdata(L, (void *)(uintptr_t)name);
    enum err_code code = isolate_call(isolate, 2, 1, &ignored);
    script_error_free(&ignored);
    if (code != ERR_NONE)
        return false;
    if (lua_isfunction(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}
