/* test-schema.c - the table of methods: ranges of the protocol, paths, references, and its own description. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/wire/schema.h"

static const char *const path_of_success = "-";

/* The path of the error that params get; "-" if none. */
static const char *check(const char *method, const char *params, char path[256])
{
	const char *why = "";
	struct wire_error e = {0};
	cJSON *json = wire_json_parse(params, strlen(params), &why);
	if (json == NULL)
		print_error("%s: %s\n", params, why);
	assert_non_null(json);
	int rc = wire_method_check(wire_method_named(method), json, &e);
	snprintf(path, 256, "%s", rc ? cJSON_GetStringValue(wire_member(e.data, "path")) : path_of_success);
	assert_true(rc == 0 || (rc == WIRE_PARAMS && e.text[0] && wire_member(e.data, "reason")));
	wire_error_fini(&e);
	cJSON_Delete(json);
	return path;
}

static void schema_expect(const char *method, const char *params, const char *want)
{
	char path[256];
	check(method, params, path);
	if (strcmp(path, want) != 0)
		print_error("%s %s\n", method, params);
	assert_string_equal(path, want);
}

/* `value` for one parameter of response.create. */
static void value_expect(const char *name, const char *value, int good)
{
	char params[700];
	snprintf(params, sizeof(params), "{\"input\":\"x\",\"%s\":%s}", name, value);
	schema_expect("response.create", params, good ? path_of_success : name);
}

/* PROTOCOL 4, written down a second time on purpose. */
static const struct {
	const char *name;
	int integer;
	const char *min, *below, *max, *above;
} ranges[] = {
	{"max_output_tokens", 1, "1", "0", "2147483647", "2147483648"},
	{"temperature", 0, "0", "-1e-9", "10", "10.000001"},
	{"top_k", 1, "0", "-1", "1048576", "1048577"},
	{"top_p", 0, "0.0", "-0.1", "1.0", "1.0000001"},
	{"min_p", 0, "0", "-1", "1", "2"},
	{"typical_p", 0, "0", "-1", "1", "2"},
	{"repeat_penalty", 0, "0.1", "0.0999999", "10", "11"},
	{"presence_penalty", 0, "-10", "-11", "10", "11"},
	{"frequency_penalty", 0, "-10", "-10.5", "10", "10.5"},
	{"seed", 1, "0", "-1", "9007199254740991", "9007199254740992"},
	{"top_logprobs", 1, "0", "-1", "64", "65"},
	{"deadline_ms", 1, "0", "-1", "86400000", "86400001"},
};

static void numbers_keep_their_ranges(void **state)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		const char *name = ranges[i].name;
		value_expect(name, ranges[i].min, 1);
		value_expect(name, ranges[i].max, 1);
		value_expect(name, ranges[i].below, 0);
		value_expect(name, ranges[i].above, 0);
		value_expect(name, "0.5", !ranges[i].integer);
		value_expect(name, "1.0", 1);
		static const char *const bad[] = {"9223372036854775808", "-9223372036854775808", "1e999", "-1e999", "null",
						  "\"1\"", "true", "[]", "{}", "1e300"};
		for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
			value_expect(name, bad[k], 0);
	}
}

static void other_types_are_refused(void **state)
{
	static const struct {
		const char *name, *good, *kind;
	} members[] = {
		{"assistant", "\"default\"", "string"}, {"instructions", "\"\"", "string"}, {"stream", "false", "bool"},
		{"raw", "true", "bool"},                {"return_tokens", "true", "bool"}, {"stop", "[]", "array"},
		{"logit_bias", "{}", "object"},
	};
	static const struct {
		const char *kind, *value;
	} values[] = {{"string", "\"x\""}, {"bool", "true"}, {"array", "[]"}, {"object", "{}"}, {"null", "null"}, {"number", "0"}};
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		value_expect(members[i].name, members[i].good, 1);
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++)
			value_expect(members[i].name, values[k].value, strcmp(values[k].kind, members[i].kind) == 0);
	}
}

/* `n` times `element` between brackets, with commas. */
static void list_of(char *out, const char *open, const char *element, int n, const char *close)
{
	out += sprintf(out, "%s", open);
	for (int i = 0; i < n; i++)
		out += sprintf(out, "%s%s", i ? "," : "", element);
	sprintf(out, "%s", close);
}

static void stops_are_bounded(void **state)
{
	char text[600], word[300];
	list_of(text, "[", "\"s\"", 16, "]");
	value_expect("stop", text, 1);
	list_of(text, "[", "\"s\"", 17, "]");
	value_expect("stop", text, 0);
	memset(word, 'a', sizeof(word));
	snprintf(text, sizeof(text), "{\"input\":\"x\",\"stop\":[\"%.*s\"]}", 256, word);
	schema_expect("response.create", text, path_of_success);
	snprintf(text, sizeof(text), "{\"input\":\"x\",\"stop\":[\"b\",\"%.*s\"]}", 257, word);
	schema_expect("response.create", text, "stop[1]");
	schema_expect("response.create", "{\"input\":\"x\",\"stop\":[\"\"]}", "stop[0]");
	schema_expect("response.create", "{\"input\":\"x\",\"stop\":[1]}", "stop[0]");
}

static void biases_are_bounded(void **state)
{
	static char text[40000];
	for (int n = 1024; n <= 1025; n++) {
		char *at = text + sprintf(text, "{\"input\":\"x\",\"logit_bias\":{");
		for (int i = 0; i < n; i++)
			at += sprintf(at, "%s\"%d\":-100", i ? "," : "", i);
		sprintf(at, "}}");
		schema_expect("response.create", text, n == 1024 ? path_of_success : "logit_bias");
	}
	schema_expect("response.create", "{\"input\":\"x\",\"logit_bias\":{\"7\":100.5}}", "logit_bias.7");
	schema_expect("response.create", "{\"input\":\"x\",\"logit_bias\":{\"7\":null}}", "logit_bias.7");
	schema_expect("response.create", "{\"input\":\"x\",\"logit_bias\":{\"-1\":1}}", "logit_bias.-1");
	schema_expect("response.create", "{\"input\":\"x\",\"logit_bias\":{\"x\":1}}", "logit_bias.x");
	schema_expect("response.create", "{\"input\":\"x\",\"logit_bias\":{\"2147483648\":1}}", "logit_bias.2147483648");
	schema_expect("response.create", "{\"input\":\"x\",\"logit_bias\":{\"2147483647\":1}}", path_of_success);
}

#define MESSAGE(content) "{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":" content "}]}"
#define IMAGE(members) MESSAGE("[{\"type\":\"input_text\",\"text\":\"\"},{\"type\":\"input_image\"," members "}]")
#define AT "input[0].content[1]"

static void input_is_checked_to_its_leaves(void **state)
{
	static const struct {
		const char *params, *path;
	} inputs[] = {
		{"{}", "input"},
		{"{\"input\":null}", "input"},
		{"{\"input\":\"\"}", "input"},
		{"{\"input\":[]}", "input"},
		{"{\"input\":{}}", "input"},
		{"{\"input\":[1]}", "input[0]"},
		{"{\"input\":[{}]}", "input[0].type"},
		{"{\"input\":[{\"type\":\"message\",\"content\":\"x\"}]}", "input[0].role"},
		{"{\"input\":[{\"type\":\"message\",\"role\":\"tool\",\"content\":\"x\"}]}", "input[0].role"},
		{"{\"input\":[{\"type\":\"message\",\"role\":\"user\"}]}", "input[0].content"},
		{"{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":\"x\",\"y\":1}]}", "input[0].y"},
		{"{\"input\":\"x\",\"unknown\":1}", "unknown"},
		{"{\"input\":\"x\",\"Stream\":true}", "Stream"},
		{"{\"input\":\"x\",\"tools\":[]}", "tools"},
		{"{\"input\":\"x\",\"response_format\":{}}", "response_format"},
		{MESSAGE("\"x\""), "-"},
		{MESSAGE("[]"), "-"},
		{MESSAGE("7"), "input[0].content"},
		{MESSAGE("[null]"), "input[0].content[0]"},
		{MESSAGE("[{}]"), "input[0].content[0].type"},
		{MESSAGE("[{\"type\":\"input_smell\"}]"), "input[0].content[0].type"},
		{MESSAGE("[{\"type\":\"input_text\"}]"), "input[0].content[0].text"},
		{MESSAGE("[{\"type\":\"input_text\",\"text\":1}]"), "input[0].content[0].text"},
		{MESSAGE("[{\"type\":\"input_text\",\"text\":\"\",\"fd\":0}]"), "input[0].content[0].fd"},
		{MESSAGE("[{\"type\":\"input_image\"}]"), "input[0].content[0]"},
		{IMAGE("\"fd\":0"), "-"},
		{IMAGE("\"fd\":127"), "-"},
		{IMAGE("\"fd\":128"), AT ".fd"},
		{IMAGE("\"fd\":-1"), AT ".fd"},
		{IMAGE("\"fd\":0.5"), AT ".fd"},
		{IMAGE("\"fd\":null"), AT ".fd"},
		{IMAGE("\"fd\":0,\"path\":\"/x\""), AT},
		{IMAGE("\"bin\":[0,5],\"data\":\"AAAA\""), AT},
		{IMAGE("\"bin\":[0,5]"), "-"},
		{IMAGE("\"bin\":[0]"), AT ".bin"},
		{IMAGE("\"bin\":[0,1,2]"), AT ".bin"},
		{IMAGE("\"bin\":[0,-1]"), AT ".bin[1]"},
		{IMAGE("\"bin\":[9007199254740992,1]"), AT ".bin[0]"},
		{IMAGE("\"bin\":5"), AT ".bin"},
		{IMAGE("\"path\":\"/x\""), "-"},
		{IMAGE("\"path\":\"x\""), AT ".path"},
		{IMAGE("\"path\":\"\""), AT ".path"},
		{IMAGE("\"data\":\"aGk=\""), "-"},
		{IMAGE("\"data\":\"aA==\""), "-"},
		{IMAGE("\"data\":\"aGk\""), AT ".data"},
		{IMAGE("\"data\":\"a===\""), AT ".data"},
		{IMAGE("\"data\":\"=aaa\""), AT ".data"},
		{IMAGE("\"data\":\"aGk=aGk=\""), AT ".data"},
		{IMAGE("\"data\":\"aG k=aGk\""), AT ".data"},
		{IMAGE("\"data\":\"\""), AT ".data"},
		{IMAGE("\"url\":\"http://x\""), AT ".url"},
		{IMAGE("\"fd\":0,\"detail\":\"high\",\"max_tokens\":1"), "-"},
		{IMAGE("\"fd\":0,\"detail\":\"hi\""), AT ".detail"},
		{IMAGE("\"fd\":0,\"max_tokens\":0"), AT ".max_tokens"},
		{IMAGE("\"fd\":0,\"max_tokens\":2147483648"), AT ".max_tokens"},
	};
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		schema_expect("response.create", inputs[i].params, inputs[i].path);
		schema_expect("token.count", inputs[i].params, inputs[i].path);
	}
}

static void the_limit_of_data_is_exact(void **state)
{
	char *text = malloc(300000);
	for (int n = 262144; n <= 262148; n += 4) {
		char *at = text + sprintf(text, "%s", "{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":["
						      "{\"type\":\"input_image\",\"data\":\"");
		memset(at, 'A', (size_t)n);
		strcpy(at + n, "\"}]}]}");
		schema_expect("response.create", text, n == 262144 ? "-" : "input[0].content[0].data");
	}
	free(text);
}

static void other_methods_are_checked(void **state)
{
	static const struct {
		const char *method, *params, *path;
	} calls[] = {
		{"ping", "{}", "-"},
		{"ping", "{\"x\":1}", "x"},
		{"ping", "[]", "params"},
		{"ping", "null", "params"},
		{"hello", "{\"protocol\":[1],\"client\":{\"name\":\"cli\",\"version\":\"0.1.0\"}}", "-"},
		{"hello", "{\"protocol\":[]}", "protocol"},
		{"hello", "{\"protocol\":1}", "protocol"},
		{"hello", "{\"protocol\":[\"1\"]}", "protocol[0]"},
		{"hello", "{\"protocol\":[1],\"client\":{\"x\":1}}", "client.x"},
		{"describe", "{\"method\":\"ping\"}", "-"},
		{"describe", "{\"method\":1}", "method"},
		{"response.cancel", "{}", "params"},
		{"response.cancel", "{\"request_id\":1,\"response_id\":\"r\"}", "params"},
		{"response.cancel", "{\"request_id\":\"a\"}", "-"},
		{"response.cancel", "{\"request_id\":-1}", "request_id"},
		{"response.cancel", "{\"request_id\":null}", "request_id"},
		{"response.cancel", "{\"response_id\":7}", "response_id"},
		{"embedding.create", MESSAGE("\"x\""), "space"},
		{"embedding.create", "{\"input\":\"x\",\"space\":\"text\"}", "input"},
		{"embedding.create", "{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":\"x\"}],\"space\":\"text\"}", "-"},
		{"embedding.create", "{\"input\":[],\"space\":\"text\"}", "input"},
		{"assistant.load", "{}", "assistant"},
		{"assistant.unload", "{\"assistant\":null}", "assistant"},
		{"log.level", "{\"level\":\"loud\"}", "level"},
		{"log.level", "{\"level\":\"debug\"}", "-"},
	};
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		schema_expect(calls[i].method, calls[i].params, calls[i].path);
	struct wire_error e = {0};
	assert_int_equal(wire_method_check(wire_method_named("ping"), NULL, &e), 0);
	assert_int_equal(wire_method_check(wire_method_named("response.create"), NULL, &e), WIRE_PARAMS);
	wire_error_fini(&e);
}

static void long_and_deep_paths_stay_short(void **state)
{
	char text[2000], name[1500], path[256];
	memset(name, 'k', sizeof(name));
	snprintf(text, sizeof(text), "{\"input\":\"x\",\"%.*s\":1}", 1499, name);
	check("response.create", text, path);
	assert_in_range(strlen(path), 1, 200);
}

static void methods_are_found(void **state)
{
	const struct wire_method *method = NULL;
	struct wire_error e = {0};
	assert_int_equal(wire_method_find("response.create", &method, &e), 0);
	assert_string_equal(method->name, "response.create");
	assert_int_equal(wire_method_find("session.create", &method, &e), WIRE_NO_METHOD);
	assert_non_null(strstr(e.text, "later"));
	assert_int_equal(wire_method_find("Ping", &method, &e), WIRE_NO_METHOD);
	wire_error_fini(&e);
}

static int count_media(void *arg, const struct wire_media *media)
{
	unsigned *n = arg;
	assert_int_equal(media->index, (*n)++);
	return 0;
}

static void references_must_be_in_the_frame(void **state)
{
	static const struct {
		const char *part, *path;
	} parts[] = {
		{"\"bin\":[0,10]", "-"},   {"\"bin\":[10,0]", "-"},
		{"\"bin\":[0,11]", ".bin"}, {"\"bin\":[11,0]", ".bin"},
		{"\"bin\":[1,9007199254740991]", ".bin"}, {"\"bin\":[9007199254740991,9007199254740991]", ".bin"},
		{"\"fd\":1", "-"},         {"\"fd\":2", ".fd"},
	};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char text[400], want[100];
		const char *why;
		unsigned n = 0;
		snprintf(text, sizeof(text), "{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":\"x\"},{\"type\":"
			 "\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"fd\":0},{\"type\":\"input_image\",%s}]}]}",
			 parts[i].part);
		snprintf(want, sizeof(want), "input[1].content[1]%s", parts[i].path);
		cJSON *params = wire_json_parse(text, strlen(text), &why);
		struct wire_frame frame = {.tail_bytes = 10, .n_fds = 2};
		struct wire_error e = {0};
		int rc = wire_media_check(params, &frame, &e);
		assert_int_equal(rc == 0, parts[i].path[0] == '-');
		if (rc)
			assert_string_equal(cJSON_GetStringValue(wire_member(e.data, "path")), want);
		assert_int_equal(wire_media_each(params, count_media, &n), 0);
		assert_int_equal(n, 2);
		wire_error_fini(&e);
		cJSON_Delete(params);
	}
}

static void base64_is_decoded(void **state)
{
	uint8_t out[16] = {0};
	assert_int_equal(wire_base64_decode("aGVsbG8=", out), 5);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(wire_base64_decode("/+8A", out), 3);
	assert_memory_equal(out, "\xff\xef\x00", 3);
	assert_true(wire_base64_decode("/-8A", NULL) < 0);
}

/* The schema of one parameter of response.create. */
static const cJSON *described(const cJSON *all, const char *name)
{
	const cJSON *method = wire_member(wire_member(all, "methods"), "response.create");
	return wire_member(wire_member(wire_member(method, "params"), "properties"), name);
}

static void the_description_is_of_the_same_table(void **state)
{
	cJSON *all = wire_describe(NULL);
	assert_non_null(all);
	for (size_t i = 0; wire_methods[i]; i++) {
		const cJSON *method = wire_member(wire_member(all, "methods"), wire_methods[i]->name);
		assert_int_equal(method != NULL, wire_methods[i]->stage == 1);
		if (method == NULL)
			continue;
		const cJSON *params = wire_member(method, "params");
		assert_string_equal(cJSON_GetStringValue(wire_member(params, "$schema")),
				    "https://json-schema.org/draft/2020-12/schema");
		assert_true(cJSON_IsFalse(wire_member(params, "additionalProperties")));
		assert_non_null(wire_member(method, "result"));
		assert_true(cJSON_IsArray(wire_member(method, "errors")));
		for (const cJSON *error = wire_member(method, "errors")->child; error; error = error->next)
			assert_non_null(wire_member(error, "message"));
	}
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		const cJSON *field = described(all, ranges[i].name);
		assert_true(wire_param_number(field, "minimum", NAN) == atof(ranges[i].min));
		assert_true(wire_param_number(field, "maximum", NAN) == atof(ranges[i].max));
		assert_non_null(wire_member(field, "default"));
	}
	assert_int_equal(cJSON_GetArraySize(wire_member(described(all, "input"), "oneOf")), 2);
	cJSON_Delete(all);
	all = wire_describe(wire_method_named("ping"));
	assert_int_equal(cJSON_GetArraySize(wire_member(all, "methods")), 1);
	cJSON_Delete(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_keep_their_ranges),
		cmocka_unit_test(other_types_are_refused),
		cmocka_unit_test(stops_are_bounded),
		cmocka_unit_test(biases_are_bounded),
		cmocka_unit_test(input_is_checked_to_its_leaves),
		cmocka_unit_test(the_limit_of_data_is_exact),
		cmocka_unit_test(other_methods_are_checked),
		cmocka_unit_test(long_and_deep_paths_stay_short),
		cmocka_unit_test(methods_are_found),
		cmocka_unit_test(references_must_be_in_the_frame),
		cmocka_unit_test(base64_is_decoded),
		cmocka_unit_test(the_description_is_of_the_same_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
