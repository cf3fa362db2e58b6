/* What the files of workers.xml share.
 *
 * Who owns what: nodes are tables of Lua; what an xml_pattern points to belongs to the string it was made of.
 */
#ifndef WORKERS_MODULES_XML_PRIV_H
#define WORKERS_MODULES_XML_PRIV_H

#include "base/xml.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define XML_TICK_EVERY 512 /* nodes between two ticks of the CPU limit */

/* Which elements are meant: "name" in any namespace, "{uri}name" in that one ("{}name": in none),
 * "prefix:name" as the document writes it, "*" all. */
struct xml_pattern {
    const char *name; /* NULL: any */
    size_t name_len;
    const char *space; /* NULL: any */
    size_t space_len;
    const char *prefix; /* NULL: any */
    size_t prefix_len;
};

/* One pattern, which ends before end; false when it is none. */
bool xml_pattern_parse(const char *text, const char *end, struct xml_pattern *pattern);
bool xml_pattern_fits(const struct xml_pattern *pattern, const struct xml_name *name);
/* The same for the value at index, which may be no element. */
bool xml_pattern_fits_node(lua_State *L, int index, const struct xml_pattern *pattern);

/* Whether the bytes are characters that XML 1.0 has, in UTF-8; else *bad is the first that are not. */
bool xml_is_text(const char *text, size_t len, size_t *bad);

/* xml_read.c: xml.parse, xml.events, xml.elements, and the metatable of their boxes */
int xml_parse_call(lua_State *L);
int xml_events_call(lua_State *L);
int xml_elements_call(lua_State *L);
void xml_reading_open(lua_State *L);

/* xml_write.c: xml.encode, xml.escape, and the metatable of their boxes */
int xml_encode_call(lua_State *L);
int xml_escape_call(lua_State *L);
void xml_writing_open(lua_State *L);

#endif
