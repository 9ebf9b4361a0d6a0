/* test-frame.c - the reader of frames: split points, limits, what breaks a stream and what does not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/wire/frame.h"

/* What the reader said, one line an event. */
struct heard {
	char text[8192];
	size_t n;
};

static void heard_add(struct heard *h, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void heard_add(struct heard *h, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(h->text + h->n, sizeof(h->text) - h->n, format, args);
	va_end(args);
	h->n += (size_t)n < sizeof(h->text) - h->n ? (size_t)n : 0;
}

static void heard_id(struct heard *h, const cJSON *id)
{
	char *text = id ? wire_json_print(id, NULL) : NULL;
	heard_add(h, " id=%s\n", text ? text : "null");
	free(text);
}

static int on_frame(void *arg, struct wire_frame *frame)
{
	const char *method = wire_frame_method(frame);
	heard_add(arg, "frame %s tail=%.*s fds=%u", method ? method : "-", frame->tail_bytes < 99 ? (int)frame->tail_bytes : 99,
		  frame->tail ? (char *)frame->tail : "", frame->n_fds);
	heard_id(arg, wire_frame_id(frame));
	int stop = method && strcmp(method, "stop") == 0;
	wire_frame_fini(frame);
	return stop ? -ECONNABORTED : 0;
}

static void on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	heard_add(arg, "broken %d", error->code);
	heard_id(arg, id);
}

static void on_invalid(void *arg, const struct wire_error *error, const cJSON *id)
{
	heard_add(arg, "invalid %d", error->code);
	heard_id(arg, id);
}

static const struct wire_reader_events events = {on_frame, on_broken, on_invalid};

/* Feeds `text` in chunks that end at `first` and `second`. */
static void hear_split(const struct wire_limits *limits, const char *text, size_t n, size_t first, size_t second,
		       struct heard *h)
{
	struct wire_reader *r = wire_reader_new(limits, &events, h);
	h->n = 0;
	h->text[0] = '\0';
	assert_non_null(r);
	size_t ends[] = {first, second, n};
	for (size_t i = 0, at = 0; i < 3; at = ends[i++])
		if (ends[i] > at && wire_reader_feed(r, text + at, ends[i] - at, NULL, 0) != 0)
			break;
	wire_reader_free(r);
}

static void hear(const struct wire_limits *limits, const char *text, struct heard *h)
{
	hear_split(limits, text, strlen(text), 0, 0, h);
}

static void frames_arrive_at_any_split_point(void **state)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n"
		"\r\n\n \t \n"
		"{\"jsonrpc\":\"2.0\",\"id\":\"a\\u00e9\",\"method\":\"big\",\"bin\":5}\nab\n{c"
		"  {\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":{\"x\":[1,2.5e3,\"\xf0\x9f\x98\x80\"]}} \r\n"
		"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":7,\"bin\":2}\nzz"
		"{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"ping\"}\n";
	static const char want[] = "frame ping tail= fds=0 id=1\n"
				   "frame big tail=ab\n{c fds=0 id=\"a\xc3\xa9\"\n"
				   "frame note tail= fds=0 id=null\n"
				   "invalid -32600 id=3\n"
				   "frame ping tail= fds=0 id=4\n";
	struct heard h;
	size_t n = sizeof(text) - 1;
	for (size_t i = 0; i <= n; i++)
		for (size_t k = i; k <= n; k += i % 7 + 1) {
			hear_split(&wire_client_limits, text, n, i, k, &h);
			assert_string_equal(h.text, want);
		}
}

static void frames_arrive_byte_by_byte(void **state)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"bin\":3}\nxyz\r\n"
				   "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"b\"}\n";
	struct heard h = {.n = 0};
	struct wire_reader *r = wire_reader_new(&wire_client_limits, &events, &h);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		assert_int_equal(wire_reader_feed(r, text + i, 1, NULL, 0), 0);
	assert_int_equal(wire_reader_pending(r), 0);
	wire_reader_free(r);
	assert_string_equal(h.text, "frame a tail=xyz fds=0 id=1\nframe b tail= fds=0 id=2\n");
}

#define R "\"jsonrpc\":\"2.0\","
#define FINE "\n{" R "\"id\":9,\"method\":\"next\"}\n"
#define GOES_ON "frame next tail= fds=0 id=9\n"

/* Each line, followed by a sound one: whether that is still heard tells whether the stream goes on. */
static const struct {
	const char *line, *want;
} lines[] = {
	/* not JSON of ours: the stream ends */
	{"GET / HTTP/1.1", "broken -32700 id=null\n"},
	{"[]", "broken -32700 id=null\n"},
	{"\"x\"", "broken -32700 id=null\n"},
	{"{", "broken -32700 id=null\n"},
	{"{\"id\":1,}", "broken -32700 id=null\n"},
	{"{\"id\":1}x", "broken -32700 id=null\n"},
	{"{\"id\":1}{}", "broken -32700 id=null\n"},
	{"{\"id\":01}", "broken -32700 id=null\n"},
	{"{\"id\":+1}", "broken -32700 id=null\n"},
	{"{\"id\":.5}", "broken -32700 id=null\n"},
	{"{\"id\":1.}", "broken -32700 id=null\n"},
	{"{\"id\":1e}", "broken -32700 id=null\n"},
	{"{\"id\":NaN}", "broken -32700 id=null\n"},
	{"{\"id\":tru}", "broken -32700 id=null\n"},
	{"{\"id\":0x10}", "broken -32700 id=null\n"},
	{"{id:1}", "broken -32700 id=null\n"},
	{"{'id':1}", "broken -32700 id=null\n"},
	{"{\"id\" 1}", "broken -32700 id=null\n"},
	{"{\"a\":\"\t\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\\x\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\\u12g4\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\\u0000\"}", "broken -32700 id=null\n"},
	{"{\"\\u0000\":1}", "broken -32700 id=null\n"},
	{"{\"a\":\"\\ud800\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\\udc00\\ud800\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\xff\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\xc0\xaf\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\xed\xa0\x80\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\xf4\x90\x80\x80\"}", "broken -32700 id=null\n"},
	{"{\"a\":\"\xe2\x82\"}", "broken -32700 id=null\n"},
	{"{\"a\":1,\"a\":2}", "broken -32700 id=null\n"},
	{"{\"a\":1,\"\\u0061\":2}", "broken -32700 id=null\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"params\":{\"x\":{\"k\":1,\"l\":0,\"k\":1}}}", "broken -32700 id=null\n"},
	/* bad borders: the stream ends, with the id */
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":0}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":-1}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":1.5}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":\"3\"}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":null}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":67108865}", "broken -32005 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":9007199254740993}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"bin\":1e999}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"fds\":0}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"fds\":1}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"fds\":9}", "broken -32600 id=1\n"},
	{"{" R "\"id\":1,\"method\":\"m\",\"fds\":true}", "broken -32600 id=1\n"},
	{"{" R "\"id\":[],\"method\":\"m\",\"bin\":0}", "broken -32600 id=null\n"},
	/* wrong members: the stream goes on */
	{"{}", "invalid -32600 id=null\n" GOES_ON},
	{"{\"id\":1,\"method\":\"m\"}", "invalid -32600 id=1\n" GOES_ON},
	{"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\"}", "invalid -32600 id=1\n" GOES_ON},
	{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\"}", "invalid -32600 id=1\n" GOES_ON},
	{"{" R "\"id\":1}", "invalid -32600 id=1\n" GOES_ON},
	{"{" R "\"id\":1,\"method\":\"\"}", "invalid -32600 id=1\n" GOES_ON},
	{"{" R "\"id\":1,\"method\":null}", "invalid -32600 id=1\n" GOES_ON},
	{"{" R "\"id\":1,\"result\":{}}", "invalid -32600 id=1\n" GOES_ON},
	{"{" R "\"ID\":1,\"Method\":\"m\"}", "invalid -32600 id=null\n" GOES_ON},
	{"{" R "\"id\":null,\"method\":\"m\"}", "invalid -32600 id=null\n" GOES_ON},
	{"{" R "\"id\":-1,\"method\":\"m\"}", "invalid -32600 id=null\n" GOES_ON},
	{"{" R "\"id\":1.5,\"method\":\"m\"}", "invalid -32600 id=null\n" GOES_ON},
	{"{" R "\"id\":9007199254740992,\"method\":\"m\"}", "invalid -32600 id=null\n" GOES_ON},
	{"{" R "\"id\":{},\"method\":\"m\"}", "invalid -32600 id=null\n" GOES_ON},
	{"{" R "\"id\":\"0123456789012345678901234567890123456789012345678901234567890123x\",\"method\":\"m\"}",
	 "invalid -32600 id=null\n" GOES_ON},
	/* sound ones */
	{"{" R "\"id\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"method\":\"m\"}",
	 "frame m tail= fds=0 id=\"0123456789012345678901234567890123456789012345678901234567890123\"\n" GOES_ON},
	{"{" R "\"id\":9007199254740991,\"method\":\"m\"}", "frame m tail= fds=0 id=9007199254740991\n" GOES_ON},
	{"{" R "\"id\":0,\"method\":\"m\",\"other\":[null]}", "frame m tail= fds=0 id=0\n" GOES_ON},
	{" \t{" R "\"method\":\"m\"}\r", "frame m tail= fds=0 id=null\n" GOES_ON},
	{"{" R "\"id\":1,\"method\":\"m\",\"a\":{\"x\":1},\"A\":{\"x\":1,\"X\":1}}", "frame m tail= fds=0 id=1\n" GOES_ON},
	{"{" R "\"id\":1,\"method\":\"m\\ud83d\\ude00\\n\"}", "frame m\xf0\x9f\x98\x80\n tail= fds=0 id=1\n" GOES_ON},
};

static void lines_are_answered_as_the_protocol_says(void **state)
{
	char text[1024];
	struct heard h;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(text, sizeof(text), "%s" FINE, lines[i].line);
		hear(&wire_client_limits, text, &h);
		if (strcmp(h.text, lines[i].want) != 0)
			print_error("%s\n", lines[i].line);
		assert_string_equal(h.text, lines[i].want);
	}
}

static void a_raw_nul_breaks_the_stream(void **state)
{
	static const char text[] = "{\"a\":\"\0\"}\n";
	struct heard h;
	hear_split(&wire_client_limits, text, sizeof(text) - 1, 0, 0, &h);
	assert_string_equal(h.text, "broken -32700 id=null\n");
}

static void answers_are_read_where_they_are_expected(void **state)
{
	struct heard h;
	hear(&wire_answer_limits,
	     "{" R "\"id\":1,\"result\":{}}\n{" R "\"id\":null,\"error\":{\"code\":1,\"message\":\"\"}}\n{" R "\"id\":2}\n", &h);
	assert_string_equal(h.text, "frame - tail= fds=0 id=1\nframe - tail= fds=0 id=null\ninvalid -32600 id=2\n");
}

/* A line of exactly n bytes. */
static char *line_of(size_t n)
{
	static const char head[] = "{" R "\"id\":1,\"method\":\"m\",\"x\":\"", tail[] = "\"}";
	char *text = malloc(n + 2);
	assert_non_null(text);
	memset(text, 'a', n);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + n - 2, tail, 2);
	memcpy(text + n, "\n", 2);
	return text;
}

static void the_limit_of_a_line_is_exact(void **state)
{
	const size_t most = wire_client_limits.line;
	struct heard h;
	char *text = line_of(most);
	hear(&wire_client_limits, text, &h);
	assert_string_equal(h.text, "frame m tail= fds=0 id=1\n");
	hear_split(&wire_client_limits, text, most + 1, most, most, &h);
	assert_string_equal(h.text, "frame m tail= fds=0 id=1\n");
	free(text);
	text = line_of(most + 1);
	hear(&wire_client_limits, text, &h);
	assert_string_equal(h.text, "broken -32005 id=null\n");
	hear_split(&wire_client_limits, text, most + 1, 0, 0, &h); /* without waiting for the LF */
	assert_string_equal(h.text, "broken -32005 id=null\n");
	free(text);
}

/* {"a":[[...]]} of `depth` containers, or "[0,0,...]" of `tokens` values and keys. */
static int parses(unsigned depth, unsigned tokens)
{
	size_t n = 0;
	char *text = malloc(2 * depth + 2 * tokens + 16);
	const char *why = NULL;
	assert_non_null(text);
	for (unsigned i = 0; i < depth; i++)
		text[n++] = '[';
	for (unsigned i = depth; i < tokens; i++) {
		text[n++] = '0';
		text[n++] = i + 1 < tokens ? ',' : ' ';
	}
	for (unsigned i = 0; i < depth; i++)
		text[n++] = ']';
	cJSON *json = wire_json_parse(text, n, &why);
	int ok = json != NULL;
	assert_true(ok || why != NULL);
	cJSON_Delete(json);
	free(text);
	return ok;
}

static void depth_and_tokens_have_limits(void **state)
{
	assert_true(parses(32, 0));
	assert_false(parses(33, 0));
	assert_true(parses(1, 20000));
	assert_false(parses(1, 20001));
	assert_false(parses(500000, 0));
}

static void many_keys_are_compared(void **state)
{
	char text[4096], *at = text;
	const char *why;
	*at++ = '{';
	for (int i = 0; i < 200; i++)
		at += sprintf(at, "\"k%d\":%d,", i, i);
	strcpy(at, "\"z\":0}");
	cJSON *json = wire_json_parse(text, strlen(text), &why);
	assert_non_null(json);
	assert_int_equal(wire_member(json, "k199")->valueint, 199);
	cJSON_Delete(json);
	strcpy(at, "\"k57\":0}");
	assert_null(wire_json_parse(text, strlen(text), &why));
}

static void numbers_are_exact(void **state)
{
	static const char text[] = "[9007199254740991,-0,0.1,1e-320,3.14159265358979311599796346854418516159057617187500000000"
				   "00000000000000000000000000000000,1E+2]";
	const char *why;
	cJSON *json = wire_json_parse(text, sizeof(text) - 1, &why);
	assert_non_null(json);
	const double want[] = {9007199254740991.0, -0.0, 0.1, 1e-320, 3.141592653589793, 100};
	for (int i = 0; i < 6; i++)
		assert_true(cJSON_GetArrayItem(json, i)->valuedouble == want[i]);
	cJSON_Delete(json);
}

static void what_is_printed_reads_back(void **state)
{
	static const char text[] = "{\"i\":[9007199254740991,-9007199254740991,0,-5],\"d\":[0.1,1e+300,5e-324,0.30000000000000004],"
				   "\"s\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\xc3\xa9/\",\"k\\n\":[true,false,null,{},[]]}";
	const char *why;
	size_t n;
	cJSON *json = wire_json_parse(text, sizeof(text) - 1, &why);
	assert_non_null(json);
	char *again = wire_json_print(json, &n);
	assert_int_equal(n, strlen(again));
	assert_non_null(strstr(again, "[9007199254740991,-9007199254740991,0,-5]"));
	cJSON *back = wire_json_parse(again, n, &why);
	assert_true(cJSON_Compare(json, back, 1));
	assert_true(wire_member(back, "d")->child->next->next->next->valuedouble == 0.1 + 0.2);
	char *third = wire_json_print(back, NULL);
	assert_string_equal(again, third);
	free(third);
	free(again);
	cJSON_Delete(back);
	cJSON_Delete(json);
}

static void memory_grows_with_what_came_only(void **state)
{
	static const char head[] = "{" R "\"id\":1,\"method\":\"m\",\"bin\":67108864}\n0123456789";
	struct heard h = {.n = 0};
	struct wire_reader *r = wire_reader_new(&wire_client_limits, &events, &h);
	struct mallinfo2 before = mallinfo2();
	assert_int_equal(wire_reader_feed(r, head, sizeof(head) - 1, NULL, 0), 0);
	struct mallinfo2 after = mallinfo2();
	assert_int_equal(wire_reader_pending(r), 10);
	assert_true(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + 65536);
	wire_reader_free(r);
}

static void a_large_tail_arrives_whole(void **state)
{
	struct heard h = {.n = 0};
	struct wire_reader *r = wire_reader_new(&wire_client_limits, &events, &h);
	static const char head[] = "{" R "\"id\":1,\"method\":\"m\",\"bin\":1000003}\n";
	static char chunk[65536];
	memset(chunk, 'x', sizeof(chunk));
	assert_int_equal(wire_reader_feed(r, head, sizeof(head) - 1, NULL, 0), 0);
	for (size_t left = 1000003; left;) {
		size_t n = left < sizeof(chunk) ? left : sizeof(chunk);
		assert_int_equal(h.n, 0);
		assert_int_equal(wire_reader_feed(r, chunk, n, NULL, 0), 0);
		left -= n;
	}
	assert_int_equal(wire_reader_pending(r), 0);
	wire_reader_free(r);
	assert_non_null(strstr(h.text, "frame m tail=x"));
}

static void a_broken_stream_stays_broken(void **state)
{
	struct heard h = {.n = 0};
	struct wire_reader *r = wire_reader_new(&wire_client_limits, &events, &h);
	assert_int_equal(wire_reader_feed(r, "x", 1, NULL, 0), -EPROTO);
	assert_int_equal(wire_reader_feed(r, FINE, sizeof(FINE) - 1, NULL, 0), -EPROTO);
	wire_reader_free(r);
	assert_string_equal(h.text, "broken -32700 id=null\n");
}

static void the_receiver_can_stop(void **state)
{
	static const char text[] = "{" R "\"id\":1,\"method\":\"stop\"}" FINE;
	struct heard h = {.n = 0};
	struct wire_reader *r = wire_reader_new(&wire_client_limits, &events, &h);
	assert_int_equal(wire_reader_feed(r, text, sizeof(text) - 1, NULL, 0), -ECONNABORTED);
	wire_reader_free(r);
	assert_string_equal(h.text, "frame stop tail= fds=0 id=1\n");
}

static void errors_carry_their_path(void **state)
{
	struct wire_error e = {0};
	assert_int_equal(wire_error_path(&e, "input[0].fd", "must be %d.", 1), WIRE_PARAMS);
	cJSON *id = cJSON_CreateString("a"), *answer = wire_error_answer(id, &e);
	char *text = wire_json_print(answer, NULL);
	assert_string_equal(text, "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":-32602,\"message\":\"input[0].fd must be "
				  "1.\",\"data\":{\"path\":\"input[0].fd\",\"reason\":\"must be 1.\"}}}");
	free(text);
	cJSON_Delete(answer);
	cJSON_Delete(id);
	wire_error_fini(&e);
}

static void texts_of_errors_are_utf8(void **state)
{
	struct wire_error e = {0};
	char text[600];
	const char *why;
	memset(text, 'a', sizeof(text));
	memcpy(text + 509, "\xe2\x82\xac\xff", 5);
	wire_error_set(&e, WIRE_INTERNAL, "%s", text); /* cut within the euro sign */
	text[0] = '"';
	strcpy(text + 1, e.text);
	strcat(text, "\"");
	cJSON *json = wire_json_parse(text, strlen(text), &why);
	assert_non_null(json);
	cJSON_Delete(json);
	wire_error_fini(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_arrive_at_any_split_point),
		cmocka_unit_test(frames_arrive_byte_by_byte),
		cmocka_unit_test(lines_are_answered_as_the_protocol_says),
		cmocka_unit_test(a_raw_nul_breaks_the_stream),
		cmocka_unit_test(answers_are_read_where_they_are_expected),
		cmocka_unit_test(the_limit_of_a_line_is_exact),
		cmocka_unit_test(depth_and_tokens_have_limits),
		cmocka_unit_test(many_keys_are_compared),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(what_is_printed_reads_back),
		cmocka_unit_test(memory_grows_with_what_came_only),
		cmocka_unit_test(a_large_tail_arrives_whole),
		cmocka_unit_test(a_broken_stream_stays_broken),
		cmocka_unit_test(the_receiver_can_stop),
		cmocka_unit_test(errors_carry_their_path),
		cmocka_unit_test(texts_of_errors_are_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
