/* The file that says where the server is: the process id of its supervisor and its url, one a line. */
#include "server/beacon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum err_code path_of(const char *folder, const char *suffix, char path[PATH_MAX], struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/.workers/server%s", folder, suffix) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the project is too long");
    return ERR_NONE;
}

enum err_code beacon_write(const char *folder, const char *url, struct err *err)
{
    char path[PATH_MAX], beside[PATH_MAX], text[BEACON_URL_MAX + 32];
    enum err_code code = path_of(folder, "", path, err);
    if (code == ERR_NONE)
        code = path_of(folder, ".new", beside, err);
    if (code != ERR_NONE)
        return code;
    int len = snprintf(text, sizeof text, "%ld\n%s\n", (long)getppid(), url);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || len >= (int)sizeof text || write(fd, text, (size_t)len) != len || rename(beside, path) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

enum err_code beacon_read(const char *folder, char url[BEACON_URL_MAX], struct err *err)
{
    char path[PATH_MAX];
    long pid = 0;
    enum err_code code = path_of(folder, "", path, err);
    if (code != ERR_NONE)
        return code;
    FILE *file = fopen(path, "re");
    url[0] = '\0';
    char line[64];
    if (file != NULL && fgets(line, sizeof line, file) != NULL && sscanf(line, "%ld", &pid) == 1 &&
        fgets(url, BEACON_URL_MAX, file) != NULL)
        url[strcspn(url, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
    if (url[0] == '\0' || pid <= 0 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH))
        return err_set(err, ERR_NOT_FOUND, "no server serves this project: start one with workers serve");
    return ERR_NONE;
}
