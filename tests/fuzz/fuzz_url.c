/* libFuzzer harness for URLs: no text may crash or leak; the normal form is parsed to itself and built from
 * its parts; the HTTP client goes to the host that was read here.
 *
 * A line feed separates a base from what is relative to it. */
#include "net/http_target.h"
#include "net/url.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, const struct url *url, const struct url *other)
{
    fprintf(stderr, "%s: %s: %s\n", what, buf_text(&url->text), buf_text(&other->text));
    abort();
}

static void check_same(const char *what, enum err_code code, const struct url *url, struct url *other)
{
    if (code != ERR_NONE || url->text.len != other->text.len ||
        memcmp(url->text.data, other->text.data, url->text.len) != 0 || url->port != other->port ||
        memcmp(&url->host, &other->host, sizeof url->host) != 0 ||
        memcmp(&url->path, &other->path, sizeof url->path) != 0 ||
        memcmp(&url->query, &other->query, sizeof url->query) != 0 ||
        memcmp(&url->fragment, &other->fragment, sizeof url->fragment) != 0)
        fail(what, url, other);
    url_free(other);
}

static struct url_slice slice(const struct url *url, const struct url_part *part, bool present)
{
    return (struct url_slice){present ? url_part_text(url, part) : NULL, part->len};
}

static void check_built(const struct url *url)
{
    struct url built;
    struct err err;
    const struct url_parts parts = {
        .scheme = slice(url, &url->scheme, true),
        .user = slice(url, &url->user, url->user.len > 0),
        .password = slice(url, &url->password, url->password.len > 0),
        .host = slice(url, &url->host, url->has_host),
        .path = slice(url, &url->path, true),
        .query = slice(url, &url->query, url->has_query),
        .fragment = slice(url, &url->fragment, url->has_fragment),
        .port = url->port,
    };
    check_same("built from its parts", url_build(&built, &parts, &err), url, &built);
}

static void check_target(const struct url *url)
{
    struct err err;
    struct http_target target;
    char message[HTTP_MESSAGE_MAX];
    const struct curl_api *api = curl_api_get(&err);
    enum http_error error = http_target_parse(api, url->text.data, url->text.len, &target, message);
    if (error != HTTP_OK && strstr(message, "libcurl understands") == NULL)
        return;
    size_t bracket = error == HTTP_OK && *url_part_text(url, &url->host) == '[';
    if (error != HTTP_OK || strlen(target.host) + 2 * bracket != url->host.len ||
        memcmp(target.host, url_part_text(url, &url->host) + bracket, strlen(target.host)) != 0)
        fail("the client disagrees", url, url);
    http_target_free(api, &target);
}

static void check_query(const struct url *url)
{
    const struct url_pair pairs[] = {{"a", 1, "1", 1}, {"b", 1, NULL, 0}, {"c d", 3, "", 0}};
    struct buf once, twice;
    struct err err;
    buf_init(&once, BUF_UNLIMITED);
    buf_init(&twice, BUF_UNLIMITED);
    if (url_set_query(&once, url->text.data, url->text.len, pairs, 3, &err) != ERR_NONE ||
        url_set_query(&twice, once.data, once.len, pairs, 3, &err) != ERR_NONE || once.len != twice.len ||
        memcmp(once.data, twice.data, once.len) != 0)
        fail("parameters set twice", url, url);
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *line = size > 0 ? memchr(text, '\n', size) : NULL;
    struct url base = {0}, url, again;
    struct err err;
    bool has_base = false;
    if (line != NULL) {
        has_base = url_parse(&base, text, (size_t)(line - text), NULL, &err) == ERR_NONE;
        size -= (size_t)(line + 1 - text);
        text = line + 1;
    }
    if (url_parse(&url, text, size, has_base ? &base : NULL, &err) == ERR_NONE) {
        enum err_code code = url_parse(&again, url.text.data, url.text.len, NULL, &err);
        check_same("parsed again", code, &url, &again);
        check_built(&url);
        check_query(&url);
        if (url_part_is(&url, &url.scheme, "http") || url_part_is(&url, &url.scheme, "https"))
            check_target(&url);
    }
    url_free(&url);
    url_free(&base);
    return 0;
}
