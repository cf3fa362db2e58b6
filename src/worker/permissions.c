/* What scripts may reach. Must decide on what is really there: addresses by value, paths without links. */
#include "worker/config_priv.h"

#include "base/text.h"
#include "net/address.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void config_close(struct config *config)
{
    config->closed = true;
    config->permissions.net.given = true;
    config->permissions.read.given = true;
}

bool config_env_allowed(const struct config *config, const char *name)
{
    const struct config_list *list = &config->permissions.env;
    for (size_t i = 0; i < list->count; i++)
        if (text_glob_match(list->items[i], strlen(list->items[i]), name, strlen(name)))
            return true;
    return !list->given;
}

/* Whether a pattern that is an address or a network covers the address. */
static bool address_matches(const struct host_pattern *pattern, const struct address *address)
{
    struct address given;
    if (!address_parse(pattern->host, pattern->len, &given))
        return pattern->len == 9 && strncasecmp(pattern->host, "localhost", 9) == 0 &&
               address_is_loopback(address);
    if (pattern->bits >= 0)
        return address_in_network(address, &given, (unsigned)pattern->bits);
    return memcmp(&given, address, sizeof given) == 0;
}

static bool host_matches(const struct host_pattern *pattern, const char *host, size_t len)
{
    struct address address, given;
    if (pattern->len == 1 && pattern->host[0] == '*')
        return true;
    bool is_address = address_parse(host, len, &address);
    if (address_parse(pattern->host, pattern->len, &given))
        return is_address && address_matches(pattern, &address);
    if (pattern->host[0] != '*')
        return pattern->len == len && strncasecmp(pattern->host, host, len) == 0;
    size_t tail = pattern->len - 1; /* with the dot */
    /* Addresses have no subdomains. */
    return !is_address && len > tail && strncasecmp(host + len - tail, pattern->host + 1, tail) == 0;
}

bool config_net_allowed(const struct config *config, const char *host, int port)
{
    const struct config_list *list = &config->permissions.net;
    size_t len = strlen(host);
    if (!list->given)
        return true;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len > 1 && host[len - 1] == '.')
        len--;
    for (size_t i = 0; i < list->count && len > 0; i++) {
        struct host_pattern pattern = config_split_host(list->items[i]);
        if ((pattern.port == 0 || port == 0 || pattern.port == port) && host_matches(&pattern, host, len))
            return true;
    }
    return false;
}

enum err_code config_net_check(const struct config *config, const char *host, int port, struct err *err)
{
    if (config_net_allowed(config, host, port))
        return ERR_NONE;
    char part[CONFIG_SHOWN_MAX + 4];
    const char *name = strlen(host) <= CONFIG_SHOWN_MAX ? config_shown(host, strlen(host), part) : host;
    /* When the host is in the list with another port, the port is what is missing. */
    if (port != 0 && config_net_allowed(config, host, 0)) {
        bool bare = strchr(host, ':') != NULL && host[0] != '[';
        return err_set(err, ERR_DENIED,
                       "this worker may not connect to %s on port %d; add it to " CONFIG_FILE
                       ": permissions: { net: [\"%s%s%s:%d\"] }",
                       name, port, bare ? "[" : "", name, bare ? "]" : "", port);
    }
    return err_set(err, ERR_DENIED,
                   "this worker may not connect to %s; add it to " CONFIG_FILE
                   ": permissions: { net: [\"%s\"] }",
                   name, name);
}

bool config_address_allowed(const struct config *config, const struct sockaddr *socket)
{
    const struct config_list *list = &config->permissions.net;
    struct address address;
    int port = 0;
    if (!list->given)
        return true;
    if (!address_from_socket(socket, &address, &port))
        return false;
    if (address_is_public(&address))
        return true;
    for (size_t i = 0; i < list->count; i++) {
        struct host_pattern pattern = config_split_host(list->items[i]);
        if ((pattern.port == 0 || pattern.port == port) && address_matches(&pattern, &address))
            return true;
    }
    return false;
}

enum err_code config_address_check(const struct config *config, const struct sockaddr *socket,
                                   struct err *err)
{
    struct address address;
    char text[ADDRESS_TEXT_MAX] = "an address of another kind";
    if (config_address_allowed(config, socket))
        return ERR_NONE;
    if (address_from_socket(socket, &address, NULL))
        address_format(&address, text);
    return err_set(err, ERR_DENIED,
                   "its address %s is not on the public internet; if it is meant, add it to " CONFIG_FILE
                   ": permissions: { net: [\"%s\"] }",
                   text, text);
}

/* folder, '/' and name in out; false when that is too long, and out is cut. */
static bool join(char out[PATH_MAX], const char *folder, const char *name)
{
    size_t len = strlen(folder);
    const char *slash = len > 0 && folder[len - 1] == '/' ? "" : "/";
    return snprintf(out, PATH_MAX, "%s%s%s", folder, slash, name) < PATH_MAX;
}

/* The part of path below folder, both absolute and normal: "" for folder itself, NULL when it is elsewhere.
 */
static const char *below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    if (len > 0 && folder[len - 1] == '/') /* the root */
        len--;
    if (strncmp(path, folder, len) != 0)
        return NULL;
    if (path[len] == '\0')
        return path + len;
    return path[len] == '/' ? path + len + 1 : NULL;
}

/* Takes "." and ".." and double slashes out of an absolute path, in place, without looking at links. */
static void normalise(char *path)
{
    size_t to = 0;
    const char *from = path;
    while (*from != '\0') {
        from += strspn(from, "/");
        size_t part = strcspn(from, "/");
        if (part == 2 && from[0] == '.' && from[1] == '.') {
            while (to > 0 && path[--to] != '/')
                ;
        } else if (part > 0 && !(part == 1 && from[0] == '.')) {
            path[to++] = '/';
            memmove(path + to, from, part);
            to += part;
        }
        from += part;
    }
    if (to == 0)
        path[to++] = '/';
    path[to] = '\0';
}

/* Whether a path below the project leads to what belongs to the program. */
static bool is_private(const char *path)
{
    while (*path != '\0') {
        size_t part = strcspn(path, "/");
        /* Without regard to case: there are file systems that have none. */
        if ((part == 8 && strncasecmp(path, ".workers", 8) == 0) ||
            (part >= 4 && strncasecmp(path, ".env", 4) == 0 && (part == 4 || path[4] == '.')))
            return true;
        path += part;
        path += strspn(path, "/");
    }
    return false;
}

/* Whether real, below the project's folder root, is in the list, whose entries may be links. */
static bool is_listed(const struct config_list *list, const char *root, const char *real)
{
    char entry[PATH_MAX];
    char target[PATH_MAX];
    for (size_t i = 0; i < list->count; i++) {
        if (!join(entry, root, list->items[i]))
            continue;
        normalise(entry);
        if (below(real, entry) != NULL)
            return true;
        if (realpath(entry, target) != NULL && below(real, target) != NULL)
            return true;
    }
    return !list->given;
}

/* May a script read real, an absolute path without links? path is what it asked for. */
static enum err_code check_read(const struct config *config, const char *root, const char *real,
                                const char *path, struct err *err)
{
    const char *rest = below(real, root);
    if (rest == NULL)
        return err_set(err, ERR_DENIED,
                       "cannot read %s: it is outside the project's folder; scripts read only what is in it",
                       path);
    if (is_private(rest))
        return err_set(err, ERR_DENIED,
                       "cannot read %s: scripts never read .workers and .env; for variables use workers.env",
                       path);
    if (is_listed(&config->permissions.read, root, real))
        return ERR_NONE;
    /* The folder in which it lies is what people want in the list. */
    size_t part = strcspn(rest, "/");
    return err_set(err, ERR_DENIED,
                   "cannot read %s: this worker may not; add it to " CONFIG_FILE
                   ": permissions: { read: [\"%.*s\"] }",
                   path, rest[0] != '\0' ? (int)part : 1, rest[0] != '\0' ? rest : ".");
}

/* Where path, which does not exist, would be: the longest part of it that exists, without links, and the rest
 * as it is written. False when that is too long. */
static bool resolve_missing(const char *path, char out[PATH_MAX])
{
    char prefix[PATH_MAX];
    char real[PATH_MAX];
    memcpy(prefix, path, strlen(path) + 1);
    for (size_t len = strlen(path); len > 0; len--) {
        if (path[len] != '/')
            continue;
        prefix[len] = '\0';
        if (realpath(prefix, real) != NULL) {
            bool fits = join(out, real, path + len + 1);
            normalise(out);
            return fits;
        }
    }
    memcpy(out, path, strlen(path) + 1);
    normalise(out);
    return true;
}

enum err_code config_read_path(const struct config *config, const char *project_folder, const char *path,
                               char *resolved, size_t size, struct err *err)
{
    char root[PATH_MAX];
    char whole[PATH_MAX];
    char real[PATH_MAX];
    int reason = 0;
    if (path[0] == '\0')
        return err_set(err, ERR_INVALID, "the path is empty");
    if (realpath(project_folder, root) == NULL)
        return err_set(err, ERR_IO, "cannot find the project's folder %s: %s", project_folder,
                       strerror(errno));
    bool fits =
        path[0] == '/' ? snprintf(whole, sizeof whole, "%s", path) < PATH_MAX : join(whole, root, path);
    if (fits && realpath(whole, real) == NULL) {
        reason = errno;
        /* Why it cannot be read is told only of what would be allowed. */
        fits = resolve_missing(whole, real);
    }
    if (!fits)
        return err_set(err, ERR_INVALID, "the path %.60s... is too long", path);
    enum err_code code = check_read(config, root, real, path, err);
    if (code != ERR_NONE)
        return code;
    if (reason != 0)
        return err_set(err, reason == ENOENT || reason == ENOTDIR ? ERR_NOT_FOUND : ERR_IO,
                       "cannot read %s: %s", path, strerror(reason));
    if (strlen(real) >= size)
        return err_set(err, ERR_LIMIT, "the path %s is too long", path);
    memcpy(resolved, real, strlen(real) + 1);
    return ERR_NONE;
}
