/* SPDX-License-Identifier: MIT */
/*
 * No call of the library reaches malloc(): a title whose malloc() is itself
 * built on the library would recurse for ever.
 *
 * This program's own malloc() and free() are found before the C library's.
 */
#include "support.h"

#include <stdlib.h>
#include <stdatomic.h>

/* In a call of the library.  Volatile: the compiler assumes that malloc() reads
 * no variable. */
static _Thread_local volatile bool inside;
static atomic_uint calls;

/* A sanitizer has these functions itself; and only glibc has its own under a
 * second name. */
#if !UNDER_SANITIZER && defined(__GLIBC__)
#define COUNTS_CALLS 1

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

static void count_call(void)
{
    if (inside)
        atomic_fetch_add(&calls, 1);
}

void *malloc(size_t size)
{
    count_call();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_call();
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    count_call();
    return __libc_realloc(block, size);
}

void free(void *block)
{
    count_call();
    __libc_free(block);
}

#else
#define COUNTS_CALLS 0
#endif

static void use_everything(void)
{
    struct random random = {1};

    inside = true;
    for (int i = 0; i < 3000; i++) {
        size_t size = random_size(&random, 1, MIB);
        void *block = partyalloc_allocate(size, ANY_TYPE);
        block = partyalloc_reallocate(block, size / 2, ANY_TYPE);
        partyalloc_free(block, ANY_TYPE);
        partyalloc_free(partyalloc_allocate_zeroed(1, size, 0), ANY_TYPE);
        partyalloc_free(partyalloc_allocate_aligned(size, 4096, 0), ANY_TYPE);
    }
    require(partyalloc_reserve(MIB) == 0);
    partyalloc_thread_flush();
    partyalloc_trim();
    partyalloc_maintain(1000000);
    struct partyalloc_stats stats = {.size = sizeof stats};
    require(partyalloc_get_stats(&stats) == 0);
    require(partyalloc_set_limit(0) == 0);
    inside = false;
}

static void *use_on_a_thread(void *unused)
{
    use_everything();
    return unused;
}

static void no_call_reaches_malloc(void **state)
{
    (void)state;
    use_everything();
    for (int i = 0; i < 10; i++)
        run_thread(use_on_a_thread, NULL);
    assert_int_equal(atomic_load(&calls), 0);
}

static void the_count_counts(void **state)
{
    (void)state;
    inside = true;
    void *volatile block = malloc(10);
    free(block);
    inside = false;
    assert_int_equal(atomic_exchange(&calls, 0), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_reaches_malloc),
        cmocka_unit_test(the_count_counts),
    };

    if (!COUNTS_CALLS)
        return skip_all("malloc() cannot be replaced by one that counts");
    return run_all(tests);
}
