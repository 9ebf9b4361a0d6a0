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
/* InternVL's. */
static const struct nn_mmproj_name names_internvl[] = {
	{ "v.class_embd", "embeddings.cls_token", NN_MMPROJ_WHOLE },
	{ "v.patch_embd", "embeddings.patch_embeddings.projection", NN_MMPROJ_PAIR },
	{ "v.position_embd.weight", "embeddings.position_embeddings", NN_MMPROJ_WHOLE },
	{ "v.post_ln", "layernorm", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln1", "encoder.layer.%u.layernorm_before", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln2", "encoder.layer.%u.layernorm_after", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ls1.weight", "encoder.layer.%u.lambda_1", NN_MMPROJ_WHOLE },
	{ "v.blk.%u.ls2.weight", "encoder.layer.%u.lambda_2", NN_MMPROJ_WHOLE },
	{ "v.blk.%u.attn_q", "encoder.layer.%u.attention.q_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_k", "encoder.layer.%u.attention.k_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_v", "encoder.layer.%u.attention.v_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_q_norm.weight", "encoder.layer.%u.attention.q_norm.weight", NN_MMPROJ_WHOLE },
	{ "v.blk.%u.attn_k_norm.weight", "encoder.layer.%u.attention.k_norm.weight", NN_MMPROJ_WHOLE },
	{ "v.blk.%u.attn_out", "encoder.layer.%u.attention.projection_layer", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_up", "encoder.layer.%u.mlp.fc1", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_down", "encoder.layer.%u.mlp.fc2", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
/* Pixtral's: q and k lie as neighbours turn together. */
static const struct nn_mmproj_name names_pixtral[] = {
	{ "v.patch_embd", "patch_conv", NN_MMPROJ_PAIR },
	{ "v.pre_ln", "ln_pre", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln1", "transformer.layers.%u.attention_norm", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ln2", "transformer.layers.%u.ffn_norm", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_q.weight", "transformer.layers.%u.attention.q_proj.weight", NN_MMPROJ_TURNS },
	{ "v.blk.%u.attn_k.weight", "transformer.layers.%u.attention.k_proj.weight", NN_MMPROJ_TURNS },
	{ "v.blk.%u.attn_v", "transformer.layers.%u.attention.v_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.attn_out", "transformer.layers.%u.attention.o_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_gate", "transformer.layers.%u.feed_forward.gate_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_up", "transformer.layers.%u.feed_forward.up_proj", NN_MMPROJ_PAIR },
	{ "v.blk.%u.ffn_down", "transformer.layers.%u.feed_forward.down_proj", NN_MMPROJ_PAIR },
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
static const struct nn_mmproj_name names_shuffle[] = {
	{ "mm.model.mlp.0", "multi_modal_projector.layer_norm", NN_MMPROJ_PAIR },
	{ "mm.model.mlp.1", "multi_modal_projector.linear_1", NN_MMPROJ_PAIR },
	{ "mm.model.mlp.3", "multi_modal_projector.linear_2", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
static const struct nn_mmproj_name names_rows[] = {
	{ "mm.input_norm.weight", "multi_modal_projector.norm.weight", NN_MMPROJ_WHOLE },
	{ "mm.patch_merger.weight", "multi_modal_projector.patch_merger.merging_layer.weight", NN_MMPROJ_WHOLE },
	{ "mm.1", "multi_modal_projector.linear_1", NN_MMPROJ_PAIR },
	{ "mm.2", "multi_modal_projector.linear_2", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
static const struct nn_mmproj_name names_ldp[] = {
	{ "mm.model.mlp.1", "model.mm_projector.model.mlp.1", NN_MMPROJ_PAIR },
	{ "mm.model.mlp.3", "model.mm_projector.model.mlp.3", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.1.block.0.0.weight", "model.mm_projector.model.mb_block.1.block.0.0.weight", NN_MMPROJ_WHOLE },
	{ "mm.model.mb_block.1.block.0.1", "model.mm_projector.model.mb_block.1.block.0.1", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.1.block.1.fc1", "model.mm_projector.model.mb_block.1.block.1.fc1", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.1.block.1.fc2", "model.mm_projector.model.mb_block.1.block.1.fc2", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.1.block.2.0.weight", "model.mm_projector.model.mb_block.1.block.2.0.weight", NN_MMPROJ_WHOLE },
	{ "mm.model.mb_block.1.block.2.1", "model.mm_projector.model.mb_block.1.block.2.1", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.2.block.0.0.weight", "model.mm_projector.model.mb_block.2.block.0.0.weight", NN_MMPROJ_WHOLE },
	{ "mm.model.mb_block.2.block.0.1", "model.mm_projector.model.mb_block.2.block.0.1", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.2.block.1.fc1", "model.mm_projector.model.mb_block.2.block.1.fc1", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.2.block.1.fc2", "model.mm_projector.model.mb_block.2.block.1.fc2", NN_MMPROJ_PAIR },
	{ "mm.model.mb_block.2.block.2.0.weight", "model.mm_projector.model.mb_block.2.block.2.0.weight", NN_MMPROJ_WHOLE },
	{ "mm.model.mb_block.2.block.2.1", "model.mm_projector.model.mb_block.2.block.2.1", NN_MMPROJ_PAIR },
	{ NULL, NULL, 0 },
};
static const struct nn_mmproj_name names_ldpv2[] = {
	{ "mm.model.mlp.0", "model.mm_projector.mlp.mlp.0", NN_MMPROJ_PAIR },
	{ "mm.model.mlp.2", "model.mm_projector.mlp.mlp.2", NN_MMPROJ_PAIR },
	{ "mm.model.peg.0", "model.mm_projector.peg.peg.0", NN_MMPROJ_PAIR },
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
	{ "internvl", "internvl", "vision_tower.", names_internvl, names_shuffle, "mm.model.mlp.3.weight", 0 },
	{ "pixtral", "llava", "vision_tower.", names_pixtral, names_rows, "mm.2.weight", 0 },
	{ "ldp", "mobilevlm", "vision_tower.vision_model.", names_clip, names_ldp, "mm.model.mlp.3.weight", 0 },
	{ "ldpv2", "mobilevlm", "vision_tower.vision_model.", names_clip, names_ldpv2, "mm.model.mlp.2.weight", 0 },
	{ "qwen2vl_merger", "qwen2_vl", "visual.", names_qwen2vl, names_merger, "mm.%u.weight", 0 },
	{ "cogvlm", "cogvlm", "model.vision.", names_cogvlm, names_glu, "mm.down.weight", 0 },
	{ "qwen2.5vl_merger", "qwen2_5_vl", "visual.", names_qwen25vl, names_merger, "mm.%u.weight", 0 },
};

const struct nn_mmproj_family *nn_mmproj_family_at(size_t i)
{
	return i < sizeof(families) / sizeof(families[0]) ? &families[i] : NULL;
}
