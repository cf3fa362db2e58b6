/* Property values: what Builder.* makes, and what a property stores.
 *
 * Who owns what: a struct value is a Lua userdata and belongs to Lua; cells point into the arena or the value
 * that they were made from. */
#ifndef WORKERS_WORKER_VALUE_H
#define WORKERS_WORKER_VALUE_H

#include "base/arena.h"
#include "base/buf.h"
#include "worker/worker.h"

#include <lua.h>

enum builder {
    BUILDER_TITLE,
    BUILDER_RICH_TEXT,
    BUILDER_TEXT,
    BUILDER_URL,
    BUILDER_EMAIL,
    BUILDER_PHONE,
    BUILDER_SELECT,
    BUILDER_STATUS,
    BUILDER_LINK,      /* parts: text, url */
    BUILDER_CHECKBOX,  /* flag */
    BUILDER_FILE,      /* parts: url, name (may be missing) */
    BUILDER_NUMBER,    /* number or integer */
    BUILDER_DATE,      /* parts: date */
    BUILDER_DATE_TIME, /* parts: datetime, time zone (may be missing) */
    BUILDER_DATE_RANGE,
    BUILDER_DATE_TIME_RANGE, /* parts: start, end, time zone (may be missing) */
    BUILDER_MULTI_SELECT,
    BUILDER_PEOPLE,
    BUILDER_PLACE, /* latitude, longitude; parts: name, address, googlePlaceId (may be missing) */
    BUILDER_RELATION,
    BUILDER_EMOJI_ICON,
    BUILDER_NOTION_ICON, /* parts: icon, color */
    BUILDER_IMAGE_ICON,
    BUILDER_IMAGE_COVER, /* parts: url; number: position */
};

#define VALUE_NO_PART UINT32_MAX /* length of a part that was not given */

struct value_part {
    uint32_t offset; /* from the first byte after the parts */
    uint32_t len;
};

struct value {
    const void *magic; /* tells a value from other userdata */
    enum builder builder;
    bool flag;
    bool is_integer;
    int64_t integer;
    double number; /* also latitude */
    double second; /* longitude */
    uint32_t part_count;
    struct value_part parts[];
};

extern const char value_magic;

/* The value at index, NULL when it is something else. */
const struct value *value_at(lua_State *L, int index);
bool value_is_icon(lua_State *L, int index);
bool value_is_cover(lua_State *L, int index);
const char *value_part(const struct value *value, uint32_t part, size_t *len); /* NULL when not given */
const char *builder_name(enum builder builder);                                /* "title", "dateTime", … */

/* The JSON that the original SDK gives for the same builder call. */
enum err_code value_write_json(const struct value *value, struct buf *out, struct err *err) MUST_CHECK;

/* What goes into one column. */
enum cell_type { CELL_NULL, CELL_INTEGER, CELL_REAL, CELL_TEXT };

struct cell {
    enum cell_type type;
    union {
        int64_t integer;
        double real;
        const char *text;
    };
    size_t len; /* of the text */
};

/* Called for every option of a select, multi-select or status that the schema does not declare (not when
 * strict). */
struct option_sink {
    enum err_code (*undeclared)(void *ctx, const struct property *property, const char *name, size_t len,
                                struct err *err);
    void *ctx;
};

/* Converts the Lua value at the absolute index (a Builder value, or a plain value whose meaning is clear) for
 * the property. end is used by date ranges. Texts are copied into arena. scratch is for building JSON. The
 * error says expected and got. Never raises; uses raw access only, and up to 6 places on the stack, which the
 * caller has made sure of. */
enum err_code value_to_cells(lua_State *L, int index, const struct property *property,
                             const struct option_sink *options, struct arena *arena, struct buf *scratch,
                             struct cell *cell, struct cell *end, struct err *err) MUST_CHECK;

#endif
