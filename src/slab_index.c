/* SPDX-License-Identifier: MIT */
#include "slab_index.h"

#include <stdatomic.h>
#include <stddef.h>

#include "compiler.h"
#include "metadata.h"
#include "os.h"
#include "size_class.h"

enum {
    FAN_SHIFT = 6,
    FAN = 1 << FAN_SHIFT,
    LEVELS = 4, /* 2^24 slabs a class: 1 TiB of the smallest */
    TAKE_TRIES = 8,
};

/*
 * A node of the tree.  A bit of a set says that the child at that position has,
 * or had, a member below it (in the lowest level: is a member).  Bits above
 * that may be stale in one direction only: never clear for long while a member
 * is below.
 */
struct node {
    _Atomic(uint64_t) bits[SLAB_SETS];
    _Atomic(void *) children[FAN]; /* nodes; in the lowest level slabs */
};

static struct node roots[CLASS_COUNT];
static _Atomic(uint32_t) counts[CLASS_COUNT];

/* The path from the root to a slab. */
struct path {
    struct node *nodes[LEVELS];
    unsigned positions[LEVELS];
};

void slab_index_reserve(void)
{
    os_touch(roots, sizeof(roots));
    os_touch(counts, sizeof(counts));
}

static struct node *make_child(_Atomic(void *) *place)
{
    struct node *node = metadata_allocate(sizeof(*node), CACHE_LINE_PAIR);
    if (node == NULL)
        return NULL;
    void *expected = NULL;
    /* Publishes the zeroed node to walk().  The node of a thread that loses the
     * race stays unused: metadata is never given back. */
    if (atomic_compare_exchange_strong_explicit(
            place, &expected, node, memory_order_release, memory_order_acquire))
        return node;
    return expected;
}

/* False when a node is missing and cannot, or must not, be made. */
static bool walk(unsigned class, uint32_t number, bool make, struct path *path)
{
    struct node *node = &roots[class];
    for (unsigned level = 0;; level++) {
        unsigned shift = (LEVELS - 1 - level) * FAN_SHIFT;
        unsigned position = (number >> shift) & (FAN - 1);
        path->nodes[level] = node;
        path->positions[level] = position;
        if (level == LEVELS - 1)
            return true;
        _Atomic(void *) *place = &node->children[position];
        /* Pairs with make_child(). */
        node = atomic_load_explicit(place, memory_order_acquire);
        if (node == NULL && make)
            node = make_child(place);
        if (node == NULL)
            return false;
    }
}

bool slab_index_insert(unsigned class, struct slab *slab, uint32_t *number)
{
    struct path path;
    *number =
        atomic_fetch_add_explicit(&counts[class], 1, memory_order_relaxed);
    if (*number >> (LEVELS * FAN_SHIFT) != 0 ||
        !walk(class, *number, true, &path))
        return false; /* the number stays unused */
    /* Publishes the slab's fields to slab_index_get(). */
    atomic_store_explicit(
        &path.nodes[LEVELS - 1]->children[path.positions[LEVELS - 1]], slab,
        memory_order_release);
    return true;
}

/*
 * Sets the bits of `path` from `level` up to the root.
 *
 * Sequentially consistent, as are the operations of clear_above(): either the
 * one that clears a parent's bit sees the child's new bit and sets the
 * parent's again, or this one sees the parent's bit cleared.
 */
static void set_from(const struct path *path, unsigned level, enum slab_set set)
{
    for (unsigned up = level + 1; up-- > 0;) {
        _Atomic(uint64_t) *word = &path->nodes[up]->bits[set];
        uint64_t bit = UINT64_C(1) << path->positions[up];
        if ((atomic_load(word) & bit) == 0)
            atomic_fetch_or(word, bit);
    }
}

/* Clears the bits above `level` as far up as their children have no members;
 * pairs with set_from(). */
static void clear_above(const struct path *path, unsigned level,
                        enum slab_set set)
{
    for (; level > 0; level--) {
        if (atomic_load(&path->nodes[level]->bits[set]) != 0)
            return;
        unsigned up = level - 1;
        uint64_t bit = UINT64_C(1) << path->positions[up];
        atomic_fetch_and(&path->nodes[up]->bits[set], ~bit);
        if (atomic_load(&path->nodes[level]->bits[set]) != 0) {
            set_from(path, up, set);
            return;
        }
    }
}

void slab_index_add(unsigned class, enum slab_set set, uint32_t number)
{
    struct path path;
    if (walk(class, number, false, &path))
        set_from(&path, LEVELS - 1, set);
}

static unsigned lowest(uint64_t bits)
{
    return (unsigned)__builtin_ctzll(bits);
}

static unsigned highest(uint64_t bits)
{
    return 63u - (unsigned)__builtin_clzll(bits);
}

/* One descent along the set bits.  *empty: the root has none.  NULL although
 * it has some: a bit was stale, or another thread took the member. */
static struct slab *try_take(unsigned class, enum slab_set set,
                             unsigned (*choose)(uint64_t), bool *empty)
{
    struct path path;
    struct node *node = &roots[class];
    for (unsigned level = 0;; level++) {
        uint64_t bits = atomic_load(&node->bits[set]);
        path.nodes[level] = node;
        if (bits == 0) {
            *empty = level == 0;
            clear_above(&path, level, set);
            return NULL;
        }
        unsigned position = choose(bits);
        path.positions[level] = position;
        if (level == LEVELS - 1)
            break;
        /* Pairs with make_child(); the bit was set after it. */
        node = atomic_load_explicit(&node->children[position],
                                    memory_order_acquire);
    }
    uint64_t bit = UINT64_C(1) << path.positions[LEVELS - 1];
    uint64_t before = atomic_fetch_and(&node->bits[set], ~bit);
    if (before == bit)
        clear_above(&path, LEVELS - 1, set);
    if ((before & bit) == 0)
        return NULL;
    /* Pairs with slab_index_insert(). */
    return atomic_load_explicit(&node->children[path.positions[LEVELS - 1]],
                                memory_order_acquire);
}

static struct slab *take(unsigned class, enum slab_set set,
                         unsigned (*choose)(uint64_t))
{
    bool empty = false;
    for (unsigned tries = 0; tries < TAKE_TRIES && !empty; tries++) {
        struct slab *slab = try_take(class, set, choose, &empty);
        if (slab != NULL)
            return slab;
    }
    return NULL;
}

struct slab *slab_index_take_lowest(unsigned class, enum slab_set set)
{
    return take(class, set, lowest);
}

struct slab *slab_index_take_highest(unsigned class, enum slab_set set)
{
    return take(class, set, highest);
}

uint32_t slab_index_count(unsigned class)
{
    return atomic_load_explicit(&counts[class], memory_order_relaxed);
}

struct slab *slab_index_get(unsigned class, uint32_t number)
{
    struct path path;
    if (!walk(class, number, false, &path))
        return NULL;
    /* Pairs with slab_index_insert(). */
    return atomic_load_explicit(
        &path.nodes[LEVELS - 1]->children[path.positions[LEVELS - 1]],
        memory_order_acquire);
}
