/* tower-load.c - the transformer blocks: their numbers and weights. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/encoders/clip/tower.h"

enum { TOWER_DIM_MAX = 1 << 18, TOWER_FF_MAX = 1 << 24, TOWER_LAYERS_MAX = 1024, TOWER_NAME_MAX = 128 };

int tower_settle(struct tower *t, const char *activation, struct nn_error *error)
{
	const int act = nn_activation_named(activation);

	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	if (!t->d_model || t->d_model > TOWER_DIM_MAX || !t->d_ff || t->d_ff > TOWER_FF_MAX || !t->n_layers ||
	    t->n_layers > TOWER_LAYERS_MAX)
		return nn_fail(error, -EINVAL, "config.json: a tower of %u layers, %u wide and %u within, is out of range.",
			       t->n_layers, t->d_model, t->d_ff);
	if (!t->n_heads || t->d_model % t->n_heads || t->d_model / t->n_heads > NN_HEAD || !(t->norm_eps >= 0 && isfinite(t->norm_eps)))
		return nn_fail(error, -EINVAL, "config.json: a hidden size of %u is not made of %u heads of at most %d, or layer_norm_eps "
			       "is out of range.", t->d_model, t->n_heads, NN_HEAD);
	t->activation = (enum nn_activation)act;
	return 0;
}

int tower_configure(struct tower *t, const cJSON *config, const struct tower_defaults *d, struct nn_error *error)
{
	t->d_model = (uint32_t)nn_config_int(config, "hidden_size|embed_dim", d->d_model, 1, TOWER_DIM_MAX, error);
	const double ratio = nn_config_real(config, "mlp_ratio", 0, error) * t->d_model;
	const int64_t d_ff = ratio >= 1 && ratio <= TOWER_FF_MAX ? (int64_t)ratio : d->d_ff;

	t->d_ff = (uint32_t)nn_config_int(config, "intermediate_size", d_ff, 1, TOWER_FF_MAX, error);
	t->n_layers = (uint32_t)nn_config_int(config, "num_hidden_layers", d->n_layers, 1, TOWER_LAYERS_MAX, error);
	t->n_heads = (uint32_t)nn_config_int(config, "num_attention_heads", d->n_heads, 1, TOWER_DIM_MAX, error);
	t->norm_eps = (float)nn_config_real(config, "layer_norm_eps", d->norm_eps, error);
	return tower_settle(t, nn_config_string(config, "hidden_act", d->activation), error);
}

/* "." where a part's name does not bring its own separator. */
static const char *tower_dot(const char *name)
{
	const size_t n = strlen(name);

	return n && name[n - 1] == '_' ? "" : ".";
}

static struct norm tower_norm_any(struct tower *t, struct nn_loader *l, size_t n, int bare, const char *name)
{
	struct norm norm = { .w = nn_load_vector(l, n, "%s%sweight", name, tower_dot(name)) };

	norm.b = bare ? NULL : nn_load_vector(l, n, "%s%sbias", name, tower_dot(name));
	t->weight_bytes += (uint64_t)(bare ? 1 : 2) * n * sizeof(float);
	return norm;
}

struct norm tower_norm(struct tower *t, struct nn_loader *l, const char *name)
{
	return tower_norm_any(t, l, t->d_model, t->rms || (t->bare & TOWER_NORMS), name);
}

/* A matrix, without its bias: part i of n. */
static const struct nn_weight *tower_matrix(struct tower *t, struct nn_loader *l, size_t rows, size_t cols, uint32_t i, uint32_t n,
					    const char *name)
{
	struct nn_weight *whole = nn_load(l, rows * n, cols, "%s%sweight", name, tower_dot(name)), *w = whole;

	if (whole && n > 1)
		w = nn_weight_rows(l->checkpoint, whole, i * rows, rows, 0);
	if (whole && !w)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	t->weight_bytes += w ? w->bytes : 0;
	nn_weight_pack(l->checkpoint, w, l->error);
	return w;
}

struct affine tower_slice(struct tower *t, struct nn_loader *l, size_t rows, size_t cols, uint32_t i, uint32_t n, const char *name)
{
	struct affine a = { .w = tower_matrix(t, l, rows, cols, i, n, name) };
	const float *b = nn_load_vector(l, rows * n, "%s%sbias", name, tower_dot(name));

	a.b = b ? b + i * rows : NULL;
	t->weight_bytes += rows * sizeof(float);
	return a;
}

struct affine tower_affine(struct tower *t, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	return tower_slice(t, l, rows, cols, 0, 1, name);
}

/* The name of a layer's part. */
static const char *tower_name(const struct tower *t, uint32_t layer, const char *part, char full[TOWER_NAME_MAX])
{
	const int n = snprintf(full, TOWER_NAME_MAX / 2, t->names->layer, layer);

	snprintf(full + n, (size_t)(TOWER_NAME_MAX - n), "%s", part);
	return full;
}

/* A part of a layer: i of n, with its bias, in its matrix's place or apart, or without. */
struct tower_source {
	const char *name, *bias;
	uint32_t i, n, part;
};

static struct affine tower_part(struct tower *t, struct nn_loader *l, uint32_t layer, size_t rows, size_t cols,
				struct tower_source s)
{
	char full[TOWER_NAME_MAX];

	if (!s.name)
		return (struct affine){ 0 };
	if (!(t->bare & s.part) && !s.bias)
		return tower_slice(t, l, rows, cols, s.i, s.n, tower_name(t, layer, s.name, full));
	struct affine a = { .w = tower_matrix(t, l, rows, cols, s.i, s.n, tower_name(t, layer, s.name, full)) };

	if (!(t->bare & s.part))
		a.b = nn_load_vector(l, rows, "%s", tower_name(t, layer, s.bias, full));
	return a;
}

static const float *tower_scale(struct tower *t, struct nn_loader *l, uint32_t layer, const char *part)
{
	char full[TOWER_NAME_MAX];

	return part ? nn_load_vector(l, t->d_model, "%s", tower_name(t, layer, part, full)) : NULL;
}

/* A norm that not every tower has, over n columns. */
static struct norm tower_norm_maybe(struct tower *t, struct nn_loader *l, uint32_t layer, size_t n, const char *part)
{
	char full[TOWER_NAME_MAX];

	if (!part)
		return (struct norm){ 0 };
	return tower_norm_any(t, l, n, t->rms || (t->bare & TOWER_NORMS), tower_name(t, layer, part, full));
}

/* Over whole rows or single heads: the tensor's length tells, for all layers alike. */
static struct norm tower_norm_qk(struct tower *t, struct nn_loader *l, uint32_t layer, const char *part)
{
	const size_t head = t->d_model / t->n_heads;
	char full[TOWER_NAME_MAX];

	if (!part)
		return (struct norm){ 0 };
	tower_name(t, layer, part, full);
	const struct nn_weight *w = nn_load(l, 0, 0, "%s.weight", full);

	t->norm_heads = w && w->rows * w->cols == head && head != t->d_model;
	return tower_norm_any(t, l, t->norm_heads ? head : t->d_model, t->rms_qk || (t->bare & TOWER_QK_NORMS), full);
}

static int tower_same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static void tower_load_layer(struct tower *t, struct nn_loader *l, uint32_t i)
{
	const struct tower_names *m = t->names;
	struct tower_layer *layer = &t->layers[i];
	const size_t d = t->d_model, ff = t->d_ff;
	const int one = tower_same(m->q, m->k), both = tower_same(m->gate, m->fc1);
	const uint32_t n = one ? 3 : 1;
	char full[TOWER_NAME_MAX];

	layer->norm1 = tower_norm(t, l, tower_name(t, i, m->norm1, full));
	layer->norm2 = tower_norm(t, l, tower_name(t, i, m->norm2, full));
	layer->q = tower_part(t, l, i, d, d, (struct tower_source){ m->q, m->q_bias, 0, n, TOWER_Q });
	layer->k = tower_part(t, l, i, d, d, (struct tower_source){ m->k, m->k_bias, one ? 1 : 0, n, TOWER_K });
	layer->v = tower_part(t, l, i, d, d, (struct tower_source){ m->v, m->v_bias, one ? 2 : 0, n, TOWER_V });
	layer->out = tower_part(t, l, i, d, d, (struct tower_source){ m->out, NULL, 0, 1, TOWER_OUT });
	layer->gate = tower_part(t, l, i, ff, d, (struct tower_source){ m->gate, NULL, 0, both ? 2 : 1, TOWER_FC1 });
	layer->fc1 = tower_part(t, l, i, ff, d, (struct tower_source){ m->fc1, NULL, both ? 1 : 0, both ? 2 : 1, TOWER_FC1 });
	layer->fc2 = tower_part(t, l, i, d, ff, (struct tower_source){ m->fc2, NULL, 0, 1, TOWER_FC2 });
	layer->scale1 = tower_scale(t, l, i, m->scale1);
	layer->scale2 = tower_scale(t, l, i, m->scale2);
	layer->inner = tower_norm_maybe(t, l, i, d, m->inner);
	layer->sub = tower_norm_maybe(t, l, i, ff, m->sub);
	layer->q_norm = tower_norm_qk(t, l, i, m->q_norm);
	layer->k_norm = tower_norm_qk(t, l, i, m->k_norm);
}

int tower_load(struct tower *t, struct nn_loader *l)
{
	t->layers = calloc(t->n_layers, sizeof(*t->layers));
	if (!t->layers)
		return nn_fail(l->error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < t->n_layers && !l->error->code; i++)
		tower_load_layer(t, l, i);
	return l->error->code;
}

void tower_fini(struct tower *t)
{
	free(t->layers);
	t->layers = NULL;
}
