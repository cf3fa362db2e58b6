/* What the files of script/ share. Nothing outside includes it. */
#ifndef WORKERS_SCRIPT_ISOLATE_PRIV_H
#define WORKERS_SCRIPT_ISOLATE_PRIV_H

#include "script/heap.h"
#include "script/isolate.h"
#include "script/script_error.h"
#include "script/task.h"

struct stop_reason {
    enum err_code code; /* ERR_NONE while nobody asked to stop */
    char message[256];
    bool placed;     /* where has been looked for */
    char where[128]; /* "src/main.lua:12", of the first time it was raised; empty when it is not known */
};

/* CPU use and reason to stop of a root task with its children, of their cleanups once they are stopped, or of
 * loading. */
struct budget {
    uint64_t cpu_limit_ms; /* 0 = no limit */
    uint64_t cpu_used_ns;  /* before the slice in hand */
    struct stop_reason stop;
};

struct isolate {
    lua_State *L;
    struct isolate_config config;
    struct isolate_host host;
    struct heap heap;
    bool loop_yield; /* the yield under way goes to the scheduler, not to a coroutine of the script */
    int no_wait;     /* > 0 while a C function that cannot yield is on some stack below */
    struct budget load_budget;
    struct script_error *call_error; /* where the protected call in hand puts its failure */
    struct budget *budget;           /* of what runs now, NULL when nothing does */
    uint64_t slice_start_ns;         /* thread CPU time */
    struct task *current;
    bool cleaning; /* the current task has been stopped, and its to-be-closed variables run */
    struct task *tasks;
};

struct task {
    struct isolate *isolate;
    struct task *root;
    lua_State *co;
    int co_ref;
    int nargs;
    bool ready; /* in the scheduler's queue */
    bool waiting;
    struct stop_reason
        stop;              /* of this task alone (a child of workers.all); the root's budget stops them all */
    struct budget budget;  /* of the root */
    struct budget cleanup; /* of the root */
    void (*cancel)(void *op);
    void *op;
    lua_KFunction resume;
    task_done_fn done;
    void *done_ctx;
    struct timer *wall; /* NULL when there is no limit */
    struct task *next_ready;
    struct task *next;
    struct task *previous;
};

/* script_error.c */
void script_error_memory(struct script_error *error, struct isolate *isolate);
/* Where the thread is, in the form of script_error.traceback; the caller's. */
char *script_error_traceback(lua_State *from);
/* As script_error_capture, for use outside any protected call. */
void script_error_capture_safely(struct script_error *error, struct isolate *isolate, lua_State *from);

/* hook.c */
/* Before a thread of Lua runs: what an earlier stop has left on it goes. */
void hook_install(lua_State *L);
/* Around every call that lets a thread of Lua run; the hook is set on the innermost. */
lua_State *hook_enter(lua_State *L);
void hook_leave(lua_State *outer);
/* The hook of this thread fires at every instruction from now on. */
void hook_arm_stop(lua_State *L);
/* What the task must stop for, NULL if nothing. */
struct stop_reason *hook_stop_reason(struct isolate *isolate);
void hook_slice_begin(struct isolate *isolate, struct budget *budget);
void hook_slice_end(struct isolate *isolate);

/* sandbox.c: the globals a script sees. */
void sandbox_install(lua_State *L);
/* coroutine.c */
int coroutine_open(lua_State *L);
/* lua_resetthread where that is safe, within the limits of what runs now. Returns the thread's status. */
int coroutine_reset(struct isolate *isolate, lua_State *co);
bool coroutine_parked(lua_State *co);
/* loader.c: require and load. */
void loader_install(lua_State *L);

/* task.c: drops every task of the isolate without calling done. */
void task_drop_all(struct isolate *isolate);

/* A thread's extra space holds its isolate; bit 0 says that the thread is parked in a wait of the loop. */
#define ISOLATE_PARKED ((uintptr_t)1)
/* Bit 1: the hook has raised a stop in this thread. Lua leaves hooks off in a thread that dies so, thus none
 * of its code may run any more, not even __close. */
#define ISOLATE_STOPPED ((uintptr_t)2)

#endif
