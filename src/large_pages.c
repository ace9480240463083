/* SPDX-License-Identifier: MIT */
#include "large_pages.h"

#include <stdatomic.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"
#include "page_map.h"

enum { SAMPLE_INTERVAL = 16 };

enum verdict { NONE_YET, WRITTEN, NOT_WRITTEN };

/* The last verdict; the very first sample (see below); the count of blocks that
 * asked.  Relaxed: hints. */
static struct {
    _Alignas(CACHE_LINE_PAIR) _Atomic(enum verdict) last;
    _Atomic(uintptr_t) first;
    _Atomic(unsigned) blocks;
} habit;

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

/*
 * The first sample in one word: where it starts, a multiple of UNIT_BYTES, and
 * how many of its pages are checked.  It may be freed or moved at any time:
 * then its pages are found absent, or those of another block are taken for its
 * own, once.
 */
_Static_assert(OS_PRESENT_MAX / PAGE_BYTES < UNIT_BYTES, "pages beside a base");

static size_t sampled_part(size_t bytes)
{
    return bytes < OS_PRESENT_MAX ? bytes : OS_PRESENT_MAX;
}

static void note_first(const void *sample, size_t usable)
{
    uintptr_t none = 0;
    uintptr_t first = (uintptr_t)sample | sampled_part(usable) >> PAGE_SHIFT;
    if (GET(habit.first) == 0)
        atomic_compare_exchange_strong_explicit(&habit.first, &none, first,
                                                memory_order_relaxed,
                                                memory_order_relaxed);
}

static void judge(enum verdict verdict)
{
    atomic_store_explicit(&habit.last, verdict, memory_order_relaxed);
}

/* A title that loads frees nothing for a while.  What is not written yet may
 * soon be: that is no verdict. */
static void look_at_first(void)
{
    uintptr_t first = GET(habit.first);
    uintptr_t pages = first & (UNIT_BYTES - 1);
    if (first != 0 &&
        os_is_present((void *)(first - pages), pages << PAGE_SHIFT))
        judge(WRITTEN);
}

static bool is_turn_of_sample(void)
{
    unsigned blocks =
        atomic_fetch_add_explicit(&habit.blocks, 1, memory_order_relaxed) + 1;
    return blocks % SAMPLE_INTERVAL == 0;
}

static bool is_worth_while(void)
{
    if (GET(habit.last) == NONE_YET)
        look_at_first();
    return GET(habit.last) == WRITTEN && !is_turn_of_sample();
}

bool pages_come(void *block, size_t fresh, size_t usable)
{
    if (!is_worth_while()) {
        note_first(block, usable);
        return false;
    }
    os_populate(block, sampled_part(fresh < usable ? fresh : usable));
    return true;
}

void pages_judge(const void *sample, size_t usable)
{
    judge(os_is_present(sample, sampled_part(usable)) ? WRITTEN : NOT_WRITTEN);
}
