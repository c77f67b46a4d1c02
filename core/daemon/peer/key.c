/*
 * Keys and tokens as texts. The key file is a line that names its form and a line for each key, with its id,
 * so that a damaged one is noticed. A token is "ck1." and 22 characters that cannot be taken for one another:
 * 4 are its id, 16 are secret (93 bits), 2 are a check of the others, since people type it.
 */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#ifdef HAVE_OPENSSL
#include <openssl/evp.h>
#endif
#include "files.h"
#include "key.h"
#include "banned.h"

#define FIRST_LINE "cairn cluster key 1\n"
#define TOKEN_START "ck1."
#define TOKEN_SECRET 16
#define TOKEN_CHECK 2
#define TOKEN_BODY (TOKEN_ID + TOKEN_SECRET) /* characters that the check is about */

static const char alphabet[] = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";

bool peer_key_possible(void)
{
#ifdef HAVE_OPENSSL
	return true;
#else
	return false;
#endif
}

/* SHA-256 of PURPOSE, which keeps the uses of one secret apart, and BYTES. False where this build has none.
 */
static bool digest(const char *purpose, struct cairn_slice bytes, unsigned char out[32])
{
#ifdef HAVE_OPENSSL
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) &&
		EVP_DigestUpdate(ctx, purpose, strlen(purpose) + 1) &&
		EVP_DigestUpdate(ctx, bytes.data, bytes.len) && EVP_DigestFinal_ex(ctx, out, NULL);

	EVP_MD_CTX_free(ctx);
	return good;
#else
	(void)purpose;
	(void)bytes;
	(void)out;
	return false;
#endif
}

static enum cairn_code no_tls(struct cairn_error *error)
{
	return cairn_fail(error, CAIRN_E_UNSUPPORTED,
			  "this build has no TLS, so no cluster keys and no tokens");
}

static void hex(char *text, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static bool key_from(struct peer_key *key)
{
	unsigned char d[32];

	if (!digest("cairn cluster key id", cairn_slice(key->secret, KEY_SECRET), d))
		return false;
	hex(key->id, d, KEY_ID / 2);
	return true;
}

enum cairn_code peer_key_make(struct peer_key *key, struct cairn_error *error)
{
	if (getrandom(key->secret, KEY_SECRET, 0) != KEY_SECRET)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no randomness for a cluster key");
	return key_from(key) ? CAIRN_OK : no_tls(error);
}

int peer_keys_find(const struct peer_keys *keys, const char *id)
{
	for (unsigned i = 0; i < keys->count; i++)
		if (!strcmp(keys->keys[i].id, id))
			return (int)i;
	return -1;
}

size_t peer_keys_text(const struct peer_keys *keys, char text[KEY_TEXT_MAX])
{
	char secret[2 * KEY_SECRET + 1];
	size_t n = (size_t)snprintf(text, KEY_TEXT_MAX, FIRST_LINE);

	for (unsigned i = 0; i < keys->count; i++) {
		hex(secret, keys->keys[i].secret, KEY_SECRET);
		n += (size_t)snprintf(text + n, KEY_TEXT_MAX - n, "%s %s %s\n", i ? "also" : "key",
				      keys->keys[i].id, secret);
	}
	explicit_bzero(secret, sizeof(secret));
	return n;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One line, "WORD ID SECRET\n", off the front of TEXT. */
static bool take_line(struct cairn_slice *text, const char *word, struct peer_key *key)
{
	const char *p = text->data;
	size_t skip = strlen(word) + 1, size = skip + KEY_ID + 1 + 2 * KEY_SECRET + 1;

	if (text->len < size || memcmp(p, word, skip - 1) || p[skip - 1] != ' ' || p[skip + KEY_ID] != ' ' ||
	    p[size - 1] != '\n')
		return false;
	for (size_t i = 0; i < KEY_SECRET; i++) {
		int high = nibble(p[skip + KEY_ID + 1 + 2 * i]), low = nibble(p[skip + KEY_ID + 2 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		key->secret[i] = (unsigned char)(high << 4 | low);
	}
	if (!key_from(key) || memcmp(key->id, p + skip, KEY_ID))
		return false;
	*text = cairn_slice(p + size, text->len - size);
	return true;
}

enum cairn_code peer_keys_parse(struct cairn_slice text, struct peer_keys *keys, struct cairn_error *error)
{
	const size_t first = strlen(FIRST_LINE);

	memset(keys, 0, sizeof(*keys));
	if (!peer_key_possible())
		return no_tls(error);
	if (text.len < first || memcmp(text.data, FIRST_LINE, first - 2))
		return cairn_fail(error, CAIRN_E_CORRUPT, "this is no cluster key");
	if (memcmp(text.data, FIRST_LINE, first))
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the cluster key has a newer form than this build knows");
	text = cairn_slice((const char *)text.data + first, text.len - first);
	if (take_line(&text, "key", &keys->keys[0])) {
		keys->count = 1;
		if (text.len && take_line(&text, "also", &keys->keys[1]))
			keys->count = 2;
	}
	if (keys->count && !text.len)
		return CAIRN_OK;
	explicit_bzero(keys, sizeof(*keys));
	return cairn_fail(error, CAIRN_E_CORRUPT, "the cluster key is damaged");
}

enum cairn_code peer_keys_read(int dirfd, const char *name, struct peer_keys *keys, struct cairn_error *error)
{
	struct stat st;
	enum cairn_code code;
	char *text;
	size_t len;
	int r;

	if (fstatat(dirfd, name, &st, 0) == 0 && st.st_mode & 077)
		return cairn_fail(error, CAIRN_E_DENIED, "others may read %s (mode %04o)", name,
				  (unsigned)st.st_mode & 07777);
	r = file_read(dirfd, name, KEY_TEXT_MAX, &text, &len);
	if (r == -ENOENT)
		return cairn_fail(error, CAIRN_E_NOT_FOUND, "there is no %s", name);
	if (r == -EFBIG)
		return cairn_fail(error, CAIRN_E_CORRUPT, "%s: this is no cluster key", name);
	if (r < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "cannot read %s: %s", name, strerror(-r));
	code = peer_keys_parse(cairn_slice(text, len), keys, error);
	if (code)
		cairn_error_prefix(error, "%s", name);
	explicit_bzero(text, len);
	free(text);
	return code;
}

enum cairn_code peer_keys_write(int dirfd, const char *name, const struct peer_keys *keys,
				struct cairn_error *error)
{
	char text[KEY_TEXT_MAX];
	int r = file_replace(dirfd, name, cairn_slice(text, peer_keys_text(keys, text)));

	explicit_bzero(text, sizeof(text));
	return r < 0 ? cairn_fail(error, CAIRN_E_INTERNAL, "cannot write %s: %s", name, strerror(-r))
		     : CAIRN_OK;
}

/* The check of a token's characters from its id on, and its secret. */
static bool token_from(const char *body, char check[TOKEN_CHECK], struct peer_token *token)
{
	unsigned char d[32];

	if (!digest("cairn token check", cairn_slice(body, TOKEN_BODY), d))
		return false;
	for (size_t i = 0; i < TOKEN_CHECK; i++)
		check[i] = alphabet[d[i] % (sizeof(alphabet) - 1)];
	memcpy(token->id, body, TOKEN_ID);
	token->id[TOKEN_ID] = 0;
	return digest("cairn token secret", cairn_slice(body, TOKEN_BODY), token->secret);
}

enum cairn_code peer_token_make(char text[TOKEN_TEXT], struct peer_token *token, struct cairn_error *error)
{
	char *body = text + strlen(TOKEN_START);
	unsigned char random;

	memcpy(text, TOKEN_START, strlen(TOKEN_START));
	for (size_t n = 0; n < TOKEN_BODY;) {
		if (getrandom(&random, 1, 0) != 1)
			return cairn_fail(error, CAIRN_E_INTERNAL, "no randomness for a token");
		random &= 63;
		if (random < sizeof(alphabet) - 1)
			body[n++] = alphabet[random];
	}
	if (!token_from(body, body + TOKEN_BODY, token))
		return no_tls(error);
	text[TOKEN_TEXT - 1] = 0;
	return CAIRN_OK;
}

enum cairn_code peer_token_parse(const char *text, struct peer_token *token, struct cairn_error *error)
{
	size_t start = strspn(text, " \t\r\n"), len = strcspn(text + start, " \t\r\n");
	const char *body = text + start + strlen(TOKEN_START);
	char check[TOKEN_CHECK];

	if (!peer_key_possible())
		return no_tls(error);
	if (len != TOKEN_TEXT - 1 || memcmp(text + start, TOKEN_START, strlen(TOKEN_START)) ||
	    text[start + len + strspn(text + start + len, " \t\r\n")])
		return cairn_fail(error, CAIRN_E_INVALID, "a token is '%s' and %d characters", TOKEN_START,
				  TOKEN_BODY + TOKEN_CHECK);
	if (!token_from(body, check, token) || memcmp(check, body + TOKEN_BODY, TOKEN_CHECK)) {
		explicit_bzero(token, sizeof(*token));
		return cairn_fail(error, CAIRN_E_INVALID, "this is no token: a character is wrong");
	}
	return CAIRN_OK;
}
