/* Reading requests: the path, the query, the body. Must not know what a route does. */
#include "api/routes.h"

#include "base/mem.h"
#include "base/text.h"
#include "net/url.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)256 * 1024 * 1024)
#define LIST_MAX 1000
#define LIST_USUAL 50

/* ---- the path ---- */

/* Whether path is the pattern; values of {…} go to asked. */
static bool matches(const char *pattern, const char *path, struct api_asked *asked)
{
    int count = 0;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            pattern = strchr(pattern, '}') + 1;
            size_t len = strcspn(path, "/");
            if (len == 0 || count == API_PATH_PARTS)
                return false;
            asked->values[count] = path;
            asked->lens[count++] = len;
            path += len;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

const struct route *api_match(const char *method, const char *path, struct api_asked *asked, bool *known)
{
    const struct route *route = NULL;
    *known = false;
    for (size_t i = 0; (route = api_route(i)) != NULL; i++) {
        *asked = (struct api_asked){0};
        if (!matches(route->path, path, asked))
            continue;
        *known = true;
        if (strcmp(route->method, method) == 0)
            return route;
    }
    return NULL;
}

/* out has room for len and the NUL. False when there are NULs in it, or it is not UTF-8. */
static bool decode_text(char *out, const char *text, size_t len, bool plus_is_blank)
{
    size_t decoded = url_decode_loose(out, text, len, plus_is_blank);
    out[decoded] = '\0';
    return strlen(out) == decoded && text_is_utf8(out, decoded, NULL);
}

static enum err_code read_parameters(struct api_request *request, const struct api_asked *asked)
{
    for (int i = 0; i < API_PATH_PARTS && asked->values[i] != NULL; i++) {
        request->parameters[i] = mem_alloc(asked->lens[i] + 1);
        if (request->parameters[i] == NULL)
            return err_nomem(&request->err);
        if (!decode_text(request->parameters[i], asked->values[i], asked->lens[i], false))
            return err_set(&request->err, ERR_INVALID, "a part of the path is not UTF-8, or has NUL bytes");
    }
    return ERR_NONE;
}

/* ---- reading ---- */

static enum err_code find_capability(struct api_request *request)
{
    const struct route *route = request->route;
    if (route->capability == ROUTE_NONE)
        return ERR_NONE;
    request->capability =
        worker_find(request->worker, request->parameters[0], route->capability, &request->err);
    return request->capability != NULL ? ERR_NONE : request->err.code;
}

enum err_code api_request_read(struct api_request *request, const struct api_asked *asked)
{
    const char *query = asked->query != NULL ? asked->query : "";
    request->status = request->route->success;
    buf_init(&request->out, ANSWER_MAX);
    request->body_len = asked->body_len;
    request->body = mem_strndup(asked->body != NULL ? asked->body : "", asked->body_len);
    request->query = mem_strndup(query, strlen(query));
    request->code = request->body != NULL && request->query != NULL ? read_parameters(request, asked)
                                                                    : err_nomem(&request->err);
    if (request->code == ERR_NONE)
        request->code = find_capability(request);
    if (request->code == ERR_NONE && request->body_len > 0 &&
        json_check(request->body, request->body_len, &request->err) != ERR_NONE)
        request->code = err_context(&request->err, "the body is not JSON");
    return request->code;
}

void api_request_work(struct api_request *request, struct store *store)
{
    bool writes = store != NULL && (request->route->needs & ROUTE_WRITES) != 0;
    if (writes && (request->code = store_begin(store, true, &request->err)) != ERR_NONE)
        return;
    request->route->work(request, store);
    if (writes && request->code == ERR_NONE)
        request->code = store_commit(store, &request->err);
    else if (writes)
        store_rollback(store);
}

void api_request_free(struct api_request *request)
{
    for (int i = 0; i < API_PATH_PARTS; i++)
        mem_free(request->parameters[i]);
    mem_free(request->query);
    mem_free(request->body);
    buf_free(&request->out);
}

/* ---- the query ---- */

bool api_query(struct api_request *request, const char *name, char *out, size_t size)
{
    struct url_slice value;
    if (!url_find_parameter(request->query, name, &value))
        return false;
    if (value.len >= size)
        request->code = err_set(&request->err, ERR_INVALID, "%s has at most %zu bytes", name, size - 1);
    else if (!decode_text(out, value.text, value.len, true))
        request->code = err_set(&request->err, ERR_INVALID, "%s is not UTF-8, or has NUL bytes", name);
    else
        return true;
    return false;
}

/* Leaves out as it is when the query does not name it. */
bool api_number(struct api_request *request, const char *name, int64_t min, int64_t max, int64_t *out)
{
    char text[19]; /* more digits may not fit the number */
    if (api_query(request, name, text, sizeof text)) {
        size_t digits = strspn(text, "0123456789");
        int64_t number = strtoll(text, NULL, 10);
        if (digits == 0 || text[digits] != '\0' || number < min || number > max)
            request->code = err_set(&request->err, ERR_INVALID, "%s must be a whole number from %lld to %lld",
                                    name, (long long)min, (long long)max);
        else
            *out = number;
    }
    return request->code == ERR_NONE;
}

bool api_limit(struct api_request *request, int64_t *out)
{
    *out = LIST_USUAL;
    return api_number(request, "limit", 1, LIST_MAX, out);
}

/* ---- the body ---- */

bool api_body_member(const struct api_request *request, const char *name, struct json_slice *out)
{
    return json_find(request->body, request->body_len, name, out);
}

/* A text member of the body, as it is written there; false when there is none. */
bool api_body_text(const struct api_request *request, const char *name, struct json_scan *scan)
{
    return json_find_string(request->body, request->body_len, name, scan);
}

/* The same, read into out; false after an error when it is not there, empty, or does not fit. */
bool api_body_needs(struct api_request *request, const char *name, char *out, size_t size)
{
    struct json_scan scan;
    if (api_body_text(request, name, &scan) && scan.string.len < size) {
        size_t len = json_unescape(scan.string, out);
        out[len] = '\0';
        if (len > 0 && strlen(out) == len)
            return true;
    }
    request->code = err_set(&request->err, ERR_INVALID, "the body needs \"%s\", a text of 1 to %zu bytes",
                            name, size - 1);
    return false;
}

bool api_body_copy(struct api_request *request, const char *name, struct buf *out)
{
    struct json_scan scan;
    if (!api_body_text(request, name, &scan)) {
        request->code = err_set(&request->err, ERR_INVALID, "the body needs \"%s\", a text", name);
    } else {
        json_string_copy(&scan, out);
        request->code = buf_status(out, name, &request->err);
        if (request->code == ERR_NONE && strlen(buf_text(out)) != out->len)
            request->code = err_set(&request->err, ERR_INVALID, "\"%s\" has NUL bytes", name);
    }
    return request->code == ERR_NONE;
}

bool api_body_flag(const struct api_request *request, const char *name)
{
    struct json_slice slice;
    return api_body_member(request, name, &slice) && slice.len == 4 && memcmp(slice.text, "true", 4) == 0;
}

/* ---- the answer ---- */

void api_comma(struct buf *out)
{
    if (out->len > 1)
        buf_addc(out, ',');
}

void api_done(struct api_request *request)
{
    buf_adds(&request->out, "{\"status\":\"done\"}");
}
