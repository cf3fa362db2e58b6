/* Checks and copies requests. Must not let through what would change the framing of the message on the wire.
 */
#include "net/http_client_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void http_request_init(struct http_request *request)
{
    *request = (struct http_request){
        .method = http_slice("GET"),
        .timeout_ms = HTTP_TIMEOUT_MS,
        .connect_timeout_ms = HTTP_CONNECT_TIMEOUT_MS,
        .max_body = HTTP_MAX_BODY,
        .max_redirects = HTTP_MAX_REDIRECTS,
    };
}

struct http_slice http_slice(const char *text)
{
    return (struct http_slice){text, text != NULL ? strlen(text) : 0};
}

static bool is(const struct http_slice *slice, const char *name)
{
    return slice->len == strlen(name) && strncasecmp(slice->text, name, slice->len) == 0;
}

static enum err_code check_numbers(const struct http_request *request, struct err *err)
{
    if (request->timeout_ms < 1 || request->timeout_ms > HTTP_TIMEOUT_MAX_MS)
        return err_set(err, ERR_INVALID, "the timeout is %llu ms; it must be between 1 ms and %d ms",
                       (unsigned long long)request->timeout_ms, HTTP_TIMEOUT_MAX_MS);
    if (request->connect_timeout_ms < 1 || request->connect_timeout_ms > HTTP_TIMEOUT_MAX_MS)
        return err_set(err, ERR_INVALID, "the connect timeout is %llu ms; it must be between 1 ms and %d ms",
                       (unsigned long long)request->connect_timeout_ms, HTTP_TIMEOUT_MAX_MS);
    if (request->max_body > HTTP_MAX_BODY_LIMIT)
        return err_set(err, ERR_INVALID, "the maximum body size is %zu bytes; it can be at most %zu",
                       request->max_body, HTTP_MAX_BODY_LIMIT);
    if (request->max_redirects > HTTP_MAX_REDIRECTS_LIMIT)
        return err_set(err, ERR_INVALID, "the maximum number of redirects is %u; it can be at most %d",
                       request->max_redirects, HTTP_MAX_REDIRECTS_LIMIT);
    return ERR_NONE;
}

static enum err_code check_method(const struct http_request *request, struct err *err)
{
    if (!http_is_token(request->method.text, request->method.len) || request->method.len > 32)
        return err_set(err, ERR_INVALID, "the method is not a word such as GET or POST");
    if (is(&request->method, "CONNECT"))
        return err_set(err, ERR_INVALID, "the method CONNECT is for proxies and cannot be sent");
    if (is(&request->method, "HEAD") && (request->has_body || request->body.len > 0))
        return err_set(err, ERR_INVALID, "a HEAD request cannot have a body");
    return ERR_NONE;
}

static enum err_code check_headers(const struct http_request *request, struct err *err)
{
    bool authorization = false;
    char length[24];
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_field *field = &request->headers[i];
        enum err_code code =
            http_header_check(field->name.text, field->name.len, field->value.text, field->value.len, err);
        if (code != ERR_NONE)
            return code;
        if (is(&field->name, "Transfer-Encoding") || is(&field->name, "Upgrade"))
            return err_set(err, ERR_INVALID,
                           "header \"%.*s\" cannot be set: how the body is sent is decided here",
                           (int)field->name.len, field->name.text);
        struct http_slice expected = {length, 0};
        expected.len = (size_t)snprintf(length, sizeof length, "%zu", request->body.len);
        if (is(&field->name, "Content-Length") &&
            (field->value.len != expected.len || memcmp(field->value.text, length, expected.len) != 0))
            return err_set(
                err, ERR_INVALID,
                "header \"Content-Length\" does not say %zu, which is the size of the body; leave it out",
                request->body.len);
        authorization = authorization || is(&field->name, "Authorization");
    }
    if (request->header_count > HTTP_HEADERS_MAX_COUNT)
        return err_set(err, ERR_INVALID, "there are %zu headers; at most %zu can be sent",
                       request->header_count, HTTP_HEADERS_MAX_COUNT);
    if ((request->user.text != NULL) + (request->bearer.text != NULL) + authorization > 1)
        return err_set(err, ERR_INVALID,
                       "the request has more than one of: a user name, a bearer token, an "
                       "Authorization header; leave all but one out");
    return ERR_NONE;
}

static enum err_code check_text(const struct http_slice *slice, const char *what, struct err *err)
{
    for (size_t i = 0; i < slice->len; i++)
        if ((unsigned char)slice->text[i] < ' ' || slice->text[i] == 0x7f)
            return err_set(err, ERR_INVALID, "the %s has a control character at byte %zu", what, i + 1);
    return ERR_NONE;
}

static enum err_code check_options(const struct http_request *request, struct err *err)
{
    const struct {
        const struct http_slice *slice;
        const char *what;
    } texts[] = {{&request->user, "user name"},
                 {&request->password, "password"},
                 {&request->bearer, "bearer token"},
                 {&request->ca_file, "path of the certificate file"},
                 {&request->proxy, "proxy"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        enum err_code code = check_text(texts[i].slice, texts[i].what, err);
        if (code != ERR_NONE)
            return code;
    }
    if (request->user.len > 0 && memchr(request->user.text, ':', request->user.len) != NULL)
        return err_set(err, ERR_INVALID,
                       "the user name has a colon, which basic authentication cannot carry");
    if (request->proxy.len > 0 &&
        (request->proxy.len < 8 || strncasecmp(request->proxy.text, "http://", 7) != 0))
        return err_set(err, ERR_INVALID, "the proxy must be written as http://host:port");
    return ERR_NONE;
}

/* Copies text to *end, NUL-terminated, and makes the slice point there. */
static void take(struct http_slice *slice, char **end)
{
    if (slice->text == NULL)
        return;
    if (slice->len > 0)
        memcpy(*end, slice->text, slice->len);
    (*end)[slice->len] = '\0';
    slice->text = *end;
    *end += slice->len + 1;
}

enum err_code http_request_copy(struct http_handle *handle, const struct http_request *request,
                                struct err *err)
{
    enum err_code code = check_numbers(request, err);
    if (code == ERR_NONE)
        code = check_method(request, err);
    if (code == ERR_NONE)
        code = check_headers(request, err);
    if (code == ERR_NONE)
        code = check_options(request, err);
    if (code != ERR_NONE)
        return code;

    /* The URL is not kept as text: handle->target has it. */
    struct http_request *copy = &handle->request;
    *copy = *request;
    copy->url = (struct http_slice){0};
    struct http_slice *slices[] = {&copy->method, &copy->body,    &copy->user, &copy->password,
                                   &copy->bearer, &copy->ca_file, &copy->proxy};
    size_t size = 0;
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        size += slices[i]->len + 1;
    for (size_t i = 0; i < request->header_count; i++)
        size += request->headers[i].name.len + 1 + request->headers[i].value.len + 1;

    handle->copy = mem_alloc(size);
    handle->fields = mem_zalloc(request->header_count * sizeof *handle->fields);
    if (handle->copy == NULL || handle->fields == NULL)
        return err_nomem(err);
    char *end = handle->copy;
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        take(slices[i], &end);
    for (size_t i = 0; i < request->header_count; i++) {
        handle->fields[i] = request->headers[i];
        if (handle->fields[i].value.text == NULL)
            handle->fields[i].value = http_slice("");
        take(&handle->fields[i].name, &end);
        take(&handle->fields[i].value, &end);
    }
    copy->headers = handle->fields;
    copy->has_body = request->has_body || request->body.len > 0;
    handle->send_credentials = true;
    return ERR_NONE;
}
