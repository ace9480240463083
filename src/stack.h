/* SPDX-License-Identifier: MIT */
/*
 * A lock-free stack of type-stable nodes: Concurrency Kit's ck_stack, behind
 * the four operations that partyalloc needs.  The only file that includes ck.
 *
 * What users of a stack must observe (doc/concurrency.md has the reasons):
 *
 * - Nodes are never unmapped: a pop reads the link of a node that another
 *   thread may have taken meanwhile.
 * - Push and single pop only.  ck's batch pop leaves the generation alone, so
 *   that a concurrent pop could succeed on a stale link.
 *
 * ThreadSanitizer sees neither ck's assembly nor the generation that makes the
 * stale read harmless.  For race checkers a second backend does the same on C11
 * atomics (configure --with-stack-backend=c11).
 */
#ifndef PARTYALLOC_STACK_H
#define PARTYALLOC_STACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

#ifndef PARTYALLOC_STACK_C11

#include <ck_pr.h>
#include <ck_stack.h>

#ifndef CK_F_STACK_POP_MPMC
#error "ck_stack_pop_mpmc is not available on this processor"
#endif

struct stack_node {
    ck_stack_entry_t link;
};

/* ck asks for 8 bytes of alignment, but its 16-byte compare-and-swap needs 16.
 * Whoever embeds a stack gives it cache lines of its own. */
struct stack {
    _Alignas(16) ck_stack_t head;
};

/* One try of a push.  Publishes the node and all that its owner wrote before;
 * pairs with stack_try_pop().  False: lost a race. */
static inline bool stack_try_push(struct stack *stack, struct stack_node *node)
{
    /* ck orders stores only; the owner's reads of the node must be done as well
     * (no instruction on x86-64). */
    ck_pr_fence_release();
    return ck_stack_trypush_mpmc(&stack->head, &node->link);
}

/* One try of a pop.  *node is the node, or NULL when the stack is empty.
 * Observes what stack_try_push() published.  False: lost a race. */
static inline bool stack_try_pop(struct stack *stack, struct stack_node **node)
{
    ck_stack_entry_t *entry = NULL;
    if (ck_pr_load_ptr(&stack->head.head) == NULL) {
        *node = NULL;
        return true;
    }
    bool done = ck_stack_trypop_mpmc(&stack->head, &entry);
    ck_pr_fence_acquire();
    *node = (struct stack_node *)(void *)entry;
    return done;
}

/* The top node at this moment, for a prefetch: another thread may have it
 * already.  NULL: there is none. */
static inline void *stack_peek(struct stack *stack)
{
    return ck_pr_load_ptr(&stack->head.head);
}

#else /* PARTYALLOC_STACK_C11 */

#include "os.h"

struct stack_node {
    _Atomic(struct stack_node *) next;
};

/* The head: an address and a generation of 17 or 16 bits above it.  Enough for
 * a race checker's run, too few for a title's. */
struct stack {
    _Alignas(16) _Atomic(uint64_t) head;
};

enum { STACK_GENERATION_SHIFT = ADDRESS_BITS };
#define STACK_ADDRESS ((UINT64_C(1) << STACK_GENERATION_SHIFT) - 1)

/* As above. */
static inline bool stack_try_push(struct stack *stack, struct stack_node *node)
{
    uint64_t head = atomic_load_explicit(&stack->head, memory_order_relaxed);
    atomic_store_explicit(&node->next,
                          (struct stack_node *)(head & STACK_ADDRESS),
                          memory_order_relaxed);
    uint64_t update = (head & ~STACK_ADDRESS) | (uint64_t)(uintptr_t)node;
    return atomic_compare_exchange_strong_explicit(&stack->head, &head, update,
                                                   memory_order_release,
                                                   memory_order_relaxed);
}

/* As above.  Relaxed: nothing is read there. */
static inline void *stack_peek(struct stack *stack)
{
    return (void *)(atomic_load_explicit(&stack->head, memory_order_relaxed) &
                    STACK_ADDRESS);
}

/* As above. */
static inline bool stack_try_pop(struct stack *stack, struct stack_node **node)
{
    uint64_t head = atomic_load_explicit(&stack->head, memory_order_acquire);
    *node = (struct stack_node *)(head & STACK_ADDRESS);
    if (*node == NULL)
        return true;
    uint64_t next = (uint64_t)(uintptr_t)atomic_load_explicit(
        &(*node)->next, memory_order_relaxed);
    uint64_t generation =
        (head & ~STACK_ADDRESS) + (UINT64_C(1) << STACK_GENERATION_SHIFT);
    /* Acquire again: a release sequence may have been continued by a push. */
    return atomic_compare_exchange_strong_explicit(
        &stack->head, &head, generation | next, memory_order_acq_rel,
        memory_order_relaxed);
}

#endif

/* Pushes; returns how many races it lost. */
static inline unsigned stack_push(struct stack *stack, struct stack_node *node)
{
    unsigned retries = 0;
    while (!stack_try_push(stack, node))
        retries++;
    return retries;
}

/* Pops, NULL when empty; adds to *retries how many races it lost. */
static inline struct stack_node *stack_pop(struct stack *stack,
                                           unsigned *retries)
{
    struct stack_node *node;
    while (!stack_try_pop(stack, &node))
        ++*retries;
    return node;
}

_Static_assert(_Alignof(struct stack) >= 16, "16-byte compare-and-swap");

#endif
