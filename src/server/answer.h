/* Answers of the server's own: JSON, and errors as {"error":{"code","message"}}. */
#ifndef WORKERS_SERVER_ANSWER_H
#define WORKERS_SERVER_ANSWER_H

#include "net/http_server.h"

void answer_json(struct http_call *call, int status, const char *json, size_t len);
void answer_error(struct http_call *call, int status, const char *code, const char *message);
/* With Retry-After: seconds. */
void answer_error_later(struct http_call *call, int status, const char *seconds, const char *code,
                        const char *message);

#endif
