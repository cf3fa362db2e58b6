/* Allocation with a failure hook for tests. Must not log or format: it runs when memory is out. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_ulong allocations;
static atomic_ulong fail_from;

#ifdef WORKERS_FAULT_INJECTION
static atomic_int environment_read;

static void read_environment(void)
{
    if (atomic_exchange(&environment_read, 1))
        return;
    const char *nth = getenv("WORKERS_FAIL_ALLOC");
    if (nth != NULL)
        mem_fail_from(strtoul(nth, NULL, 10));
}
#endif

#ifdef WORKERS_FAULT_INJECTION
int mem_refused(void)
{
    read_environment();
    unsigned long nth = atomic_fetch_add(&allocations, 1) + 1;
    unsigned long limit = atomic_load(&fail_from);
    return limit != 0 && nth >= limit;
}
#endif

void mem_fail_from(unsigned long nth)
{
    atomic_store(&allocations, 0);
    atomic_store(&fail_from, nth);
}

unsigned long mem_alloc_count(void)
{
    return atomic_load(&allocations);
}

void *mem_alloc(size_t size)
{
    if (mem_refused())
        return NULL;
    return malloc(size > 0 ? size : 1);
}

void *mem_alloc_aligned(size_t alignment, size_t size)
{
    if (mem_refused())
        return NULL;
    void *block = NULL;
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

void *mem_zalloc(size_t size)
{
    if (mem_refused())
        return NULL;
    return calloc(1, size > 0 ? size : 1);
}

void *mem_realloc(void *block, size_t size)
{
    if (mem_refused())
        return NULL;
    return realloc(block, size > 0 ? size : 1);
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? mem_alloc(len + 1) : NULL;
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *block)
{
    free(block);
}

static void *end_without_memory(void)
{
    static const char message[] = "workers: out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, message, sizeof message - 1);
    (void)ignored;
    _exit(1);
}

void *mem_need(size_t size)
{
    void *block = mem_zalloc(size);
    return block != NULL ? block : end_without_memory();
}

char *mem_need_str(const char *text)
{
    char *copy = mem_strndup(text, strlen(text));
    return copy != NULL ? copy : end_without_memory();
}
