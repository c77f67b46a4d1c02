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
	  "$NO_COLOR and TERM=dumb switch colours off." },
	{ 0 },
};
