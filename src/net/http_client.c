/* The HTTP client's event loop side: sockets and timers of libcurl on libuv, the line of waiting requests,
 * callbacks. Must not run a user's callback from inside http_client_send, http_cancel or libcurl. */
#include "net/http_client_priv.h"
#include "base/mem.h"

#include <string.h>

#define KEPT_CONNECTIONS 256L

/* One socket that libcurl asked to watch. Freed by its close callback. */
struct poll {
    struct http_link link; /* in client->polls */
    uv_poll_t handle;
    struct http_client *client;
    curl_socket_t fd;
    int events;
};

static void turn(struct http_client *client);
static void on_deadline(uv_timer_t *timer);
static void on_idle(uv_idle_t *idle);

/* ---- life of the client ----------------------------------------------------------------------------------
 */

static void release_if_closed(struct http_client *client)
{
    if (client->freed && client->open_handles == 0 && !client->calling)
        mem_free(client);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;
    client->open_handles--;
    release_if_closed(client);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct poll *poll = handle->data;
    struct http_client *client = poll->client;
    mem_free(poll);
    client->open_handles--;
    release_if_closed(client);
}

static void close_poll(struct poll *poll)
{
    http_link_remove(&poll->link);
    uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
}

struct http_client *http_client_new(uv_loop_t *loop, struct err *err)
{
    struct http_client *client = mem_zalloc(sizeof *client);
    if (client == NULL) {
        err_nomem(err);
        return NULL;
    }
    client->loop = loop;
    client->per_host = HTTP_PER_HOST;
    client->total = HTTP_TOTAL;
    client->next_deadline = UINT64_MAX;
    http_link_init(&client->polls);
    http_link_init(&client->origins);
    http_link_init(&client->active);
    http_link_init(&client->done);
    http_link_init(&client->batch);
    uv_timer_init(loop, &client->curl_timer); /* cannot fail */
    uv_timer_init(loop, &client->deadline_timer);
    client->curl_timer.data = client;
    client->deadline_timer.data = client;
    uv_idle_init(loop, &client->idle);
    client->idle.data = client;
    client->open_handles = 3;
    return client;
}

void http_client_stand_in(struct http_client *client, const struct http_stand_in *stand_in)
{
    client->stand_in = stand_in;
}

void http_client_set_limits(struct http_client *client, size_t per_host, size_t total)
{
    client->per_host = per_host > 0 ? per_host : 1;
    client->total = total > 0 ? total : 1;
}

size_t http_client_pending(const struct http_client *client)
{
    return client->pending;
}

const char *http_error_code(enum http_error error)
{
    switch (error) {
    case HTTP_OK:
        return "ok";
    case HTTP_ERROR_URL:
        return "url";
    case HTTP_ERROR_DNS:
        return "dns";
    case HTTP_ERROR_CONNECT:
        return "connect";
    case HTTP_ERROR_TLS:
        return "tls";
    case HTTP_ERROR_TIMEOUT:
        return "timeout";
    case HTTP_ERROR_RESET:
        return "reset";
    case HTTP_ERROR_PROTOCOL:
        return "protocol";
    case HTTP_ERROR_TOO_LARGE:
        return "too_large";
    case HTTP_ERROR_REDIRECT:
        return "redirect";
    case HTTP_ERROR_DENIED:
        return "denied";
    case HTTP_ERROR_CREDENTIAL:
        return "credential";
    case HTTP_ERROR_CANCELLED:
        return "cancelled";
    case HTTP_ERROR_NOMEM:
        return "nomem";
    case HTTP_ERROR_INTERNAL:
        return "internal";
    }
    return "internal";
}

/* ---- libcurl's sockets and timer --------------------------------------------------------------------------
 */

static void drive(struct http_client *client, curl_socket_t fd, int mask)
{
    int running = 0;
    client->inside_curl++;
    CURLMcode code = client->api->multi_socket_action(client->multi, fd, mask, &running);
    client->inside_curl--;
    /* A socket that libcurl closed in the meantime is no fault. */
    if (code != CURLM_OK && code != CURLM_BAD_SOCKET)
        client->broken = true;
    turn(client);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *poll = handle->data;
    if (status < 0) {
        /* An error is pending on the socket and libuv has stopped watching. libcurl finds out by reading or
         * writing: told of an error outright, it would throw away what had arrived before. */
        events = poll->events;
        if (uv_poll_start(handle, poll->events, on_poll) != 0)
            poll->client->broken = true;
    }
    drive(poll->client, poll->fd,
          (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0));
}

static int watch(struct http_client *client, struct poll *poll, curl_socket_t fd, int what)
{
    if (poll == NULL) {
        poll = mem_zalloc(sizeof *poll);
        if (poll == NULL)
            return -1;
        if (uv_poll_init_socket(client->loop, &poll->handle, fd) != 0) {
            mem_free(poll);
            return -1;
        }
        poll->handle.data = poll;
        poll->client = client;
        poll->fd = fd;
        http_link_append(&client->polls, &poll->link);
        client->open_handles++;
        if (client->api->multi_assign(client->multi, fd, poll) != CURLM_OK) {
            close_poll(poll);
            return -1;
        }
    }
    poll->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&poll->handle, poll->events, on_poll);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct http_client *client = ctx;
    struct poll *poll = socket_ctx;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (poll != NULL) {
            client->api->multi_assign(client->multi, fd, NULL);
            close_poll(poll);
        }
    } else if (watch(client, poll, fd, what) != 0) {
        client->broken = true; /* not told to libcurl: all transfers end as soon as it returns */
    }
    return 0;
}

static void on_curl_timer(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    if (client->multi != NULL)
        drive(client, CURL_SOCKET_TIMEOUT, 0);
}

/* What is due at once runs in the loop's next turn. Not from a timer of 0 ms: libuv runs such a timer again
 * and again within one turn while it is set anew, and everything else would stand still. */
static void wake_now(struct http_client *client)
{
    if (!client->freed)
        uv_idle_start(&client->idle, on_idle);
}

static int on_curl_timeout(CURLM *multi, long timeout_ms, void *ctx)
{
    struct http_client *client = ctx;
    (void)multi;
    client->curl_due = timeout_ms == 0;
    uv_timer_stop(&client->curl_timer);
    if (timeout_ms == 0) {
        wake_now(client);
    } else if (timeout_ms > 0 && !client->freed) {
        uv_update_time(client->loop);
        uv_timer_start(&client->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

static bool open_multi(struct http_client *client)
{
    const struct curl_api *api = client->api;
    if (client->multi != NULL)
        return true;
    /* HTTP/2 carries one request a connection: with several, libcurl 7.88 loses about one in a thousand small
     * answers and one in a hundred of a few MB to framing errors, and is no faster. */
    CURLM *multi = api->multi_init();
    if (multi == NULL)
        return false;
    if (api->multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket) != CURLM_OK ||
        api->multi_setopt(multi, CURLMOPT_SOCKETDATA, client) != CURLM_OK ||
        api->multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_curl_timeout) != CURLM_OK ||
        api->multi_setopt(multi, CURLMOPT_TIMERDATA, client) != CURLM_OK ||
        api->multi_setopt(multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS) != CURLM_OK ||
        api->multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) != CURLM_OK) {
        api->multi_cleanup(multi);
        return false;
    }
    client->multi = multi;
    return true;
}

static void close_multi(struct http_client *client)
{
    if (client->multi == NULL)
        return;
    client->inside_curl++;
    client->api->multi_cleanup(client->multi);
    client->inside_curl--;
    client->multi = NULL;
    uv_timer_stop(&client->curl_timer);
    while (!http_link_alone(&client->polls))
        close_poll(HTTP_OF(client->polls.next, struct poll, link));
}

/* ---- one request through its states -----------------------------------------------------------------------
 */

static void watch_deadline(struct http_client *client, uint64_t when)
{
    if (when >= client->next_deadline || client->freed)
        return;
    client->next_deadline = when;
    uint64_t now = uv_now(client->loop);
    uv_timer_start(&client->deadline_timer, on_deadline, when > now ? when - now : 1, 0);
}

static struct http_origin *join_origin(struct http_client *client, const char *name)
{
    for (struct http_link *link = client->origins.next; link != &client->origins; link = link->next) {
        struct http_origin *origin = HTTP_OF(link, struct http_origin, link);
        if (strcmp(origin->name, name) == 0)
            return origin;
    }
    struct http_origin *origin = mem_zalloc(sizeof *origin);
    if (origin == NULL)
        return NULL;
    origin->name = mem_strndup(name, strlen(name));
    if (origin->name == NULL) {
        mem_free(origin);
        return NULL;
    }
    http_link_init(&origin->waiting);
    http_link_append(&client->origins, &origin->link);
    client->origin_count++;
    return origin;
}

static void leave_origin(struct http_handle *handle)
{
    struct http_origin *origin = handle->origin;
    handle->origin = NULL;
    if (origin == NULL || origin->active > 0 || !http_link_alone(&origin->waiting))
        return;
    http_link_remove(&origin->link);
    handle->client->origin_count--;
    mem_free(origin->name);
    mem_free(origin);
}

/* Out of whatever holds it: the line, libcurl, the list of those done. */
static void detach(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    http_link_remove(&handle->link);
    if (handle->state == HTTP_WAITING) {
        client->waiting_count--;
    } else if (handle->state == HTTP_ACTIVE) {
        client->active_count--;
        handle->origin->active--;
        if (handle->easy != NULL && client->multi != NULL) {
            client->inside_curl++;
            client->api->multi_remove_handle(client->multi, handle->easy);
            client->inside_curl--;
        }
        if (client->waiting_count > 0)
            wake_now(client); /* its place is free */
    }
    leave_origin(handle);
}

static void destroy(struct http_handle *handle)
{
    const struct curl_api *api = handle->client->api;
    http_transfer_release(handle);
    http_target_free(api, &handle->target);
    mem_free(handle->copy);
    mem_free(handle->fields);
    mem_free(handle);
}

static void drop(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    detach(handle);
    destroy(handle);
    client->pending--;
}

static void finish(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    if (handle->cancelled) {
        drop(handle);
        return;
    }
    detach(handle);
    handle->state = HTTP_DONE;
    handle->ended_at = uv_now(client->loop);
    http_link_append(&client->done, &handle->link);
}

/* Adds the hop to libcurl. The handle is active already. */
static void start_hop(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    client->inside_curl++; /* it asks allow_url */
    bool ready = http_transfer_begin(handle);
    int stand_in = ready && client->stand_in != NULL ? http_stand_in_send(handle) : 0;
    ready = ready && stand_in >= 0 && (stand_in > 0 || http_transfer_prepare(handle));
    client->inside_curl--;
    if (ready && stand_in > 0)
        return; /* its time is the stand-in's */
    watch_deadline(client, handle->deadline);
    if (ready && !open_multi(client))
        ready = http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
    if (ready) {
        client->inside_curl++;
        CURLMcode code = client->api->multi_add_handle(client->multi, handle->easy);
        client->inside_curl--;
        if (code == CURLM_OK)
            return;
        http_set_failure(handle, code == CURLM_OUT_OF_MEMORY ? HTTP_ERROR_NOMEM : HTTP_ERROR_INTERNAL,
                         "libcurl did not take the request to %s: %s", handle->target.shown,
                         client->api->multi_strerror(code));
    }
    http_transfer_release(handle); /* it never was in the multi handle */
    finish(handle);
}

static void start(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    http_link_remove(&handle->link);
    client->waiting_count--;
    client->active_count++;
    handle->origin->active++;
    http_link_append(&client->active, &handle->link);
    handle->state = HTTP_ACTIVE;
    handle->started_at = uv_now(client->loop);
    handle->deadline = handle->started_at + handle->request.timeout_ms;
    start_hop(handle);
}

/* Origins take turns, so that a busy one does not keep the others waiting. */
static void start_waiting(struct http_client *client)
{
    size_t passed_over = 0;
    uv_update_time(client->loop);
    while (client->waiting_count > 0 && client->active_count < client->total &&
           passed_over < client->origin_count) {
        struct http_origin *origin = HTTP_OF(client->origins.next, struct http_origin, link);
        http_link_remove(&origin->link);
        http_link_append(&client->origins, &origin->link);
        passed_over++;
        if (!http_link_alone(&origin->waiting) && origin->active < client->per_host) {
            passed_over = 0;
            start(HTTP_OF(origin->waiting.next, struct http_handle, link)); /* may free the origin */
        }
    }
}

static void next_hop(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    struct http_origin *origin = join_origin(client, handle->target.origin);
    if (handle->easy != NULL) {
        client->inside_curl++;
        client->api->multi_remove_handle(client->multi, handle->easy);
        client->inside_curl--;
    }
    if (origin == NULL) {
        http_transfer_release(handle);
        http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
        finish(handle);
        return;
    }
    /* It keeps its place in the total, and does not wait for one with the new origin: its clock is running.
     */
    origin->active++;
    handle->origin->active--;
    leave_origin(handle);
    handle->origin = origin;
    start_hop(handle);
}

static void hop_ended(struct http_handle *handle, CURLcode code)
{
    if (!handle->cancelled && http_transfer_ended(handle, code))
        next_hop(handle);
    else
        finish(handle);
}

void http_client_hop_ended(struct http_handle *handle, CURLcode code)
{
    struct http_client *client = handle->client;
    hop_ended(handle, code);
    wake_now(client);
}

/* Takes from libcurl what has ended. */
static void collect(struct http_client *client)
{
    int left = 0;
    CURLMsg *message;
    while (client->multi != NULL && (message = client->api->multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct http_handle *handle = NULL;
        CURLcode code = message->data.result; /* the message dies with the removal */
        client->api->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &handle);
        hop_ended(handle, code);
    }
}

static void fail_active(struct http_client *client, enum http_error error, const char *why)
{
    while (!http_link_alone(&client->active)) {
        struct http_handle *handle = HTTP_OF(client->active.next, struct http_handle, link);
        http_set_failure(handle, error, "the request to %s failed: %s", handle->target.shown, why);
        finish(handle);
    }
}

static void end_all_if_broken(struct http_client *client)
{
    if (!client->broken)
        return;
    fail_active(client, HTTP_ERROR_NOMEM,
                "its socket could not be watched, memory or file descriptors ran out");
    close_multi(client);
    client->broken = false;
}

static void remove_cancelled(struct http_client *client)
{
    if (!client->some_cancelled)
        return;
    client->some_cancelled = false;
    struct http_link *next;
    for (struct http_link *link = client->active.next; link != &client->active; link = next) {
        struct http_handle *handle = HTTP_OF(link, struct http_handle, link);
        next = link->next;
        if (handle->cancelled)
            finish(handle);
    }
}

static void run_callback(struct http_handle *handle)
{
    struct http_response *response = NULL;
    handle->state = HTTP_CALLING;
    handle->client->pending--;
    if (handle->error == HTTP_OK) {
        response = http_transfer_response(handle);
        if (response == NULL)
            http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory while reading the answer of %s",
                             handle->target.shown);
    }
    http_transfer_release(handle);
    struct http_failure failure = {handle->error, handle->message};
    handle->callback(handle->ctx, response, response == NULL ? &failure : NULL);
    destroy(handle);
}

static void run_callbacks(struct http_client *client)
{
    if (client->calling)
        return;
    client->calling = true;
    /* What ends during a callback waits for the next turn of the loop, else a chain of failures would hold
     * it. */
    while (!http_link_alone(&client->done)) {
        struct http_link *link = client->done.next;
        http_link_remove(link);
        http_link_append(&client->batch, link);
    }
    while (!http_link_alone(&client->batch)) { /* http_client_free empties it */
        struct http_handle *handle = HTTP_OF(client->batch.next, struct http_handle, link);
        http_link_remove(&handle->link);
        run_callback(handle);
    }
    client->calling = false;
}

/* After anything that may have moved requests on. May end the client's life. */
static void turn(struct http_client *client)
{
    if (client->calling)
        return;
    collect(client);
    remove_cancelled(client);
    end_all_if_broken(client);
    if (client->waiting_count > 0)
        start_waiting(client);
    end_all_if_broken(client);
    run_callbacks(client);
    if (client->freed) {
        release_if_closed(client);
        return;
    }
    if (!http_link_alone(&client->done))
        wake_now(client);
    if (client->pending == 0) {
        /* Kept connections and libcurl's housekeeping are no reason for the loop to go on. */
        uv_timer_stop(&client->deadline_timer);
        client->next_deadline = UINT64_MAX;
        uv_unref((uv_handle_t *)&client->curl_timer);
    }
}

static void end_overdue(struct http_client *client)
{
    uint64_t now = uv_now(client->loop);
    struct http_link *next;
    for (struct http_link *link = client->active.next; link != &client->active; link = next) {
        struct http_handle *handle = HTTP_OF(link, struct http_handle, link);
        next = link->next;
        if (handle->stood_in)
            continue;
        if (handle->deadline <= now) {
            if (handle->error == HTTP_OK)
                http_transfer_timed_out(handle);
            finish(handle);
        } else {
            watch_deadline(client, handle->deadline);
        }
    }
}

static void on_deadline(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    client->next_deadline = UINT64_MAX;
    collect(client);
    end_overdue(client);
    turn(client);
}

static void on_idle(uv_idle_t *idle)
{
    struct http_client *client = idle->data;
    uv_idle_stop(idle);
    if (client->curl_due && client->multi != NULL) {
        client->curl_due = false;
        drive(client, CURL_SOCKET_TIMEOUT, 0);
    } else {
        turn(client);
    }
}

/* ---- what users call --------------------------------------------------------------------------------------
 */

enum err_code http_client_send(struct http_client *client, const struct http_request *request,
                               http_done_fn *callback, void *ctx, struct http_handle **out, struct err *err)
{
    enum err_code code = ERR_NONE;
    if (out != NULL)
        *out = NULL;
    if (client->api == NULL) {
        struct err why;
        client->api = curl_api_get(&why);
        if (client->api == NULL)
            return err_set(err, why.code, "%s", why.message);
    }
    struct http_handle *handle = mem_zalloc(sizeof *handle);
    if (handle == NULL)
        return err_nomem(err);
    http_link_init(&handle->link);
    http_headers_init(&handle->headers);
    buf_init(&handle->body, 0);
    handle->client = client;
    handle->callback = callback;
    handle->ctx = ctx;
    handle->queued_at = handle->started_at = uv_now(client->loop);

    code = http_request_copy(handle, request, err);
    if (code != ERR_NONE)
        goto failed;
    handle->error =
        http_target_parse(client->api, request->url.text, request->url.len, &handle->target, handle->message);
    if (handle->error != HTTP_OK) {
        handle->state = HTTP_DONE;
        handle->ended_at = handle->queued_at;
        http_link_append(&client->done, &handle->link);
    } else {
        handle->origin = join_origin(client, handle->target.origin);
        if (handle->origin == NULL) {
            code = err_nomem(err);
            goto failed;
        }
        handle->state = HTTP_WAITING;
        http_link_append(&handle->origin->waiting, &handle->link);
        client->waiting_count++;
    }
    client->pending++;
    uv_ref((uv_handle_t *)&client->curl_timer);
    wake_now(client);
    if (out != NULL)
        *out = handle;
    return ERR_NONE;

failed:
    destroy(handle);
    return code;
}

void http_resume(struct http_handle *handle)
{
    struct http_client *client = handle->client;
    if (handle->state != HTTP_ACTIVE || !handle->resting || handle->cancelled)
        return;
    uv_update_time(client->loop);
    client->inside_curl++; /* it may bring the piece at once */
    http_transfer_resume(handle);
    bool all = handle->stood_in && http_stand_in_feed(handle);
    client->inside_curl--;
    if (all)
        http_client_hop_ended(handle, CURLE_OK);
    else if (!handle->stood_in)
        watch_deadline(client, handle->deadline);
    wake_now(client);
}

void http_cancel(struct http_handle *handle)
{
    if (handle == NULL || handle->state == HTTP_CALLING)
        return;
    struct http_client *client = handle->client;
    if (client->inside_curl > 0 && handle->state == HTTP_ACTIVE) {
        handle->cancelled = true;
        client->some_cancelled = true;
        wake_now(client);
        return;
    }
    drop(handle);
    if (client->pending == 0)
        wake_now(client); /* a turn that finds nothing to do and lets the timers go */
}

static void drop_all(struct http_link *head)
{
    while (!http_link_alone(head))
        drop(HTTP_OF(head->next, struct http_handle, link));
}

void http_client_free(struct http_client *client)
{
    if (client == NULL || client->freed)
        return;
    client->freed = true;
    drop_all(&client->active);
    drop_all(&client->done);
    drop_all(&client->batch);
    while (!http_link_alone(&client->origins)) {
        /* The last one to leave takes the origin with it. */
        struct http_origin *origin = HTTP_OF(client->origins.next, struct http_origin, link);
        drop(HTTP_OF(origin->waiting.next, struct http_handle, link));
    }
    close_multi(client);
    uv_close((uv_handle_t *)&client->curl_timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->deadline_timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->idle, on_handle_closed);
}

void http_client_idle(struct http_client *client)
{
    if (client->pending == 0 && client->inside_curl == 0)
        close_multi(client);
}
