/* mmproj.c - reading what a picture tower's GGUF file says, with every number checked against what the file holds. */
#include "sdk/nn/mmproj.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { MMPROJ_SIDE_MOST = 1 << 14, MMPROJ_WIDTH_MOST = 1 << 18, MMPROJ_LAST_MOST = 16 };

/* One reading; the first wrong thing is the error. */
struct mmproj_reader {
	struct nn_mmproj *m;
	const char *path;
	struct nn_error *error;
};

static int mmproj_text_is(const struct nn_gguf *g, const char *key, const char *want)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);

	if (!v || v->is_array || v->type != NN_GGUF_STRING)
		return 0;
	const unsigned char *at = v->data;
	const struct nn_gguf_text text = nn_gguf_next_text(&at);

	return text.n == strlen(want) && !memcmp(text.bytes, want, text.n);
}

int nn_mmproj_is(const struct nn_gguf *g)
{
	return mmproj_text_is(g, "general.architecture", "clip");
}

const struct nn_gguf_tensor *nn_mmproj_tensor(const struct nn_gguf *g, const char *name)
{
	const size_t n = strlen(name);

	for (uint64_t i = 0; i < g->n_tensors; i++)
		if (g->tensors[i].name.n == n && !memcmp(g->tensors[i].name.bytes, name, n))
			return &g->tensors[i];
	return NULL;
}

/* ---- values ---- */

static int mmproj_flag(const struct nn_gguf *g, const char *key, int fallback)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);

	return v && !v->is_array && v->type != NN_GGUF_STRING ? nn_gguf_number(v, 0) != 0 : fallback;
}

/* Numbers; those that need not be there are 0 without. */
static const struct mmproj_number {
	const char *key;
	size_t offset;
	double min, max;
	int needed;
} mmproj_numbers[] = {
	{ "clip.vision.embedding_length", offsetof(struct nn_mmproj, width), 1, MMPROJ_WIDTH_MOST, 1 },
	{ "clip.vision.attention.head_count", offsetof(struct nn_mmproj, heads), 1, 1 << 16, 1 },
	{ "clip.vision.block_count", offsetof(struct nn_mmproj, blocks), 1, NN_MMPROJ_LAYERS, 1 },
	{ "clip.vision.image_size", offsetof(struct nn_mmproj, image_size), 1, MMPROJ_SIDE_MOST, 1 },
	{ "clip.vision.patch_size", offsetof(struct nn_mmproj, patch_size), 1, MMPROJ_SIDE_MOST, 1 },
	{ "clip.vision.spatial_merge_size", offsetof(struct nn_mmproj, merge), 1, 64, 0 },
	{ "clip.vision.projector.scale_factor", offsetof(struct nn_mmproj, scale), 1, 64, 0 },
	{ "clip.vision.preproc_image_size", offsetof(struct nn_mmproj, preproc_size), 1, MMPROJ_SIDE_MOST, 0 },
	{ "clip.vision.n_wa_pattern", offsetof(struct nn_mmproj, pattern), 1, NN_MMPROJ_LAYERS, 0 },
	{ "clip.vision.window_size", offsetof(struct nn_mmproj, window), 1, MMPROJ_SIDE_MOST, 0 },
	{ "clip.vision.preproc_min_tiles", offsetof(struct nn_mmproj, tiles_least), 1, 63, 0 },
	{ "clip.vision.preproc_max_tiles", offsetof(struct nn_mmproj, tiles_most), 1, 63, 0 },
	{ "clip.vision.image_min_pixels", offsetof(struct nn_mmproj, min_pixels), 1, 1 << 28, 0 },
	{ "clip.vision.image_max_pixels", offsetof(struct nn_mmproj, max_pixels), 1, 1 << 28, 0 },
};

static int mmproj_read_numbers(struct mmproj_reader *r)
{
	for (size_t i = 0; i < sizeof(mmproj_numbers) / sizeof(mmproj_numbers[0]); i++) {
		const struct mmproj_number *n = &mmproj_numbers[i];
		const struct nn_gguf_value *v = nn_gguf_value(r->m->g, n->key);
		const double x = v && !v->is_array && v->type != NN_GGUF_STRING ? nn_gguf_number(v, 0) : NAN;

		if (!v && !n->needed)
			continue;
		if (!(x >= n->min && x <= n->max) || x != floor(x))
			return nn_fail(r->error, -EINVAL, "%s: \"%s\" is %s; a whole number from %.0f to %.0f is needed.", r->path,
				       n->key, v ? "out of range" : "missing", n->min, n->max);
		*(uint32_t *)(void *)((char *)r->m + n->offset) = (uint32_t)x;
	}
	return 0;
}

static int mmproj_read_colours(struct mmproj_reader *r, const char *key, double least, double colours[3])
{
	const struct nn_gguf_value *v = nn_gguf_value(r->m->g, key);

	for (uint64_t i = 0; i < 3; i++) {
		if (!v || !v->is_array || v->type == NN_GGUF_STRING || v->n < 3)
			return nn_fail(r->error, -EINVAL, "%s: \"%s\" must be three numbers.", r->path, key);
		colours[i] = nn_gguf_number(v, i);
		if (!(colours[i] > least && colours[i] < 1e6))
			return nn_fail(r->error, -EINVAL, "%s: \"%s\" is out of range.", r->path, key);
	}
	return 0;
}

/* A list, or one number, of whole numbers from `min` to `max`; without the key none. */
static int mmproj_read_list(struct mmproj_reader *r, const char *key, double min, double max, uint32_t *list, uint32_t most,
			    uint32_t *n)
{
	const struct nn_gguf_value *v = nn_gguf_value(r->m->g, key);

	*n = 0;
	if (!v)
		return 0;
	if (v->type == NN_GGUF_STRING || v->n > most)
		return nn_fail(r->error, -EINVAL, "%s: \"%s\" must be at most %u numbers.", r->path, key, most);
	for (uint64_t i = 0; i < v->n; i++) {
		const double x = nn_gguf_number(v, i);

		if (!(x >= min && x <= max) || x != floor(x))
			return nn_fail(r->error, -EINVAL, "%s: \"%s\" is out of range; whole numbers from %.0f to %.0f are possible.",
				       r->path, key, min, max);
		list[(*n)++] = (uint32_t)x;
	}
	return 0;
}

static double mmproj_real(const struct nn_gguf *g, const char *key, double fallback)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);

	return v && !v->is_array && v->type != NN_GGUF_STRING ? nn_gguf_number(v, 0) : v ? NAN : fallback;
}

static int mmproj_read_values(struct mmproj_reader *r)
{
	struct nn_mmproj *m = r->m;

	m->eps = mmproj_real(m->g, "clip.vision.attention.layer_norm_epsilon", NAN);
	m->theta = mmproj_real(m->g, "clip.rope.freq_base", 10000);
	m->llava = mmproj_flag(m->g, "clip.has_llava_projector", 0);
	m->pads = mmproj_text_is(m->g, "clip.vision.image_aspect_ratio", "pad");
	if (mmproj_read_numbers(r) || mmproj_read_colours(r, "clip.vision.image_mean", -1e6, m->mean) ||
	    mmproj_read_colours(r, "clip.vision.image_std", 0, m->std) ||
	    mmproj_read_list(r, "clip.vision.image_grid_pinpoints", 1, MMPROJ_SIDE_MOST, m->points, NN_MMPROJ_POINTS, &m->n_points))
		return r->error->code;
	if (!(m->eps >= 0 && m->eps < 1))
		return nn_fail(r->error, -EINVAL, "%s: \"clip.vision.attention.layer_norm_epsilon\" is missing or out of range.", r->path);
	if (!(m->theta > 0 && m->theta < 1e12))
		return nn_fail(r->error, -EINVAL, "%s: \"clip.rope.freq_base\" is out of range.", r->path);
	if (m->n_points % 2)
		return nn_fail(r->error, -EINVAL, "%s: \"clip.vision.image_grid_pinpoints\" must be pairs.", r->path);
	if (m->width % m->heads)
		return nn_fail(r->error, -EINVAL, "%s: %u values are not made of %u heads.", r->path, m->width, m->heads);
	if (m->patch_size > m->image_size)
		return nn_fail(r->error, -EINVAL, "%s: patches of %u pixels do not fit into pictures of %u.", r->path, m->patch_size,
			       m->image_size);
	return 0;
}

/* ---- which projector ---- */

static int mmproj_find_family(struct mmproj_reader *r)
{
	static const char *const keys[] = { "clip.projector_type", "clip.vision.projector_type" };
	const struct nn_mmproj_family *f;
	struct nn_gguf_text named = { 0 };
	char known[160] = "";

	if (!mmproj_flag(r->m->g, "clip.has_vision_encoder", 1) || !nn_mmproj_tensor(r->m->g, "v.patch_embd.weight"))
		return nn_fail(r->error, -ENOTSUP, "%s: holds no picture tower%s.", r->path,
			       mmproj_flag(r->m->g, "clip.has_text_encoder", 0) ? ", but a text tower, which has no use here" :
			       mmproj_flag(r->m->g, "clip.has_audio_encoder", 0) ? ", but one for sound" : "");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !named.n; i++) {
		const struct nn_gguf_value *v = nn_gguf_value(r->m->g, keys[i]);
		const unsigned char *at = v ? v->data : NULL;

		if (v && !v->is_array && v->type == NN_GGUF_STRING)
			named = nn_gguf_next_text(&at);
	}
	for (size_t i = 0; (f = nn_mmproj_family_at(i)); i++) {
		const size_t n = strlen(known);

		if (named.n ? strlen(f->projector) == named.n && !memcmp(f->projector, named.bytes, named.n) : !i)
			r->m->family = f;
		snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "", f->projector);
	}
	if (!r->m->family)
		return nn_fail(r->error, -ENOTSUP, "%s: its projector is of the type \"%.*s\"; these are known: %s.", r->path,
			       named.n < 64 ? (int)named.n : 64, named.bytes, known);
	if (!named.n && !nn_mmproj_tensor(r->m->g, "mm.0.weight"))
		return nn_fail(r->error, -ENOTSUP, "%s: names no projector and holds none that is known.", r->path);
	return 0;
}

/* ---- what the tensors tell ---- */

static const struct nn_gguf_tensor *mmproj_numbered(const struct nn_gguf *g, const char *format, uint32_t number)
{
	char name[NN_MMPROJ_NAME];

	snprintf(name, sizeof(name), format, number);
	return nn_mmproj_tensor(g, name);
}

int nn_mmproj_swapped(const struct nn_mmproj *m, uint32_t i)
{
	const struct nn_gguf_tensor *up = mmproj_numbered(m->g, "v.blk.%u.ffn_up.weight", i);
	const struct nn_gguf_tensor *down = mmproj_numbered(m->g, "v.blk.%u.ffn_down.weight", i);

	if (!up || !down || up->rank != 2 || down->rank != 2 || down->shape[1] != m->width)
		return 0;
	/* Square ones do not tell: then the converter's age does. */
	return up->shape[1] != m->width || m->llava;
}

static int mmproj_count_layers(struct mmproj_reader *r)
{
	struct nn_mmproj *m = r->m;

	while (m->layers < NN_MMPROJ_LAYERS && mmproj_numbered(m->g, "v.blk.%u.ln1.weight", m->layers))
		m->layers++;
	/* Legacy converters announce one layer more or less than they write. */
	const int llava = !strcmp(m->family->projector, "mlp") || !strncmp(m->family->projector, "ldp", 3);
	const int near = llava && m->layers && m->blocks + 1 >= m->layers && m->blocks <= m->layers + 1;

	if (m->blocks != m->layers && !near)
		return nn_fail(r->error, -EINVAL, "%s: announces %u blocks and holds %u; it is damaged or was not copied whole.", r->path,
			       m->blocks, m->layers);
	const struct nn_gguf_tensor *w = mmproj_numbered(m->g, nn_mmproj_swapped(m, 0) ? "v.blk.%u.ffn_down.weight" :
							 "v.blk.%u.ffn_up.weight", 0);

	if (!w || w->rank != 2 || w->shape[0] > 1 << 28)
		return nn_fail(r->error, -EINVAL, "%s: tensor \"v.blk.0.ffn_up.weight\" is missing or no matrix.", r->path);
	m->d_ff = (uint32_t)w->shape[0];
	return 0;
}

static int mmproj_find_output(struct mmproj_reader *r)
{
	struct nn_mmproj *m = r->m;
	const struct nn_gguf_tensor *w = mmproj_numbered(m->g, m->family->last, 0), *more;

	for (uint32_t i = 2; w && strchr(m->family->last, '%') && i < MMPROJ_LAST_MOST; i += 2) {
		more = mmproj_numbered(m->g, m->family->last, i);
		if (!more)
			break;
		w = more;
	}
	if (!w || w->rank != 2)
		return nn_fail(r->error, -EINVAL, "%s: the projector's last matrix is missing or no matrix.", r->path);
	const uint64_t d = m->family->turned && w->shape[0] == m->width ? w->shape[1] : w->shape[0];

	if (!d || d > MMPROJ_WIDTH_MOST)
		return nn_fail(r->error, -EINVAL, "%s: a projector to %llu values is out of range.", r->path, (unsigned long long)d);
	if (nn_mmproj_tensor(m->g, "mm.3.weight"))
		return nn_fail(r->error, -ENOTSUP, "%s: a projector with norms between its layers is not supported.", r->path);
	m->d_model = (uint32_t)d;
	return 0;
}

/* use_gelu and use_silu; neither means CLIP's quick GELU, but with SigLIP's tower, of which old converters did not say so, and with
 * CogVLM's, of which none do. */
static int mmproj_find_activation(struct mmproj_reader *r)
{
	struct nn_mmproj *m = r->m;
	const int gelu = mmproj_flag(m->g, "clip.use_gelu", 0), silu = mmproj_flag(m->g, "clip.use_silu", 0);
	const int siglip = strstr(m->tower_type, "siglip") || strstr(m->tower_type, "idefics"), plain = strstr(m->tower_type, "cogvlm") != NULL;

	if (gelu && silu)
		return nn_fail(r->error, -EINVAL, "%s: \"clip.use_gelu\" and \"clip.use_silu\" are both true.", r->path);
	m->activation = silu ? "silu" : plain || (gelu && !siglip) ? "gelu" : gelu || (siglip && m->llava) ? "gelu_pytorch_tanh" : "quick_gelu";
	return 0;
}

static const char *mmproj_tower_type(const struct nn_mmproj *m)
{
	static const struct {
		const char *model_type, *tower;
	} towers[] = { { "cogvlm", "cogvlm" }, { "internvl", "internvl_vision" }, { "gemma3", "siglip_vision_model" },
		       { "idefics3", "idefics3_vision" }, { "qwen2_vl", "qwen2_vl" },
		       { "qwen2_5_vl", "qwen2_5_vl" } };

	for (size_t i = 0; i < sizeof(towers) / sizeof(towers[0]); i++)
		if (!strcmp(towers[i].model_type, m->family->model_type))
			return towers[i].tower;
	return !strcmp(m->family->projector, "pixtral") ? "pixtral" : m->class_token ? "clip_vision_model" : "siglip_vision_model";
}

int nn_mmproj_read(struct nn_mmproj *m, const struct nn_gguf *g, const char *path, struct nn_error *error)
{
	struct mmproj_reader r = { m, path, error };

	*m = (struct nn_mmproj){ .g = g };
	if (mmproj_find_family(&r) || mmproj_read_values(&r) || mmproj_count_layers(&r) || mmproj_find_output(&r))
		return error->code;
	m->class_token = nn_mmproj_tensor(g, "v.class_embd") != NULL;
	m->whole = nn_mmproj_tensor(g, "v.post_ln.weight") != NULL;
	m->norm = nn_mmproj_tensor(g, "v.blk.0.ln1.bias") ? "layer_norm" : "rms_norm";
	m->mean_pooled = !m->whole;
	m->qkv_bias = nn_mmproj_tensor(g, "v.blk.0.attn_q.bias") != NULL;
	m->qk_norms = nn_mmproj_tensor(g, "v.blk.0.attn_q_norm.weight") != NULL;
	m->model_type = m->n_points && !strcmp(m->family->projector, "mlp") ? "llava_next" :
			nn_mmproj_tensor(g, "mm.patch_merger.weight") ? "mistral3" : m->family->model_type;
	m->tower_type = mmproj_tower_type(m);
	if (mmproj_find_activation(&r))
		return error->code;
	return mmproj_read_list(&r, "clip.vision.feature_layer", 0, m->layers, m->features, NN_MMPROJ_FEATURES, &m->n_features);
}
