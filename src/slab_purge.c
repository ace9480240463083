/* SPDX-License-Identifier: MIT */
/* Giving pages of slabs back to the system while other blocks of the slab
 * are in use. */
#include "slab_internal.h"

#include "slab_index.h"

enum {
    /* Dirty memory that is always kept, and the part of what is in use that
     * is kept besides (a shift: an eighth). */
    DIRTY_CONSTANT = 8 << 20,
    DIRTY_FRACTION_SHIFT = 3,
    /*
     * What one step may cost: in pages given back, a kernel call counting as
     * so many, and in slabs looked at.  It makes about 20 us: 64 KiB in one
     * call took 9, a single page 1.5.
     */
    STEP_EFFORT = 32,
    CALL_EFFORT = 3,
    STEP_SLABS_MAX = 8,
};

/*
 * Time is counted in ages.  What became dirty in this age is entered in one
 * set, what became so in the last is looked at in the other, and the two take
 * turns.  So a slab stays as it is for one age at least: what was freed just
 * now is what is most likely wanted next, and to give a page back and to have
 * it again costs some ten times what it costs to use it.
 */
enum { AGE_SHIFT = 25 }; /* nanoseconds: about 33 ms, two frames */

static uint32_t current_age(void)
{
    return (uint32_t)(os_now_coarse() >> AGE_SHIFT);
}

static enum slab_set set_of_age(uint32_t age)
{
    return SLABS_DIRTY + (age & 1);
}

void slab_list_dirty(struct slab *slab)
{
    uint32_t age = current_age();
    /* A hint: relaxed. */
    atomic_store_explicit(&slab->dirty_age, age, memory_order_relaxed);
    slab_index_add(slab->class, set_of_age(age), slab->number);
}

/* The class where the next step begins to look; any value will do. */
static _Atomic(unsigned) next_class;

static void count_purged(int64_t bytes)
{
    if (bytes == 0)
        return;
    atomic_fetch_add_explicit(&slab_sums.purged_bytes, (uint64_t)bytes,
                              memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_sums.dirty_bytes, bytes,
                              memory_order_relaxed);
}

static uint64_t page_bit(uint32_t page)
{
    return UINT64_C(1) << (page % PAGE_WORD_BITS);
}

static bool page_is_purged(const struct slab *slab, uint32_t page)
{
    return (slab->purged[page / PAGE_WORD_BITS] & page_bit(page)) != 0;
}

void slab_pages_used(struct slab *slab, uint32_t start, uint32_t end)
{
    uint32_t used = 0;
    for (uint32_t page = start >> PAGE_SHIFT; page <= (end - 1) >> PAGE_SHIFT;
         page++) {
        if (!page_is_purged(slab, page))
            continue;
        slab->purged[page / PAGE_WORD_BITS] &= ~page_bit(page);
        used++;
    }
    slab->purged_pages -= used;
    count_purged(-((int64_t)used << PAGE_SHIFT));
}

void slab_expect_purge(struct slab *slab, uint32_t resting)
{
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    uint32_t next = UINT32_MAX; /* nothing left to give back, or not allowed */
    if (resting < carved && !slab->reserved) {
        /* When all but a sixteenth is free: before, there are few whole pages
         * among scattered blocks, and many kernel calls to give them back.
         * Then again when all is. */
        uint32_t most = carved - carved / 16;
        next = resting < most ? most : carved;
    }
    atomic_store_explicit(&slab->purge_at, next, memory_order_relaxed);
}

/* Gives back the pages that lie wholly in a byte range, unless all of them
 * are given back already, as far as *effort goes.  Returns the bytes. */
static size_t purge_range(struct slab *slab, uint32_t start, uint32_t end,
                          uint32_t *effort)
{
    uint32_t first = (start + PAGE_BYTES - 1) >> PAGE_SHIFT;
    uint32_t last = end >> PAGE_SHIFT;
    while (first < last && page_is_purged(slab, first))
        first++;
    while (first < last && page_is_purged(slab, last - 1))
        last--;
    if (first >= last)
        return 0;
    if (last - first > *effort)
        last = first + *effort;
    uint32_t cost = last - first + CALL_EFFORT;
    *effort -= cost < *effort ? cost : *effort;
    if (!os_purge((void *)(slab->base + ((uintptr_t)first << PAGE_SHIFT)),
                  (size_t)(last - first) << PAGE_SHIFT))
        return 0;
    uint32_t purged = 0;
    for (uint32_t page = first; page < last; page++) {
        purged += !page_is_purged(slab, page);
        slab->purged[page / PAGE_WORD_BITS] |= page_bit(page);
    }
    slab->purged_pages += purged;
    slab->present = 0;
    count_purged((int64_t)purged << PAGE_SHIFT);
    return (size_t)purged << PAGE_SHIFT;
}

/* The index of the first block from `index` that is (not) at rest. */
static uint32_t skip(const struct slab *slab, uint32_t index, uint32_t end,
                     bool resting)
{
    /* Acquire: who frees a block has written it before; pairs with
     * slab_return(). */
    while (index < end &&
           (atomic_load_explicit(&slab->states[index], memory_order_acquire) ==
            BLOCK_REST) == resting)
        index++;
    return index;
}

/*
 * Gives back all pages of a held slab that carry no live block, as far as
 * *effort goes.  Blocks at rest stay so meanwhile: only the holder takes them.
 */
static size_t purge_slab(struct slab *slab, uint32_t *effort)
{
    const struct size_class *geometry = &size_classes[slab->class];
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    /* Before the look: what comes to rest meanwhile counts for the next. */
    uint32_t resting =
        atomic_load_explicit(&slab->resting, memory_order_relaxed);
    size_t bytes = 0;
    uint32_t index = 0;
    while (index < carved && *effort != 0) {
        uint32_t first = skip(slab, index, carved, false);
        index = skip(slab, first, carved, true);
        /* Nothing lives behind the last block. */
        uint32_t end = index == geometry->capacity ? (uint32_t)slab_bytes(slab)
                                                   : index * geometry->size;
        if (first < index)
            bytes += purge_range(slab, first * geometry->size, end, effort);
    }
    /* With no effort left there may be more to give back. */
    slab_expect_purge(slab, *effort == 0 ? 0 : resting);
    return bytes;
}

/* A slab of a class that became dirty before `age` and is so still; NULL:
 * there is none, or not at once. */
static struct slab *take_dirty(unsigned class, uint32_t age)
{
    struct slab *slab = slab_index_take_highest(class, set_of_age(age - 1));
    /* Used again since: it is listed anew when it comes free again. */
    if (slab == NULL ||
        atomic_load_explicit(&slab->resting, memory_order_relaxed) <
            atomic_load_explicit(&slab->purge_at, memory_order_relaxed))
        return NULL;
    if (atomic_load_explicit(&slab->dirty_age, memory_order_relaxed) != age)
        return slab;
    slab_index_add(class, set_of_age(age), slab->number);
    return NULL;
}

static struct slab *next_dirty(void)
{
    uint32_t age = current_age();
    unsigned start = atomic_load_explicit(&next_class, memory_order_relaxed);
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        unsigned class = (start + i) % CLASS_COUNT;
        struct slab *slab = take_dirty(class, age);
        if (slab != NULL) {
            atomic_store_explicit(&next_class, class, memory_order_relaxed);
            return slab;
        }
    }
    return NULL;
}

size_t slab_purge_step(bool *more)
{
    size_t bytes = 0;
    uint32_t effort = STEP_EFFORT;
    for (unsigned slabs = 0; slabs < STEP_SLABS_MAX && effort != 0; slabs++) {
        struct slab *slab = next_dirty();
        *more = slab != NULL;
        if (slab == NULL)
            break;
        if (!slab_hold(slab))
            continue; /* its holder lists it again when it lets go */
        bytes += purge_slab(slab, &effort);
        slab_unhold(slab);
    }
    return bytes;
}

size_t slab_trim(void)
{
    size_t bytes = 0;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        uint32_t count = slab_index_count(class);
        for (uint32_t number = 0; number < count; number++) {
            struct slab *slab = slab_index_get(class, number);
            if (slab == NULL || !slab_hold(slab))
                continue;
            uint32_t effort = UINT32_MAX;
            if (!slab->reserved)
                bytes += purge_slab(slab, &effort);
            slab_unhold(slab);
        }
    }
    return bytes;
}

static uint64_t sum(const _Atomic(uint64_t) *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

size_t slab_dirty_bytes(void)
{
    int64_t bytes =
        atomic_load_explicit(&slab_sums.dirty_bytes, memory_order_relaxed);
    return bytes > 0 ? (size_t)bytes : 0;
}

uint64_t slab_used_bytes(void)
{
    uint64_t carved = sum(&slab_sums.carved_bytes);
    uint64_t resting = slab_dirty_bytes() + sum(&slab_sums.purged_bytes);
    return carved > resting ? carved - resting : 0;
}

void slab_sample_peak(void)
{
    uint64_t used = slab_used_bytes();
    uint64_t peak =
        atomic_load_explicit(&slab_sums.peak_bytes, memory_order_relaxed);
    while (used > peak && !atomic_compare_exchange_weak_explicit(
                              &slab_sums.peak_bytes, &peak, used,
                              memory_order_relaxed, memory_order_relaxed))
        ;
}

size_t slab_dirty_allowance(void)
{
    return DIRTY_CONSTANT + (size_t)sum(&slab_sums.reserved_bytes) +
           (size_t)(slab_used_bytes() >> DIRTY_FRACTION_SHIFT);
}

/* Adds up the blocks at rest in the slabs of a class. */
static void add_resting(unsigned class, struct slab_totals *totals)
{
    uint32_t count = slab_index_count(class);
    for (uint32_t number = 0; number < count; number++) {
        const struct slab *slab = slab_index_get(class, number);
        if (slab == NULL)
            continue;
        uint64_t local =
            atomic_load_explicit(&slab->local_free, memory_order_relaxed);
        uint64_t blocks =
            atomic_load_explicit(&slab->resting, memory_order_relaxed) +
            (unsigned)__builtin_popcountll(local);
        totals->resting_blocks += blocks;
        totals->resting_bytes += blocks * size_classes[class].size;
    }
}

struct slab_totals slab_totals(void)
{
    struct slab_totals totals = {
        .carved_blocks = sum(&slab_sums.carved_blocks),
        .carved_bytes = sum(&slab_sums.carved_bytes),
        .purged_bytes = sum(&slab_sums.purged_bytes),
        .slabs = sum(&slab_sums.slabs),
    };
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        add_resting(class, &totals);
    if (totals.purged_bytes > totals.resting_bytes)
        totals.purged_bytes = totals.resting_bytes; /* see dirty_bytes */
    slab_sample_peak();
    totals.peak_bytes = sum(&slab_sums.peak_bytes);
    return totals;
}
