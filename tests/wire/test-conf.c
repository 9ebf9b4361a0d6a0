/* test-conf.c - configuration files, good and bad, and the manual page that documents their keys. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/file.h"
#include "daemon/base/log.h"
#include "daemon/conf/conf.h"
#include "daemon/conf/keys.h"
#include "sdk/wire/frame.h"

#define ONE "[assistant a]\ndecoder = echo\n"

static struct conf *parse(const char *text, struct conf_error *error)
{
	return conf_parse("f", text, strlen(text), false, error);
}

static struct conf *parse_good(const char *text)
{
	struct conf_error error;
	struct conf *conf = parse(text, &error);
	if (conf == NULL)
		print_error("%s\n", error.text);
	assert_non_null(conf);
	return conf;
}

static void bad_files_are_refused_with_their_line(void **state)
{
	/* The text, and how the message must begin. Each says what was expected, too. */
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"threads = 1\n", "f:1: threads stands before any section"},
		{"[demon]\n", "f:1: unknown section [demon]"},
		{"[assistant]\n", "f:1: unknown section [assistant]"},
		{"\n\n[daemon\n", "f:3: \"[daemon\" is no section"},
		{"[daemon]x\n", "f:1: \"[daemon]x\" is no section"},
		{"[daemon]\n[daemon]\n", "f:2: [daemon] is there twice"},
		{"[daemon]\nthreads\n", "f:2: \"threads\" is neither a section nor a key"},
		{"[daemon]\nthreads: 3\n", "f:2: \"threads: 3\" is neither"},
		{"[daemon]\nthread = 1\n", "f:2: unknown key thread in [daemon]"},
		{"[daemon]\nmodel = x\n", "f:2: unknown key model in [daemon]"},
		{"[daemon]\nthreads = 1\n# c\nthreads = 1\n", "f:4: threads is there twice"},
		{"[daemon]\nthreads =\n", "f:2: threads = ; expected auto or a whole number"},
		{"[daemon]\nthreads = 0\n", "f:2: threads = 0; expected auto or a whole number from 1 to 1024"},
		{"[daemon]\nthreads = 1025\n", "f:2: threads = 1025;"},
		{"[daemon]\nthreads = -1\n", "f:2: threads = -1;"},
		{"[daemon]\nthreads = 1.5\n", "f:2: threads = 1.5;"},
		{"[daemon]\nthreads = 99999999999999999999999\n", "f:2: threads = 9"},
		{"[daemon]\ncache = 1X\n", "f:2: cache = 1X; expected a number of bytes"},
		{"[daemon]\ncache = 18446744073709551615T\n", "f:2: cache = 1"},
		{"[daemon]\nhang_time = 5\n", "f:2: hang_time = 5; expected a time with its unit"},
		{"[daemon]\nlog = loud\n", "f:2: log = loud; expected error, warn, info or debug"},
		{"[daemon]\nbackground = 12345\n", "f:2: background = 12345; expected none or a colour as RRGGBB"},
		{"[daemon]\nbackground = #123456\n", "f:2: background = ; expected none or a colour"},
		{"[daemon]\nbackground = \"#12345g\"\n", "f:2: background = \"#12345g\"; expected none or a colour"},
		{"[daemon]\n  threads = 1\n", "f:2: the line begins with a blank"},
		{"  [daemon]\nthreads = 1\n", "f:1: the line begins with a blank"},
		{"[assistant a b]\nmodel = x\n", "f:1: \"a b\" is no name for an assistant"},
		{"[assistant a/b]\nmodel = x\n", "f:1: \"a/b\" is no name"},
		{ONE ONE, "f:3: [assistant a] is there twice, first in line 1"},
		{"[assistant a]\n", "f:1: [assistant a] has no parts"},
		{"[assistant a]\ninstructions = x\n", "f:1: [assistant a] has no parts"},
		{"[assistant a]\nimage.encoder = clip\nimage.connector = mlp\n", "f:1: [assistant a] has no decoder"},
		{ONE "image.eye = clip\n", "f:3: unknown key image.eye in [assistant]"},
		{ONE "smell.encoder = x\n", "f:3: unknown key smell.encoder"},
		{ONE "decoder = echo\n", "f:3: decoder is there twice, first in line 2"},
		{ONE "image.encoder =\n", "f:3: image.encoder: a plugin is missing"},
		{ONE "image.encoder = a/b\n", "f:3: image.encoder: a/b is no plugin's name"},
		{ONE "image.encoder = clip x\n", "f:3: image.encoder: x is no option"},
		{ONE "image.encoder = clip x=\n", "f:3: image.encoder: x= is no option"},
		{ONE "image.encoder = clip x=1 x=2\n", "f:3: image.encoder: the option x is there twice"},
		{ONE "image.encoder = clip model=a model=b\n", "f:3: image.encoder: the option model is there twice"},
		{ONE "image.encoder = clip x=\"1\n", "f:3: image.encoder: a quote is not closed"},
		{ONE "autoload = maybe\n", "f:3: autoload = maybe; expected yes or no"},
		{ONE "context = 3\n", "f:3: context = 3; expected auto or a whole number from 16"},
		{ONE "instructions = \xff\n", "f:3: the line is not UTF-8"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct conf_error error = {""};
		struct conf *conf = parse(bad[i].text, &error);
		if (conf || strncmp(error.text, bad[i].message, strlen(bad[i].message)) != 0)
			print_error("%s-> %s\n", bad[i].text, error.text);
		assert_null(conf);
		assert_memory_equal(error.text, bad[i].message, strlen(bad[i].message));
		assert_non_null(strstr(error.text, "expected"));
	}
}

static void nul_and_long_lines_are_refused(void **state)
{
	static const char text[] = "[daemon]\nthreads = 1\0\n";
	struct conf_error error;
	assert_null(conf_parse("f", text, sizeof(text) - 1, false, &error));
	assert_non_null(strstr(error.text, "f:2: the line has a NUL byte"));
	static char line[20000];
	memset(line, 'x', sizeof(line) - 1);
	assert_null(parse(line, &error));
	assert_non_null(strstr(error.text, "f:1: the line has 19999 bytes; expected at most"));
}

static void a_file_is_read(void **state)
{
	struct conf *conf = parse_good("\xef\xbb\xbf# comment\n; other\n[daemon]\r\nthreads = 3   # three\nmodels = /a : /b\n"
				       "cache = 2G\nhang_time = 1500ms\nmedia_seconds = 2min\nlog = debug\nbackground = FF8000\n"
				       "media_megapixels = 10\n\n[assistant mix]\ndecoder = causal  model=X.gguf context=4096 k=\"a b\\\"\" # c\n"
				       "image.encoder = clip\ninstructions = You are # gone\n  helpful; \"#1\"\n\n  and short\ncontext = 4096\n"
				       "autoload = no\n[assistant b]\nmodel = tiny\n");
	const struct conf_daemon *d = &conf->daemon;
	assert_int_equal(d->threads, 3);
	assert_int_equal(d->encode_threads, 0);
	assert_string_equal(d->models, "/a : /b");
	assert_int_equal(d->cache_bytes, 2ull << 30);
	assert_int_equal(d->hang_ms, 1500);
	assert_int_equal(d->media_seconds, 120);
	assert_int_equal(d->media_pixels, 10000000);
	assert_int_equal(d->log, LOG_DEBUG);
	assert_int_equal(d->media_background, 0xff8000);
	assert_int_equal(d->max_connections, 4096);
	assert_int_equal(conf->n_assistants, 2);
	const struct conf_assistant *a = conf_assistant_named(conf, "mix");
	assert_non_null(a);
	assert_string_equal(a->instructions, "You are\nhelpful; \"#1\"\nand short");
	assert_int_equal(a->context, 4096);
	assert_int_equal(a->autoload, 0);
	assert_int_equal(a->n_parts, 2);
	assert_string_equal(a->parts[0].plugin, "causal");
	assert_string_equal(a->parts[0].model, "X.gguf");
	assert_int_equal(a->parts[0].n_options, 2);
	assert_string_equal(a->parts[0].options[1].value, "a b\"");
	assert_null(a->parts[1].model);
	assert_null(conf_assistant_named(conf, "none"));
	conf_free(conf);
}

static void every_key_takes_its_fallback_and_its_limits(void **state)
{
	static const enum conf_type numbers[] = {CONF_COUNT, CONF_AUTO, CONF_SIZE};
	for (const struct conf_key *key = conf_keys; key->name; key++) {
		struct conf_daemon d = {0};
		struct conf_assistant a = {0};
		void *base = key->section == CONF_DAEMON ? (void *)&d : (void *)&a;
		char expected[160], text[32];
		if (key->fallback)
			assert_int_equal(conf_key_set(key, base, key->fallback, expected), 0);
		for (size_t i = 0; i < 3; i++) {
			if (key->type != numbers[i])
				continue;
			snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max);
			assert_int_equal(conf_key_set(key, base, text, expected), 0);
			snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max + 1);
			assert_true(conf_key_set(key, base, text, expected) < 0);
			snprintf(text, sizeof(text), "%llu", (unsigned long long)key->min);
			assert_int_equal(conf_key_set(key, base, text, expected), 0);
			snprintf(text, sizeof(text), "%llu", (unsigned long long)key->min - 1);
			assert_true(conf_key_set(key, base, text, expected) < 0);
		}
		conf_keys_fini(key->section, base);
	}
}

static void the_protocols_limits_are_the_defaults(void **state)
{
	struct conf *conf = parse_good("");
	const struct conf_daemon *d = &conf->daemon;
	assert_int_equal(d->max_connections, 4096);
	assert_int_equal(d->max_connections_other, 128);
	assert_int_equal(d->max_inflight, 16);
	assert_int_equal(d->max_running, 64);
	assert_int_equal(d->max_queued, 256);
	assert_int_equal(d->max_line, wire_client_limits.line);
	assert_int_equal(d->max_tail, wire_client_limits.tail);
	assert_int_equal(d->write_merge, 64 << 10);
	assert_int_equal(d->write_high, 1 << 20);
	assert_int_equal(d->write_high_ms, 10000);
	assert_int_equal(d->write_most, 8 << 20);
	assert_int_equal(d->read_waiting, 4 << 20);
	assert_true(d->media_background == CONF_UNSET);
	assert_true(d->log == CONF_UNSET);
	assert_int_equal(conf->n_assistants, 1);
	assert_string_equal(conf->assistants[0].name, "default");
	assert_string_equal(conf->assistants[0].model, "tiny-llava");
	conf_free(conf);
}

static void models_are_resolved(void **state)
{
	char folder[] = "/tmp/percept-conf-XXXXXX", path[64], text[200];
	struct conf_error error;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/m.gguf", folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	setenv("PERCEPT_MODELS", "/nowhere", 1);
	snprintf(text, sizeof(text), "[daemon]\nmodels = %s\n[assistant a]\ndecoder = causal model=m.gguf\n", folder);
	struct conf *conf = conf_parse("f", text, strlen(text), true, &error);
	assert_non_null(conf);
	assert_string_equal(conf->assistants[0].parts[0].model, path);
	assert_memory_equal(conf->model_path, "/nowhere:", 9);
	assert_non_null(strstr(conf->model_path, folder));
	conf_free(conf);
	assert_null(conf_parse("f", "[assistant a]\nautoload = no\nmodel = missing\n", 43, true, &error));
	assert_non_null(strstr(error.text, "f:3: there is no model missing; expected it in one of /nowhere:"));
	unsetenv("PERCEPT_MODELS");
	unlink(path);
	rmdir(folder);
}

static void the_file_is_found(void **state)
{
	char folder[] = "/tmp/percept-conf-XXXXXX", own[64], path[64];
	struct conf_error error;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/c.conf", folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(ONE "[daemon]\nthreads = 2\n", file);
	fclose(file);
	setenv("PERCEPT_CONFIG", path, 1);
	struct conf *conf = conf_load(NULL, &error);
	assert_non_null(conf);
	assert_string_equal(conf->file, path);
	assert_int_equal(conf->daemon.threads, 2);
	conf_free(conf);
	unlink(path);
	assert_null(conf_load(NULL, &error));
	assert_non_null(strstr(error.text, "c.conf"));
	snprintf(own, sizeof(own), "%s/none", folder);
	assert_null(conf_load(own, &error));
	unsetenv("PERCEPT_CONFIG");
	rmdir(folder);
}

static void the_resolved_assistant_is_json(void **state)
{
	struct conf *conf = parse_good("[daemon]\nthreads = 4\ncache = 1M\nplugins = /p\n[assistant a]\nmodel = m\nmmproj = p\ninstructions = \"Hi\"\n"
				       "decoder = causal model=x y=1\n");
	cJSON *json = conf_assistant_json(conf, &conf->assistants[0]);
	assert_non_null(json);
	assert_string_equal(cJSON_GetStringValue(wire_member(json, "name")), "a");
	assert_string_equal(cJSON_GetStringValue(wire_member(json, "model")), "m");
	assert_string_equal(cJSON_GetStringValue(wire_member(json, "mmproj")), "p");
	assert_string_equal(cJSON_GetStringValue(wire_member(json, "instructions")), "Hi");
	assert_int_equal(wire_member(json, "context")->valueint, 0);
	assert_int_equal(wire_member(json, "threads")->valueint, 4);
	assert_int_equal(wire_member(json, "encode_threads")->valueint, 0);
	assert_int_equal(wire_member(json, "cache_bytes")->valueint, 1 << 20);
	assert_int_equal(wire_member(json, "max_running")->valueint, 64);
	assert_string_equal(wire_member(json, "plugin_path")->child->valuestring, "/p");
	assert_true(cJSON_IsArray(wire_member(json, "model_path")));
	char *parts = wire_json_print(wire_member(json, "parts"), NULL);
	assert_string_equal(parts, "[{\"role\":\"decoder\",\"plugin\":\"causal\",\"model\":\"x\",\"options\":{\"y\":\"1\"}}]");
	free(parts);
	cJSON_Delete(json);
	conf_free(conf);
}

static void changes_are_seen(void **state)
{
	static const struct {
		const char *text;
		bool same;
	} others[] = {
		{"# only a comment\n" ONE, true},
		{"[daemon]\nmax_connections = 7\n" ONE, true},
		{ONE "autoload = no\n", true},
		{"[daemon]\nthreads = 7\n" ONE, false},
		{"[daemon]\nplugins = /x\n" ONE, false},
		{ONE "instructions = x\n", false},
		{"[assistant a]\ndecoder = echo x=1\n", false},
	};
	struct conf *conf = parse_good(ONE);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct conf *other = parse_good(others[i].text);
		assert_int_equal(conf_assistant_same(conf, &conf->assistants[0], other, &other->assistants[0]), others[i].same);
		conf_free(other);
	}
	conf_free(conf);
}

static void the_manual_has_every_key(void **state)
{
	const char *top = getenv("top_srcdir");
	char path[4096], *text, want[100];
	size_t n;
	snprintf(path, sizeof(path), "%s/contrib/man/perceptd.conf.5", top ? top : ".");
	assert_int_equal(file_read(path, 1 << 20, &text, &n), 0);
	for (const struct conf_key *key = conf_keys; key->name; key++) {
		const char *value = key->fallback ? key->fallback : "";
		snprintf(want, sizeof(want), "\n.It Ic %s No = Ar %s%s", key->name, value, *value ? "\n" : "");
		if (strstr(text, want) == NULL)
			print_error("perceptd.conf.5 lacks %s", want + 1);
		assert_non_null(strstr(text, want));
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files_are_refused_with_their_line),
		cmocka_unit_test(nul_and_long_lines_are_refused),
		cmocka_unit_test(a_file_is_read),
		cmocka_unit_test(every_key_takes_its_fallback_and_its_limits),
		cmocka_unit_test(the_protocols_limits_are_the_defaults),
		cmocka_unit_test(models_are_resolved),
		cmocka_unit_test(the_file_is_found),
		cmocka_unit_test(the_resolved_assistant_is_json),
		cmocka_unit_test(changes_are_seen),
		cmocka_unit_test(the_manual_has_every_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
