/* What the files of the URL parser share. Nobody else includes this.
 *
 * url.c: the parser and its opposite. url_host.c: hosts. url_text.c: percent-encoding and query strings. */
#ifndef WORKERS_NET_URL_PRIV_H
#define WORKERS_NET_URL_PRIV_H

#include "net/url.h"

#define URL_WHY_MAX 160 /* bytes of a reason, its NUL included */

/* Section 1.3: control characters and bytes beyond ASCII are in every set. */
enum url_set {
    URL_SET_CONTROL,
    URL_SET_FRAGMENT,
    URL_SET_QUERY,
    URL_SET_SPECIAL_QUERY,
    URL_SET_PATH,
    URL_SET_USERINFO,
};

/* Appends with the bytes of the set as %XX. */
void url_encode_set(struct buf *out, const char *text, size_t len, enum url_set set);
void url_encode_byte(struct buf *out, unsigned char c);
bool url_is_alpha(int c);
bool url_is_digit(int c);
int url_hex_value(int c); /* -1 for another character */

/* Appends the host (section 3.5) as it is written in a URL. False, and why, when it is none; memory shows in
 * buf_status. text is not empty. */
bool url_host_parse(struct buf *out, const char *text, size_t len, bool special,
                    char why[URL_WHY_MAX]) MUST_CHECK;

#endif
