/* The first token. */
#include "server/first_token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum err_code first_token_make(const char *folder, struct store *store, struct err *err)
{
    char path[PATH_MAX + 32], token[TOKEN_SIZE];
    snprintf(path, sizeof path, "%s/.workers/token", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) /* it was made before, and perhaps revoked since */
        return errno == EEXIST ? ERR_NONE
                               : err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    enum err_code code = store_token_make(store, "local", TOKEN_ADMIN, token, err);
    size_t len = strlen(token);
    token[len] = '\n';
    if (code == ERR_NONE && write(fd, token, len + 1) != (ssize_t)(len + 1))
        code = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    close(fd);
    if (code != ERR_NONE)
        unlink(path);
    return code == ERR_CONFLICT ? ERR_NONE : code;
}
