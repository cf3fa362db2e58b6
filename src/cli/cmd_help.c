/* workers help [COMMAND], and workers version. */
#include "cli/cli.h"
#include "cli/man.h"

#include "base/text.h"

#include <string.h>

/* Two columns; what does not fit the first one is a line of its own. */
static void print_entry(const char *left, size_t width, const char *right)
{
    size_t used = text_display_width(left, strlen(left));
    if (used > width)
        printf("  %s\n  %*s %s\n", left, (int)width, "", right);
    else
        printf("  %s%*s %s\n", left, (int)(width - used), "", right);
}

static void print_command(const struct command *command)
{
    printf("%s\n\nUsage: workers %s%s%s%s\n", command->summary, command->name,
           command->arguments[0] != '\0' ? " " : "", command->arguments,
           command->options != NULL && command->options[0].name != NULL ? " [options]" : "");
    if (command->options != NULL && command->options[0].name != NULL) {
        printf("\nOptions:\n");
        for (int i = 0; command->options[i].name != NULL; i++) {
            const struct cli_option *option = &command->options[i];
            char left[80];
            snprintf(left, sizeof left, "%s%s%s%s%s", option->brief != NULL ? option->brief : "",
                     option->brief != NULL ? ", " : "", option->name, option->value != NULL ? " " : "",
                     option->value != NULL ? option->value : "");
            print_entry(left, 30, option->help);
        }
    }
    printf("\n%s", command->help);
    if (command->remote)
        printf("\nWith --server URL it works on that server; with --server local not on the one in "
               "workers.yaml.\n"
               "--worker NAME says which of the server's workers. More: docs/remote.md\n");
}

static void print_all(void)
{
    printf("workers runs small Lua scripts that sync outside data into databases, give agents tools, and run "
           "jobs.\n\n"
           "Usage: workers COMMAND [arguments] [options]\n\nCommands:\n");
    for (int i = 0; cli_commands[i] != NULL; i++) {
        char left[80];
        snprintf(left, sizeof left, "%s %s", cli_commands[i]->name, cli_commands[i]->arguments);
        print_entry(left, 38, cli_commands[i]->summary);
    }
    printf("\nExamples:\n"
           "  workers new demo                     make a project\n"
           "  workers run src/main.lua             run every sync of a script once\n"
           "  workers exec sayHello -d '{\"name\":\"World\"}'\n"
           "  workers help run                     more about one command\n");
}

static int print_man(const struct command *command)
{
    struct buf page;
    struct err err;
    buf_init(&page, BUF_UNLIMITED);
    if (command != NULL)
        man_write_command(command, &page);
    else
        man_write_all(&page);
    enum err_code code = buf_status(&page, "the page", &err);
    if (code == ERR_NONE)
        fwrite(buf_text(&page), 1, page.len, stdout);
    buf_free(&page);
    return code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
}

static int run_help(const struct cli_args *args)
{
    char name[128] = "";
    bool man = args->command == &cmd_help && cli_flag(args, "--man");
    if (args->count == 0) {
        if (man)
            return print_man(NULL);
        print_all();
        return EXIT_DONE;
    }
    for (int i = 0; i < args->count; i++)
        snprintf(name + strlen(name), sizeof name - strlen(name), "%s%s", i > 0 ? " " : "",
                 args->positional[i]);
    bool found = false;
    size_t len = strlen(name);
    for (int i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) {
            if (man)
                return print_man(cli_commands[i]);
            print_command(cli_commands[i]);
            return EXIT_DONE;
        }
    }
    /* A first word alone lists what begins with it. */
    for (int i = 0; cli_commands[i] != NULL; i++) {
        if (strncmp(cli_commands[i]->name, name, len) == 0 && cli_commands[i]->name[len] == ' ') {
            printf("workers %s %s\n    %s\n", cli_commands[i]->name, cli_commands[i]->arguments,
                   cli_commands[i]->summary);
            found = true;
        }
    }
    return found ? EXIT_DONE : cli_usage(args, "there is no command \"%s\"", name);
}

static const struct cli_option help_options[] = {
    {"--man", NULL, NULL, "as a page for man: workers help --man run | man -l -"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .summary = "Show all commands, or one of them",
    .help = "Examples:\n  workers help\n  workers help sync trigger\n",
    .options = help_options,
    .max_arguments = 3,
    .run = run_help,
};

static int run_version(const struct cli_args *args)
{
    (void)args;
    puts("workers " WORKERS_VERSION);
    return EXIT_DONE;
}

const struct command cmd_version = {
    .name = "version",
    .arguments = "",
    .summary = "Show the version",
    .help = "Examples:\n  workers version\n  workers --version\n",
    .run = run_version,
};
