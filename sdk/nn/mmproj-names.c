/* mmproj-names.c - what the tensors of picture towers and projectors are called in GGUF files and in Hugging Face's. */
#include "sdk/nn/mmproj.h"

/* CLIP's and SigLIP's. */
static const struct nn_mmproj_name names_clip[] = {
	{ "v.class_embd", "embeddings.class_embedding", NN_MMPROJ_WHOLE },
	{ "v.patch_embd", "embeddings.patch_embedding", NN_MMPROJ_PAIR },
	{ "v.position_embd.weight", "embeddings.position_embedding.weight", NN_MMPROJ_WHOLE },
	{ "v.pre_ln", "pre_layrnorm", NN_MMPROJ_PAIR },
	{ "v.post_ln", "post_layernorm", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln1", "encoder.layers.%u.layer_norm1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln2", "encoder.layers.%u.layer_norm2", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_q", "encoder.layers.%u.self_attn.q_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_k", "encoder.layers.%u.self_attn.k_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_v", "encoder.layers.%u.self_attn.v_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_out", "encoder.layers.%u.self_attn.out_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_up", "encoder.layers.%u.mlp.fc1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_down", "encoder.layers.%u.mlp.fc2", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
/* Qwen2-VL's. */
static const struct nn_mmproj_name names_qwen2vl[] = {
	{ "v.patch_embd.weight", "patch_embed.proj.weight", NN_MMPROJ_MOMENTS },
	{ "v.blk.%u.ln1", "blocks.%u.norm1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln2", "blocks.%u.norm2", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_qkv", "blocks.%u.attn.qkv", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_q", "blocks.%u.attn.qkv", NN_MMPROJ_QKV },
	{ "v.blk.%u.attn_out", "blocks.%u.attn.proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_up", "blocks.%u.mlp.fc1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_down", "blocks.%u.mlp.fc2", NN_MMPROJ_PAIR },
	{ "v.post_ln", "merger.ln_q", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
/* Qwen2.5-VL's: the MLP has gates. */
static const struct nn_mmproj_name names_qwen25vl[] = {
	{ "v.patch_embd.weight", "patch_embed.proj.weight", NN_MMPROJ_MOMENTS },
	{ "v.blk.%u.ln1", "blocks.%u.norm1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln2", "blocks.%u.norm2", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_qkv", "blocks.%u.attn.qkv", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_q", "blocks.%u.attn.qkv", NN_MMPROJ_QKV },
	{ "v.blk.%u.attn_out", "blocks.%u.attn.proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_gate", "blocks.%u.mlp.gate_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_up", "blocks.%u.mlp.up_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_down", "blocks.%u.mlp.down_proj", NN_MMPROJ_PAIR },
	{ "v.post_ln", "merger.ln_q", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};

/* CogVLM's. */
static const struct nn_mmproj_name names_cogvlm[] = {
	{ "v.class_embd", "patch_embedding.cls_embedding", NN_MMPROJ_WHOLE },
	{ "v.patch_embd", "patch_embedding.proj", NN_MMPROJ_PAIR },
	{ "v.position_embd.weight", "patch_embedding.position_embedding.weight", NN_MMPROJ_WHOLE },
	{ "v.blk.%u.ln1", "transformer.layers.%u.input_layernorm", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln2", "transformer.layers.%u.post_attention_layernorm", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_qkv", "transformer.layers.%u.attention.query_key_value", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_out", "transformer.layers.%u.attention.dense", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_up", "transformer.layers.%u.mlp.fc1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_down", "transformer.layers.%u.mlp.fc2", NN_MMPROJ_PAIR },
	{ "v.boi", "boi", NN_MMPROJ_WHOLE },
	{ "v.eoi", "eoi", NN_MMPROJ_WHOLE },
	{ NULL, NULL, 0 },
};

static const struct nn_mmproj_name names_mlp[] = {
	{ "mm.0", "multi_modal_projector.linear_1", NN_MMPROJ_PAIR },
	{ "mm.2", "multi_modal_projector.linear_2", NN_MMPROJ_PAIR },
	{ "mm.4", "multi_modal_projector.linear_3", NN_MMPROJ_PAIR },
	{ "mm.6", "multi_modal_projector.linear_4", NN_MMPROJ_PAIR },
	{ "model.image_newline", "image_newline", NN_MMPROJ_WHOLE },
	{ "v.image_newline", "image_newline", NN_MMPROJ_WHOLE },
	{ NULL, NULL, 0 },
};
static const struct nn_mmproj_name names_gemma3[] = {
	{ "mm.input_projection.weight", "multi_modal_projector.mm_input_projection_weight", NN_MMPROJ_TURNED },
	{ "mm.soft_emb_norm.weight", "multi_modal_projector.mm_soft_emb_norm.weight", NN_MMPROJ_NORM },
	{ NULL, NULL, 0 },
};
static const struct nn_mmproj_name names_idefics3[] = {
	{ "mm.model.fc", "model.connector.modality_projection.proj", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
static const struct nn_mmproj_name names_merger[] = {
	{ "mm.0", "visual.merger.mlp.0", NN_MMPROJ_PAIR },
	{ "mm.2", "visual.merger.mlp.2", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
/* mm.conv: of CogVLM2, which files of other converters do not hold. */
static const struct nn_mmproj_name names_glu[] = {
	{ "mm.model.fc", "model.vision.linear_proj.linear_proj", NN_MMPROJ_PAIR },
	{ "mm.post_fc_norm", "model.vision.linear_proj.norm1", NN_MMPROJ_PAIR },
	{ "mm.conv", "model.vision.conv", NN_MMPROJ_PAIR },
	{ "mm.up", "model.vision.linear_proj.dense_h_to_4h", NN_MMPROJ_PAIR },
	{ "mm.gate", "model.vision.linear_proj.gate_proj", NN_MMPROJ_PAIR },
	{ "mm.down", "model.vision.linear_proj.dense_4h_to_h", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};

/* The first is for files that name none. */
static const struct nn_mmproj_family families[] = {
	{ "mlp", "llava", "vision_tower.vision_model.", names_clip, names_mlp, "mm.%u.weight", 0 },
	{ "gemma3", "gemma3", "vision_tower.vision_model.", names_clip, names_gemma3, "mm.input_projection.weight", 1 },
	{ "idefics3", "idefics3", "model.vision_model.", names_clip, names_idefics3, "mm.model.fc.weight", 0 },
	{ "qwen2vl_merger", "qwen2_vl", "visual.", names_qwen2vl, names_merger, "mm.%u.weight", 0 },
	{ "cogvlm", "cogvlm", "model.vision.", names_cogvlm, names_glu, "mm.down.weight", 0 },
	{ "qwen2.5vl_merger", "qwen2_5_vl", "visual.", names_qwen25vl, names_merger, "mm.%u.weight", 0 },
};

const struct nn_mmproj_family *nn_mmproj_family_at(size_t i)
{
	return i < sizeof(families) / sizeof(families[0]) ? &families[i] : NULL;
}
