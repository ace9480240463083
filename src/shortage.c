/* SPDX-License-Identifier: MIT */
#include "shortage.h"

#include <limits.h>

#include "chunk.h"
#include "depot.h"
#include "large.h"
#include "os.h"
#include "slab.h"
#include "thread.h"
#include "thread_cache.h"

enum {
    /* Room for a small block is made so many bytes at a time. */
    SMALL_STEP = 256 << 10,
    /* Steps in which what threads have left is handed on bit by bit, before it
     * is all at once: no end of it need come, since a thread that borrows its
     * cache leaves it itself each time. */
    LEFT_STEPS_MAX = 64,
    ANY_NUMBER = INT_MAX,
};

/* What may help; false: there is nothing of it. */
struct measure {
    bool (*take)(size_t bytes);
    unsigned turns_max;
};

static bool hand_on_some_left(size_t bytes)
{
    (void)bytes;
    return cache_flush_left(0);
}

static bool hand_on_all_left(size_t bytes)
{
    (void)bytes;
    cache_flush_all_left();
    return true;
}

static bool hand_on_unused(size_t bytes)
{
    (void)bytes;
    cache_look_at_threads();
    cache_flush_unused();
    return true;
}

static bool drop_kept(size_t bytes)
{
    return large_drop(bytes) != 0;
}

static bool drop_chunk(size_t bytes)
{
    (void)bytes;
    return chunk_drop() != 0;
}

static bool retire_slabs(size_t bytes)
{
    return slab_retire(bytes) != 0;
}

/* What the thread and the depot have keeps slabs from being free as a whole. */
static bool bring_to_rest(size_t bytes)
{
    (void)bytes;
    thread_flush();
    depot_drain_all();
    return true;
}

/* First what is free already, and what costs others least. */
static const struct measure for_small[] = {
    {hand_on_some_left, LEFT_STEPS_MAX},
    {hand_on_all_left, 1},
    {hand_on_unused, 1},
    {drop_kept, ANY_NUMBER},
    {drop_chunk, 1},
    {retire_slabs, ANY_NUMBER},
    {bring_to_rest, 1},
    {retire_slabs, ANY_NUMBER},
    {NULL, 0},
};

static const struct measure for_much[] = {
    {drop_kept, ANY_NUMBER},
    {drop_chunk, 1},
    {retire_slabs, ANY_NUMBER},
    {hand_on_all_left, 1},
    {hand_on_unused, 1},
    {bring_to_rest, 1},
    {retire_slabs, ANY_NUMBER},
    {NULL, 0},
};

struct shortage shortage_of_small(void)
{
    return (struct shortage){.bytes = SMALL_STEP, .next = for_small};
}

/* Whether all measures together can be enough: else nothing is given up.  What
 * the system itself leaves besides is not known. */
static bool can_help(size_t bytes)
{
    size_t most = os_room_bytes() + large_kept_bytes() + chunk_left_bytes() +
                  slab_free_bytes();
    if (bytes <= most)
        return true;
    return bytes - most <= cache_totals().bytes + depot_totals().bytes +
                               slab_local_bytes();
}

struct shortage shortage_of(size_t bytes)
{
    return (struct shortage){
        .bytes = bytes,
        .next = can_help(bytes) ? for_much : NULL,
    };
}

bool shortage_relieve(struct shortage *shortage)
{
    if (shortage->next == NULL)
        return false;
    for (; shortage->next->take != NULL; shortage->next++) {
        if (shortage->turns++ < shortage->next->turns_max &&
            shortage->next->take(shortage->bytes))
            return true;
        shortage->turns = 0;
    }
    return false;
}
