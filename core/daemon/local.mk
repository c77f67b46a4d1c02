# The daemon's own parts, a convenience library so that unit tests link the same objects.
noinst_LTLIBRARIES += libdaemon.la
libdaemon_la_SOURCES = %D%/loop.c %D%/loop.h %D%/pool.c %D%/pool.h %D%/log.h %D%/settings.h
libdaemon_la_CPPFLAGS = $(DAEMON_CPPFLAGS)
libdaemon_la_LIBADD = $(UV_LIBS)
EXTRA_DIST += %D%/node.h %D%/shard.h %D%/volume.h
