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
     * What one step may cost, about 20 us: in units of what a page costs where
     * one call gives back many ranges (0.13 us).  Where each range needs a call
     * of its own, 64 KiB took 5.5 us and a single page 1.4.
     */
    STEP_EFFORT = 64,
    PAGE_EFFORT = 1,
    RANGE_EFFORT = 1,
    PAGE_EFFORT_ALONE = 2,
    RANGE_EFFORT_ALONE = 8,
    STATES_TO_AN_EFFORT = 256, /* looked at */
    STEP_SLABS_MAX = 8,
    /* The most slabs, listed but in use again, that a step passes over. */
    PASSED_MAX = 64,
    RANGES_MAX = 64,
    TRIM_EFFORT = 1 << 20, /* more than a slab takes */
};

/* Pages that are about to be given back, of slabs that are held meanwhile. */
struct purge {
    uint32_t effort; /* that may still be made; what costs how much: */
    uint32_t page_effort, range_effort;
    unsigned slab_count;
    size_t range_count;
    size_t ranges_ever; /* collected, including those given back already */
    size_t bytes;       /* given back */
    struct slab *slabs[STEP_SLABS_MAX];
    struct iovec ranges[RANGES_MAX];
};

static void purge_begin(struct purge *purge, uint32_t effort)
{
    bool at_once = os_purges_ranges_at_once();
    purge->effort = effort;
    purge->page_effort = at_once ? PAGE_EFFORT : PAGE_EFFORT_ALONE;
    purge->range_effort = at_once ? RANGE_EFFORT : RANGE_EFFORT_ALONE;
    purge->slab_count = 0;
    purge->range_count = 0;
    purge->ranges_ever = 0;
    purge->bytes = 0;
}

/*
 * Time is counted in ages.  What becomes dirty in this age is entered in one
 * set, what became so in the last is looked for in the other, and the two take
 * turns.  So a slab stays as it is for at least one age: what was freed just
 * now is what is most likely wanted next, and giving a page back and faulting
 * it in again costs some ten times what it costs to use it.
 */
enum { AGE_SHIFT = 25 }; /* nanoseconds: about 33 ms, two frames */

uint32_t slab_age(void)
{
    return (uint32_t)(os_now_coarse() >> AGE_SHIFT);
}

static enum slab_set set_of_age(uint32_t age)
{
    return SLABS_DIRTY + (age & 1);
}

void slab_list_dirty(struct slab *slab)
{
    uint32_t age = slab_age();
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
    slab_set_purged_pages(slab, slab_purged_pages(slab) - used);
    count_purged(-((int64_t)used << PAGE_SHIFT));
}

void slab_expect_purge(struct slab *slab, uint32_t resting)
{
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    uint32_t next = UINT32_MAX; /* nothing left to give back, or not allowed */
    if (resting < carved && !slab->reserved) {
        /* When all but a sixteenth is free: before that, there are few whole
         * pages among scattered blocks, and giving them back takes many kernel
         * calls.  Again when all is.  Blocks of several pages have whole ones
         * whatever their neighbours do: whenever half of the rest is free. */
        uint32_t most = carved - carved / 16;
        if (size_classes[slab->class].size > 2 * PAGE_BYTES)
            next = carved - (carved - resting) / 2;
        else
            next = resting < most ? most : carved;
    }
    atomic_store_explicit(&slab->purge_at, next, memory_order_relaxed);
}

/* The count of pages of a slab in which carved blocks lie. */
static uint32_t pages_in_use(const struct slab *slab)
{
    const struct size_class *geometry = &size_classes[slab->class];
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    if (carved == geometry->capacity)
        return (uint32_t)(slab_bytes(slab) >> PAGE_SHIFT);
    return (carved * geometry->size + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

/* Notes that the pages of a range are given back, except those where no block
 * has been carved.  Returns the bytes of all that had not been before. */
static size_t range_purged(const struct iovec *range)
{
    struct slab *slab = page_map_descriptor(range->iov_base);
    uint32_t in_use = pages_in_use(slab);
    uint32_t first =
        (uint32_t)(((uintptr_t)range->iov_base - slab->base) >> PAGE_SHIFT);
    uint32_t last = first + (uint32_t)(range->iov_len >> PAGE_SHIFT);
    uint32_t ahead =
        last > in_use ? last - (first > in_use ? first : in_use) : 0;
    uint32_t purged = 0;
    for (uint32_t page = first; page < last - ahead; page++) {
        purged += !page_is_purged(slab, page);
        slab->purged[page / PAGE_WORD_BITS] |= page_bit(page);
    }
    slab_set_purged_pages(slab, slab_purged_pages(slab) + purged);
    if (ahead != 0 && last << PAGE_SHIFT >= slab->present)
        slab->present = 0;
    count_purged((int64_t)purged << PAGE_SHIFT);
    return (size_t)(purged + ahead) << PAGE_SHIFT;
}

/* Gives back what was collected; a refused range stays. */
static void purge_ranges(struct purge *purge)
{
    size_t at = 0;
    while (at < purge->range_count) {
        size_t end =
            at + os_purge_ranges(&purge->ranges[at], purge->range_count - at);
        for (; at < end; at++)
            purge->bytes += range_purged(&purge->ranges[at]);
        at++;
    }
    purge->range_count = 0;
}

static void purge_end(struct purge *purge)
{
    purge_ranges(purge);
    for (unsigned i = 0; i < purge->slab_count; i++)
        slab_unhold(purge->slabs[i]);
    purge->slab_count = 0;
}

static void make_effort(struct purge *purge, uint32_t effort)
{
    purge->effort -= effort < purge->effort ? effort : purge->effort;
}

/* Collects the pages that lie wholly in a byte range, as far as the effort
 * goes, but for those at either end that are given back already. */
static void collect_range(struct purge *purge, struct slab *slab,
                          uint32_t start, uint32_t end)
{
    uint32_t first = (start + PAGE_BYTES - 1) >> PAGE_SHIFT;
    uint32_t last = end >> PAGE_SHIFT;
    while (first < last && page_is_purged(slab, first))
        first++;
    while (first < last && page_is_purged(slab, last - 1))
        last--;
    if (first >= last)
        return;
    uint32_t most =
        (purge->effort + purge->page_effort - 1) / purge->page_effort;
    if (last - first > most)
        last = first + most;
    make_effort(purge,
                (last - first) * purge->page_effort + purge->range_effort);
    if (purge->range_count == RANGES_MAX)
        purge_ranges(purge);
    purge->ranges_ever++;
    purge->ranges[purge->range_count++] = (struct iovec){
        .iov_base = (void *)(slab->base + ((uintptr_t)first << PAGE_SHIFT)),
        .iov_len = (size_t)(last - first) << PAGE_SHIFT,
    };
}

/* The index of the first block from `index` that is (not) at rest. */
static uint32_t skip(const struct slab *slab, uint32_t index, uint32_t end,
                     bool resting)
{
    /* Acquire: the freer of a block has written it before; pairs with
     * slab_return(). */
    while (index < end &&
           (atomic_load_explicit(&slab->states[index], memory_order_acquire) ==
            BLOCK_REST) == resting)
        index++;
    return index;
}

/* Where the free memory in front of block `index` ends. */
static uint32_t end_of_free(const struct slab *slab, uint32_t index,
                            uint32_t carved)
{
    const struct size_class *geometry = &size_classes[slab->class];
    if (index == geometry->capacity)
        return (uint32_t)slab_bytes(slab); /* nothing lives there */
    uint32_t end = index * geometry->size;
    /* Pages that were made present ahead of use. */
    return index == carved && slab->present > end ? slab->present : end;
}

/*
 * Collects all pages of a held slab that carry no live block, as far as the
 * effort goes; if there are any, holds it until purge_end(): blocks at rest
 * stay so until then, as only the holder takes them.
 */
static void collect_slab(struct purge *purge, struct slab *slab)
{
    uint32_t size = size_classes[slab->class].size;
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    /* Read before the states, hence acquire: what comes to rest meanwhile
     * counts for the next look. */
    uint32_t resting =
        atomic_load_explicit(&slab->resting, memory_order_acquire);
    size_t ranges = purge->ranges_ever;
    uint32_t index = 0;
    while (index < carved && purge->effort != 0) {
        uint32_t first = skip(slab, index, carved, false);
        index = skip(slab, first, carved, true);
        collect_range(purge, slab, first * size,
                      end_of_free(slab, index, carved));
    }
    /* With no effort left there may be more to give back. */
    slab_expect_purge(slab, purge->effort == 0 ? 0 : resting);
    make_effort(purge, carved / STATES_TO_AN_EFFORT);
    if (purge->ranges_ever != ranges)
        purge->slabs[purge->slab_count++] = slab;
    else
        slab_unhold(slab);
}

/* A slab of a class that became dirty before `age` and still is, passing over
 * at most *left others that are listed; NULL: none was found. */
static struct slab *take_dirty(unsigned class, uint32_t age, unsigned *left)
{
    for (; *left != 0; --*left) {
        struct slab *slab = slab_index_take_highest(class, set_of_age(age - 1));
        if (slab == NULL)
            return NULL;
        /* Used again since: it is listed again when it becomes free again.
         * Sequentially consistent with rested(), as the sets are: whoever still
         * found it listed has counted its blocks before this look. */
        if (atomic_load(&slab->resting) <
            atomic_load_explicit(&slab->purge_at, memory_order_relaxed))
            continue;
        if (atomic_load_explicit(&slab->dirty_age, memory_order_relaxed) != age)
            return slab;
        slab_index_add(class, set_of_age(age), slab->number);
    }
    return NULL;
}

static struct slab *next_dirty(unsigned *left)
{
    uint32_t age = slab_age();
    unsigned start = atomic_load_explicit(&next_class, memory_order_relaxed);
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        unsigned class = (start + i) % CLASS_COUNT;
        struct slab *slab = take_dirty(class, age, left);
        if (slab != NULL) {
            atomic_store_explicit(&next_class, class, memory_order_relaxed);
            return slab;
        }
    }
    return NULL;
}

size_t slab_purge_step(bool *more)
{
    struct purge purge;
    unsigned left = PASSED_MAX;
    purge_begin(&purge, STEP_EFFORT);
    for (unsigned i = 0; i < STEP_SLABS_MAX && purge.effort != 0; i++) {
        struct slab *slab = next_dirty(&left);
        *more = slab != NULL || left == 0;
        if (slab == NULL)
            break;
        /* Whoever holds it lists it again when it lets go. */
        if (slab_hold(slab))
            collect_slab(&purge, slab);
    }
    purge_end(&purge);
    return purge.bytes;
}

static void trim_class(struct purge *purge, unsigned class)
{
    uint32_t count = slab_index_count(class);
    for (uint32_t number = 0; number < count; number++) {
        struct slab *slab = slab_index_get(class, number);
        /* A look first: trying to hold it takes its line from its user. */
        if (slab == NULL ||
            atomic_load_explicit(&slab->held, memory_order_relaxed) ||
            atomic_load_explicit(&slab->resting, memory_order_relaxed) == 0)
            continue;
        /* A new slab's holder sets `reserved`: so hold it first. */
        if (!slab_hold(slab))
            continue;
        if (slab->reserved) {
            slab_unhold(slab);
            continue;
        }
        purge->effort = TRIM_EFFORT;
        collect_slab(purge, slab);
        if (purge->slab_count == STEP_SLABS_MAX)
            purge_end(purge);
    }
}

size_t slab_trim(void)
{
    struct purge purge;
    purge_begin(&purge, TRIM_EFFORT);
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        trim_class(&purge, class);
    purge_end(&purge);
    return purge.bytes;
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

/* About the bytes of blocks at rest. */
static size_t resting_bytes(void)
{
    return slab_dirty_bytes() + (size_t)sum(&slab_sums.purged_bytes);
}

uint64_t slab_used_bytes(void)
{
    uint64_t carved = sum(&slab_sums.carved_bytes);
    uint64_t resting = resting_bytes();
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
        .slabs_made = sum(&slab_sums.slabs_made),
    };
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        add_resting(class, &totals);
    if (totals.purged_bytes > totals.resting_bytes)
        totals.purged_bytes = totals.resting_bytes; /* see dirty_bytes */
    slab_sample_peak();
    totals.peak_bytes = sum(&slab_sums.peak_bytes);
    return totals;
}
