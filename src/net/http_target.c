/* Parses URLs with libcurl's parser. Must not put credentials or a query into a message. */
#include "net/http_target.h"
#include "base/mem.h"

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

/* What of a malformed URL may be shown: nothing when an @ could mean credentials, else all before the query.
 */
static const char *quotable(char *out, size_t size, const char *url, size_t len)
{
    size_t used = 0;
    out[0] = '\0';
    if (len == 0 || memchr(url, '@', len) != NULL)
        return out;
    for (size_t i = 0; i < len && used + 8 < size && url[i] != '?' && url[i] != '#'; i++) {
        if (used == 0) {
            out[used++] = ' ';
            out[used++] = '"';
        }
        out[used++] = url[i] > ' ' && url[i] < 0x7f ? url[i] : '?';
    }
    if (used > 0)
        out[used++] = '"';
    out[used] = '\0';
    return out;
}

static enum http_error malformed(char *message, const char *url, size_t len, const char *why)
{
    char shown[160];
    snprintf(message, HTTP_MESSAGE_MAX, "the URL%s is malformed: %s", quotable(shown, sizeof shown, url, len),
             why);
    return HTTP_ERROR_URL;
}

static enum http_error out_of_memory(char *message)
{
    snprintf(message, HTTP_MESSAGE_MAX, "out of memory");
    return HTTP_ERROR_NOMEM;
}

/* Things that libcurl's parser lets pass and that parsers disagree about. */
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

/* One part as text of ours; a part that is not there gives NULL and HTTP_OK. */
static enum http_error get_part(const struct curl_api *api, CURLU *url, CURLUPart part, unsigned flags,
                                char **out, CURLUcode *status)
{
    char *text = NULL;
    *out = NULL;
    *status = api->url_get(url, part, &text, flags);
    if (*status == CURLUE_OUT_OF_MEMORY)
        return HTTP_ERROR_NOMEM;
    if (*status != CURLUE_OK)
        return HTTP_OK;
    *out = mem_strndup(text, strlen(text));
    api->free(text);
    return *out != NULL ? HTTP_OK : HTTP_ERROR_NOMEM;
}

static enum http_error take_credentials(const struct curl_api *api, struct http_target *target)
{
    CURLUcode status;
    if (get_part(api, target->url, CURLUPART_USER, CURLU_URLDECODE, &target->user, &status) != HTTP_OK)
        return HTTP_ERROR_NOMEM;
    if (status != CURLUE_OK && status != CURLUE_NO_USER)
        return HTTP_ERROR_URL;
    if (get_part(api, target->url, CURLUPART_PASSWORD, CURLU_URLDECODE, &target->password, &status) !=
        HTTP_OK)
        return HTTP_ERROR_NOMEM;
    if (status != CURLUE_OK && status != CURLUE_NO_PASSWORD)
        return HTTP_ERROR_URL;
    if (target->user == NULL && target->password != NULL)
        target->user = mem_strndup("", 0);
    if (target->user != NULL && target->password == NULL)
        target->password = mem_strndup("", 0);
    if ((target->user == NULL) != (target->password == NULL))
        return HTTP_ERROR_NOMEM;
    api->url_set(target->url, CURLUPART_USER, NULL, 0);
    api->url_set(target->url, CURLUPART_PASSWORD, NULL, 0);
    api->url_set(target->url, CURLUPART_OPTIONS, NULL, 0);
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

/* Everything but the CURLU itself, which must already be there. */
static enum http_error fill(const struct curl_api *api, struct http_target *target, char *message)
{
    CURLUcode status;
    char *scheme = NULL;
    char *port = NULL;
    char *bracketed = NULL;
    const char *why = NULL;
    enum http_error error = HTTP_ERROR_NOMEM;

    if (get_part(api, target->url, CURLUPART_SCHEME, 0, &scheme, &status) != HTTP_OK)
        goto cleanup;
    if (scheme == NULL || (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)) {
        why = "it must begin with http:// or https://";
        goto cleanup;
    }
    target->tls = strlen(scheme) == 5;

    error = take_credentials(api, target);
    if (error == HTTP_ERROR_URL)
        why = "its user name or password is not decodable";
    if (error != HTTP_OK)
        goto cleanup;
    error = HTTP_ERROR_NOMEM;

    if (get_part(api, target->url, CURLUPART_HOST, 0, &bracketed, &status) != HTTP_OK)
        goto cleanup;
    if (bracketed == NULL || bracketed[0] == '\0') {
        why = status == CURLUE_OK ? "it has no host" : api->url_strerror(status);
        goto cleanup;
    }
    for (char *c = bracketed; *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80) {
            /* libcurl's conversion leaks what it cannot convert, and look-alikes are better seen for what
             * they are. */
            why = "its host has letters beyond ASCII; write it in punycode (xn--...)";
            goto cleanup;
        }
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    }
    size_t len = strlen(bracketed);
    bool ipv6 = bracketed[0] == '[' && bracketed[len - 1] == ']';
    target->host = ipv6 ? mem_strndup(bracketed + 1, len - 2) : mem_strndup(bracketed, len);
    if (target->host == NULL)
        goto cleanup;

    if (get_part(api, target->url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &port, &status) != HTTP_OK)
        goto cleanup;
    long number = port != NULL ? strtol(port, NULL, 10) : 0;
    if (number < 1 || number > 65535) {
        why = "its port is not between 1 and 65535";
        goto cleanup;
    }
    target->port = (int)number;
    if (get_part(api, target->url, CURLUPART_URL, 0, &target->text, &status) != HTTP_OK)
        goto cleanup;
    if (target->text == NULL) {
        why = api->url_strerror(status);
        goto cleanup;
    }
    target->origin = format_text("%s://%s:%d", target->tls ? "https" : "http", bracketed, target->port);
    bool default_port = target->port == (target->tls ? 443 : 80);
    target->shown =
        default_port ? mem_strndup(bracketed, len) : format_text("%s:%d", bracketed, target->port);
    if (target->origin != NULL && target->shown != NULL)
        error = HTTP_OK;

cleanup:
    if (why != NULL) {
        snprintf(message, HTTP_MESSAGE_MAX, "the URL is malformed: %s", why);
        error = HTTP_ERROR_URL;
    } else if (error == HTTP_ERROR_NOMEM) {
        out_of_memory(message);
    }
    mem_free(bracketed);
    mem_free(port);
    mem_free(scheme);
    if (error != HTTP_OK)
        http_target_free(api, target);
    return error;
}

static enum http_error set_url(const struct curl_api *api, struct http_target *target, const char *url,
                               size_t len, char *message)
{
    char *copy = mem_strndup(url, len);
    if (copy == NULL || target->url == NULL) {
        mem_free(copy);
        http_target_free(api, target);
        return out_of_memory(message);
    }
    unsigned long refused = curl_api_refused_allocations();
    CURLUcode status = api->url_set(target->url, CURLUPART_URL, copy, CURLU_URLENCODE);
    if (status != CURLUE_OK && refused != curl_api_refused_allocations())
        status = CURLUE_OUT_OF_MEMORY; /* it may say something else */
    mem_free(copy);
    if (status == CURLUE_OK)
        return fill(api, target, message);
    http_target_free(api, target);
    if (status == CURLUE_OUT_OF_MEMORY)
        return out_of_memory(message);
    if (status == CURLUE_UNSUPPORTED_SCHEME)
        return malformed(message, url, len, "it must begin with http:// or https://");
    return malformed(message, url, len, api->url_strerror(status));
}

enum http_error http_target_parse(const struct curl_api *api, const char *url, size_t len,
                                  struct http_target *target, char *message)
{
    *target = (struct http_target){0};
    enum http_error error = check_text(url, len, true, message);
    if (error != HTTP_OK)
        return error;
    target->url = api->url();
    return set_url(api, target, url, len, message);
}

enum http_error http_target_join(const struct curl_api *api, const struct http_target *base,
                                 const char *reference, size_t len, struct http_target *target, char *message)
{
    *target = (struct http_target){0};
    enum http_error error = check_text(reference, len, false, message);
    if (error != HTTP_OK)
        return error;
    target->url = api->url_dup(base->url);
    return set_url(api, target, reference, len, message);
}
