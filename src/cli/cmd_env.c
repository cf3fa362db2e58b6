/* workers env set, list, unset: secrets of the worker, sealed at rest. Must not print a value. */
#include "cli/listing.h"

#include "base/crypto.h"
#include "base/json.h"

#include <string.h>

/* {"value":…}; the caller wipes it. */
static enum err_code write_body(const char *name, const struct buf *value, struct buf *out, struct err *err)
{
    struct err ignored;
    buf_adds(out, "{\"value\":");
    if (json_write_string(out, buf_text(value), value->len, &ignored) != ERR_NONE)
        return err_set(err, ERR_INVALID,
                       "the value of %s is not UTF-8: encode it, as in base64 FILE | workers env set %s",
                       name, name);
    buf_addc(out, '}');
    return buf_status(out, "the value", err);
}

static void wipe(struct buf *buf)
{
    if (buf->data != NULL)
        crypto_wipe(buf->data, buf->len);
    buf_free(buf);
}

/* NAME=VALUE, NAME=@FILE or NAME alone, which reads the value from standard input, so that it is in no
 * history. */
static enum err_code set_one(struct target *target, const char *argument, struct err *err)
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
    if (from != NULL)
        code = cli_read_data(from, &value, err);
    else
        buf_adds(&value, equals + 1);
    while (from != NULL && value.len > 0 && value.data[value.len - 1] == '\n')
        value.len--;
    if (code == ERR_NONE)
        code = write_body(name, &value, &body, err);
    path_make(&path, "/variables", name, NULL);
    const struct question question = {.method = "PUT", .path = &path, .body = &body};
    if (code == ERR_NONE)
        code = target_ask(target, &question, &answer, err);
    wipe(&value);
    wipe(&body);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static enum err_code unset_one(struct target *target, const char *name, struct err *err)
{
    struct buf path, answer;
    path_make(&path, "/variables", name, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    const struct question question = {.method = "DELETE", .path = &path};
    enum err_code code = target_ask(target, &question, &answer, err);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int each_argument(const struct cli_args *args,
                         enum err_code (*how)(struct target *target, const char *argument, struct err *err),
                         const char *done)
{
    struct target target;
    struct err err;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    for (int i = 0; i < args->count && result == EXIT_DONE; i++) {
        if (how(&target, args->positional[i], &err) != ERR_NONE)
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

const struct command cmd_env_set = {
    .name = "env set",
    .arguments = "NAME=VALUE|NAME=@FILE|NAME…",
    .summary = "Seal environment variables into the project's store",
    .help = "A NAME without a value is read from standard input, so that the value appears in no process "
            "list and no\n"
            "history. Scripts read it with workers.env.get(NAME).\n\n"
            "Examples:\n  workers env set API_URL=https://api.example.com\n  workers env set API_TOKEN < "
            "token.txt\n"
            "  workers env set PEM=@key.pem\n",
    .min_arguments = 1,
    .max_arguments = 100,
    .remote = true,
    .run = run_set,
};

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "NAME"}, .member = "name"},
        {.column = {.title = "SET"}, .member = "createdAt", .kind = CELL_TIME},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns,
                                           .empty = "no variables; set one: workers env set NAME=VALUE"};
    return listing_run(args, &listing, "/variables");
}

static const struct cli_option list_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_env_list = {
    .name = "env list",
    .arguments = "",
    .summary = "List sealed variables, never their values",
    .help = "Examples:\n  workers env list\n  workers env list --json\n",
    .options = list_options,
    .remote = true,
    .run = run_list,
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
    .min_arguments = 1,
    .max_arguments = 100,
    .remote = true,
    .run = run_unset,
};
