/* SPDX-License-Identifier: MIT */
/*
 * A machine with little memory: address space, data and mappings are limited
 * in a child, which runs out of them, frees, and goes on.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { SMALL = 200000, SMALL_SIZE = 2000, LARGE = 400 };
#define ADDRESS_SPACE (256 * MIB)

static struct filled small[SMALL], large[LARGE];

static size_t allocate_all(struct filled *blocks, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        errno = 0;
        void *block = partyalloc_allocate(size, ANY_TYPE);
        if (block == NULL) {
            require(errno == ENOMEM);
            return i;
        }
        blocks[i] = (struct filled){block, 64, i};
        fill(block, 64, i);
    }
    return count;
}

static void free_all(struct filled *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        filled_free(&blocks[i]);
}

static void *allocate_on_a_thread(void *unused)
{
    void *block = partyalloc_allocate(100, ANY_TYPE);

    partyalloc_free(block, ANY_TYPE);
    return unused;
}

/* Runs out with either kind of block, and recovers. */
static void live_near_the_end(void)
{
    run_thread(allocate_on_a_thread, NULL);
    size_t got = allocate_all(small, SMALL, SMALL_SIZE);
    require(got > 1000 && got < SMALL);
    require(partyalloc_allocate(8 * MIB, ANY_TYPE) == NULL);
    require(partyalloc_allocate_zeroed(1, 8 * MIB, ANY_TYPE) == NULL);
    require(partyalloc_reallocate(small[0].block, 8 * MIB, 0) == NULL);
    free_all(small, got);
    size_t again = allocate_all(small, SMALL, SMALL_SIZE);
    require(again >= got - got / 20);
    free_all(small, again);
    /* Small blocks keep their address space; large ones use what is left. */
    got = allocate_all(large, LARGE, MIB);
    require(got < LARGE);
    free_all(large, got);
    require(allocate_all(large, LARGE, MIB) >= got);
    free_all(large, got);
    require(stats_now().small_live_blocks == 0);
    require(stats_now().large_live_blocks == 0);
}

/* Not a function: glibc has an enumeration of its own for resources. */
#define limit(resource, bytes) \
    do { \
        struct rlimit both; \
        require(getrlimit((resource), &both) == 0); \
        both.rlim_cur = (bytes); \
        require(setrlimit((resource), &both) == 0); \
    } while (0)

static size_t address_space(void)
{
    size_t pages;
    FILE *file = fopen("/proc/self/statm", "r");

    require(file != NULL && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    return pages * 4096;
}

static void live_in_little_address_space(void *unused)
{
    (void)unused;
    limit(RLIMIT_AS, ADDRESS_SPACE);
    live_near_the_end();
}

static void live_with_little_data(void *unused)
{
    (void)unused;
    limit(RLIMIT_DATA, ADDRESS_SPACE);
    live_near_the_end();
}

static void start_with_nothing(void *unused)
{
    (void)unused;
    limit(RLIMIT_AS, address_space());
    /* From what was mapped when the library was loaded. */
    size_t got = allocate_all(small, SMALL, 64 * KIB);
    got += allocate_all(&small[got], SMALL - got, KIB);
    require(got < 4 * MIB / KIB);
    require(partyalloc_allocate(1, ANY_TYPE) == NULL);
    require(partyalloc_allocate(MIB, ANY_TYPE) == NULL);
    require(partyalloc_reserve(MIB) == ENOMEM);
    partyalloc_free(NULL, ANY_TYPE);
    partyalloc_thread_flush();
    partyalloc_trim();
    partyalloc_maintain(1000000);
    stats_now();
    limit(RLIMIT_AS, RLIM_INFINITY);
    struct filled filled = filled_allocate(100, 1);
    filled_free(&filled);
    filled = filled_allocate(MIB, 1);
    filled_free(&filled);
    free_all(small, got);
}

static size_t left;

static void *free_without_a_cache(void *unused)
{
    limit(RLIMIT_AS, address_space());
    free_all(small, left);
    free_all(large, 3);
    limit(RLIMIT_AS, RLIM_INFINITY);
    return unused;
}

static void free_first_with_nothing(void *unused)
{
    (void)unused;
    left = allocate_all(small, 1000, 100);
    require(allocate_all(large, 3, MIB) == 3);
    run_thread(free_without_a_cache, NULL);
    require(stats_now().small_live_blocks == 0);
    require(stats_now().large_live_blocks == 0);
}

/* Takes every mapping that the process may have, by giving every other page
 * of a range another protection. */
static char *take_all_mappings(size_t *bytes)
{
    enum { PAGES = 400000 };
    *bytes = (size_t)PAGES * 4096;
    char *pages = mmap(NULL, *bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    require(pages != MAP_FAILED);
    for (size_t i = 1; i < PAGES; i += 2)
        if (mprotect(pages + i * 4096, 4096, PROT_READ) != 0)
            return pages;
    return NULL; /* the machine has a high limit */
}

static void live_without_mappings(void *unused)
{
    enum { MANY = 100 };
    const int sentinel = 4711;
    size_t bytes;

    (void)unused;
    require(allocate_all(large, MANY, MIB) == MANY);
    require(allocate_all(small, MANY, SMALL_SIZE) == MANY);
    char *taken = take_all_mappings(&bytes);
    if (taken == NULL)
        return;
    /* Unmapping what lies between two others would need one mapping more. */
    for (size_t i = 1; i < MANY; i += 2) {
        errno = sentinel;
        filled_free(&large[i]);
        require(errno == sentinel);
    }
    free_all(small, MANY);
    partyalloc_trim();
    allocate_all(small, MANY, SMALL_SIZE);
    free_all(small, MANY);
    require(munmap(taken, bytes) == 0);
    free_all(large, MANY);
    require(allocate_all(large, MANY, MIB) == MANY);
    free_all(large, MANY);
    partyalloc_trim();
    partyalloc_trim();
    require(stats_now().large_live_blocks == 0);
    require(stats_now().mapped_bytes <= 16 * MIB);
}

static void live_with_locked_memory(void *unused)
{
    (void)unused;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return; /* not allowed here */
    require(allocate_all(small, 10000, SMALL_SIZE) == 10000);
    free_all(small, 10000);
    require(allocate_all(large, 4, MIB) == 4);
    free_all(large, 4);
    partyalloc_thread_flush();
    partyalloc_trim();
    for (size_t size = 100; size < 2 * MIB; size *= 3) {
        void *block = partyalloc_allocate_zeroed(1, size, ANY_TYPE);
        require(block != NULL && is_zero(block, size));
        partyalloc_free(block, ANY_TYPE);
    }
    require(stats_now().small_live_blocks == 0);
}

static void it_lives_in_256_mib_of_address_space(void **state)
{
    (void)state;
    assert_child_succeeds(live_in_little_address_space, NULL);
}

static void it_lives_with_256_mib_of_data(void **state)
{
    (void)state;
    assert_child_succeeds(live_with_little_data, NULL);
}

static void a_process_without_memory_can_start_when_there_is_some(void **state)
{
    (void)state;
    assert_child_succeeds(start_with_nothing, NULL);
}

static void a_thread_can_free_when_there_is_no_memory_for_a_cache(void **state)
{
    (void)state;
    assert_child_succeeds(free_first_with_nothing, NULL);
}

static void it_lives_at_the_limit_of_mappings(void **state)
{
    (void)state;
    assert_child_succeeds(live_without_mappings, NULL);
}

static void it_lives_with_locked_memory(void **state)
{
    (void)state;
    assert_child_succeeds(live_with_locked_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_lives_in_256_mib_of_address_space),
        cmocka_unit_test(it_lives_with_256_mib_of_data),
        cmocka_unit_test(a_process_without_memory_can_start_when_there_is_some),
        cmocka_unit_test(a_thread_can_free_when_there_is_no_memory_for_a_cache),
        cmocka_unit_test(it_lives_at_the_limit_of_mappings),
        cmocka_unit_test(it_lives_with_locked_memory),
    };

    if (UNDER_SANITIZER)
        return skip_all("the sanitizer needs address space itself");
    return run_all(tests);
}
