/* SPDX-License-Identifier: MIT */
/*
 * A pointer that is not a block's stops the process with one exact line and
 * SIGABRT, never with a fault inside the allocator.
 */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct scenario {
    const char *name;
    void *(*make_pointer)(void);
};

#define SCENARIO(function) {#function, function}

/* --- pointers that never were ours: found at the call, in every mode --- */

static _Alignas(16) char some_data[4096];
static _Alignas(16) const char some_constants[64] = "constant";

/* Hides from the compiler where the pointer is from. */
static void *opaque(const void *pointer)
{
    void *volatile hidden = (void *)(uintptr_t)pointer;

    return hidden;
}

static void *at(uintptr_t address)
{
    return opaque((const void *)address);
}

static void *in_the_stack(void)
{
    /* A frame further out, which still stands when this one is gone. */
    return (void *)(((uintptr_t)__builtin_frame_address(0) + 256)
                    & ~(uintptr_t)15);
}

static void *in_data(void)
{
    return opaque(some_data);
}

static void *in_constants(void)
{
    return opaque(some_constants);
}

static void *in_code(void)
{
    return at((uintptr_t)&in_code & ~(uintptr_t)15);
}

/* calloc(): gcc -O0 warns that what malloc() returned is not written. */
static void *from_malloc(void)
{
    return opaque(calloc(1, 100));
}

static void *from_malloc_large(void)
{
    return opaque(calloc(1, MIB));
}

static void *map_pages(size_t pages, int protection)
{
    void *block = mmap(NULL, pages * 4096, protection,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    require(block != MAP_FAILED);
    return block;
}

static void *from_mmap(void)
{
    return map_pages(32, PROT_READ | PROT_WRITE);
}

static void *from_mmap_without_access(void)
{
    return map_pages(32, PROT_NONE);
}

static void *unmapped(void)
{
    void *block = map_pages(32, PROT_READ);

    require(munmap(block, (size_t)32 * 4096) == 0);
    return block;
}

static void *one(void)
{
    return at(1);
}

static void *sixteen(void)
{
    return at(16);
}

static void *one_page(void)
{
    return at(4096);
}

static void *highest_of_user_space(void)
{
    return at(UINT64_C(0x7ffffffff000));
}

static void *just_beyond_user_space(void)
{
    return at(UINT64_C(0x800000000000));
}

static void *non_canonical(void)
{
    return at(UINT64_C(0x0123456789abcde0));
}

static void *in_the_kernel(void)
{
    return at(UINT64_C(0xffffffff81000000));
}

static void *the_highest_aligned(void)
{
    return at(~(uintptr_t)15);
}

static void *the_highest(void)
{
    return at(~(uintptr_t)0);
}

/* A block's address with bits set that no address has. */
static void *tagged(void)
{
    return at((uintptr_t)partyalloc_allocate(64, ANY_TYPE)
              | UINT64_C(0xab00000000000000));
}

static void *beyond(size_t size, size_t offset)
{
    return (char *)partyalloc_allocate(size, ANY_TYPE) + offset;
}

static void *misaligned_by_1(void)
{
    return beyond(100, 1);
}

static void *misaligned_by_8(void)
{
    return beyond(100, 8);
}

static void *misaligned_by_15_in_16(void)
{
    return beyond(16, 15);
}

static void *misaligned_in_a_large_block(void)
{
    return beyond(MIB, 8);
}

static void *inside_a_large_block(void)
{
    return beyond(MIB, 16);
}

static void *at_the_second_page_of_a_large_block(void)
{
    return beyond(MIB, 4096);
}

static void *well_inside_a_large_block(void)
{
    return beyond(4 * MIB, 2 * MIB);
}

static void *at_the_last_bytes_of_a_large_block(void)
{
    return beyond(MIB, MIB - 16);
}

static void *before_a_large_block(void)
{
    return (char *)partyalloc_allocate(MIB, ANY_TYPE) - 16;
}

static void *before_a_large_aligned_block(void)
{
    return (char *)partyalloc_allocate_aligned(MIB, MIB, ANY_TYPE) - 4096;
}

/* A long mapping was freed and cut: where the rest begins or ends, there has
 * never been a block. */
static void *cut_large_block(size_t rest)
{
    char *whole = partyalloc_allocate(8 * MIB, ANY_TYPE);

    partyalloc_free(whole, ANY_TYPE);
    char *part = partyalloc_allocate(8 * MIB - rest, ANY_TYPE);
    require(part == whole + rest);
    return part;
}

static void *in_the_rest_of_a_cut_large_block(void)
{
    return (char *)cut_large_block(4 * MIB) - 2 * MIB;
}

static void *at_the_last_unit_of_the_rest(void)
{
    return (char *)cut_large_block(4 * MIB) - 65536;
}

static void *in_a_large_block_cut_from_another(void)
{
    return (char *)cut_large_block(4 * MIB) + MIB;
}

static void *where_a_large_block_gave_up_its_end(void)
{
    char *block = partyalloc_allocate(8 * MIB, ANY_TYPE);

    block = partyalloc_reallocate(block, 2 * MIB, ANY_TYPE);
    return block + 2 * MIB;
}

/* Blocks that are freed and then joined. */
static void *where_a_block_began_inside_of_another(void)
{
    void *blocks[3];

    partyalloc_free(partyalloc_allocate(12 * MIB, ANY_TYPE), ANY_TYPE);
    for (size_t i = 0; i < 3; i++)
        blocks[i] = partyalloc_allocate(4 * MIB, ANY_TYPE);
    for (size_t i = 0; i < 3; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    require(partyalloc_allocate(12 * MIB, ANY_TYPE) == blocks[2]);
    return blocks[1];
}

static void *at_the_last_such_place(void)
{
    char *inside = where_a_block_began_inside_of_another();

    return inside + 4 * MIB;
}

static void *beside_such_a_place(void)
{
    char *inside = where_a_block_began_inside_of_another();

    return inside + 4096;
}

static const struct scenario never_ours[] = {
    SCENARIO(in_the_stack),
    SCENARIO(in_data),
    SCENARIO(in_constants),
    SCENARIO(in_code),
    SCENARIO(from_malloc),
    SCENARIO(from_malloc_large),
    SCENARIO(from_mmap),
    SCENARIO(from_mmap_without_access),
    SCENARIO(unmapped),
    SCENARIO(one),
    SCENARIO(sixteen),
    SCENARIO(one_page),
    SCENARIO(highest_of_user_space),
    SCENARIO(just_beyond_user_space),
    SCENARIO(non_canonical),
    SCENARIO(in_the_kernel),
    SCENARIO(the_highest_aligned),
    SCENARIO(the_highest),
    SCENARIO(tagged),
    SCENARIO(misaligned_by_1),
    SCENARIO(misaligned_by_8),
    SCENARIO(misaligned_by_15_in_16),
    SCENARIO(misaligned_in_a_large_block),
    SCENARIO(inside_a_large_block),
    SCENARIO(at_the_second_page_of_a_large_block),
    SCENARIO(well_inside_a_large_block),
    SCENARIO(at_the_last_bytes_of_a_large_block),
    SCENARIO(before_a_large_block),
    SCENARIO(before_a_large_aligned_block),
    SCENARIO(in_the_rest_of_a_cut_large_block),
    SCENARIO(at_the_last_unit_of_the_rest),
    SCENARIO(in_a_large_block_cut_from_another),
    SCENARIO(where_a_large_block_gave_up_its_end),
    SCENARIO(where_a_block_began_inside_of_another),
    SCENARIO(at_the_last_such_place),
    SCENARIO(beside_such_a_place),
};

/* --- pointers inside small blocks --- */

static void *inside(size_t size, size_t offset)
{
    /* The last one of several: its neighbours are blocks as well. */
    for (int i = 0; i < 100; i++)
        require(partyalloc_allocate(size, ANY_TYPE) != NULL);
    return beyond(size, offset);
}

static void *inside_32(void)
{
    return inside(32, 16);
}

static void *inside_48(void)
{
    return inside(48, 32);
}

static void *inside_1000(void)
{
    return inside(1000, 512);
}

static void *inside_5000(void)
{
    return inside(5000, 4096);
}

static void *inside_a_class_with_pages(void)
{
    return inside(40000, 4096 * 3);
}

static void *inside_the_largest_class(void)
{
    return inside(SMALL_SIZE_MAX, SMALL_SIZE_MAX / 2);
}

static void *inside_an_aligned_block(void)
{
    void *block = partyalloc_allocate_aligned(3000, 1024, ANY_TYPE);

    return (char *)block + 1024;
}

static const struct scenario interior[] = {
    SCENARIO(inside_32),
    SCENARIO(inside_48),
    SCENARIO(inside_1000),
    SCENARIO(inside_5000),
    SCENARIO(inside_a_class_with_pages),
    SCENARIO(inside_the_largest_class),
    SCENARIO(inside_an_aligned_block),
};

/* --- pointers into slabs, where no block is --- */

/* At an offset into a slab of one unit. */
static void *in_a_slab(size_t size, size_t offset)
{
    void *block = partyalloc_allocate(size, ANY_TYPE);
    uintptr_t base = (uintptr_t)block & ~(uintptr_t)(64 * KIB - 1);

    require(block != NULL);
    return at(base + offset);
}

static void *where_no_small_block_was_made_yet(void)
{
    return in_a_slab(4096, (size_t)12 * 4096);
}

static void *where_no_medium_block_was_made_yet(void)
{
    return in_a_slab(7168, (size_t)7 * 7168);
}

static void *behind_the_last_small_block(void)
{
    return in_a_slab(48, 64 * KIB / 48 * 48);
}

static void *behind_the_last_medium_block(void)
{
    return in_a_slab(7168, 64 * KIB / 7168 * 7168);
}

static const struct scenario never_made[] = {
    SCENARIO(where_no_small_block_was_made_yet),
    SCENARIO(where_no_medium_block_was_made_yet),
    SCENARIO(behind_the_last_small_block),
    SCENARIO(behind_the_last_medium_block),
};

/* --- the uses --- */

struct misuse {
    void *(*make_pointer)(void);
    bool checked;
};

static void *prepare(const struct misuse *misuse, const char *fault)
{
    if (misuse->checked)
        require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == 0);
    void *pointer = misuse->make_pointer();
    expect_stop(fault, pointer);
    return pointer;
}

static void free_it(void *argument)
{
    partyalloc_free(prepare(argument, "invalid free"), ANY_TYPE);
}

static void free_it_and_flush(void *argument)
{
    free_it(argument);
    partyalloc_thread_flush();
}

static void reallocate_it(void *argument)
{
    (void)!partyalloc_reallocate(prepare(argument, "invalid reallocate"), 70,
                                 ANY_TYPE);
}

static void reallocate_it_aligned(void *argument)
{
    (void)!partyalloc_reallocate_aligned(
        prepare(argument, "invalid reallocate"), 70, 256, ANY_TYPE);
}

static void ask_its_size(void *argument)
{
    partyalloc_usable_size(prepare(argument, "invalid usable_size"));
}

static void check_all(const struct scenario *scenarios, size_t count,
                      bool checked, child_body *use)
{
    for (size_t i = 0; i < count; i++) {
        struct misuse misuse = {scenarios[i].make_pointer, checked};
        assert_scenario_stops(scenarios[i].name, use, &misuse);
    }
}

#define check_every(scenarios, checked, use) \
    check_all((scenarios), ARRAY_LENGTH(scenarios), (checked), (use))

static void a_free_of_what_never_was_a_block_stops_at_once(void **state)
{
    (void)state;
    check_every(never_ours, false, free_it);
}

static void a_reallocation_of_what_never_was_a_block_stops_at_once(void **state)
{
    (void)state;
    check_every(never_ours, false, reallocate_it);
    check_every(never_ours, false, reallocate_it_aligned);
}

static void a_usable_size_of_what_never_was_a_block_stops_at_once(void **state)
{
    (void)state;
    check_every(never_ours, false, ask_its_size);
}

static void checked_mode_stops_at_once_as_well(void **state)
{
    (void)state;
    check_every(never_ours, true, free_it);
    check_every(never_ours, true, reallocate_it);
    check_every(never_ours, true, ask_its_size);
}

static void a_free_inside_a_small_block_stops_by_the_flush(void **state)
{
    (void)state;
    check_every(interior, false, free_it_and_flush);
}

static void a_free_inside_a_small_block_stops_at_once_if_checked(void **state)
{
    (void)state;
    check_every(interior, true, free_it);
}

static void a_reallocation_inside_a_small_block_stops_at_once(void **state)
{
    (void)state;
    check_every(interior, false, reallocate_it);
    check_every(interior, true, reallocate_it);
}

static void a_usable_size_inside_a_small_block_stops_at_once(void **state)
{
    (void)state;
    check_every(interior, false, ask_its_size);
    check_every(interior, true, ask_its_size);
}

static void *free_on_a_thread(void *argument)
{
    partyalloc_free(argument, ANY_TYPE);
    return NULL;
}

/* Whatever the thread's end does would come too late. */
static void *free_on_a_thread_and_exit(void *argument)
{
    partyalloc_free(argument, ANY_TYPE);
    _exit(0);
}

static void free_on_another_thread_at_once(void *argument)
{
    run_thread(free_on_a_thread_and_exit, prepare(argument, "invalid free"));
}

/* The thread's cache leaves it when the thread ends. */
static void free_on_another_thread(void *argument)
{
    run_thread(free_on_a_thread, prepare(argument, "invalid free"));
}

static void a_thread_that_frees_a_bad_pointer_stops_by_its_end(void **state)
{
    (void)state;
    check_every(never_ours, false, free_on_another_thread);
    check_every(interior, false, free_on_another_thread);
    check_every(interior, true, free_on_another_thread);
}

static void a_free_in_anothers_slab_stops_at_once(void **state)
{
    (void)state;
    check_every(interior, false, free_on_another_thread_at_once);
    check_every(never_made, false, free_on_another_thread_at_once);
}

static void a_free_where_no_block_was_made_stops_by_the_flush(void **state)
{
    (void)state;
    check_every(never_made, false, free_it_and_flush);
    check_every(never_made, false, free_on_another_thread);
}

static void a_free_where_no_block_was_made_stops_at_once_if_checked(void **state)
{
    (void)state;
    check_every(never_made, true, free_it);
    check_every(never_made, true, reallocate_it);
    check_every(never_made, true, ask_its_size);
}

static void a_reallocation_where_no_block_was_made_stops_at_once(void **state)
{
    (void)state;
    check_every(never_made, false, reallocate_it);
    check_every(never_made, false, ask_its_size);
}

/* --- the circumstances --- */

static void free_it_without_kernel_memory(void *argument)
{
    const struct misuse *misuse = argument;
    void *pointer = misuse->make_pointer();

    expect_stop("invalid free", pointer);
    forbid_memory_calls();
    partyalloc_free(pointer, ANY_TYPE);
}

static void the_message_needs_no_memory(void **state)
{
    struct misuse misuse = {in_data, false};

    (void)state;
    assert_child_stops(free_it_without_kernel_memory, &misuse);
}

static void free_it_with_abort_ignored(void *argument)
{
    signal(SIGABRT, SIG_IGN);
    free_it(argument);
}

static void sigabrt_cannot_be_ignored(void **state)
{
    struct misuse misuse = {in_data, false};

    (void)state;
    assert_child_stops(free_it_with_abort_ignored, &misuse);
}

enum { CRASH_REPORTED = 42 };

static void report_crash(int signal_number)
{
    _exit(signal_number == SIGABRT ? CRASH_REPORTED : 1);
}

static void free_it_with_crash_reporter(void *argument)
{
    signal(SIGABRT, report_crash);
    free_it(argument);
}

static void a_titles_crash_reporter_is_reached(void **state)
{
    struct misuse misuse = {in_data, false};
    struct ending ending = run_in_child(free_it_with_crash_reporter, &misuse);

    (void)state;
    assert_true(WIFEXITED(ending.status));
    assert_int_equal(WEXITSTATUS(ending.status), CRASH_REPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_of_what_never_was_a_block_stops_at_once),
        cmocka_unit_test(
            a_reallocation_of_what_never_was_a_block_stops_at_once),
        cmocka_unit_test(a_usable_size_of_what_never_was_a_block_stops_at_once),
        cmocka_unit_test(checked_mode_stops_at_once_as_well),
        cmocka_unit_test(a_free_inside_a_small_block_stops_by_the_flush),
        cmocka_unit_test(a_free_inside_a_small_block_stops_at_once_if_checked),
        cmocka_unit_test(a_reallocation_inside_a_small_block_stops_at_once),
        cmocka_unit_test(a_usable_size_inside_a_small_block_stops_at_once),
        cmocka_unit_test(a_free_in_anothers_slab_stops_at_once),
        cmocka_unit_test(a_free_where_no_block_was_made_stops_by_the_flush),
        cmocka_unit_test(
            a_free_where_no_block_was_made_stops_at_once_if_checked),
        cmocka_unit_test(a_reallocation_where_no_block_was_made_stops_at_once),
        cmocka_unit_test(a_thread_that_frees_a_bad_pointer_stops_by_its_end),
        cmocka_unit_test(the_message_needs_no_memory),
        cmocka_unit_test(sigabrt_cannot_be_ignored),
        cmocka_unit_test(a_titles_crash_reporter_is_reached),
    };

    return run_all(tests);
}
