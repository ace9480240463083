# SPDX-License-Identifier: MIT

# One page per group of functions.
dist_man_MANS += \
	%D%/man/partyalloc.3 \
	%D%/man/partyalloc_allocate.3 \
	%D%/man/partyalloc_free.3 \
	%D%/man/partyalloc_get_stats.3 \
	%D%/man/partyalloc_reallocate.3 \
	%D%/man/partyalloc_set_option.3 \
	%D%/man/partyalloc_thread_flush.3 \
	%D%/man/partyalloc_trim.3 \
	%D%/man/partyalloc_usable_size.3 \
	%D%/man/partyalloc_version.3

# The other functions of a group are found under their own names: pages that
# consist of a reference.
man_links_allocate = \
	%D%/man/partyalloc_allocate_aligned.3 \
	%D%/man/partyalloc_allocate_zeroed.3
man_links_reallocate = \
	%D%/man/partyalloc_reallocate_aligned.3
man_links_trim = \
	%D%/man/partyalloc_maintain.3 \
	%D%/man/partyalloc_reserve.3 \
	%D%/man/partyalloc_set_limit.3 \
	%D%/man/partyalloc_start_service_thread.3 \
	%D%/man/partyalloc_stop_service_thread.3
man_links_usable_size = \
	%D%/man/partyalloc_good_size.3
man_links = $(man_links_allocate) $(man_links_reallocate) $(man_links_trim) \
	$(man_links_usable_size)

nodist_man_MANS += $(man_links)
CLEANFILES += $(man_links)

man_link = $(MKDIR_P) %D%/man && echo ".so man3/$$page.3" > $@

$(man_links_allocate):
	$(AM_V_GEN)page=partyalloc_allocate; $(man_link)

$(man_links_reallocate):
	$(AM_V_GEN)page=partyalloc_reallocate; $(man_link)

$(man_links_trim):
	$(AM_V_GEN)page=partyalloc_trim; $(man_link)

$(man_links_usable_size):
	$(AM_V_GEN)page=partyalloc_usable_size; $(man_link)

# Whether the pages are well-formed.
lint-man:
	$(AM_V_GEN)cd $(srcdir)/%D%/man && $(MANDOC) -T lint -W warning *.3

PHONY_TARGETS += lint-man

# With their folders, so that the links from one to another hold.
nobase_dist_doc_DATA += %D%/concurrency.md %D%/design.md \
	%D%/experiments.md %D%/performance.md

# Folders that are empty now, of those that the installation made.
uninstall-hook:
	$(AM_V_at)folder="$(DESTDIR)$(docdir)"; \
	rmdir "$$folder/doc" "$$folder/bench" "$$folder/examples" "$$folder" \
	  2>/dev/null || :
