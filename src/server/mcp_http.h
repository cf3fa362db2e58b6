/* The Model Context Protocol over HTTP ("streamable HTTP"): /mcp for the worker that the token is good for,
 * and /mcp/{worker}. A POST carries one message; its answer is JSON, or a stream of events when the tool has
 * something to say before. A GET is a stream of what has changed.
 *
 * Who owns what: sessions and streams are owned here; a POST under way owns itself. The loop's thread only.
 */
#ifndef WORKERS_SERVER_MCP_HTTP_H
#define WORKERS_SERVER_MCP_HTTP_H

#include "server/api.h"

struct mcp_http;

/* api outlives it. */
enum err_code mcp_http_new(uv_loop_t *loop, struct api *api, struct mcp_http **out,
                           struct err *err) MUST_CHECK;
/* Ends the streams. */
void mcp_http_stop(struct mcp_http *http);
/* No request is under way. */
void mcp_http_free(struct mcp_http *http);
/* Whether the path is its own; then it is answered. */
bool mcp_http_answer(struct mcp_http *http, struct http_call *call);
bool mcp_http_owns(const char *path);
void mcp_http_gone(struct http_call *call);
/* A worker has been loaded anew. */
void mcp_http_changed(struct mcp_http *http, const char *worker);

#endif
