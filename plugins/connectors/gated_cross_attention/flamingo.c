/* flamingo.c - OpenFlamingo's layers (Awadalla 2023), from its checkpoints, which hold what was trained beside a language model: each is
 * where its number in the files says. */
#include <errno.h>
#include <stdio.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

/* In checkpoints; in a whole model's state, by the kind of its language model. */
static const char *const flamingo_places[] = {
	"gated_cross_attn_layers.%u", "transformer.blocks.%u.gated_cross_attn_layer", "model.layers.%u.gated_cross_attn_layer",
	"gpt_neox.layers.%u.gated_cross_attn_layer", "transformer.h.%u.gated_cross_attn_layer",
	"model.decoder.layers.%u.gated_cross_attn_layer",
};
enum { FLAMINGO_PLACES = sizeof(flamingo_places) / sizeof(flamingo_places[0]), FLAMINGO_NAME_MAX = 96 };

/* Where the files have layer `layer`'s block; "" if they have none. */
static const char *flamingo_place(struct nn_loader *l, uint32_t layer, char name[FLAMINGO_NAME_MAX])
{
	for (size_t i = 0; i < FLAMINGO_PLACES; i++) {
		/* The table's own formats, each with one number. */
		snprintf(name, FLAMINGO_NAME_MAX, flamingo_places[i], layer);
		if (nn_load_maybe(l, 0, 0, "%s.attn.to_q.weight", name))
			return name;
	}
	name[0] = '\0';
	return name;
}

static int flamingo_configure(struct gated *g, struct nn_loader *l, const cJSON *config)
{
	const struct nn_weight *q = NULL, *kv = NULL, *up = NULL;
	char name[FLAMINGO_NAME_MAX];

	for (uint32_t i = 0; i < GATED_LAYERS_MAX && !l->error->code; i++) {
		if (!*flamingo_place(l, i, name))
			continue;
		g->at[i] = ++g->n_blocks;
		g->n_at = i + 1;
		if (q)
			continue;
		q = nn_load(l, 0, 0, "%s.attn.to_q.weight", name);
		kv = nn_load(l, 0, 0, "%s.attn.to_kv.weight", name);
		up = nn_load(l, 0, 0, "%s.ff.1.weight", name);
	}
	if (!q || !kv || !up)
		return l->error->code;
	g->d_model = (uint32_t)nn_config_int(config, "dim", (int64_t)q->cols, 1, GATED_DIM_MAX, l->error);
	g->media_dim = (uint32_t)nn_config_int(config, "dim_visual", (int64_t)kv->cols, 1, GATED_DIM_MAX, l->error);
	g->head_dim = (uint32_t)nn_config_int(config, "dim_head", 64, 1, NN_HEAD, l->error);
	g->n_heads = (uint32_t)nn_config_int(config, "heads", (int64_t)(q->rows / g->head_dim), 1, GATED_DIM_MAX, l->error);
	g->at_once = !nn_config_bool(config, "only_attend_immediate_media", 1, l->error);
	g->d_ff = (uint32_t)up->rows;
	g->norm_eps = 1e-5f;
	g->resamples = perceiver_is_there(l->checkpoint);
	/* A block in front of each layer: there are as many. */
	g->n_layers = g->n_blocks == g->n_at ? g->n_at : 0;
	if (!l->error->code && (uint64_t)g->n_heads * g->head_dim != q->rows)
		return nn_fail(l->error, -EINVAL, "config.json: %u heads of %u values are not the %zu rows of the layers' queries.",
			       g->n_heads, g->head_dim, q->rows);
	return l->error->code;
}

/* Keys' and values' matrices lie in one tensor. */
static void flamingo_load_keys(struct gated *g, struct nn_loader *l, struct block *b, const char *name)
{
	const size_t inner = (size_t)g->n_heads * g->head_dim;
	struct nn_weight *both = nn_load(l, 2 * inner, g->media_dim, "%s.attn.to_kv.weight", name);
	struct nn_weight *k = both ? nn_weight_rows(l->checkpoint, both, 0, inner, 0) : NULL;
	struct nn_weight *v = both ? nn_weight_rows(l->checkpoint, both, inner, inner, 0) : NULL;

	if (both && (!k || !v))
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	b->k = gated_pack(g, l, k, 1);
	b->v = gated_pack(g, l, v, 1);
}

static void flamingo_load(struct gated *g, struct nn_loader *l, struct block *b, uint32_t layer)
{
	const size_t d = g->d_model, inner = (size_t)g->n_heads * g->head_dim;
	char name[FLAMINGO_NAME_MAX];

	flamingo_place(l, layer, name);
	b->norm = gated_norm(g, l, d, "%s.attn.norm", name);
	b->q = gated_matrix(g, l, inner, d, 0, "%s.attn.to_q", name);
	flamingo_load_keys(g, l, b, name);
	b->out = gated_matrix(g, l, d, inner, 0, "%s.attn.to_out", name);
	b->feed = gated_norm(g, l, d, "%s.ff.0", name);
	b->up = gated_matrix(g, l, g->d_ff, d, 0, "%s.ff.1", name);
	b->down = gated_matrix(g, l, d, g->d_ff, 0, "%s.ff.3", name);
	b->attention_gate = gated_gate(g, l, "%s.attn_gate", name);
	b->feed_gate = gated_gate(g, l, "%s.ff_gate", name);
}

const struct gated_kind gated_flamingo = {
	.name = "openflamingo", .activation = NN_GELU_ERF, .configure = flamingo_configure, .load = flamingo_load, .marker = "<image>",
};
