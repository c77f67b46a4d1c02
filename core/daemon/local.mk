# The daemon's own parts are a convenience library, so that unit tests link the same objects.
noinst_LTLIBRARIES += libdaemon.la
libdaemon_la_SOURCES = %D%/loop.c %D%/loop.h %D%/pool.c %D%/pool.h %D%/log.c %D%/log.h %D%/settings.c %D%/settings.h \
	%D%/node.c %D%/node.h %D%/shard.c %D%/shard.h %D%/volume.c %D%/volume.h
libdaemon_la_CPPFLAGS = $(DAEMON_CPPFLAGS) $(INIH_CFLAGS)
libdaemon_la_LIBADD = $(UV_LIBS) $(INIH_LIBS)

sbin_PROGRAMS += sbin/cairnd
sbin_cairnd_SOURCES = %D%/main.c
sbin_cairnd_CPPFLAGS = $(DAEMON_CPPFLAGS)
sbin_cairnd_LDADD = libcontrol.la libdaemon.la libloader.la libstore.la libjson.la libbase.la $(JANSSON_LIBS) $(UV_LIBS)
