/* SPDX-License-Identifier: MIT */
/*
 * A model for Spin of how the cache of an idle thread is claimed: as in
 * src/thread_cache_claim.c, and cache_enter() and cache_leave().
 *
 * The thread's stores to `entered` wait in its processor's store buffer, as on
 * x86-64, and reach memory in order, at some time.  The claimer's barrier
 * empties the buffer; the claimer's compare-and-swaps, and that of the thread
 * at its end, find the buffer empty or empty it.
 *
 * What is asserted:
 *   - the cache is used by one of the two at a time;
 *   - when both are done, it was given up once, while nobody used it, and
 *     counts as entered.
 *
 * Mutants, each of which must be found:
 *   NO_BARRIER     the claimer trusts what it sees
 *   LATE_ENTERED   a thread looks for a claim before it shows that it enters
 *   NOT_COMPARED   a claim ends without checking whether the thread has
 *   FORGOTTEN      a thread at its end gives up the cache even if it is claimed
 */

#define ROUNDS 2 /* slow paths of the thread, and claims */

#define NONE 0
#define MADE 1
#define LEFT_BEHIND 2

bool entered = true; /* the thread got its cache by a slow path */
byte claim = NONE;
byte users = 1;
byte given_up = 0;
byte done = 0;
chan stores = [3] of { bool }; /* of `entered`, on their way to memory */

inline use()
{
    users++;
    assert(users == 1)
}

inline give_up()
{
    assert(users == 0);
    given_up++
}

inline empty_buffer()
{
    d_step {
        do
        :: stores?entered
        :: empty(stores) -> break
        od
    }
}

/* cache_enter(); its answer is in `got`. */
inline enter()
{
#ifdef LATE_ENTERED
    got = claim == NONE;
    stores!true;
#else
    stores!true;
    got = claim == NONE;
#endif
    if
    :: got
    :: else -> stores!false
    fi
}

inline leave()
{
    users--;
    stores!false
}

active proctype the_thread()
{
    byte i = 0;
    bool got;

    leave();
    do
    :: i == ROUNDS -> break
    :: else ->
       enter();
       if
       :: got -> use(); leave()
       :: else /* borrows another cache */
       fi;
       i++
    od;
    /* cache_enter_last() */
    do
    :: enter();
       if
       :: got -> use(); users--; give_up(); break
       :: else
       fi;
#ifdef FORGOTTEN
       give_up();
       break;
#endif
       empty_buffer();
       atomic {
           if
           :: claim == MADE -> claim = LEFT_BEHIND; break
           :: else
           fi
       }
    od;
    done++
}

inline unclaim()
{
#ifdef NOT_COMPARED
    claim = NONE;
#else
    atomic {
        left = claim != MADE;
        if
        :: left
        :: else -> claim = NONE
        fi
    };
    if
    :: left -> entered = true; claim = NONE; give_up()
    :: else
    fi
#endif
}

active proctype the_claimer()
{
    byte i = 0;
    bool made;
    bool left;

    do
    :: i == ROUNDS -> break
    :: else ->
       atomic {
           made = !entered && claim == NONE;
           if
           :: made -> claim = MADE
           :: else
           fi
       };
       if
       :: made ->
#ifndef NO_BARRIER
          empty_buffer();
#endif
          if
          :: !entered -> use(); users--
          :: else
          fi;
          unclaim()
       :: else
       fi;
       i++
    od;
    done++
}

/* The buffer, which may empty at any time. */
active proctype the_buffer()
{
end:
    do
    :: stores?entered
    od
}

active proctype at_the_end()
{
    done == 2 && empty(stores);
    assert(users == 0);
    assert(given_up == 1);
    assert(entered)
}
