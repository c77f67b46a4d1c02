if WITH_REPLICATION_RAFT
pkglib_LTLIBRARIES += replication-raft.la
endif
replication_raft_la_SOURCES = %D%/raft.h %D%/raft.c %D%/members.c %D%/log.c %D%/message.c %D%/election.c %D%/leader.c %D%/follower.c \
	%D%/read.c
replication_raft_la_CPPFLAGS = $(BASE_CPPFLAGS)
replication_raft_la_LDFLAGS = $(PLUGIN_LDFLAGS)
EXTRA_DIST += %D%/README.md
