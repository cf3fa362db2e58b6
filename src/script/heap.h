/* The memory of one Lua state: small blocks from size classes, large ones from the system, all of it counted
 * against a limit.
 *
 * Who owns what: the heap owns the chunks that small blocks lie in, and gives them back when it is freed;
 * blocks belong to whoever took them, and all of them are to be given back before that, as lua_close does. */
#ifndef WORKERS_SCRIPT_HEAP_H
#define WORKERS_SCRIPT_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#define HEAP_CLASSES 32
#define HEAP_STEP 16 /* bytes between classes; blocks up to HEAP_CLASSES * HEAP_STEP bytes are small */

struct heap_chunk;

struct heap {
    size_t limit; /* bytes of memory taken from the system, 0 = none */
    size_t used;  /* bytes taken: chunks whole, large blocks by their size */
    size_t peak;
    bool refused; /* the limit, not the system, refused the last allocation */
    void *free_lists[HEAP_CLASSES];
    struct heap_chunk *chunks;
    char *next; /* unused rest of the newest chunk */
    size_t left;
};

void heap_init(struct heap *heap, size_t limit);
void heap_free(struct heap *heap);
/* As lua_Alloc wants it, with old_size the size of block (0 when block is NULL). */
void *heap_realloc(struct heap *heap, void *block, size_t old_size, size_t new_size);

#endif
