/* Folders and files that commands write. */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
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

enum err_code files_make_temporary(const char *name, char *path, size_t size, struct err *err)
{
    const char *place = getenv("TMPDIR");
    if (place == NULL || place[0] != '/')
        place = "/tmp";
    int len = snprintf(path, size, "%s/%s-XXXXXX", place, name);
    enum err_code code = ERR_NONE;
    if (len < 0 || (size_t)len >= size)
        code = err_set(err, ERR_IO, "cannot make a temporary folder: the path in TMPDIR is too long");
    else if (mkdtemp(path) == NULL)
        code = err_set(err, ERR_IO, "cannot make a folder in %s: %s", place, strerror(errno));
    if (code != ERR_NONE)
        path[0] = '\0';
    return code;
}

/* shown: what messages call the file. */
static enum err_code write_all(const char *path, const char *shown, mode_t mode, bool durable,
                               const char *text, size_t len, struct err *err)
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
    return written ? ERR_NONE : err_set(err, ERR_IO, "cannot write %s: %s", shown, strerror(failure));
}

enum err_code files_write(const char *path, const char *text, size_t len, struct err *err)
{
    return write_all(path, path, 0666, false, text, len, err);
}

enum err_code files_write_private(const char *path, const char *text, size_t len, struct err *err)
{
    char beside[PATH_MAX];
    struct stat status;
    mode_t mode = stat(path, &status) == 0 ? status.st_mode & 0700 : 0600;
    if (snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid()) >= (int)sizeof beside)
        return err_set(err, ERR_IO, "cannot write %s: its path is too long", path);
    enum err_code code = write_all(beside, path, mode, true, text, len, err);
    if (code == ERR_NONE && rename(beside, path) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (code != ERR_NONE)
        unlink(beside);
    return code;
}

/* Whether the file has this text and no other. */
static bool holds(int fd, const struct files_text *text)
{
    char part[16 * 1024];
    size_t at = 0;
    for (;;) {
        ssize_t count = read(fd, part, sizeof part);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count == 0 && at == text->len;
        if ((size_t)count > text->len - at || memcmp(part, text->at + at, (size_t)count) != 0)
            return false;
        at += (size_t)count;
    }
}

/* Looks whether the file may be replaced. */
static enum err_code look_before(const char *path, const char *shown, const struct files_text *old,
                                 struct stat *status, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum err_code code = ERR_NONE;
    if (fd < 0 || fstat(fd, status) != 0)
        code = err_set(err, ERR_IO, "cannot read %s: %s", shown, strerror(errno));
    else if (!S_ISREG(status->st_mode))
        code = err_set(err, ERR_IO, "cannot write %s: it is no regular file", shown);
    else if (!holds(fd, old))
        code = err_set(err, ERR_IO, "%s has changed since it was read: it is left as it is now; try again",
                       shown);
    else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", shown, strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

/* Gives the file the owner and the rights of another. */
static bool make_alike(const char *path, const struct stat *other)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return false;
    if (status.st_uid == other->st_uid && status.st_gid == other->st_gid)
        return true;
    return chown(path, other->st_uid, other->st_gid) == 0 && chmod(path, other->st_mode & 07777) == 0;
}

enum err_code files_replace(const char *path, const char *shown, const struct files_text *old,
                            const struct files_text *text, struct err *err)
{
    char place[PATH_MAX], beside[PATH_MAX];
    struct stat status;
    if (realpath(path, place) == NULL)
        return err_set(err, ERR_IO, "cannot read %s: %s", shown, strerror(errno));
    if (snprintf(beside, sizeof beside, "%s.%ld", place, (long)getpid()) >= (int)sizeof beside)
        return err_set(err, ERR_IO, "cannot write %s: its path is too long", shown);
    enum err_code code = look_before(place, shown, old, &status, err);
    if (code != ERR_NONE)
        return code;
    code = write_all(beside, shown, status.st_mode & 07777, true, text->at, text->len, err);
    if (code == ERR_NONE && (!make_alike(beside, &status) || rename(beside, place) != 0))
        code = err_set(err, ERR_IO, "cannot write %s: %s", shown, strerror(errno));
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
