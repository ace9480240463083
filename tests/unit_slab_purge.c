/* SPDX-License-Identifier: MIT */
/* Pages of slabs that are given back: by a trim, in steps, by upkeep. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slab_index.h"
#include "slabs.h"

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
    /* The live one keeps its contents; the others are pages of zeros. */
    assert_int_equal(((char *)kept)[0], 1);
    assert_int_equal(((char *)kept)[size - 1], 1);
    /* Pages that are used again no longer count as purged. */
    uint64_t purged = atomic_load(&slab_sums.purged_bytes);
    fill_all(&source, CLASS, blocks, COUNT - 1);
    slab_return(CLASS, blocks, COUNT - 1);
    assert_true(atomic_load(&slab_sums.purged_bytes) + COUNT * size / 2
                <= purged);
    slab_return(CLASS, &kept, 1);
    slab_let_go(&source);
}

/* A part of a page, in which the last block ends. */
static void a_trim_gives_back_what_lies_behind_the_last_block(void **state)
{
    enum { CLASS = 24, CAPACITY = 25 };
    void *blocks[CAPACITY];
    struct slab_source source = {.owner = OWNER};
    size_t size = size_classes[CLASS].size;

    (void)state;
    assert_int_equal(size_classes[CLASS].capacity, CAPACITY);
    assert_int_not_equal(CAPACITY * size % PAGE_BYTES, 0);
    retire_all();
    fill_all(&source, CLASS, blocks, CAPACITY);
    slab_let_go(&source);
    for (size_t i = 0; i < CAPACITY; i++)
        memset(blocks[i], 1, size);
    slab_return(CLASS, blocks, CAPACITY);
    const struct slab *slab = page_map_descriptor(blocks[0]);
    const char *last = (char *)slab->base + slab_bytes(slab) - PAGE_BYTES;
    assert_true(os_is_present(last, PAGE_BYTES));
    assert_int_equal(slab_trim(), slab_bytes(slab));
    assert_false(os_is_present(last, PAGE_BYTES));
}

/* The pages of eight slabs go back together, in more ranges than one call
 * takes. */
static void a_trim_gives_back_any_number_of_ranges(void **state)
{
    enum { CLASS = 32, SLABS = 8, CAPACITY = 25, COUNT = SLABS * CAPACITY };
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t size = size_classes[CLASS].size;

    (void)state;
    assert_int_equal(size_classes[CLASS].capacity, CAPACITY);
    slab_trim();
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    for (size_t i = 0; i < COUNT; i++)
        fill(blocks[i], size, i);
    for (size_t i = 0; i < COUNT; i += 2)
        slab_return(CLASS, &blocks[i], 1);
    /* Each has at least one whole page. */
    assert_in_range(slab_trim(), COUNT / 2 * PAGE_BYTES, COUNT / 2 * size);
    assert_int_equal(slab_trim(), 0);
    for (size_t i = 1; i < COUNT; i += 2) {
        assert_true(holds(blocks[i], size, i));
        slab_return(CLASS, &blocks[i], 1);
    }
    slab_trim();
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

/* Most of a call's cost is the same for one slab and for four. */
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

/* Slabs of a class that were looked at since they were almost free. */
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

/* Though no slab has a page to give back. */
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
    for (int i = 0; looked_at == 0 && i < 200; i++) {
        sleep_ms(20);
        partyalloc_maintain(50000);
        looked_at = slabs_looked_at(CLASS) - before;
    }
    assert_in_range(looked_at, 1, SLABS / 4);
    for (size_t i = 0; i < COUNT; i += KEPT_EVERY)
        slab_return(CLASS, &blocks[i], 1);
}

static size_t ranges_most; /* in one call */

static ssize_t count_ranges(const struct iovec *ranges, size_t count,
                            int advice)
{
    for (size_t i = 0; i < count; i++)
        require((uintptr_t)ranges[i].iov_base % PAGE_BYTES == 0 &&
                ranges[i].iov_len != 0);
    if (count > ranges_most)
        ranges_most = count;
    return system_calls.madvise_ranges(ranges, count, advice);
}

/* However little each has to give back. */
static void a_step_takes_a_few_slabs(void **state)
{
    enum { CLASS = 27, CAPACITY = 16, SLABS = 32, STEP_SLABS_MAX = 8 };
    static void *blocks[SLABS * CAPACITY];
    struct slab_source source = {.owner = OWNER}, sources[SLABS] = {{0}};
    size_t bytes = 0;
    bool more;

    (void)state;
    fill_all(&source, CLASS, blocks, SLABS * CAPACITY);
    slab_let_go(&source);
    slab_return(CLASS, blocks, SLABS * CAPACITY);
    slab_trim();
    /* Each gets a page back. */
    for (size_t i = 0; i < SLABS; i++) {
        sources[i].owner = OWNER;
        require(slab_fill(&sources[i], CLASS, &blocks[i], 1) == 1);
    }
    for (size_t i = 0; i < SLABS; i++)
        slab_let_go(&sources[i]);
    slab_return(CLASS, blocks, SLABS);
    system_calls = os_calls;
    os_calls.madvise_ranges = count_ranges;
    for (uint64_t start = os_now(); bytes < SLABS * PAGE_BYTES;) {
        require(os_now() - start < UINT64_C(10000000000));
        sleep_ms(1);
        size_t step = slab_purge_step(&more);
        assert_in_range(step, 0, STEP_SLABS_MAX * PAGE_BYTES);
        bytes += step;
    }
    os_calls = system_calls;
    assert_in_range(ranges_most, 0, STEP_SLABS_MAX);
}

static int expect_pages(void *address, size_t length, int advice)
{
    require(length != 0);
    return system_calls.madvise(address, length, advice);
}

/* The time of a step may end anywhere in a slab. */
static void a_step_ends_amid_scattered_pages(void **state)
{
    enum { CLASS = 32, CAPACITY = 25, SLABS = 8, COUNT = SLABS * CAPACITY };
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t bytes = 0;
    bool more;

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    for (size_t i = 0; i < COUNT; i += 2)
        slab_return(CLASS, &blocks[i], 1);
    system_calls = os_calls;
    os_calls.madvise_ranges = count_ranges;
    os_calls.madvise = expect_pages;
    for (uint64_t start = os_now(); bytes < COUNT / 2 * PAGE_BYTES;) {
        require(os_now() - start < UINT64_C(10000000000));
        sleep_ms(1);
        bytes += slab_purge_step(&more);
    }
    os_calls = system_calls;
    for (size_t i = 1; i < COUNT; i += 2)
        slab_return(CLASS, &blocks[i], 1);
    slab_trim();
}

/* A constant, and an eighth of what is in use. */
static void what_may_stay_follows_what_is_in_use(void **state)
{
    enum { CLASS = 25, COUNT = 5376 };
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t bytes = COUNT * (size_t)size_classes[CLASS].size;

    (void)state;
    size_t before = slab_dirty_allowance();
    assert_in_range(before, MIB, 16 * MIB);
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    assert_in_range(slab_dirty_allowance() - before, bytes / 16, bytes / 4);
    slab_return(CLASS, blocks, COUNT);
    slab_trim();
}

static void what_is_reserved_is_not_given_back_in_steps(void **state)
{
    enum { CLASS = 27, CAPACITY = 16 };
    void *blocks[CAPACITY];
    struct slab_source source = {.owner = OWNER};
    bool more;

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, CAPACITY);
    struct slab *slab = source.held;
    slab->reserved = true;
    for (size_t i = 0; i < CAPACITY; i++)
        memset(blocks[i], 1, PAGE_BYTES);
    /* All but one: of other slabs, pages would go back now. */
    slab_return(CLASS, blocks + 1, CAPACITY - 1);
    slab_let_go(&source);
    for (int i = 0; i < 10; i++) {
        sleep_ms(20);
        assert_int_equal(slab_purge_step(&more), 0);
    }
    slab->reserved = false;
    slab_return(CLASS, blocks, 1);
    slab_trim();
}

static void what_is_given_back_is_not_looked_at_again(void **state)
{
    enum { CLASS = 27, CAPACITY = 16 };
    void *blocks[CAPACITY];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, CAPACITY);
    const struct slab *slab = source.held;
    slab_return(CLASS, blocks, CAPACITY);
    slab_let_go(&source);
    assert_int_not_equal(slab->purge_at, UINT32_MAX);
    assert_int_equal(slab_trim(), CAPACITY * PAGE_BYTES);
    assert_int_equal(slab->purge_at, UINT32_MAX);
}

/* All were free for a moment, and are listed. */
static void slabs_in_use_again_hold_up_no_other(void **state)
{
    enum { CLASS = 23, CAPACITY = 32, SLABS = 150, COUNT = SLABS * CAPACITY,
           TRIES = 40 };
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t bytes = 0;
    bool more;

    (void)state;
    assert_int_equal(size_classes[CLASS].capacity, CAPACITY);
    for (int i = 0; i < 2; i++) {
        if (i != 0)
            slab_return(CLASS, blocks, COUNT);
        fill_all(&source, CLASS, blocks, COUNT);
        slab_let_go(&source);
    }
    /* The lowest one: the others are looked at first. */
    slab_return(CLASS, blocks, CAPACITY);
    sleep_ms(100);
    for (int i = 0; bytes == 0 && i < TRIES; i++) {
        sleep_ms(20);
        bytes = slab_purge_step(&more);
    }
    assert_int_equal(bytes, UNIT_BYTES);
    slab_return(CLASS, blocks + CAPACITY, COUNT - CAPACITY);
    slab_trim();
}

/* What has been free for a while is given back by calls with time to spare; at
 * first by one, then by many.  False: they took so long that they spanned more
 * than two periods. */
static bool half_stays_for_a_while(void)
{
    /* Of a class of which no other test leaves slabs that are listed. */
    enum { CLASS = 26, COUNT = 2304, STEP_BYTES_MAX = 64 * PAGE_BYTES,
           CALLS = 20, PERIOD_NS = 50 * 1000 * 1000 };
    const uint64_t budget_ns = UINT64_C(10000000000);
    static void *blocks[COUNT];
    struct slab_source source = {.owner = OWNER};
    size_t all = COUNT * (size_t)size_classes[CLASS].size, bytes = 0;
    uint64_t start = 0;

    slab_trim();
    fill_all(&source, CLASS, blocks, COUNT);
    slab_return(CLASS, blocks, COUNT);
    slab_let_go(&source);
    sleep_ms(100); /* until they are old */
    for (int i = 0; bytes == 0 && i < 200; i++) {
        sleep_ms(20);
        start = os_now();
        bytes = partyalloc_maintain(budget_ns);
    }
    assert_in_range(bytes, 1, all / 2 + STEP_BYTES_MAX);
    for (int i = 0; i < CALLS; i++)
        bytes += partyalloc_maintain(budget_ns);
    if (os_now() - start >= PERIOD_NS)
        return false;
    assert_in_range(bytes, 1, all * 3 / 4 + 2 * STEP_BYTES_MAX);
    return true;
}

/* Half of what is free at the beginning of a period may stay until its end. */
static void upkeep_leaves_half_for_a_while(void **state)
{
    (void)state;
    for (int i = 0; i < 20 && !half_stays_for_a_while(); i++)
        ;
    slab_trim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Before there are other slabs. */
        cmocka_unit_test(a_trim_holds_no_slab_that_has_no_page_to_give),
        cmocka_unit_test(a_trim_gives_back_the_pages_of_what_rests),
        cmocka_unit_test(a_trim_gives_back_what_lies_behind_the_last_block),
        cmocka_unit_test(a_trim_gives_back_any_number_of_ranges),
        cmocka_unit_test(a_trim_gives_back_what_was_made_present_ahead),
        cmocka_unit_test(a_step_gives_back_a_bounded_part),
        cmocka_unit_test(a_step_gives_back_pages_of_several_slabs_in_a_call),
        cmocka_unit_test(a_step_takes_a_few_slabs),
        cmocka_unit_test(a_step_ends_amid_scattered_pages),
        cmocka_unit_test(what_may_stay_follows_what_is_in_use),
        cmocka_unit_test(what_is_reserved_is_not_given_back_in_steps),
        cmocka_unit_test(what_is_given_back_is_not_looked_at_again),
        cmocka_unit_test(slabs_in_use_again_hold_up_no_other),
        cmocka_unit_test(upkeep_leaves_half_for_a_while),
        /* Last, since it takes what other tests have left. */
        cmocka_unit_test(upkeep_ends_when_its_time_does),
    };

    return run_all(tests);
}
