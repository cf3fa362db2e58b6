/* Syncs: how they stand, running one, their state. */
#include "api/routes.h"

#include "api/describe.h"
#include "base/mem.h"

static void add_sync(struct api_request *request, struct store *store, const struct capability *sync)
{
    struct sync_info info = {0};
    if (store != NULL)
        request->code = store_sync_info(store, sync->key, &info, &request->err);
    if (request->code == ERR_NONE) {
        api_comma(&request->out);
        describe_sync(sync, &info, &request->out);
    }
    sync_info_free(&info);
}

static void list_syncs(struct api_request *request, struct store *store)
{
    const struct worker *worker = request->worker;
    buf_addc(&request->out, '[');
    for (size_t i = 0; i < worker->capability_count && request->code == ERR_NONE; i++)
        if (worker->capabilities[i].kind == CAPABILITY_SYNC)
            add_sync(request, store, &worker->capabilities[i]);
    buf_addc(&request->out, ']');
}

static void get_sync(struct api_request *request, struct store *store)
{
    add_sync(request, store, request->capability);
}

static void trigger_sync(struct api_request *request, struct store *store)
{
    request->code = store_schedule_trigger(store, request->capability->key,
                                           api_body_flag(request, "allowDeletes"), &request->err);
    buf_adds(&request->out, "{\"status\":\"triggered\"}");
}

static void get_state(struct api_request *request, struct store *store)
{
    struct sync_info info = {0};
    request->code = store_sync_info(store, request->capability->key, &info, &request->err);
    buf_adds(&request->out, "{\"state\":");
    buf_add(&request->out, info.state != NULL ? info.state : "null",
            info.state != NULL ? info.state_size : 4);
    buf_addc(&request->out, '}');
    sync_info_free(&info);
}

static void set_state(struct api_request *request, struct store *store)
{
    struct json_slice state;
    if (request->capability->mode == SYNC_REPLACE)
        request->code = err_set(
            &request->err, ERR_INVALID,
            "\"%s\" is a replace sync: its cycles start without state, and one that began in the middle "
            "would delete the rows before it. To make it start over: workers sync state reset %s",
            request->capability->key, request->capability->key);
    else if (!api_body_member(request, "state", &state))
        request->code = err_set(&request->err, ERR_INVALID, "the body needs \"state\"");
    else {
        char *text = mem_strndup(state.text, state.len);
        request->code = text != NULL
                            ? store_sync_set_state(store, request->capability->key, text, &request->err)
                            : err_nomem(&request->err);
        mem_free(text);
    }
    api_done(request);
}

static void reset_state(struct api_request *request, struct store *store)
{
    request->code = store_sync_set_state(store, request->capability->key, NULL, &request->err);
    api_done(request);
}

const struct route sync_routes[] = {
    {.method = "GET",
     .path = "/syncs",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "listSyncs",
     .summary = "How the syncs stand",
     .success = 200,
     .work = list_syncs},
    {.method = "GET",
     .path = "/syncs/{key}",
     .scope = TOKEN_READ,
     .capability = CAPABILITY_SYNC,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "getSync",
     .summary = "How a sync stands",
     .success = 200,
     .work = get_sync},
    {.method = "POST",
     .path = "/syncs/{key}/trigger",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_SYNC,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "triggerSync",
     .summary = "Runs a cycle as soon as may be, after one that is under way",
     .body = "{\"type\":\"object\",\"properties\":{\"allowDeletes\":{\"type\":\"boolean\"}}}",
     .success = 202,
     .work = trigger_sync},
    {.method = "GET",
     .path = "/syncs/{key}/state",
     .scope = TOKEN_READ,
     .capability = CAPABILITY_SYNC,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "getSyncState",
     .summary = "The state of a sync",
     .success = 200,
     .work = get_state},
    {.method = "PUT",
     .path = "/syncs/{key}/state",
     .scope = TOKEN_ADMIN,
     .capability = CAPABILITY_SYNC,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "setSyncState",
     .summary = "Sets the state of a sync",
     .body = "{\"type\":\"object\",\"required\":[\"state\"],\"properties\":{\"state\":{}}}",
     .success = 200,
     .work = set_state},
    {.method = "DELETE",
     .path = "/syncs/{key}/state",
     .scope = TOKEN_ADMIN,
     .capability = CAPABILITY_SYNC,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "resetSyncState",
     .summary = "Forgets the state of a sync",
     .success = 200,
     .work = reset_state},
    {0},
};
