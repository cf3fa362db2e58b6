/* workers manifest, workers check. */
#include "cli/lint.h"
#include "cli/listing.h"
#include "cli/view_build.h"

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

static void print_counts(const struct worker *worker)
{
    printf("ok: %zu database%s, %zu pacer%s, %zu capabilit%s", worker->database_count,
           worker->database_count == 1 ? "" : "s", worker->pacer_count, worker->pacer_count == 1 ? "" : "s",
           worker->capability_count, worker->capability_count == 1 ? "y" : "ies");
    if (worker->view_count > 0)
        printf(", %zu view%s", worker->view_count, worker->view_count == 1 ? "" : "s");
    printf("\n");
}

static void add_count(struct buf *out, int count, const char *what)
{
    if (count > 0)
        buf_addf(out, "%s%d %s%s", out->len > 0 ? ", " : "", count, what, count == 1 ? "" : "s");
}

static void print_findings(const struct lint_counts *counts)
{
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    if (counts->fixed > 0)
        buf_addf(&text, "%d fixed", counts->fixed);
    add_count(&text, counts->errors, "error");
    add_count(&text, counts->warnings, "warning");
    add_count(&text, counts->notes, "note");
    if (text.len > 0)
        printf("%s\n", buf_text(&text));
    buf_free(&text);
}

/* What is said at the end, and the exit code. */
static int conclude(const struct cli_args *args, const struct runtime *runtime,
                    const struct lint_counts *counts)
{
    bool failed = counts->errors > 0 || (counts->warnings > 0 && cli_flag(args, "--strict"));
    if (!cli_flag(args, "--json")) {
        print_findings(counts);
        if (!failed)
            print_counts(runtime->worker);
    }
    return failed ? EXIT_FAILED_WORK : EXIT_DONE;
}

static int run_check(const struct cli_args *args)
{
    struct project project;
    struct runtime *runtime = NULL;
    int result = load(args, &project, &runtime);
    if (result != EXIT_DONE)
        return result;
    const struct lint_options options = {.as_json = cli_flag(args, "--json"), .fix = cli_flag(args, "--fix")};
    struct lint_counts counts;
    struct err err;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < runtime->worker->view_count && code == ERR_NONE; i++)
        code = view_check(project.folder, &runtime->worker->views[i], &err);
    if (code == ERR_NONE)
        code = lint_print(runtime, &options, &counts, &err);
    if (code == ERR_NONE && counts.fixed > 0) { /* what is in the files now has to load as well */
        runtime_free(runtime);
        project_free(&project);
        result = load(args, &project, &runtime);
        if (result != EXIT_DONE)
            return result;
    }
    result = code == ERR_NONE ? conclude(args, runtime, &counts) : cli_fail(&err);
    runtime_free(runtime);
    project_free(&project);
    return result;
}

static const struct cli_option check_options[] = {
    {"--strict", NULL, NULL, "fail on warnings too"},
    {"--fix", NULL, NULL, "mend in the files what can be mended for certain"},
    {"--json", NULL, NULL, "what was found, as JSON"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_check = {
    .name = "check",
    .arguments = "[SCRIPT]",
    .summary = "Load and validate a worker, and look for mistakes, without running it",
    .help = "Reports the first mistake that keeps it from loading. Then reads it as a reviewer would, with "
            "the modules "
            "that it requires. A comment \"-- workers: ignore RULE reason\" says that something is meant.\n\n"
            "Examples:\n  workers check\n  workers check src/main.lua --strict\n  workers check --fix\n"
            "  workers check --json\n",
    .options = check_options,
    .max_arguments = 1,
    .run = run_check,
};
