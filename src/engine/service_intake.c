/* What comes in from outside: deliveries on their way to the disk, and the webhooks they are for. */
#include "engine/service_priv.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <string.h>

/* ---- taking in ---- */

static void intake_work(struct job *job, struct store *store)
{
    struct service *service = job->owner;
    service->intake_code = store_begin(store, true, &service->intake_err);
    for (struct service_intake *at = service->storing; at != NULL && service->intake_code == ERR_NONE;
         at = at->next)
        service->intake_code = store_delivery_add(store, &at->delivery, &service->intake_err);
    if (service->intake_code == ERR_NONE)
        service->intake_code = store_commit(store, &service->intake_err);
    else
        store_rollback(store);
}

static void intake_after(struct job *job);

static void intake_begin(struct service *service)
{
    if (service->intake_busy || service->intake == NULL)
        return;
    service->intake_busy = true;
    service->storing = service->intake;
    service->intake = service->intake_last = NULL;
    service->intake_job = (struct job){.work = intake_work, .after = intake_after, .owner = service};
    executor_submit(service->runtime->executor, &service->intake_job);
}

static void intake_after(struct job *job)
{
    struct service *service = job->owner;
    struct service_intake *at = service->storing;
    service->intake_busy = false;
    service->storing = NULL;
    while (at != NULL) {
        struct service_intake *next = at->next; /* stored may free it */
        at->stored(at->ctx, &at->delivery, service->intake_code, &service->intake_err);
        at = next;
    }
    intake_begin(service);
    service_turn(service);
    service_tell_if_idle(service);
}

void service_take_in(struct service *service, struct service_intake *intake)
{
    intake->next = NULL;
    if (service->intake_last != NULL)
        service->intake_last->next = intake;
    else
        service->intake = intake;
    service->intake_last = intake;
    intake_begin(service);
}

/* ---- webhooks ---- */

enum webhook_state service_webhook(struct service *service, const char *key, size_t key_len,
                                   const char *secret, size_t secret_len,
                                   const struct capability **capability)
{
    *capability = NULL;
    for (size_t i = 0; i < service->item_count; i++) {
        const struct item *item = &service->items[i];
        if (item->capability->kind != CAPABILITY_WEBHOOK || strlen(item->capability->key) != key_len ||
            memcmp(item->capability->key, key, key_len) != 0)
            continue;
        if (item->shown.secret[0] == '\0' || service->stopping)
            return WEBHOOK_LATER;
        if (secret_len != ENDPOINT_SECRET_SIZE - 1 ||
            !crypto_equal(secret, item->shown.secret, ENDPOINT_SECRET_SIZE - 1))
            return WEBHOOK_UNKNOWN;
        *capability = item->capability;
        if (item->shown_paused)
            return WEBHOOK_PAUSED;
        return item->shown.closed_ms != 0 ? WEBHOOK_CLOSED : WEBHOOK_OPEN;
    }
    return WEBHOOK_UNKNOWN;
}

int64_t service_too_early(struct service *service)
{
    double rate = (double)service->runtime->options.config->limits.webhooks;
    int64_t now = clock_mono_ms();
    service->allowance += (double)(now - service->allowance_ms) * rate / 1000;
    service->allowance_ms = now;
    if (service->allowance > rate) /* as many as come in a second may come at once */
        service->allowance = rate;
    if (service->allowance >= 1) {
        service->allowance -= 1;
        return 0;
    }
    return (int64_t)((1 - service->allowance) * 1000 / rate) + 1;
}

void service_verified(struct service *service, const struct capability *webhook, bool good)
{
    struct item *item = service_item(service, webhook->key);
    /* Refusals may be on their way to the store, and not shown yet. */
    bool known = item != NULL && (item->shown.failures > 0 || item->refusals > 0 ||
                                  (service->turning && item->turn_refusals > 0));
    if (item == NULL || (good && !known))
        return;
    item->reset = item->reset || good;
    item->refusals = good ? 0 : item->refusals + 1;
    service_turn(service);
}

void service_open_webhooks(struct service *service)
{
    for (size_t i = 0; i < service->item_count; i++)
        if (service->items[i].capability->kind == CAPABILITY_WEBHOOK)
            service->items[i].reset = true;
}

bool service_token(const struct service *service, const char *token, size_t len, enum token_scope *scope)
{
    return token_find(service->tokens, service->token_count, token, len, scope);
}

void service_hold(struct service *service)
{
    service->holds++;
}

void service_release(struct service *service)
{
    service->holds--;
    service_tell_if_idle(service);
}
