/* The far end of test_due.py. Reads lines from stdin, "ZONE AFTER UNTIL EXPRESSION" with tabs between;
 * moments are Unix milliseconds. Answers each with a line "COUNT MISSED LAST" and the ticks after the one and
 * up to the other moment as 64-bit integers in the machine's order; MISSED and LAST are what timetable_missed
 * says with 3 as its maximum. Or with a line "refused " and the message. */
#include "worker/due.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_COUNT 4

/* Cuts a line at its tabs. */
static bool split(char *line, char *fields[FIELD_COUNT])
{
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < FIELD_COUNT; i++) {
        fields[i] = line;
        char *tab = strchr(line, '\t');
        if (i < FIELD_COUNT - 1) {
            if (tab == NULL)
                return false;
            *tab = '\0';
            line = tab + 1;
        }
    }
    return true;
}

static bool answer(char *fields[FIELD_COUNT], struct err *err)
{
    struct schedule schedule = {.type = SCHEDULE_CRON, .timezone = fields[0], .cron_text = fields[3]};
    struct timetable timetable;
    int64_t after = strtoll(fields[1], NULL, 10), until = strtoll(fields[2], NULL, 10), last = 0;
    if (cron_parse(schedule.cron_text, &schedule.cron, err) != ERR_NONE ||
        timetable_init(&timetable, &schedule, "", "", err) != ERR_NONE)
        return false;
    size_t count = 0, room = 1024;
    int64_t *ticks = malloc(room * sizeof *ticks);
    int64_t at = after, next;
    while ((next = timetable_next(&timetable, at)) <= until && next != TIMETABLE_NEVER) {
        if (next <= at) { /* or it would go on for ever */
            free(ticks);
            err_set(err, ERR_INTERNAL, "the tick after %lld is %lld", (long long)at, (long long)next);
            return false;
        }
        if (count == room)
            ticks = realloc(ticks, (room *= 2) * sizeof *ticks);
        if (ticks == NULL)
            exit(1);
        ticks[count++] = at = next;
    }
    int64_t missed = timetable_missed(&timetable, after, until, 3, &last);
    printf("%zu %lld %lld\n", count, (long long)missed, (long long)last);
    fwrite(ticks, sizeof *ticks, count, stdout);
    free(ticks);
    return true;
}

int main(void)
{
    static char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *fields[FIELD_COUNT];
        struct err err = {.message = ""};
        if (!split(line, fields))
            return 1;
        if (!answer(fields, &err))
            printf("refused %s\n", err.message);
        fflush(stdout);
    }
    return 0;
}
