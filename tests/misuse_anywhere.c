/* SPDX-License-Identifier: MIT */
/*
 * No address of the process can be freed unnoticed: neither our own structures
 * nor anything else in its mappings.  White box, for the former.
 */
#include "support.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "depot.h"
#include "metadata.h"
#include "page_map.h"
#include "slab.h"
#include "thread.h"

/* Leaves memory of every kind, but no live block. */
static void use_everything(void)
{
    enum { BLOCKS = 4000 };
    static void *blocks[BLOCKS];
    struct random random = {1};

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = partyalloc_allocate(random_size(&random, 1, 20000), 0);
        require(blocks[i] != NULL);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    for (size_t size = MIB; size < 20 * MIB; size *= 2)
        partyalloc_free(partyalloc_allocate(size, ANY_TYPE), ANY_TYPE);
}

static void free_at_once(void *pointer)
{
    expect_stop("invalid free", pointer);
    partyalloc_free(pointer, ANY_TYPE);
}

static void our_own_structures_cannot_be_freed(void **state)
{
    void *block = partyalloc_allocate(64, ANY_TYPE);
    struct magazine *magazine = depot_take_empties();
    const struct {
        const char *name;
        void *pointer;
    } structures[] = {
        {"the root of the page map", (void *)&page_map_root[0]},
        {"a leaf of it", page_map_leaf(block)},
        {"the descriptor of a slab", page_map_descriptor(block)},
        {"the bins of a thread", thread_bins},
        {"a magazine", magazine},
        {"the slots of a magazine", &magazine->slots[1]},
        {"other metadata", metadata_allocate(64, 64)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(structures); i++)
        assert_scenario_stops(structures[i].name, free_at_once,
                              structures[i].pointer);
    depot_give_empties(magazine);
    partyalloc_free(block, ANY_TYPE);
}

/* --- inside another thread's block --- */

enum { THEIR_SIZE = 1000 };

static char *theirs[2];

static void *allocate_theirs(void *unused)
{
    for (size_t i = 0; i < ARRAY_LENGTH(theirs); i++)
        theirs[i] = partyalloc_allocate(THEIR_SIZE, ANY_TYPE);
    return unused;
}

/* The first free brings a magazine for such blocks, with room left. */
static void free_inside_of_theirs(void *unused)
{
    (void)unused;
    partyalloc_free(theirs[0], ANY_TYPE);
    free_at_once(theirs[1] + THEIR_SIZE / 32 * 16);
}

static void a_free_inside_of_anothers_block_stops_at_once(void **state)
{
    (void)state;
    /* So that the thread has a cache other than ours. */
    partyalloc_free(partyalloc_allocate(THEIR_SIZE, ANY_TYPE), ANY_TYPE);
    run_thread(allocate_theirs, NULL);
    assert_child_stops(free_inside_of_theirs, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(theirs); i++)
        partyalloc_free(theirs[i], ANY_TYPE);
}

/* --- every mapping --- */

static void free_and_flush(void *pointer)
{
    partyalloc_free(pointer, ANY_TYPE);
    partyalloc_thread_flush();
}

/* Stopped by us, with either line that names the address. */
static void assert_noticed(uintptr_t address, const char *mapping)
{
    struct ending ending = run_in_child(free_and_flush, (void *)address);
    char line[64];

    for (int twice = 0; twice < 2; twice++) {
        snprintf(line, sizeof line, "partyalloc: %s free of 0x%" PRIxPTR "\n",
                 twice ? "double" : "invalid", address);
        if (WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGABRT
            && strcmp(ending.text, line) == 0)
            return;
    }
    print_message("# 0x%" PRIxPTR " in %s# wait status 0x%x, it wrote: %s\n",
                  address, mapping, (unsigned)ending.status, ending.text);
    fail();
}

static void no_address_in_any_mapping_can_be_freed_unnoticed(void **state)
{
    static char mappings[256][256];
    size_t count = 0;

    (void)state;
    use_everything();
    FILE *file = fopen("/proc/self/maps", "r");
    assert_non_null(file);
    while (count < ARRAY_LENGTH(mappings)
           && fgets(mappings[count], sizeof mappings[count], file) != NULL)
        count++;
    fclose(file);
    for (size_t i = 0; i < count; i++) {
        uintptr_t start, end;
        assert_int_equal(sscanf(mappings[i], "%" SCNxPTR "-%" SCNxPTR, &start,
                                &end), 2);
        assert_noticed(start, mappings[i]);
        assert_noticed(start + 16, mappings[i]);
        assert_noticed((start + (end - start) / 2) & ~(uintptr_t)15,
                       mappings[i]);
        assert_noticed(end - 16, mappings[i]);
        assert_noticed(end - 1, mappings[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_structures_cannot_be_freed),
        cmocka_unit_test(a_free_inside_of_anothers_block_stops_at_once),
        cmocka_unit_test(no_address_in_any_mapping_can_be_freed_unnoticed),
    };

    return run_all(tests);
}
