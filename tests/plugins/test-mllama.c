/* test-mllama.c - Llama 3.2 Vision's three parts: configurations and pictures that they refuse, and rows of pictures that are not bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */

#include "tests/plugins/host.h"
#include "tests/plugins/odd.h"

#define FOLDER "vlm_mllama", "config.json"

static void opens_what_is_whole(void **state)
{
	static const struct odd whole[] = {
		{ "mllama", FOLDER, NULL, NULL },
		{ "cross_attention", FOLDER, NULL, NULL },
		{ "causal", FOLDER, NULL, NULL },
		{ "mllama", FOLDER, "vision_config.supported_aspect_ratios", "null" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "[-1,0]" },
		{ "mllama", FOLDER, "vision_config.vision_output_dim", "null" },
		{ "cross_attention", FOLDER, "vision_config.vision_output_dim", "null" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "image_processor_type", "\"CLIPImageProcessor\"" },
	};

	odd_taken(whole, sizeof(whole) / sizeof(whole[0]));
}

static void the_tower_refuses_odd_values(void **state)
{
	static const struct odd odd[] = {
		{ "mllama", FOLDER, "vision_config.model_type", "\"clip_vision_model\"" },
		{ "mllama", FOLDER, "vision_config.max_num_tiles", "0" },
		{ "mllama", FOLDER, "vision_config.max_num_tiles", "-4" },
		{ "mllama", FOLDER, "vision_config.max_num_tiles", "5" },
		{ "mllama", FOLDER, "vision_config.max_num_tiles", "1000000000" },
		{ "mllama", FOLDER, "vision_config.max_num_tiles", "\"four\"" },
		{ "mllama", FOLDER, "vision_config.supported_aspect_ratios", "[]" },
		{ "mllama", FOLDER, "vision_config.supported_aspect_ratios", "[[1,1],[1,2]]" },
		{ "mllama", FOLDER, "vision_config.supported_aspect_ratios", "[1,1,1,2,1,1,1,1]" },
		{ "mllama", FOLDER, "vision_config.supported_aspect_ratios", "8" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "[]" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "[0,2]" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "[0,-3]" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "[0,0.5]" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "[0,\"1\"]" },
		{ "mllama", FOLDER, "vision_config.intermediate_layers_indices", "3" },
		{ "mllama", FOLDER, "vision_config.vision_output_dim", "61" },
		{ "mllama", FOLDER, "vision_config.vision_output_dim", "-60" },
		{ "mllama", FOLDER, "vision_config.patch_size", "0" },
		{ "mllama", FOLDER, "vision_config.patch_size", "28" },
		{ "mllama", FOLDER, "vision_config.patch_size", "[7,7]" },
		{ "mllama", FOLDER, "vision_config.image_size", "-14" },
		{ "mllama", FOLDER, "vision_config.image_size", "1e9" },
		{ "mllama", FOLDER, "vision_config.image_size", "16000" },
		{ "mllama", FOLDER, "vision_config.image_size", "21" },
		{ "mllama", FOLDER, "vision_config.attention_heads", "3" },
		{ "mllama", FOLDER, "vision_config.attention_heads", "0" },
		{ "mllama", FOLDER, "vision_config.hidden_size", "0" },
		{ "mllama", FOLDER, "vision_config.hidden_act", "\"strange\"" },
		{ "mllama", FOLDER, "vision_config.norm_eps", "-1" },
		{ "mllama", FOLDER, "vision_config.num_channels", "1" },
		{ "mllama", FOLDER, "vision_config.num_hidden_layers", "3" },
		{ "mllama", FOLDER, "vision_config.num_hidden_layers", "1000000000" },
		{ "mllama", FOLDER, "vision_config.num_global_layers", "2" },
		{ "mllama", FOLDER, "vision_config.num_global_layers", "-1" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "max_image_tiles", "0" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "max_image_tiles", "-4" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "max_image_tiles", "6" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "max_image_tiles", "1000000" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "size", "{\"height\":14,\"width\":28}" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "size", "{\"height\":28,\"width\":28}" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "size", "{\"shortest_edge\":14}" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "size", "{\"height\":0,\"width\":0}" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "do_pad", "false" },
		{ "mllama", "vlm_mllama", "preprocessor_config.json", "do_resize", "false" },
	};

	odd_refused(odd, sizeof(odd) / sizeof(odd[0]));
}

static void the_layers_refuse_odd_values(void **state)
{
	static const struct odd odd[] = {
		{ "cross_attention", FOLDER, "text_config.model_type", "\"llama\"" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[1,1]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[1,4]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[-1,3]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[1,1e300]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[1.5]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[0,1,2,3]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[0,1]" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "\"1,3\"" },
		{ "cross_attention", FOLDER, "text_config.num_key_value_heads", "2" },
		{ "cross_attention", FOLDER, "text_config.num_attention_heads", "0" },
		{ "cross_attention", FOLDER, "text_config.num_attention_heads", "5" },
		{ "cross_attention", FOLDER, "text_config.hidden_size", "25" },
		{ "cross_attention", FOLDER, "text_config.intermediate_size", "-1" },
		{ "cross_attention", FOLDER, "text_config.rms_norm_eps", "-1" },
		{ "cross_attention", FOLDER, "text_config.hidden_act", "\"strange\"" },
		{ "cross_attention", FOLDER, "text_config.num_hidden_layers", "1000000000" },
		{ "cross_attention", FOLDER, "vision_config.vision_output_dim", "61" },
		{ "cross_attention", FOLDER, "vision_config.vision_output_dim", "0" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "[1,1]" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "[1,4]" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "[-1]" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "[0,1,2,3]" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "[0,1]" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "{}" },
		{ "causal", FOLDER, "text_config.vocab_size", "105" },
		{ "causal", FOLDER, "text_config.num_hidden_layers", "6" },
	};

	odd_refused(odd, sizeof(odd) / sizeof(odd[0]));
}

/* A tensor is missing: its file has another name for it. */
static void misses_tensors_by_name(void **state)
{
	static const struct odd odd[] = {
		{ "mllama", FOLDER, "vision_config.num_global_layers", "9" },
		{ "cross_attention", FOLDER, "text_config.cross_attention_layers", "[3,2]" },
		{ "causal", FOLDER, "text_config.cross_attention_layers", "[3]" },
	};
	static const char *const names[] = { "global_transformer.layers.1.", "layers.2.cross_attn.", "layers.1.self_attn." };

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		char text[512];

		assert_true(odd_open(&odd[i], text) < 0);
		if (!strstr(text, names[i]))
			print_error("%s\n", text);
		assert_non_null(strstr(text, names[i]));
	}
}

static void the_tower_refuses_odd_pictures(void **state)
{
	static const struct {
		uint32_t width, height, frames, format, max_tokens, tiles;
	} odd[] = {
		{ 40, 9, 1, PERCEPT_U8_RGB, 0, 3 },      { 40, 9, 1, PERCEPT_U8_RGB, 5, 1 }, { 40, 9, 1, PERCEPT_U8_RGB, 14, 2 },
		{ 40, 9, 1, PERCEPT_U8_RGB, 4, 0 },      { 0, 9, 1, PERCEPT_U8_RGB, 0, 0 },  { 14, 14, 2, PERCEPT_U8_RGB, 0, 0 },
		{ 14, 14, 1, PERCEPT_F32_PIXELS, 0, 0 }, { 1, 64, 1, PERCEPT_U8_RGB, 0, 4 },
	};
	static unsigned char pixels[1 << 14];
	const struct percept_encoder *ops = host_load("mllama")->ops;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct percept_media m = { .size = sizeof(m), .modality = PERCEPT_IMAGE, .format = odd[i].format, .frames = odd[i].frames,
					   .width = odd[i].width, .height = odd[i].height, .channels = 3, .data = pixels,
					   .bytes = (uint64_t)odd[i].width * odd[i].height * 12, .max_tokens = odd[i].max_tokens };
		struct percept_layout layout = { .size = sizeof(layout) };
		struct check_host host;
		void *encoder = NULL;
		char path[4096];
		const struct percept_open open = { .size = sizeof(open), .role = "image.encoder", .assistant = "test",
						   .model = host_golden("vlm_mllama", path) };

		check_host_init(&host);
		assert_int_equal(ops->open(check_host_begin(&host), &open, &encoder), 0);
		const int error = ops->plan(check_host_begin(&host), encoder, &m, &layout);

		assert_true(odd[i].tiles ? !error && layout.grid_rows * layout.grid_cols == odd[i].tiles : error < 0 && host.text[0]);
		ops->close(encoder);
		check_host_fini(&host);
	}
}

/* Features of other sizes, items out of range, and rows that have seen what is not bound. */
static void the_layers_refuse_odd_items(void **state)
{
	static float data[2 * 5 * 60], hidden[24];
	const struct percept_fusion *ops = host_load("cross_attention")->ops;
	const uint32_t none[] = { 0, 0 }, real[] = { 5, 0 };
	struct percept_features f = { .size = sizeof(f), .data = data };
	struct percept_row row = { .media_seen = 1, .media_run = 1 };
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	struct check_host host;
	void *fusion = NULL, *memory = NULL;
	uint64_t bytes = 0;
	char path[4096];
	const struct percept_open open = { .size = sizeof(open), .role = "image.connector", .assistant = "test", .max_sequences = 1,
					   .model = host_golden("vlm_mllama", path) };

	check_host_init(&host);
	assert_int_equal(ops->open(check_host_begin(&host), &open, &fusion), 0);
	f.layout = (struct percept_layout){ .size = sizeof(f.layout), .items = 2, .tokens = 5, .dim = 59, .item_tokens = real };
	assert_true(ops->remember(check_host_begin(&host), fusion, &f, &memory, &bytes) < 0 && host.text[0]);
	f.layout.dim = 60;
	f.layout.item_tokens = none;
	assert_true(ops->remember(check_host_begin(&host), fusion, &f, &memory, &bytes) < 0 && host.text[0]);
	f.layout.item_tokens = real;
	assert_int_equal(ops->remember(check_host_begin(&host), fusion, &f, &memory, &bytes), 0);
	assert_true(memory && bytes);
	assert_true(ops->bind(check_host_begin(&host), fusion, 1, 1, memory) < 0 && host.text[0]);
	assert_true(ops->bind(check_host_begin(&host), fusion, 0, 0, memory) < 0 && host.text[0]);
	assert_int_equal(ops->bind(check_host_begin(&host), fusion, 0, 2, memory), 0);
	assert_int_equal(ops->hooks(check_host_begin(&host), fusion, &hooks), 0);
	assert_true(hooks.before_layer(check_host_begin(&host), hooks.state, 1, &row, 1, hidden) < 0 && host.text[0]);
	row.media_seen = row.media_run = 3;
	assert_true(hooks.before_layer(check_host_begin(&host), hooks.state, 1, &row, 1, hidden) < 0 && host.text[0]);
	row.media_seen = row.media_run = 2;
	assert_int_equal(hooks.before_layer(check_host_begin(&host), hooks.state, 1, &row, 1, hidden), 0);
	assert_int_equal(ops->bind(check_host_begin(&host), fusion, 0, 2, NULL), 0);
	ops->forget(fusion, memory);
	ops->close(fusion);
	check_host_fini(&host);
}

/* hidden [24] = what a row that has seen the picture becomes; `first`: padding lies in front. */
static void attend_one(const struct percept_fusion *ops, void *fusion, struct check_host *host, int first, float hidden[24])
{
	static float data[2][5 * 60];
	const uint32_t real[] = { first ? 0 : 5, first ? 5 : 0 };
	struct percept_features f = { .size = sizeof(f), .data = data[0] };
	const struct percept_row row = { .media_seen = 1, .media_run = 1 };
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	void *memory = NULL;
	uint64_t bytes = 0;

	for (size_t i = 0; i < 5 * 60; i++) {
		data[first][i] = (float)(i * 7919 % 101) / 50 - 1;
		data[!first][i] = 9;
	}
	for (size_t i = 0; i < 24; i++)
		hidden[i] = (float)i / 12 - 1;
	f.layout = (struct percept_layout){ .size = sizeof(f.layout), .items = 2, .tokens = 5, .dim = 60, .item_tokens = real };
	assert_int_equal(ops->remember(check_host_begin(host), fusion, &f, &memory, &bytes), 0);
	assert_int_equal(ops->bind(check_host_begin(host), fusion, 0, 1, memory), 0);
	assert_int_equal(ops->hooks(check_host_begin(host), fusion, &hooks), 0);
	assert_int_equal(hooks.before_layer(check_host_begin(host), hooks.state, 1, &row, 1, hidden), 0);
	assert_int_equal(ops->bind(check_host_begin(host), fusion, 0, 1, NULL), 0);
	ops->forget(fusion, memory);
}

static void padding_may_lie_in_front(void **state)
{
	const struct percept_fusion *ops = host_load("cross_attention")->ops;
	struct check_host host;
	void *fusion = NULL;
	char path[4096];
	float behind[24], front[24];
	const struct percept_open open = { .size = sizeof(open), .role = "image.connector", .assistant = "test", .max_sequences = 1,
					   .model = host_golden("vlm_mllama", path) };

	check_host_init(&host);
	assert_int_equal(ops->open(check_host_begin(&host), &open, &fusion), 0);
	attend_one(ops, fusion, &host, 0, behind);
	attend_one(ops, fusion, &host, 1, front);
	assert_memory_equal(behind, front, sizeof(behind));
	assert_true(behind[0] != -1);
	ops->close(fusion);
	check_host_fini(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_what_is_whole),
		cmocka_unit_test(the_tower_refuses_odd_values),
		cmocka_unit_test(the_layers_refuse_odd_values),
		cmocka_unit_test(misses_tensors_by_name),
		cmocka_unit_test(the_tower_refuses_odd_pictures),
		cmocka_unit_test(the_layers_refuse_odd_items),
		cmocka_unit_test(padding_may_lie_in_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
