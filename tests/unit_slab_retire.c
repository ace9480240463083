/* SPDX-License-Identifier: MIT */
/* Slabs that are free as a whole: their address space is given up. */
#include "support.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slab_index.h"
#include "slabs.h"

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
    size_t mapped = os_mapped_bytes();
    size_t bytes = slab_retire(SIZE_MAX);
    /* All but the slab of the live block. */
    struct slab *slab = page_map_descriptor(blocks[COUNT - 1]);
    uint64_t slabs = slab_totals().slabs_made - made;
    assert_in_range(slabs, 2, COUNT);
    assert_int_equal(bytes, (slabs - 1) * slab_bytes(slab));
    assert_int_equal(os_mapped_bytes(), mapped - bytes);
    assert_int_equal(((char *)blocks[COUNT - 1])[size - 1], 1);
    assert_int_equal(page_map_entry(blocks[0]), 0);
    slab_return(CLASS, blocks + COUNT - 1, 1);
    assert_int_equal(slab_retire(SIZE_MAX), slab_bytes(slab));
    struct slab_totals after = what_there_is(slab_totals());
    assert_memory_equal(&after, &before, sizeof after);
    assert_int_equal(atomic_load(&slab_sums.dirty_bytes), dirty);
    uint32_t count = slab_index_count(CLASS);
    check_class(CLASS);
    assert_in_range(slab_index_count(CLASS), count, count + 64);
    retire_all();
    count = slab_index_count(CLASS);
    check_class(CLASS);
    /* The same slabs at other addresses. */
    assert_int_equal(slab_index_count(CLASS), count);
}

/* What it said of purged pages was about its former ones. */
static void a_slab_that_is_made_anew_has_all_its_pages(void **state)
{
    enum { CLASS = 18, COUNT = 8 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    slab_return(CLASS, blocks, COUNT);
    struct slab *slab = source.held;
    slab_let_go(&source);
    assert_int_not_equal(slab_trim(), 0);
    assert_int_not_equal(slab_purged_pages(slab), 0);
    assert_int_equal(slab_retire(SIZE_MAX), slab_bytes(slab));
    int64_t dirty = atomic_load(&slab_sums.dirty_bytes);
    fill_all(&source, CLASS, blocks, COUNT);
    assert_ptr_equal(source.held, slab);
    assert_int_equal(slab_purged_pages(slab), 0);
    for (size_t i = 0; i < PAGE_WORDS; i++)
        assert_int_equal(slab->purged[i], 0);
    slab_return(CLASS, blocks, COUNT);
    slab_let_go(&source);
    assert_int_equal(slab_retire(SIZE_MAX), slab_bytes(slab));
    assert_int_equal(atomic_load(&slab_sums.dirty_bytes), dirty);
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
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    assert_true(slab_is_live(CLASS, blocks[0]));
    slab_return(CLASS, blocks, COUNT / 2);
    assert_int_not_equal(slab_retire(SIZE_MAX), 0);
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
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    slab->reserved = true;
    slab_let_go(&source);
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    slab->reserved = false;
    require(slab_hold(slab));
    slab_unhold(slab);
    /* Listed as free by then, but another thread holds it. */
    require(slab_hold(slab));
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    slab_unhold(slab);
    assert_int_equal(slab_retire(1), slab_bytes(slab));
}

static void no_more_is_retired_than_was_asked_for(void **state)
{
    enum { FIRST = 19, CLASSES = 4 };
    void *block;

    (void)state;
    retire_all();
    for (unsigned class = FIRST; class < FIRST + CLASSES; class++) {
        struct slab_source source = {.owner = OWNER};
        fill_all(&source, class, &block, 1);
        slab_return(class, &block, 1);
        slab_let_go(&source);
    }
    assert_int_equal(slab_retire(1), UNIT_BYTES);
    assert_int_equal(slab_retire(UNIT_BYTES + 1), 2 * UNIT_BYTES);
    assert_int_equal(slab_retire(SIZE_MAX), UNIT_BYTES);
}

/* Slabs in use again stay listed: they are passed over. */
static void what_was_free_does_not_hide_what_is(void **state)
{
    enum { CLASS = 27, CAPACITY = 16, SLABS = 60, COUNT = SLABS * CAPACITY };
    struct slab_source source = {.owner = OWNER};
    static void *blocks[COUNT];

    (void)state;
    assert_int_equal(size_classes[CLASS].capacity, CAPACITY);
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    slab_return(CLASS, blocks, COUNT);
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    for (size_t i = 0; i < COUNT; i++)
        if ((uintptr_t)blocks[i] % (3 * UNIT_BYTES) < UNIT_BYTES)
            slab_return(CLASS, &blocks[i], 1);
    size_t free_bytes = slab_free_bytes() / UNIT_BYTES * UNIT_BYTES;
    assert_in_range(free_bytes, SLABS / 4 * UNIT_BYTES, SLABS * UNIT_BYTES);
    assert_int_equal(slab_retire(SIZE_MAX), free_bytes);
    assert_int_equal(slab_free_bytes(), 0);
    for (size_t i = 0; i < COUNT; i++)
        if ((uintptr_t)blocks[i] % (3 * UNIT_BYTES) >= UNIT_BYTES)
            slab_return(CLASS, &blocks[i], 1);
    retire_all();
}

/* A slab that nothing was carved from. */
static void a_slab_without_a_block_is_retired_too(void **state)
{
    enum { CLASS = 23 };
    struct slab_source source = {.owner = OWNER};

    (void)state;
    retire_all();
    source.held = slab_choose(&source, CLASS);
    size_t bytes = slab_bytes(source.held);
    slab_let_go(&source);
    assert_int_equal(slab_retire(SIZE_MAX), bytes);
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
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    os_calls = calls;
    /* Nor is one given up whose pages another thread may be touching. */
    struct slab *slab = page_map_descriptor(blocks[0]);
    atomic_store(&slab->touched, 1);
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    atomic_store(&slab->touched, 0);
    assert_int_equal(page_map_entry(blocks[0]), entry);
    assert_true(atomic_load(&slab->placed));
    void *again[COUNT];
    fill_all(&source, CLASS, again, COUNT);
    assert_ptr_equal(page_map_descriptor(again[0]), slab);
    slab_return(CLASS, again, COUNT);
    slab_let_go(&source);
    assert_int_not_equal(slab_retire(SIZE_MAX), 0);
    assert_false(atomic_load(&slab->placed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slab_that_is_free_is_retired_and_made_anew),
        cmocka_unit_test(a_slab_that_is_made_anew_has_all_its_pages),
        cmocka_unit_test(what_is_used_again_is_not_retired),
        cmocka_unit_test(what_is_held_or_reserved_is_not_retired),
        cmocka_unit_test(no_more_is_retired_than_was_asked_for),
        cmocka_unit_test(what_was_free_does_not_hide_what_is),
        cmocka_unit_test(a_slab_without_a_block_is_retired_too),
        cmocka_unit_test(a_slab_that_the_system_does_not_unmap_stays),
    };

    return run_all(tests);
}
