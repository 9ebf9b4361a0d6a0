/* case-tokenizer.c - texts to ids, by sdk/nn's tokenizer. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/digest.h"
#include "sdk/nn/tokenizer.h"
#include "tests/golden/golden.h"

/* The text of a case: UTF-8, or bytes in hexadecimal. malloc'ed. */
static char *tokenizer_text(const cJSON *c, size_t *n)
{
	const char *hex = cJSON_GetStringValue(cJSON_GetObjectItem(c, "hex"));
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(c, "text"));
	char *out = hex || text ? malloc(strlen(hex ? hex : text) + 1) : NULL;

	if (out && !hex) {
		*n = strlen(text);
		return memcpy(out, text, *n + 1);
	}
	*n = out ? strlen(hex) / 2 : 0;
	for (size_t i = 0; i < *n; i++) {
		unsigned byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		out[i] = (char)byte;
	}
	return out;
}

/* How a case's outputs are made: "ids" of those whose file has "ids_special", too, have no special tokens. */
struct tokenizer_mode {
	const char *key;
	unsigned flags;
};

static void tokenizer_check(struct golden *g, const struct nn_tokenizer *t, const cJSON *c, const struct tokenizer_mode *mode)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(c, "name"));
	const cJSON *want = cJSON_GetObjectItem(c, mode->key), *id;
	struct nn_ids ids = { 0 };
	struct nn_error error = { 0 };
	char label[96];
	size_t n = 0, at = 0;
	char *text = tokenizer_text(c, &n);
	int32_t *list = calloc((size_t)cJSON_GetArraySize(want) + 1, sizeof(*list));

	cJSON_ArrayForEach(id, want)
		list[at++] = id->valueint;
	snprintf(label, sizeof(label), "%.60s %s", name ? name : "", mode->key);
	if (text && nn_tokenizer_encode(t, text, n, mode->flags, &ids, &error))
		golden_fail(g, "%s: %s", name, error.text);
	else if (name && strncmp(name, "bad_", 4) && cJSON_IsArray(want))
		golden_check_ids(g, label, ids.data, ids.n, list, at);
	nn_ids_free(&ids);
	free(list);
	free(text);
}

/* A long text, of whose ids the number and the digest are given. */
static void tokenizer_long(struct golden *g, const struct nn_tokenizer *t, const cJSON *c, const struct tokenizer_mode *mode)
{
	const char *file = cJSON_GetStringValue(cJSON_GetObjectItem(c, "file"));
	const cJSON *want = cJSON_GetObjectItem(c, mode->key);
	const char *digest = cJSON_GetStringValue(cJSON_GetObjectItem(want, "sha256_of_int32_le"));
	struct nn_ids ids = { 0 };
	struct nn_error error = { 0 };
	char hex[NN_DIGEST_HEX] = "";
	size_t n = 0;
	char *text = file ? golden_read(g->path, file, &n) : NULL;

	if (text && digest) {
		struct nn_digest *sum = nn_digest_new();
		int failed = !sum || nn_tokenizer_encode(t, text, n, mode->flags, &ids, &error);

		if (!failed) {
			nn_digest_add(sum, ids.data, ids.n * sizeof(*ids.data));
			failed = nn_digest_end(sum, hex);
		}
		nn_digest_free(sum);
		golden_verdict(g, "long text", !failed && !strcmp(hex, digest));
	}
	nn_ids_free(&ids);
	free(text);
}

/* The folder's file that ends so, as a path; 0 if there is none. */
static int tokenizer_file(const struct golden *g, const char *end, char path[PATH_MAX + 288])
{
	DIR *folder = opendir(g->path);
	const struct dirent *entry;
	int found = 0;

	while (folder && !found && (entry = readdir(folder))) {
		const size_t n = strlen(entry->d_name), m = strlen(end);

		found = n >= m && !strcmp(entry->d_name + n - m, end);
		if (found)
			snprintf(path, PATH_MAX + 288, "%s/%s", g->path, entry->d_name);
	}
	if (folder)
		closedir(folder);
	return found;
}

static struct nn_tokenizer *tokenizer_of(struct golden *g)
{
	const char *elsewhere = getenv("GOLDEN_TOKENIZER");
	struct nn_error error = { 0 };
	struct nn_tokenizer *t = NULL;
	char path[PATH_MAX + 288];

	if (elsewhere)
		t = nn_tokenizer_open(elsewhere, &error);
	else if (tokenizer_file(g, ".gguf", path))
		t = nn_tokenizer_open(path, &error);
	else if (tokenizer_file(g, "tokenizer.json", path) || tokenizer_file(g, ".model", path) || tokenizer_file(g, ".gz", path))
		t = nn_tokenizer_open(g->path, &error);
	else
		golden_skip(g, "its vocabulary is not included; name a model that has it in GOLDEN_TOKENIZER");
	if (error.code)
		golden_fail(g, "%s", error.text);
	return t;
}

void case_tokenizer(struct golden *g)
{
	static const struct tokenizer_mode plain[] = { { "ids", 0 }, { "ids_special", NN_ENCODE_SPECIAL | NN_ENCODE_AROUND } };
	static const struct tokenizer_mode json[] = { { "ids", NN_ENCODE_SPECIAL } };
	static const struct tokenizer_mode pieces[] = { { "ids", 0 }, { "ids_special", NN_ENCODE_AROUND } };
	cJSON *expected = golden_json(g->path, "expected.json");
	struct nn_tokenizer *t = tokenizer_of(g);
	char path[PATH_MAX + 288];
	/* Hugging Face's library finds special tokens in any text. */
	const int special = tokenizer_file(g, "tokenizer.json", path) || cJSON_HasObjectItem(expected, "special_ids");
	/* OpenCLIP fills up to its context, which is the encoder's affair. */
	const unsigned n_modes = special || tokenizer_file(g, ".gz", path) ? 1 : 2;
	const struct tokenizer_mode *modes = special ? json : tokenizer_file(g, ".model", path) ? pieces : plain;
	const cJSON *c, *cases = t ? cJSON_GetObjectItem(expected, "cases") : NULL;

	cJSON_ArrayForEach(c, cases)
		for (size_t i = 0; i < n_modes; i++)
			if (cJSON_HasObjectItem(c, modes[i].key))
				tokenizer_check(g, t, c, &modes[i]);
	if (t)
		tokenizer_long(g, t, cJSON_GetObjectItem(expected, "long"), &modes[0]);
	nn_tokenizer_close(t);
	cJSON_Delete(expected);
}
