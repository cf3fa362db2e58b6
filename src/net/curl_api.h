/* libcurl, loaded when the first request is made: loading it costs more than the rest of a short command.
 *
 * Who owns what: the library stays loaded until the process ends; the table returned is shared and read-only.
 */
#ifndef WORKERS_NET_CURL_API_H
#define WORKERS_NET_CURL_API_H

#include "base/err.h"

#include <curl/curl.h>

/* Every function of libcurl that the program calls, without its prefix "curl_". */
#define CURL_API_FUNCTIONS(X)                                                                                \
    X(global_init_mem)                                                                                       \
    X(version_info)                                                                                          \
    X(free)                                                                                                  \
    X(easy_init)                                                                                             \
    X(easy_cleanup)                                                                                          \
    X(easy_reset)                                                                                            \
    X(easy_setopt)                                                                                           \
    X(easy_getinfo)                                                                                          \
    X(easy_pause)                                                                                            \
    X(easy_strerror)                                                                                         \
    X(multi_init)                                                                                            \
    X(multi_cleanup)                                                                                         \
    X(multi_setopt)                                                                                          \
    X(multi_add_handle)                                                                                      \
    X(multi_remove_handle)                                                                                   \
    X(multi_socket_action)                                                                                   \
    X(multi_info_read)                                                                                       \
    X(multi_assign)                                                                                          \
    X(multi_strerror)                                                                                        \
    X(slist_append)                                                                                          \
    X(slist_free_all)                                                                                        \
    X(url)                                                                                                   \
    X(url_cleanup)                                                                                           \
    X(url_get)                                                                                               \
    X(url_set)                                                                                               \
    X(url_strerror)

#define CURL_API_FIELD(name) __typeof__(curl_##name) *name;
struct curl_api {
    CURL_API_FUNCTIONS(CURL_API_FIELD)
};
#undef CURL_API_FIELD

/* Loads and initialises libcurl at the first call; later calls return the same table. NULL and ERR_NOT_FOUND
 * when the library is missing or older than 7.85 (the message names the package), ERR_NOMEM when its
 * initialisation failed. A failure is not remembered. From one thread only. */
const struct curl_api *curl_api_get(struct err *err);

/* Opens a library by file name and fills the table, nothing more: what curl_api_get is made of. */
enum err_code curl_api_open(const char *library, struct curl_api *api, struct err *err) MUST_CHECK;

/* How many allocations libcurl was refused so far; it reports an oversized header line as "out of memory"
 * too, and this tells the two apart. */
unsigned long curl_api_refused_allocations(void);

#endif
