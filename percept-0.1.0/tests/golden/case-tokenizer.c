/* case-tokenizer.c - texts to ids, by sdk/nn's tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void tokenizer_case(struct golden *g, const struct nn_tokenizer *t, const cJSON *c)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(c, "name"));
	const cJSON *want = cJSON_GetObjectItem(c, "ids"), *id;
	struct nn_ids ids = { 0 };
	struct nn_error error = { 0 };
	size_t n = 0, at = 0;
	char *text = tokenizer_text(c, &n);
	int32_t *list = calloc((size_t)cJSON_GetArraySize(want) + 1, sizeof(*list));

	cJSON_ArrayForEach(id, want)
		list[at++] = id->valueint;
	if (text && nn_tokenizer_encode(t, text, n, NN_ENCODE_SPECIAL, &ids, &error))
		golden_fail(g, "%s: %s", name, error.text);
	else if (name && strncmp(name, "bad_", 4) && cJSON_IsArray(want))
		golden_check_ids(g, name, ids.data, ids.n, list, at);
	nn_ids_free(&ids);
	free(list);
	free(text);
}

/* A long text, of whose ids the number and the digest are given. */
static void tokenizer_long(struct golden *g, const struct nn_tokenizer *t, const cJSON *c)
{
	const char *file = cJSON_GetStringValue(cJSON_GetObjectItem(c, "file"));
	const cJSON *want = cJSON_GetObjectItem(c, "ids");
	const char *digest = cJSON_GetStringValue(cJSON_GetObjectItem(want, "sha256_of_int32_le"));
	struct nn_ids ids = { 0 };
	struct nn_error error = { 0 };
	char hex[NN_DIGEST_HEX] = "";
	size_t n = 0;
	char *text = file ? golden_read(g->path, file, &n) : NULL;

	if (!text || !digest)
		return;
	struct nn_digest *sum = nn_digest_new();
	int failed = !sum || nn_tokenizer_encode(t, text, n, NN_ENCODE_SPECIAL, &ids, &error);

	if (!failed) {
		nn_digest_add(sum, ids.data, ids.n * sizeof(*ids.data));
		failed = nn_digest_end(sum, hex);
	}
	nn_digest_free(sum);
	golden_verdict(g, "long text", !failed && !strcmp(hex, digest));
	nn_ids_free(&ids);
	free(text);
}

void case_tokenizer(struct golden *g)
{
	cJSON *expected = golden_json(g->path, "expected.json");
	const cJSON *c;
	struct nn_error error = { 0 };
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/tokenizer.json", g->path);
	if (access(path, R_OK)) {
		golden_skip(g, "it has no tokenizer.json");
		cJSON_Delete(expected);
		return;
	}
	struct nn_tokenizer *t = nn_tokenizer_open(g->path, &error);

	if (!t)
		golden_fail(g, "%s", error.text);
	const cJSON *cases = t ? cJSON_GetObjectItem(expected, "cases") : NULL;

	cJSON_ArrayForEach(c, cases)
		tokenizer_case(g, t, c);
	if (t)
		tokenizer_long(g, t, cJSON_GetObjectItem(expected, "long"));
	nn_tokenizer_close(t);
	cJSON_Delete(expected);
}
