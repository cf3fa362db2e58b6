/* Finding and reading workers.yaml, and what follows from where it lies. Must not know its keys. */
#include "worker/config_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK ((size_t)16 * 1024)

enum err_code config_read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
    enum err_code code = ERR_NONE;
    struct stat status;
    buf_init(out, max + READ_CHUNK);
    /* Not blocking, so that a pipe in the file's place cannot hold the program. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO,
                       "cannot read %s: %s", path, strerror(errno));
    if (fstat(fd, &status) != 0)
        code = err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        code = err_set(err, ERR_IO, "cannot read %s: it is not a plain file", path);
    while (code == ERR_NONE) {
        char *room = buf_reserve(out, READ_CHUNK);
        if (room == NULL) {
            code = buf_status(out, path, err);
            break;
        }
        ssize_t got = read(fd, room, READ_CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            code = err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (got <= 0)
            break;
        out->len += (size_t)got;
        out->data[out->len] = '\0';
        if (out->len > max)
            code = err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, max);
    }
    close(fd);
    return code;
}

enum err_code config_load(const char *path, struct config *config, struct err *err)
{
    struct buf text;
    *config = (struct config){0};
    enum err_code code = config_read_file(path, CONFIG_FILE_MAX, &text, err);
    if (code == ERR_NONE)
        code = config_parse(buf_text(&text), text.len, path, config, err);
    buf_free(&text);
    return code;
}

static bool is_file(const char *folder, const char *name, char *path)
{
    struct stat status;
    const char *slash = strcmp(folder, "/") == 0 ? "" : "/";
    return snprintf(path, PATH_MAX, "%s%s%s", folder, slash, name) < PATH_MAX && stat(path, &status) == 0 &&
           S_ISREG(status.st_mode);
}

enum err_code config_find(const char *start, char *path, size_t size, struct err *err)
{
    char folder[PATH_MAX];
    char candidate[PATH_MAX];
    struct stat status;
    if (realpath(start, folder) == NULL || stat(folder, &status) != 0)
        return err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO,
                       "cannot find %s: %s", start, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        *strrchr(folder, '/') = '\0'; /* realpath's results begin with one */
    for (;;) {
        const char *here = folder[0] != '\0' ? folder : "/";
        if (is_file(here, CONFIG_FILE, candidate)) {
            if (strlen(candidate) >= size)
                return err_set(err, ERR_LIMIT, "the path of %s is too long", candidate);
            memcpy(path, candidate, strlen(candidate) + 1);
            return ERR_NONE;
        }
        if (is_file(here, "workers.yml", candidate))
            return err_set(err, ERR_INVALID, "found %s, which is not read: rename it to " CONFIG_FILE,
                           candidate);
        char *slash = strrchr(folder, '/');
        if (slash == NULL || strcmp(here, "/") == 0)
            break;
        *slash = '\0';
    }
    return err_set(err, ERR_NOT_FOUND, "no " CONFIG_FILE " in %s or any folder above it", start);
}

const char *config_name(const struct config *config, const char *project_folder,
                        char out[CONFIG_NAME_MAX + 1])
{
    if (config->name != NULL) {
        snprintf(out, CONFIG_NAME_MAX + 1, "%s", config->name);
        return out;
    }
    size_t end = strlen(project_folder);
    while (end > 0 && project_folder[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && project_folder[begin - 1] != '/')
        begin--;
    size_t len = 0;
    for (; begin < end && len < CONFIG_NAME_MAX; begin++) {
        if (config_is_name_char(project_folder[begin]))
            out[len++] = project_folder[begin];
        else if (len > 0 && out[len - 1] != '-')
            out[len++] = '-';
    }
    while (len > 0 && out[len - 1] == '-')
        len--;
    out[len] = '\0';
    if (strspn(out, ".") == len)
        snprintf(out, CONFIG_NAME_MAX + 1, "worker");
    return out;
}

bool config_store_is_postgresql(const struct config *config)
{
    return config->store != NULL && config_after_postgresql(config->store) != NULL;
}
