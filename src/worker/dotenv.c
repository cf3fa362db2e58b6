/* .env files. Must not repeat anything of a line in a message: what looks like a name may be a piece of a
 * secret. */
#include "worker/dotenv.h"

#include "base/mem.h"
#include "worker/config.h"

#include <string.h>

struct reader {
    const char *at;
    const char *end;
    const char *begin;
    const char *filename;
    size_t line;
    struct err *err;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_char(char c)
{
    return is_name_start(c) || (c >= '0' && c <= '9');
}

bool dotenv_is_name(const char *name, size_t len)
{
    if (len == 0 || !is_name_start(name[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_name_char(name[i]))
            return false;
    return true;
}

static enum err_code fail(const struct reader *r, size_t line, const char *what)
{
    return err_set(r->err, ERR_INVALID, "%s:%zu: %s", r->filename, line, what);
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

/* Whether r->at is at the end of a line; CR counts only before LF or at the end of the text. */
static bool at_line_end(const struct reader *r)
{
    if (r->at == r->end || *r->at == '\n')
        return true;
    return *r->at == '\r' && (r->at + 1 == r->end || r->at[1] == '\n');
}

static void skip_line_end(struct reader *r)
{
    if (r->at < r->end && *r->at == '\r')
        r->at++;
    if (r->at < r->end && *r->at == '\n') {
        r->at++;
        r->line++;
    }
}

static void skip_line(struct reader *r)
{
    while (!at_line_end(r))
        r->at++;
    skip_line_end(r);
}

/* r->at is behind the opening quote, and comes to stand behind the closing one. */
static enum err_code read_quoted(struct reader *r, char quote, struct buf *value)
{
    size_t opened = r->line;
    while (r->at < r->end && *r->at != quote) {
        char c = *r->at++;
        if (c == '\r' && r->at < r->end && *r->at == '\n')
            continue;
        if (c == '\n')
            r->line++;
        if (c == '\\' && quote == '"' && r->at < r->end) {
            static const char from[] = "nrt\"\\$";
            static const char to[] = "\n\r\t\"\\$";
            const char *escape = memchr(from, *r->at, sizeof from - 1);
            if (escape != NULL) {
                c = to[escape - from];
                r->at++;
            }
        }
        buf_addc(value, c);
    }
    if (r->at == r->end)
        return fail(r, opened,
                    quote == '"' ? "the double quote that opens here is never closed"
                                 : "the single quote that opens here is never closed");
    r->at++;
    skip_blanks(r);
    if (!at_line_end(r) && *r->at != '#')
        return fail(
            r, r->line,
            quote == '"'
                ? "text follows the closing quote; write \\\" for a quote within the value"
                : "text follows the closing quote; use double quotes for a value that has single ones");
    return ERR_NONE;
}

static void read_bare(struct reader *r, bool blank_before, struct buf *value)
{
    const char *start = r->at;
    const char *stop = r->at;
    while (!at_line_end(r) && !(*r->at == '#' && (r->at == start ? blank_before : is_blank(r->at[-1])))) {
        if (!is_blank(*r->at))
            stop = r->at + 1;
        r->at++;
    }
    buf_add(value, start, (size_t)(stop - start));
}

static enum err_code append(struct dotenv *env, const struct dotenv_entry *entry, const char *name,
                            size_t name_len, struct buf *value, struct err *err)
{
    if (env->count == env->room) {
        size_t room = env->room > 0 ? env->room * 2 : 16;
        struct dotenv_entry *entries = mem_realloc(env->entries, room * sizeof *entries);
        if (entries == NULL)
            return err_nomem(err);
        env->entries = entries;
        env->room = room;
    }
    enum err_code code = buf_status(value, "a value", err);
    if (code != ERR_NONE)
        return code;
    struct dotenv_entry *added = &env->entries[env->count];
    *added = *entry;
    added->name = mem_strndup(name, name_len);
    added->value = mem_strndup(buf_text(value), value->len);
    added->value_len = value->len;
    env->count++; /* dotenv_free takes what is there */
    return added->name != NULL && added->value != NULL ? ERR_NONE : err_nomem(err);
}

/* One line, or several when a quoted value spans them. */
static enum err_code read_line(struct reader *r, struct dotenv *env, struct buf *value)
{
    struct dotenv_entry entry = {.line = r->line, .begin = (size_t)(r->at - r->begin)};
    skip_blanks(r);
    if (at_line_end(r) || *r->at == '#') {
        skip_line(r);
        return ERR_NONE;
    }
    static const char export[] = "export";
    size_t export_len = sizeof export - 1;
    if ((size_t)(r->end - r->at) > export_len && memcmp(r->at, export, export_len) == 0 &&
        is_blank(r->at[export_len])) {
        const char *word = r->at;
        r->at += export_len;
        skip_blanks(r);
        if (r->at < r->end && *r->at == '=') /* a variable of that name */
            r->at = word;
    }
    const char *name = r->at;
    while (r->at < r->end && is_name_char(*r->at))
        r->at++;
    size_t name_len = (size_t)(r->at - name);
    skip_blanks(r);
    if (r->at == r->end || *r->at != '=') {
        bool equals = false;
        while (!at_line_end(r) && !equals)
            equals = *r->at++ == '=';
        return fail(r, entry.line,
                    equals ? "a name consists of letters, digits and '_', as in API_TOKEN=value"
                           : "expected NAME=value; a value of several lines goes between double quotes");
    }
    if (!dotenv_is_name(name, name_len))
        return fail(r, entry.line,
                    name_len == 0 ? "a name is missing before '='" : "a name cannot begin with a digit");
    const char *equals = r->at++;
    skip_blanks(r);
    buf_clear(value);
    if (r->at < r->end && (*r->at == '"' || *r->at == '\'')) {
        char quote = *r->at++;
        enum err_code code = read_quoted(r, quote, value);
        if (code != ERR_NONE)
            return code;
    } else {
        read_bare(r, r->at > equals + 1, value);
    }
    skip_line(r);
    entry.end = (size_t)(r->at - r->begin);
    return append(env, &entry, name, name_len, value, r->err);
}

enum err_code dotenv_parse(const char *text, size_t len, const char *filename, struct dotenv *env,
                           struct err *err)
{
    struct reader r = {
        .begin = text, .at = text, .end = text + len, .filename = filename, .line = 1, .err = err};
    *env = (struct dotenv){0};
    if (len > DOTENV_MAX)
        return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", filename, DOTENV_MAX);
    const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;
    if (nul != NULL) {
        for (const char *at = text; at < nul; at++)
            r.line += *at == '\n';
        return fail(&r, r.line, "a NUL byte; the file must be text");
    }
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.at += 3;
    struct buf value;
    buf_init(&value, DOTENV_MAX);
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && r.at < r.end)
        code = read_line(&r, env, &value);
    buf_free(&value);
    if (code != ERR_NONE)
        dotenv_free(env);
    return code;
}

enum err_code dotenv_load(const char *path, struct dotenv *env, struct err *err)
{
    struct buf text;
    *env = (struct dotenv){0};
    enum err_code code = config_read_file(path, DOTENV_MAX, &text, err);
    if (code == ERR_NONE)
        code = dotenv_parse(buf_text(&text), text.len, path, env, err);
    buf_free(&text);
    return code;
}

const struct dotenv_entry *dotenv_get(const struct dotenv *env, const char *name)
{
    for (size_t i = env->count; i-- > 0;)
        if (strcmp(env->entries[i].name, name) == 0)
            return &env->entries[i];
    return NULL;
}

void dotenv_free(struct dotenv *env)
{
    for (size_t i = 0; i < env->count; i++) {
        mem_free(env->entries[i].name);
        mem_free(env->entries[i].value);
    }
    mem_free(env->entries);
    *env = (struct dotenv){0};
}

/* ---- writing ---- */

static bool is_plain(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(value[i]) && strchr("-.,:/@%+=", value[i]) == NULL)
            return false;
    return true;
}

static void write_value(struct buf *out, const char *value, size_t len)
{
    if (is_plain(value, len)) {
        buf_add(out, value, len);
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0; i < len; i++) {
        switch (value[i]) {
        case '\n':
            buf_adds(out, "\\n");
            break;
        case '\r':
            buf_adds(out, "\\r");
            break;
        case '"':
        case '\\':
        case '$':
            buf_addc(out, '\\');
            buf_addc(out, value[i]);
            break;
        default:
            buf_addc(out, value[i]);
        }
    }
    buf_addc(out, '"');
}

static void write_entry(struct buf *out, const char *name, const char *value, size_t len)
{
    buf_adds(out, name);
    buf_addc(out, '=');
    write_value(out, value, len);
    buf_addc(out, '\n');
}

enum err_code dotenv_edit(const char *text, size_t len, const char *filename, const char *name,
                          const char *value, size_t value_len, struct buf *out, struct err *err)
{
    if (!dotenv_is_name(name, strlen(name)))
        return err_set(err, ERR_INVALID,
                       "\"%.60s\" is not a name: use letters, digits and '_', as in API_TOKEN", name);
    if (value != NULL && value_len > 0 && memchr(value, '\0', value_len) != NULL)
        return err_set(err, ERR_INVALID, "the value of %s contains a NUL byte", name);
    struct dotenv env;
    enum err_code code = dotenv_parse(text, len, filename, &env, err);
    if (code != ERR_NONE)
        return code;
    size_t copied = 0;
    bool written = value == NULL;
    for (size_t i = 0; i < env.count; i++) {
        const struct dotenv_entry *entry = &env.entries[i];
        if (strcmp(entry->name, name) != 0)
            continue;
        buf_add(out, text + copied, entry->begin - copied);
        if (!written) /* in the place of the first; the others would hide it */
            write_entry(out, name, value, value_len);
        written = true;
        copied = entry->end;
    }
    buf_add(out, text + copied, len - copied);
    if (!written) {
        if (len > copied && text[len - 1] != '\n')
            buf_addc(out, '\n');
        write_entry(out, name, value, value_len);
    }
    dotenv_free(&env);
    return buf_status(out, filename, err);
}
