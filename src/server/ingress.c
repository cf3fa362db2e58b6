/* The way of a webhook's request to the disk. Must not run its execute: what is stored is delivered later. */
#include "server/ingress.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/admission.h"
#include "net/url.h"
#include "server/answer.h"

#include <stdio.h>
#include <string.h>

#define EVENT_MAX ((size_t)1024 * 1024)
#define FULL_RETRY_S "30" /* after the disk did not take it */
#define SAY_AGAIN_MS 1000

struct arrival {
    struct ingress *ingress;
    struct http_call *call; /* NULL when the client has left */
    struct service *service;
    const struct capability *webhook;
    struct delivery request; /* its event and body; the id that it will have */
    struct admission *admission;
    struct service_intake intake;
    char idempotency_key[513];
    bool head; /* a HEAD or GET, which only verify may answer */
};

static void free_arrival(struct arrival *arrival)
{
    if (arrival->call != NULL)
        http_call_set_user(arrival->call, NULL);
    service_release(arrival->service);
    admission_free(arrival->admission);
    delivery_free(&arrival->request);
    mem_free(arrival);
}

void ingress_gone(struct http_call *call)
{
    struct arrival *arrival = http_call_user(call);
    if (arrival != NULL)
        arrival->call = NULL; /* what is on its way to the disk goes there */
}

/* ---- the event ---- */

/* A JSON object of the query's parameters; one that is there several times is a list of its values. */
static void write_query(struct buf *out, const char *query)
{
    struct err ignored;
    buf_addc(out, '{');
    bool first = true;
    for (const char *at = query; *at != '\0';) {
        size_t len = strcspn(at, "&"), name_len = strcspn(at, "=&");
        const char *again = at; /* is there one of this name before? then it has been written */
        bool written = false;
        for (const char *before = query; before < at && !written; before += strcspn(before, "&") + 1)
            written = strcspn(before, "=&") == name_len && memcmp(before, again, name_len) == 0;
        if (len > 0 && !written) {
            char *text = mem_alloc(len + 1);
            if (text == NULL)
                break;
            buf_adds(out, first ? "" : ",");
            first = false;
            size_t decoded = url_decode_loose(text, at, name_len, true);
            if (json_write_string(out, text, decoded, &ignored) != ERR_NONE)
                buf_adds(out, "\"(not valid UTF-8)\"");
            buf_addc(out, ':');
            struct buf values;
            int count = 0;
            buf_init(&values, EVENT_MAX);
            for (const char *same = at; *same != '\0';) {
                size_t same_len = strcspn(same, "&");
                if (strcspn(same, "=&") == name_len && memcmp(same, at, name_len) == 0) {
                    bool has_value = name_len < same_len;
                    char *value = mem_alloc(same_len + 1);
                    size_t value_len =
                        value != NULL && has_value
                            ? url_decode_loose(value, same + name_len + 1, same_len - name_len - 1, true)
                            : 0;
                    buf_adds(&values, count++ > 0 ? "," : "");
                    if (json_write_string(&values, value != NULL ? value : "", value_len, &ignored) !=
                        ERR_NONE)
                        buf_adds(&values, "\"(not valid UTF-8)\"");
                    mem_free(value);
                }
                same += same_len + (same[same_len] == '&');
            }
            buf_addf(out, count > 1 ? "[" : "");
            buf_add(out, buf_text(&values), values.len);
            buf_addf(out, count > 1 ? "]" : "");
            buf_free(&values);
            mem_free(text);
        }
        at += len + (at[len] == '&');
    }
    buf_addc(out, '}');
}

/* Headers as a JSON object; those of one name are joined as RFC 9110, section 5.3 says. */
static void write_headers(struct buf *out, const struct http_call *call)
{
    struct err ignored;
    size_t count = http_call_header_count(call);
    bool first = true;
    buf_addc(out, '{');
    for (size_t i = 0; i < count; i++) {
        const struct http_header *header = http_call_header_at(call, i);
        bool written = false;
        for (size_t k = 0; k < i && !written; k++)
            written = strcmp(http_call_header_at(call, k)->name, header->name) == 0;
        if (written)
            continue;
        struct buf value;
        buf_init(&value, EVENT_MAX);
        for (size_t k = i; k < count; k++) {
            const struct http_header *same = http_call_header_at(call, k);
            if (strcmp(same->name, header->name) == 0) {
                buf_adds(&value, value.len > 0 ? ", " : "");
                buf_adds(&value, same->value);
            }
        }
        buf_adds(out, first ? "" : ",");
        first = false;
        json_write_text(out, header->name);
        buf_addc(out, ':');
        if (json_write_string(out, buf_text(&value), value.len, &ignored) != ERR_NONE)
            buf_adds(out, "\"(not valid UTF-8)\"");
        buf_free(&value);
    }
    buf_addc(out, '}');
}

static bool write_event(struct arrival *arrival, struct err *err)
{
    const struct http_call *call = arrival->call;
    struct delivery *request = &arrival->request;
    char time[ISO_UTC_SIZE];
    struct buf event;
    size_t len = 0;
    buf_init(&event, EVENT_MAX);
    buf_adds(&event, "{\"method\":");
    json_write_text(&event, http_call_method(call));
    buf_adds(&event, ",\"query\":");
    write_query(&event, http_call_query(call));
    buf_adds(&event, ",\"headers\":");
    write_headers(&event, call);
    buf_addf(&event, ",\"receivedAt\":\"%s\"}", iso_format_utc(clock_now_ms(), time));
    if (buf_status(&event, "the request", err) == ERR_NONE)
        request->event = buf_take(&event, &request->event_len);
    buf_free(&event);
    const char *body = http_call_body(call, &len);
    request->body = mem_strndup(body, len);
    request->body_len = len;
    return request->event != NULL && request->body != NULL;
}

/* ---- storing ---- */

/* A disk that is full fails every request: once a second is enough. */
static void say_failure(struct ingress *ingress, const struct arrival *arrival, const struct err *err)
{
    int64_t now = clock_mono_ms();
    if (ingress->failure_said_ms != 0 && now - ingress->failure_said_ms < SAY_AGAIN_MS)
        return;
    ingress->failure_said_ms = now;
    ingress->say(ingress->ctx, service_name(arrival->service), arrival->webhook->key, "error", err->message,
                 strlen(err->message));
}

static void stored(void *ctx, const struct delivery_new *delivery, enum err_code code, const struct err *err)
{
    struct arrival *arrival = ctx;
    struct ingress *ingress = arrival->ingress;
    if (code != ERR_NONE) {
        ingress->counts.failed++;
        say_failure(ingress, arrival, err);
        if (arrival->call != NULL)
            answer_error_later(arrival->call, 503, FULL_RETRY_S, "not_stored",
                               "the delivery could not be stored; send it again later");
    } else {
        char body[128];
        int len = snprintf(body, sizeof body, "{\"deliveryId\":\"%s\"%s}", delivery->id,
                           delivery->repeated ? ",\"repeated\":true" : "");
        if (delivery->repeated)
            ingress->counts.repeated++;
        else
            ingress->counts.accepted++;
        if (arrival->call != NULL)
            answer_json(arrival->call, 202, body, (size_t)len);
    }
    arrival->call = NULL;
    free_arrival(arrival);
}

static void store(struct arrival *arrival)
{
    struct delivery_new *delivery = &arrival->intake.delivery;
    *delivery = (struct delivery_new){
        .kind = "webhook",
        .key = arrival->webhook->key,
        .started_by = "webhook",
        .idempotency_key = arrival->idempotency_key[0] != '\0' ? arrival->idempotency_key : NULL,
        .due_ms = clock_now_ms(),
        .event = arrival->request.event,
        .event_len = arrival->request.event_len,
        .body = arrival->request.body,
        .body_len = arrival->request.body_len};
    snprintf(delivery->id, sizeof delivery->id, "%s", arrival->request.id);
    arrival->intake.stored = stored;
    arrival->intake.ctx = arrival;
    service_take_in(arrival->service, &arrival->intake);
}

/* ---- admission ---- */

static void answer_itself(struct arrival *arrival, const struct admission_end *end)
{
    const struct http_answer_field type = {"content-type", end->type};
    if (arrival->call != NULL)
        http_call_answer(arrival->call, end->status, &type, 1, end->body, end->body_len);
    arrival->call = NULL;
}

static void admitted(void *ctx, struct admission *admission, const struct admission_end *end)
{
    struct arrival *arrival = ctx;
    struct ingress *ingress = arrival->ingress;
    (void)admission;
    if (end->verdict == ADMISSION_ADMIT && !arrival->head) {
        if (arrival->webhook->has_verify)
            service_verified(arrival->service, arrival->webhook, true);
        if (end->idempotency_key != NULL)
            snprintf(arrival->idempotency_key, sizeof arrival->idempotency_key, "%s", end->idempotency_key);
        store(arrival);
        return;
    }
    if (end->verdict == ADMISSION_ANSWER) {
        answer_itself(arrival, end);
    } else if (end->verdict == ADMISSION_ADMIT) {
        if (arrival->call != NULL)
            answer_error(arrival->call, 405, "method_not_allowed", "send a POST");
    } else {
        bool refused = end->verdict == ADMISSION_REFUSE;
        if (refused && !arrival->head)
            service_verified(arrival->service, arrival->webhook, false);
        refused ? ingress->counts.refused++ : ingress->counts.failed++;
        ingress->say(ingress->ctx, service_name(arrival->service), arrival->webhook->key,
                     refused ? "warn" : "error", end->message, strlen(end->message));
        if (arrival->call != NULL && refused)
            answer_error(arrival->call, 401, "not_verified", "the request could not be verified");
        else if (arrival->call != NULL)
            answer_error(arrival->call, 500, "verify_failed", "the worker could not verify the request");
    }
    arrival->call = NULL;
    free_arrival(arrival);
}

static void admit(struct arrival *arrival)
{
    struct err err;
    if (admission_start(service_runtime(arrival->service), arrival->webhook, &arrival->request, admitted,
                        arrival, &arrival->admission, &err) == ERR_NONE)
        return;
    answer_error_later(arrival->call, 503, FULL_RETRY_S, "no_memory", "out of memory");
    arrival->call = NULL;
    free_arrival(arrival);
}

/* ---- arriving ---- */

struct address_parts {
    const char *worker, *secret, *key;
    size_t worker_len, secret_len, key_len;
};

static bool read_path(const char *path, struct address_parts *out)
{
    const char *at = path + strlen(INGRESS_PATH);
    out->worker = at;
    out->worker_len = strcspn(at, "/");
    at += out->worker_len + (at[out->worker_len] == '/');
    out->secret = at;
    out->secret_len = strcspn(at, "/");
    at += out->secret_len + (at[out->secret_len] == '/');
    out->key = at;
    out->key_len = strlen(at);
    return out->worker_len > 0 && out->secret_len > 0 && out->key_len > 0;
}

/* Answers when nothing can come of it; otherwise the webhook. */
static const struct capability *find(struct ingress *ingress, struct http_call *call,
                                     struct service **service)
{
    struct address_parts parts;
    const struct capability *webhook = NULL;
    enum webhook_state state = WEBHOOK_UNKNOWN;
    *service = NULL;
    if (read_path(http_call_path(call), &parts))
        *service = hosting_find(ingress->hosting, parts.worker, parts.worker_len);
    if (*service != NULL)
        state = service_webhook(*service, parts.key, parts.key_len, parts.secret, parts.secret_len, &webhook);
    switch (state) {
    case WEBHOOK_OPEN:
        return webhook;
    case WEBHOOK_UNKNOWN:
        answer_error(call, 404, "not_found", "there is no webhook at this address");
        return NULL;
    case WEBHOOK_CLOSED:
        answer_error_later(call, 503, "3600", "closed",
                           "the webhook is closed, because verification failed too often");
        return NULL;
    case WEBHOOK_PAUSED:
        answer_error_later(call, 503, "300", "paused", "the webhook is disabled");
        return NULL;
    case WEBHOOK_LATER:
        answer_error_later(call, 503, "1", "starting", "the server starts or stops; send it again");
        return NULL;
    }
    return NULL;
}

void ingress_request(struct ingress *ingress, struct http_call *call)
{
    struct service *service = NULL;
    struct err err;
    const char *method = http_call_method(call);
    bool post = strcmp(method, "POST") == 0;
    bool head = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    const struct capability *webhook = find(ingress, call, &service);
    if (webhook == NULL)
        return;
    if (!post && !(head && webhook->has_verify)) {
        answer_error(call, 405, "method_not_allowed", "send a POST");
        return;
    }
    int64_t early = service_too_early(service);
    if (early > 0) {
        char seconds[24];
        snprintf(seconds, sizeof seconds, "%lld", (long long)(early + 999) / 1000);
        ingress->counts.limited++;
        answer_error_later(call, 429, seconds, "too_many", "too many requests for this worker");
        return;
    }
    struct arrival *arrival = mem_zalloc(sizeof *arrival);
    if (arrival == NULL) {
        answer_error_later(call, 503, FULL_RETRY_S, "no_memory", "out of memory");
        return;
    }
    *arrival = (struct arrival){
        .ingress = ingress, .call = call, .service = service, .webhook = webhook, .head = head};
    service_hold(service);
    http_call_set_user(call, arrival);
    if (!write_event(arrival, &err) || id_uuid7(arrival->request.id, &err) != ERR_NONE) {
        answer_error_later(call, 503, FULL_RETRY_S, "no_memory", "the request could not be kept");
        arrival->call = NULL;
        free_arrival(arrival);
        return;
    }
    if (webhook->has_verify || webhook->has_idempotency_key)
        admit(arrival);
    else
        store(arrival);
}
