/* SPDX-License-Identifier: MIT */
/*
 * Slabs: runs of blocks of one size class, with all their bookkeeping out of
 * band.  Blocks that no magazine carries are at rest in their slab.
 *
 * A slab keeps its class for life, and its address space until memory runs out;
 * pages come and go.
 *
 * Each block has a state, one byte that only whoever has the block writes (I4):
 *
 *     FRESH  not carved yet                        writer: the slab's holder
 *     OUT    with the title or in a thread's cache  writer: who has the block
 *     AWAY   in the depot, or on the way to it     writer: the taker
 *     REST   at rest here                          writer: the slab's holder,
 *                                                  which takes it from there
 *
 * The step from OUT finds double frees: the block is not OUT then.
 */
#ifndef PARTYALLOC_SLAB_H
#define PARTYALLOC_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum block_state {
    BLOCK_FRESH = 0, /* what zeroed metadata says */
    BLOCK_OUT = 1,
    BLOCK_AWAY = 2,
    BLOCK_REST = 4, /* a bit that no other state has, see none_rests() */
};

struct slab;
struct magazine;

/* Where a cache fills a class from: the slabs that only it may take blocks
 * from, and how it has grown lately. */
struct slab_source {
    struct slab *held; /* by `next_held`: one, or for single blocks a few */
    uint32_t owner;    /* its number in the page map, for slabs it holds */
    uint32_t growth;   /* slabs lately taken without pages; the filler's */
};

/*
 * Fills `blocks` with up to `wanted` blocks of a class, highest address first
 * (the last one is handed out first): blocks at rest in the held slab; or in
 * the lowest slab available, if it has `wanted` of them; newly carved ones of
 * the held slab; blocks of the lowest slab available; of a new one.  Returns
 * how many; fewer than wanted when the held slab is used up, 0 only when there
 * is no memory.
 */
size_t slab_fill(struct slab_source *source, unsigned class, void **blocks,
                 size_t wanted);

/* The most blocks in a slab for what follows: it has a bit for each. */
enum { SLAB_LOCAL_MAX = 64 };

/*
 * For classes whose blocks stay with the slabs that a source holds:
 * slab_take_local() takes up to `wanted` blocks that rest there, and returns
 * how many; slab_take_one() also carves one or takes hold of another slab.
 * NULL: there is none.
 */
size_t slab_take_local(struct slab_source *source, void **blocks,
                       size_t wanted);
void *slab_take_one(struct slab_source *source, unsigned class);

/* Brings such a block to rest if its slab is one that the source holds.  Stops
 * the process when it is not a block or not OUT. */
bool slab_give_local(struct slab_source *source, unsigned class,
                     const void *block);

/* Sets the owner of a block's slab, unless somebody holds it just now. */
void slab_adopt(const void *block, uint32_t owner);

/* Whether the held slab has a block to give. */
bool slab_is_ready(const struct slab_source *source);

/* Lets go of the (first) held slab, so that other caches can fill from it. */
void slab_let_go(struct slab_source *source);

/* In the child of a fork: recounts what rests in the held slabs from the states
 * of the blocks, whatever a vanished thread was doing there. */
void slab_count_anew(struct slab_source *source);

/* Brings OUT blocks of a class to rest.  Stops the process when one of them is
 * not a block or not OUT. */
void slab_return(unsigned class, void *const *blocks, size_t count);

/* The same for one block, safe against another thread that frees it at the
 * same time: one of the two stops the process. */
void slab_return_checked(unsigned class, void *block);

/* Marks the blocks of a magazine as AWAY (checked as in slab_return()), or as
 * OUT again; the same for a single block. */
void slab_mark_away(unsigned class, struct magazine *magazine);
void slab_mark_out(struct magazine *magazine);
void slab_mark_away_one(unsigned class, const void *block);
void slab_mark_out_one(unsigned class, const void *block);

/* Stops the process because of a block that is freed but not OUT. */
_Noreturn void slab_misuse_slow(unsigned class, const void *block);

/* Whether a block that is with the title, or at most in a thread's cache,
 * starts at the address. */
bool slab_is_live(unsigned class, const void *pointer);

/*
 * Gives free pages of a few slabs back to the system, for about 20 us: of slabs
 * that have been dirty for some time, the highest numbers first.  Returns the
 * bytes given back; *more says whether another call could help.
 */
size_t slab_purge_step(bool *more);

/* A number that changes when slabs may have become dirty for long enough: after
 * a step that found none, the next one waits for a change. */
uint32_t slab_age(void);

/* The bytes at rest that are still backed by pages, and how many of them to
 * keep in proportion to what is in use. */
size_t slab_dirty_bytes(void);
size_t slab_dirty_allowance(void);

/* Gives back every free page of every slab that no cache holds. */
size_t slab_trim(void);

/* Gives up the address space of wholly free slabs until that makes `bytes`;
 * returns how many.  Spares slabs that a cache holds, and reserved ones. */
size_t slab_retire(size_t bytes);

/* About the most that could yield, once all that is free has come to rest: the
 * bytes that no block uses in slabs that have addresses; and those that rest
 * with the holders of slabs, which the first leaves out. */
size_t slab_free_bytes(void);
size_t slab_local_bytes(void);

/* Makes the slab layer's own memory present ahead of use, and what may be used
 * of slabs that are not reserved: all of those that caches hold, and the pages
 * of blocks that are not at rest. */
void slab_reserve(void);

/* The most metadata that the slabs in `bytes` need. */
size_t slab_metadata_bytes(size_t bytes);

struct slab_totals {
    uint64_t carved_blocks,
        carved_bytes; /* ever carved, whatever their state */
    uint64_t resting_blocks, resting_bytes; /* at rest */
    uint64_t purged_bytes; /* of resting_bytes, not backed by pages */
    uint64_t peak_bytes;   /* carved and not at rest, when slabs were made */
    uint64_t slabs_made;
};
struct slab_totals slab_totals(void);

#endif
