/* SPDX-License-Identifier: MIT */
/*
 * A model for Spin of how a slab's blocks at rest are found again: the count
 * of them, the right to take them, and the list of slabs that have some.
 *
 * As in src/slab_return.c, a return sets the state of a block, then counts it,
 * then lists the slab unless someone holds it.  As in src/slab.c, a fill of a
 * magazine takes the slab off the list, holds it, searches it, corrects the
 * count, lets go, and lists it again if the count is not zero.
 *
 * What is asserted:
 *   - a block is taken by one thread only;
 *   - when all are done, a slab with a block at rest is on the list, and
 *     nobody holds it;
 *   - a fill ends after a few tries, whichever thread stands still: with
 *     FREEZE any of them may stop for ever, at any step.
 *
 * Mutants, each of which must be found:
 *   HELD_FIRST      a return looks for a holder before it counts
 *   LIST_FIRST      a fill lists the slab before it lets go of it
 *   NO_LIST         a fill that lets go trusts the others to list the slab
 *   NO_SETTLE       (with FREEZE) a fill subtracts only what it found
 */

#define BLOCKS 2
#define WANTED 3 /* by a fill: more than there are */
#define ROUNDS 2 /* of each thread */
#define TRIES_MAX 12

#define OUT 0
#define REST 1

byte block_state[BLOCKS];
byte owners[BLOCKS];
short resting = 0;
bool held = false;
bool listed = false;
byte done = 0;

#ifdef FREEZE
#define STEP if :: true :: true -> goto frozen fi
#else
#define STEP skip
#endif

/* slab_list() */
inline list()
{
    seen = resting;
    STEP;
    if
    :: seen != 0 -> listed = true
    :: else
    fi
}

/* slab_return() of one block, and rested() */
inline give_back(block)
{
    owners[block]--;
    block_state[block] = REST;
    STEP;
#ifdef HELD_FIRST
    was_held = held;
    STEP;
    atomic { before = resting; resting++ };
#else
    atomic { before = resting; resting++ };
    STEP;
    was_held = held;
#endif
    STEP;
    if
    :: !was_held && before == 0 -> list()
    :: else
    fi
}

/* One look through all blocks, for as many as there are. */
inline search()
{
    i = 0;
    do
    :: i == BLOCKS -> break
    :: else ->
       if
       :: block_state[i] == REST ->
          atomic {
              owners[i]++;
              assert(owners[i] == 1);
              block_state[i] = OUT;
              mine = mine | (1 << i);
              count++
          }
       :: else
       fi;
       STEP;
       i++
    od
}

inline settle()
{
    gone = count;
#ifndef NO_SETTLE
    if
    :: count < WANTED && (seen_resting < 0 || gone < seen_resting) ->
       gone = seen_resting /* a count below zero is a very high one */
    :: else
    fi;
#endif
    STEP;
    resting = resting - gone
}

inline let_go()
{
#ifdef LIST_FIRST
    list();
    STEP;
    held = false
#else
    held = false;
    STEP;
#ifndef NO_LIST
    list()
#endif
#endif
}

/* slab_fill() of one block; none: a new slab would be made. */
inline fill()
{
    count = 0;
    tries = 0;
    do
    :: count > 0 -> break
    :: else ->
       atomic { got = listed; listed = false };
       STEP;
       if
       :: !got -> break
       :: else
       fi;
       atomic { got = !held; held = true };
       STEP;
       if
       :: got ->
          seen_resting = resting;
          STEP;
          if
          :: seen_resting != 0 -> search(); settle()
          :: else
          fi;
          STEP;
          let_go()
       :: else
       fi;
       tries++;
       assert(tries <= TRIES_MAX)
    od
}

/* Returns all it has. */
inline give_all_back()
{
    if
    :: (mine & 1) != 0 -> give_back(0)
    :: else
    fi;
    if
    :: (mine & 2) != 0 -> give_back(1)
    :: else
    fi;
    mine = 0
}

proctype thread(byte first)
{
    short seen, before, seen_resting, gone;
    byte i, count, mine, tries, round;
    bool was_held, got;

    mine = first;
    do
    :: round == ROUNDS -> break
    :: else ->
       round++;
       if
       :: give_all_back()
       :: skip /* and wants more */
       fi;
       STEP;
       fill()
    od;
    give_all_back();
    done++;
frozen:
    skip
}

proctype reaper()
{
    /* For ever, if a thread stands still: no error. */
end_of_waiting:
    done == 2;
    d_step {
        assert(!held);
        assert(block_state[0] == REST && block_state[1] == REST);
        assert(listed)
    }
}

init {
    atomic {
        owners[0] = 1;
        owners[1] = 1;
        run thread(1);
        run thread(2);
        run reaper()
    }
}
