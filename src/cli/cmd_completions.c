/* workers completions: what a shell reads to complete command lines. */
#include "cli/cli.h"

#include "base/embed.h"

static int run_completions(const struct cli_args *args)
{
    char name[64];
    snprintf(name, sizeof name, "workers.%.40s", args->positional[0]);
    const struct embedded_file *file = embed_find(completion_files, name);
    if (file == NULL)
        return cli_usage(args, "there are completions for bash, zsh and fish, not for %s",
                         args->positional[0]);
    fwrite(file->begin, 1, (size_t)(file->end - file->begin), stdout);
    return EXIT_DONE;
}

const struct command cmd_completions = {
    .name = "completions",
    .arguments = "SHELL",
    .summary = "Print what makes a shell complete command lines",
    .help = "SHELL is bash, zsh or fish. Completed are commands, options and their values, files, and keys "
            "of the project in the current folder.\n\n"
            "Examples:\n  eval \"$(workers completions bash)\"      # in ~/.bashrc\n"
            "  eval \"$(workers completions zsh)\"       # in ~/.zshrc, after compinit\n"
            "  workers completions fish > ~/.config/fish/completions/workers.fish\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_completions,
};
