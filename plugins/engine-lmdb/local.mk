if WITH_LMDB
dist_man_MANS += %D%/cairn-engine-lmdb.7
pkglib_LTLIBRARIES += engine-lmdb.la
endif
engine_lmdb_la_SOURCES = %D%/lmdb.c %D%/handle.h %D%/readers.c %D%/read.c %D%/write.c %D%/folder.c \
	%D%/tree.c %D%/file.h %D%/format.h %D%/map.c %D%/map.h %D%/compact.c
engine_lmdb_la_CPPFLAGS = $(BASE_CPPFLAGS) $(LMDB_CFLAGS)
engine_lmdb_la_LDFLAGS = $(PLUGIN_LDFLAGS)
engine_lmdb_la_LIBADD = libbase.la $(LMDB_LIBS)

EXTRA_DIST += %D%/README.md %D%/format.md

check_PROGRAMS += t/unit/u-lmdb
TESTS += t/unit/u-lmdb
t_unit_u_lmdb_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_lmdb_LDADD = libloader.la libbase.la
BATS += t/2300-lmdb.bats t/2400-convert.bats
