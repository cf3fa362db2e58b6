/* Reading TZif files (RFC 9636, section 3). Must not trust a single number in them. */
#include "base/mem.h"
#include "base/zone_priv.h"

#include <stdio.h>
#include <string.h>

#define HEADER_SIZE 44

/* The six counts of a header, in their order. */
struct counts {
    uint32_t ut_indicators;
    uint32_t standard_indicators;
    uint32_t leap_seconds;
    uint32_t transitions;
    uint32_t types;
    uint32_t characters;
};

static uint32_t big_endian_32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t big_endian_64(const unsigned char *at)
{
    return (int64_t)((uint64_t)big_endian_32(at) << 32 | big_endian_32(at + 4));
}

static enum err_code corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "it is not a valid TZif file: %s", what);
}

static enum err_code read_header(const unsigned char *bytes, size_t len, struct counts *out, struct err *err)
{
    if (len < HEADER_SIZE || memcmp(bytes, "TZif", 4) != 0)
        return corrupt(err, "it has no header");
    if (bytes[4] < '2')
        return corrupt(err, "it has version 1, whose times end in 2037; version 2 or later is needed");
    uint32_t counts[6];
    for (size_t i = 0; i < 6; i++) {
        counts[i] = big_endian_32(bytes + 20 + 4 * i);
        if (counts[i] > len)
            return corrupt(err, "it is cut off");
    }
    *out = (struct counts){counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]};
    return ERR_NONE;
}

/* Bytes of the block behind a header. The counts are below ZONE_FILE_MAX each, so nothing overflows. */
static size_t block_size(const struct counts *c, size_t time_size)
{
    return (size_t)c->transitions * (time_size + 1) + (size_t)c->types * 6 + c->characters +
           (size_t)c->leap_seconds * (time_size + 4) + c->standard_indicators + c->ut_indicators;
}

static enum err_code check_counts(const struct counts *c, struct err *err)
{
    if (c->types < 1 || c->types > 256 || c->characters < 1)
        return corrupt(err, "it has no types of local time, or too many");
    if ((c->ut_indicators != 0 && c->ut_indicators != c->types) ||
        (c->standard_indicators != 0 && c->standard_indicators != c->types))
        return corrupt(err, "it has indicators for some types only");
    if (c->leap_seconds != 0)
        return corrupt(err, "it counts leap seconds, which Unix time does not");
    return ERR_NONE;
}

static enum err_code read_types(const unsigned char *records, const char *names, const struct counts *c,
                                struct zone_type *out, struct err *err)
{
    for (size_t i = 0; i < c->types; i++, records += 6) {
        uint32_t seconds = big_endian_32(records);
        /* Two's complement; the narrowing is defined by every compiler that we build with. */
        out[i].seconds = (int32_t)seconds;
        if (out[i].seconds < ZONE_OFFSET_MIN || out[i].seconds > ZONE_OFFSET_MAX)
            return corrupt(err, "an offset is further than 26 hours");
        if (records[4] > 1)
            return corrupt(err, "a daylight saving flag is neither 0 nor 1");
        out[i].is_dst = records[4] == 1;
        size_t index = records[5];
        if (index >= c->characters)
            return corrupt(err, "an abbreviation is outside");
        const char *name = names + index;
        const char *end = memchr(name, '\0', c->characters - index);
        if (end == NULL || end == name || end - name > ZONE_ABBREVIATION_MAX)
            return corrupt(err, "an abbreviation has no end, no characters or too many");
        for (const char *at = name; at < end; at++) {
            if (!((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') ||
                  *at == '+' || *at == '-'))
                return corrupt(err, "an abbreviation has odd characters");
        }
        memcpy(out[i].abbreviation, name, (size_t)(end - name) + 1);
    }
    return ERR_NONE;
}

static enum err_code read_transitions(const unsigned char *bytes, const struct counts *c, int64_t *times,
                                      uint8_t *types, struct err *err)
{
    const unsigned char *indices = bytes + (size_t)c->transitions * 8;
    for (size_t i = 0; i < c->transitions; i++) {
        times[i] = big_endian_64(bytes + 8 * i);
        if (i > 0 && times[i] <= times[i - 1])
            return corrupt(err, "its transitions are not in order");
        types[i] = indices[i];
        if (types[i] >= c->types)
            return corrupt(err, "a transition leads to a type that is not there");
    }
    return ERR_NONE;
}

/* "\n<TZ string>\n"; the string may be empty. */
static enum err_code read_footer(const char *text, size_t len, struct zone *zone, struct err *err)
{
    if (len == 0 || text[0] != '\n')
        return corrupt(err, "it has no footer");
    const char *end = memchr(text + 1, '\n', len - 1);
    if (end == NULL)
        return corrupt(err, "its footer has no end");
    zone->has_rule = end > text + 1;
    if (!zone->has_rule)
        return ERR_NONE;
    return zone_rule_read(text + 1, (size_t)(end - text) - 1, &zone->rule, err);
}

enum err_code zone_read(const char *name, const void *data, size_t len, struct zone **out, struct err *err)
{
    const unsigned char *bytes = data;
    struct counts c;
    if (len > ZONE_FILE_MAX)
        return err_set(err, ERR_CORRUPT, "it is larger than %d bytes", ZONE_FILE_MAX);
    if (read_header(bytes, len, &c, err) != ERR_NONE)
        return ERR_CORRUPT;
    /* The first block is for readers of 32-bit times. */
    size_t skipped = HEADER_SIZE + block_size(&c, 4);
    if (skipped > len)
        return corrupt(err, "it is cut off");
    bytes += skipped;
    len -= skipped;
    if (read_header(bytes, len, &c, err) != ERR_NONE || check_counts(&c, err) != ERR_NONE)
        return ERR_CORRUPT;
    bytes += HEADER_SIZE;
    len -= HEADER_SIZE;
    size_t block = block_size(&c, 8);
    if (block > len)
        return corrupt(err, "it is cut off");

    /* Behind the zone the arrays, those with the widest items first, so that all are aligned. */
    size_t times_size = c.transitions * sizeof(int64_t);
    size_t types_size = c.types * sizeof(struct zone_type);
    struct zone *zone = mem_zalloc(sizeof *zone + times_size + types_size + c.transitions);
    if (zone == NULL)
        return err_nomem(err);
    int64_t *times = (int64_t *)(zone + 1);
    struct zone_type *types = (struct zone_type *)(times + c.transitions);
    uint8_t *transition_types = (uint8_t *)(types + c.types);
    snprintf(zone->name, sizeof zone->name, "%s", name);
    zone->type_count = c.types;
    zone->transition_count = c.transitions;
    zone->types = types;
    zone->transitions = times;
    zone->transition_types = transition_types;
    const unsigned char *records = bytes + (size_t)c.transitions * 9;
    const char *names = (const char *)records + (size_t)c.types * 6;
    if (read_transitions(bytes, &c, times, transition_types, err) != ERR_NONE ||
        read_types(records, names, &c, types, err) != ERR_NONE ||
        read_footer((const char *)bytes + block, len - block, zone, err) != ERR_NONE) {
        mem_free(zone);
        return ERR_CORRUPT;
    }
    *out = zone;
    return ERR_NONE;
}
