/* Percent-encoding and query strings. Must not decide which host a request goes to. */
#include "net/url.h"
#include "base/mem.h"
#include "net/curl_api.h"

#include <string.h>

static bool is_alphanumeric(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void encode_byte(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_addc(out, '%');
    buf_addc(out, digits[c >> 4]);
    buf_addc(out, digits[c & 15]);
}

void url_encode(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len && !out->failed; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~')
            buf_addc(out, (char)c);
        else
            encode_byte(out, c);
    }
}

void url_encode_form(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len && !out->failed; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '*')
            buf_addc(out, (char)c);
        else if (c == ' ')
            buf_addc(out, '+');
        else
            encode_byte(out, c);
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err_code url_decode(struct buf *out, const char *text, size_t len, bool plus_is_space, struct err *err)
{
    for (size_t i = 0; i < len && !out->failed; i++) {
        if (text[i] == '%') {
            int high = i + 1 < len ? hex_value(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(err, ERR_INVALID,
                               "the %% at byte %zu is not followed by two hexadecimal digits; "
                               "a literal %% is written %%25",
                               i + 1);
            buf_addc(out, (char)(high * 16 + low));
            i += 2;
        } else {
            buf_addc(out, plus_is_space && text[i] == '+' ? ' ' : text[i]);
        }
    }
    return buf_status(out, "the decoded text", err);
}

void url_encode_pairs(struct buf *out, const struct url_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_addc(out, '&');
        url_encode_form(out, pairs[i].name, pairs[i].name_len);
        buf_addc(out, '=');
        url_encode_form(out, pairs[i].value, pairs[i].value_len);
    }
}

void url_add_query(struct buf *out, const char *url, size_t len, const struct url_pair *pairs, size_t count)
{
    const char *fragment = len > 0 ? memchr(url, '#', len) : NULL;
    size_t before = fragment != NULL ? (size_t)(fragment - url) : len;
    buf_add(out, url, before);
    if (count > 0) {
        const char *query = before > 0 ? memchr(url, '?', before) : NULL;
        if (query == NULL)
            buf_addc(out, '?');
        else if (url[before - 1] != '?' && url[before - 1] != '&')
            buf_addc(out, '&');
        url_encode_pairs(out, pairs, count);
    }
    if (fragment != NULL)
        buf_add(out, fragment, len - before);
}

enum err_code url_join(struct buf *out, const char *base, size_t base_len, const char *reference,
                       size_t reference_len, struct err *err)
{
    enum err_code code = ERR_NONE;
    char *base_text = NULL;
    char *reference_text = NULL;
    char *joined = NULL;
    CURLU *url = NULL;
    const struct curl_api *api = curl_api_get(err);
    if (api == NULL)
        return err != NULL ? err->code : ERR_NOT_FOUND;
    if ((base_len > 0 && memchr(base, '\0', base_len) != NULL) ||
        (reference_len > 0 && memchr(reference, '\0', reference_len) != NULL))
        return err_set(err, ERR_INVALID, "a URL cannot contain a NUL byte");

    base_text = mem_strndup(base, base_len);
    reference_text = mem_strndup(reference, reference_len);
    url = api->url();
    if (base_text == NULL || reference_text == NULL || url == NULL) {
        code = err_nomem(err);
        goto cleanup;
    }
    CURLUcode status = api->url_set(url, CURLUPART_URL, base_text, CURLU_URLENCODE);
    if (status != CURLUE_OK) {
        code = err_set(err, ERR_INVALID, "the base is not an absolute URL: %s", api->url_strerror(status));
        goto cleanup;
    }
    if (reference_len > 0)
        status = api->url_set(url, CURLUPART_URL, reference_text, CURLU_URLENCODE);
    else
        status = api->url_set(url, CURLUPART_FRAGMENT, NULL, 0); /* an empty reference is the base itself */
    if (status == CURLUE_OK)
        status = api->url_get(url, CURLUPART_URL, &joined, 0);
    if (status == CURLUE_OUT_OF_MEMORY)
        code = err_nomem(err);
    else if (status != CURLUE_OK)
        code = err_set(err, ERR_INVALID, "the reference is malformed: %s", api->url_strerror(status));
    if (code != ERR_NONE)
        goto cleanup;
    buf_adds(out, joined);
    code = buf_status(out, "the joined URL", err);

cleanup:
    if (joined != NULL)
        api->free(joined);
    if (url != NULL)
        api->url_cleanup(url);
    mem_free(reference_text);
    mem_free(base_text);
    return code;
}
