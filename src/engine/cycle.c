/* The execute loop of syncs. Must not write the store itself: that is done by jobs on the store's thread. */
#include "engine/cycle.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "script/timer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 2000 /* changes converted and written at once */
#define RATE_LIMIT_FIRST_MS 1000
#define BACKOFF_FIRST_MS 10000
#define BACKOFF_LAST_MS (30 * 60 * 1000)
#define CONTINUOUS_PAUSE_MS 1000               /* between two cycles of a continuous sync */
#define END_AGAIN_MS 1000                      /* after the end could not be written */
#define END_ATTEMPTS (LEASE_MS / END_AGAIN_MS) /* others take it for abandoned afterwards */

/* One page on its way into the store: converted changes, and with the last of them the end of the page. */
struct commit {
    struct job job;
    struct cycle *cycle;
    struct page page;
    bool busy;
    bool first, last; /* chunk of its page */
    struct page_end end;
    struct buf next_state; /* what end.next_state points to */
    struct page_counts counts;
    struct sweep_outcome sweep;
    enum err_code code;
    struct err err;
};

/* The result of execute whose changes are being converted; its table waits on the isolate's own stack. */
struct result {
    bool waiting;
    struct page_result read;
    size_t converted;
};

struct cycle {
    struct runtime *runtime;
    const struct capability *sync;
    struct cycle_options options;
    struct sync_start start; /* what options.start points to */
    cycle_done_fn done;
    void *done_ctx;
    struct execution execution;
    struct isolate *isolate;
    struct task *task; /* the execute call that runs */
    struct sync_lease lease;
    bool leased;
    struct buf state; /* JSON of the state execute got; empty = none */
    struct result result;
    struct commit commits[2];
    int commits_busy;
    bool commit_failed; /* read and written on the store's thread only, but for the end */
    int64_t executed;   /* calls of execute that ended well */
    int64_t requests_counted;
    struct job begin_job, end_job, renew_job;
    bool renewing;
    struct timer *timer;      /* renews the lease */
    struct timer *wait_timer; /* waits for a rate limit */
    struct timer *end_timer;  /* waits until the end may be written */
    int end_attempts;
    int rate_limit_hits; /* in a row */
    uint64_t wait_until_ms;
    bool stopping;
    bool failed;
    bool finishing;
    bool finished_pages; /* hasMore was false */
    uint64_t started_ms;
    struct page_counts counts;
    int64_t pages;
    enum cycle_activity activity;
    struct cycle_end end;
    size_t peak_bytes;
    char where[160]; /* file and line of the execute function */
    struct buf
        reported; /* undeclared options told of in this run: property pointer and name, NUL after each */
    enum err_code job_code;
    struct err job_err;
};

static void execute(struct cycle *cycle);
static void finish(struct cycle *cycle);
static void go_on(struct cycle *cycle);

/* ---- ending ---- */

/* detail: for script_error_kind; "" for what the code says. */
static void fail_as(struct cycle *cycle, enum err_code code, const char *detail, const char *message)
{
    if (!cycle->failed && !cycle->finishing) {
        cycle->failed = true;
        if (cycle->end.error.message == NULL) {
            script_error_set(&cycle->end.error, code, "%s", message);
            snprintf(cycle->end.error.detail, sizeof cycle->end.error.detail, "%s", detail);
        }
    }
}

static void fail(struct cycle *cycle, enum err_code code, const char *message)
{
    fail_as(cycle, code, "", message);
}

/* A failure in what execute returned: Lua names no line for it, so the function's own is given. */
static void fail_result(struct cycle *cycle, const char *detail, const struct err *err)
{
    struct err placed;
    err_set(&placed, err->code, "%s: %s", cycle->where, err->message);
    fail_as(cycle, err->code, detail, placed.message);
}

static void ended(void *ctx)
{
    struct cycle *cycle = ctx;
    isolate_close(cycle->isolate);
    cycle->isolate = NULL;
    cycle->activity = CYCLE_ENDED;
    cycle->done(cycle->done_ctx, cycle, &cycle->end);
}

static void end_work(struct job *job, struct store *store);
static void end_after(struct job *job);

static void write_end(void *ctx)
{
    struct cycle *cycle = ctx;
    cycle->end_attempts++;
    cycle->end_job = (struct job){.work = end_work, .after = end_after, .owner = cycle};
    executor_submit(cycle->runtime->executor, &cycle->end_job);
}

static void end_after(struct job *job)
{
    struct cycle *cycle = job->owner;
    /* A disk that is full for a moment must not keep a sync from its schedule until the lease runs out. */
    if (cycle->job_code != ERR_NONE && cycle->options.start != NULL && !cycle->stopping &&
        cycle->end_attempts < END_ATTEMPTS) {
        timer_start(cycle->end_timer, END_AGAIN_MS, 0);
        return;
    }
    timer_close(&cycle->end_timer);
    if (cycle->job_code != ERR_NONE && cycle->end.outcome == RUN_SUCCEEDED) {
        cycle->end.outcome = RUN_FAILED;
        script_error_set(&cycle->end.error, cycle->job_code, "%s", cycle->job_err.message);
    }
    ended(cycle);
}

/* When a sync on a schedule that did not get to the end of its cycle goes on. */
static int64_t retry_at(const struct cycle *cycle)
{
    if (cycle->options.start == NULL || cycle->end.outcome == RUN_SUCCEEDED)
        return 0;
    int64_t now = clock_now_ms();
    return cycle->end.outcome == RUN_FAILED ? now + cycle_backoff_ms(cycle->lease.failures + 1) : now;
}

static void end_work(struct job *job, struct store *store)
{
    struct cycle *cycle = job->owner;
    store_page_abort(store);
    cycle->job_code = ERR_NONE;
    if (!cycle->leased)
        return;
    bool failed = cycle->end.outcome == RUN_FAILED;
    char *message = failed ? runtime_redacted(cycle->runtime, cycle->end.error.message) : NULL;
    char *traceback = failed && cycle->end.error.traceback != NULL
                          ? runtime_redacted(cycle->runtime, cycle->end.error.traceback)
                          : NULL;
    struct sync_end end = {
        .outcome = cycle->end.outcome,
        .error = message,
        .traceback = traceback,
        .peak_bytes = (int64_t)cycle->peak_bytes,
        .retry_ms = retry_at(cycle),
        .next_ms = cycle->options.start != NULL && cycle->sync->schedule.type == SCHEDULE_CONTINUOUS
                       ? clock_now_ms() + CONTINUOUS_PAUSE_MS
                       : 0,
    };
    if (failed)
        script_error_kind(&cycle->end.error, &end.failure);
    cycle->job_code = store_sync_end(store, &cycle->lease, &end, &cycle->job_err);
    mem_free(message);
    mem_free(traceback);
}

/* Called when no execute and no commit is under way any more. */
static void finish(struct cycle *cycle)
{
    if (cycle->finishing || cycle->task != NULL || cycle->commits_busy > 0 || cycle->renewing)
        return;
    cycle->finishing = true;
    timer_close(&cycle->timer);
    timer_close(&cycle->wait_timer);
    bool complete = cycle->finished_pages || (cycle->options.one_page && !cycle->stopping);
    cycle->end.outcome = cycle->failed ? RUN_FAILED : complete ? RUN_SUCCEEDED : RUN_STOPPED;
    cycle->peak_bytes = cycle->isolate != NULL ? isolate_memory_peak(cycle->isolate) : 0;
    if (cycle->failed && cycle->end.error.traceback != NULL && cycle->end.error.traceback[0] != '\0')
        execution_log(&cycle->execution, "trace", cycle->end.error.traceback,
                      strlen(cycle->end.error.traceback));
    write_end(cycle);
}

/* ---- commits ---- */

static void commit_work(struct job *job, struct store *store)
{
    struct commit *commit = (struct commit *)job;
    struct cycle *cycle = commit->cycle;
    commit->code = ERR_NONE;
    if (cycle->commit_failed) { /* a page before this one did not make it */
        commit->code = err_set(&commit->err, ERR_CANCELLED, "not written, because the page before failed");
        job->keep = false;
        return;
    }
    if (commit->first)
        commit->code = store_page_begin(store, &cycle->lease, cycle->options.preview, &commit->err);
    if (commit->code == ERR_NONE)
        commit->code = store_page_write(store, &commit->page, cycle->options.diff, &commit->err);
    if (commit->code == ERR_NONE && commit->last)
        commit->code = store_page_end(store, cycle->sync, &cycle->lease, &commit->end, &commit->counts,
                                      &commit->sweep, &commit->err);
    if (commit->code != ERR_NONE) {
        cycle->commit_failed = true;
        job->keep = false;
    }
}

/* Every undeclared option is told of once a run. */
static bool reported_first_time(struct cycle *cycle, const struct property *property, const char *name,
                                size_t len)
{
    char prefix[32];
    int prefix_len = snprintf(prefix, sizeof prefix, "%p ", (const void *)property);
    size_t entry_len = (size_t)prefix_len + len + 1;
    for (size_t at = 0; at < cycle->reported.len; at += strlen(cycle->reported.data + at) + 1) {
        const char *entry = cycle->reported.data + at;
        if (strlen(entry) + 1 == entry_len && memcmp(entry, prefix, (size_t)prefix_len) == 0 &&
            memcmp(entry + prefix_len, name, len) == 0)
            return false;
    }
    buf_add(&cycle->reported, prefix, (size_t)prefix_len);
    buf_add(&cycle->reported, name, len + 1); /* names end with a NUL */
    return true;
}

static void report_options(struct cycle *cycle, const struct commit *commit)
{
    for (size_t i = 0; i < commit->page.new_option_count; i++) {
        const struct new_option *option = &commit->page.new_options[i];
        const struct database *database = &cycle->runtime->worker->databases[option->database];
        const struct property *property = &database->properties[option->property];
        struct buf line;
        if (!reported_first_time(cycle, property, option->name, option->len))
            continue;
        buf_init(&line, 4096);
        buf_addf(&line, "option \"%.*s\" of property \"%s\" in database \"%s\" is not declared; it was added",
                 (int)option->len, option->name, property->name, database->key);
        execution_log(&cycle->execution, "warn", buf_text(&line), line.len);
        buf_free(&line);
    }
}

static void add_counts(struct page_counts *total, const struct page_counts *more)
{
    total->added += more->added;
    total->changed += more->changed;
    total->unchanged += more->unchanged;
    total->deleted += more->deleted;
    total->stale += more->stale;
}

static void commit_after(struct job *job)
{
    struct commit *commit = (struct commit *)job;
    struct cycle *cycle = commit->cycle;
    commit->busy = false;
    cycle->commits_busy--;
    if (commit->code != ERR_NONE) {
        if (commit->code != ERR_CANCELLED)
            fail(cycle, commit->code, commit->err.message);
        if (cycle->task != NULL)
            task_stop(cycle->task, ERR_CANCELLED, "stopped, because the page before could not be written");
    } else {
        report_options(cycle, commit);
        if (commit->last) {
            add_counts(&cycle->counts, &commit->counts);
            cycle->pages++;
            if (cycle->options.committed != NULL)
                cycle->options.committed(cycle->options.committed_ctx);
            if (!commit->end.has_more) {
                cycle->finished_pages = true;
                cycle->end.sweep = commit->sweep;
            }
        }
    }
    page_reset(&commit->page);
    buf_clear(&commit->next_state);
    go_on(cycle);
}

static struct commit *free_commit(struct cycle *cycle)
{
    for (int i = 0; i < 2; i++)
        if (!cycle->commits[i].busy)
            return &cycle->commits[i];
    return NULL;
}

/* Converts the next changes of the waiting result and sends them to the store. */
static void convert(struct cycle *cycle)
{
    struct result *result = &cycle->result;
    struct commit *commit = free_commit(cycle);
    lua_State *L = isolate_state(cycle->isolate);
    if (commit == NULL)
        return; /* commit_after comes back here */
    size_t left = result->read.change_count - result->converted;
    size_t count = left < CHUNK ? left : CHUNK;
    struct err err;
    enum err_code code = page_read_changes(L, 1, result->converted, count, cycle->runtime->worker,
                                           cycle->sync->database, &commit->page, &err);
    if (code != ERR_NONE) {
        fail_result(cycle, "invalid_page", &err);
        page_reset(&commit->page);
        lua_settop(L, 0);
        result->waiting = false;
        buf_free(&result->read.next_state);
        if (result->converted > 0) /* the chunks already written are rolled back by the end of the run */
            cycle->commit_failed = true;
        go_on(cycle);
        return;
    }
    commit->first = result->converted == 0;
    result->converted += count;
    commit->last = result->converted == result->read.change_count;
    commit->job =
        (struct job){.work = commit_work, .after = commit_after, .owner = cycle, .keep = !commit->last};
    commit->cycle = cycle;
    if (commit->last) {
        commit->end = (struct page_end){.has_more = result->read.has_more,
                                        .allow_deletes = cycle->options.allow_deletes,
                                        .diff = cycle->options.diff,
                                        .requests = cycle->execution.requests - cycle->requests_counted};
        cycle->requests_counted = cycle->execution.requests;
        buf_clear(&commit->next_state);
        if (result->read.has_state) {
            buf_add(&commit->next_state, buf_text(&result->read.next_state), result->read.next_state.len);
            commit->end.next_state = buf_text(&commit->next_state);
            commit->end.next_state_len = commit->next_state.len;
        }
        buf_clear(&cycle->state);
        if (result->read.has_state)
            buf_add(&cycle->state, buf_text(&result->read.next_state), result->read.next_state.len);
        buf_free(&result->read.next_state);
        lua_settop(L, 0);
        result->waiting = false;
    }
    commit->busy = true;
    cycle->commits_busy++;
    executor_submit(cycle->runtime->executor, &commit->job);
    if (commit->last && commit->end.has_more && !cycle->stopping && !cycle->options.one_page)
        execute(cycle);
    else if (!commit->last)
        convert(cycle); /* while the other buffer is free */
}

/* Decides what comes next whenever something has ended. */
static void go_on(struct cycle *cycle)
{
    if (!cycle->failed && cycle->result.waiting) {
        convert(cycle);
        return;
    }
    if (cycle->task != NULL || cycle->commits_busy > 0 ||
        (cycle->wait_until_ms != 0 && !cycle->failed && !cycle->stopping))
        return;
    if (cycle->failed || cycle->finished_pages || cycle->stopping || cycle->options.one_page)
        finish(cycle);
}

/* ---- execute ---- */

static void wait_over(void *ctx)
{
    struct cycle *cycle = ctx;
    cycle->wait_until_ms = 0;
    execute(cycle);
}

/* A rate limit is waited out; it is no failure. */
static void wait_for_rate_limit(struct cycle *cycle, const struct script_error *error)
{
    int64_t wait = (int64_t)RATE_LIMIT_FIRST_MS
                   << (cycle->rate_limit_hits < 11 ? cycle->rate_limit_hits : 11);
    if (wait > BACKOFF_LAST_MS)
        wait = BACKOFF_LAST_MS;
    cycle->rate_limit_hits++;
    if (error->retry_after * 1000 > (double)wait)
        wait = error->retry_after < 7 * 24 * 3600 ? (int64_t)ceil(error->retry_after * 1000)
                                                  : (int64_t)7 * 24 * 3600 * 1000;
    struct buf line; /* whole: what is cut could not be searched for secrets */
    buf_init(&line, BUF_UNLIMITED);
    buf_addf(&line, "rate limited; trying again in %.1f s: %s", (double)wait / 1000.0, error->message);
    execution_log(&cycle->execution, "warn", buf_text(&line), line.len);
    buf_free(&line);
    cycle->activity = CYCLE_WAITING_RATE_LIMIT;
    cycle->wait_until_ms = (uint64_t)clock_mono_ms() + (uint64_t)wait;
    timer_start(cycle->wait_timer, (uint64_t)wait, 0);
}

/* Whether the state that came back is the one that was given. */
static bool stands_still(const struct cycle *cycle, const struct page_result *read)
{
    return read->has_more && cycle->executed > 0 && cycle->state.len == read->next_state.len &&
           memcmp(buf_text(&cycle->state), buf_text(&read->next_state), cycle->state.len) == 0;
}

static void show_result(struct cycle *cycle, lua_State *co)
{
    struct buf json;
    struct err err;
    buf_init(&json, BUF_UNLIMITED);
    const struct json_encode_options options = {.sort_keys = false};
    if (cycle->options.result != NULL && json_encode(co, 1, &options, &json, &err) == ERR_NONE)
        cycle->options.result(cycle->options.result_ctx, buf_text(&json), json.len);
    buf_free(&json);
}

static void executed(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct cycle *cycle = ctx;
    (void)task;
    cycle->task = NULL;
    if (error != NULL) {
        bool waits = error->rate_limited && !cycle->stopping && !cycle->failed && !cycle->options.preview;
        if (waits) {
            wait_for_rate_limit(cycle, error);
            return;
        }
        if (!cycle->failed && !(cycle->stopping && error->code == ERR_CANCELLED)) {
            cycle->failed = true;
            script_error_free(&cycle->end.error);
            cycle->end.error = *error;
            cycle->end.error.message = mem_need_str(error->message);
            cycle->end.error.traceback = error->traceback != NULL ? mem_need_str(error->traceback) : NULL;
        }
        go_on(cycle);
        return;
    }
    struct err err;
    lua_State *L = isolate_state(cycle->isolate);
    struct result *result = &cycle->result;
    lua_settop(co, 1);
    if (cycle->options.preview)
        show_result(cycle, co);
    enum err_code code = page_read_result(co, 1, (size_t)cycle->runtime->options.config->limits.state_bytes,
                                          &result->read, &err);
    const char *detail = "invalid_page";
    if (code == ERR_NONE && stands_still(cycle, &result->read)) {
        detail = "no_progress";
        code = err_set(&err, ERR_SCRIPT,
                       "cursor did not advance: execute returned hasMore = true with the same nextState it "
                       "was given (%.200s):"
                       " return where the next page begins, or hasMore = false on the last page",
                       buf_text(&cycle->state));
    }
    if (code == ERR_NONE && !lua_checkstack(L, 32))
        code = err_nomem(&err);
    if (code != ERR_NONE) {
        buf_free(&result->read.next_state);
        fail_result(cycle, detail, &err);
        go_on(cycle);
        return;
    }
    cycle->rate_limit_hits = 0;
    cycle->executed++;
    if (!result->read.has_more && cycle->sync->mode == SYNC_INCREMENTAL && !result->read.has_state) {
        static const char line[] =
            "the incremental sync ended without nextState: its next cycle starts afresh";
        execution_log(&cycle->execution, "warn", line, sizeof line - 1);
    }
    /* The changes wait on the isolate's own stack until they are converted. */
    lua_settop(L, 0);
    lua_pushvalue(co, result->read.changes_index);
    lua_xmove(co, L, 1);
    result->converted = 0;
    result->waiting = true;
    cycle->activity = CYCLE_COMMITTING;
    convert(cycle);
}

struct call_arguments {
    struct cycle *cycle;
    struct err err;
};

/* Pushes the state and the context; runs protected, because decoding may fail for want of memory. */
static int push_arguments(lua_State *L)
{
    struct call_arguments *arguments = lua_touserdata(L, 1);
    struct cycle *cycle = arguments->cycle;
    if (cycle->state.len == 0)
        lua_pushnil(L);
    else if (json_decode(L, buf_text(&cycle->state), cycle->state.len, &arguments->err) != ERR_NONE)
        return luaL_error(L, "the stored state is damaged: %s", arguments->err.message);
    modules_push_context(L, 4);
    lua_pushstring(L, cycle->sync->key);
    lua_setfield(L, -2, "key");
    if (cycle->leased) {
        lua_pushstring(L, cycle->lease.run_id);
        lua_setfield(L, -2, "runId");
    }
    lua_pushboolean(L, cycle->options.preview);
    lua_setfield(L, -2, "preview");
    return 2;
}

static void execute(struct cycle *cycle)
{
    lua_State *L = isolate_state(cycle->isolate);
    struct call_arguments arguments = {.cycle = cycle};
    struct script_error error;
    struct err err;
    script_error_init(&error);
    cycle->activity = CYCLE_EXECUTING;
    enum err_code code = ERR_NONE;
    if (!modules_push_function(cycle->isolate, cycle->sync->key, "execute"))
        code = script_error_set(&error, ERR_SCRIPT, "the script no longer declares sync \"%s\"",
                                cycle->sync->key);
    if (code == ERR_NONE) {
        lua_Debug function;
        lua_pushvalue(L, -1);
        lua_getinfo(L, ">S", &function);
        snprintf(cycle->where, sizeof cycle->where, "%s:%d", function.short_src, function.linedefined);
        lua_pushcfunction(L, push_arguments);
        lua_pushlightuserdata(L, &arguments);
        code = isolate_call(cycle->isolate, 1, 2, &error);
    }
    if (code == ERR_NONE) {
        code = task_start(cycle->isolate, L, 2, NULL, executed, cycle, &cycle->task, &err);
        if (code != ERR_NONE)
            script_error_set(&error, code, "%s", err.message);
    }
    if (code != ERR_NONE)
        fail(cycle, code, error.message);
    script_error_free(&error);
    if (cycle->failed)
        go_on(cycle);
}

/* ---- beginning ---- */

static void renew_work(struct job *job, struct store *store)
{
    struct cycle *cycle = job->owner;
    cycle->job_code = store_sync_renew(store, &cycle->lease, &cycle->job_err);
}

static void renew_after(struct job *job)
{
    struct cycle *cycle = job->owner;
    cycle->renewing = false;
    if (cycle->job_code == ERR_CONFLICT) {
        fail(cycle, cycle->job_code, cycle->job_err.message);
        if (cycle->task != NULL)
            task_stop(cycle->task, ERR_CONFLICT, "%s", cycle->job_err.message);
    }
    go_on(cycle);
}

static void renew(void *ctx)
{
    struct cycle *cycle = ctx;
    if (cycle->renewing || cycle->finishing)
        return;
    cycle->renewing = true;
    cycle->renew_job = (struct job){.work = renew_work, .after = renew_after, .owner = cycle};
    executor_submit(cycle->runtime->executor, &cycle->renew_job);
}

static void begin_work(struct job *job, struct store *store)
{
    struct cycle *cycle = job->owner;
    if (cycle->options.preview) {
        struct sync_info info;
        cycle->job_code = store_sync_info(store, cycle->sync->key, &info, &cycle->job_err);
        bool open_replace = cycle->sync->mode == SYNC_REPLACE;
        if (cycle->job_code == ERR_NONE && !open_replace && info.state != NULL &&
            cycle->options.preview_state == NULL)
            buf_adds(&cycle->state, info.state);
        sync_info_free(&info);
        if (cycle->options.preview_state != NULL)
            buf_adds(&cycle->state, cycle->options.preview_state);
        snprintf(cycle->lease.key, sizeof cycle->lease.key, "%s", cycle->sync->key);
        return;
    }
    cycle->job_code =
        store_sync_begin(store, cycle->sync, cycle->options.start, &cycle->lease, &cycle->job_err);
    cycle->leased = cycle->job_code == ERR_NONE;
}

static void begin_after(struct job *job)
{
    struct cycle *cycle = job->owner;
    if (cycle->options.start != NULL &&
        (cycle->job_code == ERR_NOT_FOUND || (cycle->job_code == ERR_BUSY && !cycle->leased))) {
        cycle->end.not_begun = true;
        cycle->stopping = true;
    } else if (cycle->job_code != ERR_NONE) {
        fail(cycle, cycle->job_code, cycle->job_err.message);
        go_on(cycle);
        return;
    } else if (cycle->lease.allow_deletes) {
        cycle->options.allow_deletes = true;
    }
    if (cycle->stopping) {
        go_on(cycle);
        return;
    }
    snprintf(cycle->execution.run_id, sizeof cycle->execution.run_id, "%s", cycle->lease.run_id);
    if (cycle->leased) {
        buf_add(&cycle->state, buf_text(&cycle->lease.state), cycle->lease.state.len);
        cycle->executed = cycle->lease.resumed && cycle->state.len > 0;
        timer_start(cycle->timer, LEASE_MS / 3, LEASE_MS / 3);
    }
    struct script_error error;
    script_error_init(&error);
    if (execution_open(&cycle->execution, &cycle->isolate, &error) != ERR_NONE) {
        fail(cycle, error.code, error.message);
        script_error_free(&error);
        go_on(cycle);
        return;
    }
    execute(cycle);
}

enum err_code cycle_start(struct runtime *runtime, const struct capability *sync,
                          const struct cycle_options *options, cycle_done_fn done, void *ctx,
                          struct cycle **out, struct err *err)
{
    struct cycle *cycle = mem_zalloc(sizeof *cycle);
    if (cycle == NULL)
        return err_nomem(err);
    cycle->runtime = runtime;
    cycle->sync = sync;
    cycle->options = *options;
    if (options->start != NULL) {
        cycle->start = *options->start;
        cycle->options.start = &cycle->start;
    }
    cycle->done = done;
    cycle->done_ctx = ctx;
    cycle->started_ms = (uint64_t)clock_mono_ms();
    execution_init(&cycle->execution, runtime, sync->key);
    cycle->execution.writes_nothing = options->preview;
    script_error_init(&cycle->end.error);
    buf_init(&cycle->state, BUF_UNLIMITED);
    buf_init(&cycle->reported, (size_t)1024 * 1024);
    for (int i = 0; i < 2; i++) {
        page_init(&cycle->commits[i].page);
        buf_init(&cycle->commits[i].next_state, BUF_UNLIMITED);
    }
    cycle->timer = timer_new(runtime->loop, renew, cycle);
    timer_unref(cycle->timer); /* no reason for a cycle that waits for nothing to go on */
    cycle->wait_timer = timer_new(runtime->loop, wait_over, cycle);
    cycle->end_timer = timer_new(runtime->loop, write_end, cycle);
    cycle->begin_job = (struct job){.work = begin_work, .after = begin_after, .owner = cycle};
    executor_submit(runtime->executor, &cycle->begin_job);
    *out = cycle;
    return ERR_NONE;
}

void cycle_stop(struct cycle *cycle)
{
    if (cycle->stopping)
        return;
    cycle->stopping = true;
    if (cycle->finishing) /* whatever its end is, it is tried once more at most */
        return;
    if (cycle->activity == CYCLE_WAITING_RATE_LIMIT) {
        timer_stop(cycle->wait_timer);
        cycle->wait_until_ms = 0;
        go_on(cycle);
    }
}

void cycle_stop_now(struct cycle *cycle)
{
    cycle_stop(cycle);
    if (cycle->task != NULL)
        task_stop(cycle->task, ERR_CANCELLED, "stopped");
}

void cycle_free(struct cycle *cycle)
{
    if (cycle == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        page_free(&cycle->commits[i].page);
        buf_free(&cycle->commits[i].next_state);
    }
    execution_free(&cycle->execution);
    buf_free(&cycle->state);
    buf_free(&cycle->reported);
    sync_lease_free(&cycle->lease);
    script_error_free(&cycle->end.error);
    mem_free(cycle);
}

void cycle_get_progress(const struct cycle *cycle, struct cycle_progress *out)
{
    uint64_t now = (uint64_t)clock_mono_ms();
    *out = (struct cycle_progress){.activity = cycle->activity,
                                   .counts = cycle->counts,
                                   .pages = cycle->pages,
                                   .requests = cycle->execution.requests,
                                   .elapsed_ms = now - cycle->started_ms,
                                   .wait_ms = cycle->wait_until_ms > now ? cycle->wait_until_ms - now : 0,
                                   .resumed = cycle->lease.resumed,
                                   .resumed_pages = cycle->lease.cycle_pages};
}

const struct capability *cycle_sync(const struct cycle *cycle)
{
    return cycle->sync;
}

const char *cycle_run_id(const struct cycle *cycle)
{
    return cycle->lease.run_id;
}

int64_t cycle_attempt(const struct cycle *cycle)
{
    return cycle->lease.failures + 1;
}

const char *cycle_waits_for(const struct cycle *cycle)
{
    if (cycle->execution.waiting_on_pacer > 0)
        return "waiting for its pacer";
    return cycle->execution.waiting_on_http > 0 ? "waiting for the upstream" : "executing";
}

int64_t cycle_backoff_ms(int64_t attempt)
{
    int64_t wait = BACKOFF_FIRST_MS;
    for (int64_t i = 1; i < attempt && wait < BACKOFF_LAST_MS; i++)
        wait *= 2;
    if (wait > BACKOFF_LAST_MS)
        wait = BACKOFF_LAST_MS;
    /* Half of it is jitter, so that many that failed together do not come back together. */
    uint32_t chance = 0;
    struct err ignored;
    if (crypto_random(&chance, sizeof chance, &ignored) != ERR_NONE)
        chance = (uint32_t)clock_mono_ns();
    return wait / 2 + (int64_t)((double)(wait / 2) * ((double)chance / 4294967295.0));
}
