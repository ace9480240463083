/* SPDX-License-Identifier: MIT */
/* Blocks that one thread allocates and another one frees. */
#include "support.h"

#include <sched.h>
#include <stdatomic.h>

#define RING_SLOTS 256 /* a power of two */
#define PAIRS_MAX 4

/* One thread puts, one other takes. */
struct ring {
    _Alignas(64) atomic_size_t put;
    _Alignas(64) atomic_size_t taken;
    struct filled slots[RING_SLOTS];
};

struct route {
    struct ring *ring;
    size_t messages;
    size_t size_max;
};

static struct ring rings[PAIRS_MAX];

static void ring_put(struct ring *ring, struct filled filled)
{
    size_t at = atomic_load_explicit(&ring->put, memory_order_relaxed);

    while (at - atomic_load_explicit(&ring->taken, memory_order_acquire)
           == RING_SLOTS)
        sched_yield();
    ring->slots[at % RING_SLOTS] = filled;
    atomic_store_explicit(&ring->put, at + 1, memory_order_release);
}

static struct filled ring_take(struct ring *ring)
{
    size_t at = atomic_load_explicit(&ring->taken, memory_order_relaxed);

    while (atomic_load_explicit(&ring->put, memory_order_acquire) == at)
        sched_yield();
    struct filled filled = ring->slots[at % RING_SLOTS];
    atomic_store_explicit(&ring->taken, at + 1, memory_order_release);
    return filled;
}

static void *produce(void *argument)
{
    struct route *route = argument;
    struct random random = {route->messages};

    for (size_t i = 0; i < route->messages; i++)
        ring_put(route->ring,
                 filled_allocate(random_size(&random, 16, route->size_max),
                                 i));
    return NULL;
}

static void *consume(void *argument)
{
    struct route *route = argument;

    for (size_t i = 0; i < route->messages; i++) {
        struct filled filled = ring_take(route->ring);
        filled_free(&filled);
    }
    return NULL;
}

struct role {
    thread_body *body;
    struct route *route;
};

static void *play(void *argument)
{
    struct role *role = argument;

    return role->body(role->route);
}

static void run_pairs(size_t pairs, size_t messages, size_t size_max)
{
    struct route routes[PAIRS_MAX];
    struct role roles[2 * PAIRS_MAX];

    for (size_t i = 0; i < pairs; i++) {
        routes[i] = (struct route){&rings[i], messages, size_max};
        roles[2 * i] = (struct role){produce, &routes[i]};
        roles[2 * i + 1] = (struct role){consume, &routes[i]};
    }
    run_threads(2 * pairs, play, roles, sizeof roles[0]);
}

static void blocks_arrive_whole_and_their_memory_goes_round(void **state)
{
    enum { MESSAGES = UNDER_SANITIZER ? 30000 : 300000 };

    (void)state;
    run_pairs(1, MESSAGES, 2000);
    size_t mapped = stats_now().mapped_bytes;
    run_pairs(1, MESSAGES, 2000);
    /* At most 256 blocks are under way; the rest must have come back. */
    assert_in_range(stats_now().mapped_bytes, 0, mapped + 4 * MIB);
    assert_int_equal(stats_now().small_live_blocks, 0);
}

static void many_pairs_do_not_mix_up_their_blocks(void **state)
{
    enum { MESSAGES = UNDER_SANITIZER ? 10000 : 100000 };

    (void)state;
    run_pairs(PAIRS_MAX, MESSAGES, 1000);
    assert_int_equal(stats_now().small_live_blocks, 0);
}

static void large_blocks_may_be_freed_by_another_thread(void **state)
{
    enum { MESSAGES = 300 };

    (void)state;
    run_pairs(2, MESSAGES, 2 * MIB);
    assert_int_equal(stats_now().large_live_blocks, 0);
    assert_int_equal(stats_now().small_live_blocks, 0);
}

struct batch {
    struct filled blocks[1000];
};

static void *free_batch(void *argument)
{
    struct batch *batch = argument;

    for (size_t i = 0; i < ARRAY_LENGTH(batch->blocks); i++)
        filled_free(&batch->blocks[i]);
    return NULL;
}

static void every_class_can_be_freed_elsewhere(void **state)
{
    static struct batch batch;
    size_t boundary = 0;

    (void)state;
    while (boundary < SMALL_SIZE_MAX) {
        boundary = partyalloc_good_size(boundary + 1);
        size_t count = 8 * MIB / boundary;
        if (count > ARRAY_LENGTH(batch.blocks))
            count = ARRAY_LENGTH(batch.blocks);
        for (size_t i = 0; i < count; i++)
            batch.blocks[i] = filled_allocate(boundary, i);
        run_thread(free_batch, &batch);
    }
    assert_int_equal(stats_now().small_live_blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_arrive_whole_and_their_memory_goes_round),
        cmocka_unit_test(many_pairs_do_not_mix_up_their_blocks),
        cmocka_unit_test(large_blocks_may_be_freed_by_another_thread),
        cmocka_unit_test(every_class_can_be_freed_elsewhere),
    };

    return run_all(tests);
}
