/* SPDX-License-Identifier: MIT */
/*
 * Blocks between a cache and the slabs that it holds.
 *
 * What the holder itself frees stays apart from what others bring to rest: in
 * the bits of `local_free`, which only the holder writes.  So a block that is
 * freed and reused costs no atomic read-modify-write.
 */
#include "slab_internal.h"

#include "slab_index.h"
#include "slab_state.h"

enum {
    /* The most slabs that a source holds. */
    HELD_MAX = 8,
};

static uint32_t carved(const struct slab *slab)
{
    return atomic_load_explicit(&slab->carved, memory_order_relaxed);
}

static uint64_t bit(uint32_t index)
{
    return UINT64_C(1) << index;
}

/* Only the holder writes the bits; others read them for statistics: relaxed. */

static uint64_t local_free(const struct slab *slab)
{
    return atomic_load_explicit(&slab->local_free, memory_order_relaxed);
}

static void set_local_free(struct slab *slab, uint64_t bits)
{
    atomic_store_explicit(&slab->local_free, bits, memory_order_relaxed);
}

void slab_share_local(struct slab *slab)
{
    uint32_t count = (uint32_t)__builtin_popcountll(local_free(slab));
    atomic_store_explicit(&slab->holder, NULL, memory_order_relaxed);
    if (count == 0)
        return;
    slab_add_dirty((int64_t)count * size_classes[slab->class].size);
    set_local_free(slab, 0);
    /* Releases the states to take_resting(). */
    atomic_fetch_add_explicit(&slab->resting, count, memory_order_release);
}

size_t slab_local_bytes(void)
{
    size_t bytes = 0;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        if (size_classes[class].capacity > SLAB_LOCAL_MAX)
            continue;
        uint32_t count = slab_index_count(class);
        for (uint32_t number = 0; number < count; number++) {
            const struct slab *slab = slab_index_get(class, number);
            if (slab != NULL)
                bytes += (size_t)__builtin_popcountll(local_free(slab)) *
                         size_classes[class].size;
        }
    }
    return bytes;
}

void slab_count_anew(struct slab_source *source)
{
    for (struct slab *slab = source->held; slab != NULL;
         slab = slab->next_held) {
        uint32_t before =
            atomic_load_explicit(&slab->resting, memory_order_relaxed);
        uint32_t resting = 0;
        for (uint32_t index = 0; index < carved(slab); index++)
            resting += atomic_load_explicit(&slab->states[index],
                                            memory_order_relaxed) == BLOCK_REST;
        set_local_free(slab, 0);
        atomic_store_explicit(&slab->resting, resting, memory_order_relaxed);
        slab_add_dirty(((int64_t)resting - before) *
                       size_classes[slab->class].size);
    }
}

/* The bits of blocks that others brought to rest: `resting` of them. */
static uint64_t find_counted(const struct slab *slab, uint32_t resting)
{
    uint64_t bits = 0;
    uint32_t end = carved(slab);
    for (uint32_t index = 0; index < end && resting != 0; index++) {
        /* Acquires the block; pairs with the release in slab_return(). */
        if (atomic_load_explicit(&slab->states[index], memory_order_acquire) !=
            BLOCK_REST)
            continue;
        bits |= bit(index);
        resting--;
    }
    CHECK(resting == 0);
    return bits;
}

/* Makes what others brought to rest the holder's alone; no bit is set yet. */
static void claim_resting(struct slab *slab)
{
    CHECK(local_free(slab) == 0);
    /* Acquire: the states of all that are counted are seen. */
    uint32_t resting =
        atomic_load_explicit(&slab->resting, memory_order_acquire);
    if (resting == 0)
        return;
    slab_add_dirty(-((int64_t)resting * size_classes[slab->class].size));
    set_local_free(slab, find_counted(slab, resting));
    atomic_fetch_sub_explicit(&slab->resting, resting, memory_order_relaxed);
}

/* Moves the held slab that `place` points to to the front. */
static void put_first(struct slab_source *source, struct slab **place)
{
    struct slab *slab = *place;
    *place = slab->next_held;
    slab->next_held = source->held;
    source->held = slab;
}

/* Moves a held slab with a block at rest to the front.  False: none has one. */
static bool find_resting(struct slab_source *source)
{
    for (struct slab **place = &source->held; *place != NULL;
         place = &(*place)->next_held) {
        struct slab *slab = *place;
        if (local_free(slab) == 0)
            claim_resting(slab);
        if (local_free(slab) != 0) {
            put_first(source, place);
            return true;
        }
    }
    return false;
}

/* Takes the lowest block at rest of a held slab that has one. */
static void *take_lowest(struct slab *slab)
{
    uint32_t size = size_classes[slab->class].size;
    uint64_t bits = local_free(slab);
    uint32_t index = (uint32_t)__builtin_ctzll(bits);
    if (slab_purged_pages(slab) != 0)
        slab_pages_used(slab, index * size, (index + 1) * size);
    atomic_store_explicit(&slab->states[index], BLOCK_OUT,
                          memory_order_relaxed);
    set_local_free(slab, bits & (bits - 1));
    return (void *)(slab->base + index * size);
}

size_t slab_take_local(struct slab_source *source, void **blocks, size_t wanted)
{
    size_t count = 0;
    while (count < wanted && find_resting(source))
        blocks[count++] = take_lowest(source->held);
    return count;
}

static void note_carved(struct slab *slab)
{
    uint32_t count = carved(slab);
    slab->local_all = count == SLAB_LOCAL_MAX ? UINT64_MAX : bit(count) - 1;
}

/* Carves a block of a held slab; NULL: all are carved. */
static void *carve_held(struct slab_source *source)
{
    void *block = NULL;
    for (struct slab *slab = source->held; slab != NULL && block == NULL;
         slab = slab->next_held) {
        slab_carve(slab, &block, 1);
        note_carved(slab);
    }
    return block;
}

/* Holds one more slab, and if these are too many lets go of the one unused the
 * longest.  False: there is none to hold. */
static bool hold_another(struct slab_source *source, struct slab *slab)
{
    if (slab == NULL)
        return false;
    note_carved(slab);
    atomic_store_explicit(&slab->holder, source, memory_order_relaxed);
    slab->next_held = source->held;
    source->held = slab;
    unsigned count = 1;
    struct slab **place = &slab->next_held;
    while (*place != NULL && ++count < HELD_MAX + 1)
        place = &(*place)->next_held;
    if (*place != NULL) {
        put_first(source, place);
        slab_let_go(source);
    }
    return true;
}

void *slab_take_one(struct slab_source *source, unsigned class)
{
    CHECK(size_classes[class].capacity <= SLAB_LOCAL_MAX);
    void *block = NULL;
    for (;;) {
        if (slab_take_local(source, &block, 1) != 0)
            return block;
        /* Its pages are there; those of newly carved blocks may not be. */
        if (hold_another(source, slab_choose_rested(source, class, 1)))
            continue;
        block = carve_held(source);
        if (block != NULL || !hold_another(source, slab_choose(source, class)))
            return block;
    }
}

/* Lets go of a held slab that has become wholly free, unless it is the only
 * such: it is of more use to others. */
static void let_go_of_spare(struct slab_source *source, const struct slab *slab)
{
    unsigned spare = 0;
    struct slab **place = &source->held;
    for (struct slab **at = place; *at != NULL; at = &(*at)->next_held) {
        spare += local_free(*at) == (*at)->local_all;
        if (*at == slab)
            place = at;
    }
    if (spare > 1) {
        put_first(source, place);
        slab_let_go(source);
    }
}

bool slab_give_local(struct slab_source *source, unsigned class,
                     const void *block)
{
    struct slab *slab = page_map_descriptor(block);
    if (atomic_load_explicit(&slab->holder, memory_order_relaxed) != source)
        return false;
    _Atomic(uint8_t) *state = slab_judge(slab, class, block);
    uint64_t bits = local_free(slab) | bit((uint32_t)(state - slab->states));
    set_local_free(slab, bits);
    atomic_store_explicit(state, BLOCK_REST, memory_order_release);
    if (bits == slab->local_all)
        let_go_of_spare(source, slab);
    return true;
}
