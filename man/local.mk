dist_man_MANS += %D%/cairn-protocol.7
