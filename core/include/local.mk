pkgincludedir = $(includedir)/cairn
pkginclude_HEADERS = %D%/cairn/slice.h %D%/cairn/errors.h %D%/cairn/message.h %D%/cairn/operations.h \
	%D%/cairn/plugin.h %D%/cairn/engine.h %D%/cairn/replication.h %D%/cairn/gateway.h %D%/cairn/client.h

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = core/cairn.pc
EXTRA_DIST += core/README.md
