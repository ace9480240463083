/* SPDX-License-Identifier: MIT */
/* The table of size classes, and the arithmetic on it. */
#include "support.h"

#include "page_map.h"
#include "size_class.h"

static void the_class_of_a_size_is_the_smallest_that_holds_it(void **state)
{
    unsigned class = 0;

    (void)state;
    for (size_t size = 0; size <= SMALL_MAX; size++) {
        if (size > size_classes[class].size)
            class++;
        require(size_class_of(size) == class);
    }
    assert_int_equal(class, CLASS_COUNT - 1);
}

static void sizes_rise_in_steps_of_the_granule(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        assert_int_equal(size_classes[class].size % GRANULE, 0);
        if (class > 0)
            assert_true(size_classes[class].size
                        > size_classes[class - 1].size);
    }
    assert_int_equal(size_classes[0].size, GRANULE);
    assert_int_equal(size_classes[CLASS_COUNT - 1].size, SMALL_MAX);
}

static void a_slab_loses_less_than_an_eighth_at_its_end(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        const struct size_class *this = &size_classes[class];
        size_t bytes = (size_t)this->slab_units * UNIT_BYTES;

        assert_true(this->capacity >= 1);
        assert_true((size_t)this->capacity * this->size <= bytes);
        assert_true(bytes - (size_t)this->capacity * this->size < bytes / 8);
    }
}

static void the_index_of_a_block_is_exact_everywhere_in_a_slab(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        uint32_t bytes = size_classes[class].slab_units * UNIT_BYTES;

        for (uint32_t offset = 0; offset < bytes; offset++)
            if (size_class_index(class, offset)
                != offset / size_classes[class].size)
                fail_msg("class %u, offset %u", class, offset);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_class_of_a_size_is_the_smallest_that_holds_it),
        cmocka_unit_test(sizes_rise_in_steps_of_the_granule),
        cmocka_unit_test(a_slab_loses_less_than_an_eighth_at_its_end),
        cmocka_unit_test(the_index_of_a_block_is_exact_everywhere_in_a_slab),
    };

    return run_all(tests);
}
