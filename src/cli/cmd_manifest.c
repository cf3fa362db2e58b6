/* workers manifest, workers check. */
#include "cli/listing.h"

static int load(const struct cli_args *args, struct project *project, struct runtime **runtime)
{
    struct err err;
    struct script_error error;
    if (project_open(args->count > 0 ? args->positional[0] : NULL, ".", project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    if (cli_runtime_open(project, NULL, NULL, NULL, runtime, &error) != ERR_NONE) {
        cli_fail_script(&error);
        script_error_free(&error);
        project_free(project);
        return EXIT_FAILED_WORK;
    }
    return EXIT_DONE;
}

/* Of a script that is no project's, perhaps. */
static int print_script(const struct cli_args *args)
{
    struct project project;
    struct runtime *runtime = NULL;
    int result = load(args, &project, &runtime);
    if (result != EXIT_DONE)
        return result;
    struct buf json;
    struct err err;
    buf_init(&json, BUF_UNLIMITED);
    enum err_code code = worker_manifest(runtime->worker, &json);
    if (code == ERR_NONE)
        code = buf_status(&json, "the manifest", &err);
    result = code == ERR_NONE ? cli_print_json(buf_text(&json), json.len) : cli_fail(&err);
    buf_free(&json);
    runtime_free(runtime);
    project_free(&project);
    return result;
}

static int run_manifest(const struct cli_args *args)
{
    if (args->count > 0 && (args->server != NULL || args->worker != NULL))
        return cli_usage(args, "a script is on this machine: --server goes without one");
    if (args->count > 0)
        return print_script(args);
    return listing_one(args, "/manifest", NULL);
}

const struct command cmd_manifest = {
    .name = "manifest",
    .arguments = "[SCRIPT]",
    .summary = "Print what a worker declares, as JSON",
    .help = "Loads the script and prints its databases, pacers and capabilities.\n\n"
            "Examples:\n  workers manifest\n  workers manifest src/main.lua\n",
    .max_arguments = 1,
    .remote = true,
    .run = run_manifest,
};

static int run_check(const struct cli_args *args)
{
    struct project project;
    struct runtime *runtime = NULL;
    int result = load(args, &project, &runtime);
    if (result != EXIT_DONE)
        return result;
    const struct worker *worker = runtime->worker;
    printf("ok: %zu database%s, %zu pacer%s, %zu capabilit%s\n", worker->database_count,
           worker->database_count == 1 ? "" : "s", worker->pacer_count, worker->pacer_count == 1 ? "" : "s",
           worker->capability_count, worker->capability_count == 1 ? "y" : "ies");
    runtime_free(runtime);
    project_free(&project);
    return EXIT_DONE;
}

const struct command cmd_check = {
    .name = "check",
    .arguments = "[SCRIPT]",
    .summary = "Load and validate a worker without running it",
    .help = "Reports the first mistake with file and line.\n\n"
            "Examples:\n  workers check\n  workers check src/main.lua\n",
    .max_arguments = 1,
    .run = run_check,
};
