/* Running syncs in the foreground. */
#include "cli/run_syncs.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/table.h"
#include "cli/diff.h"
#include "cli/progress.h"
#include "engine/cycle.h"
#include "engine/journal.h"
#include "engine/upkeep.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define DRAW_MS 100
#define UPKEEP_STEPS 50 /* at the end of a run; the next one goes on */

/* One sync of the run. */
struct run {
    struct session *session;
    const struct capability *sync;
    struct cycle *cycle;
    bool ended;
    enum run_outcome outcome;
    struct sweep_outcome sweep;
    struct cycle_progress last;
    struct diff diff;
    struct buf result; /* JSON that execute returned, of a preview */
    char *error;
};

struct session {
    const struct cli_args *args;
    struct runtime *runtime;
    struct progress *progress;
    struct run *runs;
    struct cycle **cycles; /* for drawing; NULL where one has ended */
    size_t count;
    size_t next; /* first run that was not started */
    size_t running;
    size_t at_once; /* how many run side by side */
    bool preview;
    bool one_page; /* a preview that executes once: workers sync trigger --preview */
    bool stopping;
    bool failed;
    uv_timer_t draw_timer;
    uv_signal_t interrupt, terminate;
    struct job maintain_job;
    struct journal *journal;
};

/* ---- logs ---- */

static void on_log(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                   size_t len)
{
    struct session *session = ctx;
    if (cli_log_is_shown(level)) {
        struct buf shown;
        buf_init(&shown, BUF_UNLIMITED);
        if (key != NULL)
            buf_addf(&shown, "%s ", key);
        if (strcmp(level, "info") != 0)
            buf_addf(&shown, "%s: ", level);
        buf_add(&shown, text, len);
        progress_print(session->progress, buf_text(&shown), shown.len);
        buf_free(&shown);
    }
    if (run_id == NULL || session->preview)
        return;
    if (journal_add(session->journal, run_id, level, text, len))
        journal_write(session->journal, session->runtime->executor);
}

/* ---- running ---- */

static void start_more(struct session *session);

static void keep_result(void *ctx, const char *json, size_t len)
{
    struct run *run = ctx;
    buf_clear(&run->result);
    buf_add(&run->result, json, len);
}

static void say(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct session *session, const char *format, ...)
{
    char line[ERR_MESSAGE_MAX + 256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    progress_print(session->progress, line, len < (int)sizeof line ? (size_t)len : sizeof line - 1);
}

/* What the project no longer wants to keep goes when the work is done. */
static void maintain_work(struct job *job, struct store *store)
{
    struct session *session = job->owner;
    struct upkeep upkeep = {0};
    int steps = 0;
    while (upkeep_step(&upkeep, store, session->runtime->options.config) && ++steps < UPKEEP_STEPS)
        ;
}

static void maintain_after(struct job *job)
{
    (void)job;
}

static void all_ended(struct session *session)
{
    journal_write(session->journal, session->runtime->executor);
    if (!session->preview) {
        session->maintain_job =
            (struct job){.work = maintain_work, .after = maintain_after, .owner = session};
        executor_submit(session->runtime->executor, &session->maintain_job);
    }
    uv_close((uv_handle_t *)&session->draw_timer, NULL);
    uv_close((uv_handle_t *)&session->interrupt, NULL);
    uv_close((uv_handle_t *)&session->terminate, NULL);
}

static void say_error(struct session *session, struct run *run, const struct script_error *error)
{
    char *message = runtime_redacted(session->runtime, error->message);
    bool color = cli_color(stderr);
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    buf_addf(&text, "%serror:%s ", color ? "\033[31m" : "", color ? "\033[0m" : "");
    if (strncmp(message, "sync \"", 6) != 0) /* unless the message begins with it */
        buf_addf(&text, "sync \"%s\": ", run->sync->key);
    buf_adds(&text, message);
    if (error->traceback != NULL && error->traceback[0] != '\0')
        buf_addf(&text, "\n%s", error->traceback);
    progress_print(session->progress, buf_text(&text), text.len);
    buf_free(&text);
    run->error = message;
}

static void on_done(void *ctx, struct cycle *cycle, const struct cycle_end *end)
{
    struct run *run = ctx;
    struct session *session = run->session;
    cycle_get_progress(cycle, &run->last);
    run->ended = true;
    run->outcome = end->outcome;
    run->sweep = end->sweep;
    session->cycles[run - session->runs] = NULL;
    if (end->outcome == RUN_FAILED) {
        session->failed = true;
        say_error(session, run, &end->error);
    }
    if (end->sweep.held)
        say(session, CLI_HELD, run->sync->key, end->sweep.reason, run->sync->key);
    if (end->outcome == RUN_STOPPED && !session->failed)
        say(session, "stopped: sync \"%s\" goes on from page %lld at the next run", run->sync->key,
            (long long)(run->last.resumed_pages + run->last.pages + 1));
    cycle_free(cycle);
    run->cycle = NULL;
    session->running--;
    start_more(session);
}

static void start_more(struct session *session)
{
    struct err err;
    while (session->next < session->count && session->running < session->at_once && !session->stopping) {
        struct run *run = &session->runs[session->next++];
        const char *context = cli_value(session->args, "--context");
        const struct cycle_options options = {.preview = session->preview,
                                              .allow_deletes = cli_flag(session->args, "--allow-deletes"),
                                              .one_page = session->one_page,
                                              .preview_state = context,
                                              .diff = session->preview ? &run->diff.sink : NULL,
                                              .result = keep_result,
                                              .result_ctx = run};
        if (cycle_start(session->runtime, run->sync, &options, on_done, run, &run->cycle, &err) != ERR_NONE) {
            session->failed = true;
            say(session, "error: %s", err.message);
            continue;
        }
        session->cycles[run - session->runs] = run->cycle;
        session->running++;
    }
    if (session->running == 0)
        all_ended(session);
}

static void draw(uv_timer_t *timer)
{
    struct session *session = timer->data;
    progress_draw(session->progress, session->cycles, session->count);
    journal_write(session->journal, session->runtime->executor);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct session *session = handle->data;
    if (session->stopping) {
        progress_free(session->progress);
        fprintf(stderr, "stopped at once; what was committed is kept\n");
        _exit(128 + number);
    }
    session->stopping = true;
    say(session, "stopping after the page in hand; press Ctrl-C again to stop at once");
    for (size_t i = 0; i < session->count; i++)
        if (session->runs[i].cycle != NULL)
            cycle_stop(session->runs[i].cycle);
}

/* ---- the summary ---- */

static const char *outcome_text(const struct run *run)
{
    if (!run->ended)
        return "not started";
    if (run->outcome == RUN_SUCCEEDED && run->sweep.held)
        return "held";
    switch (run->outcome) {
    case RUN_SUCCEEDED:
        return "done";
    case RUN_FAILED:
        return "failed";
    case RUN_STOPPED:
        return "stopped";
    case RUN_RATE_LIMITED:
        return "rate limited";
    }
    return "";
}

static void add_json_run(struct buf *json, const struct run *run)
{
    const struct page_counts *counts = &run->last.counts;
    buf_adds(json, json->len > 1 ? ",{\"key\":" : "{\"key\":");
    json_write_text(json, run->sync->key);
    buf_addf(json,
             ",\"result\":\"%s\",\"added\":%lld,\"changed\":%lld,\"unchanged\":%lld,\"deleted\":%lld,"
             "\"stale\":%lld,\"pages\":"
             "%lld,\"requests\":%lld,\"durationMs\":%llu",
             outcome_text(run), (long long)counts->added, (long long)counts->changed,
             (long long)counts->unchanged, (long long)counts->deleted, (long long)counts->stale,
             (long long)run->last.pages, (long long)run->last.requests,
             (unsigned long long)run->last.elapsed_ms);
    if (run->error != NULL) {
        buf_adds(json, ",\"error\":");
        json_write_text(json, run->error);
    }
    if (run->sweep.held)
        buf_addf(json, ",\"heldDeletes\":%lld", (long long)run->sweep.candidates);
    if (run->session->preview) {
        buf_adds(json, ",\"changes\":[");
        buf_add(json, buf_text(&run->diff.json), run->diff.json.len);
        buf_addc(json, ']');
    }
    buf_addc(json, '}');
}

static void write_time(const struct json_slice *run, bool plain, struct buf *out)
{
    char time[32];
    (void)plain;
    buf_adds(out, cli_duration((uint64_t)object_number(run, "durationMs"), time, sizeof time));
}

static const struct listing_column summary_columns[] = {
    {.column = {.title = "SYNC"}, .member = "key"},
    {.column = {.title = "RESULT"}, .member = "result"},
    {.column = {.title = "ADDED", .align = TABLE_RIGHT}, .member = "added"},
    {.column = {.title = "CHANGED", .align = TABLE_RIGHT}, .member = "changed"},
    {.column = {.title = "UNCHANGED", .align = TABLE_RIGHT}, .member = "unchanged"},
    {.column = {.title = "DELETED", .align = TABLE_RIGHT}, .member = "deleted"},
    {.column = {.title = "STALE", .align = TABLE_RIGHT}, .member = "stale"},
    {.column = {.title = "PAGES", .align = TABLE_RIGHT}, .member = "pages"},
    {.column = {.title = "REQUESTS", .align = TABLE_RIGHT}, .member = "requests"},
    {.column = {.title = "TIME", .align = TABLE_RIGHT}, .write = write_time},
    {{0}, 0, 0, 0},
};
const struct listing cli_summary = {.columns = summary_columns};

static int print_summary(struct session *session)
{
    struct buf json;
    enum cli_format format = cli_format(session->args);
    buf_init(&json, BUF_UNLIMITED);
    buf_addc(&json, '[');
    for (size_t i = 0; i < session->count; i++) {
        const struct run *run = &session->runs[i];
        add_json_run(&json, run);
        if (session->preview && format != FORMAT_JSON)
            fwrite(buf_text(&run->diff.text), 1, run->diff.text.len, stdout);
    }
    buf_addc(&json, ']');
    int result = listing_print(&cli_summary, format, &json);
    if (session->preview && format == FORMAT_TABLE)
        cli_note("preview: nothing was written");
    buf_free(&json);
    return result;
}

void cli_print_preview(const char *json, size_t len)
{
    struct buf out;
    struct err err;
    struct json_scan scan;
    struct json_slice slice;
    bool more = false;
    buf_init(&out, BUF_UNLIMITED);
    buf_addc(&out, '{');
    json_scan_init(&scan, json, len);
    enum err_code code = json_scan_value(&scan, &err);
    while (code == ERR_NONE && json_scan_member(&scan, &more, &err) == ERR_NONE && more) {
        bool state = json_string_is(&scan, "nextState");
        buf_adds(&out, out.len > 1 ? "," : "");
        if (state)
            buf_adds(&out, "\"nextContext\"");
        else
            buf_addf(&out, "\"%.*s\"", (int)scan.string.len, scan.string.text);
        if (json_scan_value(&scan, &err) != ERR_NONE || json_scan_skip(&scan, &slice, &err) != ERR_NONE)
            break;
        buf_addc(&out, ':');
        buf_add(&out, slice.text, slice.len);
    }
    printf("%s}\n", buf_text(&out));
    buf_free(&out);
}

/* ---- putting it together ---- */

static int loop(struct session *session)
{
    uv_loop_t *uv = session->runtime->loop;
    uv_timer_init(uv, &session->draw_timer);
    session->draw_timer.data = session;
    uv_timer_start(&session->draw_timer, draw, DRAW_MS, DRAW_MS);
    uv_signal_init(uv, &session->interrupt);
    uv_signal_init(uv, &session->terminate);
    session->interrupt.data = session->terminate.data = session;
    uv_signal_start(&session->interrupt, on_signal, SIGINT);
    uv_signal_start(&session->terminate, on_signal, SIGTERM);
    uv_unref((uv_handle_t *)&session->interrupt);
    uv_unref((uv_handle_t *)&session->terminate);
    start_more(session);
    uv_run(uv, UV_RUN_DEFAULT);
    progress_free(session->progress);
    session->progress = NULL;
    for (size_t i = 0; i < session->count; i++)
        diff_finish(&session->runs[i].diff);
    /* Another program gets what execute returned; people get the differences. */
    bool raw = session->one_page && cli_format(session->args) != FORMAT_PLAIN &&
               (cli_format(session->args) == FORMAT_JSON || !isatty(STDOUT_FILENO));
    int result = EXIT_DONE;
    if (raw && session->runs[0].outcome == RUN_SUCCEEDED)
        cli_print_preview(buf_text(&session->runs[0].result), session->runs[0].result.len);
    else
        result = print_summary(session);
    if (session->failed)
        return EXIT_FAILED_WORK;
    return session->stopping ? EXIT_INTERRUPTED : result;
}

static void collect_runs(struct session *session, const struct capability *only)
{
    const struct worker *worker = session->runtime->worker;
    session->runs = mem_need((worker->capability_count + 1) * sizeof *session->runs);
    session->cycles = mem_need((worker->capability_count + 1) * sizeof(struct cycle *));
    for (size_t i = 0; i < worker->capability_count; i++) {
        const struct capability *sync = &worker->capabilities[i];
        if (sync->kind != CAPABILITY_SYNC || (only != NULL && only != sync))
            continue;
        struct run *run = &session->runs[session->count++];
        run->session = session;
        run->sync = sync;
        diff_init(&run->diff);
        buf_init(&run->result, BUF_UNLIMITED);
    }
    /* Previews share what they have seen with nobody, so they go one after the other. */
    session->at_once = session->preview ? 1 : session->count;
}

static int run_session(struct session *session, const char *key)
{
    struct err err;
    struct buf report;
    int kind = session->args->command == &cmd_sync_trigger ? (int)CAPABILITY_SYNC : CAPABILITY_ANY;
    const struct capability *only =
        key != NULL ? worker_find(session->runtime->worker, key, kind, &err) : NULL;
    if (key != NULL && only == NULL)
        return cli_fail(&err);
    if (only != NULL && only->kind != CAPABILITY_SYNC)
        return -1; /* for cli_exec */
    collect_runs(session, only);
    if (session->count == 0) {
        err_set(&err, ERR_NOT_FOUND, "the worker has no syncs to run; workers exec KEY runs a tool");
        return cli_fail(&err);
    }
    buf_init(&report, (size_t)1024 * 1024);
    enum err_code code = runtime_open_store(session->runtime, session->preview, &report, &err);
    if (report.len > 0)
        fprintf(stderr, "%s%s", session->preview ? "would change the tables:\n" : "", buf_text(&report));
    buf_free(&report);
    return code == ERR_NONE ? loop(session) : cli_fail(&err);
}

int cli_run_syncs(const struct cli_args *args, const char *script, const char *key)
{
    struct err err;
    struct script_error error;
    struct project project;
    struct session session = {.args = args};
    session.preview = cli_flag(args, "--preview");
    session.one_page = session.preview && args->command == &cmd_sync_trigger;
    if (project_open(script, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    session.progress = progress_new();
    session.journal = journal_new();
    int result = EXIT_FAILED_WORK;
    if (cli_runtime_open(&project, NULL, on_log, &session, &session.runtime, &error) != ERR_NONE)
        cli_fail_script(&error);
    else
        result = run_session(&session, key);
    if (session.progress != NULL)
        progress_free(session.progress);
    for (size_t i = 0; i < session.count; i++) {
        diff_free(&session.runs[i].diff);
        buf_free(&session.runs[i].result);
        mem_free(session.runs[i].error);
    }
    journal_free(session.journal);
    mem_free(session.runs);
    mem_free(session.cycles);
    runtime_free(session.runtime);
    script_error_free(&error);
    project_free(&project);
    return result < 0 ? cli_exec(args, script, key) : result;
}
