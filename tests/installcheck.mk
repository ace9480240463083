# SPDX-License-Identifier: MIT
#
# `make installcheck`: builds consumers the way a user would, through the
# installed pkg-config file, and runs them.

EXTRA_DIST += %D%/closed_module.c %D%/consumer.c %D%/consumer.cpp

installcheck_dir = %D%/installcheck
installcheck_env = PKG_CONFIG_PATH=$(DESTDIR)$(pkgconfigdir) \
	PKG_CONFIG_SYSROOT_DIR=$(DESTDIR) PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
	PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
installcheck_pc = env $(installcheck_env) $(PKG_CONFIG)
installcheck_run = env LD_LIBRARY_PATH=$(DESTDIR)$(libdir)
installcheck_cc = $(CC) $(PARTYALLOC_STD_CFLAGS) $(PARTYALLOC_WARN_CFLAGS) \
	-pedantic $(PARTYALLOC_SANITIZER_FLAGS) \
	$(PARTYALLOC_COVERAGE_LDFLAGS) $(CFLAGS)
installcheck_cxx = $(CXX) $(PARTYALLOC_STD_CXXFLAGS) \
	$(PARTYALLOC_WARN_CXXFLAGS) -pedantic -pthread \
	$(PARTYALLOC_SANITIZER_FLAGS) $(PARTYALLOC_COVERAGE_LDFLAGS) $(CXXFLAGS)

# The sources of the consumers are compiled outside of the source tree, where
# no header of ours can be found but the installed one.
installcheck_targets = installcheck-c installcheck-static installcheck-man
if HAVE_CXX
installcheck_targets += installcheck-cxx
endif

installcheck-local: $(installcheck_targets)

PHONY_TARGETS += $(installcheck_targets)

$(installcheck_dir):
	$(AM_V_at)$(MKDIR_P) $@

installcheck-c: | $(installcheck_dir)
	$(AM_V_GEN)$(installcheck_cc) -o $(installcheck_dir)/consumer_c \
	  $(srcdir)/%D%/consumer.c \
	  `$(installcheck_pc) --cflags --libs partyalloc`
	$(AM_V_at)$(installcheck_run) $(installcheck_dir)/consumer_c \
	  `$(installcheck_pc) --modversion partyalloc`

installcheck-cxx: | $(installcheck_dir)
	$(AM_V_GEN)$(installcheck_cxx) -o $(installcheck_dir)/consumer_cxx \
	  $(srcdir)/%D%/consumer.cpp \
	  `$(installcheck_pc) --cflags --libs partyalloc`
	$(AM_V_at)$(installcheck_run) $(installcheck_dir)/consumer_cxx

# The archive: in a program, and whole in a shared object, for which it must
# be position-independent, and which is closed before a thread exits.
installcheck-static: | $(installcheck_dir)
	$(AM_V_GEN)archive=$(DESTDIR)$(libdir)/libpartyalloc.a; \
	test -f $$archive || { echo "  no static archive installed"; exit 0; }; \
	private=`$(installcheck_pc) --static --libs-only-other partyalloc`; \
	$(installcheck_cc) -o $(installcheck_dir)/consumer_static \
	  $(srcdir)/%D%/consumer.c \
	  `$(installcheck_pc) --cflags partyalloc` $$archive $$private && \
	$(installcheck_dir)/consumer_static \
	  `$(installcheck_pc) --modversion partyalloc` && \
	$(installcheck_cc) -shared -o $(installcheck_dir)/embedded.so \
	  -Wl,-z,text -Wl,--whole-archive $$archive -Wl,--no-whole-archive \
	  $$private && \
	$(installcheck_cc) -o $(installcheck_dir)/closed_module \
	  $(srcdir)/%D%/closed_module.c $(PTHREAD_CFLAGS) $(PTHREAD_LIBS) \
	  $(DL_LIBS) && \
	$(installcheck_dir)/closed_module $(installcheck_dir)/embedded.so

# A page for every function of the installed header.
installcheck-man:
	$(AM_V_GEN)for name in partyalloc `$(SED) -n \
	  's/^[a-z].*[ *]\(partyalloc_[a-z_]*\)(.*/\1/p' \
	  $(DESTDIR)$(includedir)/partyalloc.h`; do \
	  test -f $(DESTDIR)$(man3dir)/$$name.3 || { \
	    echo "no manual page: $$name(3)"; exit 1; }; \
	done

CLEANFILES += $(installcheck_dir)/*
