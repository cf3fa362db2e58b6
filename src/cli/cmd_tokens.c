/* workers tokens …: who may use the API. */
#include "cli/listing.h"

#include "base/json.h"

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "TOKEN"}, .member = "name"},
        {.column = {.title = "SCOPE"}, .member = "scope"},
        {.column = {.title = "MADE"}, .member = "createdAt", .kind = CELL_TIME},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "no tokens"};
    return listing_run(args, &listing, "/tokens");
}

static int run_make(const struct cli_args *args)
{
    struct err err;
    enum token_scope scope = TOKEN_READ;
    struct buf path, body, answer, token;
    const char *name = args->positional[0], *given = cli_value(args, "--scope");
    if (given != NULL && !token_scope_parse(given, &scope))
        return cli_usage(args, "--scope must be read, run or admin");
    if (token_name_check(name, &err) != ERR_NONE)
        return cli_fail(&err);
    path_make(&path, "/tokens", NULL, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_init(&token, BUF_UNLIMITED);
    buf_adds(&body, "{\"name\":");
    json_write_text(&body, name);
    buf_addf(&body, ",\"scope\":\"%s\"}", token_scope_name(scope));
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    int result = cli_ask(args, &question, &answer);
    if (result == EXIT_DONE) {
        const struct json_slice object = {buf_text(&answer), answer.len};
        object_add(&object, "token", &token);
        printf("%s\n", buf_text(&token));
        cli_note("keep it: it is not shown again; a server that runs knows it within a second or two");
    }
    buf_free(&path);
    buf_free(&body);
    buf_free(&answer);
    buf_free(&token);
    return result;
}

static int run_revoke(const struct cli_args *args)
{
    struct buf path;
    path_make(&path, "/tokens", args->positional[0], NULL);
    const struct question question = {.method = "DELETE", .path = &path};
    int result = cli_ask(args, &question, NULL);
    if (result == EXIT_DONE)
        cli_note("token %s is of no use any more", args->positional[0]);
    buf_free(&path);
    return result;
}

static const struct cli_option list_options[] = {
    CLI_FORMAT_OPTIONS, CLI_HOME_OPTION, {NULL, NULL, NULL, NULL}};

const struct command cmd_tokens_list = {
    .name = "tokens list",
    .arguments = "",
    .summary = "List the tokens of the HTTP API",
    .help = "Only names and scopes: nobody can read a token again.\n\nExamples:\n  workers tokens list\n",
    .options = list_options,
    .remote = true,
    .run = run_list,
};

static const struct cli_option make_options[] = {
    {"--scope", NULL, "read|run|admin", "read unless given; each may do what those before it may"},
    CLI_HOME_OPTION,
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
    .remote = true,
    .run = run_make,
};

static const struct cli_option revoke_options[] = {CLI_HOME_OPTION, {NULL, NULL, NULL, NULL}};

const struct command cmd_tokens_revoke = {
    .name = "tokens revoke",
    .arguments = "NAME",
    .summary = "Make a token useless, at once",
    .help = "Examples:\n  workers tokens revoke ci\n",
    .options = revoke_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_revoke,
};
