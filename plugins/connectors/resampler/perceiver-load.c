/* perceiver-load.c - a perceiver resampler's numbers and weights, by the names of its checkpoints. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/connectors/resampler/perceiver.h"

enum { LOAD_LAYERS_MAX = 256, LOAD_NAME_MAX = 160 };

static const char *const load_prefixes[] = { "perceiver.", "model.perceiver_resampler.", "perceiver_resampler.", "resampler.", "", NULL };

/* What the tensors are called; %u is the layer. Where k and v have one name, one tensor holds the rows of both. NULL: none such. */
static const struct load_names {
	const char *media, *latents, *q_norm, *k_norm, *q, *k, *v, *out, *feed, *up, *down, *norm;
	enum nn_activation activation;
} load_kinds[] = {
	{ "layers.%u.0.norm_media", "layers.%u.0.norm_latents", NULL, NULL, "layers.%u.0.to_q", "layers.%u.0.to_kv", "layers.%u.0.to_kv",
	  "layers.%u.0.to_out", "layers.%u.1.0", "layers.%u.1.1", "layers.%u.1.3", "norm", NN_GELU_ERF },
	{ "blocks.%u.0.context_layer_norm", "blocks.%u.0.latents_layer_norm", "blocks.%u.0.q_layer_norm", "blocks.%u.0.k_layer_norm",
	  "blocks.%u.0.q_proj", "blocks.%u.0.k_proj", "blocks.%u.0.v_proj", "blocks.%u.0.output_proj", "blocks.%u.1.ln", "blocks.%u.1.fc",
	  "blocks.%u.1.c_proj", "layer_norm", NN_RELU },
};
enum { LOAD_KINDS = sizeof(load_kinds) / sizeof(load_kinds[0]) };

/* Names are formats of this file. */
static const char *load_name(char out[LOAD_NAME_MAX], const char *format, uint32_t layer, const char *suffix)
{
	const char *at = strstr(format, "%u");

	if (at)
		snprintf(out, LOAD_NAME_MAX, "%.*s%u%s.%s", (int)(at - format), format, layer, at + 2, suffix);
	else
		snprintf(out, LOAD_NAME_MAX, "%s.%s", format, suffix);
	return out;
}

static struct nn_weight *load_find(struct nn_loader *l, const char *format, uint32_t layer)
{
	char name[LOAD_NAME_MAX];

	return nn_load_maybe(l, 0, 0, "%s", load_name(name, format, layer, "weight"));
}

/* The kind whose first layer is in the files; NULL: none is. */
static const struct load_names *load_kind(struct nn_loader *l)
{
	for (size_t i = 0; i < LOAD_KINDS; i++)
		if (load_find(l, load_kinds[i].q, 0))
			return &load_kinds[i];
	return NULL;
}

int perceiver_is_there(struct nn_checkpoint *checkpoint)
{
	struct nn_error ignored = { 0 };
	struct nn_loader l = { .checkpoint = checkpoint, .prefixes = load_prefixes, .error = &ignored };

	return load_kind(&l) && nn_load_maybe(&l, 0, 0, "latents");
}

/* Its numbers: of Idefics' configuration or OpenFlamingo's arguments, where they are there; else the arguments' defaults, and the
 * shapes. 0 or l->error->code. */
static int load_configure(struct perceiver *p, struct nn_loader *l, const struct load_names *names)
{
	const cJSON *root = nn_checkpoint_config(l->checkpoint), *inner = nn_config_object(root, "perceiver_config|perceiver");
	const cJSON *config = inner ? inner : root;
	const struct nn_weight *latents = nn_load(l, 0, 0, "latents"), *q = load_find(l, names->q, 0);
	const int idefics = names->q_norm != NULL;
	uint32_t n = 0;

	if (l->error->code)
		return l->error->code;
	while (n < LOAD_LAYERS_MAX && load_find(l, names->q, n))
		n++;
	if (latents->cols > PERCEIVER_DIM_MAX)
		return nn_fail(l->error, -EINVAL, "Latents of %zu values are out of the resampler's range.", latents->cols);
	p->dim = (uint32_t)latents->cols;
	p->n_latents = (uint32_t)nn_config_int(config, "resampler_n_latents|num_latents", (int64_t)latents->rows, 1,
					       PERCEIVER_LATENTS_MAX, l->error);
	p->n_layers = (uint32_t)nn_config_int(config, "resampler_depth|depth", n, 1, LOAD_LAYERS_MAX, l->error);
	p->head_dim = (uint32_t)nn_config_int(config, "resampler_head_dim|dim_head", idefics ? 96 : 64, 1, NN_HEAD, l->error);
	p->n_heads = (uint32_t)nn_config_int(config, "resampler_n_heads|heads", (int64_t)(q->rows / p->head_dim), 1, PERCEIVER_DIM_MAX,
					     l->error);
	p->activation = names->activation;
	p->norm_eps = 1e-5f;
	if (!l->error->code && (uint64_t)p->n_heads * p->head_dim != q->rows)
		return nn_fail(l->error, -EINVAL, "config.json: %u heads of %u values are not the %zu rows of the resampler's queries.",
			       p->n_heads, p->head_dim, q->rows);
	return l->error->code;
}

static const struct nn_weight *load_pack(struct perceiver *p, struct nn_loader *l, struct nn_weight *w)
{
	p->weight_bytes += w ? w->bytes : 0;
	return w && !nn_weight_pack(l->checkpoint, w, l->error) ? w : NULL;
}

static const struct nn_weight *load_matrix(struct perceiver *p, struct nn_loader *l, size_t rows, size_t cols, const char *format,
					   uint32_t layer)
{
	char name[LOAD_NAME_MAX];

	return load_pack(p, l, nn_load(l, rows, cols, "%s", load_name(name, format, layer, "weight")));
}

static struct perceiver_norm load_norm(struct nn_loader *l, size_t n, const char *format, uint32_t layer)
{
	char name[LOAD_NAME_MAX];
	struct perceiver_norm norm = { .w = nn_load_vector(l, n, "%s", load_name(name, format, layer, "weight")) };

	norm.b = nn_load_vector(l, n, "%s", load_name(name, format, layer, "bias"));
	return norm;
}

/* Keys' and values' matrices, which may lie in one tensor. */
static void load_keys(struct perceiver *p, struct nn_loader *l, struct perceiver_layer *layer, const struct load_names *names, uint32_t i)
{
	const size_t inner = (size_t)p->n_heads * p->head_dim;
	char name[LOAD_NAME_MAX];

	if (strcmp(names->k, names->v)) {
		layer->k = load_matrix(p, l, inner, p->dim, names->k, i);
		layer->v = load_matrix(p, l, inner, p->dim, names->v, i);
		return;
	}
	struct nn_weight *both = nn_load(l, 2 * inner, p->dim, "%s", load_name(name, names->k, i, "weight"));
	struct nn_weight *k = both ? nn_weight_rows(l->checkpoint, both, 0, inner, 0) : NULL;
	struct nn_weight *v = both ? nn_weight_rows(l->checkpoint, both, inner, inner, 0) : NULL;

	if (both && (!k || !v))
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	layer->k = load_pack(p, l, k);
	layer->v = load_pack(p, l, v);
}

static void load_layer(struct perceiver *p, struct nn_loader *l, const struct load_names *names, uint32_t i)
{
	struct perceiver_layer *layer = &p->layers[i];
	const size_t inner = (size_t)p->n_heads * p->head_dim;
	const struct nn_weight *up = load_find(l, names->up, i);

	layer->media = load_norm(l, p->dim, names->media, i);
	layer->latents = load_norm(l, p->dim, names->latents, i);
	layer->q = load_matrix(p, l, inner, p->dim, names->q, i);
	load_keys(p, l, layer, names, i);
	layer->out = load_matrix(p, l, p->dim, inner, names->out, i);
	layer->feed = load_norm(l, p->dim, names->feed, i);
	layer->up = load_matrix(p, l, 0, p->dim, names->up, i);
	layer->down = load_matrix(p, l, p->dim, up ? up->rows : 0, names->down, i);
}

/* Norms of each head's queries and keys, where the configuration has them. */
static void load_head_norms(struct perceiver *p, struct nn_loader *l, const struct load_names *names)
{
	const cJSON *config = nn_config_object(nn_checkpoint_config(l->checkpoint), "perceiver_config");

	if (!names->q_norm || !nn_config_bool(config, "qk_layer_norms_perceiver", 0, l->error))
		return;
	for (uint32_t i = 0; i < p->n_layers; i++) {
		p->layers[i].q_norm = load_norm(l, p->head_dim, names->q_norm, i);
		p->layers[i].k_norm = load_norm(l, p->head_dim, names->k_norm, i);
	}
}

/* A table (n, dim) in f32; *n its rows. NULL: there is none, or l->error. */
static const float *load_table(struct perceiver *p, struct nn_loader *l, const char *name, uint32_t *n)
{
	struct nn_weight *w = nn_load_maybe(l, 0, 0, "%s", name);
	const uint64_t values = w ? (uint64_t)w->rows * w->cols : 0;

	*n = 0;
	if (!w)
		return NULL;
	if (!values || values % p->dim || values / p->dim > PERCEIVER_ROWS_MAX) {
		nn_fail(l->error, -EINVAL, "%s has %llu values, which are no rows of %u.", name, (unsigned long long)values, p->dim);
		return NULL;
	}
	*n = (uint32_t)(values / p->dim);
	p->weight_bytes += w->bytes;
	const float *f = nn_weight_f32(l->checkpoint, w);

	if (!f)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	return f;
}

int perceiver_load(struct perceiver *p, struct nn_checkpoint *checkpoint, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = checkpoint, .prefixes = load_prefixes, .error = error };
	const struct load_names *names = load_kind(&l);
	uint32_t n_latents;

	if (!names)
		return nn_fail(error, -EINVAL, "%s: there is no perceiver resampler in the files.", nn_checkpoint_path(checkpoint));
	if (load_configure(p, &l, names))
		return error->code;
	p->layers = calloc(p->n_layers, sizeof(*p->layers));
	if (!p->layers)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	p->latents = load_table(p, &l, "latents", &n_latents);
	p->frames = load_table(p, &l, "frame_embs", &p->n_frames);
	p->times = load_table(p, &l, "media_time_embs", &p->n_times);
	for (uint32_t i = 0; i < p->n_layers && !error->code; i++)
		load_layer(p, &l, names, i);
	load_head_norms(p, &l, names);
	p->norm = load_norm(&l, p->dim, names->norm, 0);
	if (!error->code && n_latents != p->n_latents)
		return nn_fail(error, -EINVAL, "config.json announces %u latents, and the files hold %u.", p->n_latents, n_latents);
	return error->code;
}

void perceiver_fini(struct perceiver *p)
{
	free(p->layers);
	p->layers = NULL;
}
