/* What is known of syncs, runs and deliveries, as JSON. */
#include "api/describe.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"

static void add_text(struct buf *json, const char *name, const char *text)
{
    if (text == NULL)
        return;
    buf_addf(json, ",\"%s\":", name);
    json_write_text(json, text);
}

/* As the manifest has it, and for people. */
static void add_schedule(const struct schedule *schedule, struct buf *json)
{
    struct buf text;
    buf_init(&text, 4096);
    buf_adds(json, ",\"schedule\":");
    schedule_write(schedule, json);
    schedule_describe(schedule, &text);
    add_text(json, "scheduleText", buf_text(&text));
    buf_free(&text);
}

/* Rows a second of the run under way. */
static int64_t rate(const struct sync_info *info)
{
    int64_t elapsed = clock_now_ms() - info->run_started_ms;
    return elapsed > 0 ? info->run_rows * 1000 / elapsed : 0;
}

struct capability_search {
    const struct worker *worker;
    struct capability_info *infos;
};

static enum err_code keep_entry(void *ctx, const struct schedule_entry *entry)
{
    const struct capability_search *search = ctx;
    const struct capability *capability = worker_capability(search->worker, entry->key);
    if (capability == NULL) /* of an earlier version of the script */
        return ERR_NONE;
    int64_t next = entry->triggered_ms != 0 ? entry->triggered_ms
                   : entry->retry_ms != 0   ? entry->retry_ms
                                            : entry->next_ms;
    search->infos[capability - search->worker->capabilities] = (struct capability_info){
        .paused = entry->paused, .next_ms = entry->paused || next == INT64_MAX ? 0 : next};
    return ERR_NONE;
}

struct capability_info *capability_infos(struct store *store, const struct worker *worker, struct err *err)
{
    struct capability_search search = {
        .worker = worker, .infos = mem_need((worker->capability_count + 1) * sizeof *search.infos)};
    if (store == NULL || store_schedules_each(store, keep_entry, &search, err) == ERR_NONE)
        return search.infos;
    mem_free(search.infos);
    return NULL;
}

void describe_capability(const struct capability *capability, const struct capability_info *info,
                         struct buf *json)
{
    char time[ISO_UTC_SIZE];
    buf_addf(json, "{\"kind\":\"%s\",\"key\":", capability_kind_name(capability->kind));
    json_write_text(json, capability->key);
    add_text(json, "title",
             capability->title != NULL && capability->title[0] != '\0' ? capability->title : NULL);
    if (capability->kind == CAPABILITY_SYNC || capability->kind == CAPABILITY_JOB)
        add_schedule(&capability->schedule, json);
    if (capability->kind != CAPABILITY_TOOL)
        buf_addf(json, ",\"enabled\":%s", info->paused ? "false" : "true");
    if (info->next_ms != 0)
        buf_addf(json, ",\"nextRunAt\":\"%s\"", iso_format_utc(info->next_ms, time));
    buf_addc(json, '}');
}

void describe_sync(const struct capability *sync, const struct sync_info *info, struct buf *json)
{
    char time[ISO_UTC_SIZE];
    buf_adds(json, "{\"key\":");
    json_write_text(json, sync->key);
    buf_addf(json, ",\"status\":\"%s\",\"running\":%s,\"mode\":\"%s\"", sync_status_name(info->status),
             info->running ? "true" : "false", sync->mode == SYNC_REPLACE ? "replace" : "incremental");
    add_schedule(&sync->schedule, json);
    buf_addf(json,
             ",\"consecutiveFailureCount\":%lld,\"cycleOpen\":%s,\"cyclePages\":%lld,\"stateBytes\":%zu",
             (long long)info->failures, info->cycle_open ? "true" : "false", (long long)info->cycle_pages,
             info->state_size);
    if (info->last_success_ms != 0)
        buf_addf(json, ",\"lastSuccessAt\":\"%s\"", iso_format_utc(info->last_success_ms, time));
    if (info->last_run_ms != 0)
        buf_addf(json, ",\"lastRunAt\":\"%s\"", iso_format_utc(info->last_run_ms, time));
    if (info->next_ms != 0)
        buf_addf(json, ",\"nextRunAt\":\"%s\"", iso_format_utc(info->next_ms, time));
    if (info->last_run_id != NULL)
        buf_addf(json, ",\"lastRunId\":\"%s\"", info->last_run_id);
    if (info->running && info->running_in != 0)
        buf_addf(json, ",\"process\":%lld", (long long)info->running_in);
    if (info->running)
        buf_addf(json, ",\"run\":{\"pages\":%lld,\"rows\":%lld,\"rowsPerSecond\":%lld}",
                 (long long)info->run_pages, (long long)info->run_rows, (long long)rate(info));
    add_text(json, "lastError", info->last_error);
    add_text(json, "held", info->held_reason);
    buf_addc(json, '}');
}

void describe_run(const struct run_record *run, struct buf *json)
{
    char time[ISO_UTC_SIZE];
    buf_adds(json, "{\"id\":");
    json_write_text(json, run->id);
    buf_addf(json, ",\"kind\":\"%s\",\"key\":", run->kind);
    json_write_text(json, run->key);
    if (run->exit_code < 0)
        buf_adds(json, ",\"exitCode\":null");
    else
        buf_addf(json, ",\"exitCode\":%d", run->exit_code);
    buf_addf(json, ",\"startedAt\":\"%s\"", iso_format_utc(run->started_ms, time));
    if (run->ended_ms != 0)
        buf_addf(json, ",\"endedAt\":\"%s\"", iso_format_utc(run->ended_ms, time));
    buf_addf(json,
             ",\"pages\":%lld,\"requests\":%lld,\"added\":%lld,\"changed\":%lld,\"unchanged\":%lld,"
             "\"deleted\":%lld,\"stale\":"
             "%lld",
             (long long)run->pages, (long long)run->requests, (long long)run->counts.added,
             (long long)run->counts.changed, (long long)run->counts.unchanged, (long long)run->counts.deleted,
             (long long)run->counts.stale);
    buf_addf(json, ",\"attempt\":%lld", (long long)run->attempt);
    if (run->peak_bytes != 0)
        buf_addf(json, ",\"peakBytes\":%lld", (long long)run->peak_bytes);
    add_text(json, "startedBy", run->started_by);
    add_text(json, "deliveryId", run->delivery_id);
    add_text(json, "error", run->error);
    add_text(json, "errorName", run->error_name);
    add_text(json, "errorCode", run->error_code);
    if (run->error_status != 0)
        buf_addf(json, ",\"errorStatus\":%d", run->error_status);
    add_text(json, "traceback", run->traceback);
    buf_addc(json, '}');
}

void describe_delivery(const struct delivery_record *record, struct buf *json)
{
    char time[ISO_UTC_SIZE];
    buf_adds(json, "{\"id\":");
    json_write_text(json, record->id);
    add_text(json, "kind", record->kind);
    add_text(json, "key", record->key);
    add_text(json, "state", record->state);
    add_text(json, "startedBy", record->started_by);
    buf_addf(json, ",\"attempts\":%lld,\"createdAt\":\"%s\"", (long long)record->attempts,
             iso_format_utc(record->created_ms, time));
    if (record->ended_ms != 0)
        buf_addf(json, ",\"endedAt\":\"%s\"", iso_format_utc(record->ended_ms, time));
    else
        buf_addf(json, ",\"dueAt\":\"%s\"", iso_format_utc(record->due_ms, time));
    add_text(json, "idempotencyKey", record->idempotency_key);
    add_text(json, "runId", record->run_id);
    add_text(json, "error", record->error);
    if (record->event != NULL) {
        buf_adds(json, ",\"event\":");
        buf_add(json, record->event, record->event_len);
    }
    if (record->body != NULL) {
        struct err ignored;
        buf_adds(json, ",\"rawBody\":");
        if (json_write_string(json, record->body, record->body_len, &ignored) != ERR_NONE)
            buf_addf(json, "null,\"rawBodyBytes\":%zu", record->body_len);
    }
    buf_addc(json, '}');
}

const char *describe_endpoint_state(const struct endpoint *endpoint, bool paused)
{
    return endpoint->closed_ms != 0 ? "closed" : paused ? "disabled" : "open";
}

void describe_webhook(const struct capability *webhook, const struct endpoint *endpoint, bool paused,
                      const char *url, struct buf *json)
{
    buf_adds(json, "{\"key\":");
    json_write_text(json, webhook->key);
    buf_addf(json, ",\"state\":\"%s\",\"verify\":%s,\"failures\":%lld,\"url\":",
             describe_endpoint_state(endpoint, paused), webhook->has_verify ? "true" : "false",
             (long long)endpoint->failures);
    json_write_text(json, url);
    buf_addc(json, '}');
}
