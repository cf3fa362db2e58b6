/* What workers doctor looks at.
 *
 * Who owns what: findings are the caller's. */
#ifndef WORKERS_CLI_DOCTOR_H
#define WORKERS_CLI_DOCTOR_H

#include "cli/cli.h"
#include "cli/findings.h"

#include <stddef.h>

struct target;
struct worker;

/* The program and this machine, the project of this folder and its store, the server that serves it. */
void doctor_installation(struct findings *out);
/* Whether the store can be written to and is as it was written: folder is that of the project. quiet: only
 * what is wrong. */
void doctor_store(const char *folder, bool quiet, struct findings *out);
/* Whether the tables can be brought in line with what the worker declares; nothing of that is kept. Only what
 * is wrong. */
void doctor_tables(const char *folder, const struct worker *worker, struct findings *out);
/* A log_sink: what a script says while it is looked at is not what was asked for. */
void doctor_no_log(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                   size_t len);
/* One capability, here or on a server. probe: also tries a sync. ERR_NOT_FOUND when there is no such one. */
enum err_code doctor_capability(struct target *target, const char *key, bool probe, struct findings *out,
                                struct err *err) MUST_CHECK;

#endif
