/* workers env set, list, unset: secrets of the project, sealed at rest. Must not print a value. */
#include "cli/cli.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "base/table.h"

#include <string.h>

/* NAME=VALUE, NAME=@FILE or NAME alone, which reads the value from standard input, so that it is in no
 * history. */
static enum err_code set_one(struct store *store, const char *argument, struct err *err)
{
    const char *equals = strchr(argument, '=');
    size_t len = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    char name[SECRET_NAME_MAX + 1];
    struct buf value;
    if (store_secret_name(argument, len, err) != ERR_NONE) /* before anybody types a value */
        return err->code;
    snprintf(name, sizeof name, "%.*s", (int)len, argument);
    const char *source = equals == NULL ? "-" : equals[1] == '@' ? equals + 1 : NULL;
    enum err_code code = ERR_NONE;
    buf_init(&value, (size_t)256 * 1024);
    if (source != NULL)
        code = cli_read_data(source, &value, err);
    else
        buf_adds(&value, equals + 1);
    while (source != NULL && value.len > 0 && value.data[value.len - 1] == '\n')
        value.len--;
    if (code == ERR_NONE)
        code = store_secret_set(store, name, buf_text(&value), value.len, err);
    buf_free(&value);
    return code;
}

static int run_set(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    int result = cli_open(true, &project, &store);
    for (int i = 0; i < args->count && result == EXIT_DONE; i++) {
        if (set_one(store, args->positional[i], &err) != ERR_NONE)
            result = cli_fail(&err);
        else
            cli_note("set %.*s", (int)strcspn(args->positional[i], "="), args->positional[i]);
    }
    if (store != NULL) {
        store_close(store);
        project_free(&project);
    }
    return result;
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
    .run = run_set,
};

struct listing {
    enum cli_format format;
    struct table_printer *table;
    struct buf json;
};

static enum err_code list_one(void *ctx, const char *name, int64_t created_ms, const char *value, size_t len)
{
    struct listing *listing = ctx;
    char created[ISO_UTC_SIZE];
    (void)value;
    (void)len;
    iso_format_utc(created_ms, created);
    if (listing->format == FORMAT_JSON) {
        buf_adds(&listing->json, listing->json.len > 1 ? ",{\"name\":" : "{\"name\":");
        json_write_text(&listing->json, name);
        buf_addf(&listing->json, ",\"createdAt\":\"%s\"}", created);
        return ERR_NONE;
    }
    table_cells(listing->table, name);
    cli_time_cell(listing->table, listing->format, created_ms);
    return ERR_NONE;
}

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {{.title = "NAME"}, {.title = "SET"}};
    struct project project;
    struct store *store = NULL;
    struct err err;
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    struct listing listing = {
        .format = cli_format(args),
    };
    struct table_printer table;
    table_init(&table, columns, 2);
    listing.table = &table;
    buf_init(&listing.json, BUF_UNLIMITED);
    buf_addc(&listing.json, '[');
    if (store_secrets_each(store, false, list_one, &listing, &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        result = cli_print(listing.format, &table, &listing.json,
                           "no variables; set one: workers env set NAME=VALUE");
    table_free(&table);
    buf_free(&listing.json);
    store_close(store);
    project_free(&project);
    return result;
}

static const struct cli_option list_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_env_list = {
    .name = "env list",
    .arguments = "",
    .summary = "List sealed variables, never their values",
    .help = "Examples:\n  workers env list\n  workers env list --json\n",
    .options = list_options,
    .run = run_list,
};

static int run_unset(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    int result = cli_open(false, &project, &store);
    for (int i = 0; i < args->count && result == EXIT_DONE; i++) {
        bool existed = false;
        if (store_secret_unset(store, args->positional[i], &existed, &err) != ERR_NONE) {
            result = cli_fail(&err);
        } else if (!existed) {
            err_set(&err, ERR_NOT_FOUND, "there is no variable %s: workers env list shows them",
                    args->positional[i]);
            result = cli_fail(&err);
        } else {
            cli_note("removed %s", args->positional[i]);
        }
    }
    if (store != NULL) {
        store_close(store);
        project_free(&project);
    }
    return result;
}

const struct command cmd_env_unset = {
    .name = "env unset",
    .arguments = "NAME…",
    .summary = "Remove sealed variables",
    .help = "Examples:\n  workers env unset API_TOKEN\n",
    .min_arguments = 1,
    .max_arguments = 100,
    .run = run_unset,
};
