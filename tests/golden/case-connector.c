/* case-connector.c - connectors that take features alone. */
#include <stdio.h>
#include <string.h>

#include "tests/golden/part.h"

/* The plugin of a case's architecture: LLaVA's projectors, or one that this names. */
static const char *connector_plugin(const struct golden *g)
{
	static const struct {
		const char *architecture, *plugin;
	} plugins[] = {
		{ "mobilevlm connector", "ldp" },
		{ "minicpmv resampler", "resampler" },
		{ "idefics3 connector", "grid" },
		{ "gemma3 connector", "grid" },
		{ "internvl connector", "grid" },
		{ "qwen2_vl connector", "merger" },
		{ "qwen2_5_vl connector", "merger" },
	};
	const char *architecture = cJSON_GetStringValue(cJSON_GetObjectItem(g->info, "architecture"));

	for (size_t i = 0; architecture && i < sizeof(plugins) / sizeof(plugins[0]); i++)
		if (!strcmp(plugins[i].architecture, architecture))
			return plugins[i].plugin;
	return "mlp";
}

void case_connector(struct golden *g)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "F32", "in.features"), *grid = golden_tensor(&g->io, "I32", "in.grid");
	struct part p = { 0 };

	if (!in || (in->rank != 3 && in->rank != 2)) {
		golden_fail(g, "io.safetensors has no in.features");
		return;
	}
	if (!part_open(&p, g, connector_plugin(g), g->path, NULL, 1)) {
		const uint32_t items = in->rank == 3 ? (uint32_t)in->shape[0] : 1;
		const uint32_t tokens = (uint32_t)in->shape[in->rank - 2], dim = (uint32_t)in->shape[in->rank - 1];
		struct percept_features f = {
			.size = sizeof(f), .data = in->data,
			.layout = { .size = sizeof(f.layout), .items = items, .tokens = tokens, .dim = dim },
		};
		struct percept_embeddings e = { .size = sizeof(e) };

		if (grid && grid->n == 2) {
			f.layout.rows = (uint32_t)((const int32_t *)grid->data)[0];
			f.layout.cols = (uint32_t)((const int32_t *)grid->data)[1];
		}
		const int error = part_connector(&p)->connect(part_call(&p), p.instance, &f, NULL, &e);

		if (error)
			part_failed(&p, g, error);
		part_check_taps(&p, g, "");
		golden_check(g, "out.projected", e.data, (size_t)e.n * e.dim);
	}
	part_close(&p);
}
