/* workers deploy, versions, rollback: the code of a worker in the home of this user, or of a server. */
#include "cli/files.h"
#include "cli/listing.h"
#include "cli/view_build.h"

#include "base/mem.h"
#include "engine/deploy.h"
#include "engine/home.h"
#include "worker/pack.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPLOY_MS ((uint64_t)150000)

/* ---- what changes ---- */

static void print_member(const struct json_slice *object, const char *name)
{
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    object_add(object, name, &text);
    cli_write(stdout, buf_text(&text), text.len);
    buf_free(&text);
}

static void print_change(const struct json_slice *item)
{
    struct buf change, kind;
    buf_init(&change, 32);
    buf_init(&kind, 64);
    object_add(item, "change", &change);
    object_add(item, "kind", &kind);
    const char *mark = strcmp(buf_text(&change), "added") == 0     ? "+"
                       : strcmp(buf_text(&change), "removed") == 0 ? "-"
                                                                   : "~";
    printf("  %s %-10s ", mark, buf_text(&kind));
    print_member(item, object_has(item, "key") ? "key" : "value");
    printf("\n");
    buf_free(&change);
    buf_free(&kind);
}

static void print_schedule(const struct json_slice *item)
{
    printf("  ~ schedule   ");
    print_member(item, "key");
    printf(": ");
    print_member(item, "before");
    printf(" -> ");
    print_member(item, "after");
    printf("\n");
}

static void print_table(const struct json_slice *item)
{
    struct json_scan scan;
    struct err ignored;
    struct buf text;
    json_scan_init(&scan, item->text, item->len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_STRING)
        return;
    buf_init(&text, BUF_UNLIMITED);
    json_string_copy(&scan, &text);
    printf("  * ");
    cli_write(stdout, buf_text(&text), text.len);
    printf("\n");
    buf_free(&text);
}

static int print_each(const struct json_slice *answer, const char *name,
                      void (*print)(const struct json_slice *item))
{
    struct json_slice list, item;
    struct json_scan scan;
    struct err ignored;
    bool more = false;
    int count = 0;
    if (!json_find(answer->text, answer->len, name, &list))
        return 0;
    json_scan_init(&scan, list.text, list.len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE)
        return 0;
    while (json_scan_element(&scan, &more, &ignored) == ERR_NONE && more &&
           json_scan_skip(&scan, &item, &ignored) == ERR_NONE) {
        print(&item);
        count++;
    }
    return count;
}

static int show(const struct cli_args *args, const char *name, const struct buf *answer)
{
    const struct json_slice object = {buf_text(answer), answer->len};
    struct buf status;
    if (cli_flag(args, "--json"))
        return cli_print_json(buf_text(answer), answer->len);
    buf_init(&status, 32);
    object_add(&object, "status", &status);
    long long version = (long long)object_number(&object, "version"),
              from = (long long)object_number(&object, "from");
    if (strcmp(buf_text(&status), "unchanged") == 0) {
        cli_note("%s: version %lld is this one already", name, version);
    } else {
        int count = print_each(&object, "changes", print_change);
        count += print_each(&object, "schedules", print_schedule);
        count += print_each(&object, "schema", print_table);
        count += print_each(&object, "permissions", print_change);
        fflush(stdout);
        if (count == 0)
            cli_note("only code changes");
        if (strcmp(buf_text(&status), "planned") == 0)
            cli_note("%s: nothing was changed; without --plan this is deployed", name);
        else
            cli_note("%s: version %lld is active, before it was %lld", name, version, from);
    }
    buf_free(&status);
    return EXIT_DONE;
}

/* ---- deploy ---- */

/* For a worker that is not there yet, and is not to be made: all of it is new. In the home, whose variables
 * it would have, or in a place of its own. */
static enum err_code plan_elsewhere(const struct target *target, const struct buf *pack, struct buf *answer,
                                    struct err *err)
{
    char home[HOME_PATH_MAX], folder[HOME_PATH_MAX + 16];
    struct stat status;
    bool own = target->remote != NULL || stat(target->home, &status) != 0;
    enum err_code code = own ? files_make_temporary("workers-plan", home, sizeof home, err) : ERR_NONE;
    if (code != ERR_NONE)
        return code;
    snprintf(folder, sizeof folder, "%s/.new-XXXXXX", own ? home : target->home);
    code = mkdtemp(folder) != NULL ? ERR_NONE
                                   : err_set(err, ERR_IO, "cannot make %s: %s", folder, strerror(errno));
    const struct deploy deploy = {
        .folder = folder, .pack = buf_text(pack), .pack_len = pack->len, .plan = true};
    cli_note("there is no worker %s yet: it would be made", target->name);
    if (code == ERR_NONE)
        code = deploy_apart(&deploy, answer, err);
    pack_remove(own ? home : folder);
    return code;
}

static enum err_code exists(struct target *target, bool *out, struct err *err)
{
    char folder[HOME_PATH_MAX];
    *out = true;
    if (target->remote == NULL) {
        enum err_code code = home_find(target->home, target->name, folder, err);
        *out = code == ERR_NONE;
        return code == ERR_NOT_FOUND ? ERR_NONE : code;
    }
    struct buf path, answer;
    path_make(&path, "/versions", NULL, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = target_get(target, &path, &answer, err);
    *out = code == ERR_NONE;
    buf_free(&path);
    buf_free(&answer);
    return code == ERR_NOT_FOUND ? ERR_NONE : code;
}

static enum err_code make_worker(struct target *target, struct err *err)
{
    struct buf body, answer;
    cli_note("making the worker %s", target->name);
    if (target->remote == NULL)
        return home_create(target->home, target->name, err);
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_adds(&body, "{\"name\":");
    json_write_text(&body, target->name);
    buf_addc(&body, '}');
    enum err_code code = target_ask_server(target, "POST", "/workers", &body, &answer, err);
    buf_free(&body);
    buf_free(&answer);
    return code;
}

static enum err_code send_pack(struct target *target, const struct buf *pack, bool plan, const char *note,
                               struct buf *answer, struct err *err)
{
    struct buf path, body;
    path_make(&path, "/versions", NULL, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_addf(&body, "{\"plan\":%s,\"note\":", plan ? "true" : "false");
    json_write_text(&body, note != NULL ? note : "");
    buf_adds(&body, ",\"pack\":");
    buf_add(&body, buf_text(pack), pack->len);
    buf_addc(&body, '}');
    const struct question question = {
        .method = "POST", .path = &path, .body = &body, .timeout_ms = DEPLOY_MS};
    enum err_code code = target_ask(target, &question, answer, err);
    buf_free(&path);
    buf_free(&body);
    return code;
}

static int deploy(const struct cli_args *args, struct target *target, const struct buf *pack)
{
    struct buf answer;
    struct err err;
    bool there = false, plan = cli_flag(args, "--plan");
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = exists(target, &there, &err);
    if (code == ERR_NONE && !there && plan) {
        code = plan_elsewhere(target, pack, &answer, &err);
    } else {
        if (code == ERR_NONE && !there)
            code = make_worker(target, &err);
        if (code == ERR_NONE)
            code = send_pack(target, pack, plan, cli_value(args, "--note"), &answer, &err);
    }
    int result = code == ERR_NONE ? show(args, target->name, &answer) : target_fail(target, &err);
    buf_free(&answer);
    return result;
}

/* The folders of views: of those that were built, NULL at their end, and of the others. */
struct built {
    const char **folders, **others;
    size_t count, other_count;
};

static void free_built(struct built *built)
{
    for (size_t i = 0; i < built->count; i++)
        mem_free((char *)(uintptr_t)built->folders[i]);
    for (size_t i = 0; i < built->other_count; i++)
        mem_free((char *)(uintptr_t)built->others[i]);
    mem_free((void *)(uintptr_t)built->folders);
    mem_free((void *)(uintptr_t)built->others);
}

static void drop_log(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                     size_t len)
{
    (void)ctx, (void)key, (void)run_id, (void)level, (void)text, (void)len;
}

/* Links are not packed, so a view behind one would be missing where it goes. */
static enum err_code refuse_link(const struct project *project, const struct view *view, const char *folder,
                                 struct err *err)
{
    char place[PATH_MAX], real[PATH_MAX], whole[2 * PATH_MAX];
    snprintf(whole, sizeof whole, "%s/%s", project->folder, folder);
    if (realpath(project->folder, place) == NULL || realpath(whole, real) == NULL)
        return err_set(err, ERR_IO, "cannot read %s: %s", whole, strerror(errno));
    size_t len = strlen(place);
    if (strncmp(real, place, len) == 0 && real[len] == '/' && strcmp(real + len + 1, folder) == 0)
        return ERR_NONE;
    return err_set(err, ERR_INVALID,
                   "view \"%s\": %s leads through a link, and links are not packed: make it "
                   "a folder of the project",
                   view->key, folder);
}

/* A script that cannot be loaded here has no views: what is wrong with it, the place that it goes to says. */
static enum err_code build_views(const struct project *project, struct built *built, struct err *err)
{
    struct runtime *runtime = NULL;
    struct script_error error;
    enum err_code code = ERR_NONE;
    script_error_init(&error);
    if (cli_runtime_open(project, NULL, drop_log, NULL, &runtime, &error) == ERR_NONE) {
        const struct worker *worker = runtime->worker;
        built->folders = mem_need((worker->view_count + 1) * sizeof *built->folders);
        built->others = mem_need((worker->view_count + 1) * sizeof *built->others);
        for (size_t i = 0; i < worker->view_count && code == ERR_NONE; i++) {
            char folder[512];
            view_folder(&worker->views[i], folder, sizeof folder);
            code = view_build(project->folder, &worker->views[i], NULL, err);
            if (code == ERR_NONE)
                code = refuse_link(project, &worker->views[i], folder, err);
            if (code == ERR_NONE && worker->views[i].is_project)
                built->folders[built->count++] = mem_need_str(folder);
            else if (code == ERR_NONE)
                built->others[built->other_count++] = mem_need_str(folder);
        }
    } else {
        cli_note("no view was built: the script cannot be loaded here: %s",
                 error.message != NULL ? error.message : "out of memory");
    }
    runtime_free(runtime);
    script_error_free(&error);
    return code;
}

/* A .gitignore that is meant for what a command makes would leave out a view that is served as it is. */
static enum err_code find_pages(const struct buf *pack, const struct built *built, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < built->other_count && code == ERR_NONE; i++) {
        char page[PACK_PATH_MAX];
        struct buf wanted;
        buf_init(&wanted, 4 * PACK_PATH_MAX);
        snprintf(page, sizeof page, "%s/" VIEW_PAGE, built->others[i]);
        buf_adds(&wanted, "{\"path\":");
        json_write_text(&wanted, page);
        code = buf_status(&wanted, "a path", err);
        if (code == ERR_NONE && memmem(buf_text(pack), pack->len, buf_text(&wanted), wanted.len) == NULL)
            code = err_set(err, ERR_INVALID,
                           "a .gitignore leaves out %s, which a view begins with: correct it, or let command "
                           "build the view",
                           page);
        buf_free(&wanted);
    }
    return code;
}

static int run_deploy(const struct cli_args *args)
{
    struct target target;
    struct project project;
    struct pack_info info;
    struct buf pack;
    struct err err;
    struct built built = {.count = 0};
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    buf_init(&pack, PACK_MAX);
    enum err_code code =
        project.version == 0
            ? build_views(&project, &built, &err)
            : err_set(&err, ERR_INVALID, "%s is what was deployed: deploy from the project's folder",
                      project.folder);
    if (code == ERR_NONE)
        code = pack_folder(project.folder, built.folders, &pack, &info, &err);
    if (code == ERR_NONE)
        code = find_pages(&pack, &built, &err);
    free_built(&built);
    project_free(&project);
    int result = code == ERR_NONE ? target_open_deployed(args, NULL, &target) : cli_fail(&err);
    if (result == EXIT_DONE) {
        result = deploy(args, &target, &pack);
        target_close(&target);
    }
    buf_free(&pack);
    return result;
}

static const struct cli_option deploy_options[] = {
    {"--plan", NULL, NULL, "say what would change, and change nothing"},
    {"--note", NULL, "TEXT", "why, for workers versions"},
    {"--json", NULL, NULL, "what changes as JSON"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_deploy = {
    .name = "deploy",
    .arguments = "",
    .summary = "Put the project's code where it runs",
    .help = "Packs the project (without what a .gitignore leaves out, and never .env), loads it where it is "
            "to run, says\n"
            "what changes, brings the tables in line and switches to it in one step: runs under way end with "
            "the code "
            "that\n"
            "they began with, rows, states, variables and addresses of webhooks stay. What cannot be loaded, "
            "or would "
            "lose\n"
            "values, changes nothing. The ten versions before stay, for workers rollback.\n\n"
            "Without --server it goes to the home of this user, which workers serve --home serves. A worker "
            "that is not\n"
            "there yet is made.\n\n"
            "Examples:\n  workers deploy --plan\n  workers deploy --server https://workers.example.com\n",
    .options = deploy_options,
    .remote = true,
    .run = run_deploy,
};

/* ---- versions ---- */

static void write_active(const struct json_slice *object, bool plain, struct buf *out)
{
    (void)plain;
    buf_adds(out, object_flag(object, "active") ? "active" : "");
}

static void write_digest(const struct json_slice *object, bool plain, struct buf *out)
{
    struct buf text;
    buf_init(&text, 128);
    object_add(object, "digest", &text);
    buf_add(out, buf_text(&text), plain || text.len < 12 ? text.len : 12);
    buf_free(&text);
}

static enum err_code get_versions(struct target *target, struct buf *answer, struct err *err)
{
    struct buf path;
    path_make(&path, "/versions", NULL, NULL);
    enum err_code code = target_get(target, &path, answer, err);
    buf_free(&path);
    return code;
}

static int run_versions(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "VERSION", .align = TABLE_RIGHT}, .member = "version"},
        {.column = {.title = ""}, .write = write_active},
        {.column = {.title = "DEPLOYED"}, .member = "createdAt", .kind = CELL_TIME},
        {.column = {.title = "FILES", .align = TABLE_RIGHT}, .member = "files"},
        {.column = {.title = "CONTENT"}, .write = write_digest},
        {.column = {.title = "NOTE"}, .member = "note"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns};
    struct target target;
    struct buf answer;
    struct err err;
    int result = target_open_deployed(args, NULL, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&answer, BUF_UNLIMITED);
    result = get_versions(&target, &answer, &err) == ERR_NONE
                 ? listing_print(&listing, cli_format(args), &answer)
                 : target_fail(&target, &err);
    buf_free(&answer);
    target_close(&target);
    return result;
}

static const struct cli_option list_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_versions = {
    .name = "versions",
    .arguments = "",
    .summary = "List what was deployed",
    .help = "Examples:\n  workers versions\n  workers versions --server https://workers.example.com\n",
    .options = list_options,
    .remote = true,
    .run = run_versions,
};

/* ---- rollback ---- */

/* The one that was active before. */
static enum err_code find_before(struct target *target, int64_t *version, struct err *err)
{
    struct buf answer;
    struct json_scan scan;
    struct json_slice item;
    bool more = false;
    int64_t newest = 0;
    *version = 0;
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = get_versions(target, &answer, err);
    json_scan_init(&scan, buf_text(&answer), answer.len);
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        code = json_scan_skip(&scan, &item, err);
        int64_t activated = code == ERR_NONE ? object_time(&item, "activatedAt") : 0;
        if (code != ERR_NONE || object_flag(&item, "active") || activated < newest)
            continue;
        if (activated > newest || object_number(&item, "version") > *version)
            *version = object_number(&item, "version");
        newest = activated;
    }
    buf_free(&answer);
    if (code == ERR_NONE && *version == 0)
        code = err_set(err, ERR_NOT_FOUND, "there is no earlier version to go back to");
    return code;
}

static int run_rollback(const struct cli_args *args)
{
    struct target target;
    struct buf path, body, answer;
    struct err err;
    int64_t version = 0;
    if (args->count > 0 && (!cli_number(args->positional[0], &version) || version == 0))
        return cli_usage(args, "VERSION must be a whole number, not %s", args->positional[0]);
    int result = target_open_deployed(args, NULL, &target);
    if (result != EXIT_DONE)
        return result;
    enum err_code code = args->count > 0 ? ERR_NONE : find_before(&target, &version, &err);
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)version);
    path_make(&path, "/versions", number, "/activate");
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_adds(&body, cli_flag(args, "--plan") ? "{\"plan\":true}" : "{}");
    const struct question question = {
        .method = "POST", .path = &path, .body = &body, .timeout_ms = DEPLOY_MS};
    if (code == ERR_NONE)
        code = target_ask(&target, &question, &answer, &err);
    result = code == ERR_NONE ? show(args, target.name, &answer) : target_fail(&target, &err);
    buf_free(&path);
    buf_free(&body);
    buf_free(&answer);
    target_close(&target);
    return result;
}

static const struct cli_option rollback_options[] = {
    {"--plan", NULL, NULL, "say what would change, and change nothing"},
    {"--json", NULL, NULL, "what changes as JSON"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_rollback = {
    .name = "rollback",
    .arguments = "[VERSION]",
    .summary = "Go back to the code of an earlier version",
    .help = "VERSION is the one that was active before unless given. Rows and states stay as they are, and "
            "columns "
            "that the\n"
            "later version has added stay in the tables.\n\n"
            "Examples:\n  workers rollback\n  workers rollback 3 --plan\n",
    .options = rollback_options,
    .max_arguments = 1,
    .remote = true,
    .run = run_rollback,
};
