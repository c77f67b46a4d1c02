# Code without daemon state: linked into the daemon, into libcairn and into plugins that want it.
noinst_LTLIBRARIES += libbase.la
libbase_la_SOURCES = %D%/errors.c %D%/message.c %D%/operations.c %D%/le.h %D%/fields.h %D%/banned.h \
	%D%/amount.c %D%/amount.h %D%/crc32c.c %D%/crc32c.h %D%/files.c %D%/files.h %D%/sys.c %D%/sys.h %D%/clock.c %D%/clock.h \
	%D%/buffer.c %D%/buffer.h %D%/prometheus.c %D%/prometheus.h %D%/nearest.c %D%/nearest.h \
	%D%/btree.c %D%/btree.h %D%/btree_inside.h %D%/btree_change.c %D%/btree_read.c %D%/slab.c %D%/slab.h
libbase_la_CPPFLAGS = $(BASE_CPPFLAGS)
EXTRA_DIST += %D%/README.md %D%/message.md %D%/stream.md

# The frame of streams: for the daemon and the command line.
noinst_LTLIBRARIES += libstream.la
libstream_la_SOURCES = %D%/stream.c %D%/stream.h
libstream_la_CPPFLAGS = $(BASE_CPPFLAGS) $(ZSTD_CFLAGS)
libstream_la_LIBADD = $(ZSTD_LIBS)

# Messages as JSON: for the daemon and the command line, not for libcairn.
noinst_LTLIBRARIES += libjson.la
libjson_la_SOURCES = %D%/json.c %D%/json.h
libjson_la_CPPFLAGS = $(BASE_CPPFLAGS) $(JANSSON_CFLAGS)
libjson_la_LIBADD = $(JANSSON_LIBS)

check_PROGRAMS += t/unit/u-json
TESTS += t/unit/u-json
t_unit_u_json_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_json_LDADD = libjson.la libbase.la

check_PROGRAMS += t/unit/u-btree
TESTS += t/unit/u-btree
t_unit_u_btree_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_btree_LDADD = libbase.la
t_unit_u_btree_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=slab_take,--wrap=realloc

check_PROGRAMS += t/unit/u-slab
TESTS += t/unit/u-slab
t_unit_u_slab_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_slab_LDADD = libbase.la

# Speed of the tree alone; not part of the checks: make t/bench/btree
EXTRA_PROGRAMS += t/bench/btree
t_bench_btree_CPPFLAGS = $(TEST_CPPFLAGS)
t_bench_btree_LDADD = libbase.la
