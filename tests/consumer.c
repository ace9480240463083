/* SPDX-License-Identifier: MIT */
/*
 * A third-party program, as `make installcheck` builds it through the installed
 * pkg-config file: every function of the header can be linked and does what its
 * name says.
 */
#include <partyalloc.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int failures;

static void
expect(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "consumer: not so: %s\n", what);
        failures++;
    }
}

static void
blocks(void)
{
    enum { TYPE = 7, SIZE = 100, PAGE = 4096 };
    char *block = partyalloc_allocate(SIZE, TYPE);
    char *page = partyalloc_allocate_aligned(SIZE, PAGE, TYPE);
    char *zeroes = partyalloc_allocate_zeroed(SIZE, 2, TYPE);

    expect(block != NULL && page != NULL && zeroes != NULL, "all allocated");
    if (block == NULL || page == NULL || zeroes == NULL)
        return;
    expect((uintptr_t)block % PARTYALLOC_ALIGNMENT == 0, "aligned");
    expect((uintptr_t)page % PAGE == 0, "aligned to a page");
    expect(zeroes[0] == 0 && zeroes[2 * SIZE - 1] == 0, "zeroed");
    expect(partyalloc_usable_size(block) == partyalloc_good_size(SIZE),
           "the usable size is the good size");

    memset(block, 'x', SIZE);
    block = partyalloc_reallocate(block, 2 * SIZE, TYPE);
    expect(block != NULL && block[SIZE - 1] == 'x', "contents move along");
    block = partyalloc_reallocate_aligned(block, SIZE, PAGE, TYPE);
    expect(block != NULL && (uintptr_t)block % PAGE == 0, "realigned");

    partyalloc_free(block, TYPE);
    partyalloc_free(page, 0);
    partyalloc_free(zeroes, TYPE);
    partyalloc_free(NULL, TYPE);
}

static void
verbs(void)
{
    struct partyalloc_stats stats = {.size = sizeof stats};

    partyalloc_thread_flush();
    (void)partyalloc_maintain(0);
    (void)partyalloc_trim();
    expect(partyalloc_set_limit(0) == 0, "no limit");
    expect(partyalloc_reserve(1) == 0, "reserved");
    expect(partyalloc_get_stats(&stats) == 0, "statistics");
    expect(stats.small_live_blocks == 0, "no block is live");
    expect(stats.large_live_blocks == 0, "no large block is live");
    expect(partyalloc_start_service_thread() == 0, "service thread starts");
    expect(partyalloc_stop_service_thread() == 0, "service thread stops");
}

int
main(int argc, char **argv)
{
    expect(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 2) == EINVAL,
           "a wrong value is refused");
    blocks();
    verbs();
    if (argc > 1)
        expect(strcmp(partyalloc_version(), argv[1]) == 0,
               "header, library and package are of one version");
    return failures != 0;
}
