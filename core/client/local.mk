# libcairn: installed as a shared library; libclient.la is the same for our own programs, linked statically.
noinst_LTLIBRARIES += libclient.la
libclient_la_SOURCES = %D%/handle.h %D%/client.c %D%/connection.c %D%/request.c %D%/servers.c %D%/transport.c \
	%D%/call.c %D%/watch.c %D%/fence.c %D%/fence.h %D%/value.c %D%/proxy.c %D%/proxy.h
libclient_la_CPPFLAGS = $(BASE_CPPFLAGS) -DCAIRN_VERSION='"$(PACKAGE_VERSION)"'
libclient_la_LIBADD = libbase.la

lib_LTLIBRARIES += libcairn.la
libcairn_la_SOURCES =
libcairn_la_LIBADD = libclient.la
libcairn_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -export-symbols-regex '^cairn_'

EXTRA_DIST += %D%/README.md

check_PROGRAMS += t/unit/u-client t/unit/u-value
TESTS += t/unit/u-client t/unit/u-value
EXTRA_DIST += t/lib/fake.h
BATS += t/4100-libcairn.bats t/4110-failover.bats t/8100-retry.bats
t_unit_u_client_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_client_LDADD = libclient.la

check_PROGRAMS += t/stress/retry t/stress/counters
EXTRA_DIST += t/stress/node.h
t_stress_counters_CPPFLAGS = $(TEST_CPPFLAGS)
t_stress_counters_LDADD = libclient.la
t_stress_retry_CPPFLAGS = $(TEST_CPPFLAGS)
t_stress_retry_LDADD = libclient.la
t_unit_u_value_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/core/client
t_unit_u_value_LDADD = libclient.la
