/* Finding time zones and looking things up in them. Must not open a file whose name was not checked, and must
 * not change a zone that somebody may hold. */
#include "base/zone.h"

#include "base/buf.h"
#include "base/iso8601.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/zone_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_DEPTH 3            /* "America/Argentina/Salta" */
#define NAMES_SIZE_MAX (64 << 10) /* bytes of all names together; 10,000 in 2025 */

static const struct zone_type utc_type = {.abbreviation = "UTC"};
static const struct zone utc = {.name = "UTC", .type_count = 1, .types = &utc_type};

/* What was found so far, in the order of strcmp. */
static struct {
    pthread_mutex_t mutex;
    size_t count;
    struct zone *zones[ZONE_COUNT_MAX];
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER};

const struct zone *zone_utc(void)
{
    return &utc;
}

const char *zone_name(const struct zone *zone)
{
    return zone->name;
}

/* ---- names ---- */

/* One or more parts between slashes, each a capital and then letters, digits, '_', '+' or '-'. So no name
 * leads out of the folder, to its other files ("tzdata.zi", "posixrules"), or to its copies
 * ("right/Asia/Tokyo"). */
static bool is_name(const char *name, size_t len)
{
    bool begins = true;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool capital = c >= 'A' && c <= 'Z';
        if (begins && !capital)
            return false;
        begins = c == '/';
        if (!capital && !begins && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' &&
            c != '+' && c != '-')
            return false;
    }
    return !begins && len <= ZONE_NAME_MAX;
}

/* NULL when the system has no database. */
static const char *database_folder(void)
{
    static const char *const folders[] = {ZONE_FOLDERS};
    struct stat status;
    const char *chosen = getenv("TZDIR");
    if (chosen != NULL && chosen[0] == '/')
        return chosen;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (stat(folders[i], &status) == 0 && S_ISDIR(status.st_mode))
            return folders[i];
    }
    return NULL;
}

/* Appends the names below folder, each with a NUL. fd is closed. */
static void list_names(int fd, const char *prefix, int depth, struct buf *out)
{
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const struct dirent *entry;
    while (!out->failed && (entry = readdir(folder)) != NULL) {
        size_t prefix_len = strlen(prefix);
        size_t len = strlen(entry->d_name);
        char name[ZONE_NAME_MAX + 2];
        struct stat status;
        if (prefix_len + len > ZONE_NAME_MAX || !is_name(entry->d_name, len) ||
            fstatat(dirfd(folder), entry->d_name, &status, 0) != 0)
            continue;
        memcpy(name, prefix, prefix_len);
        memcpy(name + prefix_len, entry->d_name, len + 1);
        if (S_ISREG(status.st_mode)) {
            buf_add(out, name, prefix_len + len + 1);
        } else if (S_ISDIR(status.st_mode) && depth > 1) {
            memcpy(name + prefix_len + len, "/", 2);
            list_names(openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), name,
                       depth - 1, out);
        }
    }
    closedir(folder);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether word is the place of the name, as in "new york" for America/New_York. */
static bool is_place(const char *word, size_t len, const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *place = slash != NULL ? slash + 1 : name;
    if (strlen(place) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = word[i] == ' ' ? '_' : word[i];
        if (strncasecmp(&c, place + i, 1) != 0)
            return false;
    }
    return true;
}

/* The nearest of the names; NULL when none is near. Short words are abbreviations more often than misspelt
 * names, and the nearest of "PST" would be "EST". */
static const char *nearest_name(const char *word, size_t len, const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_place(word, len, names[i]))
            return names[i];
    }
    int nearest = len > 4 ? text_nearest(word, len, names, count) : -1;
    return nearest >= 0 ? names[nearest] : NULL;
}

static enum err_code unknown(const char *word, size_t len, struct err *err)
{
    const char *folder = database_folder();
    int shown = (int)(len < 40 ? len : 40);
    while (shown > 0 && (size_t)shown < len && ((unsigned char)word[shown] & 0xc0) == 0x80)
        shown--; /* no character is cut in two */
    const char *dots = (size_t)shown < len ? "…" : "";
    if (folder == NULL)
        return err_set(
            err, ERR_NOT_FOUND,
            "unknown time zone \"%.*s%s\": this system has no time-zone database; install the package "
            "tzdata",
            shown, word, dots);
    struct buf names;
    buf_init(&names, NAMES_SIZE_MAX);
    list_names(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", FOLDER_DEPTH, &names);
    size_t count = 0;
    for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1)
        count++;
    const char **sorted = count > 0 ? mem_alloc(count * sizeof *sorted) : NULL;
    const char *nearest = NULL;
    if (sorted != NULL) {
        const char *at = names.data;
        for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
            sorted[i] = at;
        qsort(sorted, count, sizeof *sorted, compare_names);
        nearest = nearest_name(word, len, sorted, count);
    }
    enum err_code code =
        nearest != NULL ? err_set(err, ERR_NOT_FOUND, "unknown time zone \"%.*s%s\"; did you mean \"%s\"?",
                                  shown, word, dots, nearest)
                        : err_set(err, ERR_NOT_FOUND,
                                  "unknown time zone \"%.*s%s\"; use an IANA name such as \"Europe/Berlin\"",
                                  shown, word, dots);
    mem_free(sorted);
    buf_free(&names);
    return code;
}

/* ---- files ---- */

/* name has passed is_name. Reads up to ZONE_FILE_MAX + 1 bytes. */
static enum err_code read_file(const char *folder, const char *name, char **bytes, size_t *len,
                               struct err *err)
{
    enum err_code code = ERR_NONE;
    char *block = NULL;
    int file = -1;
    size_t got = 0;
    ssize_t count;
    struct stat status;
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at >= 0)
        file = openat(at, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0 || fstat(file, &status) != 0) {
        code = errno == ENOENT || errno == ENOTDIR
                   ? ERR_NOT_FOUND
                   : err_set(err, ERR_IO, "time zone %s: cannot read %s/%s: %s", name, folder, name,
                             strerror(errno));
        goto done;
    }
    if (!S_ISREG(status.st_mode)) { /* such as "Europe" */
        code = ERR_NOT_FOUND;
        goto done;
    }
    block = mem_alloc(ZONE_FILE_MAX + 1);
    if (block == NULL) {
        code = err_nomem(err);
        goto done;
    }
    do {
        count = read(file, block + got, ZONE_FILE_MAX + 1 - got);
        got += count > 0 ? (size_t)count : 0;
    } while ((count > 0 && got <= ZONE_FILE_MAX) || (count < 0 && errno == EINTR));
    if (count < 0) {
        code =
            err_set(err, ERR_IO, "time zone %s: cannot read %s/%s: %s", name, folder, name, strerror(errno));
        goto done;
    }
    *bytes = block;
    *len = got;
    block = NULL;
done:
    mem_free(block);
    if (file >= 0)
        close(file);
    if (at >= 0)
        close(at);
    return code;
}

/* ERR_NOT_FOUND without a message. */
static enum err_code load(const char *folder, const char *name, struct zone **out, struct err *err)
{
    char *bytes = NULL;
    size_t len = 0;
    enum err_code code = folder != NULL ? read_file(folder, name, &bytes, &len, err) : ERR_NOT_FOUND;
    if (code == ERR_NONE) {
        code = zone_read(name, bytes, len, out, err);
        if (code != ERR_NONE)
            err_context(err, "time zone %s: cannot use %s/%s", name, folder, name);
    }
    mem_free(bytes);
    return code;
}

/* Where in the cache the name is, or would be. */
static size_t cache_place(const char *name, bool *found)
{
    size_t low = 0, high = cache.count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(cache.zones[middle]->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* With the mutex held. */
static enum err_code find(const char *name, const struct zone **out, struct err *err)
{
    bool found = false;
    size_t place = cache_place(name, &found);
    if (!found) {
        struct zone *zone = NULL;
        if (cache.count == ZONE_COUNT_MAX)
            return err_set(err, ERR_LIMIT, "time zone %s: %d others are in use already", name,
                           ZONE_COUNT_MAX);
        enum err_code code = load(database_folder(), name, &zone, err);
        if (code != ERR_NONE)
            return code;
        memmove(&cache.zones[place + 1], &cache.zones[place], (cache.count - place) * sizeof cache.zones[0]);
        cache.zones[place] = zone;
        cache.count++;
    }
    *out = cache.zones[place];
    return ERR_NONE;
}

enum err_code zone_find(const char *name, size_t len, const struct zone **out, struct err *err)
{
    if (len == 3 && memcmp(name, utc.name, 3) == 0) {
        *out = &utc;
        return ERR_NONE;
    }
    if (!is_name(name, len))
        return unknown(name, len, err);
    char copy[ZONE_NAME_MAX + 1];
    memcpy(copy, name, len);
    copy[len] = '\0';
    pthread_mutex_lock(&cache.mutex);
    enum err_code code = find(copy, out, err);
    pthread_mutex_unlock(&cache.mutex);
    return code == ERR_NOT_FOUND ? unknown(name, len, err) : code;
}

/* ---- looking things up ---- */

static int64_t seconds_of(int64_t ms)
{
    return ms / 1000 - (ms % 1000 < 0 ? 1 : 0);
}

static void span_at(const struct zone *zone, int64_t seconds, struct zone_span *out)
{
    size_t low = 0, high = zone->transition_count; /* how many transitions there were by then */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->transitions[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    int64_t begin = low > 0 ? zone->transitions[low - 1] : INT64_MIN;
    if (low == zone->transition_count && zone->has_rule) {
        zone_rule_span(&zone->rule, seconds, out);
        if (out->begin < begin)
            out->begin = begin;
        return;
    }
    out->begin = begin;
    out->end = low < zone->transition_count ? zone->transitions[low] : INT64_MAX;
    out->type = &zone->types[low > 0 ? zone->transition_types[low - 1] : 0];
}

struct zone_offset zone_offset_at(const struct zone *zone, int64_t ms)
{
    struct zone_span span;
    span_at(zone, seconds_of(ms), &span);
    return (struct zone_offset){span.type->seconds, span.type->is_dst, span.type->abbreviation};
}

/* A rule whose changes change nothing for a whole cycle of the calendar never will. */
#define IDLE_CHANGES_MAX (2 * 400)

bool zone_next_transition(const struct zone *zone, int64_t ms, int64_t *at)
{
    struct zone_span span, next;
    span_at(zone, seconds_of(ms), &span);
    int64_t end = span.end;
    for (size_t i = 0; i < zone->transition_count + IDLE_CHANGES_MAX && end <= ISO_MAX_MS / 1000; i++) {
        span_at(zone, end, &next);
        if (next.type->seconds != span.type->seconds || next.type->is_dst != span.type->is_dst ||
            strcmp(next.type->abbreviation, span.type->abbreviation) != 0) {
            *at = end * 1000;
            return true;
        }
        end = next.end;
    }
    return false;
}

enum zone_local zone_from_local(const struct zone *zone, int64_t local_ms, int64_t *earlier, int64_t *later)
{
    int64_t local = seconds_of(local_ms);
    /* Walks over all moments whose clocks can show the time. At the first they show less and after the last
     * more, so that it is shown on the way, or skipped. */
    int64_t last = local - ZONE_OFFSET_MIN;
    struct zone_span span, next;
    bool shown = false, skipped = false;
    *earlier = *later = local_ms;
    span_at(zone, local - ZONE_OFFSET_MAX - 1, &span);
    for (;;) {
        int64_t moment = local - span.type->seconds;
        if (moment >= span.begin && moment < span.end) {
            *later = local_ms - (int64_t)span.type->seconds * 1000;
            if (!shown)
                *earlier = *later;
            shown = true;
        }
        if (span.end > last)
            break;
        span_at(zone, span.end, &next);
        if (!shown && !skipped && local >= span.end + span.type->seconds &&
            local < span.end + next.type->seconds) {
            *later = local_ms - (int64_t)span.type->seconds * 1000;
            *earlier = local_ms - (int64_t)next.type->seconds * 1000;
            skipped = true;
        }
        span = next;
    }
    return !shown ? ZONE_SKIPPED : *earlier == *later ? ZONE_ONCE : ZONE_REPEATED;
}
