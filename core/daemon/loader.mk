# The plugin loader and the engine host: used by the daemon and by the tests that load engines themselves.
noinst_LTLIBRARIES += libloader.la
libloader_la_SOURCES = %D%/loader.c %D%/loader.h %D%/engine.c %D%/engine.h
libloader_la_CPPFLAGS = $(DAEMON_CPPFLAGS)

check_PROGRAMS += t/unit/u-engine
TESTS += t/unit/u-engine
t_unit_u_engine_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_engine_LDADD = libloader.la libbase.la
