/* tower.c - the transformer blocks. */
#include "plugins/encoders/clip/tower.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <percept/plugin.h>

enum { TOWER_DIM_MAX = 1 << 18, TOWER_LAYERS_MAX = 1024 };

int tower_configure(struct tower *t, const cJSON *config, const struct tower_defaults *d, struct nn_error *error)
{
	const char *activation = nn_config_string(config, "hidden_act", d->activation);
	const int act = nn_activation_named(activation);

	t->d_model = (uint32_t)nn_config_int(config, "hidden_size", d->d_model, 1, TOWER_DIM_MAX, error);
	const int64_t ratio = nn_config_int(config, "mlp_ratio", 0, 0, 1024, error);

	t->d_ff = (uint32_t)nn_config_int(config, "intermediate_size", ratio ? ratio * t->d_model : d->d_ff, 1, 1 << 28, error);
	t->n_layers = (uint32_t)nn_config_int(config, "num_hidden_layers", d->n_layers, 1, TOWER_LAYERS_MAX, error);
	t->n_heads = (uint32_t)nn_config_int(config, "num_attention_heads", d->n_heads, 1, TOWER_DIM_MAX, error);
	t->norm_eps = (float)nn_config_real(config, "layer_norm_eps", d->norm_eps, error);
	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	if (t->d_model % t->n_heads || !(t->norm_eps >= 0 && isfinite(t->norm_eps)))
		return nn_fail(error, -EINVAL, "config.json: a hidden size of %u is not made of %u heads, or layer_norm_eps "
			       "is out of range.", t->d_model, t->n_heads);
	t->activation = (enum nn_activation)act;
	return 0;
}

struct norm tower_norm(struct tower *t, struct nn_loader *l, const char *name)
{
	struct norm n = { .w = nn_load_vector(l, t->d_model, "%s.weight", name) };

	n.b = nn_load_vector(l, t->d_model, "%s.bias", name);
	t->weight_bytes += (uint64_t)2 * t->d_model * sizeof(float);
	return n;
}

struct affine tower_affine(struct tower *t, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, cols, "%s.weight", name);

	t->weight_bytes += w ? w->bytes + rows * sizeof(float) : 0;
	nn_weight_pack(l->checkpoint, w, l->error);
	return (struct affine){ w, nn_load_vector(l, rows, "%s.bias", name) };
}

/* The name of a layer's part. */
static const char *tower_name(const struct tower *t, uint32_t layer, const char *part, char full[128])
{
	const int n = snprintf(full, 64, t->names->layer, layer);

	snprintf(full + n, (size_t)(128 - n), "%s", part);
	return full;
}

static struct affine tower_part(struct tower *t, struct nn_loader *l, uint32_t layer, const char *part, size_t rows, size_t cols)
{
	char full[128];

	return tower_affine(t, l, rows, cols, tower_name(t, layer, part, full));
}

static const float *tower_scale(struct tower *t, struct nn_loader *l, uint32_t layer, const char *part)
{
	char full[128];

	return part ? nn_load_vector(l, t->d_model, "%s", tower_name(t, layer, part, full)) : NULL;
}

int tower_load(struct tower *t, struct nn_loader *l)
{
	const struct tower_names *names = t->names;
	const size_t d = t->d_model;
	char full[128];

	t->layers = calloc(t->n_layers, sizeof(*t->layers));
	if (!t->layers)
		return nn_fail(l->error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < t->n_layers && !l->error->code; i++) {
		struct tower_layer *layer = &t->layers[i];

		layer->norm1 = tower_norm(t, l, tower_name(t, i, names->norm1, full));
		layer->norm2 = tower_norm(t, l, tower_name(t, i, names->norm2, full));
		layer->q = tower_part(t, l, i, names->q, d, d);
		layer->k = tower_part(t, l, i, names->k, d, d);
		layer->v = tower_part(t, l, i, names->v, d, d);
		layer->out = tower_part(t, l, i, names->out, d, d);
		layer->fc1 = tower_part(t, l, i, names->fc1, t->d_ff, d);
		layer->fc2 = tower_part(t, l, i, names->fc2, d, t->d_ff);
		layer->scale1 = tower_scale(t, l, i, names->scale1);
		layer->scale2 = tower_scale(t, l, i, names->scale2);
	}
	return l->error->code;
}

void tower_fini(struct tower *t)
{
	free(t->layers);
	t->layers = NULL;
}

void tower_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call && call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* Each column times its factor. */
static void tower_multiply(struct nn_tensor x, const float *scale)
{
	for (size_t i = 0; scale && x.data && i < x.rows; i++)
		for (size_t k = 0; k < x.cols; k++)
			x.data[i * x.stride + k] *= scale[k];
}

void tower_layer(struct nn *c, const struct tower *t, uint32_t i, struct nn_tensor x, const uint32_t *visible,
		 struct percept_call *call)
{
	const struct tower_layer *l = &t->layers[i];
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	const struct nn_attention how = { .heads = t->n_heads, .kv_heads = t->n_heads, .visible = visible,
					  .scale = 1 / sqrtf((float)(t->d_model / t->n_heads)) };
	struct nn_tensor h = nn_layer_norm(c, x, l->norm1.w, l->norm1.b, t->norm_eps);
	struct nn_tensor q = nn_gemm(c, h, l->q.w, l->q.b), k = nn_gemm(c, h, l->k.w, l->k.b);
	struct nn_tensor v = nn_gemm(c, h, l->v.w, l->v.b);
	struct nn_tensor a = nn_gemm(c, nn_attention(c, q, k, v, &how), l->out.w, l->out.b);

	tower_observe(c, i ? NULL : call, "layer0_attention", a);
	tower_multiply(a, l->scale1);
	nn_add_to(c, x, a);
	h = nn_gemm(c, nn_layer_norm(c, x, l->norm2.w, l->norm2.b, t->norm_eps), l->fc1.w, l->fc1.b);
	nn_activate(c, h, t->activation);
	h = nn_gemm(c, h, l->fc2.w, l->fc2.b);
	tower_observe(c, i ? NULL : call, "layer0_mlp", h);
	tower_multiply(h, l->scale2);
	nn_add_to(c, x, h);
	nn_arena_release(c->arena, mark);
}
