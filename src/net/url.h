/* URLs as browsers read them (WHATWG URL Standard), percent-encoding and query strings.
 *
 * Who owns what: a url owns its text until url_free; other results are appended to a buffer of the caller.
 *
 * There is one parser in the program. What a script sees of a URL and where the HTTP client connects to
 * (net/http_target.h) come from it, so that what is checked is what is connected to. */
#ifndef WORKERS_NET_URL_H
#define WORKERS_NET_URL_H

#include "base/buf.h"

#define URL_MAX ((size_t)1024 * 1024) /* bytes of a URL before parsing */

/* ---- parsing ---- */

/* Bytes of url.text. */
struct url_part {
    size_t at;
    size_t len;
};

/* Parts are as they stand in the text: percent-encoded, without the characters that separate them. */
struct url {
    struct buf text;          /* the whole, normalised: "href" */
    struct url_part scheme;   /* lower case */
    struct url_part user;     /* empty when there is none */
    struct url_part password; /* empty when there is none */
    struct url_part host;     /* a domain in lower case, four decimal numbers, or IPv6 in brackets */
    struct url_part path;     /* begins with '/' unless it is opaque or empty */
    struct url_part query;    /* may be empty although has_query */
    struct url_part fragment; /* may be empty although has_fragment */
    int port;                 /* 0 to 65535; -1 when it is the scheme's default or the scheme has none */
    int default_port;         /* of the scheme; -1 when it has none */
    bool special;             /* http, https, ws, wss, ftp, file: has a host, and '\' is '/' */
    bool file;
    bool has_host; /* "//" is there, although the host may be empty */
    bool has_query;
    bool has_fragment;
    bool opaque_path; /* as in mailto:ann@example.com: nothing can be relative to it */
};

/* Fills url, which url_free then releases, whatever was returned. base may be NULL.
 *
 * The result is that of the standard with two restrictions. A host of a special scheme must be ASCII after
 * percent-decoding: letters beyond that need the tables of IDNA, and the error says to write punycode. Bytes
 * that are not UTF-8 are percent-encoded as they are, not replaced.
 *
 * ERR_INVALID says what is wrong, and shows the URL unless it may have credentials, without its query;
 * ERR_NOMEM. */
enum err_code url_parse(struct url *url, const char *text, size_t len, const struct url *base,
                        struct err *err) MUST_CHECK;
void url_free(struct url *url); /* allowed twice, and for a zeroed one */

/* Bytes of a part; not NUL-terminated. */
const char *url_part_text(const struct url *url, const struct url_part *part);
bool url_part_is(const struct url *url, const struct url_part *part, const char *text);

/* Appends scheme, host and port, as in "https://example.com:8080", the port only if it is not the scheme's
 * own. False, and nothing appended, when the URL has none that could equal another's, as with file and data.
 */
bool url_origin(struct buf *out, const struct url *url);

/* Writes what of a malformed URL may be shown, quoted and with a space before it: nothing when an @ could
 * mean credentials, else all before the query, cut to fit. Returns out. */
const char *url_quotable(char *out, size_t size, const char *text, size_t len);

/* ---- building ---- */

struct url_slice {
    const char *text; /* NULL: the part is absent */
    size_t len;
};

/* Parts as struct url has them: what cannot stand in a part is percent-encoded, an existing % is left. */
struct url_parts {
    struct url_slice scheme, user, password, host, path, query, fragment;
    int port; /* -1: absent */
};

/* Fills url with what the parts make, so that each part stays where it was given. ERR_INVALID names the part
 * that cannot be. */
enum err_code url_build(struct url *url, const struct url_parts *parts, struct err *err) MUST_CHECK;

/* ---- percent-encoding ---- */

/* Appends with every byte but the unreserved ones (letters, digits, "-._~": RFC 3986, section 2.3) as %XX; a
 * space becomes %20. Failures show in buf_status. */
void url_encode(struct buf *out, const char *text, size_t len);

/* Undoes it. ERR_INVALID names the position of a "%" that two hexadecimal digits do not follow. The result
 * may hold any byte, NUL included. */
enum err_code url_decode(struct buf *out, const char *text, size_t len, struct err *err) MUST_CHECK;

/* Appends as application/x-www-form-urlencoded has it: a space becomes "+", "~" becomes %7E and "*" stays. */
void url_encode_form(struct buf *out, const char *text, size_t len);

/* Undoes either, as browsers do: a malformed "%" stays. Writes at most len bytes to out, which may be text
 * itself, and returns how many. */
size_t url_decode_loose(char *out, const char *text, size_t len, bool plus_is_space);

/* ---- query strings ---- */

struct url_pair {
    const char *name;
    size_t name_len;
    const char *value; /* NULL, where that is allowed: the name is to be taken out */
    size_t value_len;
};

struct url_pair url_pair(const char *name, const char *value);

/* Appends name=value joined by "&", form-encoded, without a leading "?". */
void url_encode_pairs(struct buf *out, const struct url_pair *pairs, size_t count);

/* Appends url with the pairs added to its query: behind what the query has, before the fragment. */
void url_add_query(struct buf *out, const char *url, size_t len, const struct url_pair *pairs, size_t count);

/* Appends url with these parameters set: the pairs, in order of their names, take the place of the first
 * parameter of the same name, or are added at the end. Others of that name go, and what is not named stays
 * byte by byte. url may be relative. ERR_NOMEM, ERR_LIMIT. */
enum err_code url_set_query(struct buf *out, const char *url, size_t len, const struct url_pair *pairs,
                            size_t count, struct err *err) MUST_CHECK;

/* The value of the first parameter of that name in a query without its "?", as it stands there
 * (url_decode_loose); false when there is none. name is looked for as it is: without percent-encoding. */
bool url_find_parameter(const char *query, const char *name, struct url_slice *value);

/* The order in which url_set_query wants names: shorter first among those that begin alike. */
int url_compare_names(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
