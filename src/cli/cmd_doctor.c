/* workers doctor: what is wrong, and the command that puts it right. */
#include "cli/doctor.h"
#include "cli/target.h"

static int show(const struct cli_args *args, const struct findings *findings)
{
    int result = EXIT_DONE;
    if (cli_flag(args, "--json")) {
        struct buf json;
        buf_init(&json, BUF_UNLIMITED);
        findings_json(findings, &json);
        result = cli_print_json(buf_text(&json), json.len);
        buf_free(&json);
    } else {
        findings_print(findings);
    }
    return findings_failed(findings) ? EXIT_FAILED_WORK : result;
}

static enum err_code load_quietly(struct target *target, struct findings *out)
{
    if (target->remote != NULL || cli_runtime_open(&target->project, NULL, doctor_no_log, NULL,
                                                   &target->runtime, &target->script_error) == ERR_NONE)
        return ERR_NONE;
    findings_add(out, FINDING_FAIL, "script",
                 target->project.script[0] == '\0' ? "write a workers.yaml with main: SCRIPT"
                                                   : "change the script at that line, then workers check",
                 "it cannot be loaded: %s", target->script_error.message);
    return ERR_SCRIPT;
}

static int examine_capability(const struct cli_args *args)
{
    struct target target;
    struct err err;
    struct findings findings = {.count = 0};
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    enum err_code code = ERR_NONE;
    if (load_quietly(&target, &findings) == ERR_NONE)
        code =
            doctor_capability(&target, args->positional[0], !cli_flag(args, "--no-probe"), &findings, &err);
    if (target.runtime != NULL)
        doctor_tables(target.project.folder, target.runtime->worker, &findings);
    if (target.remote == NULL)
        doctor_store(target.project.folder, true, &findings);
    if (code == ERR_NONE || findings.count > 0) {
        if (code != ERR_NONE)
            findings_add(&findings, FINDING_FAIL, "capability", "", "%s", err.message);
        result = show(args, &findings);
    } else {
        result = target_fail(&target, &err);
    }
    findings_free(&findings);
    target_close(&target);
    return result;
}

static int run_doctor(const struct cli_args *args)
{
    struct findings findings = {.count = 0};
    if (args->count > 0)
        return examine_capability(args);
    if (args->server != NULL || args->worker != NULL)
        return cli_usage(args, "of a server it looks at a capability: workers doctor KEY --server URL");
    doctor_installation(&findings);
    int result = show(args, &findings);
    findings_free(&findings);
    return result;
}

static const struct cli_option options[] = {
    {"--no-probe", NULL, NULL, "do not try the sync"},
    {"--json", NULL, NULL, "JSON: {\"ok\", \"checks\": [{\"check\", \"level\", \"message\", \"remedy\"}]}"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_doctor = {
    .name = "doctor",
    .arguments = "[KEY]",
    .summary = "Say what is wrong, and what to do about it",
    .help =
        "Without KEY it looks at this machine and the project of this folder; with the KEY of a sync, tool,\n"
        "webhook, automation or job at why that does not do what it should. A sync is tried: one execute "
        "from\n"
        "where it stands, in which nothing is written and no request leaves but GET, HEAD and OPTIONS.\n"
        "Prints ok, warn or fail for each thing and, indented, what to do. The exit code is 1 when one "
        "fails.\n\n"
        "Examples:\n  workers doctor\n  workers doctor tasks\n  workers doctor tasks --json\n",
    .options = options,
    .max_arguments = 1,
    .remote = true,
    .run = run_doctor,
};
