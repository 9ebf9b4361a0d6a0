/* test-parts.c - the engine's smaller parts: text output, guards, the cache, options, checks of plugins' answers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/engine/cache.h"
#include "daemon/engine/guard.h"
#include "daemon/engine/options.h"
#include "daemon/engine/textout.h"

/* ---- text output ---- */

static void push(struct textout *out, const char *bytes)
{
	assert_int_equal(textout_push(out, bytes, strlen(bytes)), 0);
}

static void takes(struct textout *out, const char *expected)
{
	size_t n;
	const char *text = textout_take(out, &n);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(text, expected, n);
}

static void gives_whole_characters_only(void **state)
{
	struct textout out = {0};

	push(&out, "a\xe2");
	takes(&out, "a");
	push(&out, "\x82");
	takes(&out, "");
	push(&out, "\xac!");
	takes(&out, "\xe2\x82\xac!");
	push(&out, "\xf0\x9f");
	textout_finish(&out);
	takes(&out, "\xef\xbf\xbd");
	textout_fini(&out);
}

static void replaces_what_is_no_text(void **state)
{
	static const char *const bad[] = {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x28"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *valid = textout_valid(bad[i], strlen(bad[i]));

		assert_non_null(strstr(valid, "\xef\xbf\xbd"));
		for (const unsigned char *c = (const unsigned char *)valid; *c;) {
			int n = textout_character(c, strlen((const char *)c));

			assert_true(n > 0);
			c += n;
		}
		free(valid);
	}
	char *nul = textout_valid("a\0b", 3);

	assert_string_equal(nul, "a\xef\xbf\xbd" "b");
	free(nul);
}

static void stops_across_token_borders(void **state)
{
	const char *stops[] = {"\n\nUser:", "END"};
	struct textout out = {.stop = stops, .n_stop = 2};

	push(&out, "one\n");
	takes(&out, "one");
	push(&out, "\nUs");
	takes(&out, "");
	push(&out, "E");
	takes(&out, "\n\nUs");
	push(&out, "N");
	takes(&out, "");
	assert_false(out.stopped);
	push(&out, "Dx");
	assert_true(out.stopped);
	takes(&out, "");
	textout_finish(&out);
	assert_string_equal(out.text, "one\n\nUs");
	textout_fini(&out);
}

static void gives_what_was_held_back_at_the_end(void **state)
{
	const char *stops[] = {"END"};
	struct textout out = {.stop = stops, .n_stop = 1};

	push(&out, "so EN");
	takes(&out, "so ");
	textout_finish(&out);
	takes(&out, "EN");
	textout_fini(&out);
}

static void drops_leading_white_space_only(void **state)
{
	struct textout out = {.drop_space = 1};

	push(&out, " ");
	push(&out, "\n yes no");
	textout_finish(&out);
	assert_string_equal(out.text, "yes no");
	textout_fini(&out);
}

/* ---- guards ---- */

static const char *const specials[] = {"<s>", "</s>", "<image>", "<im", "<image>x"};

static const char *special_at(const void *arg, size_t i, int32_t *id)
{
	*id = (int32_t)i;
	return specials[i];
}

static const struct guard_names names = {5, special_at, NULL};

static void guards_what_users_write(void **state)
{
	static const char *const texts[] = {"<image>", "a<s>b</s>", "\xef\xb7\x90<image>\xef\xb7\x91", "<im<image>", "<imag", "</",
					    "\xef\xb7\x90\xef\xb7\x92", "\xef\xb7\x91", "plain \xe2\x82\xac text", ""};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *guarded = guard_put(&names, texts[i]);

		for (const char *at = guarded; *at;) {
			struct guard_piece piece = guard_next(&names, at);

			assert_int_equal(piece.kind, GUARD_TEXT);
			at += piece.n;
		}
		size_t n = guard_remove(guarded, strlen(guarded));

		assert_int_equal(n, strlen(texts[i]));
		assert_memory_equal(guarded, texts[i], n);
		free(guarded);
	}
}

static void two_texts_make_no_special_token(void **state)
{
	char *a = guard_put(&names, "<ima"), *b = guard_put(&names, "ge>");
	char both[64];

	snprintf(both, sizeof(both), "%s%s", a, b);
	assert_int_equal(guard_next(&names, both).kind, GUARD_TEXT);
	assert_int_equal(guard_next(&names, both).n, strlen(both));
	assert_int_equal(guard_remove(both, strlen(both)), 7);
	assert_memory_equal(both, "<image>", 7);
	free(a);
	free(b);
}

static void finds_the_templates_own_tokens(void **state)
{
	const char *text = "USER: <image>xy" GUARD_MARKER "</s>";
	static const struct {
		enum guard_kind kind;
		size_t n;
		int32_t id;
	} expected[] = {{GUARD_TEXT, 6, -1}, {GUARD_SPECIAL, 8, 4}, {GUARD_TEXT, 1, -1}, {GUARD_ITEM, 3, -1},
			{GUARD_SPECIAL, 4, 1}, {GUARD_END, 0, -1}};

	for (size_t i = 0; i < 6; i++) {
		struct guard_piece piece = guard_next(&names, text);

		assert_int_equal(piece.kind, expected[i].kind);
		assert_int_equal(piece.n, expected[i].n);
		assert_int_equal(piece.id, expected[i].id);
		text += piece.n;
	}
}

/* ---- the cache ---- */

static struct embeddings some_embeddings(size_t bytes)
{
	struct embeddings e = {.n = 1, .dim = 1, .n_pieces = 1, .bytes = bytes};

	e.data = calloc(1, sizeof(float));
	e.pieces = calloc(1, sizeof(*e.pieces));
	return e;
}

/* Looks `key` up, fills it if need be. 1 if it was there. */
static int visit(struct cache *cache, const char *key, size_t bytes)
{
	int mine;
	struct cache_entry *entry = cache_get(cache, key, &mine);

	assert_non_null(entry);
	if (mine) {
		struct embeddings e = some_embeddings(bytes);

		cache_fill(cache, entry, &e);
	}
	cache_release(cache, entry);
	return !mine;
}

static void keeps_to_its_budget_and_drops_the_oldest(void **state)
{
	struct cache cache;

	cache_init(&cache, 100);
	assert_false(visit(&cache, "a", 40));
	assert_false(visit(&cache, "b", 40));
	assert_true(visit(&cache, "a", 40));
	assert_false(visit(&cache, "c", 40)); /* b has to go */
	assert_true(visit(&cache, "a", 40));
	assert_true(visit(&cache, "c", 40));
	assert_false(visit(&cache, "b", 40));
	assert_int_equal(cache.bytes, 80);
	assert_int_equal(cache.entries, 2);
	assert_false(visit(&cache, "huge", 1000));
	assert_int_equal(cache.bytes, 0);
	cache_fini(&cache);
}

static void one_fills_and_the_others_wait(void **state)
{
	struct cache cache;
	int mine, second;

	cache_init(&cache, 100);
	struct cache_entry *a = cache_get(&cache, "k", &mine), *b = cache_get(&cache, "k", &second);

	assert_true(mine);
	assert_false(second);
	assert_ptr_equal(a, b);
	assert_int_equal(b->state, CACHE_FILLING);
	cache_abandon(&cache, a);
	cache_release(&cache, a);
	struct cache_entry *c = cache_get(&cache, "k", &mine);

	assert_true(mine);
	assert_ptr_not_equal(b, c);
	struct embeddings e = some_embeddings(1000); /* over the budget: gone from the table, but its holder has it */

	cache_fill(&cache, c, &e);
	assert_int_equal(c->embeddings.n, 1);
	cache_release(&cache, b);
	cache_release(&cache, c);
	cache_fini(&cache);
}

/* ---- options ---- */

static const struct percept_option table[] = {
	{"layers", PERCEPT_OPTION_INT, 0, "4", NULL, 1, 48, ""},
	{"mode", PERCEPT_OPTION_ENUM, 0, NULL, "fast|exact", 0, 0, ""},
	{"scale", PERCEPT_OPTION_FLOAT, 0, NULL, NULL, 0, 0, ""},
	{"on", PERCEPT_OPTION_BOOL, 0, "yes", NULL, 0, 0, ""},
	{"file", PERCEPT_OPTION_PATH, 0, NULL, NULL, 0, 0, ""},
};

static int parse(const char *json, struct options *options, struct wire_error *error)
{
	cJSON *given = cJSON_Parse(json);
	int r = options_parse("plug", table, 5, given, options, error);

	cJSON_Delete(given);
	return r;
}

static void reads_options_by_type(void **state)
{
	struct options options;
	struct wire_error error = {0};

	assert_int_equal(parse("{\"mode\":\"exact\",\"scale\":\"0.5\",\"on\":\"off\"}", &options, &error), 0);
	struct percept_open open = {.size = sizeof(open), .n_values = options.n, .values = options.values};

	assert_int_equal(percept_option(&open, "layers")->integer, 4);
	assert_int_equal(percept_option(&open, "layers")->given, 0);
	assert_string_equal(percept_option(&open, "mode")->string, "exact");
	assert_true(percept_option(&open, "scale")->real == 0.5);
	assert_int_equal(percept_option(&open, "on")->integer, 0);
	assert_null(percept_option(&open, "file"));
	options_fini(&options);
}

static void refuses_options_by_name(void **state)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
		{"{\"layers\":\"49\"}", "Option layers of plugin plug is \"49\", but it must be a whole number from 1 to 48."},
		{"{\"layers\":\"4x\"}", "whole number"}, {"{\"layers\":\"99999999999999999999\"}", "whole number"},
		{"{\"mode\":\"slow\"}", "one of fast|exact"}, {"{\"mode\":\"fas\"}", "one of"}, {"{\"scale\":\"nan\"}", "a number"},
		{"{\"on\":\"maybe\"}", "yes or no"}, {"{\"file\":\"here\"}", "absolute path"}, {"{\"layer\":\"1\"}", "has no option layer"},
		{"{\"mode\":[]}", "neither"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options;
		struct wire_error error = {0};

		assert_int_equal(parse(cases[i].json, &options, &error), WIRE_PARAMS);
		assert_non_null(strstr(error.text, cases[i].says));
		wire_error_fini(&error);
	}
}

/* ---- plugins' answers ---- */

static void refuses_answers_that_make_no_sense(void **state)
{
	struct call call;
	struct lane lane = {.encoder_info.dim = 4, .connector_info.out_dim = 2};
	float data[8] = {0}, bad[8] = {0, NAN};
	struct percept_piece piece = {.kind = PERCEPT_PIECE_ROWS, .first = 3, .count = 2}, unknown = {.kind = 9};
	const struct percept_embeddings answers[] = {
		{.n = 4, .dim = 3, .data = data},
		{.n = 4, .dim = 2, .data = NULL},
		{.n = 4, .dim = 2, .data = bad},
		{.n = 4000000000u, .dim = 2, .data = data},
		{.n = 4, .dim = 2, .data = data, .n_pieces = 1, .pieces = &piece},
		{.n = 4, .dim = 2, .data = data, .n_pieces = 1, .pieces = &unknown},
		{.n = 4, .dim = 2, .data = data, .n_pieces = 1},
	};

	assert_int_equal(call_init(&call, NULL, 0), 0);
	call_reset(&call, "liar");
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct wire_error error = {0};
		struct embeddings copy;

		assert_int_equal(embeddings_copy(&call, &lane, &answers[i], 0, &copy, &error), WIRE_PLUGIN);
		assert_string_equal(cJSON_GetObjectItem(error.data, "plugin")->valuestring, "liar");
		wire_error_fini(&error);
	}
	struct percept_features features = {.layout = {.items = 1u << 31, .tokens = 1u << 31, .dim = 4}, .data = data};
	struct wire_error error = {0};

	assert_int_equal(embeddings_check_features(&call, &lane, &features, &error), WIRE_PLUGIN);
	wire_error_fini(&error);
	call_fini(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_whole_characters_only),
		cmocka_unit_test(replaces_what_is_no_text),
		cmocka_unit_test(stops_across_token_borders),
		cmocka_unit_test(gives_what_was_held_back_at_the_end),
		cmocka_unit_test(drops_leading_white_space_only),
		cmocka_unit_test(guards_what_users_write),
		cmocka_unit_test(two_texts_make_no_special_token),
		cmocka_unit_test(finds_the_templates_own_tokens),
		cmocka_unit_test(keeps_to_its_budget_and_drops_the_oldest),
		cmocka_unit_test(one_fills_and_the_others_wait),
		cmocka_unit_test(reads_options_by_type),
		cmocka_unit_test(refuses_options_by_name),
		cmocka_unit_test(refuses_answers_that_make_no_sense),
	};

	return cmocka_run_group_tests_name("engine parts", tests, NULL, NULL);
}
