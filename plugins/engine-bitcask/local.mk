if WITH_ENGINE_BITCASK
dist_man_MANS += %D%/cairn-engine-bitcask.7
pkglib_LTLIBRARIES += engine-bitcask.la
endif
engine_bitcask_la_SOURCES = %D%/bitcask.c %D%/handle.h %D%/folder.c %D%/load.c %D%/read.c %D%/write.c %D%/merge.c \
	%D%/record.c %D%/record.h %D%/keydir.c %D%/keydir.h %D%/keynode.c %D%/keynode.h %D%/versions.c %D%/versions.h
engine_bitcask_la_CPPFLAGS = $(BASE_CPPFLAGS)
engine_bitcask_la_LDFLAGS = $(PLUGIN_LDFLAGS)
engine_bitcask_la_LIBADD = libbase.la
EXTRA_DIST += %D%/README.md %D%/format.md

check_PROGRAMS += t/unit/u-keydir
TESTS += t/unit/u-keydir
t_unit_u_keydir_SOURCES = t/unit/u-keydir.c %D%/keydir.c %D%/keynode.c %D%/versions.c
t_unit_u_keydir_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_keydir_LDADD = libbase.la
t_unit_u_keydir_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=slab_take

# The engine itself on a simulated disk.
check_PROGRAMS += t/unit/u-bitcask-crash
TESTS += t/unit/u-bitcask-crash
t_unit_u_bitcask_crash_SOURCES = t/unit/u-bitcask-crash.c $(engine_bitcask_la_SOURCES)
t_unit_u_bitcask_crash_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_bitcask_crash_LDADD = libbase.la
