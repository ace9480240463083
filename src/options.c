/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "compiler.h"
#include "partyalloc.h"

struct option {
    const char *variable;
    size_t initial;
    size_t maximum;
};

static const struct option table[] = {
    [PARTYALLOC_OPTION_CHECKED] = {"PARTYALLOC_CHECKED", 0, 1},
    [PARTYALLOC_OPTION_HUGE_PAGES] = {"PARTYALLOC_HUGE_PAGES", 0, 1},
    [PARTYALLOC_OPTION_CACHE_BYTES] = {"PARTYALLOC_CACHE_BYTES", 512 << 10,
                                       64 << 20},
};

enum { OPTION_COUNT = sizeof(table) / sizeof(table[0]) };

/* A value plus one, 0 while nobody has chosen; and whether it is fixed.
 * Threads that fix the options at once all compute the same, so each word
 * stands alone: relaxed. */
static _Atomic(size_t) values[OPTION_COUNT];
#define FIXED ((size_t)1 << 63)
static _Atomic(bool) fixed;
static _Atomic(bool) quiet;

static void fix(size_t option, size_t value)
{
    size_t nobody = 0;
    atomic_compare_exchange_strong_explicit(&values[option], &nobody, value + 1,
                                            memory_order_relaxed,
                                            memory_order_relaxed);
    atomic_fetch_or_explicit(&values[option], FIXED, memory_order_relaxed);
}

/* The value of an option's environment variable; the initial value when the
 * variable is not set, not a number or out of range. */
static size_t from_environment(const struct option *option)
{
    const char *text = getenv(option->variable);
    if (text == NULL || *text == '\0')
        return option->initial;
    size_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > option->maximum)
            return option->initial;
        value = value * 10 + (size_t)(*text - '0');
    }
    return value <= option->maximum ? value : option->initial;
}

void options_fix(void)
{
    /* Acquires the values; pairs with the store below. */
    if (atomic_load_explicit(&fixed, memory_order_acquire))
        return;
    for (size_t i = 1; i < OPTION_COUNT; i++)
        fix(i, from_environment(&table[i]));
    atomic_store_explicit(&fixed, true, memory_order_release);
}

static size_t value_of(enum partyalloc_option option)
{
    size_t value = atomic_load_explicit(&values[option], memory_order_relaxed);
    return (value & ~FIXED) - 1;
}

bool option_checked(void)
{
    return value_of(PARTYALLOC_OPTION_CHECKED) != 0;
}

bool option_huge_pages(void)
{
    return value_of(PARTYALLOC_OPTION_HUGE_PAGES) != 0;
}

size_t option_cache_bytes(void)
{
    return value_of(PARTYALLOC_OPTION_CACHE_BYTES);
}

bool option_quiet(void)
{
    return atomic_load_explicit(&quiet, memory_order_relaxed);
}

void options_be_quiet(void)
{
    atomic_store_explicit(&quiet, true, memory_order_relaxed);
}

EXPORTED int partyalloc_set_option(enum partyalloc_option option, size_t value)
{
    size_t index = (size_t)option;
    if (index == 0 || index >= OPTION_COUNT || value > table[index].maximum)
        return EINVAL;
    size_t before = atomic_load_explicit(&values[index], memory_order_relaxed);
    do {
        if ((before & FIXED) != 0)
            return EBUSY;
    } while (!atomic_compare_exchange_weak_explicit(
        &values[index], &before, value + 1, memory_order_relaxed,
        memory_order_relaxed));
    return 0;
}
