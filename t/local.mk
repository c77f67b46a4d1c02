# Tests. Each folder's local.mk adds its C tests to check_PROGRAMS and TESTS, and its bats files to BATS; all
# of them speak TAP. `make check` runs everything that is not tagged slow, each file for TEST_SECONDS at most.
TEST_EXTENSIONS = .bats
TAP_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(TAP_DRIVER)
BATS_LOG_DRIVER = $(TAP_DRIVER)
BATS_FLAGS = --filter-tags '!slow'
TEST_SECONDS = 600
LOG_COMPILER = $(top_srcdir)/t/lib/limit $(TEST_SECONDS)
BATS_LOG_COMPILER = $(LOG_COMPILER) bats --tap $(BATS_FLAGS)
AM_TESTS_ENVIRONMENT = \
	CAIRN_BUILD='$(abs_top_builddir)'; export CAIRN_BUILD; \
	CAIRN_SOURCE='$(abs_top_srcdir)'; export CAIRN_SOURCE; \
	CAIRN_PLUGIN_PATH='$(abs_top_builddir)/.libs'; export CAIRN_PLUGIN_PATH; \
	ASAN_OPTIONS='detect_leaks=1:abort_on_error=0:verify_asan_link_order=0'; export ASAN_OPTIONS; \
	UBSAN_OPTIONS='print_stacktrace=1'; export UBSAN_OPTIONS; \
	TSAN_OPTIONS='halt_on_error=1:second_deadlock_stack=1:suppressions=$(abs_top_srcdir)/t/lib/tsan.supp'; export TSAN_OPTIONS;
TEST_CPPFLAGS = $(DAEMON_CPPFLAGS) -I$(top_srcdir)/t/lib

check_PROGRAMS += t/unit/u-message
TESTS += t/unit/u-message
t_unit_u_message_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_message_LDADD = libbase.la

TESTS += $(BATS)
EXTRA_DIST += $(BATS) %D%/lib/tap.h %D%/lib/limit

cairndir = $(datadir)/cairn
dist_cairn_DATA = %D%/lib/cairn.bash
EXTRA_DIST += %D%/lib/tsan.supp %D%/lib/engines.bash

check_PROGRAMS += t/unit/u-base
TESTS += t/unit/u-base
t_unit_u_base_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_base_LDADD = libbase.la
BATS += %D%/0000-build.bats %D%/0100-docs.bats %D%/0120-style.bats
