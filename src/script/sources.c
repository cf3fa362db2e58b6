/* Finding and reading a project's Lua files. Must not read anything outside the project's folders. */
#include "script/sources.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct source_file {
    struct source source; /* owns name, path and text */
    struct source_file *next;
};

struct sources {
    char *root;       /* NULL when everything is in memory */
    char *script_dir; /* folder of the main script */
    struct source_file *files;
    struct source_file *main;
};

static enum err_code read_file(const char *path, const char *shown, char **text, size_t *len, struct err *err)
{
    struct buf content;
    buf_init(&content, SOURCE_MAX_BYTES);
    enum err_code code = ERR_NONE;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        code = err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO,
                       "cannot read %s: %s", shown, strerror(errno));
        goto done;
    }
    if (S_ISDIR(status.st_mode)) {
        code = err_set(err, ERR_INVALID, "%s is a folder; give the path of a Lua script", shown);
        goto done;
    }
    for (;;) {
        char *end = buf_reserve(&content, 64 * 1024);
        if (end == NULL) {
            code = buf_status(&content, shown, err);
            goto done;
        }
        ssize_t got = read(fd, end, 64 * 1024);
        if (got < 0) {
            code = err_set(err, ERR_IO, "cannot read %s: %s", shown, strerror(errno));
            goto done;
        }
        if (got == 0)
            break;
        content.len += (size_t)got;
    }
    *text = mem_strndup(buf_text(&content), content.len);
    *len = content.len;
    if (*text == NULL)
        code = err_nomem(err);
done:
    if (fd >= 0)
        close(fd);
    buf_free(&content);
    return code;
}

static void free_file(struct source_file *file)
{
    if (file == NULL)
        return;
    mem_free((char *)(uintptr_t)file->source.name);
    mem_free((char *)(uintptr_t)file->source.text);
    mem_free((char *)(uintptr_t)file->source.path);
    mem_free(file);
}

static enum err_code add_file(struct sources *sources, const char *path, const char *name, char *text,
                              size_t len, struct source_file **out, struct err *err)
{
    struct source_file *file = mem_zalloc(sizeof *file);
    if (file == NULL) {
        mem_free(text);
        return err_nomem(err);
    }
    file->source = (struct source){.name = mem_strndup(name, strlen(name)),
                                   .path = mem_strndup(path, strlen(path)),
                                   .text = text,
                                   .len = len};
    if (file->source.name == NULL || file->source.path == NULL) {
        free_file(file);
        return err_nomem(err);
    }
    file->next = sources->files;
    sources->files = file;
    *out = file;
    return ERR_NONE;
}

/* The path as messages show it: relative to the root where it is below it. */
static const char *shown_name(const struct sources *sources, const char *path)
{
    size_t len = sources->root != NULL ? strlen(sources->root) : 0;
    if (len > 0 && strncmp(path, sources->root, len) == 0 && path[len] == '/')
        return path + len + 1;
    return path;
}

static enum err_code read_into(struct sources *sources, const char *path, struct source_file **out,
                               struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    const char *name = shown_name(sources, path);
    enum err_code code = read_file(path, name, &text, &len, err);
    if (code != ERR_NONE)
        return code;
    return add_file(sources, path, name, text, len, out, err);
}

enum err_code sources_open(const char *root, const char *main_script, struct sources **out, struct err *err)
{
    *out = NULL;
    struct sources *sources = mem_zalloc(sizeof *sources);
    char absolute[PATH_MAX];
    char absolute_root[PATH_MAX];
    if (sources == NULL)
        return err_nomem(err);
    enum err_code code = ERR_NONE;
    if (realpath(root, absolute_root) == NULL) {
        code = err_set(err, ERR_NOT_FOUND, "cannot open the folder %s: %s", root, strerror(errno));
        goto fail;
    }
    if (realpath(main_script, absolute) == NULL) {
        code = err_set(err, ERR_NOT_FOUND, "cannot read %s: %s", main_script, strerror(errno));
        goto fail;
    }
    sources->root = mem_strndup(absolute_root, strlen(absolute_root));
    const char *slash = strrchr(absolute, '/');
    sources->script_dir = mem_strndup(absolute, (size_t)(slash - absolute));
    if (sources->root == NULL || sources->script_dir == NULL) {
        code = err_nomem(err);
        goto fail;
    }
    code = read_into(sources, absolute, &sources->main, err);
    if (code != ERR_NONE)
        goto fail;
    *out = sources;
    return ERR_NONE;
fail:
    sources_free(sources);
    return code;
}

enum err_code sources_from_text(const char *name, const char *text, size_t len, struct sources **out,
                                struct err *err)
{
    *out = NULL;
    struct sources *sources = mem_zalloc(sizeof *sources);
    char *copy = mem_strndup(text, len);
    if (sources == NULL || copy == NULL) {
        mem_free(sources);
        mem_free(copy);
        return err_nomem(err);
    }
    enum err_code code = add_file(sources, name, name, copy, len, &sources->main, err);
    if (code != ERR_NONE)
        sources_free(sources);
    else
        *out = sources;
    return code;
}

void sources_free(struct sources *sources)
{
    if (sources == NULL)
        return;
    while (sources->files != NULL) {
        struct source_file *file = sources->files;
        sources->files = file->next;
        free_file(file);
    }
    mem_free(sources->root);
    mem_free(sources->script_dir);
    mem_free(sources);
}

const struct source *sources_main(const struct sources *sources)
{
    return &sources->main->source;
}

/* Letters, digits, _ and - between single dots: nothing that could climb out of a folder. */
static bool valid_module_name(const char *name)
{
    char previous = '.';
    for (const char *at = name; *at != '\0'; at++) {
        bool word = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
                    *at == '_' || *at == '-';
        if (!word && (*at != '.' || previous == '.'))
            return false;
        previous = *at;
    }
    return previous != '.';
}

enum err_code sources_module(struct sources *sources, const char *name, const struct source **out,
                             struct err *err)
{
    if (!valid_module_name(name) || strlen(name) > 200)
        return err_set(err, ERR_INVALID,
                       "\"%s\" is not a module name: use letters, digits, _ and - with dots for folders",
                       name);
    char file[256];
    snprintf(file, sizeof file, "%s", name);
    for (char *at = file; *at != '\0'; at++)
        if (*at == '.')
            *at = '/';
    const struct {
        const char *base;
        const char *folder;
    } places[] = {
        {sources->script_dir, ""},
        {sources->root, "/src"},
        {sources->root, "/lua_modules"},
    };
    struct buf tried;
    buf_init(&tried, 4096);
    enum err_code code = ERR_NOT_FOUND;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && code == ERR_NOT_FOUND; i++) {
        for (int form = 0; form < 2 && code == ERR_NOT_FOUND && places[i].base != NULL; form++) {
            char path[PATH_MAX + 512];
            int len = snprintf(path, sizeof path, "%s%s/%s%s", places[i].base, places[i].folder, file,
                               form == 0 ? ".lua" : "/init.lua");
            if (len < 0 || len >= PATH_MAX)
                continue;
            struct source_file *found = sources->files;
            while (found != NULL && strcmp(found->source.path, path) != 0)
                found = found->next;
            if (found == NULL) {
                struct err ignored;
                code = read_into(sources, path, &found, &ignored);
                if (code != ERR_NONE && code != ERR_NOT_FOUND)
                    err_set(err, code, "%s", ignored.message);
            } else {
                code = ERR_NONE;
            }
            if (code == ERR_NONE)
                *out = &found->source;
            else
                buf_addf(&tried, "%s%s", tried.len > 0 ? ", " : "", shown_name(sources, path));
        }
    }
    if (code == ERR_NOT_FOUND)
        err_set(err, code, "module '%s' not found: it is no built-in, and there is no %s", name,
                tried.len > 0 ? buf_text(&tried) : "such file");
    buf_free(&tried);
    return code;
}
