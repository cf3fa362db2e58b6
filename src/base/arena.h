/* A bump allocator: many small blocks that all go at once.
 *
 * Who owns what: the arena owns every block; arena_free or arena_reset ends them all. */
#ifndef WORKERS_BASE_ARENA_H
#define WORKERS_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    char *next;
    size_t left;
    size_t total; /* bytes taken from the system */
};

void arena_init(struct arena *arena);
void arena_free(struct arena *arena);
void arena_reset(struct arena *arena); /* keeps the newest chunk for reuse */

/* Aligned for any type; NULL when memory is out. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((warn_unused_result));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((warn_unused_result));
/* Copies and NUL-terminates. */
char *arena_strndup(struct arena *arena, const char *text, size_t len) __attribute__((warn_unused_result));

#endif
