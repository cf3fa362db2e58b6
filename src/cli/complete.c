/* Candidates from the table of commands, and keys from the project of this folder. Must not ask a server, nor
 * say what is wrong: somebody is typing. */
#include "cli/complete.h"

#include "base/embed.h"
#include "cli/cli.h"
#include "cli/doctor.h"

#include <string.h>

#define NAME_SIZE 128

struct typing {
    char **words; /* before the one that is typed */
    int count;
    const char *current; /* what is typed */
    const char *before;  /* what every candidate begins with and the table does not have: "--format=" */
};

static void offer(const struct typing *typing, const char *word, const char *what)
{
    if (strncmp(word, typing->current, strlen(typing->current)) == 0)
        printf("%s%s\t%s\n", typing->before, word, what);
}

/* ---- commands ---- */

/* How many bytes of the name the words are, with the blank after them; 0 when it does not begin with them. */
static size_t begins_with(const char *name, char **words, int count)
{
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        size_t word = strlen(words[i]);
        if (strncmp(name + len, words[i], word) != 0 || (name[len + word] != ' ' && name[len + word] != '\0'))
            return 0;
        len += word;
        if (name[len] == ' ')
            len++;
        else if (i + 1 < count)
            return 0;
    }
    return len;
}

/* The command of the most words; taken is how many. */
static const struct command *find_command(const struct typing *typing, int *taken)
{
    for (int count = typing->count < 3 ? typing->count : 3; count > 0; count--) {
        for (int i = 0; cli_commands[i] != NULL; i++) {
            const char *name = cli_commands[i]->name;
            if (begins_with(name, typing->words, count) == strlen(name)) {
                *taken = count;
                return cli_commands[i];
            }
        }
    }
    return NULL;
}

/* The next word of every command that begins with the first words. A group's word comes once. */
static void offer_commands(const struct typing *typing, char **words, int count)
{
    char last[NAME_SIZE] = "";
    for (int i = 0; cli_commands[i] != NULL; i++) {
        const char *name = cli_commands[i]->name;
        char word[NAME_SIZE];
        size_t len = begins_with(name, words, count);
        if ((count > 0 && len == 0) || name[len] == '\0')
            continue;
        size_t end = strcspn(name + len, " ");
        snprintf(word, sizeof word, "%.*s", (int)end, name + len);
        if (strcmp(word, last) != 0)
            offer(typing, word, name[len + end] == '\0' ? cli_commands[i]->summary : "a group of commands");
        snprintf(last, sizeof last, "%s", word);
    }
}

/* ---- the project ---- */

/* Of capabilities: -1 for all kinds. */
static int kind_of(const struct command *command)
{
    static const struct {
        const char *group;
        enum capability_kind kind;
    } groups[] = {{"sync ", CAPABILITY_SYNC}, {"webhooks ", CAPABILITY_WEBHOOK}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strncmp(command->name, groups[i].group, strlen(groups[i].group)) == 0)
            return (int)groups[i].kind;
    return CAPABILITY_ANY;
}

static void offer_declared(const struct typing *typing, const struct command *command,
                           const struct worker *worker, bool databases)
{
    if (databases) {
        for (size_t i = 0; i < worker->database_count; i++)
            offer(typing, worker->databases[i].key, worker->databases[i].initial_title);
        return;
    }
    if (strncmp(command->name, "oauth ", 6) == 0) {
        for (size_t i = 0; i < worker->oauth_count; i++)
            offer(typing, worker->oauths[i].key, worker->oauths[i].name);
        return;
    }
    if (strncmp(command->name, "view ", 5) == 0) {
        for (size_t i = 0; i < worker->view_count; i++)
            offer(typing, worker->views[i].key, worker->views[i].name);
        return;
    }
    int kind = kind_of(command);
    for (size_t i = 0; i < worker->capability_count; i++) {
        const struct capability *capability = &worker->capabilities[i];
        if (kind == CAPABILITY_ANY || kind == (int)capability->kind)
            offer(typing, capability->key, capability_kind_name(capability->kind));
    }
}

/* What the script of this folder declares; nothing when there is none that loads. */
static void offer_keys(const struct typing *typing, const struct command *command, bool databases)
{
    struct project project = {0};
    struct runtime *runtime = NULL;
    struct script_error error;
    struct err ignored;
    script_error_init(&error);
    if (project_open(NULL, ".", &project, &ignored) != ERR_NONE)
        return;
    if (cli_runtime_open(&project, NULL, doctor_no_log, NULL, &runtime, &error) == ERR_NONE)
        offer_declared(typing, command, runtime->worker, databases);
    runtime_free(runtime);
    script_error_free(&error);
    project_free(&project);
}

/* ---- what an argument or an option takes ---- */

static void offer_templates(const struct typing *typing)
{
    static const char about[] = "/_template";
    for (size_t i = 0; i < template_file_count; i++) {
        const struct embedded_file *file = &template_files[i];
        char name[NAME_SIZE], summary[NAME_SIZE];
        size_t len = strlen(file->name), size = (size_t)(file->end - file->begin);
        if (len < sizeof about || strcmp(file->name + len - (sizeof about - 1), about) != 0)
            continue;
        const char *line_end = memchr(file->begin, '\n', size);
        snprintf(name, sizeof name, "%.*s", (int)(len - (sizeof about - 1)), file->name);
        snprintf(summary, sizeof summary, "%.*s",
                 (int)(line_end != NULL ? line_end - file->begin : (long)size), file->begin);
        offer(typing, name, summary);
    }
}

/* As the table has it: "KEY", "FILE", "csv|json", "NAME". */
static void offer_value(const struct typing *typing, const struct command *command, const char *value)
{
    static const char *const files[] = {"FILE", "SCRIPT", "DIR", "PATH"};
    const char *at = strchr(typing->current, '@');
    if (strstr(value, "@FILE") != NULL) {
        if (at == typing->current || (at != NULL && at[-1] == '=' && strstr(value, "=@FILE") != NULL))
            puts(":files@");
        return; /* without "@" it is no file */
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (strstr(value, files[i]) != NULL) {
            puts(":files");
            return;
        }
    }
    for (size_t i = 0; strcmp(value, "SHELL") == 0 && i < completion_file_count; i++)
        offer(typing, strchr(completion_files[i].name, '.') + 1, "");
    if (strcmp(value, "TEMPLATE") == 0)
        offer_templates(typing);
    if (strcmp(value, "STATE") == 0)
        value = "ready|running|done|dead";
    if (strcmp(value, "KEY") == 0 && strncmp(command->name, "db ", 3) == 0)
        return; /* of a row */
    if (strcmp(value, "KEY") == 0 || strcmp(value, "DATABASE") == 0) {
        offer_keys(typing, command, value[0] == 'D');
        return;
    }
    while (strchr(value, '|') != NULL || (value[0] >= 'a' && value[0] <= 'z')) {
        char word[NAME_SIZE];
        size_t len = strcspn(value, "|");
        snprintf(word, sizeof word, "%.*s", (int)len, value);
        if (word[0] >= 'a' && word[0] <= 'z')
            offer(typing, word, "");
        value += len + (value[len] == '|');
    }
}

static const struct cli_option *find_option(const struct command *command, const char *word, size_t len)
{
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL; option++)
        if ((strlen(option->name) == len && strncmp(option->name, word, len) == 0) ||
            (option->brief != NULL && strlen(option->brief) == len && strncmp(option->brief, word, len) == 0))
            return option;
    return NULL;
}

static bool takes_value(const struct command *command, const char *word)
{
    const struct cli_option *option = find_option(command, word, strlen(word));
    return option != NULL
               ? option->value != NULL
               : command->remote && (strcmp(word, "--server") == 0 || strcmp(word, "--worker") == 0);
}

static void offer_options(const struct typing *typing, const struct command *command)
{
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL; option++)
        offer(typing, option->name, option->help);
    if (command->remote) {
        offer(typing, "--server", "on that server");
        offer(typing, "--worker", "which of the server's workers");
    }
    offer(typing, "--help", "more about the command");
}

/* The nth of "SCRIPT [KEY]", without brackets; the last again when it ends in "…". False when there are not
 * so many. */
static bool find_argument(const char *arguments, int n, char out[NAME_SIZE])
{
    for (int i = 0; *arguments != '\0'; i++) {
        size_t len = strcspn(arguments, " ");
        const char *begin = arguments[0] == '[' ? arguments + 1 : arguments;
        size_t end = (size_t)(arguments + len - begin);
        bool last = arguments[len] == '\0', repeats = end >= 3 && memcmp(begin + end - 3, "…", 3) == 0;
        if (i == n || (last && repeats)) {
            snprintf(out, NAME_SIZE, "%.*s", (int)strcspn(begin, "] "), begin);
            return true;
        }
        arguments += len + (last ? 0 : 1);
    }
    return false;
}

/* words are those after the command's. */
static void offer_arguments(const struct typing *typing, const struct command *command, char **words,
                            int count)
{
    int given = 0;
    char argument[NAME_SIZE];
    for (int i = 0; i < count; i++) {
        if (words[i][0] != '-')
            given++;
        else if (strcmp(words[i], "--server") == 0 && i + 1 < count && strcmp(words[i + 1], "local") != 0)
            return; /* what there is on a server is not known here */
        else if (takes_value(command, words[i]))
            i++;
    }
    if (command == &cmd_run && given == 0)
        offer_keys(typing, command, false); /* in the place of a script */
    if (command == &cmd_help)
        offer_commands(typing, words, count);
    else if (find_argument(command->arguments, given, argument))
        offer_value(typing, command, argument);
}

int complete_words(int count, char **words)
{
    struct typing typing = {.words = words, .count = count - 1, .current = "", .before = ""};
    char option_word[NAME_SIZE];
    int taken = 0;
    if (count < 1)
        return EXIT_DONE;
    typing.current = words[count - 1];
    const struct command *command = find_command(&typing, &taken);
    if (command == NULL) {
        offer_commands(&typing, typing.words, typing.count);
        return EXIT_DONE;
    }
    char **rest = words + taken;
    int left = typing.count - taken;
    /* bash makes a word of its own of "=". */
    if (left > 0 && strcmp(typing.current, "=") == 0)
        typing.current = "";
    else if (left > 1 && strcmp(rest[left - 1], "=") == 0)
        left--;
    const char *equals = strchr(typing.current, '=');
    const struct cli_option *option = NULL;
    if (typing.current[0] == '-' && equals != NULL) {
        option = find_option(command, typing.current, (size_t)(equals - typing.current));
        snprintf(option_word, sizeof option_word, "%.*s", (int)(equals - typing.current) + 1, typing.current);
        typing.before = option_word;
        typing.current = equals + 1;
    } else if (left > 0 && rest[left - 1][0] == '-' && takes_value(command, rest[left - 1])) {
        option = find_option(command, rest[left - 1], strlen(rest[left - 1]));
    } else if (typing.current[0] == '-') {
        offer_options(&typing, command);
        return EXIT_DONE;
    } else {
        offer_arguments(&typing, command, rest, left);
        return EXIT_DONE;
    }
    if (option != NULL && option->value != NULL)
        offer_value(&typing, command, option->value);
    return EXIT_DONE;
}
