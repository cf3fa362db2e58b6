/* Text work on URLs: percent-encoding, query strings, relative references (RFC 3986).
 *
 * Who owns what: results are appended to a buffer of the caller. What decides where a request goes is parsed
 * by libcurl alone (net/http_target.h), so that what is checked is what is connected to. */
#ifndef WORKERS_NET_URL_H
#define WORKERS_NET_URL_H

#include "base/buf.h"

struct url_pair {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* Appends with every byte but the unreserved ones (letters, digits, "-._~") as %XX; a space becomes %20.
 * Failures show in buf_status. */
void url_encode(struct buf *out, const char *text, size_t len);

/* The same as application/x-www-form-urlencoded has it: a space becomes "+", "~" becomes %7E and "*" stays.
 */
void url_encode_form(struct buf *out, const char *text, size_t len);

/* Undoes either. ERR_INVALID names the position of a "%" that two hexadecimal digits do not follow. The
 * result may hold any byte, NUL included. */
enum err_code url_decode(struct buf *out, const char *text, size_t len, bool plus_is_space,
                         struct err *err) MUST_CHECK;

/* Appends name=value joined by "&", form-encoded, without a leading "?". */
void url_encode_pairs(struct buf *out, const struct url_pair *pairs, size_t count);

/* Appends url with the pairs added to its query: behind what the query has, before the fragment. */
void url_add_query(struct buf *out, const char *url, size_t len, const struct url_pair *pairs, size_t count);

/* Appends the URL that reference means when it occurs at base (RFC 3986, section 5). base must be an absolute
 * http or https URL, else ERR_INVALID. Loads libcurl. */
enum err_code url_join(struct buf *out, const char *base, size_t base_len, const char *reference,
                       size_t reference_len, struct err *err) MUST_CHECK;

#endif
