/* IP addresses by value. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

/* Not public; the bits count from the first byte of the form in which they are written. */
struct network {
    unsigned char first[4];
    unsigned bits;
};

static const struct network special_v4[] = {
    {{0}, 8},             /* this network */
    {{10}, 8},            /* private */
    {{100, 64}, 10},      /* shared by customers of one provider */
    {{127}, 8},           /* loopback */
    {{169, 254}, 16},     /* link-local; clouds keep their metadata there */
    {{172, 16}, 12},      /* private */
    {{192, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2}, 24},    /* documentation */
    {{192, 88, 99}, 24},  /* 6to4 relays */
    {{192, 168}, 16},     /* private */
    {{198, 18}, 15},      /* benchmarks */
    {{198, 51, 100}, 24}, /* documentation */
    {{203, 0, 113}, 24},  /* documentation */
    {{224}, 3},           /* multicast, reserved, broadcast */
};

static const struct network special_v6[] = {
    {{0x01, 0x00}, 64},             /* discard-only */
    {{0xfc}, 7},                    /* unique local */
    {{0xfe, 0x80}, 10},             /* link-local */
    {{0xfe, 0xc0}, 10},             /* site-local, as it was */
    {{0xff}, 8},                    /* multicast */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
};

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool address_parse(const char *text, size_t len, struct address *out)
{
    char copy[ADDRESS_TEXT_MAX];
    if (len == 0 || len >= sizeof copy || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET6, copy, out->bytes) == 1)
        return true;
    memcpy(out->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET, copy, out->bytes + sizeof mapped) == 1;
}

bool address_from_socket(const struct sockaddr *socket, struct address *out, int *port)
{
    if (socket->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)socket;
        memcpy(out->bytes, mapped, sizeof mapped);
        memcpy(out->bytes + sizeof mapped, &v4->sin_addr, 4);
        if (port != NULL)
            *port = ntohs(v4->sin_port);
        return true;
    }
    if (socket->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)socket;
    memcpy(out->bytes, &v6->sin6_addr, sizeof out->bytes);
    if (port != NULL)
        *port = ntohs(v6->sin6_port);
    return true;
}

bool address_is_ipv4(const struct address *address)
{
    return memcmp(address->bytes, mapped, sizeof mapped) == 0;
}

const char *address_format(const struct address *address, char out[ADDRESS_TEXT_MAX])
{
    bool v4 = address_is_ipv4(address);
    const void *bytes = v4 ? address->bytes + sizeof mapped : address->bytes;
    if (inet_ntop(v4 ? AF_INET : AF_INET6, bytes, out, ADDRESS_TEXT_MAX) == NULL)
        out[0] = '\0';
    return out;
}

static bool is_special_v4(const unsigned char bytes[4])
{
    for (size_t i = 0; i < sizeof special_v4 / sizeof special_v4[0]; i++)
        if (same_bits(bytes, special_v4[i].first, special_v4[i].bits))
            return true;
    return false;
}

bool address_is_public(const struct address *address)
{
    static const unsigned char zeros[12] = {0};
    static const unsigned char translated[12] = {0x00, 0x64, 0xff, 0x9b}; /* 64:ff9b::/96 */
    static const unsigned char translated_local[6] = {0x00, 0x64, 0xff,
                                                      0x9b, 0x00, 0x01}; /* 64:ff9b:1::/48 */
    static const unsigned char sixtofour[2] = {0x20, 0x02};              /* 2002:a.b.c.d::/48 */
    const unsigned char *bytes = address->bytes;
    if (address_is_ipv4(address))
        return !is_special_v4(bytes + 12);
    if (memcmp(bytes, zeros, sizeof zeros) == 0 || memcmp(bytes, translated_local, 6) == 0)
        return false; /* unspecified, loopback, IPv4-compatible; translation within a network */
    if (memcmp(bytes, translated, sizeof translated) == 0)
        return !is_special_v4(bytes + 12);
    if (memcmp(bytes, sixtofour, sizeof sixtofour) == 0)
        return !is_special_v4(bytes + 2);
    for (size_t i = 0; i < sizeof special_v6 / sizeof special_v6[0]; i++) {
        unsigned char first[16] = {0};
        memcpy(first, special_v6[i].first, sizeof special_v6[i].first);
        if (same_bits(bytes, first, special_v6[i].bits))
            return false;
    }
    return true;
}

bool address_is_loopback(const struct address *address)
{
    static const unsigned char one[16] = {[15] = 1};
    return address_is_ipv4(address) ? address->bytes[12] == 127 : memcmp(address->bytes, one, 16) == 0;
}

bool address_names_loopback(const char *host, size_t len)
{
    struct address address;
    bool bracketed = len > 0 && host[0] == '[';
    const char *end = len > 0 ? memchr(host, bracketed ? ']' : ':', len) : NULL;
    if (bracketed && end == NULL)
        return false;
    len = end != NULL ? (size_t)(end - host) : len;
    if (bracketed)
        return address_parse(host + 1, len - 1, &address) && address_is_loopback(&address);
    return (len == 9 && strncasecmp(host, "localhost", len) == 0) ||
           (address_parse(host, len, &address) && address_is_loopback(&address));
}

bool address_in_network(const struct address *address, const struct address *network, unsigned bits)
{
    bool v4 = address_is_ipv4(network);
    if (address_is_ipv4(address) != v4)
        return false;
    return same_bits(address->bytes, network->bytes, v4 ? bits + 96 : bits);
}
