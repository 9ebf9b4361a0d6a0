/* gated.c - the plugin: gated cross-attention as a connector of feature fusion. */
#include "plugins/connectors/gated_cross_attention/gated.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/compute.h"

static void gated_close(void *fusion)
{
	struct gated *g = fusion;

	for (uint32_t i = 0; g->bound && i < g->n_sequences; i++)
		bound_fini(&g->bound[i]);
	free(g->bound);
	free(g->blocks);
	free(g->at);
	free(g->marker);
	perceiver_fini(&g->perceiver);
	nn_arena_free(g->arena);
	nn_checkpoint_close(g->checkpoint);
	free(g);
}

/* What the options say, and the files. 0 or error->code. */
static int gated_read(struct gated *g, const struct percept_open *open, struct nn_error *error)
{
	const struct percept_value *marker = percept_option(open, "marker");

	g->compute = nn_compute_option(open);
	g->n_sequences = open->max_sequences;
	g->bound = calloc((size_t)g->n_sequences + 1, sizeof(*g->bound));
	g->arena = nn_arena_new(0);
	if (!g->bound || !g->arena)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	g->checkpoint = nn_checkpoint_open(open->model, error);
	if (!g->checkpoint)
		return error->code ? error->code : -EINVAL;
	if (gated_load(g, error))
		return error->code;
	g->marker = strdup(marker ? marker->string : g->kind->marker);
	if (!g->marker)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (!*g->marker)
		return nn_fail(error, -EINVAL, "The option marker is empty: it is the text that stands for an item.");
	snprintf(g->identity, sizeof(g->identity), "gated_cross_attention-1-%s-%s-%.64s", nn_checkpoint_identity(g->checkpoint),
		 nn_compute_name(g->compute), g->marker);
	return 0;
}

static int gated_open(struct percept_call *call, const struct percept_open *open, void **fusion)
{
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The gated_cross_attention connector needs a model: name a directory with config.json "
				    "and model.safetensors.");
	struct gated *g = calloc(1, sizeof(*g));

	if (!g)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (gated_read(g, open, &error)) {
		gated_close(g);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	*fusion = g;
	return 0;
}

static int gated_info(void *fusion, struct percept_fusion_info *info)
{
	const struct gated *g = fusion;

	*info = (struct percept_fusion_info){
		.size = sizeof(*info), .in_dim = g->in_dim, .d_model = g->d_model, .n_layers = g->n_layers,
		.hooks = PERCEPT_CAN_HOOK_LAYERS, .marker = g->marker, .identity = g->identity, .weight_bytes = g->weight_bytes,
		.whole = g->at_once,
	};
	return 0;
}

static int gated_remember(struct percept_call *call, void *fusion, const struct percept_features *features, void **memory,
			  uint64_t *bytes)
{
	struct memory *m = NULL;
	const int error = memory_make(call, fusion, features, &m);

	if (error)
		return error;
	*memory = m;
	*bytes = m->bytes;
	return 0;
}

static void gated_forget(void *fusion, void *memory)
{
	(void)fusion;
	memory_free(memory);
}

/* The marker, with what the family puts around it: no rows of its own. */
static int gated_pieces(struct percept_call *call, const struct gated *g, struct percept_embeddings *e)
{
	const char *const texts[] = { g->kind->before, g->marker, g->kind->after };
	struct percept_piece *pieces = percept_alloc(call, 3 * sizeof(*pieces));

	if (!pieces)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	*e = (struct percept_embeddings){ .size = sizeof(*e), .dim = g->d_model, .pieces = pieces };
	for (uint32_t i = 0; i < 3; i++)
		if (texts[i])
			pieces[e->n_pieces++] = (struct percept_piece){
				.kind = i == 1 ? PERCEPT_PIECE_MARKER : PERCEPT_PIECE_TEXT, .text = texts[i],
			};
	return 0;
}

static int gated_embed(struct percept_call *call, void *fusion, void *memory, struct percept_embeddings *e)
{
	(void)memory;
	return gated_pieces(call, fusion, e);
}

static int gated_plan(struct percept_call *call, void *fusion, const struct percept_layout *layout, struct percept_embeddings *e)
{
	const struct gated *g = fusion;

	if (layout->dim != g->in_dim)
		return percept_fail(call, -EINVAL, "The cross-attention takes features of %u values and was given %u.", g->in_dim,
				    layout->dim);
	return gated_pieces(call, g, e);
}

static int gated_bind(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory)
{
	return bound_set(call, fusion, sequence, media, memory);
}

static const struct percept_option options[] = {
	{ .name = "marker", .type = PERCEPT_OPTION_STRING,
	  .help = "the text whose first token stands for an item in the prompt; the model's own by default" },
	NN_COMPUTE_OPTION,
};
static const struct percept_fusion ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = gated_open,
	.close = gated_close, .info = gated_info, .remember = gated_remember, .forget = gated_forget, .embed = gated_embed,
	.bind = gated_bind, .hooks = gated_hooks, .plan = gated_plan,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_FUSION, .name = "gated_cross_attention", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Gated cross-attention of OpenFlamingo and Idefics", .ops = &ops,
};
