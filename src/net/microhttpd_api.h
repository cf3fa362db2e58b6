/* libmicrohttpd, loaded when the first HTTP server is made: nobody else needs it.
 *
 * Who owns what: the library stays loaded until the process ends; the table returned is shared and read-only.
 */
#ifndef WORKERS_NET_MICROHTTPD_API_H
#define WORKERS_NET_MICROHTTPD_API_H

#include "base/err.h"

#include <microhttpd.h>

/* Every function of libmicrohttpd that the program calls, without its prefix "MHD_". */
#define MICROHTTPD_API_FUNCTIONS(X)                                                                          \
    X(start_daemon)                                                                                          \
    X(stop_daemon)                                                                                           \
    X(quiesce_daemon)                                                                                        \
    X(run)                                                                                                   \
    X(get_timeout)                                                                                           \
    X(get_daemon_info)                                                                                       \
    X(get_connection_info)                                                                                   \
    X(get_connection_values_n)                                                                               \
    X(suspend_connection)                                                                                    \
    X(resume_connection)                                                                                     \
    X(queue_response)                                                                                        \
    X(create_response_from_buffer)                                                                           \
    X(create_response_from_callback)                                                                         \
    X(add_response_header)                                                                                   \
    X(destroy_response)

#define MICROHTTPD_API_FIELD(name) __typeof__(MHD_##name) *name;
struct microhttpd_api {
    MICROHTTPD_API_FUNCTIONS(MICROHTTPD_API_FIELD)
};
#undef MICROHTTPD_API_FIELD

/* Loads the library at the first call. NULL and ERR_NOT_FOUND when it is missing; the message names the
 * package. A failure is not remembered. From one thread only. */
const struct microhttpd_api *microhttpd_api_get(struct err *err);

#endif
