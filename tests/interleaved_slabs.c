/* SPDX-License-Identifier: MIT */
/* Two threads at one slab, and at the slabs of one class, in every order. */
#include "support.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "interleaving.h"
#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slab_index.h"
#include "slabs.h"

enum {
    CLASS = 27, /* of which few blocks are a slab, so that steps are few */
    SHARED = 3, /* blocks that there are before both begin */
    KEPT = 61,  /* the others of their slab */
    MINE = 4,   /* that a thread takes at the most */
};

static void *shared[SHARED], *kept[KEPT];

/* Of each thread. */
struct part {
    struct slab_source source;
    void *blocks[MINE];
    size_t count;
};
static struct part parts[2] = {{.source.owner = 1}, {.source.owner = 2}};

static struct slab *slab_of_shared(void)
{
    return page_map_descriptor(shared[0]);
}

/* --- bodies --- */

static void use_blocks(void *const *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        use_block(blocks[i]);
}

static void take_blocks(struct part *part, size_t count)
{
    part->count = slab_fill(&part->source, CLASS, part->blocks, count);
    use_blocks(part->blocks, part->count);
}

static void return_blocks(void *const *blocks, size_t count)
{
    use_blocks(blocks, count);
    slab_return(CLASS, blocks, count);
}

static void fill_0(void)
{
    take_blocks(&parts[0], 2);
}

static void fill_1(void)
{
    take_blocks(&parts[1], 2);
}

static void fill_and_let_go_1(void)
{
    take_blocks(&parts[1], SHARED);
    slab_let_go(&parts[1].source);
}

static void *shared_from_above(size_t i)
{
    return shared[shared[0] > shared[SHARED - 1] ? i : SHARED - 1 - i];
}

static void return_first(void)
{
    return_blocks(shared, 1);
}

static void return_first_and_others(void)
{
    void *others[] = {shared_from_above(1), shared_from_above(2)};

    shared[0] = shared_from_above(0);
    return_first();
    return_blocks(others, ARRAY_LENGTH(others));
}

static void return_others(void)
{
    return_blocks(shared + 1, SHARED - 1);
}

/* From above, so that a block that is not counted yet lies below one that is.
 */
static void return_all_one_by_one(void)
{
    for (size_t i = 0; i < SHARED; i++) {
        use_block(shared_from_above(i));
        slab_return_checked(CLASS, shared_from_above(i));
    }
}

static void let_go_1(void)
{
    slab_let_go(&parts[1].source);
}

static void trim(void)
{
    slab_trim();
}

static void adopt(void)
{
    slab_adopt(kept[0], 3);
}

static void adopt_and_return_all(void)
{
    adopt();
    return_all_one_by_one();
}

static void retire(void)
{
    slab_retire(SIZE_MAX);
}

static void reserve(void)
{
    slab_reserve();
}

static void take_and_give_one(void)
{
    struct part *part = &parts[1];

    part->blocks[0] = slab_take_one(&part->source, CLASS);
    require(part->blocks[0] != NULL);
    use_blocks(part->blocks, 1);
    if (!slab_give_local(&part->source, CLASS, part->blocks[0]))
        slab_return(CLASS, part->blocks, 1);
    part->blocks[0] = slab_take_one(&part->source, CLASS);
    part->count = 1;
    use_blocks(part->blocks, 1);
}

/* --- before --- */

static size_t kept_count;

/* A slab of which all blocks are with the title, and that somebody holds. */
static void take_all(struct slab_source *source)
{
    kept_count = size_classes[CLASS].capacity - SHARED;
    require(kept_count <= KEPT);
    fill_all(source, CLASS, shared, SHARED);
    fill_all(source, CLASS, kept, kept_count);
}

static void share_blocks(void)
{
    struct slab_source source = {.owner = OWNER};

    take_all(&source);
    slab_let_go(&source);
}

static void share_a_free_slab(void)
{
    share_blocks();
    slab_return(CLASS, kept, kept_count);
    kept_count = 0;
    slab_return(CLASS, shared, SHARED);
}

/* The last blocks of their slab. */
static void share_last_blocks(void)
{
    share_blocks();
    slab_return(CLASS, kept, kept_count);
    kept_count = 0;
}

static void share_blocks_of_a_held_slab(void)
{
    take_all(&parts[1].source);
    require(slab_of_shared() == parts[1].source.held);
}

/* As a cache holds slabs for single blocks. */
static void share_single_blocks(void)
{
    for (size_t i = 0; i < SHARED; i++)
        shared[i] = slab_take_one(&parts[1].source, CLASS);
}

/* --- after --- */

static void let_go_of_all(void)
{
    for (size_t i = 0; i < 2; i++)
        while (parts[i].source.held != NULL)
            slab_let_go(&parts[i].source);
}

/* What rests can be had, each block once, without another slab. */
static void require_rest_can_be_had(void)
{
    struct slab_source source = {.owner = OWNER};
    static void *blocks[MINE + SHARED + KEPT];
    uint64_t made = slab_totals().slabs_made;
    uint64_t resting = slab_totals().resting_blocks;

    require(resting <= ARRAY_LENGTH(blocks));
    fill_all(&source, CLASS, blocks, resting);
    require(slab_totals().slabs_made == made);
    require_disjoint(blocks, resting);
    for (size_t i = 0; i < resting; i++)
        *(char *)blocks[i] = 1; /* its page is there */
    slab_return(CLASS, blocks, resting);
    slab_let_go(&source);
}

static void require_all_rests(void)
{
    for (uint32_t i = 0; i < slab_index_count(CLASS); i++) {
        struct slab *slab = slab_index_get(CLASS, i);
        uint32_t carved = atomic_load(&slab->carved);
        require(atomic_load(&slab->held) != atomic_load(&slab->placed));
        require(atomic_load(&slab->resting) == carved);
        for (uint32_t j = 0; j < carved; j++)
            require(atomic_load(&slab->states[j]) == BLOCK_REST);
    }
    require(slab_totals().resting_blocks == slab_totals().carved_blocks);
}

static void nothing_is_lost(void)
{
    let_go_of_all();
    require_rest_can_be_had();
    for (size_t i = 0; i < 2; i++)
        slab_return(CLASS, parts[i].blocks, parts[i].count);
    slab_return(CLASS, kept, kept_count);
    require_all_rests();
    require_rest_can_be_had();
    slab_retire(SIZE_MAX);
    require(slab_dirty_bytes() == 0 && slab_free_bytes() == 0);
}

/* --- scenarios --- */

static void two_bring_blocks_to_rest(void **state)
{
    struct interleaving scenario = {share_blocks,
                                    {return_first, return_others},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void one_brings_to_rest_what_the_other_takes(void **state)
{
    struct interleaving one_by_one = {share_blocks,
                                      {return_all_one_by_one,
                                       fill_and_let_go_1},
                                      nothing_is_lost};
    struct interleaving at_once = {share_blocks,
                                   {return_first_and_others, fill_and_let_go_1},
                                   nothing_is_lost};

    (void)state;
    assert_interleavings(&one_by_one);
    assert_interleavings(&at_once);
}

static void two_take_from_one_slab(void **state)
{
    struct interleaving scenario = {share_a_free_slab,
                                    {fill_0, fill_1},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void blocks_come_to_rest_while_their_slab_is_let_go(void **state)
{
    struct interleaving scenario = {share_blocks_of_a_held_slab,
                                    {return_all_one_by_one, let_go_1},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void blocks_come_to_rest_beside_the_holders_own(void **state)
{
    struct interleaving scenario = {share_single_blocks,
                                    {return_all_one_by_one, take_and_give_one},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_slab_changes_hands_meanwhile(void **state)
{
    struct interleaving takes = {share_blocks,
                                 {adopt_and_return_all, fill_and_let_go_1},
                                 nothing_is_lost};
    struct interleaving returns = {share_blocks, {adopt, return_all_one_by_one},
                                   nothing_is_lost};

    (void)state;
    assert_interleavings(&takes);
    assert_interleavings(&returns);
}

static void pages_go_back_while_blocks_are_taken(void **state)
{
    struct interleaving scenario = {share_a_free_slab, {trim, fill_1},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void pages_go_back_while_blocks_come_to_rest(void **state)
{
    struct interleaving scenario = {share_blocks,
                                    {trim, return_all_one_by_one},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_slab_is_retired_while_blocks_are_taken(void **state)
{
    struct interleaving scenario = {share_a_free_slab,
                                    {retire, fill_and_let_go_1},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_slab_is_retired_while_its_last_block_comes_to_rest(void **state)
{
    struct interleaving scenario = {share_last_blocks,
                                    {retire, return_all_one_by_one},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void two_retire_slabs(void **state)
{
    struct interleaving scenario = {share_a_free_slab, {retire, retire},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static int advise_what_is_mapped(void *address, size_t length, int advice)
{
    unsigned char present[256];

    require(length / PAGE_BYTES <= ARRAY_LENGTH(present));
    require(mincore(address, length, present) == 0);
    return madvise(address, length, advice);
}

static void share_a_free_slab_and_watch(void)
{
    os_calls.madvise = advise_what_is_mapped;
    share_a_free_slab();
}

static void a_slab_is_retired_while_all_is_made_present(void **state)
{
    struct interleaving scenario = {share_a_free_slab_and_watch,
                                    {retire, reserve},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

/* Of the class there is no other slab. */
static void a_slab_is_made_while_all_is_made_present(void **state)
{
    struct interleaving scenario = {NULL, {fill_0, reserve}, nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_bring_blocks_to_rest),
        cmocka_unit_test(one_brings_to_rest_what_the_other_takes),
        cmocka_unit_test(two_take_from_one_slab),
        cmocka_unit_test(blocks_come_to_rest_while_their_slab_is_let_go),
        cmocka_unit_test(blocks_come_to_rest_beside_the_holders_own),
        cmocka_unit_test(a_slab_changes_hands_meanwhile),
        cmocka_unit_test(pages_go_back_while_blocks_are_taken),
        cmocka_unit_test(pages_go_back_while_blocks_come_to_rest),
        cmocka_unit_test(a_slab_is_retired_while_blocks_are_taken),
        cmocka_unit_test(a_slab_is_retired_while_its_last_block_comes_to_rest),
        cmocka_unit_test(two_retire_slabs),
        cmocka_unit_test(a_slab_is_retired_while_all_is_made_present),
        cmocka_unit_test(a_slab_is_made_while_all_is_made_present),
    };

    return run_all(tests);
}
