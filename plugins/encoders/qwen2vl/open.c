/* open.c - the tower's numbers and weights. */
#include "plugins/encoders/qwen2vl/qwen2vl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QWEN2VL_PATCH_MAX = 1024, QWEN2VL_MERGE_MAX = 16, QWEN2VL_WINDOW_MAX = 1 << 20 };

/* What sets the two apart. Missing keys have the values that transformers gives them. */
static const struct qwen2vl_kind {
	const char *type;
	const char *width, *activation; /* the key of the tower's width; the activation where the file names none */
	int64_t fallback;
	int rms, windows;
	struct tower_names names;
} qwen2vl_kinds[] = {
	{ "qwen2_vl", "embed_dim", "quick_gelu", 1280, 0, 0,
	  { .layer = "blocks.%u.", .norm1 = "norm1", .norm2 = "norm2", .q = "attn.qkv", .k = "attn.qkv", .v = "attn.qkv",
	    .out = "attn.proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2" } },
	{ "qwen2_5_vl", "hidden_size", "silu", 3584, 1, 1,
	  { .layer = "blocks.%u.", .norm1 = "norm1", .norm2 = "norm2", .q = "attn.qkv", .k = "attn.qkv", .v = "attn.qkv",
	    .out = "attn.proj", .gate = "mlp.gate_proj", .fc1 = "mlp.up_proj", .fc2 = "mlp.down_proj" } },
};

static const char *const qwen2vl_prefixes[] = { "visual.", "model.visual.", "", NULL };

/* By the bundle's type, or a tower's own: "qwen2_vl_vision". */
static const struct qwen2vl_kind *qwen2vl_kind(const cJSON *root, struct nn_error *error)
{
	const char *type = nn_config_string(root, "model_type", "");

	for (size_t i = 0; i < sizeof(qwen2vl_kinds) / sizeof(qwen2vl_kinds[0]); i++) {
		const size_t n = strlen(qwen2vl_kinds[i].type);

		if (!strncmp(type, qwen2vl_kinds[i].type, n) && (!type[n] || !strcmp(type + n, "_vision")))
			return &qwen2vl_kinds[i];
	}
	nn_fail(error, -ENOTSUP, "config.json: \"%.64s\" is neither qwen2_vl nor qwen2_5_vl, whose picture towers this is.", type);
	return NULL;
}

/* Which layers see all of a picture, and how large the others' windows are. */
static int qwen2vl_windows(struct qwen2vl *v, const cJSON *config, struct nn_error *error)
{
	static const uint32_t fallback[] = { 7, 15, 23, 31 };
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "fullatt_block_indexes"), *item;
	const int64_t pixels = nn_config_int(config, "window_size", 112, 1, QWEN2VL_WINDOW_MAX, error);

	v->window = (uint32_t)pixels / v->merge / v->patch;
	v->whole = nn_checkpoint_alloc(v->checkpoint, v->tower.n_layers);
	if (!v->whole)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (!v->window)
		return nn_fail(error, -EINVAL, "config.json: windows of %lld pixels hold no %u x %u patches of %u.", (long long)pixels,
			       v->merge, v->merge, v->patch);
	memset(v->whole, 0, v->tower.n_layers);
	for (size_t i = 0; !list && i < sizeof(fallback) / sizeof(fallback[0]); i++)
		if (fallback[i] < v->tower.n_layers)
			v->whole[fallback[i]] = 1;
	if (list && !cJSON_IsArray(list))
		return nn_fail(error, -EINVAL, "config.json: \"fullatt_block_indexes\" must be a list.");
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1e6))
			return nn_fail(error, -EINVAL, "config.json: \"fullatt_block_indexes\" must be a list of layers.");
		if (item->valuedouble < v->tower.n_layers)
			v->whole[(uint32_t)item->valuedouble] = 1;
	}
	return 0;
}

static int qwen2vl_frequencies(struct qwen2vl *v, const cJSON *config, struct nn_error *error)
{
	const uint32_t head = v->tower.d_model / v->tower.n_heads, n = head / 4;
	const double theta = nn_config_real(nn_config_object(config, "rope_parameters|rope_scaling"), "rope_theta",
					    nn_config_real(config, "rope_theta", 1e4, error), error);

	if (error->code)
		return error->code;
	if (head % 4 || !(theta > 0))
		return nn_fail(error, -EINVAL, "config.json: heads of %u values do not divide into four for rows and columns, or "
			       "\"rope_theta\" is out of range.", head);
	v->inv_freq = nn_checkpoint_alloc(v->checkpoint, n * sizeof(*v->inv_freq));
	for (uint32_t i = 0; v->inv_freq && i < n; i++)
		v->inv_freq[i] = (float)(1 / pow(theta, (double)i / n));
	return v->inv_freq ? 0 : nn_fail(error, -ENOMEM, "Memory is out.");
}

static int qwen2vl_configure(struct qwen2vl *v, const struct qwen2vl_kind *kind, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(v->checkpoint), *inner = nn_config_object(root, "vision_config");
	const cJSON *config = inner ? inner : root;
	struct tower *t = &v->tower;

	t->d_model = (uint32_t)nn_config_int(config, kind->width, kind->fallback, 1, 1 << 18, error);
	t->n_layers = (uint32_t)nn_config_int(config, "depth|num_hidden_layers", 32, 1, 1024, error);
	t->n_heads = (uint32_t)nn_config_int(config, "num_heads|num_attention_heads", 16, 1, 1 << 18, error);
	const int64_t ratio = nn_config_int(config, "mlp_ratio", 4, 1, 64, error);

	t->d_ff = (uint32_t)nn_config_int(config, "intermediate_size", kind->rms ? 3420 : ratio * t->d_model, 1, 1 << 24, error);
	t->norm_eps = 1e-6f;
	t->rms = kind->rms;
	t->names = &kind->names;
	v->patch = (uint32_t)nn_config_int(config, "patch_size|spatial_patch_size", 14, 1, QWEN2VL_PATCH_MAX, error);
	v->depth = (uint32_t)nn_config_int(config, "temporal_patch_size", 2, 1, QWEN2VL_MERGE_MAX, error);
	v->merge = (uint32_t)nn_config_int(config, "spatial_merge_size", 2, 1, QWEN2VL_MERGE_MAX, error);
	if (nn_config_int(config, "in_channels|in_chans", 3, 1, 1024, error) != 3 && !error->code)
		return nn_fail(error, -ENOTSUP, "config.json: a picture tower of other than 3 channels is not supported.");
	if (tower_settle(t, nn_config_string(config, "hidden_act", kind->activation), error) ||
	    qwen2vl_frequencies(v, config, error))
		return error->code;
	return kind->windows ? qwen2vl_windows(v, config, error) : 0;
}

static int qwen2vl_load(struct qwen2vl *v, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = v->checkpoint, .prefixes = qwen2vl_prefixes, .error = error };
	struct nn_weight *patches = nn_load(&l, v->tower.d_model, (size_t)3 * v->depth * v->patch * v->patch,
					    "patch_embed.proj.weight");

	nn_weight_pack(v->checkpoint, patches, error);
	v->patches = patches;
	v->tower.weight_bytes += patches ? patches->bytes : 0;
	return error->code ? error->code : tower_load(&v->tower, &l);
}

/* The file's numbers, but for sizes of patches: those are the tower's. Without a file of this kind the reference's. */
static int qwen2vl_processor(struct qwen2vl *v, uint64_t most, struct nn_error *error)
{
	static const char usual[] = "{\"image_processor_type\": \"Qwen2VLImageProcessor\"}";
	struct nn_image_processor *p = &v->processor;

	if (nn_image_processor_load(p, nn_checkpoint_path(v->checkpoint), 0, error) ||
	    (!p->native.patch && nn_image_processor_parse(p, usual, strlen(usual), 0, error)))
		return error->code;
	p->native.patch = v->patch;
	p->native.depth = v->depth;
	p->native.merge = v->merge;
	if (most && most < p->native.most)
		p->native.most = most;
	return 0;
}

int qwen2vl_init(struct qwen2vl *v, const char *path, uint64_t most, enum nn_compute how, struct nn_error *error)
{
	v->checkpoint = nn_checkpoint_open(path, error);
	if (!v->checkpoint)
		return error->code ? error->code : -EINVAL;
	nn_checkpoint_compute(v->checkpoint, how);
	const struct qwen2vl_kind *kind = qwen2vl_kind(nn_checkpoint_config(v->checkpoint), error);

	if (!kind || qwen2vl_configure(v, kind, error) || qwen2vl_load(v, error) || qwen2vl_processor(v, most, error))
		return error->code;
	return 0;
}

void qwen2vl_fini(struct qwen2vl *v)
{
	tower_fini(&v->tower);
	nn_checkpoint_close(v->checkpoint);
}
