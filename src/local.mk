# SPDX-License-Identifier: MIT
# The core is a convenience library, which the white-box tests link; the
# product is that library behind the symbol map.

noinst_LTLIBRARIES += src/libpartyalloc-core.la
src_libpartyalloc_core_la_SOURCES = \
	src/callbacks.c \
	src/chunk.c src/chunk.h \
	src/compiler.h \
	src/depot.c src/depot.h \
	src/depot_tray.c src/depot_tray.h \
	src/fatal.c src/fatal.h \
	src/large.c src/large.h \
	src/large_kept.c src/large_kept.h \
	src/large_overflow.c src/large_overflow.h \
	src/large_pages.c src/large_pages.h \
	src/large_places.c src/large_places.h src/large_range.h \
	src/magazine.h \
	src/metadata.c src/metadata.h \
	src/options.c src/options.h \
	src/os.h src/os_linux.c src/os_thread.c \
	src/os_account.c src/os_account.h \
	src/page_map.c src/page_map.h \
	src/service.c \
	src/shortage.c src/shortage.h \
	src/size_class.c src/size_class.h \
	src/slab.c src/slab.h src/slab_internal.h src/slab_state.h \
	src/slab_index.c src/slab_index.h \
	src/slab_local.c \
	src/slab_purge.c \
	src/slab_reserve.c \
	src/slab_retire.c \
	src/slab_return.c \
	src/stack.h \
	src/stats.c \
	src/thread.c src/thread.h \
	src/thread_cache.c src/thread_cache.h src/thread_cache_internal.h \
	src/thread_cache_claim.c \
	src/thread_cache_idle.c \
	src/thread_cache_medium.c \
	src/thread_cache_registry.c \
	src/thread_cache_room.c \
	src/upkeep.c
src_libpartyalloc_core_la_CFLAGS = $(PARTYALLOC_CORE_CFLAGS)
src_libpartyalloc_core_la_LIBADD = $(PARTYALLOC_CORE_LIBADD)

lib_LTLIBRARIES += libpartyalloc.la
libpartyalloc_la_SOURCES =
libpartyalloc_la_LIBADD = src/libpartyalloc-core.la $(PARTYALLOC_CORE_LIBADD)
libpartyalloc_la_LDFLAGS = $(PARTYALLOC_PRODUCT_LDFLAGS)
EXTRA_libpartyalloc_la_DEPENDENCIES = src/partyalloc.map
EXTRA_DIST += src/partyalloc.map
