# The Redis protocol: tables of commands and replies, and programs that compare a server with redis-server.
EXTRA_DIST += %D%/resp.py %D%/table.py %D%/differ.py %D%/clients.py %D%/hiredis.c %D%/commands.table t/lib/resp.bash
BATS += t/7010-resp-table.bats t/7020-resp-differential.bats t/7030-resp-clients.bats
