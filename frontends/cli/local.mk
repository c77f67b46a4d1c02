# The shell command cairn, over libcairn. Its parts are a library, so that tests link them without main.
if WITH_CLI
bin_PROGRAMS += bin/cairn
noinst_LTLIBRARIES += libcli.la
libcli_la_SOURCES = %D%/cli.h %D%/arguments.c %D%/verbs.c %D%/pages.c %D%/help.c %D%/manual.c %D%/text.c %D%/text.h \
	%D%/output.c %D%/request.c %D%/keys.c %D%/data.c %D%/listing.c %D%/folders.c %D%/txn.c %D%/cluster.c \
	%D%/admin.c %D%/shell.c %D%/edit.c %D%/edit.h %D%/complete.c %D%/proxy.c
libcli_la_CPPFLAGS = $(BASE_CPPFLAGS) -I$(top_srcdir)/core/client $(EDIT_CFLAGS)
bin_cairn_SOURCES = %D%/main.c
bin_cairn_CPPFLAGS = $(BASE_CPPFLAGS)
bin_cairn_LDADD = libcli.la libclient.la libjson.la libbase.la $(EDIT_LIBS) $(JANSSON_LIBS)
endif
