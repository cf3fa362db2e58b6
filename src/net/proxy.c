/* The proxy that the process's environment asks for. */
#include "net/proxy.h"

#include "net/address.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *variable(const char *lower, const char *upper)
{
    const char *value = getenv(lower);
    if (value == NULL && upper != NULL)
        value = getenv(upper);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* "10.0.0.0/8" as the first len bytes of entry. */
static bool in_network(const char *entry, size_t len, const struct address *address)
{
    struct address network;
    const char *slash = memchr(entry, '/', len);
    if (slash == NULL || !address_parse(entry, (size_t)(slash - entry), &network))
        return false;
    char *end = NULL;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    return end == entry + len && bits <= (address_is_ipv4(&network) ? 32UL : 128UL) &&
           address_in_network(address, &network, (unsigned)bits);
}

/* One entry of the list: the first len bytes of it. */
static bool covers(const char *entry, size_t len, const char *host, int port)
{
    struct address address, given;
    size_t host_len = strlen(host);
    if (len == 1 && entry[0] == '*')
        return true;
    bool is_address = address_parse(host, host_len, &address);
    if (is_address && in_network(entry, len, &address))
        return true;
    const char *colon = memrchr(entry, ':', len);
    bool has_port = colon != NULL && (memchr(entry, ':', len) == colon || colon[-1] == ']');
    if (has_port) {
        if (strtol(colon + 1, NULL, 10) != port)
            return false;
        len = (size_t)(colon - entry);
    }
    if (len > 2 && entry[0] == '[' && entry[len - 1] == ']') {
        entry++;
        len -= 2;
    }
    if (is_address)
        return address_parse(entry, len, &given) && memcmp(&address, &given, sizeof given) == 0;
    if (len > 1 && entry[0] == '*' && entry[1] == '.') {
        entry++;
        len--;
    }
    if (len > 0 && entry[0] == '.') { /* ".example.com" is the same as "example.com" */
        entry++;
        len--;
    }
    if (len == 0 || len > host_len || strncasecmp(host + host_len - len, entry, len) != 0)
        return false;
    return len == host_len || host[host_len - len - 1] == '.';
}

static bool goes_direct(const char *host, int port)
{
    const char *list = variable("no_proxy", "NO_PROXY");
    for (const char *at = list; at != NULL && *at != '\0';) {
        at += strspn(at, ", \t");
        size_t len = strcspn(at, ", \t");
        if (len > 0 && covers(at, len, host, port))
            return true;
        at += len;
    }
    return false;
}

const char *proxy_for(bool tls, const char *host, int port)
{
    const char *proxy = tls ? variable("https_proxy", "HTTPS_PROXY") : variable("http_proxy", NULL);
    if (proxy == NULL)
        proxy = variable("all_proxy", "ALL_PROXY");
    return proxy != NULL && !goes_direct(host, port) ? proxy : NULL;
}
