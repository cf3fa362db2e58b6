/* The parser of URLs (WHATWG URL Standard, section 4.4) and its opposite. Must not know who connects where.
 *
 * The standard describes a machine that reads one character after the other. Here each of its states, or a
 * few that belong together, is a function that reads its part and calls what follows. The result is written
 * once, from left to right, since a URL and its normal form have their parts in the same order; only the path
 * is cut again, by "..". */
#include "net/url_priv.h"

#include <stdio.h>
#include <string.h>

/* A base and a reference, of which every byte may become three. */
#define HREF_MAX (8 * URL_MAX)

struct parser {
    const char *at;
    const char *end;
    struct url *url;
    const struct url *base;
    char why[URL_WHY_MAX];
};

static const struct {
    const char *name;
    int port;
} special_schemes[] = {{"http", 80}, {"https", 443}, {"ws", 80}, {"wss", 443}, {"ftp", 21}, {"file", -1}};

/* ---- parts ---- */

const char *url_part_text(const struct url *url, const struct url_part *part)
{
    return buf_text(&url->text) + part->at;
}

bool url_part_is(const struct url *url, const struct url_part *part, const char *text)
{
    return part->len == strlen(text) && memcmp(url_part_text(url, part), text, part->len) == 0;
}

static void begin_part(struct url *url, struct url_part *part)
{
    *part = (struct url_part){url->text.len, 0};
}

static void end_part(struct url *url, struct url_part *part)
{
    part->len = url->text.len - part->at;
}

void url_free(struct url *url)
{
    buf_free(&url->text);
    *url = (struct url){.text = url->text};
}

const char *url_quotable(char *out, size_t size, const char *text, size_t len)
{
    size_t used = 0;
    out[0] = '\0';
    if (len == 0 || memchr(text, '@', len) != NULL)
        return out;
    for (size_t i = 0; i < len && used + 8 < size && text[i] != '?' && text[i] != '#'; i++) {
        if (used == 0) {
            out[used++] = ' ';
            out[used++] = '"';
        }
        out[used++] = text[i] > ' ' && text[i] < 0x7f ? text[i] : '?';
    }
    if (used > 0)
        out[used++] = '"';
    out[used] = '\0';
    return out;
}

/* ---- reading ---- */

/* The character that is n further on, -1 behind the end. */
static int peek(const struct parser *p, size_t n)
{
    return (size_t)(p->end - p->at) > n ? (unsigned char)p->at[n] : -1;
}

static bool is_slash(const struct url *url, int c)
{
    return c == '/' || (c == '\\' && url->special);
}

static const char *find_slash_or_mark(const struct url *url, const char *at, const char *end)
{
    while (at < end && *at != '?' && *at != '#' && !is_slash(url, *at))
        at++;
    return at;
}

static bool fail(struct parser *p, const char *why)
{
    snprintf(p->why, sizeof p->why, "%s", why);
    return false;
}

/* "C:" or "C|" */
static bool is_drive(const char *text, size_t len)
{
    return len == 2 && url_is_alpha(text[0]) && (text[1] == ':' || text[1] == '|');
}

static bool starts_with_drive(const struct parser *p)
{
    int after = peek(p, 2);
    return p->end - p->at >= 2 && is_drive(p->at, 2) &&
           (after == -1 || after == '/' || after == '\\' || after == '?' || after == '#');
}

/* ---- the path and what follows ---- */

/* Whether the path, at that place of the text, is "/C:" and nothing more. */
static bool path_is_drive(const char *path, size_t len)
{
    return len == 3 && url_is_alpha(path[1]) && path[2] == ':';
}

/* Takes the last segment of the path away, which may leave it empty. The drive letter of a file stays. */
static void shorten_path(struct url *url)
{
    struct buf *text = &url->text;
    size_t begin = url->path.at;
    if (text->failed || (url->file && path_is_drive(text->data + begin, text->len - begin)))
        return;
    size_t at = text->len;
    while (at > begin && text->data[at - 1] != '/')
        at--;
    text->len = at > begin ? at - 1 : begin;
}

/* How many dots the segment is, each of which may be written %2e: 1, 2, or 0 for any other segment. */
static int count_dots(const char *text, size_t len)
{
    int dots = 0;
    while (len > 0 && dots < 3) {
        size_t width = 1;
        if (len >= 3 && text[0] == '%' && text[1] == '2' && (text[2] == 'e' || text[2] == 'E'))
            width = 3;
        else if (text[0] != '.')
            return 0;
        dots++;
        text += width;
        len -= width;
    }
    return dots < 3 ? dots : 0;
}

/* The states query and fragment. Called when the path is complete. */
static bool parse_query_and_fragment(struct parser *p)
{
    struct url *url = p->url;
    if (peek(p, 0) == '?') {
        const char *end = memchr(p->at, '#', (size_t)(p->end - p->at));
        if (end == NULL)
            end = p->end;
        buf_addc(&url->text, '?');
        url->has_query = true;
        begin_part(url, &url->query);
        url_encode_set(&url->text, p->at + 1, (size_t)(end - p->at) - 1,
                       url->special ? URL_SET_SPECIAL_QUERY : URL_SET_QUERY);
        end_part(url, &url->query);
        p->at = end;
    }
    if (peek(p, 0) == '#') {
        buf_addc(&url->text, '#');
        url->has_fragment = true;
        begin_part(url, &url->fragment);
        url_encode_set(&url->text, p->at + 1, (size_t)(p->end - p->at) - 1, URL_SET_FRAGMENT);
        end_part(url, &url->fragment);
    }
    return true;
}

/* Ends the path. One that begins with "//" and follows no host would be taken for a host: "/." comes before
 * it. */
static void end_path(struct url *url)
{
    struct buf *text = &url->text;
    end_part(url, &url->path);
    if (text->failed || url->has_host || url->opaque_path || url->path.len < 2 ||
        memcmp(text->data + url->path.at, "//", 2) != 0)
        return;
    buf_adds(text, "/.");
    if (text->failed)
        return;
    memmove(text->data + url->path.at + 2, text->data + url->path.at, url->path.len);
    memcpy(text->data + url->path.at, "/.", 2);
    url->path.at += 2;
}

/* The state path: segments without the slash before the first, appended to those that are there. */
static bool parse_segments(struct parser *p)
{
    struct url *url = p->url;
    for (bool more = true; more && !url->text.failed;) {
        const char *segment = p->at;
        p->at = find_slash_or_mark(url, p->at, p->end);
        size_t len = (size_t)(p->at - segment);
        more = is_slash(url, peek(p, 0));
        int dots = count_dots(segment, len);
        if (dots == 2)
            shorten_path(url);
        if (dots > 0 && !more)
            buf_addc(&url->text, '/');
        if (dots == 0) {
            bool first = url->text.len == url->path.at;
            buf_addc(&url->text, '/');
            url_encode_set(&url->text, segment, len, URL_SET_PATH);
            if (url->file && first && is_drive(segment, len) && !url->text.failed)
                url->text.data[url->text.len - 1] = ':';
        }
        if (more)
            p->at++;
    }
    end_path(url);
    return parse_query_and_fragment(p);
}

/* The state path start: what follows a host. */
static bool parse_path_start(struct parser *p)
{
    struct url *url = p->url;
    begin_part(url, &url->path);
    if (is_slash(url, peek(p, 0)))
        p->at++;
    else if (!url->special)
        return parse_query_and_fragment(p);
    return parse_segments(p);
}

/* A path that is not made of segments. A space at its end would be lost when it is parsed again. */
static bool parse_opaque_path(struct parser *p)
{
    struct url *url = p->url;
    const char *end = p->at;
    while (end < p->end && *end != '?' && *end != '#')
        end++;
    size_t len = (size_t)(end - p->at);
    bool space = end < p->end && len > 0 && end[-1] == ' ';
    url->opaque_path = true;
    begin_part(url, &url->path);
    url_encode_set(&url->text, p->at, len - space, URL_SET_CONTROL);
    if (space)
        url_encode_byte(&url->text, ' ');
    end_path(url);
    p->at = end;
    return parse_query_and_fragment(p);
}

/* ---- host and credentials ---- */

static void begin_host(struct url *url)
{
    buf_adds(&url->text, "//");
    url->has_host = true;
    begin_part(url, &url->user);
    begin_part(url, &url->password);
    begin_part(url, &url->host);
}

/* "user:password", up to the at sign. */
static void parse_credentials(struct parser *p, const char *at_sign)
{
    struct url *url = p->url;
    size_t len = (size_t)(at_sign - p->at);
    const char *colon = memchr(p->at, ':', len);
    size_t user_len = colon != NULL ? (size_t)(colon - p->at) : len;
    size_t password_len = colon != NULL ? len - user_len - 1 : 0;
    if (user_len == 0 && password_len == 0)
        return;
    url_encode_set(&url->text, p->at, user_len, URL_SET_USERINFO);
    end_part(url, &url->user);
    if (password_len > 0) {
        buf_addc(&url->text, ':');
        begin_part(url, &url->password);
        url_encode_set(&url->text, colon + 1, password_len, URL_SET_USERINFO);
        end_part(url, &url->password);
    }
    buf_addc(&url->text, '@');
}

static bool parse_port(struct parser *p, const char *end)
{
    int port = 0;
    if (p->at == end)
        return true;
    for (; p->at < end; p->at++) {
        if (!url_is_digit(*p->at))
            return fail(p, "its port is not a number");
        port = port * 10 + (*p->at - '0');
        if (port > 65535)
            return fail(p, "its port is greater than 65535");
    }
    if (port != p->url->default_port) {
        p->url->port = port;
        buf_addf(&p->url->text, ":%d", port);
    }
    return true;
}

/* The states authority, host and port, behind "//". */
static bool parse_authority(struct parser *p)
{
    struct url *url = p->url;
    const char *end = find_slash_or_mark(url, p->at, p->end);
    const char *at_sign = end > p->at ? memrchr(p->at, '@', (size_t)(end - p->at)) : NULL;
    begin_host(url);
    if (at_sign != NULL) {
        parse_credentials(p, at_sign);
        p->at = at_sign + 1;
    }
    const char *colon = p->at;
    for (bool bracket = false; colon < end && (*colon != ':' || bracket); colon++)
        bracket = *colon == '[' || (bracket && *colon != ']');
    if (colon == p->at && (url->special || colon < end || at_sign != NULL))
        return fail(p, "it has no host");
    begin_part(url, &url->host);
    if (colon > p->at && !url_host_parse(&url->text, p->at, (size_t)(colon - p->at), url->special, p->why))
        return false;
    end_part(url, &url->host);
    p->at = colon < end ? colon + 1 : end;
    return parse_port(p, end) && parse_path_start(p);
}

/* ---- relative to a base ---- */

/* Scheme, user, password, host and port are those of the base. Both texts have the scheme already, and it is
 * the same. */
static void copy_host(struct parser *p)
{
    struct url *url = p->url;
    const struct url *base = p->base;
    size_t begin = url->text.len;
    if (base->has_host)
        buf_add(&url->text, base->text.data + begin, base->path.at - begin);
    url->user = base->user;
    url->password = base->password;
    url->host = base->host;
    url->port = base->port;
    url->has_host = base->has_host;
    begin_part(url, &url->path);
}

static void copy_path(struct parser *p)
{
    buf_add(&p->url->text, url_part_text(p->base, &p->base->path), p->base->path.len);
}

/* A reference that does not begin with a slash, to be read in the place of the base's last segment. */
static bool parse_in_place(struct parser *p)
{
    struct url *url = p->url;
    const struct url *base = p->base;
    int c = peek(p, 0);
    copy_host(p);
    if (c != -1 && c != '?' && c != '#') {
        if (!url->file || !starts_with_drive(p)) {
            copy_path(p);
            shorten_path(url);
        }
        return parse_segments(p);
    }
    copy_path(p);
    end_path(url);
    if (c != '?' && base->has_query) {
        buf_addc(&url->text, '?');
        url->has_query = true;
        begin_part(url, &url->query);
        buf_add(&url->text, url_part_text(base, &base->query), base->query.len);
        end_part(url, &url->query);
    }
    return parse_query_and_fragment(p);
}

/* The states relative and relative slash. */
static bool parse_relative(struct parser *p)
{
    if (!is_slash(p->url, peek(p, 0)))
        return parse_in_place(p);
    p->at++;
    if (is_slash(p->url, peek(p, 0))) {
        do
            p->at++;
        while (p->url->special && is_slash(p->url, peek(p, 0)));
        return parse_authority(p);
    }
    copy_host(p);
    return parse_segments(p);
}

/* ---- files ---- */

/* The state file host, behind two slashes: a drive letter there belongs to the path. */
static bool parse_file_host(struct parser *p)
{
    struct url *url = p->url;
    const char *end = find_slash_or_mark(url, p->at, p->end);
    size_t len = (size_t)(end - p->at);
    begin_host(url);
    if (is_drive(p->at, len)) {
        begin_part(url, &url->path);
        return parse_segments(p);
    }
    if (len > 0 && !url_host_parse(&url->text, p->at, len, true, p->why))
        return false;
    end_part(url, &url->host);
    if (url_part_is(url, &url->host, "localhost")) {
        url->text.len = url->host.at;
        url->host.len = 0;
    }
    p->at = end;
    return parse_path_start(p);
}

/* The states file and file slash. */
static bool parse_file(struct parser *p)
{
    struct url *url = p->url;
    const struct url *base = p->base != NULL && p->base->file ? p->base : NULL;
    bool slash = is_slash(url, peek(p, 0));
    if (!slash && base != NULL)
        return parse_in_place(p);
    p->at += slash;
    if (slash && is_slash(url, peek(p, 0))) {
        p->at++;
        return parse_file_host(p);
    }
    if (base == NULL) {
        begin_host(url);
        begin_part(url, &url->path);
        return parse_segments(p);
    }
    copy_host(p);
    const char *path = url_part_text(base, &base->path);
    if (!starts_with_drive(p) && base->path.len >= 3 && path_is_drive(path, 3) &&
        (base->path.len == 3 || path[3] == '/'))
        buf_add(&url->text, path, 3);
    return parse_segments(p);
}

/* ---- the whole ---- */

/* The length of the scheme in front of a colon; 0 when there is none. */
static size_t scheme_length(const char *text, size_t len)
{
    if (len == 0 || !url_is_alpha(text[0]))
        return 0;
    for (size_t i = 1; i < len; i++) {
        if (text[i] == ':')
            return i;
        if (!url_is_alpha(text[i]) && !url_is_digit(text[i]) && text[i] != '+' && text[i] != '-' &&
            text[i] != '.')
            return 0;
    }
    return 0;
}

static void add_scheme(struct url *url, const char *text, size_t len)
{
    begin_part(url, &url->scheme);
    for (size_t i = 0; i < len; i++)
        buf_addc(&url->text, (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]));
    end_part(url, &url->scheme);
    for (size_t i = 0; i < sizeof special_schemes / sizeof special_schemes[0] && !url->text.failed; i++) {
        if (url_part_is(url, &url->scheme, special_schemes[i].name)) {
            url->special = true;
            url->default_port = special_schemes[i].port;
            url->file = url->default_port < 0;
        }
    }
    buf_addc(&url->text, ':');
}

static bool parse_without_scheme(struct parser *p)
{
    const struct url *base = p->base;
    if (base == NULL)
        return fail(p, "it begins with no scheme, such as https:, and there is no base");
    if (base->opaque_path && peek(p, 0) != '#')
        return fail(p, "it is relative, and the base is of a kind that nothing can be relative to");
    add_scheme(p->url, url_part_text(base, &base->scheme), base->scheme.len);
    p->url->opaque_path = base->opaque_path;
    if (base->opaque_path)
        return parse_in_place(p);
    return p->url->file ? parse_file(p) : parse_relative(p);
}

static bool parse(struct parser *p)
{
    struct url *url = p->url;
    size_t scheme_len = scheme_length(p->at, (size_t)(p->end - p->at));
    if (scheme_len == 0)
        return parse_without_scheme(p);
    add_scheme(url, p->at, scheme_len);
    p->at += scheme_len + 1;
    if (url->text.failed)
        return true;
    if (url->file)
        return parse_file(p);
    bool slashes = peek(p, 0) == '/' && peek(p, 1) == '/';
    if (url->special) {
        bool same = p->base != NULL && p->base->scheme.len == scheme_len &&
                    memcmp(url_part_text(p->base, &p->base->scheme), url->text.data, scheme_len) == 0;
        if (same && !slashes)
            return parse_relative(p);
        while (is_slash(url, peek(p, 0)))
            p->at++;
        return parse_authority(p);
    }
    if (slashes) {
        p->at += 2;
        return parse_authority(p);
    }
    if (peek(p, 0) == '/')
        return parse_path_start(p);
    return parse_opaque_path(p);
}

static bool is_dropped(char c)
{
    return c == '\t' || c == '\n' || c == '\r';
}

enum err_code url_parse(struct url *url, const char *text, size_t len, const struct url *base,
                        struct err *err)
{
    struct parser parser = {.url = url, .base = base};
    struct buf clean;
    char shown[URL_WHY_MAX];
    *url = (struct url){.port = -1, .default_port = -1};
    buf_init(&url->text, HREF_MAX);
    if (len > URL_MAX)
        return err_set(err, ERR_INVALID, "the URL is malformed: it is longer than %zu bytes", URL_MAX);

    parser.at = text;
    parser.end = text + len;
    while (parser.at < parser.end && (unsigned char)*parser.at <= ' ')
        parser.at++;
    while (parser.end > parser.at && (unsigned char)parser.end[-1] <= ' ')
        parser.end--;
    buf_init(&clean, URL_MAX);
    const char *at = parser.at;
    while (at < parser.end && !is_dropped(*at))
        at++;
    if (at < parser.end) {
        for (at = parser.at; at < parser.end; at++)
            if (!is_dropped(*at))
                buf_addc(&clean, *at);
        parser.at = buf_text(&clean);
        parser.end = parser.at + clean.len;
    }

    enum err_code code = buf_status(&clean, "the URL", err);
    if (code == ERR_NONE) {
        bool parsed = parse(&parser);
        code = buf_status(&url->text, "the URL", err);
        if (code == ERR_NONE && !parsed)
            code = err_set(err, ERR_INVALID, "the URL%s is malformed: %s",
                           url_quotable(shown, sizeof shown, text, len), parser.why);
    }
    buf_free(&clean);
    if (code == ERR_NONE && url->text.data != NULL)
        url->text.data[url->text.len] = '\0'; /* what was cut may be behind it */
    else
        url_free(url);
    return code;
}

bool url_origin(struct buf *out, const struct url *url)
{
    if (url_part_is(url, &url->scheme, "blob")) {
        struct url inner;
        bool found = url_parse(&inner, url_part_text(url, &url->path), url->path.len, NULL, NULL) == ERR_NONE;
        found = found &&
                (url_part_is(&inner, &inner.scheme, "http") || url_part_is(&inner, &inner.scheme, "https"));
        found = found && url_origin(out, &inner);
        url_free(&inner);
        return found;
    }
    if (!url->special || url->file)
        return false;
    buf_add(out, url_part_text(url, &url->scheme), url->scheme.len);
    buf_adds(out, "://");
    buf_add(out, url_part_text(url, &url->host), url->host.len);
    if (url->port >= 0)
        buf_addf(out, ":%d", url->port);
    return true;
}

/* ---- building ---- */

static enum err_code check_parts(const struct url_parts *parts, bool special, bool file, struct err *err)
{
    bool host = parts->host.text != NULL;
    if (special && !file && parts->host.len == 0)
        return err_set(err, ERR_INVALID, "%.*s needs a host", (int)parts->scheme.len, parts->scheme.text);
    if (!host || parts->host.len == 0 || file) {
        const char *part = parts->user.len > 0 ? "user" : parts->password.len > 0 ? "password" : "port";
        if (parts->user.len > 0 || parts->password.len > 0 || parts->port >= 0)
            return err_set(err, ERR_INVALID, "a %s needs a host that can have one", part);
    }
    bool bracket = false;
    for (size_t i = 0; i < parts->host.len; i++) {
        char c = parts->host.text[i];
        bracket = c == '[' || (bracket && c != ']');
        if (c == '\0' || strchr("/\\?#@|\t\n\r ", c) != NULL || (c == ':' && !bracket))
            return err_set(err, ERR_INVALID, "the host has a character that cannot be in one, at byte %zu%s",
                           i + 1, c == ':' ? "; a port is a part of its own, IPv6 addresses are in [ ]" : "");
    }
    return ERR_NONE;
}

static void add_part(struct buf *out, const struct url_slice *part, enum url_set set)
{
    url_encode_set(out, part->text, part->len, set);
}

/* Also encodes what would begin the next part, and a space at the end, which parsing drops. */
static void add_opaque_path(struct buf *out, const struct url_slice *path)
{
    for (size_t i = 0; i < path->len && !out->failed; i++) {
        char c = path->text[i];
        if (c == '?' || c == '#' || (c == ' ' && i + 1 == path->len))
            url_encode_byte(out, (unsigned char)c);
        else
            url_encode_set(out, &c, 1, URL_SET_CONTROL);
    }
}

static void add_path(struct buf *out, const struct url_parts *parts, bool has_authority)
{
    const struct url_slice *path = &parts->path;
    bool slash = path->len > 0 && path->text[0] == '/';
    if (!slash && !has_authority) {
        add_opaque_path(out, path);
        return;
    }
    if (!slash && path->len > 0)
        buf_addc(out, '/');
    else if (!has_authority && path->len > 1 && path->text[1] == '/')
        buf_adds(out, "/."); /* so that it is not taken for a host */
    add_part(out, path, URL_SET_PATH);
}

static void add_authority(struct buf *out, const struct url_parts *parts)
{
    buf_adds(out, "//");
    if (parts->user.len > 0 || parts->password.len > 0) {
        add_part(out, &parts->user, URL_SET_USERINFO);
        if (parts->password.len > 0) {
            buf_addc(out, ':');
            add_part(out, &parts->password, URL_SET_USERINFO);
        }
        buf_addc(out, '@');
    }
    buf_add(out, parts->host.text, parts->host.len);
    if (parts->port >= 0)
        buf_addf(out, ":%d", parts->port);
}

enum err_code url_build(struct url *url, const struct url_parts *parts, struct err *err)
{
    struct buf text;
    struct url scheme = {.default_port = -1}; /* only to learn of what kind it is */
    *url = (struct url){.port = -1, .default_port = -1};
    buf_init(&scheme.text, URL_MAX);
    buf_init(&text, URL_MAX);
    buf_add(&text, parts->scheme.text, parts->scheme.len);
    buf_addc(&text, ':');
    enum err_code code = buf_status(&text, "the URL", err);
    if (code == ERR_NONE &&
        (parts->scheme.len == 0 || scheme_length(text.data, text.len) != parts->scheme.len))
        code = err_set(err, ERR_INVALID, "the scheme must be a word such as https");
    if (code != ERR_NONE)
        goto cleanup;
    add_scheme(&scheme, parts->scheme.text, parts->scheme.len);
    code = buf_status(&scheme.text, "the URL", err);
    if (code == ERR_NONE)
        code = check_parts(parts, scheme.special, scheme.file, err);
    if (code != ERR_NONE)
        goto cleanup;

    bool has_authority = parts->host.text != NULL || scheme.file;
    if (has_authority)
        add_authority(&text, parts);
    add_path(&text, parts, has_authority);
    if (parts->query.text != NULL) {
        buf_addc(&text, '?');
        add_part(&text, &parts->query, URL_SET_QUERY);
    }
    if (parts->fragment.text != NULL) {
        buf_addc(&text, '#');
        add_part(&text, &parts->fragment, URL_SET_FRAGMENT);
    }
    code = buf_status(&text, "the URL", err);
    if (code == ERR_NONE)
        code = url_parse(url, text.data, text.len, NULL, err);

cleanup:
    buf_free(&text);
    url_free(&scheme);
    return code;
}
