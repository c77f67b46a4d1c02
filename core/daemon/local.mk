# The daemon's own parts are a convenience library, so that unit tests link the same objects.
noinst_LTLIBRARIES += libdaemon.la
libdaemon_la_SOURCES = %D%/loop.c %D%/loop.h %D%/pool.c %D%/pool.h %D%/log.c %D%/log.h %D%/settings.c %D%/settings.h \
	%D%/node.c %D%/node.h %D%/room.c %D%/room.h %D%/stamp.c %D%/stamp.h %D%/shard.c %D%/shard.h %D%/shard_inside.h %D%/shard_open.c %D%/shard_step.c \
	%D%/cluster.c %D%/cluster_key.c %D%/cluster_news.c %D%/cluster.h %D%/replica.c %D%/replica.h %D%/replica_log.c %D%/replica_wire.c %D%/replica_chase.c %D%/replica_snapshot.c %D%/replica_install.c %D%/replica_write.c %D%/replica_read.c \
	%D%/shard_apply.c %D%/shard_flush.c %D%/shard_upkeep.c %D%/overlay.c %D%/overlay.h %D%/checkpoint.c %D%/checkpoint_salvage.c %D%/checkpoint.h %D%/volume.c %D%/volume.h %D%/volumes.h \
	%D%/volume_parameters.c %D%/volume_folder.c %D%/volume_row.c %D%/volume_change.c %D%/volume_retry.c \
	%D%/volume_flush.c %D%/volume_convert.c %D%/volume_follow.c %D%/volume_start.c \
	%D%/offline.c %D%/offline_journal.c %D%/offline_mend.c %D%/offline.h
libdaemon_la_CPPFLAGS = $(DAEMON_CPPFLAGS) $(INIH_CFLAGS)
libdaemon_la_LIBADD = $(UV_LIBS) $(INIH_LIBS)

DAEMON_LIBS = libdaemon.la libjournal.la libloader.la libstore.la libjson.la libbase.la $(JANSSON_LIBS) $(UV_LIBS)

sbin_PROGRAMS += sbin/cairnd
sbin_cairnd_SOURCES = %D%/main.c
sbin_cairnd_CPPFLAGS = $(DAEMON_CPPFLAGS)
sbin_cairnd_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
sbin_cairnd_LDADD = libcontrol.la $(DAEMON_LIBS)

check_PROGRAMS += t/unit/u-loop t/unit/u-shard t/unit/u-shard-tick t/unit/u-settings t/unit/u-stamp
TESTS += t/unit/u-loop t/unit/u-shard t/unit/u-shard-tick t/unit/u-settings t/unit/u-stamp
t_unit_u_stamp_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_stamp_LDADD = $(DAEMON_LIBS)
t_unit_u_loop_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_loop_LDADD = $(DAEMON_LIBS)
t_unit_u_shard_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_shard_LDADD = $(DAEMON_LIBS)
t_unit_u_shard_tick_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_shard_tick_LDADD = $(DAEMON_LIBS)
t_unit_u_settings_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_settings_LDADD = $(DAEMON_LIBS)

check_PROGRAMS += t/unit/u-overlay
TESTS += t/unit/u-overlay
t_unit_u_overlay_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_overlay_LDADD = $(DAEMON_LIBS)

# An engine whose writes fail on demand, for tests; named by its path.
check_LTLIBRARIES += t/lib/engine-faulty.la
t_lib_engine_faulty_la_SOURCES = t/lib/engine-faulty.c
t_lib_engine_faulty_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath /nowhere

# Moves the wall clock of a program that it is preloaded into.
check_LTLIBRARIES += t/lib/wallclock.la
t_lib_wallclock_la_SOURCES = t/lib/wallclock.c
t_lib_wallclock_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere

BATS += t/6100-expiry.bats
BATS += t/1000-daemon.bats t/1010-settings.bats t/1020-volumes.bats t/3000-replication-none.bats t/3010-journal.bats
dist_doc_DATA += %D%/examples/laptop.conf %D%/examples/server.conf %D%/examples/cache.conf

check_PROGRAMS += t/lib/crashload
t_lib_crashload_CPPFLAGS = $(BASE_CPPFLAGS)
t_lib_crashload_LDADD = libclient.la libbase.la
check_PROGRAMS += t/lib/crashmixed
t_lib_crashmixed_CPPFLAGS = $(BASE_CPPFLAGS)
t_lib_crashmixed_LDADD = libclient.la libbase.la
BATS += t/8000-kill9.bats t/8010-full-disk.bats t/2600-engines.bats
EXTRA_DIST += %D%/README.md
