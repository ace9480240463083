/* SPDX-License-Identifier: MIT */
#include "large.h"

#include <stdatomic.h>
#include <string.h>

#include "compiler.h"
#include "fatal.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "page_map.h"
#include "stack.h"

enum {
    /* Mappings kept for reuse: so many, of so many bytes and a part of what is
     * live (a shift: an eighth). */
    KEPT_COUNT = 64,
    KEPT_CONSTANT = 48 << 20,
    KEPT_FRACTION_SHIFT = 3,
    /* A kept mapping serves a block of at least this part of it (a shift). */
    FIT_SHIFT = 1,
    /* Mappings that make room for another one, at the most. */
    EVICT_MAX = 4,
    /* Old mappings are unmapped by so many bytes at a time, from their ends:
     * the kernel needs about 10 us for that. */
    DROP_STEP = 128 << 10,
};

/* The whole of the user address space: what no block can have. */
#define SIZE_LIMIT ((size_t)1 << ADDRESS_BITS)

/* Mappings from this length on are worth huge pages; shorter ones would be
 * mostly edges. */
enum { HUGE_LARGE_MIN = 4 << 20 };

/* What is kept longer is unmapped by large_drop_step(). */
static const uint64_t kept_for_ns = 500 * 1000 * 1000;

enum large_state { LARGE_UNUSED, LARGE_LIVE, LARGE_FREED };

/*
 * Owner:   who has the block; while LARGE_FREED the one place of `kept` that
 *          it lies in, or whoever took it out of there.
 * Readers: everybody who frees, hence the atomics: a stray pointer's reader
 *          sees some values, its compare-and-swap of `state` decides.
 * Memory:  type-stable (metadata), apart from the mapping.
 */
struct large {
    struct stack_node node; /* while LARGE_UNUSED */
    _Atomic(uint32_t) state;
    _Atomic(uintptr_t) base;
    _Atomic(size_t) mapped; /* bytes of the mapping */
    _Atomic(size_t) usable; /* bytes of the block */
    _Atomic(uint64_t) freed_at;
};

static struct {
    _Alignas(CACHE_LINE_PAIR) struct stack stack;
} unused;

/* Mappings kept for reuse.  A place is filled by compare-and-swap from NULL,
 * and emptied by compare-and-swap to NULL: who does that has the mapping. */
static _Atomic(struct large *) kept[KEPT_COUNT];

/* Counts, each for itself: relaxed. */
static struct {
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint64_t) live_blocks;
    _Atomic(uint64_t) live_bytes;
    _Atomic(uint64_t) peak_bytes;
    _Atomic(uint64_t) kept_bytes;
    _Atomic(uint64_t) maps;
    _Atomic(uint64_t) reuses;
} sums;

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define SET(field, value)                                                      \
    atomic_store_explicit(&(field), (value), memory_order_relaxed)
#define ADD(field, value)                                                      \
    atomic_fetch_add_explicit(&(field), (value), memory_order_relaxed)
#define SUB(field, value)                                                      \
    atomic_fetch_sub_explicit(&(field), (value), memory_order_relaxed)

static size_t round_up(size_t bytes, size_t multiple)
{
    return (bytes + multiple - 1) & ~(multiple - 1);
}

size_t large_good_size(size_t size)
{
    if (size > SIZE_LIMIT)
        return size;
    return round_up(size + (size == 0), PAGE_BYTES);
}

/* --- Descriptors ---------------------------------------------------------- */

static struct large *take_descriptor(void)
{
    unsigned retries = 0;
    struct stack_node *node = stack_pop(&unused.stack, &retries);
    if (node == NULL)
        return metadata_allocate(sizeof(struct large), CACHE_LINE);
    return (struct large *)(void *)node;
}

static void give_descriptor(struct large *large)
{
    SET(large->state, LARGE_UNUSED);
    stack_push(&unused.stack, &large->node);
}

static void enter(const struct large *large, uint32_t entry)
{
    page_map_set(GET(large->base), 1, entry, (void *)large);
}

/* --- Kept mappings -------------------------------------------------------- */

static bool keep(struct large *large, uint64_t freed_at);

/* Unmaps; what the system does not unmap gives its pages back and is kept. */
static size_t unmap(struct large *large)
{
    size_t bytes = GET(large->mapped);
    /* Before the range can be another's. */
    enter(large, ENTRY_LARGE_GONE);
    if (os_unmap((void *)GET(large->base), bytes)) {
        give_descriptor(large);
        return bytes;
    }
    enter(large, ENTRY_LARGE);
    os_purge((void *)GET(large->base), bytes);
    /* Without a place the address space is lost, its pages are not. */
    keep(large, os_now());
    return 0;
}

static bool keep(struct large *large, uint64_t freed_at)
{
    size_t bytes = GET(large->mapped);
    SET(large->freed_at, freed_at);
    ADD(sums.kept_bytes, bytes);
    for (unsigned i = 0; i < KEPT_COUNT; i++) {
        struct large *expected = NULL;
        /* Publishes the mapping's contents to take_kept(). */
        if (GET(kept[i]) == NULL &&
            atomic_compare_exchange_strong_explicit(&kept[i], &expected, large,
                                                    memory_order_release,
                                                    memory_order_relaxed))
            return true;
    }
    SUB(sums.kept_bytes, bytes);
    return false;
}

/* Takes what lies at a place; pairs with keep().  The caller owns it then. */
static bool take_place(unsigned place, struct large *large)
{
    if (!atomic_compare_exchange_strong_explicit(&kept[place], &large, NULL,
                                                 memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    SUB(sums.kept_bytes, GET(large->mapped));
    return true;
}

static bool fits(const struct large *large, size_t bytes, size_t alignment)
{
    size_t mapped = GET(large->mapped);
    return mapped >= bytes && mapped >> FIT_SHIFT <= bytes &&
           (GET(large->base) & (alignment - 1)) == 0;
}

/* The place of the smallest kept mapping that fits; KEPT_COUNT: none. */
static unsigned best_place(size_t bytes, size_t alignment, struct large **found)
{
    unsigned best = KEPT_COUNT;
    for (unsigned i = 0; i < KEPT_COUNT; i++) {
        struct large *large =
            atomic_load_explicit(&kept[i], memory_order_acquire);
        if (large == NULL || !fits(large, bytes, alignment))
            continue;
        if (best == KEPT_COUNT || GET(large->mapped) < GET((*found)->mapped)) {
            best = i;
            *found = large;
        }
    }
    return best;
}

static struct large *take_kept(size_t bytes, size_t alignment)
{
    struct large *large = NULL;
    unsigned place = best_place(bytes, alignment, &large);
    if (place == KEPT_COUNT || !take_place(place, large))
        return NULL;
    if (fits(large, bytes, alignment))
        return large;
    /* Between the look and the taking it has come to be another mapping. */
    if (!keep(large, GET(large->freed_at)))
        unmap(large);
    return NULL;
}

/* Takes the kept mapping that was freed first, if that is as long ago as
 * `age`; NULL: there is none, or another thread was first. */
static struct large *take_oldest(uint64_t age)
{
    uint64_t now = os_now();
    unsigned oldest = KEPT_COUNT;
    struct large *found = NULL;
    for (unsigned i = 0; i < KEPT_COUNT; i++) {
        struct large *large =
            atomic_load_explicit(&kept[i], memory_order_acquire);
        if (large == NULL || now - GET(large->freed_at) < age)
            continue;
        if (found == NULL || GET(large->freed_at) < GET(found->freed_at)) {
            oldest = i;
            found = large;
        }
    }
    return found != NULL && take_place(oldest, found) ? found : NULL;
}

size_t large_drop_step(void)
{
    if (GET(sums.kept_bytes) == 0)
        return 0;
    struct large *large = take_oldest(kept_for_ns);
    if (large == NULL)
        return 0;
    size_t mapped = GET(large->mapped);
    if (mapped <= DROP_STEP ||
        !os_resize((void *)GET(large->base), mapped, mapped - DROP_STEP))
        return unmap(large);
    SET(large->mapped, mapped - DROP_STEP);
    if (!keep(large, GET(large->freed_at)))
        unmap(large);
    return DROP_STEP;
}

size_t large_drop_all(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < KEPT_COUNT; i++) {
        struct large *large =
            atomic_load_explicit(&kept[i], memory_order_acquire);
        if (large != NULL && take_place(i, large))
            bytes += unmap(large);
    }
    return bytes;
}

/* --- Growing a mapping ---------------------------------------------------- */

/* Moves the pages of a mapping to a new, longer one, without touching them.
 * False: it cannot be done, and nothing has changed. */
static bool move(struct large *large, size_t bytes)
{
    void *from = (void *)GET(large->base);
    void *to = os_map(bytes);
    if (to == NULL)
        return false;
    if (!page_map_reserve((uintptr_t)to, bytes)) {
        os_unmap(to, bytes);
        return false;
    }
    enter(large, ENTRY_LARGE_GONE); /* before the range can be another's */
    if (!os_move(from, GET(large->mapped), to)) {
        enter(large, ENTRY_LARGE);
        os_unmap(to, bytes);
        return false;
    }
    SET(large->base, (uintptr_t)to);
    SET(large->mapped, bytes);
    enter(large, ENTRY_LARGE);
    return true;
}

/* Changes the length of a mapping: where it is, or else by moving it. */
static bool resize(struct large *large, size_t bytes)
{
    size_t mapped = GET(large->mapped);
    if (os_resize((void *)GET(large->base), mapped, bytes)) {
        SET(large->mapped, bytes);
        return true;
    }
    return bytes > mapped && move(large, bytes);
}

/* The longest kept mapping that is too short by half at most, made longer:
 * that costs page faults for the difference only. */
static struct large *grow_kept(size_t bytes)
{
    unsigned best = KEPT_COUNT;
    struct large *found = NULL;
    for (unsigned i = 0; i < KEPT_COUNT; i++) {
        struct large *large =
            atomic_load_explicit(&kept[i], memory_order_acquire);
        if (large == NULL || GET(large->mapped) >= bytes ||
            GET(large->mapped) < bytes >> FIT_SHIFT)
            continue;
        if (found == NULL || GET(large->mapped) > GET(found->mapped)) {
            best = i;
            found = large;
        }
    }
    if (found == NULL || !take_place(best, found))
        return NULL;
    if (GET(found->mapped) < bytes && resize(found, bytes))
        return found;
    if (!keep(found, GET(found->freed_at)))
        unmap(found);
    return NULL;
}

/* --- Allocate and free ---------------------------------------------------- */

static struct large *map_new(size_t bytes, size_t alignment)
{
    options_fix();
    struct large *large = take_descriptor();
    if (large == NULL)
        return NULL;
    void *base = os_map_aligned(bytes, alignment);
    if (base == NULL && large_drop_all() != 0)
        base = os_map_aligned(bytes, alignment);
    if (base != NULL && !page_map_reserve((uintptr_t)base, bytes)) {
        os_unmap(base, bytes);
        base = NULL;
    }
    if (base == NULL) {
        give_descriptor(large);
        return NULL;
    }
    if (option_huge_pages() && bytes >= HUGE_LARGE_MIN)
        os_advise_huge(base, bytes);
    SET(large->base, (uintptr_t)base);
    SET(large->mapped, bytes);
    ADD(sums.maps, 1);
    return large;
}

/* Changes the sum of live bytes, and the peak with it. */
static void count_live(size_t more, size_t less)
{
    uint64_t live = ADD(sums.live_bytes, more - less) + more - less;
    uint64_t peak = GET(sums.peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak_explicit(
                              &sums.peak_bytes, &peak, live,
                              memory_order_relaxed, memory_order_relaxed))
        ;
}

void *large_allocate(size_t size, size_t alignment, bool zeroed)
{
    if (size > SIZE_LIMIT || alignment > SIZE_LIMIT)
        return NULL;
    size_t bytes = round_up(size + (size == 0), UNIT_BYTES);
    if (alignment < UNIT_BYTES)
        alignment = UNIT_BYTES;
    struct large *large = take_kept(bytes, alignment);
    if (large == NULL && alignment == UNIT_BYTES)
        large = grow_kept(bytes);
    bool used = large != NULL;
    if (!used)
        large = map_new(bytes, alignment);
    if (large == NULL)
        return NULL;
    ADD(sums.reuses, used);
    void *block = (void *)GET(large->base);
    SET(large->usable, large_good_size(size));
    SET(large->state, LARGE_LIVE);
    enter(large, ENTRY_LARGE);
    ADD(sums.live_blocks, 1);
    count_live(GET(large->usable), 0);
    if (used && zeroed)
        memset(block, 0, size);
    return block;
}

/* The descriptor of the large block at an address whose page map entry is
 * ENTRY_LARGE; NULL when the block is not there. */
static struct large *find(const void *block)
{
    struct large *large = page_map_descriptor(block);
    return GET(large->base) == (uintptr_t)block ? large : NULL;
}

void large_free(void *block)
{
    struct large *large = find(block);
    if (large == NULL)
        fatal_misuse("invalid free", block);
    uint32_t live = LARGE_LIVE;
    if (!atomic_compare_exchange_strong_explicit(
            &large->state, &live, LARGE_FREED, memory_order_relaxed,
            memory_order_relaxed))
        fatal_misuse("double free", block);
    SUB(sums.live_blocks, 1);
    uint64_t live_bytes = SUB(sums.live_bytes, GET(large->usable));
    uint64_t bound = KEPT_CONSTANT + (live_bytes >> KEPT_FRACTION_SHIFT);
    /* What was freed last is what most likely fits, and is in the caches. */
    if (GET(large->mapped) > bound || !keep(large, os_now())) {
        unmap(large);
        return;
    }
    for (unsigned i = 0; i < EVICT_MAX && GET(sums.kept_bytes) > bound; i++) {
        struct large *oldest = take_oldest(0);
        if (oldest != NULL)
            unmap(oldest);
    }
}

size_t large_usable_size(const void *block, const char *what)
{
    const struct large *large = find(block);
    if (large == NULL || GET(large->state) != LARGE_LIVE)
        fatal_misuse(what, block);
    return GET(large->usable);
}

/* --- Resize --------------------------------------------------------------- */

static void *set_usable(struct large *large, size_t size)
{
    size_t usable = large_good_size(size);
    size_t before = GET(large->usable);
    SET(large->usable, usable);
    count_live(usable, before);
    return (void *)GET(large->base);
}

void *large_resize(void *block, size_t size)
{
    struct large *large = find(block);
    if (size > SIZE_LIMIT)
        return NULL;
    size_t mapped = GET(large->mapped);
    size_t bytes = round_up(size, UNIT_BYTES);
    if (bytes <= mapped && mapped >> FIT_SHIFT <= bytes)
        return set_usable(large, size);
    if (resize(large, bytes) || bytes < mapped)
        return set_usable(large, size);
    return NULL;
}

struct large_totals large_totals(void)
{
    struct large_totals totals = {
        .live_blocks = GET(sums.live_blocks),
        .live_bytes = GET(sums.live_bytes),
        .peak_bytes = GET(sums.peak_bytes),
        .cached_bytes = GET(sums.kept_bytes),
        .maps = GET(sums.maps),
        .reuses = GET(sums.reuses),
    };
    return totals;
}
