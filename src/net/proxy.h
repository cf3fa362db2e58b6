/* The proxy that the process's environment asks for.
 *
 * Who owns what: texts returned belong to the environment. */
#ifndef WORKERS_NET_PROXY_H
#define WORKERS_NET_PROXY_H

#include <stdbool.h>

/* Reads https_proxy and HTTPS_PROXY, or http_proxy (in lower case only: HTTP_PROXY is what a request header
 * Proxy becomes in a CGI program), then all_proxy and ALL_PROXY; and no_proxy or NO_PROXY, a list of hosts
 * that are reached without: names with their subdomains, addresses, networks ("10.0.0.0/8"), each with a port
 * if need be, and "*". host is lower case, IPv6 without brackets. NULL for none. These are the customs of
 * curl(1). */
const char *proxy_for(bool tls, const char *host, int port);

#endif
