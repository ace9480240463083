/* SPDX-License-Identifier: MIT */
/*
 * The public entry points that allocate and free.
 *
 *     partyalloc_allocate                  partyalloc_free
 *       cursor_pop                           page_map_is_home, bins_push
 *       allocate_above_direct                free_elsewhere
 *       allocate_small_slow                  free_slow
 *         thread_enter                         thread_enter
 *         cache_allocate_slow                  cache_free_slow
 *           cache_take_full                      make_room
 *           depot_take                             depot_give -> slab_return
 *           slab_fill                              slab_purge_step
 *             chunk_grant -> os_map
 *           cache_allocate_medium                cache_free_medium
 *             slab_take_local                      slab_give_local
 *         slab_retire -> os_unmap
 *       allocate_large_slow                    large_free
 *         large_allocate                         kept_give
 *           kept_take, kept_extend               kept_drop_step -> os_unmap
 *           map_ahead -> os_map_aligned
 */
#include <errno.h>
#include <string.h>

#include "compiler.h"
#include "fatal.h"
#include "large.h"
#include "page_map.h"
#include "partyalloc.h"
#include "shortage.h"
#include "size_class.h"
#include "slab.h"
#include "thread.h"
#include "thread_cache.h"

/*
 * Bin offsets by size, in steps of a granule, for the sizes that dominate: up
 * to a network packet and the headers around it.
 */
enum { DIRECT_MAX = 2048, DIRECT_COUNT = DIRECT_MAX / GRANULE + 1 };

/* clang-format off */
#define OF(class)   ((class) << ENTRY_BIN_SHIFT)
#define TIMES_2(x)  x, x
#define TIMES_4(x)  TIMES_2(x), TIMES_2(x)
#define TIMES_8(x)  TIMES_4(x), TIMES_4(x)
#define TIMES_16(x) TIMES_8(x), TIMES_8(x)

static const uint16_t direct[DIRECT_COUNT] = {
    OF(0), /* size 0 */
    OF(0), OF(1), OF(2), OF(3), OF(4), OF(5), OF(6), OF(7),         /*  128 */
    TIMES_2(OF(8)),   TIMES_2(OF(9)),                               /*  192 */
    TIMES_2(OF(10)),  TIMES_2(OF(11)),                              /*  256 */
    TIMES_4(OF(12)),  TIMES_4(OF(13)),                              /*  384 */
    TIMES_4(OF(14)),  TIMES_4(OF(15)),                              /*  512 */
    TIMES_8(OF(16)),  TIMES_8(OF(17)),                              /*  768 */
    TIMES_8(OF(18)),  TIMES_8(OF(19)),                              /* 1024 */
    TIMES_16(OF(20)), TIMES_16(OF(21)),                             /* 1536 */
    TIMES_16(OF(22)), TIMES_16(OF(23)),                             /* 2048 */
};
/* clang-format on */

/* --- Allocate ------------------------------------------------------------- */

/* The thread's cache; if need be, memory kept of large blocks makes room for
 * it.  NULL: out of metadata. */
static struct cache *enter(void)
{
    enum { ROOM_STEP = 256 << 10 };
    struct cache *cache = thread_enter();
    while (unlikely(cache == NULL) && large_drop(ROOM_STEP) != 0)
        cache = thread_enter();
    return cache;
}

static void *allocate_small(size_t offset)
{
    struct cache *cache = enter();
    unsigned class = (unsigned)(offset >> ENTRY_BIN_SHIFT);
    if (unlikely(cache == NULL))
        return cache_allocate_without(class);
    void *block = cache_allocate_slow(cache, class);
    thread_leave(cache);
    return block;
}

/* A block of a class whose bin is empty.  NULL with errno: out of memory. */
static SLOW_PATH void *allocate_small_slow(size_t offset)
{
    void *block = allocate_small(offset);
    if (likely(block != NULL))
        return block;
    struct shortage shortage = shortage_of_small();
    while (block == NULL && shortage_relieve(&shortage))
        block = allocate_small(offset);
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

static SLOW_PATH void *allocate_large_slow(size_t size, size_t alignment,
                                           bool zeroed)
{
    void *block = large_allocate(size, alignment, zeroed);
    if (likely(block != NULL))
        return block;
    if (size <= LARGE_SIZE_MAX) {
        struct shortage shortage = shortage_of(size);
        while (block == NULL && shortage_relieve(&shortage))
            block = large_allocate(size, alignment, zeroed);
    }
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

FAST_PATH void *allocate_from(size_t offset)
{
    void *block = cursor_pop(&bins_at(thread_bins, offset)->own);
    if (likely(block != NULL))
        return block;
    return allocate_small_slow(offset);
}

static OUT_OF_LINE void *allocate_above_direct(size_t size)
{
    if (unlikely(size > SMALL_MAX))
        return allocate_large_slow(size, 1, false);
    return allocate_from((size_t)size_class_of_stepped(size)
                         << ENTRY_BIN_SHIFT);
}

FAST_ENTRY EXPORTED void *partyalloc_allocate(size_t size,
                                              uint32_t memory_type_id)
{
    (void)memory_type_id;
    if (unlikely(size > DIRECT_MAX))
        return allocate_above_direct(size);
    return allocate_from(direct[(size + GRANULE - 1) >> GRANULE_SHIFT]);
}

EXPORTED void *partyalloc_allocate_zeroed(size_t count, size_t size,
                                          uint32_t memory_type_id)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    if (bytes > SMALL_MAX)
        return allocate_large_slow(bytes, 1, true);
    void *block = partyalloc_allocate(bytes, memory_type_id);
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

/*
 * The class whose blocks hold `size` bytes at multiples of `alignment`, which
 * is at most the alignment of slabs; CLASS_COUNT: there is none.  The classes
 * that are powers of two serve any alignment up to their size.
 */
static unsigned aligned_class(size_t size, size_t alignment)
{
    if (size < alignment)
        size = alignment;
    if (size > SMALL_MAX)
        return CLASS_COUNT;
    unsigned class = size_class_of(size);
    while (class < CLASS_COUNT && size_classes[class].size % alignment != 0)
        class++;
    return class;
}

EXPORTED void *partyalloc_allocate_aligned(size_t size, size_t alignment,
                                           uint32_t memory_type_id)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment <= PARTYALLOC_ALIGNMENT)
        return partyalloc_allocate(size, memory_type_id);
    unsigned class = alignment <= UNIT_BYTES ? aligned_class(size, alignment)
                                             : (unsigned)CLASS_COUNT;
    if (class < CLASS_COUNT)
        return allocate_from((size_t)class << ENTRY_BIN_SHIFT);
    return allocate_large_slow(size, alignment, false);
}

/* --- Free ----------------------------------------------------------------- */

static void free_small(uint32_t entry, void *pointer)
{
    struct cache *cache = thread_enter();
    if (unlikely(cache == NULL)) {
        cache_free_without(entry, pointer);
        return;
    }
    cache_free_slow(cache, entry, pointer);
    thread_leave(cache);
}

static SLOW_PATH void free_slow(void *pointer)
{
    uint32_t entry = page_map_entry(pointer);
    if (page_map_is_slab(entry))
        free_small(entry, pointer);
    else if (entry == ENTRY_LARGE)
        large_free(pointer);
    else if (entry == ENTRY_LARGE_GONE)
        large_free_gone(pointer);
    else if (pointer != NULL)
        fatal_misuse("invalid free", pointer);
}

FAST_PATH bool push(struct bins *bins, struct page_map_leaf *leaf,
                    void *pointer)
{
    /* The tag first: so gcc needs the entry itself only on the path of another
     * cache's block, and does not keep it. */
    uint32_t view = bins->tag ^ leaf_entry(leaf, pointer);
    return bins_push(bins, leaf, view, pointer);
}

/* A pointer outside the thread's home leaf. */
static OUT_OF_LINE void free_elsewhere(void *pointer)
{
    struct page_map_leaf *leaf = page_map_leaf(pointer);
    if (unlikely(leaf == NULL) || !push(thread_bins, leaf, pointer))
        free_slow(pointer);
}

FAST_ENTRY EXPORTED void partyalloc_free(void *pointer, uint32_t memory_type_id)
{
    (void)memory_type_id;
    struct bins *bins = thread_bins;
    if (unlikely(!page_map_is_home(&bins->home, pointer)))
        free_elsewhere(pointer);
    else if (unlikely(!push(bins, bins->home.leaf, pointer)))
        free_slow(pointer);
}

/* --- Sizes ---------------------------------------------------------------- */

/* The usable bytes of a live block; stops the process, naming `what`, when
 * there is none. */
static size_t usable_size(const void *pointer, const char *what)
{
    uint32_t entry = page_map_entry(pointer);
    if (entry == ENTRY_LARGE)
        return large_usable_size(pointer, what);
    if (!page_map_is_slab(entry) ||
        !slab_is_live(page_map_class(entry), pointer))
        fatal_misuse(what, pointer);
    return size_classes[page_map_class(entry)].size;
}

EXPORTED size_t partyalloc_usable_size(const void *pointer)
{
    return pointer == NULL ? 0 : usable_size(pointer, "invalid usable_size");
}

EXPORTED size_t partyalloc_good_size(size_t size)
{
    if (size > SMALL_MAX)
        return large_good_size(size);
    return size_classes[size_class_of(size)].size;
}

/* --- Reallocate ----------------------------------------------------------- */

/* The block itself when it can take the new size where it is (a large one also
 * where its pages can be moved to); else NULL. */
static void *resize(void *pointer, size_t usable, size_t size)
{
    if (usable > SMALL_MAX && size > SMALL_MAX)
        return large_resize(pointer, size);
    bool fits = size <= usable && (size > usable / 2 || usable <= GRANULE);
    return fits && usable <= SMALL_MAX ? pointer : NULL;
}

/* Replaces a block by another with its contents; NULL: there is no other. */
static void *replace(void *pointer, size_t usable, void *block, size_t size,
                     uint32_t memory_type_id)
{
    if (block == NULL)
        return NULL;
    memcpy(block, pointer, size < usable ? size : usable);
    partyalloc_free(pointer, memory_type_id);
    return block;
}

/* A large block that cannot grow at once: another block if one is available
 * already, else room is made for what it lacks. */
static SLOW_PATH void *grow_slow(void *pointer, size_t usable, size_t size,
                                 uint32_t memory_type_id)
{
    if (size > LARGE_SIZE_MAX)
        return NULL;
    void *block = replace(pointer, usable, large_allocate(size, 1, false), size,
                          memory_type_id);
    struct shortage shortage = shortage_of(size - usable);
    while (block == NULL && shortage_relieve(&shortage))
        block = large_resize(pointer, size);
    return block;
}

/* The block itself, though it is larger than wanted. */
static SLOW_PATH void *make_do(void *pointer, size_t usable)
{
    return usable <= SMALL_MAX ? pointer : large_resize(pointer, SMALL_MAX + 1);
}

static void *reallocate(void *pointer, size_t size, size_t alignment,
                        uint32_t memory_type_id)
{
    size_t usable = usable_size(pointer, "invalid reallocate");
    /* Pages move to a multiple of UNIT_BYTES; none move when the block does not
     * grow. */
    bool stays = ((uintptr_t)pointer & (alignment - 1)) == 0 &&
                 (alignment <= UNIT_BYTES || size <= usable);
    void *block = stays ? resize(pointer, usable, size) : NULL;
    if (block == NULL && stays && usable > SMALL_MAX && size > usable)
        block = grow_slow(pointer, usable, size, memory_type_id);
    if (block != NULL)
        return block;
    block = partyalloc_allocate_aligned(size, alignment, memory_type_id);
    if (block == NULL && stays && size <= usable)
        return make_do(pointer, usable);
    return replace(pointer, usable, block, size, memory_type_id);
}

EXPORTED void *partyalloc_reallocate(void *pointer, size_t size,
                                     uint32_t memory_type_id)
{
    if (pointer == NULL)
        return partyalloc_allocate(size, memory_type_id);
    return reallocate(pointer, size, PARTYALLOC_ALIGNMENT, memory_type_id);
}

EXPORTED void *partyalloc_reallocate_aligned(void *pointer, size_t size,
                                             size_t alignment,
                                             uint32_t memory_type_id)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    if (pointer == NULL)
        return partyalloc_allocate_aligned(size, alignment, memory_type_id);
    return reallocate(pointer, size, alignment, memory_type_id);
}

/* --- The thread's cache --------------------------------------------------- */

EXPORTED void partyalloc_thread_flush(void)
{
    thread_flush();
}
