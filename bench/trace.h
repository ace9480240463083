/* SPDX-License-Identifier: MIT */
/*
 * Resident memory over time, sampled by a thread of its own.
 */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include "run.h"

/* Samples until trace_stop(), which writes to run->trace one line a sample:
 * milliseconds since the start, and KiB above the baseline. */
void trace_start(const struct run *run);
void trace_stop(void);

#endif
