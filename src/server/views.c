/* /views/…: the page around a view, its key to the files, the files. Must not read rows: the page asks the
 * API for them. */
#include "server/views.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/embed.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/url.h"
#include "server/answer.h"
#include "server/api.h"
#include "server/view_files.h"
#include "server/view_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICKET_S (12 * 3600)
#define TICKET_DIGITS 32 /* of the digest */
#define TICKET_SIZE (8 + TICKET_DIGITS + 1)
#define PATH_MAX_BYTES 1024 /* of a file, within its view */
#define NAME_SIZE 401       /* bytes of a key that the address may have, encoded */
#define HOST_MAX 200

/* /views/{worker}/{key}/{rest} */
struct place {
    const char *worker, *encoded_key, *rest; /* rest: NULL when the path ends without a "/" */
    size_t worker_len, encoded_key_len;
    char key[NAME_SIZE];
};

static bool read_place(const char *path, struct place *out)
{
    *out = (struct place){.worker = path + strlen(VIEWS_PATH)};
    out->worker_len = strcspn(out->worker, "/");
    const char *key = out->worker + out->worker_len;
    if (out->worker_len == 0 || *key != '/')
        return false;
    out->encoded_key = ++key;
    out->encoded_key_len = strcspn(key, "/");
    if (out->encoded_key_len == 0 || out->encoded_key_len >= sizeof out->key)
        return false;
    out->key[url_decode_loose(out->key, key, out->encoded_key_len, false)] = '\0';
    if (key[out->encoded_key_len] == '/')
        out->rest = key + out->encoded_key_len + 1;
    return true;
}

/* ---- headers ---- */

/* The server's own address as the browser wrote it; false when a policy cannot name it. */
static bool read_host(const struct http_call *call, char out[HOST_MAX + 1])
{
    const char *host = http_call_header(call, "host");
    size_t len = host != NULL ? strlen(host) : 0;
    if (len == 0 || len > HOST_MAX ||
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") != len)
        return false;
    memcpy(out, host, len + 1);
    return true;
}

/* A source of a policy: what lies below path, or all of the server when it cannot be named closer. */
static void write_source(struct buf *out, const struct http_call *call, const char *path, size_t len)
{
    char host[HOST_MAX + 1];
    /* ";" and "," end a policy. Encoded, as keys are, they do not: browsers decode a path when they compare
     * it. */
    bool plain = true;
    for (size_t i = 0; i < len; i++)
        plain = plain && strchr(";,'\" ", path[i]) == NULL;
    if (plain && read_host(call, host))
        buf_addf(out, "%s%.*s", host, (int)len, path);
    else
        buf_adds(out, "'self'");
}

static const char nothing_more[] = "form-action 'none'; base-uri 'none'; object-src 'none'";

static void answer_page(struct http_call *call, const struct place *place)
{
    const struct embedded_file *page = embed_find(web_files, "viewer.html");
    struct buf policy;
    const char *path = http_call_path(call);
    buf_init(&policy, (size_t)8 * 1024);
    buf_adds(&policy, "default-src 'none'; script-src ");
    write_source(&policy, call, VIEWS_PATH "viewer.js", strlen(VIEWS_PATH "viewer.js"));
    buf_adds(&policy, "; style-src ");
    write_source(&policy, call, VIEWS_PATH "viewer.css", strlen(VIEWS_PATH "viewer.css"));
    buf_adds(&policy, "; img-src data:; connect-src 'self'; frame-src ");
    struct buf files;
    buf_init(&files, (size_t)4 * 1024);
    buf_add(&files, path, (size_t)(place->rest - path));
    buf_adds(&files, "files/");
    write_source(&policy, call, buf_text(&files), files.len);
    buf_addf(&policy, "; frame-ancestors 'none'; %s", nothing_more);
    const struct http_answer_field fields[] = {
        {"content-type", "text/html; charset=utf-8"},  {"content-security-policy", buf_text(&policy)},
        {"x-content-type-options", "nosniff"},         {"referrer-policy", "no-referrer"},
        {"cross-origin-opener-policy", "same-origin"}, {"cache-control", "no-cache"}};
    if (policy.failed || files.failed)
        answer_error(call, 503, "no_memory", "out of memory");
    else
        http_call_answer(call, 200, fields, sizeof fields / sizeof fields[0], page->begin,
                         (size_t)(page->end - page->begin));
    buf_free(&policy);
    buf_free(&files);
}

static void answer_own(struct http_call *call, const char *name, const char *type)
{
    const struct embedded_file *file = embed_find(web_files, name);
    const struct http_answer_field fields[] = {
        {"content-type", type}, {"x-content-type-options", "nosniff"}, {"cache-control", "no-cache"}};
    http_call_answer(call, 200, fields, sizeof fields / sizeof fields[0], file->begin,
                     (size_t)(file->end - file->begin));
}

/* What runs in the frame: the guard, scripts of its own folder, no connection, no other page. */
static void answer_file(struct http_call *call, const struct view_file *file, int status, const char *folder,
                        size_t folder_len)
{
    struct buf policy;
    buf_init(&policy, (size_t)16 * 1024);
    buf_adds(&policy, "sandbox allow-scripts; default-src 'none'");
    static const struct {
        const char *directive, *more;
    } kinds[] = {{"style-src", " 'unsafe-inline'"},
                 {"img-src", " data: blob:"},
                 {"font-src", " data:"},
                 {"media-src", " data: blob:"}};
    buf_adds(&policy, "; script-src ");
    write_source(&policy, call, folder, folder_len);
    buf_addc(&policy, ' ');
    bool made = view_guard_source(&policy);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        buf_addf(&policy, "; %s ", kinds[i].directive);
        write_source(&policy, call, folder, folder_len);
        buf_adds(&policy, kinds[i].more);
    }
    buf_addf(&policy, "; connect-src 'none'; frame-ancestors 'self'; %s", nothing_more);
    /* A digest lets in whatever says that it has it, by "integrity", from any server: what is asked for is
     * enough to tell somebody something. So a second policy, of which scripts need the leave too, has none.
     */
    buf_adds(&policy, ", script-src ");
    write_source(&policy, call, folder, folder_len);
    buf_adds(&policy, " 'unsafe-inline'");
    const struct http_answer_field fields[] = {
        {"content-type", file->type},
        {"content-security-policy", buf_text(&policy)},
        /* What the policy does not cover: WebRTC (server/view_guard.h too), names that are looked up and
         * connections that are made ahead. */
        {"connection-allowlist", "(response-origin)"},
        {"x-dns-prefetch-control", "off"},
        {"permissions-policy", "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), "
                               "serial=(), hid=(), midi=(), payment=()"},
        {"x-content-type-options", "nosniff"},
        {"referrer-policy", "no-referrer"},
        /* The frame has no origin, and modules are asked for with one. */
        {"access-control-allow-origin", "*"},
        {"cache-control", "no-cache"}};
    if (policy.failed || !made)
        answer_error(call, 503, "no_memory", "out of memory");
    else
        http_call_answer(call, status, fields, sizeof fields / sizeof fields[0], file->bytes, file->len);
    buf_free(&policy);
}

/* ---- the key to the files ---- */

/* A frame without an origin can send no token: the address itself says that somebody with a token got it. */
static bool write_ticket(const struct views *views, const struct place *place, uint32_t until_s,
                         char out[TICKET_SIZE])
{
    unsigned char digest[CRYPTO_DIGEST_MAX];
    size_t len = 0;
    struct buf text;
    struct err ignored;
    buf_init(&text, (size_t)4 * 1024);
    buf_addf(&text, "%08x", (unsigned)until_s);
    buf_add(&text, place->worker, place->worker_len);
    buf_addc(&text, '/');
    buf_adds(&text, place->key);
    bool made = buf_status(&text, "the text", &ignored) == ERR_NONE &&
                crypto_hmac("sha256", views->secret, sizeof views->secret, buf_text(&text), text.len, digest,
                            &len, &ignored) == ERR_NONE;
    buf_free(&text);
    snprintf(out, TICKET_SIZE, "%08x", (unsigned)until_s);
    for (size_t i = 0; made && i < TICKET_DIGITS / 2; i++)
        snprintf(out + 8 + 2 * i, 3, "%02x", digest[i]);
    return made;
}

static bool is_ticket(const struct views *views, const struct place *place, const char *text)
{
    char wanted[TICKET_SIZE];
    char until[9] = "";
    memcpy(until, text, 8);
    if (strspn(until, "0123456789abcdef") != 8)
        return false;
    uint32_t until_s = (uint32_t)strtoul(until, NULL, 16);
    return (int64_t)until_s >= clock_now_ms() / 1000 && write_ticket(views, place, until_s, wanted) &&
           crypto_equal(wanted, text, TICKET_SIZE - 1);
}

/* ---- requests ---- */

static const struct view *find_view(const struct views *views, const struct place *place,
                                    struct service **service)
{
    *service = hosting_find(views->hosting, place->worker, place->worker_len);
    return *service != NULL ? worker_view(service_runtime(*service)->worker, place->key) : NULL;
}

/* The folder with the project's files. */
static const char *project_of(struct service *service)
{
    const struct runtime_options *options = &service_runtime(service)->options;
    return options->code != NULL ? options->code : options->folder;
}

/* Another number after the files have changed, or what the worker says of the view. */
static uint64_t mark_of(struct service *service, const struct view *view)
{
    char folder[PATH_MAX_BYTES], root[PATH_MAX_BYTES + 4096];
    const struct worker *worker = service_runtime(service)->worker;
    struct buf declared;
    view_folder(view, folder, sizeof folder);
    snprintf(root, sizeof root, "%s/%s", project_of(service), folder);
    uint64_t mark = view_files_mark(root, VIEW_SAMPLE);
    buf_init(&declared, (size_t)1024 * 1024);
    view_write(worker, view, &declared);
    for (size_t i = 0; i < view->source_count; i++) {
        const struct database *database = &worker->databases[view->sources[i].database];
        for (size_t k = 0; k < database->property_count; k++) {
            const struct property *property = &database->properties[k];
            buf_addf(&declared, "%s:%s", property->name, property_type_name(property->type));
            for (size_t n = 0; n < property->option_count; n++)
                buf_addf(&declared, ":%s", property->options[n].name);
        }
    }
    mark = view_mark_mix(mark, buf_text(&declared), declared.len);
    buf_free(&declared);
    return mark;
}

/* POST …/open: where the files are, for who has a token; and a mark of them, which changes when they do. */
static void open_view(const struct views *views, struct http_call *call, const struct place *place)
{
    size_t len = 0;
    enum token_scope scope;
    struct service *service = NULL;
    const struct view *view = find_view(views, place, &service);
    const char *token = api_bearer(call, &len);
    char ticket[TICKET_SIZE];
    if (token == NULL || service == NULL || !hosting_token(views->hosting, service, token, len, &scope)) {
        answer_error(call, 401, "unauthorized",
                     token == NULL ? "send a token: Authorization: Bearer …"
                                   : "the token is not good for this worker");
        return;
    }
    if (view == NULL) {
        answer_error(call, 404, "not_found", "the worker has no such view: workers view list shows them");
        return;
    }
    if (!write_ticket(views, place, (uint32_t)(clock_now_ms() / 1000 + TICKET_S), ticket)) {
        answer_error(call, 500, "failed", "libcrypto cannot be used");
        return;
    }
    char body[256];
    int body_len = snprintf(body, sizeof body, "{\"files\":\"files/%s/\",\"mark\":\"%016llx\"}", ticket,
                            (unsigned long long)mark_of(service, view));
    answer_json(call, 200, body, (size_t)body_len);
}

static void answer_text(struct http_call *call, int status, const char *text, const char *folder, size_t len)
{
    const struct view_file file = {
        .bytes = (char *)(uintptr_t)text, .len = strlen(text), .type = "text/plain; charset=utf-8"};
    answer_file(call, &file, status, folder, len);
}

/* files/{ticket}/{path} */
static void send_file(const struct views *views, struct http_call *call, const struct place *place)
{
    const char *ticket = place->rest + strlen("files/");
    const char *path = http_call_path(call);
    struct service *service = NULL;
    const struct view *view = find_view(views, place, &service);
    char folder[PATH_MAX_BYTES], name[PATH_MAX_BYTES], message[PATH_MAX_BYTES + 512];
    struct view_file file = {0};
    if (strlen(ticket) < TICKET_SIZE || ticket[TICKET_SIZE - 1] != '/' || view == NULL ||
        !is_ticket(views, place, ticket)) {
        answer_error(call, 404, "not_found",
                     "there is nothing at this path; load the page of the view again");
        return;
    }
    const char *asked = ticket + TICKET_SIZE;
    size_t folder_len = (size_t)(asked - path);
    size_t len = strlen(asked);
    if (len >= sizeof name) {
        answer_text(call, 404, "the path is too long", path, folder_len);
        return;
    }
    name[url_decode_loose(name, asked, len, false)] = '\0';
    view_folder(view, folder, sizeof folder);
    if (view_file_read(project_of(service), folder, name[0] != '\0' ? name : VIEW_PAGE, &file)) {
        if (view_guard(&file))
            answer_file(call, &file, 200, path, folder_len);
        else
            answer_error(call, 503, "no_memory", "out of memory");
    } else if (name[0] == '\0' && view->is_project) {
        snprintf(message, sizeof message, "The view is not built yet: workers view build %s", view->key);
        answer_text(call, 404, message, path, folder_len);
    } else if (name[0] == '\0') {
        snprintf(message, sizeof message,
                 "There is no %s/" VIEW_PAGE ": make it, or correct path in worker:view", view->path);
        answer_text(call, 404, message, path, folder_len);
    } else {
        answer_text(call, 404, "the view has no such file", path, folder_len);
    }
    view_file_free(&file);
}

static void redirect(struct http_call *call)
{
    char location[PATH_MAX_BYTES];
    if (snprintf(location, sizeof location, "%s/", http_call_path(call)) >= (int)sizeof location) {
        answer_error(call, 404, "not_found", "there is nothing at this path");
        return;
    }
    const struct http_answer_field field = {"location", location};
    http_call_answer(call, 308, &field, 1, "", 0);
}

void views_request(const struct views *views, struct http_call *call)
{
    const char *path = http_call_path(call), *method = http_call_method(call);
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    struct place place;
    if (get && strcmp(path, VIEWS_PATH "viewer.js") == 0)
        answer_own(call, "viewer.js", "text/javascript; charset=utf-8");
    else if (get && strcmp(path, VIEWS_PATH "viewer.css") == 0)
        answer_own(call, "viewer.css", "text/css; charset=utf-8");
    else if (!read_place(path, &place))
        answer_error(call, 404, "not_found", "there is nothing at this path");
    else if (get && place.rest == NULL)
        redirect(call);
    else if (get && place.rest[0] == '\0')
        answer_page(call, &place);
    else if (get && strncmp(place.rest, "files/", 6) == 0)
        send_file(views, call, &place);
    else if (strcmp(method, "POST") == 0 && place.rest != NULL && strcmp(place.rest, "open") == 0)
        open_view(views, call, &place);
    else if (!get)
        answer_error(call, 405, "method_not_allowed", "the path has no such method");
    else
        answer_error(call, 404, "not_found", "there is nothing at this path");
}
