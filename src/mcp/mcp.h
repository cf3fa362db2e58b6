/* The Model Context Protocol: what an agent may ask of a worker, message by message (JSON-RPC 2.0). Knows
 * neither HTTP nor standard input; its revisions are 2025-11-25, 2025-06-18 and 2025-03-26
 * (modelcontextprotocol.io).
 *
 * Who owns what: whoever makes a client frees it, when none of its requests is under way. A request owns
 * itself until its reply is done. The loop's thread only. */
#ifndef WORKERS_MCP_MCP_H
#define WORKERS_MCP_MCP_H

#include "engine/runtime.h"

struct mcp_client;  /* what is known of somebody who asks, between two messages */
struct mcp_request; /* one that is under way */

/* What is asked about. Outlives the request. */
struct mcp_host {
    struct runtime *runtime;
    const char *name; /* of the worker */
    bool may_call;    /* tools; otherwise their caller may only look */
    /* Asks the API for a path (api/route.h); ends with mcp_told, now or later. */
    void (*ask)(void *ctx, struct mcp_request *request, const char *path);
    void *ctx;
};

/* Where the answer goes. */
struct mcp_reply {
    /* A notification that belongs to the request. */
    void (*notify)(void *ctx, const char *json, size_t len);
    /* Once, at the end: the response; NULL when the message gets none. */
    void (*done)(void *ctx, const char *json, size_t len);
    void *ctx;
};

#define MCP_VERSION "2025-11-25" /* the revision that is preferred */
bool mcp_knows_version(const char *version);

struct mcp_client *mcp_client_new(void); /* NULL when memory is out */
void mcp_client_free(struct mcp_client *client);
bool mcp_client_is_idle(const struct mcp_client *client);

/* Takes one message, which may be anything. host and reply are copied. reply may be done before this returns.
 */
void mcp_receive(struct mcp_client *client, const struct mcp_host *host, const char *json, size_t len,
                 const struct mcp_reply *reply);
/* Whether a message asks to begin, so that it comes without a session. */
bool mcp_is_initialize(const char *json, size_t len);
/* The answer of host.ask: JSON, or why there is none. */
void mcp_told(struct mcp_request *request, enum err_code code, const char *json, size_t len,
              const struct err *err);

/* The notification that tools or resources are others than before. */
extern const char mcp_tools_changed[], mcp_resources_changed[];

#endif
