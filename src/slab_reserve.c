/* SPDX-License-Identifier: MIT */
/*
 * What the slab layer makes present ahead of use, when memory is reserved.
 *
 * From then on blocks come from reserved slabs, as long as there are any.  But
 * some may still come from elsewhere: from the rest of the slabs that caches
 * hold, and from magazines, whose blocks the title may never have written.
 */
#include "slab_internal.h"

#include "slab_index.h"

size_t slab_metadata_bytes(size_t bytes)
{
    /* For a slab of the smallest blocks, and its place in the index. */
    size_t each = sizeof(struct slab) + size_classes[0].capacity + CACHE_LINE;
    return (bytes / UNIT_BYTES + 1) * each;
}

/* A run of pages, `end` excluded. */
struct run {
    uint32_t first, end;
};

/* A way to make pages present: one by one on Linux before 5.14. */
typedef void make_present_function(void *start, size_t bytes);

static void populate(void *start, size_t bytes)
{
    os_populate(start, bytes);
}

static make_present_function *way_to_make_present(void)
{
    uintptr_t page = (uintptr_t)&slab_sums & ~(uintptr_t)(PAGE_BYTES - 1);
    return os_populate((void *)page, PAGE_BYTES) ? populate : os_touch;
}

static void make_run_present(const struct slab *slab, struct run run,
                             make_present_function *make_present)
{
    uintptr_t start = slab->base + ((uintptr_t)run.first << PAGE_SHIFT);
    if (run.first != run.end)
        make_present((void *)start, (size_t)(run.end - run.first)
                                        << PAGE_SHIFT);
}

/* Makes the pages of all blocks present that are not at rest: in a magazine, or
 * with the title, which has written most of them. */
static void make_taken_present(const struct slab *slab,
                               make_present_function *make_present)
{
    uint32_t size = size_classes[slab->class].size;
    uint32_t carved = atomic_load_explicit(&slab->carved, memory_order_relaxed);
    struct run run = {0, 0};
    for (uint32_t index = 0; index < carved; index++) {
        /* A look only: relaxed. */
        if (atomic_load_explicit(&slab->states[index], memory_order_relaxed) ==
            BLOCK_REST)
            continue;
        uint32_t first = (index * size) >> PAGE_SHIFT;
        uint32_t last = ((index + 1) * size - 1) >> PAGE_SHIFT;
        if (first > run.end) {
            make_run_present(slab, run, make_present);
            run.first = first;
        }
        run.end = last + 1;
    }
    make_run_present(slab, run, make_present);
}

static void make_used_present(const struct slab *slab,
                              make_present_function *make_present)
{
    /* Acquires the place; pairs with make().  Sequentially consistent with
     * leave_place(): the place is not given up while `touched` is not 0. */
    if (!atomic_load(&slab->placed) || slab->reserved)
        return;
    /* Only the holder may say which pages were given back: those made present
     * here stay counted as given back until they are used. */
    uint32_t pages = (uint32_t)(slab_bytes(slab) >> PAGE_SHIFT);
    if (atomic_load_explicit(&slab->held, memory_order_relaxed))
        make_run_present(slab, (struct run){0, pages}, make_present);
    else
        make_taken_present(slab, make_present);
}

static void make_class_present(unsigned class,
                               make_present_function *make_present)
{
    uint32_t count = slab_index_count(class);
    for (uint32_t number = 0; number < count; number++) {
        struct slab *slab = slab_index_get(class, number);
        if (slab == NULL)
            continue;
        atomic_fetch_add(&slab->touched, 1);
        make_used_present(slab, make_present);
        atomic_fetch_sub(&slab->touched, 1);
    }
}

void slab_reserve(void)
{
    slab_index_reserve();
    os_touch(&slab_sums, sizeof(slab_sums));
    make_present_function *make_present = way_to_make_present();
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        make_class_present(class, make_present);
}
