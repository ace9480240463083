/* SPDX-License-Identifier: MIT */
/* A sequence of calls against a model of what is live; see operations.h. */
#include "operations.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "partyalloc.h"

enum { SLOTS = 128, ALIGNMENT_SHIFT_MAX = 18, FILLED_MAX = 512 };

#define expect(condition) \
    ((condition) ? (void)0 : failed(__LINE__, #condition))

static void failed(int line, const char *text)
{
    fprintf(stderr, "operations.c:%d: does not hold: %s\n", line, text);
    abort();
}

/* What the model knows of a block. */
struct slot {
    unsigned char *block; /* NULL: the slot is empty */
    size_t size;
    unsigned char mark;   /* what its first and last bytes hold */
};

static struct slot slots[SLOTS];
static uint64_t live_blocks, live_bytes;
static unsigned char next_mark;

struct input {
    const uint8_t *bytes;
    size_t length;
};

static unsigned take_byte(struct input *input)
{
    if (input->length == 0)
        return 0;
    input->length--;
    return *input->bytes++;
}

/* Sizes of all magnitudes, many of them at class boundaries. */
static size_t take_size(struct input *input)
{
    unsigned shift = take_byte(input) % 22;
    unsigned part = take_byte(input);
    size_t size = ((size_t)1 << shift) + ((size_t)part << shift >> 8);

    switch (take_byte(input) % 8) {
    case 0:
        return size - 1;
    case 1:
        return partyalloc_good_size(size);
    case 2:
        return partyalloc_good_size(size) + 1;
    case 3:
        return 0;
    default:
        return size;
    }
}

static size_t filled_bytes(size_t size)
{
    return size < FILLED_MAX ? size : FILLED_MAX;
}

static void mark(struct slot *slot)
{
    size_t bytes = filled_bytes(slot->size);

    slot->mark = ++next_mark;
    memset(slot->block, slot->mark, bytes);
    memset(slot->block + slot->size - bytes, slot->mark, bytes);
}

/* Whether those of the block's first `size` bytes that were marked are as they
 * were. */
static bool is_marked(const struct slot *slot, size_t size)
{
    size_t bytes = filled_bytes(slot->size);
    size_t head = size < bytes ? size : bytes;

    for (size_t i = 0; i < head; i++)
        if (slot->block[i] != slot->mark)
            return false;
    if (size < slot->size)
        return true;
    for (size_t i = slot->size - bytes; i < slot->size; i++)
        if (slot->block[i] != slot->mark)
            return false;
    return true;
}

static void count(const struct slot *slot, bool live)
{
    size_t usable = partyalloc_usable_size(slot->block);

    live_blocks = live ? live_blocks + 1 : live_blocks - 1;
    live_bytes = live ? live_bytes + usable : live_bytes - usable;
}

static void put(struct slot *slot, void *block, size_t size)
{
    expect(block != NULL);
    expect((uintptr_t)block % PARTYALLOC_ALIGNMENT == 0);
    expect(partyalloc_usable_size(block) >= size);
    slot->block = block;
    slot->size = size;
    count(slot, true);
    mark(slot);
}

static void clear(struct slot *slot)
{
    if (slot->block == NULL)
        return;
    expect(is_marked(slot, slot->size));
    count(slot, false);
    errno = 4711;
    partyalloc_free(slot->block, next_mark);
    expect(errno == 4711);
    slot->block = NULL;
}

static void *clear_on_a_thread(void *slot)
{
    clear(slot);
    return NULL;
}

static void allocate_zeroed(struct slot *slot, size_t size)
{
    unsigned char *block = partyalloc_allocate_zeroed(1, size, 0);

    expect(block != NULL);
    for (size_t i = 0; i < size; i++)
        expect(block[i] == 0);
    put(slot, block, size);
}

static size_t take_alignment(struct input *input)
{
    return (size_t)1 << take_byte(input) % (ALIGNMENT_SHIFT_MAX + 1);
}

static void reallocate(struct slot *slot, size_t size, size_t alignment)
{
    if (slot->block != NULL)
        count(slot, false);
    size_t kept = slot->block == NULL ? 0
        : slot->size < size           ? slot->size
                                      : size;
    void *block = alignment == 0
        ? partyalloc_reallocate(slot->block, size, 0)
        : partyalloc_reallocate_aligned(slot->block, size, alignment, 0);
    expect(block != NULL);
    expect(alignment == 0 || (uintptr_t)block % alignment == 0);
    slot->block = block;
    expect(is_marked(slot, kept));
    put(slot, block, size);
}

static void allocate_aligned(struct slot *slot, size_t size, size_t alignment)
{
    void *block = partyalloc_allocate_aligned(size, alignment, 0);

    expect((uintptr_t)block % alignment == 0);
    put(slot, block, size);
}

static void try_the_impossible(struct slot *slot, unsigned how)
{
    errno = 0;
    switch (how % 4) {
    case 0:
        expect(partyalloc_allocate(SIZE_MAX - how, 0) == NULL);
        break;
    case 1:
        expect(partyalloc_allocate_zeroed(SIZE_MAX / 2, how + 2, 0) == NULL);
        break;
    case 2:
        expect(partyalloc_reallocate(slot->block, SIZE_MAX - how, 0) == NULL);
        break;
    default:
        expect(partyalloc_allocate_aligned(1, 2 * how + 3, 0) == NULL);
        expect(errno == EINVAL);
        errno = ENOMEM;
    }
    expect(errno == ENOMEM);
}

static void run_on_a_thread(struct slot *slot)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, clear_on_a_thread, slot) == 0)
        pthread_join(thread, NULL);
}

static void check_statistics(void)
{
    struct partyalloc_stats stats = {.size = sizeof stats};

    expect(partyalloc_get_stats(&stats) == 0);
    expect(stats.small_live_blocks + stats.large_live_blocks == live_blocks);
    expect(stats.small_live_bytes + stats.large_live_bytes == live_bytes);
}

static void upkeep(unsigned how)
{
    switch (how % 16) {
    case 0:
        partyalloc_trim();
        break;
    case 1: case 2: case 3:
        partyalloc_thread_flush();
        break;
    default:
        partyalloc_maintain((uint64_t)how * 1000);
    }
}

/* Fills an empty slot. */
static void fill_slot(struct slot *slot, unsigned how, struct input *input)
{
    size_t size = take_size(input);

    if (how < 4)
        put(slot, partyalloc_allocate(size, how), size);
    else if (how < 6)
        allocate_aligned(slot, size, take_alignment(input));
    else
        allocate_zeroed(slot, size);
}

static void play_operation(struct input *input)
{
    unsigned operation = take_byte(input);
    struct slot *slot = &slots[take_byte(input) % SLOTS];

    switch (operation % 16) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6:
        clear(slot);
        fill_slot(slot, operation % 16, input);
        break;
    case 7: case 8: case 9:
        clear(slot);
        break;
    case 10:
        reallocate(slot, take_size(input), 0);
        break;
    case 11:
        reallocate(slot, take_size(input), take_alignment(input));
        break;
    case 12:
        try_the_impossible(slot, take_byte(input));
        break;
    case 13:
        upkeep(take_byte(input));
        break;
    case 14:
        if (operation == 14)
            run_on_a_thread(slot);
        else
            clear(slot);
        break;
    default:
        check_statistics();
    }
}

void play_operations(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};

    while (input.length > 0)
        play_operation(&input);
    for (size_t i = 0; i < SLOTS; i++)
        clear(&slots[i]);
    check_statistics();
}
