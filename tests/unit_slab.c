/* SPDX-License-Identifier: MIT */
/* Slabs: each block in one hand, lowest slab first, free pages given back. */
#include "support.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "chunk.h"
#include "page_map.h"
#include "size_class.h"
#include "slab_index.h"
#include "slab_internal.h"

enum { OWNER = 7, WANTED = 50 };

static void fill_all(struct slab_source *source, unsigned class,
                     void **blocks, size_t count)
{
    size_t got = 0;

    while (got < count) {
        size_t more =
            slab_fill(source, class, blocks + got,
                      count - got < WANTED ? count - got : WANTED);
        require(more > 0);
        got += more;
    }
}

static void check_class(unsigned class)
{
    enum { MANY = 3000, BYTES_MAX = 4 << 20 };
    static void *blocks[MANY];
    struct slab_source source = {.owner = OWNER};
    size_t size = size_classes[class].size;
    size_t count = BYTES_MAX / size < MANY ? BYTES_MAX / size : MANY;

    fill_all(&source, class, blocks, count);
    require_disjoint(blocks, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t entry = page_map_entry(blocks[i]);
        assert_int_equal(page_map_class(entry), class);
        assert_int_equal(entry >> ENTRY_OWNER_SHIFT, OWNER);
        assert_true(slab_is_live(class, blocks[i]));
        memset(blocks[i], 1, size);
        for (size_t inside = 16; inside < size; inside += size / 16 * 16)
            assert_false(slab_is_live(class, (char *)blocks[i] + inside));
    }
    slab_return(class, blocks, count);
    for (size_t i = 0; i < count; i++)
        assert_false(slab_is_live(class, blocks[i]));
    slab_let_go(&source);
}

static void blocks_of_every_class_lie_apart_and_are_known(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        check_class(class);
}

static void the_highest_address_comes_first_in_a_fill(void **state)
{
    struct slab_source source = {.owner = OWNER};
    void *blocks[WANTED];

    (void)state;
    slab_trim();
    size_t count = slab_fill(&source, 20, blocks, WANTED);
    for (size_t i = 1; i < count; i++)
        assert_true((uintptr_t)blocks[i - 1] > (uintptr_t)blocks[i]);
    slab_return(20, blocks, count);
    slab_let_go(&source);
}

static void what_came_to_rest_is_taken_before_more_is_carved(void **state)
{
    enum { COUNT = 2000, CLASS = 9 };
    static void *first[COUNT], *second[COUNT];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    fill_all(&source, CLASS, first, COUNT);
    slab_return(CLASS, first, COUNT);
    slab_let_go(&source);
    struct slab_totals before = slab_totals();
    fill_all(&source, CLASS, second, COUNT);
    struct slab_totals after = slab_totals();
    assert_int_equal(after.slabs_made, before.slabs_made);
    assert_in_range(after.carved_blocks - before.carved_blocks, 0, 1024);
    assert_int_equal(before.resting_blocks - after.resting_blocks
                         + after.carved_blocks - before.carved_blocks,
                     COUNT);
    slab_return(CLASS, second, COUNT);
    slab_let_go(&source);
}

/* Too few blocks for a page to come free, but they are found. */
static void a_slab_is_listed_as_soon_as_some_blocks_rest(void **state)
{
    enum { CLASS = 7, COUNT = 4096, HALF = COUNT / 2 };
    static void *blocks[COUNT], *some[HALF];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    for (size_t i = 0; i < HALF; i++)
        some[i] = blocks[2 * i];
    slab_return(CLASS, some, HALF);
    uint64_t carved = slab_totals().carved_blocks;
    fill_all(&source, CLASS, some, HALF);
    assert_in_range(slab_totals().carved_blocks - carved, 0,
                    size_classes[CLASS].capacity);
    slab_let_go(&source);
    for (size_t i = 0; i < HALF; i++)
        slab_return(CLASS, &blocks[2 * i + 1], 1);
    slab_return(CLASS, some, HALF);
}

/* The two steps of a thread that brings a block to rest. */

static struct slab *bring_to_rest(unsigned class, void *block)
{
    struct slab *slab = page_map_descriptor(block);
    uint32_t offset = (uint32_t)((uintptr_t)block - slab->base);

    atomic_store(&slab->states[size_class_index(class, offset)], BLOCK_REST);
    return slab;
}

static void count_at_rest(struct slab *slab)
{
    slab_add_dirty(size_classes[slab->class].size);
    atomic_fetch_add(&slab->resting, 1);
}

/* Else the count would go below none when it is taken between the two. */
static void what_is_about_to_be_counted_is_not_taken(void **state)
{
    enum { CLASS = 14, COUNT = 8, MORE = 4096 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];
    static void *more[MORE];
    size_t count = 0;

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = bring_to_rest(CLASS, blocks[0]);
    slab_return(CLASS, blocks + 1, 3);
    while (atomic_load(&slab->resting) != 0 && count + WANTED < MORE)
        count += slab_fill(&source, CLASS, more + count, WANTED);
    assert_int_equal(atomic_load(&slab->resting), 0);
    count_at_rest(slab);
    slab_let_go(&source);
    source.held = slab;
    require(slab_hold(slab));
    uint64_t carved = slab_totals().carved_blocks;
    assert_int_equal(slab_fill(&source, CLASS, more + count, 1), 1);
    assert_int_equal(slab_totals().carved_blocks, carved);
    assert_ptr_equal(page_map_descriptor(more[count]), slab);
    assert_int_equal(atomic_load(&slab->resting), 0);
    require_disjoint(more, ++count);
    slab_return(CLASS, blocks + 4, COUNT - 4);
    slab_return(CLASS, more, count);
    slab_let_go(&source);
}

/* The pages of what rests are there; those behind what is carved may not be. */
static void what_rests_elsewhere_is_taken_before_the_held_slab_is_carved(
    void **state)
{
    enum { CLASS = 17, COUNT = 40, FEW = COUNT / 4, MANY = 8000 };
    struct slab_source one = {.owner = OWNER}, other = {.owner = OWNER + 1};
    static void *ours[MANY];
    void *theirs[COUNT], *few[FEW];
    size_t count = 0;

    (void)state;
    /* All that rests, and one newly carved. */
    for (uint64_t before = slab_totals().carved_blocks;
         slab_totals().carved_blocks == before; count++)
        fill_all(&one, CLASS, &ours[count], 1);
    fill_all(&other, CLASS, theirs, COUNT);
    slab_return(CLASS, theirs, COUNT);
    slab_let_go(&other);
    const struct slab *held = one.held;
    uint64_t carved = slab_totals().carved_blocks;
    assert_int_equal(slab_fill(&one, CLASS, few, FEW), FEW);
    assert_int_equal(slab_totals().carved_blocks, carved);
    assert_ptr_not_equal(one.held, held);
    /* All of it rested: it changes its owner. */
    assert_int_equal(page_map_entry(few[0]) >> ENTRY_OWNER_SHIFT, OWNER);
    slab_return(CLASS, few, FEW);
    /* What would not fill as much is left alone. */
    fill_all(&one, CLASS, theirs, COUNT);
    fill_all(&other, CLASS, &ours[count++], 1);
    slab_let_go(&one);
    slab_return(CLASS, theirs, FEW - 1);
    carved = slab_totals().carved_blocks;
    assert_int_equal(slab_fill(&other, CLASS, few, FEW), FEW);
    assert_int_equal(slab_totals().carved_blocks, carved + FEW);
    slab_return(CLASS, few, FEW);
    slab_return(CLASS, theirs + FEW - 1, COUNT - FEW + 1);
    slab_return(CLASS, ours, count);
    slab_let_go(&other);
}

/* One call for a slab instead of a fault for a page. */
static void a_growing_class_has_pages_made_present_again(void **state)
{
    enum { CLASS = 15, FILL = 32, FILLS = 128 };
    static void *blocks[FILLS * FILL];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    fill_all(&source, CLASS, blocks, FILLS * FILL);
    slab_let_go(&source);
    slab_return(CLASS, blocks, FILLS * FILL);
    slab_trim();
    uint64_t calls = os_kernel_calls();
    for (size_t i = 0; i < FILLS; i++)
        require(slab_fill(&source, CLASS, blocks + i * FILL, FILL) == FILL);
    size_t slabs = FILLS * FILL / size_classes[CLASS].capacity;
    assert_in_range(os_kernel_calls() - calls, slabs / 2, slabs);
    slab_return(CLASS, blocks, FILLS * FILL);
    slab_let_go(&source);
}

static void a_slab_that_is_held_is_filled_from_by_its_holder_only(void **state)
{
    enum { CLASS = 30, COUNT = 4 };
    struct slab_source one = {.owner = OWNER}, other = {.owner = OWNER + 1};
    void *ours[COUNT], *theirs[COUNT];

    (void)state;
    fill_all(&one, CLASS, ours, COUNT);
    fill_all(&other, CLASS, theirs, COUNT);
    assert_ptr_not_equal(one.held, other.held);
    assert_ptr_not_equal(page_map_descriptor(ours[0]),
                         page_map_descriptor(theirs[0]));
    slab_return(CLASS, ours, COUNT);
    slab_return(CLASS, theirs, COUNT);
    slab_let_go(&one);
    slab_let_go(&other);
    assert_null(one.held);
}

static void a_slab_has_one_holder(void **state)
{
    enum { CLASS = 30, COUNT = 4 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = source.held;
    assert_false(slab_hold(slab));
    slab_let_go(&source);
    assert_true(slab_hold(slab));
    assert_false(slab_hold(slab));
    slab_unhold(slab);
    slab_return(CLASS, blocks, COUNT);
}

static uint32_t owner_of(const void *block)
{
    return page_map_entry(block) >> ENTRY_OWNER_SHIFT;
}

/* Of a slab of one source `rest` eighths of the blocks rest; another source
 * takes one of them. */
static void assert_owner_after(size_t rest, uint32_t owner)
{
    enum { CLASS = 29, COUNT = 10 };
    struct slab_source one = {.owner = OWNER}, other = {.owner = OWNER + 1};
    size_t resting = COUNT * rest / 8;
    void *blocks[COUNT], *block;

    assert_int_equal(size_classes[CLASS].capacity, COUNT);

    fill_all(&one, CLASS, blocks, COUNT);
    assert_int_equal(owner_of(blocks[0]), OWNER);
    assert_ptr_equal(page_map_descriptor(blocks[0]),
                     page_map_descriptor(blocks[COUNT - 1]));
    slab_let_go(&one);
    slab_return(CLASS, blocks, resting);
    fill_all(&other, CLASS, &block, 1);
    assert_int_equal(owner_of(block), owner);
    slab_return(CLASS, blocks + resting, COUNT - resting);
    slab_return(CLASS, &block, 1);
    slab_let_go(&other);
}

static void a_slab_becomes_that_of_who_gets_a_quarter_of_it(void **state)
{
    (void)state;
    assert_owner_after(4, OWNER + 1);
    assert_owner_after(3, OWNER + 1);
    assert_owner_after(1, OWNER);
}

/* --- Blocks that go one by one --- */

enum { SINGLE_CLASS = 36, SINGLES = 600 };
static void *singles[SINGLES];

static void *take_local(struct slab_source *source)
{
    void *block = NULL;

    return slab_take_local(source, &block, 1) == 1 ? block : NULL;
}

static void take_singles(struct slab_source *source, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        singles[i] = slab_take_one(source, SINGLE_CLASS);
        require(singles[i] != NULL);
    }
}

static void let_go_of_all(struct slab_source *source)
{
    while (source->held != NULL)
        slab_let_go(source);
}

/* Takes what earlier tests have left at rest. */
static void take_all_that_rests(void)
{
    struct slab_source source = {.owner = OWNER};
    uint64_t carved = slab_totals().carved_blocks;

    while (slab_totals().carved_blocks == carved)
        require(slab_take_one(&source, SINGLE_CLASS) != NULL);
    let_go_of_all(&source);
}

static void a_single_block_that_rests_elsewhere_comes_before_a_new_one(
    void **state)
{
    struct slab_source source = {.owner = OWNER}, other = {.owner = OWNER + 1};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 1);
    void *theirs = slab_take_one(&other, SINGLE_CLASS);
    slab_return(SINGLE_CLASS, &theirs, 1);
    let_go_of_all(&other);
    assert_ptr_equal(slab_take_one(&source, SINGLE_CLASS), theirs);
    slab_return(SINGLE_CLASS, &theirs, 1);
    slab_return(SINGLE_CLASS, singles, 1);
    let_go_of_all(&source);
}

static void a_single_block_goes_to_and_fro(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 5);
    require_disjoint(singles, 5);
    struct slab_totals before = slab_totals();
    assert_true(slab_give_local(&source, SINGLE_CLASS, singles[3]));
    assert_false(slab_is_live(SINGLE_CLASS, singles[3]));
    assert_int_equal(slab_totals().resting_blocks, before.resting_blocks + 1);
    assert_ptr_equal(take_local(&source), singles[3]);
    assert_true(slab_is_live(SINGLE_CLASS, singles[3]));
    assert_int_equal(slab_totals().resting_blocks, before.resting_blocks);
    assert_null(take_local(&source));
    slab_return(SINGLE_CLASS, singles, 5);
    let_go_of_all(&source);
}

static void what_others_bring_to_rest_is_the_holders_to_take(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 5);
    assert_true(slab_give_local(&source, SINGLE_CLASS, singles[0]));
    slab_return(SINGLE_CLASS, singles + 1, 3);
    uint64_t carved = slab_totals().carved_blocks;
    for (size_t i = 0; i < 4; i++)
        singles[i] = take_local(&source);
    assert_null(take_local(&source));
    require_disjoint(singles, 5);
    assert_int_equal(slab_totals().carved_blocks, carved);
    slab_return(SINGLE_CLASS, singles, 5);
    let_go_of_all(&source);
}

static void what_is_about_to_be_counted_is_not_the_holders_yet(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 3);
    assert_ptr_equal(page_map_descriptor(singles[0]),
                     page_map_descriptor(singles[1]));
    struct slab *slab = bring_to_rest(SINGLE_CLASS, singles[0]);
    assert_null(take_local(&source));
    slab_return(SINGLE_CLASS, singles + 1, 1);
    singles[0] = take_local(&source);
    assert_non_null(singles[0]);
    assert_null(take_local(&source));
    assert_int_equal(atomic_load(&slab->resting), 0);
    count_at_rest(slab);
    singles[1] = take_local(&source);
    assert_non_null(singles[1]);
    require_disjoint(singles, 3);
    slab_return(SINGLE_CLASS, singles, 3);
    let_go_of_all(&source);
}

/* So many more than are. */
static void count_at_rest_without(struct slab *slab, uint32_t count)
{
    slab_add_dirty((int64_t)count * size_classes[slab->class].size);
    atomic_fetch_add(&slab->resting, count);
}

/* As if a fork had stopped the holder when it had set the bit of a block that is
 * still counted with those of others. */
static void the_child_of_a_fork_counts_no_block_twice(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 2);
    struct slab *slab = page_map_descriptor(singles[0]);
    assert_true(slab_give_local(&source, SINGLE_CLASS, singles[0]));
    count_at_rest_without(slab, 1);
    slab_count_anew(&source);
    assert_int_equal(atomic_load(&slab->resting), 1);
    assert_ptr_equal(take_local(&source), singles[0]);
    assert_null(take_local(&source));
    slab_return(SINGLE_CLASS, singles, 2);
    let_go_of_all(&source);
}

/* What one source has left, another one takes, and carves nothing. */
static void assert_taken_by_another(size_t count)
{
    struct slab_source other = {.owner = OWNER + 1};
    uint64_t carved = slab_totals().carved_blocks;

    take_singles(&other, count);
    require_disjoint(singles, count);
    assert_int_equal(slab_totals().carved_blocks, carved);
    slab_return(SINGLE_CLASS, singles, count);
    let_go_of_all(&other);
}

static void what_rests_with_its_holder_is_left_to_others(void **state)
{
    struct slab_source source = {.owner = OWNER};
    uint32_t half = size_classes[SINGLE_CLASS].capacity / 2;

    (void)state;
    take_all_that_rests();
    take_singles(&source, half * 2);
    for (size_t i = 0; i < half; i++)
        require(slab_give_local(&source, SINGLE_CLASS, singles[i]));
    void *rest[SINGLES];
    memcpy(rest, singles + half, half * sizeof(void *));
    let_go_of_all(&source);
    assert_taken_by_another(half);
    slab_return(SINGLE_CLASS, rest, half);
}

static void of_free_slabs_the_holder_keeps_one(void **state)
{
    struct slab_source source = {.owner = OWNER};
    uint32_t capacity = size_classes[SINGLE_CLASS].capacity;

    (void)state;
    take_all_that_rests();
    take_singles(&source, 4 * capacity);
    for (size_t i = 0; i < 4 * capacity; i++)
        require(slab_give_local(&source, SINGLE_CLASS, singles[i]));
    /* The first and the last one may be free in part. */
    assert_taken_by_another(2 * capacity);
    let_go_of_all(&source);
}

static void a_source_does_not_hold_ever_more_slabs(void **state)
{
    enum { HELD_AT_MOST = 8 };
    struct slab_source source = {.owner = OWNER};
    size_t held = 0;

    (void)state;
    take_singles(&source, SINGLES);
    require(SINGLES > size_classes[SINGLE_CLASS].capacity * HELD_AT_MOST);
    for (struct slab *slab = source.held; slab != NULL; slab = slab->next_held)
        held++;
    assert_int_equal(held, HELD_AT_MOST);
    assert_false(slab_give_local(&source, SINGLE_CLASS, singles[0]));
    slab_return(SINGLE_CLASS, singles, SINGLES);
    let_go_of_all(&source);
}

static void a_trim_gives_back_the_pages_of_what_rests(void **state)
{
    enum { CLASS = 24, COUNT = 1000 };
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t size = size_classes[CLASS].size;

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        memset(blocks[i], 1, size);
    void *kept = blocks[COUNT / 2];
    blocks[COUNT / 2] = blocks[COUNT - 1];
    slab_return(CLASS, blocks, COUNT - 1);
    slab_let_go(&source);
    size_t bytes = slab_trim();
    assert_in_range(bytes, (COUNT - 1) * size * 9 / 10, SIZE_MAX);
    assert_int_equal(slab_trim(), 0);
    /* The one that lives keeps its contents; the others are pages of zero. */
    assert_int_equal(((char *)kept)[0], 1);
    assert_int_equal(((char *)kept)[size - 1], 1);
    /* Pages that are used again are no longer without memory. */
    uint64_t purged = atomic_load(&slab_sums.purged_bytes);
    fill_all(&source, CLASS, blocks, COUNT - 1);
    slab_return(CLASS, blocks, COUNT - 1);
    assert_true(atomic_load(&slab_sums.purged_bytes) + COUNT * size / 2
                <= purged);
    slab_return(CLASS, &kept, 1);
    slab_let_go(&source);
}

/* What is made present ahead of use is given back too, and made present again
 * when the slab is used again. */
static void a_trim_gives_back_what_was_made_present_ahead(void **state)
{
    enum { CLASS = 16, FILL = 32, FILLS = 128 };
    static void *blocks[FILLS * FILL];
    struct slab_source source = {.owner = OWNER};
    size_t size = size_classes[CLASS].size;

    (void)state;
    fill_all(&source, CLASS, blocks, FILLS * FILL);
    struct slab *slab = source.held;
    size_t carved = atomic_load(&slab->carved) * size;
    assert_int_equal(slab->present, slab_bytes(slab));
    size_t ahead = (slab_bytes(slab) - carved) / PAGE_BYTES * PAGE_BYTES;
    assert_in_range(ahead, 2 * PAGE_BYTES, SIZE_MAX);
    const char *last = (char *)slab->base + slab_bytes(slab) - PAGE_BYTES;
    assert_true(os_is_present(last, PAGE_BYTES));
    slab_trim();
    slab_return(CLASS, blocks + FILLS * FILL - 1, 1);
    slab_let_go(&source);
    int64_t dirty = (int64_t)slab_dirty_bytes();
    size_t bytes = slab_trim();
    assert_in_range(bytes, ahead, SIZE_MAX);
    assert_false(os_is_present(last, PAGE_BYTES));
    assert_int_equal(slab_dirty_bytes(), dirty - (int64_t)(bytes - ahead));
    assert_int_equal(slab_trim(), 0);
    slab_return(CLASS, blocks, FILLS * FILL - 1);
}

static const struct slab *without_pages; /* to give back */
static bool was_held;
static struct os_calls system_calls;

static int look_and_madvise(void *address, size_t length, int advice)
{
    was_held |= atomic_load(&without_pages->held);
    return system_calls.madvise(address, length, advice);
}

static ssize_t look_and_madvise_ranges(const struct iovec *ranges,
                                       size_t count, int advice)
{
    was_held |= atomic_load(&without_pages->held);
    return system_calls.madvise_ranges(ranges, count, advice);
}

static void a_trim_holds_no_slab_that_has_no_page_to_give(void **state)
{
    enum { CLASS = 3, LATER = 4, MANY = 500 };
    struct slab_source source = {.owner = OWNER}, later = {.owner = OWNER};
    void *blocks[WANTED], *others[MANY];

    (void)state;
    slab_trim();
    fill_all(&source, CLASS, blocks, WANTED);
    slab_let_go(&source);
    slab_return(CLASS, blocks, 1);
    fill_all(&later, LATER, others, MANY);
    slab_let_go(&later);
    slab_return(LATER, others, MANY);
    without_pages = page_map_descriptor(blocks[0]);
    system_calls = os_calls;
    os_calls.madvise = look_and_madvise;
    os_calls.madvise_ranges = look_and_madvise_ranges;
    assert_true(slab_trim() > 0);
    os_calls = system_calls;
    assert_false(was_held);
    slab_return(CLASS, blocks + 1, WANTED - 1);
}

/* A free that gives back memory on the side must not take long. */
static void a_step_gives_back_a_bounded_part(void **state)
{
    enum { LARGEST = CLASS_COUNT - 1, STEP_BYTES_MAX = 64 * PAGE_BYTES };
    struct slab_source source = {.owner = OWNER};
    void *blocks[2];
    size_t bytes = 0;
    bool more;

    (void)state;
    slab_trim();
    fill_all(&source, LARGEST, blocks, 2);
    memset(blocks[0], 1, size_classes[LARGEST].size);
    memset(blocks[1], 1, size_classes[LARGEST].size);
    slab_return(LARGEST, blocks, 2);
    slab_let_go(&source);
    for (uint64_t start = os_now(); bytes < 2 * size_classes[LARGEST].size;) {
        require(os_now() - start < UINT64_C(10000000000));
        size_t step = slab_purge_step(&more);
        assert_in_range(step, 0, STEP_BYTES_MAX);
        bytes += step;
        sleep_ms(1);
    }
}

static bool system_purges_ranges_at_once(void)
{
    char *address = os_map(2 * OS_MAP_ALIGNMENT);
    struct iovec ranges[] = {{address, PAGE_BYTES},
                             {address + OS_MAP_ALIGNMENT, PAGE_BYTES}};

    require(address != NULL);
    require(os_purge_ranges(ranges, 2) == 2);
    require(os_unmap(address, 2 * OS_MAP_ALIGNMENT));
    return os_purges_ranges_at_once();
}

/* What a call costs is for the most part the same for one slab and four. */
static void a_step_gives_back_pages_of_several_slabs_in_a_call(void **state)
{
    enum { CLASS = 24, SLABS = 32 };
    static void *blocks[SLABS * UNIT_BYTES / 2560];
    size_t count = sizeof blocks / sizeof *blocks;
    struct slab_source source = {.owner = OWNER};
    size_t size = size_classes[CLASS].size, bytes = 0;
    bool more;

    (void)state;
    if (!system_purges_ranges_at_once())
        return;
    slab_trim();
    fill_all(&source, CLASS, blocks, count);
    for (size_t i = 0; i < count; i++)
        memset(blocks[i], 1, size);
    slab_return(CLASS, blocks, count);
    slab_let_go(&source);
    sleep_ms(100);
    uint64_t calls = os_kernel_calls();
    for (uint64_t start = os_now(); bytes < count * size / 2;) {
        require(os_now() - start < UINT64_C(10000000000));
        bytes += slab_purge_step(&more);
    }
    calls = os_kernel_calls() - calls;
    assert_in_range(calls, 1, bytes / (2 * UNIT_BYTES));
    slab_trim();
}

/* --- upkeep in small steps --- */

/* Slabs of a class that were looked at since almost all of it was free. */
static size_t slabs_looked_at(unsigned class)
{
    size_t count = 0;

    for (uint32_t i = 0; i < slab_index_count(class); i++) {
        const struct slab *slab = slab_index_get(class, i);
        count += slab != NULL &&
                 atomic_load(&slab->purge_at) == atomic_load(&slab->carved);
    }
    return count;
}

/* Though there is not a page to give back in any of them. */
static void upkeep_ends_when_its_time_does(void **state)
{
    enum { CLASS = 0, KEPT_EVERY = 17, CAPACITY = UNIT_BYTES / 16,
           SLABS = 200, COUNT = SLABS * CAPACITY };
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t before = slabs_looked_at(CLASS), looked_at = 0;

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    for (size_t i = 0; i < COUNT; i++)
        if (i % KEPT_EVERY != 0)
            slab_return(CLASS, &blocks[i], 1);
    sleep_ms(100); /* until they are old */
    for (uint64_t ns = 1000; looked_at == 0 && ns < 1000000000; ns *= 2) {
        sleep_ms(20);
        partyalloc_maintain(ns);
        looked_at = slabs_looked_at(CLASS) - before;
    }
    assert_in_range(looked_at, 1, SLABS / 4);
    for (size_t i = 0; i < COUNT; i += KEPT_EVERY)
        slab_return(CLASS, &blocks[i], 1);
}

/* --- giving up address space --- */

static struct slab_totals what_there_is(struct slab_totals totals)
{
    totals.peak_bytes = 0;
    totals.slabs_made = 0;
    return totals;
}

/* slab_retire(), without what no slab has. */
static size_t retire_slabs(size_t bytes)
{
    chunk_drop();
    return slab_retire(bytes);
}

/* All that other tests have left. */
static void retire_all(void)
{
    retire_slabs(SIZE_MAX);
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
}

static void a_slab_that_is_free_is_retired_and_made_anew(void **state)
{
    enum { CLASS = 22, COUNT = 100 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];
    size_t size = size_classes[CLASS].size;

    (void)state;
    retire_all();
    struct slab_totals before = what_there_is(slab_totals());
    uint64_t made = slab_totals().slabs_made;
    int64_t dirty = atomic_load(&slab_sums.dirty_bytes);
    fill_all(&source, CLASS, blocks, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        memset(blocks[i], 1, size);
    slab_let_go(&source);
    for (size_t i = 0; i < COUNT - 1; i++)
        slab_return(CLASS, blocks + i, 1);
    /* Pages given back are counted too. */
    slab_trim();
    chunk_drop();
    size_t mapped = os_mapped_bytes();
    size_t bytes = slab_retire(SIZE_MAX);
    /* All but the slab of the block that lives. */
    struct slab *slab = page_map_descriptor(blocks[COUNT - 1]);
    uint64_t slabs = slab_totals().slabs_made - made;
    assert_in_range(slabs, 2, COUNT);
    assert_int_equal(bytes, (slabs - 1) * slab_bytes(slab));
    assert_int_equal(os_mapped_bytes(), mapped - bytes);
    assert_int_equal(((char *)blocks[COUNT - 1])[size - 1], 1);
    assert_int_equal(page_map_entry(blocks[0]), 0);
    slab_return(CLASS, blocks + COUNT - 1, 1);
    assert_int_equal(retire_slabs(SIZE_MAX), slab_bytes(slab));
    struct slab_totals after = what_there_is(slab_totals());
    assert_memory_equal(&after, &before, sizeof after);
    assert_int_equal(atomic_load(&slab_sums.dirty_bytes), dirty);
    uint32_t count = slab_index_count(CLASS);
    check_class(CLASS);
    assert_in_range(slab_index_count(CLASS), count, count + 64);
    retire_all();
    count = slab_index_count(CLASS);
    check_class(CLASS);
    /* The same slabs with other addresses. */
    assert_int_equal(slab_index_count(CLASS), count);
}

static void what_is_used_again_is_not_retired(void **state)
{
    enum { CLASS = 19, COUNT = 8 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    slab_return(CLASS, blocks, COUNT);
    slab_let_go(&source);
    fill_all(&source, CLASS, blocks, COUNT / 2);
    slab_let_go(&source);
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
    assert_true(slab_is_live(CLASS, blocks[0]));
    slab_return(CLASS, blocks, COUNT / 2);
    assert_int_not_equal(retire_slabs(SIZE_MAX), 0);
}

static void what_is_held_or_reserved_is_not_retired(void **state)
{
    enum { CLASS = 21, COUNT = 8 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = source.held;
    slab_return(CLASS, blocks, COUNT);
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
    slab->reserved = true;
    slab_let_go(&source);
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
    slab->reserved = false;
    require(slab_hold(slab));
    slab_unhold(slab);
    assert_int_equal(retire_slabs(1), slab_bytes(slab));
}

/* As if a fork had stopped the holder between the states and the count. */
static void the_child_of_a_fork_counts_by_the_states(void **state)
{
    enum { CLASS = 13, COUNT = 30, GONE = 7 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = page_map_descriptor(blocks[0]);
    slab_return(CLASS, blocks, COUNT - GONE);
    size_t dirty = slab_dirty_bytes();
    count_at_rest_without(slab, GONE);
    slab_count_anew(&source);
    assert_int_equal(atomic_load(&slab->resting), COUNT - GONE);
    assert_int_equal(slab_dirty_bytes(), dirty);
    slab_let_go(&source);
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
    slab_return(CLASS, blocks + COUNT - GONE, GONE);
    assert_int_equal(retire_slabs(SIZE_MAX), slab_bytes(slab));
}

static int refuse_munmap(void *address, size_t length)
{
    (void)address, (void)length;
    errno = ENOMEM;
    return -1;
}

static void a_slab_that_the_system_does_not_unmap_stays(void **state)
{
    enum { CLASS = 20, COUNT = 8 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];
    struct os_calls calls = os_calls;

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    slab_return(CLASS, blocks, COUNT);
    slab_let_go(&source);
    uint32_t entry = page_map_entry(blocks[0]);
    os_calls.munmap = refuse_munmap;
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
    os_calls = calls;
    /* Nor is one given up whose pages another thread may be touching. */
    struct slab *slab = page_map_descriptor(blocks[0]);
    atomic_store(&slab->touched, 1);
    assert_int_equal(retire_slabs(SIZE_MAX), 0);
    atomic_store(&slab->touched, 0);
    assert_int_equal(page_map_entry(blocks[0]), entry);
    assert_true(atomic_load(&slab->placed));
    void *again[COUNT];
    fill_all(&source, CLASS, again, COUNT);
    assert_ptr_equal(page_map_descriptor(again[0]), slab);
    slab_return(CLASS, again, COUNT);
    slab_let_go(&source);
    assert_int_not_equal(retire_slabs(SIZE_MAX), 0);
    assert_false(atomic_load(&slab->placed));
}

/* --- many threads --- */

enum { THREADS = 4, ROUNDS = UNDER_SANITIZER ? 300 : 3000, CLASS_BUSY = 12 };

static atomic_bool purging_ends;

/* A block that two threads had at once would be found spoilt. */
static void *fill_and_return(void *argument)
{
    struct slab_source source = {.owner = (uint32_t)(uintptr_t)argument};
    size_t size = size_classes[CLASS_BUSY].size;
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        void *blocks[WANTED];
        size_t count = slab_fill(&source, CLASS_BUSY, blocks,
                                 1 + random_below(&random, WANTED));
        require(count > 0);
        for (size_t j = 0; j < count; j++)
            fill(blocks[j], size, (uintptr_t)argument + j);
        for (size_t j = 0; j < count; j++)
            require(holds(blocks[j], size, (uintptr_t)argument + j));
        slab_return(CLASS_BUSY, blocks, count);
        if (random_below(&random, 4) == 0)
            slab_let_go(&source);
    }
    slab_let_go(&source);
    return NULL;
}

static void *purge(void *unused)
{
    while (!atomic_load(&purging_ends)) {
        bool more;
        slab_purge_step(&more);
        slab_trim();
    }
    return unused;
}

static void *retire(void *unused)
{
    while (!atomic_load(&purging_ends))
        retire_slabs(SIZE_MAX);
    return unused;
}

/* New slabs, that is. */
static void *carve_and_keep(void *unused)
{
    enum { CLASS = 31, FILLS = 400, FILL = 8 };
    struct slab_source source = {.owner = OWNER};
    static void *blocks[FILLS * FILL];

    fill_all(&source, CLASS, blocks, FILLS * FILL);
    slab_let_go(&source);
    slab_return(CLASS, blocks, FILLS * FILL);
    atomic_store(&purging_ends, true);
    return unused;
}

struct role {
    thread_body *body;
};

static void *play(void *argument)
{
    struct role *role = argument;

    return role->body(argument);
}

static void *fill_beside_a_purge(void *argument)
{
    fill_and_return(argument);
    atomic_store(&purging_ends, true);
    return NULL;
}

static void slabs_are_made_under_a_constant_trim(void **state)
{
    struct role roles[] = {{carve_and_keep}, {purge}};

    (void)state;
    run_threads(2, play, roles, sizeof roles[0]);
    atomic_store(&purging_ends, false);
    slab_trim();
}

static void threads_share_slabs_under_a_constant_purge(void **state)
{
    struct role roles[THREADS] = {{fill_beside_a_purge},
                                  {fill_and_return},
                                  {fill_and_return}, {purge}};
    struct slab_totals before = slab_totals();

    (void)state;
    run_threads(THREADS, play, roles, sizeof roles[0]);
    struct slab_totals after = slab_totals();
    /* All that was carved rests again. */
    assert_int_equal(after.carved_blocks - after.resting_blocks,
                     before.carved_blocks - before.resting_blocks);
    assert_in_range(after.slabs_made - before.slabs_made, 0, 64);
}

static void threads_share_slabs_that_are_retired_all_the_time(void **state)
{
    struct role roles[THREADS] = {{fill_beside_a_purge},
                                  {fill_and_return},
                                  {purge}, {retire}};

    (void)state;
    atomic_store(&purging_ends, false);
    retire_all();
    struct slab_totals before = what_there_is(slab_totals());
    run_threads(THREADS, play, roles, sizeof roles[0]);
    retire_all();
    struct slab_totals after = what_there_is(slab_totals());
    assert_memory_equal(&after, &before, sizeof after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Before there are other slabs. */
        cmocka_unit_test(a_trim_holds_no_slab_that_has_no_page_to_give),
        cmocka_unit_test(blocks_of_every_class_lie_apart_and_are_known),
        cmocka_unit_test(the_highest_address_comes_first_in_a_fill),
        cmocka_unit_test(what_came_to_rest_is_taken_before_more_is_carved),
        cmocka_unit_test(a_slab_is_listed_as_soon_as_some_blocks_rest),
        cmocka_unit_test(the_child_of_a_fork_counts_by_the_states),
        cmocka_unit_test(what_is_about_to_be_counted_is_not_taken),
        cmocka_unit_test(
            what_rests_elsewhere_is_taken_before_the_held_slab_is_carved),
        cmocka_unit_test(a_growing_class_has_pages_made_present_again),
        cmocka_unit_test(a_slab_that_is_held_is_filled_from_by_its_holder_only),
        cmocka_unit_test(a_slab_has_one_holder),
        cmocka_unit_test(a_slab_becomes_that_of_who_gets_a_quarter_of_it),
        cmocka_unit_test(
            a_single_block_that_rests_elsewhere_comes_before_a_new_one),
        cmocka_unit_test(a_single_block_goes_to_and_fro),
        cmocka_unit_test(what_others_bring_to_rest_is_the_holders_to_take),
        cmocka_unit_test(what_is_about_to_be_counted_is_not_the_holders_yet),
        cmocka_unit_test(the_child_of_a_fork_counts_no_block_twice),
        cmocka_unit_test(what_rests_with_its_holder_is_left_to_others),
        cmocka_unit_test(of_free_slabs_the_holder_keeps_one),
        cmocka_unit_test(a_source_does_not_hold_ever_more_slabs),
        cmocka_unit_test(a_trim_gives_back_the_pages_of_what_rests),
        cmocka_unit_test(a_trim_gives_back_what_was_made_present_ahead),
        cmocka_unit_test(a_step_gives_back_a_bounded_part),
        cmocka_unit_test(a_step_gives_back_pages_of_several_slabs_in_a_call),
        cmocka_unit_test(slabs_are_made_under_a_constant_trim),
        cmocka_unit_test(threads_share_slabs_under_a_constant_purge),
        /* Last, since these take what other tests have left. */
        cmocka_unit_test(upkeep_ends_when_its_time_does),
        cmocka_unit_test(a_slab_that_is_free_is_retired_and_made_anew),
        cmocka_unit_test(what_is_used_again_is_not_retired),
        cmocka_unit_test(what_is_held_or_reserved_is_not_retired),
        cmocka_unit_test(a_slab_that_the_system_does_not_unmap_stays),
        cmocka_unit_test(threads_share_slabs_that_are_retired_all_the_time),
    };

    return run_all(tests);
}
