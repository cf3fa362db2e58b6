/* Live progress of cycles on a terminal: a line for each that runs, redrawn in place. */
#ifndef WORKERS_CLI_PROGRESS_H
#define WORKERS_CLI_PROGRESS_H

#include "engine/cycle.h"

struct progress;

/* Draws on stderr when it is a terminal; otherwise every function does nothing but pass text on. */
struct progress *progress_new(void);
void progress_free(struct progress *progress); /* wipes what is drawn */
void progress_draw(struct progress *progress, struct cycle *const cycles[], size_t count);
/* A line above the progress. */
void progress_print(struct progress *progress, const char *text, size_t len);

#endif
