/* The projects that one process serves: each loaded, watched, and loaded anew when it changes.
 *
 * Who owns what: the hosting owns its projects and their services. The loop's thread only. */
#ifndef WORKERS_SERVER_HOSTING_H
#define WORKERS_SERVER_HOSTING_H

#include "engine/service.h"

struct hosting;

struct hosting_options {
    uv_loop_t *loop;
    const char *const *folders; /* of the projects */
    size_t folder_count;
    const char *code;    /* where the files of all of them are; NULL: in each folder itself */
    const char *home;    /* whose workers are served as well, also those that come later; NULL for none */
    int64_t concurrency; /* executions at once, over all workers */
    bool watch;          /* load a project anew when its files change */
    /* Lines for people: worker and key may be NULL. */
    void (*say)(void *ctx, const char *worker, const char *key, const char *level, const char *text,
                size_t len);
    void (*ended)(void *ctx, struct service *service, const struct run_report *report);
    void (*reloaded)(void *ctx, struct service *service);
    void (*added)(void *ctx, const char *folder, struct service *service); /* to the home; NULL for nobody */
    void (*idle)(void *ctx); /* after hosting_stop: nothing is under way any more */
    void *ctx;
};

/* Loads every project; the first that cannot be loaded is the error. Two of one name are ERR_CONFLICT. */
enum err_code hosting_new(const struct hosting_options *options, struct hosting **out,
                          struct err *err) MUST_CHECK;
void hosting_free(struct hosting *hosting);
/* Every now and then: what others have done to the stores, whether files have changed. */
void hosting_tick(struct hosting *hosting);
/* Another process of the server has died, or the clock was set: look for work at once. */
void hosting_look(struct hosting *hosting);
/* The worker of that name alone. */
void hosting_reload_one(struct hosting *hosting, const char *name);
/* Loads all projects anew. One that cannot be loaded stays as it is, and the error is said. */
void hosting_reload(struct hosting *hosting);
/* Looks for workers that have come to the home, or left it. */
void hosting_scan(struct hosting *hosting);
void hosting_stop(struct hosting *hosting);
/* Ends what is still running. */
void hosting_stop_now(struct hosting *hosting);
bool hosting_is_idle(const struct hosting *hosting);

const char *hosting_folder(const struct hosting *hosting, size_t index); /* of the project */
size_t hosting_count(const struct hosting *hosting);
struct service *hosting_at(struct hosting *hosting, size_t index);
int64_t hosting_version(const struct hosting *hosting, size_t index); /* that was deployed; 0 for none */
/* By the worker's name; NULL when there is none. */
struct service *hosting_find(struct hosting *hosting, const char *name, size_t len);

const char *hosting_home(const struct hosting *hosting); /* NULL when there is none */
/* Its variables or tokens may be others now. */
void hosting_home_changed(struct hosting *hosting);
/* Whether the token is good for the home: to make workers, and for all that it has. */
bool hosting_home_token(struct hosting *hosting, const char *token, size_t len, enum token_scope *scope);
/* Whether it is good for the service: its own, or the home's. */
bool hosting_token(struct hosting *hosting, const struct service *service, const char *token, size_t len,
                   enum token_scope *scope);

#endif
