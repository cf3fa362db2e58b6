/* Allocation for the whole program, in one place so that tests can make it fail.
 *
 * Who owns what: whoever calls mem_alloc owns the block and gives it back with mem_free.
 *
 * Blocks whose size the outside decides (rows, bodies, files) come from mem_alloc, which returns NULL when
 * memory is out; callers turn that into ERR_NOMEM. Small blocks of fixed size come from mem_need, which
 * ends the process with a message and exit code 1: every store write is a transaction, so nothing is lost.
 * This is the only place in the program that may end it for want of memory. */
#ifndef WORKERS_BASE_MEM_H
#define WORKERS_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, warn_unused_result));
void *mem_zalloc(size_t size) __attribute__((malloc, warn_unused_result));
/* alignment is a power of two and a multiple of the size of a pointer. */
void *mem_alloc_aligned(size_t alignment, size_t size) __attribute__((malloc, warn_unused_result));
void *mem_realloc(void *block, size_t size) __attribute__((warn_unused_result));
char *mem_strndup(const char *text, size_t len) __attribute__((malloc, warn_unused_result));
void mem_free(void *block);

/* Never NULL; zeroed. For small fixed structures only. */
void *mem_need(size_t size) __attribute__((malloc, warn_unused_result, returns_nonnull));
char *mem_need_str(const char *text) __attribute__((malloc, warn_unused_result, returns_nonnull));

/* Test hook: the nth allocation from now, and every one after it, fails. 0 turns it off. Also settable by
 * the environment variable WORKERS_FAIL_ALLOC, read once at the first allocation in debug builds. */
void mem_fail_from(unsigned long nth);
/* Counts as an allocation; whether it has to fail. For allocators that take many blocks from one. */
#ifdef WORKERS_FAULT_INJECTION
int mem_refused(void);
#else
#define mem_refused() 0
#endif
unsigned long mem_alloc_count(void);

#endif
