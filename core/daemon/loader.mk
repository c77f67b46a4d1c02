# The plugin loader and the engine host: used by the daemon and by the tests that load engines themselves.
noinst_LTLIBRARIES += libloader.la
libloader_la_SOURCES = %D%/loader.c %D%/loader.h %D%/engine.c %D%/engine.h
libloader_la_CPPFLAGS = $(DAEMON_CPPFLAGS)

check_PROGRAMS += t/unit/u-engine
TESTS += t/unit/u-engine
t_unit_u_engine_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_engine_LDADD = libloader.la libbase.la

# What a program that loads plugins gives them: the functions of cairn/errors.h.
EXPORT_CAIRN = -Wl,--export-dynamic-symbol='cairn_*'

check_LTLIBRARIES += t/plugins/odd.la
t_plugins_odd_la_SOURCES = t/plugins/odd.c
t_plugins_odd_la_CPPFLAGS = $(AM_CPPFLAGS)
t_plugins_odd_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath /nowhere

check_PROGRAMS += t/unit/u-loader
TESTS += t/unit/u-loader
t_unit_u_loader_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_loader_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_unit_u_loader_LDADD = libloader.la libbase.la
BATS += t/2020-loader.bats

# Has the C library's file calls itself, for the engines and their libraries too.
check_PROGRAMS += t/unit/u-power
TESTS += t/unit/u-power
BATS += t/2500-power.bats
t_unit_u_power_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_power_LDFLAGS = $(AM_LDFLAGS) -Wl,--export-dynamic
t_unit_u_power_LDADD = libloader.la libbase.la
EXTRA_DIST += t/lib/powerdisk.h
