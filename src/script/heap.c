/* Memory of a Lua state. Lua makes and drops small objects all the time; taking them from lists of their size
 * costs a fraction of malloc, and the whole heap goes at once when the state is closed.
 *
 * With AddressSanitizer every block comes from the system, so that mistakes in the use of Lua's API are seen.
 */
#include "script/heap.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)8 * 1024)
/* malloc keeps two words before each block: with room left for them, chunks lie side by side without gaps. */
#define CHUNK_ROOM (CHUNK_BYTES - 2 * sizeof(size_t))

#if defined(__SANITIZE_ADDRESS__)
#define SMALL_MAX ((size_t)0)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SMALL_MAX ((size_t)0)
#endif
#endif
#ifndef SMALL_MAX
#define SMALL_MAX ((size_t)HEAP_CLASSES * HEAP_STEP)
#endif

/* Small blocks lie in chunks aligned to their size, so that a block finds its chunk. */
struct heap_chunk {
    struct heap_chunk *next;
    size_t live;   /* bytes of blocks in use */
    bool draining; /* empty, and about to be given back */
};

#define CHUNK_HEADER ((sizeof(struct heap_chunk) + HEAP_STEP - 1) / HEAP_STEP * HEAP_STEP)

struct free_block {
    struct free_block *next;
};

void heap_init(struct heap *heap, size_t limit)
{
    *heap = (struct heap){.limit = limit};
}

void heap_free(struct heap *heap)
{
    while (heap->chunks != NULL) {
        struct heap_chunk *chunk = heap->chunks;
        heap->chunks = chunk->next;
        mem_free(chunk);
    }
    heap_init(heap, heap->limit);
}

static size_t class_of(size_t size)
{
    return (size - 1) / HEAP_STEP;
}

static struct heap_chunk *chunk_of(void *block)
{
    return (struct heap_chunk *)((uintptr_t)block & ~(uintptr_t)(CHUNK_BYTES - 1));
}

/* Gives chunks without a block in use back to the system. */
static bool release_empty(struct heap *heap)
{
    bool any = false;
    struct heap_chunk *newest = heap->left > 0 ? chunk_of(heap->next) : NULL;
    for (struct heap_chunk *chunk = heap->chunks; chunk != NULL; chunk = chunk->next) {
        chunk->draining = chunk->live == 0 && chunk != newest;
        any = any || chunk->draining;
    }
    if (!any)
        return false;
    for (int i = 0; i < HEAP_CLASSES; i++) {
        struct free_block **link = (struct free_block **)&heap->free_lists[i];
        while (*link != NULL) {
            if (chunk_of(*link)->draining)
                *link = (*link)->next;
            else
                link = &(*link)->next;
        }
    }
    struct heap_chunk **link = &heap->chunks;
    while (*link != NULL) {
        struct heap_chunk *chunk = *link;
        if (!chunk->draining) {
            link = &chunk->next;
            continue;
        }
        *link = chunk->next;
        heap->used -= CHUNK_BYTES;
        mem_free(chunk);
    }
    return true;
}

/* Room under the limit for size more bytes. */
static bool allowed(struct heap *heap, size_t size)
{
    if (heap->limit == 0 || (heap->used <= heap->limit && size <= heap->limit - heap->used))
        return true;
    if (release_empty(heap) && heap->used <= heap->limit && size <= heap->limit - heap->used)
        return true;
    heap->refused = true;
    return false;
}

static void count(struct heap *heap, size_t size)
{
    heap->used += size;
    if (heap->used > heap->peak)
        heap->peak = heap->used;
}

static bool add_chunk(struct heap *heap)
{
    struct heap_chunk *chunk = allowed(heap, CHUNK_BYTES) ? mem_alloc_aligned(CHUNK_BYTES, CHUNK_ROOM) : NULL;
    if (chunk == NULL)
        return false;
    *chunk = (struct heap_chunk){.next = heap->chunks};
    heap->chunks = chunk;
    heap->next = (char *)chunk + CHUNK_HEADER;
    heap->left = CHUNK_ROOM - CHUNK_HEADER;
    count(heap, CHUNK_BYTES);
    return true;
}

/* The rest of the newest chunk goes to the free lists before another one is taken. */
static void spend_rest(struct heap *heap)
{
    while (heap->left >= HEAP_STEP) {
        size_t size = heap->left <= SMALL_MAX ? heap->left / HEAP_STEP * HEAP_STEP : SMALL_MAX;
        struct free_block *block = (struct free_block *)heap->next;
        block->next = heap->free_lists[class_of(size)];
        heap->free_lists[class_of(size)] = block;
        heap->next += size;
        heap->left -= size;
    }
    heap->left = 0;
}

static void *small_alloc(struct heap *heap, size_t size)
{
    size_t class = class_of(size);
    size_t bytes = (class + 1) * HEAP_STEP;
    struct free_block *block = heap->free_lists[class];
    if (block != NULL) {
        heap->free_lists[class] = block->next;
        chunk_of(block)->live += bytes;
        return block;
    }
    if (heap->left < bytes) {
        spend_rest(heap);
        if (!add_chunk(heap))
            return NULL;
    }
    void *fresh = heap->next;
    heap->next += bytes;
    heap->left -= bytes;
    chunk_of(fresh)->live += bytes;
    return fresh;
}

static void small_free(struct heap *heap, void *block, size_t size)
{
    size_t class = class_of(size);
    struct free_block *freed = block;
    chunk_of(block)->live -= (class + 1) * HEAP_STEP;
    freed->next = heap->free_lists[class];
    heap->free_lists[class] = freed;
}

static void give_back(struct heap *heap, void *block, size_t size)
{
    if (block == NULL)
        return;
    if (size <= SMALL_MAX && size > 0) {
        small_free(heap, block, size);
        return;
    }
    heap->used -= size;
    mem_free(block);
}

static void *take(struct heap *heap, size_t size)
{
    if (size <= SMALL_MAX)
        return mem_refused() ? NULL : small_alloc(heap, size);
    if (!allowed(heap, size))
        return NULL;
    void *block = mem_alloc(size);
    if (block != NULL)
        count(heap, size);
    return block;
}

void *heap_realloc(struct heap *heap, void *block, size_t old_size, size_t new_size)
{
    if (new_size == 0) {
        give_back(heap, block, old_size);
        return NULL;
    }
    if (block == NULL)
        return take(heap, new_size);
    bool was_small = old_size <= SMALL_MAX, is_small = new_size <= SMALL_MAX;
    if (was_small && is_small && old_size > 0 && class_of(old_size) == class_of(new_size))
        return block;
    if (!was_small && !is_small) {
        if (new_size > old_size && !allowed(heap, new_size - old_size))
            return NULL;
        void *moved = mem_realloc(block, new_size);
        if (moved == NULL)
            return NULL;
        heap->used -= old_size;
        count(heap, new_size);
        return moved;
    }
    size_t limit = heap->limit;
    if (new_size < old_size) /* what gives memory back must not fail for want of it */
        heap->limit = 0;
    void *moved = take(heap, new_size);
    heap->limit = limit;
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    give_back(heap, block, old_size);
    return moved;
}
