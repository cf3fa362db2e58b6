/* A stand-in for the network: hops that somebody else answers. Must not decide anything about a request or
 * its answer: both go the way of real ones. */
#include "net/http_client_priv.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define PIECE ((size_t)16 * 1024) /* bytes of a body that are handed on at once, as from a socket */

static void describe(const struct http_handle *handle, struct http_exchange *exchange)
{
    const struct http_request *request = &handle->request;
    *exchange = (struct http_exchange){.method = request->method.text,
                                       .url = handle->target.text,
                                       .fields = handle->fields,
                                       .field_count = request->header_count,
                                       .body = request->body,
                                       .timeout_ms = request->timeout_ms,
                                       .stream = request->on_data != NULL};
    for (const struct http_added *added = handle->added; added != NULL; added = added->next)
        exchange->hidden_fields++;
    if (handle->send_credentials) {
        exchange->user = request->user;
        exchange->password = request->password;
        exchange->bearer = request->bearer;
    }
    if (exchange->user.text == NULL && exchange->bearer.text == NULL && handle->target.user != NULL) {
        exchange->user = http_slice(handle->target.user);
        exchange->password = http_slice(handle->target.password);
    }
}

int http_stand_in_send(struct http_handle *handle)
{
    const struct http_stand_in *stand_in = handle->client->stand_in;
    struct http_exchange exchange;
    describe(handle, &exchange);
    if (exchange.url == NULL) {
        http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
        return -1;
    }
    handle->stood_in = stand_in->send(stand_in->ctx, handle, &exchange);
    return handle->stood_in;
}

void http_stand_in_received(struct http_handle *handle)
{
    const struct http_stand_in *stand_in = handle->client->stand_in;
    const struct buf *body = &handle->body;
    struct http_exchange exchange;
    describe(handle, &exchange);
    stand_in->received(stand_in->ctx, &exchange, handle->status, &handle->headers, buf_text(body), body->len);
}

void http_stand_in_release(struct http_handle *handle)
{
    const struct http_stand_in *stand_in = handle->client->stand_in;
    if (handle->stood_in && !handle->answered)
        stand_in->cancelled(stand_in->ctx, handle);
    handle->stood_in = handle->answered = false;
    mem_free(handle->given.body);
    handle->given = (struct http_given){0};
}

bool http_stand_in_feed(struct http_handle *handle)
{
    struct http_given *given = &handle->given;
    while (given->at < given->len) {
        size_t len = given->len - given->at < PIECE ? given->len - given->at : PIECE;
        size_t taken = http_transfer_body(given->body + given->at, 1, len, handle);
        if (taken == CURL_WRITEFUNC_PAUSE)
            return false;
        if (taken != len)
            return true; /* refused, or of no interest */
        given->at += len;
    }
    return true;
}

/* False when memory is out, or the head is refused, with the failure set. */
static bool feed_head(struct http_handle *handle, const struct http_answer *answer)
{
    struct buf line;
    bool taken = true;
    buf_init(&line, 2 * HTTP_HEADERS_MAX_BYTES);
    buf_addf(&line, "HTTP/1.1 %d\r\n", answer->status);
    for (size_t i = 0; i <= answer->field_count && taken; i++) {
        taken = !line.failed && http_transfer_header(line.data, 1, line.len, handle) == line.len;
        buf_clear(&line);
        if (i == answer->field_count)
            break;
        buf_add(&line, answer->fields[i].name.text, answer->fields[i].name.len);
        buf_adds(&line, ": ");
        buf_add(&line, answer->fields[i].value.text, answer->fields[i].value.len);
        buf_adds(&line, "\r\n");
    }
    char end[] = "\r\n";
    taken = taken && http_transfer_header(end, 1, 2, handle) == 2;
    if (!taken && handle->error == HTTP_OK)
        http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
    buf_free(&line);
    return taken;
}

static bool feed(struct http_handle *handle, const struct http_answer *answer)
{
    bool bodiless =
        strcmp(handle->request.method.text, "HEAD") == 0 || answer->status == 204 || answer->status == 304;
    if (answer->error != HTTP_OK) {
        http_set_failure(handle, answer->error, "%s", answer->message);
        return true;
    }
    if (!bodiless && answer->body.len > 0) {
        handle->given.body = mem_strndup(answer->body.text, answer->body.len);
        if (handle->given.body == NULL) {
            http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
            return true;
        }
        handle->given.len = answer->body.len;
    }
    return !feed_head(handle, answer) || http_stand_in_feed(handle);
}

void http_answer(struct http_handle *handle, const struct http_answer *answer)
{
    struct http_client *client = handle->client;
    handle->answered = true;
    client->inside_curl++; /* streams must not call the client */
    bool all = feed(handle, answer);
    client->inside_curl--;
    if (all)
        http_client_hop_ended(handle, CURLE_OK);
}
