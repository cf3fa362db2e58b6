/* workers env set, list, unset: secrets of the worker, sealed at rest. Must not print a value. */
#include "cli/listing.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* {"value":…}; the caller wipes it. */
static enum err_code write_body(const char *name, const struct buf *value, bool is_public, struct buf *out,
                                struct err *err)
{
    struct err ignored;
    buf_adds(out, "{\"value\":");
    if (json_write_string(out, buf_text(value), value->len, &ignored) != ERR_NONE)
        return err_set(err, ERR_INVALID,
                       "the value of %s is not UTF-8: encode it, as in base64 FILE | workers env set %s",
                       name, name);
    buf_adds(out, is_public ? ",\"public\":true}" : ",\"public\":false}");
    return buf_status(out, "the value", err);
}

/* Asks on the terminal; what is typed is not shown. */
static enum err_code ask_for_value(const char *name, struct buf *value, struct err *err)
{
    struct termios before, hidden;
    bool changed = tcgetattr(STDIN_FILENO, &before) == 0;
    char c = '\0';
    if (changed) {
        hidden = before;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        changed = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0;
    }
    fprintf(stderr, "%s: ", name);
    fflush(stderr);
    while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        buf_addc(value, c);
    if (changed)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    if (value->len == 0)
        return err_set(err, ERR_INVALID, "no value was given for %s", name);
    return buf_status(value, "the value", err);
}

/* NAME=VALUE, NAME=@FILE or NAME alone, which reads the value from standard input, so that it is in no
 * history. */
static enum err_code set_one(struct target *target, const char *argument, bool is_public, struct err *err)
{
    const char *equals = strchr(argument, '=');
    size_t len = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    char name[SECRET_NAME_MAX + 1];
    struct buf value, path, body, answer;
    if (store_secret_name(argument, len, err) != ERR_NONE) /* before anybody types a value */
        return err->code;
    snprintf(name, sizeof name, "%.*s", (int)len, argument);
    const char *from = equals == NULL ? "-" : equals[1] == '@' ? equals + 1 : NULL;
    enum err_code code = ERR_NONE;
    buf_init(&value, (size_t)256 * 1024);
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    if (from != NULL && strcmp(from, "-") == 0 && isatty(STDIN_FILENO))
        code = ask_for_value(name, &value, err);
    else if (from != NULL)
        code = cli_read_data(from, &value, err);
    else
        buf_adds(&value, equals + 1);
    while (from != NULL && value.len > 0 && value.data[value.len - 1] == '\n')
        value.len--;
    if (code == ERR_NONE)
        code = write_body(name, &value, is_public, &body, err);
    path_make(&path, "/variables", name, NULL);
    const struct question question = {.method = "PUT", .path = &path, .body = &body};
    if (code == ERR_NONE)
        code = target_ask(target, &question, &answer, err);
    buf_wipe(&value);
    buf_wipe(&body);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static enum err_code unset_one(struct target *target, const char *name, bool is_public, struct err *err)
{
    struct buf path, answer;
    (void)is_public;
    path_make(&path, "/variables", name, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    const struct question question = {.method = "DELETE", .path = &path};
    enum err_code code = target_ask(target, &question, &answer, err);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int each_argument(const struct cli_args *args,
                         enum err_code (*how)(struct target *target, const char *argument, bool is_public,
                                              struct err *err),
                         const char *done)
{
    struct target target;
    struct err err;
    bool is_public = args->command->options != NULL && cli_flag(args, "--public");
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    for (int i = 0; i < args->count && result == EXIT_DONE; i++) {
        if (how(&target, args->positional[i], is_public, &err) != ERR_NONE)
            result = target_fail(&target, &err);
        else
            cli_note("%s %.*s", done, (int)strcspn(args->positional[i], "="), args->positional[i]);
    }
    target_close(&target);
    return result;
}

static int run_set(const struct cli_args *args)
{
    return each_argument(args, set_one, "set");
}

static const struct cli_option home_options[] = {CLI_HOME_OPTION, {NULL, NULL, NULL, NULL}};

static const struct cli_option set_options[] = {
    {"--public", NULL, NULL, "it is no secret, and may be seen in logs and results"},
    CLI_HOME_OPTION,
    {NULL, NULL, NULL, NULL}};

const struct command cmd_env_set = {
    .name = "env set",
    .arguments = "NAME=VALUE|NAME=@FILE|NAME…",
    .summary = "Seal environment variables into the project's store",
    .help =
        "The value of a NAME alone is asked for, or read from standard input when that is no terminal: it "
        "appears\n"
        "in no process list and no history. Scripts read it with workers.env.get(NAME). The last nine values "
        "before\n"
        "it are kept: workers env versions NAME.\n\n"
        "Examples:\n  workers env set API_TOKEN\n  workers env set API_TOKEN < token.txt\n"
        "  workers env set --public API_URL=https://api.example.com\n"
        "  workers env set PEM=@key.pem\n",
    .options = set_options,
    .min_arguments = 1,
    .max_arguments = 100,
    .remote = true,
    .run = run_set,
};

static void write_kind(const struct json_slice *object, bool plain, struct buf *out)
{
    (void)plain;
    buf_adds(out, object_flag(object, "public") ? "public" : "secret");
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "NAME"}, .member = "name"},
        {.column = {.title = "KIND"}, .write = write_kind},
        {.column = {.title = "VERSION", .align = TABLE_RIGHT}, .member = "version"},
        {.column = {.title = "SET"}, .member = "createdAt", .kind = CELL_TIME},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns,
                                           .empty = "no variables; set one: workers env set NAME=VALUE"};
    return listing_run(args, &listing, "/variables");
}

static const struct cli_option list_options[] = {
    CLI_FORMAT_OPTIONS, CLI_HOME_OPTION, {NULL, NULL, NULL, NULL}};

const struct command cmd_env_list = {
    .name = "env list",
    .arguments = "",
    .summary = "List sealed variables, never their values",
    .help = "Examples:\n  workers env list\n  workers env list --json\n",
    .options = list_options,
    .remote = true,
    .run = run_list,
};

static void write_current(const struct json_slice *object, bool plain, struct buf *out)
{
    (void)plain;
    buf_adds(out, object_flag(object, "current") ? "current" : "");
}

static int run_versions(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "VERSION", .align = TABLE_RIGHT}, .member = "version"},
        {.column = {.title = "SET"}, .member = "createdAt", .kind = CELL_TIME},
        {.column = {.title = ""}, .write = write_current},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns};
    struct buf path;
    path_make(&path, "/variables", args->positional[0], "/versions");
    int result = listing_run(args, &listing, buf_text(&path));
    buf_free(&path);
    return result;
}

const struct command cmd_env_versions = {
    .name = "env versions",
    .arguments = "NAME",
    .summary = "List when a variable was set, never its values",
    .help = "Examples:\n  workers env versions API_TOKEN\n",
    .options = list_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_versions,
};

static int run_restore(const struct cli_args *args)
{
    int64_t version = 0;
    struct buf path, body;
    if (!cli_number(args->positional[1], &version))
        return cli_usage(args, "VERSION must be a whole number, not %s", args->positional[1]);
    path_make(&path, "/variables", args->positional[0], "/restore");
    buf_init(&body, BUF_UNLIMITED);
    buf_addf(&body, "{\"version\":%lld}", (long long)version);
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    int result = cli_ask(args, &question, NULL);
    if (result == EXIT_DONE)
        cli_note("%s is what it was in version %lld", args->positional[0], (long long)version);
    buf_free(&path);
    buf_free(&body);
    return result;
}

const struct command cmd_env_restore = {
    .name = "env restore",
    .arguments = "NAME VERSION",
    .summary = "Set a variable to what it was in an earlier version",
    .help = "Examples:\n  workers env restore API_TOKEN 3\n",
    .options = home_options,
    .min_arguments = 2,
    .max_arguments = 2,
    .remote = true,
    .run = run_restore,
};

static void say_forgotten(const struct buf *answer)
{
    struct json_slice list;
    struct json_scan scan;
    struct err ignored;
    bool more = false;
    if (!json_find(buf_text(answer), answer->len, "forgotten", &list))
        return;
    json_scan_init(&scan, list.text, list.len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE)
        return;
    while (json_scan_element(&scan, &more, &ignored) == ERR_NONE && more) {
        struct buf text;
        buf_init(&text, BUF_UNLIMITED);
        json_string_copy(&scan, &text);
        cli_note("forgotten: %s", buf_text(&text));
        buf_free(&text);
    }
}

static int run_rotate_key(const struct cli_args *args)
{
    struct buf path, body, answer;
    path_make(&path, "/key/rotate", NULL, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_adds(&body, cli_flag(args, "--forget") ? "{\"forget\":true}" : "{}");
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    int result = cli_ask(args, &question, &answer);
    if (result == EXIT_DONE) {
        const struct json_slice object = {buf_text(&answer), answer.len};
        say_forgotten(&answer);
        cli_note("sealed anew with another key: %lld", (long long)object_number(&object, "sealed"));
    }
    buf_free(&path);
    buf_free(&body);
    buf_free(&answer);
    return result;
}

static const struct cli_option rotate_options[] = {
    {"--forget", NULL, NULL, "forget what cannot be opened any more"},
    CLI_HOME_OPTION,
    {NULL, NULL, NULL, NULL}};

const struct command cmd_env_rotate_key = {
    .name = "env rotate-key",
    .arguments = "",
    .summary = "Make another key and seal everything with it",
    .help =
        "Variables, grants of OAuth and the addresses of webhooks are sealed with the key in .workers/key. "
        "After a\n"
        "rotation the key before opens nothing here any more, but still what was copied before. Addresses "
        "of\n"
        "webhooks stay.\n\n"
        "When the key is lost, put it back from a backup. If there is none, --forget makes another one and "
        "forgets\n"
        "what cannot be opened: it says what, so that it can be set again. Rows and states are not "
        "touched.\n\n"
        "Examples:\n  workers env rotate-key\n  workers env rotate-key --forget\n",
    .options = rotate_options,
    .remote = true,
    .run = run_rotate_key,
};

static int run_unset(const struct cli_args *args)
{
    return each_argument(args, unset_one, "removed");
}

const struct command cmd_env_unset = {
    .name = "env unset",
    .arguments = "NAME…",
    .summary = "Remove sealed variables",
    .help = "Examples:\n  workers env unset API_TOKEN\n",
    .options = home_options,
    .min_arguments = 1,
    .max_arguments = 100,
    .remote = true,
    .run = run_unset,
};
