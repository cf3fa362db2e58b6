/* Looking at the files of a project. Must not read them. */
#include "server/watch.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 8     /* folders below each other */
#define FILES_MAX 10000 /* looked at */

struct look {
    uint64_t sum; /* of the files, in whatever order they come */
    int files;
};

static uint64_t mix(uint64_t hash, uint64_t part)
{
    hash = (hash ^ part) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

static void add_file(struct look *look, const char *path, const struct stat *status)
{
    uint64_t hash = 1;
    for (const char *at = path; *at != '\0'; at++)
        hash = mix(hash, (unsigned char)*at);
    hash = mix(hash, (uint64_t)status->st_mtim.tv_sec);
    hash = mix(hash, (uint64_t)status->st_mtim.tv_nsec);
    hash = mix(hash, (uint64_t)status->st_size);
    look->sum += mix(hash, (uint64_t)status->st_ino);
    look->files++;
}

static void add_path(struct look *look, const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0)
        add_file(look, path, &status);
}

/* Lua files of a folder, and of those below it down to depth. */
static void add_folder(struct look *look, const char *path, int depth)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && look->files < FILES_MAX && (entry = readdir(folder)) != NULL) {
        char inside[PATH_MAX];
        struct stat status;
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] == '.' ||
            snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name) >= (int)sizeof inside)
            continue;
        if (stat(inside, &status) != 0)
            continue;
        if (S_ISDIR(status.st_mode) && depth > 0)
            add_folder(look, inside, depth - 1);
        else if (S_ISREG(status.st_mode) && len > 4 && strcmp(entry->d_name + len - 4, ".lua") == 0)
            add_file(look, inside, &status);
    }
    if (folder != NULL)
        closedir(folder);
}

uint64_t watch_fingerprint(const char *folder, const char *script)
{
    static const char *const files[] = {"workers.yaml", ".env"};
    static const char *const folders[] = {"src", "lua_modules"};
    struct look look = {0};
    char path[PATH_MAX];
    for (int i = 0; i < 2; i++) {
        if (snprintf(path, sizeof path, "%s/%s", folder, files[i]) < (int)sizeof path)
            add_path(&look, path);
        if (snprintf(path, sizeof path, "%s/%s", folder, folders[i]) < (int)sizeof path)
            add_folder(&look, path, DEPTH_MAX);
    }
    const char *slash = strrchr(script, '/');
    if (slash != NULL &&
        snprintf(path, sizeof path, "%.*s", (int)(slash - script), script) < (int)sizeof path)
        add_folder(&look, path, 0);
    return look.sum;
}
