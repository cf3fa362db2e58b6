/* What workers.yaml may say, as one table, and which values are good. Must not know how it is read. */
#include "worker/config_priv.h"

#include "net/address.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define KIB ((uint64_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)
#define SECOND ((uint64_t)1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

bool config_is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static const char *wrong_name(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (!config_is_name_char(text[i]))
            return "must consist of letters, digits, '.', '_' and '-'";
    return len >= 1 && len <= CONFIG_NAME_MAX ? NULL : "must have 1 to 100 characters";
}

/* Whether a path climbs with "..". */
static bool climbs(const char *path)
{
    while (*path != '\0') {
        size_t part = strcspn(path, "/");
        if (part == 2 && path[0] == '.' && path[1] == '.')
            return true;
        path += part;
        path += strspn(path, "/");
    }
    return false;
}

static const char *wrong_path(const char *text)
{
    if (text[0] == '\0')
        return "must not be empty";
    if (text[0] == '/')
        return "must be relative to the folder of workers.yaml";
    if (climbs(text))
        return "must not contain \"..\": it must stay below the folder of workers.yaml";
    return NULL;
}

static const char *wrong_main(const char *text)
{
    const char *wrong = wrong_path(text);
    if (wrong != NULL)
        return wrong;
    return text[strlen(text) - 1] == '/' ? "must be a script, not a folder" : NULL;
}

static const char *after_scheme(const char *text, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncasecmp(text, scheme, len) == 0 ? text + len : NULL;
}

const char *config_after_postgresql(const char *text)
{
    const char *rest = after_scheme(text, "postgresql://");
    return rest != NULL ? rest : after_scheme(text, "postgres://");
}

static const char *wrong_store(const char *text)
{
    if (strcmp(text, "sqlite") == 0)
        return NULL;
    const char *rest = config_after_postgresql(text);
    if (rest == NULL)
        return "must be sqlite or a URL such as postgresql://user@host/database";
    if (rest[0] == '\0' || strchr(rest, ' ') != NULL)
        return "is not a complete URL, such as postgresql://user@host/database";
    return NULL;
}

static const char *wrong_server(const char *text)
{
    const char *rest = after_scheme(text, "https://");
    if (rest == NULL)
        rest = after_scheme(text, "http://");
    if (rest == NULL)
        return "must be a URL that begins with https:// or http://";
    size_t host = strcspn(rest, "/?#");
    if (host == 0 || rest[0] == ':' || strpbrk(rest, " \"<>\\^`{|}") != NULL)
        return "is not a complete URL, such as https://workers.example.com";
    if (memchr(rest, '@', host) != NULL)
        return "must not contain a user or password";
    return strpbrk(rest, "?#") != NULL ? "must not contain '?' or '#'" : NULL;
}

/* "10.0.0.0/8": an address, and how many of its first bits count. */
static bool read_network(const char *text, const char *slash, struct host_pattern *pattern)
{
    struct address network;
    size_t digits = strspn(slash + 1, "0123456789");
    if (!address_parse(text, (size_t)(slash - text), &network) || digits == 0 || digits > 3 ||
        slash[1 + digits] != '\0')
        return false;
    int bits = 0;
    for (size_t i = 1; i <= digits; i++)
        bits = bits * 10 + (slash[i] - '0');
    if (bits > (address_is_ipv4(&network) ? 32 : 128))
        return false;
    pattern->len = (size_t)(slash - text);
    pattern->bits = bits;
    return true;
}

struct host_pattern config_split_host(const char *text)
{
    struct host_pattern pattern = {.host = text, .len = strlen(text), .bits = -1};
    const char *slash = strchr(text, '/');
    if (slash != NULL && read_network(text, slash, &pattern))
        return pattern;
    const char *port = NULL;
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        pattern.host = text + 1;
        pattern.len = close != NULL ? (size_t)(close - text - 1) : pattern.len - 1;
        pattern.bad_port = close == NULL || (close[1] != '\0' && close[1] != ':');
        port = close != NULL && close[1] == ':' ? close + 2 : NULL;
    } else {
        const char *colon = strchr(text, ':');
        if (colon != NULL && strchr(colon + 1, ':') == NULL) { /* more than one: an IPv6 address */
            pattern.len = (size_t)(colon - text);
            port = colon + 1;
        }
    }
    if (port != NULL) {
        size_t digits = strspn(port, "0123456789");
        pattern.bad_port = digits == 0 || digits > 5 || port[digits] != '\0';
        for (size_t i = 0; i < digits && !pattern.bad_port; i++)
            pattern.port = pattern.port * 10 + (port[i] - '0');
        if (pattern.port < 1 || pattern.port > 65535)
            pattern.bad_port = true;
    }
    if (pattern.len > 1 && pattern.host[pattern.len - 1] == '.') /* a name with its root */
        pattern.len--;
    return pattern;
}

static const char *wrong_host(const char *text)
{
    if (strstr(text, "://") != NULL)
        return "must be a host alone, such as api.example.com, without https://";
    struct host_pattern pattern = config_split_host(text);
    if (pattern.bits >= 0)
        return NULL;
    if (strchr(text, '/') != NULL)
        return "must be a host alone, such as api.example.com, or a network such as 10.0.0.0/8, without a "
               "path";
    if (strchr(text, '@') != NULL)
        return "must be a host alone, such as api.example.com, without a user";
    struct address address;
    if (pattern.bad_port)
        return "has a bad port; write it as in api.example.com:8443";
    if (pattern.len == 0 || (pattern.len == 1 && pattern.host[0] == '.'))
        return "is not a host, such as api.example.com";
    if (memchr(pattern.host, ':', pattern.len) != NULL)
        return address_parse(pattern.host, pattern.len, &address)
                   ? NULL
                   : "is not an IPv6 address; write a port as in [::1]:8080";
    const char *rest = pattern.host;
    size_t len = pattern.len;
    if (len == 1 && rest[0] == '*')
        return NULL;
    if (len > 2 && rest[0] == '*' && rest[1] == '.') {
        rest += 2;
        len -= 2;
    }
    if (memchr(rest, '*', len) != NULL)
        return "may have '*' only as its first part, as in *.example.com";
    if (rest[0] == '.')
        return "begins with a dot; for all subdomains write *.example.com";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)rest[i] < 0x80 && !config_is_name_char(rest[i]))
            return "is not a host, such as api.example.com";
    return NULL;
}

static const char *wrong_variable(const char *text)
{
    if (text[0] == '\0')
        return "must not be empty";
    for (; *text != '\0'; text++)
        if (*text == '.' || *text == '-' || (*text != '*' && !config_is_name_char(*text)))
            return "is not the name of a variable, such as API_TOKEN or GITHUB_*";
    return NULL;
}

#define AT(member) offsetof(struct config, member)
static const struct field limits_fields[] = {
    {"memory", FIELD_SIZE, AT(limits.memory_bytes), MIB, TIB, "1MiB to 1TiB", "256MiB", NULL, NULL},
    {"cpu", FIELD_DURATION, AT(limits.cpu_ms), 10, DAY, "10ms to 24h", "30s", NULL, NULL},
    {"wall", FIELD_DURATION, AT(limits.wall_ms), 100, 7 * DAY, "100ms to 7d", "15m", NULL, NULL},
    {"tool", FIELD_DURATION, AT(limits.tool_ms), 100, 7 * DAY, "100ms to 7d", "60s", NULL, NULL},
    {"state", FIELD_SIZE, AT(limits.state_bytes), KIB, GIB, "1KiB to 1GiB", "16MiB", NULL, NULL},
    {"webhooks", FIELD_COUNT, AT(limits.webhooks), 1, 1000000, "1 to 1000000", "10000", NULL, NULL},
    {"concurrency", FIELD_COUNT, AT(limits.concurrency), 1, 10000, "1 to 10000", "100", NULL, NULL},
    {0},
};
static const struct field permissions_fields[] = {
    {"net", FIELD_LIST, AT(permissions.net), 0, 0, NULL, "[\"api.example.com\"]", wrong_host, NULL},
    {"read", FIELD_LIST, AT(permissions.read), 0, 0, NULL, "[\"data\"]", wrong_path, NULL},
    {"env", FIELD_LIST, AT(permissions.env), 0, 0, NULL, "[\"GITHUB_*\"]", wrong_variable, NULL},
    {0},
};
static const struct field retention_fields[] = {
    {"runs", FIELD_DURATION, AT(retention.runs_ms), HOUR, 3650 * DAY, "1h to 3650d", "90d", NULL, NULL},
    {"history", FIELD_SIZE, AT(retention.history_bytes), MIB, TIB, "1MiB to 1TiB", "512MiB", NULL, NULL},
    {"logs", FIELD_SIZE, AT(retention.logs_bytes), MIB, TIB, "1MiB to 1TiB", "512MiB", NULL, NULL},
    {"deleted", FIELD_DURATION, AT(retention.deleted_ms), HOUR, 3650 * DAY, "1h to 3650d", "30d", NULL, NULL},
    {0},
};
const struct field config_fields[] = {
    {"name", FIELD_TEXT, AT(name), 0, 0, NULL, "my-worker", wrong_name, NULL},
    {"main", FIELD_TEXT, AT(main), 0, 0, NULL, "src/main.lua", wrong_main, NULL},
    {"store", FIELD_TEXT, AT(store), 0, 0, NULL, "sqlite", wrong_store, NULL},
    {"limits", FIELD_SECTION, 0, 0, 0, NULL, "{ memory: 256MiB }", NULL, limits_fields},
    {"permissions", FIELD_SECTION, 0, 0, 0, NULL, "{ env: [\"GITHUB_*\"] }", NULL, permissions_fields},
    {"retention", FIELD_SECTION, 0, 0, 0, NULL, "{ runs: 90d }", NULL, retention_fields},
    {"server", FIELD_TEXT, AT(server), 0, 0, NULL, "https://workers.example.com", wrong_server, NULL},
    {0},
};

void config_default(struct config *config)
{
    *config = (struct config){
        .main = mem_need_str("src/main.lua"),
        .store = mem_need_str("sqlite"),
        .limits = {.memory_bytes = 256 * MIB,
                   .cpu_ms = 30 * SECOND,
                   .wall_ms = 15 * 60 * SECOND,
                   .tool_ms = 60 * SECOND,
                   .state_bytes = 16 * MIB,
                   .webhooks = 10000,
                   .concurrency = 100},
        .retention = {.runs_ms = 90 * DAY,
                      .history_bytes = 512 * MIB,
                      .logs_bytes = 512 * MIB,
                      .deleted_ms = 30 * DAY},
    };
}
