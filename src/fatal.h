/* SPDX-License-Identifier: MIT */
/*
 * The end of the process after misuse: one line on standard error, SIGABRT.
 * Allocates nothing, takes no lock.
 */
#ifndef PARTYALLOC_FATAL_H
#define PARTYALLOC_FATAL_H

/* Writes "partyalloc: <what> of 0x<pointer>" and aborts. */
_Noreturn void fatal_misuse(const char *what, const void *pointer);

/* Writes "partyalloc: <file>:<line>: broken invariant: <condition>". */
_Noreturn void fatal_check(const char *file, int line, const char *condition);

#endif
