/* A failure of a script, outside Lua: what it was called, what it said, where it happened.
 *
 * Who owns what: the struct owns its strings; script_error_free releases them. */
#ifndef WORKERS_SCRIPT_SCRIPT_ERROR_H
#define WORKERS_SCRIPT_SCRIPT_ERROR_H

#include "base/err.h"
#include "base/failure.h"

#include <lua.h>
#include <stdbool.h>

struct script_error {
    enum err_code code;
    char name[64];      /* "Error", "RateLimitError", "HttpError", … */
    char detail[32];    /* err.code of a structured error: "timeout", "429", …; may be empty */
    int status;         /* of HTTP, of a structured error; 0 for none */
    double retry_after; /* seconds, < 0 when not given */
    bool rate_limited;
    char *message;   /* never NULL once filled */
    char *traceback; /* may be NULL */
};

void script_error_init(struct script_error *error);
void script_error_free(struct script_error *error);
/* Fills from plain text; the name becomes "Error". Returns code. */
enum err_code script_error_set(struct script_error *error, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The message as a struct err (shortened if need be), for callers without room for more. */
enum err_code script_error_to_err(const struct script_error *error, struct err *err);

/* What kind of failure it is. */
void script_error_kind(const struct script_error *error, struct failure *out);

/* Fills from the error value on top of from's stack, with from's traceback. Pops nothing. */
void script_error_capture(struct script_error *error, lua_State *from);

/* Raises a table {name=, code=, message=} whose message begins with the caller's position. */
int script_raise(lua_State *L, const char *name, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Raises err as a plain error at the caller's position. */
int script_raise_err(lua_State *L, const struct err *err);
/* Pushes a new structured error without raising it. */
void script_push_error(lua_State *L, const char *name, const char *code, const char *message, size_t len);

/* A message handler for lua_pcallk: keeps the error's traceback, the newest only. */
int script_keep_traceback(lua_State *L);
/* Raises the value on top, whose traceback was kept: it will say where the error was raised first. */
int script_raise_again(lua_State *L);

/* Pushes the traceback of from onto L, naming the user's files and lines and leaving out the machinery. */
void script_push_traceback(lua_State *L, lua_State *from, int level);

#endif
