/* Log lines of runs on their way to the store: gathered, and written by the store's thread in batches, so
 * that a script that logs does not wait for the disk.
 *
 * Who owns what: the journal belongs to whoever made it; it is freed when journal_busy says no. What is not
 * written by then is lost. */
#ifndef WORKERS_ENGINE_JOURNAL_H
#define WORKERS_ENGINE_JOURNAL_H

#include "engine/executor.h"

struct journal;

struct journal *journal_new(void);
void journal_free(struct journal *journal);
/* Keeps the line. True when so many have gathered that they had better be written. */
bool journal_add(struct journal *journal, const char *run_id, const char *level, const char *text,
                 size_t len);
/* Sends what has gathered, after the last batch if that is still under way. */
void journal_write(struct journal *journal, struct executor *executor);
bool journal_busy(const struct journal *journal);

#endif
