/* test-gated.c - resamplers and gated cross-attention: configurations and items that they refuse, rows that have seen what is not bound, and
 * rows that stay as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */

#include "tests/plugins/host.h"
#include "tests/plugins/odd.h"

#define IDEFICS "vlm_idefics_small", "config.json"
#define VECTOR "vlm_idefics_vector", "config.json"
#define FLAMINGO "vlm_openflamingo", "config.json"
#define CROSSING "conn_flamingo_xattn", "config.json"
#define PERCEIVER "conn_flamingo_frames", "config.json"
#define QUERIES "conn_minicpmv_places", "config.json"

static void opens_what_is_whole(void **state)
{
	static const struct odd whole[] = {
		{ "gated_cross_attention", IDEFICS, NULL, NULL },
		{ "gated_cross_attention", VECTOR, NULL, NULL },
		{ "gated_cross_attention", FLAMINGO, NULL, NULL },
		{ "gated_cross_attention", CROSSING, NULL, NULL },
		{ "gated_cross_attention", CROSSING, "heads", NULL },
		{ "resampler", PERCEIVER, NULL, NULL },
		{ "resampler", PERCEIVER, "num_latents", NULL },
		{ "resampler", QUERIES, NULL, NULL },
		{ "resampler", "conn_minicpmv", "config.json", "adaptive", "false" },
		{ "idefics", IDEFICS, NULL, NULL },
		{ "causal", IDEFICS, NULL, NULL },
	};

	odd_taken(whole, sizeof(whole) / sizeof(whole[0]));
}

static void the_layers_refuse_odd_values(void **state)
{
	static const struct odd odd[] = {
		{ "gated_cross_attention", IDEFICS, "model_type", "\"odd\"" },
		{ "gated_cross_attention", IDEFICS, "cross_layer_interval", "0" },
		{ "gated_cross_attention", IDEFICS, "cross_layer_interval", "-2" },
		{ "gated_cross_attention", IDEFICS, "cross_layer_interval", "3" },
		{ "gated_cross_attention", IDEFICS, "cross_layer_interval", "1" },
		{ "gated_cross_attention", IDEFICS, "cross_layer_interval", "1e300" },
		{ "gated_cross_attention", IDEFICS, "num_hidden_layers", "0" },
		{ "gated_cross_attention", IDEFICS, "num_hidden_layers", "1000000000" },
		{ "gated_cross_attention", IDEFICS, "num_attention_heads", "0" },
		{ "gated_cross_attention", IDEFICS, "num_attention_heads", "3" },
		{ "gated_cross_attention", IDEFICS, "num_attention_heads", "4" },
		{ "gated_cross_attention", IDEFICS, "hidden_size", "17" },
		{ "gated_cross_attention", IDEFICS, "hidden_size", "-16" },
		{ "gated_cross_attention", IDEFICS, "intermediate_size", "13" },
		{ "gated_cross_attention", IDEFICS, "rms_norm_eps", "-1" },
		{ "gated_cross_attention", IDEFICS, "rms_norm_eps", "\"small\"" },
		{ "gated_cross_attention", IDEFICS, "hidden_act", "\"strange\"" },
		{ "gated_cross_attention", IDEFICS, "qk_layer_norms", "3" },
		{ "gated_cross_attention", IDEFICS, "vision_config.embed_dim", "13" },
		{ "gated_cross_attention", IDEFICS, "vision_config.embed_dim", "0" },
		{ "gated_cross_attention", IDEFICS, "perceiver_config.resampler_depth", "2" },
		{ "gated_cross_attention", IDEFICS, "perceiver_config.resampler_n_heads", "0" },
		{ "gated_cross_attention", IDEFICS, "perceiver_config.resampler_n_heads", "3" },
		{ "gated_cross_attention", IDEFICS, "perceiver_config.resampler_head_dim", "100000" },
		{ "gated_cross_attention", IDEFICS, "perceiver_config.resampler_n_latents", "4" },
		{ "gated_cross_attention", VECTOR, "use_resampler", "true" },
		{ "gated_cross_attention", VECTOR, "qk_layer_norms", "true" },
		{ "gated_cross_attention", FLAMINGO, "dim_head", "0" },
		{ "gated_cross_attention", FLAMINGO, "dim_head", "5" },
		{ "gated_cross_attention", FLAMINGO, "heads", "3" },
		{ "gated_cross_attention", CROSSING, "dim", "51" },
		{ "gated_cross_attention", CROSSING, "dim", "-52" },
		{ "gated_cross_attention", CROSSING, "dim_visual", "41" },
		{ "gated_cross_attention", CROSSING, "dim_head", NULL },
		{ "gated_cross_attention", CROSSING, "only_attend_immediate_media", "1e9" },
		{ "gated_cross_attention", PERCEIVER, NULL, NULL },
		{ "causal", IDEFICS, "additional_vocab_size", "-1" },
		{ "causal", IDEFICS, "additional_vocab_size", "1" },
		{ "causal", IDEFICS, "additional_vocab_size", "1e12" },
		{ "causal", IDEFICS, "vocab_size", "98" },
		{ "idefics", IDEFICS, "vision_config.patch_size", "0" },
		{ "idefics", IDEFICS, "vision_config.image_size", "[16,24]" },
		{ "idefics", IDEFICS, "vision_config.embed_dim", "-12" },
		{ "idefics", IDEFICS, "vision_config.hidden_act", "\"strange\"" },
	};

	odd_refused(odd, sizeof(odd) / sizeof(odd[0]));
}

static void resamplers_refuse_odd_values(void **state)
{
	static const struct odd odd[] = {
		{ "resampler", PERCEIVER, "depth", "0" },
		{ "resampler", PERCEIVER, "depth", "2" },
		{ "resampler", PERCEIVER, "depth", "1000000000" },
		{ "resampler", PERCEIVER, "heads", "-2" },
		{ "resampler", PERCEIVER, "heads", "3" },
		{ "resampler", PERCEIVER, "dim_head", "0" },
		{ "resampler", PERCEIVER, "dim_head", "1e18" },
		{ "resampler", PERCEIVER, "num_latents", "5" },
		{ "resampler", PERCEIVER, "num_latents", "1000000" },
		{ "resampler", QUERIES, "query_num", "0" },
		{ "resampler", QUERIES, "query_num", "3" },
		{ "resampler", QUERIES, "query_num", "1000000000" },
		{ "resampler", QUERIES, "num_heads", "5" },
		{ "resampler", QUERIES, "num_heads", "-3" },
		{ "resampler", QUERIES, "adaptive", "[]" },
		{ "resampler", "conn_llava_mlp", "config.json", NULL, NULL },
	};

	odd_refused(odd, sizeof(odd) / sizeof(odd[0]));
}

/* An opened fusion connector for two sequences. */
struct opened {
	struct check_host host;
	const struct percept_fusion *ops;
	void *fusion;
};

static void open_gated(struct opened *o, const char *folder)
{
	char path[4096];
	const struct percept_open open = { .size = sizeof(open), .role = "image.connector", .assistant = "test", .max_sequences = 2,
					   .model = host_golden(folder, path) };

	o->ops = host_load("gated_cross_attention")->ops;
	check_host_init(&o->host);
	assert_int_equal(o->ops->open(check_host_begin(&o->host), &open, &o->fusion), 0);
}

static void close_gated(struct opened *o)
{
	o->ops->close(o->fusion);
	check_host_fini(&o->host);
}

static float data[8 * 64];

/* An item of `items` pieces of `tokens` rows of `dim` values; NULL if it is refused, which has a reason. */
static void *remember(struct opened *o, uint32_t items, uint32_t tokens, uint32_t dim)
{
	const struct percept_features f = {
		.size = sizeof(f), .data = data,
		.layout = { .size = sizeof(f.layout), .items = items, .tokens = tokens, .dim = dim },
	};
	void *memory = NULL;
	uint64_t bytes = 0;
	const int error = o->ops->remember(check_host_begin(&o->host), o->fusion, &f, &memory, &bytes);

	assert_true(error ? !memory && o->host.text[0] : memory && bytes);
	return memory;
}

static void refuses_odd_items(void **state)
{
	struct opened o;

	open_gated(&o, "vlm_openflamingo");
	assert_null(remember(&o, 1, 4, 13));
	assert_null(remember(&o, 0, 4, 12));
	assert_null(remember(&o, 1, 0, 12));
	assert_null(remember(&o, 1 << 20, 1 << 20, 12));
	void *memory = remember(&o, 1, 4, 12);

	assert_non_null(memory);
	assert_true(o.ops->bind(check_host_begin(&o.host), o.fusion, 2, 1, memory) < 0 && o.host.text[0]);
	assert_true(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, 0, memory) < 0 && o.host.text[0]);
	assert_true(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, UINT32_MAX, memory) < 0 && o.host.text[0]);
	/* It was trained for three pictures in a prompt. */
	assert_int_equal(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, 3, memory), 0);
	assert_true(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, 4, memory) < 0 && strstr(o.host.text, "at most 3"));
	assert_int_equal(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, 3, NULL), 0);
	assert_int_equal(o.ops->bind(check_host_begin(&o.host), o.fusion, 9, 9, NULL), 0);
	o.ops->forget(o.fusion, memory);
	close_gated(&o);
}

/* Items that a resampler of frames is given: as many as it was trained for, in whole groups. */
static void resamplers_refuse_odd_items(void **state)
{
	static const struct {
		uint32_t items, tokens, dim, has_class, rows, cols, n;
		int64_t frames;
		const char *folder;
	} tries[] = {
		{ 3, 5, 12, 0, 0, 0, 4, 0, "conn_flamingo_frames" },  { 5, 5, 12, 0, 0, 0, 0, 0, "conn_flamingo_frames" },
		{ 6, 5, 12, 0, 0, 0, 8, 3, "conn_flamingo_frames" },  { 7, 5, 12, 0, 0, 0, 0, 3, "conn_flamingo_frames" },
		{ 12, 5, 12, 0, 0, 0, 0, 3, "conn_flamingo_frames" }, { 1, 5, 11, 0, 0, 0, 0, 0, "conn_flamingo_frames" },
		{ 0, 5, 12, 0, 0, 0, 0, 0, "conn_flamingo_frames" },  { 2, 6, 20, 0, 2, 3, 8, 0, "conn_minicpmv_places" },
		{ 2, 6, 20, 0, 3, 3, 0, 0, "conn_minicpmv_places" },  { 1, 6, 20, 0, 0, 0, 0, 0, "conn_minicpmv_places" },
		{ 1, 9, 20, 1, 3, 3, 0, 0, "conn_minicpmv_places" },  { 1, 9, 20, 0, 0, 0, 4, 0, "conn_minicpmv_places" },
		{ 0, 9, 20, 0, 3, 3, 0, 0, "conn_minicpmv_places" },  { 1, 0, 20, 0, 0, 0, 0, 0, "conn_minicpmv_places" },
		{ UINT32_MAX, 9, 20, 0, 3, 3, 0, 0, "conn_minicpmv_places" },
	};
	const struct percept_connector *ops = host_load("resampler")->ops;

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		const struct percept_value frames = { .name = "frames", .type = PERCEPT_OPTION_INT, .integer = tries[i].frames };
		const struct percept_layout layout = { .size = sizeof(layout), .items = tries[i].items, .tokens = tries[i].tokens,
						       .dim = tries[i].dim, .has_class = tries[i].has_class, .rows = tries[i].rows,
						       .cols = tries[i].cols };
		struct percept_embeddings e = { .size = sizeof(e) };
		struct check_host host;
		void *connector = NULL;
		char path[4096];
		const struct percept_open open = { .size = sizeof(open), .role = "image.connector", .assistant = "test", .values = &frames,
						   .n_values = tries[i].frames != 0, .model = host_golden(tries[i].folder, path) };

		check_host_init(&host);
		assert_int_equal(ops->open(check_host_begin(&host), &open, &connector), 0);
		const int error = ops->plan(check_host_begin(&host), connector, &layout, &e);

		if (tries[i].n ? error || e.n != tries[i].n : error >= 0 || !host.text[0])
			print_error("row %zu: %d, %u rows: %s\n", i, error, e.n, host.text);
		assert_true(tries[i].n ? !error && e.n == tries[i].n : error < 0 && host.text[0]);
		ops->close(connector);
		check_host_fini(&host);
	}
}

/* Rows of a sequence without items stay as they are, to the bit; one that has seen what is not bound is refused; once all is unbound, all
 * rows stay. */
static void leaves_other_rows(void **state)
{
	enum { D = 52, ROWS = 4 };
	static float hidden[ROWS * D], before[ROWS * D];
	struct percept_row rows[ROWS] = { { .sequence = 1 }, { .sequence = 0 }, { .sequence = 0, .media_seen = 1 }, { .sequence = 1 } };
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	struct opened o;

	open_gated(&o, "conn_flamingo_xattn");
	void *memory = remember(&o, 1, 5, 42);

	for (size_t i = 0; i < ROWS * D; i++)
		hidden[i] = before[i] = (float)(i % 17) / 8 - 1;
	assert_int_equal(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, 1, memory), 0);
	assert_int_equal(o.ops->hooks(check_host_begin(&o.host), o.fusion, &hooks), 0);
	assert_int_equal(hooks.before_layer(check_host_begin(&o.host), hooks.state, 0, rows, ROWS, hidden), 0);
	assert_memory_equal(hidden, before, D * sizeof(float));
	assert_memory_equal(hidden + 3 * D, before + 3 * D, D * sizeof(float));
	assert_memory_not_equal(hidden + D, before + D, D * sizeof(float));
	assert_memory_not_equal(hidden + 2 * D, before + 2 * D, D * sizeof(float));
	/* Layers without a block. */
	memcpy(hidden, before, sizeof(hidden));
	assert_int_equal(hooks.before_layer(check_host_begin(&o.host), hooks.state, 1, rows, ROWS, hidden), 0);
	assert_int_equal(hooks.before_layer(check_host_begin(&o.host), hooks.state, UINT32_MAX, rows, ROWS, hidden), 0);
	assert_memory_equal(hidden, before, sizeof(hidden));
	rows[1].media_seen = 2;
	assert_true(hooks.before_layer(check_host_begin(&o.host), hooks.state, 0, rows, ROWS, hidden) < 0 && o.host.text[0]);
	assert_int_equal(o.ops->bind(check_host_begin(&o.host), o.fusion, 0, 1, NULL), 0);
	memcpy(hidden, before, sizeof(hidden));
	assert_int_equal(hooks.before_layer(check_host_begin(&o.host), hooks.state, 0, rows, ROWS, hidden), 0);
	assert_memory_equal(hidden, before, sizeof(hidden));
	o.ops->forget(o.fusion, memory);
	close_gated(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_what_is_whole),
		cmocka_unit_test(the_layers_refuse_odd_values),
		cmocka_unit_test(resamplers_refuse_odd_values),
		cmocka_unit_test(refuses_odd_items),
		cmocka_unit_test(resamplers_refuse_odd_items),
		cmocka_unit_test(leaves_other_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
