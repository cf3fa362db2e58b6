/* The guard before pages and scripts of views. */
#include "server/view_guard.h"

#include "base/crypto.h"
#include "base/embed.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

static const char mark_of_bytes[] = "\xef\xbb\xbf";
static const char use_strict[] = "\"use strict\";";
static const char call[] = "(()=>{}).workersView();";

static const struct embedded_file *guard_script(void)
{
    return embed_find(web_files, "view-guard.js");
}

static bool starts(const struct view_file *file, size_t at, const char *word)
{
    size_t len = strlen(word);
    return file->len - at >= len && strncasecmp(file->bytes + at, word, len) == 0;
}

static size_t skip_blanks(const struct view_file *file, size_t at)
{
    while (at < file->len && strchr(" \t\n\r\f\v", file->bytes[at]) != NULL && file->bytes[at] != '\0')
        at++;
    return at;
}

/* After the comment that is closed by the word, or at the end. */
static size_t skip_to(const struct view_file *file, size_t at, const char *word)
{
    const char *found = memmem(file->bytes + at, file->len - at, word, strlen(word));
    return found != NULL ? (size_t)(found - file->bytes) + strlen(word) : file->len;
}

/* After what may stand before a doctype or a directive: a byte order mark, blanks, comments. */
static size_t skip_to_content(const struct view_file *file, const char *const comments[][2], size_t count)
{
    size_t at = starts(file, 0, mark_of_bytes) ? strlen(mark_of_bytes) : 0;
    for (;;) {
        size_t before = at = skip_blanks(file, at);
        for (size_t i = 0; i < count && at == before; i++)
            if (starts(file, at, comments[i][0]))
                at = skip_to(file, at + strlen(comments[i][0]), comments[i][1]);
        if (at == before)
            return at;
    }
}

/* Where the guard goes in a page: behind its doctype, since anything before that one changes how the page is
 * laid out. A page that hides its beginning from us only keeps its scripts from running. */
static size_t place_in_page(const struct view_file *file)
{
    static const char *const comments[][2] = {{"<!--", "-->"}, {"<?", ">"}}; /* of XML: one to HTML */
    size_t at = skip_to_content(file, comments, 2);
    if (starts(file, at, "<!doctype"))
        return skip_to(file, at, ">");
    return starts(file, 0, mark_of_bytes) ? strlen(mark_of_bytes) : 0;
}

/* "use strict" counts only as the first statement. */
static bool is_strict(const struct view_file *file)
{
    static const char *const comments[][2] = {{"//", "\n"}, {"/*", "*/"}, {"#!", "\n"}};
    size_t at = skip_to_content(file, comments, 3);
    return starts(file, at, "\"use strict\"") || starts(file, at, "'use strict'");
}

/* "#!" begins a comment only where a script begins. */
static bool has_hashbang(const struct view_file *file)
{
    return starts(file, starts(file, 0, mark_of_bytes) ? strlen(mark_of_bytes) : 0, "#!");
}

bool view_guard(struct view_file *file)
{
    bool page = strncmp(file->type, "text/html", 9) == 0;
    size_t at = 0;
    struct buf out;
    if (!page && strncmp(file->type, "text/javascript", 15) != 0)
        return true;
    buf_init(&out, VIEW_FILE_MAX + 4096);
    if (page) {
        const struct embedded_file *guard = guard_script();
        at = place_in_page(file);
        buf_add(&out, file->bytes, at);
        buf_adds(&out, "<script>");
        buf_add(&out, guard->begin, (size_t)(guard->end - guard->begin));
        buf_adds(&out, "</script>");
    } else {
        buf_adds(&out, is_strict(file) ? use_strict : "");
        buf_adds(&out, call);
        buf_adds(&out, has_hashbang(file) ? "//" : "");
    }
    buf_add(&out, file->bytes + at, file->len - at);
    if (out.failed) {
        buf_free(&out);
        return false;
    }
    mem_free(file->bytes);
    file->bytes = buf_take(&out, &file->len);
    return true;
}

bool view_guard_source(struct buf *out)
{
    const struct embedded_file *guard = guard_script();
    unsigned char digest[32];
    struct err ignored;
    if (crypto_sha256(guard->begin, (size_t)(guard->end - guard->begin), digest, &ignored) != ERR_NONE)
        return false;
    buf_adds(out, "'sha256-");
    crypto_encode_to(CRYPTO_BASE64, digest, sizeof digest, out);
    buf_adds(out, "'");
    return true;
}
