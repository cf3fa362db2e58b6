/* worker:credential: from the Lua table to the declaration. The limits are those of the original SDK. */
#include "worker/declare.h"
#include "worker/declare_priv.h"

#include "base/text.h"
#include "net/http_headers.h"
#include "script/options.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_CREDENTIALS 100
#define MAX_DECLARATIONS ((size_t)256 * 1024) /* bytes of all of them as JSON */
#define MAX_RULES 20                          /* of one credential */
#define MAX_TRANSFORMS 20                     /* of one rule */
#define MAX_HEADERS 20                        /* of one rule */
#define MAX_KEY 64
#define MAX_DOMAIN 253
#define MAX_LABEL 63
#define MAX_HEADER_NAME 256
#define MAX_TEMPLATE ((size_t)8 * 1024) /* bytes */

static const struct option_spec credential_options[] = {
    {"network", OPTION_TABLE, true, "{ { domain = \"api.example.com\", transform = { … } } }"},
    {NULL, 0, false, NULL},
};

static const struct option_spec rule_options[] = {
    {"domain", OPTION_STRING, true, "\"api.example.com\" or \"*.example.com\""},
    {"transform", OPTION_TABLE, true, "{ { headers = { Authorization = \"Bearer {{credential}}\" } } }"},
    {NULL, 0, false, NULL},
};

static const struct option_spec transform_options[] = {
    {"headers", OPTION_TABLE, true, "{ Authorization = \"Bearer {{credential}}\" }"},
    {NULL, 0, false, NULL},
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void check_key(lua_State *L, const char *key, const char *where)
{
    size_t len = strlen(key);
    bool good = len <= MAX_KEY && is_letter(key[0]);
    for (size_t i = 0; i < len && good; i++)
        good = is_letter(key[i]) || is_digit(key[i]) || key[i] == '_';
    if (!good)
        luaL_error(
            L,
            "%s: the key must begin with a letter and have only letters, digits and underscores, at most %d",
            where, MAX_KEY);
    if (strncasecmp(key, "NOTION_", 7) == 0 && strcasecmp(key, "NOTION_API_TOKEN") != 0 &&
        strcasecmp(key, "NOTION_API_BASE_URL") != 0)
        luaL_error(L, "%s: keys that begin with NOTION_ are reserved", where);
}

/* ---- domains ---- */

/* Labels of letters, digits and inner hyphens, two of them at least; the first may be "*". */
static bool is_domain(const char *text, size_t len)
{
    size_t labels = 0, begin = 0;
    if (len > 2 && text[0] == '*' && text[1] == '.')
        begin = 2;
    for (size_t i = begin; i <= len; i++) {
        if (i < len && text[i] != '.') {
            if (!(text[i] >= 'a' && text[i] <= 'z') && !is_digit(text[i]) && text[i] != '-')
                return false;
            continue;
        }
        if (i == begin || i - begin > MAX_LABEL || text[begin] == '-' || text[i - 1] == '-')
            return false;
        labels++;
        begin = i + 1;
    }
    return labels >= 2 && len <= MAX_DOMAIN;
}

/* Lower case, without blanks around it and without the dot of the root. */
static const char *read_domain(lua_State *L, struct worker *worker, const char *text, const char *where)
{
    char domain[MAX_DOMAIN + 1];
    const char *begin = text + strspn(text, " \t\r\n\v\f");
    size_t len = strlen(begin);
    while (len > 0 && strchr(" \t\r\n\v\f", begin[len - 1]) != NULL)
        len--;
    if (len > 0 && begin[len - 1] == '.')
        len--;
    for (size_t i = 0; i < len && i < sizeof domain; i++)
        domain[i] = begin[i] >= 'A' && begin[i] <= 'Z' ? (char)(begin[i] - 'A' + 'a') : begin[i];
    if (len >= sizeof domain || !is_domain(domain, len))
        luaL_error(L,
                   "%s: the domain \"%s\" must be a host name, or one with a leading wildcard such as "
                   "\"*.example.com\"",
                   where, text);
    domain[len] = '\0';
    return declare_keep(L, worker, domain);
}

/* "*.example.com" stands for the subdomains of example.com, not for itself. */
static bool is_below(const char *domain, const char *base)
{
    size_t len = strlen(domain), base_len = strlen(base);
    return len > base_len && domain[len - base_len - 1] == '.' && strcmp(domain + len - base_len, base) == 0;
}

static bool overlap(const char *a, const char *b)
{
    const char *a_base = a[0] == '*' ? a + 2 : NULL;
    const char *b_base = b[0] == '*' ? b + 2 : NULL;
    if (strcmp(a, b) == 0)
        return true;
    if (a_base != NULL && b_base != NULL)
        return is_below(a_base, b_base) || is_below(b_base, a_base);
    return (a_base != NULL && is_below(b, a_base)) || (b_base != NULL && is_below(a, b_base));
}

/* ---- headers ---- */

static void check_template(lua_State *L, const char *name, const char *template, size_t len,
                           const char *where)
{
    size_t markers = 0;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)template[i] < 0x20 || template[i] == 0x7f)
            luaL_error(L, "%s: the template of header \"%s\" must not contain control characters", where,
                       name);
    for (const char *at = template; (at = strstr(at, CREDENTIAL_MARKER)) != NULL;
         at += strlen(CREDENTIAL_MARKER))
        markers++;
    if (markers != 1)
        luaL_error(L,
                   "%s: the template of header \"%s\" must contain " CREDENTIAL_MARKER
                   " exactly once, where the value goes",
                   where, name);
    if (len > MAX_TEMPLATE || !text_is_utf8(template, len, NULL))
        luaL_error(L, "%s: the template of header \"%s\" must be UTF-8 of at most %d bytes", where, name,
                   (int)MAX_TEMPLATE);
}

static int compare_headers(const void *a, const void *b)
{
    return strcmp(((const struct credential_header *)a)->name, ((const struct credential_header *)b)->name);
}

static bool rule_has_header(const struct credential_rule *rule, const char *name)
{
    for (size_t t = 0; t < rule->transform_count; t++)
        for (size_t h = 0; h < rule->transforms[t].header_count; h++)
            if (strcasecmp(rule->transforms[t].headers[h].name, name) == 0)
                return true;
    return false;
}

/* The headers of the transform on top of the stack, which becomes the rule's last. */
static void read_headers(lua_State *L, struct worker *worker, struct credential_rule *rule, size_t *total,
                         const char *where)
{
    struct credential_transform *transform = &rule->transforms[rule->transform_count++];
    options_check(L, -1, transform_options, where);
    lua_getfield(L, -1, "headers");
    transform->headers =
        declare_need(L, arena_zalloc(&worker->arena, MAX_HEADERS * sizeof *transform->headers));
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        size_t name_len = 0, len = 0;
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "%s: headers must map names to templates, both strings", where);
        const char *name = lua_tolstring(L, -2, &name_len);
        const char *template = lua_tolstring(L, -1, &len);
        if (name_len == 0 || name_len > MAX_HEADER_NAME || !http_is_token(name, name_len))
            luaL_error(L, "%s: \"%s\" is not the name of a header", where, name);
        check_template(L, name, template, len, where);
        if (rule_has_header(rule, name))
            luaL_error(L, "%s: header \"%s\" is there more than once for domain \"%s\"", where, name,
                       rule->domain);
        if (++*total > MAX_HEADERS)
            luaL_error(L, "%s: more than %d headers for domain \"%s\"", where, MAX_HEADERS, rule->domain);
        transform->headers[transform->header_count++] =
            (struct credential_header){declare_keep(L, worker, name), declare_keep(L, worker, template)};
    }
    lua_pop(L, 1);
    if (transform->header_count == 0)
        luaL_error(L, "%s: a transform for domain \"%s\" has no headers", where, rule->domain);
    qsort(transform->headers, transform->header_count, sizeof *transform->headers, compare_headers);
}

/* The rule on top of the stack, which becomes the credential's last. */
static void read_rule(lua_State *L, struct worker *worker, struct credential *credential, const char *where)
{
    struct credential_rule *rule = &credential->rules[credential->rule_count];
    options_check(L, -1, rule_options, where);
    rule->domain = read_domain(L, worker, options_string(L, -1, "domain", ""), where);
    for (size_t i = 0; i < credential->rule_count; i++)
        if (strcmp(credential->rules[i].domain, rule->domain) == 0)
            luaL_error(L, "%s: domain \"%s\" is there more than once", where, rule->domain);
    lua_getfield(L, -1, "transform");
    size_t count = lua_rawlen(L, -1);
    if (count == 0 || count > MAX_TRANSFORMS)
        luaL_error(L, "%s: domain \"%s\" must have a list of 1 to %d transforms", where, rule->domain,
                   MAX_TRANSFORMS);
    rule->transforms = declare_need(L, arena_zalloc(&worker->arena, count * sizeof *rule->transforms));
    size_t headers = 0;
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        read_headers(L, worker, rule, &headers, where);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    credential->rule_count++;
}

/* Two credentials must not both fill one header of one host. */
static void check_conflicts(lua_State *L, const struct worker *worker, const struct credential *credential,
                            const char *where)
{
    for (size_t c = 0; c < worker->credential_count; c++) {
        const struct credential *other = &worker->credentials[c];
        for (size_t r = 0; r < credential->rule_count; r++) {
            const struct credential_rule *rule = &credential->rules[r];
            for (size_t o = 0; o < other->rule_count; o++) {
                if (!overlap(rule->domain, other->rules[o].domain))
                    continue;
                for (size_t t = 0; t < rule->transform_count; t++)
                    for (size_t h = 0; h < rule->transforms[t].header_count; h++)
                        if (rule_has_header(&other->rules[o], rule->transforms[t].headers[h].name))
                            luaL_error(L,
                                       "%s: credential \"%s\" fills header \"%s\" too, on domains that "
                                       "overlap: \"%s\" "
                                       "and \"%s\"",
                                       where, other->key, rule->transforms[t].headers[h].name, rule->domain,
                                       other->rules[o].domain);
            }
        }
    }
}

static size_t written_size(const struct worker *worker)
{
    struct buf text;
    buf_init(&text, 2 * MAX_DECLARATIONS);
    buf_addc(&text, '[');
    for (size_t i = 0; i < worker->credential_count; i++) {
        if (i > 0)
            buf_addc(&text, ',');
        credential_write(&worker->credentials[i], &text);
    }
    buf_addc(&text, ']');
    size_t size = text.failed ? SIZE_MAX : text.len;
    buf_free(&text);
    return size;
}

void declare_credential(lua_State *L, struct worker *worker, const char *key, int index)
{
    const char *where = lua_pushfstring(L, "worker:credential(\"%s\")", key);
    index = lua_absindex(L, index);
    check_key(L, key, where);
    options_check(L, index, credential_options, where);
    if (worker->credential_count >= MAX_CREDENTIALS)
        luaL_error(L, "%s: a worker has at most %d credentials", where, MAX_CREDENTIALS);
    struct credential credential = {.key = declare_keep(L, worker, key)};
    lua_getfield(L, index, "network");
    size_t count = lua_rawlen(L, -1);
    if (count == 0 || count > MAX_RULES)
        luaL_error(L, "%s: option \"network\" must be a list of 1 to %d rules, one for each domain", where,
                   MAX_RULES);
    luaL_checkstack(L, 12, NULL);
    credential.rules = declare_need(L, arena_zalloc(&worker->arena, count * sizeof *credential.rules));
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        read_rule(L, worker, &credential, where);
        lua_pop(L, 1);
    }
    check_conflicts(L, worker, &credential, where);
    worker->credentials = declare_grow(L, worker, worker->credentials, worker->credential_count,
                                       &worker->credential_room, sizeof credential);
    worker->credentials[worker->credential_count++] = credential;
    if (written_size(worker) > MAX_DECLARATIONS)
        luaL_error(L, "%s: the credentials of a worker must be at most %d KiB as JSON", where,
                   (int)(MAX_DECLARATIONS / 1024));
    lua_pop(L, 2);
}
