/* SPDX-License-Identifier: MIT */
/*
 * A model of the depot for Spin: two lock-free stacks, of full and of empty
 * magazines, and the threads that exchange magazines through them.
 *
 * As in src/stack.h, a push compares and swaps the head alone; a pop compares
 * and swaps the head together with a generation, which it raises.  The link of
 * a magazine is read while another thread may own it already: magazines are
 * never unmapped.  As in src/depot.c and src/thread_cache.c, a thread takes
 * full magazines, gives them back, drains them (their blocks come to rest),
 * fills empty ones with blocks at rest, and hands on all it has when it dies.
 *
 * What is asserted, at every moment:
 *   - a magazine that is popped has no other owner;
 *   - a block that is taken has no other owner;
 *   - a fork shows each magazine in one place at most;
 * and when all threads are dead:
 *   - every magazine and every block is in exactly one place.
 *
 * Mutants, each of which must be found:
 *   NO_GENERATION       a pop compares the head alone
 *   BATCH_POP           a drain takes a whole stack and leaves the generation
 *   LATE_DETACH         a magazine is pushed before the cache lets go of it
 *   BATCH_POP_RAISES    (with BATCH_POP: no mutant, this must pass again)
 *   NO_RECHECK          a pop stores the head instead of comparing it
 *   LOST_AT_DEATH       a dying thread forgets what it has loaded
 *
 * Spin's memory is sequentially consistent: the fences are left to the thread
 * sanitizer and to the comments in src/stack.h.
 */

#ifndef MAGAZINES
#define MAGAZINES 3
#endif
#ifndef THREADS
#define THREADS 2
#endif
#ifndef STEPS
#define STEPS 3
#endif

#define NONE 0 /* magazines and blocks count from 1 */
#define FULL 0
#define EMPTY 1
#define SLOTS 2 /* of a cache: loaded and spare */

/* What the compare-and-swap of a pop compares. */
#if defined(NO_RECHECK)
#define UNCHANGED(stack) (true)
#elif defined(NO_GENERATION)
#define UNCHANGED(stack) (head[stack] == seen_head)
#else
#define UNCHANGED(stack) \
    (head[stack] == seen_head && generation[stack] == seen_generation)
#endif

byte head[2];
byte generation[2];
byte link[MAGAZINES + 1];
byte contents[MAGAZINES + 1]; /* of a magazine: one block, or NONE */

byte magazine_owners[MAGAZINES + 1];
byte block_owners[MAGAZINES + 1];
bool at_rest[MAGAZINES + 1];

/* What the caches show to a fork. */
byte shown[THREADS * SLOTS];
byte dead = 0;

inline push(stack, magazine)
{
    do
    :: seen_head = head[stack];
       link[magazine] = seen_head;
       atomic {
           if
           :: head[stack] == seen_head ->
              head[stack] = magazine;
              break
           :: else
           fi
       }
    od
}

inline pop(stack, magazine)
{
    do
    :: seen_generation = generation[stack];
       seen_head = head[stack];
       if
       :: seen_head == NONE -> magazine = NONE; break
       :: else
       fi;
       seen_link = link[seen_head];
       atomic {
           if
           :: UNCHANGED(stack) ->
              head[stack] = seen_link;
              generation[stack]++;
              magazine = seen_head;
              break
           :: else
           fi
       }
    od
}

/* The owner's side of a magazine: two owners would meet here. */
inline own(magazine)
{
    atomic {
        magazine_owners[magazine]++;
        assert(magazine_owners[magazine] == 1)
    }
}

inline disown(magazine)
{
    magazine_owners[magazine]--
}

inline own_block(block)
{
    atomic {
        block_owners[block]++;
        assert(block_owners[block] == 1)
    }
}

inline take_full(slot)
{
    pop(FULL, magazine);
    if
    :: magazine != NONE ->
       own(magazine);
       own_block(contents[magazine]);
       shown[slot] = magazine
    :: else
    fi
}

/* Detached first, then pushed: a fork between the two loses it. */
inline give_full(slot)
{
    magazine = shown[slot];
    block_owners[contents[magazine]]--;
    disown(magazine);
#ifdef LATE_DETACH
    push(FULL, magazine);
    shown[slot] = NONE
#else
    shown[slot] = NONE;
    push(FULL, magazine)
#endif
}

/* Its block comes to rest, and the empty magazine goes to the others. */
inline drain(slot)
{
    magazine = shown[slot];
    shown[slot] = NONE;
    block = contents[magazine];
    contents[magazine] = NONE;
    block_owners[block]--;
    at_rest[block] = true;
    disown(magazine);
    push(EMPTY, magazine)
}

/* An empty magazine is filled with a block at rest, whose slab the thread
 * holds for the moment. */
inline fill(slot)
{
    pop(EMPTY, magazine);
    if
    :: magazine != NONE ->
       own(magazine);
       atomic {
           block = 1;
           do
           :: block > MAGAZINES -> block = NONE; break
           :: block <= MAGAZINES && at_rest[block] ->
              at_rest[block] = false; break
           :: block <= MAGAZINES && !at_rest[block] -> block++
           od
       }
       if
       :: block != NONE ->
          own_block(block);
          contents[magazine] = block;
          shown[slot] = magazine
       :: else ->
          disown(magazine);
          push(EMPTY, magazine)
       fi
    :: else
    fi
}

#ifdef BATCH_POP
/* All full magazines at once, as ck_stack_batch_pop_mpmc() does: the head
 * becomes NULL, the generation stays.  The first is kept, the others go back. */
inline take_all_full(slot)
{
    atomic {
        magazine = head[FULL];
        head[FULL] = NONE;
#ifdef BATCH_POP_RAISES
        generation[FULL]++
#endif
    };
    if
    :: magazine != NONE ->
       seen_link = link[magazine];
       own(magazine);
       own_block(contents[magazine]);
       shown[slot] = magazine;
       do
       :: seen_link == NONE -> break
       :: else ->
          magazine = seen_link;
          seen_link = link[magazine];
          own(magazine);
          disown(magazine);
          rest = seen_link;
          push(FULL, magazine);
          seen_link = rest
       od
    :: else
    fi
}
#endif

proctype thread(byte first_slot)
{
    byte seen_head, seen_generation, seen_link, magazine, block, slot, rest;
    byte step = 0;

    do
    :: step == STEPS -> break
    :: step < STEPS ->
       step++;
       if
       :: slot = first_slot
       :: slot = first_slot + 1
       fi;
       if
       :: shown[slot] == NONE -> take_full(slot)
       :: shown[slot] == NONE -> fill(slot)
#ifdef BATCH_POP
       :: shown[slot] == NONE -> take_all_full(slot)
#endif
       :: shown[slot] != NONE -> give_full(slot)
       :: shown[slot] != NONE -> drain(slot)
       fi
    od;
    /* Death: what is left is handed on. */
    slot = first_slot;
    do
    :: slot == first_slot + SLOTS -> break
    :: else ->
       if
       :: shown[slot] != NONE ->
#ifdef LOST_AT_DEATH
          shown[slot] = NONE
#else
          give_full(slot)
#endif
       :: else
       fi;
       slot++
    od;
    dead++
}

/* Counts the places where a magazine shows, as the child of a fork would. */
inline count_places(magazine)
{
    places = 0;
    at = head[FULL];
    hops = 0;
    do
    :: at == NONE || hops > MAGAZINES -> break
    :: else -> places = places + (at == magazine); at = link[at]; hops++
    od;
    at = head[EMPTY];
    hops = 0;
    do
    :: at == NONE || hops > MAGAZINES -> break
    :: else -> places = places + (at == magazine); at = link[at]; hops++
    od;
    at = 0;
    do
    :: at == THREADS * SLOTS -> break
    :: else -> places = places + (shown[at] == magazine); at++
    od
}

/* A fork at any moment, one in each run. */
proctype forker()
{
    byte magazine, places, at, hops;

    d_step {
        magazine = 1;
        do
        :: magazine > MAGAZINES -> break
        :: else ->
           count_places(magazine);
           assert(places <= 1);
           magazine++
        od;
        magazine = 0; places = 0; at = 0; hops = 0
    }
}

/* When all are dead: one place for everything. */
proctype reaper()
{
    byte magazine, places, at, hops;

    dead == THREADS;
    d_step {
        magazine = 1;
        do
        :: magazine > MAGAZINES -> break
        :: else ->
           count_places(magazine);
           assert(places == 1);
           assert(magazine_owners[magazine] == 0);
           assert(block_owners[magazine] == 0);
           magazine++
        od;
        /* A block at rest is in no magazine, any other in exactly one. */
        magazine = 1;
        do
        :: magazine > MAGAZINES -> break
        :: else ->
           places = at_rest[magazine];
           at = 1;
           do
           :: at > MAGAZINES -> break
           :: else -> places = places + (contents[at] == magazine); at++
           od;
           assert(places == 1);
           magazine++
        od
    }
}

init {
    byte i;

    d_step {
        i = 1;
        do
        :: i > MAGAZINES -> break
        :: else ->
           contents[i] = i;
           link[i] = head[FULL];
           head[FULL] = i;
           i++
        od
    };
    atomic {
        i = 0;
        do
        :: i == THREADS -> break
        :: else -> run thread(i * SLOTS); i++
        od;
        run forker();
        run reaper()
    }
}
