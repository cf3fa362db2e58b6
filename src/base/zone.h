/* Time zones by their IANA names, from the system's time-zone database: TZif files of version 2 and later
 * (RFC 9636, which replaced RFC 8536), with the POSIX TZ string at their end for what comes after the last
 * transition.
 *
 * Who owns what: zones belong to this file. One that was found lives, unchanged, as long as the process; a
 * database that is updated meanwhile counts after the next start. All functions may be called from any
 * thread.
 *
 * The database is the folder $TZDIR, or else the first of ZONE_FOLDERS that exists. Its files are checked
 * like any other input; those with leap seconds ("right/…") are not for Unix time and are refused. Neither TZ
 * nor the C library's time zone plays a part. "UTC" is there without a database.
 *
 * Moments are Unix milliseconds. Local times are milliseconds too: what a moment would be if the local clock
 * showed UTC. Callers keep both within ISO_MIN_MS and ISO_MAX_MS (base/iso8601.h), give or take two days. */
#ifndef WORKERS_BASE_ZONE_H
#define WORKERS_BASE_ZONE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define ZONE_FOLDERS "/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"
#define ZONE_NAME_MAX 63          /* bytes; the longest name has 32 */
#define ZONE_FILE_MAX (64 * 1024) /* bytes; the largest file has 4,000 */
#define ZONE_COUNT_MAX 1024       /* zones in memory; there are 600 names */

struct zone;

/* ERR_NOT_FOUND for what is no name in the database, with the nearest that is; ERR_CORRUPT for a file that is
 * not as the specification says; ERR_IO, ERR_NOMEM, ERR_LIMIT. */
enum err_code zone_find(const char *name, size_t len, const struct zone **out, struct err *err) MUST_CHECK;

const struct zone *zone_utc(void);
const char *zone_name(const struct zone *zone);

/* What the clocks of a zone do at a moment. */
struct zone_offset {
    int seconds; /* east of UTC; whole minutes in most places since about 1900, everywhere since 1972 */
    bool is_dst; /* as the database says; in Ireland and Morocco that is the winter's, or Ramadan's, time */
    const char *abbreviation; /* "CET", or "+03" where there is no letter form; the zone's */
};

struct zone_offset zone_offset_at(const struct zone *zone, int64_t ms);

/* The first moment after ms at which offset, abbreviation or is_dst change; false when there is none before
 * the year 10000. */
bool zone_next_transition(const struct zone *zone, int64_t ms, int64_t *at);

enum zone_local {
    ZONE_ONCE,     /* both moments are the same */
    ZONE_REPEATED, /* clocks were set back: it is shown twice, or more often: first and last are given */
    ZONE_SKIPPED,  /* clocks were set forward over it: it is never shown */
};

/* The moments at which local clocks show a time. For a time that was skipped, *later is as if clocks had not
 * been set forward yet (it shows as much later as clocks were moved), and *earlier as if they had been
 * already; the transition lies in between: zone_next_transition(zone, *earlier, …). */
enum zone_local zone_from_local(const struct zone *zone, int64_t local_ms, int64_t *earlier, int64_t *later);

#endif
