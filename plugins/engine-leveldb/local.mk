if WITH_ENGINE_LEVELDB
dist_man_MANS += %D%/cairn-engine-leveldb.7
pkglib_LTLIBRARIES += engine-leveldb.la
endif
engine_leveldb_la_SOURCES = %D%/leveldb.c %D%/handle.h %D%/read.c %D%/write.c \
	%D%/cache.c %D%/cache.h %D%/folder.c %D%/folder.h %D%/logfile.c %D%/logfile.h %D%/table.c %D%/table.h
engine_leveldb_la_CPPFLAGS = $(BASE_CPPFLAGS)
# libleveldb has one thread that never ends: its code must stay, also when the plugin is let go.
engine_leveldb_la_LDFLAGS = $(PLUGIN_LDFLAGS) -Wl,-z,nodelete
engine_leveldb_la_LIBADD = libbase.la -lleveldb

check_PROGRAMS += t/unit/u-leveldb
TESTS += t/unit/u-leveldb
t_unit_u_leveldb_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_leveldb_LDADD = libloader.la libbase.la

check_PROGRAMS += t/unit/u-logfile
TESTS += t/unit/u-logfile
t_unit_u_logfile_SOURCES = t/unit/u-logfile.c %D%/logfile.c %D%/table.c
t_unit_u_logfile_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_logfile_LDADD = libbase.la
BATS += t/2100-leveldb-damage.bats
EXTRA_DIST += %D%/README.md %D%/format.md
