/* load.c - the layers' numbers and weights, from a bundle's files. */
#include "plugins/connectors/cross_attention/cross.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CROSS_DIM_MAX = 1 << 20, CROSS_LAYERS_MAX = 4096 };

static const char *const cross_prefixes[] = { "language_model.model.", "model.language_model.", "model.", "", NULL };
static const char *const projector_prefixes[] = { "", "model.", NULL };

/* Where config.json leaves the list out. */
static const uint32_t cross_usual[] = { 3, 8, 13, 18, 23, 28, 33, 38 };

static uint32_t cross_int(const cJSON *config, const char *names, int64_t fallback, int64_t most, struct nn_error *error)
{
	return (uint32_t)nn_config_int(config, names, fallback, 1, most, error);
}

static int cross_numbers(struct cross *x, const cJSON *root, const cJSON *config, struct nn_error *error)
{
	const cJSON *vision = nn_config_object(root, "vision_config");
	const cJSON *states = cJSON_GetObjectItemCaseSensitive(vision, "intermediate_layers_indices");
	const int act = nn_activation_named(nn_config_string(config, "hidden_act", "silu"));
	const int64_t maps = cJSON_IsArray(states) ? 1 + cJSON_GetArraySize(states) : 6;

	x->d_model = cross_int(config, "hidden_size", 4096, CROSS_DIM_MAX, error);
	x->d_ff = cross_int(config, "intermediate_size", 14336, CROSS_DIM_MAX, error);
	x->n_heads = cross_int(config, "num_attention_heads", 32, CROSS_DIM_MAX, error);
	x->n_kv_heads = cross_int(config, "num_key_value_heads", 8, CROSS_DIM_MAX, error);
	x->in_dim = cross_int(vision, "vision_output_dim", maps * cross_int(vision, "hidden_size", 1280, CROSS_DIM_MAX, error), INT32_MAX,
			      error);
	x->eps = (float)nn_config_real(config, "rms_norm_eps", 1e-5, error);
	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.",
			       nn_config_string(config, "hidden_act", "silu"));
	x->activation = (enum nn_activation)act;
	x->head_dim = x->d_model / x->n_heads;
	if (!x->head_dim || x->d_model % x->n_heads || x->head_dim > NN_HEAD - CROSS_MORE || x->n_heads % x->n_kv_heads ||
	    !(x->eps >= 0 && isfinite(x->eps)))
		return nn_fail(error, -EINVAL, "config.json: a hidden size of %u is not made of %u heads of at most %d, or they cannot share "
			       "%u key-value heads, or \"rms_norm_eps\" is out of range.", x->d_model, x->n_heads, NN_HEAD - CROSS_MORE,
			       x->n_kv_heads);
	return 0;
}

/* crosses [n]: 1 where layer i of the file is one of these; how many are. 0 with error->code. */
static uint32_t cross_find(const cJSON *list, unsigned char *crosses, uint32_t n, struct nn_error *error)
{
	const cJSON *item;
	uint32_t count = 0;

	for (size_t i = 0; (!list || cJSON_IsNull(list)) && i < sizeof(cross_usual) / sizeof(cross_usual[0]); i++)
		if (cross_usual[i] < n)
			count += crosses[cross_usual[i]] = 1;
	if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
		nn_fail(error, -EINVAL, "config.json: \"cross_attention_layers\" must be a list of layers.");
	cJSON_ArrayForEach(item, list) {
		const double at = cJSON_IsNumber(item) ? item->valuedouble : NAN;

		if (!(at >= 0 && at < n) || at != floor(at) || crosses[(uint32_t)at]) {
			nn_fail(error, -EINVAL, "config.json: \"cross_attention_layers\" must be different layers below %u.", n);
			return 0;
		}
		count += crosses[(uint32_t)at] = 1;
	}
	if (!error->code && (!count || count == n))
		nn_fail(error, -EINVAL, "config.json: %u of %u layers are \"cross_attention_layers\".", count, n);
	return count;
}

/* A matrix for rows of decoders: packed for nn_linear(). */
static const struct nn_weight *cross_matrix(struct cross *x, struct nn_loader *l, size_t rows, size_t cols, const char *name, uint32_t i)
{
	struct nn_weight *w = nn_load(l, rows, cols, "layers.%u.%s.weight", i, name);

	nn_weight_pack(l->checkpoint, w, l->error);
	x->weight_bytes += w ? w->bytes : 0;
	return w;
}

static float cross_gate(struct nn_loader *l, const char *name, uint32_t i)
{
	const float *gate = nn_load_vector(l, 1, "layers.%u.%s", i, name);

	return gate ? tanhf(*gate) : 0;
}

/* Layer i of the file, but for what makes keys and values. */
static void cross_load_layer(struct cross *x, struct nn_loader *l, struct cross_layer *layer, uint32_t i)
{
	const size_t d = x->d_model, q = (size_t)x->n_heads * x->head_dim;

	layer->norm1 = nn_load_vector(l, d, "layers.%u.input_layernorm.weight", i);
	layer->norm2 = nn_load_vector(l, d, "layers.%u.post_attention_layernorm.weight", i);
	layer->q_norm = nn_load_vector(l, x->head_dim, "layers.%u.cross_attn.q_norm.weight", i);
	layer->k_norm = nn_load_vector(l, x->head_dim, "layers.%u.cross_attn.k_norm.weight", i);
	layer->q = cross_matrix(x, l, q, d, "cross_attn.q_proj", i);
	layer->out = cross_matrix(x, l, d, q, "cross_attn.o_proj", i);
	layer->gate = cross_matrix(x, l, x->d_ff, d, "mlp.gate_proj", i);
	layer->up = cross_matrix(x, l, x->d_ff, d, "mlp.up_proj", i);
	layer->down = cross_matrix(x, l, d, x->d_ff, "mlp.down_proj", i);
	layer->attend = cross_gate(l, "cross_attn_attn_gate", i);
	layer->feed = cross_gate(l, "cross_attn_mlp_gate", i);
}

/* What is done once for an item, by nn_gemm(). */
static void cross_load_memory(struct cross *x, struct nn_loader *l, const unsigned char *crosses, uint32_t n, enum nn_compute how)
{
	struct nn_loader p = { .checkpoint = l->checkpoint, .prefixes = projector_prefixes, .error = l->error };
	const size_t kv = (size_t)x->n_kv_heads * x->head_dim;
	uint32_t c = 0;

	nn_checkpoint_compute(l->checkpoint, how);
	struct nn_weight *w = nn_load(&p, x->d_model, x->in_dim, "multi_modal_projector.weight");

	nn_weight_pack(l->checkpoint, w, l->error);
	x->weight_bytes += w ? w->bytes : 0;
	x->projector = w;
	x->projector_bias = nn_load_vector(&p, x->d_model, "multi_modal_projector.bias");
	for (uint32_t i = 0; i < n && !l->error->code; i++) {
		if (!crosses[i])
			continue;
		x->layers[c].k = cross_matrix(x, l, kv, x->d_model, "cross_attn.k_proj", i);
		x->layers[c++].v = cross_matrix(x, l, kv, x->d_model, "cross_attn.v_proj", i);
	}
}

int cross_load(struct cross *x, const char *path, enum nn_compute how, struct nn_error *error)
{
	x->checkpoint = nn_checkpoint_open(path, error);
	if (!x->checkpoint)
		return error->code ? error->code : -EINVAL;
	const cJSON *root = nn_checkpoint_config(x->checkpoint), *inner = nn_config_object(root, "text_config");
	const cJSON *config = inner ? inner : root;
	struct nn_loader l = { .checkpoint = x->checkpoint, .prefixes = cross_prefixes, .error = error };
	const char *type = nn_config_string(config, "model_type", "mllama");

	if (strncmp(type, "mllama", strlen("mllama")))
		return nn_fail(error, -ENOTSUP, "config.json: \"%.64s\" is not Llama 3.2 Vision, whose layers these are.", type);
	if (cross_numbers(x, root, config, error))
		return error->code;
	const uint32_t n = cross_int(config, "num_hidden_layers", 40, CROSS_LAYERS_MAX, error);
	unsigned char *crosses = error->code ? NULL : nn_checkpoint_alloc(x->checkpoint, n);

	if (!crosses)
		return error->code ? error->code : nn_fail(error, -ENOMEM, "Memory is out.");
	memset(crosses, 0, n);
	x->n_cross = cross_find(cJSON_GetObjectItemCaseSensitive(config, "cross_attention_layers"), crosses, n, error);
	x->layers = error->code ? NULL : calloc(x->n_cross, sizeof(*x->layers));
	if (!x->layers)
		return error->code ? error->code : nn_fail(error, -ENOMEM, "Memory is out.");
	x->n_layers = n - x->n_cross;
	for (uint32_t i = 0, c = 0; i < n && !error->code; i++) {
		if (!crosses[i])
			continue;
		x->layers[c].before = i - c;
		cross_load_layer(x, &l, &x->layers[c++], i);
	}
	if (!error->code)
		cross_load_memory(x, &l, crosses, n, how);
	return error->code;
}
