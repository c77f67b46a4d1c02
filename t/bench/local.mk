# What scripts/bench runs: a load generator for a node, the store in one process, and engines beside the bare libraries; built with the tests.
check_PROGRAMS += %D%/load %D%/store %D%/engines
t_bench_load_SOURCES = %D%/load.c
t_bench_load_CPPFLAGS = $(BASE_CPPFLAGS)
t_bench_load_LDADD = libbase.la
t_bench_store_SOURCES = %D%/store.c t/lib/storehouse.h
t_bench_store_CPPFLAGS = $(TEST_CPPFLAGS)
t_bench_store_LDADD = libstore.la libloader.la libbase.la
t_bench_engines_SOURCES = %D%/engines.c %D%/engines.h %D%/bare.c
t_bench_engines_CPPFLAGS = $(TEST_CPPFLAGS) $(LMDB_CFLAGS)
t_bench_engines_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_bench_engines_LDADD = libloader.la libbase.la $(LEVELDB_LIBS) $(LMDB_LIBS) $(ROCKSDB_LIBS)
# What a disk allows: one write and one sync at a time; and a durable volume without a socket.
check_PROGRAMS += %D%/sync %D%/durable
t_bench_sync_CPPFLAGS = $(BASE_CPPFLAGS)
t_bench_durable_CPPFLAGS = $(TEST_CPPFLAGS)
t_bench_durable_LDADD = $(DAEMON_LIBS)
# Two states of an engine, by turns.
check_PROGRAMS += %D%/turns
t_bench_turns_CPPFLAGS = $(TEST_CPPFLAGS)
t_bench_turns_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_bench_turns_LDADD = libloader.la libbase.la
# A load generator for the Redis protocol, and a counter of malloc for the program that it is loaded into.
check_PROGRAMS += %D%/resp
check_LTLIBRARIES += t/lib/mallocs.la
t_lib_mallocs_la_SOURCES = %D%/mallocs.c
t_lib_mallocs_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
EXTRA_DIST += %D%/redis.bash
# The bare core of replication-raft.
check_PROGRAMS += %D%/raft
t_bench_raft_CPPFLAGS = $(BASE_CPPFLAGS)
t_bench_raft_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_bench_raft_LDADD = libbase.la -ldl
BATS += t/1900-bench.bats t/1910-bench-redis.bats
# The mount: calls on files, and the least that a file system on libfuse costs.
check_PROGRAMS += %D%/files
t_bench_files_CPPFLAGS = $(BASE_CPPFLAGS)
t_bench_files_LDADD = libbase.la
if WITH_FUSE
check_PROGRAMS += %D%/floor
t_bench_floor_CPPFLAGS = $(BASE_CPPFLAGS) $(FUSE_CFLAGS)
t_bench_floor_LDADD = $(FUSE_LIBS)
endif
EXTRA_DIST += %D%/floor.c %D%/mount.bash
