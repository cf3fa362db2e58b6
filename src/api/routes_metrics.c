/* How the worker does, in the text format of Prometheus. */
#include "api/routes.h"

#include "base/mem.h"

/* A label's value: backslashes, quotes and line ends are escaped. */
static void add_label(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            buf_addc(out, '\\');
        if (*value == '\n')
            buf_adds(out, "\\n");
        else
            buf_addc(out, *value);
    }
    buf_addc(out, '"');
}

struct metric {
    const char *name, *type, *help;
    double (*value)(const struct sync_info *info);
};

static double last_success(const struct sync_info *info)
{
    return (double)info->last_success_ms / 1000;
}

static double next_run(const struct sync_info *info)
{
    return (double)info->next_ms / 1000;
}

static double failures(const struct sync_info *info)
{
    return (double)info->failures;
}

static double is_held(const struct sync_info *info)
{
    return info->held_reason != NULL;
}

static double is_running(const struct sync_info *info)
{
    return info->running;
}

static double state_bytes(const struct sync_info *info)
{
    return (double)info->state_size;
}

static const struct metric sync_metrics[] = {
    {"workers_sync_last_success_timestamp_seconds", "gauge", "When a cycle last ended well; 0 for never.",
     last_success},
    {"workers_sync_next_run_timestamp_seconds", "gauge", "When the next run is due; 0 for none.", next_run},
    {"workers_sync_consecutive_failures", "gauge", "Failures since the last success.", failures},
    {"workers_sync_held", "gauge", "1 while a sweep is held.", is_held},
    {"workers_sync_running", "gauge", "1 while a cycle runs.", is_running},
    {"workers_sync_state_bytes", "gauge", "Size of the state as JSON.", state_bytes},
};

static void add_sync_metric(struct api_request *request, const struct metric *metric, struct sync_info *infos)
{
    const struct worker *worker = request->worker;
    struct buf *out = &request->out;
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, metric->type);
    for (size_t i = 0; i < worker->capability_count; i++) {
        if (worker->capabilities[i].kind != CAPABILITY_SYNC)
            continue;
        buf_addf(out, "%s{", metric->name);
        add_label(out, "worker", request->name);
        buf_addc(out, ',');
        add_label(out, "sync", worker->capabilities[i].key);
        buf_addf(out, "} %.17g\n", metric->value(&infos[i]));
    }
}

static void get_metrics(struct api_request *request, struct store *store)
{
    const struct worker *worker = request->worker;
    struct delivery_counts counts;
    struct sync_info *infos = mem_zalloc((worker->capability_count + 1) * sizeof *infos);
    request->type = "text/plain; version=0.0.4; charset=utf-8";
    request->code =
        infos != NULL ? store_delivery_counts(store, &counts, &request->err) : err_nomem(&request->err);
    for (size_t i = 0; i < worker->capability_count && request->code == ERR_NONE; i++)
        if (worker->capabilities[i].kind == CAPABILITY_SYNC)
            request->code = store_sync_info(store, worker->capabilities[i].key, &infos[i], &request->err);
    for (size_t i = 0; i < sizeof sync_metrics / sizeof sync_metrics[0] && request->code == ERR_NONE; i++)
        add_sync_metric(request, &sync_metrics[i], infos);
    if (request->code == ERR_NONE) {
        const struct {
            const char *state;
            int64_t count;
        } states[] = {{"ready", counts.ready}, {"running", counts.running}, {"dead", counts.dead}};
        buf_adds(&request->out, "# HELP workers_deliveries Deliveries that have not ended well.\n# TYPE"
                                " workers_deliveries gauge\n");
        for (int i = 0; i < 3; i++) {
            buf_adds(&request->out, "workers_deliveries{");
            add_label(&request->out, "worker", request->name);
            buf_addf(&request->out, ",state=\"%s\"} %lld\n", states[i].state, (long long)states[i].count);
        }
    }
    for (size_t i = 0; infos != NULL && i < worker->capability_count; i++)
        sync_info_free(&infos[i]);
    mem_free(infos);
}

const struct route metric_routes[] = {
    {.method = "GET",
     .path = "/metrics",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER,
     .id = "getMetrics",
     .summary = "How the worker does, in the text format of Prometheus",
     .success = 200,
     .work = get_metrics},
    {0},
};
