dist_man_MANS += %D%/cairn-protocol.7 %D%/cairn.3
EXTRA_DIST += %D%/example.c
dist_man_MANS += %D%/cairn.bash.7 %D%/cairnd.8 %D%/cairnd.conf.5

# The tables of cairn-protocol(7) come from the rows of the program; t/4000-control.bats compares them, this renews them.
check_PROGRAMS += %D%/protocol-tables
man_protocol_tables_SOURCES = %D%/protocol-tables.c
man_protocol_tables_CPPFLAGS = $(TEST_CPPFLAGS)
man_protocol_tables_LDADD = libcontrol.la $(DAEMON_LIBS)
.PHONY: protocol-page
protocol-page: %D%/protocol-tables
	awk -v tables=%D%/protocol-tables '/tables begin/ { print; while ((tables | getline line) > 0) print line; skip = 1 } \
	  /tables end/ { skip = 0 } !skip' $(srcdir)/%D%/cairn-protocol.7 >%D%/page && \
	  mv %D%/page $(srcdir)/%D%/cairn-protocol.7
