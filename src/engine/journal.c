/* Gathering log lines. Must not stop a run: a line that cannot be kept is lost. */
#include "engine/journal.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define GATHER_LINES 200

struct line {
    char run_id[STORE_ID_SIZE];
    char level[8];
    size_t len;
    struct line *next;
    char text[];
};

struct journal {
    struct job job;
    struct line *first, *last; /* not yet on their way */
    struct line *writing;      /* on the store's thread */
    int count;
    struct executor *executor;
    bool busy, again;
};

struct journal *journal_new(void)
{
    return mem_need(sizeof(struct journal));
}

static void free_lines(struct line *line)
{
    while (line != NULL) {
        struct line *next = line->next;
        mem_free(line);
        line = next;
    }
}

void journal_free(struct journal *journal)
{
    if (journal == NULL)
        return;
    free_lines(journal->first);
    mem_free(journal);
}

bool journal_add(struct journal *journal, const char *run_id, const char *level, const char *text, size_t len)
{
    struct line *line = mem_alloc(sizeof *line + len);
    if (line == NULL)
        return false;
    *line = (struct line){.len = len};
    snprintf(line->run_id, sizeof line->run_id, "%s", run_id);
    snprintf(line->level, sizeof line->level, "%s", level);
    memcpy(line->text, text, len);
    if (journal->last != NULL)
        journal->last->next = line;
    else
        journal->first = line;
    journal->last = line;
    return ++journal->count >= GATHER_LINES;
}

static void write_work(struct job *job, struct store *store)
{
    struct journal *journal = job->owner;
    struct err ignored;
    for (struct line *line = journal->writing; line != NULL; line = line->next)
        if (store_log(store, line->run_id, line->level, line->text, line->len, &ignored) != ERR_NONE)
            break;
}

static void write_after(struct job *job)
{
    struct journal *journal = job->owner;
    free_lines(journal->writing);
    journal->writing = NULL;
    journal->busy = false;
    if (journal->again)
        journal_write(journal, journal->executor);
}

void journal_write(struct journal *journal, struct executor *executor)
{
    journal->again = journal->busy;
    if (journal->busy || journal->first == NULL || executor == NULL)
        return;
    journal->executor = executor;
    journal->writing = journal->first;
    journal->first = journal->last = NULL;
    journal->count = 0;
    journal->busy = true;
    journal->job = (struct job){.work = write_work, .after = write_after, .owner = journal};
    executor_submit(executor, &journal->job);
}

bool journal_busy(const struct journal *journal)
{
    return journal->busy;
}
