/* SPDX-License-Identifier: MIT */
#include "large.h"

#include <stdatomic.h>
#include <string.h>

#include "compiler.h"
#include "fatal.h"
#include "large_kept.h"
#include "large_pages.h"
#include "options.h"
#include "os.h"
#include "page_map.h"

enum {
    /* The bytes kept, and the part of live ones besides (shift: a quarter). */
    KEPT_CONSTANT = 48 << 20,
    KEPT_FRACTION_SHIFT = 2,
    /* The most that is mapped ahead of use: mapping waits for all who make
     * pages present, and they for it. */
    AHEAD_MAX = 16 << 20,
    /* A block keeps the unneeded part of its mapping up to a half of it (a
     * shift), or up to a quarter if the part is worth a call. */
    SPARE_SHIFT = 1,
    LONG_SPARE_SHIFT = 2,
    LONG_SPARE_MIN = 256 << 10,
};

/* Mappings from this length on are worth huge pages; shorter ones would be
 * mostly edges. */
enum { HUGE_LARGE_MIN = 4 << 20 };

/*
 * A block, in the word that the page map has for its first unit: the units of
 * its mapping, the usable pages, and in the highest bit whether it is a sample
 * (large_pages.h).  The lowest bit tells it from the address of a descriptor,
 * in case the unit is a slab's by the time a stray pointer leads here.
 *
 * Owner:   whoever has the block.
 * Readers: everybody who frees, hence the compare-and-swap to BLOCK_FREED.
 */
typedef uintptr_t block_word;
enum {
    BLOCK_MARK = 1,
    BLOCK_UNITS_SHIFT = 1,
    BLOCK_UNITS_BITS = 28, /* 16 TiB */
    BLOCK_PAGES_SHIFT = BLOCK_UNITS_SHIFT + BLOCK_UNITS_BITS,
    BLOCK_SAMPLE_SHIFT = 63,
    BLOCK_FREED = BLOCK_MARK, /* no units */
};
#define BLOCK_UNITS_MAX (((uintptr_t)1 << BLOCK_UNITS_BITS) - 1)
#define BLOCK_SAMPLE    ((uintptr_t)1 << BLOCK_SAMPLE_SHIFT)
_Static_assert(LARGE_SIZE_MAX == BLOCK_UNITS_MAX << UNIT_SHIFT,
               "the longest block");

/* Independent counts: relaxed. */
static struct {
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint64_t) live_blocks;
    _Atomic(uint64_t) live_bytes;
    _Atomic(uint64_t) peak_bytes;
    _Atomic(uint64_t) maps;
    _Atomic(uint64_t) reuses;
} sums;

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)
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
    if (size > LARGE_SIZE_MAX)
        return size;
    return round_up(size + (size == 0), PAGE_BYTES);
}

/* --- The word of a block -------------------------------------------------- */

static block_word word_make(size_t mapped, size_t usable)
{
    CHECK(usable <= mapped && mapped <= LARGE_SIZE_MAX);
    return BLOCK_MARK | (mapped >> UNIT_SHIFT) << BLOCK_UNITS_SHIFT |
           (usable >> PAGE_SHIFT) << BLOCK_PAGES_SHIFT;
}

static size_t mapped_of(block_word word)
{
    return (word >> BLOCK_UNITS_SHIFT & BLOCK_UNITS_MAX) << UNIT_SHIFT;
}

static size_t usable_of(block_word word)
{
    return (word & ~BLOCK_SAMPLE) >> BLOCK_PAGES_SHIFT << PAGE_SHIFT;
}

/* The word at an address whose entry is ENTRY_LARGE; 0 inside a unit, where no
 * block starts. */
static block_word word_at(const void *block)
{
    if (((uintptr_t)block & (UNIT_BYTES - 1)) != 0)
        return 0;
    return (block_word)page_map_descriptor(block);
}

static bool is_live(block_word word)
{
    return (word & BLOCK_MARK) != 0 && word != BLOCK_FREED;
}

static void enter(void *block, uint32_t entry, block_word word)
{
    page_map_set((uintptr_t)block, 1, entry, (void *)word);
}

/* --- Counting ------------------------------------------------------------- */

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

static size_t kept_bound(void)
{
    return KEPT_CONSTANT + (GET(sums.live_bytes) >> KEPT_FRACTION_SHIFT);
}

struct large_totals large_totals(void)
{
    struct large_totals totals = {
        .live_blocks = GET(sums.live_blocks),
        .live_bytes = GET(sums.live_bytes),
        .peak_bytes = GET(sums.peak_bytes),
        .cached_bytes = kept_bytes(),
        .maps = GET(sums.maps),
        .reuses = GET(sums.reuses),
    };
    return totals;
}

size_t large_kept_bytes(void)
{
    return kept_bytes() + kept_unused_bytes();
}

/* --- Allocate and free ---------------------------------------------------- */

static void advise(uintptr_t base, size_t bytes)
{
    options_fix();
    if (option_huge_pages() && bytes >= HUGE_LARGE_MIN)
        os_advise_huge((void *)base, bytes);
}

/* How much to map beyond what is needed: as much as is live, less what is still
 * unused.  Nothing if its pages would come at once. */
static size_t ahead(void)
{
    if (os_fills_mappings())
        return 0;
    uint64_t wanted = GET(sums.live_bytes);
    size_t unused = kept_unused_bytes();
    if (wanted > AHEAD_MAX)
        wanted = AHEAD_MAX;
    return wanted > unused ? round_up(wanted - unused, UNIT_BYTES) : 0;
}

/* Maps `bytes` that end at an address. */
static bool map_in_front(uintptr_t end, size_t bytes)
{
    uintptr_t base = end - bytes;
    if (base > end || !os_map_at((void *)base, bytes))
        return false;
    if (!page_map_reserve(base, bytes)) {
        os_unmap((void *)base, bytes);
        return false;
    }
    kept_give_unused(base, bytes);
    return true;
}

/* Maps for this block and the next ones: if possible, what the lowest range
 * lacks.  The kernel maps downwards, so there is mostly room. */
static void map_ahead(size_t bytes)
{
    size_t lacking, more = ahead();
    uintptr_t front = kept_front(bytes, &lacking);
    if (front != 0 && (map_in_front(front, lacking + more) ||
                       (more != 0 && map_in_front(front, lacking))))
        return;
    void *base = page_map_obtain(bytes + more, UNIT_BYTES);
    if (base != NULL)
        kept_give_unused((uintptr_t)base, bytes + more);
}

/* Memory whose first *fresh bytes nobody has used yet. */
static uintptr_t take_new(size_t bytes, size_t alignment, size_t *fresh)
{
    uintptr_t base = alignment == UNIT_BYTES ? kept_extend(bytes, fresh) : 0;
    if (base != 0)
        return base;
    *fresh = bytes;
    return kept_take_unused(bytes, alignment);
}

static uintptr_t obtain_new(size_t bytes, size_t alignment, size_t *fresh)
{
    uintptr_t base = take_new(bytes, alignment, fresh);
    if (base != 0)
        return base;
    if (alignment == UNIT_BYTES) {
        map_ahead(bytes);
        base = take_new(bytes, alignment, fresh);
    }
    return base != 0 ? base : (uintptr_t)page_map_obtain(bytes, alignment);
}

/* The range of a block, and how many bytes of it are new, from its start. */
static uintptr_t obtain(size_t bytes, size_t alignment, size_t *fresh)
{
    *fresh = 0;
    uintptr_t base = kept_take(bytes, alignment);
    if (base == 0)
        base = obtain_new(bytes, alignment, fresh);
    if (base != 0)
        advise(base, bytes);
    return base;
}

void *large_allocate(size_t size, size_t alignment, bool zeroed)
{
    if (size > LARGE_SIZE_MAX || alignment > LARGE_SIZE_MAX)
        return NULL;
    size_t bytes = round_up(size + (size == 0), UNIT_BYTES);
    if (alignment < UNIT_BYTES)
        alignment = UNIT_BYTES;
    size_t fresh;
    uintptr_t base = obtain(bytes, alignment, &fresh);
    if (base == 0)
        return NULL;
    void *block = (void *)base;
    size_t usable = large_good_size(size);
    block_word word = word_make(bytes, usable);
    if (fresh != 0 && !pages_come(block, fresh, usable))
        word |= BLOCK_SAMPLE;
    enter(block, ENTRY_LARGE, word);
    bool used = fresh < bytes;
    ADD(sums.maps, !used);
    ADD(sums.reuses, used);
    ADD(sums.live_blocks, 1);
    count_live(usable, 0);
    if (fresh != 0)
        kept_drop_step(kept_bound(), false);
    if (zeroed && fresh < size)
        memset((char *)block + fresh, 0, size - fresh);
    return block;
}

/* Whether a block that starts below an address covers it.  Walks all units
 * between, which may take long, but the process ends anyway.  No block extends
 * to where the page map has no leaf. */
static bool is_inside_of_block(const void *pointer)
{
    uintptr_t start = (uintptr_t)pointer & ~(uintptr_t)(UNIT_BYTES - 1);
    uint32_t entry;
    do {
        start -= UNIT_BYTES;
        if (page_map_leaf((void *)start) == NULL)
            return false;
        entry = page_map_entry((void *)start);
    } while (entry == 0 || entry == ENTRY_LARGE_GONE);
    if (entry != ENTRY_LARGE)
        return false;
    block_word word = word_at((void *)start);
    return is_live(word) && mapped_of(word) > (uintptr_t)pointer - start;
}

_Noreturn void large_free_gone(const void *pointer)
{
    fatal_misuse(is_inside_of_block(pointer) ? "invalid free" : "double free",
                 pointer);
}

/* Ends the life of a block; whoever does has its mapping. */
static block_word end_life(void *block)
{
    block_word word = word_at(block);
    if ((word & BLOCK_MARK) == 0)
        fatal_misuse("invalid free", block);
    if (!is_live(word) ||
        !page_map_replace(block, (void *)word, (void *)BLOCK_FREED))
        fatal_misuse("double free", block);
    enter(block, ENTRY_LARGE_GONE, BLOCK_FREED);
    return word;
}

/* Keeps memory, and gives back a piece of the excess.  Not all of it: unmapping
 * 4 MiB takes 200 us and more, leaving them for a while a lot less. */
static void keep_within_bound(uintptr_t base, size_t bytes)
{
    kept_give(base, bytes);
    kept_drop_step(kept_bound(), !option_quiet());
}

void large_free(void *block)
{
    block_word word = end_life(block);
    SUB(sums.live_blocks, 1);
    SUB(sums.live_bytes, usable_of(word));
    if ((word & BLOCK_SAMPLE) != 0)
        pages_judge(block, usable_of(word));
    keep_within_bound((uintptr_t)block, mapped_of(word));
}

size_t large_usable_size(const void *block, const char *what)
{
    block_word word = word_at(block);
    if (!is_live(word))
        fatal_misuse(what, block);
    return usable_of(word);
}

size_t large_drop_step(bool aged_too)
{
    return kept_drop_step(kept_bound(), aged_too);
}

bool large_keeps_too_much(void)
{
    return kept_too_much();
}

size_t large_drop(size_t bytes)
{
    return kept_drop(bytes);
}

size_t large_drop_all(void)
{
    /* What was mapped ahead has no pages to give back. */
    size_t unused = kept_unused_bytes();
    size_t bytes = kept_drop_all();
    return bytes > unused ? bytes - unused : 0;
}

/* --- Resize --------------------------------------------------------------- */

static void *set_lengths(void *block, size_t mapped, size_t size)
{
    size_t usable = large_good_size(size);
    size_t before = usable_of(word_at(block));
    enter(block, ENTRY_LARGE, word_make(mapped, usable));
    count_live(usable, before);
    return block;
}

/* Makes the mapping of a block longer where it is. */
static bool extend(void *block, size_t mapped, size_t bytes)
{
    if (!os_grow(block, mapped, bytes))
        return false;
    if (page_map_reserve((uintptr_t)block, bytes))
        return true;
    /* If this fails, the address space is lost: no block can be there. */
    os_unmap((char *)block + mapped, bytes - mapped);
    return false;
}

/* A longer mapping that the pages of a block can be moved to; NULL: out of
 * memory. */
static void *map_for_move(size_t bytes, size_t mapped)
{
    void *to = os_map_for_move(bytes, mapped);
    if (to != NULL && !page_map_reserve((uintptr_t)to, bytes)) {
        os_unmap_for_move(to, bytes, mapped);
        to = NULL;
    }
    return to;
}

/* Moves the pages of a block there, without touching them.  NULL: the system
 * refuses, and nothing has changed. */
static void *move(void *block, size_t mapped, void *to, size_t bytes)
{
    block_word word = word_at(block);
    /* Before another thread can have the range. */
    enter(block, ENTRY_LARGE_GONE, BLOCK_FREED);
    if (os_move(block, mapped, to, bytes)) {
        enter(to, ENTRY_LARGE, word);
        return to;
    }
    enter(block, ENTRY_LARGE, word);
    if (!os_unmap_for_move(to, bytes, mapped))
        kept_give((uintptr_t)to, bytes);
    return NULL;
}

static void *grow(void *block, size_t mapped, size_t bytes)
{
    if (kept_take_at((uintptr_t)block + mapped, bytes - mapped) ||
        extend(block, mapped, bytes))
        return block;
    void *to = map_for_move(bytes, mapped);
    return to != NULL ? move(block, mapped, to, bytes) : NULL;
}

static bool is_too_much(size_t spare, size_t mapped)
{
    return spare > mapped >> SPARE_SHIFT ||
           (spare >= LONG_SPARE_MIN && spare > mapped >> LONG_SPARE_SHIFT);
}

/* The rest of a mapping is kept behind the block, which can grow into it again.
 * The step comes first, so that it takes what was kept before: one of the rest
 * would begin right behind the block. */
static void *shrink(void *block, size_t mapped, size_t bytes, size_t size)
{
    if (!is_too_much(mapped - bytes, mapped))
        return set_lengths(block, mapped, size);
    set_lengths(block, bytes, size);
    kept_drop_step(kept_bound(), !option_quiet());
    kept_give((uintptr_t)block + bytes, mapped - bytes);
    return block;
}

void *large_resize(void *block, size_t size)
{
    if (size > LARGE_SIZE_MAX)
        return NULL;
    size_t mapped = mapped_of(word_at(block));
    size_t bytes = round_up(size, UNIT_BYTES);
    if (bytes > mapped) {
        block = grow(block, mapped, bytes);
        if (block == NULL)
            return NULL;
        advise((uintptr_t)block, bytes);
        return set_lengths(block, bytes, size);
    }
    return shrink(block, mapped, bytes, size);
}
