# SPDX-License-Identifier: MIT
# Measures partyalloc beside other allocators.  Built and run by hand only.

EXTRA_PROGRAMS += %D%/bench
%C%_bench_SOURCES = \
	%D%/allocator.c %D%/allocator.h \
	%D%/bench.c \
	%D%/burst.h \
	%D%/clock.c %D%/clock.h \
	%D%/frame.c \
	%D%/histogram.c %D%/histogram.h \
	%D%/large.c \
	%D%/latency.c %D%/latency.h \
	%D%/local.c \
	%D%/memory.c \
	%D%/queue.c \
	%D%/random.c %D%/random.h \
	%D%/run.c %D%/run.h \
	%D%/server.c \
	%D%/sharing.c \
	%D%/threads.c \
	%D%/trace.c %D%/trace.h \
	%D%/trim.c \
	%D%/workloads.c %D%/workloads.h
%C%_bench_CFLAGS = $(PARTYALLOC_CFLAGS) -fno-builtin-malloc -fno-builtin-free
%C%_bench_LDADD = $(PTHREAD_LIBS) -lm

PARTYALLOC_BENCH = \
	BENCH_PROGRAM=$(abs_builddir)/%D%/bench \
	BENCH_RESULTS=$(abs_builddir)/bench-results \
	GNUPLOT=$(GNUPLOT) bash $(abs_srcdir)/%D%/run.sh

# What is fast, what comes back, and what huge pages change.
bench: libpartyalloc.la %D%/bench$(EXEEXT)
	$(AM_V_at)$(PARTYALLOC_BENCH) speed
bench-memory: libpartyalloc.la %D%/bench$(EXEEXT)
	$(AM_V_at)$(PARTYALLOC_BENCH) memory
bench-huge: libpartyalloc.la %D%/bench$(EXEEXT)
	$(AM_V_at)$(PARTYALLOC_BENCH) huge
PHONY_TARGETS += bench bench-memory bench-huge

CLEANFILES += %D%/bench$(EXEEXT)
clean-local:
	rm -rf bench-results
nobase_dist_doc_DATA += %D%/README.md
EXTRA_DIST += %D%/run.sh %D%/summary.awk %D%/plot.sh
