/*
 * Keys, tokens, and peers over TLS: who has the key is let in, who has not is refused by a sentence; a change
 * of the key, and how a node without one joins.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>
#include "buffer.h"
#include "tap.h"
#include "peerworld.h"

static struct peer_keys two_keys(void)
{
	struct peer_keys keys = { .count = 2 };
	struct cairn_error error;

	if (peer_key_make(&keys.keys[0], &error) || peer_key_make(&keys.keys[1], &error))
		bail("%s", error.message);
	return keys;
}

/* Only the key number N of KEYS. */
static struct peer_keys only(const struct peer_keys *keys, unsigned n)
{
	return (struct peer_keys){ .count = 1, .keys = { keys->keys[n] } };
}

static void test_key_text(void)
{
	/* These bytes do not change: key files and handed over keys have them. */
	static const char frozen[] = "cairn cluster key 1\n"
				     "key 9a287cd98c2aa498 "
				     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
	struct peer_keys keys = two_keys(), again;
	struct cairn_error error;
	char text[KEY_TEXT_MAX];
	size_t n = peer_keys_text(&keys, text);
	unsigned wrong = 0;

	ok(peer_keys_parse(cairn_slice(text, n), &again, &error) == CAIRN_OK &&
		   !memcmp(&again, &keys, sizeof(keys)),
	   "keys as text are read again");
	ok(peer_keys_find(&keys, keys.keys[1].id) == 1 && peer_keys_find(&keys, "0123456789abcdef") == -1,
	   "a key is found by its id");
	for (size_t i = 0; i < n; i++) {
		text[i] ^= 1;
		wrong += peer_keys_parse(cairn_slice(text, n), &again, &error) == CAIRN_OK;
		text[i] ^= 1;
		wrong += i != strlen(frozen) &&
			peer_keys_parse(cairn_slice(text, i), &again, &error) == CAIRN_OK;
	}
	is_int(wrong, 0, "no damaged or cut text is");
	ok(peer_keys_parse(cairn_str(frozen), &again, &error) == CAIRN_OK && again.keys[0].secret[31] == 31,
	   "the text of version 1");
	is_int(peer_keys_parse(cairn_str("cairn cluster key 2\n"), &again, &error), CAIRN_E_UNSUPPORTED,
	       "a newer version is told from damage");
}

static void test_key_file(void)
{
	struct peer_keys keys = two_keys(), again;
	struct cairn_error error;
	char folder[] = "/tmp/u-peer-tls.XXXXXX";
	struct stat st;
	int fd, damaged;

	if (!mkdtemp(folder) || (fd = open(folder, O_DIRECTORY | O_CLOEXEC)) < 0)
		bail("no folder");
	is_int(peer_keys_read(fd, KEY_FILE, &again, &error), CAIRN_E_NOT_FOUND, "a folder without a key");
	is_int(peer_keys_write(fd, KEY_FILE, &keys, &error), CAIRN_OK, "it gets one");
	ok(fstatat(fd, KEY_FILE, &st, 0) == 0 && (st.st_mode & 07777) == 0600,
	   "that only its owner may read");
	ok(peer_keys_read(fd, KEY_FILE, &again, &error) == CAIRN_OK && !memcmp(&again, &keys, sizeof(keys)),
	   "and is read");
	fchmodat(fd, KEY_FILE, 0640, 0);
	is_int(peer_keys_read(fd, KEY_FILE, &again, &error), CAIRN_E_DENIED,
	       "not where others may read it, too");
	is_str(error.message, "others may read cluster.key (mode 0640)", "which is said");
	fchmodat(fd, KEY_FILE, 0600, 0);
	damaged = openat(fd, KEY_FILE, O_WRONLY | O_CLOEXEC);
	if (damaged < 0 || ftruncate(damaged, 60) < 0)
		bail("cannot damage the file");
	close(damaged);
	is_int(peer_keys_read(fd, KEY_FILE, &again, &error), CAIRN_E_CORRUPT, "a damaged one is not taken");
	is_str(error.message, "cluster.key: the cluster key is damaged", "by name");
	unlinkat(fd, KEY_FILE, 0);
	close(fd);
	rmdir(folder);
}

static void test_token(void)
{
	struct peer_token token, again;
	struct cairn_error error;
	char text[TOKEN_TEXT], typed[64];
	unsigned wrong = 0;

	is_int(peer_token_make(text, &token, &error), CAIRN_OK, "a token is made");
	ok(strlen(text) == 26 && !strncmp(text, "ck1.", 4) && !strncmp(text + 4, token.id, 4),
	   "of 26 characters");
	snprintf(typed, sizeof(typed), " \t%s\r\n", text);
	ok(peer_token_parse(typed, &again, &error) == CAIRN_OK && !memcmp(&again, &token, sizeof(token)),
	   "typed with blanks around it, it is the same");
	for (size_t i = 0; i < 26; i++) {
		char was = text[i];

		text[i] = was == 'x' ? 'y' : 'x';
		wrong += peer_token_parse(text, &again, &error) == CAIRN_OK && i < 24;
		text[i] = was;
	}
	ok(wrong <= 1, "a wrong character is noticed, but once in 3,000 times");
	is_int(peer_token_parse("ck1.abc", &again, &error), CAIRN_E_INVALID, "a short one is none");
	is_int(peer_token_parse("", &again, &error), CAIRN_E_INVALID, "nothing is none");
	snprintf(typed, sizeof(typed), "%s %s", text, text);
	is_int(peer_token_parse(typed, &again, &error), CAIRN_E_INVALID, "two are none");
	is_int(peer_token_parse("ck1.22223456789abcdefghiaQ", &again, &error), CAIRN_OK,
	       "the token of version 1");
}

static bool all_arrived(struct world *w)
{
	return w->ends[2].messages == 99 && w->ends[1].messages == 99;
}

static struct world *open_pair(const struct peer_keys *one, const struct peer_keys *two)
{
	struct world *w = malloc(sizeof(*w));

	new_world(w);
	w->keys = one;
	open_end(w, 1, NULL);
	w->keys = two;
	open_end(w, 2, NULL);
	know(w, 1, 2);
	know(w, 2, 1);
	return w;
}

static void close_pair(struct world *w)
{
	end_world(w);
	free(w);
}

static void test_pair(void)
{
	struct peer_keys keys = two_keys();
	struct world *w = open_pair(&keys, &keys);
	struct peer_stats s;

	ok(run(w, pair_is_up), "two nodes with the same key connect");
	for (uint64_t n = 0; n < 33; n++)
		for (unsigned lane = 0; lane < PEER_LANES; lane++) {
			send_one(w, 1, 2, lane, n, 8 + n * n * n * 10);
			send_one(w, 2, 1, lane, n, 8 + n * n * n * 10);
		}
	ok(run(w, all_arrived), "all messages of all lanes arrive");
	ok(!w->ends[1].wrong && !w->ends[2].wrong, "whole, and each lane in order");
	ok(peers_stats(w->ends[1].peers, 0, &s) && !strcmp(s.key, keys.keys[0].id),
	   "the state names the key");
	close_pair(w);
}

#define THREAD_FRAMES 2000

static void *send_urgent(void *arg)
{
	struct world *w = arg;

	for (uint64_t n = 0; n < THREAD_FRAMES; n++) {
		unsigned char body[9];
		struct cairn_slice slice = { body, sizeof(body) };

		le64_put(body, n);
		body[8] = (unsigned char)(n + 8);
		while (peers_send(w->ends[1].peers, 2, PEER_URGENT, 20, SHARD, &slice, 1) == -EAGAIN)
			sched_yield();
	}
	return NULL;
}

static bool thread_is_heard(struct world *w)
{
	return w->ends[2].next[1][PEER_URGENT] == THREAD_FRAMES && w->ends[2].next[1][PEER_LOG] == 100 &&
		w->ends[1].next[2][PEER_LOG] == 100;
}

static void test_threads(void)
{
	struct peer_keys keys = two_keys();
	struct world *w = open_pair(&keys, &keys);
	pthread_t thread;

	run(w, pair_is_up);
	pthread_create(&thread, NULL, send_urgent, w);
	for (uint64_t n = 0; n < 100; n++) {
		send_one(w, 1, 2, PEER_LOG, n, 30000);
		send_one(w, 2, 1, PEER_LOG, n, 30000);
	}
	ok(run(w, thread_is_heard), "another thread sends while the loop's sends and reads");
	pthread_join(thread, NULL);
	is_int(w->ends[1].wrong + w->ends[2].wrong, 0, "all whole and in order");
	close_pair(w);
}

static bool one_has_trouble(struct world *w)
{
	struct peer_stats s;

	return peers_stats(w->ends[1].peers, 0, &s) && s.error[0];
}

/* Nodes with these keys do not connect: the one that calls says WANT. */
static void refused(const struct peer_keys *one, const struct peer_keys *two, const char *want)
{
	struct world *w = open_pair(one, two);
	struct peer_stats s;

	ok(run(w, one_has_trouble) && !w->ends[1].ups && !w->ends[2].ups, "they do not connect");
	peers_stats(w->ends[1].peers, 0, &s);
	ok(strstr(s.error, want), "%s", s.error);
	close_pair(w);
}

static void test_refused(void)
{
	struct peer_keys keys = two_keys(), a = only(&keys, 0), b = only(&keys, 1);
	char want[100];

	snprintf(want, sizeof(want), "does not take cluster key %s", a.keys[0].id);
	refused(&a, &b, want);
	b.keys[0] = a.keys[0];
	b.keys[0].secret[3] ^= 1; /* the id alone is no use */
	refused(&a, &b, want);
	refused(&a, NULL, "has hung up: does it speak TLS?");
	refused(NULL, &a, "it has hung up");
}

static bool pair_is_up_again(struct world *w)
{
	return pair_is_up(w) && w->ends[1].downs;
}

static void test_rekey(void)
{
	struct peer_keys both = two_keys(), old = only(&both, 0), new = only(&both, 1), turned = both;
	struct cairn_error error;
	struct world *w = open_pair(&old, &both);
	struct peer_stats s;

	turned.keys[0] = both.keys[1];
	turned.keys[1] = both.keys[0];
	ok(run(w, pair_is_up), "while the key is changed the old one is good");
	is_int(peers_rekey(w->ends[1].peers, &turned, &error), CAIRN_OK, "the other node learns the new one");
	is_int(w->ends[1].downs, 0, "and nothing is interrupted");
	peers_rekey(w->ends[2].peers, &new, &error);
	ok(run(w, pair_is_up_again), "one forgets the old key: the two connect anew");
	ok(peers_stats(w->ends[1].peers, 0, &s) && !strcmp(s.key, new.keys[0].id), "with the new one");
	peers_rekey(w->ends[1].peers, &new, &error);
	is_int(w->ends[1].downs, 1, "the other forgets it, too, and nothing happens");
	close_pair(w);
}

struct joiner {
	pthread_t thread;
	char address[PEER_ADDRESS_MAX + 1];
	char token[TOKEN_TEXT];
	bool tls;
	struct buffer answer;
	struct cairn_error error;
	enum cairn_code code;
	_Atomic bool done;
};

static struct peer_token good_token;
static char guest_said[100];
static struct world *join_world;
static struct joiner *join_now;

static bool find_token(void *arg, const char *id, unsigned char secret[KEY_SECRET])
{
	(void)arg;
	memcpy(secret, good_token.secret, KEY_SECRET);
	return !strcmp(id, good_token.id);
}

static void on_join(void *arg, uint64_t guest, const char *id, const char *address,
		    struct cairn_slice request)
{
	(void)arg;
	snprintf(guest_said, sizeof(guest_said), "%s %.*s %.9s", id, (int)request.len,
		 (const char *)request.data, address);
	if (request.len == 2)
		peers_join_answer(join_world->ends[1].peers, guest, cairn_str("welcome"));
	else
		peers_join_refuse(join_world->ends[1].peers, guest, "the cluster is full");
}

static void with_join(struct peer_options *o)
{
	o->calls.token = find_token;
	o->calls.join = on_join;
}

static void *join_main(void *arg)
{
	struct joiner *j = arg;

	j->code = peer_join(j->address, j->token, j->tls,
			    cairn_str(j->tls && *guest_said == '!' ? "big" : "n4"), 10000, &j->answer,
			    &j->error);
	j->done = true;
	return NULL;
}

static bool join_is_done(struct world *w)
{
	(void)w;
	return join_now->done;
}

static struct joiner join(struct world *w, const char *token, bool tls)
{
	struct joiner j = { .tls = tls };

	snprintf(j.address, sizeof(j.address), "%s", peers_address(w->ends[1].peers));
	snprintf(j.token, sizeof(j.token), "%s", token);
	join_world = w;
	join_now = &j;
	pthread_create(&j.thread, NULL, join_main, &j);
	ok(run(w, join_is_done), "a node asks to join");
	pthread_join(j.thread, NULL);
	return j;
}

static void test_join(bool tls)
{
	struct peer_keys keys = two_keys();
	struct world w;
	struct joiner j;
	struct cairn_error error;
	struct peer_token other;
	char token[TOKEN_TEXT], wrong[TOKEN_TEXT], want[100];

	new_world(&w);
	w.keys = tls ? &keys : NULL;
	open_end(&w, 1, with_join);
	peer_token_make(token, &good_token, &error);
	guest_said[0] = 0;
	j = join(&w, token, tls);
	ok(j.code == CAIRN_OK && j.answer.len == 7 && !memcmp(j.answer.data, "welcome", 7),
	   "with a token it may%s", tls ? "" : ", in the open, too");
	buffer_free(&j.answer);
	snprintf(want, sizeof(want), "%s n4 127.0.0.1", good_token.id);
	is_str(guest_said, want, "the host is told which token, what it said, and where it is");
	peer_token_make(wrong, &other, &error);
	guest_said[0] = 0;
	j = join(&w, wrong, tls);
	is_int(j.code, CAIRN_E_DENIED, "with another token it may not");
	ok(strstr(j.error.message, "it was used, is too old, or of another cluster"), "%s", j.error.message);
	is_str(guest_said, "", "and the host is not asked");
	if (tls) {
		guest_said[0] = '!';
		j = join(&w, token, tls);
		ok(j.code == CAIRN_E_DENIED && strstr(j.error.message, "refuses: the cluster is full"),
		   "the host may refuse: %s", j.error.message);
		j = join(&w, token, false);
		is_int(j.code, CAIRN_E_UNAVAILABLE, "nobody joins in the open where there is TLS: %s",
		       j.error.message);
	}
	is_int(peer_join("127.0.0.1:1", token, tls, cairn_str(""), 2000, &j.answer, &error),
	       CAIRN_E_UNAVAILABLE, "where nobody listens: %s", error.message);
	is_int(peer_join("nowhere:xyz", token, tls, cairn_str(""), 2000, &j.answer, &error), CAIRN_E_INVALID,
	       "a bad address: %s", error.message);
	end_world(&w);
}

int main(void)
{
	if (!peer_key_possible())
		return tap_skip_all("this build has no TLS");
	signal(SIGPIPE, SIG_IGN);
	test_key_text();
	test_key_file();
	test_token();
	test_pair();
	test_threads();
	test_refused();
	test_rekey();
	test_join(true);
	test_join(false);
	return tap_done();
}
