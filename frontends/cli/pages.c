/* Pages of 'cairn help' that belong to no verb. */
#include "cli.h"
#include "banned.h"

const struct topic topics[] = {
	{ "keys", "what a key is, and how it is given",
	  "A key is 1 to 4,096 bytes, any bytes, and is taken as it stands: app/port is a key, /app/port is "
	  "another. '/' makes "
	  "folders: ls, tree and -r treat all keys that begin with app/ as the content of the folder app. "
	  "Folders need not be "
	  "made.\n\n"
	  "A key that begins with ./, ../ or / and lies on a mount of cairn means the key of that file, with "
	  "the mount's prefix; "
	  "--key switches that off. A key that begins with '-' comes behind '--'.\n\n"
	  "  cairn get app/port\n  cd /mnt/cairn/app && cairn get ./port\n  cairn get --key ./port\n  cairn "
	  "get -- -x\n\n"
	  "Bytes that cannot be typed are written $'a\\x00b' within cairn shell and cairn txn." },
	{ "exit-codes", "what the exit status says",
	  "0 is success. An error is said on standard error as 'cairn: CODE: sentence', perhaps with a line "
	  "'hint: ...', or, with "
	  "--json, as one object; the exit status follows from its code. (health has its own: 0 ok, 1 "
	  "degraded, 2 no-quorum, 3 "
	  "disconnected.)" },
	{ "locks", "what a lock holds off, and what it does not",
	  "A lock is a key that expires, made by 'cairn lock' only where it is not there. Its value says who "
	  "holds "
	  "it; the revision that made it is its fence. cairn lock refreshes it while COMMAND runs, and "
	  "deletes it in "
	  "the end. Where cairn lock or its machine dies, the lock frees itself when its time (--ttl) is "
	  "over. Who of "
	  "several waiters gets it next is a matter of chance.\n\n"
	  "A program may be paused for longer than that, and go on while somebody else holds the lock. "
	  "Therefore "
	  "every cairn command below cairn lock carries the fence, in $CAIRN_FENCE, and the store compares "
	  "it within "
	  "each write: a write of one who has lost the lock is the error conflict, and changes nothing. "
	  "Locks may be "
	  "nested; a write then needs all of them. Programs that use libcairn carry the fence, too.\n\n"
	  "  cairn lock locks/deploy sh -c 'cairn put app/version 1.4.2 && ./restart'\n\n"
	  "What has no fence: writes through a mount, which cannot say on whose behalf they are made; "
	  "gateways; "
	  "commands on volumes, settings and snapshots; and all that is not cairn, such as ./restart above: "
	  "that may "
	  "go on until the SIGTERM arrives. A write to another volume than that of the lock is refused, "
	  "since its "
	  "store cannot know the lock; 'env -u CAIRN_FENCE cairn ...' writes it unguarded. So it is with "
	  "another "
	  "cluster, where that lock is not held.\n\n"
	  "COMMAND runs in a process group of its own. What it leaves running in the background when it ends "
	  "is not "
	  "ended, but its writes are refused, since the lock is free. Where cairn lock is killed with "
	  "SIGKILL, COMMAND "
	  "gets SIGTERM, and what it has started itself may go on; its writes are refused once the time is "
	  "over." },
	{ "mount", "how keys are files",
	  "cairnfs SERVERS FOLDER shows the keys as files: app/port is the file FOLDER/app/port, and its "
	  "content is the value. "
	  "What a program writes becomes one new value when it closes the file. Every cairn command takes "
	  "such files as keys.\n\n"
	  "  cairnfs unix:/run/cairn/socket /mnt/cairn\n  echo 8080 > /mnt/cairn/app/port\n  cairn stat "
	  "/mnt/cairn/app/port\n"
	  "  fusermount3 -u /mnt/cairn\n\n"
	  "The manual page cairnfs(8) has the options and the limits." },
	{ "options", "options of every command, and the environment",
	  "They may stand before or behind the command. Without -s the servers are those of $CAIRN_SERVER, "
	  "then those of the "
	  "user's file ~/.config/cairn/servers, then the sockets in the run-time folders. $CAIRN_VOLUME "
	  "names the usual volume. "
	  "$CAIRN_FENCE says which locks a command runs under; cairn lock sets it. "
	  "$NO_COLOR and TERM=dumb switch colours off." },
	{ 0 },
};
