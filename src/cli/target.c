/* Asking a project's own store, or a server, for the same things. */
#include "cli/target.h"

#include "api/request.h"
#include "base/mem.h"
#include "cli/listing.h"
#include "engine/deploy.h"
#include "engine/home.h"
#include "engine/oauth_access.h"
#include "net/url.h"
#include "worker/dotenv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_VARIABLE "WORKERS_SERVER"
#define NO_SERVER "http://127.0.0.1:8321" /* where one would listen */
#define TOKEN_FILE_MAX ((size_t)1024)

/* ---- paths ---- */

void path_make(struct buf *path, const char *base, const char *part, const char *rest)
{
    buf_init(path, BUF_UNLIMITED);
    buf_adds(path, base);
    if (part != NULL) {
        buf_addc(path, '/');
        url_encode(path, part, strlen(part));
    }
    if (rest != NULL)
        buf_adds(path, rest);
}

void path_query(struct buf *path, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_addc(path, strchr(buf_text(path), '?') != NULL ? '&' : '?');
    buf_addf(path, "%s=", name);
    url_encode(path, value, strlen(value));
}

/* ---- tokens ---- */

static char *trimmed(const char *text, size_t len)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    return mem_strndup(text, len);
}

static enum err_code no_token(const char *url, bool kept_back, struct err *err)
{
    if (kept_back)
        return err_set(err, ERR_DENIED,
                       "only workers.yaml names %s, and the environment's " TOKEN_VARIABLE
                       " does not go where no person said: name it with --server or in " SERVER_VARIABLE
                       ", or put its token into .env",
                       url);
    return err_set(
        err, ERR_NOT_FOUND,
        "there is no token for %s: make one in the project there (workers tokens make NAME --scope "
        "admin) and set " TOKEN_VARIABLE " to it, in the environment or in .env",
        url);
}

/* The path of the home's token, when the server at url is the one that serves it. */
static bool token_of_home(const char *url, char *path, size_t size)
{
    char home[HOME_PATH_MAX], served[BEACON_URL_MAX];
    struct err ignored;
    if (home_folder(home, &ignored) != ERR_NONE || beacon_read(home, served, &ignored) != ERR_NONE ||
        strncmp(url, served, strlen(served)) != 0 ||
        strspn(url + strlen(served), "/") != strlen(url + strlen(served)))
        return false;
    return snprintf(path, size, "%s/.workers/token", home) < (int)size;
}

/* From the environment, when a person has named the server; else from the project's .env, or, for this
 * machine, from the file that the server made. The caller frees it. */
static enum err_code find_token(const struct target *target, const char *url, bool named, char **out,
                                struct err *err)
{
    char path[sizeof target->folder + 16];
    struct dotenv env = {0};
    const char *value = getenv(TOKEN_VARIABLE);
    bool has_value = value != NULL && value[0] != '\0';
    *out = NULL;
    if (has_value && named) {
        *out = trimmed(value, strlen(value));
        return *out != NULL ? ERR_NONE : err_nomem(err);
    }
    snprintf(path, sizeof path, "%s/.env", target->project.folder);
    enum err_code code = target->project.has_file ? dotenv_load(path, &env, err) : ERR_NOT_FOUND;
    const struct dotenv_entry *entry = code == ERR_NONE ? dotenv_get(&env, TOKEN_VARIABLE) : NULL;
    if (entry != NULL)
        *out = trimmed(entry->value, entry->value_len);
    dotenv_free(&env);
    if (code != ERR_NONE && code != ERR_NOT_FOUND)
        return code;
    if (*out == NULL && remote_is_loopback(url)) {
        struct buf file;
        if (!token_of_home(url, path, sizeof path))
            snprintf(path, sizeof path, "%s/token", target->folder);
        if (config_read_file(path, TOKEN_FILE_MAX, &file, err) == ERR_NONE)
            *out = trimmed(buf_text(&file), file.len);
        buf_free(&file);
    }
    return *out != NULL ? ERR_NONE : no_token(url, has_value, err);
}

/* ---- opening ---- */

/* The only worker that the token is good for. */
static enum err_code find_worker(struct target *target, const char *url, struct err *err)
{
    const struct remote_question question = {
        .method = "GET", .path = "/workers", .timeout_ms = REMOTE_TIMEOUT_MS};
    struct buf answer, name;
    struct json_scan scan;
    struct json_slice worker;
    bool more = false;
    buf_init(&answer, BUF_UNLIMITED);
    buf_init(&name, BUF_UNLIMITED);
    int count = 0;
    enum err_code code = remote_ask(target->remote, &question, &answer, err);
    json_scan_init(&scan, buf_text(&answer), answer.len);
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        code = json_scan_skip(&scan, &worker, err);
        buf_clear(&name);
        object_add(&worker, "name", &name);
        count++;
    }
    if (code == ERR_NONE && count != 1)
        code = err_set(err, ERR_NOT_FOUND, "%s serves %d workers of this token: name one with --worker NAME",
                       url, count);
    snprintf(target->name, sizeof target->name, "%s", buf_text(&name));
    buf_free(&answer);
    buf_free(&name);
    return code;
}

static enum err_code open_remote(struct target *target, const struct cli_args *args, const char *url,
                                 bool named, struct err *err)
{
    char *token = NULL;
    enum err_code code = find_token(target, url, named, &token, err);
    if (code == ERR_NONE)
        code = remote_open(url, token, &target->remote, err);
    mem_free(token);
    if (args->worker != NULL)
        snprintf(target->name, sizeof target->name, "%s", args->worker);
    else if (code == ERR_NONE && !target->project.has_file)
        code = find_worker(target, url, err);
    path_make(&target->root, "/workers", target->name, NULL);
    return code == ERR_NONE ? buf_status(&target->root, "the path", err) : code;
}

static const char *named_server(const struct cli_args *args)
{
    const char *named = args->server != NULL ? args->server : getenv(SERVER_VARIABLE);
    return named != NULL && named[0] != '\0' ? named : NULL;
}

static enum err_code open_home(struct target *target, const char *name, const char *server, bool named,
                               struct err *err)
{
    char worker[HOME_PATH_MAX];
    enum err_code code = home_folder(target->home, err);
    if (code == ERR_NONE)
        code = home_worker(target->home, name, worker, err);
    if (code != ERR_NONE)
        return code;
    snprintf(target->name, sizeof target->name, "%s", name);
    if (server != NULL && strcmp(server, "local") != 0) {
        const struct cli_args about = {.worker = name};
        return open_remote(target, &about, server, named, err);
    }
    snprintf(target->project.folder, sizeof target->project.folder, "%s", worker);
    snprintf(target->folder, sizeof target->folder, "%s/.workers", target->project.folder);
    return code;
}

int target_open_deployed(const struct cli_args *args, const char *name, struct target *out)
{
    struct err err;
    const char *named = named_server(args);
    *out = (struct target){0};
    buf_init(&out->root, BUF_UNLIMITED);
    script_error_init(&out->script_error);
    char own[CONFIG_NAME_MAX + 1];
    enum err_code code = project_open(NULL, ".", &out->project, &err);
    name = name != NULL ? name : args->worker;
    if (name == NULL && code == ERR_NONE && out->project.has_file)
        name = config_name(&out->project.config, out->project.folder, own);
    if (code != ERR_NONE && code != ERR_NOT_FOUND && name == NULL)
        return cli_fail(&err);
    if (code != ERR_NONE)
        out->project = (struct project){.folder = "."};
    const char *server = named != NULL ? named : out->project.config.server;
    code = name != NULL ? open_home(out, name, server, server == named, &err)
                        : err_set(&err, ERR_NOT_FOUND,
                                  "there is no workers.yaml here or in a folder above that names the worker: "
                                  "name it with --worker NAME");
    if (code == ERR_NONE)
        return EXIT_DONE;
    target_close(out);
    return cli_fail(&err);
}

enum err_code target_ask_server(struct target *target, const char *method, const char *path,
                                const struct buf *body, struct buf *answer, struct err *err)
{
    const struct remote_question question = {.method = method,
                                             .path = path,
                                             .body = body != NULL ? buf_text(body) : NULL,
                                             .body_len = body != NULL ? body->len : 0,
                                             .timeout_ms = REMOTE_TIMEOUT_MS};
    return remote_ask(target->remote, &question, answer, err);
}

/* What its workers share. */
static int open_shared(const struct cli_args *args, struct target *out)
{
    struct err err;
    const char *named = named_server(args);
    *out = (struct target){.name = "home"};
    buf_init(&out->root, BUF_UNLIMITED);
    script_error_init(&out->script_error);
    if (project_open(NULL, ".", &out->project, &err) != ERR_NONE)
        out->project = (struct project){.folder = "."};
    const char *server = named != NULL ? named : out->project.config.server;
    enum err_code code = home_folder(out->home, &err);
    if (code == ERR_NONE && server != NULL && strcmp(server, "local") != 0) {
        const struct cli_args about = {.worker = "home"};
        code = open_remote(out, &about, server, server == named, &err);
        buf_clear(&out->root);
        buf_adds(&out->root, "/home");
    } else if (code == ERR_NONE) {
        snprintf(out->project.folder, sizeof out->project.folder, "%s", out->home);
        snprintf(out->folder, sizeof out->folder, "%s/.workers", out->home);
    }
    if (code == ERR_NONE)
        return EXIT_DONE;
    target_close(out);
    return cli_fail(&err);
}

int target_open(const struct cli_args *args, struct target *out)
{
    struct err err;
    const char *named = named_server(args);
    if (cli_flag(args, "--home"))
        return open_shared(args, out);
    *out = (struct target){0};
    buf_init(&out->root, BUF_UNLIMITED);
    enum err_code code = project_open(NULL, ".", &out->project, &err);
    if (code == ERR_NOT_FOUND && named != NULL && strcmp(named, "local") != 0)
        out->project = (struct project){.folder = "."}; /* a server needs none */
    else if (code != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&out->script_error);
    const char *server = named != NULL ? named : out->project.config.server;
    code = ERR_NONE;
    snprintf(out->folder, sizeof out->folder, "%s/.workers", out->project.folder);
    config_name(&out->project.config, out->project.folder, out->name);
    if (server != NULL && strcmp(server, "local") != 0)
        code = open_remote(out, args, server, server == named, &err);
    else if (args->worker != NULL)
        code =
            err_set(&err, ERR_INVALID, "--worker goes with --server: here it is the project of this folder");
    if (code == ERR_NONE)
        return EXIT_DONE;
    target_close(out);
    return cli_fail(&err);
}

void target_close(struct target *target)
{
    remote_close(target->remote);
    store_close(target->store);
    runtime_free(target->runtime);
    script_error_free(&target->script_error);
    buf_free(&target->root);
    project_free(&target->project);
}

enum err_code target_load(struct target *target, struct err *err)
{
    if (target->runtime != NULL || cli_runtime_open(&target->project, NULL, NULL, NULL, &target->runtime,
                                                    &target->script_error) == ERR_NONE)
        return ERR_NONE;
    return err_set(err, ERR_SCRIPT, "the script cannot be loaded");
}

int target_fail(const struct target *target, const struct err *err)
{
    return target->script_error.message != NULL ? cli_fail_script(&target->script_error) : cli_fail(err);
}

/* ---- asking ---- */

static enum err_code open_store(struct target *target, unsigned needs, struct err *err)
{
    enum err_code code = ERR_NONE;
    if (target->home[0] != '\0' && (needs & ROUTE_MAKES) != 0)
        code = home_make(target->home, err);
    if (code == ERR_NONE && target->store == NULL)
        code = store_open(target->folder, (needs & ROUTE_MAKES) != 0, &target->store, err);
    if (code == ERR_NOT_FOUND && (needs & ROUTE_BARE) != 0)
        return ERR_NONE;
    if (code != ERR_NONE || (needs & ROUTE_TABLES) == 0 || target->has_tables)
        return code;
    struct buf report;
    buf_init(&report, (size_t)1024 * 1024);
    code = store_use(target->store, target->runtime->worker, &report, err);
    target->has_tables = code == ERR_NONE;
    buf_free(&report);
    return code;
}

struct access_answer {
    struct api_request *request;
    bool told;
};

static void access_told(void *ctx, enum err_code code, const struct buf *json, const struct err *err)
{
    struct access_answer *answer = ctx;
    answer->told = true;
    answer->request->code = code;
    if (code != ERR_NONE)
        answer->request->err = *err;
    buf_add(&answer->request->out, buf_text(json), json->len);
}

/* Access by OAuth, which needs the loop rather than the store alone. */
static void ask_for_access(struct target *target, struct api_request *request)
{
    struct access_answer answer = {.request = request};
    const enum route_kind kind = request->route->kind;
    const struct oauth_question question = {.ask = kind == ROUTE_ACCESS_START  ? OAUTH_ASK_START
                                                   : kind == ROUTE_ACCESS_LOOK ? OAUTH_ASK_LOOK
                                                                               : OAUTH_ASK_REVOKE,
                                            .key = request->parameters[0],
                                            .id = request->parameters[1],
                                            .callback_url = OAUTH_CALLBACK_URL};
    oauth_access(target->runtime, &question, access_told, &answer);
    while (!answer.told)
        uv_run(target->runtime->loop, UV_RUN_ONCE);
}

static bool is_for_access(const struct route *route)
{
    return route->kind == ROUTE_ACCESS_START || route->kind == ROUTE_ACCESS_LOOK ||
           route->kind == ROUTE_ACCESS_REVOKE;
}

/* What a server does with a request, done here. */
static enum err_code ask_here(struct target *target, const struct question *question, struct buf *answer,
                              struct err *err)
{
    struct api_asked asked;
    struct buf path;
    bool known = false;
    const char *query = strchr(buf_text(question->path), '?');
    buf_init(&path, BUF_UNLIMITED);
    buf_add(&path, buf_text(question->path),
            query != NULL ? (size_t)(query - buf_text(question->path)) : question->path->len);
    enum err_code code = buf_status(&path, "the path", err);
    const struct route *route = api_match(question->method, buf_text(&path), &asked, &known);
    if (code == ERR_NONE && (route == NULL || (route->work == NULL && !is_for_access(route))))
        code = err_set(err, ERR_INTERNAL, "%s %s is for servers only", question->method, buf_text(&path));
    if (code == ERR_NONE && ((route->needs & ROUTE_WORKER) != 0 || is_for_access(route)))
        code = target_load(target, err);
    if (code == ERR_NONE && route->kind == ROUTE_STORE)
        code = open_store(target, route->needs, err);
    if (code == ERR_NONE) {
        struct err ignored;
        if (beacon_read(target->project.folder, target->url, &ignored) != ERR_NONE)
            snprintf(target->url, sizeof target->url, "%s", NO_SERVER);
        struct api_request request = {.route = route,
                                      .worker = target->runtime != NULL ? target->runtime->worker : NULL,
                                      .name = target->name,
                                      .url = target->url,
                                      .folder = target->folder,
                                      .deploy = deploy_apart};
        asked.query = query != NULL ? query + 1 : "";
        asked.body = question->body != NULL ? buf_text(question->body) : NULL;
        asked.body_len = question->body != NULL ? question->body->len : 0;
        code = api_request_read(&request, &asked);
        if (code == ERR_NONE) {
            if (is_for_access(route))
                ask_for_access(target, &request);
            else
                api_request_work(&request, route->kind == ROUTE_STORE ? target->store : NULL);
            code = request.code;
        }
        if (code == ERR_NONE)
            code = buf_status(&request.out, "the answer", &request.err);
        if (code != ERR_NONE)
            *err = request.err;
        buf_add(answer, buf_text(&request.out), code == ERR_NONE ? request.out.len : 0);
        api_request_free(&request);
    }
    buf_free(&path);
    return code;
}

static enum err_code ask_there(struct target *target, const struct question *question, struct buf *answer,
                               struct err *err)
{
    struct buf path;
    buf_init(&path, BUF_UNLIMITED);
    buf_add(&path, buf_text(&target->root), target->root.len);
    buf_add(&path, buf_text(question->path), question->path->len);
    const struct remote_question remote = {.method = question->method,
                                           .path = buf_text(&path),
                                           .body = question->body != NULL ? buf_text(question->body) : NULL,
                                           .body_len = question->body != NULL ? question->body->len : 0,
                                           .timeout_ms = question->timeout_ms > 0 ? question->timeout_ms
                                                                                  : REMOTE_TIMEOUT_MS};
    enum err_code code = buf_status(&path, "the path", err);
    if (code == ERR_NONE)
        code = remote_ask(target->remote, &remote, answer, err);
    buf_free(&path);
    return code;
}

enum err_code target_ask(struct target *target, const struct question *question, struct buf *answer,
                         struct err *err)
{
    enum err_code code = buf_status(question->path, "the path", err);
    if (code == ERR_NONE && question->body != NULL)
        code = buf_status(question->body, "what is sent", err);
    if (code == ERR_NONE)
        code = target->remote == NULL ? ask_here(target, question, answer, err)
                                      : ask_there(target, question, answer, err);
    return code == ERR_NONE ? buf_status(answer, "the answer", err) : code;
}

enum err_code target_get(struct target *target, const struct buf *path, struct buf *answer, struct err *err)
{
    const struct question question = {.method = "GET", .path = path};
    return target_ask(target, &question, answer, err);
}

int cli_ask(const struct cli_args *args, const struct question *question, struct buf *answer)
{
    struct target target;
    struct err err;
    struct buf ignored;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&ignored, BUF_UNLIMITED);
    if (target_ask(&target, question, answer != NULL ? answer : &ignored, &err) != ERR_NONE)
        result = target_fail(&target, &err);
    buf_free(&ignored);
    target_close(&target);
    return result;
}
