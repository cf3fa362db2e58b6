/* workers create, list, get, rename, delete: the workers of the home of this user, or of a server. */
#include "cli/listing.h"

#include "base/mem.h"
#include "engine/home.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

static const struct cli_option list_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

static enum err_code ask(struct target *target, const char *method, const char *name, const struct buf *body,
                         struct buf *answer, struct err *err)
{
    struct buf path;
    path_make(&path, "/workers", name, NULL);
    enum err_code code = buf_status(&path, "the path", err);
    if (code == ERR_NONE)
        code = target_ask_server(target, method, buf_text(&path), body, answer, err);
    buf_free(&path);
    return code;
}

static void write_name(const char *name, struct buf *body)
{
    buf_adds(body, "{\"name\":");
    json_write_text(body, name);
    buf_addc(body, '}');
}

/* Opens the target of the first argument, does it, and says what was done. */
static int change(const struct cli_args *args,
                  enum err_code (*here)(struct target *target, const struct cli_args *args, struct buf *said,
                                        struct err *err),
                  enum err_code (*there)(struct target *target, const struct cli_args *args, struct buf *said,
                                         struct err *err))
{
    struct target target;
    struct buf said;
    struct err err;
    int result = target_open_deployed(args, args->positional[0], &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&said, BUF_UNLIMITED);
    if ((target.remote == NULL ? here : there)(&target, args, &said, &err) != ERR_NONE)
        result = target_fail(&target, &err);
    else
        cli_note("%s", buf_text(&said));
    buf_free(&said);
    target_close(&target);
    return result;
}

/* ---- create ---- */

static enum err_code create_here(struct target *target, const struct cli_args *args, struct buf *said,
                                 struct err *err)
{
    (void)args;
    buf_addf(said, "made %s: workers deploy puts code into it", target->name);
    return home_create(target->home, target->name, err);
}

static enum err_code create_there(struct target *target, const struct cli_args *args, struct buf *said,
                                  struct err *err)
{
    struct buf body, answer;
    (void)args;
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    write_name(target->name, &body);
    buf_addf(said, "made %s: workers deploy puts code into it", target->name);
    enum err_code code = ask(target, "POST", NULL, &body, &answer, err);
    buf_free(&body);
    buf_free(&answer);
    return code;
}

static int run_create(const struct cli_args *args)
{
    return change(args, create_here, create_there);
}

const struct command cmd_create = {
    .name = "create",
    .arguments = "NAME",
    .summary = "Make a worker, without code, to deploy to",
    .help = "Its variables can be set before its code comes: workers env push --server URL --worker NAME.\n\n"
            "Examples:\n  workers create github-issues --server https://workers.example.com\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_create,
};

/* ---- list ---- */

static enum err_code add_worker(void *ctx, const char *name, const char *folder)
{
    struct buf *out = ctx;
    struct store *store = NULL;
    struct err ignored;
    char path[HOME_PATH_MAX + 16];
    int64_t version = 0;
    snprintf(path, sizeof path, "%s/.workers", folder);
    if (store_open(path, false, &store, &ignored) == ERR_NONE &&
        store_version_active(store, &version, &ignored) != ERR_NONE)
        version = 0;
    store_close(store);
    buf_adds(out, out->len > 1 ? "," : "");
    buf_adds(out, "{\"name\":");
    json_write_text(out, name);
    buf_addf(out, ",\"version\":%lld}", (long long)version);
    return ERR_NONE;
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "NAME"}, .member = "name"},
        {.column = {.title = "VERSION", .align = TABLE_RIGHT}, .member = "version"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns,
                                           .empty = "no workers; workers deploy makes one from a project"};
    struct target target;
    struct buf answer;
    struct err err;
    int result = target_open_deployed(args, "any", &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = ERR_NONE;
    if (target.remote != NULL) {
        code = ask(&target, "GET", NULL, NULL, &answer, &err);
    } else {
        buf_addc(&answer, '[');
        code = home_each(target.home, add_worker, &answer, &err);
        buf_addc(&answer, ']');
    }
    result =
        code == ERR_NONE ? listing_print(&listing, cli_format(args), &answer) : target_fail(&target, &err);
    buf_free(&answer);
    target_close(&target);
    return result;
}

const struct command cmd_list = {
    .name = "list",
    .arguments = "",
    .summary = "List the workers of the home, or of a server",
    .help = "Examples:\n  workers list\n  workers list --server https://workers.example.com\n",
    .options = list_options,
    .remote = true,
    .run = run_list,
};

/* ---- get ---- */

static int run_get(const struct cli_args *args)
{
    struct target target;
    struct buf path, answer;
    struct err err;
    char folder[HOME_PATH_MAX];
    int result = target_open_deployed(args, args->positional[0], &target);
    if (result != EXIT_DONE)
        return result;
    path_make(&path, "", NULL, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = ERR_NONE;
    if (target.remote == NULL) {
        code = home_find(target.home, target.name, folder, &err);
        project_free(&target.project);
        if (code == ERR_NONE)
            code = project_open(NULL, folder, &target.project, &err);
    }
    if (code == ERR_NONE)
        code = target_get(&target, &path, &answer, &err);
    result = code == ERR_NONE ? cli_print_json(buf_text(&answer), answer.len) : target_fail(&target, &err);
    buf_free(&path);
    buf_free(&answer);
    target_close(&target);
    return result;
}

const struct command cmd_get = {
    .name = "get",
    .arguments = "NAME",
    .summary = "Show a worker of the home, or of a server",
    .help = "Examples:\n  workers get github-issues --server https://workers.example.com\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_get,
};

/* ---- rename ---- */

static enum err_code rename_here(struct target *target, const struct cli_args *args, struct buf *said,
                                 struct err *err)
{
    buf_addf(said, "%s is %s now; addresses of its webhooks have the new name", target->name,
             args->positional[1]);
    return home_rename(target->home, target->name, args->positional[1], err);
}

static enum err_code rename_there(struct target *target, const struct cli_args *args, struct buf *said,
                                  struct err *err)
{
    struct buf body, answer;
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    write_name(args->positional[1], &body);
    buf_addf(said, "%s is %s now; addresses of its webhooks have the new name", target->name,
             args->positional[1]);
    enum err_code code = ask(target, "PATCH", target->name, &body, &answer, err);
    buf_free(&body);
    buf_free(&answer);
    return code;
}

static int run_rename(const struct cli_args *args)
{
    return change(args, rename_here, rename_there);
}

const struct command cmd_rename = {
    .name = "rename",
    .arguments = "NAME NEW-NAME",
    .summary = "Give a worker another name",
    .help = "Rows, states, variables and versions stay. The addresses of webhooks have the name in them: "
            "tell their "
            "senders.\n\n"
            "Examples:\n  workers rename github-issues issues --server https://workers.example.com\n",
    .min_arguments = 2,
    .max_arguments = 2,
    .remote = true,
    .run = run_rename,
};

/* ---- delete ---- */

static enum err_code delete_here(struct target *target, const struct cli_args *args, struct buf *said,
                                 struct err *err)
{
    char moved_to[HOME_PATH_MAX];
    (void)args;
    enum err_code code = home_delete(target->home, target->name, moved_to, err);
    if (code == ERR_NONE)
        buf_addf(said, "%s is gone; its folder is now %s", target->name, moved_to);
    return code;
}

static enum err_code delete_there(struct target *target, const struct cli_args *args, struct buf *said,
                                  struct err *err)
{
    struct buf answer;
    (void)args;
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = ask(target, "DELETE", target->name, NULL, &answer, err);
    const struct json_slice object = {buf_text(&answer), answer.len};
    if (code == ERR_NONE) {
        buf_addf(said, "%s is gone; its folder is, on the server, ", target->name);
        object_add(&object, "movedTo", said);
    }
    buf_free(&answer);
    return code;
}

static int run_delete(const struct cli_args *args)
{
    char question[256];
    snprintf(question, sizeof question, "Take %s away, with its rows, states and variables?",
             args->positional[0]);
    if (!cli_flag(args, "--yes") && !cli_confirm(question)) {
        cli_note("nothing was changed; with --yes it is");
        return EXIT_FAILED_WORK;
    }
    return change(args, delete_here, delete_there);
}

static const struct cli_option delete_options[] = {{"--yes", "-y", NULL, "without asking"},
                                                   {NULL, NULL, NULL, NULL}};

const struct command cmd_delete = {
    .name = "delete",
    .arguments = "NAME",
    .summary = "Take a worker away",
    .help = "Its folder, with its rows, states and variables, is moved to .deleted in the home, where "
            "somebody can put "
            "it\n"
            "back or remove it.\n\n"
            "Examples:\n  workers delete github-issues --server https://workers.example.com\n",
    .options = delete_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_delete,
};
