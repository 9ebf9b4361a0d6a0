/* vision.c - the picture tower: patches, a class token, positions, blocks; a hidden state is the feature. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VISION_SIZE_MAX = 1 << 14, VISION_BATCH = 4096 /* rows at once, about */ };

/* Pieces [first, first + n) of a picture; at most `most` go at once. */
struct vision_part {
	uint32_t first, n, most;
};

/* Published names, those of transformers 5, and bundles' ones. */
static const char *const vision_prefixes[] = {
	"vision_model.", "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.",
	"model.vision_tower.", "model.vision_tower.vision_tower.vision_model.", "", "vit.", "dinov2.", NULL,
};

static const char *const projection_prefixes[] = { "", "vision_tower.", "model.vision_tower.", NULL };

static int vision_layer(struct vision *v, const cJSON *root, struct nn_error *error)
{
	const cJSON *bundle = cJSON_GetObjectItemCaseSensitive(root, "vision_feature_layer");
	const int64_t n = v->tower.n_layers + 1;
	int64_t layer = v->choice.has_layer ? v->choice.layer : nn_config_int(root, "mm_vision_select_layer", -2, -4096, 4096, error);

	if (!v->choice.has_layer && cJSON_IsArray(bundle))
		return nn_fail(error, -ENOTSUP, "config.json: vision_feature_layer is a list, and this encoder gives one "
			       "layer; set the option layer.");
	if (!v->choice.has_layer && bundle)
		layer = nn_config_int(root, "vision_feature_layer", -2, -4096, 4096, error);
	if (error->code)
		return error->code;
	if (layer < -n || layer >= n)
		return nn_fail(error, -EINVAL, "The feature layer %lld is not one of the %u blocks of this picture tower.",
			       (long long)layer, v->tower.n_layers);
	v->layer = (uint32_t)(layer < 0 ? layer + n : layer);
	return 0;
}

static int vision_configure(struct vision *v, const cJSON *root, struct nn_error *error)
{
	const cJSON *inner = nn_config_object(root, "vision_config"), *config = inner ? inner : root;

	if (tower_configure(&v->tower, config, &clip_kind.vision, error))
		return error->code;
	v->image_size = (uint32_t)nn_config_int(config, "image_size", 224, 1, VISION_SIZE_MAX, error);
	v->patch = (uint32_t)nn_config_int(config, "patch_size", clip_kind.patch, 1, VISION_SIZE_MAX, error);
	if (nn_config_int(config, "num_channels", 3, 1, 1024, error) != 3 && !error->code)
		return nn_fail(error, -ENOTSUP, "config.json: a picture tower of other than 3 channels is not supported.");
	if (error->code)
		return error->code;
	v->side = v->image_size / v->patch;
	if (!v->side || (uint64_t)v->side * v->side > VISION_TOKENS_MAX)
		return nn_fail(error, -EINVAL, "config.json: pictures of %u pixels with patches of %u are out of range.",
			       v->image_size, v->patch);
	if (nn_config_bool(config, "use_swiglu_ffn", 0, error))
		return nn_fail(error, -ENOTSUP, "config.json: a picture tower with SwiGLU is not supported.");
	v->pools = v->pools && nn_config_bool(config, "vision_use_head", 1, error);
	return vision_layer(v, root, error);
}

static int vision_load(struct vision *v, struct nn_checkpoint *cp, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = cp, .prefixes = vision_prefixes, .error = error };
	struct nn_loader p = { .checkpoint = cp, .prefixes = projection_prefixes, .error = error };
	const struct clip_names *names = clip_kind.names;
	const size_t d = v->tower.d_model;
	const size_t first = clip_kind.class_token ? 1 : 0, n = first + (size_t)v->side * v->side;
	struct nn_weight *positions = nn_load(&l, 0, 0, "%s", names->positions);

	if (positions && positions->rows * positions->cols != n * d)
		return nn_fail(error, -EINVAL, "%s has %zu values instead of %zu x %zu.", names->positions,
			       positions->rows * positions->cols, n, d);
	v->positions = positions ? nn_weight_f32(cp, positions) : NULL;
	struct nn_weight *class = clip_kind.class_token ? nn_load(&l, 0, 0, "%s", names->class_token) : NULL;

	if (class && class->rows * class->cols != d)
		return nn_fail(error, -EINVAL, "%s has %zu values instead of %zu.", names->class_token, class->rows * class->cols, d);
	v->class_token = class ? nn_weight_f32(cp, class) : NULL;
	if (clip_kind.pre_norm)
		v->pre = tower_norm(&v->tower, &l, "pre_layrnorm");
	struct nn_weight *patches = nn_load(&l, d, (size_t)3 * v->patch * v->patch, "%s.weight", names->patches);

	nn_weight_pack(cp, patches, error);
	v->patches = patches;
	v->patch_bias = nn_load_vector_maybe(&l, d, "%s.bias", names->patches);
	v->tower.names = &names->layers;
	tower_load(&v->tower, &l);
	if (v->pools)
		pool_load(v, &l, &p);
	if (!error->code && (!v->positions || (clip_kind.class_token && !v->class_token)))
		nn_fail(error, -ENOMEM, "Memory is out.");
	v->tower.weight_bytes += error->code ? 0 : positions->bytes + v->patches->bytes;
	return error->code;
}

int vision_open(struct vision *v, struct nn_checkpoint *cp, const struct clip_choice *choice, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp);

	v->choice = *choice;
	/* A bundle with a language model has no use for a vector of the whole picture, and may lack what makes it. */
	v->pools = !(cJSON_GetObjectItemCaseSensitive(root, "vision_feature_layer") ||
		     cJSON_GetObjectItemCaseSensitive(root, "mm_vision_select_layer"));
	if (vision_configure(v, root, error) || vision_load(v, cp, error))
		return error->code;
	return nn_image_processor_load(&v->processor, nn_checkpoint_path(cp), v->image_size, error) ? error->code : 0;
}

/* (class token + rows * cols, d_model): the position table, resized where the picture is not of the model's size. */
static struct nn_tensor vision_positions(struct nn *c, const struct vision *v, uint32_t rows, uint32_t cols)
{
	const size_t d = v->tower.d_model, n = (size_t)rows * cols, first = v->class_token ? 1 : 0;
	struct nn_tensor table = nn_view((float *)v->positions, first + (size_t)v->side * v->side, d);

	if (rows == v->side && cols == v->side)
		return table;
	struct nn_tensor grid = nn_resize_grid(c, nn_rows(table, first, (size_t)v->side * v->side), v->side, v->side, rows, cols);

	if (!first)
		return grid;
	struct nn_tensor all = nn_new(c, 1 + n, d);

	for (size_t i = 0; all.data && grid.data && i <= n; i++)
		memcpy(all.data + i * all.stride, i ? grid.data + (i - 1) * grid.stride : table.data, d * sizeof(float));
	return all;
}

/* (n * (class token + patches), d_model): pieces one after the other, with their positions, and normed where there is a
 * class token. */
static struct nn_tensor vision_embed(struct nn *c, const struct vision *v, const struct nn_tiles *tiles, struct vision_part part,
				     struct percept_call *call)
{
	const uint32_t rows = tiles->height / v->patch, cols = tiles->width / v->patch;
	const size_t d = v->tower.d_model, first = v->class_token ? 1 : 0, patches = (size_t)rows * cols, each = first + patches;
	const float *pixels = tiles->pixels + (size_t)part.first * 3 * tiles->width * tiles->height;
	struct nn_tensor x = nn_new(c, part.n * each, d), positions = vision_positions(c, v, rows, cols);
	struct nn_tensor p = nn_gemm(c, nn_tile_patches(c, pixels, part.n, tiles->height, tiles->width, v->patch), v->patches,
				     v->patch_bias);

	tower_observe(c, call, "patch_embedding", p);
	for (size_t i = 0; x.data && p.data && i < x.rows; i++) {
		const size_t at = i % each;
		const float *from = at >= first ? p.data + (i / each * patches + at - first) * p.stride : v->class_token;

		memcpy(x.data + i * x.stride, from, d * sizeof(float));
	}
	for (size_t i = 0; i < part.n; i++)
		nn_add_to(c, nn_rows(x, i * each, each), positions);
	tower_observe(c, call, "embeddings", x);
	return clip_kind.pre_norm ? nn_layer_norm(c, x, v->pre.w, v->pre.b, v->tower.norm_eps) : x;
}

/* Rows of the feature of a part of the pieces, to where they belong in `data`. */
static void vision_keep(const struct vision *v, struct nn_tensor x, struct vision_part part, float *data)
{
	const size_t each = x.rows / part.n, skip = v->class_token && !v->choice.keep_class ? 1 : 0, n = each - skip;

	data += part.first * n * x.cols;
	for (size_t i = 0; i < part.n * n; i++)
		memcpy(data + i * x.cols, x.data + (i / n * each + skip + i % n) * x.stride, x.cols * sizeof(float));
}

/* The picture's vector into the call's arena. */
static void vision_pool(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x,
			struct percept_features *f)
{
	struct nn_tensor y = pool_rows(c, call, v, x);
	float *pooled = c->error ? NULL : percept_alloc(call, y.cols * sizeof(float));

	if (!pooled) {
		c->error = c->error ? c->error : -ENOMEM;
		return;
	}
	memcpy(pooled, y.data, y.cols * sizeof(float));
	f->pooled = pooled;
	f->pooled_dim = y.cols;
}

/* Rows of a part's pieces, which do not see each other; NULL: there is one piece. */
static const struct tower_rows *vision_rows(struct nn *c, struct nn_tensor x, uint32_t n, struct tower_rows *rows)
{
	const uint32_t each = (uint32_t)(x.rows / n);
	uint32_t *first = n > 1 ? nn_memory(c, x.rows, sizeof(*first)) : NULL;
	uint32_t *visible = n > 1 ? nn_memory(c, x.rows, sizeof(*visible)) : NULL;

	if (!first || !visible)
		return NULL;
	for (uint32_t i = 0; i < x.rows; i++) {
		first[i] = i / each * each;
		visible[i] = first[i] + each;
	}
	*rows = (struct tower_rows){ .first = first, .visible = visible };
	return rows;
}

/* Some of the pieces through the blocks. The vector of the whole picture is the overview's, else the first piece's. */
static int vision_blocks(struct nn *c, struct percept_call *call, const struct vision *v, const struct nn_tiles *tiles,
			 struct vision_part part, struct percept_features *f)
{
	const uint32_t last = v->pools ? v->tower.n_layers : v->layer, parts = (tiles->n + part.most - 1) / part.most;
	const uint32_t whole = tiles->overview == PERCEPT_OVERVIEW_LAST ? tiles->n - 1 : 0;
	struct nn_tensor x = vision_embed(c, v, tiles, part, call);
	const size_t each = x.rows / part.n;
	struct tower_rows segments;
	const struct tower_rows *rows = vision_rows(c, x, part.n, &segments);
	char name[32];

	tower_observe(c, call, "pre_layrnorm", x);
	for (uint32_t i = 0; i <= last && !nn_stopped(c); i++) {
		if (i == v->layer)
			vision_keep(v, x, part, (float *)f->data);
		if (i + 1 == v->tower.n_layers)
			tower_observe(c, call, "layer_minus2", x);
		if (i == last)
			break;
		tower_layer(c, &v->tower, i, x, rows, call);
		call->host->progress(call, part.first / part.most * last + i + 1, (uint64_t)parts * last);
		snprintf(name, sizeof(name), "after_layer%u", i);
		tower_observe(c, call, name, x);
	}
	if (v->pools && !c->error && whole >= part.first && whole < part.first + part.n) {
		x = nn_rows(x, (whole - part.first) * each, each);
		tower_observe(c, call, "final", x);
		vision_pool(c, call, v, x, f);
	}
	return c->error;
}

/* All pieces, as many at once as a batch takes. */
static int vision_pieces(struct nn *c, struct percept_call *call, const struct vision *v, const struct nn_tiles *tiles,
			 struct percept_features *f)
{
	const uint32_t rows = tiles->height / v->patch * (tiles->width / v->patch) + (v->class_token ? 1 : 0);
	const uint32_t most = rows < VISION_BATCH ? VISION_BATCH / rows : 1;

	for (uint32_t i = 0; i < tiles->n && !c->error; i += most) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const struct vision_part part = { i, tiles->n - i < most ? tiles->n - i : most, most };

		vision_blocks(c, call, v, tiles, part, f);
		nn_arena_release(c->arena, mark);
	}
	return c->error;
}

/* The prepared pieces of an item that was planned. */
static int vision_prepare(struct nn *c, struct percept_call *call, const struct vision *v, const struct percept_media *m,
			  struct nn_tiles *tiles)
{
	const struct nn_tiles_ask ask = picture_ask(v, m);
	struct nn_error why = { 0 };

	if (m->format == PERCEPT_F32_PIXELS)
		tiles->pixels = m->data;
	else if (nn_tiles_prepare(c, &v->processor, m->data, m->width, m->height, &ask, tiles, &why))
		return percept_fail(call, c->error, "%s", why.code ? why.text : "The picture was not prepared.");
	return 0;
}

int vision_encode(struct percept_call *call, const struct vision *v, const struct percept_media *m, struct percept_features *f)
{
	struct percept_layout layout;
	struct nn_tiles tiles;
	struct nn c;
	int error = picture_plan(call, v, m, &tiles, &layout);

	if (error)
		return error;
	float *data = percept_alloc(call, (size_t)layout.items * layout.tokens * layout.dim * sizeof(float));
	struct nn_arena *arena = data ? nn_arena_new(0) : NULL;

	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	*f = (struct percept_features){ .size = sizeof(*f), .layout = layout, .data = data };
	nn_begin(&c, call, arena);
	error = vision_prepare(&c, call, v, m, &tiles);
	if (!error && (error = vision_pieces(&c, call, v, &tiles, f)))
		percept_fail(call, error, error == -ECANCELED ? "The encoding was cancelled." :
			     error == -ENOMEM ? "Memory for this picture is out." : "The picture tower failed.");
	nn_arena_free(arena);
	return error;
}
