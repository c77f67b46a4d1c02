/*
 * The rows: one for each verb, with its options and its page. Help, the manual page, completion and the
 * command line itself derive from them. A blank line in a page ends a paragraph; blocks that begin with
 * blanks are examples.
 */
#include "cli.h"
#include "banned.h"

const struct option general_options[] = {
	{ "server", 's', "LIST", "servers to talk to: unix:PATH or ssh:HOST, several with commas" },
	{ "volume", 'V', "NAME", "the volume; otherwise $CAIRN_VOLUME, otherwise main" },
	{ "timeout", 0, "SECONDS", "how long a command may take (5); also 500ms, 2m, 1h" },
	{ "json", 0, NULL, "results, and errors, as JSON; short for --format json" },
	{ "format", 0, "FORMAT", "of listings: plain (tabs, no heads), table, json (one object a line)" },
	{ "key", 0, NULL, "take keys literally, also where they look like a file of a mount" },
	{ "help", 'h', NULL, "show the page of the command" },
	{ "version", 0, NULL, "show the version" },
	{ 0 },
};

static const struct option past_options[] = {
	{ "revision", 0, "N", "as it was at revision N" },
	{ "at", 0, "TIME", "as it was at that time: 10m (ago), 2026-11-20, 2026-11-20T10:05:00Z" },
	{ 0 },
};

static const struct option get_options[] = {
	{ "revision", 0, "N", "as it was at revision N" },
	{ "at", 0, "TIME", "as it was at that time: 10m (ago), 2026-11-20, 2026-11-20T10:05:00Z" },
	{ "range", 0, "BYTES",
	  "only a part: 0-99 the first hundred bytes, 100- what follows, -100 the last" },
	{ "watch", 'w', NULL, "now, and again after each change, until it is stopped" },
	{ 0 },
};

static const struct option watch_options[] = {
	{ "from", 0, "REVISION", "begin with the changes of that revision; or of a time: 10m (ago), 10:05" },
	{ "initial", 'i', NULL, "first what is there now, then what changes" },
	{ "exec", 'x', "COMMAND", "run this by the shell for each change, instead of showing it" },
	{ "count", 'n', "N", "end after N changes" },
	{ 0 },
};

static const struct option edit_options[] = {
	{ "force", 'f', NULL, "also a value that is no text" },
	{ 0 },
};

static const struct option history_options[] = {
	{ "limit", 0, "N", "the newest N versions" },
	{ 0 },
};

static const struct option revert_options[] = {
	{ "recursive", 'r', NULL, "a folder: every key below it" },
	{ "dry-run", 'n', NULL, "show what would be done, and do nothing" },
	{ "yes", 'y', NULL, "do not ask" },
	{ 0 },
};

static const struct option put_options[] = {
	{ "value", 0, "TEXT", "the value, whatever it looks like; instead of VALUE" },
	{ "if-revision", 0, "N", "only if the key is at revision N (0: only if it is not there)" },
	{ "if-absent", 0, NULL, "only if the key is not there" },
	{ "return-old", 0, NULL,
	  "write the value that was there to standard output, instead of the revision" },
	{ "ttl", 0, "SECONDS", "the key goes after so long; also 500ms, 10m, 1h, 7d" },
	{ "keep-ttl", 0, NULL, "the key goes when it would have gone; otherwise it stays from now on" },
	{ 0 },
};

static const struct option del_options[] = {
	{ "recursive", 'r', NULL, "delete folders: every key below them" },
	{ "purge", 0, NULL, "their history, too; also of what is deleted already" },
	{ "if-revision", 0, "N", "only if the key is at revision N" },
	{ "return-old", 0, NULL,
	  "write the value that was there to standard output, instead of the revision" },
	{ 0 },
};

static const struct option ls_options[] = {
	{ "recursive", 'r', NULL, "all keys below the folder, not only its own" },
	{ "long", 'l', NULL, "kind, size, revision and time, too" },
	{ "null", '0', NULL, "end each key with a zero byte, for xargs -0" },
	{ "revision", 0, "N", "as it was at revision N" },
	{ "at", 0, "TIME", "as it was at that time: 10m (ago), 2026-11-20, 2026-11-20T10:05:00Z" },
	{ 0 },
};

static const struct option scan_options[] = {
	{ "from", 0, "KEY", "begin with this key" },
	{ "to", 0, "KEY", "end before this key" },
	{ "limit", 0, "N", "at most N keys" },
	{ "reverse", 0, NULL, "last key first" },
	{ "keys-only", 0, NULL, "keys without their values" },
	{ "null", '0', NULL, "exact bytes: key and value each end with a zero byte" },
	{ "revision", 0, "N", "as it was at revision N" },
	{ "at", 0, "TIME", "as it was at that time: 10m (ago), 2026-11-20, 2026-11-20T10:05:00Z" },
	{ 0 },
};

static const struct option transfer_options[] = {
	{ "recursive", 'r', NULL, "a folder: every key below it" },
	{ 0 },
};

static const struct option txn_options[] = {
	{ "each", 0, NULL, "an operation that fails does not undo the others" },
	{ 0 },
};

static const struct option health_options[] = {
	{ "wait", 0, "STATE", "wait until the state is ok, degraded, no-quorum or disconnected" },
	{ 0 },
};

static const struct option create_options[] = {
	{ "engine", 0, "NAME", "its storage engine, or the path of one (./engine.so)" },
	{ "replication", 0, "NAME", "its replication module" },
	{ 0 },
};

static const struct option convert_options[] = {
	{ "engine", 0, "NAME", "its new storage engine, or the path of one (./engine.so)" },
	{ 0 },
};

static const struct option flush_options[] = {
	{ "yes", 'y', NULL, "do not ask" },
	{ 0 },
};

static const struct option drop_options[] = {
	{ "confirm", 0, "NAME", "the volume's name once more" },
	{ 0 },
};

static const struct option export_options[] = {
	{ "history", 0, NULL, "every change that can still be read, too" },
	{ 0 },
};

static const struct option import_options[] = {
	{ "prefix", 0, "TEXT", "put TEXT in front of every key" },
	{ "if-absent", 0, NULL, "leave keys alone that are there" },
	{ "dry-run", 'n', NULL, "write nothing; see whether the lines are right, and how many there are" },
	{ 0 },
};

static const struct option check_options[] = {
	{ "dir", 0, "DATA", "all volumes in the data folder DATA, which no daemon uses" },
	{ "config", 0, "FILE", "the daemon's settings, where the journal lies elsewhere" },
	{ 0 },
};

static const struct option dump_options[] = {
	{ "dir", 0, "DATA", "the data folder of a node whose daemon does not run" },
	{ "config", 0, "FILE", "the daemon's settings, where the journal lies elsewhere" },
	{ "values", 0, NULL, "print also what the commands carry" },
	{ 0 },
};

static const struct option save_options[] = {
	{ "plain", 0, NULL, "not compressed" },
	{ 0 },
};

static const struct option lock_options[] = {
	{ "wait", 0, "SECONDS", "wait so long for the lock, then give up; otherwise wait without end" },
	{ "ttl", 0, "SECONDS", "after this time without a sign of life of ours the lock frees itself (15)" },
	{ "exit-status", 'E', "N", "the exit status of failures that are not COMMAND's" },
	{ "list", 0, NULL, "the locks that are held, and by whom" },
	{ "break", 0, NULL, "free a lock, whoever holds it" },
	{ 0 },
};

static const struct option shell_options[] = {
	{ "stop", 'e', NULL, "end at the first line that fails" },
	{ "atomic", 0, NULL, "all lines are one transaction, with its operations" },
	{ 0 },
};

static const struct option bench_options[] = {
	{ "clients", 'c', "N", "how many clients (1)" },
	{ "in-flight", 0, "N", "how many requests each has under way (1)" },
	{ "gets", 0, "N", "gets in a hundred requests, the others are puts (50)" },
	{ "size", 0, "BYTES", "of a value (256); also 64K" },
	{ "keys", 0, "N", "how many keys (10000)" },
	{ "duration", 0, "SECONDS", "how long it measures (10); also 500ms, 2m" },
	{ "count", 'n', "N", "measure N requests, however long that takes" },
	{ 0 },
};

static const struct option sandbox_options[] = {
	{ "nodes", 'n', "N", "how many nodes (1)" },
	{ "mount", 0, NULL, "mount the volume main at $CAIRN_MOUNT" },
	{ "engine", 0, "NAME", "its storage engine, or the path of one (./engine.so)" },
	{ 0 },
};

static const struct option help_options[] = {
	{ "man", 0, NULL, "print the manual page cairn(1)" },
	{ 0 },
};

static const struct option complete_options[] = {
	{ "line", 0, "LINE", "a whole command line instead of words" },
	{ 0 },
};

static const struct verb plugin_verbs[] = {
	{ .name = "list",
	  .aliases = "ls",
	  .group = "",
	  .synopsis = "",
	  .help = "the plugins that were found, and why others were refused",
	  .page = "",
	  .run = verb_plugin_list },
	{ .name = "show",
	  .aliases = "",
	  .group = "",
	  .synopsis = "NAME",
	  .help = "one plugin: what it can do, and its parameters",
	  .page = "",
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_PLUGIN },
	  .run = verb_plugin_show },
	{ 0 },
};

static const struct verb volume_verbs[] = {
	{ .name = "list",
	  .aliases = "ls",
	  .group = "",
	  .synopsis = "",
	  .help = "the volumes of the node",
	  .page = "",
	  .run = verb_volume_list },
	{ .name = "create",
	  .aliases = "add",
	  .group = "",
	  .synopsis = "NAME [PARAMETER=VALUE]...",
	  .help = "make a volume",
	  .page = "Parameters are those of its engine; 'cairn plugin show ENGINE' lists them. Every volume "
		  "also takes sync, folders, key-max, value-limit, through, durable, and the settings of "
		  "'cairn "
		  "volume set'.\n\n"
		  "  cairn volume create photos --engine memory quota=2G",
	  .options = create_options,
	  .least = 1,
	  .most = -1,
	  .run = verb_volume_create },
	{ .name = "convert",
	  .aliases = "",
	  .group = "",
	  .synopsis = "NAME [PARAMETER=VALUE]...",
	  .help = "move a volume to another engine while it serves",
	  .page = "Parameters are those of the new engine; sync, history and the like stay as they are. The "
		  "digest "
		  "of both is compared before the new one is used. Interrupted or refused, the volume stays "
		  "as it "
		  "was. A write that is under way in the moment of the change may have to be repeated.\n\n"
		  "  cairn volume convert --engine lmdb photos map-size-max=64G",
	  .options = convert_options,
	  .least = 1,
	  .most = -1,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_volume_convert },
	{ .name = "flush",
	  .aliases = "",
	  .group = "",
	  .synopsis = "NAME",
	  .help = "remove all keys of a volume at once, and their history",
	  .page = "Settings and the count of revisions stay. It takes as long for a million keys as for one. "
		  "On a "
		  "terminal it asks first.",
	  .options = flush_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_volume_flush },
	{ .name = "drop",
	  .aliases = "del delete rm",
	  .group = "",
	  .synopsis = "NAME",
	  .help = "remove a volume and all its keys",
	  .page = "It wants the name twice, since nothing brings the keys back.",
	  .options = drop_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_volume_drop },
	{ .name = "set",
	  .aliases = "put",
	  .group = "",
	  .synopsis = "NAME SETTING VALUE",
	  .help = "change a setting that all replicas of a volume share",
	  .page = "history: how many of the newest versions of each key are kept; 0 keeps none. history-age: "
		  "versions that were replaced "
		  "within this time are kept as well (24h). history-bytes: beyond so many bytes the oldest "
		  "history "
		  "is given up; 0 is a quarter "
		  "of the quota, or 1G. history-floor: what lies below this revision is given up now. quota: "
		  "most "
		  "bytes of values, live ones and pieces that were sent ahead; 0 is no limit. A write that "
		  "would need more is refused, what takes no more room than before goes on. "
		  "What a setting once made invisible stays so when it grows again.\n\n"
		  "  cairn volume set main history 100\n"
		  "  cairn volume set main quota 1GiB",
	  .least = 3,
	  .most = 3,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_volume_set },
	{ .name = "stats",
	  .aliases = "stat show",
	  .group = "",
	  .synopsis = "[NAME]",
	  .help = "what a volume holds, and what its engine says",
	  .page = "",
	  .most = 1,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_volume_stats },
	{ 0 },
};

static const struct verb journal_verbs[] = {
	{ .name = "list",
	  .aliases = "ls",
	  .group = "",
	  .synopsis = "",
	  .help = "what the journal of a running node keeps, and for which volumes",
	  .page = "FIRST and NEWEST are the entries that it keeps for a volume; the volume's engine has "
		  "everything "
		  "up to FLUSHED. What is not there yet is in memory (OVERLAY) as well.",
	  .run = verb_journal_list },
	{ .name = "check",
	  .aliases = "",
	  .group = "",
	  .synopsis = "--dir DATA",
	  .help = "read the journal of a node that does not run, and say whether it is sound",
	  .page = "Nothing is changed. Damage is the error corrupt (exit status 9), with file and offset.\n\n"
		  "  cairn journal check --dir /var/lib/cairn",
	  .options = check_options,
	  .run = verb_journal_check },
	{ .name = "dump",
	  .aliases = "",
	  .group = "",
	  .synopsis = "--dir DATA",
	  .help = "print every batch and entry of the journal of a node that does not run",
	  .page = "Of an entry: its volume's folder, index and term, the operation, the keys, who asked for "
		  "it and "
		  "when. Values are left out unless --values is given. With -V only one volume's. Behind "
		  "damage the "
		  "dump goes on where it can.\n\n"
		  "  cairn -V main journal dump --dir /var/lib/cairn\n"
		  "  cairn --json journal dump --dir /var/lib/cairn | jq 'select(.op == \"del\")'",
	  .options = dump_options,
	  .run = verb_journal_dump },
	{ 0 },
};

static const struct verb config_verbs[] = {
	{ .name = "list",
	  .aliases = "ls",
	  .group = "",
	  .synopsis = "",
	  .help = "every setting: its value, its default, and whether it is live",
	  .page = "",
	  .run = verb_config_list },
	{ .name = "get",
	  .aliases = "",
	  .group = "",
	  .synopsis = "SECTION.KEY",
	  .help = "the value of one setting",
	  .page = "",
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_SETTING },
	  .run = verb_config_get },
	{ .name = "set",
	  .aliases = "put",
	  .group = "",
	  .synopsis = "SECTION.KEY VALUE",
	  .help = "change a live setting",
	  .page = "The change holds until the daemon's next start; to keep it, write it into the "
		  "configuration file.",
	  .least = 2,
	  .most = 2,
	  .operands = { OPERAND_SETTING },
	  .run = verb_config_set },
	{ 0 },
};

static const struct verb snapshot_verbs[] = {
	{ .name = "save",
	  .aliases = "",
	  .group = "",
	  .synopsis = "FILE\n-",
	  .help = "write all of a volume to a file, or to standard output",
	  .page = "The volume serves on meanwhile: the file has what there was at one revision, with "
		  "history, "
		  "uploads and the results of requests. The file appears when it is complete, and does not "
		  "depend on the engine.\n\n"
		  "  cairn snapshot save monday.snap\n  cairn -V stock snapshot save - | ssh vault 'cat > "
		  "stock.snap'",
	  .options = save_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_FILE },
	  .run = verb_snapshot_save },
	{ .name = "restore",
	  .aliases = "",
	  .group = "",
	  .synopsis = "FILE [PARAMETER=VALUE]...\n- [PARAMETER=VALUE]...",
	  .help = "make a volume from such a file",
	  .page = "--volume names the volume, which is new, or empty; it is there when all of the file is in "
		  "it and its digest "
		  "is that of the file. Parameters are those of 'cairn volume create'; "
		  "history, limits and quota come with the file.\n\n"
		  "  cairn snapshot restore --volume monday --engine memory monday.snap",
	  .options = create_options,
	  .least = 1,
	  .most = -1,
	  .operands = { OPERAND_FILE },
	  .run = verb_snapshot_restore },
	{ .name = "show",
	  .aliases = "stat",
	  .group = "",
	  .synopsis = "FILE",
	  .help = "what such a file holds, and whether it is whole",
	  .page = "All of the file is read, and every checksum compared; no daemon is needed.",
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_FILE },
	  .run = verb_snapshot_show },
	{ 0 },
};

const struct verb verbs[] = {
	{ .name = "get",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY",
	  .help = "read a key's value",
	  .page = "A pipe or a file gets the value and nothing else, of any size. A terminal gets the "
		  "newline that is missing "
		  "at its end, and sees control bytes as \\xHH.\n\n"
		  "  cairn get app/port\n  cairn get app/core.gz | gunzip\n  cairn get ./app/port\n  cairn "
		  "get "
		  "--at 10m app/port",
	  .options = get_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_get },
	{ .name = "put",
	  .aliases = "set",
	  .group = "data",
	  .synopsis = "KEY VALUE\nKEY @FILE\nKEY -\n--value TEXT KEY",
	  .help = "write a key's value, and print its revision",
	  .page = "The value is the text VALUE, the content of a FILE, or (-) standard input. It is sent in "
		  "pieces and appears as a whole. @@x is the text @x; --value "
		  "takes any text as it "
		  "is.\n\n"
		  "A condition that does not hold is the error conflict (exit status 3), and nothing is "
		  "written.\n\n"
		  "  cairn put app/port 8080\n  tar c . | cairn put backup/home.tar -\n  cairn put "
		  "--if-revision 3 app/port 8081",
	  .options = put_options,
	  .least = 1,
	  .most = 2,
	  .operands = { OPERAND_KEY, OPERAND_FILE },
	  .run = verb_put },
	{ .name = "del",
	  .aliases = "delete rm",
	  .group = "data",
	  .synopsis = "KEY...\n-r FOLDER...",
	  .help = "delete keys, or whole folders",
	  .page = "With -r the operand is a folder: 'del -r test' deletes test/a and never touches test2 or "
		  "the key test. A folder "
		  "that is too large for one step is deleted page by page.",
	  .options = del_options,
	  .least = 1,
	  .most = -1,
	  .operands = { OPERAND_KEY, OPERAND_KEY, OPERAND_KEY },
	  .run = verb_del },
	{ .name = "ls",
	  .aliases = "list",
	  .group = "data",
	  .synopsis = "[FOLDER]",
	  .help = "list the keys of a folder",
	  .page = "Folders end in '/'. On a terminal odd names are quoted as a shell would want them; "
		  "elsewhere they are exact "
		  "bytes, one a line, or with -0 ended by a zero byte.\n\n"
		  "  cairn ls\n  cairn ls -l app\n  cairn ls -r0 app | xargs -0 -n 1 cairn get",
	  .options = ls_options,
	  .most = 1,
	  .operands = { OPERAND_FOLDER },
	  .run = verb_ls },
	{ .name = "tree",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "[FOLDER]",
	  .help = "show a folder and all below it as a tree",
	  .page = "",
	  .options = past_options,
	  .most = 1,
	  .operands = { OPERAND_FOLDER },
	  .run = verb_tree },
	{ .name = "scan",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "[PREFIX]",
	  .help = "keys and values in order, by prefix or range",
	  .page = "PREFIX is any bytes that the keys begin with, not a folder: 'scan test' shows test2 as "
		  "well. A line is the key, "
		  "a tab and the value, with \\n, \\t, \\\\ and \\xHH for what does not fit a line. Keys "
		  "order bytewise.\n\n"
		  "  cairn scan --from a --to b --limit 10",
	  .options = scan_options,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_scan },
	{ .name = "stat",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY",
	  .help = "all that is known about a key but its value",
	  .page = "",
	  .options = past_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_stat },
	{ .name = "cp",
	  .aliases = "copy",
	  .group = "data",
	  .synopsis = "KEY TARGET\n-r FOLDER TARGET",
	  .help = "copy a key, or a folder",
	  .page = "A TARGET that ends in '/' is a folder that a key is put into. The copy is a new key with "
		  "the value and attributes "
		  "of the old one. A folder that is too large for one step is copied page by page.",
	  .options = transfer_options,
	  .least = 2,
	  .most = 2,
	  .operands = { OPERAND_KEY, OPERAND_KEY },
	  .run = verb_cp },
	{ .name = "mv",
	  .aliases = "move rename",
	  .group = "data",
	  .synopsis = "KEY TARGET\nFOLDER/ TARGET",
	  .help = "move a key, or a folder, in one step",
	  .page = "A TARGET that ends in '/' is a folder that a key is put into. FOLDER/ ends in '/' (or -r "
		  "says that it is one): all "
		  "its keys move at once, or none. A folder with too many keys for one step is the error "
		  "too-large.\n\n"
		  "  cairn mv app/port app/port.old\n  cairn mv app/ service/",
	  .options = transfer_options,
	  .least = 2,
	  .most = 2,
	  .operands = { OPERAND_KEY, OPERAND_KEY },
	  .run = verb_mv },
	{ .name = "append",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY VALUE\nKEY @FILE\nKEY -",
	  .help = "add to the end of a value",
	  .page = "The key is made where it is not there. What is added appears as a whole, however long it "
		  "is.\n\n"
		  "  tail -n 100 app.log | cairn append log/app -",
	  .least = 2,
	  .most = 2,
	  .operands = { OPERAND_KEY, OPERAND_FILE },
	  .run = verb_append },
	{ .name = "patch",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY OFFSET VALUE\nKEY OFFSET @FILE\nKEY OFFSET -",
	  .help = "overwrite a part of a value",
	  .page = "The bytes from OFFSET on are those of VALUE afterwards, all at once; the others stay. "
		  "Where "
		  "they reach behind the end of the value it grows; bytes between its end and OFFSET are "
		  "zero.\n\n"
		  "  cairn patch disk.img 1048576 @block",
	  .least = 3,
	  .most = 3,
	  .operands = { OPERAND_KEY, OPERAND_NONE, OPERAND_FILE },
	  .run = verb_patch },
	{ .name = "incr",
	  .aliases = "increment",
	  .group = "data",
	  .synopsis = "KEY [BY]",
	  .help = "add to the number that is a key's value, and print it",
	  .page = "The value is a decimal integer of 64 bits, with a sign; a key that is not there counts as "
		  "0. BY is 1 unless given, and may "
		  "be negative. Nothing is written where the sum would not fit.",
	  .least = 1,
	  .most = 2,
	  .operands = { OPERAND_KEY },
	  .run = verb_incr },
	{ .name = "expire",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY DURATION",
	  .help = "let a key go after some time",
	  .page = "Time is that of the store's clock, which goes on evenly whatever happens to the clocks of "
		  "the machines. A put lets the key "
		  "stay again, unless it has --ttl or --keep-ttl; every other change leaves the time as it "
		  "is.\n\n"
		  "  cairn expire jobs/nightly 30s",
	  .least = 2,
	  .most = 2,
	  .operands = { OPERAND_KEY },
	  .run = verb_expire },
	{ .name = "ttl",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY",
	  .help = "how many seconds a key stays",
	  .page = "Prints 'never' for a key that does not go by itself.",
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_ttl },
	{ .name = "persist",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY",
	  .help = "let a key stay that would have gone",
	  .page = "",
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_persist },
	{ .name = "txn",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "[FILE]",
	  .help = "conditions and operations as one step, all or nothing",
	  .page = "Each line of FILE, or of standard input, is a condition behind 'if', or an operation "
		  "behind 'then' or 'else'. The "
		  "word may be left out where it is the same as on the line before; lines before the first "
		  "word are 'then'. Words are "
		  "quoted as in a shell, # begins a comment. A VALUE may be @FILE.\n\n"
		  "  if exists KEY          then put KEY VALUE\n"
		  "  if absent KEY          then append KEY VALUE\n"
		  "  if revision KEY N      then del KEY\n"
		  "  if value KEY VALUE     then get KEY\n"
		  "  if empty FOLDER        then mv KEY KEY\n"
		  "  if filled FOLDER       then cp KEY KEY\n"
		  "  if version KEY N       then swap KEY KEY\n"
		  "  if file KEY ID         then purge KEY\n"
		  "  if clear KEY           then incr KEY BY\n"
		  "                         then expire KEY DURATION\n"
		  "                         then persist KEY\n\n"
		  "'clear' is a key above which no folder is itself a key. An operation may have one "
		  "condition of "
		  "its own behind it ('then put KEY VALUE if absent KEY'): where that does not hold, it is "
		  "skipped.\n\n"
		  "When all conditions hold the 'then' lines are done; otherwise the 'else' lines, and the "
		  "first line of the output is "
		  "'else'. Where there is no 'else' line, conditions that do not hold are the error conflict "
		  "(exit status 3). A get "
		  "prints its key, a tab and the value; the last line is the revision, where anything was "
		  "written.\n\n"
		  "  cairn txn <<'END'\n"
		  "  if revision app/port 3\n"
		  "  then put app/port 8081\n"
		  "       put app/note 'moved by hand'\n"
		  "  else get app/port\n"
		  "  END",
	  .options = txn_options,
	  .most = 1,
	  .operands = { OPERAND_FILE },
	  .run = verb_txn },
	{ .name = "edit",
	  .aliases = "",
	  .group = "data",
	  .synopsis = "KEY",
	  .help = "change a value in an editor",
	  .page = "The editor is $VISUAL, else $EDITOR, else vi. The value lies in a file that only you can "
		  "read, and "
		  "is removed afterwards. What is saved is written if the key is still at the revision that "
		  "was opened; "
		  "otherwise it is the error conflict (exit status 3), and the text is kept in that file. A "
		  "key that is "
		  "not there is made. Nothing is written when nothing was changed, or when the editor ends "
		  "with an error. "
		  "Attributes and expiry stay. A newline that the editor puts behind a value that ended "
		  "without one is left "
		  "away.\n\n"
		  "  cairn edit app/web.conf\n  EDITOR='sed -i s/8080/9090/' cairn edit app/port",
	  .options = edit_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_edit },
	{ .name = "history",
	  .aliases = "",
	  .group = "past",
	  .synopsis = "KEY",
	  .help = "the versions of a key that are kept, newest first",
	  .page = "KIND is how the version came to be; BY who wrote it, VIA through what. Kept are the "
		  "newest "
		  "versions of each key "
		  "('history' of the volume, usually 8) and all that were replaced within 'history-age' "
		  "(24h); of a "
		  "deleted key all that was "
		  "kept, for that time. --revision and --at of get, stat, ls, tree and scan read the past; "
		  "the "
		  "error compacted "
		  "(exit status 10) names the oldest revision at which the whole tree can be read.\n\n"
		  "  cairn history app/web.conf\n  cairn get --revision 17902 app/web.conf\n  cairn tree "
		  "--at 10m app",
	  .options = history_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_history },
	{ .name = "watch",
	  .aliases = "",
	  .group = "past",
	  .synopsis = "KEY\nFOLDER/\n''",
	  .help = "show changes as they happen: of a key, a folder, or (with '') all keys",
	  .page = "A line for each change: when, how it came to be (put, delete, append, patch, attributes, "
		  "move, copy, swap, ttl, expire, revert, flush), the key, the revision, how long the value "
		  "is "
		  "now, "
		  "who wrote it and through what. Each change comes once, in order; when the daemon is gone, "
		  "the "
		  "watch waits for it, or goes to the next server, and takes up where it was. What is not "
		  "kept any "
		  "more is the error compacted (exit status 10), which names the oldest revision that is.\n\n"
		  "--exec runs COMMAND once for each change, one at a time, with CAIRN_KEY, CAIRN_KIND, "
		  "CAIRN_REVISION, CAIRN_OTHER (of a move) and CAIRN_COUNT in its environment. What happens "
		  "to one "
		  "key while a command runs is one run more, for the newest change; CAIRN_COUNT says how "
		  "many it "
		  "stands for. When a command fails, the watch ends with its status; when the watch ends, so "
		  "does "
		  "what it runs. Where cairn is killed with SIGKILL, COMMAND gets SIGTERM, and what it has "
		  "started itself may go on.\n\n"
		  "  cairn watch app/\n  cairn watch --initial --json app/port\n"
		  "  cairn watch --exec 'systemctl reload nginx' app/web.conf\n"
		  "  cairn watch --count 1 app/ready",
	  .options = watch_options,
	  .least = 1,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_watch },
	{ .name = "revert",
	  .aliases = "",
	  .group = "past",
	  .synopsis = "KEY REVISION\nKEY TIME\n-r FOLDER REVISION\n-r FOLDER TIME",
	  .help = "put back what was there at a revision or a time",
	  .page = "What is put back is a new version: nothing is lost, and the next revert can undo it. With "
		  "-r keys "
		  "that are gone come back, "
		  "others get their old value, and those that were not there yet go, all in one step; on a "
		  "terminal "
		  "it shows that and asks first. TIME is as for --at: 10m (ago), 2026-11-20T10:05:00Z.\n\n"
		  "  cairn revert app/web.conf 17902\n  cairn revert -n -r app 10m",
	  .options = revert_options,
	  .least = 2,
	  .most = 2,
	  .operands = { OPERAND_KEY },
	  .run = verb_revert },
	{ .name = "status",
	  .aliases = "",
	  .group = "cluster",
	  .synopsis = "",
	  .help = "the nodes and the volumes, and how they are",
	  .page = "",
	  .run = verb_status },
	{ .name = "health",
	  .aliases = "",
	  .group = "cluster",
	  .synopsis = "",
	  .help = "one line, and an exit status, for monitoring",
	  .page = "The exit status is 0 for ok, 1 for degraded, 2 for no-quorum and 3 for disconnected: no "
		  "daemon answers. --wait "
		  "waits for a state, without end unless --timeout is given, and then ends with 0.",
	  .options = health_options,
	  .run = verb_health },
	{ .name = "plugin",
	  .aliases = "plugins",
	  .group = "cluster",
	  .synopsis = "",
	  .help = "the engines and modules that can be used",
	  .page = "",
	  .verbs = plugin_verbs },
	{ .name = "volume",
	  .aliases = "volumes",
	  .group = "cluster",
	  .synopsis = "",
	  .help = "keyspaces with an engine of their own",
	  .page = "",
	  .verbs = volume_verbs },
	{ .name = "lock",
	  .aliases = "locks",
	  .group = "cluster",
	  .synopsis = "KEY COMMAND...\n--list [FOLDER]\n--break KEY",
	  .help = "run a command while holding a lock",
	  .page = "COMMAND runs when nobody else holds the lock KEY, and its exit status is returned. Every "
		  "cairn "
		  "command below it is refused by the store (conflict, exit status 3) once the lock was "
		  "lost; then "
		  "COMMAND and what it started is ended, too: SIGTERM, and SIGKILL after 5 s. A signal to "
		  "cairn lock "
		  "ends them in the same way, and frees the lock. 'cairn help locks' says how it works and "
		  "what it "
		  "does not cover.\n\n"
		  "When the lock is not free in time that is the error timeout (exit status 7). Durations "
		  "look like "
		  "30s, 500ms, 2m. Options stand before COMMAND; what stands behind it is COMMAND's.\n\n"
		  "  cairn lock --wait 30s locks/deploy ./deploy.sh 1.4.2\n  cairn lock --list locks\n  "
		  "cairn lock "
		  "--break locks/deploy",
	  .options = lock_options,
	  .most = -1,
	  .command = 2,
	  .operands = { OPERAND_KEY, OPERAND_FILE, OPERAND_FILE },
	  .run = verb_lock },
	{ .name = "snapshot",
	  .aliases = "snapshots",
	  .group = "upkeep",
	  .synopsis = "",
	  .help = "a volume as a file, and back",
	  .page = "",
	  .verbs = snapshot_verbs },
	{ .name = "export",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "[PREFIX]",
	  .help = "keys as lines of JSON, for people and programs",
	  .page = "A line holds a key, its value, its kind where that is no value, and its attributes: what "
		  "'cairn import' makes the key from again. Bytes that are no text stand in base64, as "
		  "\"key_base64\" or \"value_base64\". A long value has its \"size\" on its first line, and "
		  "goes "
		  "on in lines with an \"offset\". The lines are sorted, and of one revision where the "
		  "volume "
		  "keeps history.\n\n"
		  "--history is for reading: first the tree as it was at the oldest revision that can be "
		  "read, then each change "
		  "since, in the order of revisions, with \"revision\", \"time\", \"author\", \"face\", and "
		  "\"change\" or "
		  "\"deleted\". Since revisions and times cannot be written again, 'cairn import' refuses "
		  "such lines; 'cairn "
		  "snapshot' keeps history and restores it.\n\n"
		  "PREFIX is any bytes that the keys begin with.\n\n"
		  "  cairn export >all.json\n  cairn export app/ | cairn -s ssh:there import --prefix old/",
	  .options = export_options,
	  .most = 1,
	  .operands = { OPERAND_KEY },
	  .run = verb_export },
	{ .name = "import",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "",
	  .help = "write the keys that lines of JSON on standard input say",
	  .page = "The lines are those of 'cairn export'. They are written many at a time; a line that is "
		  "wrong is "
		  "an error that names it, and what stood before it has been written. A line again is the "
		  "key "
		  "again: an import can be repeated.\n\n"
		  "  cairn import --dry-run <all.json\n  cairn -V stock import --if-absent <all.json",
	  .options = import_options,
	  .run = verb_import },
	{ .name = "check",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "[VOLUME]",
	  .help = "read all of a volume, and compare it with its digest",
	  .page = "Every row, every chunk of a value and every count is looked at; the volume serves on "
		  "meanwhile. "
		  "Nothing is changed. The first row that is wrong is the error corrupt (exit status 9).\n\n"
		  "With --dir the journal and the volumes of a node whose daemon does not run are read. What "
		  "only "
		  "the journal has of a volume counts. Engines are opened as the daemon opens them, which "
		  "may "
		  "finish what a crash has left of their files.\n\n"
		  "  cairn check\n  cairn check --dir /var/lib/cairn",
	  .options = check_options,
	  .most = 1,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_check },
	{ .name = "repair",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "--dir DATA",
	  .help = "make damaged volumes and a damaged journal anew from what is valid in them",
	  .page = "DATA is the data folder of a node whose daemon does not run. What is sound is left alone. "
		  "Of a "
		  "damaged volume every valid row goes into a new one. Of a damaged journal every whole "
		  "entry is "
		  "kept that follows on what the volume's engine has; the plan is printed first. The damaged "
		  "files "
		  "are kept in DATA/lost+found, with a list of what is lost. 'cairn check --dir' says "
		  "beforehand "
		  "what is wrong.",
	  .options = check_options,
	  .run = verb_repair },
	{ .name = "compact",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "[VOLUME]",
	  .help = "have a volume's engine give back what space it can",
	  .page = "It is never needed: engines do it by themselves, later. Writes to the volume wait "
		  "meanwhile.",
	  .most = 1,
	  .operands = { OPERAND_VOLUME },
	  .run = verb_compact },
	{ .name = "config",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "",
	  .help = "the daemon's settings",
	  .page = "",
	  .verbs = config_verbs },
	{ .name = "log-level",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "[MODULE] [LEVEL]",
	  .help = "how much the daemon logs",
	  .page = "Without operands: what each module logs. LEVEL alone is for all modules. The levels are "
		  "error, warn, info, debug "
		  "and trace.",
	  .most = 2,
	  .operands = { OPERAND_MODULE, OPERAND_LEVEL },
	  .run = verb_log_level },
	{ .name = "journal",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "",
	  .help = "the node's write-ahead log",
	  .page = "",
	  .verbs = journal_verbs },
	{ .name = "metrics",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "",
	  .help = "counters and latencies, in the text format of Prometheus",
	  .page = "",
	  .run = verb_metrics },
	{ .name = "bench",
	  .aliases = "",
	  .group = "upkeep",
	  .synopsis = "",
	  .help = "how fast a node is, as its clients see it",
	  .page = "Keys of its own, in a folder bench-..., are written first. Then clients, each with a "
		  "connection, keep "
		  "as many requests under way as was asked for, and begin another one when one is answered: "
		  "puts of "
		  "random bytes and gets, of keys chosen at random. At the end, also when it is interrupted, "
		  "the keys "
		  "and their history are removed. The node goes on serving others, who share it with "
		  "this.\n\n"
		  "A latency is the time between handing a request to libcairn and having its answer, as a "
		  "client of the "
		  "same machine or over ssh sees it. With more than one request under way it includes "
		  "waiting for one's own "
		  "other requests. It says nothing about a load that does not wait for answers. Where a "
		  "client itself was "
		  "busy most of the time, a line on standard error says so: the figures are those of this "
		  "program then.\n\n"
		  "  cairn bench\n  cairn -V stock bench --clients 64 --gets 0 --size 1K --duration 30s",
	  .options = bench_options,
	  .run = verb_bench },
	{ .name = "shell",
	  .aliases = "",
	  .group = "other",
	  .synopsis = "",
	  .help = "many commands over one connection",
	  .page = "On a terminal: a prompt, with completion of commands and keys (Tab) and a history. Each "
		  "line is a command as "
		  "behind 'cairn', quoted as in a shell; # begins a comment; 'exit' ends. A line that begins "
		  "with a blank is not "
		  "kept in the history.\n\n"
		  "From a file or a pipe: put, del and get lines are sent without waiting for the answers of "
		  "those before them, "
		  "where they are about other keys; the output keeps the order of the lines. An error is "
		  "shown with its line, the "
		  "lines behind it are done all the same, and the exit status is that of the first line that "
		  "failed. With --stop "
		  "nothing behind such a line is sent.\n\n"
		  "  cairn shell < lines\n  cairn ls -r old | sed 's/^/del /' | cairn shell --atomic",
	  .options = shell_options,
	  .run = verb_shell },
	{ .name = "sandbox",
	  .aliases = "",
	  .group = "other",
	  .synopsis = "[--] COMMAND [WORD]...",
	  .help = "run a command on a throw-away node",
	  .page = "The node has a folder of its own, is ready when COMMAND starts, and is gone when COMMAND "
		  "ends, or when cairn itself is ended or killed; so are the mount and every process that "
		  "COMMAND has left "
		  "behind. $CAIRN_SERVER says where it is, so that 'cairn' talks to it, and $CAIRN_MOUNT "
		  "where it "
		  "is mounted. The exit status is that of COMMAND. Options stand before it.\n\n"
		  "So far a sandbox has one node; a larger N is the error unsupported (exit status 10).\n\n"
		  "  cairn sandbox -- ./my-test\n"
		  "  cairn sandbox --mount -- sh -c 'echo 1 >$CAIRN_MOUNT/a; cairn get a'",
	  .options = sandbox_options,
	  .least = 1,
	  .most = -1,
	  .command = 1,
	  .operands = { OPERAND_FILE },
	  .run = verb_sandbox },
	{ .name = "proxy",
	  .aliases = "",
	  .group = "other",
	  .synopsis = "",
	  .help = "connect standard input and output to the daemon",
	  .page = "This is what -s ssh:HOST runs on HOST.",
	  .run = verb_proxy },
	{ .name = "help",
	  .aliases = "",
	  .group = "other",
	  .synopsis = "[COMMAND]",
	  .help = "this help",
	  .page = "",
	  .options = help_options,
	  .most = 1,
	  .operands = { OPERAND_TOPIC },
	  .run = verb_help },
	{ .name = "complete",
	  .aliases = "",
	  .synopsis = "[--] WORD...\n--line LINE",
	  .help = "ways to go on with the last word",
	  .page = "For the completion of shells: one candidate a line, some with a tab and a line of help.",
	  .options = complete_options,
	  .most = -1,
	  .run = verb_complete },
	{ 0 },
};
