/* load.c - the projection and the experts, from a folder or from the two GGUF files of a pair. */
#include "plugins/connectors/visual_expert/visual_expert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/gguf.h"
#include "sdk/nn/names.h"

enum { LOAD_LAYERS_MAX = 4096, LOAD_CONV = 4 /* patches that become one */ };

static const char *const vision_prefixes[] = { "model.vision.", "vision.", NULL };
static const char *const layer_prefixes[] = { "model.", "", NULL };

/* ---- the projection ---- */

static const struct nn_weight *load_dense(struct visual_expert *v, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, cols, "%s.weight", name);

	if (!w || nn_weight_pack(l->checkpoint, w, l->error))
		return NULL;
	v->weight_bytes += w->bytes;
	return w;
}

/* Fours of patches to one, where the files have that. */
static void load_conv(struct visual_expert *v, struct nn_loader *l)
{
	struct nn_weight *w = nn_load_maybe(l, v->in_dim, (size_t)LOAD_CONV * v->in_dim, "conv.weight");

	if (!w || nn_weight_pack(l->checkpoint, w, l->error))
		return;
	v->conv = w;
	v->conv_bias = nn_load_vector(l, v->in_dim, "conv.bias");
	v->weight_bytes += w->bytes;
}

static int load_projection(struct visual_expert *v, struct nn_error *error)
{
	struct nn_loader l = { v->checkpoint, vision_prefixes, error };
	const struct nn_weight *in = nn_load(&l, 0, 0, "linear_proj.linear_proj.weight");
	const struct nn_weight *up = in ? nn_load(&l, 0, in->rows, "linear_proj.dense_h_to_4h.weight") : NULL;

	if (!up)
		return error->code;
	if (in->rows > EXPERT_DIM_MAX || in->cols > EXPERT_DIM_MAX || up->rows > EXPERT_DIM_MAX)
		return nn_fail(error, -EINVAL, "%s: a projection of %zu values to %zu by way of %zu is out of range.",
			       nn_checkpoint_path(v->checkpoint), in->cols, in->rows, up->rows);
	const size_t d = in->rows, ff = up->rows;
	struct glu *g = &v->glu;

	v->d_model = (uint32_t)d;
	v->in_dim = (uint32_t)in->cols;
	load_conv(v, &l);
	g->in = load_dense(v, &l, d, in->cols, "linear_proj.linear_proj");
	g->norm_w = nn_load_vector(&l, d, "linear_proj.norm1.weight");
	g->norm_b = nn_load_vector(&l, d, "linear_proj.norm1.bias");
	g->norm_eps = 1e-5f;
	g->gate = load_dense(v, &l, ff, d, "linear_proj.gate_proj");
	g->up = load_dense(v, &l, ff, d, "linear_proj.dense_h_to_4h");
	g->down = load_dense(v, &l, d, ff, "linear_proj.dense_4h_to_h");
	v->begin = nn_load_vector(&l, d, "boi");
	v->end = nn_load_vector(&l, d, "eoi");
	return error->code;
}

/* ---- the experts ---- */

/* The tensor of a layer, which GGUF calls `name`. */
static void load_name(const struct nn_checkpoint *cp, const char *name, const char *suffix, uint32_t layer, char out[NN_NAMES_MAX])
{
	const struct nn_tensor_name *known = nn_names_find("cogvlm", name, strlen(name));
	char gguf[NN_NAMES_MAX / 2];

	snprintf(gguf, sizeof(gguf), "blk.%%u.%s", name);
	nn_names_write(nn_checkpoint_gguf(cp) || !known ? gguf : known->hf, layer, 0, suffix, out);
}

static struct nn_weight *load_matrix(struct visual_expert *v, struct nn_loader *l, size_t rows, size_t cols, const char *name, uint32_t layer)
{
	char full[NN_NAMES_MAX];

	load_name(v->experts, name, ".weight", layer, full);
	return nn_load(l, rows, cols, "%s", full);
}

static const struct nn_weight *load_pack(struct visual_expert *v, struct nn_loader *l, struct nn_weight *w, int fast)
{
	if (!w || (fast ? nn_weight_pack_codes : nn_weight_pack_rows)(l->checkpoint, w, l->error))
		return NULL;
	v->weight_bytes += w->packed_bytes;
	return w;
}

static void load_layer(struct visual_expert *v, struct nn_loader *l, uint32_t i, int fast)
{
	struct expert_layer *layer = &v->layers[i];
	struct nn_weight *up = load_matrix(v, l, 0, v->d_model, "vis_up", i);
	const size_t ff = up ? up->rows : 0;
	char full[NN_NAMES_MAX];

	layer->qkv = load_pack(v, l, load_matrix(v, l, v->qkv_dim, v->d_model, "vis_attn_qkv", i), fast);
	load_name(v->experts, "vis_attn_qkv", ".bias", i, full);
	layer->qkv_bias = nn_load_vector_maybe(l, v->qkv_dim, "%s", full);
	layer->out = load_pack(v, l, load_matrix(v, l, v->d_model, v->out_dim, "vis_attn_output", i), fast);
	layer->gate = load_pack(v, l, load_matrix(v, l, ff, v->d_model, "vis_gate", i), fast);
	layer->up = load_pack(v, l, up, fast);
	layer->down = load_pack(v, l, load_matrix(v, l, v->d_model, ff, "vis_down", i), fast);
}

/* How many layers there are, and the values of a row in their attention, as the first one has them. */
static int load_sizes(struct visual_expert *v, struct nn_loader *l)
{
	const cJSON *config = nn_checkpoint_config(v->experts);
	const char *name = nn_config_string(config, "hidden_act", "silu");
	const int activation = nn_activation_named(name);
	const int64_t layers = nn_config_int(config, "num_hidden_layers|block_count", 32, 1, LOAD_LAYERS_MAX, l->error);
	const struct nn_weight *qkv = load_matrix(v, l, 0, v->d_model, "vis_attn_qkv", 0);
	const struct nn_weight *out = load_matrix(v, l, v->d_model, 0, "vis_attn_output", 0);

	if (!qkv || !out)
		return l->error->code;
	if (activation < 0)
		return nn_fail(l->error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", name);
	if (qkv->rows <= out->cols || qkv->rows > 3 * out->cols || (qkv->rows - out->cols) % 2 || out->cols > EXPERT_DIM_MAX)
		return nn_fail(l->error, -EINVAL, "%s: %zu rows of queries, keys and values do not go with outputs of %zu values.",
			       nn_checkpoint_path(v->experts), qkv->rows, out->cols);
	/* Each layer has tensors of its own. */
	if ((uint64_t)layers > nn_checkpoint_count(v->experts))
		return nn_fail(l->error, -EINVAL, "%s: announces %lld layers and holds %zu tensors.", nn_checkpoint_path(v->experts),
			       (long long)layers, nn_checkpoint_count(v->experts));
	v->activation = (enum nn_activation)activation;
	v->qkv_dim = (uint32_t)qkv->rows;
	v->out_dim = (uint32_t)out->cols;
	v->n_layers = (uint32_t)layers;
	return 0;
}

static int load_experts(struct visual_expert *v, int fast, struct nn_error *error)
{
	struct nn_loader l = { v->experts, layer_prefixes, error };

	if (load_sizes(v, &l))
		return error->code;
	v->layers = calloc(v->n_layers, sizeof(*v->layers));
	v->arena = nn_arena_new(0);
	if (!v->layers || !v->arena)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < v->n_layers && !error->code; i++)
		load_layer(v, &l, i, fast);
	return error->code;
}

int visual_expert_load(struct visual_expert *v, const char *experts, int fast, struct nn_error *error)
{
	const char *model = nn_checkpoint_path(v->checkpoint);

	if (!experts && nn_gguf_is_path(model))
		return nn_fail(error, -EINVAL, "%s has the projection alone; name the language model's file, which has the experts, with "
			       "the option experts.", model);
	v->experts = experts ? nn_checkpoint_open(experts, error) : v->checkpoint;
	if (!v->experts || load_projection(v, error))
		return error->code ? error->code : -EINVAL;
	/* Rows meet in one batch: the experts compute row by row alike, as the decoder does. */
	nn_checkpoint_compute(v->experts, NN_COMPUTE_F32);
	return load_experts(v, fast, error);
}

void visual_expert_fini(struct visual_expert *v)
{
	if (v->experts && v->experts != v->checkpoint)
		nn_checkpoint_close(v->experts);
	nn_checkpoint_close(v->checkpoint);
	nn_arena_free(v->arena);
	free(v->layers);
}
