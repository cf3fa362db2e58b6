/* One operation on the worker's key-value store, between the module workers.kv and the host that carries it
 * out.
 *
 * Who owns what: the module owns the call until it is given to the host, and again when its task is woken. A
 * call that the script no longer waits for belongs to the host, which frees it when nothing uses it any more.
 * It holds nothing of Lua. */
#ifndef WORKERS_MODULES_KV_H
#define WORKERS_MODULES_KV_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct task;

#define KV_KEY_MAX 512                    /* bytes, UTF-8 */
#define KV_VALUE_MAX ((size_t)256 * 1024) /* bytes as JSON */
#define KV_KEYS_MAX 100000                /* of one worker */
#define KV_TTL_MAX_S 315360000            /* 3650 days */

enum kv_operation { KV_GET, KV_SET, KV_DELETE, KV_COMPARE_AND_SET, KV_INCREMENT, KV_LIST };

struct kv_call {
    enum kv_operation operation;
    struct task *task; /* NULL when nobody waits any more */
    bool pending;      /* given to the host */
    /* What is asked. JSON has its members sorted, so that equal values are equal texts. */
    struct buf key;      /* of a list: what keys begin with */
    struct buf value;    /* JSON; without has_value the key is deleted */
    struct buf expected; /* JSON; without has_expected there must be no such key */
    bool has_value, has_expected;
    int64_t ttl_ms; /* 0: for ever */
    int64_t number; /* what to add; the greatest number of keys; on return the sum */
    /* What came of it. */
    enum err_code code;
    struct err err;
    bool done;         /* there was such a key; it was as expected */
    struct buf result; /* JSON; or keys in order, with a NUL after each */
};

void kv_call_free(struct kv_call *call); /* NULL is fine */

#endif
