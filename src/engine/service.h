/* One worker being served: starts its syncs and jobs when they are due, hands deliveries to their
 * capabilities, records what becomes of them (docs/decisions, "One queue of deliveries, and schedules beside
 * it").
 *
 * Who owns what: the service owns the runtime that it is given. It is freed when service_is_idle says so,
 * after service_stop. The loop's thread only. */
#ifndef WORKERS_ENGINE_SERVICE_H
#define WORKERS_ENGINE_SERVICE_H

#include "engine/gate.h"
#include "engine/project.h"

struct service;

/* A run that has ended. Texts live until the callback returns, and hold no secrets. */
struct run_report {
    const struct capability *capability;
    const char *run_id;
    const char *error; /* NULL when it went well */
    bool stopped;      /* by us; it goes on later */
    bool will_retry;
    uint64_t duration_ms;
    int64_t attempt;
    int64_t pages, requests;           /* of a sync */
    struct page_counts counts;         /* of a sync */
    const struct sweep_outcome *sweep; /* of a sync that ended well; else NULL */
};

/* Told when something happens that others want to know. Any may be NULL. */
struct service_events {
    void (*ended)(void *ctx, struct service *service, const struct run_report *report);
    void (*superseded)(void *ctx, struct service *service); /* see service_is_superseded */
    void (*idle)(void *ctx, struct service *service); /* after service_stop: nothing is under way any more */
    void *ctx;
};

/* The runtime's store is open. events is copied. */
enum err_code service_new(struct runtime *runtime, struct gate *gate, const struct service_events *events,
                          struct service **out, struct err *err) MUST_CHECK;
void service_free(struct service *service);
/* Looks for what is due: at the start, when somebody else may have written to the store. */
void service_look(struct service *service);
/* The same if somebody else has written; recover: and whether a process has died. */
void service_poll(struct service *service, bool recover);
/* Whether it has given memory back since this was asked last, because nothing was to be done for a while. */
bool service_gave_back(struct service *service);
/* The home has other variables than before. */
void service_variables_changed(struct service *service);
/* Whether another version of the worker was deployed: this one begins nothing any more. */
bool service_is_superseded(const struct service *service);
/* Starts nothing more; cycles end after the page in hand. */
void service_stop(struct service *service);
/* Ends what is still running after service_stop, without using up an attempt. */
void service_stop_now(struct service *service);
bool service_is_idle(const struct service *service);

struct runtime *service_runtime(struct service *service);
const char *service_name(const struct service *service);

/* Log lines of its runs: the runtime's log sink may pass them on. */
void service_log(struct service *service, const char *run_id, const char *level, const char *text,
                 size_t len);

/* ---- webhooks ---- */

enum webhook_state {
    WEBHOOK_UNKNOWN, /* no such key, or not this secret */
    WEBHOOK_OPEN,
    WEBHOOK_CLOSED, /* too many verifications failed */
    WEBHOOK_PAUSED,
    WEBHOOK_LATER, /* the service has not looked yet, or stops */
};
/* secret is that of the address. capability is set unless it is unknown. */
enum webhook_state service_webhook(struct service *service, const char *key, size_t key_len,
                                   const char *secret, size_t secret_len,
                                   const struct capability **capability);
/* Whether one more may be taken in this moment; 0, or how many milliseconds it is too early. */
int64_t service_too_early(struct service *service);
/* A verification has succeeded or failed. */
void service_verified(struct service *service, const struct capability *webhook, bool good);
/* Opens webhooks that were closed: the script is another one. With the next turn. */
void service_open_webhooks(struct service *service);
/* Whether the token is good, and for what. */
bool service_token(const struct service *service, const char *token, size_t len, enum token_scope *scope);
/* While something outside is at work for the service it is not idle. */
void service_hold(struct service *service);
void service_release(struct service *service);

/* Takes a delivery in: on the disk when stored is called with ERR_NONE. The texts of delivery must live until
 * then. stored is called from the loop, never from inside this function. */
typedef void (*stored_fn)(void *ctx, const struct delivery_new *delivery, enum err_code code,
                          const struct err *err);
struct service_intake {
    struct delivery_new delivery;
    stored_fn stored;
    void *ctx;
    enum err_code code;
    struct service_intake *next;
};
void service_take_in(struct service *service, struct service_intake *intake);

#endif
