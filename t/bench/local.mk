# The load generator of scripts/bench; built with the tests.
check_PROGRAMS += %D%/load
t_bench_load_SOURCES = %D%/load.c
t_bench_load_CPPFLAGS = $(BASE_CPPFLAGS)
t_bench_load_LDADD = libbase.la
BATS += t/1900-bench.bats
