/* SPDX-License-Identifier: MIT */
/* Making slabs and filling magazines from them. */
#include "slab_internal.h"

#include "chunk.h"
#include "metadata.h"
#include "slab_index.h"

struct slab_sums slab_sums;

enum {
    /* After so many new slabs in a row a class is growing: the pages of the
     * next one are made present in one call instead of a fault each. */
    GROWTH_EAGER = 3,
    /* One in so many such slabs goes without: it shows what is written. */
    SAMPLE_INTERVAL = 8,
    STATE_WORD_BYTES = sizeof(uint64_t),
};

static void add(_Atomic(uint64_t) *sum, uint64_t value)
{
    atomic_fetch_add_explicit(sum, value, memory_order_relaxed);
}

/* --- The right to take blocks --------------------------------------------- */

bool slab_hold(struct slab *slab)
{
    bool expected = false;
    /* Acquires the holder's fields; pairs with slab_unhold(). */
    return atomic_compare_exchange_strong(&slab->held, &expected, true);
}

void slab_list(struct slab *slab)
{
    uint32_t resting = atomic_load(&slab->resting);
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    if (resting != 0 || carved < size_classes[slab->class].capacity)
        slab_index_add(slab->class,
                       slab->reserved ? SLABS_RESERVED : SLABS_AVAILABLE,
                       slab->number);
    if (resting == carved && !slab->reserved)
        slab_index_add(slab->class, SLABS_FREE, slab->number);
    if (resting >= atomic_load_explicit(&slab->purge_at, memory_order_relaxed))
        slab_list_dirty(slab);
}

void slab_unhold(struct slab *slab)
{
    /* Releases the holder's fields to slab_hold().  Sequentially consistent
     * with rested(): either that sees the slab not held, or slab_list() sees
     * its blocks. */
    atomic_store(&slab->held, false);
    slab_list(slab);
}

void slab_let_go(struct slab_source *source)
{
    struct slab *slab = source->held;
    if (slab == NULL)
        return;
    source->held = slab->next_held;
    slab->next_held = NULL;
    slab_share_local(slab);
    slab_expect_purge(slab, 0);
    slab_unhold(slab);
}

/* --- Making and choosing a slab ------------------------------------------- */

/* A slab without address space: retired, or left by a thread that found none,
 * so that failing again and again costs no metadata.  Else a new one. */
static struct slab *take_unplaced(unsigned class)
{
    struct slab *slab = slab_index_take_lowest(class, SLABS_UNPLACED);
    if (slab != NULL)
        return slab;
    slab = metadata_allocate(sizeof(*slab) + size_classes[class].capacity,
                             _Alignof(struct slab));
    if (slab == NULL)
        return NULL;
    slab->class = class;
    atomic_init(&slab->held, true);
    atomic_init(&slab->purge_at, UINT32_MAX);
    return slab_index_insert(class, slab, &slab->number) ? slab : NULL;
}

static struct slab *make(unsigned class, uint32_t owner)
{
    struct slab *slab = take_unplaced(class);
    if (slab == NULL)
        return NULL;
    struct grant grant = chunk_grant(size_classes[class].slab_units);
    if (grant.base == 0) {
        slab_index_add(class, SLABS_UNPLACED, slab->number);
        return NULL;
    }
    slab->base = grant.base;
    slab->reserved = grant.reserved;
    slab->present = grant.reserved ? UINT32_MAX : 0;
    slab->owner = owner;
    page_map_set(slab->base, size_classes[class].slab_units,
                 page_map_slab_entry(owner, class), slab);
    /* Publishes the place to slab_reserve(). */
    atomic_store_explicit(&slab->placed, true, memory_order_release);
    add(&slab_sums.slabs_made, 1);
    add(&slab_sums.placed_bytes, slab_bytes(slab));
    if (grant.reserved)
        add(&slab_sums.reserved_bytes, slab_bytes(slab));
    slab_sample_peak();
    return slab;
}

/* Whether a slab's next holder is about to get so many of its blocks that the
 * others should come back to it too. */
static bool changes_owner(const struct slab *slab)
{
    return atomic_load_explicit(&slab->resting, memory_order_relaxed) >=
           atomic_load_explicit(&slab->carved, memory_order_relaxed) / 4;
}

static void set_owner(struct slab *slab, uint32_t owner)
{
    slab->owner = owner;
    page_map_set(slab->base, size_classes[slab->class].slab_units,
                 page_map_slab_entry(owner, slab->class), slab);
}

/* Makes the holder the owner, if that is due. */
static void adopt(struct slab *slab, uint32_t owner)
{
    if (slab->owner != owner && changes_owner(slab))
        set_owner(slab, owner);
}

void slab_adopt(const void *block, uint32_t owner)
{
    struct slab *slab = page_map_descriptor(block);
    if (!slab_hold(slab))
        return;
    set_owner(slab, owner);
    slab_unhold(slab);
}

/* A slab that was used before, held for the caller; NULL when there is none. */
static struct slab *reuse(unsigned class, uint32_t owner, enum slab_set set)
{
    struct slab *slab;
    do {
        slab = slab_index_take_lowest(class, set);
        /* Held although listed: a thread listed it too late.  Its holder will
         * list it again. */
    } while (slab != NULL && !slab_hold(slab));
    if (slab != NULL)
        adopt(slab, owner);
    return slab;
}

/* The bytes of the pages of a slab that hold blocks, from its start. */
static size_t blocks_bytes(const struct slab *slab)
{
    const struct size_class *geometry = &size_classes[slab->class];
    size_t bytes = (size_t)geometry->capacity * geometry->size;
    return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

/* Makes those present in one call: the slab will be filled soon. */
static void make_present(struct slab *slab)
{
    uint32_t bytes = (uint32_t)slab_bytes(slab);
    if (slab->present >= bytes && slab_purged_pages(slab) == 0)
        return;
    if (os_populate((void *)slab->base, blocks_bytes(slab))) {
        slab_pages_used(slab, 0, bytes);
        slab->present = bytes;
    }
}

/* Whether the blocks of the last slab held were fully written: a title need not
 * write all that it allocates. */
static bool writes_all(const struct slab_source *source)
{
    const struct slab *last = source->held;
    if (last == NULL || source->growth % SAMPLE_INTERVAL == 0)
        return false;
    return last->present >= slab_bytes(last) ||
           os_is_present((void *)last->base, blocks_bytes(last));
}

/* Whether to make the pages of a slab present that is about to be filled.  With
 * blocks of up to a page, using all touches every page, however little of each
 * is written. */
static bool is_worth_while(const struct slab_source *source, unsigned class)
{
    const struct size_class *geometry = &size_classes[class];
    return geometry->slab_units == 1 &&
           (geometry->size <= PAGE_BYTES || writes_all(source));
}

/* One of reserved memory as long as there is any: whoever reserves relies on
 * its pages, and those of others may be gone, or never have been there. */
static struct slab *find(unsigned class, uint32_t owner)
{
    struct slab *slab = reuse(class, owner, SLABS_RESERVED);
    if (slab == NULL && chunk_has_reserved(size_classes[class].slab_units))
        slab = make(class, owner);
    if (slab == NULL)
        slab = reuse(class, owner, SLABS_AVAILABLE);
    return slab != NULL ? slab : make(class, owner);
}

struct slab *slab_choose(struct slab_source *source, unsigned class)
{
    struct slab *slab = find(class, source->owner);
    if (slab == NULL)
        return NULL;
    bool fresh = atomic_load_explicit(&slab->carved, memory_order_relaxed) == 0;
    uint32_t pages = (uint32_t)(slab_bytes(slab) >> PAGE_SHIFT);
    if ((fresh || slab_purged_pages(slab) > pages / 2) &&
        source->growth++ >= GROWTH_EAGER && is_worth_while(source, class))
        make_present(slab);
    return slab;
}

/* --- Taking blocks -------------------------------------------------------- */

/* Checks eight states at once, to skip what is not at rest.  A hint: states are
 * read again, block by block. */
static bool none_rests(const _Atomic(uint8_t) *states)
{
    typedef uint64_t __attribute__((may_alias)) state_word;
    const uint64_t rest_bits = UINT64_C(0x0101010101010101) * BLOCK_REST;
    uint64_t word = __atomic_load_n((const state_word *)(const void *)states,
                                    __ATOMIC_RELAXED);
    return (word & rest_bits) == 0;
}

/* Takes blocks at rest from [from, to); returns how many. */
static size_t take_range(struct slab *slab, uint32_t from, uint32_t to,
                         void **blocks, size_t wanted)
{
    uint32_t size = size_classes[slab->class].size;
    size_t count = 0;
    uint32_t index = from;
    while (index < to && count < wanted) {
        if (index % STATE_WORD_BYTES == 0 && index + STATE_WORD_BYTES <= to &&
            none_rests(&slab->states[index])) {
            index += STATE_WORD_BYTES;
            continue;
        }
        _Atomic(uint8_t) *state = &slab->states[index];
        /* Acquires the block; pairs with the release in slab_return(). */
        if (atomic_load_explicit(state, memory_order_acquire) == BLOCK_REST) {
            atomic_store_explicit(state, BLOCK_OUT, memory_order_relaxed);
            uint32_t offset = index * size;
            if (slab_purged_pages(slab) != 0)
                slab_pages_used(slab, offset, offset + size);
            blocks[count++] = (void *)(slab->base + offset);
        }
        index++;
    }
    slab->cursor = index;
    return count;
}

/* Takes blocks at rest: from where the last search ended, once around.  No more
 * than are counted: any others are about to be counted. */
static size_t take_resting(struct slab *slab, void **blocks, size_t wanted)
{
    /* Acquire: the states of all that are counted are seen. */
    uint32_t resting =
        atomic_load_explicit(&slab->resting, memory_order_acquire);
    if (resting == 0)
        return 0;
    if (wanted > resting)
        wanted = resting;
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    uint32_t start = slab->cursor;
    size_t count = take_range(slab, start, carved, blocks, wanted);
    if (count < wanted)
        count += take_range(slab, 0, start < carved ? start : carved,
                            blocks + count, wanted - count);
    /* Whoever searches all around finds what was counted. */
    CHECK(count == wanted);
    slab_add_dirty(-(int64_t)(count * size_classes[slab->class].size));
    atomic_fetch_sub_explicit(&slab->resting, (uint32_t)count,
                              memory_order_relaxed);
    return count;
}

size_t slab_carve(struct slab *slab, void **blocks, size_t wanted)
{
    const struct size_class *geometry = &size_classes[slab->class];
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    size_t count = geometry->capacity - carved;
    if (count > wanted)
        count = wanted;
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        /* Relaxed: travels with the block. */
        atomic_store_explicit(&slab->states[carved + i], BLOCK_OUT,
                              memory_order_relaxed);
        blocks[i] =
            (void *)(slab->base + (carved + i) * (uintptr_t)geometry->size);
    }
    atomic_store_explicit(&slab->carved, carved + (uint32_t)count,
                          memory_order_relaxed);
    add(&slab_sums.carved_blocks, count);
    add(&slab_sums.carved_bytes, count * geometry->size);
    return count;
}

static void reverse(void **blocks, size_t count)
{
    for (size_t i = 0, j = count; i + 1 < j; i++) {
        void *block = blocks[i];
        blocks[i] = blocks[--j];
        blocks[j] = block;
    }
}

static bool has_uncarved(const struct slab *slab)
{
    return atomic_load_explicit(&slab->carved, memory_order_relaxed) <
           size_classes[slab->class].capacity;
}

bool slab_is_ready(const struct slab_source *source)
{
    const struct slab *slab = source->held;
    return slab != NULL &&
           (atomic_load_explicit(&slab->resting, memory_order_relaxed) != 0 ||
            has_uncarved(slab));
}

/* Whether reserved memory has blocks for a source that were never used. */
static bool reserve_serves(const struct slab_source *source, unsigned class)
{
    for (const struct slab *slab = source->held; slab != NULL;
         slab = slab->next_held)
        if (slab->reserved && has_uncarved(slab))
            return true;
    return chunk_has_reserved(size_classes[class].slab_units);
}

/* The lowest slab of a set, now held, if `wanted` blocks rest there and all its
 * pages are there; *any: the set had one. */
static struct slab *choose_rested(const struct slab_source *source,
                                  unsigned class, enum slab_set set,
                                  size_t wanted, bool *any)
{
    struct slab *slab = slab_index_take_lowest(class, set);
    *any = slab != NULL;
    if (slab == NULL)
        return NULL;
    /* Not taken: it stays in the set, without a new age. */
    if (atomic_load_explicit(&slab->resting, memory_order_relaxed) < wanted ||
        slab_purged_pages(slab) != 0) {
        slab_index_add(class, set, slab->number);
        return NULL;
    }
    if (!slab_hold(slab))
        return NULL;
    if (slab_purged_pages(slab) != 0) { /* by now */
        slab_unhold(slab);
        return NULL;
    }
    adopt(slab, source->owner);
    return slab;
}

struct slab *slab_choose_rested(const struct slab_source *source,
                                unsigned class, size_t wanted)
{
    bool any;
    struct slab *slab =
        choose_rested(source, class, SLABS_RESERVED, wanted, &any);
    /* Pages of other slabs that were never used may not be there. */
    if (!any && !reserve_serves(source, class))
        slab = choose_rested(source, class, SLABS_AVAILABLE, wanted, &any);
    return slab;
}

/* Goes on with another slab, whose pages are there, rather than carve the held
 * one. */
static bool spare_held(struct slab_source *source, unsigned class,
                       size_t wanted)
{
    struct slab *slab = slab_choose_rested(source, class, wanted);
    if (slab == NULL)
        return false;
    slab_let_go(source);
    source->held = slab;
    return true;
}

size_t slab_fill(struct slab_source *source, unsigned class, void **blocks,
                 size_t wanted)
{
    size_t count = 0;
    while (count == 0) {
        if (source->held == NULL)
            source->held = slab_choose(source, class);
        struct slab *slab = source->held;
        if (slab == NULL)
            return 0;
        /* Else take_resting() could take what `local_free` has already. */
        CHECK(atomic_load_explicit(&slab->local_free, memory_order_relaxed) ==
              0);
        count = take_resting(slab, blocks, wanted);
        if (count == 0 && spare_held(source, class, wanted))
            continue;
        if (count < wanted)
            count += slab_carve(slab, blocks + count, wanted - count);
        if (count < wanted)
            slab_let_go(source);
    }
    reverse(blocks, count);
    return count;
}
