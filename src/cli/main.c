/* The entry point and the table of commands. */
#include "cli/cli.h"
#include "cli/complete.h"

#include "base/text.h"
#include "engine/deploy.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

const struct command *const cli_commands[] = {
    &cmd_run,
    &cmd_exec,
    &cmd_serve,
    &cmd_mcp,
    &cmd_new,
    &cmd_test,
    &cmd_check,
    &cmd_manifest,
    &cmd_types,
    &cmd_doctor,
    &cmd_sync_status,
    &cmd_sync_trigger,
    &cmd_sync_pause,
    &cmd_sync_resume,
    &cmd_sync_state_get,
    &cmd_sync_state_set,
    &cmd_sync_state_reset,
    &cmd_capabilities_list,
    &cmd_capabilities_enable,
    &cmd_capabilities_disable,
    &cmd_runs_list,
    &cmd_runs_get,
    &cmd_runs_logs,
    &cmd_webhooks_list,
    &cmd_webhooks_send,
    &cmd_webhooks_reset,
    &cmd_webhooks_rotate,
    &cmd_deliveries_list,
    &cmd_deliveries_get,
    &cmd_deliveries_replay,
    &cmd_db_list,
    &cmd_db_schema,
    &cmd_db_query,
    &cmd_db_export,
    &cmd_db_deleted,
    &cmd_db_restore,
    &cmd_view_list,
    &cmd_view_open,
    &cmd_view_build,
    &cmd_view_dev,
    &cmd_tokens_list,
    &cmd_tokens_make,
    &cmd_tokens_revoke,
    &cmd_oauth_start,
    &cmd_oauth_token,
    &cmd_oauth_status,
    &cmd_oauth_revoke,
    &cmd_oauth_show_redirect_url,
    &cmd_env_set,
    &cmd_env_list,
    &cmd_env_unset,
    &cmd_env_versions,
    &cmd_env_restore,
    &cmd_env_pull,
    &cmd_env_push,
    &cmd_env_rotate_key,
    &cmd_deploy,
    &cmd_versions,
    &cmd_rollback,
    &cmd_create,
    &cmd_list,
    &cmd_get,
    &cmd_rename,
    &cmd_delete,
    &cmd_completions,
    &cmd_version,
    &cmd_help,
    NULL,
};

/* Other names that people try. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"capabilities ls", "capabilities list"},
    {"capabilities", "capabilities list"},
    {"runs ls", "runs list"},
    {"runs", "runs list"},
    {"db", "db list"},
    {"db ls", "db list"},
    {"webhooks", "webhooks list"},
    {"webhooks ls", "webhooks list"},
    {"deliveries", "deliveries list"},
    {"deliveries ls", "deliveries list"},
    {"view", "view list"},
    {"view ls", "view list"},
    {"views", "view list"},
    {"customblocks dev", "view dev"},
    {"tokens", "tokens list"},
    {"tokens ls", "tokens list"},
    {"oauth", "oauth status"},
    {"env", "env list"},
    {"env ls", "env list"},
    {"env delete", "env unset"},
    {"env rm", "env unset"},
    {"sync", "sync status"},
    {"--version", "version"},
    {"-V", "version"},
    {"--help", "help"},
    {"-h", "help"},
};

/* Finds the command of the most words that argv begins with; words is how many. */
static const struct command *find_command(int argc, char **argv, int *words)
{
    for (int count = argc < 3 ? argc : 3; count > 0; count--) {
        char name[128] = "";
        for (int i = 0; i < count; i++)
            snprintf(name + strlen(name), sizeof name - strlen(name), "%s%s", i > 0 ? " " : "", argv[i]);
        /* A group's name alone stands for its list; before another word it is a command that we do not know.
         */
        bool alone = argc == count || argv[count][0] == '-';
        for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
            bool group = strchr(aliases[i].alias, ' ') == NULL && strchr(aliases[i].name, ' ') != NULL;
            if (strcmp(aliases[i].alias, name) == 0 && (alone || !group)) {
                snprintf(name, sizeof name, "%s", aliases[i].name);
                break;
            }
        }
        for (int i = 0; cli_commands[i] != NULL; i++) {
            if (strcmp(cli_commands[i]->name, name) == 0) {
                *words = count;
                return cli_commands[i];
            }
        }
    }
    return NULL;
}

static int unknown_command(int argc, char **argv)
{
    char name[128];
    const char *names[128];
    size_t count = 0;
    snprintf(name, sizeof name, "%s%s%s", argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
             argc > 1 && argv[1][0] != '-' ? argv[1] : "");
    for (; cli_commands[count] != NULL && count < 128; count++)
        names[count] = cli_commands[count]->name;
    int nearest = text_nearest(name, strlen(name), names, count);
    if (nearest < 0)
        nearest = text_nearest(argv[0], strlen(argv[0]), names, count);
    fprintf(stderr, "error: there is no command \"%s\"", name);
    if (nearest >= 0)
        fprintf(stderr, "; did you mean \"%s\"?", names[nearest]);
    size_t len = strlen(argv[0]);
    bool is_group = false;
    for (size_t i = 0; i < count; i++)
        is_group = is_group || (strncmp(names[i], argv[0], len) == 0 && names[i][len] == ' ');
    if (is_group)
        fprintf(stderr, "\nIts commands: workers help %s\n", argv[0]);
    else
        fprintf(stderr, "\nAll commands: workers help\n");
    return EXIT_USAGE;
}

static int unknown_option(const struct cli_args *args, const char *word, size_t len)
{
    const char *names[128];
    size_t count = 0;
    const struct cli_option *options = args->command->options;
    for (; options != NULL && options[count].name != NULL && count < 128; count++)
        names[count] = options[count].name;
    int nearest = text_nearest(word, len, names, count);
    if (nearest < 0)
        return cli_usage(args, "unknown option %.*s", (int)len, word);
    return cli_usage(args, "unknown option %.*s; did you mean %s?", (int)len, word, names[nearest]);
}

/* --server and --worker, of commands that work on a server as well. Returns how many words that were, 0 when
 * it is another option, -1 after a message. */
static int read_common(struct cli_args *args, const char *word, size_t len, const char *next)
{
    static const char *const names[] = {"--server", "--worker"};
    const char **places[] = {&args->server, &args->worker};
    for (int i = 0; i < 2; i++) {
        if (strlen(names[i]) != len || strncmp(names[i], word, len) != 0)
            continue;
        if (!args->command->remote) {
            cli_usage(args, "%s works on this machine only, and takes no %s", args->command->name, names[i]);
            return -1;
        }
        bool joined = word[len] == '=';
        const char *value = joined ? word + len + 1 : next;
        if (value == NULL || *value == '\0') {
            cli_usage(args, "%s needs a value: %s", names[i], i == 0 ? "URL|local" : "NAME");
            return -1;
        }
        *places[i] = value;
        return joined ? 1 : 2;
    }
    return 0;
}

/* Fills args from what follows the command's words; the exit code, or -1 to go on. */
static int parse(const struct command *command, int argc, char **argv, struct cli_args *args)
{
    bool only_positional = false;
    *args = (struct cli_args){.command = command};
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_positional && strcmp(word, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (only_positional || word[0] != '-' || word[1] == '\0') {
            if (args->count == CLI_MAX_ARGUMENTS)
                return cli_usage(args, "too many arguments");
            args->positional[args->count++] = word;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            const struct cli_args help = {.command = &cmd_help, .positional = {command->name}, .count = 1};
            return cmd_help.run(&help);
        }
        const char *equals = strchr(word, '=');
        size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
        int found = -1;
        for (int k = 0; command->options != NULL && command->options[k].name != NULL && found < 0; k++) {
            const struct cli_option *option = &command->options[k];
            if ((strncmp(option->name, word, len) == 0 && option->name[len] == '\0') ||
                (option->brief != NULL && strncmp(option->brief, word, len) == 0 &&
                 option->brief[len] == '\0'))
                found = k;
        }
        int common = found < 0 ? read_common(args, word, len, i + 1 < argc ? argv[i + 1] : NULL) : 0;
        if (common < 0)
            return EXIT_USAGE;
        if (common > 0) {
            i += common - 1;
            continue;
        }
        if (found < 0)
            return unknown_option(args, word, len);
        const struct cli_option *option = &command->options[found];
        if (option->value == NULL && equals != NULL)
            return cli_usage(args, "%s takes no value", option->name);
        if (option->value != NULL && equals == NULL && i + 1 >= argc)
            return cli_usage(args, "%s needs a value: %s", option->name, option->value);
        if (args->given_count == CLI_MAX_ARGUMENTS)
            return cli_usage(args, "too many options");
        args->values[found] = option->value == NULL ? "" : equals != NULL ? equals + 1 : argv[++i];
        args->given[args->given_count].option = found;
        args->given[args->given_count++].value = args->values[found];
    }
    if (args->count < command->min_arguments)
        return cli_usage(args, "something is missing: workers %s %s", command->name, command->arguments);
    if (args->count > command->max_arguments)
        return cli_usage(args, "one argument too many: %s", args->positional[command->max_arguments]);
    return -1;
}

int main(int argc, char **argv)
{
    struct cli_args args;
    int words = 0;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], DEPLOY_WORD) == 0) /* see deploy_apart */
        return deploy_apart_main();
    if (argc >= 2 && strcmp(argv[1], COMPLETE_WORD) == 0)
        return complete_words(argc - 2, argv + 2);
    if (argc < 2) {
        args = (struct cli_args){.command = &cmd_help};
        cmd_help.run(&args);
        return EXIT_USAGE;
    }
    const struct command *command = find_command(argc - 1, argv + 1, &words);
    if (command == NULL)
        return unknown_command(argc - 1, argv + 1);
    int code = parse(command, argc - 1 - words, argv + 1 + words, &args);
    if (code < 0)
        code = command->run(&args);
    /* A reader that has seen enough (head) is no failure. */
    if (fflush(stdout) != 0 && errno != EPIPE && code == EXIT_DONE) {
        fprintf(stderr, "error: the output could not be written\n");
        code = EXIT_FAILED_WORK;
    }
    return code;
}
