/* When a schedule is due: its ticks, as pure functions of the schedule and a moment. No clock is read,
 * nothing is stored; the same question has the same answer after every restart and on every machine with the
 * same time-zone database.
 *
 * Who owns what: the caller owns the struct, which needs no release and keeps nothing of the schedule; its
 * zone lives as long as the process. Functions may be called from any thread.
 *
 * Moments are Unix milliseconds. Ticks lie within ISO_MIN_MS and ISO_MAX_MS (base/iso8601.h); moments to ask
 * about may be any.
 *
 * Intervals tick at phase + k * interval for every integer k. The phase is below the interval and comes from
 * the names of the worker and of the capability, so that many syncs with one interval are spread over it: the
 * 64-bit FNV-1a hash of the worker's name, a zero byte and the capability's name, its bits mixed by the
 * finaliser of MurmurHash3 (fmix64), modulo the interval. Another hash would move the ticks of every sync
 * that exists.
 *
 * Cron expressions tick at the beginning of each minute that all fields match as clocks of the zone show it;
 * when both day fields are restricted, a day that either matches will do. A field is not restricted when it
 * is a lone asterisk. Where clocks are set forward or back:
 *
 *   - An expression whose hour field has all 24 hours, however it is written, means time that elapses. It
 *     ticks whenever clocks show a minute that matches: in an hour that is shown twice both times, in one
 * that is skipped never.
 *   - Any other expression means times of the day. Each is due once, at the first moment when clocks show it
 *     or a later time. So a time that is shown twice counts the first time; one that is skipped is due when
 *     clocks are set forward, and so are all others that are skipped there: together they are one tick, also
 *     with one that is due at that moment anyway.
 *
 * How far clocks are moved makes no difference: half an hour (Lord Howe) or a day (Samoa in 2011). */
#ifndef WORKERS_WORKER_DUE_H
#define WORKERS_WORKER_DUE_H

#include "base/zone.h"
#include "worker/schedule.h"

#define TIMETABLE_NEVER INT64_MAX

struct timetable {
    enum schedule_type type;
    int64_t interval_ms; /* intervals */
    int64_t phase_ms;
    struct cron cron; /* cron expressions */
    const struct zone *zone;
};

/* Finds the zone. The errors are those of zone_find. worker and capability are the names; for cron they make
 * no difference. */
enum err_code timetable_init(struct timetable *out, const struct schedule *schedule, const char *worker,
                             const char *capability, struct err *err) MUST_CHECK;

/* The first tick after after_ms, never at it. TIMETABLE_NEVER when there is none: of "manual", after the year
 * 9999, and of a cron expression for a date that does not come, such as 31 February. A continuous schedule
 * has no ticks, it is due at once: the result is after_ms. */
int64_t timetable_next(const struct timetable *timetable, int64_t after_ms);

/* How many ticks there are after after_ms and up to ms, which counts; no more than max (at least 1) are
 * counted. Unless that is 0, *last_ms becomes the last of them, also of those that are not counted. 0 for
 * continuous and manual schedules. Takes as long as counting does: a cron expression that ticks every minute
 * has half a million in a year. */
int64_t timetable_missed(const struct timetable *timetable, int64_t after_ms, int64_t ms, int64_t max,
                         int64_t *last_ms);

#endif
