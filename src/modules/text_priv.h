/* What the files of workers.text share.
 *
 * Who owns what: all memory of a call belongs to its box, a userdata, so that the CPU limit may end the call
 * anywhere. */
#ifndef WORKERS_MODULES_TEXT_PRIV_H
#define WORKERS_MODULES_TEXT_PRIV_H

#include "base/html.h"
#include "net/url.h"
#include "script/options.h"

#include <lua.h>
#include <stdbool.h>

struct text_box {
    struct html html;
    struct buf out;
    struct url base; /* of links */
};

/* Pushes the box. */
struct text_box *text_new_box(lua_State *L);
/* Pushes what box->out holds and releases the box's memory; raises when out has failed. */
int text_push_result(lua_State *L, struct text_box *box, const char *function);

/* Arguments; these raise in the name of text.FUNCTION. text_need_text wants UTF-8, the other any bytes. */
const char *text_need_string(lua_State *L, const char *function, int index, const char *name, size_t *len);
const char *text_need_text(lua_State *L, const char *function, int index, const char *name, size_t *len);
/* True when there is a table of options. */
bool text_check_options(lua_State *L, const char *function, int index, const struct option_spec *specs);
/* Sets *bad to the offset of the first byte that is not UTF-8. Ticks. */
bool text_check_utf8(lua_State *L, const char *text, size_t len, size_t *bad);

/* text_markup.c */
int text_html_to_text(lua_State *L);
int text_html_to_markdown(lua_State *L);
int text_escape_html(lua_State *L);
int text_unescape_html(lua_State *L);
int text_escape_markdown(lua_State *L);
int text_markdown_table(lua_State *L);

#endif
