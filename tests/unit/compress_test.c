/* Streams of compressed data: slices of every size, damage at every byte, failing allocations. */
#include "base/buf.h"
#include "base/compress.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const enum compress_format formats[] = {COMPRESS_GZIP, COMPRESS_ZLIB, COMPRESS_RAW};

/* Appends all that comes out, by pieces of at most size bytes; closes the stream. */
static enum err_code drain(struct compress *compress, size_t size, struct buf *out, struct err *err)
{
    bool done = false;
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && !done) {
        size_t written = SIZE_MAX;
        char *room = buf_reserve(out, size);
        assert_non_null(room);
        code = compress_next(compress, room, size, &written, &done, err);
        assert_true(written <= size);
        out->len += written;
    }
    compress_close(compress);
    compress_close(compress);
    return code;
}

static enum err_code pack(enum compress_format format, int level, const char *text, size_t len, size_t size,
                          struct buf *out)
{
    struct err err;
    struct compress compress;
    enum err_code code = compress_open(&compress, format, level, text, len, &err);
    return code == ERR_NONE ? drain(&compress, size, out, &err) : code;
}

static enum err_code unpack(enum compress_format format, const char *text, size_t len, size_t size,
                            struct buf *out, struct err *err)
{
    struct compress compress;
    enum err_code code = compress_open_reading(&compress, format, text, len, err);
    return code == ERR_NONE ? drain(&compress, size, out, err) : code;
}

static void fill(char *text, size_t len)
{
    unsigned seed = 1;
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = (char)(i % 7 < 4 ? i % 100 : seed >> 16);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    enum { LEN = 700000 }; /* more than two slices of input */
    static const size_t sizes[] = {1, 3, 1000, 65536, 1000000};
    char *text = mem_need(LEN);
    struct buf packed, back;
    struct err err;
    buf_init(&packed, BUF_UNLIMITED);
    buf_init(&back, BUF_UNLIMITED);
    fill(text, LEN);
    for (size_t f = 0; f < 3; f++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            size_t len = s < 2 ? 20000 : LEN;
            buf_clear(&packed);
            buf_clear(&back);
            assert_int_equal(pack(formats[f], (int)s * 2, text, len, sizes[s], &packed), ERR_NONE);
            assert_int_equal(unpack(formats[f], packed.data, packed.len, sizes[s], &back, &err), ERR_NONE);
            assert_int_equal(back.len, len);
            assert_memory_equal(back.data, text, len);
        }
        buf_clear(&packed);
        buf_clear(&back);
        assert_int_equal(pack(formats[f], 6, "", 0, 10, &packed), ERR_NONE);
        assert_int_equal(unpack(formats[f], packed.data, packed.len, 10, &back, &err), ERR_NONE);
        assert_int_equal(back.len, 0);
    }
    buf_free(&packed);
    buf_free(&back);
    mem_free(text);
}

/* Cut anywhere, the data is refused; changed, it is refused or, where there is a checksum, the same. */
static void test_damage(void **state)
{
    (void)state;
    char text[400];
    struct buf packed, back;
    struct err err;
    buf_init(&packed, BUF_UNLIMITED);
    buf_init(&back, BUF_UNLIMITED);
    fill(text, sizeof text);
    for (size_t f = 0; f < 3; f++) {
        buf_clear(&packed);
        assert_int_equal(pack(formats[f], 6, text, sizeof text, 100, &packed), ERR_NONE);
        for (size_t len = 0; len < packed.len; len++) {
            char *copy = mem_need(len + 1); /* so that reading past the end is seen */
            memcpy(copy, packed.data, len);
            buf_clear(&back);
            assert_int_equal(unpack(formats[f], copy, len, 50, &back, &err), ERR_CORRUPT);
            assert_non_null(strstr(err.message, len > 0 ? "is cut off after " : "is empty"));
            mem_free(copy);
        }
        for (size_t i = 0; i < packed.len; i++) {
            for (int bit = 0; bit < 8; bit++) {
                packed.data[i] ^= (char)(1 << bit);
                buf_clear(&back);
                enum err_code code = unpack(formats[f], packed.data, packed.len, 50, &back, &err);
                assert_true(code == ERR_CORRUPT || code == ERR_NONE);
                /* Bits that mean nothing can change: time and system, the rest of the last byte. */
                if (code == ERR_NONE && formats[f] != COMPRESS_RAW) {
                    assert_int_equal(back.len, sizeof text);
                    assert_memory_equal(back.data, text, sizeof text);
                }
                packed.data[i] ^= (char)(1 << bit);
            }
        }
    }
    buf_free(&packed);
    buf_free(&back);
}

static void expect(const struct buf *packed, const char *text, const char *message)
{
    struct buf back;
    struct err err;
    buf_init(&back, 10000);
    enum err_code code = unpack(COMPRESS_GZIP, packed->data, packed->len, 5, &back, &err);
    assert_int_equal(code, message != NULL ? ERR_CORRUPT : ERR_NONE);
    buf_addc(&back, '\0');
    assert_string_equal(back.data, text);
    if (message != NULL)
        assert_string_equal(err.message, message);
    buf_free(&back);
}

static void test_members(void **state)
{
    (void)state;
    struct buf packed;
    buf_init(&packed, 10000);
    assert_int_equal(pack(COMPRESS_GZIP, 6, "one ", 4, 100, &packed), ERR_NONE);
    assert_int_equal(pack(COMPRESS_GZIP, 6, "", 0, 100, &packed), ERR_NONE);
    assert_int_equal(pack(COMPRESS_GZIP, 6, "three", 5, 100, &packed), ERR_NONE);
    assert_int_equal(packed.len, 69);
    expect(&packed, "one three", NULL);
    buf_add(&packed, "\0\0\0", 3);
    expect(&packed, "one three", NULL);
    buf_addc(&packed, 'x');
    expect(&packed, "one three", "the compressed data ends at byte 69 of 73; what follows is no part of it");
    packed.len = 69;
    buf_add(&packed, "\x1f\x8b\x08", 3);
    expect(&packed, "one three", "the compressed data is cut off after 72 bytes");
    buf_add(&packed, "\xff", 1);
    expect(&packed, "one three", "the compressed data is damaged before byte 74: unknown header flags set");
    buf_free(&packed);
}

#ifdef WORKERS_FAULT_INJECTION
static void test_out_of_memory(void **state)
{
    (void)state;
    struct compress compress;
    struct err err;
    for (size_t f = 0; f < 3; f++) {
        unsigned long nth = 1;
        for (enum err_code code = ERR_NOMEM; code != ERR_NONE; nth++) {
            assert_true(nth < 20);
            mem_fail_from(nth);
            code = compress_open(&compress, formats[f], 6, "abc", 3, &err);
            mem_fail_from(0);
            compress_close(&compress);
            assert_true(code == ERR_NONE || code == ERR_NOMEM);
        }
        assert_true(nth > 4);
    }
    /* The window of 32 KiB comes when it is needed: when the output is taken in pieces. */
    struct buf packed, back;
    buf_init(&packed, 10000);
    buf_init(&back, 10000);
    assert_int_equal(pack(COMPRESS_GZIP, 6, "abcdefgh", 8, 100, &packed), ERR_NONE);
    assert_non_null(buf_reserve(&back, 100));
    assert_int_equal(compress_open_reading(&compress, COMPRESS_GZIP, packed.data, packed.len, &err),
                     ERR_NONE);
    mem_fail_from(1);
    assert_int_equal(drain(&compress, 3, &back, &err), ERR_NOMEM);
    assert_int_equal(compress_open_reading(&compress, COMPRESS_GZIP, packed.data, packed.len, &err),
                     ERR_NOMEM);
    mem_fail_from(0);
    buf_free(&packed);
    buf_free(&back);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_members),
#ifdef WORKERS_FAULT_INJECTION
        cmocka_unit_test(test_out_of_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
