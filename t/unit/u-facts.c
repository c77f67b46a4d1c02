/* What a record says of a file, and the options that fill in what it does not say. */
#include "facts.h"
#include "tap.h"
#include "banned.h"

static struct options options;

static enum cairn_code parse(const char *list)
{
	char *argv[] = { (char *)"cairnfs", (char *)"unix:/s", (char *)"/mnt",
			 (char *)"-o",      (char *)list,      NULL };
	struct cairn_error e;

	options_free(&options);
	return options_parse(&options, 5, argv, &e);
}

static void attributes(void)
{
	struct facts out = { .kind = CAIRN_KIND_VALUE,
			     .mode = 0640,
			     .uid = 7,
			     .gid = 8,
			     .mtime_ns = 1500000000123456789,
			     .ctime_ns = 1600000000000000001 },
		     in = { 0 };
	struct cairn_msg m = { 0 };
	struct stat st;

	cairn_msg_u64(&m, CAIRN_F_REVISION, 12);
	cairn_msg_u64(&m, CAIRN_F_SIZE, 99);
	cairn_msg_kind(&m, CAIRN_F_KIND, CAIRN_KIND_FIFO);
	cairn_msg_u64(&m, CAIRN_F_FILE_ID, 4);
	facts_attributes(&out, FACTS_ALL, &m);
	ok(facts_take(&in, cairn_msg_slice(&m)), "a record with attributes is read");
	facts_stat(&in, &options, &st);
	is_int(st.st_mode, S_IFIFO | 0640, "type and mode");
	is_int(st.st_uid * 100 + st.st_gid, 708, "owner and group");
	is_int(st.st_size, 99, "size");
	ok(st.st_mtim.tv_sec == 1500000000 && st.st_mtim.tv_nsec == 123456789, "the time to the nanosecond");
	ok(in.revision == 12 && in.file_id == 4, "revision and file id");
	m.len = 0;
	cairn_msg_u64(&m, CAIRN_F_TIME, 1700000000000000000);
	out.mode = 0;
	facts_attributes(&out, FACTS_MODE, &m);
	ok(facts_take(&in, cairn_msg_slice(&m)), "a record with a mode alone is read");
	facts_stat(&in, &options, &st);
	is_int(st.st_mode, S_IFREG, "mode 0 stays 0");
	ok(st.st_uid == 5 && st.st_gid == 6, "owner and group are the mount's");
	is_int(st.st_mtim.tv_sec, 1700000000, "the time is that of the commit");
	cairn_msg_free(&m);
	facts_free(&in);
}

static void user_attributes(void)
{
	struct cairn_msg m = { 0 };
	struct cairn_slice value;
	struct facts f = { 0 };
	size_t all = cairn_msg_open(&m, CAIRN_F_ATTRIBUTES);

	for (int i = 0; i < 3; i++) {
		size_t mark = cairn_msg_open(&m, CAIRN_F_XATTR);
		char name[] = "user.0";

		name[5] = (char)('0' + i);
		cairn_msg_text(&m, CAIRN_F_NAME, name);
		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice("a\0b", (size_t)i));
		cairn_msg_close(&m, mark);
	}
	cairn_msg_close(&m, all);
	ok(facts_take(&f, cairn_msg_slice(&m)), "user attributes are read");
	ok(facts_xattr(&f, "user.2", &value) && cairn_slice_eq(value, cairn_slice("a\0", 2)),
	   "with any bytes");
	ok(facts_xattr(&f, "user.0", &value) && value.len == 0, "and empty ones");
	ok(!facts_xattr(&f, "user.3", &value), "and no others");
	facts_free(&f);
	cairn_msg_free(&m);
}

int main(void)
{
	is_int(parse("rw,dev,suid,_netdev,x-systemd.automount,uid=5,gid=6,fmode=644,prefix=/app/conf/,ro"), 0,
	       "what mount(8) passes is taken");
	ok(options.uid == 5 && options.fmode == 0644 && options.ro && options.dmode == 0700,
	   "values and defaults");
	is_str(options.prefix, "app/conf", "a prefix has no slashes at its ends");
	attributes();
	user_attributes();
	is_int(parse("fmod=644"), CAIRN_E_INVALID, "an unknown option is refused");
	is_int(parse("fmode=8"), CAIRN_E_INVALID, "an octal number with an 8 is refused");
	is_int(parse("timeout=0"), CAIRN_E_INVALID, "a number out of range is refused");
	is_int(parse("ro=yes"), CAIRN_E_INVALID, "a flag with a value is refused");
	is_int(parse("uid"), CAIRN_E_INVALID, "a missing value is refused");
	options_free(&options);
	return tap_done();
}
