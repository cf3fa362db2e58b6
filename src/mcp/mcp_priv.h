/* What the files of the protocol share. */
#ifndef WORKERS_MCP_MCP_PRIV_H
#define WORKERS_MCP_MCP_PRIV_H

#include "base/json.h"
#include "engine/call.h"
#include "mcp/mcp.h"

#define RESPONSE_MAX ((size_t)512 * 1024 * 1024)
#define ID_MAX 256 /* bytes, as written */

/* Codes of JSON-RPC 2.0, and of the protocol for a resource that there is not. */
enum {
    MCP_NO_JSON = -32700,
    MCP_NO_REQUEST = -32600,
    MCP_NO_METHOD = -32601,
    MCP_BAD_PARAMS = -32602,
    MCP_INTERNAL = -32603,
    MCP_NO_RESOURCE = -32002,
};
#define MCP_NO_MEMORY                                                                                        \
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32603,\"message\":\"out of memory\"}}"

struct mcp_client {
    int level; /* of log lines: an index into mcp_level_name */
    struct mcp_request *requests;
};

struct mcp_request {
    struct mcp_client *client;
    struct mcp_host host;
    struct mcp_reply reply;
    char *id;                 /* as it was written */
    struct json_slice params; /* valid only while the method's function runs */
    char *progress_token;     /* as it was written; NULL for none */
    struct call *call;        /* of a tool */
    struct observer observer;
    bool cancelled;
    bool wants_content;                  /* of a resource: the content of its page */
    char *uri;                           /* of a resource */
    struct mcp_request *next, *previous; /* of the client; the latest is first, the earliest ends first */
};

/* Ends the request with its response, which is freed; NULL: none. */
void mcp_end(struct mcp_request *request, struct buf *response);
/* Between these two the result is appended, one JSON value. */
void mcp_result_begin(const struct mcp_request *request, struct buf *out);
void mcp_result_end(struct mcp_request *request, struct buf *out);
void mcp_fail(struct mcp_request *request, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A text of the parameters; false when it is not there, or does not fit. */
bool mcp_param_text(const struct mcp_request *request, const char *name, char *out, size_t size);
void mcp_write_text(struct buf *out, const char *text, size_t len);
int mcp_level(const char *level); /* of a log line; -1 for lines that are nobody's business */
const char *mcp_level_name(int level);

/* mcp_tools.c */
void mcp_list_tools(struct mcp_request *request);
void mcp_call_tool(struct mcp_request *request);
/* mcp_resources.c */
void mcp_list_resources(struct mcp_request *request);
void mcp_list_templates(struct mcp_request *request);
void mcp_read_resource(struct mcp_request *request);

#endif
