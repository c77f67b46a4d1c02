# The transport between nodes (README.md, format.md): a part of the daemon's library, since it stands on its loop and log.
libdaemon_la_SOURCES += %D%/peer.h %D%/inside.h %D%/frame.h %D%/frame.c %D%/queue.c %D%/resolve.c %D%/link.c \
	%D%/greet.c %D%/join.c %D%/peer.c %D%/key.h %D%/key.c %D%/tls.h
if WITH_OPENSSL
libdaemon_la_SOURCES += %D%/tls.c
else
libdaemon_la_SOURCES += %D%/tls_none.c
endif
libdaemon_la_CPPFLAGS += $(OPENSSL_CFLAGS)
libdaemon_la_LIBADD += $(OPENSSL_LIBS)
EXTRA_DIST += %D%/README.md %D%/format.md
BATS += t/8240-cluster-key.bats

check_PROGRAMS += t/unit/u-peer
TESTS += t/unit/u-peer
t_unit_u_peer_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_peer_LDADD = $(DAEMON_LIBS)
t_unit_u_peer_SOURCES = t/unit/u-peer.c t/lib/peerworld.h
check_PROGRAMS += t/unit/u-peer-tls
TESTS += t/unit/u-peer-tls
t_unit_u_peer_tls_SOURCES = t/unit/u-peer-tls.c t/lib/peerworld.h
t_unit_u_peer_tls_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_peer_tls_LDADD = $(DAEMON_LIBS)
