/* SPDX-License-Identifier: MIT */
/* Taking blocks back into slabs and noting where they are: where every block
 * that leaves a thread's cache is judged. */
#include "slab_internal.h"

#include "fatal.h"
#include "magazine.h"
#include "slab_state.h"

bool slab_is_live(unsigned class, const void *pointer)
{
    _Atomic(uint8_t) *state = slab_state(class, pointer);
    /* Relaxed: what the rightful holder of a block asks of it does not
     * change meanwhile. */
    return state != NULL &&
           atomic_load_explicit(state, memory_order_relaxed) == BLOCK_OUT;
}

SLOW_PATH _Noreturn void slab_misuse_slow(unsigned class, const void *block)
{
    _Atomic(uint8_t) *state = slab_state(class, block);
    /* An own block on top of its magazine is OUT, and freed twice. */
    bool never =
        state == NULL ||
        atomic_load_explicit(state, memory_order_relaxed) == BLOCK_FRESH;
    fatal_misuse(never ? "invalid free" : "double free", block);
}

/*
 * Counts blocks that came to rest in one slab.  A slab that nobody holds and
 * that had blocks at rest before is listed as available already, or about to be
 * (I6).
 */
static void rested(struct slab *slab, uint32_t count)
{
    /* Sequentially consistent: see slab_unhold(). */
    uint32_t before = atomic_fetch_add(&slab->resting, count);
    if (atomic_load(&slab->held))
        return;
    uint32_t purge_at =
        atomic_load_explicit(&slab->purge_at, memory_order_relaxed);
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    if (before == 0 || (before < purge_at && before + count >= purge_at) ||
        before + count == carved)
        slab_list(slab);
}

/* Blocks freed in no order lie in as many slabs: what is written of a slab is
 * fetched so many blocks ahead, instead of waited for block by block. */
enum { AHEAD = 8 };

static void look_ahead(unsigned class, const void *block)
{
    struct slab *slab = page_map_descriptor(block);
    uint32_t index = size_class_index(class, slab_offset(slab, class, block));
    __builtin_prefetch(&slab->states[index], 1);
    __builtin_prefetch(&slab->resting, 1);
}

void slab_return(unsigned class, void *const *blocks, size_t count)
{
    struct slab *run = NULL; /* the slab of the last blocks, so many: */
    uint32_t length = 0;
    slab_add_dirty((int64_t)(count * size_classes[class].size));
    for (size_t i = 0; i < count && i < AHEAD; i++)
        look_ahead(class, blocks[i]);
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            look_ahead(class, blocks[i + AHEAD]);
        struct slab *slab = slab_of(class, blocks[i], run);
        _Atomic(uint8_t) *state = slab_judge(slab, class, blocks[i]);
        if (slab != run && length != 0) {
            rested(run, length);
            length = 0;
        }
        run = slab;
        length++;
        /* Releases the block to take_range(). */
        atomic_store_explicit(state, BLOCK_REST, memory_order_release);
    }
    if (length != 0)
        rested(run, length);
}

/* By compare-and-swap, so that of two threads that free the same block one
 * finds out.  `order`: of the swap. */
static void leave_out(unsigned class, const void *block, uint8_t to,
                      memory_order order)
{
    _Atomic(uint8_t) *state = slab_state(class, block);
    uint8_t out = BLOCK_OUT;
    if (state == NULL ||
        !atomic_compare_exchange_strong_explicit(state, &out, to, order,
                                                 memory_order_relaxed))
        slab_misuse_slow(class, block);
}

void slab_return_checked(unsigned class, void *block)
{
    slab_add_dirty(size_classes[class].size);
    /* Releases the block to take_range(). */
    leave_out(class, block, BLOCK_REST, memory_order_release);
    rested(page_map_descriptor(block), 1);
}

void slab_mark_away(unsigned class, struct magazine *magazine)
{
    size_t count = magazine->count;
    struct slab *slab = NULL;
    for (size_t i = 0; i < count; i++) {
        void *block = magazine->slots[i];
        slab = slab_of(class, block, slab);
        _Atomic(uint8_t) *state = slab_judge(slab, class, block);
        /* Relaxed: the block and its state travel with the magazine. */
        atomic_store_explicit(state, BLOCK_AWAY, memory_order_relaxed);
        magazine->states[i] = state;
    }
}

void slab_mark_out(struct magazine *magazine)
{
    size_t count = magazine->count;
    for (size_t i = 0; i < count; i++) {
        _Atomic(uint8_t) *state = magazine->states[i];
        CHECK(atomic_load_explicit(state, memory_order_relaxed) == BLOCK_AWAY);
        atomic_store_explicit(state, BLOCK_OUT, memory_order_relaxed);
    }
}

void slab_mark_away_one(unsigned class, const void *block)
{
    leave_out(class, block, BLOCK_AWAY, memory_order_relaxed);
}

void slab_mark_out_one(unsigned class, const void *block)
{
    atomic_store_explicit(slab_state(class, block), BLOCK_OUT,
                          memory_order_relaxed);
}
