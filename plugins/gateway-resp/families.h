/* The functions of the commands' rows, by the file that they stand in. */
#ifndef RESP_FAMILIES_H
#define RESP_FAMILIES_H

#include "resp.h"

#define ASK(name) bool name(struct ask *q, const struct args *a)
#define TELL(name) void name(struct client *c, uint64_t tag, const struct result *results, size_t count)
#define RUN(name) enum run name(struct client *c, const struct args *a)

/* strings.c */
ASK(ask_get);
TELL(tell_get);
TELL(tell_mget);
TELL(tell_first);
ASK(ask_set);
TELL(tell_set);
ASK(ask_setnx);
ASK(ask_setex);
ASK(ask_psetex);
ASK(ask_getset);
ASK(ask_getdel);
ASK(ask_getex);
ASK(ask_mset);
TELL(tell_mset);
ASK(ask_msetnx);
TELL(tell_msetnx);
ASK(ask_append);
TELL(tell_size);
ASK(ask_meta);
TELL(tell_strlen);
ASK(ask_getrange);
TELL(tell_getrange);
RUN(run_getrange);
ASK(ask_setrange);
TELL(tell_setrange);
ASK(ask_incr);
ASK(ask_decr);
ASK(ask_incrby);
ASK(ask_decrby);
TELL(tell_incr);
RUN(run_incrbyfloat);
/* A time to live, or with ABSOLUTE a time, of COMMAND: into one of the two. */
bool to_expiry(struct ask *q, const char *command, struct cairn_slice word, bool seconds, bool absolute,
	       uint64_t *ttl_ms, uint64_t *at_ms);
/* When the key of the open operation goes; 0 and 0: never. */
void ask_expiry(struct ask *q, uint64_t ttl_ms, uint64_t at_ms);
/* A condition of the open operation: KEY has VALUE. */
void ask_if_equal(struct ask *q, struct cairn_slice key, struct cairn_slice value);
/* keys.c */
ASK(ask_del);
TELL(tell_count);
ASK(ask_delex);
TELL(tell_exists);
TELL(tell_type);
ASK(ask_expire);
RUN(run_expire);
ASK(ask_ttl);
TELL(tell_ttl);
ASK(ask_persist);
TELL(tell_persist);
ASK(ask_rename);
TELL(tell_rename);
ASK(ask_renamenx);
TELL(tell_renamenx);
ASK(ask_copy);
/* scans.c */
RUN(run_keys);
RUN(run_scan);
RUN(run_randomkey);
RUN(run_dbsize);
RUN(run_flush);
/* multi.c */
RUN(run_multi);
RUN(run_exec);
RUN(run_discard);
RUN(run_watch);
RUN(run_unwatch);
/* connection.c */
RUN(run_ping);
RUN(run_echo);
RUN(run_hello);
RUN(run_auth);
RUN(run_select);
RUN(run_quit);
RUN(run_reset);
/* server.c */
RUN(run_command);
RUN(run_config);
RUN(run_time);
RUN(run_wait);
RUN(run_info);
/* notify.c */
RUN(run_subscribe);
RUN(run_psubscribe);
RUN(run_unsubscribe);
RUN(run_punsubscribe);
RUN(run_tracking);
/* cairn.c */
RUN(run_history);
ASK(ask_revert);
RUN(run_status);
RUN(run_txn);
/* clients.c */
RUN(run_client);
/* What to use instead of the command NAME, which Redis has and this gateway has not; NULL where it has none
 * such. */
const char *command_instead(struct cairn_slice name);

#endif
