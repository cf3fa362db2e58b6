/* Folders and files that commands write. */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code make_one(const char *path, struct err *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return ERR_NONE;
    return err_set(err, ERR_IO, "cannot make the folder %s: %s", path, strerror(errno));
}

enum err_code files_make_folder(const char *path, struct err *err)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return err_set(err, ERR_IO, "cannot make a folder: its path is too long");
    for (char *at = part + 1; part[0] != '\0' && *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        enum err_code code = make_one(part, err);
        if (code != ERR_NONE)
            return code;
        *at = '/';
    }
    return make_one(part, err);
}

static enum err_code write_all(const char *path, mode_t mode, bool durable, const char *text, size_t len,
                               struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool written = fd >= 0;
    while (written && len > 0) {
        ssize_t count = write(fd, text, len);
        written = count > 0 || (count < 0 && errno == EINTR);
        if (count > 0) {
            text += count;
            len -= (size_t)count;
        }
    }
    if (written && durable)
        written = fchmod(fd, mode) == 0 && fsync(fd) == 0;
    int failure = errno;
    if (fd >= 0 && close(fd) != 0 && written) {
        written = false;
        failure = errno;
    }
    return written ? ERR_NONE : err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(failure));
}

enum err_code files_write(const char *path, const char *text, size_t len, struct err *err)
{
    return write_all(path, 0666, false, text, len, err);
}

enum err_code files_write_private(const char *path, const char *text, size_t len, struct err *err)
{
    char beside[PATH_MAX];
    struct stat status;
    mode_t mode = stat(path, &status) == 0 ? status.st_mode & 0700 : 0600;
    if (snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid()) >= (int)sizeof beside)
        return err_set(err, ERR_IO, "cannot write %s: its path is too long", path);
    enum err_code code = write_all(beside, mode, true, text, len, err);
    if (code == ERR_NONE && rename(beside, path) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (code != ERR_NONE)
        unlink(beside);
    return code;
}

enum err_code files_link(const char *path, const char *target, struct err *err)
{
    if ((unlink(path) != 0 && errno != ENOENT) || symlink(target, path) != 0)
        return err_set(err, ERR_IO, "cannot make the link %s: %s", path, strerror(errno));
    return ERR_NONE;
}
