/* models-convert-values.c - hyper-parameters: config.json's keys as GGUF's. */
#include "sdk/tool/models-convert.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum value_type { VALUE_WHOLE, VALUE_REAL, VALUE_FLAG };

/* What is written if the configuration has it. */
static const struct convert_value {
	const char *key;
	enum value_type type;
	const char *names;
} convert_table[] = {
	{"context_length", VALUE_WHOLE, "max_position_embeddings|n_positions|n_ctx|max_seq_len"},
	{"expert_count", VALUE_WHOLE, "num_local_experts|num_experts"},
	{"expert_used_count", VALUE_WHOLE, "num_experts_per_tok"},
	{"expert_feed_forward_length", VALUE_WHOLE, "moe_intermediate_size"},
	{"expert_shared_feed_forward_length", VALUE_WHOLE, "shared_expert_intermediate_size"},
	{"expert_weights_norm", VALUE_FLAG, "norm_topk_prob"},
	{"attn_logit_softcapping", VALUE_REAL, "attn_logit_softcapping"},
	{"final_logit_softcapping", VALUE_REAL, "final_logit_softcapping"},
	{"query_pre_attn_scalar", VALUE_REAL, "query_pre_attn_scalar"},
};

static const char *convert_key(const struct convert *c, const char *suffix, char key[CONVERT_KEY])
{
	snprintf(key, CONVERT_KEY, "%s.%s", c->family->arch, suffix);
	return key;
}

static void put_whole(struct convert *c, const char *suffix, uint32_t value)
{
	char key[CONVERT_KEY];
	nn_gguf_write_u32(&c->out, convert_key(c, suffix, key), value);
}

static void put_real(struct convert *c, const char *suffix, double value)
{
	char key[CONVERT_KEY];
	nn_gguf_write_f32(&c->out, convert_key(c, suffix, key), (float)value);
}

static void put_text(struct convert *c, const char *suffix, const char *value)
{
	char key[CONVERT_KEY];
	nn_gguf_write_text(&c->out, convert_key(c, suffix, key), value, strlen(value));
}

static uint32_t convert_whole(struct convert *c, const char *names, uint32_t fallback)
{
	return (uint32_t)nn_config_int(c->config, names, fallback, 0, INT32_MAX, &c->error);
}

/* NaN where the object does not say. */
static double convert_real(struct convert *c, const cJSON *object, const char *names)
{
	return nn_config_real(object, names, NAN, &c->error);
}

enum { CONVERT_THETA_GROUPED = 500000 };

/* Heads of keys that a matrix of q, k and v has rows for. */
static uint32_t convert_fused_heads(struct convert *c)
{
	const struct nn_tensor_name *name = nn_names_find(c->family->names, "attn_qkv", strlen("attn_qkv"));
	char hf[NN_NAMES_MAX], full[NN_NAMES_MAX + 8];
	nn_names_write(name->hf, 0, 0, ".weight", hf);
	snprintf(full, sizeof full, "model.%s", hf);
	const struct nn_weight *w = nn_checkpoint_weight(c->checkpoint, full);
	const size_t head = c->heads && c->heads <= c->width ? c->width / c->heads : 0, heads = w && head ? w->rows / head : 0;
	return heads > c->heads && heads <= 3 * (size_t)c->heads ? (uint32_t)(heads - c->heads) / 2 : c->heads;
}

int convert_sizes(struct convert *c)
{
	c->layers = convert_whole(c, "num_hidden_layers|n_layer|n_layers", 0);
	c->experts = convert_whole(c, "num_local_experts|num_experts", 0);
	c->width = convert_whole(c, "hidden_size|n_embd|d_model", 0);
	c->heads = convert_whole(c, "num_attention_heads|n_head|n_heads", 0);
	c->kv_heads = convert_whole(c, "num_multi_query_heads|num_key_value_heads",
				    c->family->traits & CONVERT_FUSED ? convert_fused_heads(c) : c->heads);
	if (c->error.code)
		return c->error.code;
	if (!c->layers || c->layers > 4096 || c->experts > 4096 || !c->width || !c->heads || c->heads > 1 << 16 || !c->kv_heads)
		return nn_fail(&c->error, -EINVAL, "%s: config.json must say layers, width and heads.", c->path);
	return 0;
}

static uint32_t convert_head_dim(struct convert *c)
{
	const uint32_t fallback = c->family->head_dim ? c->family->head_dim : c->width / c->heads;
	return convert_whole(c, "head_dim", fallback);
}

static void convert_optional(struct convert *c)
{
	for (size_t i = 0; i < sizeof convert_table / sizeof *convert_table; i++) {
		const struct convert_value *v = &convert_table[i];
		char key[CONVERT_KEY];
		const double value = v->type == VALUE_FLAG ? nn_config_bool(c->config, v->names, -1, &c->error) :
							     convert_real(c, c->config, v->names);
		if (isnan(value) || (v->type == VALUE_FLAG && value < 0))
			continue;
		if (v->type == VALUE_WHOLE)
			put_whole(c, v->key, convert_whole(c, v->names, 0));
		else if (v->type == VALUE_REAL)
			put_real(c, v->key, value);
		else
			nn_gguf_write_bool(&c->out, convert_key(c, v->key, key), value != 0);
	}
}

/* Gemma 3: which layers have the window, where that is not all but each sixth. */
static void convert_pattern(struct convert *c)
{
	const cJSON *types = cJSON_GetObjectItemCaseSensitive(c->config, "layer_types"), *type;
	const uint32_t every = convert_whole(c, "sliding_window_pattern|_sliding_window_pattern", 6);
	const int listed = cJSON_IsArray(types) && cJSON_GetArraySize(types) == (int)c->layers;
	unsigned char slides[4096]; /* as many as convert_sizes() allows */
	int usual = 1;
	uint32_t n = 0;
	for (; n < c->layers; n++)
		slides[n] = !every || (n + 1) % every != 0;
	n = 0;
	for (type = listed ? types->child : NULL; type; type = type->next)
		slides[n++] = strcmp(cJSON_IsString(type) ? type->valuestring : "", "sliding_attention") == 0;
	for (n = 0; n < c->layers; n++)
		usual &= slides[n] == ((n + 1) % 6 != 0);
	char key[CONVERT_KEY];
	if (usual)
		return;
	nn_gguf_write_array(&c->out, convert_key(c, "attention.sliding_window_pattern", key), NN_GGUF_BOOL, c->layers);
	nn_gguf_write_bytes(&c->out, slides, c->layers);
}

/* A window that the file's family knows of. */
static void convert_window(struct convert *c)
{
	const int used = nn_config_bool(c->config, "use_sliding_window", 1, &c->error);
	const uint32_t window = used ? convert_whole(c, "sliding_window", 0) : 0;
	if (strcmp(c->family->arch, "llama") == 0 || strcmp(c->family->arch, "qwen2vl") == 0) {
		if (window)
			tool_say(c->tool, 0, "GGUF's %s family has no sliding window: beyond %u tokens answers will differ.", c->family->arch, window);
	} else if (window || (c->family->traits & CONVERT_LONGROPE)) {
		put_whole(c, "attention.sliding_window", window);
		if (strcmp(c->family->arch, "gemma3") == 0)
			convert_pattern(c);
	}
}

/* Llama 3.1: what each frequency is divided by. */
static void convert_llama3(struct convert *c, const cJSON *scaling, double theta, uint32_t half)
{
	struct convert_extra *x = &c->extras[c->n_extras++];
	const double factor = nn_config_real(scaling, "factor", 8, &c->error);
	const double low = nn_config_real(scaling, "low_freq_factor", 1, &c->error);
	const double high = nn_config_real(scaling, "high_freq_factor", 4, &c->error);
	const double trained = nn_config_real(scaling, "original_max_position_embeddings", 8192, &c->error);
	x->name = "rope_freqs.weight";
	x->n = half;
	for (uint32_t i = 0; i < half; i++) {
		const double turns = trained * pow(theta, -(double)i / half) / (2 * acos(-1)), blend = (turns - low) / (high - low);
		x->values[i] = turns <= low ? (float)factor : turns < high ? (float)(1 / ((1 - blend) / factor + blend)) : 1;
	}
}

static int convert_factors(struct convert *c, const cJSON *scaling, const char *from, const char *name, uint32_t half)
{
	struct convert_extra *x = &c->extras[c->n_extras++];
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(scaling, from), *item;
	x->name = name;
	if (cJSON_GetArraySize(list) != (int)half)
		return nn_fail(&c->error, -EINVAL, "%s: config.json: \"%s\" must hold %u numbers.", c->path, from, half);
	cJSON_ArrayForEach(item, list)
		x->values[x->n++] = (float)item->valuedouble;
	return 0;
}

static int convert_longrope(struct convert *c, const cJSON *scaling, uint32_t half)
{
	const uint32_t context = convert_whole(c, "max_position_embeddings", 0);
	const uint32_t trained = convert_whole(c, "original_max_position_embeddings", context);
	const double factor = trained ? (double)context / trained : 1;
	const double attention = factor > 1 ? sqrt(1 + log(factor) / log(trained)) : 1;
	put_real(c, "rope.scaling.attn_factor", nn_config_real(scaling, "attention_factor", attention, &c->error));
	if (convert_factors(c, scaling, "long_factor", "rope_factors_long.weight", half))
		return c->error.code;
	return convert_factors(c, scaling, "short_factor", "rope_factors_short.weight", half);
}

static int convert_scaling(struct convert *c, const cJSON *scaling, double theta, uint32_t half)
{
	const char *type = nn_config_string(scaling, "rope_type|type", "default");
	const double trained = convert_real(c, scaling, "original_max_position_embeddings");
	if (strcmp(type, "llama3") == 0)
		convert_llama3(c, scaling, theta, half);
	else if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
		return convert_longrope(c, scaling, half);
	else if (strcmp(type, "linear") == 0 || strcmp(type, "yarn") == 0) {
		put_text(c, "rope.scaling.type", type);
		put_real(c, "rope.scaling.factor", nn_config_real(scaling, "factor", 1, &c->error));
		if (!isnan(trained) && trained >= 1 && trained <= INT32_MAX)
			put_whole(c, "rope.scaling.original_context_length", (uint32_t)trained);
	} else if (strcmp(type, "default") != 0 && strcmp(type, "dynamic") != 0 && strcmp(type, "mrope") != 0)
		return nn_fail(&c->error, -ENOTSUP, "%s: GGUF files have no positions of the type \"%.64s\".", c->path, type);
	return c->error.code;
}

/* Qwen2-VL: how many frequencies turn by time, row and column. */
static int convert_sections(struct convert *c, const cJSON *scaling)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(scaling, "mrope_section"), *item;
	static const int32_t usual[] = {16, 24, 24};
	int32_t sections[4] = {0};
	char key[CONVERT_KEY];
	size_t n = 0;
	if (list && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 3))
		return nn_fail(&c->error, -EINVAL, "%s: config.json: \"mrope_section\" must hold three numbers.", c->path);
	cJSON_ArrayForEach(item, list)
		sections[n++] = item->valueint;
	nn_gguf_write_array(&c->out, convert_key(c, "rope.dimension_sections", key), NN_GGUF_I32, 4);
	nn_gguf_write_bytes(&c->out, list ? sections : usual, 3 * sizeof *sections);
	nn_gguf_write_bytes(&c->out, &sections[3], sizeof *sections);
	return 0;
}

static int convert_rope(struct convert *c, uint32_t head_dim)
{
	const cJSON *scaling = nn_config_object(c->config, "rope_parameters|rope_scaling");
	const cJSON *full = nn_config_object(scaling, "full_attention"), *local = nn_config_object(scaling, "sliding_attention");
	const double share = nn_config_real(c->config, "partial_rotary_factor",
					    nn_config_real(scaling, "partial_rotary_factor", 1, &c->error), &c->error);
	const int slow = (c->family->traits & CONVERT_FUSED) && c->kv_heads < c->heads;
	const double plain = nn_config_real(c->config, "rope_theta", slow ? CONVERT_THETA_GROUPED : c->family->theta, &c->error);
	const uint32_t turned = share > 0 && share <= 1 ? (uint32_t)(head_dim * share) / 2 * 2 : head_dim;
	scaling = full ? full : scaling;
	const double theta = nn_config_real(scaling, "rope_theta", plain, &c->error);
	if (turned / 2 > sizeof c->extras[0].values / sizeof *c->extras[0].values)
		return nn_fail(&c->error, -EINVAL, "%s: config.json: heads of %u values are too large.", c->path, head_dim);
	put_real(c, "rope.freq_base", theta);
	if (strcmp(c->family->arch, "qwen2vl") == 0 && convert_sections(c, scaling))
		return c->error.code;
	put_whole(c, "rope.dimension_count", turned);
	if (strcmp(c->family->arch, "gemma3") == 0)
		put_real(c, "rope.freq_base_swa",
			 nn_config_real(local, "rope_theta", nn_config_real(c->config, "rope_local_base_freq", 10000, &c->error), &c->error));
	if (c->family->traits & CONVERT_LONGROPE)
		put_whole(c, "rope.scaling.original_context_length",
			  convert_whole(c, "original_max_position_embeddings", convert_whole(c, "max_position_embeddings", 0)));
	return convert_scaling(c, scaling, theta, turned / 2);
}

/* MPT: distances lower the scores instead. */
static void convert_alibi(struct convert *c)
{
	const cJSON *attention = nn_config_object(c->config, "attn_config");
	const double clip = convert_real(c, attention, "clip_qkv");
	put_real(c, "attention.max_alibi_bias", nn_config_real(attention, "alibi_bias_max", 8, &c->error));
	if (!isnan(clip))
		put_real(c, "attention.clamp_kqv", clip);
}

int convert_values(struct convert *c)
{
	const uint32_t head_dim = convert_head_dim(c);
	put_whole(c, "block_count", c->layers);
	put_whole(c, "embedding_length", c->width);
	put_whole(c, "feed_forward_length", convert_whole(c, "intermediate_size|n_inner", c->width <= INT32_MAX / 4 ? 4 * c->width : 0));
	put_whole(c, "attention.head_count", c->heads);
	put_whole(c, "attention.head_count_kv", c->kv_heads);
	put_whole(c, "attention.key_length", head_dim);
	put_whole(c, "attention.value_length", head_dim);
	put_whole(c, "vocab_size", (uint32_t)c->rows);
	put_real(c, c->family->eps, nn_config_real(c->config, "rms_norm_eps|layer_norm_epsilon", c->family->eps_fallback, &c->error));
	convert_optional(c);
	convert_window(c);
	if (strcmp(c->family->arch, "mpt") == 0)
		convert_alibi(c);
	return c->family->traits & CONVERT_NO_ROPE ? c->error.code : convert_rope(c, head_dim);
}
