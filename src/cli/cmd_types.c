/* workers types. */
#include "cli/cli.h"
#include "cli/types.h"

static int run_types(const struct cli_args *args)
{
    struct err err;
    struct project project;
    size_t count = 0;
    if (args->count > 0 && args->positional[0][0] == '\0')
        return cli_usage(args, "DIR is empty");
    if (args->count > 0) {
        if (types_write(args->positional[0], &count, &err) != ERR_NONE)
            return cli_fail(&err);
        printf("Wrote %zu files to %s\n", count, args->positional[0]);
        return EXIT_DONE;
    }
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    enum err_code code = types_write_project(project.folder, &count, &err);
    if (code == ERR_NONE)
        printf("Wrote %zu files to %s/%s\n", count, project.folder, TYPES_FOLDER);
    project_free(&project);
    return code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
}

const struct command cmd_types = {
    .name = "types",
    .arguments = "[DIR]",
    .summary = "Write what editors need to know of the modules",
    .help =
        "Definition files for lua-language-server, one per module, so that editors complete names and show\n"
        "what functions take, and one for TypeScript of what views import. Without DIR they go "
        "to " TYPES_FOLDER " of the project, where the .luarc.json\n"
        "of `workers new` looks for them. Run it again after an update of workers.\n\n"
        "Examples:\n  workers types\n  workers types ~/.local/share/workers-types\n",
    .max_arguments = 1,
    .run = run_types,
};
