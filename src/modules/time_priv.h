/* What the files of workers.time share: checks of arguments, and the functions for its table.
 *
 * Who owns what: zones live as long as the process; nothing here is to be freed. */
#ifndef WORKERS_MODULES_TIME_PRIV_H
#define WORKERS_MODULES_TIME_PRIV_H

#include "base/zoned.h"

#include <lua.h>

/* The argument must be a moment; fractions of a millisecond are cut off, downwards. */
int64_t time_check_moment(lua_State *L, const char *function, int index, const char *name);
const char *time_check_text(lua_State *L, const char *function, int index, const char *name, size_t *len);
/* The zone named by the argument, or UTC when it is absent. */
const struct zone *time_check_zone(lua_State *L, const char *function, int index);

/* How local times become moments. */
struct time_choice {
    const struct zone *zone; /* NULL: none was named */
    struct zoned_policy policy;
};

/* The argument is absent, the name of a zone, or a table with zone, repeated and skipped. */
struct time_choice time_check_choice(lua_State *L, const char *function, int index);

/* Raises "time.<function>: <message>" at the caller's line. */
int time_raise(lua_State *L, const char *function, const struct err *err);

void time_set_integer(lua_State *L, const char *name, lua_Integer value);

/* time_calendar.c */
int time_fields(lua_State *L);
int time_of(lua_State *L);
int time_offset(lua_State *L);
int time_add(lua_State *L);
int time_start_of(lua_State *L);
int time_diff(lua_State *L);
int time_duration(lua_State *L);
int time_from_duration(lua_State *L);

#endif
