/* SPDX-License-Identifier: MIT */
/* The numbered slabs of a class and the sets of them. */
#include "support.h"

#include <sched.h>
#include <stdatomic.h>

#include "metadata.h"
#include "os.h"
#include "slab_index.h"

/* The index never looks into a slab: any address serves as one. */
enum { SLABS = 20000, CLASS = 3, BUSY_CLASS = 4 };

static char slabs[SLABS];

static struct slab *slab_at(size_t i)
{
    return (struct slab *)(void *)&slabs[i];
}

static void insert_all(unsigned class)
{
    for (size_t i = 0; i < SLABS; i++) {
        uint32_t number;
        require(slab_index_insert(class, slab_at(i), &number));
        require(number == i);
    }
}

static void slabs_are_numbered_as_they_come(void **state)
{
    (void)state;
    assert_int_equal(slab_index_count(CLASS), 0);
    insert_all(CLASS);
    assert_int_equal(slab_index_count(CLASS), SLABS);
    for (uint32_t i = 0; i < SLABS; i++)
        require(slab_index_get(CLASS, i) == slab_at(i));
    assert_null(slab_index_take_lowest(CLASS, SLABS_AVAILABLE));
    assert_null(slab_index_take_highest(CLASS, SLABS_DIRTY));
}

static void shuffle(uint32_t *numbers, size_t count)
{
    struct random random = {count};

    for (size_t i = count - 1; i > 0; i--) {
        size_t j = random_below(&random, i + 1);
        uint32_t number = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = number;
    }
}

static void the_lowest_and_the_highest_come_first(void **state)
{
    static uint32_t numbers[SLABS];

    (void)state;
    for (uint32_t i = 0; i < SLABS; i++)
        numbers[i] = i;
    shuffle(numbers, SLABS);
    for (size_t i = 0; i < SLABS; i++) {
        slab_index_add(CLASS, SLABS_AVAILABLE, numbers[i]);
        slab_index_add(CLASS, SLABS_DIRTY, numbers[i]);
        /* Twice is once. */
        slab_index_add(CLASS, SLABS_DIRTY, numbers[i]);
    }
    for (size_t i = 0; i < SLABS; i++)
        require(slab_index_take_lowest(CLASS, SLABS_AVAILABLE) == slab_at(i));
    for (size_t i = SLABS; i-- > 0;)
        require(slab_index_take_highest(CLASS, SLABS_DIRTY) == slab_at(i));
    assert_null(slab_index_take_lowest(CLASS, SLABS_AVAILABLE));
    assert_null(slab_index_take_highest(CLASS, SLABS_AVAILABLE));
    assert_null(slab_index_take_lowest(CLASS, SLABS_DIRTY));
}

static void a_set_of_one_class_is_not_anothers(void **state)
{
    (void)state;
    slab_index_add(CLASS, SLABS_AVAILABLE, 5);
    assert_null(slab_index_take_lowest(CLASS + 1, SLABS_AVAILABLE));
    assert_null(slab_index_take_lowest(CLASS, SLABS_DIRTY));
    assert_ptr_equal(slab_index_take_highest(CLASS, SLABS_AVAILABLE),
                     slab_at(5));
}

/* --- many threads --- */

enum { ROUNDS = UNDER_SANITIZER ? 5000 : 100000, THREADS = 4 };

static atomic_int holders[SLABS];

static void *take_and_add(void *argument)
{
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        struct slab *slab = random_below(&random, 2) == 0
            ? slab_index_take_lowest(BUSY_CLASS, SLABS_AVAILABLE)
            : slab_index_take_highest(BUSY_CLASS, SLABS_AVAILABLE);
        if (slab == NULL)
            continue;
        size_t number = (size_t)((char *)slab - slabs);
        require(atomic_fetch_add(&holders[number], 1) == 0);
        require(atomic_fetch_sub(&holders[number], 1) == 1);
        slab_index_add(BUSY_CLASS, SLABS_AVAILABLE, (uint32_t)number);
    }
    return NULL;
}

static void a_slab_is_taken_by_one_thread_and_none_is_lost(void **state)
{
    /* Few at a time, in distant parts of the tree, so that its bits change
     * up to the root. */
    const uint32_t members[] = {0, 1, 63, 64, 4095, 4096, 19999};
    size_t found = 0;

    (void)state;
    insert_all(BUSY_CLASS);
    for (size_t i = 0; i < ARRAY_LENGTH(members); i++)
        slab_index_add(BUSY_CLASS, SLABS_AVAILABLE, members[i]);
    run_threads(THREADS, take_and_add, NULL, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(members); i++) {
        struct slab *slab =
            slab_index_take_lowest(BUSY_CLASS, SLABS_AVAILABLE);
        assert_ptr_equal(slab, slab_at(members[found]));
        found++;
    }
    assert_null(slab_index_take_lowest(BUSY_CLASS, SLABS_AVAILABLE));
}

/* --- one is taken while its neighbour is added --- */

enum {
    MEETINGS = UNDER_SANITIZER ? 2000 : 100000,
    MEETING_CLASS = BUSY_CLASS + 2,
    DISTANCE_MAX = 64,
};

static atomic_uint met;

/* Waits for the other thread, for as short a time as possible. */
static void meet(unsigned meeting)
{
    atomic_fetch_add(&met, 1);
    for (unsigned spins = 0; atomic_load(&met) < 2 * meeting; spins++)
        if (spins > 1000)
            sched_yield();
}

static void *add_neighbour(void *unused)
{
    for (unsigned i = 1; i <= MEETINGS; i++) {
        meet(2 * i - 1);
        for (unsigned wait = 0; wait < i % DISTANCE_MAX; wait++)
            atomic_signal_fence(memory_order_seq_cst);
        slab_index_add(MEETING_CLASS, SLABS_AVAILABLE, 4097);
        meet(2 * i);
    }
    return unused;
}

static void *take_first(void *unused)
{
    for (unsigned i = 1; i <= MEETINGS; i++) {
        slab_index_add(MEETING_CLASS, SLABS_AVAILABLE, 4096);
        meet(2 * i - 1);
        struct slab *first =
            slab_index_take_lowest(MEETING_CLASS, SLABS_AVAILABLE);
        meet(2 * i);
        struct slab *second =
            slab_index_take_lowest(MEETING_CLASS, SLABS_AVAILABLE);
        require(first == slab_at(4096) && second == slab_at(4097));
    }
    return unused;
}

static void *take_first_or_add_neighbour(void *argument)
{
    return argument == slabs ? take_first(NULL) : add_neighbour(NULL);
}

static void a_slab_that_is_added_beside_a_taken_one_is_found(void **state)
{
    (void)state;
    insert_all(MEETING_CLASS);
    run_threads(2, take_first_or_add_neighbour, slabs, 1);
}

static void *insert_many(void *argument)
{
    unsigned class = BUSY_CLASS + 1;

    for (size_t i = 0; i < SLABS / THREADS; i++) {
        uint32_t number;
        require(slab_index_insert(class, argument, &number));
        slab_index_add(class, SLABS_AVAILABLE, number);
        require(slab_index_get(class, number) == argument);
    }
    return NULL;
}

static void threads_that_insert_at_once_get_numbers_of_their_own(void **state)
{
    unsigned class = BUSY_CLASS + 1;
    uint32_t count = SLABS / THREADS * THREADS;

    (void)state;
    run_threads(THREADS, insert_many, slabs, 1);
    assert_int_equal(slab_index_count(class), count);
    for (uint32_t i = 0; i < count; i++) {
        require(slab_index_get(class, i) != NULL);
        require(slab_index_take_lowest(class, SLABS_AVAILABLE) != NULL);
    }
    assert_null(slab_index_take_lowest(class, SLABS_AVAILABLE));
}

static void insert_without_memory(void *unused)
{
    enum { NEW_CLASS = 40 };
    uint32_t number, next;

    (void)unused;
    os_set_limit(os_mapped_bytes());
    while (metadata_allocate(16, 16) != NULL)
        ;
    require(!slab_index_insert(NEW_CLASS, slab_at(0), &number));
    require(slab_index_get(NEW_CLASS, number) == NULL);
    os_set_limit(0);
    require(slab_index_insert(NEW_CLASS, slab_at(1), &next));
    require(next > number && slab_index_get(NEW_CLASS, next) == slab_at(1));
}

static void without_memory_a_slab_is_not_inserted(void **state)
{
    (void)state;
    assert_child_succeeds(insert_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slabs_are_numbered_as_they_come),
        cmocka_unit_test(the_lowest_and_the_highest_come_first),
        cmocka_unit_test(a_set_of_one_class_is_not_anothers),
        cmocka_unit_test(a_slab_is_taken_by_one_thread_and_none_is_lost),
        cmocka_unit_test(a_slab_that_is_added_beside_a_taken_one_is_found),
        cmocka_unit_test(threads_that_insert_at_once_get_numbers_of_their_own),
        cmocka_unit_test(without_memory_a_slab_is_not_inserted),
    };

    return run_all(tests);
}
