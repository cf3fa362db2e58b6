/* workers run: the local way. One full cycle of every sync of a script, or one capability. */
#include "cli/cli.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/table.h"
#include "cli/diff.h"
#include "cli/progress.h"
#include "cli/run_syncs.h"
#include "engine/cycle.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Or the folder of a project; one that is called as a capability may be is only that when a key follows. */
static bool is_script(const char *text, bool key_follows)
{
    struct stat status;
    size_t len = strlen(text);
    return (len > 4 && strcmp(text + len - 4, ".lua") == 0) || strchr(text, '/') != NULL || text[0] == '.' ||
           (stat(text, &status) == 0 &&
            (S_ISREG(status.st_mode) || (key_follows && S_ISDIR(status.st_mode))));
}

static int run_run(const struct cli_args *args)
{
    /* The first argument is the script, unless there is one only and it names a capability of the project. */
    const char *script =
        args->count > 0 && is_script(args->positional[0], args->count == 2) ? args->positional[0] : NULL;
    const char *key =
        args->count > (script != NULL ? 1 : 0) ? args->positional[script != NULL ? 1 : 0] : NULL;
    if (args->count == 2 && script == NULL)
        return cli_usage(args, "%s is no Lua script, nor a folder", args->positional[0]);
    return cli_run_syncs(args, script, key);
}

static const struct cli_option options[] = {
    {"--data", "-d", "JSON|@FILE|-", "the input of a capability that is no sync"},
    {"--preview", NULL, NULL, "show what would change; write nothing"},
    {"--allow-deletes", NULL, NULL, "let a sweep through that would be held"},
    {"--stream", NULL, NULL, "log lines and the result as JSON lines (not for syncs)"},
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_run = {
    .name = "run",
    .arguments = "[SCRIPT] [KEY]",
    .summary = "Run one full cycle of every sync of a script, or one capability",
    .help =
        "Rows and state go to .workers/ beside workers.yaml, or beside the script. Ctrl-C stops after the "
        "page in\n"
        "hand; the next run goes on from there. A second Ctrl-C stops at once; what was committed stays.\n\n"
        "Examples:\n  workers run script.lua\n  workers run src/main.lua tasksBackfill\n  workers run "
        "--preview\n"
        "  workers run src/main.lua sayHello -d '{\"name\":\"World\"}'\n",
    .options = options,
    .max_arguments = 2,
    .run = run_run,
};
