/* Commands of Redis that this gateway has not, and what to use instead. */
#include <stdio.h>
#include "families.h"
#include "banned.h"

static const struct {
	const char *names; /* each between blanks */
	const char *instead;
} rows[] = {
	{ " lpush rpush lpushx rpushx lpop rpop llen lrange lindex lset lrem ltrim linsert lpos lmove lmpop "
	  "blpop brpop "
	  "brpoplpush rpoplpush blmove blmpop ",
	  "use a key for each item, named by a counter (INCR), and SCAN MATCH 'list/*' for all of them" },
	{ " hset hget hmset hmget hgetall hdel hexists hkeys hvals hlen hincrby hincrbyfloat hsetnx hscan "
	  "hstrlen hrandfield ",
	  "use a key for each field, 'name/field', and SCAN MATCH 'name/*' for all of them" },
	{ " sadd srem smembers sismember smismember scard spop srandmember sunion sinter sdiff sunionstore "
	  "sinterstore "
	  "sdiffstore sintercard smove sscan ",
	  "use an empty key for each member, 'set/member', and EXISTS and SCAN MATCH 'set/*'" },
	{ " zadd zrem zscore zmscore zrange zrangebyscore zrangebylex zrevrange zrevrangebyscore "
	  "zrevrangebylex zcard zcount "
	  "zlexcount zincrby zrank zrevrank zpopmin zpopmax bzpopmin bzpopmax zscan zunion zinter zdiff "
	  "zunionstore "
	  "zinterstore zdiffstore zrangestore zremrangebyrank zremrangebyscore zremrangebylex zrandmember "
	  "zmpop ",
	  "keys are in order by themselves: put the score, with leading zeros, into the key's name" },
	{ " xadd xread xrange xrevrange xlen xdel xtrim xgroup xreadgroup xack xclaim xautoclaim xpending "
	  "xinfo xsetid ",
	  "every key has its history (CAIRN.HISTORY), and 'cairn watch --from REVISION' reads all changes" },
	{ " eval evalsha eval_ro evalsha_ro script fcall fcall_ro function ",
	  "use MULTI with WATCH, SET with IFEQ, DELEX with IFEQ, or CAIRN.TXN" },
	{ " publish spublish ssubscribe sunsubscribe ",
	  "set a key, and let others subscribe to its keyspace channel" },
	{ " setbit getbit bitcount bitpos bitop bitfield bitfield_ro pfadd pfcount pfmerge geoadd geopos "
	  "geodist georadius "
	  "geosearch geohash ",
	  "get the value and work on it in the client; SET with IFEQ writes it back" },
	{ " save bgsave bgrewriteaof lastsave ",
	  "writes are on disk when they are answered; 'cairn snapshot save' makes a copy" },
	{ " replicaof slaveof psync sync replconf cluster failover ",
	  "replication is a setting of the volume" },
	{ " dump restore migrate ", "use 'cairn export' and 'cairn import', or GET and SET" },
	{ " acl ", "the setting gateway.resp.password-file asks for a password" },
	{ " move swapdb ", "volumes are separate: use 'cairn export' and 'cairn import', or GET and SET" },
	{ " shutdown ", "end the daemon with SIGTERM" },
	{ " sort sort_ro lcs object memory latency slowlog monitor debug module ",
	  "it tells of Redis' own insides" },
};

const char *command_instead(struct cairn_slice name)
{
	char word[40] = " ";

	if (name.len > sizeof(word) - 3 || memchr(name.data, ' ', name.len))
		return NULL;
	for (size_t i = 0; i < name.len; i++)
		word[i + 1] = (char)(((const char *)name.data)[i] | 0x20);
	word[name.len + 1] = ' ';
	word[name.len + 2] = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strstr(rows[i].names, word))
			return rows[i].instead;
	return NULL;
}
