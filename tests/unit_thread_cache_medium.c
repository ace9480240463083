/* SPDX-License-Identifier: MIT */
/* A thread's cache: how many medium blocks it keeps. */
#include "support.h"

#include "caches.h"
#include "depot.h"
#include "size_class.h"
#include "thread.h"

static void of_each_medium_class_a_cache_keeps_a_few_blocks(void **state)
{
    enum { BLOCKS = 16 };

    (void)state;
    for (unsigned class = CLASS_COUNT - 1;
         size_classes[class].size > MEDIUM_ABOVE; class--) {
        size_t blocks_bytes = (size_t)BLOCKS * size_classes[class].size;
        free_much_of(class, blocks_bytes < MIB ? blocks_bytes : MIB);
        assert_true(cache_totals().blocks > 0);
        partyalloc_thread_flush();
        assert_int_equal(cache_totals().bytes, 0);
    }
}

static size_t blocks_of_class(unsigned class)
{
    return magazine_count_at(thread_bins->of_class[class].own.top);
}

static void a_medium_magazine_is_deep_when_blocks_go_to_and_fro(void **state)
{
    enum { CLASS = 30, BLOCKS = 40, FEW = 2, MANY_BLOCKS = 16, ROUNDS = 5 };

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            blocks[i] = allocate(CLASS);
        for (size_t i = 0; i < BLOCKS; i++)
            release(blocks[i]);
        if (round == 0)
            assert_in_range(blocks_of_class(CLASS), 1, FEW);
    }
    assert_in_range(blocks_of_class(CLASS), MANY_BLOCKS / 2, MANY_BLOCKS);
    partyalloc_thread_flush();
}

static void what_is_freed_stays_with_the_slab_that_the_cache_holds(void **state)
{
    enum { CLASS = 30, BLOCKS = 6 };

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = allocate(CLASS);
    const struct slab *slab = page_map_descriptor(blocks[0]);
    assert_ptr_equal(slab->holder, &thread_bins->sources[CLASS]);
    for (size_t i = 0; i < BLOCKS; i++)
        release(blocks[i]);
    assert_int_not_equal(slab->local_free, 0);
    assert_int_equal(slab->resting, 0);
    partyalloc_thread_flush();
}

/* Not to the depot, where magazines of them would be much memory. */
static void a_flush_brings_medium_blocks_to_their_slabs(void **state)
{
    enum { CLASS = 30, BLOCKS = 40, ROUNDS = 5 };

    (void)state;
    depot_drain_all();
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            blocks[i] = allocate(CLASS);
        for (size_t i = 0; i < BLOCKS; i++)
            release(blocks[i]);
    }
    assert_true(blocks_of_class(CLASS) > 0);
    partyalloc_thread_flush();
    assert_int_equal(blocks_of_class(CLASS), 0);
    assert_int_equal(depot_totals().blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_each_medium_class_a_cache_keeps_a_few_blocks),
        cmocka_unit_test(a_medium_magazine_is_deep_when_blocks_go_to_and_fro),
        cmocka_unit_test(
            what_is_freed_stays_with_the_slab_that_the_cache_holds),
        cmocka_unit_test(a_flush_brings_medium_blocks_to_their_slabs),
    };

    return run_all(tests);
}
