/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: each a range of mapped memory.  Freed ranges are kept for reuse
 * (large_kept.h) within a bound of bytes and of age, since new pages cost far
 * more than used ones.
 */
#ifndef PARTYALLOC_LARGE_H
#define PARTYALLOC_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest block, about 16 TiB. */
#define LARGE_SIZE_MAX ((((size_t)1 << 28) - 1) << 16)

/* The usable bytes of a large block of `size`. */
size_t large_good_size(size_t size);

/* Allocates; `alignment` is a power of two.  With `zeroed` all bytes are zero.
 * NULL: no memory, or no block of that size can exist. */
void *large_allocate(size_t size, size_t alignment, bool zeroed);

/* Frees the block at an address whose page map entry is ENTRY_LARGE.  Stops
 * the process when there is no live block. */
void large_free(void *block);

/* Stops the process for a free at an address whose entry is ENTRY_LARGE_GONE: a
 * double free, unless a live block covers it by now. */
_Noreturn void large_free_gone(const void *pointer);

/* The usable bytes of the block at such an address; stops the process, naming
 * `what`, when there is no live block. */
size_t large_usable_size(const void *block, const char *what);

/* Changes the size in place, or by moving pages instead of copying them.
 * NULL: neither can be done, and nothing has changed. */
void *large_resize(void *block, size_t size);

/* Unmaps kept ranges: a piece, about 20 us, of what exceeds the bound, or with
 * `aged_too` has not been reused for a while; about `bytes`; or all.  Returns
 * the bytes. */
size_t large_drop_step(bool aged_too);
bool large_keeps_too_much(void); /* a hint: from the last step */
size_t large_drop(size_t bytes);
size_t large_drop_all(void);

/* The bytes of address space that are kept. */
size_t large_kept_bytes(void);

struct large_totals {
    uint64_t live_blocks, live_bytes, peak_bytes;
    uint64_t cached_bytes;
    uint64_t maps, reuses;
};
struct large_totals large_totals(void);

#endif
