# The mount.
FUSE_SOURCES = %D%/cairnfs.c %D%/mount.h %D%/task.c %D%/coroutine.c %D%/coroutine.h %D%/txn.c %D%/lookup.c \
	%D%/commit.c %D%/file.c %D%/change.c %D%/rename.c %D%/folder.c %D%/xattr.c %D%/node.c %D%/node.h \
	%D%/cache.c %D%/guard.c %D%/guard.h %D%/notify.c %D%/notify.h %D%/content.c %D%/content.h %D%/facts.c %D%/facts.h %D%/options.c %D%/options.h %D%/keymap.c %D%/keymap.h
if WITH_FUSE
bin_PROGRAMS += bin/cairnfs
bin_cairnfs_SOURCES = $(FUSE_SOURCES)
bin_cairnfs_CPPFLAGS = $(BASE_CPPFLAGS) -I$(top_srcdir)/%D% $(FUSE_CFLAGS)
bin_cairnfs_LDADD = libclient.la libbase.la $(FUSE_LIBS)
dist_man_MANS += man/cairnfs.8
check_PROGRAMS += t/unit/u-keymap t/unit/u-content t/unit/u-facts t/unit/u-node
TESTS += t/unit/u-keymap t/unit/u-content t/unit/u-facts t/unit/u-node
t_unit_u_keymap_SOURCES = t/unit/u-keymap.c %D%/keymap.c
t_unit_u_keymap_CPPFLAGS = -I$(top_srcdir)/%D% $(TEST_CPPFLAGS)
t_unit_u_keymap_LDADD =
t_unit_u_content_SOURCES = t/unit/u-content.c %D%/content.c
t_unit_u_content_CPPFLAGS = -I$(top_srcdir)/%D% $(TEST_CPPFLAGS)
t_unit_u_content_LDADD =
t_unit_u_facts_SOURCES = t/unit/u-facts.c %D%/facts.c %D%/options.c
t_unit_u_facts_CPPFLAGS = -I$(top_srcdir)/%D% $(TEST_CPPFLAGS)
t_unit_u_facts_LDADD = libbase.la
t_unit_u_node_SOURCES = t/unit/u-node.c %D%/node.c %D%/content.c %D%/facts.c
t_unit_u_node_CPPFLAGS = -I$(top_srcdir)/%D% $(TEST_CPPFLAGS)
t_unit_u_node_LDADD = libbase.la
endif
EXTRA_DIST += $(FUSE_SOURCES) %D%/README.md
BATS += t/5000-mount-files.bats t/5010-mount-programs.bats t/5020-mount-faults.bats t/5030-mount-model.bats \
	t/5040-mount-posix.bats t/5050-mount-saves.bats t/5060-mount-system.bats t/5070-mount-restart.bats
EXTRA_DIST += t/mount/tree.py t/mount/file.py t/mount/posix.py t/lib/mount.bash
