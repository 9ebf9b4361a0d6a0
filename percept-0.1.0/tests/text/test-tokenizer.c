/* test-tokenizer.c - tokenizers give the reference's ids, survive any text, and refuse bad files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <openssl/sha.h>

#include "sdk/nn/tokenizer.h"
#include "tests/text/golden.h"

static const char *const test_vocabularies[] = {"tokenizers/tiny-bpe-gpt-2", "tokenizers/tiny-bpe-llama-bpe",
						"tokenizers/tiny-bpe-qwen2"};

static struct nn_tokenizer *test_open(const char *path)
{
	struct nn_error error = {0};
	struct nn_tokenizer *t = nn_tokenizer_open(path, &error);

	if (!t)
		fail_msg("%s: %s", path, error.text);
	return t;
}

static struct nn_ids test_encode(const struct nn_tokenizer *t, const char *text, size_t n, unsigned flags)
{
	struct nn_ids ids = {0};
	struct nn_error error = {0};

	if (nn_tokenizer_encode(t, text, n, flags, &ids, &error))
		fail_msg("%s", error.text);
	return ids;
}

static void test_same(const char *name, const struct nn_ids *ids, const cJSON *want)
{
	const cJSON *id = want->child;

	for (size_t i = 0; i < ids->n && id; i++, id = id->next)
		if (ids->data[i] != id->valueint)
			fail_msg("%s: id %zu is %d, not %d", name, i, ids->data[i], id->valueint);
	if (ids->n != (size_t)cJSON_GetArraySize(want))
		fail_msg("%s: %zu ids, not %d", name, ids->n, cJSON_GetArraySize(want));
}

static size_t test_text(const cJSON *item, char *text, size_t room)
{
	const cJSON *hex = cJSON_GetObjectItem(item, "hex"), *plain = cJSON_GetObjectItem(item, "text");
	size_t n = 0;

	if (!hex) {
		assert_true(strlen(plain->valuestring) < room);
		strcpy(text, plain->valuestring);
		return strlen(text);
	}
	for (const char *s = hex->valuestring; s[0] && s[1]; s += 2, n++) {
		unsigned byte;

		assert_int_equal(sscanf(s, "%2x", &byte), 1);
		text[n] = (char)byte;
	}
	return n;
}

static void test_goldens(void **state)
{
	static char text[65536];
	char path[256];

	for (size_t v = 0; v < 3; v++) {
		struct nn_tokenizer *t = test_open(golden_path(test_vocabularies[v]));

		snprintf(path, sizeof(path), "%s/expected.json", test_vocabularies[v]);
		cJSON *json = golden_json(golden_path(path));
		const cJSON *item;

		cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "cases"))
		{
			size_t n = test_text(item, text, sizeof(text));
			struct nn_ids ids = test_encode(t, text, n, NN_ENCODE_SPECIAL);

			test_same(cJSON_GetObjectItem(item, "name")->valuestring, &ids, cJSON_GetObjectItem(item, "ids"));
			nn_ids_free(&ids);
		}
		cJSON_Delete(json);
		nn_tokenizer_close(t);
	}
}

static void test_long(void **state)
{
	char path[256], digest[65];
	unsigned char sha[32];
	size_t n;
	char *text = golden_read(golden_path("tokenizers/long.txt"), &n);

	for (size_t v = 0; v < 3; v++) {
		struct nn_tokenizer *t = test_open(golden_path(test_vocabularies[v]));
		struct nn_ids ids = test_encode(t, text, n, NN_ENCODE_SPECIAL);

		snprintf(path, sizeof(path), "%s/expected.json", test_vocabularies[v]);
		cJSON *json = golden_json(golden_path(path));
		const cJSON *want = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "long"), "ids");

		assert_int_equal(ids.n, cJSON_GetObjectItem(want, "count")->valueint);
		SHA256((const unsigned char *)ids.data, ids.n * sizeof(*ids.data), sha);
		for (int i = 0; i < 32; i++)
			snprintf(digest + 2 * i, 3, "%02x", sha[i]);
		assert_string_equal(digest, cJSON_GetObjectItem(want, "sha256_of_int32_le")->valuestring);
		nn_ids_free(&ids);
		cJSON_Delete(json);
		nn_tokenizer_close(t);
	}
	free(text);
}

/* The ids of a text, put together again, are the text. */
static void test_pieces(void **state)
{
	size_t n, at = 0, bytes;
	char *text = golden_read(golden_path("tokenizers/long.txt"), &n);
	struct nn_tokenizer *t = test_open(golden_path(test_vocabularies[1]));
	struct nn_ids ids = test_encode(t, text, n, 0);

	for (size_t i = 0; i < ids.n; i++) {
		const char *piece = nn_tokenizer_piece(t, ids.data[i], &bytes);

		assert_non_null(piece);
		assert_true(at + bytes <= n);
		assert_memory_equal(text + at, piece, bytes);
		at += bytes;
	}
	assert_int_equal(at, n);
	assert_null(nn_tokenizer_piece(t, -1, &bytes));
	assert_null(nn_tokenizer_piece(t, 400, &bytes));
	assert_non_null(nn_tokenizer_piece(t, 399, &bytes));
	nn_ids_free(&ids);
	nn_tokenizer_close(t);
	free(text);
}

/* Prompts of the bundled model: <image> once in the text, 64 times in the reference's ids. */
static void test_bundled(void **state)
{
	enum { IMAGE = 4, ROWS = 64 };
	struct nn_tokenizer *t = test_open(golden_top_path("models/tiny-llava"));
	cJSON *json = golden_json(golden_path("tiny-llava-e2e/goldens.json"));
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "items"))
	{
		const char *prompt = cJSON_GetObjectItem(item, "prompt")->valuestring;
		struct nn_ids ids = test_encode(t, prompt, strlen(prompt), NN_ENCODE_SPECIAL | NN_ENCODE_AROUND);
		cJSON *want = cJSON_GetObjectItem(item, "input_ids"), *id = want->child;

		for (int k = 1; id; id = id->next) {
			if (id->valueint != IMAGE || k++ == ROWS)
				continue;
			id = id->prev;
			cJSON_Delete(cJSON_DetachItemViaPointer(want, id->next));
		}
		test_same(prompt, &ids, want);
		nn_ids_free(&ids);
	}
	cJSON_Delete(json);
	nn_tokenizer_close(t);
}

static void test_specials(void **state)
{
	struct nn_tokenizer *t = test_open(golden_top_path("models/tiny-llava"));
	int32_t id;

	assert_int_equal(nn_tokenizer_bos(t), 1);
	assert_int_equal(nn_tokenizer_eos(t), 2);
	assert_int_equal(nn_tokenizer_size(t), 1280);
	assert_int_equal(nn_tokenizer_special(t, "<image>"), 4);
	assert_int_equal(nn_tokenizer_special(t, "image"), -1);
	assert_true(nn_tokenizer_is_special(t, 4));
	assert_false(nn_tokenizer_is_special(t, 5));
	assert_int_equal(nn_tokenizer_special_count(t), 5);
	assert_string_equal(nn_tokenizer_special_at(t, 4, &id), "<image>");
	assert_int_equal(id, 4);
	assert_null(nn_tokenizer_special_at(t, 5, &id));
	nn_tokenizer_close(t);
}

/* Without NN_ENCODE_SPECIAL "<image>" is seven characters. */
static void test_plain(void **state)
{
	struct nn_tokenizer *t = test_open(golden_top_path("models/tiny-llava"));
	struct nn_ids ids = test_encode(t, "<image></s>", 11, 0);

	assert_true(ids.n > 2);
	for (size_t i = 0; i < ids.n; i++)
		assert_false(nn_tokenizer_is_special(t, ids.data[i]));
	nn_ids_free(&ids);
	nn_tokenizer_close(t);
}

static void test_invalid_utf8(void **state)
{
	static const struct {
		const char *bad, *good;
	} cases[] = {
		{"a\xff" "b", "a\xef\xbf\xbd" "b"},
		{"\xe2\x82", "\xef\xbf\xbd"},
		{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xf0\x9f\x98x", "\xef\xbf\xbdx"},
	};
	struct nn_tokenizer *t = test_open(golden_path(test_vocabularies[2]));

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct nn_ids bad = test_encode(t, cases[i].bad, strlen(cases[i].bad), 0);
		struct nn_ids good = test_encode(t, cases[i].good, strlen(cases[i].good), 0);

		assert_int_equal(bad.n, good.n);
		assert_memory_equal(bad.data, good.data, bad.n * sizeof(int32_t));
		nn_ids_free(&bad);
		nn_ids_free(&good);
	}
	nn_tokenizer_close(t);
}

/* Twice the text may not cost four times the work: 1 MB of one word, of spaces, of marks, within seconds even when slow. */
static void test_linear(void **state)
{
	static const char *const units[] = {"ab", "  ", "e\xcc\x81", "\xff\xff", "<|", "\n ", "'s"};
	enum { SIZE = 1 << 20, SECONDS = 20 };
	char *text = malloc(SIZE);

	for (size_t v = 0; v < 3; v++) {
		struct nn_tokenizer *t = test_open(golden_path(test_vocabularies[v]));

		for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++) {
			size_t n = strlen(units[u]);
			clock_t start = clock();

			for (size_t i = 0; i + n <= SIZE; i += n)
				memcpy(text + i, units[u], n);
			struct nn_ids ids = test_encode(t, text, SIZE - SIZE % n, NN_ENCODE_SPECIAL);

			assert_true(clock() - start < SECONDS * CLOCKS_PER_SEC);
			nn_ids_free(&ids);
		}
		nn_tokenizer_close(t);
	}
	free(text);
}

#define SMALL_MODEL "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"\\u0120\": 3}, \"merges\": [\"a b\"]}"

static void test_refusals(void **state)
{
	static const struct {
		const char *json, *word;
	} cases[] = {
		{"", "not JSON"},
		{"[]", "no \"model\""},
		{"{\"model\": {\"type\": \"Magic\"}}", "Magic"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": [], \"merges\": []}}", "vocab"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "token a"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1.5}, \"merges\": []}}", "token a"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1e9}, \"merges\": []}}", "token a"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", "another token"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", "merges"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"aa\"]}}", "merge 0"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}", "merge 0"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", "merge 0"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [7]}}", "merge 0"},
		{"{" SMALL_MODEL ", \"added_tokens\": [{\"content\": \"x\"}]}", "added token"},
		{"{" SMALL_MODEL ", \"added_tokens\": [{\"content\": \"\", \"id\": 5}]}", "added token 5"},
		{"{" SMALL_MODEL ", \"added_tokens\": [{\"content\": \"x\", \"id\": 1e30}]}", "added token"},
		{"{" SMALL_MODEL ", \"normalizer\": {\"type\": \"Fog\"}}", "Fog"},
		{"{" SMALL_MODEL ", \"normalizer\": 7}", "normalizer"},
		{"{" SMALL_MODEL ", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}}}", "pattern"},
		{"{" SMALL_MODEL ", \"normalizer\": {\"type\": \"Prepend\"}}", "prepend"},
		{"{" SMALL_MODEL ", \"pre_tokenizer\": {\"type\": \"Fog\"}}", "Fog"},
		{"{" SMALL_MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}}}", "pattern ("},
		{"{" SMALL_MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, "
		 "\"behavior\": \"Odd\"}}", "Odd"},
		{"{" SMALL_MODEL ", \"post_processor\": {\"type\": \"Fog\"}}", "Fog"},
		{"{" SMALL_MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
		 "[{\"SpecialToken\": {\"id\": \"<s>\"}}]}}", "<s>"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *folder = golden_folder();
		struct nn_error error = {0};

		golden_folder_write(folder, "tokenizer.json", cases[i].json);
		struct nn_tokenizer *t = nn_tokenizer_open(folder, &error);

		golden_folder_remove(folder);
		if (t || !error.code || !strstr(error.text, cases[i].word))
			fail_msg("case %zu: %s", i, t ? "accepted" : error.text);
	}
}

static void test_missing(void **state)
{
	struct nn_error error = {0};

	assert_null(nn_tokenizer_open("/nonexistent", &error));
	assert_int_equal(error.code, -ENOENT);
	assert_non_null(strstr(error.text, "tokenizer.json"));
}

/* Each: parts of a tokenizer.json beside the small model, a text, and its ids. */
static void test_parts(void **state)
{
	static const struct {
		const char *parts, *text;
		size_t n;
		int32_t ids[8];
	} cases[] = {
		{"", "abab", 2, {2, 2}},
		{"", "aXb", 1, {2}}, /* what is unknown is left out */
		{", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Removed\"}", "abab",
		 2, {1, 1}},
		{", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"Isolated\"}", "abab",
		 4, {0, 1, 0, 1}},
		{", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"MergedWithNext\"}",
		 "abab", 2, {2, 2}},
		{", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"b\"}, \"behavior\": "
		 "\"MergedWithPrevious\"}", "abab", 2, {2, 2}},
		{", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"Removed\", "
		 "\"invert\": true}", "abab", 2, {0, 0}},
		{", \"pre_tokenizer\": {\"type\": \"ByteLevel\"}", "a b", 4, {3, 0, 3, 1}},
		{", \"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}", "a b", 2, {0, 1}},
		{", \"normalizer\": {\"type\": \"Lowercase\"}", "ABa", 2, {2, 0}},
		{", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": "
		 "\"StripAccents\"}]}", "\xc3\xa0" "b", 1, {2}},
		{", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"x\"}, \"content\": \"ab\"}", "xax", 3,
		 {2, 0, 2}},
		{", \"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"a\"}", "b", 1, {2}},
		{", \"normalizer\": {\"type\": \"Strip\"}, \"added_tokens\": [{\"content\": \" \", \"id\": 7}]", "a b", 3,
		 {0, 7, 1}},
		{", \"added_tokens\": [{\"content\": \"<x>\", \"id\": 7, \"lstrip\": true, \"rstrip\": true}]", "a <x>  b", 3,
		 {0, 7, 1}},
		{", \"added_tokens\": [{\"content\": \"x\", \"id\": 7, \"single_word\": true}]", "ax x b", 3, {0, 7, 1}},
		{", \"added_tokens\": [{\"content\": \"xy\", \"id\": 7}, {\"content\": \"xyz\", \"id\": 8}]", "xyxyz", 2, {7, 8}},
		{", \"normalizer\": {\"type\": \"Lowercase\"}, \"added_tokens\": [{\"content\": \"Xy\", \"id\": 7, "
		 "\"normalized\": true}]", "XYxy", 2, {7, 7}},
		{", \"post_processor\": {\"type\": \"RobertaProcessing\", \"cls\": [\"c\", 5], \"sep\": [\"s\", 6]}", "a", 3,
		 {5, 0, 6}},
	};
	char json[2048];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *folder = golden_folder();

		snprintf(json, sizeof(json), "{" SMALL_MODEL "%s}", cases[i].parts);
		golden_folder_write(folder, "tokenizer.json", json);
		struct nn_tokenizer *t = test_open(folder);

		golden_folder_remove(folder);
		struct nn_ids ids = test_encode(t, cases[i].text, strlen(cases[i].text),
						NN_ENCODE_SPECIAL | NN_ENCODE_AROUND);

		if (ids.n != cases[i].n || memcmp(ids.data, cases[i].ids, ids.n * sizeof(int32_t)))
			fail_msg("case %zu: %zu ids, the first is %d", i, ids.n, ids.n ? ids.data[0] : -1);
		nn_ids_free(&ids);
		nn_tokenizer_close(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goldens), cmocka_unit_test(test_long),         cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_bundled), cmocka_unit_test(test_plain),        cmocka_unit_test(test_invalid_utf8),
		cmocka_unit_test(test_linear),  cmocka_unit_test(test_refusals),     cmocka_unit_test(test_missing),
		cmocka_unit_test(test_parts),   cmocka_unit_test(test_specials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
