/* Runs and their logs. */
#include "api/routes.h"

#include "api/describe.h"
#include "base/iso8601.h"

#include <stdio.h>
#include <string.h>

#define LINES_MAX 1000

static enum err_code add_run(void *ctx, const struct run_record *run)
{
    struct api_request *request = ctx;
    api_comma(&request->out);
    describe_run(run, &request->out);
    return ERR_NONE;
}

static void list_runs(struct api_request *request, struct store *store)
{
    char key[101], before[STORE_ID_SIZE], failed[8] = "false";
    struct run_filter filter = {0};
    if (api_query(request, "key", key, sizeof key))
        filter.key = key;
    if (api_query(request, "before", before, sizeof before))
        filter.before = before;
    api_query(request, "failed", failed, sizeof failed);
    filter.failed_only = strcmp(failed, "true") == 0;
    if (request->code == ERR_NONE && !filter.failed_only && strcmp(failed, "false") != 0)
        request->code = err_set(&request->err, ERR_INVALID, "failed must be true or false");
    if (request->code != ERR_NONE || !api_limit(request, &filter.limit))
        return;
    buf_addc(&request->out, '[');
    request->code = store_runs_list(store, &filter, add_run, request, &request->err);
    buf_addc(&request->out, ']');
}

static void get_run(struct api_request *request, struct store *store)
{
    request->code = store_run_get(store, request->parameters[0], add_run, request, &request->err);
}

struct found {
    char id[STORE_ID_SIZE];
};

static enum err_code keep_id(void *ctx, const struct run_record *run)
{
    snprintf(((struct found *)ctx)->id, STORE_ID_SIZE, "%s", run->id);
    return ERR_NONE;
}

static enum err_code add_line(void *ctx, int64_t id, int64_t at_ms, const char *level, const char *text,
                              size_t len)
{
    struct api_request *request = ctx;
    char time[ISO_UTC_SIZE];
    struct err ignored;
    api_comma(&request->out);
    buf_addf(&request->out, "{\"id\":%lld,\"at\":\"%s\",\"level\":\"%s\",\"text\":", (long long)id,
             iso_format_utc(at_ms, time), level);
    if (json_write_string(&request->out, text, len, &ignored) != ERR_NONE)
        buf_adds(&request->out, "\"(not valid UTF-8)\"");
    buf_addc(&request->out, '}');
    return ERR_NONE;
}

static void get_logs(struct api_request *request, struct store *store)
{
    struct found found;
    int64_t after_id = 0, limit = LINES_MAX;
    if (!api_number(request, "after", 0, INT64_MAX, &after_id) ||
        !api_number(request, "limit", 1, LINES_MAX, &limit))
        return;
    request->code = store_run_get(store, request->parameters[0], keep_id, &found, &request->err);
    buf_addc(&request->out, '[');
    if (request->code == ERR_NONE)
        request->code = store_logs_each(store, found.id, after_id, limit, add_line, request, &request->err);
    buf_addc(&request->out, ']');
}

const struct route run_routes[] = {
    {.method = "GET",
     .path = "/runs",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "listRuns",
     .summary = "Runs, newest first",
     .query = "key:string failed:boolean before:string limit:integer",
     .success = 200,
     .work = list_runs},
    {.method = "GET",
     .path = "/runs/{id}",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "getRun",
     .summary = "One run",
     .success = 200,
     .work = get_run},
    {.method = "GET",
     .path = "/runs/{id}/logs",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "getRunLogs",
     .summary = "The log of a run, after a line's id",
     .query = "after:integer limit:integer",
     .success = 200,
     .work = get_logs},
    {0},
};
