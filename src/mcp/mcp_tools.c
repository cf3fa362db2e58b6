/* Tools: what there are, and calling one. */
#include "mcp/mcp_priv.h"

#include "base/mem.h"
#include "base/number.h"
#include "worker/json_schema.h"

#include <string.h>

/* ---- the list ---- */

/* With the name of the dialect, which the protocol recommends. */
static enum err_code write_schema(const struct json_schema *schema, bool dry_run, struct buf *out)
{
    static const char dialect[] = "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\"";
    static const char dry[] =
        "\"" DRY_RUN_PROPERTY
        "\":{\"type\":\"boolean\",\"description\":\"Only say what would be done, and change "
        "nothing\",\"default\":false}";
    struct buf text;
    struct json_slice properties;
    buf_init(&text, BUF_UNLIMITED);
    enum err_code code = json_schema_write(schema, &text);
    const char *from = buf_text(&text) + (text.len > 0), *end = buf_text(&text) + text.len;
    buf_adds(out, dialect);
    buf_adds(out, text.len > 2 ? "," : "");
    if (dry_run && json_find(buf_text(&text), text.len, "properties", &properties)) {
        const char *first = properties.text + 1;
        buf_add(out, from, (size_t)(first - from));
        buf_adds(out, dry);
        buf_adds(out, *first == '}' ? "" : ",");
        from = first;
    }
    buf_add(out, from, (size_t)(end - from));
    buf_free(&text);
    return code;
}

static enum err_code write_tool(const struct capability *tool, struct buf *out)
{
    buf_adds(out, "{\"name\":");
    json_write_text(out, tool->key);
    buf_adds(out, ",\"title\":");
    json_write_text(out, tool->title);
    buf_adds(out, ",\"description\":");
    json_write_text(out, tool->description);
    buf_adds(out, ",\"inputSchema\":");
    enum err_code code = write_schema(tool->input_schema, tool->has_dry_run, out);
    if (code == ERR_NONE && tool->output_schema != NULL) {
        buf_adds(out, ",\"outputSchema\":");
        code = write_schema(tool->output_schema, false, out);
    }
    if (tool->read_only_hint >= 0)
        buf_addf(out, ",\"annotations\":{\"readOnlyHint\":%s}", tool->read_only_hint ? "true" : "false");
    buf_addc(out, '}');
    return code;
}

void mcp_list_tools(struct mcp_request *request)
{
    const struct worker *worker = request->host.runtime->worker;
    struct buf out;
    enum err_code code = ERR_NONE;
    const char *separator = "";
    mcp_result_begin(request, &out);
    buf_adds(&out, "{\"tools\":[");
    for (size_t i = 0; i < worker->capability_count && code == ERR_NONE; i++) {
        if (worker->capabilities[i].kind != CAPABILITY_TOOL)
            continue;
        buf_adds(&out, separator);
        code = write_tool(&worker->capabilities[i], &out);
        separator = ",";
    }
    buf_adds(&out, "]}");
    if (code == ERR_NONE) {
        mcp_result_end(request, &out);
    } else {
        buf_free(&out);
        mcp_fail(request, MCP_INTERNAL, "the tools cannot be listed");
    }
}

/* ---- what a tool says while it runs ---- */

static void send_notification(const struct mcp_request *request, struct buf *message)
{
    struct err ignored;
    buf_adds(message, "}}");
    if (buf_status(message, "the notification", &ignored) == ERR_NONE)
        request->reply.notify(request->reply.ctx, buf_text(message), message->len);
    buf_free(message);
}

static void tell_log(void *ctx, const char *level, const char *text, size_t len)
{
    const struct mcp_request *request = ctx;
    struct buf message;
    int number = mcp_level(level);
    if (number < request->client->level)
        return;
    buf_init(&message, BUF_UNLIMITED);
    buf_addf(
        &message,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"%s\",\"logger\":",
        mcp_level_name(number));
    json_write_text(&message, request->host.name);
    buf_adds(&message, ",\"data\":");
    mcp_write_text(&message, text, len);
    send_notification(request, &message);
}

static void tell_progress(void *ctx, double progress, double total, const char *text)
{
    const struct mcp_request *request = ctx;
    char number[NUMBER_TEXT_MAX];
    struct buf message;
    if (request->progress_token == NULL)
        return;
    number_format_js(progress, number);
    buf_init(&message, BUF_UNLIMITED);
    buf_addf(&message,
             "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":%s,"
             "\"progress\":%s",
             request->progress_token, number);
    if (total >= 0) {
        number_format_js(total, number);
        buf_addf(&message, ",\"total\":%s", number);
    }
    if (text != NULL) {
        buf_adds(&message, ",\"message\":");
        mcp_write_text(&message, text, strlen(text));
    }
    send_notification(request, &message);
}

/* ---- its result ---- */

static void write_error(const struct call_end *end, struct buf *out)
{
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    call_explain(end, &text);
    buf_adds(out, "{\"content\":[{\"type\":\"text\",\"text\":");
    mcp_write_text(out, buf_text(&text), text.len);
    buf_adds(out, "}],\"isError\":true}");
    buf_free(&text);
}

/* A text as it is, anything else as JSON; an object also as what programs read. */
static void write_value(const struct call_end *end, struct buf *out)
{
    struct json_scan scan;
    struct err ignored;
    buf_adds(out, "{\"content\":[{\"type\":\"text\",\"text\":");
    json_scan_init(&scan, end->value, end->value_len);
    bool is_value = json_scan_value(&scan, &ignored) == ERR_NONE;
    if (is_value && scan.token == JSON_STRING)
        buf_add(out, end->value, end->value_len);
    else
        mcp_write_text(out, end->value, end->value_len);
    buf_adds(out, "}]");
    if (is_value && scan.token == JSON_OBJECT) {
        buf_adds(out, ",\"structuredContent\":");
        buf_add(out, end->value, end->value_len);
    }
    buf_addc(out, '}');
}

static void call_ended(void *ctx, struct call *call, const struct call_end *end)
{
    struct mcp_request *request = ctx;
    struct buf out;
    (void)call;
    if (request->cancelled) {
        mcp_end(request, NULL);
        return;
    }
    mcp_result_begin(request, &out);
    if (!end->ok)
        write_error(end, &out);
    else if (end->is_content)
        buf_add(&out, end->value, end->value_len);
    else
        write_value(end, &out);
    mcp_result_end(request, &out);
}

/* ---- the call ---- */

static bool read_progress_token(struct mcp_request *request)
{
    struct json_slice meta, token;
    if (!json_find(request->params.text, request->params.len, "_meta", &meta) ||
        !json_find(meta.text, meta.len, "progressToken", &token))
        return true;
    if (token.len > ID_MAX || strchr("\"-0123456789", token.text[0]) == NULL)
        return true;
    request->progress_token = mem_strndup(token.text, token.len);
    return request->progress_token != NULL;
}

void mcp_call_tool(struct mcp_request *request)
{
    char name[128] = "";
    struct json_slice arguments = {"{}", 2};
    struct err err;
    const struct worker *worker = request->host.runtime->worker;
    if (!request->host.may_call) {
        mcp_fail(request, MCP_BAD_PARAMS,
                 "the token may look only: calling tools needs one of the scope \"run\"");
        return;
    }
    mcp_param_text(request, "name", name, sizeof name);
    const struct capability *tool = worker_find(worker, name, CAPABILITY_TOOL, &err);
    json_find(request->params.text, request->params.len, "arguments", &arguments);
    if (tool == NULL) {
        mcp_fail(request, MCP_BAD_PARAMS, "unknown tool: %s", err.message);
        return;
    }
    if (!read_progress_token(request)) {
        mcp_fail(request, MCP_INTERNAL, "out of memory");
        return;
    }
    request->observer = (struct observer){.log = tell_log, .progress = tell_progress, .ctx = request};
    const struct call_input input = {
        .json = arguments.text, .len = arguments.len, .observer = &request->observer};
    if (call_start(request->host.runtime, tool, &input, call_ended, request, &request->call, &err) !=
        ERR_NONE)
        mcp_fail(request, MCP_INTERNAL, "%s", err.message);
}
