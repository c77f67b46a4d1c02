if WITH_REPLICATION_NONE
pkglib_LTLIBRARIES += replication-none.la
endif
replication_none_la_SOURCES = %D%/none.c
replication_none_la_CPPFLAGS = $(BASE_CPPFLAGS)
replication_none_la_LDFLAGS = $(PLUGIN_LDFLAGS)
EXTRA_DIST += %D%/README.md
