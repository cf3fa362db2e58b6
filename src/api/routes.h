/* What the files of routes share. */
#ifndef WORKERS_API_ROUTES_H
#define WORKERS_API_ROUTES_H

#include "api/request.h"

/* One for each file of routes; a NULL method ends each. */
extern const struct route worker_routes[], sync_routes[], run_routes[], webhook_routes[], delivery_routes[],
    database_routes[], metric_routes[], access_routes[], variable_routes[], version_routes[], oauth_routes[],
    view_routes[];

#define API_OBJECT "{\"type\":\"object\"}"

/* The value of a query parameter, decoded into out; false when it is not there, and when it is too long or no
 * text, which the request then fails with. */
bool api_query(struct api_request *request, const char *name, char *out, size_t size);
/* Leaves out as it is when the query does not name it; false after an error. */
bool api_number(struct api_request *request, const char *name, int64_t min, int64_t max, int64_t *out);
/* How many of a list: 50 unless the query says. */
bool api_limit(struct api_request *request, int64_t *out);

/* A member of the body, which is an object; false when it is not there. */
bool api_body_member(const struct api_request *request, const char *name, struct json_slice *out);
/* A member that is a text, as it is written; false when there is none. */
bool api_body_text(const struct api_request *request, const char *name, struct json_scan *out);
/* The same, read into out; false after an error when it is not there, empty, or does not fit. */
bool api_body_needs(struct api_request *request, const char *name, char *out, size_t size);
/* The same for long ones, appended to out. */
bool api_body_copy(struct api_request *request, const char *name, struct buf *out);
bool api_body_flag(const struct api_request *request, const char *name);

/* Between the elements of an array that begins the answer. */
void api_comma(struct buf *out);
/* The answer of what has nothing to say. */
void api_done(struct api_request *request);

#endif
