if WITH_ENGINE_BITCASK
dist_man_MANS += %D%/cairn-engine-bitcask.7
pkglib_LTLIBRARIES += engine-bitcask.la
endif
# All of it, for the plugin and for tests that put their own system calls below it.
noinst_LTLIBRARIES += libbitcask.la
libbitcask_la_SOURCES = %D%/bitcask.c %D%/handle.h %D%/folder.c %D%/load.c %D%/read.c %D%/write.c %D%/merge.c %D%/repair.c \
	%D%/cache.c %D%/cache.h %D%/zip.c %D%/zip.h %D%/records.c %D%/records.h %D%/keydir.c %D%/keydir.h %D%/keybuild.c %D%/keybuild.h \
	%D%/keynode.c %D%/keynode.h %D%/versions.c %D%/versions.h
libbitcask_la_CPPFLAGS = $(BASE_CPPFLAGS) $(ZSTD_CFLAGS)
libbitcask_la_LIBADD = $(ZSTD_LIBS)
engine_bitcask_la_SOURCES =
engine_bitcask_la_LDFLAGS = $(PLUGIN_LDFLAGS)
engine_bitcask_la_LIBADD = libbitcask.la libbase.la
EXTRA_DIST += %D%/README.md %D%/format.md

check_PROGRAMS += t/unit/u-keydir t/unit/u-bitcask-crash t/unit/u-bitcask t/unit/u-bitcask-format
TESTS += t/unit/u-keydir t/unit/u-bitcask-crash t/unit/u-bitcask t/unit/u-bitcask-format
t_unit_u_keydir_SOURCES = t/unit/u-keydir.c %D%/keydir.c %D%/keynode.c %D%/versions.c
t_unit_u_keydir_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_keydir_LDADD = libbase.la
t_unit_u_keydir_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=slab_take
t_unit_u_bitcask_crash_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_bitcask_crash_LDADD = libbitcask.la libbase.la
t_unit_u_bitcask_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_bitcask_LDADD = libbitcask.la libbase.la
t_unit_u_bitcask_format_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_bitcask_format_LDADD = libbitcask.la libbase.la
BATS += t/2200-bitcask.bats
EXTRA_DIST += t/unit/bitcask-sample.inc
