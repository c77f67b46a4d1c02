# The conformance programs: each holds one kind of plugin against its contract.
check_PROGRAMS += t/conform/engine
t_conform_engine_SOURCES = %D%/engine.c %D%/model.c %D%/model.h
t_conform_engine_CPPFLAGS = $(TEST_CPPFLAGS)
t_conform_engine_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_conform_engine_LDADD = libloader.la libbase.la
BATS += t/2000-conform.bats
