/* deepseek2.c - DeepSeek-V2 (DeepSeek-AI 2024): keys and values from one narrow vector a row (multi-head latent attention),
 * positions in a part of q and k of their own, experts of which some all rows have. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "plugins/decoders/causal/families/families.h"

/* Sizes of a head: its part without positions, its part with them, its value. */
struct heads {
	uint32_t plain, rope, value, n;
};

static struct heads deepseek2_heads(const struct model *m)
{
	const struct shape *s = &m->shape;

	return (struct heads){ s->head_dim - s->rope_dim, s->rope_dim, s->v_dim, s->n_heads };
}

/* Both make the scores of a stretched context sharper: mscale_all_dim, and GGUF's a tenth of it. */
static float deepseek2_scale(const struct model *m, const cJSON *config, struct nn_error *error)
{
	const cJSON *scaling = model_rope_scaling(m, config);
	const double factor = nn_config_real(scaling, "factor|rope.scaling.factor", 1, error);
	const double all = nn_config_real(scaling, "mscale_all_dim", 0, error) * 0.1;
	const double sharp = 1 + nn_config_real(scaling, "rope.scaling.yarn_log_multiplier", all, error) * log(factor > 1 ? factor : 1);

	return (float)(sharp * sharp / sqrt(m->shape.head_dim));
}

static int deepseek2_experts(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct mixture *x = &m->mixture;
	const char *method = nn_config_string(config, "topk_method", "greedy");

	if (model_mixture(m, config, error))
		return error->code;
	x->shared_ff = (uint32_t)nn_config_int(config, "n_shared_experts|expert_shared_count", 0, 0, 1024, error) * x->d_ff;
	x->scale = (float)nn_config_real(config, "routed_scaling_factor|expert_weights_scale", 1, error);
	x->scale = x->scale == 0 ? 1 : x->scale;
	x->normed = nn_config_bool(config, "expert_weights_norm", 0, error);
	if (!strcmp(method, "group_limited_greedy") || cJSON_HasObjectItem(config, "expert_group_count")) {
		x->groups = model_int(config, "n_group|expert_group_count", 1, 4096, error);
		x->groups_used = model_int(config, "topk_group|expert_group_used_count", x->groups, 4096, error);
	}
	if (!error->code && (x->groups_used > x->groups || (x->n && x->n % x->groups)))
		return nn_fail(error, -EINVAL, "config.json: %u experts cannot lie in %u groups.", x->n, x->groups);
	return error->code;
}

static int deepseek2_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const uint32_t plain = model_int(config, "qk_nope_head_dim", 128, 4096, error);

	s->rope_dim = model_int(config, "qk_rope_head_dim|rope.dimension_count", 64, 4096, error);
	s->head_dim = m->gguf ? model_int(config, "attention.key_length_mla|attention.key_length", 192, 4096, error) :
				plain + s->rope_dim;
	s->v_dim = model_int(config, "v_head_dim|attention.value_length_mla|attention.value_length", 128, 4096, error);
	s->rope_interleaved = 1;
	s->n_kv_heads = s->n_heads;
	if (error->code)
		return error->code;
	if (s->rope_dim >= s->head_dim)
		return nn_fail(error, -EINVAL, "config.json: a head of %u values cannot rotate %u.", s->head_dim, s->rope_dim);
	s->attention_scale = deepseek2_scale(m, config, error);
	return deepseek2_experts(m, config, error);
}

/* Newer GGUF files hold the two halves of kv_up apart, the keys' turned: (heads, rank, plain) and (heads, value, rank). */
static struct nn_weight *deepseek2_join(struct model *m, const struct heads *h, size_t rank, uint32_t i)
{
	struct nn_weight *k = model_weight(m, h->n, rank * h->plain, "attn_k_b.weight", i);
	struct nn_weight *v = model_weight(m, h->n, (size_t)h->value * rank, "attn_v_b.weight", i);
	const float *kf = k ? nn_weight_f32(m->checkpoint, k) : NULL, *vf = v ? nn_weight_f32(m->checkpoint, v) : NULL;
	const size_t rows = (size_t)h->plain + h->value;
	float *f = kf && vf ? nn_checkpoint_alloc(m->checkpoint, h->n * rows * rank * sizeof(*f)) : NULL;
	struct nn_weight *w = f ? nn_checkpoint_alloc(m->checkpoint, sizeof(*w)) : NULL;

	if (!w)
		return NULL;
	*w = (struct nn_weight){ .name = k->name, .data = f, .bytes = h->n * rows * rank * sizeof(*f), .type = NN_F32, .rank = 2,
				 .shape = { h->n * rows, rank }, .rows = h->n * rows, .cols = rank, .file = k->file };
	for (size_t n = 0; n < h->n; n++, f += rows * rank) {
		for (size_t p = 0; p < h->plain; p++)
			for (size_t r = 0; r < rank; r++)
				f[p * rank + r] = kf[(n * rank + r) * h->plain + p];
		memcpy(f + h->plain * rank, vf + n * h->value * rank, h->value * rank * sizeof(*f));
	}
	return w;
}

static void deepseek2_attention(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	const struct heads h = deepseek2_heads(m);
	struct nn_weight *down = model_weight(m, 0, s->d_model, "attn_kv_a_mqa.weight", i);
	struct nn_weight *q_down = model_weight_maybe(m, 0, s->d_model, "attn_q_a.weight", i);

	if (!down || down->rows <= h.rope) {
		nn_fail(m->body.error, -EINVAL, "The keys' and values' projection of layer %u is too narrow.", i);
		return;
	}
	const size_t rank = down->rows - h.rope;
	struct nn_weight *up = model_weight_maybe(m, h.n * ((size_t)h.plain + h.value), rank, "attn_kv_b.weight", i);

	layer->kv_down = model_pack(m, down);
	layer->kv_down_norm = model_norm(m, rank, "attn_kv_a_norm", i);
	layer->kv_up = model_pack(m, up ? up : deepseek2_join(m, &h, rank, i));
	if (q_down) {
		layer->q_down = model_pack(m, q_down);
		layer->q_down_norm = model_norm(m, q_down->rows, "attn_q_a_norm", i);
		layer->q = model_matrix(m, s->q_dim, q_down->rows, "attn_q_b.weight", i);
	} else {
		layer->q = model_matrix(m, s->q_dim, s->d_model, "attn_q.weight", i);
	}
	layer->o = model_matrix(m, s->d_model, (size_t)h.n * h.value, "attn_output.weight", i);
}

static void deepseek2_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	deepseek2_attention(m, layer, i);
	block_mixture(m, layer, i);
}

/* The rotated parts of heads of `head` values, which lie behind `plain` others, as rows of their own: (T * heads, rope). */
static void deepseek2_rotate(struct nn *c, const struct model *m, struct nn_tensor x, size_t head, size_t plain, size_t heads,
			     const int32_t *position)
{
	for (size_t i = 0; i < heads && !c->error; i++)
		nn_rope(c, nn_cols(x, i * head + plain, m->shape.rope_dim), position, 1, &m->rope[0]);
}

/* eq. 9 to 19: c = down x; [k; v] of each head = up norm(c); all heads' keys end with the same rotated part. */
static void deepseek2_project(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x,
			      const int32_t *position, struct nn_tensor qkv[3])
{
	const struct shape *s = &m->shape;
	const struct heads h = deepseek2_heads(m);
	struct nn_tensor low = nn_linear(c, x, layer->kv_down, NULL);
	const size_t rank = layer->kv_up->cols;
	struct nn_tensor both = nn_linear(c, nn_rms_norm(c, nn_cols(low, 0, rank), layer->kv_down_norm.w, s->norm_eps),
					  layer->kv_up, NULL);

	if (layer->q_down)
		x = nn_rms_norm(c, nn_linear(c, x, layer->q_down, NULL), layer->q_down_norm.w, s->norm_eps);
	qkv[0] = nn_linear(c, x, layer->q, NULL);
	qkv[1] = nn_new(c, low.rows, (size_t)h.n * s->head_dim);
	qkv[2] = nn_new(c, low.rows, (size_t)h.n * h.value);
	deepseek2_rotate(c, m, qkv[0], s->head_dim, h.plain, h.n, position);
	deepseek2_rotate(c, m, low, low.cols, rank, 1, position);
	for (size_t t = 0; !c->error && t < low.rows; t++) {
		const float *from = both.data + t * both.stride, *turned = low.data + t * low.stride + rank;
		float *k = qkv[1].data + t * qkv[1].stride, *v = qkv[2].data + t * qkv[2].stride;

		for (size_t n = 0; n < h.n; n++, from += h.plain + h.value, k += s->head_dim, v += h.value) {
			memcpy(k, from, h.plain * sizeof(*k));
			memcpy(k + h.plain, turned, h.rope * sizeof(*k));
			memcpy(v, from + h.plain, h.value * sizeof(*v));
		}
	}
}

static const char *const types[] = { "deepseek_v2", "deepseek2", NULL };
static const char *const classes[] = { "DeepseekV2ForCausalLM", "DeepseekV2Model", NULL };
const struct family family_deepseek2 = {
	.name = "deepseek_v2", .types = types, .classes = classes, .configure = deepseek2_configure,
	.load = deepseek2_load, .project = deepseek2_project, .mlp = mixture_layer,
};
