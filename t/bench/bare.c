/*
 * The bare C APIs of LevelDB, LMDB and RocksDB, as a program would use them: what the plugins are measured
 * against. Options are those that the plugins use by default, so that only what the plugin adds is seen.
 */
#include "config.h"
#include <stdlib.h>
#include <string.h>
#include "engines.h"

#ifdef HAVE_ENGINE_LEVELDB
#include <leveldb/c.h>

struct leveldb {
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_cache_t *cache;
	leveldb_filterpolicy_t *bloom;
	leveldb_writeoptions_t *plain, *synced;
	leveldb_readoptions_t *read;
};

static void *bare_leveldb_open(const char *dir)
{
	struct leveldb *l = calloc(1, sizeof(*l));
	char *error = NULL;

	l->options = leveldb_options_create();
	l->cache = leveldb_cache_create_lru(4 << 20);
	l->bloom = leveldb_filterpolicy_create_bloom(10);
	leveldb_options_set_create_if_missing(l->options, 1);
	leveldb_options_set_paranoid_checks(l->options, 1);
	leveldb_options_set_cache(l->options, l->cache);
	leveldb_options_set_filter_policy(l->options, l->bloom);
	leveldb_options_set_write_buffer_size(l->options, 4 << 20);
	leveldb_options_set_max_open_files(l->options, 500);
	l->plain = leveldb_writeoptions_create();
	l->synced = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(l->synced, 1);
	l->read = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(l->read, 1);
	l->db = leveldb_open(l->options, dir, &error);
	if (error)
		die("leveldb: %s", error);
	return l;
}

static void bare_leveldb_close(void *db)
{
	struct leveldb *l = db;

	leveldb_close(l->db);
	leveldb_options_destroy(l->options);
	leveldb_cache_destroy(l->cache);
	leveldb_filterpolicy_destroy(l->bloom);
	leveldb_writeoptions_destroy(l->plain);
	leveldb_writeoptions_destroy(l->synced);
	leveldb_readoptions_destroy(l->read);
	free(l);
}

static void bare_leveldb_put(void *db, const struct row *rows, size_t count, bool sync)
{
	struct leveldb *l = db;
	leveldb_writebatch_t *b = leveldb_writebatch_create();
	char *error = NULL;

	for (size_t i = 0; i < count; i++)
		leveldb_writebatch_put(b, rows[i].key.data, rows[i].key.len, rows[i].value.data,
				       rows[i].value.len);
	leveldb_write(l->db, sync ? l->synced : l->plain, b, &error);
	if (error)
		die("leveldb: %s", error);
	leveldb_writebatch_destroy(b);
}

static bool bare_leveldb_get(void *db, struct cairn_slice key)
{
	struct leveldb *l = db;
	char *error = NULL, *value;
	size_t len;

	value = leveldb_get(l->db, l->read, key.data, key.len, &len, &error);
	if (error)
		die("leveldb: %s", error);
	if (!value)
		return false;
	touch(value, len);
	leveldb_free(value);
	return true;
}

static size_t bare_leveldb_scan(void *db)
{
	struct leveldb *l = db;
	leveldb_iterator_t *it = leveldb_create_iterator(l->db, l->read);
	size_t count = 0, len;
	char *error = NULL;

	for (leveldb_iter_seek_to_first(it); leveldb_iter_valid(it); leveldb_iter_next(it), count++) {
		const char *p = leveldb_iter_key(it, &len);

		touch(p, len);
		p = leveldb_iter_value(it, &len);
		touch(p, len);
	}
	leveldb_iter_get_error(it, &error);
	if (error)
		die("leveldb: %s", error);
	leveldb_iter_destroy(it);
	return count;
}
#endif

#ifdef HAVE_LMDB
#include <lmdb.h>

struct lmdb {
	MDB_env *env;
	MDB_dbi rows;
	MDB_txn *read; /* reset between reads */
};

static void must(int rc)
{
	if (rc)
		die("lmdb: %s", mdb_strerror(rc));
}

static void *bare_lmdb_open(const char *dir)
{
	struct lmdb *l = calloc(1, sizeof(*l));
	MDB_txn *txn;

	must(mdb_env_create(&l->env));
	must(mdb_env_set_mapsize(l->env, (size_t)1 << 38));
	must(mdb_env_open(l->env, dir, MDB_NOTLS, 0600));
	must(mdb_txn_begin(l->env, NULL, 0, &txn));
	must(mdb_dbi_open(txn, NULL, 0, &l->rows));
	must(mdb_txn_commit(txn));
	must(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &l->read));
	mdb_txn_reset(l->read);
	return l;
}

static void bare_lmdb_close(void *db)
{
	struct lmdb *l = db;

	mdb_txn_abort(l->read);
	mdb_env_close(l->env);
	free(l);
}

static void bare_lmdb_put(void *db, const struct row *rows, size_t count, bool sync)
{
	struct lmdb *l = db;
	MDB_txn *txn;

	mdb_env_set_flags(l->env, MDB_NOSYNC, !sync);
	must(mdb_txn_begin(l->env, NULL, 0, &txn));
	for (size_t i = 0; i < count; i++) {
		MDB_val k = { rows[i].key.len, (void *)rows[i].key.data };
		MDB_val v = { rows[i].value.len, (void *)rows[i].value.data };

		must(mdb_put(txn, l->rows, &k, &v, 0));
	}
	must(mdb_txn_commit(txn));
}

/* A new state for each get, as a server needs it. */
static bool bare_lmdb_get(void *db, struct cairn_slice key)
{
	struct lmdb *l = db;
	MDB_val k = { key.len, (void *)key.data }, v;
	int rc;

	must(mdb_txn_renew(l->read));
	rc = mdb_get(l->read, l->rows, &k, &v);
	if (rc && rc != MDB_NOTFOUND)
		must(rc);
	if (!rc)
		touch(v.mv_data, v.mv_size);
	mdb_txn_reset(l->read);
	return !rc;
}

static size_t bare_lmdb_scan(void *db)
{
	struct lmdb *l = db;
	MDB_cursor *c;
	MDB_val k, v;
	size_t count = 0;
	int rc;

	must(mdb_txn_renew(l->read));
	must(mdb_cursor_open(l->read, l->rows, &c));
	while (!(rc = mdb_cursor_get(c, &k, &v, MDB_NEXT))) {
		touch(k.mv_data, k.mv_size);
		touch(v.mv_data, v.mv_size);
		count++;
	}
	if (rc != MDB_NOTFOUND)
		must(rc);
	mdb_cursor_close(c);
	mdb_txn_reset(l->read);
	return count;
}
#endif

#ifdef HAVE_ROCKSDB
#include <rocksdb/c.h>

struct rocksdb {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *plain, *synced;
	rocksdb_readoptions_t *read;
};

static void *bare_rocksdb_open(const char *dir)
{
	struct rocksdb *r = calloc(1, sizeof(*r));
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	char *error = NULL;

	r->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(r->options, 1);
	rocksdb_options_set_write_buffer_size(r->options, 4 << 20);
	rocksdb_options_set_max_open_files(r->options, 500);
	rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom(10));
	rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(4 << 20));
	rocksdb_options_set_block_based_table_factory(r->options, table);
	r->plain = rocksdb_writeoptions_create();
	r->synced = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(r->synced, 1);
	r->read = rocksdb_readoptions_create();
	r->db = rocksdb_open(r->options, dir, &error);
	if (error)
		die("rocksdb: %s", error);
	return r;
}

static void bare_rocksdb_close(void *db)
{
	struct rocksdb *r = db;

	rocksdb_close(r->db);
	rocksdb_options_destroy(r->options);
	rocksdb_writeoptions_destroy(r->plain);
	rocksdb_writeoptions_destroy(r->synced);
	rocksdb_readoptions_destroy(r->read);
	free(r);
}

static void bare_rocksdb_put(void *db, const struct row *rows, size_t count, bool sync)
{
	struct rocksdb *r = db;
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	char *error = NULL;

	for (size_t i = 0; i < count; i++)
		rocksdb_writebatch_put(b, rows[i].key.data, rows[i].key.len, rows[i].value.data,
				       rows[i].value.len);
	rocksdb_write(r->db, sync ? r->synced : r->plain, b, &error);
	if (error)
		die("rocksdb: %s", error);
	rocksdb_writebatch_destroy(b);
}

static bool bare_rocksdb_get(void *db, struct cairn_slice key)
{
	struct rocksdb *r = db;
	char *error = NULL;
	rocksdb_pinnableslice_t *s;
	const char *value;
	size_t len;

	s = rocksdb_get_pinned(r->db, r->read, key.data, key.len, &error);
	if (error)
		die("rocksdb: %s", error);
	if (!s)
		return false;
	value = rocksdb_pinnableslice_value(s, &len);
	touch(value, len);
	rocksdb_pinnableslice_destroy(s);
	return true;
}

static size_t bare_rocksdb_scan(void *db)
{
	struct rocksdb *r = db;
	rocksdb_iterator_t *it = rocksdb_create_iterator(r->db, r->read);
	size_t count = 0, len;
	char *error = NULL;

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it), count++) {
		const char *p = rocksdb_iter_key(it, &len);

		touch(p, len);
		p = rocksdb_iter_value(it, &len);
		touch(p, len);
	}
	rocksdb_iter_get_error(it, &error);
	if (error)
		die("rocksdb: %s", error);
	rocksdb_iter_destroy(it);
	return count;
}
#endif

#define SUBJECT(library) \
	{ \
		"bare-" #library, true, bare_##library##_open, bare_##library##_close, bare_##library##_put, \
			bare_##library##_get, bare_##library##_scan \
	}

const struct subject bare[] = {
#ifdef HAVE_ENGINE_LEVELDB
	SUBJECT(leveldb),
#endif
#ifdef HAVE_LMDB
	SUBJECT(lmdb),
#endif
#ifdef HAVE_ROCKSDB
	SUBJECT(rocksdb),
#endif
	{ .name = NULL },
};
