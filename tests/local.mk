# SPDX-License-Identifier: MIT
#
# "make check".  Every test is a program or a script of its own that prints
# TAP; its first lines say what it is about.  A source here that no makefile
# names fails the test tests/every_file_is_listed.sh.

# --- What the tests share ----------------------------------------------------

# Unless it says otherwise, a program is a test through the public header,
# against the product.
AM_CFLAGS += $(CMOCKA_CFLAGS)
LDADD = %D%/libsupport.la libpartyalloc.la $(CMOCKA_LIBS) $(PTHREAD_LIBS)
# Through the internal headers, against the parts.
white_box_cflags = $(AM_CFLAGS) -I$(top_srcdir)/src $(PARTYALLOC_STACK_CFLAGS)
white_box_ldadd = %D%/libparts.la %D%/libsupport.la src/libpartyalloc-core.la \
	$(CMOCKA_LIBS) $(PARTYALLOC_CORE_LIBADD)
# With the product loaded at run time.
loading_cflags = $(AM_CFLAGS) \
	-DLIBRARY_PATH='"$(abs_top_builddir)/.libs/libpartyalloc.so"' \
	-DLATE_MODULE_PATH='"$(abs_builddir)/%D%/.libs/late_module.so"'
loading_ldadd = %D%/libsupport.la $(CMOCKA_LIBS) $(PTHREAD_LIBS) $(DL_LIBS)

# --- Tests of the public interface -------------------------------------------

if HAVE_CMOCKA

check_LTLIBRARIES += %D%/libsupport.la
%C%_libsupport_la_SOURCES = %D%/support.c %D%/support.h %D%/blocks.c \
	%D%/figures.c

public_tests = \
	%D%/absurd_sizes \
	%D%/contract_aligned \
	%D%/contract_reallocate \
	%D%/contract_sizes \
	%D%/contract_waste \
	%D%/contract_zeroed \
	%D%/cross_thread \
	%D%/first_call \
	%D%/forked_child \
	%D%/frozen_thread \
	%D%/idle_threads \
	%D%/late_free \
	%D%/memory_levels_off \
	%D%/memory_limit \
	%D%/memory_returns \
	%D%/misuse_double_free \
	%D%/misuse_pointers \
	%D%/no_malloc \
	%D%/options \
	%D%/random_load \
	%D%/reserved_memory \
	%D%/service_thread \
	%D%/short_threads \
	%D%/signals \
	%D%/small_machine \
	%D%/statistics \
	%D%/thread_exit \
	%D%/write_after_free
check_PROGRAMS += $(public_tests)
TESTS += $(public_tests)

# --- Tests of the parts ------------------------------------------------------

# What several of these share.
check_LTLIBRARIES += %D%/libparts.la
%C%_libparts_la_SOURCES = %D%/caches.c %D%/caches.h %D%/mapped.h \
	%D%/slabs.c %D%/slabs.h
%C%_libparts_la_CFLAGS = $(white_box_cflags)

white_box_tests = \
	%D%/huge_pages \
	%D%/misuse_anywhere \
	%D%/system_call_faults \
	%D%/unit_chunk \
	%D%/unit_claim \
	%D%/unit_depot \
	%D%/unit_large \
	%D%/unit_large_bounds \
	%D%/unit_large_kept \
	%D%/unit_large_overflow \
	%D%/unit_large_pages \
	%D%/unit_large_places \
	%D%/unit_large_unused \
	%D%/unit_metadata \
	%D%/unit_os \
	%D%/unit_os_account \
	%D%/unit_page_map \
	%D%/unit_reserve \
	%D%/unit_shortage \
	%D%/unit_size_class \
	%D%/unit_slab \
	%D%/unit_slab_index \
	%D%/unit_slab_local \
	%D%/unit_slab_purge \
	%D%/unit_slab_retire \
	%D%/unit_slab_threads \
	%D%/unit_stack \
	%D%/unit_thread_cache \
	%D%/unit_thread_cache_idle \
	%D%/unit_thread_cache_medium \
	%D%/unit_thread_cache_room
check_PROGRAMS += $(white_box_tests)
TESTS += $(white_box_tests)

%C%_huge_pages_CFLAGS = $(white_box_cflags)
%C%_huge_pages_LDADD = $(white_box_ldadd)
%C%_misuse_anywhere_CFLAGS = $(white_box_cflags)
%C%_misuse_anywhere_LDADD = $(white_box_ldadd)
%C%_system_call_faults_CFLAGS = $(white_box_cflags)
%C%_system_call_faults_LDADD = $(white_box_ldadd)
%C%_unit_chunk_CFLAGS = $(white_box_cflags)
%C%_unit_chunk_LDADD = $(white_box_ldadd)
%C%_unit_claim_CFLAGS = $(white_box_cflags)
%C%_unit_claim_LDADD = $(white_box_ldadd)
%C%_unit_depot_CFLAGS = $(white_box_cflags)
%C%_unit_depot_LDADD = $(white_box_ldadd)
%C%_unit_large_CFLAGS = $(white_box_cflags)
%C%_unit_large_LDADD = $(white_box_ldadd)
%C%_unit_large_bounds_CFLAGS = $(white_box_cflags)
%C%_unit_large_bounds_LDADD = $(white_box_ldadd)
%C%_unit_large_kept_CFLAGS = $(white_box_cflags)
%C%_unit_large_kept_LDADD = $(white_box_ldadd)
%C%_unit_large_overflow_CFLAGS = $(white_box_cflags)
%C%_unit_large_overflow_LDADD = $(white_box_ldadd)
%C%_unit_large_pages_CFLAGS = $(white_box_cflags)
%C%_unit_large_pages_LDADD = $(white_box_ldadd)
%C%_unit_large_places_CFLAGS = $(white_box_cflags)
%C%_unit_large_places_LDADD = $(white_box_ldadd)
%C%_unit_large_unused_CFLAGS = $(white_box_cflags)
%C%_unit_large_unused_LDADD = $(white_box_ldadd)
%C%_unit_metadata_CFLAGS = $(white_box_cflags)
%C%_unit_metadata_LDADD = $(white_box_ldadd)
%C%_unit_os_CFLAGS = $(white_box_cflags)
%C%_unit_os_LDADD = $(white_box_ldadd)
%C%_unit_os_account_CFLAGS = $(white_box_cflags)
%C%_unit_os_account_LDADD = $(white_box_ldadd)
%C%_unit_page_map_CFLAGS = $(white_box_cflags)
%C%_unit_page_map_LDADD = $(white_box_ldadd)
%C%_unit_reserve_CFLAGS = $(white_box_cflags)
%C%_unit_reserve_LDADD = $(white_box_ldadd)
%C%_unit_shortage_CFLAGS = $(white_box_cflags)
%C%_unit_shortage_LDADD = $(white_box_ldadd)
%C%_unit_size_class_CFLAGS = $(white_box_cflags)
%C%_unit_size_class_LDADD = $(white_box_ldadd)
%C%_unit_slab_CFLAGS = $(white_box_cflags)
%C%_unit_slab_LDADD = $(white_box_ldadd)
%C%_unit_slab_index_CFLAGS = $(white_box_cflags)
%C%_unit_slab_index_LDADD = $(white_box_ldadd)
%C%_unit_slab_local_CFLAGS = $(white_box_cflags)
%C%_unit_slab_local_LDADD = $(white_box_ldadd)
%C%_unit_slab_purge_CFLAGS = $(white_box_cflags)
%C%_unit_slab_purge_LDADD = $(white_box_ldadd)
%C%_unit_slab_retire_CFLAGS = $(white_box_cflags)
%C%_unit_slab_retire_LDADD = $(white_box_ldadd)
%C%_unit_slab_threads_CFLAGS = $(white_box_cflags)
%C%_unit_slab_threads_LDADD = $(white_box_ldadd)
%C%_unit_stack_CFLAGS = $(white_box_cflags)
%C%_unit_stack_LDADD = $(white_box_ldadd)
%C%_unit_thread_cache_CFLAGS = $(white_box_cflags)
%C%_unit_thread_cache_LDADD = $(white_box_ldadd)
%C%_unit_thread_cache_idle_CFLAGS = $(white_box_cflags)
%C%_unit_thread_cache_idle_LDADD = $(white_box_ldadd)
%C%_unit_thread_cache_medium_CFLAGS = $(white_box_cflags)
%C%_unit_thread_cache_medium_LDADD = $(white_box_ldadd)
%C%_unit_thread_cache_room_CFLAGS = $(white_box_cflags)
%C%_unit_thread_cache_room_LDADD = $(white_box_ldadd)

# --- Tests of two threads in every order -------------------------------------

if INTERLEAVE
# The parts once more, in steps, and what looks into blocks; the stacks of C11
# atomics, since what ck does is one instruction.  In the place of the thread
# sanitizer's own library stands %D%/weak_memory_hooks.c.
interleaved_cflags = $(white_box_cflags) \
	-UPARTYALLOC_STACK_C11 -DPARTYALLOC_STACK_C11=1 \
	-UPARTYALLOC_CHECKS -DPARTYALLOC_CHECKS=1 -fsanitize=thread
interleaved_ldflags = $(AM_LDFLAGS) -fno-sanitize=thread
interleaved_ldadd = %D%/libinterleaving.la %D%/libinterleaved.la \
	%D%/libsupport.la $(CMOCKA_LIBS) $(PARTYALLOC_CORE_LIBADD)
check_LTLIBRARIES += %D%/libinterleaved.la %D%/libinterleaving.la
%C%_libinterleaved_la_SOURCES = $(src_libpartyalloc_core_la_SOURCES) \
	%D%/blocks.c %D%/slabs.c %D%/slabs.h
%C%_libinterleaved_la_CFLAGS = $(interleaved_cflags)
%C%_libinterleaving_la_SOURCES = %D%/data_race.c %D%/interleaving.c \
	%D%/interleaving.h %D%/weak_memory.c %D%/weak_memory.h \
	%D%/weak_memory_hooks.c
%C%_libinterleaving_la_CFLAGS = $(white_box_cflags)

interleaved_tests = \
	%D%/interleaved_large \
	%D%/interleaved_litmus \
	%D%/interleaved_parts \
	%D%/interleaved_slabs \
	%D%/interleaved_threads
check_PROGRAMS += $(interleaved_tests)
TESTS += $(interleaved_tests)

%C%_interleaved_large_CFLAGS = $(interleaved_cflags)
%C%_interleaved_large_LDFLAGS = $(interleaved_ldflags)
%C%_interleaved_large_LDADD = $(interleaved_ldadd)
%C%_interleaved_litmus_CFLAGS = $(interleaved_cflags)
%C%_interleaved_litmus_LDFLAGS = $(interleaved_ldflags)
%C%_interleaved_litmus_LDADD = $(interleaved_ldadd)
%C%_interleaved_parts_CFLAGS = $(interleaved_cflags)
%C%_interleaved_parts_LDFLAGS = $(interleaved_ldflags)
%C%_interleaved_parts_LDADD = $(interleaved_ldadd)
%C%_interleaved_slabs_CFLAGS = $(interleaved_cflags)
%C%_interleaved_slabs_LDFLAGS = $(interleaved_ldflags)
%C%_interleaved_slabs_LDADD = $(interleaved_ldadd)
%C%_interleaved_threads_CFLAGS = $(interleaved_cflags)
%C%_interleaved_threads_LDFLAGS = $(interleaved_ldflags)
%C%_interleaved_threads_LDADD = $(interleaved_ldadd)

# With SCHEDULES orders of two changes, instead of some hundred.
interleavings: $(interleaved_tests)
	for test in $(interleaved_tests); do \
		SCHEDULES=$${SCHEDULES:-1000} ./$$test || exit 1; \
	done
PHONY_TARGETS += interleavings
endif INTERLEAVE

# --- Tests that load the library while they run ------------------------------

loading_tests = %D%/library_loading %D%/thread_keys
check_PROGRAMS += $(loading_tests)
TESTS += $(loading_tests)

%C%_library_loading_SOURCES = %D%/library_loading.c %D%/loaded_library.c \
	%D%/loaded_library.h
%C%_library_loading_CFLAGS = $(loading_cflags)
%C%_library_loading_LDADD = $(loading_ldadd)
EXTRA_%C%_library_loading_DEPENDENCIES = libpartyalloc.la %D%/late_module.la
%C%_thread_keys_SOURCES = %D%/thread_keys.c %D%/loaded_library.c \
	%D%/loaded_library.h
%C%_thread_keys_CFLAGS = $(loading_cflags)
# Its own versions of two functions are to be found by the library.
%C%_thread_keys_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
%C%_thread_keys_LDADD = $(loading_ldadd)
EXTRA_%C%_thread_keys_DEPENDENCIES = libpartyalloc.la

# -rpath makes libtool build a shared object of what is not installed.
check_LTLIBRARIES += %D%/late_module.la
%C%_late_module_la_SOURCES = %D%/late_module.c
%C%_late_module_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version \
	-rpath /nowhere

# Operations are played by this test and by "make fuzz".
check_PROGRAMS += %D%/operation_sequences
TESTS += %D%/operation_sequences
%C%_operation_sequences_SOURCES = %D%/operation_sequences.c \
	%D%/operations.c %D%/operations.h

endif HAVE_CMOCKA

if HAVE_CXX
check_PROGRAMS += %D%/late_free_cpp
TESTS += %D%/late_free_cpp
%C%_late_free_cpp_SOURCES = %D%/late_free_cpp.cpp
%C%_late_free_cpp_LDADD = libpartyalloc.la $(PTHREAD_LIBS)
endif HAVE_CXX

# --- Tests of the sources and of what was built ------------------------------

shell_tests = \
	%D%/every_file_is_listed.sh \
	%D%/exported_names.sh \
	%D%/fast_path.sh \
	%D%/function_length.sh \
	%D%/include_directions.sh \
	%D%/shared_object.sh
TESTS += $(shell_tests)

# What fast_path.sh wants to know of the build.
build_extras = $(PARTYALLOC_SANITIZER_FLAGS)$(PARTYALLOC_COVERAGE_CFLAGS)$(build_checks)
if CHECKS
build_checks = checks
endif
AM_TESTS_ENVIRONMENT = \
	BUILD_COMPILER='$(CC) $(CFLAGS)'; export BUILD_COMPILER; \
	BUILD_EXTRAS='$(build_extras)'; export BUILD_EXTRAS;
EXTRA_DIST += $(shell_tests) %D%/tap.sh

# --- Longer runs, by targets of their own ------------------------------------

PHONY_TARGETS += model stress fuzz mutants

# Models of the lock-free parts, checked by Spin.
model:
	srcdir=$(srcdir) CC='$(CC)' $(SHELL) $(srcdir)/%D%/model/run.sh

# Random loads with new random numbers, for STRESS_SECONDS.
stress: %D%/random_load
	LOAD_SECONDS=$${STRESS_SECONDS:-30} ./%D%/random_load

# Sequences of calls that libFuzzer makes up, for FUZZ_SECONDS.
fuzz:
	srcdir=$(srcdir) $(SHELL) $(srcdir)/%D%/fuzz.sh $(fuzz_flags)
# clang's sanitizer objects to ck's generation counter: a pointer, from NULL.
fuzz_flags = $(DEFS) -UPARTYALLOC_STACK_C11 -DPARTYALLOC_STACK_C11=1 \
	-UPARTYALLOC_CHECKS -DPARTYALLOC_CHECKS=1 $(PARTYALLOC_STD_CFLAGS)

# Small faults in a copy of the sources, which the tests must find.
mutants:
	srcdir=$(srcdir) CC='$(CC)' CFLAGS='$(CFLAGS)' \
		$(SHELL) $(srcdir)/%D%/mutants/run.sh
clean-local: clean-mutants
clean-mutants:
	rm -rf mutants
PHONY_TARGETS += clean-mutants

EXTRA_DIST += %D%/fuzz.sh %D%/fuzzer.c %D%/mutants/list.sh %D%/mutants/run.sh
EXTRA_DIST += %D%/model/claim.pml %D%/model/depot.pml %D%/model/slab.pml \
	%D%/model/run.sh
