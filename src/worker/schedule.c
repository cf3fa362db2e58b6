/* Parsing schedules. Must not compute when to run; that is due.c's. */
#include "worker/schedule.h"

#include "base/json.h"
#include "base/text.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MINUTE_MS ((int64_t)60 * 1000)
#define MIN_INTERVAL_MS MINUTE_MS
#define MAX_INTERVAL_MS (7 * 24 * 60 * MINUTE_MS)

enum err_code schedule_parse(const char *text, struct schedule *out, struct err *err)
{
    *out = (struct schedule){0};
    if (strcmp(text, "continuous") == 0) {
        out->type = SCHEDULE_CONTINUOUS;
        return ERR_NONE;
    }
    if (strcmp(text, "manual") == 0) {
        out->type = SCHEDULE_MANUAL;
        return ERR_NONE;
    }
    int64_t value = 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at); at++)
        value = value < MAX_INTERVAL_MS ? value * 10 + (*at - '0') : value;
    int64_t unit = *at == 'm'   ? MINUTE_MS
                   : *at == 'h' ? 60 * MINUTE_MS
                   : *at == 'd' ? 24 * 60 * MINUTE_MS
                                : 0;
    if (at == text || unit == 0 || at[1] != '\0')
        return err_set(
            err, ERR_INVALID,
            "invalid schedule \"%s\": use \"continuous\", \"manual\", an interval from \"1m\" to \"7d\" "
            "such as \"30m\" or \"1h\", or { cron = \"0 9 * * 1-5\", timezone = \"Europe/Berlin\" }",
            text);
    if (value > MAX_INTERVAL_MS / unit || value * unit < MIN_INTERVAL_MS)
        return err_set(err, ERR_INVALID, "schedule \"%s\" is out of range: intervals go from 1m to 7d", text);
    out->type = SCHEDULE_INTERVAL;
    out->interval_ms = value * unit;
    return ERR_NONE;
}

struct field {
    const char *name;
    int min, max;
    const char *const *words; /* names of the values, from words_from on */
    int words_from;
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

enum { MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, FIELD_COUNT };

static const struct field fields[FIELD_COUNT] = {
    {"minute", 0, 59, NULL, 0},          {"hour", 0, 23, NULL, 0},
    {"day of month", 1, 31, NULL, 0},    {"month", 1, 12, month_names, 1},
    {"day of week", 0, 7, day_names, 0}, /* 7 is Sunday as well */
};

/* One number or name; -1 when there is none. */
static int cron_value(const char **at, const struct field *field)
{
    if (isdigit((unsigned char)**at)) {
        int value = 0;
        for (; isdigit((unsigned char)**at); (*at)++)
            value = value < 1000 ? value * 10 + (**at - '0') : value;
        return value;
    }
    for (int i = 0; field->words != NULL && field->words[i] != NULL; i++) {
        if (strncasecmp(*at, field->words[i], 3) == 0) {
            *at += 3;
            return field->words_from + i;
        }
    }
    return -1;
}

/* One item of a list, such as 5, 1-5, every fifteenth, or L. */
static bool cron_item(const char **at, const struct field *field, uint64_t *out)
{
    int low = field->min, high = field->max, step = 1;
    bool single = false;
    if (field == &fields[DAY_OF_MONTH] && (**at == 'L' || **at == 'l')) {
        (*at)++;
        *out |= (uint64_t)1 << CRON_LAST_DAY;
        return true;
    }
    if (**at == '*') {
        (*at)++;
    } else {
        low = cron_value(at, field);
        high = low;
        single = true;
        if (**at == '-') {
            (*at)++;
            high = cron_value(at, field);
            single = false;
        }
    }
    if (**at == '/') {
        (*at)++;
        step = isdigit((unsigned char)**at) ? cron_value(at, field) : 0;
        if (single)
            high = field->max;
    }
    if (low < field->min || high > field->max || low > high || step < 1)
        return false;
    for (int value = low; value <= high; value += step)
        *out |= (uint64_t)1 << value;
    return true;
}

static enum err_code cron_field(const char *text, size_t len, const struct field *field, uint64_t *out,
                                struct err *err)
{
    char copy[128];
    if (len >= sizeof copy)
        return err_set(err, ERR_INVALID, "cron: the %s field is too long", field->name);
    memcpy(copy, text, len);
    copy[len] = '\0';
    const char *at = copy;
    *out = 0;
    do {
        if (!cron_item(&at, field, out) || (*at != ',' && *at != '\0'))
            return err_set(err, ERR_INVALID,
                           "cron: \"%s\" is not a valid %s field: use * or values from %d to %d, as in "
                           "5, 1-5, */15 or 1,3",
                           copy, field->name, field->min, field->max);
    } while (*at++ == ',');
    return ERR_NONE;
}

/* The names of Vixie cron, but for @reboot, which is no time. */
static const char *const alias_names[] = {"@hourly",  "@daily",  "@midnight", "@weekly",
                                          "@monthly", "@yearly", "@annually"};
static const char *const alias_fields[] = {"0 * * * *", "0 0 * * *", "0 0 * * *", "0 0 * * 0",
                                           "0 0 1 * *", "0 0 1 1 *", "0 0 1 1 *"};
#define ALIAS_COUNT (sizeof alias_names / sizeof alias_names[0])

/* The fields that a name stands for; NULL when it is none. */
static const char *cron_alias(const char *text, struct err *err)
{
    size_t len = strcspn(text, " \t");
    if (text[len + strspn(text + len, " \t")] == '\0') {
        for (size_t i = 0; i < ALIAS_COUNT; i++) {
            if (strlen(alias_names[i]) == len && memcmp(text, alias_names[i], len) == 0)
                return alias_fields[i];
        }
    }
    int nearest = text_nearest(text, len, alias_names, ALIAS_COUNT);
    if (nearest >= 0)
        err_set(err, ERR_INVALID, "cron: \"%s\" is not the name of a schedule; did you mean \"%s\"?", text,
                alias_names[nearest]);
    else
        err_set(err, ERR_INVALID,
                "cron: \"%s\" is not the name of a schedule: use @hourly, @daily, @weekly, @monthly, @yearly "
                "or five fields",
                text);
    return NULL;
}

enum err_code cron_parse(const char *text, struct cron *out, struct err *err)
{
    uint64_t sets[FIELD_COUNT] = {0};
    bool any[FIELD_COUNT] = {false};
    text += strspn(text, " \t");
    if (*text == '@' && (text = cron_alias(text, err)) == NULL)
        return ERR_INVALID;
    const char *at = text;
    for (int i = 0; i < FIELD_COUNT; i++) {
        at += strspn(at, " \t");
        size_t len = strcspn(at, " \t");
        if (len == 0)
            return err_set(
                err, ERR_INVALID,
                "cron: \"%s\" has %d fields; it needs five: minute hour day-of-month month day-of-week", text,
                i);
        enum err_code code = cron_field(at, len, &fields[i], &sets[i], err);
        if (code != ERR_NONE)
            return code;
        any[i] = at[0] == '*' && len == 1;
        at += len;
    }
    at += strspn(at, " \t");
    if (*at != '\0')
        return err_set(err, ERR_INVALID,
                       "cron: \"%s\" has more than five fields (minute hour day-of-month month day-of-week)",
                       text);
    if (sets[DAY_OF_WEEK] & (1u << 7))
        sets[DAY_OF_WEEK] |= 1;
    *out = (struct cron){.minutes = sets[MINUTE],
                         .hours = (uint32_t)sets[HOUR],
                         .days = (uint32_t)sets[DAY_OF_MONTH],
                         .months = (uint32_t)sets[MONTH],
                         .weekdays = (uint32_t)(sets[DAY_OF_WEEK] & 0x7f),
                         .any_day = any[DAY_OF_MONTH],
                         .any_weekday = any[DAY_OF_WEEK]};
    return ERR_NONE;
}

bool schedule_missed_parse(const char *text, enum schedule_missed *out)
{
    static const char *const names[] = {"once", "skip", "all"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *out = (enum schedule_missed)i;
        if (strcmp(text, names[i]) == 0)
            return true;
    }
    return false;
}

/* What the original does not have is written only where it is set. */
static void write_missed(const struct schedule *schedule, struct buf *out)
{
    if (schedule->missed != MISSED_ONCE)
        buf_adds(out, schedule->missed == MISSED_SKIP ? ",\"missed\":\"skip\"" : ",\"missed\":\"all\"");
    buf_addc(out, '}');
}

void schedule_write(const struct schedule *schedule, struct buf *out)
{
    switch (schedule->type) {
    case SCHEDULE_CONTINUOUS:
        buf_adds(out, "{\"type\":\"continuous\"}");
        break;
    case SCHEDULE_MANUAL:
        buf_adds(out, "{\"type\":\"manual\"}");
        break;
    case SCHEDULE_INTERVAL:
        buf_addf(out, "{\"type\":\"interval\",\"intervalMs\":%lld", (long long)schedule->interval_ms);
        write_missed(schedule, out);
        break;
    case SCHEDULE_CRON:
        buf_adds(out, "{\"type\":\"cron\",\"cron\":");
        json_write_text(out, schedule->cron_text);
        buf_adds(out, ",\"timezone\":");
        json_write_text(out, schedule->timezone);
        write_missed(schedule, out);
        break;
    }
}

void schedule_describe(const struct schedule *schedule, struct buf *out)
{
    int64_t minutes = schedule->interval_ms / MINUTE_MS;
    switch (schedule->type) {
    case SCHEDULE_CONTINUOUS:
        buf_adds(out, "continuous");
        break;
    case SCHEDULE_MANUAL:
        buf_adds(out, "manual");
        break;
    case SCHEDULE_INTERVAL:
        if (minutes % (24 * 60) == 0)
            buf_addf(out, "every %lldd", (long long)(minutes / (24 * 60)));
        else if (minutes % 60 == 0)
            buf_addf(out, "every %lldh", (long long)(minutes / 60));
        else
            buf_addf(out, "every %lldm", (long long)minutes);
        break;
    case SCHEDULE_CRON:
        buf_addf(out, "cron %s %s", schedule->cron_text, schedule->timezone);
        break;
    }
}
