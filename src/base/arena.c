/* A bump allocator. */
#include "base/arena.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_SIZE ((size_t)4 * 1024)
#define CHUNK_MAX ((size_t)1024 * 1024) /* chunks double up to it; one that must hold more is larger */
#define ALIGNMENT sizeof(max_align_t)

struct arena_chunk {
    struct arena_chunk *previous;
    size_t size;
    max_align_t bytes[];
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_free(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct arena_chunk *previous = chunk->previous;
        mem_free(chunk);
        chunk = previous;
    }
    arena_init(arena);
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *keep = arena->chunks;
    if (keep == NULL)
        return;
    struct arena_chunk *chunk = keep->previous;
    while (chunk != NULL) {
        struct arena_chunk *previous = chunk->previous;
        mem_free(chunk);
        chunk = previous;
    }
    keep->previous = NULL;
    arena->next = (char *)keep->bytes;
    arena->left = keep->size;
    arena->total = keep->size;
}

static int add_chunk(struct arena *arena, size_t need)
{
    size_t size = need > CHUNK_SIZE / 4 ? need + CHUNK_SIZE : CHUNK_SIZE;
    if (arena->chunks != NULL && arena->chunks->size >= CHUNK_SIZE) {
        size_t larger = arena->chunks->size < CHUNK_MAX / 2 ? arena->chunks->size * 2 : CHUNK_MAX;
        size = size > larger ? size : larger;
    }
    if (size > SIZE_MAX - sizeof(struct arena_chunk) || size < need)
        return 0;
    struct arena_chunk *chunk = mem_alloc(sizeof *chunk + size);
    if (chunk == NULL)
        return 0;
    chunk->previous = arena->chunks;
    chunk->size = size;
    arena->chunks = chunk;
    arena->next = (char *)chunk->bytes;
    arena->left = size;
    arena->total += size;
    return 1;
}

static void *take(struct arena *arena, size_t skip, size_t size)
{
    char *block = arena->next + skip;
    arena->next = block + size;
    arena->left -= skip + size;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t skip = -(uintptr_t)arena->next % ALIGNMENT; /* texts end anywhere */
    if ((skip > arena->left || size > arena->left - skip)) {
        if (!add_chunk(arena, size))
            return NULL;
        skip = 0;
    }
    return take(arena, skip, size);
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *block = arena_alloc(arena, size);
    if (block != NULL)
        memset(block, 0, size);
    return block;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    if (len >= SIZE_MAX / 2)
        return NULL;
    if (len + 1 > arena->left && !add_chunk(arena, len + 1))
        return NULL;
    char *copy = take(arena, 0, len + 1);
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
