/* SPDX-License-Identifier: MIT */
/*
 * Threads that allocate and free by the public functions, from their first call
 * to their end, beside whatever can come between, in every order.
 */
#include "support.h"

#include <pthread.h>
#include <string.h>

#include "chunk.h"
#include "depot.h"
#include "interleaving.h"
#include "os.h"
#include "size_class.h"
#include "slab.h"
#include "slab_index.h"
#include "slab_internal.h"
#include "thread_cache.h"

enum {
    SMALL = 3000,  /* bytes; few of them are a slab */
    MEDIUM = 20000, /* these go singly */
    LARGE = 300000, /* and these have mappings of their own */
    SHARED = 3,
    CACHES_MAX = 8,
};

static void *shared[SHARED];
static void *kept[2]; /* of each thread, to its end */

static void *allocate(size_t size)
{
    void *block = partyalloc_allocate(size, ANY_TYPE);

    require(block != NULL);
    use_block(block);
    return block;
}

static void release(void *block)
{
    if (block != NULL)
        use_block(block);
    partyalloc_free(block, ANY_TYPE);
}

/* --- bodies --- */

static void allocate_and_free(size_t size)
{
    void *first = allocate(size);
    void *second = allocate(size);

    require(first != second);
    release(first);
    release(second);
}

static void allocate_and_free_small(void)
{
    allocate_and_free(SMALL);
}

static void allocate_and_free_medium(void)
{
    allocate_and_free(MEDIUM);
}

static void use_a_large_block(void)
{
    void *block = partyalloc_reallocate(allocate(LARGE), 3 * LARGE, ANY_TYPE);

    require(block != NULL);
    memset(block, 2, 3 * LARGE);
    release(block);
}

static pthread_key_t late_key;

/* Frees a block when the library's destructor has run, since that key is older.
 */
static void allocate_and_free_late(void)
{
    require(pthread_setspecific(late_key, allocate(SMALL)) == 0);
}

static void free_shared(void)
{
    for (size_t i = 0; i < SHARED; i++)
        release(shared[i]);
}

static void free_first_shared(void)
{
    partyalloc_free(shared[0], ANY_TYPE);
    partyalloc_thread_flush();
}

static void allocate_free_and_flush(void)
{
    allocate_and_free(SMALL);
    partyalloc_thread_flush();
}

static void trim(void)
{
    partyalloc_trim();
}

static void maintain(void)
{
    partyalloc_maintain(UINT64_C(1000000));
}

/* What other threads do meanwhile is seen in part, but not more than there is.
 */
static void look_at_figures(void)
{
    struct partyalloc_stats stats = stats_now();

    require(stats.small_live_blocks <= SHARED + 3);
    require(stats.large_live_blocks == 0);
    require(stats.mapped_bytes <= 64 * MIB);
}

static void claim_what_is_idle(void)
{
    cache_look_at_threads();
    cache_flush_unused();
}

/* So that a thread has a cache with something to hand on, and nothing of the
 * size that it wants next. */
static void use_another_size(void)
{
    allocate_and_free_medium();
}

static void allocate_and_keep(void)
{
    kept[0] = allocate(SMALL);
}

static void claim_allocate_and_keep(void)
{
    claim_what_is_idle();
    kept[1] = allocate(SMALL);
}

static void hand_on_what_was_left(void)
{
    cache_flush_left(0);
    cache_flush_all_left();
}

static void reserve(void)
{
    require(partyalloc_reserve(MIB) == 0);
}

static void allocate_what_there_is(void)
{
    void *first = partyalloc_allocate(SMALL, ANY_TYPE);
    void *second = partyalloc_allocate(SMALL, ANY_TYPE);

    require(first == NULL || first != second);
    release(first);
    release(second);
}

/* --- before --- */

/* By a thread that ends, whose cache lies there for the next one. */
static void *share(void *size)
{
    for (size_t i = 0; i < SHARED; i++)
        shared[i] = allocate(*(size_t *)size);
    release(allocate(SMALL));
    return NULL;
}

static void share_small(void)
{
    size_t size = SMALL;

    run_thread(share, &size);
}

static void share_small_and_free_late(void)
{
    share_small();
    require(pthread_key_create(&late_key, release) == 0);
}

static void share_medium(void)
{
    size_t size = MEDIUM;

    run_thread(share, &size);
}

static void leave_nothing_below_the_cap(void)
{
    share_small();
    partyalloc_trim();
    chunk_drop();
    require(partyalloc_set_limit(os_mapped_bytes()) == 0);
}

/* --- after --- */

static void require_all_rests(void)
{
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        for (uint32_t i = 0; i < slab_index_count(class); i++) {
            struct slab *slab = slab_index_get(class, i);
            require(atomic_load(&slab->held) != atomic_load(&slab->placed));
            require(atomic_load(&slab->resting) == atomic_load(&slab->carved));
        }
    require(slab_totals().resting_blocks == slab_totals().carved_blocks);
    require(slab_local_bytes() == 0);
}

/* Each cache lies where the next thread finds it, once, and whole. */
static void require_caches_are_idle(void)
{
    struct cache *caches[CACHES_MAX];
    size_t count = 0;

    for (struct cache *next; (next = cache_take_idle()) != NULL;) {
        require(count < CACHES_MAX && !cache_is_claimed(next));
        for (size_t i = 0; i < count; i++)
            require(caches[i] != next);
        caches[count++] = next;
    }
    require(count == cache_totals().caches);
    for (size_t i = 0; i < count; i++)
        cache_put_flushed(caches[i]);
}

/* The thread that calls this has no cache. */
static void nothing_is_lost(void)
{
    cache_flush_all_left();
    depot_drain_all();
    require(cache_totals().blocks == 0 && depot_totals().blocks == 0);
    require_all_rests();
    require_caches_are_idle();
    partyalloc_set_limit(0);
    allocate_and_free_small();
    require(stats_now().small_live_blocks == 0);
}

static void *free_shared_by_a_thread(void *unused)
{
    free_shared();
    return unused;
}

static void shared_blocks_live(void)
{
    for (size_t i = 0; i < SHARED; i++)
        require(partyalloc_usable_size(shared[i]) >= SMALL);
    run_thread(free_shared_by_a_thread, NULL);
    nothing_is_lost();
}

static void *free_kept_by_a_thread(void *unused)
{
    release(kept[0]);
    release(kept[1]);
    return unused;
}

static void kept_blocks_live(void)
{
    require(kept[0] != kept[1]);
    run_thread(free_kept_by_a_thread, NULL);
    shared_blocks_live();
}

/* --- two threads --- */

static void two_come_allocate_and_go(void **state)
{
    struct interleaving small = {
        share_small,
        {allocate_and_free_small, allocate_and_free_small},
        shared_blocks_live};
    struct interleaving medium = {
        share_small,
        {allocate_and_free_medium, allocate_and_free_medium},
        shared_blocks_live};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&medium);
}

static void one_frees_after_its_end(void **state)
{
    struct interleaving scenario = {
        share_small_and_free_late,
        {allocate_and_free_late, allocate_and_free_small},
        shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

static void one_frees_what_the_other_may_allocate(void **state)
{
    struct interleaving small = {share_small,
                                 {free_shared, allocate_and_free_small},
                                 nothing_is_lost};
    struct interleaving medium = {share_medium,
                                  {free_shared, allocate_and_free_medium},
                                  nothing_is_lost};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&medium);
}

static void two_flush_their_caches(void **state)
{
    struct interleaving scenario = {
        share_small,
        {allocate_free_and_flush, allocate_free_and_flush},
        shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

/* A cache is claimed whenever its thread stands still, wherever that is; or has
 * gone on since it was looked at. */
static void a_thread_is_taken_to_be_idle(void **state)
{
    struct interleaving small = {share_small,
                                 {allocate_and_free_small, claim_what_is_idle},
                                 shared_blocks_live};
    struct interleaving medium = {
        share_medium,
        {allocate_and_free_medium, claim_what_is_idle},
        shared_blocks_live};
    struct interleaving frees = {share_small, {free_shared, claim_what_is_idle},
                                 nothing_is_lost};
    struct interleaving goes_on = {share_medium,
                                   {allocate_and_keep, claim_allocate_and_keep},
                                   kept_blocks_live};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&medium);
    assert_interleavings(&frees);
    assert_interleavings_after(use_another_size, &goes_on);
}

static void what_threads_have_left_is_handed_on(void **state)
{
    struct interleaving scenario = {
        share_small,
        {allocate_and_free_small, hand_on_what_was_left},
        shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

static void all_is_trimmed_meanwhile(void **state)
{
    struct interleaving small = {share_small, {allocate_and_free_small, trim},
                                 shared_blocks_live};
    struct interleaving frees = {share_medium, {free_shared, trim},
                                 nothing_is_lost};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&frees);
}

static void upkeep_is_done_meanwhile(void **state)
{
    struct interleaving small = {share_small,
                                 {allocate_and_free_small, maintain},
                                 shared_blocks_live};
    struct interleaving frees = {share_medium, {free_shared, maintain},
                                 nothing_is_lost};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&frees);
}

static void two_trim(void **state)
{
    struct interleaving scenario = {share_small, {trim, trim},
                                    shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

static void figures_are_looked_at_meanwhile(void **state)
{
    struct interleaving small = {share_small,
                                 {allocate_and_free_small, look_at_figures},
                                 shared_blocks_live};
    struct interleaving frees = {share_medium, {free_shared, look_at_figures},
                                 nothing_is_lost};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&frees);
}

static void memory_is_reserved_meanwhile(void **state)
{
    struct interleaving scenario = {share_small,
                                    {allocate_and_free_small, reserve},
                                    shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

static void two_want_the_last_memory(void **state)
{
    struct interleaving scenario = {
        leave_nothing_below_the_cap,
        {allocate_what_there_is, allocate_what_there_is},
        shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

static void of_two_who_free_one_block_one_is_stopped(void **state)
{
    struct interleaving scenario = {share_medium,
                                    {free_first_shared, free_first_shared},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings_stop(&scenario, "double free");
}

/* --- forks --- */

/* What a thread had in hand that is not here is lost, but nothing is there
 * twice. */
static void live_in_the_child(void)
{
    void *blocks[200];

    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        blocks[i] = allocate(SMALL);
    require_disjoint(blocks, ARRAY_LENGTH(blocks));
    for (size_t i = 0; i < SHARED; i++)
        for (size_t j = 0; j < ARRAY_LENGTH(blocks); j++)
            require(blocks[j] != shared[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        release(blocks[i]);
    allocate_and_free(MEDIUM);
    use_a_large_block();
    partyalloc_trim();
    stats_now();
}

static void fork_here(void)
{
    fork_in_turn(live_in_the_child);
}

static void a_process_forks_while_a_thread_hands_on(void **state)
{
    struct interleaving flush = {share_small,
                                 {allocate_free_and_flush, fork_here},
                                 shared_blocks_live};
    struct interleaving all = {share_small, {trim, fork_here},
                               shared_blocks_live};
    struct interleaving upkeep = {share_medium, {maintain, fork_here},
                                  shared_blocks_live};

    (void)state;
    assert_interleavings(&flush);
    assert_interleavings(&all);
    assert_interleavings(&upkeep);
}

static void a_process_forks_beside_a_large_block(void **state)
{
    struct interleaving scenario = {share_small, {use_a_large_block, fork_here},
                                    shared_blocks_live};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_process_forks_while_a_thread_allocates(void **state)
{
    struct interleaving small = {share_small,
                                 {allocate_and_free_small, fork_here},
                                 shared_blocks_live};
    struct interleaving medium = {share_small,
                                  {allocate_and_free_medium, fork_here},
                                  shared_blocks_live};

    (void)state;
    assert_interleavings(&small);
    assert_interleavings(&medium);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_come_allocate_and_go),
        cmocka_unit_test(one_frees_after_its_end),
        cmocka_unit_test(one_frees_what_the_other_may_allocate),
        cmocka_unit_test(two_flush_their_caches),
        cmocka_unit_test(a_thread_is_taken_to_be_idle),
        cmocka_unit_test(what_threads_have_left_is_handed_on),
        cmocka_unit_test(all_is_trimmed_meanwhile),
        cmocka_unit_test(upkeep_is_done_meanwhile),
        cmocka_unit_test(two_trim),
        cmocka_unit_test(figures_are_looked_at_meanwhile),
        cmocka_unit_test(memory_is_reserved_meanwhile),
        cmocka_unit_test(two_want_the_last_memory),
        cmocka_unit_test(of_two_who_free_one_block_one_is_stopped),
        cmocka_unit_test(a_process_forks_while_a_thread_allocates),
        cmocka_unit_test(a_process_forks_while_a_thread_hands_on),
        cmocka_unit_test(a_process_forks_beside_a_large_block),
    };

    return run_all(tests);
}
