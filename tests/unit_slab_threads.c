/* SPDX-License-Identifier: MIT */
/* Slabs that threads share, while others give back pages and whole slabs. */
#include "support.h"

#include <stdatomic.h>

#include "size_class.h"
#include "slabs.h"

enum { THREADS = 4, ROUNDS = UNDER_SANITIZER ? 300 : 3000, CLASS_BUSY = 12 };

static atomic_bool purging_ends;

/* A block that two threads had at once would be found corrupted. */
static void *fill_and_return(void *argument)
{
    struct slab_source source = {.owner = (uint32_t)(uintptr_t)argument};
    size_t size = size_classes[CLASS_BUSY].size;
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        void *blocks[WANTED];
        size_t count = slab_fill(&source, CLASS_BUSY, blocks,
                                 1 + random_below(&random, WANTED));
        require(count > 0);
        for (size_t j = 0; j < count; j++)
            fill(blocks[j], size, (uintptr_t)argument + j);
        for (size_t j = 0; j < count; j++)
            require(holds(blocks[j], size, (uintptr_t)argument + j));
        slab_return(CLASS_BUSY, blocks, count);
        if (random_below(&random, 4) == 0)
            slab_let_go(&source);
    }
    slab_let_go(&source);
    return NULL;
}

static void *purge(void *unused)
{
    while (!atomic_load(&purging_ends)) {
        bool more;
        slab_purge_step(&more);
        slab_trim();
    }
    return unused;
}

static void *retire(void *unused)
{
    while (!atomic_load(&purging_ends))
        slab_retire(SIZE_MAX);
    return unused;
}

/* This makes new slabs. */
static void *carve_and_keep(void *unused)
{
    enum { CLASS = 31, FILLS = 400, FILL = 8 };
    struct slab_source source = {.owner = OWNER};
    static void *blocks[FILLS * FILL];

    fill_all(&source, CLASS, blocks, FILLS * FILL);
    slab_let_go(&source);
    slab_return(CLASS, blocks, FILLS * FILL);
    atomic_store(&purging_ends, true);
    return unused;
}

struct role {
    thread_body *body;
};

static void *play(void *argument)
{
    struct role *role = argument;

    return role->body(argument);
}

static void *fill_beside_a_purge(void *argument)
{
    fill_and_return(argument);
    atomic_store(&purging_ends, true);
    return NULL;
}

static void slabs_are_made_under_a_constant_trim(void **state)
{
    struct role roles[] = {{carve_and_keep}, {purge}};

    (void)state;
    run_threads(2, play, roles, sizeof roles[0]);
    atomic_store(&purging_ends, false);
    slab_trim();
}

static void threads_share_slabs_under_a_constant_purge(void **state)
{
    struct role roles[THREADS] = {{fill_beside_a_purge},
                                  {fill_and_return},
                                  {fill_and_return}, {purge}};
    struct slab_totals before = slab_totals();

    (void)state;
    run_threads(THREADS, play, roles, sizeof roles[0]);
    struct slab_totals after = slab_totals();
    /* All that was carved rests again. */
    assert_int_equal(after.carved_blocks - after.resting_blocks,
                     before.carved_blocks - before.resting_blocks);
    assert_in_range(after.slabs_made - before.slabs_made, 0, 64);
}

static void threads_share_slabs_that_are_retired_all_the_time(void **state)
{
    struct role roles[THREADS] = {{fill_beside_a_purge},
                                  {fill_and_return},
                                  {purge}, {retire}};

    (void)state;
    atomic_store(&purging_ends, false);
    retire_all();
    struct slab_totals before = what_there_is(slab_totals());
    run_threads(THREADS, play, roles, sizeof roles[0]);
    retire_all();
    struct slab_totals after = what_there_is(slab_totals());
    assert_memory_equal(&after, &before, sizeof after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slabs_are_made_under_a_constant_trim),
        cmocka_unit_test(threads_share_slabs_under_a_constant_purge),
        cmocka_unit_test(threads_share_slabs_that_are_retired_all_the_time),
    };

    return run_all(tests);
}
