/* Packing a project, and unpacking it elsewhere. */
#include "worker/pack.h"

#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "worker/config.h"
#include "worker/ignore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IGNORE_MAX ((size_t)1024 * 1024)
#define DEPTH_MAX 32

/* ---- collecting ---- */

struct collection {
    const char *folder;
    const char *const *built;
    struct ignore ignore;
    char **paths;
    size_t count, room;
};

static void free_collection(struct collection *collection)
{
    for (size_t i = 0; i < collection->count; i++)
        mem_free(collection->paths[i]);
    mem_free(collection->paths);
    ignore_free(&collection->ignore);
}

/* Secrets, state, and what belongs to others. */
static bool is_never_packed(const char *name)
{
    return strcmp(name, ".env") == 0 || strncmp(name, ".env.", 5) == 0 || strcmp(name, ".workers") == 0 ||
           strcmp(name, ".git") == 0;
}

static enum err_code add_path(struct collection *collection, const char *path, struct err *err)
{
    if (collection->count == PACK_FILES_MAX)
        return err_set(err, ERR_LIMIT,
                       "there are more than %d files: leave out what is not needed with .gitignore",
                       PACK_FILES_MAX);
    if (collection->count == collection->room) {
        size_t room = collection->room > 0 ? 2 * collection->room : 64;
        char **paths = mem_realloc(collection->paths, room * sizeof *paths);
        if (paths == NULL)
            return err_nomem(err);
        collection->paths = paths;
        collection->room = room;
    }
    char *copy = mem_strndup(path, strlen(path));
    if (copy == NULL)
        return err_nomem(err);
    collection->paths[collection->count++] = copy;
    return ERR_NONE;
}

static enum err_code add_rules(struct collection *collection, const char *below, struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    if (snprintf(path, sizeof path, "%s/%s.gitignore", collection->folder, below) >= (int)sizeof path)
        return ERR_NONE;
    enum err_code code = config_read_file(path, IGNORE_MAX, &text, err);
    if (code == ERR_NONE)
        code = ignore_add(&collection->ignore, below, buf_text(&text), text.len, err);
    else if (code == ERR_NOT_FOUND)
        code = ERR_NONE;
    buf_free(&text);
    return code;
}

/* Whether the path is such a folder, lies in one, or is a folder on the way to one. */
static bool is_built(const struct collection *collection, const char *path, bool is_folder)
{
    size_t len = strlen(path);
    for (const char *const *built = collection->built; built != NULL && *built != NULL; built++) {
        size_t built_len = strlen(*built);
        size_t common = len < built_len ? len : built_len;
        if (strncmp(path, *built, common) == 0 &&
            (len == built_len || (len > built_len && path[built_len] == '/') ||
             (is_folder && len < built_len && (*built)[len] == '/')))
            return true;
    }
    return false;
}

/* below: "" or "a/b/". only_built: the folder itself is left out, but for what was built in it. */
static enum err_code collect(struct collection *collection, const char *below, int depth, bool only_built,
                             struct err *err)
{
    char full[PATH_MAX];
    const struct dirent *entry;
    size_t rules = collection->ignore.count;
    snprintf(full, sizeof full, "%s/%s", collection->folder, below);
    DIR *folder = opendir(full);
    if (folder == NULL)
        return err_set(err, ERR_IO, "cannot read %s: %s", full, strerror(errno));
    enum err_code code = add_rules(collection, below, err);
    while (code == ERR_NONE && (entry = readdir(folder)) != NULL) {
        char path[PACK_PATH_MAX], inside[PATH_MAX];
        struct stat status;
        bool left_out = false;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            is_never_packed(entry->d_name))
            continue;
        if (snprintf(path, sizeof path, "%s%s", below, entry->d_name) >= (int)sizeof path ||
            snprintf(inside, sizeof inside, "%s/%s", collection->folder, path) >= (int)sizeof inside)
            code = err_set(err, ERR_LIMIT, "%s%s: its path is longer than %d bytes", below, entry->d_name,
                           PACK_PATH_MAX - 1);
        else if (lstat(inside, &status) != 0)
            code = err_set(err, ERR_IO, "cannot read %s: %s", inside, strerror(errno));
        else if ((left_out =
                      only_built || ignore_leaves_out(&collection->ignore, path, S_ISDIR(status.st_mode))) &&
                 !is_built(collection, path, S_ISDIR(status.st_mode)))
            continue;
        else if (S_ISREG(status.st_mode))
            code = add_path(collection, path, err);
        else if (S_ISLNK(status.st_mode) && is_built(collection, path, true))
            code = err_set(err, ERR_INVALID,
                           "%s is a link, and links are not packed: let the view be built into plain files",
                           path);
        else if (S_ISDIR(status.st_mode) && depth == 0)
            code = err_set(err, ERR_LIMIT, "%s: folders lie more than %d deep", path, DEPTH_MAX);
        else if (S_ISDIR(status.st_mode)) {
            char deeper[PACK_PATH_MAX + 2];
            snprintf(deeper, sizeof deeper, "%s/", path);
            code = collect(collection, deeper, depth - 1, left_out, err);
        }
    }
    closedir(folder);
    ignore_cut(&collection->ignore, rules);
    return code;
}

/* ---- packing ---- */

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err_code pack_file(const struct collection *collection, const char *path, struct buf *out,
                               struct pack_info *info, struct err *err)
{
    char full[PATH_MAX];
    struct buf bytes;
    struct err ignored;
    snprintf(full, sizeof full, "%s/%s", collection->folder, path);
    if (!text_is_utf8(path, strlen(path), NULL))
        return err_set(err, ERR_INVALID, "%s: the name is not UTF-8", path);
    enum err_code code = config_read_file(full, PACK_MAX, &bytes, err);
    if (code == ERR_NONE) {
        buf_adds(out, info->files > 0 ? ",{\"path\":" : "{\"path\":");
        json_write_text(out, path);
        size_t before = out->len;
        buf_adds(out, ",\"text\":");
        if (json_write_string(out, buf_text(&bytes), bytes.len, &ignored) != ERR_NONE) {
            out->len = before;
            buf_adds(out, ",\"base64\":\"");
            crypto_encode_to(CRYPTO_BASE64, buf_text(&bytes), bytes.len, out);
            buf_addc(out, '"');
        }
        buf_addc(out, '}');
        info->files++;
        info->bytes += (int64_t)bytes.len;
        if (out->failed && !out->out_of_memory)
            code = err_set(
                err, ERR_LIMIT,
                "the project is larger than %zu MiB at %s: leave out what is not needed with .gitignore",
                PACK_MAX / (1024 * 1024), path);
    }
    buf_free(&bytes);
    return code;
}

static enum err_code name_pack(const char *text, size_t len, struct pack_info *info, struct err *err)
{
    unsigned char digest[32];
    enum err_code code = crypto_sha256(text, len, digest, err);
    if (code == ERR_NONE)
        crypto_encode(CRYPTO_HEX, digest, sizeof digest, info->digest);
    return code;
}

enum err_code pack_folder(const char *folder, const char *const built[], struct buf *out,
                          struct pack_info *info, struct err *err)
{
    struct collection collection = {.folder = folder, .built = built};
    *info = (struct pack_info){0};
    enum err_code code = collect(&collection, "", DEPTH_MAX, false, err);
    if (collection.count > 1)
        qsort(collection.paths, collection.count, sizeof *collection.paths, compare_paths);
    buf_adds(out, "{\"files\":[");
    for (size_t i = 0; i < collection.count && code == ERR_NONE; i++)
        code = pack_file(&collection, collection.paths[i], out, info, err);
    buf_adds(out, "]}");
    free_collection(&collection);
    if (code == ERR_NONE)
        code = buf_status(out, "the project", err);
    return code == ERR_NONE ? name_pack(buf_text(out), out->len, info, err) : code;
}

/* ---- reading ---- */

/* Parts that are neither empty nor lead elsewhere, and none that is never packed. */
static bool is_good_path(const char *path)
{
    if (path[0] == '\0' || strlen(path) >= PACK_PATH_MAX || strchr(path, '\\') != NULL)
        return false;
    for (const char *at = path;;) {
        char part[PACK_PATH_MAX];
        size_t len = strcspn(at, "/");
        if (len == 0 || len > NAME_MAX)
            return false;
        memcpy(part, at, len);
        part[len] = '\0';
        if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0 || is_never_packed(part))
            return false;
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)part[i] < 0x20)
                return false;
        if (at[len] == '\0')
            return true;
        at += len + 1;
    }
}

/* One file of the pack: the object at object. */
static enum err_code read_file(const struct json_slice *object, char path[PACK_PATH_MAX], struct buf *bytes,
                               struct err *err)
{
    struct json_scan scan;
    path[0] = '\0';
    if (json_find_string(object->text, object->len, "path", &scan) && scan.string.len < PACK_PATH_MAX) {
        size_t len = json_unescape(scan.string, path);
        path[len] = '\0';
        if (strlen(path) != len)
            path[0] = '\0';
    }
    if (!is_good_path(path))
        return err_set(err, ERR_INVALID, "the pack has a path that it may not have: \"%.100s\"", path);
    if (json_find_string(object->text, object->len, "text", &scan)) {
        json_string_copy(&scan, bytes);
        return buf_status(bytes, path, err);
    }
    if (!json_find_string(object->text, object->len, "base64", &scan))
        return err_set(err, ERR_INVALID, "the pack has no content for %s", path);
    char *room = buf_reserve(bytes, crypto_decoded_max(CRYPTO_BASE64, scan.string.len) + 1);
    size_t len = 0;
    if (room == NULL)
        return err_nomem(err);
    enum err_code code = crypto_decode(CRYPTO_BASE64, scan.string.text, scan.string.len, room, &len, err);
    bytes->len += code == ERR_NONE ? len : 0;
    return code == ERR_NONE ? code : err_context(err, "%s", path);
}

enum err_code pack_each(const char *text, size_t len, pack_file_fn each, void *ctx, struct err *err)
{
    struct json_slice files, object;
    struct json_scan scan;
    bool more = false;
    if (!json_find(text, len, "files", &files) || files.text[0] != '[')
        return err_set(err, ERR_INVALID, "the pack has no \"files\"");
    json_scan_init(&scan, files.text, files.len);
    enum err_code code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        char path[PACK_PATH_MAX];
        struct buf bytes;
        buf_init(&bytes, PACK_MAX);
        code = json_scan_skip(&scan, &object, err);
        if (code == ERR_NONE)
            code = read_file(&object, path, &bytes, err);
        if (code == ERR_NONE)
            code = each(ctx, path, buf_text(&bytes), bytes.len);
        buf_free(&bytes);
    }
    return code;
}

struct check {
    struct pack_info *info;
    char before[PACK_PATH_MAX];
    struct err *err;
};

/* In order, so that none comes twice. */
static enum err_code check_file(void *ctx, const char *path, const char *bytes, size_t len)
{
    struct check *check = ctx;
    (void)bytes;
    if (strcmp(check->before, path) >= 0)
        return err_set(check->err, ERR_INVALID, "the pack has %s out of order", path);
    if (++check->info->files > PACK_FILES_MAX)
        return err_set(check->err, ERR_LIMIT, "the pack has more than %d files", PACK_FILES_MAX);
    check->info->bytes += (int64_t)len;
    snprintf(check->before, sizeof check->before, "%s", path);
    return ERR_NONE;
}

enum err_code pack_check(const char *text, size_t len, struct pack_info *info, struct err *err)
{
    struct check check = {.info = info, .err = err};
    *info = (struct pack_info){0};
    if (len > PACK_MAX)
        return err_set(err, ERR_LIMIT, "the pack is larger than %zu MiB", PACK_MAX / (1024 * 1024));
    enum err_code code = pack_each(text, len, check_file, &check, err);
    return code == ERR_NONE ? name_pack(text, len, info, err) : code;
}

/* ---- unpacking ---- */

struct unpacking {
    char folder[PATH_MAX];
    struct err *err;
};

static enum err_code make_folders(const struct unpacking *unpacking, char *path)
{
    for (char *at = path + strlen(unpacking->folder) + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return err_set(unpacking->err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
        *at = '/';
    }
    return ERR_NONE;
}

static enum err_code write_file(void *ctx, const char *path, const char *bytes, size_t len)
{
    const struct unpacking *unpacking = ctx;
    char full[PATH_MAX + PACK_PATH_MAX];
    snprintf(full, sizeof full, "%s/%s", unpacking->folder, path);
    enum err_code code = make_folders(unpacking, full);
    if (code != ERR_NONE)
        return code;
    int fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool written = fd >= 0;
    while (written && len > 0) {
        ssize_t count = write(fd, bytes, len);
        written = count > 0 || (count < 0 && errno == EINTR);
        bytes += count > 0 ? count : 0;
        len -= count > 0 ? (size_t)count : 0;
    }
    written = written && fsync(fd) == 0; /* the folder's name says that all of it is there */
    if (fd >= 0 && close(fd) != 0)
        written = false;
    return written ? ERR_NONE : err_set(unpacking->err, ERR_IO, "cannot write %s: %s", full, strerror(errno));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void pack_remove(const char *folder)
{
    nftw(folder, remove_one, DEPTH_MAX, FTW_DEPTH | FTW_PHYS);
}

struct comparison {
    const char *folder;
    bool same;
};

static enum err_code compare_file(void *ctx, const char *path, const char *bytes, size_t len)
{
    struct comparison *comparison = ctx;
    char full[PATH_MAX + PACK_PATH_MAX];
    struct buf there;
    struct err ignored;
    snprintf(full, sizeof full, "%s/%s", comparison->folder, path);
    bool same = config_read_file(full, PACK_MAX, &there, &ignored) == ERR_NONE && there.len == len &&
                memcmp(buf_text(&there), bytes, len) == 0;
    comparison->same = comparison->same && same;
    buf_free(&there);
    return ERR_NONE;
}

/* Whether every file is there as it should be. */
static bool is_whole(const char *text, size_t len, const char *folder)
{
    struct comparison comparison = {.folder = folder, .same = true};
    struct err ignored;
    return pack_each(text, len, compare_file, &comparison, &ignored) == ERR_NONE && comparison.same;
}

/* What is there and not whole moves out of the way. */
static enum err_code put_into_place(const char *from, const char *folder, struct err *err)
{
    char aside[PATH_MAX + 16];
    snprintf(aside, sizeof aside, "%s.old", from);
    bool moved = rename(folder, aside) == 0;
    if (rename(from, folder) != 0 && errno != EEXIST && errno != ENOTEMPTY)
        return err_set(err, ERR_IO, "cannot make %s: %s", folder, strerror(errno));
    if (moved)
        pack_remove(aside);
    return ERR_NONE;
}

enum err_code pack_unpack(const char *text, size_t len, const char *folder, struct err *err)
{
    struct unpacking unpacking = {.err = err};
    struct stat status;
    if (stat(folder, &status) == 0 && is_whole(text, len, folder))
        return ERR_NONE;
    if (snprintf(unpacking.folder, sizeof unpacking.folder, "%s" PACK_UNFINISHED "XXXXXX", folder) >=
            (int)sizeof unpacking.folder ||
        mkdtemp(unpacking.folder) == NULL)
        return err_set(err, ERR_IO, "cannot make a folder beside %s: %s", folder, strerror(errno));
    enum err_code code = pack_each(text, len, write_file, &unpacking, err);
    if (code == ERR_NONE && chmod(unpacking.folder, 0755) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", unpacking.folder, strerror(errno));
    if (code == ERR_NONE)
        code = put_into_place(unpacking.folder, folder, err);
    pack_remove(unpacking.folder); /* when it is in its place, it is gone from here */
    return code;
}
