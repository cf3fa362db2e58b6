/* Listening sockets. Must not look names up: an address is where the program listens, not who it is. */
#include "net/http_listen.h"

#include "net/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define UNIX_PREFIX "unix:"
#define FORMS                                                                                                \
    "write it as 127.0.0.1:8321, [::1]:8321, :8321 for this machine only, 0.0.0.0:8321 for all, or "         \
    "unix:/path"

struct place {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un file;
    } address;
    socklen_t len;
};

static bool parse_port(const char *text, in_port_t *port)
{
    unsigned number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (unsigned)(text[i] - '0');
    *port = htons((in_port_t)number);
    return number <= 65535;
}

static enum err_code parse_file(const char *path, struct place *place, struct err *err)
{
    struct sockaddr_un *file = &place->address.file;
    size_t len = strlen(path);
    if (len == 0)
        return err_set(err, ERR_INVALID, "\"unix:\" names no file; write unix:/path");
    if (len >= sizeof file->sun_path)
        return err_set(err, ERR_INVALID, "the path of a socket has at most %zu bytes, this one has %zu",
                       sizeof file->sun_path - 1, len);
    file->sun_family = AF_UNIX;
    memcpy(file->sun_path, path, len + 1);
    place->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return ERR_NONE;
}

static enum err_code parse(const char *text, struct place *place, struct err *err)
{
    *place = (struct place){0};
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_file(text + strlen(UNIX_PREFIX), place, err);
    const char *colon = strrchr(text, ':');
    in_port_t port = 0;
    if (colon == NULL || !parse_port(colon + 1, &port))
        return err_set(err, ERR_INVALID, "\"%s\" has no port; " FORMS, text);

    const char *host = text;
    size_t len = (size_t)(colon - text);
    struct address address;
    if (len == 0 || (len == strlen("localhost") && memcmp(host, "localhost", len) == 0)) {
        host = "127.0.0.1";
        len = strlen(host);
    }
    bool brackets = len >= 2 && host[0] == '[' && host[len - 1] == ']';
    bool is_address =
        brackets ? address_parse(host + 1, len - 2, &address) : address_parse(host, len, &address);
    if (is_address && !brackets && memchr(host, ':', len) != NULL)
        return err_set(err, ERR_INVALID, "\"%s\": an IPv6 address goes into brackets; " FORMS, text);
    if (!is_address)
        return err_set(err, ERR_INVALID, "\"%s\" does not begin with an IP address; " FORMS, text);
    if (brackets) {
        struct sockaddr_in6 *v6 = &place->address.v6;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        memcpy(&v6->sin6_addr, address.bytes, sizeof v6->sin6_addr);
        place->len = sizeof *v6;
    } else {
        struct sockaddr_in *v4 = &place->address.v4;
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        memcpy(&v4->sin_addr, address.bytes + 12, sizeof v4->sin_addr);
        place->len = sizeof *v4;
    }
    return ERR_NONE;
}

/* The file of a process that ended stays behind, and nobody can bind to it. */
static void remove_stale_file(const struct place *place)
{
    struct stat info;
    const char *path = place->address.file.sun_path;
    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, &place->address.any, place->len) != 0 && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static enum err_code failed(const char *text, const struct place *place, int why, struct err *err)
{
    bool is_file = place->address.any.sa_family == AF_UNIX;
    switch (why) {
    case EADDRINUSE:
        return err_set(err, ERR_CONFLICT,
                       is_file ? "%s is there already; stop who listens at it, or choose another path"
                               : "%s is in use by another program; stop it, or choose another port",
                       text);
    case EACCES:
    case EPERM:
        return err_set(
            err, ERR_DENIED,
            is_file ? "%s cannot be made: its folder may not be written to; choose another path"
                    : "%s needs a right: ports below 1024 are for root, choose a greater one, or give the "
                      "program CAP_NET_BIND_SERVICE",
            text);
    case EADDRNOTAVAIL:
        return err_set(err, ERR_IO, "%s is no address of this machine; take one that \"ip address\" lists",
                       text);
    case EAFNOSUPPORT:
        return err_set(err, ERR_IO, "%s: this machine has no IPv6; choose an IPv4 address", text);
    default:
        return err_set(err, ERR_IO, "cannot listen at %s: %s", text, strerror(why));
    }
}

static void describe(int fd, const char *text, char *bound)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    struct address address;
    char shown[ADDRESS_TEXT_MAX];
    int port = 0;
    if (getsockname(fd, (struct sockaddr *)&storage, &len) != 0 ||
        !address_from_socket((struct sockaddr *)&storage, &address, &port))
        snprintf(bound, HTTP_LISTEN_TEXT_MAX, "%s", text);
    else
        snprintf(bound, HTTP_LISTEN_TEXT_MAX, storage.ss_family == AF_INET6 ? "[%s]:%d" : "%s:%d",
                 address_format(&address, shown), port);
}

enum err_code http_listen(const char *text, int *out, char *bound, struct err *err)
{
    struct place place;
    *out = -1;
    enum err_code code = parse(text, &place, err);
    if (code != ERR_NONE)
        return code;
    int family = place.address.any.sa_family;
    int on = 1;
    if (family == AF_UNIX)
        remove_stale_file(&place);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return failed(text, &place, errno, err);
    if (family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &place.address.any, place.len) != 0 || listen(fd, BACKLOG) != 0) {
        code = failed(text, &place, errno, err);
        close(fd);
        return code;
    }
    if (bound != NULL)
        describe(fd, text, bound);
    *out = fd;
    return ERR_NONE;
}
