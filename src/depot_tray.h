/* SPDX-License-Identifier: MIT */
/* The depot's trays of single blocks (depot_give_one(), depot_take_one()), as
 * the rest of the depot sees them. */
#ifndef PARTYALLOC_DEPOT_TRAY_H
#define PARTYALLOC_DEPOT_TRAY_H

#include <stdint.h>

/* Makes the memory of all trays present ahead of use. */
void tray_reserve(void);

/* Brings the single blocks of a class to rest; the second only if they are the
 * same as at its last call. */
void tray_drain(unsigned class);
void tray_drain_idle(unsigned class);

/* How many there are of a class. */
uint64_t tray_count(unsigned class);

#endif
