/* IP addresses by value: which of them are on the public internet, and which lie in a network.
 *
 * Who owns what: nothing here allocates. */
#ifndef WORKERS_NET_ADDRESS_H
#define WORKERS_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 46

/* IPv6, or IPv4 in its mapped form ::ffff:a.b.c.d, so that both writings of one address are equal. */
struct address {
    unsigned char bytes[16];
};

/* False for a text that is no address in the usual form ("192.0.2.1", "2001:db8::1", no brackets). */
bool address_parse(const char *text, size_t len, struct address *out);
/* False for other families than IPv4 and IPv6. port may be NULL. */
bool address_from_socket(const struct sockaddr *socket, struct address *out, int *port);
/* Returns out. */
const char *address_format(const struct address *address, char out[ADDRESS_TEXT_MAX]);

bool address_is_ipv4(const struct address *address);

/* Not loopback, private, link-local, shared, multicast, reserved or unspecified, by the registries for
 * special purposes of IANA (RFC 6890 and its updates), also where an IPv4 address is embedded in an IPv6 one
 * (RFC 4291, 3056, 6052). */
bool address_is_public(const struct address *address);
bool address_is_loopback(const struct address *address);
/* Whether "host" or "host:port", as URLs have it, is localhost or a loopback address. */
bool address_names_loopback(const char *host, size_t len);

/* Whether the first bits of both are equal; bits counts as it is written: 0 to 32 for IPv4, 0 to 128 for
 * IPv6. */
bool address_in_network(const struct address *address, const struct address *network, unsigned bits);

#endif
