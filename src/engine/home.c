/* Workers in a home. */
#include "engine/home.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/deploy.h"
#include "engine/project.h"
#include "worker/pack.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETED ".deleted"

/* What a worker is before something was deployed to it. */
static const char empty_pack[] =
    "{\"files\":[{\"path\":\"src/main.lua\",\"text\":\"return require(\\\"workers\\\").new()\\n\"}]}";

enum err_code home_folder(char out[HOME_PATH_MAX], struct err *err)
{
    const char *home = getenv(HOME_VARIABLE), *data = getenv("XDG_DATA_HOME"), *user = getenv("HOME");
    int len = 0;
    if (home != NULL && home[0] != '\0')
        len = snprintf(out, HOME_PATH_MAX, "%s", home);
    else if (data != NULL && data[0] == '/')
        len = snprintf(out, HOME_PATH_MAX, "%s/workers", data);
    else if (user != NULL && user[0] == '/')
        len = snprintf(out, HOME_PATH_MAX, "%s/.local/share/workers", user);
    else
        return err_set(err, ERR_NOT_FOUND,
                       "neither " HOME_VARIABLE " nor HOME says where deployed workers are");
    return len < HOME_PATH_MAX ? ERR_NONE : err_set(err, ERR_INVALID, "the path of the home is too long");
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > CONFIG_NAME_MAX || name[0] == '.')
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

enum err_code home_worker(const char *home, const char *name, char out[HOME_PATH_MAX], struct err *err)
{
    if (!is_name(name))
        return err_set(err, ERR_INVALID,
                       "\"%.110s\" cannot be the name of a worker: 1 to %d letters, digits, \".\", \"_\" and "
                       "\"-\", and no "
                       "\".\" first",
                       name, CONFIG_NAME_MAX);
    if (snprintf(out, HOME_PATH_MAX, "%s/%s", home, name) >= HOME_PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the home is too long");
    return ERR_NONE;
}

/* versions/ can be made from the store, so that is what counts. */
static bool is_worker(const char *folder)
{
    char path[HOME_PATH_MAX + 32];
    struct stat status;
    snprintf(path, sizeof path, "%s/" CONFIG_FILE, folder);
    if (stat(path, &status) == 0)
        return false;
    snprintf(path, sizeof path, "%s/.workers/worker.db", folder);
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

enum err_code home_find(const char *home, const char *name, char out[HOME_PATH_MAX], struct err *err)
{
    enum err_code code = home_worker(home, name, out, err);
    if (code == ERR_NONE && !is_worker(out))
        code = err_set(err, ERR_NOT_FOUND, "there is no worker \"%s\": workers list shows them", name);
    return code;
}

/* With those above it. Who may read it may read secrets. */
enum err_code home_make(const char *path, struct err *err)
{
    char part[HOME_PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return err_set(err, ERR_IO, "cannot make %s: %s", part, strerror(errno));
        *at = '/';
    }
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make %s: %s", part, strerror(errno));
    return ERR_NONE;
}

enum err_code home_create(const char *home, const char *name, struct err *err)
{
    char folder[HOME_PATH_MAX], beside[HOME_PATH_MAX];
    struct buf answer;
    struct stat status;
    enum err_code code = home_worker(home, name, folder, err);
    if (code == ERR_NONE)
        code = home_make(home, err);
    if (code == ERR_NONE && stat(folder, &status) == 0)
        code = err_set(err, ERR_CONFLICT, "there is a worker \"%s\" already", name);
    if (code == ERR_NONE && (snprintf(beside, sizeof beside, "%s/.new-XXXXXX", home) >= (int)sizeof beside ||
                             mkdtemp(beside) == NULL))
        code = err_set(err, ERR_IO, "cannot make a folder in %s: %s", home, strerror(errno));
    if (code != ERR_NONE)
        return code;
    /* It appears whole or not at all. */
    const struct deploy deploy = {
        .folder = beside, .pack = empty_pack, .pack_len = sizeof empty_pack - 1, .note = "empty"};
    buf_init(&answer, (size_t)1024 * 1024);
    code = deploy_apart(&deploy, &answer, err);
    buf_free(&answer);
    if (code == ERR_NONE && rename(beside, folder) != 0)
        code = errno == EEXIST || errno == ENOTEMPTY
                   ? err_set(err, ERR_CONFLICT, "there is a worker \"%s\" already", name)
                   : err_set(err, ERR_IO, "cannot make %s: %s", folder, strerror(errno));
    if (code != ERR_NONE)
        pack_remove(beside);
    return code;
}

enum err_code home_rename(const char *home, const char *name, const char *to, struct err *err)
{
    char folder[HOME_PATH_MAX], other[HOME_PATH_MAX];
    struct stat status;
    enum err_code code = home_find(home, name, folder, err);
    if (code == ERR_NONE)
        code = home_worker(home, to, other, err);
    if (code == ERR_NONE && stat(other, &status) == 0)
        code = err_set(err, ERR_CONFLICT, "there is a worker \"%s\" already", to);
    if (code == ERR_NONE && rename(folder, other) != 0)
        code = err_set(err, ERR_IO, "cannot rename %s: %s", folder, strerror(errno));
    return code;
}

enum err_code home_delete(const char *home, const char *name, char moved_to[HOME_PATH_MAX], struct err *err)
{
    char folder[HOME_PATH_MAX], deleted[HOME_PATH_MAX];
    enum err_code code = home_find(home, name, folder, err);
    if (code != ERR_NONE)
        return code;
    if (snprintf(deleted, sizeof deleted, "%s/" DELETED, home) >= (int)sizeof deleted ||
        snprintf(moved_to, HOME_PATH_MAX, "%s/" DELETED "/%s-%lld", home, name, (long long)clock_now_ms()) >=
            HOME_PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the home is too long");
    if (mkdir(deleted, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make %s: %s", deleted, strerror(errno));
    if (rename(folder, moved_to) != 0)
        return err_set(err, ERR_IO, "cannot move %s: %s", folder, strerror(errno));
    return ERR_NONE;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_candidate(const struct dirent *entry)
{
    return is_name(entry->d_name);
}

enum err_code home_each(const char *home, home_fn each, void *ctx, struct err *err)
{
    struct dirent **entries = NULL;
    int count = scandir(home, &entries, is_candidate, by_name);
    if (count < 0 && errno == ENOENT)
        return ERR_NONE;
    if (count < 0)
        return err_set(err, ERR_IO, "cannot read %s: %s", home, strerror(errno));
    enum err_code code = ERR_NONE;
    for (int i = 0; i < count; i++) {
        char folder[HOME_PATH_MAX];
        if (code == ERR_NONE && home_worker(home, entries[i]->d_name, folder, err) == ERR_NONE &&
            is_worker(folder))
            code = each(ctx, entries[i]->d_name, folder);
        free(entries[i]);
    }
    free(entries);
    return code;
}
