/*
 * The control socket as a whole: a node with memory engines runs in a thread of this process; the bytes are
 * what a client sends on one connection before it stops sending. The daemon must answer and close.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control.h"
#include "files.h"
#include "node.h"
#include "pool.h"
#include "volume.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);

static char dir[64];
static struct node node;
static struct settings *settings;
static struct log *log_;
static pthread_t thread;
static struct loop_task ending;

static void *serve(void *arg)
{
	(void)arg;
	loop_run(node.loop);
	return NULL;
}

static void on_closed(void *arg)
{
	(void)arg;
	loop_stop(node.loop);
}

static void on_ending(struct loop_task *task)
{
	(void)task;
	control_close(&node, on_closed, NULL);
}

static void stop(void)
{
	ending.run = on_ending;
	loop_post(node.loop, &ending);
	pthread_join(thread, NULL);
	control_free(&node);
	pool_free(node.pool);
	node.pool = NULL;
	volumes_close(&node);
	node_close(&node);
	metrics_free(node.metrics);
	settings_free(settings);
	log_free(log_);
	folder_remove(AT_FDCWD, dir);
}

static void need(bool good, const char *what, const struct cairn_error *error)
{
	if (good)
		return;
	fprintf(stderr, "%s: %s\n", what, error->message);
	exit(99);
}

static void start(void)
{
	struct cairn_error error = { 0 };
	char path[128];
	const char *pairs[][2] = { { "node.data", path },
				   { "volume.engine", "memory" },
				   { "log.level", "error" } };

	snprintf(dir, sizeof(dir), "/tmp/cairn-fuzz-XXXXXX");
	need(mkdtemp(dir), "mkdtemp", &error);
	settings = settings_new();
	log_ = log_new();
	snprintf(path, sizeof(path), "%s/data", dir);
	for (int i = 0; i < 3; i++)
		need(!settings_set(settings, pairs[i][0], pairs[i][1], "fuzz", &error), "setting", &error);
	snprintf(path, sizeof(path), "%s/s", dir);
	need(!settings_set(settings, "control.socket", path, "fuzz", &error), "setting", &error);
	need(!settings_finish(settings, &error), "settings", &error);
	log_levels_set(log_, "error", &error);
	need(!node_open(&node, settings, log_, &error), "node", &error);
	node.metrics = metrics_new();
	need(!volumes_open(&node, &error), "volumes", &error);
	need(!control_open(&node, &error), "control", &error);
	need(!pthread_create(&thread, NULL, serve, NULL), "thread", &error);
	atexit(stop);
}

static int connect_to(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		abort();
	return fd;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
	static char in[65536];
	size_t sent = 0;
	bool more = true;
	int fd, ready;

	if (!node.loop)
		start();
	fd = connect_to();
	while (more) {
		struct pollfd p = { fd, (short)(POLLIN | (sent < len ? POLLOUT : 0)), 0 };
		size_t part = sent ? len - sent : len / 2 + 1; /* in two parts, so that requests are torn */

		if (sent >= len && sent != SIZE_MAX) {
			shutdown(fd, SHUT_WR);
			sent = SIZE_MAX;
			p.events = POLLIN;
		}
		ready = poll(&p, 1, 20000);
		if (ready < 0 && errno == EINTR) /* libFuzzer's timer */
			continue;
		if (ready != 1)
			abort(); /* neither an answer nor the end */
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			more = recv(fd, in, sizeof(in), MSG_DONTWAIT) > 0;
		if (more && p.revents & POLLOUT) {
			ssize_t n = send(fd, data + sent, part < len - sent ? part : len - sent,
					 MSG_DONTWAIT | MSG_NOSIGNAL);

			if (n > 0)
				sent += (size_t)n;
		}
	}
	close(fd);
	return 0;
}
