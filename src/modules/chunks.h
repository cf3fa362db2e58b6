/* A text that a script gives whole or in pieces, for parsers that work in slices: a string; a function that
 * returns the next string, and nil at the end; or a value with such a method read, as a streamed response has
 * it.
 *
 * Who owns what: a userdata box of the module holds the string at hand, the function and the value that it is
 * called with as its user values CHUNKS_STRING, CHUNKS_FUNCTION and CHUNKS_SELF; the struct lies in that box.
 */
#ifndef WORKERS_MODULES_CHUNKS_H
#define WORKERS_MODULES_CHUNKS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define CHUNKS_STRING 1
#define CHUNKS_FUNCTION 2
#define CHUNKS_SELF 3
#define CHUNKS_VALUES 3 /* user values from here on are the module's own */
#define CHUNKS_SLICE ((size_t)64 * 1024)

struct chunks {
    const char *data; /* of the string at hand */
    size_t len;
    size_t at;
    bool busy;  /* somebody works with it, or failed while doing so */
    bool ended; /* no string follows */
};

/* Raises unless the argument is a string or, where pieces are allowed, one of the others. */
void chunks_check(lua_State *L, int arg, bool pieces_allowed, const char *function);

/* source and box are stack indices; the box is a new userdata. */
void chunks_open(lua_State *L, int box, struct chunks *chunks, int source);

/* The next CHUNKS_SLICE bytes or fewer of the string at hand; false when it is used up. The bytes stay where
 * they are until chunks_take. */
bool chunks_slice(struct chunks *chunks, const char **data, size_t *len);

/* Around all work on the text by a function that a script can call. Two of them at once are an error: the
 * function may call back, and another coroutine may come while it waits. What raises in between leaves it
 * busy, and later calls raise too. */
void chunks_enter(lua_State *L, struct chunks *chunks, const char *function);
void chunks_leave(struct chunks *chunks);

/* Pushes the function and its arguments, so many, to be called with lua_callk and one result, which
 * chunks_take takes from the top of the stack. */
int chunks_ask(lua_State *L, int box);
void chunks_take(lua_State *L, int box, struct chunks *chunks, const char *function);

#endif
