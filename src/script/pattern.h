/* Lua 5.4 patterns (reference manual, section 6.4.1) whose matching stops when the script is over its CPU
 * limit.
 *
 * The four functions take and return what string.find, string.match, string.gmatch and string.gsub do, with
 * the same error messages. Character classes are those of the C locale, whatever the locale of the process.
 */
#ifndef WORKERS_SCRIPT_PATTERN_H
#define WORKERS_SCRIPT_PATTERN_H

#include <lua.h>

int pattern_find(lua_State *L);   /* (text, pattern [, init [, plain]]) -> first, last, captures... | nil */
int pattern_match(lua_State *L);  /* (text, pattern [, init]) -> captures... | nil */
int pattern_gmatch(lua_State *L); /* (text, pattern [, init]) -> iterator over captures */
int pattern_gsub(lua_State *L);   /* (text, pattern, replacement [, max]) -> text, count */

#endif
