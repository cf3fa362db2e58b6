/* When something runs: continuous, manual, an interval, or cron in a time zone. */
#ifndef WORKERS_WORKER_SCHEDULE_H
#define WORKERS_WORKER_SCHEDULE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum schedule_type { SCHEDULE_CONTINUOUS, SCHEDULE_MANUAL, SCHEDULE_INTERVAL, SCHEDULE_CRON };

/* The five fields as sets of allowed values: bit n says that value n matches. No set is empty. */
struct cron {
    uint64_t minutes;  /* 0–59 */
    uint32_t hours;    /* 0–23 */
    uint32_t days;     /* 1–31, and CRON_LAST_DAY for the last day of any month */
    uint32_t months;   /* 1–12 */
    uint32_t weekdays; /* 0–6, Sunday is 0 */
    bool any_day;      /* the day field was *, so only the weekday decides, and the other way round */
    bool any_weekday;
};

#define CRON_LAST_DAY 0

/* What becomes of ticks that nobody was there for. */
enum schedule_missed {
    MISSED_ONCE, /* one run stands for all of them */
    MISSED_SKIP, /* they are lost */
    MISSED_ALL,  /* of a job: every one is made up for, one after the other */
};
#define MISSED_MAX 1000 /* made up for at most */

struct schedule {
    enum schedule_type type;
    enum schedule_missed missed;
    int64_t interval_ms; /* 60,000 to 604,800,000 */
    struct cron cron;
    const char *cron_text; /* owned by the worker */
    const char *timezone;  /* IANA name, owned by the worker */
};

#define SCHEDULE_DEFAULT_MS ((int64_t)30 * 60 * 1000)

/* "continuous", "manual" or <n>m, <n>h, <n>d from 1m to 7d. */
enum err_code schedule_parse(const char *text, struct schedule *out, struct err *err) MUST_CHECK;
/* Five fields: minute hour day-of-month month day-of-week, with * , - / and English names of months and days,
 * and L among the days of the month (POSIX crontab, and the extensions of Vixie cron for steps and names); or
 * one of the names @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. When a schedule is due
 * says worker/due.h. */
enum err_code cron_parse(const char *text, struct cron *out, struct err *err) MUST_CHECK;

/* "once", "skip", "all"; false when it is none of them. */
bool schedule_missed_parse(const char *text, enum schedule_missed *out) MUST_CHECK;

/* The manifest's form. */
void schedule_write(const struct schedule *schedule, struct buf *out);
/* For people: "every 30m", "manual", "cron 0 9 * * 1-5 Europe/Berlin". */
void schedule_describe(const struct schedule *schedule, struct buf *out);

#endif
