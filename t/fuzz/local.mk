# Fuzz targets. Each f-NAME.c has a LLVMFuzzerTestOneInput. `make check` runs it over its seeds (seeds/NAME) with
# main.c; `make fuzz` builds it with clang's libFuzzer, and `make fuzz-run FUZZ_SECONDS=60` runs each for that long.
# For a new one: a line in FUZZ, its sources in fuzz_NAME, a check program, a seed.
FUZZ = message logfile table client json record control command folder line stream journal bitcask tree peer resp raft
fuzz_message = %D%/f-message.c core/base/message.c
fuzz_logfile = %D%/f-logfile.c plugins/engine-leveldb/logfile.c core/base/crc32c.c
fuzz_table = %D%/f-table.c plugins/engine-leveldb/table.c core/base/crc32c.c
fuzz_client = %D%/f-client.c $(addprefix core/client/,client.c connection.c request.c servers.c transport.c call.c) \
	$(addprefix core/base/,errors.c message.c operations.c clock.c)
fuzz_json = %D%/f-json.c core/base/json.c $(addprefix core/base/,buffer.c message.c operations.c errors.c clock.c nearest.c)
fuzz_json_LIBS = $(JANSSON_LIBS)
fuzz_record = %D%/f-record.c core/daemon/engine.c core/base/stream.c $(filter %.c,$(libstore_la_SOURCES) $(libbase_la_SOURCES))
fuzz_record_LIBS = $(ZSTD_LIBS)
fuzz_command_LIBS = $(ZSTD_LIBS)
fuzz_control = %D%/f-control.c core/base/stream.c $(filter %.c,$(libcontrol_la_SOURCES) $(libdaemon_la_SOURCES) $(libjournal_la_SOURCES) $(libloader_la_SOURCES) \
	$(libstore_la_SOURCES) $(libjson_la_SOURCES) $(libbase_la_SOURCES))
fuzz_control_LIBS = $(OPENSSL_LIBS) $(ZSTD_LIBS) $(JANSSON_LIBS) $(UV_LIBS) $(INIH_LIBS) -ldl
fuzz_command = %D%/f-command.c plugins/engine-memory/memory.c core/daemon/engine.c core/base/stream.c \
	$(filter %.c,$(libstore_la_SOURCES) $(libbase_la_SOURCES))
fuzz_stream = %D%/f-stream.c plugins/engine-memory/memory.c core/daemon/engine.c core/base/stream.c \
	$(filter %.c,$(libstore_la_SOURCES) $(libbase_la_SOURCES))
fuzz_stream_LIBS = $(ZSTD_LIBS)
fuzz_folder = %D%/f-folder.c $(addprefix plugins/engine-leveldb/,folder.c logfile.c table.c) \
	$(addprefix core/base/,crc32c.c errors.c files.c sys.c)
fuzz_line = %D%/f-line.c frontends/cli/text.c
fuzz_journal = %D%/f-journal.c $(addprefix core/daemon/journal/,batch.c scan.c) core/base/crc32c.c
fuzz_bitcask = %D%/f-bitcask.c plugins/engine-bitcask/records.c core/base/crc32c.c
fuzz_tree = %D%/f-tree.c plugins/engine-lmdb/tree.c core/base/errors.c core/base/sys.c
fuzz_peer = %D%/f-peer.c $(addprefix core/daemon/peer/,frame.c queue.c resolve.c link.c greet.c join.c peer.c key.c tls.c) \
	$(addprefix core/daemon/,loop.c log.c pool.c) $(addprefix core/base/,amount.c buffer.c clock.c crc32c.c errors.c files.c nearest.c sys.c)
fuzz_peer_LIBS = $(UV_LIBS) $(OPENSSL_LIBS)
fuzz_resp = %D%/f-resp.c plugins/gateway-resp/reader.c
fuzz_raft = %D%/f-raft.c $(filter %.c,$(replication_raft_la_SOURCES)) core/base/errors.c
FUZZ_CPPFLAGS = -I$(top_srcdir)/core/daemon/journal $(TEST_CPPFLAGS) -I$(top_srcdir)/frontends/cli -I$(top_srcdir)/core/client -DCAIRN_VERSION='"fuzz"' -I$(top_srcdir)/plugins/engine-leveldb -I$(top_srcdir)/plugins/engine-bitcask -I$(top_srcdir)/plugins/gateway-resp
FUZZ_SECONDS = 60

check_PROGRAMS += %D%/f-message %D%/f-logfile %D%/f-table %D%/f-client %D%/f-command
TESTS += %D%/f-message %D%/f-logfile %D%/f-table %D%/f-client %D%/f-command
t_fuzz_f_message_SOURCES = %D%/main.c $(fuzz_message)
t_fuzz_f_message_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_logfile_SOURCES = %D%/main.c $(fuzz_logfile)
t_fuzz_f_logfile_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_table_SOURCES = %D%/main.c $(fuzz_table)
t_fuzz_f_table_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_client_SOURCES = %D%/main.c %D%/f-client.c
t_fuzz_f_client_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_client_LDADD = libclient.la
check_PROGRAMS += %D%/f-json %D%/f-record %D%/f-control
TESTS += %D%/f-json %D%/f-record %D%/f-control
t_fuzz_f_json_SOURCES = %D%/main.c %D%/f-json.c
t_fuzz_f_json_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_json_LDADD = libjson.la libbase.la
t_fuzz_f_record_SOURCES = %D%/main.c %D%/f-record.c
t_fuzz_f_record_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_record_LDADD = libstore.la libloader.la libbase.la
t_fuzz_f_control_SOURCES = %D%/main.c %D%/f-control.c
t_fuzz_f_control_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_control_LDADD = libcontrol.la $(DAEMON_LIBS)
t_fuzz_f_command_SOURCES = %D%/main.c %D%/f-command.c plugins/engine-memory/memory.c
t_fuzz_f_command_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_command_LDADD = libstore.la libloader.la libbase.la
check_PROGRAMS += %D%/f-stream
TESTS += %D%/f-stream
t_fuzz_f_stream_SOURCES = %D%/main.c %D%/f-stream.c plugins/engine-memory/memory.c
t_fuzz_f_stream_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_stream_LDADD = libstore.la libloader.la libbase.la
check_PROGRAMS += %D%/f-folder
TESTS += %D%/f-folder
t_fuzz_f_folder_SOURCES = %D%/main.c %D%/f-folder.c plugins/engine-leveldb/folder.c plugins/engine-leveldb/logfile.c \
	plugins/engine-leveldb/table.c
t_fuzz_f_folder_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_folder_LDADD = libbase.la
check_PROGRAMS += %D%/f-line
TESTS += %D%/f-line
t_fuzz_f_line_SOURCES = %D%/main.c %D%/f-line.c frontends/cli/text.c
t_fuzz_f_line_CPPFLAGS = $(FUZZ_CPPFLAGS)
check_PROGRAMS += %D%/f-journal
TESTS += %D%/f-journal
t_fuzz_f_journal_SOURCES = %D%/main.c %D%/f-journal.c
t_fuzz_f_journal_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_journal_LDADD = libjournal.la libbase.la
check_PROGRAMS += %D%/f-bitcask
TESTS += %D%/f-bitcask
t_fuzz_f_bitcask_SOURCES = %D%/main.c %D%/f-bitcask.c
t_fuzz_f_bitcask_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_bitcask_LDADD = libbitcask.la libbase.la
check_PROGRAMS += %D%/f-tree
TESTS += %D%/f-tree
t_fuzz_f_tree_SOURCES = %D%/main.c %D%/f-tree.c plugins/engine-lmdb/tree.c
t_fuzz_f_tree_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_tree_LDADD = libbase.la
check_PROGRAMS += %D%/f-peer
TESTS += %D%/f-peer
t_fuzz_f_peer_SOURCES = %D%/main.c %D%/f-peer.c
t_fuzz_f_peer_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_peer_LDADD = $(DAEMON_LIBS)
check_PROGRAMS += %D%/f-resp
TESTS += %D%/f-resp
t_fuzz_f_resp_SOURCES = %D%/main.c %D%/f-resp.c plugins/gateway-resp/reader.c
t_fuzz_f_resp_CPPFLAGS = $(FUZZ_CPPFLAGS)
check_PROGRAMS += %D%/f-raft
TESTS += %D%/f-raft
t_fuzz_f_raft_SOURCES = %D%/main.c %D%/f-raft.c $(replication_raft_la_SOURCES)
t_fuzz_f_raft_CPPFLAGS = $(FUZZ_CPPFLAGS)
t_fuzz_f_raft_LDADD = libbase.la
EXTRA_DIST += %D%/seeds

.PHONY: fuzz fuzz-run
if HAVE_FUZZER
fuzz:
	@$(MKDIR_P) fuzz
	@set -e; $(foreach f,$(FUZZ),echo "  FUZZ     $(f)"; \
	  $(CLANG) -g -O1 -std=gnu17 -pthread -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	  $(DEFS) -I. $(FUZZ_CPPFLAGS) $(CPPFLAGS) $(addprefix $(srcdir)/,$(fuzz_$(f))) $(fuzz_$(f)_LIBS) -o fuzz/$(f);)
fuzz-run: fuzz
	@set -e; for f in $(FUZZ); do \
	  echo "== $$f"; mkdir -p fuzz/corpus/$$f; \
	  CAIRN_PLUGIN_PATH=$(abs_top_builddir)/.libs fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=fuzz/$$f- fuzz/corpus/$$f $(srcdir)/%D%/seeds/$$f 2>fuzz/$$f.log || { tail -40 fuzz/$$f.log; exit 1; }; \
	  grep -E 'stat::(number_of_executed_units|average_exec_per_sec)|DONE' fuzz/$$f.log; \
	done
else
fuzz fuzz-run:
	@echo "fuzzing needs clang with -fsanitize=fuzzer, and configure found none" >&2; exit 1
endif
clean-local: clean-fuzz
.PHONY: clean-fuzz
clean-fuzz:
	-rm -rf fuzz
