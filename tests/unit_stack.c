/* SPDX-License-Identifier: MIT */
/* The lock-free stack: last in, first out, and every node with one owner. */
#include "support.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "stack.h"

struct test_node {
    struct stack_node node; /* first: a node is its structure */
    atomic_int owners;      /* of those who have popped it: never two */
    uint64_t contents;      /* written by the owner, plainly */
};

enum { NODES = 64, ROUNDS = UNDER_SANITIZER ? 20000 : 200000, THREADS = 4 };

static struct {
    _Alignas(128) struct stack stack;
} shared, other;

static _Alignas(64) struct test_node nodes[NODES];

static struct test_node *pop_from(struct stack *stack)
{
    unsigned retries = 0;
    struct stack_node *node = stack_pop(stack, &retries);

    return (struct test_node *)(void *)node;
}

static void the_last_one_pushed_is_the_first_popped(void **state)
{
    unsigned retries = 0;

    (void)state;
    assert_null(stack_pop(&shared.stack, &retries));
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(stack_push(&shared.stack, &nodes[i].node), 0);
    for (size_t i = NODES; i-- > 0;)
        assert_ptr_equal(pop_from(&shared.stack), &nodes[i]);
    assert_null(stack_pop(&shared.stack, &retries));
    assert_int_equal(retries, 0);
}

/* The old head is what a pop that began before compares with. */
static void a_node_that_comes_back_leaves_another_head(void **state)
{
    unsigned retries = 0;
    struct stack before;

    (void)state;
    stack_push(&shared.stack, &nodes[0].node);
    memcpy(&before, &shared.stack, sizeof before);
    assert_ptr_equal(pop_from(&shared.stack), &nodes[0]);
    stack_push(&shared.stack, &nodes[0].node);
    assert_memory_not_equal(&before, &shared.stack, sizeof before);
    assert_ptr_equal(stack_pop(&shared.stack, &retries), &nodes[0].node);
}

/* Relaxed: it must be the stack that orders what two owners do. */
static int change_owners(struct test_node *node, int change)
{
    return atomic_fetch_add_explicit(&node->owners, change,
                                     memory_order_relaxed);
}

/* Takes one or two nodes at a time and gives them back in another order: the
 * pattern that a pop without a generation breaks under. */
static void *pop_and_push(void *argument)
{
    struct random random = {(uintptr_t)argument};
    struct test_node *held[2];

    for (size_t i = 0; i < ROUNDS; i++) {
        size_t wanted = 1 + random_below(&random, 2);
        size_t count = 0;
        while (count < wanted) {
            held[count] = pop_from(&shared.stack);
            if (held[count] == NULL)
                break;
            require(change_owners(held[count], 1) == 0);
            held[count]->contents = i;
            count++;
        }
        for (size_t j = 0; j < count; j++) {
            require(held[j]->contents == i);
            require(change_owners(held[j], -1) == 1);
            stack_push(random_below(&random, 8) == 0 ? &other.stack
                                                     : &shared.stack,
                       &held[j]->node);
        }
        /* What went to the other stack comes back from there. */
        held[0] = pop_from(&other.stack);
        if (held[0] != NULL)
            stack_push(&shared.stack, &held[0]->node);
    }
    return NULL;
}

static size_t drain(struct stack *stack)
{
    size_t count = 0;

    while (pop_from(stack) != NULL)
        count++;
    return count;
}

static void no_node_has_two_owners_and_none_is_lost(void **state)
{
    (void)state;
    /* Few nodes, so that the same ones come back soon. */
    for (size_t used = 2; used <= NODES; used *= 4) {
        for (size_t i = 0; i < used; i++)
            stack_push(&shared.stack, &nodes[i].node);
        run_threads(THREADS, pop_and_push, NULL, 0);
        assert_int_equal(drain(&shared.stack) + drain(&other.stack), used);
    }
}

static void a_stack_starts_empty_when_it_is_zero(void **state)
{
    struct stack *stack = aligned_alloc(128, 128);

    (void)state;
    memset(stack, 0, 128);
    assert_null(pop_from(stack));
    stack_push(stack, &nodes[0].node);
    assert_ptr_equal(pop_from(stack), &nodes[0]);
    assert_null(pop_from(stack));
    free(stack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_one_pushed_is_the_first_popped),
        cmocka_unit_test(a_node_that_comes_back_leaves_another_head),
        cmocka_unit_test(no_node_has_two_owners_and_none_is_lost),
        cmocka_unit_test(a_stack_starts_empty_when_it_is_zero),
    };

    return run_all(tests);
}
