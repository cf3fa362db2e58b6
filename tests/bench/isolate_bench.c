/* What an isolate costs: time to open it with a worker loaded, and its memory. Must not run a capability.
 *
 *     isolate_bench SCRIPT [COUNT]
 *
 * Loads the script once to learn what it declares, then opens COUNT isolates (1000) for its first capability
 * and keeps them all. Prints {"count", "open_us" (median of one), "memory_kib" (of one Lua state), "rss_kib"
 * (growth of the process for one)}. */
#include "base/clock.h"
#include "base/mem.h"
#include "modules/modules.h"
#include "script/script_error.h"
#include "script/sources.h"
#include "script/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void no_log(void *ctx, const char *level, const char *text, size_t len)
{
    (void)ctx;
    (void)level;
    (void)text;
    (void)len;
}

static double resident_kib(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024.0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct isolate *open_one(const struct isolate_config *config)
{
    struct isolate *isolate = NULL;
    struct script_error error;
    struct err err;
    script_error_init(&error);
    if (isolate_open(config, &isolate, &err) != ERR_NONE) {
        fprintf(stderr, "isolate_bench: %s\n", err.message);
        exit(1);
    }
    if (modules_load_worker(isolate, &error) != ERR_NONE) {
        fprintf(stderr, "isolate_bench: %s\n", error.message);
        exit(1);
    }
    script_error_free(&error);
    return isolate;
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;
    struct err err;
    uv_loop_t loop;
    struct scheduler *scheduler = NULL;
    struct sources *sources = NULL;
    if (argc < 2 || count < 1 || count > 1000000) {
        fprintf(stderr, "usage: isolate_bench SCRIPT [COUNT]\n");
        return 2;
    }
    char *folder = mem_need_str(argv[1]);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    if (uv_loop_init(&loop) != 0)
        return 1;
    if (scheduler_new(&loop, &scheduler, &err) != ERR_NONE ||
        sources_open(slash != NULL ? folder : ".", argv[1], &sources, &err) != ERR_NONE) {
        fprintf(stderr, "isolate_bench: %s\n", err.message);
        return 1;
    }
    const struct isolate_host host = {.log = no_log};
    struct registration registration = {.worker = worker_new(), .discover = true};
    const struct isolate_config config = {.limits = {.memory_bytes = (size_t)256 << 20, .cpu_ms = 30000},
                                          .scheduler = scheduler,
                                          .sources = sources,
                                          .host = &host,
                                          .modules = workers_modules,
                                          .registry = &registration};
    isolate_close(open_one(&config));
    registration.discover = false;
    registration.wanted =
        registration.worker->capability_count > 0 ? registration.worker->capabilities[0].key : NULL;

    struct isolate **isolates = mem_need((size_t)count * sizeof(struct isolate *));
    double *times = mem_need((size_t)count * sizeof *times);
    isolate_close(open_one(&config)); /* warms up */
    double before = resident_kib();
    for (long i = 0; i < count; i++) {
        uint64_t start = clock_mono_ns();
        isolates[i] = open_one(&config);
        times[i] = (double)(clock_mono_ns() - start) / 1e3;
    }
    double grown = resident_kib() - before;
    double memory = (double)isolate_memory(isolates[0]) / 1024.0;
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("{\"count\":%ld,\"open_us\":%.1f,\"memory_kib\":%.1f,\"rss_kib\":%.1f}\n", count, times[count / 2],
           memory, grown / (double)count);

    for (long i = 0; i < count; i++)
        isolate_close(isolates[i]);
    mem_free(isolates);
    mem_free(times);
    mem_free(folder);
    worker_free(registration.worker);
    scheduler_free(scheduler);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    sources_free(sources);
    return 0;
}
