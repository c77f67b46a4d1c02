# The control socket, the operation table and metrics.
noinst_LTLIBRARIES += libcontrol.la
libcontrol_la_SOURCES = %D%/control.c %D%/control.h %D%/listen.c %D%/listen.h %D%/gateway.c %D%/gateway.h %D%/gateway_inside.h %D%/conn.c %D%/conn.h %D%/json_face.c %D%/binary_face.c \
	%D%/binary_face.h %D%/operation.c %D%/operation.h %D%/op_data.c %D%/op_admin.c %D%/op_cluster.c %D%/op_snapshot.c %D%/op_upkeep.c %D%/op_journal.c %D%/op_watch.c %D%/watches.c %D%/watches.h %D%/metrics.c %D%/metrics.h
libcontrol_la_CPPFLAGS = $(DAEMON_CPPFLAGS)
BATS += t/4000-control.bats

check_PROGRAMS += t/unit/u-operation
TESTS += t/unit/u-operation
t_unit_u_operation_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_operation_LDADD = libcontrol.la $(DAEMON_LIBS)
