/* Drawing progress. Must not print anything when stderr is no terminal. */
#include "cli/progress.h"

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINES 12

struct progress {
    bool live;
    int lines; /* drawn now */
};

struct progress *progress_new(void)
{
    struct progress *progress = mem_need(sizeof *progress);
    const char *term = getenv("TERM");
    progress->live = isatty(STDERR_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
    return progress;
}

static void wipe(struct progress *progress)
{
    for (int i = 0; i < progress->lines; i++)
        fputs("\033[1A\033[2K", stderr);
    if (progress->lines > 0)
        fputs("\r", stderr);
    progress->lines = 0;
}

void progress_free(struct progress *progress)
{
    wipe(progress);
    fflush(stderr);
    mem_free(progress);
}

void progress_print(struct progress *progress, const char *text, size_t len)
{
    wipe(progress);
    cli_write(stderr, text, len);
    fputc('\n', stderr);
}

static void describe(const struct cycle *cycle, const struct cycle_progress *at, struct buf *line)
{
    char elapsed[32], wait[32];
    const struct page_counts *counts = &at->counts;
    int64_t rows = counts->added + counts->changed + counts->unchanged + counts->deleted + counts->stale;
    double seconds = (double)at->elapsed_ms / 1000.0;
    buf_addf(line, "%s  %lld rows", cycle_sync(cycle)->key, (long long)rows);
    if (seconds >= 0.5 && rows > 0)
        buf_addf(line, "  %.0f/s", (double)rows / seconds);
    buf_addf(line, "  page %lld  %s  ", (long long)(at->resumed_pages + at->pages + 1),
             cli_duration(at->elapsed_ms, elapsed, sizeof elapsed));
    switch (at->activity) {
    case CYCLE_STARTING:
        buf_adds(line, "starting");
        break;
    case CYCLE_EXECUTING:
        buf_adds(line, cycle_waits_for(cycle));
        break;
    case CYCLE_WAITING_RATE_LIMIT:
        buf_addf(line, "rate limited, %s left", cli_duration(at->wait_ms, wait, sizeof wait));
        break;
    case CYCLE_COMMITTING:
        buf_adds(line, "writing");
        break;
    case CYCLE_ENDED:
        buf_adds(line, "done");
        break;
    }
}

void progress_draw(struct progress *progress, struct cycle *const cycles[], size_t count)
{
    size_t width = (size_t)cli_terminal_width(stderr);
    size_t left = 0;
    if (!progress->live)
        return;
    wipe(progress);
    for (size_t i = 0; i < count; i++) {
        struct cycle_progress at;
        struct buf line;
        if (cycles[i] == NULL)
            continue;
        cycle_get_progress(cycles[i], &at);
        if (at.activity == CYCLE_ENDED)
            continue;
        if (progress->lines >= MAX_LINES) {
            left++;
            continue;
        }
        buf_init(&line, 4096);
        describe(cycles[i], &at, &line);
        size_t len = line.len;
        while (len > 0 && width > 0 && text_display_width(buf_text(&line), len) >= width)
            len--;
        fwrite(buf_text(&line), 1, len, stderr);
        fputc('\n', stderr);
        progress->lines++;
        buf_free(&line);
    }
    if (left > 0) {
        fprintf(stderr, "… and %zu more\n", left);
        progress->lines++;
    }
    fflush(stderr);
}
