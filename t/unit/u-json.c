/* JSON and fields: what is read is what was meant, what is printed can be read again, and bad input is
 * refused by name. */
#include "json.h"
#include "clock.h"
#include "tap.h"

/* Read TEXT as a request's line; the fields are in *REQUEST. */
static enum cairn_code read_line(const char *text, const char *payload, struct cairn_msg *request,
				 struct cairn_error *error)
{
	struct json_line l = { 0 };
	enum cairn_code code = json_line_read(&l, cairn_str(text), error);

	cairn_msg_start(request, 1);
	if (code == CAIRN_OK)
		code = json_line_request(&l, cairn_str(payload), request, error);
	json_line_free(&l);
	return code;
}

/* The line TEXT gives fields that print as WANT (NULL: as the args of the line are). */
static void round_trip(const char *args, const char *payload, const char *want)
{
	struct cairn_msg request = { 0 };
	struct cairn_error error;
	struct buffer out = { 0 };
	char line[2000];

	snprintf(line, sizeof(line), "{\"id\":1,\"op\":\"txn\",\"args\":%s,\"payload\":%zu}", args,
		 strlen(payload));
	if (!ok(read_line(line, payload, &request, &error) == CAIRN_OK, "reads %.60s", args))
		printf("# %s\n", error.message);
	ok(cairn_fields_check(cairn_message_fields(cairn_msg_slice(&request)), NULL) == 0,
	   "as well-formed fields");
	json_print_fields(&out, cairn_message_fields(cairn_msg_slice(&request)), NULL);
	buffer_byte(&out, 0);
	is_str((char *)out.data, want ? want : args, "that print %s",
	       want ? "as they should" : "as they were");
	buffer_free(&out);
	cairn_msg_free(&request);
}

static void every_type(void)
{
	round_trip("{}", "", NULL);
	round_trip("{\"key\":\"a/b\",\"revision\":9007199254740991,\"meta_only\":true,\"reverse\":false}", "",
		   NULL);
	round_trip("{\"mtime\":\"2026-11-20T10:05:01.123456789Z\",\"kind\":\"symlink\"}", "", NULL);
	round_trip("{\"client\":\"00112233445566778899aabbccddeeff\"}", "", NULL);
	round_trip("{\"attributes\":{\"mode\":420,\"xattr\":[{\"name\":\"user.a\",\"value\":\"1\"},{\"name\":"
		   "\"b\"}]}}",
		   "", NULL);
	round_trip("{\"if\":[{\"key\":\"k\",\"exists\":false}],\"then\":[{\"op\":\"put\",\"args\":{\"key\":"
		   "\"k\"}},"
		   "{\"op\":\"del\",\"args\":{\"key\":\"l\"}}],\"each\":true}",
		   "", NULL);
	round_trip("{\"capabilities\":[\"ordered\",\"snapshot\"]}", "", NULL);
	round_trip("{\"then\":[{\"op\":\"set\"}]}", "", "{\"then\":[{\"op\":\"put\",\"args\":{}}]}");
	round_trip("{\"key\":\"tab\\t quote\\\" back\\\\ line\\n\\u0001 \\u00e9\"}", "",
		   "{\"key\":\"tab\\t quote\\\" back\\\\ line\\n\\u0001 \xc3\xa9\"}");
	round_trip("{\"key_base64\":\"AP8=\",\"from_base64\":\"\",\"to_base64\":\"YQ==\"}", "",
		   "{\"key_base64\":\"AP8=\",\"from\":\"\",\"to\":\"a\"}");
	round_trip("{\"key\":{\"at\":2,\"len\":3},\"value\":{\"at\":0,\"len\":0}}", "abcdef",
		   "{\"key\":\"cde\",\"value\":\"\"}");
}

static void refused(const char *args, const char *why)
{
	struct cairn_msg request = { 0 };
	struct cairn_error error = { 0 };
	char line[4000];

	snprintf(line, sizeof(line), "{\"id\":1,\"op\":\"get\",\"payload\":6,\"args\":%s}", args);
	is_int(read_line(line, "abcdef", &request, &error), CAIRN_E_INVALID, "refuses %.60s", args);
	if (!ok(strstr(error.message, why), "and says '%s'", why))
		printf("# %s\n", error.message);
	cairn_msg_free(&request);
}

static void bad_arguments(void)
{
	refused("{\"kye\":\"a\"}", "no argument 'kye'");
	refused("{\"key\":\"a\",\"key_base64\":\"YQ==\"}", "'key' stands twice");
	refused("{\"if\":[{\"key\":\"a\",\"key_base64\":\"YQ==\"}]}", "'key' stands twice");
	refused("{\"key\":1}", "'key' must be a string");
	refused("{\"key\":null}", "'key' must be a string");
	refused("{\"key\":{\"at\":0}}", "place in the payload");
	refused("{\"key\":{\"at\":4,\"len\":3}}", "outside the payload of 6 bytes");
	refused("{\"key\":{\"at\":-1,\"len\":3}}", "outside the payload");
	refused("{\"key\":{\"at\":9223372036854775807,\"len\":9223372036854775807}}", "outside the payload");
	refused("{\"key_base64\":\"AP8\"}", "base64");
	refused("{\"key_base64\":\"A===\"}", "base64");
	refused("{\"key_base64\":\"AB==\"}", "base64");
	refused("{\"key_base64\":\"AP8=AP8=\"}", "base64");
	refused("{\"key_base64\":\"A P=\"}", "base64");
	refused("{\"key_base64\":7}", "base64");
	refused("{\"volume_base64\":\"YQ==\"}", "no argument");
	refused("{\"limit\":-1}", "integer");
	refused("{\"limit\":9007199254740992}", "integer");
	refused("{\"limit\":1.5}", "integer");
	refused("{\"reverse\":1}", "true or false");
	refused("{\"mtime\":\"yesterday\"}", "a time");
	refused("{\"client\":\"00\"}", "32 hexadecimal digits");
	refused("{\"client\":\"0011223344556677889xaabbccddeeff\"}", "32 hexadecimal digits");
	refused("{\"kind\":\"door\"}", "directory");
	refused("{\"if\":{}}", "an array");
	refused("{\"if\":[1]}", "an object");
	refused("{\"attributes\":[]}", "an object");
	refused("{\"capabilities\":[1]}", "a string");
	refused("{\"then\":[{\"op\":\"fly\"}]}", "no operation 'fly'");
	refused("{\"then\":[{\"op\":\"get\",\"arg\":{}}]}", "array of operations");
	refused("{\"then\":[{\"op\":\"txn\",\"args\":{\"then\":[{\"op\":\"txn\",\"args\":{\"then\":[{\"op\":"
		"\"txn\",\"args\":{\"then\":[{"
		"\"op\":\"txn\",\"args\":{\"then\":[{\"op\":\"txn\",\"args\":{\"then\":[{\"op\":\"txn\"}]}}]}"
		"}]}}]}}]}}]}",
		"nested deeper");
}

/* What json_line_read makes of LINE. */
static void a_line(const char *line, bool good, uint64_t id, size_t payload, bool lost)
{
	struct json_line l = { 0 };
	struct cairn_error error = { 0 };
	enum cairn_code code = json_line_read(&l, cairn_str(line), &error);

	ok((code == CAIRN_OK) == good && (l.has_id ? l.id : 0) == id && l.payload == payload &&
		   l.lost == lost,
	   "%s: %.60s", good ? "taken" : "refused", line);
	ok(good || error.message[0], "with a sentence where it is refused");
	json_line_free(&l);
}

static void lines(void)
{
	char deep[40000];

	a_line("{\"id\":1,\"op\":\"get\"}", true, 1, 0, false);
	a_line("{\"id\":9007199254740991,\"op\":\"get\",\"payload\":1048576}", true, 9007199254740991ull,
	       1048576, false);
	a_line("", false, 0, 0, false);
	a_line("[]", false, 0, 0, false);
	a_line("{\"id\":1", false, 0, 0, false);
	a_line("{\"id\":1,\"payload\":5", false, 0, 0, true);
	a_line("{\"id\":1,\"id\":2,\"op\":\"get\"}", false, 0, 0, false);
	a_line("{\"op\":\"get\",\"payload\":7}", false, 0, 7, false);
	a_line("{\"id\":0,\"op\":\"get\"}", false, 0, 0, false);
	a_line("{\"id\":9007199254740992,\"op\":\"get\"}", false, 0, 0, false);
	a_line("{\"id\":3,\"op\":4}", false, 3, 0, false);
	a_line("{\"id\":3}", false, 3, 0, false);
	a_line("{\"id\":3,\"op\":\"get\",\"args\":[]}", false, 3, 0, false);
	a_line("{\"id\":3,\"op\":\"get\",\"payload\":-1}", false, 3, 0, true);
	a_line("{\"id\":3,\"op\":\"get\",\"payload\":1048577}", false, 3, 0, true);
	a_line("{\"id\":3,\"op\":\"get\",\"payload\":\"5\"}", false, 3, 0, true);
	a_line("{\"id\":3,\"op\":\"g\xff\"}", false, 0, 0, false);
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = 0;
	a_line(deep, false, 0, 0, false);
}

static void values(void)
{
	char large[JSON_INLINE_MAX + 2];
	struct cairn_msg m = { 0 };
	struct buffer out = { 0 }, payload = { 0 };

	memset(large, 'x', sizeof(large));
	cairn_msg_start(&m, 0);
	cairn_msg_bytes(&m, CAIRN_F_KEY, cairn_slice("\xff", 1));
	cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice("a\0b", 3));
	for (int i = 0; i < 2; i++) {
		size_t mark = cairn_msg_open(&m, CAIRN_F_ROW);

		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(large, JSON_INLINE_MAX + (size_t)i));
		cairn_msg_close(&m, mark);
	}
	json_print_fields(&out, cairn_message_fields(cairn_msg_slice(&m)), &payload);
	buffer_byte(&out, 0);
	ok(strncmp((char *)out.data,
		   "{\"key_base64\":\"/w==\",\"value\":{\"at\":0,\"len\":3},\"rows\":[{\"value\":\"xxx",
		   66) == 0,
	   "a value that is not text goes to the payload, a short one stands in the line");
	ok(strstr((char *)out.data, ",{\"value\":{\"at\":3,\"len\":4097}}]}"),
	   "a long one goes to the payload, behind the first");
	ok(payload.len == 3 + JSON_INLINE_MAX + 1 && memcmp(payload.data, "a\0bxxx", 6) == 0,
	   "the payload holds both");
	buffer_free(&out);
	buffer_free(&payload);
	cairn_msg_free(&m);
}

static void text(void)
{
	static const char *const good[] = { "",
					    "a",
					    "\xc3\xa9",
					    "\xe2\x82\xac",
					    "\xf0\x9f\x98\x80",
					    "\xf4\x8f\xbf\xbf",
					    "\xed\x9f\xbf" },
				 *const bad[] = { "\x80",
						  "\xc0\xaf",
						  "\xc1\xbf",
						  "\xe0\x80\x80",
						  "\xe2\x82",
						  "\xed\xa0\x80",
						  "\xf0\x80\x80\x80",
						  "\xf4\x90\x80\x80",
						  "\xf5\x80\x80\x80",
						  "\xff",
						  "a\xc3" };
	struct buffer out = { 0 };

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		ok(json_is_text(cairn_str(good[i])), "UTF-8 %zu is text", i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(!json_is_text(cairn_str(bad[i])), "broken UTF-8 %zu is not", i);
	ok(!json_is_text(cairn_slice("a\0", 2)), "nor is NUL");
	json_print_string(&out, cairn_slice("a\xff\0z", 4));
	buffer_byte(&out, 0);
	is_str((char *)out.data, "\"a\xef\xbf\xbd\\u0000z\"", "broken text prints as valid JSON");
	buffer_free(&out);
}

static void errors(void)
{
	struct cairn_error e;
	struct buffer out = { 0 };

	cairn_fail(&e, CAIRN_E_CONFLICT, "'a' is newer");
	e.revision = 7;
	cairn_hint(&e, "look first");
	json_print_error(&out, &e);
	buffer_byte(&out, 0);
	is_str((char *)out.data,
	       "{\"code\":\"conflict\",\"message\":\"'a' is newer\",\"revision\":7,\"hint\":\"look first\"}",
	       "an error prints with revision and hint");
	buffer_free(&out);
}

int main(void)
{
	every_type();
	bad_arguments();
	lines();
	values();
	text();
	errors();
	return tap_done();
}
