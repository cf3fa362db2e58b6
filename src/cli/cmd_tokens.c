/* workers tokens …: who may use the API. */
#include "cli/cli.h"

#include "base/iso8601.h"
#include "base/json.h"

#include <string.h>

struct listing {
    const struct cli_args *args;
    struct table_printer *table;
    struct buf json;
};

static enum err_code list_one(void *ctx, const struct token_record *record)
{
    struct listing *listing = ctx;
    char time[ISO_UTC_SIZE];
    table_cells(listing->table, record->name);
    table_cells(listing->table, token_scope_name(record->scope));
    cli_time_cell(listing->table, cli_format(listing->args), record->created_ms);
    buf_adds(&listing->json, listing->json.len > 1 ? ",{\"name\":" : "{\"name\":");
    json_write_text(&listing->json, record->name);
    buf_addf(&listing->json, ",\"scope\":\"%s\",\"createdAt\":\"%s\"}", token_scope_name(record->scope),
             iso_format_utc(record->created_ms, time));
    return ERR_NONE;
}

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {{.title = "TOKEN"}, {.title = "SCOPE"}, {.title = "MADE"}};
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct table_printer table;
    int result = cli_open(true, &project, &store);
    if (result != EXIT_DONE)
        return result;
    table_init(&table, columns, 3);
    struct listing listing = {.args = args, .table = &table};
    buf_init(&listing.json, BUF_UNLIMITED);
    buf_addc(&listing.json, '[');
    if (store_tokens_each(store, list_one, &listing, &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        result = cli_print(cli_format(args), &table, &listing.json, "no tokens");
    table_free(&table);
    buf_free(&listing.json);
    store_close(store);
    project_free(&project);
    return result;
}

static int run_make(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    enum token_scope scope = TOKEN_READ;
    char token[TOKEN_SIZE];
    const char *name = args->positional[0], *given = cli_value(args, "--scope");
    if (given != NULL && !token_scope_parse(given, &scope))
        return cli_usage(args, "--scope must be read, run or admin");
    int result = cli_open(true, &project, &store);
    if (result != EXIT_DONE)
        return result;
    if (store_token_make(store, name, scope, token, &err) != ERR_NONE) {
        result = cli_fail(&err);
    } else {
        printf("%s\n", token);
        cli_note("keep it: it is not shown again; a server that runs knows it within a second or two");
    }
    store_close(store);
    project_free(&project);
    return result;
}

static int run_revoke(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    bool existed = false;
    int result = cli_open(true, &project, &store);
    if (result != EXIT_DONE)
        return result;
    enum err_code code = store_token_revoke(store, args->positional[0], &existed, &err);
    if (code == ERR_NONE && !existed)
        code = err_set(&err, ERR_NOT_FOUND, "there is no token \"%s\": workers tokens list shows them",
                       args->positional[0]);
    if (code != ERR_NONE)
        result = cli_fail(&err);
    else
        cli_note("token %s is of no use any more", args->positional[0]);
    store_close(store);
    project_free(&project);
    return result;
}

static const struct cli_option list_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_tokens_list = {
    .name = "tokens list",
    .arguments = "",
    .summary = "List the tokens of the HTTP API",
    .help = "Only names and scopes: nobody can read a token again.\n\nExamples:\n  workers tokens list\n",
    .options = list_options,
    .run = run_list,
};

static const struct cli_option make_options[] = {
    {"--scope", NULL, "SCOPE", "read (unless given), run or admin; each may do what those before it may"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_tokens_make = {
    .name = "tokens make",
    .arguments = "NAME",
    .summary = "Make a token for the HTTP API, and print it",
    .help = "Examples:\n  workers tokens make dashboard\n  workers tokens make ci --scope run\n",
    .options = make_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_make,
};

const struct command cmd_tokens_revoke = {
    .name = "tokens revoke",
    .arguments = "NAME",
    .summary = "Make a token useless, at once",
    .help = "Examples:\n  workers tokens revoke ci\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_revoke,
};
