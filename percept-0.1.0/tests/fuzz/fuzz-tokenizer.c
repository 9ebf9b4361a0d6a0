/* fuzz-tokenizer.c - a tokenizer.json, then behind a NUL a text for it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char usual[] = " \xff\xc3\xa9 1a <s>\n  ab\xe2\x82\xac";
	const char *json = (const char *)data, *nul = size ? memchr(data, 0, size) : NULL;
	size_t n = nul ? (size_t)(nul - json) : size, bytes;
	struct nn_error error = {0};
	struct nn_tokenizer *t = nn_tokenizer_parse(json, n, "{\"bos_token\": \"<s>\"}", 20, &error);
	struct nn_ids ids = {0};

	if (!t) {
		if (!error.code || !error.text[0])
			abort();
		return 0;
	}
	for (unsigned flags = 0; flags < 4; flags++)
		nn_tokenizer_encode(t, nul ? nul + 1 : usual, nul ? size - n - 1 : sizeof(usual) - 1, flags, &ids, NULL);
	for (size_t i = 0; i < ids.n; i++)
		nn_tokenizer_piece(t, ids.data[i], &bytes);
	nn_ids_free(&ids);
	nn_tokenizer_close(t);
	return 0;
}
