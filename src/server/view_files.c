/* Files of views. */
#include "server/view_files.h"

#include "base/embed.h"
#include "base/mem.h"
#include "worker/view.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 16
#define MARKED_MAX 5000 /* files that are looked at */

static const char *type_of(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"json", "application/json"},
        {"map", "application/json"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"avif", "image/avif"},
        {"ico", "image/x-icon"},
        {"woff2", "font/woff2"},
        {"woff", "font/woff"},
        {"ttf", "font/ttf"},
        {"otf", "font/otf"},
        {"wasm", "application/wasm"},
        {"txt", "text/plain; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++)
        if (strcasecmp(dot + 1, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* No part of it is empty, hidden or "..". */
static bool is_plain(const char *path)
{
    if (strchr(path, '\\') != NULL || strcmp(path, VIEW_SAMPLE) == 0)
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");
        if (len == 0 || path[0] == '.')
            return false;
        if (path[len] == '\0')
            return true;
        path += len + 1;
    }
}

static bool read_open(int fd, struct view_file *out)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < 0 ||
        (uint64_t)status.st_size > VIEW_FILE_MAX)
        return false;
    size_t size = (size_t)status.st_size;
    out->bytes = mem_alloc(size + 1);
    while (out->bytes != NULL && out->len < size) {
        ssize_t got = read(fd, out->bytes + out->len, size - out->len);
        if (got <= 0)
            break;
        out->len += (size_t)got;
    }
    return out->bytes != NULL;
}

/* The absolute path, without links, of a path in the folder root, which is one itself; false when there is
 * none, or it leads out of the folder or to what is hidden. */
static bool resolve(const char *root, const char *path, char real[PATH_MAX])
{
    char full[2 * PATH_MAX];
    size_t len = strlen(root);
    return is_plain(path) && snprintf(full, sizeof full, "%s/%s", root, path) < (int)sizeof full &&
           realpath(full, real) != NULL && strncmp(real, root, len) == 0 && real[len] == '/' &&
           is_plain(real + len + 1);
}

bool view_file_read(const char *project, const char *folder, const char *path, struct view_file *out)
{
    char place[PATH_MAX], root[PATH_MAX], real[PATH_MAX];
    *out = (struct view_file){.type = type_of(path)};
    const struct embedded_file *own =
        strncmp(path, "workers-view.", 13) == 0 ? embed_find(web_files, path) : NULL;
    if (own != NULL) {
        out->len = (size_t)(own->end - own->begin);
        out->bytes = mem_strndup(own->begin, out->len);
        return out->bytes != NULL;
    }
    if (realpath(project, place) == NULL || !resolve(place, folder, root) || !resolve(root, path, real))
        return false;
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    bool read = fd >= 0 && read_open(fd, out);
    if (fd >= 0)
        close(fd);
    return read;
}

void view_file_free(struct view_file *file)
{
    mem_free(file->bytes);
    *file = (struct view_file){0};
}

/* ---- the mark ---- */

uint64_t view_mark_mix(uint64_t mark, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        mark = (mark ^ at[i]) * UINT64_C(1099511628211); /* FNV-1a */
    return mark;
}

/* What is left of the path in a folder of that name; NULL when it does not lead there. */
static const char *path_below(const char *path, const char *name)
{
    size_t len = strlen(name);
    if (path == NULL || strncmp(path, name, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return path + len + (path[len] == '/');
}

/* A sum, because the order in which a folder is read says nothing. */
static void look_at_folder(const char *folder, const char *but, int depth, int *left, uint64_t *sum)
{
    DIR *dir = depth <= DEPTH_MAX ? opendir(folder) : NULL;
    const struct dirent *entry = NULL;
    while (dir != NULL && *left > 0 && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        struct stat status;
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "node_modules") == 0 ||
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path ||
            lstat(path, &status) != 0)
            continue;
        const char *but_below = path_below(but, entry->d_name);
        if (but_below != NULL && *but_below == '\0')
            continue;
        --*left;
        if (S_ISDIR(status.st_mode)) {
            look_at_folder(path, but_below, depth + 1, left, sum);
            continue;
        }
        uint64_t mark = UINT64_C(14695981039346656037);
        const int64_t numbers[] = {(int64_t)status.st_mtim.tv_sec, (int64_t)status.st_mtim.tv_nsec,
                                   (int64_t)status.st_size, (int64_t)status.st_ino};
        mark = view_mark_mix(mark, path, strlen(path));
        mark = view_mark_mix(mark, numbers, sizeof numbers);
        *sum += mark;
    }
    if (dir != NULL)
        closedir(dir);
}

uint64_t view_files_mark(const char *root, const char *but)
{
    uint64_t sum = 1; /* 0 is the mark of what was not looked at yet */
    int left = MARKED_MAX;
    look_at_folder(root, but, 0, &left, &sum);
    return sum;
}
