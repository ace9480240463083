/* SPDX-License-Identifier: MIT */
/* The parts below slabs and caches, by two threads in every order. */
#include "support.h"

#include <stdatomic.h>

#include "chunk.h"
#include "depot.h"
#include "depot_tray.h"
#include "interleaving.h"
#include "magazine.h"
#include "mapped.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slab.h"
#include "slab_index.h"
#include "slabs.h"
#include "stack.h"

enum { CLASS = 27 };

/* --- the stack --- */

enum { NODES = 3 };

static struct stack stack;
static struct stack_node nodes[NODES];
static struct stack_node *popped[2][NODES];

static struct stack_node *pop(void)
{
    unsigned retries = 0;

    return stack_pop(&stack, &retries);
}

static void push_all(void)
{
    for (size_t i = 0; i < NODES; i++)
        stack_push(&stack, &nodes[i]);
}

static void pop_one(void)
{
    popped[0][0] = pop();
}

/* The same node is on top again, with another one below it. */
static void pop_two_and_push_the_first(void)
{
    popped[1][0] = pop();
    popped[1][1] = pop();
    if (popped[1][0] != NULL)
        stack_push(&stack, popped[1][0]);
    popped[1][0] = NULL;
}

static void push_what_was_popped(void)
{
    struct stack_node *node = pop();

    if (node != NULL)
        stack_push(&stack, node);
}

/* Each node is in one place. */
static void every_node_is_there_once(void)
{
    struct stack_node *all[NODES];
    size_t count = 0;

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < NODES; j++)
            if (popped[i][j] != NULL)
                all[count++] = popped[i][j];
    for (struct stack_node *node; (node = pop()) != NULL;) {
        require(count < NODES);
        all[count++] = node;
    }
    require(count == NODES);
    for (size_t i = 0; i < NODES; i++)
        for (size_t j = 0; j < i; j++)
            require(all[i] != all[j]);
}

static void a_node_that_was_away_is_no_longer_the_same(void **state)
{
    struct interleaving scenario = {push_all,
                                    {pop_one, pop_two_and_push_the_first},
                                    every_node_is_there_once};

    (void)state;
    assert_interleavings(&scenario);
}

static void two_pop_and_push(void **state)
{
    struct interleaving scenario = {push_all,
                                    {push_what_was_popped,
                                     push_what_was_popped},
                                    every_node_is_there_once};

    (void)state;
    assert_interleavings(&scenario);
}

/* --- options --- */

static void fix_options(void)
{
    options_fix();
    require(option_cache_bytes() == 512 * KIB);
    require(!option_checked() && !option_huge_pages());
}

static void nothing_more(void)
{
}

static void two_fix_the_options(void **state)
{
    struct interleaving scenario = {NULL, {fix_options, fix_options},
                                    nothing_more};

    (void)state;
    assert_interleavings(&scenario);
}

/* --- the index of slabs --- */

/* Of the index's view: neighbours below one word, and one below another. */
static const uint32_t members[] = {3, 4, 70};
enum { MEMBERS = ARRAY_LENGTH(members) };
static struct slab *taken[2];

static void add_member(uint32_t number)
{
    slab_index_add(CLASS, SLABS_AVAILABLE, number);
}

/* Slabs are addresses to the index: of these nothing else is looked at. */
static void make_members(void)
{
    static char made[100];
    uint32_t number;

    for (size_t i = 0; i < ARRAY_LENGTH(made); i++)
        require(slab_index_insert(CLASS, (struct slab *)(void *)&made[i],
                                  &number) &&
                number == i);
    add_member(members[0]);
}

static void take_lowest(void)
{
    taken[0] = slab_index_take_lowest(CLASS, SLABS_AVAILABLE);
}

static void take_highest(void)
{
    taken[1] = slab_index_take_highest(CLASS, SLABS_AVAILABLE);
}

static void add_neighbour(void)
{
    add_member(members[1]);
}

static void add_far_away(void)
{
    add_member(members[2]);
}

static void require_taken_once(size_t count)
{
    struct slab *all[MEMBERS + 1];
    size_t found = 0;

    for (size_t i = 0; i < 2; i++)
        if (taken[i] != NULL)
            all[found++] = taken[i];
    for (struct slab *slab;
         (slab = slab_index_take_lowest(CLASS, SLABS_AVAILABLE)) != NULL;) {
        require(found < MEMBERS);
        all[found++] = slab;
    }
    require(found == count);
    for (size_t i = 0; i < found; i++)
        for (size_t j = 0; j < i; j++)
            require(all[i] != all[j]);
}

static void one_member_was_taken(void)
{
    require_taken_once(1);
}

static void two_members_were_there(void)
{
    require_taken_once(2);
}

static void a_member_is_not_lost_when_its_neighbour_is_taken(void **state)
{
    struct interleaving near = {make_members, {take_lowest, add_neighbour},
                                two_members_were_there};
    struct interleaving far = {make_members, {take_lowest, add_far_away},
                               two_members_were_there};

    (void)state;
    assert_interleavings(&near);
    assert_interleavings(&far);
}

static void a_member_is_taken_by_one(void **state)
{
    struct interleaving scenario = {make_members, {take_lowest, take_highest},
                                    one_member_was_taken};

    (void)state;
    assert_interleavings(&scenario);
}

/* --- address space --- */

enum { GRANTS = 3 };

static struct grant grants[2][GRANTS];
static _Atomic(size_t) reserved_units;
static size_t others; /* bytes that are mapped for something else */

/* Where no other test maps anything. */
static const uintptr_t far_away = (uintptr_t)1 << 45;

/* Each unit is entered, for which its leaf must be known. */
static void grant_some(size_t part)
{
    for (size_t i = 0; i < GRANTS; i++) {
        grants[part][i] = chunk_grant(1);
        if (grants[part][i].base == 0)
            continue;
        page_map_set(grants[part][i].base, 1, 0, NULL);
        use_block((void *)grants[part][i].base);
    }
}

static void grant_some_0(void)
{
    grant_some(0);
}

static void grant_some_1(void)
{
    grant_some(1);
}

static void drop_chunk(void)
{
    chunk_drop();
}

static void reserve_some(void)
{
    require(chunk_reserve(2 * UNIT_BYTES, 0));
    /* Relaxed: the count is not to order anything else. */
    atomic_fetch_add_explicit(&reserved_units, 2, memory_order_relaxed);
}

/* As little comes as a chunk, and it lies where chunks do. */
static void reserve_some_far_away(void)
{
    enum { UNITS = CHUNK_BYTES / UNIT_BYTES };
    require(chunk_reserve(CHUNK_BYTES, 0));
    atomic_fetch_add_explicit(&reserved_units, UNITS, memory_order_relaxed);
}

static void begin_with_a_chunk(void)
{
    others = mapped_bytes() - chunk_left_bytes();
}

/* There was reserved space, and all of it is granted. */
static void use_up_a_reserve(void)
{
    require(chunk_reserve(UNIT_BYTES, 0));
    require(chunk_grant(1).reserved);
}

static void begin_with_an_empty_reserve(void)
{
    use_up_a_reserve();
    begin_with_a_chunk();
}

/* One unit is left of it. */
static void use_up_a_chunk(void)
{
    while (chunk_left_bytes() != UNIT_BYTES)
        require(chunk_grant(1).base != 0);
    begin_with_a_chunk();
}

static struct os_calls calls;

static void *map_far_away(void *hint, size_t length, int protection, int flags,
                          int fd, off_t offset)
{
    if (hint == NULL && length >= CHUNK_BYTES)
        hint = (void *)far_away;
    return calls.mmap(hint, length, protection, flags, fd, offset);
}

/* What comes next needs a leaf, which comes with it. */
static void begin_far_away(void)
{
    chunk_drop();
    calls = os_calls;
    os_calls.mmap = map_far_away;
    begin_with_a_chunk();
}

static void begin_far_away_with_an_empty_reserve(void)
{
    use_up_a_reserve();
    begin_far_away();
}

static void drop_chunk_and_grant_some_1(void)
{
    drop_chunk();
    grant_some_1();
}

static void grants_lie_apart(void)
{
    void *bases[2 * GRANTS + CHUNK_BYTES / UNIT_BYTES];
    size_t count = 0;

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < GRANTS; j++) {
            if (grants[i][j].base == 0)
                continue;
            bases[count++] = (void *)grants[i][j].base;
            reserved_units -= grants[i][j].reserved;
        }
    for (; reserved_units != 0; reserved_units--) {
        struct grant grant = chunk_grant(1);
        require(grant.reserved);
        bases[count++] = (void *)grant.base;
    }
    require(!chunk_has_reserved(1));
    for (size_t i = 0; i < count; i++) {
        require(page_map_entry(bases[i]) == 0);
        fill(bases[i], UNIT_BYTES, i);
        for (size_t j = 0; j < i; j++)
            require(bases[i] != bases[j]);
    }
    /* Nothing else is mapped. */
    chunk_drop();
    require(mapped_bytes() == others + count * UNIT_BYTES);
}

static void two_are_granted_the_last_of_a_chunk(void **state)
{
    struct interleaving scenario = {use_up_a_chunk,
                                    {grant_some_0, grant_some_1},
                                    grants_lie_apart};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_chunk_goes_back_while_some_of_it_is_granted(void **state)
{
    struct interleaving scenario = {begin_with_a_chunk,
                                    {grant_some_0, drop_chunk},
                                    grants_lie_apart};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_chunk_comes_with_its_leaf(void **state)
{
    struct interleaving scenarios[] = {
        {begin_far_away, {grant_some_0, grant_some_1}, grants_lie_apart},
        {begin_far_away,
         {grant_some_0, drop_chunk_and_grant_some_1},
         grants_lie_apart},
        {begin_far_away,
         {grant_some_0, reserve_some_far_away},
         grants_lie_apart},
        {begin_far_away_with_an_empty_reserve,
         {grant_some_0, reserve_some_far_away},
         grants_lie_apart},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(scenarios); i++)
        assert_interleavings(&scenarios[i]);
}

static void reserved_space_comes_while_some_is_granted(void **state)
{
    struct interleaving scenario = {begin_with_a_chunk,
                                    {grant_some_0, reserve_some},
                                    grants_lie_apart};

    (void)state;
    assert_interleavings(&scenario);
}

static void two_reserve_space(void **state)
{
    struct interleaving first = {begin_with_a_chunk,
                                 {reserve_some, reserve_some},
                                 grants_lie_apart};
    struct interleaving again = {begin_with_an_empty_reserve,
                                 {reserve_some, reserve_some},
                                 grants_lie_apart};

    (void)state;
    assert_interleavings(&first);
    assert_interleavings(&again);
}

/* --- the page map --- */

static void make_leaf(void)
{
    require(page_map_reserve(far_away, UNIT_BYTES));
}

static void count_what_is_mapped(void)
{
    others = os_mapped_bytes();
}

static void there_is_one_leaf(void)
{
    size_t units = (sizeof(struct page_map_leaf) + OS_MAP_ALIGNMENT - 1) /
                   OS_MAP_ALIGNMENT;

    require(page_map_leaf((void *)far_away) != NULL);
    require(os_mapped_bytes() - others == units * OS_MAP_ALIGNMENT);
}

static void two_make_one_leaf(void **state)
{
    struct interleaving scenario = {count_what_is_mapped,
                                    {make_leaf, make_leaf},
                                    there_is_one_leaf};

    (void)state;
    assert_interleavings(&scenario);
}

/* --- metadata --- */

enum { PIECE = 40000, PIECES = 3 };

static char *pieces[2][PIECES];

static void take_pieces(size_t part)
{
    for (size_t i = 0; i < PIECES; i++)
        pieces[part][i] = metadata_allocate(PIECE, CACHE_LINE);
}

static void take_pieces_0(void)
{
    take_pieces(0);
}

static void take_pieces_1(void)
{
    take_pieces(1);
}

static void reserve_metadata(void)
{
    require(metadata_reserve(PIECES * PIECE));
}

/* Little is left of the region. */
static void use_up_a_region(void)
{
    size_t before = metadata_bytes();

    while (metadata_bytes() == before)
        require(metadata_allocate(PIECE, CACHE_LINE) != NULL);
    for (int i = 0; i < 4; i++)
        require(metadata_allocate(PIECE, CACHE_LINE) != NULL);
}

static void pieces_lie_apart(void)
{
    for (size_t i = 0; i < 2 * PIECES; i++) {
        char *piece = pieces[i / PIECES][i % PIECES];
        if (piece == NULL)
            continue;
        require(is_zero(piece, PIECE));
        fill(piece, PIECE, i);
    }
    for (size_t i = 0; i < 2 * PIECES; i++) {
        char *piece = pieces[i / PIECES][i % PIECES];
        require(piece == NULL || holds(piece, PIECE, i));
    }
}

static void two_take_metadata(void **state)
{
    struct interleaving scenario = {use_up_a_region,
                                    {take_pieces_0, take_pieces_1},
                                    pieces_lie_apart};

    (void)state;
    assert_interleavings(&scenario);
}

static void metadata_is_reserved_while_some_is_taken(void **state)
{
    struct interleaving scenario = {use_up_a_region,
                                    {take_pieces_0, reserve_metadata},
                                    pieces_lie_apart};

    (void)state;
    assert_interleavings(&scenario);
}

/* --- the depot --- */

enum { FULL = 4 };

static struct slab_source source = {.owner = OWNER};
static struct magazine *magazines[2];

static struct magazine *filled_magazine(void)
{
    struct magazine *magazine = depot_take_empties();

    require(magazine != NULL);
    if (magazine->next != NULL) {
        magazine->next->count = magazine->count - 1;
        depot_give_empties(magazine->next);
    }
    fill_all(&source, CLASS, magazine->slots, FULL);
    magazine->count = FULL;
    return magazine;
}

static void fill_a_magazine(void)
{
    magazines[0] = filled_magazine();
}

static void fill_the_depot(void)
{
    for (int i = 0; i < 2; i++)
        require(depot_give(CLASS, filled_magazine()));
    fill_a_magazine();
}

static void use_magazine(const struct magazine *magazine)
{
    for (size_t i = 0; i < magazine->count; i++)
        use_block(magazine->slots[i]);
}

static void give_magazine(void)
{
    use_magazine(magazines[0]);
    if (depot_give(CLASS, magazines[0]))
        magazines[0] = NULL;
    else
        magazines[0]->count = 0;
}

static void take_magazine(void)
{
    magazines[1] = depot_take(CLASS, OWNER);
    if (magazines[1] != NULL)
        use_magazine(magazines[1]);
}

static void give_and_take_magazine(void)
{
    give_magazine();
    take_magazine();
}

/* What is counted meanwhile is not more than there is. */
static void count_blocks(void)
{
    require(depot_totals().blocks <= FULL);
}

static void drain_depot(void)
{
    depot_drain_all();
}

static void drain_idle(void)
{
    depot_begin_idle();
    while (depot_drain_idle_step())
        ;
}

static void all_blocks_can_come_to_rest(void)
{
    for (int i = 0; i < 2; i++)
        if (magazines[i] != NULL)
            slab_return(CLASS, magazines[i]->slots, magazines[i]->count);
    depot_drain_all();
    require(depot_totals().blocks == 0);
    slab_let_go(&source);
    require(slab_totals().resting_blocks == slab_totals().carved_blocks);
}

static void a_magazine_is_given_while_one_is_taken(void **state)
{
    struct interleaving scenario = {fill_the_depot,
                                    {give_magazine, take_magazine},
                                    all_blocks_can_come_to_rest};

    (void)state;
    assert_interleavings(&scenario);
}

static void blocks_are_counted_while_a_magazine_moves(void **state)
{
    struct interleaving scenario = {fill_a_magazine,
                                    {give_and_take_magazine, count_blocks},
                                    all_blocks_can_come_to_rest};

    (void)state;
    assert_interleavings(&scenario);
}

static void the_depot_is_drained_while_a_magazine_is_given(void **state)
{
    struct interleaving scenario = {fill_the_depot,
                                    {give_magazine, drain_depot},
                                    all_blocks_can_come_to_rest};

    (void)state;
    assert_interleavings(&scenario);
}

static void the_depot_is_drained_while_a_magazine_is_taken(void **state)
{
    struct interleaving all = {fill_the_depot, {take_magazine, drain_depot},
                               all_blocks_can_come_to_rest};
    struct interleaving idle = {fill_the_depot, {take_magazine, drain_idle},
                                all_blocks_can_come_to_rest};

    (void)state;
    assert_interleavings(&all);
    assert_interleavings(&idle);
}

/* --- its trays of single blocks --- */

enum { SINGLES = 3 };

static void *singles[2][SINGLES];

static void fill_a_tray(void)
{
    void *block;

    fill_all(&source, CLASS, &block, 1);
    depot_give_one(CLASS, block);
    fill_all(&source, CLASS, singles[0], SINGLES);
}

static void give_singles(void)
{
    for (size_t i = 0; i < SINGLES; i++) {
        use_block(singles[0][i]);
        depot_give_one(CLASS, singles[0][i]);
        singles[0][i] = NULL;
    }
}

static void take_singles(size_t part)
{
    for (size_t i = 0; i < SINGLES; i++) {
        singles[part][i] = depot_take_one(CLASS);
        if (singles[part][i] != NULL)
            use_block(singles[part][i]);
    }
}

static void give_and_take_singles(void)
{
    give_singles();
    take_singles(0);
}

static void take_singles_1(void)
{
    take_singles(1);
}

static void drain_tray(void)
{
    tray_drain(CLASS);
}

static void all_singles_can_come_to_rest(void)
{
    for (size_t i = 0; i < 2 * SINGLES; i++)
        if (singles[i / SINGLES][i % SINGLES] != NULL)
            slab_return(CLASS, &singles[i / SINGLES][i % SINGLES], 1);
    all_blocks_can_come_to_rest();
}

static void single_blocks_are_given_while_some_are_taken(void **state)
{
    struct interleaving scenario = {fill_a_tray,
                                    {give_and_take_singles, take_singles_1},
                                    all_singles_can_come_to_rest};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_tray_is_drained_while_single_blocks_are_given(void **state)
{
    struct interleaving scenario = {fill_a_tray, {give_singles, drain_tray},
                                    all_singles_can_come_to_rest};

    (void)state;
    assert_interleavings(&scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_was_away_is_no_longer_the_same),
        cmocka_unit_test(two_pop_and_push),
        cmocka_unit_test(two_fix_the_options),
        cmocka_unit_test(a_member_is_not_lost_when_its_neighbour_is_taken),
        cmocka_unit_test(a_member_is_taken_by_one),
        cmocka_unit_test(two_are_granted_the_last_of_a_chunk),
        cmocka_unit_test(a_chunk_goes_back_while_some_of_it_is_granted),
        cmocka_unit_test(a_chunk_comes_with_its_leaf),
        cmocka_unit_test(reserved_space_comes_while_some_is_granted),
        cmocka_unit_test(two_reserve_space),
        cmocka_unit_test(two_make_one_leaf),
        cmocka_unit_test(two_take_metadata),
        cmocka_unit_test(metadata_is_reserved_while_some_is_taken),
        cmocka_unit_test(a_magazine_is_given_while_one_is_taken),
        cmocka_unit_test(blocks_are_counted_while_a_magazine_moves),
        cmocka_unit_test(the_depot_is_drained_while_a_magazine_is_given),
        cmocka_unit_test(the_depot_is_drained_while_a_magazine_is_taken),
        cmocka_unit_test(single_blocks_are_given_while_some_are_taken),
        cmocka_unit_test(a_tray_is_drained_while_single_blocks_are_given),
    };

    return run_all(tests);
}
