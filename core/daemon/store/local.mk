# The store: a deterministic state machine over an engine (README.md, rows.md).
noinst_LTLIBRARIES += libstore.la
libstore_la_SOURCES = %D%/store.h %D%/store.c %D%/state.h %D%/hash.h %D%/hash.c %D%/rows.h %D%/rows.c \
	%D%/record.h %D%/record.c %D%/meta.h %D%/meta.c %D%/pending.h %D%/pending.c %D%/args.h %D%/args.c \
	%D%/view.c %D%/text.c %D%/answer.c %D%/attributes.c %D%/folders.c %D%/change.c %D%/history.h %D%/history.c %D%/past.h %D%/past.c %D%/pins.c %D%/reclaim.c %D%/revert.c %D%/excess.c %D%/quota.c %D%/past_read.c %D%/configure.c %D%/basic.c \
	%D%/ahead.c %D%/entries.c %D%/expiry.c %D%/number.c \
	%D%/apply.c %D%/requests.h %D%/requests.c %D%/again.c %D%/content.h %D%/content.c %D%/chunks.c \
	%D%/upload.c %D%/edit.h %D%/edit.c %D%/patch.c %D%/guards.c %D%/txn.c %D%/move.c %D%/check.c %D%/read.h %D%/read.c %D%/gets.c %D%/scan.c %D%/verify.c \
	%D%/snapshot.h %D%/save.c %D%/load.h %D%/load.c %D%/salvage.c %D%/flush.c %D%/convert.h %D%/convert.c %D%/feed.h %D%/feed.c %D%/changes.c
libstore_la_CPPFLAGS = $(DAEMON_CPPFLAGS)
libstore_la_LIBADD = libstream.la

BATS += t/9000-store-model.bats t/6100-limits.bats
EXTRA_DIST += %D%/rows.md %D%/README.md t/lib/peak.py

STORE_TESTS = t/unit/u-rows t/unit/u-store t/unit/u-requests t/unit/u-store-model t/unit/u-store-threads \
	t/unit/u-store-faults
check_PROGRAMS += $(STORE_TESTS)
TESTS += $(STORE_TESTS)
t_unit_u_rows_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_rows_LDADD = libstore.la libloader.la libbase.la
t_unit_u_store_SOURCES = t/unit/u-store.c t/lib/storehouse.h
t_unit_u_store_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_store_LDADD = libstore.la libloader.la libbase.la
t_unit_u_requests_SOURCES = t/unit/u-requests.c t/lib/storehouse.h
t_unit_u_requests_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_requests_LDADD = libstore.la libloader.la libbase.la
t_unit_u_store_threads_SOURCES = t/unit/u-store-threads.c t/lib/storehouse.h
t_unit_u_store_threads_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_store_threads_LDADD = libstore.la libloader.la libbase.la
t_unit_u_store_faults_SOURCES = t/unit/u-store-faults.c t/lib/storehouse.h
t_unit_u_store_faults_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_store_faults_LDADD = libstore.la libloader.la libbase.la
t_unit_u_store_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
t_unit_u_store_model_SOURCES = t/unit/u-store-model.c t/lib/storehouse.h t/lib/model.h t/lib/model-requests.h
t_unit_u_store_model_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_store_model_LDADD = libstore.la libloader.la libbase.la
check_PROGRAMS += t/unit/u-watch
TESTS += t/unit/u-watch
t_unit_u_watch_SOURCES = t/unit/u-watch.c t/lib/storehouse.h
t_unit_u_watch_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_watch_LDADD = libstore.la libloader.la libbase.la
check_PROGRAMS += t/unit/u-stream
TESTS += t/unit/u-stream
t_unit_u_stream_SOURCES = t/unit/u-stream.c t/unit/stream-sample.inc t/lib/storehouse.h
t_unit_u_stream_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_stream_LDADD = libstore.la libloader.la libbase.la

