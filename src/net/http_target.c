/* URLs that can be requested. Must not put credentials or a query into a message. */
#include "net/http_target.h"
#include "base/mem.h"
#include "net/url.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void http_target_free(const struct curl_api *api, struct http_target *target)
{
    if (target->url != NULL)
        api->url_cleanup(target->url);
    mem_free(target->text);
    mem_free(target->origin);
    mem_free(target->host);
    mem_free(target->shown);
    mem_free(target->user);
    mem_free(target->password);
    *target = (struct http_target){0};
}

static enum http_error malformed(char *message, const char *url, size_t len, const char *why)
{
    char shown[160];
    snprintf(message, HTTP_MESSAGE_MAX, "the URL%s is malformed: %s",
             url_quotable(shown, sizeof shown, url, len), why);
    return HTTP_ERROR_URL;
}

static enum http_error out_of_memory(char *message)
{
    snprintf(message, HTTP_MESSAGE_MAX, "out of memory");
    return HTTP_ERROR_NOMEM;
}

/* Things that the standard lets pass, and of which a person means something else. */
static enum http_error check_text(const char *url, size_t len, bool absolute, char *message)
{
    char why[96];
    if (len > HTTP_URL_MAX) {
        snprintf(message, HTTP_MESSAGE_MAX, "the URL is malformed: it is longer than %zu bytes",
                 HTTP_URL_MAX);
        return HTTP_ERROR_URL;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)url[i];
        /* Servers write raw spaces into Location, and everybody encodes them. */
        if (c < ' ' || c == 0x7f || (c == ' ' && absolute)) {
            snprintf(why, sizeof why, "it has a %s at byte %zu%s", c == ' ' ? "space" : "control character",
                     i + 1, c == ' ' ? "; write it as %20" : "");
            return malformed(message, url, len, why);
        }
    }
    const char *scheme_end = len > 0 ? memchr(url, ':', len) : NULL;
    if (absolute) {
        size_t scheme_len = scheme_end != NULL ? (size_t)(scheme_end - url) : 0;
        bool known = (scheme_len == 4 && strncasecmp(url, "http", 4) == 0) ||
                     (scheme_len == 5 && strncasecmp(url, "https", 5) == 0);
        size_t authority = scheme_len + 3;
        if (!known || len < authority || memcmp(scheme_end, "://", 3) != 0)
            return malformed(message, url, len, "it must begin with http:// or https://");
        if (len == authority || url[authority] == '/')
            return malformed(message, url, len, "it has no host");
        for (size_t i = authority; i < len && url[i] != '/' && url[i] != '?' && url[i] != '#'; i++)
            if (url[i] == '\\')
                return malformed(message, url, len, "it has a backslash in its host");
    }
    return HTTP_OK;
}

static char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *format_text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    char *text = len >= 0 ? mem_alloc((size_t)len + 1) : NULL;
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}

static char *copy_part(const struct url *url, const struct url_part *part)
{
    return mem_strndup(url_part_text(url, part), part->len);
}

static bool take_credentials(const struct url *url, struct http_target *target, const char **why)
{
    if (url->user.len == 0 && url->password.len == 0)
        return true;
    target->user = copy_part(url, &url->user);
    target->password = copy_part(url, &url->password);
    if (target->user == NULL || target->password == NULL)
        return false;
    char *const texts[] = {target->user, target->password};
    for (size_t i = 0; i < 2; i++) {
        size_t len = url_decode_loose(texts[i], texts[i], strlen(texts[i]), false);
        texts[i][len] = '\0';
        for (size_t at = 0; at < len; at++)
            if ((unsigned char)texts[i][at] < ' ')
                *why = "its user name or password has a control character";
    }
    return *why == NULL;
}

/* Gives the text to libcurl, and compares what it makes of it with what was understood here. */
static bool set_curl_url(const struct curl_api *api, struct http_target *target, const char *host,
                         const char **why)
{
    char *curl_host = NULL;
    char *curl_port = NULL;
    unsigned long refused = curl_api_refused_allocations();
    target->url = api->url();
    if (target->url == NULL)
        return false;
    CURLUcode status = api->url_set(target->url, CURLUPART_URL, target->text, CURLU_PATH_AS_IS);
    if (status == CURLUE_OK)
        status = api->url_get(target->url, CURLUPART_HOST, &curl_host, 0);
    if (status == CURLUE_OK)
        status = api->url_get(target->url, CURLUPART_PORT, &curl_port, CURLU_DEFAULT_PORT);
    /* When it was refused memory it may say something else. */
    bool out_of_memory = status == CURLUE_OUT_OF_MEMORY || refused != curl_api_refused_allocations();
    if (status != CURLUE_OK && !out_of_memory)
        *why = api->url_strerror(status);
    else if (status == CURLUE_OK &&
             (strcmp(curl_host, host) != 0 || strtol(curl_port, NULL, 10) != target->port))
        *why = "libcurl understands its host or port differently";
    api->free(curl_host);
    api->free(curl_port);
    return status == CURLUE_OK && *why == NULL;
}

/* Returns false, and why unless memory is out. */
static bool fill(const struct curl_api *api, const struct url *url, struct http_target *target,
                 const char **why)
{
    target->tls = url_part_is(url, &url->scheme, "https");
    target->port = url->port >= 0 ? url->port : url->default_port;
    if (!target->tls && !url_part_is(url, &url->scheme, "http"))
        *why = "it must begin with http:// or https://";
    else if (target->port == 0)
        *why = "its port is not between 1 and 65535";
    if (*why != NULL || !take_credentials(url, target, why))
        return false;
    char *host = copy_part(url, &url->host);
    if (host == NULL)
        return false;
    bool ipv6 = host[0] == '[';
    const char *scheme = target->tls ? "https" : "http";
    const char *rest = url_part_text(url, &url->host) + url->host.len; /* port, path, query, fragment */
    target->host = ipv6 ? mem_strndup(host + 1, url->host.len - 2) : copy_part(url, &url->host);
    target->origin = format_text("%s://%s:%d", scheme, host, target->port);
    target->shown = url->port >= 0 ? format_text("%s:%d", host, url->port) : copy_part(url, &url->host);
    target->text = format_text("%s://%s%s", scheme, host, rest);
    bool ok = target->host != NULL && target->origin != NULL && target->shown != NULL &&
              target->text != NULL && set_curl_url(api, target, host, why);
    mem_free(host);
    return ok;
}

/* base may be NULL. */
static enum http_error parse(const struct curl_api *api, const struct http_target *base, const char *text,
                             size_t len, struct http_target *target, char *message)
{
    struct err err = {0};
    struct url base_url = {0};
    struct url url = {0};
    const char *why = NULL;
    enum http_error error = HTTP_OK;
    enum err_code code = ERR_NONE;
    if (base != NULL)
        code = url_parse(&base_url, base->text, strlen(base->text), NULL, &err);
    if (code == ERR_NONE)
        code = url_parse(&url, text, len, base != NULL ? &base_url : NULL, &err);
    if (code == ERR_NOMEM) {
        error = out_of_memory(message);
    } else if (code != ERR_NONE) {
        snprintf(message, HTTP_MESSAGE_MAX, "%.*s", HTTP_MESSAGE_MAX - 1, err.message);
        error = HTTP_ERROR_URL;
    } else if (!fill(api, &url, target, &why)) {
        error = why != NULL ? malformed(message, text, len, why) : out_of_memory(message);
        http_target_free(api, target);
    }
    url_free(&url);
    url_free(&base_url);
    return error;
}

enum http_error http_target_parse(const struct curl_api *api, const char *url, size_t len,
                                  struct http_target *target, char *message)
{
    *target = (struct http_target){0};
    enum http_error error = check_text(url, len, true, message);
    return error != HTTP_OK ? error : parse(api, NULL, url, len, target, message);
}

enum http_error http_target_join(const struct curl_api *api, const struct http_target *base,
                                 const char *reference, size_t len, struct http_target *target, char *message)
{
    *target = (struct http_target){0};
    enum http_error error = check_text(reference, len, false, message);
    return error != HTTP_OK ? error : parse(api, base, reference, len, target, message);
}
