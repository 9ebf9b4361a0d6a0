/* case-connector.c - LLaVA's projectors through the mlp connector. */
#include <stdio.h>

#include "tests/golden/part.h"

void case_connector(struct golden *g)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "F32", "in.features");
	struct part p = { 0 };

	if (!in || in->rank != 3) {
		golden_fail(g, "io.safetensors has no in.features");
		return;
	}
	if (!part_open(&p, g, "mlp", g->path, NULL, 1)) {
		const uint32_t items = (uint32_t)in->shape[0], tokens = (uint32_t)in->shape[1], dim = (uint32_t)in->shape[2];
		const struct percept_features f = {
			.size = sizeof(f), .data = in->data,
			.layout = { .size = sizeof(f.layout), .items = items, .tokens = tokens, .dim = dim },
		};
		struct percept_embeddings e = { .size = sizeof(e) };
		const int error = part_connector(&p)->connect(part_call(&p), p.instance, &f, NULL, &e);

		if (error)
			part_failed(&p, g, error);
		part_check_taps(&p, g, "");
		golden_check(g, "out.projected", e.data, (size_t)e.n * e.dim);
	}
	part_close(&p);
}
