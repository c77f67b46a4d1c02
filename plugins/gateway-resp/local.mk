if WITH_GATEWAY_RESP
dist_man_MANS += %D%/cairn-gateway-resp.7
pkglib_LTLIBRARIES += gateway-resp.la
endif
gateway_resp_la_SOURCES = %D%/resp.c %D%/resp.h %D%/reader.c %D%/reader.h %D%/reply.c %D%/reply.h %D%/text.c \
	%D%/commands.c %D%/families.h %D%/strings.c %D%/keys.c %D%/connection.c %D%/server.c \
	%D%/clients.c %D%/scans.c %D%/cairn.c %D%/multi.c %D%/notify.c %D%/large.c %D%/glob.c %D%/instead.c
gateway_resp_la_CPPFLAGS = $(BASE_CPPFLAGS)
gateway_resp_la_LDFLAGS = $(PLUGIN_LDFLAGS)
gateway_resp_la_LIBADD = libbase.la -lm
EXTRA_DIST += %D%/README.md
BATS += t/7000-resp.bats
