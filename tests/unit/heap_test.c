/* The heap of a Lua state: blocks keep what is written into them, the limit holds, memory comes back. */
#include "script/heap.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCKS 2000

struct block {
    unsigned char *bytes;
    size_t size;
    unsigned char fill;
};

static void check_block(const struct block *block)
{
    for (size_t i = 0; i < block->size; i++)
        assert_int_equal(block->bytes[i], block->fill);
}

static size_t random_size(void)
{
    return (size_t)(rand() % 10 == 0 ? rand() % 20000 : rand() % 600) + 1;
}

/* Random growing, shrinking, taking and dropping; every block keeps its bytes. */
static void test_blocks_keep_their_bytes(void **state)
{
    (void)state;
    static struct block blocks[BLOCKS];
    struct heap heap;
    unsigned seed = 20261123;
    print_message("seed %u\n", seed);
    srand(seed);
    heap_init(&heap, 0);
    for (int step = 0; step < 200000; step++) {
        struct block *block = &blocks[rand() % BLOCKS];
        size_t size = rand() % 3 == 0 ? 0 : random_size();
        if (block->bytes != NULL)
            check_block(block);
        unsigned char *moved = heap_realloc(&heap, block->bytes, block->size, size);
        if (size == 0) {
            assert_null(moved);
        } else {
            assert_non_null(moved);
            assert_int_equal((uintptr_t)moved % 16, 0);
            size_t kept = block->size < size ? block->size : size;
            for (size_t i = 0; i < kept; i++)
                assert_int_equal(moved[i], block->fill);
            block->fill = (unsigned char)rand();
            memset(moved, block->fill, size);
        }
        block->bytes = moved;
        block->size = size;
    }
    for (int i = 0; i < BLOCKS; i++) {
        if (blocks[i].bytes != NULL) {
            check_block(&blocks[i]);
            assert_null(heap_realloc(&heap, blocks[i].bytes, blocks[i].size, 0));
        }
        blocks[i] = (struct block){0};
    }
    heap_free(&heap);
}

static void test_limit_holds_for_small_and_large(void **state)
{
    (void)state;
    struct heap heap;
    static void *taken[1024 * 1024 / 48 + 1];
    size_t count = 0;
    heap_init(&heap, 1024 * 1024);
    while ((taken[count] = heap_realloc(&heap, NULL, 0, 48)) != NULL)
        count++;
    assert_true(heap.refused);
    assert_in_range(heap.used, 1, 1024 * 1024);
    assert_in_range(count, 15000, 1024 * 1024 / 48); /* little of it is lost between the blocks */
    assert_null(heap_realloc(&heap, NULL, 0, 100000));
    for (size_t i = 0; i < count; i++)
        heap_realloc(&heap, taken[i], 48, 0);
    heap_free(&heap);
    heap_init(&heap, 1024 * 1024);
    assert_null(heap_realloc(&heap, NULL, 0, 2 * 1024 * 1024));
    assert_true(heap.refused);
    heap_free(&heap);
}

/* What small blocks have given back can be had as one large block. */
static void test_empty_chunks_make_room(void **state)
{
    (void)state;
    static void *blocks[8000];
    struct heap heap;
    heap_init(&heap, 1024 * 1024);
    for (int i = 0; i < 8000; i++) {
        blocks[i] = heap_realloc(&heap, NULL, 0, 100);
        assert_non_null(blocks[i]);
    }
    assert_null(heap_realloc(&heap, NULL, 0, 600 * 1024));
    heap.refused = false;
    for (int i = 0; i < 8000; i++)
        heap_realloc(&heap, blocks[i], 100, 0);
    void *large = heap_realloc(&heap, NULL, 0, 600 * 1024);
    assert_non_null(large);
    assert_false(heap.refused);
    heap_realloc(&heap, large, 600 * 1024, 0);
    void *again = heap_realloc(&heap, NULL, 0, 100); /* the lists hold nothing of the chunks that went */
    assert_non_null(again);
    heap_realloc(&heap, again, 100, 0);
    heap_free(&heap);
}

/* Shrinking works at the limit, also from a large block to a small one. */
static void test_shrinking_at_the_limit(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap, 64 * 1024);
    unsigned char *block = heap_realloc(&heap, NULL, 0, 64 * 1024);
    assert_non_null(block);
    memset(block, 7, 64 * 1024);
    unsigned char *small = heap_realloc(&heap, block, 64 * 1024, 40);
    assert_non_null(small);
    for (int i = 0; i < 40; i++)
        assert_int_equal(small[i], 7);
    heap_realloc(&heap, small, 40, 0);
    heap_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_keep_their_bytes),
        cmocka_unit_test(test_limit_holds_for_small_and_large),
        cmocka_unit_test(test_empty_chunks_make_room),
        cmocka_unit_test(test_shrinking_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
