/* Views: pages for a browser that show rows of the worker's databases, as a script declares them.
 *
 * Who owns what: declarations belong to the worker. */
#ifndef WORKERS_WORKER_VIEW_H
#define WORKERS_WORKER_VIEW_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define VIEW_PAGE "index.html"    /* what a view begins with */
#define VIEW_SAMPLE "sample.json" /* beside it: rows for `workers view dev`; never served */

struct worker;

/* A property under the name that the view gives it. */
struct view_property {
    const char *name;
    const char *description; /* NULL when not given */
    size_t property;         /* index into the properties of the database */
};

/* What a view may read. */
struct view_source {
    const char *key;
    const char *name;        /* what people see */
    const char *description; /* NULL when not given */
    size_t database;         /* index into the worker's databases */
    struct view_property *properties;
    size_t property_count;
    bool all; /* no properties were named: it has all, under their own names, and what else a row has */
};

struct view {
    const char *key;
    size_t before; /* so many capabilities were declared before it */
    const char *name;
    const char *description; /* NULL when not given, as what follows */
    const char *icon_json;
    const char *slash_command;
    double version;
    bool is_project;     /* built by a command; else its files are as they are */
    const char *path;    /* a folder, relative to the project's, without "./" */
    const char *command; /* of a project: run in that folder, it makes */
    const char *output;  /* this folder in it */
    struct view_source *sources;
    size_t source_count;
};

/* NULL when there is none. */
const struct view *worker_view(const struct worker *worker, const char *key);
const struct view_source *view_source(const struct view *view, const char *key);
/* The folder with its files, relative to the project's. */
void view_folder(const struct view *view, char *out, size_t size);
/* Appends it as the manifest has it. */
void view_write(const struct worker *worker, const struct view *view, struct buf *out);

#endif
