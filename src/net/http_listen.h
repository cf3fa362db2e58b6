/* Listening sockets, made before the processes that share them.
 *
 * Who owns what: the caller owns the socket and closes it; the file of a socket stays where it is. */
#ifndef WORKERS_NET_HTTP_LISTEN_H
#define WORKERS_NET_HTTP_LISTEN_H

#include "base/err.h"

#include <stddef.h>

#define HTTP_LISTEN_TEXT_MAX 128

/* Listens at "127.0.0.1:8321", "[::1]:8321", "localhost:8321" or ":8321" (both 127.0.0.1), "0.0.0.0:80",
 * "unix:/path". Port 0 takes a free one. The socket does not block and is closed on exec. bound (of
 * HTTP_LISTEN_TEXT_MAX bytes; may be NULL) gets the address as above, with the real port. The file of a
 * socket that nobody listens at is replaced. ERR_INVALID: no such form; ERR_CONFLICT: somebody listens there;
 * ERR_DENIED; ERR_IO. All say what to do. */
enum err_code http_listen(const char *address, int *fd, char *bound, struct err *err) MUST_CHECK;

#endif
