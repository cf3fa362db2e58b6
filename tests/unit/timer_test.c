/* script/timer.h in virtual time: order, repetition, what keeps the clock moving. */
#include "base/clock.h"
#include "script/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

static uv_loop_t loop;
static char seen[64];

struct noted {
    struct timer *timer;
    char name;
    bool closes;
};

static void note(void *ctx)
{
    struct noted *noted = ctx;
    size_t len = strlen(seen);
    seen[len] = noted->name;
    seen[len + 1] = '\0';
    if (noted->closes)
        timer_close(&noted->timer);
}

static int set_up(void **state)
{
    (void)state;
    seen[0] = '\0';
    clock_virtual_set(1000000);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void test_order(void **state)
{
    (void)state;
    struct noted list[] = {{NULL, 'a', true}, {NULL, 'b', true}, {NULL, 'c', true}, {NULL, 'd', true}};
    const uint64_t delays[] = {3600000, 10, 3600000, 0};
    for (int i = 0; i < 4; i++) {
        list[i].timer = timer_new(&loop, note, &list[i]);
        timer_start(list[i].timer, delays[i], 0);
        assert_true(timer_active(list[i].timer));
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing for the loop to wait for */
    int64_t mono = clock_mono_ms();
    assert_true(timer_fire_next());
    assert_int_equal(clock_now_ms(), 1000000);
    assert_true(timer_fire_next());
    assert_int_equal(clock_now_ms(), 1000010);
    assert_true(timer_fire_next());
    assert_true(timer_fire_next());
    assert_false(timer_fire_next());
    assert_string_equal(seen, "dbac"); /* of the same moment, the one set first */
    assert_int_equal(clock_now_ms(), 4600000);
    assert_int_equal(clock_mono_ms() - mono, 3600000);
}

static void test_repeat_stop_and_restart(void **state)
{
    (void)state;
    struct noted tick = {NULL, 't', false};
    struct noted late = {NULL, 'l', false};
    tick.timer = timer_new(&loop, note, &tick);
    late.timer = timer_new(&loop, note, &late);
    timer_start(tick.timer, 10, 10);
    timer_start(late.timer, 5, 0);
    timer_start(late.timer, 25, 0); /* set anew */
    for (int i = 0; i < 3; i++)
        assert_true(timer_fire_next());
    assert_string_equal(seen, "ttl");
    assert_false(timer_active(late.timer));
    timer_stop(tick.timer);
    timer_stop(tick.timer);
    assert_false(timer_fire_next());
    timer_close(&tick.timer);
    timer_close(&late.timer);
    timer_close(&late.timer);
    assert_null(late.timer);
}

static void test_unreferenced(void **state)
{
    (void)state;
    struct noted limit = {NULL, 'u', false};
    struct noted sleep = {NULL, 's', true};
    limit.timer = timer_new(&loop, note, &limit);
    sleep.timer = timer_new(&loop, note, &sleep);
    timer_unref(limit.timer);
    timer_start(limit.timer, 10, 10);
    assert_false(timer_fire_next()); /* nobody waits for it */
    timer_start(sleep.timer, 25, 0);
    while (timer_fire_next())
        ;
    assert_string_equal(seen, "uus");
    timer_close(&limit.timer);
}

static void test_clock_set(void **state)
{
    (void)state;
    struct noted sleep = {NULL, 's', true};
    int64_t mono = clock_mono_ms();
    sleep.timer = timer_new(&loop, note, &sleep);
    timer_start(sleep.timer, 100, 0);
    clock_virtual_set(5); /* the wall clock alone: what waits goes on waiting */
    assert_int_equal(clock_mono_ms(), mono);
    assert_true(timer_fire_next());
    assert_int_equal(clock_now_ms(), 105);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_repeat_stop_and_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreferenced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_clock_set, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
