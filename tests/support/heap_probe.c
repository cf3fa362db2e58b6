/* Linked into a program in the place of heap_realloc (ld --wrap): knows every block that scripts have, and
 * writes them to the file that HEAP_PROBE names at the first allocation after a SIGRTMIN + 1. Small blocks
 * are written with all of the chunk that they lie in: what was freed there is in it still. */
#include "script/heap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS ((size_t)1 << 21)
#define CHUNK_BYTES ((size_t)8 * 1024)

static struct {
    uintptr_t block;
    size_t size;
} slots[SLOTS]; /* by the block's address, the next free one on */
static volatile sig_atomic_t asked;

void *__real_heap_realloc(struct heap *heap, void *block, size_t old_size, size_t new_size);
void *__wrap_heap_realloc(struct heap *heap, void *block, size_t old_size, size_t new_size);

static void on_signal(int number)
{
    (void)number;
    asked = 1;
}

__attribute__((constructor)) static void listen_for_signal(void)
{
    signal(SIGRTMIN + 1, on_signal);
}

static size_t home_of(uintptr_t block)
{
    return (size_t)((block >> 4) * 0x9E3779B97F4A7C15u >> 40) % SLOTS;
}

static void add(uintptr_t block, size_t size)
{
    size_t at = home_of(block);
    while (slots[at].block != 0)
        at = (at + 1) % SLOTS;
    slots[at].block = block;
    slots[at].size = size;
}

static void take_out(uintptr_t block)
{
    size_t at = home_of(block);
    while (slots[at].block != block && slots[at].block != 0)
        at = (at + 1) % SLOTS;
    slots[at].block = 0;
    /* Those behind it that are not at home move up. */
    for (size_t next = (at + 1) % SLOTS; slots[next].block != 0; next = (next + 1) % SLOTS) {
        uintptr_t moved = slots[next].block;
        slots[next].block = 0;
        add(moved, slots[next].size);
    }
}

static void write_blocks(void)
{
    const char *path = getenv("HEAP_PROBE");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    FILE *out = path != NULL ? fopen(path, "wbe") : NULL;
    char bytes[4096];
    for (size_t i = 0; out != NULL && i < SLOTS; i++) {
        bool small = slots[i].size <= (size_t)HEAP_CLASSES * HEAP_STEP;
        uintptr_t at = small ? slots[i].block & ~(uintptr_t)(CHUNK_BYTES - 1) : slots[i].block;
        uintptr_t end = small ? at + CHUNK_BYTES : at + slots[i].size;
        while (slots[i].block != 0 && at < end) {
            size_t len = end - at < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
            if (pread(memory, bytes, len, (off_t)at) != (ssize_t)len || fwrite(bytes, 1, len, out) != len)
                break;
            at += len;
        }
    }
    if (out != NULL && fputs("\nwhole\n", out) >= 0)
        fclose(out);
    close(memory);
}

void *__wrap_heap_realloc(struct heap *heap, void *block, size_t old_size, size_t new_size)
{
    void *fresh = __real_heap_realloc(heap, block, old_size, new_size);
    if (block != NULL && (fresh != NULL || new_size == 0))
        take_out((uintptr_t)block);
    if (fresh != NULL)
        add((uintptr_t)fresh, new_size);
    if (asked != 0) {
        asked = 0;
        write_blocks();
    }
    return fresh;
}
