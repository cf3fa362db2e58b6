/* workers view list, view open, view build: pages over the worker's rows. */
#include "cli/listing.h"
#include "cli/view_build.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <string.h>

/* ---- list ---- */

static void write_sources(const struct json_slice *view, bool plain, struct buf *out)
{
    struct json_slice sources, ignored;
    struct json_scan scan;
    struct err err;
    bool more = false;
    (void)plain;
    if (!json_find(view->text, view->len, "dataSources", &sources))
        return;
    json_scan_init(&scan, sources.text, sources.len);
    enum err_code code = json_scan_value(&scan, &err);
    for (int i = 0; code == ERR_NONE && (code = json_scan_member(&scan, &more, &err)) == ERR_NONE && more;
         i++) {
        buf_adds(out, i > 0 ? ", " : "");
        json_string_copy(&scan, out);
        if ((code = json_scan_value(&scan, &err)) == ERR_NONE)
            code = json_scan_skip(&scan, &ignored, &err);
    }
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "VIEW"}, .member = "key"},
        {.column = {.title = "NAME"}, .member = "name"},
        {.column = {.title = "TYPE"}, .member = "type"},
        {.column = {.title = "READS"}, .write = write_sources},
        {.column = {.title = "ADDRESS"}, .member = "url"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "the worker declares no views"};
    return listing_run(args, &listing, "/views");
}

static const struct cli_option list_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_view_list = {
    .name = "view list",
    .arguments = "",
    .summary = "List views with their addresses",
    .help = "Whoever opens an address is asked for a token; workers view open prints one that has it.\n\n"
            "Examples:\n  workers view list\n",
    .options = list_options,
    .remote = true,
    .run = run_list,
};

/* ---- open ---- */

/* A token for reading, named after the view; the one before of that name is of no use any more. */
static enum err_code make_token(struct target *target, const char *name, struct buf *token, struct err *err)
{
    struct buf path, body, answer;
    struct err ignored;
    path_make(&path, "/tokens", name, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    const struct question revoke = {.method = "DELETE", .path = &path};
    enum err_code code = target_ask(target, &revoke, &answer, &ignored);
    if (code == ERR_NOT_FOUND)
        code = ERR_NONE;
    else if (code != ERR_NONE)
        *err = ignored;
    buf_free(&path);
    path_make(&path, "/tokens", NULL, NULL);
    buf_adds(&body, "{\"scope\":\"read\",\"name\":");
    json_write_text(&body, name);
    buf_addc(&body, '}');
    answer.len = 0;
    const struct question make = {.method = "POST", .path = &path, .body = &body};
    if (code == ERR_NONE)
        code = target_ask(target, &make, &answer, err);
    const struct json_slice object = {buf_text(&answer), answer.len};
    if (code == ERR_NONE)
        object_add(&object, "token", token);
    buf_free(&path);
    buf_free(&body);
    buf_free(&answer);
    return code;
}

static enum err_code write_address(struct target *target, const char *key, struct buf *out, struct err *err)
{
    char name[128];
    struct buf path, answer;
    path_make(&path, "/views", key, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    snprintf(name, sizeof name, "view %s", key);
    size_t len = strlen(name);
    if (len > TOKEN_NAME_MAX) {
        for (len = TOKEN_NAME_MAX; ((unsigned char)name[len] & 0xc0) == 0x80; len--)
            ; /* no character is cut in two */
        name[len] = '\0';
    }
    enum err_code code = target_get(target, &path, &answer, err);
    const struct json_slice view = {buf_text(&answer), answer.len};
    if (code == ERR_NONE)
        object_add(&view, "url", out);
    if (code == ERR_NONE && strncmp(buf_text(out), "unix:", 5) == 0)
        code = err_set(err, ERR_INVALID,
                       "a browser cannot open %s: let the server listen at a port (workers "
                       "serve --listen 127.0.0.1:8321), or begin with --url",
                       buf_text(out));
    buf_adds(out, "#token=");
    if (code == ERR_NONE)
        code = make_token(target, name, out, err);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int run_open(const struct cli_args *args)
{
    struct target target;
    struct buf address;
    struct err err;
    char url[BEACON_URL_MAX];
    if (args->positional[0][0] == '\0')
        return cli_usage(args, "KEY is empty");
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&address, BUF_UNLIMITED);
    enum err_code code = write_address(&target, args->positional[0], &address, &err);
    if (code == ERR_NONE)
        code = buf_status(&address, "the address", &err);
    if (code == ERR_NONE) {
        printf("%s\n", buf_text(&address));
        if (target.remote == NULL && beacon_read(target.project.folder, url, &err) != ERR_NONE)
            cli_note("no server runs for this project: workers serve");
    } else {
        result = target_fail(&target, &err);
    }
    buf_free(&address);
    target_close(&target);
    return result;
}

const struct command cmd_view_open = {
    .name = "view open",
    .arguments = "KEY",
    .summary = "Print the address of a view, with a token that opens it",
    .help = "The token reads what the worker has; it is called \"view KEY\", and each time it is made anew "
            "the one "
            "before\nis of no use any more (workers tokens list). It stands behind the #, which a browser "
            "keeps to "
            "itself.\n\n"
            "Examples:\n  workers view open board\n  xdg-open \"$(workers view open board)\"\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_open,
};

/* ---- build ---- */

static enum err_code build_views(const struct project *project, const struct worker *worker, const char *key,
                                 struct err *err)
{
    enum err_code code = ERR_NONE;
    if (key != NULL && worker_view(worker, key) == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no view \"%s\": workers view list shows them", key);
    for (size_t i = 0; i < worker->view_count && code == ERR_NONE; i++)
        if (key == NULL || strcmp(worker->views[i].key, key) == 0)
            code = view_build(project->folder, &worker->views[i], NULL, err);
    return code;
}

static int run_build(const struct cli_args *args)
{
    struct project project;
    struct runtime *runtime = NULL;
    struct script_error error;
    struct err err;
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    int result = EXIT_DONE;
    if (cli_runtime_open(&project, NULL, NULL, NULL, &runtime, &error) != ERR_NONE)
        result = cli_fail_script(&error);
    else if (build_views(&project, runtime->worker, args->count > 0 ? args->positional[0] : NULL, &err) !=
             ERR_NONE)
        result = cli_fail(&err);
    runtime_free(runtime);
    script_error_free(&error);
    project_free(&project);
    return result;
}

const struct command cmd_view_build = {
    .name = "view build",
    .arguments = "[KEY]",
    .summary = "Build the views that have a command",
    .help = "Runs the command of the view, or of each, in its folder, and looks whether its output is there. "
            "workers "
            "deploy\ndoes the same before it packs the project.\n\n"
            "Examples:\n  workers view build\n  workers view build board\n",
    .max_arguments = 1,
    .run = run_build,
};
