/* SPDX-License-Identifier: MIT */
/* The mappings of large blocks: made, found in the page map, made longer and
 * shorter, and unmapped. */
#include "large_internal.h"

#include "compiler.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "page_map.h"

static struct {
    _Alignas(CACHE_LINE_PAIR) struct stack stack;
} unused;

/* Mappings from this length on are worth huge pages; shorter ones would be
 * mostly edges. */
enum { HUGE_LARGE_MIN = 4 << 20 };

struct large *large_take_descriptor(void)
{
    unsigned retries = 0;
    struct stack_node *node = stack_pop(&unused.stack, &retries);
    if (node == NULL)
        return metadata_allocate(sizeof(struct large), CACHE_LINE);
    return (struct large *)(void *)node;
}

void large_give_descriptor(struct large *large)
{
    SET(large->state, LARGE_UNUSED);
    stack_push(&unused.stack, &large->node);
}

void large_enter(const struct large *large)
{
    page_map_set(GET(large->base), 1, ENTRY_LARGE, (void *)large);
    page_map_set(large_end(large) - UNIT_BYTES, 1, ENTRY_LARGE, (void *)large);
}

void large_enter_live(const struct large *large)
{
    page_map_clear(GET(large->base) + UNIT_BYTES,
                   GET(large->mapped) / UNIT_BYTES - 1);
    large_enter(large);
}

void large_enter_gone(const struct large *large)
{
    page_map_set(GET(large->base), 1, ENTRY_LARGE_GONE, (void *)large);
}

/* Maps memory whose part of the page map exists; NULL: none can be had. */
static void *map(size_t bytes, size_t alignment)
{
    void *base = os_map_aligned(bytes, alignment);
    if (base != NULL && !page_map_reserve((uintptr_t)base, bytes)) {
        os_unmap(base, bytes);
        base = NULL;
    }
    return base;
}

struct large *large_map(size_t bytes, size_t alignment)
{
    options_fix();
    struct large *large = large_take_descriptor();
    if (large == NULL)
        return NULL;
    void *base = map(bytes, alignment);
    if (base == NULL && large_drop_all() != 0)
        base = map(bytes, alignment);
    if (base == NULL) {
        large_give_descriptor(large);
        return NULL;
    }
    if (option_huge_pages() && bytes >= HUGE_LARGE_MIN)
        os_advise_huge(base, bytes);
    SET(large->base, (uintptr_t)base);
    SET(large->mapped, bytes);
    return large;
}

bool large_shorten(struct large *large, size_t bytes)
{
    size_t mapped = GET(large->mapped);
    /* Not os_resize(): what was joined may be two mappings to the system. */
    if (!os_unmap((void *)(GET(large->base) + bytes), mapped - bytes))
        return false;
    SET(large->mapped, bytes);
    large_enter(large);
    return true;
}

bool large_unmap(struct large *large)
{
    void *base = (void *)GET(large->base);
    /* Before the range can be another's. */
    large_enter_gone(large);
    if (os_unmap(base, GET(large->mapped))) {
        large_give_descriptor(large);
        return true;
    }
    large_enter(large);
    os_purge(base, GET(large->mapped));
    return false;
}

/* Moves the pages of a mapping to a new, longer one, without touching them.
 * False: it cannot be done, and nothing has changed. */
static bool move(struct large *large, size_t bytes)
{
    void *from = (void *)GET(large->base);
    void *to = map(bytes, UNIT_BYTES);
    if (to == NULL)
        return false;
    large_enter_gone(large); /* before the range can be another's */
    if (!os_move(from, GET(large->mapped), to)) {
        large_enter(large);
        os_unmap(to, bytes);
        return false;
    }
    SET(large->base, (uintptr_t)to);
    SET(large->mapped, bytes);
    large_enter(large);
    return true;
}

bool large_stretch(struct large *large, size_t bytes)
{
    size_t mapped = GET(large->mapped);
    if (os_resize((void *)GET(large->base), mapped, bytes)) {
        SET(large->mapped, bytes);
        large_enter(large);
        return true;
    }
    return bytes > mapped && move(large, bytes);
}
