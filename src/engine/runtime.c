/* Putting a process together: loop, script, store; and the host interface that modules see. */
#include "engine/runtime.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "engine/oauth.h"
#include "engine/warm.h"
#include "net/http_client.h"
#include "worker/config.h"

#include <stdio.h>
#include <string.h>

static const char *runtime_code(const struct runtime *runtime)
{
    return runtime->options.code != NULL ? runtime->options.code : runtime->options.folder;
}

enum err_code runtime_open(const struct runtime_options *options, struct runtime **out, struct err *err)
{
    *out = NULL;
    struct runtime *runtime = mem_zalloc(sizeof *runtime);
    if (runtime == NULL)
        return err_nomem(err);
    runtime->options = *options;
    if (snprintf(runtime->store_folder, sizeof runtime->store_folder, "%s/.workers", options->folder) >=
        (int)sizeof runtime->store_folder) {
        mem_free(runtime);
        return err_set(err, ERR_INVALID, "the path of the project is too long");
    }
    runtime->loop = options->loop;
    if (options->loop == NULL) {
        runtime->loop = &runtime->own_loop;
        if (uv_loop_init(runtime->loop) != 0) {
            mem_free(runtime);
            return err_set(err, ERR_IO, "cannot start the event loop");
        }
    }
    runtime->redactor = redactor_new();
    runtime->credentials = redactor_new();
    runtime->environment = environment_new(runtime);
    runtime->pacers = pacers_new(runtime);
    enum err_code code = scheduler_new(runtime->loop, &runtime->scheduler, err);
    if (code == ERR_NONE)
        code = sources_open(runtime_code(runtime), options->script, &runtime->sources, err);
    if (code != ERR_NONE) {
        runtime_free(runtime);
        return code;
    }
    *out = runtime;
    return ERR_NONE;
}

void runtime_free(struct runtime *runtime)
{
    if (runtime == NULL)
        return;
    warm_close_idle(runtime, 0);
    pacers_free(runtime->pacers);
    executor_free(runtime->executor);
    http_client_free(runtime->http);
    oauth_free(runtime);
    scheduler_free(runtime->scheduler);
    if (runtime->loop == &runtime->own_loop) {
        uv_run(runtime->loop, UV_RUN_DEFAULT); /* closes what is closing */
        uv_loop_close(runtime->loop);
    }
    store_close(runtime->store);
    worker_free(runtime->worker);
    sources_free(runtime->sources);
    environment_free(runtime->environment);
    redactor_free(runtime->redactor);
    redactor_free(runtime->credentials);
    mem_free(runtime);
}

char *runtime_redacted(struct runtime *runtime, const char *text)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    redactor_write(runtime->redactor, text, strlen(text), &out);
    char *copy = buf_take(&out, NULL);
    return copy != NULL ? copy : mem_need_str("");
}

/* ---- the host interface ---- */

/* The line is redacted. */
static void tell_line(const struct execution *execution, const char *level, const char *text, size_t len)
{
    const struct runtime_options *options = &execution->runtime->options;
    const struct observer *observer = execution->observer;
    if (options->log != NULL)
        options->log(options->log_ctx, execution->key,
                     execution->run_id[0] != '\0' ? execution->run_id : NULL, level, text, len);
    if (observer != NULL && observer->log != NULL)
        observer->log(observer->ctx, level, text, len);
}

void execution_log(struct execution *execution, const char *level, const char *text, size_t len)
{
    struct runtime *runtime = execution->runtime;
    struct buf out;
    if (!redactor_has_values(runtime->redactor)) {
        tell_line(execution, level, text, len);
        return;
    }
    buf_init(&out, BUF_UNLIMITED);
    redactor_write(runtime->redactor, text, len, &out);
    tell_line(execution, level, buf_text(&out), out.len);
    buf_free(&out);
}

static void host_progress(void *ctx, double progress, double total, const char *message)
{
    const struct execution *execution = ctx;
    const struct observer *observer = execution->observer;
    if (observer == NULL || observer->progress == NULL)
        return;
    char *redacted = message != NULL ? runtime_redacted(execution->runtime, message) : NULL;
    observer->progress(observer->ctx, progress, total, redacted);
    mem_free(redacted);
}

static void host_log(void *ctx, const char *level, const char *text, size_t len)
{
    execution_log(ctx, level, text, len);
}

static const char *host_env(void *ctx, const char *name)
{
    struct execution *execution = ctx;
    return environment_get(execution->runtime->environment, name);
}

static enum err_code host_pacer_wait(void *ctx, const char *pacer, struct task *task, void **op,
                                     struct err *err)
{
    struct execution *execution = ctx;
    return pacers_wait(execution->runtime->pacers, pacer, task, &execution->waiting_on_pacer, op, err);
}

static void host_pacer_cancel(void *ctx, void *op)
{
    (void)ctx;
    pacers_cancel(op);
}

static void host_pacer_begun(void *ctx, const char *pacer)
{
    pacers_begun(((struct execution *)ctx)->runtime->pacers, pacer);
}

struct http_client *runtime_http(struct runtime *runtime, struct err *err)
{
    if (runtime->http == NULL) {
        runtime->http = http_client_new(runtime->loop, err);
        if (runtime->http != NULL && runtime->options.stand_in != NULL)
            http_client_stand_in(runtime->http, runtime->options.stand_in);
    }
    return runtime->http;
}

static struct http_client *host_http(void *ctx, struct err *err)
{
    return runtime_http(((struct execution *)ctx)->runtime, err);
}

static void host_http_sent(void *ctx)
{
    ((struct execution *)ctx)->requests++;
}

static enum err_code host_read_path(void *ctx, const char *path, char *resolved, size_t size, struct err *err)
{
    struct runtime *runtime = ((struct execution *)ctx)->runtime;
    return config_read_path(runtime->options.config, runtime_code(runtime), path, resolved, size, err);
}

static enum err_code check_sqlite(const struct runtime *runtime, struct err *err)
{
    if (config_store_is_postgresql(runtime->options.config))
        return err_set(err, ERR_INVALID,
                       "workers.yaml: store: PostgreSQL is not supported by this version; remove the line to "
                       "use SQLite");
    return ERR_NONE;
}

static enum err_code host_rows_address(void *ctx, const struct db_driver **driver, char *address, size_t size,
                                       struct err *err)
{
    const struct runtime *runtime = ((struct execution *)ctx)->runtime;
    *driver = &db_sqlite;
    if (runtime->memory_store[0] != '\0') {
        snprintf(address, size, "%s", runtime->memory_store);
        return ERR_NONE;
    }
    enum err_code code = check_sqlite(runtime, err);
    return code == ERR_NONE ? store_path(runtime->store_folder, address, size, err) : code;
}

static enum err_code host_kv(void *ctx, struct kv_call *call, struct task *task, struct err *err)
{
    return execution_kv(ctx, call, task, err);
}

static void host_kv_cancel(void *ctx, struct kv_call *call)
{
    (void)ctx;
    execution_kv_cancel(call);
}

static bool host_dry_run(void *ctx)
{
    return ((struct execution *)ctx)->dry_run;
}

static enum err_code host_net_allowed(void *ctx, const char *host, int port, struct err *err)
{
    struct runtime *runtime = ((struct execution *)ctx)->runtime;
    return config_net_check(runtime->options.config, host, port, err);
}

static enum err_code host_address_allowed(void *ctx, const struct sockaddr *address, struct err *err)
{
    struct runtime *runtime = ((struct execution *)ctx)->runtime;
    return config_address_check(runtime->options.config, address, err);
}

/* ---- credentials ---- */

static enum err_code host_credential_declared(void *ctx, const char *key, struct err *err)
{
    return environment_hide(((struct execution *)ctx)->runtime->environment, key, err);
}

struct filling {
    struct execution *execution;
    bool tls;
    const char *host;
    http_take_field_fn *take;
    void *taking;
    struct err *err;
    enum err_code code;
};

static bool fill_header(void *ctx, const struct credential *credential,
                        const struct credential_header *header)
{
    struct filling *filling = ctx;
    struct runtime *runtime = filling->execution->runtime;
    if (!filling->tls) {
        struct err line;
        err_set(&line, ERR_NONE,
                "credential \"%s\" is not sent to %s, because the request is not encrypted: use https",
                credential->key, filling->host);
        execution_log(filling->execution, "warn", line.message, strlen(line.message));
        return true;
    }
    const char *value = environment_credential(runtime->environment, credential->key);
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    if (value == NULL)
        filling->code =
            err_set(filling->err, ERR_NOT_FOUND,
                    "credential \"%s\" has no value: set it with `workers env set %s=…`, or in .env",
                    credential->key, credential->key);
    else
        filling->code = credential_fill(credential, header, value, &text, filling->err);
    if (filling->code == ERR_NONE && !filling->take(filling->taking, header->name, buf_text(&text), text.len))
        filling->code = err_nomem(filling->err);
    crypto_wipe(text.data, text.len);
    buf_free(&text);
    return filling->code == ERR_NONE;
}

static enum err_code host_http_fields(void *ctx, bool tls, const char *host, http_take_field_fn *take,
                                      void *taking, struct err *err)
{
    struct execution *execution = ctx;
    struct filling filling = {
        .execution = execution, .tls = tls, .host = host, .take = take, .taking = taking, .err = err};
    const struct worker *worker = execution->runtime->worker;
    if (worker != NULL)
        credential_each_header(worker, host, fill_header, &filling);
    return filling.code;
}

static bool host_http_scrub(void *ctx, const char *text, size_t len, struct buf *out)
{
    const struct redactor *credentials = ((struct execution *)ctx)->runtime->credentials;
    if (!redactor_has_values(credentials))
        return false;
    redactor_write(credentials, text, len, out);
    return true;
}

static size_t host_http_scrub_safe(void *ctx, const char *text, size_t len)
{
    return redactor_safe_length(((struct execution *)ctx)->runtime->credentials, text, len);
}

void execution_init(struct execution *execution, struct runtime *runtime, const char *key)
{
    *execution = (struct execution){.runtime = runtime, .key = key};
    execution->host = (struct isolate_host){
        .ctx = execution,
        .log = host_log,
        .progress = host_progress,
        .env = host_env,
        .pacer_wait = host_pacer_wait,
        .pacer_cancel = host_pacer_cancel,
        .pacer_begun = host_pacer_begun,
        .http = host_http,
        .http_sent = host_http_sent,
        .read_path = host_read_path,
        .rows_address = host_rows_address,
        .kv = host_kv,
        .kv_cancel = host_kv_cancel,
        .dry_run = host_dry_run,
        .net_allowed = host_net_allowed,
        .address_allowed = host_address_allowed,
        .http_fields = host_http_fields,
        .http_scrub = host_http_scrub,
        .http_scrub_safe = host_http_scrub_safe,
        .credential_declared = host_credential_declared,
        .oauth = execution_oauth,
    };
}

void execution_free(struct execution *execution)
{
    kv_layer_release(execution->kv_layer);
    execution->kv_layer = NULL;
}

static enum err_code open_isolate(struct execution *execution, struct isolate **out,
                                  struct script_error *error)
{
    struct runtime *runtime = execution->runtime;
    const struct config *config = runtime->options.config;
    const struct capability *capability = runtime->worker != NULL && execution->key != NULL
                                              ? worker_capability(runtime->worker, execution->key)
                                              : NULL;
    bool tool = capability != NULL && capability->kind == CAPABILITY_TOOL;
    const struct isolate_config isolate_config = {
        .limits = {.memory_bytes = (size_t)config->limits.memory_bytes,
                   .cpu_ms = (uint64_t)config->limits.cpu_ms,
                   .wall_ms = tool ? config->limits.tool_ms : config->limits.wall_ms,
                   .wall_setting = tool ? "limits.tool" : "limits.wall"},
        .scheduler = runtime->scheduler,
        .sources = runtime->sources,
        .host = &execution->host,
        .modules = workers_modules,
        .registry = &execution->registration,
    };
    struct err err;
    enum err_code code = isolate_open(&isolate_config, out, &err);
    if (code != ERR_NONE)
        return script_error_set(error, code, "%s", err.message);
    code = modules_load_worker(*out, error);
    if (code != ERR_NONE) {
        isolate_close(*out);
        *out = NULL;
    }
    return code;
}

enum err_code execution_open(struct execution *execution, struct isolate **out, struct script_error *error)
{
    execution->registration = (struct registration){
        .worker = execution->runtime->worker, .discover = false, .wanted = execution->key};
    return open_isolate(execution, out, error);
}

/* ---- loading ---- */

enum err_code runtime_load(struct runtime *runtime, struct script_error *error)
{
    struct isolate *isolate = NULL;
    struct execution execution;
    struct worker *worker = worker_new();
    if (worker == NULL)
        return script_error_set(error, ERR_NOMEM, "out of memory");
    execution_init(&execution, runtime, NULL);
    execution.registration = (struct registration){.worker = worker, .discover = true};
    enum err_code code = open_isolate(&execution, &isolate, error);
    isolate_close(isolate);
    if (code != ERR_NONE) {
        worker_free(worker);
        return code;
    }
    runtime->worker = worker;
    return ERR_NONE;
}

enum err_code runtime_open_store(struct runtime *runtime, bool preview, struct buf *report, struct err *err)
{
    enum err_code code = check_sqlite(runtime, err);
    if (code == ERR_NONE)
        code = store_open(runtime->store_folder, true, &runtime->store, err);
    if (code == ERR_NONE)
        store_version_is(runtime->store, runtime->options.version);
    if (code == ERR_NONE)
        code = preview ? store_use_preview(runtime->store, runtime->worker, report, err)
                       : store_use(runtime->store, runtime->worker, report, err);
    if (code == ERR_NONE)
        environment_read_store(runtime->environment, runtime->store);
    if (code == ERR_NONE)
        code = executor_new(runtime->loop, runtime->store, &runtime->executor, err);
    return code;
}

enum err_code runtime_share_store(struct runtime *runtime, struct err *err)
{
    if (runtime->store != NULL || config_store_is_postgresql(runtime->options.config))
        return ERR_NONE;
    enum err_code code = store_open(runtime->store_folder, true, &runtime->store, err);
    if (code != ERR_NONE)
        return code;
    environment_read_store(runtime->environment, runtime->store);
    return executor_new(runtime->loop, runtime->store, &runtime->executor, err);
}

enum err_code runtime_renew_memory(struct runtime *runtime, struct err *err)
{
    struct buf report;
    executor_free(runtime->executor);
    runtime->executor = NULL;
    store_close(runtime->store);
    runtime->store = NULL;
    pacers_free(runtime->pacers);
    runtime->pacers = pacers_new(runtime);
    environment_take_back(runtime->environment);
    buf_init(&report, (size_t)1024 * 1024);
    /* Another name each time: nobody finds what a connection that is still open keeps. */
    snprintf(runtime->memory_store, sizeof runtime->memory_store, DB_MEMORY "%u", ++runtime->memory_stores);
    enum err_code code = store_open_memory(runtime->memory_store, &runtime->store, err);
    if (code == ERR_NONE)
        code = store_use(runtime->store, runtime->worker, &report, err);
    if (code == ERR_NONE)
        code = executor_new(runtime->loop, runtime->store, &runtime->executor, err);
    buf_free(&report);
    return code;
}
