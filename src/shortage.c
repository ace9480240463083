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
    /* Room for a small block is made so many bytes at a time: unmapping a slab
     * takes 10 us. */
    SMALL_STEP = 64 << 10,
    /* The most steps in which left caches are handed on bit by bit, before that
     * is done all at once: otherwise it might never end, since a thread that
     * borrows a cache leaves it again each time. */
    LEFT_STEPS_MAX = 64,
    ANY_NUMBER = INT_MAX,
};

/* What may help; false: it has nothing to give. */
struct measure {
    bool (*take)(struct shortage *shortage);
    unsigned turns_max;
};

static bool hand_on_some_left(struct shortage *shortage)
{
    (void)shortage;
    return cache_flush_left(0);
}

static bool hand_on_all_left(struct shortage *shortage)
{
    (void)shortage;
    cache_flush_all_left();
    return true;
}

/* What idle threads hold, bit by bit.  Slabs that become free by this are given
 * up at once. */
static bool hand_on_some_unused(struct shortage *shortage)
{
    if (shortage->turns == 1)
        cache_look_at_threads();
    if (!cache_flush_unused_behind(&shortage->flushed))
        return false;
    slab_retire(shortage->bytes);
    return true;
}

static bool drop_kept(struct shortage *shortage)
{
    return large_drop(shortage->bytes) != 0;
}

static bool drop_chunk(struct shortage *shortage)
{
    (void)shortage;
    return chunk_drop() != 0;
}

static bool retire_slabs(struct shortage *shortage)
{
    return slab_retire(shortage->bytes) != 0;
}

/* Blocks in the cache and the depot keep slabs from being wholly free. */
static bool bring_to_rest(struct shortage *shortage)
{
    (void)shortage;
    thread_flush();
    depot_drain_all();
    return true;
}

/* First what costs others least. */
static const struct measure for_small[] = {
    {hand_on_some_left, LEFT_STEPS_MAX},
    {hand_on_all_left, 1},
    {drop_kept, ANY_NUMBER},
    {drop_chunk, 1},
    {retire_slabs, ANY_NUMBER},
    {hand_on_some_unused, ANY_NUMBER},
    {bring_to_rest, 1},
    {retire_slabs, ANY_NUMBER},
    {NULL, 0},
};

static const struct measure for_much[] = {
    {drop_kept, ANY_NUMBER},
    {drop_chunk, 1},
    {retire_slabs, ANY_NUMBER},
    {hand_on_all_left, 1},
    {hand_on_some_unused, ANY_NUMBER},
    {bring_to_rest, 1},
    {retire_slabs, ANY_NUMBER},
    {NULL, 0},
};

struct shortage shortage_of_small(void)
{
    return (struct shortage){.bytes = SMALL_STEP, .next = for_small};
}

/* Whether all measures together can be enough: else nothing is given up.  How
 * much the system itself still has is not known. */
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
            shortage->next->take(shortage))
            return true;
        shortage->turns = 0;
    }
    return false;
}
