/* models-convert-tower.c - a picture tower's hyper-parameters: config.json's keys as GGUF's. */
#include "sdk/tool/models-convert-mmproj.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/image.h"

/* What is written of vision_config, of the root (written /NAME), or of preprocessor_config.json (NAME of "size") if it is there. */
static const struct {
	const char *projector, *key, *names;
} mmproj_values[] = {
	{"idefics3", "clip.vision.projector.scale_factor", "/scale_factor"},
	{"idefics3", "clip.vision.preproc_image_size", "size.longest_edge"},
	{"pixtral", "clip.vision.spatial_merge_size", "/spatial_merge_size"},
	{"pixtral", "clip.vision.preproc_image_size", "size.longest_edge"},
	{"qwen2vl_merger", "clip.vision.spatial_merge_size", "spatial_merge_size"},
	{"qwen2vl_merger", "clip.vision.image_min_pixels", "size.shortest_edge"},
	{"qwen2vl_merger", "clip.vision.image_max_pixels", "size.longest_edge"},
	{"qwen2.5vl_merger", "clip.vision.spatial_merge_size", "spatial_merge_size"},
	{"qwen2.5vl_merger", "clip.vision.window_size", "window_size"},
	{"qwen2.5vl_merger", "clip.vision.image_min_pixels", "size.shortest_edge"},
	{"qwen2.5vl_merger", "clip.vision.image_max_pixels", "size.longest_edge"},
};

static void mmproj_put_text(struct mmproj_writer *w, const char *key, const char *text)
{
	nn_gguf_write_text(&w->out, key, text, strlen(text));
}

static void mmproj_put_floats(struct mmproj_writer *w, const char *key, const float *values, size_t n)
{
	nn_gguf_write_array(&w->out, key, NN_GGUF_F32, n);
	nn_gguf_write_bytes(&w->out, values, n * sizeof *values);
}

static int mmproj_put_optional(struct mmproj_writer *w)
{
	cJSON *processor = convert_json(w->c, "preprocessor_config.json");
	const cJSON *size = nn_config_object(processor, "size");
	for (size_t i = 0; i < sizeof mmproj_values / sizeof *mmproj_values; i++) {
		const char *names = mmproj_values[i].names;
		if (strcmp(mmproj_values[i].projector, w->family->projector) != 0)
			continue;
		const int root = names[0] == '/', of_size = strncmp(names, "size.", 5) == 0;
		const cJSON *object = root ? w->c->root : of_size ? size : w->tower;
		names += root ? 1 : of_size ? 5 : 0;
		if (cJSON_GetObjectItemCaseSensitive(object, names))
			nn_gguf_write_u32(&w->out, mmproj_values[i].key, mmproj_whole(w, object, names, 1));
	}
	cJSON_Delete(processor);
	return w->c->error.code;
}

/* Which of GGUF's two activations, or neither; and only such as are read again as what they were. */
static int mmproj_put_activation(struct mmproj_writer *w)
{
	static const struct {
		const char *name, *key;
		int siglip, others; /* possible with SigLIP's towers, with others */
	} known[] = {{"quick_gelu", NULL, 1, 1}, {"gelu", "clip.use_gelu", 0, 1}, {"gelu_pytorch_tanh", "clip.use_gelu", 1, 0},
		     {"silu", "clip.use_silu", 1, 1}};
	const char *name = nn_config_string(w->tower, "hidden_act", w->kind->activation);
	const char *tower = nn_config_string(w->tower, "model_type", "");
	const int siglip = strstr(tower, "siglip") || strcmp(w->family->projector, "idefics3") == 0 || strcmp(w->family->projector, "gemma3") == 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i].name, name) == 0 && (siglip ? known[i].siglip : known[i].others)) {
			if (known[i].key)
				nn_gguf_write_bool(&w->out, known[i].key, 1);
			return 0;
		}
	return nn_fail(&w->c->error, -ENOTSUP, "%s: GGUF files have no such tower with the activation \"%.32s\".", w->c->path, name);
}

/* Qwen2.5-VL: the layers that see all must be every n-th. */
static int mmproj_put_pattern(struct mmproj_writer *w)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(w->tower, "fullatt_block_indexes"), *item;
	const cJSON *first = cJSON_GetArrayItem(list, 0);
	const double n = cJSON_IsNumber(first) ? first->valuedouble + 1 : 0;
	double next = n;
	int regular = n >= 1 && n <= NN_MMPROJ_LAYERS;
	cJSON_ArrayForEach(item, list) {
		regular &= cJSON_IsNumber(item) && item->valuedouble + 1 == next;
		next += n;
	}
	if (!regular || next <= w->layers)
		return nn_fail(&w->c->error, -ENOTSUP, "%s: GGUF files have only every n-th layer without windows.", w->c->path);
	nn_gguf_write_u32(&w->out, "clip.vision.n_wa_pattern", (uint32_t)n);
	return 0;
}

static int mmproj_put_points(struct mmproj_writer *w)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(w->c->root, "image_grid_pinpoints"), *pair, *side;
	const int n = cJSON_GetArraySize(list);
	nn_gguf_write_array(&w->out, "clip.vision.image_grid_pinpoints", NN_GGUF_I32, 2 * (uint64_t)n);
	cJSON_ArrayForEach(pair, list) {
		if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2)
			return nn_fail(&w->c->error, -EINVAL, "%s: config.json: \"image_grid_pinpoints\" must be pairs.", w->c->path);
		cJSON_ArrayForEach(side, pair)
			nn_gguf_write_bytes(&w->out, &(int32_t){side->valueint}, sizeof(int32_t));
	}
	mmproj_put_text(w, "clip.vision.mm_patch_merge_type", "spatial_unpad");
	return 0;
}

/* Gemma 3: patches of a token along each side. */
static int mmproj_put_scale(struct mmproj_writer *w, uint32_t side)
{
	const uint32_t tokens = mmproj_whole(w, w->c->root, "mm_tokens_per_image", 256);
	uint32_t scale = 1;
	while (scale < side && (side / scale) * (side / scale) > tokens)
		scale++;
	if (!w->c->error.code)
		nn_gguf_write_u32(&w->out, "clip.vision.projector.scale_factor", scale);
	return w->c->error.code;
}

/* InternVL: patches of a token along each side, and how many tiles a picture may become. */
static int mmproj_put_tiles(struct mmproj_writer *w, const struct nn_image_processor *p)
{
	const double ratio = nn_config_real(w->c->root, "downsample_ratio", 0.5, &w->c->error);
	if (!w->c->error.code && !(ratio > 1e-3 && ratio <= 1))
		return nn_fail(&w->c->error, -EINVAL, "%s: config.json: \"downsample_ratio\" is out of range.", w->c->path);
	nn_gguf_write_u32(&w->out, "clip.vision.projector.scale_factor", (uint32_t)(1 / ratio + 0.5));
	nn_gguf_write_u32(&w->out, "clip.vision.preproc_min_tiles", p->divide ? p->pieces_least : 1);
	nn_gguf_write_u32(&w->out, "clip.vision.preproc_max_tiles", p->divide ? p->pieces_most : 1);
	return w->c->error.code;
}

/* Pixtral: where it is not what readers take it to be. */
static int mmproj_put_theta(struct mmproj_writer *w)
{
	const cJSON *rope = nn_config_object(w->tower, "rope_parameters");
	const double theta = nn_config_real(rope ? rope : w->tower, "rope_theta", 10000, &w->c->error);
	if (theta != 10000)
		nn_gguf_write_f32(&w->out, "clip.rope.freq_base", (float)theta);
	return w->c->error.code;
}

static int mmproj_put_special(struct mmproj_writer *w, const struct nn_image_processor *p, uint32_t side)
{
	if (w->n_states && p->do_pad)
		mmproj_put_text(w, "clip.vision.image_aspect_ratio", "pad");
	if (strcmp(w->family->projector, "internvl") == 0)
		return mmproj_put_tiles(w, p);
	if (strcmp(w->family->projector, "pixtral") == 0)
		return mmproj_put_theta(w);
	if (w->n_states) {
		nn_gguf_write_array(&w->out, "clip.vision.feature_layer", NN_GGUF_I32, w->n_states);
		nn_gguf_write_bytes(&w->out, w->states, w->n_states * sizeof *w->states);
	}
	if (strcmp(w->kind->type, "llava_next") == 0 && mmproj_put_points(w))
		return w->c->error.code;
	if (strcmp(w->kind->type, "gemma3") == 0)
		return mmproj_put_scale(w, side);
	return strcmp(w->kind->type, "qwen2_5_vl") == 0 ? mmproj_put_pattern(w) : 0;
}

/* Of LLaVA's own code what its configuration says, else the folder's file. */
static int mmproj_processor(struct mmproj_writer *w, struct nn_image_processor *p, uint32_t size)
{
	const cJSON *inner = nn_config_object(w->c->root, "preprocessor_config");
	char *text = inner ? cJSON_PrintUnformatted(inner) : NULL;
	if (inner && !text)
		return nn_fail(&w->c->error, -ENOMEM, "Memory is out.");
	const int error = text ? nn_image_processor_parse(p, text, strlen(text), size, &w->c->error)
			       : nn_image_processor_load(p, w->c->path, size, &w->c->error);
	cJSON_free(text);
	return error;
}

int mmproj_put_values(struct mmproj_writer *w, uint32_t d_model, uint32_t d_ff)
{
	const uint32_t size = mmproj_side(w, "image_size", w->kind->image_size);
	const uint32_t patch = mmproj_side(w, "patch_size", w->kind->tower ? 16 : 14);
	struct nn_image_processor *p = calloc(1, sizeof *p);
	if (!p || (!w->c->error.code && mmproj_processor(w, p, size))) {
		free(p);
		return w->c->error.code ? w->c->error.code : nn_fail(&w->c->error, -ENOMEM, "Memory is out.");
	}
	convert_general(w->c, &w->out, "clip", "mmproj");
	nn_gguf_write_bool(&w->out, "clip.has_vision_encoder", 1);
	mmproj_put_text(w, "clip.projector_type", w->family->projector);
	nn_gguf_write_u32(&w->out, "clip.vision.image_size", size);
	nn_gguf_write_u32(&w->out, "clip.vision.patch_size", patch);
	nn_gguf_write_u32(&w->out, "clip.vision.projection_dim", d_model);
	nn_gguf_write_u32(&w->out, "clip.vision.embedding_length", mmproj_whole(w, w->tower, w->kind->widths, 768));
	nn_gguf_write_u32(&w->out, "clip.vision.feed_forward_length", d_ff);
	nn_gguf_write_u32(&w->out, "clip.vision.block_count", w->layers);
	nn_gguf_write_u32(&w->out, "clip.vision.attention.head_count", w->n_heads);
	nn_gguf_write_f32(&w->out, "clip.vision.attention.layer_norm_epsilon",
			  (float)nn_config_real(w->tower, "layer_norm_eps", w->kind->eps, &w->c->error));
	mmproj_put_floats(w, "clip.vision.image_mean", p->mean, 3);
	mmproj_put_floats(w, "clip.vision.image_std", p->std, 3);
	const int failed = w->c->error.code || mmproj_put_activation(w) || mmproj_put_special(w, p, patch ? size / patch : 0) ||
			   mmproj_put_optional(w);
	free(p);
	return failed ? w->c->error.code : w->out.error;
}

