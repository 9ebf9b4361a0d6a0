/* test-towers.c - configurations of picture towers that are none: each plugin says why it refuses them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */

#include "tests/plugins/host.h"
#include "tests/plugins/odd.h"

static void opens_what_is_whole(void **state)
{
	static const struct odd whole[] = {
		{ "clip", "vis_clip_vision", "config.json", NULL, NULL },
		{ "siglip", "vis_siglip", "config.json", NULL, NULL },
		{ "siglip2", "vis_siglip2", "config.json", NULL, NULL },
		{ "dinov2", "vis_dinov2_registers_swiglu", "config.json", NULL, NULL },
		{ "blip", "vis_blip2", "config.json", NULL, NULL },
		{ "eva", "vis_eva01", "config.json", NULL, NULL },
		{ "eva", "vis_openclip_eva02", "open_clip_config.json", NULL, NULL },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", NULL, NULL },
		{ "convnext", "vis_convnext", "config.json", NULL, NULL },
		{ "convnext", "vis_convnextv2", "config.json", NULL, NULL },
		{ "vit", "vis_openclip_vit_map", "open_clip_config.json", NULL, NULL },
	};

	odd_taken(whole, sizeof(whole) / sizeof(whole[0]));
}

static void refuses_odd_values(void **state)
{
	static const struct odd odd[] = {
		{ "clip", "vis_clip_vision", "config.json", "patch_size", "0" },
		{ "clip", "vis_clip_vision", "config.json", "patch_size", "[7,14]" },
		{ "clip", "vis_clip_vision", "config.json", "image_size", "-224" },
		{ "clip", "vis_clip_vision", "config.json", "image_size", "1e9" },
		{ "clip", "vis_clip_vision", "config.json", "num_attention_heads", "0" },
		{ "clip", "vis_clip_vision", "config.json", "num_hidden_layers", "1000000000" },
		{ "clip", "vis_clip_vision", "config.json", "hidden_act", "\"strange\"" },
		{ "clip", "vis_clip_vision", "config.json", "layer_norm_eps", "-1" },
		{ "siglip2", "vis_siglip2", "config.json", "vision_config.num_patches", "26" },
		{ "siglip2", "vis_siglip2", "config.json", "vision_config.num_patches", "0" },
		{ "siglip2", "vis_siglip2", "config.json", "vision_config.num_patches", "1000000000" },
		{ "siglip2", "vis_siglip2", "config.json", "vision_config.patch_size", "8" },
		{ "dinov2", "vis_dinov2_registers_swiglu", "config.json", "num_register_tokens", "-1" },
		{ "dinov2", "vis_dinov2_registers_swiglu", "config.json", "num_register_tokens", "1000000" },
		{ "dinov2", "vis_dinov2_registers_swiglu", "config.json", "num_register_tokens", "2" },
		{ "dinov2", "vis_dinov2_registers_swiglu", "config.json", "use_swiglu_ffn", "false" },
		{ "dinov2", "vis_dinov2_registers_swiglu", "config.json", "mlp_ratio", "1e12" },
		{ "blip", "vis_blip2", "config.json", "qkv_bias", "3" },
		{ "blip", "vis_blip2", "config.json", "hidden_size", "41" },
		{ "eva", "vis_eva01", "config.json", "eva_args.embed_dim", "0" },
		{ "eva", "vis_eva01", "config.json", "eva_args.depth", "-3" },
		{ "eva", "vis_eva01", "config.json", "eva_args.num_heads", "7" },
		{ "eva", "vis_eva01", "config.json", "eva_args.mlp_ratio", "1e30" },
		{ "eva", "vis_eva01", "config.json", "eva_args.mlp_ratio", "0" },
		{ "eva", "vis_eva01", "config.json", "eva_args.patch_size", "0" },
		{ "eva", "vis_eva01", "config.json", "eva_args.global_pool", "\"map\"" },
		{ "eva", "vis_eva01", "config.json", "eva_args.class_token", "false" },
		{ "eva", "vis_eva01", "config.json", "eva_args.rope_type", "\"mixed\"" },
		{ "eva", "vis_eva01", "config.json", "eva_args.gated_attn", "true" },
		{ "eva", "vis_eva01", "config.json", "eva_args.num_reg_tokens", "1000000000" },
		{ "eva", "vis_eva01", "config.json", "eva_args.swiglu_align_to", "-8" },
		{ "eva", "vis_openclip_eva02", "timm_model.json", "ref_feat_shape", "[0,0]" },
		{ "eva", "vis_openclip_eva02", "timm_model.json", "rope_temperature", "0" },
		{ "eva", "vis_openclip_eva02", "timm_model.json", "num_heads", "30" },
		{ "eva", "vis_openclip_eva02", "open_clip_config.json", "model_cfg.text_cfg.heads", "0" },
		{ "eva", "vis_openclip_eva02", "open_clip_config.json", "model_cfg.text_cfg.vocab_size", "81" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "embed_dim", "0" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "embed_dim", "25" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "mlp_ratio", "1e30" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "patch_size", "0" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "depth", "-3" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "num_heads", "7" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "act_layer", "\"odd\"" },
		{ "vit", "vis_openclip_vit_map", "timm_model.json", "qk_norm", "true" },
		{ "vit", "vis_openclip_vit_map", "open_clip_config.json", "model_cfg.vision_cfg.timm_pool", "\"odd\"" },
		{ "vit", "vis_openclip_vit_map", "open_clip_config.json", "model_cfg.vision_cfg.timm_pool", "\"token\"" },
		{ "vit", "vis_openclip_vit_map", "open_clip_config.json", "model_cfg.vision_cfg.image_size", "1e9" },
		{ "convnext", "vis_convnextv2", "config.json", "hidden_sizes", "[4,6,9,11]" },
		{ "convnext", "vis_convnextv2", "config.json", "depths", "[1,1,0,1]" },
		{ "convnext", "vis_convnextv2", "config.json", "patch_size", "0" },
		{ "internvl", "vlm_internvl", "config.json", "vision_config.patch_size", "[0,0]" },
		{ "internvl", "vlm_internvl", "config.json", "vision_config.num_attention_heads", "-2" },
		{ "internvl", "vlm_internvl", "preprocessor_config.json", "max_patches", "0" },
		{ "internvl", "vlm_internvl", "preprocessor_config.json", "size", "{\"height\":-1,\"width\":0}" },
		{ "idefics3", "vlm_smolvlm_small_tile", "preprocessor_config.json", "max_image_size", "{\"longest_edge\":0}" },
		{ "idefics3", "vlm_smolvlm_small_tile", "config.json", "vision_config.patch_size", "0" },
		{ "pixtral", "vlm_mistral3", "config.json", "vision_config.patch_size", "-8" },
		{ "pixtral", "vlm_mistral3", "config.json", "spatial_merge_size", "0" },
		{ "pixtral", "vlm_mistral3", "config.json", "vision_config.rope_parameters.rope_theta", "0" },
		{ "grid", "vlm_smolvlm_small_tile", "config.json", "scale_factor", "0" },
		{ "grid", "vlm_internvl", "config.json", "downsample_ratio", "-1" },
		{ "grid", "vlm_gemma3_window", "config.json", "mm_tokens_per_image", "-4" },
		{ "merger", "vlm_qwen2vl", "config.json", "vision_config.spatial_merge_size", "0" },
		{ "merger", "vlm_qwen2vl", "config.json", "vision_config.spatial_merge_size", "1000000" },
		{ "mlp", "vlm_mistral3", "config.json", "spatial_merge_size", "-1" },
		{ "mlp", "vlm_mistral3", "config.json", "text_config.rms_norm_eps", "-1" },
		{ "mlp", "vlm_llava", "config.json", "projector_hidden_act", "\"odd\"" },
		{ "qformer", "conn_blip2_qformer", "config.json", "qformer_config.num_attention_heads", "0" },
		{ "qformer", "conn_blip2_qformer", "config.json", "qformer_config.num_hidden_layers", "1000000000" },
		{ "qformer", "conn_blip2_qformer", "config.json", "qformer_config.hidden_size", "-8" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg", "1" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.head_width", "0" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.head_width", "100000" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.layers", "[3,4,6,3]" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.patch_size", "-14" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.mlp_ratio", "1e20" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.pool_type", "\"odd\"" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.attentional_pool", "true" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.scale_heads", "true" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.vision_cfg.timm_model_name", "\"vit_x\"" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.text_cfg.pool_type", "\"odd\"" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "model_cfg.text_cfg.context_length", "1" },
		{ "openclip", "vis_openclip_vit_quickgelu", "open_clip_config.json", "preprocess_cfg.resize_mode", "\"longest\"" },
		{ "convnext", "vis_convnext", "config.json", "depths", "[1,2,2]" },
		{ "convnext", "vis_convnext", "config.json", "depths", "[1,2,0,1]" },
		{ "convnext", "vis_convnext", "config.json", "depths", "[1,2,1000000000,1]" },
		{ "convnext", "vis_convnext", "config.json", "hidden_sizes", "[12,20,36,-60]" },
		{ "convnext", "vis_convnext", "config.json", "hidden_sizes", "[12,20,36,61]" },
		{ "convnext", "vis_convnext", "config.json", "hidden_sizes", "\"many\"" },
		{ "convnext", "vis_convnext", "config.json", "patch_size", "0" },
		{ "convnext", "vis_convnext", "config.json", "num_stages", "3" },
		{ "convnext", "vis_convnext", "config.json", "num_channels", "1" },
		{ "convnext", "vis_convnext", "config.json", "hidden_act", "\"strange\"" },
	};

	odd_refused(odd, sizeof(odd) / sizeof(odd[0]));
}

/* Pictures that are too small for a ConvNeXt, and budgets that NaFlex cannot keep. */
static void refuses_odd_pictures(void **state)
{
	static const struct {
		const char *plugin, *folder;
		uint32_t width, height, max_tokens;
		int fine;
	} odd[] = {
		{ "convnext", "vis_convnext", 31, 64, 0, 0 }, { "convnext", "vis_convnext", 64, 32, 0, 1 },
		{ "convnext", "vis_convnext", 64, 64, 3, 0 }, { "siglip2", "vis_siglip2", 7, 14, 0, 1 },
		{ "siglip2", "vis_siglip2", 6, 14, 0, 0 },    { "siglip2", "vis_siglip2", 70, 70, 99, 0 },
		{ "blip", "vis_blip2", 29, 28, 0, 0 },
	};
	static float pixels[3 * 128 * 128];

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		const struct percept_encoder *ops = host_load(odd[i].plugin)->ops;
		struct percept_media m = { .size = sizeof(m), .modality = PERCEPT_IMAGE, .format = PERCEPT_F32_PIXELS, .frames = 1,
					   .width = odd[i].width, .height = odd[i].height, .channels = 3, .data = pixels,
					   .bytes = (uint64_t)odd[i].width * odd[i].height * 12, .max_tokens = odd[i].max_tokens };
		struct percept_layout layout = { .size = sizeof(layout) };
		struct check_host host;
		void *encoder = NULL;
		char path[4096];
		const struct percept_open open = { .size = sizeof(open), .role = "image.encoder", .assistant = "test",
						   .model = host_golden(odd[i].folder, path) };

		check_host_init(&host);
		assert_int_equal(ops->open(check_host_begin(&host), &open, &encoder), 0);
		const int error = ops->plan(check_host_begin(&host), encoder, &m, &layout);

		assert_true(odd[i].fine ? !error : error < 0 && host.text[0]);
		ops->close(encoder);
		check_host_fini(&host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_what_is_whole),
		cmocka_unit_test(refuses_odd_values),
		cmocka_unit_test(refuses_odd_pictures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
