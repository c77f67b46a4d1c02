/*
 * The cluster key, and tokens to join with. The key is 32 random bytes that every node of a cluster has, in
 * the file cluster.key of its data folder (mode 0600): who has it is a peer. Its id, which is no secret, is
 * made from it, so two nodes can say which key they mean. While the key is changed two are good: the first is
 * the one that a node calls with. A token lets one node in that has no key yet: it is typed by people, short,
 * and its secret stands for a key of one conversation.
 */
#ifndef KEY_H
#define KEY_H

#include <stdbool.h>
#include <cairn/errors.h>
#include <cairn/slice.h>

#define KEY_FILE "cluster.key"
#define KEY_SECRET 32
#define KEY_ID 16        /* characters of a key's id */
#define KEY_TEXT_MAX 512 /* most bytes of keys as text */
#define TOKEN_TEXT 27    /* bytes of a token's text with its NUL: ck1. and 22 characters */
#define TOKEN_ID 4       /* characters of its id, which is no secret */

struct peer_key {
	unsigned char secret[KEY_SECRET];
	char id[KEY_ID + 1];
};

struct peer_keys {
	unsigned count; /* 1, or 2 while the key is being changed */
	struct peer_key keys[2];
};

/* Whether this build can keep peers' conversations secret at all. */
bool peer_key_possible(void);
/* Make a new key. INTERNAL without randomness; UNSUPPORTED where this build has no TLS. */
enum cairn_code peer_key_make(struct peer_key *key, struct cairn_error *error);
/* The number of the key with the id ID in KEYS, or -1. */
int peer_keys_find(const struct peer_keys *keys, const char *id);

/* KEYS as text, as in the file and as it is handed to another node; its length. TEXT has KEY_TEXT_MAX bytes.
 */
size_t peer_keys_text(const struct peer_keys *keys, char text[KEY_TEXT_MAX]);
/* The reverse. CORRUPT names what is wrong with it, UNSUPPORTED a newer version. */
enum cairn_code peer_keys_parse(struct cairn_slice text, struct peer_keys *keys, struct cairn_error *error);

/* Read the key file NAME in the folder DIRFD. NOT_FOUND where there is none; DENIED where others may read it.
 */
enum cairn_code peer_keys_read(int dirfd, const char *name, struct peer_keys *keys,
			       struct cairn_error *error);
/* Replace it, durably. */
enum cairn_code peer_keys_write(int dirfd, const char *name, const struct peer_keys *keys,
				struct cairn_error *error);

struct peer_token {
	char id[TOKEN_ID + 1];
	unsigned char secret[KEY_SECRET];
};

/* Make a token: what people are given is TEXT, what is kept is TOKEN. */
enum cairn_code peer_token_make(char text[TOKEN_TEXT], struct peer_token *token, struct cairn_error *error);
/* TEXT, perhaps with blanks around it, as it was typed. INVALID where a character is wrong. */
enum cairn_code peer_token_parse(const char *text, struct peer_token *token, struct cairn_error *error);

#endif
