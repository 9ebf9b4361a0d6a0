/* fuzz-gguf.c - fuzz target: any bytes as a GGUF file, and as the tokenizer in one. */
#include <stdint.h>
#include <stdlib.h>

#include "sdk/nn/gguf.h"
#include "sdk/nn/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted lies in the file, one tensor behind the other. */
static void check(const struct nn_gguf *g, const uint8_t *data, size_t size)
{
	const uint8_t *at = data + g->header_bytes;

	for (uint64_t i = 0; i < g->n_tensors; i++) {
		const struct nn_gguf_tensor *t = &g->tensors[i];

		if (t->data < at || t->bytes > (size_t)(data + size - t->data) || !t->name.n || !t->rank || t->rank > 4)
			abort();
		at = t->data + t->bytes;
	}
	for (uint64_t i = 0; i < g->n_values; i++) {
		const struct nn_gguf_value *v = &g->values[i];
		const unsigned char *text = v->data;

		for (uint64_t k = 0; k < v->n; k++) {
			if (v->type == NN_GGUF_STRING)
				nn_gguf_next_text(&text);
			else
				nn_gguf_number(v, k);
		}
		if (text > data + size)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char usual[] = " \xff\xc3\xa9 1a <s>\n  ab\xe2\x82\xac";
	struct nn_error error = { 0 };
	struct nn_ids ids = { 0 };
	struct nn_gguf g;

	if (nn_gguf_parse(&g, data, size, "input", &error)) {
		if (!error.code || !error.text[0])
			abort();
		return 0;
	}
	check(&g, data, size);
	nn_gguf_fini(&g);
	struct nn_tokenizer *t = nn_tokenizer_parse_gguf(data, size, "input", &error);

	if (!t && (!error.code || !error.text[0]))
		abort();
	for (unsigned flags = 0; t && flags < 4; flags++)
		nn_tokenizer_encode(t, usual, sizeof(usual) - 1, flags, &ids, NULL);
	nn_ids_free(&ids);
	nn_tokenizer_close(t);
	return 0;
}
