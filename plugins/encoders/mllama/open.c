/* open.c - the tower's numbers and weights. */
#include "plugins/encoders/mllama/mllama.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MLLAMA_SIDE_MAX = 1 << 14, MLLAMA_LAYERS_MAX = 1024, MLLAMA_ROWS_MAX = 1 << 17, MLLAMA_DIM_MAX = 1 << 20 };

static const char *const mllama_prefixes[] = { "vision_model.", "model.vision_model.", "", NULL };

static const struct tower_names mllama_names[] = {
	{ .layer = "transformer.layers.%u.", .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm", .q = "self_attn.q_proj",
	  .k = "self_attn.k_proj", .v = "self_attn.v_proj", .out = "self_attn.o_proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2" },
	{ .layer = "global_transformer.layers.%u.", .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm",
	  .q = "self_attn.q_proj", .k = "self_attn.k_proj", .v = "self_attn.v_proj", .out = "self_attn.o_proj", .fc1 = "mlp.fc1",
	  .fc2 = "mlp.fc2" },
};

static uint32_t mllama_int(const cJSON *config, const char *names, int64_t fallback, int64_t least, int64_t most,
			   struct nn_error *error)
{
	return (uint32_t)nn_config_int(config, names, fallback, least, most, error);
}

/* Both stacks of blocks. */
static int mllama_towers(struct mllama *m, const cJSON *config, struct nn_error *error)
{
	const char *activation = nn_config_string(config, "hidden_act", "gelu");
	struct tower *t = &m->local;

	t->d_model = mllama_int(config, "hidden_size", 1280, 1, MLLAMA_DIM_MAX, error);
	t->d_ff = mllama_int(config, "intermediate_size", 5120, 1, 1 << 24, error);
	t->n_heads = mllama_int(config, "attention_heads|num_attention_heads", 16, 1, MLLAMA_DIM_MAX, error);
	t->norm_eps = (float)nn_config_real(config, "norm_eps", 1e-5, error);
	t->bare = TOWER_Q | TOWER_K | TOWER_V | TOWER_OUT;
	m->global = *t;
	t->n_layers = mllama_int(config, "num_hidden_layers", 32, 1, MLLAMA_LAYERS_MAX, error);
	t->names = &mllama_names[0];
	m->n_global = mllama_int(config, "num_global_layers", 8, 0, MLLAMA_LAYERS_MAX, error);
	m->global.n_layers = m->n_global ? m->n_global : 1;
	m->global.names = &mllama_names[1];
	return tower_settle(t, activation, error) || tower_settle(&m->global, activation, error) ? error->code : 0;
}

/* Which blocks' rows are features, in the order of the list; as lists of Python count, from the end where negative. */
static int mllama_states(struct mllama *m, const cJSON *config, int before, struct nn_error *error)
{
	static const int usual[] = { 3, 7, 15, 23, 30 };
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "intermediate_layers_indices");
	const int given = list && !cJSON_IsNull(list), n = given ? cJSON_GetArraySize(list) : 5;
	const int count = (int)m->local.n_layers + (before ? 1 : 0);

	if (given && (!cJSON_IsArray(list) || n < 1 || n > MLLAMA_STATES_MAX))
		return nn_fail(error, -EINVAL, "config.json: \"intermediate_layers_indices\" must be a list of 1 to %d layers.",
			       MLLAMA_STATES_MAX);
	for (int i = 0; i < n; i++) {
		const cJSON *item = cJSON_GetArrayItem(list, i);
		const double at = given ? (cJSON_IsNumber(item) ? item->valuedouble : NAN) : usual[i];

		if (!(at >= -count && at < count) || at != floor(at))
			return nn_fail(error, -EINVAL, "config.json: \"intermediate_layers_indices\" must be layers of %u.",
				       m->local.n_layers);
		m->states[i] = (uint32_t)(at < 0 ? at + count : at) + (before ? 0 : 1);
	}
	m->n_states = (uint32_t)n;
	m->dim = m->local.d_model * (1 + m->n_states);
	const uint32_t said = mllama_int(config, "vision_output_dim", m->dim, 1, INT32_MAX, error);

	if (!error->code && said != m->dim)
		return nn_fail(error, -EINVAL, "config.json: \"vision_output_dim\" is %u, but %u layers of %u values are %u.", said,
			       1 + m->n_states, m->local.d_model, m->dim);
	return error->code;
}

/* How many grids tiles may lie in: the reference counts the list, and takes the grids from the number of tiles. */
static uint32_t mllama_shapes(const cJSON *config, struct nn_error *error)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "supported_aspect_ratios"), *pair;
	const int n = cJSON_GetArraySize(list);

	if (!list || cJSON_IsNull(list))
		return 8;
	if (!cJSON_IsArray(list) || n < 1 || n > 4096)
		nn_fail(error, -EINVAL, "config.json: \"supported_aspect_ratios\" must be a list of 1 to 4096 pairs of rows and columns.");
	cJSON_ArrayForEach(pair, list)
		if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2)
			nn_fail(error, -EINVAL, "config.json: \"supported_aspect_ratios\" must be a list of pairs of rows and columns.");
	return (uint32_t)n;
}

static int mllama_configure(struct mllama *m, int before, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(m->checkpoint), *inner = nn_config_object(root, "vision_config");
	const cJSON *config = inner ? inner : root;
	const char *type = nn_config_string(config, "model_type", "mllama");

	if (strncmp(type, "mllama", strlen("mllama")))
		return nn_fail(error, -ENOTSUP, "config.json: \"%.64s\" is not Llama 3.2 Vision, whose picture towers this is.", type);
	if (mllama_towers(m, config, error) || mllama_states(m, config, before, error))
		return error->code;
	m->image_size = mllama_int(config, "image_size", 448, 1, MLLAMA_SIDE_MAX, error);
	m->patch = mllama_int(config, "patch_size", 14, 1, MLLAMA_SIDE_MAX, error);
	m->tiles = mllama_int(config, "max_num_tiles", 4, 1, NN_TILES_MAX, error);
	m->shapes = mllama_shapes(config, error);
	if (nn_config_int(config, "num_channels", 3, 1, 1024, error) != 3 && !error->code)
		return nn_fail(error, -ENOTSUP, "config.json: a picture tower of other than 3 channels is not supported.");
	if (error->code)
		return error->code;
	m->side = m->image_size / m->patch;
	const uint64_t rows = (uint64_t)m->side * m->side + 1;

	if (!m->side || rows * m->tiles > MLLAMA_ROWS_MAX || rows * m->tiles * m->dim > INT32_MAX)
		return nn_fail(error, -EINVAL, "config.json: %u tiles of %u pixels with patches of %u are out of range.", m->tiles,
			       m->image_size, m->patch);
	m->rows = (uint32_t)rows;
	m->padding = (MLLAMA_ALIGN - m->rows % MLLAMA_ALIGN) % MLLAMA_ALIGN;
	return 0;
}

/* tanh of a gate. */
static float mllama_gate(struct nn_loader *l, const char *name, uint32_t layer)
{
	char full[128];

	snprintf(full, sizeof(full), name, layer);
	const float *gate = nn_load_vector(l, 1, "%s", full);

	return gate ? tanhf(*gate) : 0;
}

static struct mllama_table mllama_table(struct mllama *m, struct nn_loader *l, size_t n, const char *name, const char *gate)
{
	struct mllama_table t = { .w = nn_load(l, m->shapes + 1, m->tiles * n, "%s.weight", name), .gate = mllama_gate(l, gate, 0) };

	m->local.weight_bytes += t.w ? t.w->bytes : 0;
	return t;
}

/* The gates of a global block as factors of what its halves add. */
static const float *mllama_scale(struct mllama *m, struct nn_loader *l, const char *name, uint32_t layer)
{
	const float gate = mllama_gate(l, name, layer);
	float *scale = nn_checkpoint_alloc(m->checkpoint, m->global.d_model * sizeof(*scale));

	for (uint32_t i = 0; scale && i < m->global.d_model; i++)
		scale[i] = gate;
	if (!scale)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	return scale;
}

static void mllama_load_global(struct mllama *m, struct nn_loader *l)
{
	if (!m->n_global || tower_load(&m->global, l))
		return;
	for (uint32_t i = 0; i < m->n_global && !l->error->code; i++) {
		m->global.layers[i].scale1 = mllama_scale(m, l, "global_transformer.layers.%u.gate_attn", i);
		m->global.layers[i].scale2 = mllama_scale(m, l, "global_transformer.layers.%u.gate_ffn", i);
	}
}

static struct norm mllama_norm(struct mllama *m, struct nn_loader *l, const char *name)
{
	return (struct norm){ nn_load_vector(l, m->local.d_model, "%s.weight", name), nn_load_vector(l, m->local.d_model, "%s.bias", name) };
}

static int mllama_load(struct mllama *m, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = m->checkpoint, .prefixes = mllama_prefixes, .error = error };
	const size_t d = m->local.d_model;
	struct nn_weight *patches = nn_load(&l, d, (size_t)3 * m->patch * m->patch, "patch_embedding.weight");
	struct nn_weight *positions = nn_load(&l, m->rows, d, "gated_positional_embedding.embedding");

	nn_weight_pack(m->checkpoint, patches, error);
	m->patches = patches;
	m->class_token = nn_load_vector(&l, d, "class_embedding");
	m->tile_positions = mllama_table(m, &l, m->rows * d, "gated_positional_embedding.tile_embedding", "gated_positional_embedding.gate");
	m->pre = mllama_table(m, &l, d, "pre_tile_positional_embedding.embedding", "pre_tile_positional_embedding.gate");
	m->post = mllama_table(m, &l, d, "post_tile_positional_embedding.embedding", "post_tile_positional_embedding.gate");
	m->norm_pre = mllama_norm(m, &l, "layernorm_pre");
	m->norm_post = mllama_norm(m, &l, "layernorm_post");
	m->positions = positions && !error->code ? nn_weight_f32(m->checkpoint, positions) : NULL;
	if (!error->code && !m->positions)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	m->local.weight_bytes += patches && positions ? patches->bytes + positions->bytes : 0;
	if (!error->code && !tower_load(&m->local, &l))
		mllama_load_global(m, &l);
	return error->code;
}

/* The directory's, if it is of this kind; else the reference's, with the tower's sizes. */
static int mllama_processor(struct mllama *m, struct nn_error *error)
{
	struct nn_image_processor *p = &m->processor;
	char usual[192];

	snprintf(usual, sizeof(usual), "{\"image_processor_type\": \"MllamaImageProcessor\", \"size\": {\"height\": %u, \"width\": %u}, "
		 "\"max_image_tiles\": %u}", m->image_size, m->image_size, m->tiles);
	if (nn_image_processor_load(p, nn_checkpoint_path(m->checkpoint), m->image_size, error))
		return error->code;
	if (!nn_tiles_are_canvases(p) && nn_image_processor_parse(p, usual, strlen(usual), m->image_size, error))
		return error->code;
	if (p->tile != m->image_size || nn_tiles_most(p) != m->tiles)
		return nn_fail(error, -EINVAL, "preprocessor_config.json: up to %u tiles of %u pixels are not config.json's %u of %u.",
			       nn_tiles_most(p), p->tile, m->tiles, m->image_size);
	return 0;
}

int mllama_init(struct mllama *m, const char *path, int before, enum nn_compute how, struct nn_error *error)
{
	m->checkpoint = nn_checkpoint_open(path, error);
	if (!m->checkpoint)
		return error->code ? error->code : -EINVAL;
	nn_checkpoint_compute(m->checkpoint, how);
	if (mllama_configure(m, before, error) || mllama_load(m, error))
		return error->code;
	return mllama_processor(m, error);
}

void mllama_fini(struct mllama *m)
{
	tower_fini(&m->local);
	tower_fini(&m->global);
	nn_checkpoint_close(m->checkpoint);
}
