dist_man_MANS += %D%/cairn-protocol.7 %D%/cairn.3
EXTRA_DIST += %D%/example.c
dist_man_MANS += %D%/cairnd.8 %D%/cairnd.conf.5
