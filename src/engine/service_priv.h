/* What the files of a service share: its loop's side (service.c), its store's side (service_turn.c), and what
 * comes in (service_intake.c). */
#ifndef WORKERS_ENGINE_SERVICE_PRIV_H
#define WORKERS_ENGINE_SERVICE_PRIV_H

#include "engine/journal.h"
#include "engine/service.h"
#include "engine/upkeep.h"
#include "worker/due.h"

struct call;
struct cycle;

/* One capability that runs by itself. */
struct item {
    struct service *service;
    const struct capability *capability;
    struct timetable timetable; /* of syncs and jobs */
    bool scheduled;             /* it has one */
    char *text;                 /* its schedule, as it is kept in the store */
    struct schedule_entry entry;
    bool known;            /* the store has its entry */
    int64_t due_ms;        /* of a sync; INT64_MAX for never */
    int64_t held_until_ms; /* of a sync that has failed, monotonic: not before */
    struct cycle *cycle;   /* of a sync that runs here */
    const char *trouble;   /* of a sync: "ERROR", "HELD", "STALE", or "" */
    char trouble_message[512];
    /* of webhooks */
    struct endpoint endpoint; /* the store's side: written by turns */
    struct endpoint shown;    /* the loop's side, copied after a turn; its secret is empty before the first */
    bool shown_paused;
    struct err
        endpoint_err; /* why the address cannot be read; its code is ERR_NONE when it can. Written by turns */
    bool endpoint_said; /* the loop's side: that was logged */
    int64_t refusals;   /* to be told the store */
    bool reset;
    int64_t turn_refusals; /* the same, in the turn under way */
    bool turn_reset;
};

/* A delivery that is being handled here. */
struct handling {
    struct service *service;
    struct item *item;
    struct delivery delivery;
    struct call *call;
    struct delivery_end end;
    char *error, *traceback; /* what end points to */
    int64_t started_ms;      /* monotonic */
    struct handling *next;
};

/* What goes to the store's thread and comes back. */
struct turn {
    struct job job;
    struct handling *ends;       /* in, to be recorded */
    struct handling *claimed;    /* out */
    int64_t permits;             /* in; what is left, out */
    bool read_schedules;         /* in */
    bool recover, renew;         /* in */
    bool stopping;               /* in */
    bool done;                   /* out: committed */
    int64_t wake_ms;             /* out: the next delivery is due, or the next tick of a job */
    int64_t recovered;           /* out */
    bool ticked;                 /* a job's schedule was moved on */
    struct token_record *tokens; /* out, with read_schedules */
    size_t token_count;
    int64_t secrets_stamp; /* out, with read_schedules */
    bool superseded;       /* out: another version was deployed, nothing was begun */
    struct err err;
};

struct service {
    struct runtime *runtime;
    struct service_events events;
    struct gate *gate;
    struct gate_user user;
    struct item *items;
    size_t item_count;
    struct turn turn;
    bool turning, again;
    bool failing; /* the last turn could not use the store; the timer tries again */
    bool stale;   /* the schedules must be read again */
    bool recover, renew;
    bool stopping, told_idle;
    struct timer *timer, *renew_timer, *journal_timer;
    struct handling *running; /* deliveries under way */
    struct handling *ended;   /* waiting for the next turn */
    struct journal *journal;
    struct upkeep upkeep;
    struct job upkeep_job;
    struct timer *upkeep_timer;
    bool upkeep_busy, upkeep_more, upkeep_soon;
    uint64_t written; /* since upkeep looked last, about */
    struct job poll_job;
    bool polling, poll_changed, poll_recover;
    int64_t used_ms;                  /* when there was work last, monotonic */
    bool resting;                     /* nothing came since the store gave its memory back */
    bool superseded, poll_superseded; /* another version was deployed */
    bool poll_rest, given_back;       /* in the poll under way; since service_gave_back */
    int64_t others;                   /* what store_others said last */
    struct job intake_job;
    struct service_intake *intake, *intake_last, *storing;
    bool intake_busy;
    enum err_code intake_code;
    struct err intake_err;
    struct token_record *tokens; /* the loop's side, taken over from the turn that has read them */
    size_t token_count;
    int cycles; /* under way */
    int holds;
    bool has_triggers;       /* automations that wait for rows */
    struct capability alert; /* what alerts are delivered to, when the worker has a function for them */
    int64_t looked_ms;       /* monotonic: when schedules were last read because of the time */
    double allowance;        /* of webhooks that may be taken in */
    int64_t allowance_ms;
    size_t first_item; /* that the next turn begins with, so that all get their share */
};

/* service.c */
/* Starts a turn, or another one after the one under way. */
void service_turn(struct service *service);
void service_tell_if_idle(struct service *service);

/* service_turn.c */
struct item *service_item(struct service *service, const char *key); /* NULL when there is none */
/* The work of a turn, on the store's thread. */
void turn_work(struct job *job, struct store *store);
/* When a sync that does not run here may start; INT64_MAX for never. */
int64_t turn_sync_due(const struct item *item);

#endif
