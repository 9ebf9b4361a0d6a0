/* test-mmproj.c - picture towers in GGUF files: what they are seen as, the quirks of old converters, and that damaged and hostile
 * ones are refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/gguf-write.h"
#include "sdk/nn/image.h"
#include "sdk/nn/mmproj.h"

/* A value: `type` is s(tring), b(ool), u32, f32, U: a list of u32, F: of f32. A tensor: its shape, row-major. */
struct entry {
	const char *name;
	char type;
	const char *text;
};

static const struct entry values_mlp[] = {
	{ "general.architecture", 's', "clip" }, { "clip.has_vision_encoder", 'b', "1" }, { "clip.projector_type", 's', "mlp" },
	{ "clip.vision.image_size", 'u', "4" }, { "clip.vision.patch_size", 'u', "2" }, { "clip.vision.embedding_length", 'u', "8" },
	{ "clip.vision.attention.head_count", 'u', "2" }, { "clip.vision.block_count", 'u', "2" },
	{ "clip.vision.attention.layer_norm_epsilon", 'f', "1e-5" }, { "clip.vision.image_mean", 'F', "0.5 0.5 0.5" },
	{ "clip.vision.image_std", 'F', "0.5 0.5 0.25" }, { "clip.vision.projection_dim", 'u', "6" }, { NULL, 0, NULL },
};
static const struct entry tensors_mlp[] = {
	{ "v.class_embd", 0, "8" }, { "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.position_embd.weight", 0, "5 8" },
	{ "v.pre_ln.weight", 0, "8" }, { "v.blk.0.ln1.weight", 0, "8" }, { "v.blk.0.ffn_up.weight", 0, "12 8" },
	{ "v.blk.0.ffn_down.weight", 0, "8 12" }, { "v.blk.0.ffn_up.bias", 0, "12" }, { "v.blk.1.ln1.weight", 0, "8" },
	{ "v.blk.1.ffn_up.weight", 0, "12 8" }, { "v.blk.1.ffn_down.weight", 0, "8 12" }, { "mm.0.weight", 0, "6 8" },
	{ "mm.2.weight", 0, "6 6" }, { NULL, 0, NULL },
};
static const struct entry tensors_qwen[] = {
	{ "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.patch_embd.weight.1", 0, "8 3 2 2" }, { "v.blk.0.ln1.weight", 0, "8" },
	{ "v.blk.0.attn_q.weight", 0, "8 8" }, { "v.blk.0.attn_k.weight", 0, "8 8" }, { "v.blk.0.attn_v.weight", 0, "8 8" },
	{ "v.blk.0.attn_q.bias", 0, "8" }, { "v.blk.0.attn_k.bias", 0, "8" }, { "v.blk.0.attn_v.bias", 0, "8" },
	{ "v.blk.0.ffn_up.weight", 0, "8 16" }, { "v.blk.0.ffn_down.weight", 0, "16 8" }, { "v.blk.1.ln1.weight", 0, "8" },
	{ "mm.0.weight", 0, "32 32" }, { "mm.2.weight", 0, "6 32" }, { NULL, 0, NULL },
};
static const struct entry tensors_cogvlm[] = {
	{ "v.class_embd", 0, "1 8" }, { "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.position_embd.weight", 0, "5 8" },
	{ "v.blk.0.ln1.weight", 0, "8" }, { "v.blk.0.attn_qkv.weight", 0, "24 8" }, { "v.blk.0.ffn_up.weight", 0, "12 8" },
	{ "v.blk.0.ffn_down.weight", 0, "8 12" }, { "v.blk.1.ln1.weight", 0, "8" }, { "mm.model.fc.weight", 0, "6 8" },
	{ "mm.up.weight", 0, "10 6" }, { "mm.down.weight", 0, "6 10" }, { "v.boi", 0, "1 1 6" }, { NULL, 0, NULL },
};
static const struct entry tensors_gemma[] = {
	{ "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.blk.0.ln1.weight", 0, "8" }, { "v.blk.0.ffn_up.weight", 0, "12 8" },
	{ "v.blk.1.ln1.weight", 0, "8" }, { "mm.input_projection.weight", 0, "8 6" }, { "mm.soft_emb_norm.weight", 0, "8" },
	{ NULL, 0, NULL },
};
static const struct entry tensors_internvl[] = {
	{ "v.class_embd", 0, "1 1 8" }, { "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.position_embd.weight", 0, "1 5 8" },
	{ "v.blk.0.ln1.weight", 0, "8" }, { "v.blk.0.ls1.weight", 0, "8" }, { "v.blk.0.attn_q.bias", 0, "8" },
	{ "v.blk.0.ffn_up.weight", 0, "12 8" }, { "v.blk.0.ffn_down.weight", 0, "8 12" }, { "v.blk.1.ln1.weight", 0, "8" },
	{ "mm.model.mlp.0.weight", 0, "32" }, { "mm.model.mlp.1.weight", 0, "6 32" }, { "mm.model.mlp.3.weight", 0, "6 6" },
	{ NULL, 0, NULL },
};
static const struct entry tensors_pixtral[] = {
	{ "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.pre_ln.weight", 0, "8" }, { "v.blk.0.ln1.weight", 0, "8" },
	{ "v.blk.0.attn_q.weight", 0, "8 8" }, { "v.blk.0.attn_k.weight", 0, "8 8" }, { "v.blk.0.ffn_up.weight", 0, "12 8" },
	{ "v.blk.0.ffn_down.weight", 0, "8 12" }, { "v.blk.1.ln1.weight", 0, "8" }, { "mm.1.weight", 0, "6 8" },
	{ "mm.2.weight", 0, "6 6" }, { NULL, 0, NULL },
};
static const struct entry tensors_ldpv2[] = {
	{ "v.class_embd", 0, "8" }, { "v.patch_embd.weight", 0, "8 3 2 2" }, { "v.position_embd.weight", 0, "5 8" },
	{ "v.blk.0.ln1.weight", 0, "8" }, { "v.blk.0.ffn_up.weight", 0, "8 12" }, { "v.blk.0.ffn_down.weight", 0, "12 8" },
	{ "mm.model.mlp.0.weight", 0, "6 8" }, { "mm.model.mlp.2.weight", 0, "6 6" }, { "mm.model.peg.0.weight", 0, "6 3 3" },
	{ "mm.model.peg.0.bias", 0, "6" }, { NULL, 0, NULL },
};

/* ---- files made by hand ---- */

/* The entry that stands for `e`: itself, a change of the same name, or NULL where that takes it out. */
static const struct entry *changed(const struct entry *e, const struct entry *changes)
{
	for (; changes && changes->name; changes++)
		if (!strcmp(changes->name, e->name))
			return changes->text ? changes : NULL;
	return e;
}

static int listed(const struct entry *list, const char *name)
{
	for (; list->name; list++)
		if (!strcmp(list->name, name))
			return 1;
	return 0;
}

static void put_list(struct nn_gguf_writer *w, const struct entry *e)
{
	double all[64];
	size_t n = 0;

	for (char *at = (char *)e->text, *end; n < 64; at = end) {
		all[n] = strtod(at, &end);
		if (end == at)
			break;
		n++;
	}
	nn_gguf_write_array(w, e->name, e->type == 'F' ? NN_GGUF_F32 : NN_GGUF_I32, n);
	for (size_t i = 0; i < n; i++) {
		const float real = (float)all[i];
		const int32_t whole = (int32_t)all[i];

		nn_gguf_write_bytes(w, e->type == 'F' ? (const void *)&real : &whole, 4);
	}
}

static void put_value(struct nn_gguf_writer *w, const struct entry *e)
{
	switch (e->type) {
	case 's': nn_gguf_write_text(w, e->name, e->text, strlen(e->text)); break;
	case 'b': nn_gguf_write_bool(w, e->name, atoi(e->text)); break;
	case 'u': nn_gguf_write_u32(w, e->name, (uint32_t)strtoul(e->text, NULL, 10)); break;
	case 'f': nn_gguf_write_f32(w, e->name, strtof(e->text, NULL)); break;
	default: put_list(w, e);
	}
}

/* Values count 1, 2, 3 ... from the file's first tensor on. */
static size_t put_tensor(struct nn_gguf_writer *w, const struct entry *e)
{
	uint64_t shape[4];
	uint32_t rank = 0;
	size_t n = 1;

	for (char *at = (char *)e->text, *end; rank < 4; at = end) {
		shape[rank] = strtoull(at, &end, 10);
		if (end == at)
			break;
		n *= shape[rank++];
	}
	nn_gguf_write_tensor(w, e->name, strlen(e->name), nn_block_format_named(e->type == 'q' ? "Q8_0" : "F32"), rank, shape);
	return n;
}

static char path[] = "/tmp/test-mmproj-XXXXXX.gguf";

static void put_file(const struct entry *values, const struct entry *tensors, const struct entry *change_values,
		     const struct entry *change_tensors)
{
	struct nn_gguf_writer w = { 0 };
	const struct entry *all[64];
	size_t sizes[64], n = 0;
	float count = 0;
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	for (const struct entry *e = values; e->name; e++)
		if (changed(e, change_values))
			put_value(&w, changed(e, change_values));
	for (const struct entry *e = change_values; e && e->name; e++)
		if (!listed(values, e->name) && e->text)
			put_value(&w, e);
	for (const struct entry *e = tensors; e->name; e++)
		if (changed(e, change_tensors))
			all[n++] = changed(e, change_tensors);
	for (const struct entry *e = change_tensors; e && e->name; e++)
		if (!listed(tensors, e->name) && e->text)
			all[n++] = e;
	for (size_t i = 0; i < n; i++)
		sizes[i] = put_tensor(&w, all[i]);
	nn_gguf_write_header(&w, file);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizes[i]; k++) {
			count++;
			nn_gguf_write_data(&w, file, &count, sizeof(count), k + 1 == sizes[i]);
		}
	assert_int_equal(w.error, 0);
	nn_gguf_write_fini(&w);
	fclose(file);
}

static struct nn_checkpoint *open_good(void)
{
	struct nn_error error = { 0 };
	struct nn_checkpoint *cp = nn_checkpoint_open(path, &error);

	if (!cp)
		fail_msg("%s", error.text);
	return cp;
}

/* A member of the configuration, or of its object "vision_config", as text without blanks. */
static void check_member(const cJSON *config, const char *name, const char *want)
{
	const char *dot = strchr(name, '.');
	const cJSON *object = dot ? nn_config_object(config, "vision_config") : config;
	cJSON *item = cJSON_GetObjectItemCaseSensitive(object, dot ? dot + 1 : name);
	char *text = item ? cJSON_PrintUnformatted(item) : NULL;

	if (!text || strcmp(text, want))
		fail_msg("%s is %s instead of %s", name, text ? text : "missing", want);
	free(text);
}

/* ---- quirks ---- */

static const struct quirk {
	const char *what;
	const struct entry *tensors;
	struct entry values[4], changes[8];
	const char *member, *want;
} quirks[] = {
	{ "features of a whole tower", tensors_mlp, { { 0 } }, { { 0 } }, "vision_feature_layer", "-2" },
	{ "features of a tower without its last layer", tensors_mlp, { { "clip.has_llava_projector", 'b', "1" } }, { { 0 } },
	  "vision_feature_layer", "2" },
	{ "one block more in the file than announced", tensors_mlp,
	  { { "clip.has_llava_projector", 'b', "1" }, { "clip.vision.block_count", 'u', "1" } }, { { 0 } }, "vision_feature_layer", "1" },
	{ "one block less in the file than announced", tensors_mlp,
	  { { "clip.has_llava_projector", 'b', "1" }, { "clip.vision.block_count", 'u', "3" } }, { { 0 } }, "vision_feature_layer", "2" },
	{ "a legacy converter that kept all of the tower", tensors_mlp, { { "clip.has_llava_projector", 'b', "1" } },
	  { { "v.post_ln.weight", 0, "8" } }, "vision_feature_layer", "-2" },
	{ "the layer that the file names", tensors_mlp, { { "clip.vision.feature_layer", 'U', "1" } }, { { 0 } }, "vision_feature_layer", "1" },
	{ "layers that the file names", tensors_mlp, { { "clip.vision.feature_layer", 'U', "0 2" } }, { { 0 } }, "vision_feature_layer",
	  "[0,2]" },
	{ "no projector type", tensors_mlp, { { "clip.projector_type", 's', NULL } }, { { 0 } }, "model_type", "\"llava\"" },
	{ "the projector type of files for pictures and sound", tensors_mlp,
	  { { "clip.projector_type", 's', NULL }, { "clip.vision.projector_type", 's', "mlp" } }, { { 0 } }, "model_type", "\"llava\"" },
	{ "neither activation", tensors_mlp, { { 0 } }, { { 0 } }, ".hidden_act", "\"quick_gelu\"" },
	{ "GELU of a CLIP tower", tensors_mlp, { { "clip.use_gelu", 'b', "1" } }, { { 0 } }, ".hidden_act", "\"gelu\"" },
	{ "GELU of a SigLIP tower", tensors_mlp, { { "clip.use_gelu", 'b', "1" } }, { { "v.class_embd", 0, NULL } }, ".hidden_act",
	  "\"gelu_pytorch_tanh\"" },
	{ "a SigLIP tower of a legacy converter", tensors_mlp, { { "clip.has_llava_projector", 'b', "1" } },
	  { { "v.class_embd", 0, NULL } }, ".hidden_act", "\"gelu_pytorch_tanh\"" },
	{ "SiLU", tensors_mlp, { { "clip.use_silu", 'b', "1" } }, { { 0 } }, ".hidden_act", "\"silu\"" },
	{ "all rows of a tower without a class token", tensors_mlp, { { 0 } }, { { "v.class_embd", 0, NULL } },
	  "vision_feature_select_strategy", "\"full\"" },
	{ "swapped matrices", tensors_mlp, { { 0 } },
	  { { "v.blk.0.ffn_up.weight", 0, "8 12" }, { "v.blk.0.ffn_down.weight", 0, "12 8" } }, ".intermediate_size", "12" },
	{ "pinpoints", tensors_mlp, { { "clip.vision.image_grid_pinpoints", 'U', "4 8 8 4" } }, { { 0 } }, "image_grid_pinpoints",
	  "[[4,8],[8,4]]" },
	{ "pinpoints make LLaVA-NeXT", tensors_mlp, { { "clip.vision.image_grid_pinpoints", 'U', "4 8" } }, { { 0 } }, "model_type",
	  "\"llava_next\"" },
	{ "Qwen2-VL", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } }, { { 0 } }, ".hidden_size", "6" },
	{ "Qwen2-VL's ratio, from swapped matrices", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } }, { { 0 } },
	  ".mlp_ratio", "2" },
	{ "Qwen2.5-VL's pattern", tensors_qwen,
	  { { "clip.projector_type", 's', "qwen2.5vl_merger" }, { "clip.vision.n_wa_pattern", 'u', "2" } }, { { 0 } },
	  ".fullatt_block_indexes", "[1]" },
	{ "Qwen2.5-VL's window", tensors_qwen, { { "clip.projector_type", 's', "qwen2.5vl_merger" } }, { { 0 } }, ".window_size", "112" },
	{ "CogVLM", tensors_cogvlm, { { "clip.projector_type", 's', "cogvlm" } }, { { 0 } }, ".num_heads", "2" },
	{ "CogVLM's GELU, which converters do not name", tensors_cogvlm, { { "clip.projector_type", 's', "cogvlm" } }, { { 0 } },
	  ".hidden_act", "\"gelu\"" },
	{ "Gemma 3", tensors_gemma,
	  { { "clip.projector_type", 's', "gemma3" }, { "clip.vision.projector.scale_factor", 'u', "2" } }, { { 0 } },
	  "mm_tokens_per_image", "1" },
	{ "InternVL's scale", tensors_internvl, { { "clip.projector_type", 's', "internvl" }, { "clip.vision.projector.scale_factor", 'u', "2" } },
	  { { 0 } }, "downsample_ratio", "0.5" },
	{ "InternVL's norms without biases", tensors_internvl, { { "clip.projector_type", 's', "internvl" } }, { { 0 } }, ".norm_type",
	  "\"rms_norm\"" },
	{ "InternVL's norms with biases", tensors_internvl, { { "clip.projector_type", 's', "internvl" } }, { { "v.blk.0.ln1.bias", 0, "8" } },
	  ".norm_type", "\"layer_norm\"" },
	{ "InternVL's biases of attention", tensors_internvl, { { "clip.projector_type", 's', "internvl" } }, { { 0 } }, ".attention_bias", "true" },
	{ "InternVL's norm behind the tower", tensors_internvl, { { "clip.projector_type", 's', "internvl" } }, { { "v.post_ln.weight", 0, "8" } },
	  ".use_mean_pooling", "false" },
	{ "InternVL's activation", tensors_internvl, { { "clip.projector_type", 's', "internvl" }, { "clip.use_gelu", 'b', "1" } }, { { 0 } },
	  ".hidden_act", "\"gelu\"" },
	{ "Pixtral", tensors_pixtral, { { "clip.projector_type", 's', "pixtral" } }, { { 0 } }, ".model_type", "\"pixtral\"" },
	{ "Pixtral merges nothing", tensors_pixtral, { { "clip.projector_type", 's', "pixtral" } }, { { 0 } }, "spatial_merge_size", "1" },
	{ "merged patches make Mistral 3", tensors_pixtral,
	  { { "clip.projector_type", 's', "pixtral" }, { "clip.vision.spatial_merge_size", 'u', "2" } },
	  { { "mm.patch_merger.weight", 0, "8 32" } }, "model_type", "\"mistral3\"" },
	{ "MobileVLM of a legacy converter", tensors_ldpv2, { { "clip.projector_type", 's', "ldpv2" }, { "clip.has_llava_projector", 'b', "1" } },
	  { { 0 } }, "vision_feature_layer", "1" },
	{ "MobileVLM's swapped matrices", tensors_ldpv2, { { "clip.projector_type", 's', "ldpv2" }, { "clip.has_llava_projector", 'b', "1" } },
	  { { 0 } }, ".intermediate_size", "12" },
};

static void knows_the_quirks_of_converters(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(quirks) / sizeof(quirks[0]); i++) {
		print_message("%s\n", quirks[i].what);
		put_file(values_mlp, quirks[i].tensors, quirks[i].values, quirks[i].changes);
		struct nn_checkpoint *cp = open_good();

		check_member(nn_checkpoint_config(cp), quirks[i].member, quirks[i].want);
		nn_checkpoint_close(cp);
	}
}

/* ---- tensors ---- */

static const float *tensor(struct nn_checkpoint *cp, const char *name, size_t rows, size_t cols)
{
	struct nn_weight *w = nn_checkpoint_weight(cp, name);

	if (!w || w->rows != rows || w->cols != cols)
		fail_msg("%s is %s", name, w ? "of another shape" : "missing");
	return nn_weight_f32(cp, w);
}

static void finds_tensors_by_their_names_in_checkpoints(void **state)
{
	const struct entry swap[] = { { "v.blk.0.ffn_up.weight", 0, "8 12" }, { "v.blk.0.ffn_down.weight", 0, "12 8" },
				      { "v.blk.0.ffn_up.bias", 0, "8" }, { "model.image_newline", 0, "6" }, { NULL, 0, NULL } };

	(void)state;
	put_file(values_mlp, tensors_mlp, NULL, swap);
	struct nn_checkpoint *cp = open_good();

	tensor(cp, "vision_tower.vision_model.embeddings.class_embedding", 8, 1);
	tensor(cp, "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight", 12, 8);
	tensor(cp, "vision_tower.vision_model.encoder.layers.0.mlp.fc2.bias", 8, 1);
	tensor(cp, "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight", 12, 8);
	tensor(cp, "multi_modal_projector.linear_2.weight", 6, 6);
	tensor(cp, "image_newline", 6, 1);
	assert_null(nn_checkpoint_weight(cp, "vision_tower.vision_model.encoder.layers.2.mlp.fc1.weight"));
	assert_null(nn_checkpoint_weight(cp, "multi_modal_projector.linear_3.weight"));
	nn_checkpoint_close(cp);
}

static void finds_the_visual_experts_projection(void **state)
{
	const struct entry values[] = { { "clip.projector_type", 's', "cogvlm" }, { NULL, 0, NULL } };

	(void)state;
	put_file(values_mlp, tensors_cogvlm, values, NULL);
	struct nn_checkpoint *cp = open_good();

	tensor(cp, "model.vision.patch_embedding.cls_embedding", 1, 8);
	tensor(cp, "model.vision.transformer.layers.0.attention.query_key_value.weight", 24, 8);
	tensor(cp, "model.vision.linear_proj.dense_h_to_4h.weight", 10, 6);
	tensor(cp, "model.vision.boi", 1, 6);
	assert_null(nn_checkpoint_weight(cp, "model.vision.conv.weight"));
	nn_checkpoint_close(cp);
}

static void joins_what_is_apart_in_the_file(void **state)
{
	const struct entry values[] = { { "clip.projector_type", 's', "qwen2vl_merger" }, { NULL, 0, NULL } };
	const struct entry mixed[] = { { "v.blk.0.attn_k.weight", 0, "8 8" }, { NULL, 0, NULL } };

	(void)state;
	put_file(values_mlp, tensors_qwen, values, mixed);
	struct nn_checkpoint *cp = open_good();
	const float *qkv = tensor(cp, "visual.blocks.0.attn.qkv.weight", 24, 8), *bias = tensor(cp, "visual.blocks.0.attn.qkv.bias", 24, 1);
	const float *patches = tensor(cp, "visual.patch_embed.proj.weight", 8, 24);

	/* The file's first tensor begins with 1, the second with 97, and so on. */
	assert_true(qkv[0] == 201 && qkv[63] == 264 && qkv[64] == 265 && qkv[191] == 392);
	assert_true(bias[0] == 393 && bias[23] == 416);
	assert_true(patches[0] == 1 && patches[3] == 4 && patches[4] == 97 && patches[8] == 5 && patches[191] == 192);
	nn_checkpoint_close(cp);
}

static void turns_and_lowers_what_gemma_stores_otherwise(void **state)
{
	const struct entry values[] = { { "clip.projector_type", 's', "gemma3" }, { NULL, 0, NULL } };
	const struct entry turned[] = { { "mm.input_projection.weight", 0, "6 8" }, { NULL, 0, NULL } };

	(void)state;
	for (int i = 0; i < 2; i++) {
		put_file(values_mlp, tensors_gemma, values, i ? turned : NULL);
		struct nn_checkpoint *cp = open_good();
		const float *w = tensor(cp, "multi_modal_projector.mm_input_projection_weight", 8, 6);

		assert_true(w[1] - w[0] == (i ? 8 : 1));
		assert_true(tensor(cp, "multi_modal_projector.mm_soft_emb_norm.weight", 8, 1)[0] == w[0] + 48 - 1);
		nn_checkpoint_close(cp);
	}
}

/* Neighbours of a head (4 rows here) in the file are halves in the checkpoint. */
static void puts_pixtrals_rows_as_halves(void **state)
{
	static const size_t rows[8] = { 0, 2, 1, 3, 4, 6, 5, 7 };
	const struct entry values[] = { { "clip.projector_type", 's', "pixtral" }, { NULL, 0, NULL } };

	(void)state;
	put_file(values_mlp, tensors_pixtral, values, NULL);
	struct nn_checkpoint *cp = open_good();
	const float *q = tensor(cp, "vision_tower.transformer.layers.0.attention.q_proj.weight", 8, 8);

	for (size_t i = 0; i < 8; i++)
		assert_true(q[i * 8 + 1] - q[0] == (float)(rows[i] * 8 + 1));
	nn_checkpoint_close(cp);
}

static void prepares_pictures_as_the_file_says(void **state)
{
	struct nn_image_processor p;
	struct nn_error error = { 0 };

	(void)state;
	put_file(values_mlp, tensors_mlp, NULL, NULL);
	assert_int_equal(nn_image_processor_load(&p, path, 4, &error), 0);
	assert_int_equal(p.crop_width, 4);
	assert_true(p.std[2] == 0.25f && p.mean[0] == 0.5f);
}

/* ---- bad files ---- */

static const struct bad {
	const char *what;
	const struct entry *tensors;
	struct entry values[4], changes[4];
	const char *why; /* a part of the sentence */
} bads[] = {
	{ "no patches", tensors_mlp, { { "clip.vision.patch_size", 'u', "0" } }, { { 0 } }, "patch_size" },
	{ "patches larger than pictures", tensors_mlp, { { "clip.vision.patch_size", 'u', "8" } }, { { 0 } }, "do not fit" },
	{ "a huge picture", tensors_mlp, { { "clip.vision.image_size", 'u', "4294967295" } }, { { 0 } }, "image_size" },
	{ "a size that is a text", tensors_mlp, { { "clip.vision.image_size", 's', "4" } }, { { 0 } }, "image_size" },
	{ "no size", tensors_mlp, { { "clip.vision.image_size", 'u', NULL } }, { { 0 } }, "missing" },
	{ "a billion blocks", tensors_mlp, { { "clip.vision.block_count", 'u', "1000000000" } }, { { 0 } }, "block_count" },
	{ "more blocks than there are", tensors_mlp, { { "clip.vision.block_count", 'u', "4" } }, { { 0 } }, "announces 4 blocks" },
	{ "no width", tensors_mlp, { { "clip.vision.embedding_length", 'u', "0" } }, { { 0 } }, "embedding_length" },
	{ "heads that do not divide the width", tensors_mlp, { { "clip.vision.attention.head_count", 'u', "3" } }, { { 0 } }, "heads" },
	{ "a mean that is no number", tensors_mlp, { { "clip.vision.image_mean", 'F', "0.5 nan 0.5" } }, { { 0 } }, "image_mean" },
	{ "two means", tensors_mlp, { { "clip.vision.image_mean", 'F', "0.5 0.5" } }, { { 0 } }, "three numbers" },
	{ "a deviation of 0", tensors_mlp, { { "clip.vision.image_std", 'F', "0.5 0 0.5" } }, { { 0 } }, "image_std" },
	{ "an infinite deviation", tensors_mlp, { { "clip.vision.image_std", 'F', "0.5 inf 0.5" } }, { { 0 } }, "image_std" },
	{ "an epsilon that is no number", tensors_mlp, { { "clip.vision.attention.layer_norm_epsilon", 'f', "nan" } }, { { 0 } }, "epsilon" },
	{ "a layer that is not there", tensors_mlp, { { "clip.vision.feature_layer", 'U', "3" } }, { { 0 } }, "feature_layer" },
	{ "a negative layer", tensors_mlp, { { "clip.vision.feature_layer", 'U', "-2" } }, { { 0 } }, "feature_layer" },
	{ "half a pinpoint", tensors_mlp, { { "clip.vision.image_grid_pinpoints", 'U', "4 8 4" } }, { { 0 } }, "pairs" },
	{ "an empty pinpoint", tensors_mlp, { { "clip.vision.image_grid_pinpoints", 'U', "4 0" } }, { { 0 } }, "pinpoints" },
	{ "both activations", tensors_mlp, { { "clip.use_gelu", 'b', "1" }, { "clip.use_silu", 'b', "1" } }, { { 0 } }, "both true" },
	{ "an unknown projector", tensors_mlp, { { "clip.projector_type", 's', "resampler" } }, { { 0 } }, "\"resampler\"" },
	{ "a text tower", tensors_mlp, { { "clip.has_vision_encoder", 'b', "0" }, { "clip.has_text_encoder", 'b', "1" } }, { { 0 } },
	  "a text tower" },
	{ "a tower for sound", tensors_mlp, { { "clip.has_audio_encoder", 'b', "1" } }, { { "v.patch_embd.weight", 0, NULL } }, "for sound" },
	{ "no projector", tensors_mlp, { { 0 } }, { { "mm.0.weight", 0, NULL } }, "last matrix" },
	{ "neither a projector nor its name", tensors_mlp, { { "clip.projector_type", 's', NULL } }, { { "mm.0.weight", 0, NULL } }, "names no" },
	{ "a projector of one row", tensors_mlp, { { 0 } }, { { "mm.2.weight", 0, "6" } }, "last matrix" },
	{ "norms in the projector", tensors_mlp, { { 0 } }, { { "mm.3.weight", 0, "6 6" } }, "norms" },
	{ "no MLP", tensors_mlp, { { 0 } }, { { "v.blk.0.ffn_up.weight", 0, NULL } }, "ffn_up" },
	{ "an MLP that is a vector", tensors_mlp, { { 0 } }, { { "v.blk.0.ffn_up.weight", 0, "12" } }, "no matrix" },
	{ "one moment of patches", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } }, { { "v.patch_embd.weight.1", 0, NULL } },
	  "lacks the others" },
	{ "moments of two shapes", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } },
	  { { "v.patch_embd.weight.1", 0, "8 3 2 4" } }, "unexpected shape" },
	{ "patches of rank 2", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } },
	  { { "v.patch_embd.weight", 0, "8 12" }, { "v.patch_embd.weight.1", 0, "8 12" } }, "unexpected shape" },
	{ "keys of another width", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } }, { { "v.blk.0.attn_k.weight", 0, "8 4" } },
	  "unexpected shape" },
	{ "no values", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" } }, { { "v.blk.0.attn_v.bias", 0, NULL } },
	  "lacks the others" },
	{ "a merge of 0", tensors_qwen, { { "clip.projector_type", 's', "qwen2vl_merger" }, { "clip.vision.spatial_merge_size", 'u', "0" } },
	  { { 0 } }, "spatial_merge_size" },
	{ "one layer less than Qwen2-VL announces", tensors_qwen,
	  { { "clip.projector_type", 's', "qwen2vl_merger" }, { "clip.vision.block_count", 'u', "3" } }, { { 0 } }, "announces 3" },
	{ "a projection that is a vector", tensors_gemma, { { "clip.projector_type", 's', "gemma3" } },
	  { { "mm.input_projection.weight", 0, "48" } }, "last matrix" },
	{ "a scale of 0", tensors_internvl, { { "clip.projector_type", 's', "internvl" }, { "clip.vision.projector.scale_factor", 'u', "0" } },
	  { { 0 } }, "scale_factor" },
	{ "no tiles", tensors_internvl, { { "clip.projector_type", 's', "internvl" }, { "clip.vision.preproc_max_tiles", 'u', "0" } }, { { 0 } },
	  "preproc_max_tiles" },
	{ "a billion tiles", tensors_internvl, { { "clip.projector_type", 's', "internvl" }, { "clip.vision.preproc_max_tiles", 'u', "1000000000" } },
	  { { 0 } }, "preproc_max_tiles" },
	{ "no turn", tensors_pixtral, { { "clip.projector_type", 's', "pixtral" }, { "clip.rope.freq_base", 'f', "0" } }, { { 0 } }, "freq_base" },
	{ "queries that make no heads", tensors_pixtral, { { "clip.projector_type", 's', "pixtral" } }, { { "v.blk.0.attn_q.weight", 0, "6 8" } },
	  "attn_q" },
	{ "queries that are a vector", tensors_pixtral, { { "clip.projector_type", 's', "pixtral" } }, { { "v.blk.0.attn_q.weight", 0, "8" } },
	  "attn_q" },
	{ "no layers of MobileVLM's", tensors_ldpv2, { { "clip.projector_type", 's', "ldpv2" }, { "clip.has_llava_projector", 'b', "1" } },
	  { { "mm.model.mlp.2.weight", 0, NULL } }, "last matrix" },
};

static void refuses_bad_files_with_a_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		struct nn_error error = { 0 };

		put_file(values_mlp, bads[i].tensors, bads[i].values, bads[i].changes);
		struct nn_checkpoint *cp = nn_checkpoint_open(path, &error);

		print_message("%s: %s\n", bads[i].what, cp ? "accepted" : error.text);
		assert_null(cp);
		assert_true(error.code < 0);
		assert_non_null(strstr(error.text, bads[i].why));
		assert_non_null(strstr(error.text, path));
	}
}

static int begin(void **state)
{
	const int fd = mkstemps(path, 5);

	(void)state;
	return fd < 0 || close(fd);
}

static int end(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_the_quirks_of_converters),
		cmocka_unit_test(finds_tensors_by_their_names_in_checkpoints),
		cmocka_unit_test(finds_the_visual_experts_projection),
		cmocka_unit_test(joins_what_is_apart_in_the_file),
		cmocka_unit_test(turns_and_lowers_what_gemma_stores_otherwise),
		cmocka_unit_test(puts_pixtrals_rows_as_halves),
		cmocka_unit_test(prepares_pictures_as_the_file_says),
		cmocka_unit_test(refuses_bad_files_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
