# What scripts/bench runs: a load generator for a node, and the store in one process; built with the tests.
check_PROGRAMS += %D%/load %D%/store
t_bench_load_SOURCES = %D%/load.c
t_bench_load_CPPFLAGS = $(BASE_CPPFLAGS)
t_bench_load_LDADD = libbase.la
t_bench_store_SOURCES = %D%/store.c t/lib/storehouse.h
t_bench_store_CPPFLAGS = $(TEST_CPPFLAGS)
t_bench_store_LDADD = libstore.la libloader.la libbase.la
BATS += t/1900-bench.bats
