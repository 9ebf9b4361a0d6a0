/* load.c - ConvNeXt's weights. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugins/encoders/convnext/convnext.h"

enum { CONVNEXT_NAME = 160 };

static const char *const convnext_prefixes[] = {
	"visual.trunk.", "visual.", "vision_tower.", "model.vision_tower.", "convnext.", "vision_model.", "trunk.", "", NULL,
};
static const struct convnext_names convnext_hf = {
	.stem = "embeddings.patch_embeddings", .stem_norm = "embeddings.layernorm", .down_norm = "encoder.stages.%u.downsampling_layer.0",
	.down = "encoder.stages.%u.downsampling_layer.1", .block = "encoder.stages.%u.layers.%u.", .dw = "dwconv", .norm = "layernorm",
	.fc1 = "pwconv1", .fc2 = "pwconv2", .grn = "grn", .scale = "layer_scale_parameter", .last = "layernorm",
};
static const struct convnext_names convnext_timm = {
	.stem = "stem.0", .stem_norm = "stem.1", .down_norm = "stages.%u.downsample.0", .down = "stages.%u.downsample.1",
	.block = "stages.%u.blocks.%u.", .dw = "conv_dw", .norm = "norm", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .grn = "mlp.grn", .scale = "gamma",
	.last = "head.norm",
};

static struct norm convnext_norm(struct convnext *k, struct nn_loader *l, size_t n, const char *name)
{
	k->weight_bytes += 2 * n * sizeof(float);
	return (struct norm){ nn_load_vector(l, n, "%s.weight", name), nn_load_vector(l, n, "%s.bias", name) };
}

static struct affine convnext_affine(struct convnext *k, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, cols, "%s.weight", name);

	k->weight_bytes += w ? w->bytes : 0;
	nn_weight_pack(l->checkpoint, w, l->error);
	return (struct affine){ w, nn_load_vector(l, rows, "%s.bias", name) };
}

/* A kernel's values (out, in, area) as (out, area, in), in f32: with channels last, as the pixels are. NULL: l->error. */
static float *convnext_turned(struct convnext *k, struct nn_loader *l, struct nn_weight *w, size_t in, size_t area)
{
	const float *from = w ? nn_weight_f32(l->checkpoint, w) : NULL;
	float *to = from ? nn_checkpoint_alloc(l->checkpoint, w->rows * in * area * sizeof(*to)) : NULL;

	if (!to) {
		nn_fail(l->error, -ENOMEM, "Memory is out.");
		return NULL;
	}
	for (size_t i = 0; i < w->rows * in * area; i++)
		to[i / (in * area) * in * area + i % area * in + i / area % in] = from[i];
	k->weight_bytes += w->bytes;
	return to;
}

/* The 2 x 2 convolution between stages. */
static struct affine convnext_down(struct convnext *k, struct nn_loader *l, size_t rows, size_t in, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, in * 4, "%s.weight", name);
	const float *turned = w ? convnext_turned(k, l, w, in, 4) : NULL;
	struct nn_weight *made = turned ? nn_weight_rows(l->checkpoint, w, 0, rows, 0) : NULL;

	if (turned && !made)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	if (made) {
		made->data = turned;
		made->type = NN_F32;
		made->bytes = rows * in * 4 * sizeof(float);
		nn_weight_pack(l->checkpoint, made, l->error);
	}
	return (struct affine){ made, nn_load_vector(l, rows, "%s.bias", name) };
}

/* The kernels of each channel (dim, 49) as (49, dim). */
static const float *convnext_depthwise(struct convnext *k, struct nn_loader *l, size_t dim, const char *name)
{
	const size_t area = CONVNEXT_SIDE * CONVNEXT_SIDE;
	struct nn_weight *w = nn_load(l, dim, area, "%s.weight", name);

	if (!w)
		return NULL;
	struct nn_weight whole = *w;

	whole.rows = 1;
	whole.cols = dim * area;
	whole.f32 = nn_weight_f32(l->checkpoint, w);
	return whole.f32 ? convnext_turned(k, l, &whole, dim, area) : NULL;
}

/* The name of a block's part. */
static const char *convnext_name(const struct convnext *k, uint32_t stage, uint32_t i, const char *part, char full[CONVNEXT_NAME])
{
	const int n = snprintf(full, CONVNEXT_NAME / 2, k->names->block, stage, i);

	snprintf(full + n, (size_t)(CONVNEXT_NAME - n), "%s", part);
	return full;
}

static void convnext_load_block(struct convnext *k, struct nn_loader *l, uint32_t stage, uint32_t i)
{
	const struct convnext_names *m = k->names;
	struct convnext_block *b = &k->stages[stage].blocks[i];
	const size_t d = k->stages[stage].dim;
	char full[CONVNEXT_NAME];

	b->dw = convnext_depthwise(k, l, d, convnext_name(k, stage, i, m->dw, full));
	b->dw_bias = nn_load_vector(l, d, "%s.bias", full);
	b->norm = convnext_norm(k, l, d, convnext_name(k, stage, i, m->norm, full));
	b->fc1 = convnext_affine(k, l, 4 * d, d, convnext_name(k, stage, i, m->fc1, full));
	b->fc2 = convnext_affine(k, l, d, 4 * d, convnext_name(k, stage, i, m->fc2, full));
	if (k->responses)
		b->grn = convnext_norm(k, l, 4 * d, convnext_name(k, stage, i, m->grn, full));
	b->scale = k->scaled ? nn_load_vector(l, d, "%s", convnext_name(k, stage, i, m->scale, full)) : NULL;
}

static int convnext_load_stage(struct convnext *k, struct nn_loader *l, uint32_t i)
{
	struct convnext_stage *s = &k->stages[i];
	char down[CONVNEXT_NAME], norm[CONVNEXT_NAME];

	snprintf(down, sizeof(down), i ? k->names->down : k->names->stem, i);
	snprintf(norm, sizeof(norm), i ? k->names->down_norm : k->names->stem_norm, i);
	if (i)
		s->down = convnext_down(k, l, s->dim, k->stages[i - 1].dim, down);
	else
		s->down = convnext_affine(k, l, s->dim, (size_t)3 * k->patch * k->patch, down);
	s->norm = convnext_norm(k, l, i ? k->stages[i - 1].dim : s->dim, norm);
	s->blocks = calloc(s->n_blocks, sizeof(*s->blocks));
	if (!s->blocks)
		return nn_fail(l->error, -ENOMEM, "Memory is out.");
	for (uint32_t j = 0; j < s->n_blocks && !l->error->code; j++)
		convnext_load_block(k, l, i, j);
	return l->error->code;
}

int convnext_load(struct convnext *k, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = k->checkpoint, .prefixes = convnext_prefixes, .error = error };
	const size_t d = k->stages[CONVNEXT_STAGES - 1].dim;

	k->names = nn_load_maybe(&l, 0, 0, "stem.0.weight") ? &convnext_timm : &convnext_hf;
	for (uint32_t i = 0; i < CONVNEXT_STAGES && !error->code; i++)
		convnext_load_stage(k, &l, i);
	k->last = convnext_norm(k, &l, d, k->own_norm ? "norm_pre" : k->names->last);
	head_load(&k->head, &l, d, &k->weight_bytes);
	return error->code;
}

void convnext_unload(struct convnext *k)
{
	for (uint32_t i = 0; i < CONVNEXT_STAGES; i++)
		free(k->stages[i].blocks);
}
