# The mount.
FUSE_PARTS = %D%/keymap.c %D%/keymap.h %D%/content.c %D%/content.h
if WITH_FUSE
check_PROGRAMS += t/unit/u-keymap t/unit/u-content
TESTS += t/unit/u-keymap t/unit/u-content
t_unit_u_keymap_SOURCES = t/unit/u-keymap.c %D%/keymap.c
t_unit_u_keymap_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_keymap_LDADD =
t_unit_u_content_SOURCES = t/unit/u-content.c %D%/content.c
t_unit_u_content_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/%D%
t_unit_u_content_LDADD =
endif
EXTRA_DIST += $(FUSE_PARTS)
