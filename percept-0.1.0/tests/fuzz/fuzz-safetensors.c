/* fuzz-safetensors.c - fuzz target: any bytes as a .safetensors file. */
#include <stdint.h>
#include <stdlib.h>

#include "sdk/nn/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted holds what the header promises: every tensor lies in the data, none overlaps the next. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nn_safetensors st;
	struct nn_error error = { 0 };

	if (nn_safetensors_parse(&st, data, size, "input", &error)) {
		if (!error.code || !error.text[0])
			abort();
		return 0;
	}
	const uint8_t *at = data + st.header_bytes;

	for (size_t i = 0; i < st.n; i++) {
		const struct nn_weight *w = &st.weights[i];

		if ((const uint8_t *)w->data != at || w->bytes > (size_t)(data + size - at) || !w->name[0])
			abort();
		at += w->bytes;
	}
	if (at != data + size)
		abort();
	nn_safetensors_fini(&st);
	return 0;
}
