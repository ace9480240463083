# SPDX-License-Identifier: MIT
# Programs that show how partyalloc is used.

# --- The small title, on real traffic ----------------------------------------

if HAVE_ENET
noinst_PROGRAMS += %D%/title
%C%_title_SOURCES = \
	%D%/title.c %D%/title.h \
	%D%/title_allocator.c %D%/title_allocator.h \
	%D%/title_audio.c \
	%D%/title_churn.c %D%/title_churn.h \
	%D%/title_clock.c %D%/title_clock.h \
	%D%/title_figures.c \
	%D%/title_frame.c \
	%D%/title_latency.c %D%/title_latency.h \
	%D%/title_live.c \
	%D%/title_loading.c %D%/title_loading.h \
	%D%/title_message.c %D%/title_message.h \
	%D%/title_net.c %D%/title_net.h \
	%D%/title_network.c \
	%D%/title_options.c %D%/title_options.h \
	%D%/title_player.c %D%/title_player.h \
	%D%/title_queue.c %D%/title_queue.h \
	%D%/title_relay.c %D%/title_relay.h \
	%D%/title_report.c \
	%D%/title_session.c \
	%D%/title_thread.c %D%/title_thread.h \
	%D%/title_watch.c %D%/title_watch.h
%C%_title_CFLAGS = $(PARTYALLOC_CFLAGS) $(ENET_CFLAGS)
%C%_title_LDADD = libpartyalloc.la $(ENET_LIBS) $(PTHREAD_LIBS)
endif HAVE_ENET

# --- Installation in the real SDK --------------------------------------------

# Compiled only: the SDK's library is not part of its headers.  README.md beside
# this file says how to link it.
if HAVE_PARTY_SDK
noinst_LTLIBRARIES += %D%/libparty_title.la
%C%_libparty_title_la_SOURCES = %D%/party_title.cpp
%C%_libparty_title_la_CPPFLAGS = $(AM_CPPFLAGS) $(PARTY_SDK_CPPFLAGS)
endif HAVE_PARTY_SDK

nobase_dist_doc_DATA += %D%/README.md %D%/party_title.cpp
