/* Where one request goes: a URL, parsed by net/url.h and handed to libcurl in its normal form, of which
 * libcurl must make the same host, so that the host which is checked is the host which is connected to.
 *
 * Who owns what: a target owns its parts until http_target_free. */
#ifndef WORKERS_NET_HTTP_TARGET_H
#define WORKERS_NET_HTTP_TARGET_H

#include "net/curl_api.h"
#include "net/http_client.h"

#define HTTP_URL_MAX ((size_t)64 * 1024) /* bytes */

struct http_target {
    CURLU *url;   /* without credentials */
    char *text;   /* the same as text */
    char *origin; /* "https://example.com:443": scheme, lower-case host, port; always with the port */
    char *host;   /* lower case, ASCII, addresses in their normal form, IPv6 without brackets */
    char *shown; /* for messages: "example.com", "127.0.0.1:8080": host, and the port unless it is the default
                  */
    char *user;  /* credentials from the URL, percent-decoded; NULL when it has none */
    char *password; /* NULL when user is NULL */
    int port;       /* 1 to 65535 */
    bool tls;       /* https */
};

/* Both fill a zeroed target and return HTTP_OK, or say in message (HTTP_MESSAGE_MAX bytes) what is wrong
 * without repeating credentials or query: HTTP_ERROR_URL, HTTP_ERROR_NOMEM. On failure the target is left
 * empty. */
enum http_error http_target_parse(const struct curl_api *api, const char *url, size_t len,
                                  struct http_target *target, char *message) MUST_CHECK;
/* reference as a Location header has it, relative to base. */
enum http_error http_target_join(const struct curl_api *api, const struct http_target *base,
                                 const char *reference, size_t len, struct http_target *target,
                                 char *message) MUST_CHECK;
void http_target_free(const struct curl_api *api, struct http_target *target);

#endif
