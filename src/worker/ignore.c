/* The rules of .gitignore. */
#include "worker/ignore.h"

#include "base/mem.h"

#include <fnmatch.h>
#include <string.h>

void ignore_cut(struct ignore *ignore, size_t count)
{
    while (ignore->count > count) {
        struct ignore_rule *rule = &ignore->rules[--ignore->count];
        mem_free(rule->pattern);
        mem_free(rule->folder);
    }
}

void ignore_free(struct ignore *ignore)
{
    ignore_cut(ignore, 0);
    mem_free(ignore->rules);
    *ignore = (struct ignore){0};
}

/* ---- reading ---- */

/* Blanks at the end do not count, but one behind a backslash does. */
static size_t without_blanks(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r') &&
           !(len > 1 && line[len - 2] == '\\'))
        len--;
    return len;
}

static enum err_code add_rule(struct ignore *ignore, const char *folder, const char *line, size_t len,
                              struct err *err)
{
    struct ignore_rule rule = {0};
    len = without_blanks(line, len);
    if (len == 0 || line[0] == '#')
        return ERR_NONE;
    rule.negated = line[0] == '!';
    line += rule.negated;
    len -= rule.negated;
    rule.folders_only = len > 0 && line[len - 1] == '/';
    len -= rule.folders_only;
    rule.anchored = memchr(line, '/', len) != NULL;
    if (len > 0 && line[0] == '/') {
        line++;
        len--;
    }
    if (len == 0)
        return ERR_NONE;
    if (ignore->count == ignore->room) {
        size_t room = ignore->room > 0 ? 2 * ignore->room : 16;
        struct ignore_rule *rules = mem_realloc(ignore->rules, room * sizeof *rules);
        if (rules == NULL)
            return err_nomem(err);
        ignore->rules = rules;
        ignore->room = room;
    }
    rule.pattern = mem_strndup(line, len);
    rule.folder = mem_strndup(folder, strlen(folder));
    ignore->rules[ignore->count++] = rule;
    return rule.pattern != NULL && rule.folder != NULL ? ERR_NONE : err_nomem(err);
}

enum err_code ignore_add(struct ignore *ignore, const char *folder, const char *text, size_t len,
                         struct err *err)
{
    enum err_code code = ERR_NONE;
    const char *at = text, *end = text + len;
    while (at < end && code == ERR_NONE) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t line = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);
        code = add_rule(ignore, folder, at, line, err);
        at += line + 1;
    }
    return code;
}

/* ---- asking ---- */

static bool part_fits(const char *pattern, size_t pattern_len, const char *part, size_t part_len)
{
    char pattern_text[256], part_text[256];
    if (pattern_len >= sizeof pattern_text || part_len >= sizeof part_text)
        return false;
    memcpy(pattern_text, pattern, pattern_len);
    pattern_text[pattern_len] = '\0';
    memcpy(part_text, part, part_len);
    part_text[part_len] = '\0';
    return fnmatch(pattern_text, part_text, 0) == 0;
}

/* Part by part; "**" stands for any number of them. */
static bool path_fits(const char *pattern, const char *path)
{
    size_t pattern_len = strcspn(pattern, "/"), path_len = strcspn(path, "/");
    if (pattern_len == 2 && memcmp(pattern, "**", 2) == 0) {
        if (pattern[2] == '\0')
            return *path != '\0';
        for (const char *at = path;; at++) {
            if (path_fits(pattern + 3, at))
                return true;
            at += strcspn(at, "/");
            if (*at == '\0')
                return false;
        }
    }
    if (path_len == 0 || !part_fits(pattern, pattern_len, path, path_len))
        return false;
    if (pattern[pattern_len] == '\0' || path[path_len] == '\0')
        return pattern[pattern_len] == path[path_len];
    return path_fits(pattern + pattern_len + 1, path + path_len + 1);
}

static bool rule_fits(const struct ignore_rule *rule, const char *path, bool is_folder)
{
    size_t folder = strlen(rule->folder);
    if ((rule->folders_only && !is_folder) || strncmp(path, rule->folder, folder) != 0)
        return false;
    if (rule->anchored)
        return path_fits(rule->pattern, path + folder);
    const char *slash = strrchr(path, '/');
    return path_fits(rule->pattern, slash != NULL ? slash + 1 : path);
}

bool ignore_leaves_out(const struct ignore *ignore, const char *path, bool is_folder)
{
    for (size_t i = ignore->count; i-- > 0;)
        if (rule_fits(&ignore->rules[i], path, is_folder))
            return !ignore->rules[i].negated;
    return false;
}
