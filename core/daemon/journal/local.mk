# The journal (README.md, format.md).
noinst_LTLIBRARIES += libjournal.la
libjournal_la_SOURCES = %D%/journal.h %D%/inside.h %D%/batch.h %D%/batch.c %D%/scan.h %D%/scan.c %D%/shards.c \
	%D%/segment.c %D%/recover.c %D%/writer.c %D%/journal.c %D%/inspect.h %D%/inspect.c
libjournal_la_CPPFLAGS = $(DAEMON_CPPFLAGS)
EXTRA_DIST += %D%/README.md %D%/format.md

check_PROGRAMS += t/unit/u-journal t/unit/u-journal-crash
TESTS += t/unit/u-journal t/unit/u-journal-crash
t_unit_u_journal_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_journal_LDADD = libjournal.la libbase.la
t_unit_u_journal_crash_SOURCES = t/unit/u-journal-crash.c t/lib/simdisk.h
t_unit_u_journal_crash_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_journal_crash_LDADD = libjournal.la libbase.la
BATS += t/3020-journal-files.bats t/3030-journal-repair.bats t/3040-durable-memory.bats

# Makes calls of a program fail that it is preloaded into.
check_LTLIBRARIES += t/lib/failcall.la
t_lib_failcall_la_SOURCES = t/lib/failcall.c
t_lib_failcall_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
BATS += t/8020-failed-calls.bats

check_PROGRAMS += t/unit/u-checkpoint
TESTS += t/unit/u-checkpoint
t_unit_u_checkpoint_SOURCES = t/unit/u-checkpoint.c t/lib/storehouse.h
t_unit_u_checkpoint_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_checkpoint_LDADD = $(DAEMON_LIBS)
