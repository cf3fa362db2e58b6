/* What the files of testing/ share. Nothing outside includes it. */
#ifndef WORKERS_TESTING_HARNESS_PRIV_H
#define WORKERS_TESTING_HARNESS_PRIV_H

#include "engine/runtime.h"
#include "net/http_client.h"
#include "script/task.h"
#include "testing/harness.h"

struct pending_answer;

struct log_line {
    char *key; /* of the capability; NULL for none */
    char level[8];
    char *text;
    size_t len;
    struct log_line *next;
};

struct harness {
    struct registration registration; /* first: what modules find in the isolate; see harness_of */
    const struct harness_options *options;
    struct runtime *runtime;
    struct isolate *isolate; /* in which the test file runs */
    struct execution execution;
    struct http_stand_in stand_in;
    struct pending_answer *answers; /* that are being made */
    size_t operations;              /* cycles, calls and jobs under way that a test has started */
    int hooks;                      /* reference to the table that the Lua half has installed; or LUA_NOREF */
    struct log_line *first_line, *last_line;
    size_t line_count;
    /* the test that runs */
    struct task *task; /* NULL once it has ended */
    bool failed;
};

/* Of a test file's isolate. */
struct harness *harness_of(lua_State *L);

/* native.c: the functions that the Lua half builds on. */
int luaopen_workers_test_native(lua_State *L);

/* exchange.c */
void exchange_init(struct harness *harness);
/* No request is awaited any more: what is still being made is let go. */
void exchange_free(struct harness *harness);

#endif
