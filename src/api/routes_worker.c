/* The worker itself, its capabilities, and calling them. */
#include "api/routes.h"

#include "api/describe.h"
#include "base/mem.h"

static void get_worker(struct api_request *request, struct store *store)
{
    const struct worker *worker = request->worker;
    struct capability_info *infos = capability_infos(store, worker, &request->err);
    if (infos == NULL) {
        request->code = request->err.code;
        return;
    }
    buf_adds(&request->out, "{\"name\":");
    json_write_text(&request->out, request->name);
    buf_adds(&request->out, ",\"capabilities\":[");
    for (size_t i = 0; i < worker->capability_count; i++) {
        buf_adds(&request->out, i > 0 ? "," : "");
        describe_capability(&worker->capabilities[i], &infos[i], &request->out);
    }
    buf_adds(&request->out, "]}");
    mem_free(infos);
}

static void get_manifest(struct api_request *request, struct store *store)
{
    (void)store;
    request->code = worker_manifest(request->worker, &request->out);
}

static void set_paused(struct api_request *request, struct store *store, bool paused)
{
    if (request->capability->kind == CAPABILITY_TOOL)
        request->code =
            err_set(&request->err, ERR_INVALID, "\"%s\" is a tool, which runs only when it is called",
                    request->capability->key);
    else
        request->code = store_sync_pause(store, request->capability->key, paused, &request->err);
    api_done(request);
}

static void enable(struct api_request *request, struct store *store)
{
    set_paused(request, store, false);
}

static void disable(struct api_request *request, struct store *store)
{
    set_paused(request, store, true);
}

const struct route worker_routes[] = {
    {.method = "GET",
     .path = "",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "getWorker",
     .summary = "A worker and its capabilities",
     .success = 200,
     .work = get_worker},
    {.method = "GET",
     .path = "/manifest",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "getManifest",
     .summary = "What the worker declares",
     .success = 200,
     .work = get_manifest},
    {.method = "POST",
     .path = "/capabilities/{key}/enable",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_ANY,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "enableCapability",
     .summary = "Lets a capability run by itself",
     .success = 200,
     .work = enable},
    {.method = "POST",
     .path = "/capabilities/{key}/disable",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_ANY,
     .needs = ROUTE_WORKER | ROUTE_MAKES,
     .id = "disableCapability",
     .summary = "Keeps a capability from running by itself",
     .success = 200,
     .work = disable},
    {.method = "POST",
     .path = "/capabilities/{key}/exec",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_ANY,
     .kind = ROUTE_EXEC,
     .id = "execCapability",
     .summary = "Calls a capability, records nothing, and answers how it ended",
     .body = "{}",
     .success = 200},
    {.method = "POST",
     .path = "/tools/{key}",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_TOOL,
     .kind = ROUTE_CALL,
     .id = "callTool",
     .summary = "Calls a tool and answers its result",
     .body = API_OBJECT,
     .success = 200},
    {.method = "POST",
     .path = "/automations/{key}",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_AUTOMATION,
     .kind = ROUTE_DELIVER,
     .id = "fireAutomation",
     .summary = "Fires an automation with the body as its event",
     .body = API_OBJECT,
     .success = 202},
    {.method = "POST",
     .path = "/jobs/{key}",
     .scope = TOKEN_RUN,
     .capability = CAPABILITY_JOB,
     .kind = ROUTE_DELIVER,
     .id = "runJob",
     .summary = "Runs a job with the body as its input",
     .body = API_OBJECT,
     .success = 202},
    {0},
};
