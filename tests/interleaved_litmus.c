/* SPDX-License-Identifier: MIT */
/*
 * What interleavings have threads read, shown by the classic litmus tests: what
 * C11 forbids is never seen, and what it allows is, though the processor that
 * runs this may not do it.
 */
#include "support.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "interleaving.h"
#include "os.h"

enum { VALUES = 3 };

static _Atomic(unsigned) x, y;
static unsigned plain;
static unsigned seen[2]; /* by each thread */

/* How often both threads saw what, in all schedules so far. */
static unsigned (*outcomes)[VALUES];

static void note_outcome(void)
{
    outcomes[seen[0]][seen[1]]++;
}

static void run_litmus(interleaved_body *first, interleaved_body *second)
{
    struct interleaving scenario = {NULL, {first, second}, note_outcome};

    memset(outcomes, 0, VALUES * sizeof *outcomes);
    assert_interleavings(&scenario);
}

static unsigned load_relaxed(const _Atomic(unsigned) *object)
{
    return atomic_load_explicit(object, memory_order_relaxed);
}

static void store_relaxed(_Atomic(unsigned) *object, unsigned value)
{
    atomic_store_explicit(object, value, memory_order_relaxed);
}

/* --- store buffering --- */

static void store_x_load_y_relaxed(void)
{
    store_relaxed(&x, 1);
    seen[0] = load_relaxed(&y);
}

static void store_y_load_x_relaxed(void)
{
    store_relaxed(&y, 1);
    seen[1] = load_relaxed(&x);
}

static void store_x_load_y(void)
{
    atomic_store(&x, 1);
    seen[0] = atomic_load(&y);
}

static void store_y_load_x(void)
{
    atomic_store(&y, 1);
    seen[1] = atomic_load(&x);
}

static void store_y_load_x_behind_a_barrier(void)
{
    store_relaxed(&y, 1);
    require(os_barrier_everywhere());
    seen[1] = load_relaxed(&x);
}

static void both_may_miss_the_others_store(void **state)
{
    (void)state;
    run_litmus(store_x_load_y_relaxed, store_y_load_x_relaxed);
    assert_int_not_equal(outcomes[0][0], 0);
    assert_int_not_equal(outcomes[0][1], 0);
    assert_int_not_equal(outcomes[1][0], 0);
    assert_int_not_equal(outcomes[1][1], 0);
}

static void one_sees_a_sequentially_consistent_store(void **state)
{
    (void)state;
    run_litmus(store_x_load_y, store_y_load_x);
    assert_int_equal(outcomes[0][0], 0);
    assert_int_not_equal(outcomes[1][1], 0);
}

static void a_sequentially_consistent_side_is_not_enough(void **state)
{
    (void)state;
    run_litmus(store_x_load_y_relaxed, store_y_load_x);
    assert_int_not_equal(outcomes[0][0], 0);
}

static void one_sees_the_store_before_a_barrier_everywhere(void **state)
{
    (void)state;
    run_litmus(store_x_load_y_relaxed, store_y_load_x_behind_a_barrier);
    assert_int_equal(outcomes[0][0], 0);
    assert_int_not_equal(outcomes[1][1], 0);
}

/* --- message passing: x is the message, y says that it is there --- */

static void send_relaxed(void)
{
    store_relaxed(&x, 1);
    store_relaxed(&y, 1);
}

/* The message is 0 less 1, in as many bytes as the object has. */
static void send_by_wrapping(void)
{
    atomic_fetch_sub_explicit(&x, 1, memory_order_relaxed);
    store_relaxed(&y, 1);
}

static void receive_whether(void)
{
    seen[0] = load_relaxed(&y);
    seen[1] = load_relaxed(&x) != 0;
}

static void send(void)
{
    plain = 1;
    store_relaxed(&x, 1);
    atomic_store_explicit(&y, 1, memory_order_release);
}

static void send_and_send_on(void)
{
    send();
    atomic_fetch_add_explicit(&y, 1, memory_order_relaxed);
}

static void send_by_exchange(void)
{
    plain = 1;
    store_relaxed(&x, 1);
    atomic_exchange_explicit(&y, 1, memory_order_acq_rel);
}

static void receive_relaxed(void)
{
    seen[0] = load_relaxed(&y);
    seen[1] = load_relaxed(&x);
}

static void receive(void)
{
    seen[0] = atomic_load_explicit(&y, memory_order_acquire);
    seen[1] = load_relaxed(&x);
}

static void receive_plain_too(void)
{
    receive();
    if (seen[0] != 0)
        require(plain == 1);
}

static void receive_by_exchange(void)
{
    seen[0] = atomic_exchange_explicit(&y, 2, memory_order_acquire);
    seen[1] = load_relaxed(&x);
    if (seen[0] != 0)
        require(plain == 1);
}

static void a_message_may_come_after_its_flag(void **state)
{
    (void)state;
    run_litmus(send_relaxed, receive);
    assert_int_not_equal(outcomes[1][0], 0);
    run_litmus(send, receive_relaxed);
    assert_int_not_equal(outcomes[1][0], 0);
    run_litmus(send_by_wrapping, receive_whether);
    assert_int_not_equal(outcomes[1][0], 0);
}

static void a_released_message_is_acquired(void **state)
{
    interleaved_body *const senders[] = {send, send_by_exchange,
                                         send_and_send_on};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(senders); i++) {
        run_litmus(senders[i], receive_plain_too);
        assert_int_not_equal(outcomes[1][1], 0);
        assert_int_equal(outcomes[1][0] + outcomes[2][0], 0);
        run_litmus(senders[i], receive_by_exchange);
        assert_int_not_equal(outcomes[1][1], 0);
        assert_int_equal(outcomes[1][0] + outcomes[2][0], 0);
    }
}

/* --- one object --- */

static void count_to_two(void)
{
    store_relaxed(&x, 1);
    store_relaxed(&x, 2);
}

static void look_twice(void)
{
    seen[0] = load_relaxed(&x);
    seen[1] = load_relaxed(&x);
}

static void change_and_look(void)
{
    unsigned before = atomic_fetch_add_explicit(&x, 0, memory_order_relaxed);

    seen[0] = before;
    seen[1] = load_relaxed(&x);
}

static void no_value_comes_back(void **state)
{
    interleaved_body *const bodies[] = {look_twice, change_and_look};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
        run_litmus(count_to_two, bodies[i]);
        assert_int_equal(outcomes[1][0] + outcomes[2][0] + outcomes[2][1], 0);
        assert_int_not_equal(outcomes[0][0], 0);
        assert_int_not_equal(outcomes[2][2], 0);
    }
}

/* --- data races --- */

static void store_plain(void)
{
    plain++;
}

static void load_plain_0(void)
{
    seen[0] = plain;
}

static void load_plain_1(void)
{
    seen[1] = plain;
}

static void store_bytes(void)
{
    char *byte = (char *)&plain;

    byte[1] = 1;
}

static void send_a_plain_message_relaxed(void)
{
    plain = 1;
    store_relaxed(&y, 1);
}

static void receive_in_any_case(void)
{
    seen[0] = atomic_load_explicit(&y, memory_order_acquire);
    seen[1] = plain;
}

static void a_data_race_ends_the_process(void **state)
{
    struct interleaving races[] = {
        {NULL, {store_plain, store_plain}, note_outcome},
        {NULL, {store_plain, load_plain_1}, note_outcome},
        {NULL, {store_bytes, load_plain_1}, note_outcome},
        {NULL, {store_plain, store_bytes}, note_outcome},
        {NULL,
         {send_a_plain_message_relaxed, receive_in_any_case},
         note_outcome},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(races); i++)
        assert_interleavings_stop(&races[i], "data race");
}

static void two_may_load(void **state)
{
    (void)state;
    run_litmus(load_plain_0, load_plain_1);
    assert_int_not_equal(outcomes[0][0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_may_miss_the_others_store),
        cmocka_unit_test(one_sees_a_sequentially_consistent_store),
        cmocka_unit_test(a_sequentially_consistent_side_is_not_enough),
        cmocka_unit_test(one_sees_the_store_before_a_barrier_everywhere),
        cmocka_unit_test(a_message_may_come_after_its_flag),
        cmocka_unit_test(a_released_message_is_acquired),
        cmocka_unit_test(no_value_comes_back),
        cmocka_unit_test(a_data_race_ends_the_process),
        cmocka_unit_test(two_may_load),
    };

    outcomes = mmap(NULL, VALUES * sizeof *outcomes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(outcomes != MAP_FAILED);
    /* What is rarely seen takes as many. */
    setenv("SCHEDULES", "400", 1);
    return run_all(tests);
}
