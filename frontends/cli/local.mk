# The shell command cairn, over libcairn. Its parts are a library, so that tests link them without main.
if WITH_CLI
bin_PROGRAMS += bin/cairn
noinst_LTLIBRARIES += libcli.la
libcli_la_SOURCES = %D%/cli.h %D%/run.c %D%/arguments.c %D%/verbs.c %D%/pages.c %D%/past.c %D%/revert.c %D%/help.c %D%/help_json.c %D%/manual.c %D%/text.c %D%/text.h \
	%D%/output.c %D%/request.c %D%/keys.c %D%/get.c %D%/data.c %D%/listing.c %D%/folders.c %D%/txn.c %D%/cluster.c \
	%D%/admin.c %D%/shell.c %D%/complete.c %D%/proxy.c %D%/prompt.c %D%/prompt.h %D%/editor.c \
	%D%/expiry.c %D%/watch.c %D%/watch.h %D%/runner.c \
	%D%/snapshot.c %D%/export.c %D%/import.c %D%/upkeep.c %D%/journal.c %D%/bench.c %D%/load.c %D%/load.h %D%/programs.c %D%/sandbox.c %D%/keeper.c %D%/keeper.h
libcli_la_SOURCES += %D%/lock.c %D%/lock.h %D%/lock_run.c
BATS += t/6080-lock.bats
libcli_la_CPPFLAGS = $(BASE_CPPFLAGS) -I$(top_srcdir)/core/client $(EDIT_CFLAGS)
bin_cairn_SOURCES = %D%/main.c
bin_cairn_CPPFLAGS = $(BASE_CPPFLAGS)
bin_cairn_LDADD = libcli.la libclient.la libjson.la libstream.la libbase.la $(EDIT_LIBS) $(JANSSON_LIBS)

check_PROGRAMS += t/unit/u-cli
TESTS += t/unit/u-cli
t_unit_u_cli_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/frontends/cli
t_unit_u_cli_LDADD = libcli.la libclient.la libjson.la libstream.la libbase.la $(EDIT_LIBS) $(JANSSON_LIBS)
BATS += t/6090-watch.bats t/6040-snapshot.bats t/6050-export.bats t/6070-upkeep.bats t/6000-cli-data.bats t/6010-cli-show.bats t/6020-cli-shell.bats t/6030-cli-mount.bats t/6060-cli-past.bats t/6100-sandbox.bats t/6110-cairn-bash.bats t/6120-edit.bats t/6130-range-progress.bats t/6140-bench.bats

dist_man_MANS += man/cairn.1
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/vendor-completions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
dist_bashcompletion_DATA = scripts/completions/cairn.bash
dist_zshcompletion_DATA = scripts/completions/_cairn
dist_fishcompletion_DATA = scripts/completions/cairn.fish
endif
EXTRA_DIST += %D%/README.md t/lib/golden.bash t/golden/cli-listings t/golden/cli-help
