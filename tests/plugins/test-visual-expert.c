/* test-visual-expert.c - CogVLM's parts: configurations and features that they refuse, and rows of pictures and texts in one batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */

#include "tests/plugins/host.h"
#include "tests/plugins/odd.h"

#define FIRST "vlm_cogvlm", "config.json"
#define SECOND "vlm_cogvlm2", "config.json"

enum { DIM = 24, D_MODEL = 32, VOCAB = 64, PATCHES = 9, TEXT = 5, ROWS = 1 + PATCHES + 2 + TEXT };

static void opens_what_is_whole(void **state)
{
	static const struct odd whole[] = {
		{ "eva", FIRST, NULL, NULL },
		{ "eva", FIRST, "model_type", "\"cogvlm\"" },
		{ "eva", FIRST, "vision_config.num_positions", "7" },
		{ "visual_expert", FIRST, NULL, NULL },
		{ "visual_expert", FIRST, "vision_config", "{}" },
		{ "causal", FIRST, NULL, NULL },
		{ "causal", FIRST, "model_type", "\"cogvlm\"" },
		{ "eva", SECOND, NULL, NULL },
		{ "visual_expert", SECOND, NULL, NULL },
		{ "causal", SECOND, "num_multi_query_heads", "2" },
	};

	odd_taken(whole, sizeof(whole) / sizeof(whole[0]));
}

static void refuses_odd_values(void **state)
{
	static const struct odd odd[] = {
		{ "eva", FIRST, "vision_config", "1" },
		{ "eva", FIRST, "vision_config.patch_size", "0" },
		{ "eva", FIRST, "vision_config.patch_size", "-4" },
		{ "eva", FIRST, "vision_config.patch_size", "13" },
		{ "eva", FIRST, "vision_config.patch_size", "\"4\"" },
		{ "eva", FIRST, "vision_config.image_size", "1e9" },
		{ "eva", FIRST, "vision_config.image_size", "16" },
		{ "eva", FIRST, "vision_config.image_size", "16384" },
		{ "eva", FIRST, "vision_config.num_heads", "0" },
		{ "eva", FIRST, "vision_config.num_heads", "5" },
		{ "eva", FIRST, "vision_config.hidden_size", "25" },
		{ "eva", FIRST, "vision_config.intermediate_size", "-1" },
		{ "eva", FIRST, "vision_config.num_hidden_layers", "1000000000" },
		{ "eva", FIRST, "vision_config.num_hidden_layers", "3" },
		{ "eva", FIRST, "vision_config.in_channels", "4" },
		{ "eva", FIRST, "vision_config.hidden_act", "\"strange\"" },
		{ "eva", FIRST, "vision_config.layer_norm_eps", "-1" },
		{ "visual_expert", FIRST, "hidden_act", "\"strange\"" },
		{ "visual_expert", FIRST, "num_hidden_layers", "0" },
		{ "visual_expert", FIRST, "num_hidden_layers", "3" },
		{ "visual_expert", FIRST, "num_hidden_layers", "1000000000" },
		{ "visual_expert", FIRST, "num_hidden_layers", "\"two\"" },
		{ "causal", FIRST, "hidden_size", "48" },
		{ "causal", FIRST, "num_attention_heads", "0" },
		{ "causal", FIRST, "num_attention_heads", "3" },
		{ "causal", FIRST, "num_multi_query_heads", "2" },
		{ "causal", FIRST, "num_multi_query_heads", "-1" },
		{ "causal", FIRST, "num_hidden_layers", "3" },
		{ "causal", FIRST, "rope_theta", "\"slow\"" },
		{ "causal", SECOND, "num_multi_query_heads", "4" },
		{ "causal", SECOND, "num_multi_query_heads", "3" },
	};

	odd_refused(odd, sizeof(odd) / sizeof(odd[0]));
}

/* ---- items ---- */

struct fixture {
	const struct percept_fusion *ops;
	const struct percept_decoder *decoder_ops;
	void *fusion, *decoder;
	struct check_host host;
};

/* The connector of a case, and the first one's decoder, which knows one sequence more than the connector. */
static void begin(struct fixture *f, const char *name)
{
	static const struct percept_value exact = { .name = "compute", .type = PERCEPT_OPTION_ENUM, .string = "f32" };
	char path[4096];
	struct percept_open open = { .size = sizeof(open), .n_values = 1, .values = &exact, .assistant = "test", .max_sequences = 2 };

	f->ops = host_load("visual_expert")->ops;
	f->decoder_ops = host_load("causal")->ops;
	check_host_init(&f->host);
	open.role = "image.connector";
	open.model = host_golden(name, path);
	assert_int_equal(f->ops->open(check_host_begin(&f->host), &open, &f->fusion), 0);
	open.role = "decoder";
	assert_int_equal(f->decoder_ops->open(check_host_begin(&f->host), &open, &f->decoder), 0);
}

static void end(struct fixture *f)
{
	f->ops->close(f->fusion);
	f->decoder_ops->close(f->decoder);
	check_host_fini(&f->host);
}

static void the_sizes_are_the_decoders(void **state)
{
	static const char *const names[] = { "vlm_cogvlm", "vlm_cogvlm2" };

	for (size_t i = 0; i < 2; i++) {
		struct percept_fusion_info made = { .size = sizeof(made) };
		struct percept_decoder_info has = { .size = sizeof(has) };
		struct fixture f;

		begin(&f, names[i]);
		f.ops->info(f.fusion, &made);
		f.decoder_ops->info(f.decoder, &has);
		assert_true(made.d_model == has.d_model && made.n_layers == has.n_layers && made.qkv_dim == has.qkv_dim &&
			    made.out_dim == has.out_dim && made.hooks == PERCEPT_CAN_HOOK_PROJECT);
		end(&f);
	}
}

/* Features of other sizes, or that are no grid where patches are joined. `n`: rows of what is taken; 0: refused. */
static void refuses_odd_features(void **state)
{
	static const struct {
		const char *name;
		uint32_t items, tokens, dim, rows, cols, n;
	} all[] = {
		{ "vlm_cogvlm", 1, 1, DIM, 0, 0, 3 },      { "vlm_cogvlm", 1, 7, DIM, 0, 0, 9 },	{ "vlm_cogvlm", 2, 4, DIM, 2, 2, 10 },
		{ "vlm_cogvlm", 1, 4, DIM - 1, 2, 2, 0 },  { "vlm_cogvlm", 1, 0, DIM, 0, 0, 0 },	{ "vlm_cogvlm", 0, 4, DIM, 2, 2, 0 },
		{ "vlm_cogvlm", 1 << 20, 1 << 20, DIM, 0, 0, 0 }, { "vlm_cogvlm", UINT32_MAX, UINT32_MAX, DIM, 0, 0, 0 },
		{ "vlm_cogvlm2", 1, 16, DIM, 0, 0, 6 },    { "vlm_cogvlm2", 1, 15, DIM, 3, 5, 4 },      { "vlm_cogvlm2", 2, 4, DIM, 2, 2, 4 },
		{ "vlm_cogvlm2", 1, 15, DIM, 0, 0, 0 },    { "vlm_cogvlm2", 1, 16, DIM, 4, 5, 0 },      { "vlm_cogvlm2", 1, 1, DIM, 1, 1, 0 },
		{ "vlm_cogvlm2", 1, 4, DIM, 1, 4, 0 },     { "vlm_cogvlm2", 1, 0, DIM, 0, 0, 0 },
		{ "vlm_cogvlm2", 1, 0, DIM, 65536, 65536, 0 },
	};
	static float data[16 * DIM];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct percept_features f = {
			.size = sizeof(f), .data = data,
			.layout = { .size = sizeof(f.layout), .items = all[i].items, .tokens = all[i].tokens, .dim = all[i].dim,
				    .rows = all[i].rows, .cols = all[i].cols },
		};
		struct percept_embeddings planned = { .size = sizeof(planned) }, e = { .size = sizeof(e) };
		struct fixture x;
		void *memory = NULL;
		uint64_t bytes = 0;

		begin(&x, all[i].name);
		const int error = x.ops->plan(check_host_begin(&x.host), x.fusion, &f.layout, &planned);

		assert_true(all[i].n ? !error && planned.n == all[i].n : error < 0 && x.host.text[0]);
		assert_int_equal(x.ops->remember(check_host_begin(&x.host), x.fusion, &f, &memory, &bytes) != 0, error != 0);
		assert_true(all[i].n ? memory && bytes : !memory && x.host.text[0]);
		if (memory) {
			assert_int_equal(x.ops->embed(check_host_begin(&x.host), x.fusion, memory, &e), 0);
			assert_true(e.n == all[i].n && e.dim == D_MODEL && e.n_pieces == 2 && e.pieces[1].unowned && e.position_span == 3);
			x.ops->forget(x.fusion, memory);
		}
		end(&x);
	}
}

static void refuses_what_it_has_not(void **state)
{
	static float x[3 * D_MODEL], y[3 * D_MODEL];
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	const struct percept_row row = { .media = 1 };
	const uint32_t index = 0;
	struct fixture f;
	int memory;

	begin(&f, "vlm_cogvlm");
	assert_int_equal(f.ops->hooks(check_host_begin(&f.host), f.fusion, &hooks), 0);
	assert_int_equal(hooks.project(check_host_begin(&f.host), hooks.state, 1, PERCEPT_PROJECT_QKV, &row, &index, 1, x, y), 0);
	assert_true(hooks.project(check_host_begin(&f.host), hooks.state, 2, PERCEPT_PROJECT_QKV, &row, &index, 1, x, y) < 0);
	assert_true(f.host.text[0]);
	assert_true(hooks.project(check_host_begin(&f.host), hooks.state, 0, (enum percept_project)0, &row, &index, 1, x, y) < 0);
	assert_true(hooks.project(check_host_begin(&f.host), hooks.state, 0, (enum percept_project)4, &row, &index, 1, x, y) < 0);
	assert_true(f.ops->bind(check_host_begin(&f.host), f.fusion, 2, 1, &memory) < 0 && f.host.text[0]);
	assert_true(f.ops->bind(check_host_begin(&f.host), f.fusion, 0, 0, &memory) < 0 && f.host.text[0]);
	assert_int_equal(f.ops->bind(check_host_begin(&f.host), f.fusion, 7, 1, NULL), 0);
	end(&f);
}

/* ---- batches ---- */

/* Rows of a prompt with a picture, of sequence 0; of sequence 1 the words alone. */
static uint32_t put_rows(struct percept_row *rows, uint32_t sequence, const struct percept_embeddings *e)
{
	int32_t at = 0;
	uint32_t n = 0;

	rows[n++] = (struct percept_row){ .token = 1, .sequence = sequence, .position = { at++ } };
	for (uint32_t i = 0; e && i < e->n; i++)
		rows[n++] = (struct percept_row){ .token = -1, .embedding = e->data + (size_t)i * e->dim, .sequence = sequence,
						  .position = { at + e->positions[4 * i] }, .media = i + 1 < e->n, .media_seen = 1, .media_run = 1 };
	at += e ? (int32_t)e->position_span : 0;
	for (uint32_t i = 0; i < TEXT; i++)
		rows[n++] = (struct percept_row){ .token = 7 + (int32_t)(i * 11 % 50), .sequence = sequence, .position = { at++ },
						  .media_seen = e != NULL, .media_run = e != NULL };
	for (uint32_t i = 0; i < n; i++)
		rows[i].wants = PERCEPT_WANT_LOGITS;
	return n;
}

static void step(struct fixture *f, const struct percept_row *rows, uint32_t n, const struct percept_hooks *hooks, float *logits)
{
	struct percept_batch b = { .size = sizeof(b), .n = n, .rows = rows, .hooks = hooks };

	assert_int_equal(f->decoder_ops->step(check_host_begin(&f->host), f->decoder, &b), 0);
	memcpy(logits, b.logits, (size_t)n * VOCAB * sizeof(float));
}

static void rows_are_the_same_in_any_batch(void **state)
{
	static float data[PATCHES * DIM], whole[ROWS * VOCAB], words[(TEXT + 1) * VOCAB], part[2 * ROWS * VOCAB], copy[(PATCHES + 2) * D_MODEL];
	const struct percept_features features = { .size = sizeof(features), .data = data,
						   .layout = { .size = sizeof(features.layout), .items = 1, .tokens = PATCHES, .dim = DIM } };
	struct percept_row picture[ROWS], plain[TEXT + 1], mixed[2 * ROWS];
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	struct percept_embeddings e = { .size = sizeof(e) };
	struct fixture f;
	void *memory = NULL;
	uint64_t bytes;

	for (size_t i = 0; i < PATCHES * DIM; i++)
		data[i] = (float)(i * 7919 % 101) / 50 - 1;
	begin(&f, "vlm_cogvlm");
	assert_int_equal(f.ops->remember(check_host_begin(&f.host), f.fusion, &features, &memory, &bytes), 0);
	assert_int_equal(f.ops->embed(check_host_begin(&f.host), f.fusion, memory, &e), 0);
	memcpy(copy, e.data, sizeof(copy));
	int32_t positions[4 * (PATCHES + 2)];

	memcpy(positions, e.positions, sizeof(positions));
	e.data = copy;
	e.positions = positions;
	assert_int_equal(f.ops->bind(check_host_begin(&f.host), f.fusion, 0, 1, memory), 0);
	assert_int_equal(f.ops->hooks(check_host_begin(&f.host), f.fusion, &hooks), 0);
	assert_int_equal(put_rows(picture, 0, &e), ROWS);
	assert_int_equal(put_rows(plain, 1, NULL), TEXT + 1);
	step(&f, picture, ROWS, &hooks, whole);
	step(&f, plain, TEXT + 1, NULL, words);
	f.decoder_ops->sequence_trim(f.decoder, 0, 0);
	f.decoder_ops->sequence_trim(f.decoder, 1, 0);
	/* Three rows of the picture's prompt and one of the other at a time. */
	for (uint32_t done = 0, others = 0; done < ROWS;) {
		const uint32_t some = ROWS - done < 3 ? ROWS - done : 3, more = others <= TEXT;

		memcpy(mixed, picture + done, some * sizeof(*mixed));
		if (more)
			mixed[some] = plain[others];
		step(&f, mixed, some + more, &hooks, part);
		assert_memory_equal(part, whole + (size_t)done * VOCAB, some * VOCAB * sizeof(float));
		if (more)
			assert_memory_equal(part + (size_t)some * VOCAB, words + (size_t)others * VOCAB, VOCAB * sizeof(float));
		done += some;
		others += more;
	}
	assert_int_equal(f.ops->bind(check_host_begin(&f.host), f.fusion, 0, 1, NULL), 0);
	f.ops->forget(f.fusion, memory);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_what_is_whole),
		cmocka_unit_test(refuses_odd_values),
		cmocka_unit_test(the_sizes_are_the_decoders),
		cmocka_unit_test(refuses_odd_features),
		cmocka_unit_test(refuses_what_it_has_not),
		cmocka_unit_test(rows_are_the_same_in_any_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
