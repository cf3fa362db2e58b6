/* libFuzzer harness for TZif files: no file may crash, and what a zone says of moments and of local times
 * must go together.
 *
 * The first byte chooses: 0 takes the rest as the whole file; other values build a file around the rest, with
 * valid headers, so that the checks behind them are reached. */
#include "base/iso8601.h"
#include "base/mem.h"
#include "base/zone_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BUILT_MAX 4096

static void broken(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static void check_moment(const struct zone *zone, int64_t ms)
{
    struct zone_offset offset = zone_offset_at(zone, ms);
    int64_t earlier, later, next;
    if (strlen(offset.abbreviation) > ZONE_ABBREVIATION_MAX)
        broken("a long abbreviation");
    enum zone_local kind = zone_from_local(zone, ms + (int64_t)offset.seconds * 1000, &earlier, &later);
    if (kind == ZONE_SKIPPED || earlier > ms || later < ms || (kind == ZONE_ONCE) != (earlier == later))
        broken("a moment's local time is not at the moment");
    kind = zone_from_local(zone, ms, &earlier, &later);
    if (kind == ZONE_SKIPPED) {
        if (earlier >= later || !zone_next_transition(zone, earlier, &next) || next > later)
            broken("no transition skips the time that is skipped");
    } else if (earlier + (int64_t)zone_offset_at(zone, earlier).seconds * 1000 != ms ||
               later + (int64_t)zone_offset_at(zone, later).seconds * 1000 != ms) {
        broken("a local time is not shown at its moment");
    }
}

static void check_zone(const struct zone *zone)
{
    int64_t at = ISO_MIN_MS;
    for (int i = 0; i < 40; i++) {
        check_moment(zone, at);
        check_moment(zone, at - 1);
        int64_t next;
        if (!zone_next_transition(zone, at, &next))
            break;
        if (next <= at)
            broken("the next transition is not later");
        at = next;
    }
    for (size_t i = 0; i < zone->transition_count && i < 40; i++) {
        int64_t seconds = zone->transitions[i];
        if (seconds > ISO_MIN_MS / 1000 && seconds < ISO_MAX_MS / 1000) {
            check_moment(zone, seconds * 1000);
            check_moment(zone, seconds * 1000 - 1);
        }
    }
    check_moment(zone, 1719835509078);
    check_moment(zone, ISO_MAX_MS);
}

static size_t put_header(unsigned char *out, uint8_t transitions, uint8_t types, uint8_t characters)
{
    memset(out, 0, 44);
    memcpy(out, "TZif2", 5);
    out[35] = transitions;
    out[39] = types;
    out[43] = characters;
    return 44;
}

/* A first block of one type; in the second as many transitions and types as two bytes say. Times are
 * ascending sums of two bytes, so that files with transitions get through; the footer is what is left. */
static size_t build(const uint8_t *data, size_t size, unsigned char out[BUILT_MAX])
{
    uint8_t transitions = data[0] % 64, types = data[1] % 8 + 1;
    static const char names[] = "LMT\0+0130\0A";
    size_t needed = 3 + (size_t)transitions * 3 + (size_t)types * 6;
    if (size < needed || size - needed > BUILT_MAX / 4)
        return 0;
    int64_t time = (int64_t)(int8_t)data[2] * 400000000;
    data += 3;
    size_t len = put_header(out, 0, 1, 1);
    len += 7;
    memset(out + 44, 0, 7);
    len += put_header(out + len, transitions, types, sizeof names);
    for (int i = 0; i < transitions; i++, data += 2) {
        time += ((int64_t)data[0] << (data[1] % 24)) + 1;
        for (int shift = 56; shift >= 0; shift -= 8)
            out[len++] = (unsigned char)((uint64_t)time >> shift);
    }
    for (int i = 0; i < transitions; i++)
        out[len++] = (unsigned char)(*data++ % types);
    for (int i = 0; i < types; i++, data += 6) {
        int32_t seconds = (int32_t)((data[0] << 8 | data[1]) * 2) - 65535;
        for (int shift = 24; shift >= 0; shift -= 8)
            out[len++] = (unsigned char)((uint32_t)seconds >> shift);
        out[len++] = data[4] & 1;
        out[len++] = data[5] % 11;
    }
    memcpy(out + len, names, sizeof names);
    len += sizeof names;
    out[len++] = '\n';
    memcpy(out + len, data, size - needed);
    len += size - needed;
    out[len++] = '\n';
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    unsigned char built[BUILT_MAX];
    const void *file = data + 1;
    size_t len = size - 1;
    if (data[0] != 0) {
        len = build(data + 1, size - 1, built);
        file = built;
    }
    struct zone *zone = NULL;
    struct err err;
    if (zone_read("Fuzz", file, len, &zone, &err) == ERR_NONE)
        check_zone(zone);
    else if (err.message[0] == '\0')
        broken("no message");
    mem_free(zone);
    return 0;
}
