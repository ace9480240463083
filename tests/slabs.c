/* SPDX-License-Identifier: MIT */
/* What the tests of slabs share: slabs.h. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "page_map.h"
#include "size_class.h"
#include "slabs.h"

void fill_all(struct slab_source *source, unsigned class, void **blocks,
              size_t count)
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

void check_class(unsigned class)
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

struct slab *bring_to_rest(unsigned class, void *block)
{
    struct slab *slab = page_map_descriptor(block);
    uint32_t offset = (uint32_t)((uintptr_t)block - slab->base);

    atomic_store(&slab->states[size_class_index(class, offset)], BLOCK_REST);
    return slab;
}

void count_at_rest(struct slab *slab)
{
    slab_add_dirty(size_classes[slab->class].size);
    atomic_fetch_add(&slab->resting, 1);
}

struct slab_totals what_there_is(struct slab_totals totals)
{
    totals.peak_bytes = 0;
    totals.slabs_made = 0;
    return totals;
}

void retire_all(void)
{
    slab_retire(SIZE_MAX);
    assert_int_equal(slab_retire(SIZE_MAX), 0);
}
