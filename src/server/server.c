/* The life of one process of the server. */
#include "server/server.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "server/beacon.h"
#include "server/front.h"
#include "server/hosting.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define TICK_MS 500
#define CLOCK_JUMP_MS 2000
#define GRACE_MS 25000 /* what runs may go on for so long when the server stops */

struct server {
    const struct server_options *options;
    struct pulse *pulse;
    int index; /* of the process */
    uv_loop_t loop;
    struct hosting *hosting;
    struct front *front; /* NULL without HTTP */
    uv_timer_t ticker, grace;
    uv_signal_t signals[4];
    int64_t ahead_ms; /* of the wall clock before the monotonic one */
    bool stopping;
};

/* ---- lines for people ---- */

static void write_line(const struct server *server, const char *worker, const char *key, const char *level,
                       const char *text, size_t len)
{
    char time[ISO_UTC_SIZE];
    struct buf line;
    struct err ignored;
    if (strcmp(level, "trace") == 0 || strcmp(level, "http") == 0)
        return; /* kept with the run */
    iso_format_utc(clock_now_ms(), time);
    buf_init(&line, BUF_UNLIMITED);
    if (server->options->json) {
        buf_addf(&line, "{\"at\":\"%s\",\"level\":\"%s\"", time, level);
        if (worker != NULL) {
            buf_adds(&line, ",\"worker\":");
            json_write_text(&line, worker);
        }
        if (key != NULL) {
            buf_adds(&line, ",\"key\":");
            json_write_text(&line, key);
        }
        buf_adds(&line, ",\"text\":");
        if (json_write_string(&line, text, len, &ignored) != ERR_NONE)
            buf_adds(&line, "\"(not valid UTF-8)\"");
        buf_adds(&line, "}\n");
    } else {
        buf_addf(&line, "%s %-5s ", time, level);
        if (worker != NULL)
            buf_addf(&line, "%s%s%s: ", worker, key != NULL ? "." : "", key != NULL ? key : "");
        buf_add(&line, text, len);
        buf_addc(&line, '\n');
    }
    (void)!write(STDERR_FILENO, buf_text(&line), line.len); /* one write: several processes share it */
    buf_free(&line);
}

static void say(void *ctx, const char *worker, const char *key, const char *level, const char *text,
                size_t len)
{
    write_line(ctx, worker, key, level, text, len);
}

static void describe_sync(const struct run_report *report, struct buf *out)
{
    const struct page_counts *counts = &report->counts;
    const struct {
        const char *name;
        int64_t count;
    } parts[] = {{"added", counts->added},
                 {"changed", counts->changed},
                 {"deleted", counts->deleted},
                 {"stale", counts->stale},
                 {"unchanged", counts->unchanged}};
    bool any = false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].count == 0)
            continue;
        buf_addf(out, "%s%lld %s", any ? ", " : ": ", (long long)parts[i].count, parts[i].name);
        any = true;
    }
    if (!any)
        buf_adds(out, ": nothing changed");
    if (report->sweep != NULL && report->sweep->held)
        buf_addf(out, "; sweep held: %s", report->sweep->reason);
}

static void on_ended(void *ctx, struct service *service, const struct run_report *report)
{
    const struct server *server = ctx;
    const struct capability *capability = report->capability;
    struct buf line;
    buf_init(&line, BUF_UNLIMITED);
    buf_addf(&line, "%s %s", capability_kind_name(capability->kind),
             report->error != NULL ? "failed"
             : report->stopped     ? "stopped, goes on later"
                                   : "done");
    if (report->error != NULL)
        buf_addf(&line, " (attempt %lld%s): %s", (long long)report->attempt,
                 report->will_retry ? ", is tried again" : "", report->error);
    else if (capability->kind == CAPABILITY_SYNC)
        describe_sync(report, &line);
    buf_addf(&line, " [%llu ms, run %s]", (unsigned long long)report->duration_ms, report->run_id);
    write_line(server, service_name(service), capability->key, report->error != NULL ? "error" : "info",
               buf_text(&line), line.len);
    buf_free(&line);
}

/* ---- stopping ---- */

static void close_handles(struct server *server)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&server->ticker, (uv_handle_t *)&server->grace};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], NULL);
    for (size_t i = 0; i < sizeof server->signals / sizeof server->signals[0]; i++)
        if (!uv_is_closing((uv_handle_t *)&server->signals[i]))
            uv_close((uv_handle_t *)&server->signals[i], NULL);
}

static void look_whether_idle(struct server *server)
{
    if (server->stopping && hosting_is_idle(server->hosting) &&
        (server->front == NULL || front_is_idle(server->front)))
        uv_stop(&server->loop);
}

static void on_reloaded(void *ctx, struct service *service)
{
    const struct server *server = ctx;
    if (server->front != NULL)
        front_changed(server->front, service_name(service));
}

static void on_added(void *ctx, const char *folder, struct service *service)
{
    const struct server *server = ctx;
    struct err err;
    if (server->index == 0 && server->options->listen_fd >= 0 &&
        beacon_write(folder, server->options->url, &err) != ERR_NONE)
        say(ctx, service_name(service), NULL, "error", err.message, strlen(err.message));
}

static void on_idle(void *ctx)
{
    look_whether_idle(ctx);
}

static void grace_is_over(uv_timer_t *timer)
{
    struct server *server = timer->data;
    hosting_stop_now(server->hosting);
}

static void stop(struct server *server)
{
    if (server->stopping) {
        hosting_stop_now(server->hosting);
        return;
    }
    server->stopping = true;
    uv_timer_start(&server->grace, grace_is_over, GRACE_MS, 0);
    if (server->front != NULL)
        front_stop(server->front);
    hosting_stop(server->hosting);
}

/* ---- the loop ---- */

static void look_around(struct server *server)
{
    hosting_scan(server->hosting);
    hosting_look(server->hosting);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (number == SIGHUP)
        hosting_reload(server->hosting);
    else if (number == SIGUSR1)
        look_around(server);
    else
        stop(server);
}

static void on_tick(uv_timer_t *timer)
{
    struct server *server = timer->data;
    int64_t ahead = clock_now_ms() - clock_mono_ms();
    int64_t jump = ahead - server->ahead_ms;
    atomic_store(&server->pulse->beat_ms, clock_mono_ms());
    server->ahead_ms = ahead;
    if (jump > CLOCK_JUMP_MS || jump < -CLOCK_JUMP_MS)
        hosting_look(server->hosting);
    hosting_tick(server->hosting);
    look_whether_idle(server);
}

static enum err_code begin(struct server *server, struct err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    const struct hosting_options hosting = {
        .loop = &server->loop,
        .folders = server->options->folders,
        .folder_count = server->options->folder_count,
        .code = server->options->code,
        .home = server->options->home,
        .added = on_added,
        .concurrency = server->options->concurrency,
        .watch = server->options->watch,
        .say = say,
        .ended = on_ended,
        .reloaded = on_reloaded,
        .idle = on_idle,
        .ctx = server,
    };
    uv_timer_init(&server->loop, &server->ticker);
    uv_timer_init(&server->loop, &server->grace);
    server->ticker.data = server->grace.data = server;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    server->ahead_ms = clock_now_ms() - clock_mono_ms();
    enum err_code code = hosting_new(&hosting, &server->hosting, err);
    const struct front_options front = {.loop = &server->loop,
                                        .hosting = server->hosting,
                                        .listen_fd = server->options->listen_fd,
                                        .url = server->options->url,
                                        .views_secret = server->options->views_secret,
                                        .say = say,
                                        .ctx = server};
    if (code == ERR_NONE && front.listen_fd >= 0)
        code = front_new(&front, &server->front, err);
    /* One of the processes is enough, and two would be in each other's way. */
    for (size_t i = 0;
         code == ERR_NONE && server->index == 0 && front.listen_fd >= 0 && i < hosting_count(server->hosting);
         i++)
        code = beacon_write(hosting_folder(server->hosting, i), server->options->url, err);
    if (code == ERR_NONE && server->index == 0 && front.listen_fd >= 0 && server->options->home != NULL)
        code = beacon_write(server->options->home, server->options->url, err);
    if (code == ERR_NONE)
        uv_timer_start(&server->ticker, on_tick, TICK_MS, TICK_MS);
    return code;
}

int server_run(const struct server_options *options, int index, struct pulse *pulse)
{
    struct server server = {.options = options, .pulse = pulse, .index = index};
    struct err err;
    int result = 0;
    /* Every store has a thread of its own, which needs no heap of its own. */
    mallopt(M_ARENA_MAX, 1);
    if (uv_loop_init(&server.loop) != 0) {
        fprintf(stderr, "error: cannot start the event loop\n");
        return SUPERVISOR_CANNOT_START;
    }
    if (begin(&server, &err) != ERR_NONE) {
        fprintf(stderr, "error: %s\n", err.message);
        result = SUPERVISOR_CANNOT_START;
    } else {
        atomic_store(&pulse->ready, 1);
        uv_run(&server.loop, UV_RUN_DEFAULT);
    }
    front_free(server.front);
    hosting_free(server.hosting);
    close_handles(&server);
    uv_run(&server.loop, UV_RUN_DEFAULT);
    uv_loop_close(&server.loop);
    return result;
}
