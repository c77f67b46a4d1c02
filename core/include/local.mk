pkgincludedir = $(includedir)/cairn
pkginclude_HEADERS = %D%/cairn/slice.h %D%/cairn/errors.h %D%/cairn/message.h %D%/cairn/operations.h \
	%D%/cairn/plugin.h %D%/cairn/engine.h %D%/cairn/replication.h %D%/cairn/client.h
