if WITH_ENGINE_MEMORY
dist_man_MANS += %D%/cairn-engine-memory.7
pkglib_LTLIBRARIES += engine-memory.la
endif
engine_memory_la_SOURCES = %D%/memory.c
engine_memory_la_CPPFLAGS = $(BASE_CPPFLAGS)
engine_memory_la_LDFLAGS = $(PLUGIN_LDFLAGS)
engine_memory_la_LIBADD = libbase.la
EXTRA_DIST += %D%/README.md
