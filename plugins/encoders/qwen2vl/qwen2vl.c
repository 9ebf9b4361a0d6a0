/* qwen2vl.c - the plugin: picture towers of Qwen2-VL and Qwen2.5-VL, at any resolution. */
#include "plugins/encoders/qwen2vl/qwen2vl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <percept/plugin.h>

#include "sdk/nn/compute.h"

/* QWEN2VL_CHUNK: patches that are embedded at once. */
enum { QWEN2VL_CHUNK = 4096, QWEN2VL_TOKENS_MAX = 1 << 16 };

static void qwen2vl_close(void *encoder)
{
	qwen2vl_fini(encoder);
	free(encoder);
}

static int qwen2vl_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	const struct percept_value *most = percept_option(open, "max_pixels");
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The qwen2vl encoder needs a model: name a directory with config.json and "
				    "model.safetensors.");
	struct qwen2vl *v = calloc(1, sizeof(*v));

	if (!v)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (qwen2vl_init(v, open->model, most ? (uint64_t)most->integer : 0, nn_compute_option(open), &error)) {
		qwen2vl_close(v);
		return percept_fail(call, error.code, "%s", error.text);
	}
	snprintf(v->identity, sizeof(v->identity), "qwen2vl-1-%s-%s-%016llx-%llu", nn_checkpoint_identity(v->checkpoint),
		 nn_compute_name(nn_compute_option(open)),
		 (unsigned long long)v->processor.digest, (unsigned long long)v->processor.native.most);
	*encoder = v;
	return 0;
}

static int qwen2vl_info(void *encoder, struct percept_encoder_info *info)
{
	const struct qwen2vl *v = encoder;
	/* A picture is at least one window, whatever the bound. */
	const uint64_t window = (uint64_t)v->merge * v->merge, most = v->processor.native.most / v->patch / v->patch;
	const uint64_t tokens = most > window ? most : window;

	*info = (struct percept_encoder_info){
		.size = sizeof(*info), .modalities = PERCEPT_IMAGE, .dim = v->tower.d_model,
		.max_tokens = tokens < QWEN2VL_TOKENS_MAX ? (uint32_t)tokens : QWEN2VL_TOKENS_MAX,
		.details = nn_tiles_details(&v->processor), .identity = v->identity, .weight_bytes = v->tower.weight_bytes,
	};
	return 0;
}

/* The size that a picture is brought to, in `tiles`. */
static int qwen2vl_size(struct percept_call *call, const struct qwen2vl *v, const struct percept_media *m, struct nn_tiles *tiles)
{
	const uint64_t pixels = (uint64_t)m->width * m->height, window = (uint64_t)v->patch * v->merge;
	const uint64_t each = m->format == PERCEPT_F32_PIXELS ? 3 * sizeof(float) : 3;
	const struct nn_tiles_ask ask = { .detail = m->detail, .pixels = m->max_tokens * window * window };
	struct nn_error why = { 0 };

	if (m->modality != PERCEPT_IMAGE || (m->format != PERCEPT_U8_RGB && m->format != PERCEPT_F32_PIXELS))
		return percept_fail(call, -EINVAL, "The qwen2vl encoder takes pictures, as RGB or as prepared pixels.");
	if (m->frames != 1 || m->channels != 3 || !pixels || m->bytes / each < pixels)
		return percept_fail(call, -EINVAL, "The qwen2vl encoder takes one picture of three channels, and not an empty one.");
	if (m->format == PERCEPT_F32_PIXELS) {
		*tiles = (struct nn_tiles){ .n = 1, .width = m->width, .height = m->height };
		if (m->width % window || m->height % window || (m->max_tokens && pixels > ask.pixels))
			return percept_fail(call, -EINVAL, "Prepared pixels of %u x %u are not of whole windows of %llu pixels, or "
					    "are more than max_tokens.", m->width, m->height, (unsigned long long)window);
	} else if (nn_tiles_plan(&v->processor, m->width, m->height, &ask, tiles, &why)) {
		return percept_fail(call, why.code, "%s", why.text);
	}
	if ((uint64_t)(tiles->width / v->patch) * (tiles->height / v->patch) > QWEN2VL_TOKENS_MAX)
		return percept_fail(call, -EINVAL, "A picture of %u x %u pixels is more than the qwen2vl encoder takes; the option "
				    "max_pixels lets it be made smaller.", tiles->width, tiles->height);
	return 0;
}

static void qwen2vl_layout(const struct qwen2vl *v, const struct percept_media *m, const struct nn_tiles *tiles,
			   struct percept_layout *layout)
{
	const uint32_t rows = tiles->height / v->patch, cols = tiles->width / v->patch;

	*layout = (struct percept_layout){ .size = sizeof(*layout), .items = 1, .tokens = rows * cols, .dim = v->tower.d_model,
					   .rows = rows, .cols = cols, .grid_rows = 1, .grid_cols = 1, .width = m->width,
					   .height = m->height };
}

static int qwen2vl_plan(struct percept_call *call, void *encoder, const struct percept_media *m, struct percept_layout *layout)
{
	const struct qwen2vl *v = encoder;
	struct nn_tiles tiles;
	const int error = qwen2vl_size(call, v, m, &tiles);

	if (!error)
		qwen2vl_layout(v, m, &tiles, layout);
	return error;
}

/* (n, d_model): patches, window by window. Conv3d over patches that do not overlap is one product; a few are in memory at a time. */
static struct nn_tensor qwen2vl_embed(struct nn *c, const struct qwen2vl *v, const struct nn_tiles *tiles)
{
	const struct nn_windows how = { .frames = 1, .height = tiles->height, .width = tiles->width, .patch = v->patch, .depth = v->depth,
					      .merge = v->merge };
	struct nn_tensor x = nn_new(c, (size_t)(tiles->height / v->patch) * (tiles->width / v->patch), v->tower.d_model);

	for (size_t first = 0; first < x.rows && !nn_stopped(c); first += QWEN2VL_CHUNK) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const size_t n = x.rows - first < QWEN2VL_CHUNK ? x.rows - first : QWEN2VL_CHUNK;
		struct nn_tensor y = nn_gemm(c, nn_window_patches(c, tiles->pixels, &how, first, n), v->patches, NULL);

		for (size_t i = 0; y.data && i < n; i++)
			memcpy(x.data + (first + i) * x.stride, y.data + i * y.stride, x.cols * sizeof(float));
		nn_arena_release(c->arena, mark);
	}
	return x;
}

/* Rows of x where index[i] says. */
static struct nn_tensor qwen2vl_take(struct nn *c, struct nn_tensor x, const uint32_t *index)
{
	struct nn_tensor y = nn_new(c, x.rows, x.cols);

	for (size_t i = 0; y.data && i < x.rows; i++)
		memcpy(y.data + i * y.stride, x.data + index[i] * x.stride, x.cols * sizeof(float));
	return y;
}

static struct nn_tensor qwen2vl_blocks(struct nn *c, struct percept_call *call, const struct qwen2vl *v, struct nn_tensor x,
				       const struct qwen2vl_order *order)
{
	const struct tower_rows all = { .rotary = &order->rotary };
	const struct tower_rows windows = { .first = order->first, .visible = order->visible, .rotary = &order->rotary };
	char name[32];

	for (uint32_t i = 0; i < v->tower.n_layers && !nn_stopped(c); i++) {
		tower_layer(c, &v->tower, i, x, v->whole && !v->whole[i] ? &windows : &all, call);
		call->host->progress(call, i + 1, v->tower.n_layers);
		snprintf(name, sizeof(name), "after_layer%u", i);
		tower_observe(c, call, name, x);
	}
	tower_observe(c, call, "connector_input", x);
	return x;
}

/* The features, row by row of the grid, in the call's arena. */
static int qwen2vl_forward(struct nn *c, struct percept_call *call, const struct qwen2vl *v, const struct nn_tiles *tiles,
			   struct percept_features *f)
{
	struct qwen2vl_order order;
	struct nn_tensor x = qwen2vl_embed(c, v, tiles);

	tower_observe(c, call, "patch_embedding", x);
	if (qwen2vl_arrange(c, v, tiles->height / v->patch, tiles->width / v->patch, &order))
		return c->error;
	x = qwen2vl_blocks(c, call, v, qwen2vl_take(c, x, order.from), &order);
	float *data = c->error ? NULL : percept_alloc(call, x.rows * x.cols * sizeof(float));

	if (!data)
		return c->error ? c->error : -ENOMEM;
	for (size_t i = 0; i < x.rows; i++)
		memcpy(data + order.to[i] * x.cols, x.data + i * x.stride, x.cols * sizeof(float));
	f->data = data;
	return 0;
}

static int qwen2vl_encode(struct percept_call *call, void *encoder, const struct percept_media *m, struct percept_features *f)
{
	const struct qwen2vl *v = encoder;
	struct nn_tiles tiles;
	struct nn_error why = { 0 };
	struct nn c;
	int error = qwen2vl_size(call, v, m, &tiles);

	if (error)
		return error;
	struct nn_arena *arena = nn_arena_new(0);

	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	const uint64_t window = (uint64_t)v->patch * v->merge;
	const struct nn_tiles_ask ask = { .detail = m->detail, .pixels = m->max_tokens * window * window };

	nn_begin(&c, call, arena);
	tiles.pixels = m->data;
	if (m->format == PERCEPT_U8_RGB)
		error = nn_tiles_prepare(&c, &v->processor, m->data, m->width, m->height, &ask, &tiles, &why);
	if (!error) {
		*f = (struct percept_features){ .size = f->size };
		qwen2vl_layout(v, m, &tiles, &f->layout);
		error = qwen2vl_forward(&c, call, v, &tiles, f);
	}
	if (error)
		percept_fail(call, error, "%s", why.code ? why.text : error == -ECANCELED ? "The encoding was cancelled." :
			     error == -ENOMEM ? "Memory for this picture is out." : "The picture tower failed.");
	nn_arena_free(arena);
	return error;
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
	{ .name = "max_pixels", .type = PERCEPT_OPTION_INT, .min = 1, .max = 1 << 26,
	  .help = "pixels that a picture keeps at most; the model's own number by default" },
};
static const struct percept_encoder ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = qwen2vl_open,
	.close = qwen2vl_close, .info = qwen2vl_info, .plan = qwen2vl_plan, .encode = qwen2vl_encode,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "qwen2vl", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Qwen2-VL and Qwen2.5-VL picture towers", .ops = &ops,
};
