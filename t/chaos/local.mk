# Clusters of real nodes, tormented.
check_PROGRAMS += t/chaos/chaos
t_chaos_chaos_SOURCES = %D%/chaos.c %D%/nodes.c %D%/nodes.h %D%/clients.c %D%/clients.h %D%/history.c %D%/history.h \
	t/sim/linear.c t/sim/linear.h
t_chaos_chaos_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/t/sim
t_chaos_chaos_LDADD = libclient.la
BATS += t/8300-chaos.bats
EXTRA_DIST += %D%/README.md
