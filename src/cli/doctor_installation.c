/* The program and what it stands on, and the project of this folder. Must not change anything: the one file
 * that is written, to see whether it can be, is gone afterwards. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "base/crypto_api.h"
#include "base/iso8601.h"
#include "base/zone.h"
#include "cli/listing.h"
#include "cli/remote.h"
#include "net/curl_api.h"
#include "server/beacon.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB ((uint64_t)1024 * 1024)
#define SPACE_FAIL (16 * MIB)
#define SPACE_WARN (256 * MIB)
#define WRITTEN ((size_t)64 * 1024)              /* to see whether it can be */
#define EARLIEST_MS ((int64_t)1735689600 * 1000) /* 2025: the program is not older */
#define LATEST_MS ((int64_t)4102444800 * 1000)   /* 2100 */
#define CLOCK_SLACK_MS 60000
#define ZONE_TRIED "Europe/Berlin"
#define CA_FILE "/etc/ssl/certs/ca-certificates.crt" /* when libcurl does not say */

/* ---- the program ---- */

static void look_at_versions(struct findings *out)
{
    struct store *store = NULL;
    struct err err;
    char engine[64] = "";
    findings_add(out, FINDING_OK, "version", "", "workers %s", WORKERS_VERSION);
    if (store_open_memory(DB_MEMORY "doctor", &store, &err) == ERR_NONE &&
        store_engine(store, engine, sizeof engine, &err) == ERR_NONE)
        findings_add(out, FINDING_OK, "sqlite", "", "%s", engine);
    else
        findings_add(out, FINDING_FAIL, "sqlite", "install the program anew", "%s", err.message);
    store_close(store);
    const struct curl_api *curl = curl_api_get(&err);
    if (curl != NULL)
        findings_add(out, FINDING_OK, "libcurl", "", "libcurl %s",
                     curl->version_info(CURLVERSION_NOW)->version);
    else
        findings_add(out, FINDING_FAIL, "libcurl", "apt install libcurl4", "%s", err.message);
    const struct crypto_api *crypto = crypto_api_get(&err);
    if (crypto != NULL)
        findings_add(out, FINDING_OK, "openssl", "", "%s", crypto->OpenSSL_version(OPENSSL_VERSION));
    else
        findings_add(out, FINDING_FAIL, "openssl", "apt install libssl3", "%s", err.message);
}

static void look_at_clock(struct findings *out)
{
    char now[ISO_UTC_SIZE];
    int64_t ms = clock_now_ms();
    bool plausible = ms >= EARLIEST_MS && ms < LATEST_MS;
    findings_add(out, plausible ? FINDING_OK : FINDING_FAIL, "clock",
                 plausible ? "" : "set it, and let it be kept: timedatectl set-ntp true", "%s%s",
                 plausible ? "" : "it cannot be ", iso_format_utc(ms, now));
}

static void look_at_zones(struct findings *out)
{
    const struct zone *zone = NULL;
    struct err err;
    if (zone_find(ZONE_TRIED, strlen(ZONE_TRIED), &zone, &err) == ERR_NONE)
        findings_add(out, FINDING_OK, "time_zones", "", "the time zone database is there");
    else
        findings_add(out, FINDING_FAIL, "time_zones", "apt install tzdata, or set TZDIR to its folder",
                     "the time zone database cannot be read: %s", err.message);
}

static void look_at_certificates(struct findings *out)
{
    struct err ignored;
    const char *named = getenv("SSL_CERT_FILE");
    const struct curl_api *curl = curl_api_get(&ignored);
    const char *file = named != NULL && named[0] != '\0' ? named : NULL;
    if (file == NULL && curl != NULL)
        file = curl->version_info(CURLVERSION_NOW)->cainfo;
    if (file == NULL)
        file = CA_FILE;
    struct stat status;
    bool there = stat(file, &status) == 0 && status.st_size > 0 && access(file, R_OK) == 0;
    if (there)
        findings_add(out, FINDING_OK, "certificates", "", "%s", file);
    else
        findings_add(out, FINDING_FAIL, "certificates",
                     named != NULL ? "set SSL_CERT_FILE to a file with certificates, or unset it"
                                   : "apt install ca-certificates",
                     "there are no CA certificates in %s: no https request can be trusted", file);
}

/* ---- the store ---- */

static void look_at_space(const char *folder, bool quiet, struct findings *out)
{
    struct statvfs status;
    if (statvfs(folder, &status) != 0)
        return;
    uint64_t free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    enum finding_level level = free_bytes < SPACE_FAIL   ? FINDING_FAIL
                               : free_bytes < SPACE_WARN ? FINDING_WARN
                                                         : FINDING_OK;
    if (level != FINDING_OK || !quiet)
        findings_add(out, level, "space", level != FINDING_OK ? "free some space: du -sh .workers" : "",
                     "%llu MiB are free", (unsigned long long)(free_bytes / MIB));
}

/* Writes a file of its own and flushes it. */
static bool look_at_writing(const char *store, bool quiet, struct findings *out)
{
    static const char zeros[WRITTEN];
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/doctor.%ld", store, (long)getpid());
    errno = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t written = fd >= 0 ? write(fd, zeros, sizeof zeros) : -1;
    bool good = written == (ssize_t)sizeof zeros && fsync(fd) == 0;
    int why = written >= 0 && errno == 0 ? ENOSPC : errno;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    if (!good)
        findings_add(out, FINDING_FAIL, "store",
                     why == ENOSPC ? "free some space: du -sh .workers"
                                   : "let this user write there: ls -ld .workers",
                     "%s cannot be written to: %s", store, strerror(why));
    else if (!quiet)
        findings_add(out, FINDING_OK, "writable", "", "%s can be written to", store);
    return good;
}

static void look_at_integrity(struct store *store, struct findings *out)
{
    struct buf problems;
    struct err err;
    buf_init(&problems, MIB);
    enum err_code code = store_check(store, &problems, &err);
    if (code != ERR_NONE || problems.len > 0)
        findings_add(out, FINDING_FAIL, "integrity",
                     "put .workers back from a backup, or save what can be read: sqlite3 worker.db .recover",
                     "the store is damaged: %s", code != ERR_NONE ? err.message : buf_text(&problems));
    else
        findings_add(out, FINDING_OK, "integrity", "", "the store is as it was written");
    buf_clear(&problems);
    code = store_logs_check(store, &problems, &err);
    if (code != ERR_NONE || problems.len > 0)
        findings_add(out, FINDING_WARN, "logs",
                     "take it away, and the next run begins another: rm .workers/logs.db",
                     "the log lines of runs are lost, for .workers/logs.db is damaged: %s",
                     code != ERR_NONE ? err.message : buf_text(&problems));
    buf_free(&problems);
}

static void look_at_key(struct store *store, struct findings *out)
{
    struct err err;
    int64_t count = 0;
    if (store_vault_check(store, &count, &err) == ERR_NONE)
        findings_add(out, FINDING_OK, "key", "", "it opens what is sealed: %lld variables", (long long)count);
    else
        findings_add(
            out, FINDING_FAIL, "key",
            "put .workers/key back from a backup; without one: workers env rotate-key --forget, and set "
            "the variables again",
            "%s", err.message);
}

static enum err_code keep_start(void *ctx, const struct run_record *run)
{
    *(int64_t *)ctx = run->started_ms;
    return ERR_NONE;
}

/* A run that began later than now is: the clock was set back, and schedules wait. */
static void look_at_past(struct store *store, struct findings *out)
{
    const struct run_filter filter = {.limit = 1};
    int64_t started = 0;
    struct err ignored;
    if (store_runs_list(store, &filter, keep_start, &started, &ignored) == ERR_NONE &&
        started > clock_now_ms() + CLOCK_SLACK_MS)
        findings_add(out, FINDING_WARN, "clock", "compare it with another one: date -u; timedatectl status",
                     "it was set back: the last run began %lld s later than now",
                     (long long)((started - clock_now_ms()) / 1000));
}

void doctor_store(const char *folder, bool quiet, struct findings *out)
{
    char path[PATH_MAX];
    struct store *store = NULL;
    struct err err;
    struct stat status;
    look_at_space(folder, quiet, out);
    if (snprintf(path, sizeof path, "%s/.workers", folder) >= (int)sizeof path || stat(path, &status) != 0) {
        if (!quiet)
            findings_add(out, FINDING_OK, "store", "", "there is none yet: the first run makes it");
        return;
    }
    if (!look_at_writing(path, quiet, out))
        return;
    enum err_code code = store_open(path, false, &store, &err);
    if (code != ERR_NONE && code != ERR_NOT_FOUND && code != ERR_BUSY)
        findings_add(out, FINDING_FAIL, "store",
                     code == ERR_CONFLICT ? "install that version of workers"
                                          : "put .workers back from a backup, or look at its permissions",
                     "%s", err.message);
    if (store != NULL && !quiet) {
        look_at_integrity(store, out);
        look_at_key(store, out);
        look_at_past(store, out);
    }
    store_close(store);
}

/* ---- the project ---- */

static void look_at_mode(const char *folder, const char *name, enum finding_level level, mode_t wanted,
                         struct findings *out)
{
    char path[PATH_MAX], remedy[64];
    struct stat status;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path || stat(path, &status) != 0)
        return;
    if ((status.st_mode & 077) == 0) {
        findings_add(out, FINDING_OK, "permissions", "", "%s is for its owner only", name);
        return;
    }
    snprintf(remedy, sizeof remedy, "chmod %o %s", (unsigned)wanted, name);
    findings_add(out, level, "permissions", remedy, "%s can be read by others (mode %03o)", name,
                 (unsigned)(status.st_mode & 0777));
}

void doctor_no_log(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                   size_t len)
{
    (void)ctx;
    (void)key;
    (void)run_id;
    (void)level;
    (void)text;
    (void)len;
}

void doctor_tables(const char *folder, const struct worker *worker, struct findings *out)
{
    char path[PATH_MAX];
    struct store *store = NULL;
    struct buf report;
    struct err err;
    if (snprintf(path, sizeof path, "%s/.workers", folder) >= (int)sizeof path ||
        store_open(path, false, &store, &err) != ERR_NONE)
        return;
    buf_init(&report, MIB);
    if (store_use_preview(store, worker, &report, &err) == ERR_CONFLICT)
        findings_add(out, FINDING_FAIL, "schema",
                     "declare the type that the values have, or change the values: workers db schema", "%s",
                     err.message);
    buf_free(&report);
    store_close(store);
}

static void look_at_script(const struct project *project, struct findings *out)
{
    struct runtime *runtime = NULL;
    struct script_error error;
    if (project->script[0] == '\0') {
        findings_add(out, FINDING_OK, "script", "",
                     "a script alone has run here; no workers.yaml names one for the other commands");
        return;
    }
    script_error_init(&error);
    if (cli_runtime_open(project, NULL, doctor_no_log, NULL, &runtime, &error) == ERR_NONE) {
        findings_add(out, FINDING_OK, "script", "", "it loads, and declares %zu capabilities",
                     runtime->worker->capability_count);
        doctor_tables(project->folder, runtime->worker, out);
    } else {
        findings_add(out, FINDING_FAIL, "script", "change the script at that line, then workers check",
                     "it cannot be loaded: %s", error.message);
    }
    runtime_free(runtime);
    script_error_free(&error);
}

static enum err_code ask_version(const char *url, struct buf *version, struct err *err)
{
    struct remote *remote = NULL;
    struct buf answer;
    struct json_slice info;
    const struct remote_question question = {
        .method = "GET", .path = "/openapi.json", .timeout_ms = REMOTE_TIMEOUT_MS};
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = remote_open(url, "none", &remote, err); /* the path is for everybody */
    if (code == ERR_NONE)
        code = remote_ask(remote, &question, &answer, err);
    if (code == ERR_NONE && json_find(buf_text(&answer), answer.len, "info", &info))
        object_add(&info, "version", version);
    remote_close(remote);
    buf_free(&answer);
    return code;
}

static void look_at_server(const struct project *project, struct findings *out)
{
    char url[BEACON_URL_MAX];
    struct err err;
    struct buf version;
    if (beacon_read(project->folder, url, &err) != ERR_NONE) {
        findings_add(out, FINDING_OK, "server", "", "none serves this project (workers serve)");
        return;
    }
    buf_init(&version, BUF_UNLIMITED);
    if (ask_version(url, &version, &err) != ERR_NONE)
        findings_add(out, FINDING_FAIL, "server", "look at its log, and start it anew: workers serve",
                     "one runs, but does not answer: %s", err.message);
    else if (strcmp(buf_text(&version), WORKERS_VERSION) != 0)
        findings_add(out, FINDING_WARN, "server", "start it anew, so that it is this version: workers serve",
                     "%s is workers %s, and this is %s", url, buf_text(&version), WORKERS_VERSION);
    else
        findings_add(out, FINDING_OK, "server", "", "%s, of the same version", url);
    buf_free(&version);
}

static void look_at_project(struct findings *out)
{
    char file[PATH_MAX];
    struct project project = {0};
    struct err err, ignored;
    enum err_code code = project_open(NULL, ".", &project, &err);
    if (code == ERR_NOT_FOUND && config_find(".", file, sizeof file, &ignored) == ERR_NONE) {
        findings_add(out, FINDING_FAIL, "script", "make the file, or change main in workers.yaml", "%s",
                     err.message);
        return;
    }
    if (code == ERR_NOT_FOUND) {
        findings_add(out, FINDING_WARN, "project", "cd into a project, or make one: workers new NAME", "%s",
                     err.message);
        return;
    }
    if (code != ERR_NONE) {
        findings_add(out, FINDING_FAIL, "project", "change workers.yaml there", "%s", err.message);
        return;
    }
    findings_add(out, FINDING_OK, "project", "", "%s", project.folder);
    look_at_script(&project, out);
    look_at_mode(project.folder, ".workers", FINDING_WARN, 0700, out);
    look_at_mode(project.folder, ".workers/key", FINDING_FAIL, 0600, out);
    look_at_mode(project.folder, ".env", FINDING_WARN, 0600, out);
    doctor_store(project.folder, false, out);
    look_at_server(&project, out);
    project_free(&project);
}

void doctor_installation(struct findings *out)
{
    look_at_versions(out);
    look_at_clock(out);
    look_at_zones(out);
    look_at_certificates(out);
    look_at_project(out);
}
