/* kinds.c - the families: pixel shuffle of Idefics3 and SmolVLM (Laurençon 2024) and of InternVL (Chen 2024), average pooling of
 * Gemma 3 (Kamath 2025). */
#include "plugins/connectors/grid/grid.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KIND_BLOCK_MAX = 64 };

static const struct nn_weight *kind_pack(struct grid *g, struct nn_loader *l, struct nn_weight *w)
{
	if (w && !nn_weight_pack(l->checkpoint, w, l->error))
		g->weight_bytes += w->bytes;
	return w;
}

/* y (rows/s * cols/s, s * s * C): row (r, c) is the block's patches one after the other, x[r s + dy, c s + dx], dx fastest. */
static struct nn_tensor kind_shuffle(struct nn *c, struct nn_tensor x, uint32_t rows, uint32_t cols, uint32_t s)
{
	struct nn_tensor y = nn_new(c, (size_t)(rows / s) * (cols / s), x.cols * s * s);

	for (size_t i = 0; y.data && i < y.rows * s * s; i++) {
		const size_t at = i / (s * s), dy = i % (s * s) / s, dx = i % s;
		const size_t row = at / (cols / s) * s + dy, col = at % (cols / s) * s + dx;

		memcpy(y.data + at * y.stride + (dy * s + dx) * x.cols, x.data + (row * cols + col) * x.stride, x.cols * sizeof(float));
	}
	return y;
}

/* ---- Idefics3, SmolVLM: one matrix without a bias ---- */

static int idefics3_load(struct grid *g, const cJSON *config, struct nn_loader *l)
{
	g->block = (uint32_t)nn_config_int(config, "scale_factor", 2, 1, KIND_BLOCK_MAX, l->error);
	struct nn_weight *w = l->error->code ? NULL : nn_load(l, 0, 0, "connector.modality_projection.proj.weight");

	if (w && w->cols % ((size_t)g->block * g->block))
		return nn_fail(l->error, -EINVAL, "%s has rows of %zu values, which blocks of %u x %u patches do not make.", w->name,
			       w->cols, g->block, g->block);
	g->w1 = kind_pack(g, l, w);
	g->in_dim = w ? (uint32_t)(w->cols / g->block / g->block) : 0;
	g->out_dim = w ? (uint32_t)w->rows : 0;
	return l->error->code;
}

static struct nn_tensor idefics3_forward(struct nn *c, struct percept_call *call, const struct grid *g, struct nn_tensor x,
					 uint32_t rows, uint32_t cols)
{
	struct nn_tensor y = kind_shuffle(c, x, rows, cols, g->block);

	grid_observe(c, call, "pixel_shuffled", y);
	return nn_gemm(c, y, g->w1, NULL);
}

/* ---- InternVL: a layer norm and two layers ---- */

static int internvl_numbers(struct grid *g, const cJSON *config, struct nn_error *error)
{
	const double ratio = nn_config_real(config, "downsample_ratio", 0.5, error);
	const double block = ratio > 0 && ratio <= 1 ? 1 / ratio : 0;
	const char *name = nn_config_string(config, "projector_hidden_act", "gelu");
	const int activation = nn_activation_named(name);

	if (error->code)
		return error->code;
	if (!(block >= 1 && block <= KIND_BLOCK_MAX) || fabs(block - rint(block)) > 1e-6)
		return nn_fail(error, -EINVAL, "config.json: \"downsample_ratio\" is %g; it must be one over a whole number up to %d.",
			       ratio, KIND_BLOCK_MAX);
	if (activation < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", name);
	g->block = (uint32_t)rint(block);
	g->activation = (enum nn_activation)activation;
	g->norm_eps = 1e-5f;
	return 0;
}

static int internvl_load(struct grid *g, const cJSON *config, struct nn_loader *l)
{
	const int own = !strcmp(nn_config_string(config, "model_type", ""), "internvl_chat");

	if (internvl_numbers(g, config, l->error))
		return l->error->code;
	if (own && strcmp(nn_config_string(config, "ps_version", "v1"), "v2"))
		return nn_fail(l->error, -ENOTSUP, "config.json: ps_version \"%.32s\" is not supported; \"v2\" is.",
			       nn_config_string(config, "ps_version", "v1"));
	const char *norm = own ? "mlp1.0" : "multi_modal_projector.layer_norm", *first = own ? "mlp1.1" : "multi_modal_projector.linear_1";
	const char *second = own ? "mlp1.3" : "multi_modal_projector.linear_2";
	struct nn_weight *w1 = nn_load(l, 0, 0, "%s.weight", first);
	struct nn_weight *w2 = w1 ? nn_load(l, 0, w1->rows, "%s.weight", second) : NULL;

	if (!w2)
		return l->error->code;
	if (w1->cols % ((size_t)g->block * g->block))
		return nn_fail(l->error, -EINVAL, "%s has rows of %zu values, which blocks of %u x %u patches do not make.", w1->name,
			       w1->cols, g->block, g->block);
	g->norm_w = nn_load_vector(l, w1->cols, "%s.weight", norm);
	g->norm_b = nn_load_vector(l, w1->cols, "%s.bias", norm);
	g->w1 = kind_pack(g, l, w1);
	g->w2 = kind_pack(g, l, w2);
	g->b1 = nn_load_vector(l, w1->rows, "%s.bias", first);
	g->b2 = nn_load_vector(l, w2->rows, "%s.bias", second);
	g->in_dim = (uint32_t)(w1->cols / g->block / g->block);
	g->out_dim = (uint32_t)w2->rows;
	return l->error->code;
}

static struct nn_tensor internvl_forward(struct nn *c, struct percept_call *call, const struct grid *g, struct nn_tensor x,
					 uint32_t rows, uint32_t cols)
{
	struct nn_tensor y = kind_shuffle(c, x, rows, cols, g->block);

	grid_observe(c, call, "pixel_shuffled", y);
	y = nn_gemm(c, nn_layer_norm(c, y, g->norm_w, g->norm_b, g->norm_eps), g->w1, g->b1);
	nn_activate(c, y, g->activation);
	return nn_gemm(c, y, g->w2, g->b2);
}

/* ---- Gemma 3: the average of each block, a norm whose weights are counted from 1, a matrix stored (in, out) ---- */

/* Blocks such that a picture of the model's size becomes mm_tokens_per_image. */
static int gemma3_numbers(struct grid *g, const cJSON *config, struct nn_error *error)
{
	const cJSON *vision = nn_config_object(config, "vision_config");
	const int64_t size = nn_config_int(vision, "image_size", 224, 1, 1 << 14, error);
	const int64_t patch = nn_config_int(vision, "patch_size", 16, 1, 1 << 14, error);
	const int64_t tokens = nn_config_int(config, "mm_tokens_per_image", 256, 1, 1 << 20, error);
	const int64_t side = (int64_t)sqrt((double)tokens);

	if (error->code)
		return error->code;
	if (size / patch < side)
		return nn_fail(error, -EINVAL, "config.json: pictures of %lld x %lld patches do not make %lld tokens.",
			       (long long)(size / patch), (long long)(size / patch), (long long)tokens);
	g->block = (uint32_t)(size / patch / side);
	g->norm_eps = (float)nn_config_real(vision, "layer_norm_eps", 1e-6, error);
	return error->code;
}

static int gemma3_load(struct grid *g, const cJSON *config, struct nn_loader *l)
{
	if (gemma3_numbers(g, config, l->error))
		return l->error->code;
	struct nn_weight *w = nn_load(l, 0, 0, "multi_modal_projector.mm_input_projection_weight");
	const float *norm = w ? nn_load_vector(l, w->rows, "multi_modal_projector.mm_soft_emb_norm.weight") : NULL;

	if (!norm)
		return l->error->code;
	struct nn_weight *turned = nn_weight_transposed(l->checkpoint, w);
	float *from_one = nn_checkpoint_alloc(l->checkpoint, w->rows * sizeof(float));

	if (!turned || !from_one)
		return nn_fail(l->error, -ENOMEM, "Memory is out.");
	for (size_t i = 0; i < w->rows; i++)
		from_one[i] = norm[i] + 1;
	g->norm_w = from_one;
	g->w1 = kind_pack(g, l, turned);
	g->in_dim = (uint32_t)w->rows;
	g->out_dim = (uint32_t)w->cols;
	return l->error->code;
}

static struct nn_tensor gemma3_forward(struct nn *c, struct percept_call *call, const struct grid *g, struct nn_tensor x,
				       uint32_t rows, uint32_t cols)
{
	const uint32_t s = g->block;
	struct nn_tensor y = nn_new(c, (size_t)(rows / s) * (cols / s), x.cols);

	for (size_t at = 0; y.data && at < y.rows; at++) {
		float *to = y.data + at * y.stride;

		memset(to, 0, x.cols * sizeof(float));
		for (size_t i = 0; i < (size_t)s * s; i++) {
			const float *from = x.data + ((at / (cols / s) * s + i / s) * cols + at % (cols / s) * s + i % s) * x.stride;

			for (size_t k = 0; k < x.cols; k++)
				to[k] += from[k];
		}
		for (size_t k = 0; k < x.cols; k++)
			to[k] /= (float)(s * s);
	}
	y = nn_rms_norm(c, y, g->norm_w, g->norm_eps);
	grid_observe(c, call, "normed", y);
	return nn_gemm(c, y, g->w1, NULL);
}

static const char *const idefics3_types[] = { "idefics3", "smolvlm", NULL };
static const char *const internvl_types[] = { "internvl", "internvl_chat", NULL };
static const char *const gemma3_types[] = { "gemma3", NULL };
static const struct grid_kind kinds[] = {
	{ .types = idefics3_types, .load = idefics3_load, .forward = idefics3_forward, .pieces = pieces_idefics3 },
	{ .types = internvl_types, .load = internvl_load, .forward = internvl_forward, .pieces = pieces_internvl },
	{ .types = gemma3_types, .bidirectional = PERCEPT_BIDIRECTIONAL_PIECES, .ragged = 1, .load = gemma3_load,
	  .forward = gemma3_forward, .pieces = pieces_gemma3 },
};

const struct grid_kind *grid_kind_find(const cJSON *config, struct nn_error *error)
{
	const char *type = nn_config_string(config, "model_type", "");
	char known[128] = "";

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (const char *const *name = kinds[i].types; *name; name++) {
			if (!strcmp(*name, type))
				return &kinds[i];
			snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", *known ? ", " : "", *name);
		}
	}
	nn_fail(error, -ENOTSUP, "config.json names the model \"%.64s\"; the grid connector knows: %s.", type, known);
	return NULL;
}
