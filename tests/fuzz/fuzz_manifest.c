/* libFuzzer harness for scripts: a text is loaded as a worker's main script with all modules, within small
 * limits, and what it declares is written as a manifest. No script may crash, leak, get past its limits or
 * make a manifest that is not JSON.
 *
 * The first byte chooses after how many allocations outside Lua memory is out (0: never); the rest is the
 * script. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "modules/modules.h"
#include "net/http_client.h"
#include "script/script_error.h"
#include "script/sources.h"
#include "script/task.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_LIMIT ((size_t)16 * 1024 * 1024)
#define CPU_LIMIT_MS 200
#define SLOWEST_MS 20000 /* wall clock, under sanitizers, on a busy machine */

static uv_loop_t loop;
static struct scheduler *scheduler;

static void broken(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    abort();
}

static void take_log(void *ctx, const char *level, const char *text, size_t len)
{
    volatile char last = '\0';
    (void)ctx;
    if (strlen(level) > 5)
        broken("not a level", level);
    if (len > 0)
        last = text[len - 1]; /* must be readable */
    (void)last;
}

static const char *one_variable(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "HOME") == 0 ? "/home/somebody" : NULL;
}

static struct http_client *no_http(void *ctx, struct err *err)
{
    (void)ctx;
    err_set(err, ERR_DENIED, "no network here");
    return NULL;
}

static enum err_code no_path(void *ctx, const char *path, char *resolved, size_t size, struct err *err)
{
    (void)ctx;
    (void)resolved;
    (void)size;
    return err_set(err, ERR_DENIED, "may not read %s", path);
}

static enum err_code no_net(void *ctx, const char *name, int port, struct err *err)
{
    (void)ctx;
    (void)port;
    return err_set(err, ERR_DENIED, "may not connect to %s", name);
}

static const struct isolate_host host = {
    .log = take_log, .env = one_variable, .http = no_http, .read_path = no_path, .net_allowed = no_net};

static void check_manifest(const struct worker *worker)
{
    struct buf manifest;
    struct json_scan scan;
    struct err err;
    buf_init(&manifest, (size_t)256 * 1024 * 1024);
    if (worker_manifest(worker, &manifest) == ERR_NONE) {
        json_scan_init(&scan, buf_text(&manifest), manifest.len);
        if (json_scan_value(&scan, &err) != ERR_NONE || scan.token != JSON_OBJECT ||
            json_scan_skip(&scan, NULL, &err) != ERR_NONE || json_scan_end(&scan, &err) != ERR_NONE)
            broken("the manifest is not JSON", buf_text(&manifest));
    }
    buf_free(&manifest);
}

static void load(struct sources *sources, struct worker *worker)
{
    struct registration registration = {.worker = worker, .discover = true};
    const struct isolate_config config = {
        .limits = {.memory_bytes = MEMORY_LIMIT, .cpu_ms = CPU_LIMIT_MS, .wall_ms = 1000},
        .scheduler = scheduler,
        .sources = sources,
        .host = &host,
        .modules = workers_modules,
        .registry = &registration};
    struct isolate *isolate = NULL;
    struct script_error error;
    struct err err;
    script_error_init(&error);
    if (isolate_open(&config, &isolate, &err) != ERR_NONE) {
        if (err.message[0] == '\0')
            broken("an error without a message", "isolate_open");
        return;
    }
    enum err_code code = modules_load_worker(isolate, &error);
    if (isolate_memory_peak(isolate) > MEMORY_LIMIT)
        broken("more memory than allowed", "modules_load_worker");
    if (lua_gettop(isolate_state(isolate)) != 0)
        broken("something is left on the stack", code == ERR_NONE ? "loaded" : error.message);
    if (code != ERR_NONE && (error.message == NULL || error.message[0] == '\0'))
        broken("an error without a message", error.name);
    script_error_free(&error);
    isolate_close(isolate);
    if (code == ERR_NONE)
        check_manifest(worker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sources *sources = NULL;
    struct err err;
    if (size == 0)
        return 0;
    if (scheduler == NULL && (uv_loop_init(&loop) != 0 || scheduler_new(&loop, &scheduler, &err) != ERR_NONE))
        abort();
    if (sources_from_text("main.lua", (const char *)data + 1, size - 1, &sources, &err) != ERR_NONE)
        return 0;
    uint64_t begun = clock_mono_ns();
    struct worker *worker = worker_new();
    if (worker == NULL)
        abort();
    mem_fail_from(data[0] == 0 ? 0 : (unsigned long)data[0] * 2);
    load(sources, worker);
    mem_fail_from(0);
    uv_run(&loop, UV_RUN_DEFAULT);
    worker_free(worker);
    sources_free(sources);
    if (clock_mono_ns() - begun > (uint64_t)SLOWEST_MS * 1000000)
        broken("the CPU limit did not hold", "modules_load_worker");
    return 0;
}
