/* SPDX-License-Identifier: MIT */
/* Options: which values they take, and until when. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void set_known_values(void *unused)
{
    (void)unused;
    require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == 0);
    require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 0) == 0);
    require(partyalloc_set_option(PARTYALLOC_OPTION_HUGE_PAGES, 1) == 0);
    require(partyalloc_set_option(PARTYALLOC_OPTION_HUGE_PAGES, 0) == 0);
    require(partyalloc_set_option(PARTYALLOC_OPTION_CACHE_BYTES, 65536) == 0);
    struct filled filled = filled_allocate(100, 1);
    filled_free(&filled);
}

static void known_values_are_taken(void **state)
{
    (void)state;
    assert_child_succeeds(set_known_values, NULL);
}

static void set_unknown_values(void *unused)
{
    (void)unused;
    require(partyalloc_set_option((enum partyalloc_option)0, 0) == EINVAL);
    require(partyalloc_set_option((enum partyalloc_option)4, 0) == EINVAL);
    require(partyalloc_set_option((enum partyalloc_option)1000, 0) == EINVAL);
    require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 2) == EINVAL);
    require(partyalloc_set_option(PARTYALLOC_OPTION_HUGE_PAGES, 2) == EINVAL);
    require(partyalloc_set_option(PARTYALLOC_OPTION_CACHE_BYTES, SIZE_MAX)
            == EINVAL);
}

static void unknown_options_and_values_say_einval(void **state)
{
    (void)state;
    assert_child_succeeds(set_unknown_values, NULL);
}

static void set_too_late(void *unused)
{
    void *block = partyalloc_allocate(1, ANY_TYPE);

    (void)unused;
    require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == EBUSY);
    partyalloc_free(block, ANY_TYPE);
    require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == EBUSY);
}

static void set_too_late_for_large(void *unused)
{
    void *block = partyalloc_allocate(MIB, ANY_TYPE);

    (void)unused;
    require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == EBUSY);
    partyalloc_free(block, ANY_TYPE);
}

static void after_the_first_block_it_is_too_late(void **state)
{
    (void)state;
    assert_child_succeeds(set_too_late, NULL);
    assert_child_succeeds(set_too_late_for_large, NULL);
}

/* What a cache holds when a thread has freed many blocks of every class up to
 * a size. */
static uint64_t fill_cache(size_t largest)
{
    enum { EACH = 40 };
    size_t boundary = 0;

    while (boundary < largest) {
        void *blocks[EACH];
        boundary = partyalloc_good_size(boundary + 1);
        for (size_t i = 0; i < EACH; i++) {
            blocks[i] = partyalloc_allocate(boundary, ANY_TYPE);
            require(blocks[i] != NULL);
        }
        for (size_t i = 0; i < EACH; i++)
            partyalloc_free(blocks[i], ANY_TYPE);
    }
    return stats_now().cache_bytes;
}

static void bound_the_cache(void *argument)
{
    const size_t *bytes = argument;

    if (*bytes != 0)
        require(partyalloc_set_option(PARTYALLOC_OPTION_CACHE_BYTES, *bytes)
                == 0);
    size_t bound = *bytes != 0 ? *bytes : 512 * KIB;
    require(fill_cache(bound / 128) <= bound);
}

/* Besides, a few medium blocks of each class. */
static void bound_the_medium_blocks(void *unused)
{
    uint64_t bound = 512 * KIB;
    size_t boundary = 4 * KIB;

    (void)unused;
    while (boundary < SMALL_SIZE_MAX) {
        boundary = partyalloc_good_size(boundary + 1);
        bound += 16 * boundary < MIB ? 16 * boundary : MIB;
    }
    require(fill_cache(SMALL_SIZE_MAX) <= bound);
}

static void a_cache_stays_within_its_bytes_whatever_the_classes(void **state)
{
    size_t bounds[] = {0, 64 * KIB, 128 * KIB, 2 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bounds); i++)
        assert_child_succeeds(bound_the_cache, &bounds[i]);
    assert_child_succeeds(bound_the_medium_blocks, NULL);
}

static void ask_for_huge_pages(void *unused)
{
    enum { BLOCKS = 40000, SIZE = 1000 };
    static void *blocks[BLOCKS];
    size_t live = 0;

    (void)unused;
    require(partyalloc_set_option(PARTYALLOC_OPTION_HUGE_PAGES, 1) == 0);
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = &blocks[i];
    size_t start = resident_bytes();
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = partyalloc_allocate(SIZE, ANY_TYPE);
        require(blocks[i] != NULL);
        fill(blocks[i], SIZE, i);
        live += partyalloc_usable_size(blocks[i]);
    }
    /* A tenth more than is live, and the chunk that was begun. */
    if (!UNDER_SANITIZER)
        require(resident_bytes() - start <= live + live / 10 + 4 * MIB);
    for (size_t i = 0; i < BLOCKS; i++) {
        require(holds(blocks[i], SIZE, i));
        partyalloc_free(blocks[i], ANY_TYPE);
    }
    struct filled large = filled_allocate(20 * MIB, 1);
    filled_free(&large);
}

static void huge_pages_cost_little_memory(void **state)
{
    (void)state;
    assert_child_succeeds(ask_for_huge_pages, NULL);
}

/* --- the environment --- */

/* Run again in another environment, this program only frees a block twice,
 * another one in between, and exits with status 0. */
#define AGAIN "free-twice"

static int free_twice(void)
{
    void *block = partyalloc_allocate(64, ANY_TYPE);
    void *other = partyalloc_allocate(64, ANY_TYPE);

    partyalloc_free(block, ANY_TYPE);
    partyalloc_free(other, ANY_TYPE);
    partyalloc_free(block, ANY_TYPE);
    return 0;
}

static void run_again(void *value)
{
    char *const arguments[] = {(char *)"options", (char *)AGAIN, NULL};

    if (value != NULL)
        require(setenv("PARTYALLOC_CHECKED", value, 1) == 0);
    execv("/proc/self/exe", arguments);
    require(false); /* it could not be run again */
}

static void run_again_with(const char *value)
{
    struct ending ending = run_in_child(run_again, (void *)(uintptr_t)value);

    if (value != NULL && strcmp(value, "1") == 0) {
        assert_true(WIFSIGNALED(ending.status));
        assert_int_equal(strncmp(ending.text,
                                 "partyalloc: double free of 0x", 29), 0);
    } else {
        assert_string_equal(ending.text, "");
        assert_int_equal(ending.status, 0);
    }
}

static void the_environment_chooses_checked_mode(void **state)
{
    (void)state;
    run_again_with("1");
}

static void the_environment_is_ignored_where_it_makes_no_sense(void **state)
{
    const char *const values[] = {"0", "", "2", "yes", "-1", "1x", "0x1",
                                  "99999999999999999999999", " 1",
                                  /* 1 modulo 2^64; 10 - 9 if ' is a digit. */
                                  "18446744073709551617", "1'"};

    (void)state;
    run_again_with(NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++)
        run_again_with(values[i]);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_are_taken),
        cmocka_unit_test(unknown_options_and_values_say_einval),
        cmocka_unit_test(after_the_first_block_it_is_too_late),
        cmocka_unit_test(a_cache_stays_within_its_bytes_whatever_the_classes),
        cmocka_unit_test(huge_pages_cost_little_memory),
        cmocka_unit_test(the_environment_chooses_checked_mode),
        cmocka_unit_test(the_environment_is_ignored_where_it_makes_no_sense),
    };

    if (count == 2 && strcmp(arguments[1], AGAIN) == 0)
        return free_twice();
    return run_all(tests);
}
