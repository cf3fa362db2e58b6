/* Deliveries: what was sent to capabilities, and what became of it. */
#include "api/routes.h"

#include "api/describe.h"

static enum err_code add_delivery(void *ctx, const struct delivery_record *record)
{
    struct api_request *request = ctx;
    api_comma(&request->out);
    describe_delivery(record, &request->out);
    return ERR_NONE;
}

static void list_deliveries(struct api_request *request, struct store *store)
{
    char key[101], state[16], before[STORE_ID_SIZE];
    struct delivery_filter filter = {0};
    if (api_query(request, "key", key, sizeof key))
        filter.key = key;
    if (api_query(request, "state", state, sizeof state))
        filter.state = state;
    if (api_query(request, "before", before, sizeof before))
        filter.before = before;
    if (request->code == ERR_NONE && filter.state != NULL && !delivery_state_known(state))
        request->code = err_set(&request->err, ERR_INVALID, "state must be " DELIVERY_STATES);
    if (request->code != ERR_NONE || !api_limit(request, &filter.limit))
        return;
    buf_addc(&request->out, '[');
    request->code = store_deliveries_list(store, &filter, add_delivery, request, &request->err);
    buf_addc(&request->out, ']');
}

static void get_delivery(struct api_request *request, struct store *store)
{
    request->code = store_delivery_get(store, request->parameters[0], add_delivery, request, &request->err);
}

static void replay_delivery(struct api_request *request, struct store *store)
{
    request->code = store_delivery_replay(store, request->parameters[0], &request->err);
    api_done(request);
}

const struct route delivery_routes[] = {
    {.method = "GET",
     .path = "/deliveries",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "listDeliveries",
     .summary = "Deliveries, newest first",
     .query = "key:string state:string before:string limit:integer",
     .success = 200,
     .work = list_deliveries},
    {.method = "GET",
     .path = "/deliveries/{id}",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "getDelivery",
     .summary = "One delivery, with what it carries",
     .success = 200,
     .work = get_delivery},
    {.method = "POST",
     .path = "/deliveries/{id}/replay",
     .scope = TOKEN_RUN,
     .capability = ROUTE_NONE,
     .id = "replayDelivery",
     .summary = "Delivers again what has ended",
     .success = 200,
     .work = replay_delivery},
    {0},
};
