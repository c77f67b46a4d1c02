# The transport between nodes (README.md, format.md): a part of the daemon's library, since it stands on its loop and log.
libdaemon_la_SOURCES += %D%/peer.h %D%/inside.h %D%/frame.h %D%/frame.c %D%/queue.c %D%/resolve.c %D%/link.c \
	%D%/greet.c %D%/peer.c
EXTRA_DIST += %D%/README.md %D%/format.md

check_PROGRAMS += t/unit/u-peer
TESTS += t/unit/u-peer
t_unit_u_peer_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_peer_LDADD = $(DAEMON_LIBS)
