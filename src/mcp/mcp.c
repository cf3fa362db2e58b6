/* Messages of the Model Context Protocol: who may ask what, and what they get. */
#include "mcp/mcp_priv.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

const char mcp_tools_changed[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}";
const char mcp_resources_changed[] =
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/list_changed\"}";

static const char *const versions[] = {MCP_VERSION, "2025-06-18", "2025-03-26"};
static const char *const levels[] = {"debug", "info",     "notice", "warning",
                                     "error", "critical", "alert",  "emergency"};

bool mcp_knows_version(const char *version)
{
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
        if (strcmp(versions[i], version) == 0)
            return true;
    return false;
}

struct mcp_client *mcp_client_new(void)
{
    struct mcp_client *client = mem_zalloc(sizeof *client);
    if (client != NULL)
        client->level = 1;
    return client;
}

void mcp_client_free(struct mcp_client *client)
{
    mem_free(client);
}

bool mcp_client_is_idle(const struct mcp_client *client)
{
    return client->requests == NULL;
}

/* ---- the end of a request ---- */

void mcp_end(struct mcp_request *request, struct buf *response)
{
    struct mcp_reply reply = request->reply;
    struct err ignored;
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        request->client->requests = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    call_free(request->call);
    mem_free(request->id);
    mem_free(request->progress_token);
    mem_free(request->uri);
    mem_free(request);
    if (response == NULL)
        reply.done(reply.ctx, NULL, 0);
    else if (buf_status(response, "the response", &ignored) != ERR_NONE)
        reply.done(reply.ctx, MCP_NO_MEMORY, strlen(MCP_NO_MEMORY));
    else
        reply.done(reply.ctx, buf_text(response), response->len);
    if (response != NULL)
        buf_free(response);
}

static void begin_response(const struct mcp_request *request, struct buf *out)
{
    buf_init(out, RESPONSE_MAX);
    buf_addf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,", request->id != NULL ? request->id : "null");
}

void mcp_result_begin(const struct mcp_request *request, struct buf *out)
{
    begin_response(request, out);
    buf_adds(out, "\"result\":");
}

void mcp_result_end(struct mcp_request *request, struct buf *out)
{
    buf_addc(out, '}');
    mcp_end(request, out);
}

void mcp_fail(struct mcp_request *request, int code, const char *format, ...)
{
    struct buf out;
    struct err err;
    va_list arguments;
    va_start(arguments, format);
    err_vset(&err, ERR_INVALID, format, arguments);
    va_end(arguments);
    begin_response(request, &out);
    buf_addf(&out, "\"error\":{\"code\":%d,\"message\":", code);
    mcp_write_text(&out, err.message, strlen(err.message));
    buf_adds(&out, "}}");
    mcp_end(request, &out);
}

void mcp_write_text(struct buf *out, const char *text, size_t len)
{
    struct err ignored;
    if (json_write_string(out, text, len, &ignored) != ERR_NONE)
        buf_adds(out, "\"(not valid UTF-8)\"");
}

/* A member that is a text; false when it is not there, none, or too long. */
static bool find_text(const char *json, size_t len, const char *name, char *out, size_t size)
{
    struct json_scan scan;
    if (!json_find_string(json, len, name, &scan) || scan.string.len >= size)
        return false;
    size_t unescaped = json_unescape(scan.string, out);
    out[unescaped] = '\0';
    return strlen(out) == unescaped;
}

bool mcp_param_text(const struct mcp_request *request, const char *name, char *out, size_t size)
{
    return find_text(request->params.text, request->params.len, name, out, size);
}

/* ---- methods ---- */

static void initialize(struct mcp_request *request)
{
    struct buf out;
    char version[16] = "";
    mcp_param_text(request, "protocolVersion", version, sizeof version);
    if (!mcp_knows_version(version))
        snprintf(version, sizeof version, "%s", MCP_VERSION);
    mcp_result_begin(request, &out);
    buf_addf(&out,
             "{\"protocolVersion\":\"%s\",\"capabilities\":{\"tools\":{\"listChanged\":true},\"resources\":{"
             "\"listChanged\":true},\"logging\":{}},\"serverInfo\":{\"name\":",
             version);
    json_write_text(&out, request->host.name);
    buf_adds(&out, ",\"version\":\"" WORKERS_VERSION "\"}}");
    mcp_result_end(request, &out);
}

static void answer_nothing(struct mcp_request *request)
{
    struct buf out;
    mcp_result_begin(request, &out);
    buf_adds(&out, "{}");
    mcp_result_end(request, &out);
}

static void set_level(struct mcp_request *request)
{
    char level[16] = "";
    mcp_param_text(request, "level", level, sizeof level);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(level, levels[i]) != 0)
            continue;
        request->client->level = (int)i;
        answer_nothing(request);
        return;
    }
    mcp_fail(request, MCP_BAD_PARAMS,
             "level must be debug, info, notice, warning, error, critical, alert or emergency");
}

int mcp_level(const char *level)
{
    if (strcmp(level, "warn") == 0)
        level = "warning";
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(level, levels[i]) == 0)
            return (int)i;
    return -1;
}

const char *mcp_level_name(int level)
{
    return levels[level];
}

static const struct {
    const char *method;
    void (*work)(struct mcp_request *request);
} methods[] = {
    {"initialize", initialize},
    {"ping", answer_nothing},
    {"tools/list", mcp_list_tools},
    {"tools/call", mcp_call_tool},
    {"resources/list", mcp_list_resources},
    {"resources/templates/list", mcp_list_templates},
    {"resources/read", mcp_read_resource},
    {"logging/setLevel", set_level},
};

/* ---- messages ---- */

static struct mcp_request *find_request(struct mcp_client *client, const struct json_slice *id)
{
    for (struct mcp_request *at = client->requests; at != NULL; at = at->next)
        if (strlen(at->id) == id->len && memcmp(at->id, id->text, id->len) == 0)
            return at;
    return NULL;
}

static void take_notification(struct mcp_client *client, const char *method, const struct json_slice *params)
{
    struct json_slice id;
    if (strcmp(method, "notifications/cancelled") != 0 ||
        !json_find(params->text, params->len, "requestId", &id))
        return;
    struct mcp_request *request = find_request(client, &id);
    if (request == NULL || request->call == NULL)
        return;
    request->cancelled = true;
    call_stop(request->call, ERR_CANCELLED, "cancelled by the client");
}

/* A response to nobody: the message was none. */
static void refuse(const struct mcp_reply *reply, int code, const char *message)
{
    struct buf out;
    buf_init(&out, RESPONSE_MAX);
    buf_addf(&out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":", code);
    mcp_write_text(&out, message, strlen(message));
    buf_adds(&out, "}}");
    reply->done(reply->ctx, buf_text(&out), out.len);
    buf_free(&out);
}

bool mcp_is_initialize(const char *json, size_t len)
{
    char method[64];
    return find_text(json, len, "method", method, sizeof method) && strcmp(method, "initialize") == 0;
}

/* An id is a text or a number. */
static bool is_id(const struct json_slice *id)
{
    return id->len > 0 && id->len <= ID_MAX &&
           (id->text[0] == '"' || id->text[0] == '-' || (id->text[0] >= '0' && id->text[0] <= '9'));
}

static void take_request(struct mcp_client *client, const struct mcp_host *host, const char *method,
                         const struct json_slice *id, const struct json_slice *params,
                         const struct mcp_reply *reply)
{
    struct mcp_request *request = mem_zalloc(sizeof *request);
    char *copy = mem_strndup(id->text, id->len);
    if (request == NULL || copy == NULL) {
        mem_free(request);
        mem_free(copy);
        refuse(reply, MCP_INTERNAL, "out of memory");
        return;
    }
    *request =
        (struct mcp_request){.client = client, .host = *host, .reply = *reply, .id = copy, .params = *params};
    request->next = client->requests;
    if (request->next != NULL)
        request->next->previous = request;
    client->requests = request;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(methods[i].method, method) == 0) {
            methods[i].work(request);
            return;
        }
    }
    mcp_fail(request, MCP_NO_METHOD, "there is no method \"%s\"", method);
}

void mcp_receive(struct mcp_client *client, const struct mcp_host *host, const char *json, size_t len,
                 const struct mcp_reply *reply)
{
    struct json_slice id, params = {"{}", 2};
    struct err err;
    char method[128] = "", version[8] = "";
    if (json_check(json, len, &err) != ERR_NONE) {
        err_context(&err, "the message is not JSON");
        refuse(reply, MCP_NO_JSON, err.message);
        return;
    }
    struct json_slice ignored;
    bool has_id = json_find(json, len, "id", &id);
    bool has_method = find_text(json, len, "method", method, sizeof method);
    json_find(json, len, "params", &params);
    if (!find_text(json, len, "jsonrpc", version, sizeof version) || strcmp(version, "2.0") != 0)
        refuse(reply, MCP_NO_REQUEST, "a message is an object with \"jsonrpc\": \"2.0\"; one at a time");
    else if (!has_method && json_find(json, len, "method", &ignored))
        refuse(reply, MCP_NO_REQUEST, "a method is a text of less than 128 bytes");
    else if (has_method && has_id && !is_id(&id))
        refuse(reply, MCP_NO_REQUEST, "an id is a text or a number");
    else if (has_method && has_id)
        take_request(client, host, method, &id, &params, reply);
    else if (has_method) {
        take_notification(client, method, &params);
        reply->done(reply->ctx, NULL, 0);
    } else if (has_id) /* a response: nothing was asked */
        reply->done(reply->ctx, NULL, 0);
    else
        refuse(reply, MCP_NO_REQUEST, "a message has a \"method\"");
}
