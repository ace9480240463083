/* SPDX-License-Identifier: MIT */
/* The options: from the environment or the API, fixed at the first block. */
#ifndef PARTYALLOC_OPTIONS_H
#define PARTYALLOC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Fixes the options: called when the first thread cache is made. */
void options_fix(void);

/* Valid after options_fix(). */
bool option_checked(void);
bool option_huge_pages(void);
size_t option_cache_bytes(void);

/* Whether allocate and free leave giving memory back to upkeep: a title that
 * has reserved memory wants no kernel calls from them. */
bool option_quiet(void);
void options_be_quiet(void);

#endif
