/* The host half of workers.kv: calls of scripts as jobs on the store's thread. */
#include "engine/runtime.h"

#include "base/mem.h"
#include "modules/kv.h"

struct kv_job {
    struct job job; /* first */
    struct kv_call *call;
    struct kv_layer *layer; /* held; NULL when the store is written */
};

static enum err_code add_key(void *ctx, const char *key, size_t len)
{
    struct kv_call *call = ctx;
    buf_add(&call->result, key, len);
    buf_addc(&call->result, '\0');
    return buf_status(&call->result, "the list of keys", &call->err);
}

static enum err_code carry_out(struct store *store, struct kv_layer *layer, struct kv_call *call)
{
    const char *key = buf_text(&call->key);
    size_t len = call->key.len;
    const struct json_slice value = {buf_text(&call->value), call->value.len};
    const struct json_slice expected = {buf_text(&call->expected), call->expected.len};
    switch (call->operation) {
    case KV_GET:
        return store_kv_get(store, layer, key, len, &call->result, &call->done, &call->err);
    case KV_SET:
    case KV_DELETE:
        return store_kv_set(store, layer, key, len, call->has_value ? &value : NULL, call->ttl_ms,
                            &call->done, &call->err);
    case KV_COMPARE_AND_SET:
        return store_kv_compare_and_set(store, layer, key, len, call->has_expected ? &expected : NULL,
                                        call->has_value ? &value : NULL, call->ttl_ms, &call->done,
                                        &call->err);
    case KV_INCREMENT:
        return store_kv_increment(store, layer, key, len, call->number, &call->number, &call->err);
    case KV_LIST:
        return store_kv_list(store, layer, key, len, call->number, add_key, call, &call->err);
    }
    return err_set(&call->err, ERR_INTERNAL, "unknown operation");
}

static void work(struct job *job, struct store *store)
{
    struct kv_job *kv = (struct kv_job *)job;
    kv->call->code = carry_out(store, kv->layer, kv->call);
}

static void after(struct job *job)
{
    struct kv_job *kv = (struct kv_job *)job;
    struct kv_call *call = kv->call;
    kv_layer_release(kv->layer);
    mem_free(kv);
    call->pending = false;
    if (call->task == NULL)
        kv_call_free(call);
    else
        task_wake(call->task);
}

enum err_code execution_kv(struct execution *execution, struct kv_call *call, struct task *task,
                           struct err *err)
{
    struct runtime *runtime = execution->runtime;
    if (runtime->executor == NULL) {
        enum err_code code = runtime_share_store(runtime, err);
        if (code != ERR_NONE)
            return code;
    }
    if (runtime->executor == NULL)
        return err_set(err, ERR_INVALID,
                       "there is no store for values: this version keeps them in SQLite only");
    if (execution->writes_nothing && execution->kv_layer == NULL)
        execution->kv_layer = kv_layer_new();
    struct kv_job *kv = mem_need(sizeof *kv);
    kv->job = (struct job){.work = work, .after = after, .owner = kv};
    kv->call = call;
    kv->layer = execution->kv_layer;
    kv_layer_hold(kv->layer);
    call->task = task;
    call->pending = true;
    executor_submit(runtime->executor, &kv->job);
    return ERR_NONE;
}

void execution_kv_cancel(struct kv_call *call)
{
    call->task = NULL; /* after() frees it */
}
