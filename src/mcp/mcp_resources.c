/* Resources: the worker's databases, read-only. Each is a path of the API under another name:
 *
 *     workers://shop/schema                       which property is where        /schema
 *     workers://shop/databases/items              the first rows                 /databases/items/rows
 *     workers://shop/databases/items/rows/{key}   one row                        /databases/items/rows/{key}
 *     workers://shop/databases/items/content/{key}   the content of its page, as Markdown */
#include "mcp/mcp_priv.h"

#include "base/mem.h"
#include "net/url.h"

#include <string.h>

#define URI_MAX 8192

/* ---- lists ---- */

static void write_resource(const struct mcp_request *request, const char *path, const char *name,
                           const char *title, const char *description, struct buf *out)
{
    buf_addf(out, "{\"uri\":\"workers://%s/%s\",\"name\":", request->host.name, path);
    json_write_text(out, name);
    buf_adds(out, ",\"title\":");
    json_write_text(out, title);
    buf_adds(out, ",\"description\":");
    json_write_text(out, description);
    buf_adds(out, ",\"mimeType\":\"application/json\"}");
}

void mcp_list_resources(struct mcp_request *request)
{
    const struct worker *worker = request->host.runtime->worker;
    struct buf out, path;
    mcp_result_begin(request, &out);
    buf_init(&path, BUF_UNLIMITED);
    buf_adds(&out, "{\"resources\":[");
    for (size_t i = 0; i < worker->database_count; i++) {
        const struct database *database = &worker->databases[i];
        buf_clear(&path);
        buf_adds(&path, "databases/");
        url_encode(&path, database->key, strlen(database->key));
        write_resource(request, buf_text(&path), database->key, database->initial_title,
                       "Its first 50 rows, in the order of their keys", &out);
        buf_addc(&out, ',');
    }
    write_resource(request, "schema", "schema", "Schema", "Which property is stored in which column", &out);
    buf_adds(&out, "]}");
    buf_free(&path);
    mcp_result_end(request, &out);
}

void mcp_list_templates(struct mcp_request *request)
{
    static const struct {
        const char *rest, *name, *description, *type;
    } templates[] = {
        {"databases/{database}{?after,limit}", "rows", "Rows after a key, up to 1000 at once",
         "application/json"},
        {"databases/{database}/rows/{key}", "row", "One row by its key", "application/json"},
        {"databases/{database}/content/{key}", "content", "The content of a row's page", "text/markdown"},
    };
    struct buf out;
    mcp_result_begin(request, &out);
    buf_adds(&out, "{\"resourceTemplates\":[");
    for (size_t i = 0; i < sizeof templates / sizeof templates[0]; i++)
        buf_addf(&out,
                 "%s{\"uriTemplate\":\"workers://%s/"
                 "%s\",\"name\":\"%s\",\"description\":\"%s\",\"mimeType\":\"%s\"}",
                 i > 0 ? "," : "", request->host.name, templates[i].rest, templates[i].name,
                 templates[i].description, templates[i].type);
    buf_adds(&out, "]}");
    mcp_result_end(request, &out);
}

/* ---- reading ---- */

/* The path of the API that a URI stands for; false when it stands for none. content: the member _content of
 * the answer is wanted. */
static bool find_path(const struct mcp_request *request, const char *uri, struct buf *path, bool *content)
{
    size_t name = strlen(request->host.name);
    if (strncmp(uri, "workers://", 10) != 0 || strncmp(uri + 10, request->host.name, name) != 0 ||
        uri[10 + name] != '/')
        return false;
    uri += 10 + name;
    *content = false;
    if (strcmp(uri, "/schema") == 0) {
        buf_adds(path, uri);
        return true;
    }
    if (strncmp(uri, "/databases/", 11) != 0)
        return false;
    size_t database = strcspn(uri + 11, "/?");
    const char *rest = uri + 11 + database;
    if (database == 0)
        return false;
    buf_add(path, uri, 11 + database);
    if (*rest == '\0' || *rest == '?') {
        buf_addf(path, "/rows%s", rest);
    } else if (strncmp(rest, "/rows/", 6) == 0) {
        buf_adds(path, rest);
    } else if (strncmp(rest, "/content/", 9) == 0) {
        *content = true;
        buf_addf(path, "/rows/%s", rest + 9);
    } else {
        return false;
    }
    return true;
}

void mcp_read_resource(struct mcp_request *request)
{
    char uri[URI_MAX];
    struct buf path;
    bool content = false;
    if (!mcp_param_text(request, "uri", uri, sizeof uri)) {
        mcp_fail(request, MCP_BAD_PARAMS, "uri must be the URI of a resource");
        return;
    }
    buf_init(&path, BUF_UNLIMITED);
    if (!find_path(request, uri, &path, &content)) {
        mcp_fail(request, MCP_NO_RESOURCE, "there is no resource %s: resources/list shows them", uri);
    } else if ((request->uri = mem_strndup(uri, strlen(uri))) == NULL) {
        mcp_fail(request, MCP_INTERNAL, "out of memory");
    } else {
        request->wants_content = content;
        request->host.ask(request->host.ctx, request, buf_text(&path));
    }
    buf_free(&path);
}

/* The text of the member "_content" of {"row":{…}}. */
static void write_content(const char *json, size_t len, struct buf *out)
{
    struct json_slice row;
    struct json_scan scan;
    buf_addc(out, '"');
    if (json_find(json, len, "row", &row) && json_find_string(row.text, row.len, "_content", &scan))
        buf_add(out, scan.string.text, scan.string.len); /* escaped as it was */
    buf_addc(out, '"');
}

void mcp_told(struct mcp_request *request, enum err_code code, const char *json, size_t len,
              const struct err *err)
{
    struct buf out;
    if (code != ERR_NONE) {
        mcp_fail(request,
                 code == ERR_NOT_FOUND ? MCP_NO_RESOURCE
                 : code == ERR_INVALID ? MCP_BAD_PARAMS
                                       : MCP_INTERNAL,
                 "%s", err->message);
        return;
    }
    mcp_result_begin(request, &out);
    buf_adds(&out, "{\"contents\":[{\"uri\":");
    mcp_write_text(&out, request->uri, strlen(request->uri));
    buf_addf(&out,
             ",\"mimeType\":\"%s\",\"text\":", request->wants_content ? "text/markdown" : "application/json");
    if (request->wants_content)
        write_content(json, len, &out);
    else
        mcp_write_text(&out, json, len);
    buf_adds(&out, "}]}");
    mcp_result_end(request, &out);
}
