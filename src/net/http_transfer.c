/* One hop of a request: libcurl's options, what arrives, redirects, and the end put into words.
 * Must not call the multi interface, and must not run callbacks of the client's users. */
#include "net/http_client_priv.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "net/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define SKIPPED_BODY_MAX                                                                                     \
    ((size_t)64 * 1024) /* of a redirect: reading more costs more than a new connection */
#define PRESIZED_BODY_MAX ((size_t)1024 * 1024)

/* Server names and libcurl's words go into messages: no control characters there. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

bool http_set_failure(struct http_handle *handle, enum http_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(handle->message, sizeof handle->message, format, arguments);
    va_end(arguments);
    make_printable(handle->message);
    handle->error = error;
    return false;
}

static bool method_is(const struct http_handle *handle, const char *method)
{
    return strcmp(handle->request.method.text, method) == 0;
}

static bool name_is(const struct http_field *field, const char *name)
{
    return strcasecmp(field->name.text, name) == 0;
}

static bool has_field(const struct http_handle *handle, const char *name)
{
    for (size_t i = 0; i < handle->request.header_count; i++)
        if (name_is(&handle->fields[i], name))
            return true;
    return false;
}

static void drop_fields(struct http_handle *handle, const char *const names[])
{
    size_t kept = 0;
    for (size_t i = 0; i < handle->request.header_count; i++) {
        bool drop = false;
        for (size_t n = 0; names[n] != NULL && !drop; n++)
            drop = name_is(&handle->fields[i], names[n]);
        if (!drop)
            handle->fields[kept++] = handle->fields[i];
    }
    handle->request.header_count = kept;
}

/* ---- what arrives -------------------------------------------------------------------------------- */

static bool is_redirect(const struct http_handle *handle)
{
    int status = handle->status;
    if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
        return false;
    const struct http_header *location = http_headers_find(&handle->headers, "location", 0);
    return location != NULL && location->value_len > 0 && handle->request.max_redirects > 0;
}

static int status_of(const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    int status = 0;
    for (size_t i = space != NULL ? (size_t)(space - line) + 1 : len; i < len && status < 1000; i++) {
        if (line[i] < '0' || line[i] > '9')
            break;
        status = status * 10 + (line[i] - '0');
    }
    return status;
}

size_t http_transfer_header(char *line, size_t size, size_t count, void *ctx)
{
    struct http_handle *handle = ctx;
    size_t len = size * count;
    bool interim = handle->status >= 100 && handle->status < 200;
    bool status_line = len >= 5 && memcmp(line, "HTTP/", 5) == 0;
    /* A challenge that libcurl answers is followed by another response of the same transfer. */
    bool challenged = handle->request.digest && handle->status == 401 && status_line;
    if (handle->headers_done && !interim && !challenged)
        return len; /* trailers */
    if (status_line && (handle->status == 0 || handle->headers_done)) {
        size_t bytes = handle->headers.bytes; /* endless interim responses are endless headers */
        http_headers_free(&handle->headers);
        handle->headers.bytes = bytes + len;
        handle->headers_done = false;
        handle->status = status_of(line, len);
        return len;
    }
    if (line[0] == '\r' || line[0] == '\n') {
        handle->headers_done = true;
        handle->following = is_redirect(handle);
        return len;
    }
    struct err err;
    enum err_code code = http_headers_add_line(&handle->headers, line, len, &err);
    if (code == ERR_NONE)
        return len;
    if (code == ERR_LIMIT)
        http_set_failure(handle, HTTP_ERROR_TOO_LARGE, "the answer of %s is refused: %s",
                         handle->target.shown, err.message);
    else
        http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory while reading the headers of %s",
                         handle->target.shown);
    return 0;
}

static bool body_too_large(struct http_handle *handle)
{
    return http_set_failure(
        handle, HTTP_ERROR_TOO_LARGE,
        "the body from %s is larger than the maximum of %zu bytes; raise the maximum to read it",
        handle->target.shown, handle->request.max_body);
}

/* A length announced spares reading what will not be kept, and growing step by step what will. */
static bool begin_body(struct http_handle *handle)
{
    curl_off_t announced = -1;
    handle->body_begun = true;
    if (handle->stood_in)
        announced = (curl_off_t)handle->given.len;
    else
        handle->client->api->easy_getinfo(handle->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (announced <= 0 || http_headers_find(&handle->headers, "content-encoding", 0) != NULL)
        return true;
    if ((uint64_t)announced > handle->request.max_body)
        return body_too_large(handle);
    if (handle->request.on_data != NULL)
        return true;
    size_t likely = (size_t)announced < PRESIZED_BODY_MAX ? (size_t)announced : PRESIZED_BODY_MAX;
    if (buf_reserve(&handle->body, likely) == NULL)
        return http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory while reading the body from %s",
                                handle->target.shown);
    return true;
}

/* Hands a piece of the body to whoever streams it. */
static size_t stream_body(struct http_handle *handle, const char *data, size_t len)
{
    const struct http_request *request = &handle->request;
    if (!handle->head_given) {
        struct http_response *head = http_transfer_response(handle);
        if (head == NULL) {
            http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory while reading the body from %s",
                             handle->target.shown);
            return 0;
        }
        handle->head_given = true;
        request->on_head(request->stream_ctx, head);
    }
    if (len > request->max_body - handle->streamed) {
        body_too_large(handle);
        return 0;
    }
    handle->resting = !request->on_data(request->stream_ctx, data, len);
    if (handle->resting) {
        handle->deadline = UINT64_MAX;
        return CURL_WRITEFUNC_PAUSE;
    }
    handle->streamed += len;
    handle->deadline = uv_now(handle->client->loop) + request->timeout_ms;
    return len;
}

void http_transfer_resume(struct http_handle *handle)
{
    handle->resting = false;
    if (handle->stood_in)
        return;
    handle->deadline = uv_now(handle->client->loop) + handle->request.timeout_ms;
    handle->client->api->easy_pause(handle->easy, CURLPAUSE_CONT);
}

size_t http_transfer_body(char *data, size_t size, size_t count, void *ctx)
{
    struct http_handle *handle = ctx;
    size_t len = size * count;
    if (handle->following) {
        handle->skipped += len;
        handle->skipped_enough = handle->skipped > SKIPPED_BODY_MAX;
        return handle->skipped_enough ? 0 : len;
    }
    if (!handle->body_begun && !begin_body(handle))
        return 0;
    if (handle->request.on_data != NULL)
        return stream_body(handle, data, len);
    if (len > handle->request.max_body - handle->body.len) {
        body_too_large(handle);
        return 0;
    }
    buf_add(&handle->body, data, len);
    if (handle->body.failed) {
        http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory while reading the body from %s",
                         handle->target.shown);
        return 0;
    }
    return len;
}

/* ---- addresses ----------------------------------------------------------------------------------- */

static bool address_allowed(struct http_handle *handle, const struct sockaddr *address)
{
    char reason[HTTP_REASON_MAX] = "";
    if (handle->request.allow_address == NULL || handle->trusted_proxy ||
        handle->request.allow_address(handle->request.allow_ctx, address, reason))
        return true;
    http_set_failure(handle, HTTP_ERROR_DENIED, "connecting to %s is denied: %s", handle->target.shown,
                     reason[0] != '\0' ? reason : "its address is not allowed");
    handle->error = HTTP_OK; /* another address of the same host may do: decided at the end */
    handle->address_refused = true;
    return false;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_handle *handle = ctx;
    (void)purpose;
    if (!address_allowed(handle, &address->addr))
        return CURL_SOCKET_BAD;
    handle->address_tried = true;
    /* Close-on-exec, unlike libcurl's own: no child shall hold a connection open. */
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* A reused connection was opened for another request, whose permissions may have been wider. */
static int before_request(void *ctx, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    struct http_handle *handle = ctx;
    (void)local_ip;
    (void)local_port;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    if (inet_pton(AF_INET, remote_ip, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t)remote_port);
    } else if (inet_pton(AF_INET6, remote_ip, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t)remote_port);
    } else {
        http_set_failure(handle, HTTP_ERROR_DENIED, "connecting to %s is denied: its address cannot be read",
                         handle->target.shown);
        return CURL_PREREQFUNC_ABORT;
    }
    if (address_allowed(handle, &address.any))
        return CURL_PREREQFUNC_OK;
    handle->error = HTTP_ERROR_DENIED;
    return CURL_PREREQFUNC_ABORT;
}

/* ---- options ------------------------------------------------------------------------------------- */

static bool add_line(struct http_handle *handle, const char *text)
{
    struct curl_slist *lines = handle->client->api->slist_append(handle->lines, text);
    if (lines != NULL)
        handle->lines = lines;
    return lines != NULL;
}

static bool add_field(struct http_handle *handle, const struct http_field *field)
{
    struct buf line;
    buf_init(&line, 2 * HTTP_HEADERS_MAX_BYTES);
    buf_add(&line, field->name.text, field->name.len);
    /* "Name:" would tell libcurl to leave the header out. */
    if (field->value.text[strspn(field->value.text, " \t")] == '\0')
        buf_addc(&line, ';');
    else {
        buf_adds(&line, ": ");
        buf_add(&line, field->value.text, field->value.len);
    }
    bool added = !line.failed && add_line(handle, buf_text(&line));
    buf_free(&line);
    return added;
}

static bool sends_body(const struct http_handle *handle)
{
    return handle->request.has_body || method_is(handle, "POST") || method_is(handle, "PUT") ||
           method_is(handle, "PATCH");
}

/* ---- fields of one hop ---- */

static bool take_field(void *taking, const char *name, const char *value, size_t len)
{
    struct http_handle *handle = taking;
    size_t name_len = strlen(name);
    struct http_added *added = mem_alloc(sizeof *added + name_len + len + 3);
    if (added == NULL)
        return false;
    added->name_len = name_len;
    added->len = name_len + 2 + len;
    memcpy(added->line, name, name_len);
    memcpy(added->line + name_len, ": ", 2);
    memcpy(added->line + name_len + 2, value, len);
    added->line[added->len] = '\0';
    added->next = handle->added;
    handle->added = added;
    return true;
}

static void release_added(struct http_handle *handle)
{
    while (handle->added != NULL) {
        struct http_added *added = handle->added;
        handle->added = added->next;
        crypto_wipe(added->line, added->len);
        mem_free(added);
    }
}

static bool is_replaced(const struct http_handle *handle, const char *name)
{
    size_t len = strlen(name);
    for (const struct http_added *added = handle->added; added != NULL; added = added->next)
        if (added->name_len == len && strncasecmp(added->line, name, len) == 0)
            return true;
    return false;
}

/* Asks for the fields of this hop; false when it is refused, with error and message set. */
static bool collect_added(struct http_handle *handle)
{
    char reason[HTTP_REASON_MAX] = "";
    const struct http_request *request = &handle->request;
    if (request->add_fields == NULL ||
        request->add_fields(request->allow_ctx, handle->target.tls, handle->target.host, handle->target.port,
                            take_field, handle, reason))
        return true;
    return http_set_failure(handle, HTTP_ERROR_CREDENTIAL, "a request to %s cannot be sent: %s",
                            handle->target.shown, reason);
}

static bool add_lines(struct http_handle *handle)
{
    for (size_t i = 0; i < handle->request.header_count; i++)
        if (!name_is(&handle->fields[i], "Content-Length") &&
            !is_replaced(handle, handle->fields[i].name.text) && !add_field(handle, &handle->fields[i]))
            return false;
    for (const struct http_added *added = handle->added; added != NULL; added = added->next)
        if (!add_line(handle, added->line))
            return false;
    if (sends_body(handle) && !has_field(handle, "Content-Type") && !add_line(handle, "Content-Type:"))
        return false; /* libcurl would say that it is a form */
    return has_field(handle, "Expect") || add_line(handle, "Expect:");
}

#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        if (status == CURLE_OK)                                                                              \
            status = api->easy_setopt(handle->easy, option, value);                                          \
    } while (0)

static CURLcode set_credentials(struct http_handle *handle)
{
    const struct curl_api *api = handle->client->api;
    const struct http_request *request = &handle->request;
    CURLcode status = CURLE_OK;
    if (is_replaced(handle, "Authorization"))
        return CURLE_OK;
    const char *user = handle->send_credentials ? request->user.text : NULL;
    const char *password = user != NULL && request->password.text != NULL ? request->password.text : "";
    const char *bearer = handle->send_credentials ? request->bearer.text : NULL;
    if (user == NULL && bearer == NULL && !has_field(handle, "Authorization")) {
        user = handle->target.user;
        password = handle->target.password;
    }
    if (bearer != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, bearer);
    } else if (user != NULL) {
        SET(CURLOPT_HTTPAUTH, handle->request.digest ? (long)CURLAUTH_DIGEST : (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, user);
        SET(CURLOPT_PASSWORD, password);
    }
    return status;
}

/* Of this hop; "" for none. */
static const char *proxy_of(struct http_handle *handle)
{
    const struct http_request *request = &handle->request;
    const char *proxy = request->proxy.len > 0 ? request->proxy.text : NULL;
    handle->trusted_proxy = false;
    if (proxy == NULL && request->environment_proxy) {
        proxy = proxy_for(handle->target.tls, handle->target.host, handle->target.port);
        handle->trusted_proxy = proxy != NULL;
    }
    return proxy != NULL ? proxy : "";
}

static CURLcode set_options(struct http_handle *handle)
{
    const struct curl_api *api = handle->client->api;
    const struct http_request *request = &handle->request;
    CURLcode status = CURLE_OK;
    uint64_t now = uv_now(handle->client->loop);
    uint64_t left = handle->deadline > now ? handle->deadline - now : 1;
    uint64_t connect = request->connect_timeout_ms < left ? request->connect_timeout_ms : left;

    SET(CURLOPT_PRIVATE, handle);
    SET(CURLOPT_CURLU, handle->target.url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
    SET(CURLOPT_ERRORBUFFER, handle->detail);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (request->ca_file.len > 0)
        SET(CURLOPT_CAINFO, request->ca_file.text);
    SET(CURLOPT_PROXY, proxy_of(handle));
    SET(CURLOPT_NOPROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_ACCEPT_ENCODING, ""); /* all that this libcurl can decode */
    SET(CURLOPT_USERAGENT, "workers/" WORKERS_VERSION);
    SET(CURLOPT_HTTPHEADER, handle->lines);
    SET(CURLOPT_HEADERFUNCTION, http_transfer_header);
    SET(CURLOPT_HEADERDATA, handle);
    SET(CURLOPT_WRITEFUNCTION, http_transfer_body);
    SET(CURLOPT_WRITEDATA, handle);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, handle);
    if (request->allow_address != NULL) {
        SET(CURLOPT_PREREQFUNCTION, before_request);
        SET(CURLOPT_PREREQDATA, handle);
    }
    if (method_is(handle, "HEAD")) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (sends_body(handle)) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, request->body.text != NULL ? request->body.text : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(CURLOPT_CUSTOMREQUEST, request->method.text);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
        SET(CURLOPT_CUSTOMREQUEST, request->method.text);
    }
    if (status == CURLE_OK)
        status = set_credentials(handle);
    if (status == CURLE_OK) {
        /* Without it, giving up on a request would wait for its name resolution. Older libraries lack it. */
        CURLcode quick = api->easy_setopt(handle->easy, CURLOPT_QUICK_EXIT, 1L);
        status = quick == CURLE_UNKNOWN_OPTION ? CURLE_OK : quick;
    }
    return status;
}

bool http_transfer_begin(struct http_handle *handle)
{
    const struct http_request *request = &handle->request;
    char reason[HTTP_REASON_MAX] = "";
    if (request->allow_url != NULL && !request->allow_url(request->allow_ctx, handle->target.tls,
                                                          handle->target.host, handle->target.port, reason))
        return http_set_failure(handle, HTTP_ERROR_DENIED, "a request to %s is denied: %s",
                                handle->target.shown, reason[0] != '\0' ? reason : "it is not allowed");

    http_transfer_release(handle);
    buf_init(&handle->body, request->max_body);
    handle->status = 0;
    handle->headers_done = handle->body_begun = handle->following = handle->skipped_enough = false;
    handle->address_refused = handle->address_tried = false;
    handle->resting = false;
    handle->skipped = 0;
    handle->detail[0] = '\0';
    return collect_added(handle);
}

bool http_transfer_prepare(struct http_handle *handle)
{
    const struct curl_api *api = handle->client->api;
    handle->refused_allocations = curl_api_refused_allocations();
    handle->easy = api->easy_init();
    if (handle->easy == NULL || !add_lines(handle))
        return http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
    CURLcode status = set_options(handle);
    if (status == CURLE_OUT_OF_MEMORY)
        return http_set_failure(handle, HTTP_ERROR_NOMEM, "out of memory");
    if (status != CURLE_OK)
        return http_set_failure(handle, HTTP_ERROR_INTERNAL, "libcurl refused an option: %s",
                                api->easy_strerror(status));
    return true;
}

void http_transfer_release(struct http_handle *handle)
{
    const struct curl_api *api = handle->client->api;
    if (handle->easy != NULL)
        api->easy_cleanup(handle->easy);
    if (handle->lines != NULL)
        api->slist_free_all(handle->lines);
    handle->easy = NULL;
    handle->lines = NULL;
    release_added(handle);
    http_stand_in_release(handle);
    http_headers_free(&handle->headers);
    buf_free(&handle->body);
}

/* ---- the end ------------------------------------------------------------------------------------- */

static bool rewrites_to_get(const struct http_handle *handle)
{
    if (handle->status == 303)
        return !method_is(handle, "GET") && !method_is(handle, "HEAD");
    return (handle->status == 301 || handle->status == 302) && method_is(handle, "POST");
}

static bool follow(struct http_handle *handle)
{
    static const char *const body_fields[] = {"Content-Type",     "Content-Length",   "Content-Encoding",
                                              "Content-Language", "Content-Location", NULL};
    static const char *const origin_fields[] = {"Authorization", "Cookie", "Proxy-Authorization", "Host",
                                                NULL};
    const struct curl_api *api = handle->client->api;
    struct http_target *here = &handle->target;
    struct http_target next;
    if (handle->redirects >= handle->request.max_redirects)
        return http_set_failure(handle, HTTP_ERROR_REDIRECT, "%s redirected more than %u times", here->shown,
                                handle->request.max_redirects);
    const struct http_header *location = http_headers_find(&handle->headers, "location", 0);
    enum http_error error =
        http_target_join(api, here, location->value, location->value_len, &next, handle->message);
    if (error == HTTP_ERROR_NOMEM)
        return http_set_failure(handle, error, "out of memory");
    if (error != HTTP_OK) {
        char why[HTTP_MESSAGE_MAX];
        memcpy(why, handle->message, sizeof why);
        return http_set_failure(handle, HTTP_ERROR_REDIRECT, "%s redirected to where nobody can follow: %s",
                                here->shown, why);
    }
    if (here->tls && !next.tls) {
        http_set_failure(
            handle, HTTP_ERROR_REDIRECT,
            "%s redirected from https to http at %s, which is refused: it would give up encryption",
            here->shown, next.shown);
        http_target_free(api, &next);
        return false;
    }
    if (strcmp(here->origin, next.origin) != 0) {
        handle->send_credentials = false;
        drop_fields(handle, origin_fields);
    } else if (next.user == NULL) {
        next.user = here->user;
        next.password = here->password;
        here->user = here->password = NULL;
    }
    if (rewrites_to_get(handle)) {
        handle->request.method = http_slice("GET");
        handle->request.body = (struct http_slice){0};
        handle->request.has_body = false;
        drop_fields(handle, body_fields);
    }
    http_target_free(api, here);
    *here = next;
    handle->redirects++;
    return true;
}

static const char *phase(const struct http_handle *handle)
{
    curl_off_t resolved = 0;
    curl_off_t connected = 0;
    if (handle->easy == NULL)
        return "nothing was begun";
    handle->client->api->easy_getinfo(handle->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
    handle->client->api->easy_getinfo(handle->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (handle->headers_done)
        return "the body was still arriving";
    if (connected > 0)
        return "it was connected but had not answered";
    return resolved > 0 ? "it was not connected yet" : "its name was not resolved yet";
}

void http_transfer_timed_out(struct http_handle *handle)
{
    http_set_failure(handle, HTTP_ERROR_TIMEOUT, "%s did not finish within %llu ms: %s", handle->target.shown,
                     (unsigned long long)handle->request.timeout_ms, phase(handle));
}

static enum http_error classify(const struct http_handle *handle, CURLcode code)
{
    /* libcurl has other names for it in places. */
    if (curl_api_refused_allocations() != handle->refused_allocations)
        return HTTP_ERROR_NOMEM;
    switch (code) {
    case CURLE_URL_MALFORMAT:
        return HTTP_ERROR_URL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTP_ERROR_DNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
        return HTTP_ERROR_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_ERROR_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_USE_SSL_FAILED:
        return HTTP_ERROR_TLS;
    case CURLE_RECV_ERROR:
        /* One code for a lost connection and for two things a server can say wrongly. */
        if (strstr(handle->detail, "chunked-encoding") != NULL)
            return HTTP_ERROR_PROTOCOL;
        if (strstr(handle->detail, "Too large response headers") != NULL)
            return HTTP_ERROR_TOO_LARGE;
        return HTTP_ERROR_RESET;
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2_STREAM:
        return HTTP_ERROR_RESET;
    case CURLE_WRITE_ERROR:           /* not by a callback of ours, so by the decoder: bytes behind its end */
    case CURLE_BAD_FUNCTION_ARGUMENT: /* so it says of a header line without a colon */
    case CURLE_HTTP2:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP_RETURNED_ERROR:
        return HTTP_ERROR_PROTOCOL;
    case CURLE_FILESIZE_EXCEEDED:
        return HTTP_ERROR_TOO_LARGE;
    case CURLE_OUT_OF_MEMORY:
        return HTTP_ERROR_TOO_LARGE; /* a header line beyond its own limit */
    default:
        return HTTP_ERROR_INTERNAL;
    }
}

static void explain(struct http_handle *handle, CURLcode code)
{
    const struct curl_api *api = handle->client->api;
    const char *host = handle->target.shown;
    const char *detail = handle->detail[0] != '\0' ? handle->detail : api->easy_strerror(code);
    enum http_error error = classify(handle, code);
    if (code == CURLE_BAD_FUNCTION_ARGUMENT && handle->detail[0] == '\0')
        detail = "a header line is malformed";
    else if (code == CURLE_WRITE_ERROR)
        detail = "its content encoding is broken";
    long system_error = 0;
    switch (error) {
    case HTTP_ERROR_DNS:
        http_set_failure(handle, error, "the host name of %s could not be resolved", host);
        break;
    case HTTP_ERROR_CONNECT:
        api->easy_getinfo(handle->easy, CURLINFO_OS_ERRNO, &system_error);
        http_set_failure(handle, error, "could not connect to %s: %s", host,
                         system_error != 0 ? strerror((int)system_error) : detail);
        break;
    case HTTP_ERROR_TIMEOUT:
        http_set_failure(handle, error, "%s could not be connected to within %llu ms: %s", host,
                         (unsigned long long)handle->request.connect_timeout_ms, phase(handle));
        break;
    case HTTP_ERROR_TLS:
        http_set_failure(handle, error, "TLS with %s failed: %s", host, detail);
        break;
    case HTTP_ERROR_RESET:
        http_set_failure(handle, error, "%s closed the connection before the answer was complete: %s", host,
                         detail);
        break;
    case HTTP_ERROR_PROTOCOL:
        http_set_failure(handle, error, "%s did not answer in valid HTTP: %s", host, detail);
        break;
    case HTTP_ERROR_TOO_LARGE:
        http_set_failure(handle, error, "the answer of %s is refused: its headers are too large", host);
        break;
    case HTTP_ERROR_NOMEM:
        http_set_failure(handle, error, "out of memory during the request to %s", host);
        break;
    default:
        http_set_failure(handle, error, "the request to %s failed: %s", host, detail);
        break;
    }
}

bool http_transfer_ended(struct http_handle *handle, CURLcode code)
{
    if (handle->error != HTTP_OK)
        return false; /* a callback ended it and said why */
    if (handle->client->stand_in != NULL && !handle->stood_in && !handle->head_given && code == CURLE_OK)
        http_stand_in_received(handle);
    if (handle->skipped_enough && code == CURLE_WRITE_ERROR)
        code = CURLE_OK;
    if (code == CURLE_COULDNT_CONNECT && handle->address_refused && !handle->address_tried) {
        handle->error = HTTP_ERROR_DENIED; /* address_allowed left the message */
        return false;
    }
    if (code == CURLE_OK && (handle->status < 100 || handle->status > 999))
        code = CURLE_WEIRD_SERVER_REPLY;
    if (code != CURLE_OK) {
        explain(handle, code);
        return false;
    }
    return handle->following && follow(handle);
}

struct http_response *http_transfer_response(struct http_handle *handle)
{
    struct http_response *response = mem_zalloc(sizeof *response);
    if (response == NULL)
        return NULL;
    response->body = buf_take(&handle->body, &response->body_len);
    if (response->body == NULL)
        response->body = mem_strndup("", 0);
    if (response->body == NULL) {
        mem_free(response);
        return NULL;
    }
    long version = 0;
    if (handle->easy != NULL)
        handle->client->api->easy_getinfo(handle->easy, CURLINFO_HTTP_VERSION, &version);
    response->http_version = version == CURL_HTTP_VERSION_1_0   ? 10
                             : version == CURL_HTTP_VERSION_2_0 ? 20
                             : version == CURL_HTTP_VERSION_3   ? 30
                                                                : 11;
    response->status = handle->status;
    response->headers = handle->headers;
    http_headers_init(&handle->headers);
    response->url = handle->target.text;
    handle->target.text = NULL;
    response->redirects = handle->redirects;
    response->queued_ms = handle->started_at - handle->queued_at;
    response->total_ms = handle->ended_at - handle->started_at;
    return response;
}

void http_response_free(struct http_response *response)
{
    if (response == NULL)
        return;
    http_headers_free(&response->headers);
    mem_free(response->body);
    mem_free(response->url);
    mem_free(response);
}
