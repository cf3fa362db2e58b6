/* The API of the home: its workers are listed, made, renamed and taken away. */
#ifndef WORKERS_SERVER_API_HOME_H
#define WORKERS_SERVER_API_HOME_H

#include "server/api.h"

/* Whether the request is one of these, and thus answered: POST /workers, and PATCH and DELETE of one. rest:
 * what stands behind "/workers", NULL for nothing. */
bool api_home_answer(struct api *api, struct http_call *http, const char *rest);
/* Variables and tokens of the home: rest is what stands behind "/home". */
void api_home_shared(struct api *api, struct http_call *http, const char *rest);
/* The client left before its answer. Whether its request was one of these. */
bool api_home_gone(struct http_call *http);

#endif
