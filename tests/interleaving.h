/* SPDX-License-Identifier: MIT */
/*
 * Two threads in every order.
 *
 * The library's own code, built so that each access to an atomic object is a
 * step (weak_memory_hooks.c), is run by two threads of which one goes on at a
 * time: the first up to a certain step, the other one up to a certain step of
 * its own, and so on.  Each such schedule has a process of its own, which
 * begins in the same state, so that a fault comes again with its schedule.
 *
 * All schedules with one change of thread are run.  Of those with two and with
 * three, all or as many as are allowed, drawn with an even chance.
 *
 * Loads return what C11 allows them to (weak_memory.h): in some schedules
 * always the newest value, in some always the oldest, in others one by chance.
 */
#ifndef INTERLEAVING_H
#define INTERLEAVING_H

typedef void interleaved_body(void);

struct interleaving {
    interleaved_body *set_up; /* alone, before both; NULL: nothing is */
    interleaved_body *bodies[2];
    interleaved_body *check; /* alone, after both have ended */
};

/*
 * Asserts that no schedule ends the process: by require(), as misuse that was
 * found, or by a signal.  Else the schedule is shown.  SCHEDULE in the
 * environment names a single one to be run, SCHEDULES how many with two changes
 * are run at the most.
 */
void assert_interleavings(const struct interleaving *scenario);

/* The same, of a thread of bodies[0] that has run something else before, alone.
 */
void assert_interleavings_after(interleaved_body *prelude,
                                const struct interleaving *scenario);

/* Asserts that each ends it, with a line that contains `fault`.  Loads return
 * the newest values only: when two threads free one block at the same moment,
 * how soon that is found depends on what they see of each other. */
void assert_interleavings_stop(const struct interleaving *scenario,
                               const char *fault);

/* Forks in a body, and runs another one in the child, alone. */
void fork_in_turn(interleaved_body *body);

/* Writes to a block as its owner may: a data race unless the last owner's
 * accesses happen before. */
static inline void use_block(void *block)
{
    *(volatile char *)block = 1;
}

/* --- for the hooks of the compiler --- */

/* Which thread of an interleaving this is; -1: none. */
int interleaving_thread(void);

/* The same, in front of a step. */
int interleaving_step(void);

#endif
