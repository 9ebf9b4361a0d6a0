/* test-causal.c - the causal decoder's sequences, batches and hooks, on the weights of a golden folder. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */

#include "tests/plugins/host.h"

enum { ROWS = 60, CONTEXT = 64, LONG = 250, VOCAB_MAX = 1024 };

struct fixture {
	const struct percept_decoder *ops;
	void *decoder;
	struct check_host host;
	struct percept_decoder_info info;
};

/* *state: the folder of golden vectors whose model it is. `kv`, `compute`: may be NULL. */
static int open_with(void **state, int64_t rows, const char *kv, const char *compute)
{
	struct percept_value values[3] = { { .name = "context", .type = PERCEPT_OPTION_INT, .integer = rows, .given = 1 } };
	const char *name = *state ? *state : "dec_llama_gqa_theta";
	struct fixture *f = calloc(1, sizeof(*f));
	uint32_t n = 1;
	char path[4096];

	if (kv)
		values[n++] = (struct percept_value){ .name = "kv", .type = PERCEPT_OPTION_ENUM, .string = kv, .given = 1 };
	if (compute)
		values[n++] = (struct percept_value){ .name = "compute", .type = PERCEPT_OPTION_ENUM, .string = compute };
	const struct percept_open open = { .size = sizeof(open), .n_values = n, .values = values, .role = "decoder",
					   .model = host_golden(name, path), .assistant = "test",
					   .max_sequences = 4 };

	f->ops = host_load("causal")->ops;
	check_host_init(&f->host);
	*state = f;
	if (f->ops->open(check_host_begin(&f->host), &open, &f->decoder)) {
		print_error("%s\n", f->host.text);
		return -1;
	}
	f->info.size = sizeof(f->info);
	f->ops->info(f->decoder, &f->info);
	return f->info.vocab > VOCAB_MAX ? -1 : 0;
}

static int open_model(void **state, int64_t rows)
{
	return open_with(state, rows, NULL, NULL);
}

static int open_decoder(void **state)
{
	return open_model(state, CONTEXT);
}

static int open_long(void **state)
{
	return open_model(state, LONG);
}

static int close_decoder(void **state)
{
	struct fixture *f = *state;

	f->ops->close(f->decoder);
	check_host_fini(&f->host);
	free(f);
	return 0;
}

/* Most decoders look at the first position alone. */
static struct percept_row row(uint32_t sequence, uint32_t at)
{
	const int32_t p = (int32_t)at;

	return (struct percept_row){ .token = (int32_t)(at * 37 % 120 + sequence % 2), .sequence = sequence,
				     .position = { p, p / 2 + p % 5, p / 3, p }, .wants = PERCEPT_WANT_LOGITS };
}

static int step(struct fixture *f, const struct percept_row *rows, uint32_t n, const struct percept_hooks *hooks,
		struct percept_batch *b)
{
	*b = (struct percept_batch){ .size = sizeof(*b), .n = n, .rows = rows, .hooks = hooks };
	return f->ops->step(check_host_begin(&f->host), f->decoder, b);
}

/* Rows [first, next) of a sequence in one step; the last one's logits. */
static void extend(struct fixture *f, uint32_t sequence, uint32_t first, uint32_t next, float *logits)
{
	struct percept_row rows[ROWS];
	struct percept_batch b;

	for (uint32_t i = first; i < next; i++)
		rows[i - first] = row(sequence, i);
	assert_int_equal(step(f, rows, next - first, NULL, &b), 0);
	memcpy(logits, b.logits + (size_t)(next - first - 1) * f->info.vocab, f->info.vocab * sizeof(float));
}

static void assert_same(const struct fixture *f, const float *a, const float *b)
{
	assert_memory_equal(a, b, f->info.vocab * sizeof(float));
}

static void chunks_give_the_same_bits(void **state)
{
	struct fixture *f = *state;
	float whole[VOCAB_MAX], parts[VOCAB_MAX];

	extend(f, 0, 0, ROWS, whole);
	for (uint32_t i = 0; i < ROWS; i += 13)
		extend(f, 2, i, i + 13 < ROWS ? i + 13 : ROWS, parts);
	assert_same(f, whole, parts);
}

/* The last row's logits of a prompt in parts, and the bytes of its sequence, for a way to keep keys and values. */
static uint64_t kept(const char *kv, const char *compute, float *logits)
{
	void *state = NULL;
	float whole[VOCAB_MAX];

	assert_int_equal(open_with(&state, CONTEXT, kv, compute), 0);
	struct fixture *f = state;

	extend(f, 0, 0, ROWS, whole);
	for (uint32_t i = 0; i < ROWS; i += 13)
		extend(f, 2, i, i + 13 < ROWS ? i + 13 : ROWS, logits);
	assert_same(f, whole, logits);
	const uint64_t bytes = f->ops->sequence_bytes(f->decoder, 2);

	close_decoder(&state);
	return bytes;
}

static float apart(const float *a, const float *b)
{
	float most = 0;

	for (uint32_t i = 0; i < 64; i++)
		most = fabsf(a[i] - b[i]) > most ? fabsf(a[i] - b[i]) : most;
	return most;
}

static void keys_and_values_are_kept_as_configured(void **state)
{
	float whole[VOCAB_MAX], half[VOCAB_MAX], eighth[VOCAB_MAX], other[VOCAB_MAX];
	const uint64_t f32 = kept("f32", NULL, whole), f16 = kept("f16", NULL, half), q8 = kept("q8_0", NULL, eighth);

	/* A page's head of 64 bytes and the scales of 8 bits are the rest. */
	assert_true(f16 * 2 <= f32 + f32 / 32 && q8 * 3 <= f32 + f32 / 32 && q8 * 5 > f32);
	/* Logits of some units: numbers of 11 and of 7 bits. */
	assert_true(apart(whole, half) > 0 && apart(whole, half) < 0.02f);
	assert_true(apart(whole, eighth) > apart(whole, half) && apart(whole, eighth) < 0.3f);
	assert_int_equal(kept(NULL, NULL, other), f16);
	assert_true(apart(half, other) == 0);
	assert_int_equal(kept(NULL, "fast", other), f16);
	assert_int_equal(kept(NULL, "f32", other), f32);
	assert_int_equal(kept("q8_0", "f32", other), q8);
}

static void rows_of_others_change_nothing(void **state)
{
	struct fixture *f = *state;
	float alone[VOCAB_MAX];
	struct percept_row rows[3 * 20];
	struct percept_batch b;

	extend(f, 0, 0, 20, alone);
	for (uint32_t i = 0; i < 20; i++) {
		rows[3 * i] = row(1, i);
		rows[3 * i + 1] = row(2, i);
		rows[3 * i + 2] = row(3, i);
	}
	assert_int_equal(step(f, rows, 60, NULL, &b), 0);
	assert_same(f, alone, b.logits + (size_t)58 * f->info.vocab);
}

static void a_fork_shares_and_does_not_disturb(void **state)
{
	struct fixture *f = *state;
	float expected[VOCAB_MAX], forked[VOCAB_MAX], original[VOCAB_MAX];

	/* 40 is inside a page: the first write of either side copies it. */
	extend(f, 0, 0, 40, expected);
	const uint64_t before = f->ops->sequence_bytes(f->decoder, UINT32_MAX);

	assert_int_equal(f->ops->sequence_fork(f->decoder, 0, 2, 40), 0);
	assert_int_equal(f->ops->sequence_bytes(f->decoder, UINT32_MAX), before);
	struct percept_row other = row(2, 40);
	struct percept_batch b;

	other.token = 5;
	assert_int_equal(step(f, &other, 1, NULL, &b), 0);
	assert_true(f->ops->sequence_bytes(f->decoder, UINT32_MAX) > before);
	extend(f, 0, 40, 50, original);
	f->ops->sequence_new(f->decoder, 2);
	extend(f, 2, 0, 50, expected);
	assert_same(f, expected, original);
	assert_int_equal(f->ops->sequence_fork(f->decoder, 0, 2, 33), 0);
	extend(f, 2, 33, 50, forked);
	assert_same(f, expected, forked);
	f->ops->sequence_free(f->decoder, 0);
	f->ops->sequence_free(f->decoder, 2);
	assert_int_equal(f->ops->sequence_bytes(f->decoder, UINT32_MAX), 0);
}

static void a_trim_forgets(void **state)
{
	struct fixture *f = *state;
	float expected[VOCAB_MAX], got[VOCAB_MAX];

	extend(f, 0, 0, ROWS, expected);
	assert_int_equal(f->ops->sequence_trim(f->decoder, 0, 31), 0);
	extend(f, 0, 31, ROWS, got);
	assert_same(f, expected, got);
	assert_int_equal(f->ops->sequence_trim(f->decoder, 0, ROWS + 1), -EINVAL);
	assert_int_equal(f->ops->sequence_fork(f->decoder, 0, 9, 1), -EINVAL);
}

static void a_refused_step_leaves_sequences_as_they_were(void **state)
{
	struct fixture *f = *state;
	float expected[VOCAB_MAX], got[VOCAB_MAX];
	struct percept_row rows[CONTEXT];
	struct percept_batch b;

	extend(f, 0, 0, 30, expected);
	for (uint32_t i = 0; i < CONTEXT; i++)
		rows[i] = row(0, 30 + i);
	/* The context is full before the last of them. */
	assert_int_equal(step(f, rows, CONTEXT, NULL, &b), -E2BIG);
	assert_non_null(strstr(f->host.text, "64"));
	rows[3].token = (int32_t)f->info.vocab;
	assert_int_equal(step(f, rows, 5, NULL, &b), -EINVAL);
	rows[3].token = -1;
	assert_int_equal(step(f, rows, 5, NULL, &b), -EINVAL);
	assert_non_null(strstr(f->host.text, "Row 3"));
	extend(f, 0, 30, 40, got);
	f->ops->sequence_new(f->decoder, 2);
	extend(f, 2, 0, 40, expected);
	assert_same(f, expected, got);
}

static void embeddings_stand_for_their_tokens(void **state)
{
	struct fixture *f = *state;
	float expected[VOCAB_MAX];
	struct percept_row rows[20];
	struct percept_batch b;
	const float *embeddings;
	int32_t ids[20];

	extend(f, 0, 0, 20, expected);
	for (uint32_t i = 0; i < 20; i++) {
		rows[i] = row(2, i);
		ids[i] = rows[i].token;
	}
	assert_int_equal(f->ops->embed(check_host_begin(&f->host), f->decoder, ids, 20, &embeddings), 0);
	float *copy = malloc((size_t)20 * f->info.d_model * sizeof(float));

	memcpy(copy, embeddings, (size_t)20 * f->info.d_model * sizeof(float));
	for (uint32_t i = 0; i < 20; i++) {
		rows[i].token = -1;
		rows[i].embedding = copy + (size_t)i * f->info.d_model;
	}
	assert_int_equal(step(f, rows, 20, NULL, &b), 0);
	assert_same(f, expected, b.logits + (size_t)19 * f->info.vocab);
	free(copy);
}

static void spans_see_both_ways(void **state)
{
	struct fixture *f = *state;
	struct percept_row rows[12];
	struct percept_batch b;
	float causal[VOCAB_MAX], span[VOCAB_MAX];

	for (int turn = 0; turn < 3; turn++) {
		for (uint32_t i = 0; i < 12; i++) {
			rows[i] = row(0, i);
			rows[i].span = turn && i >= 4 && i < 8 ? 1 : 0;
		}
		/* With the span, row 4 sees row 7: another token there is felt. */
		rows[7].token = turn == 2 ? 9 : rows[7].token;
		f->ops->sequence_new(f->decoder, 0);
		assert_int_equal(step(f, rows, 12, NULL, &b), 0);
		const float *fourth = b.logits + (size_t)4 * f->info.vocab;

		if (turn)
			assert_memory_not_equal(fourth, turn == 1 ? causal : span, f->info.vocab * sizeof(float));
		memcpy(turn ? span : causal, fourth, f->info.vocab * sizeof(float));
	}
}

struct seen {
	uint32_t before, after, projected, rows, fail_at;
	uint32_t d_model;
};

static int hook_before(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n,
		       float *hidden)
{
	struct seen *s = state;

	if (s->before++ == s->fail_at)
		return percept_fail(call, -EIO, "The hook has had enough.");
	return 0;
}

static int hook_after(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n,
		      float *hidden)
{
	struct seen *s = state;

	s->after++;
	for (uint32_t i = 0; i < n; i++)
		hidden[(size_t)i * s->d_model] += 1;
	return 0;
}

static int hook_project(struct percept_call *call, void *state, uint32_t layer, enum percept_project what,
			const struct percept_row *rows, const uint32_t *index, uint32_t n, const float *x, float *y)
{
	struct seen *s = state;

	s->projected |= 1u << what;
	s->rows += n;
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(rows[index[i]].media, 1);
	memset(y, 0, n * sizeof(float));
	return 0;
}

static void hooks_are_called_and_heard(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { .fail_at = UINT32_MAX, .d_model = f->info.d_model };
	struct percept_hooks hooks = { .size = sizeof(hooks), .state = &seen, .before_layer = hook_before };
	float expected[VOCAB_MAX];
	struct percept_row rows[10];
	struct percept_batch b;

	extend(f, 2, 0, 10, expected);
	for (uint32_t i = 0; i < 10; i++)
		rows[i] = row(0, i);
	assert_int_equal(step(f, rows, 10, &hooks, &b), 0);
	assert_int_equal(seen.before, f->info.n_layers);
	assert_same(f, expected, b.logits + (size_t)9 * f->info.vocab);
	hooks.after_layer = hook_after;
	f->ops->sequence_new(f->decoder, 0);
	assert_int_equal(step(f, rows, 10, &hooks, &b), 0);
	assert_int_equal(seen.after, f->info.n_layers);
	assert_memory_not_equal(expected, b.logits + (size_t)9 * f->info.vocab, f->info.vocab * sizeof(float));
	seen.fail_at = seen.before;
	f->ops->sequence_new(f->decoder, 0);
	assert_int_equal(step(f, rows, 10, &hooks, &b), -EIO);
	assert_string_equal(f->host.text, "The hook has had enough.");
}

static void media_rows_are_projected_by_the_hook_alone(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { .fail_at = UINT32_MAX };
	const struct percept_hooks hooks = { .size = sizeof(hooks), .state = &seen, .project = hook_project };
	float expected[VOCAB_MAX];
	struct percept_row rows[10];
	struct percept_batch b;

	extend(f, 2, 0, 5, expected);
	for (uint32_t i = 0; i < 10; i++) {
		rows[i] = row(0, i);
		rows[i].media = i >= 5 && i < 8;
	}
	assert_int_equal(step(f, rows, 10, &hooks, &b), 0);
	assert_int_equal(seen.projected, 1 << PERCEPT_PROJECT_QKV | 1 << PERCEPT_PROJECT_OUT | 1 << PERCEPT_PROJECT_MLP);
	assert_int_equal(seen.rows, 3 * 3 * f->info.n_layers);
	assert_same(f, expected, b.logits + (size_t)4 * f->info.vocab);
}

static void cancelled_at_any_poll_it_stops_and_keeps_the_sequence(void **state)
{
	struct fixture *f = *state;
	struct percept_row rows[40];
	struct percept_batch b = { .size = sizeof(b), .n = 40, .rows = rows };
	float expected[VOCAB_MAX], got[VOCAB_MAX];
	int r = -1;

	for (uint32_t i = 0; i < 40; i++)
		rows[i] = row(0, i);
	for (uint64_t at = 1; r; at++) {
		struct percept_call *call = check_host_begin(&f->host);

		f->host.cancel_at = at;
		r = f->ops->step(call, f->decoder, &b);
		assert_true(!r || r == -ECANCELED);
		assert_true(at < 10000);
	}
	extend(f, 0, 40, 50, got);
	extend(f, 2, 0, 50, expected);
	assert_same(f, expected, got);
}

/* Layers with a window keep its rows and some more; what they gave up is not missed, and cannot be gone back to. */
static void a_windows_rows_are_enough(void **state)
{
	struct fixture *f = *state;
	struct percept_row *rows = calloc(LONG, sizeof(*rows));
	struct percept_batch b;
	float expected[VOCAB_MAX], got[VOCAB_MAX];

	for (uint32_t i = 0; i < LONG; i++)
		rows[i] = row(0, i);
	assert_int_equal(step(f, rows, LONG, NULL, &b), 0);
	memcpy(expected, b.logits + (size_t)(LONG - 1) * f->info.vocab, f->info.vocab * sizeof(float));
	free(rows);
	for (uint32_t i = 0; i < LONG; i += ROWS)
		extend(f, 2, i, i + ROWS < LONG ? i + ROWS : LONG, got);
	assert_same(f, expected, got);
	const uint64_t bytes = f->ops->sequence_bytes(f->decoder, 2);

	assert_int_equal(f->ops->sequence_bytes(f->decoder, 0), bytes);
	assert_int_equal(f->ops->sequence_trim(f->decoder, 2, 30), -ERANGE);
	assert_int_equal(f->ops->sequence_fork(f->decoder, 2, 3, 40), -ERANGE);
	assert_int_equal(f->ops->sequence_bytes(f->decoder, 2), bytes);
	assert_int_equal(f->ops->sequence_bytes(f->decoder, 3), 0);
	assert_int_equal(f->ops->sequence_fork(f->decoder, 2, 0, LONG - 20), 0);
	extend(f, 0, LONG - 20, LONG, got);
	assert_same(f, expected, got);
	assert_int_equal(f->ops->sequence_trim(f->decoder, 2, LONG - 60), 0);
	extend(f, 2, LONG - 60, LONG, got);
	assert_same(f, expected, got);
	/* A sequence of all its rows is larger. */
	extend(f, 1, 0, ROWS, got);
	assert_true(bytes < f->ops->sequence_bytes(f->decoder, 1) * (LONG / ROWS) * 3 / 4);
	for (uint32_t i = 0; i < 4; i++)
		f->ops->sequence_free(f->decoder, i);
	assert_int_equal(f->ops->sequence_bytes(f->decoder, UINT32_MAX), 0);
}

/* Components change a row's logits one by one; a negative one is refused. */
static void each_of_three_positions_counts(void **state)
{
	struct fixture *f = *state;
	struct percept_batch b;
	float usual[VOCAB_MAX], moved[VOCAB_MAX];

	assert_true(f->info.capabilities & PERCEPT_CAN_MROPE);
	for (int c = -1; c < 3; c++) {
		struct percept_row rows[] = { row(0, 0), row(0, 1), row(0, 2) };

		if (c >= 0)
			rows[2].position[c] += 3;
		assert_int_equal(f->ops->sequence_trim(f->decoder, 0, 0), 0);
		assert_int_equal(step(f, rows, 3, NULL, &b), 0);
		memcpy(c < 0 ? usual : moved, b.logits + 2 * (size_t)f->info.vocab, f->info.vocab * sizeof(float));
		assert_true(c < 0 || memcmp(usual, moved, f->info.vocab * sizeof(float)));
		rows[2].position[c < 0 ? 0 : c] = -1;
		assert_int_equal(step(f, rows + 2, 1, NULL, &b), -EINVAL);
	}
}

#define FAMILY(test, open, name) cmocka_unit_test_prestate_setup_teardown(test, open, close_decoder, name)
#define FAMILY_CASES(name)                                                                                                    \
	FAMILY(chunks_give_the_same_bits, open_decoder, name), FAMILY(rows_of_others_change_nothing, open_decoder, name),     \
		FAMILY(a_fork_shares_and_does_not_disturb, open_decoder, name), FAMILY(a_trim_forgets, open_decoder, name)
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_decoder, close_decoder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(chunks_give_the_same_bits),
		CASE(rows_of_others_change_nothing),
		cmocka_unit_test(keys_and_values_are_kept_as_configured),
		CASE(a_fork_shares_and_does_not_disturb),
		CASE(a_trim_forgets),
		CASE(a_refused_step_leaves_sequences_as_they_were),
		CASE(embeddings_stand_for_their_tokens),
		CASE(spans_see_both_ways),
		CASE(hooks_are_called_and_heard),
		CASE(media_rows_are_projected_by_the_hook_alone),
		CASE(cancelled_at_any_poll_it_stops_and_keeps_the_sequence),
		FAMILY_CASES("dec_deepseek_v2"),
		FAMILY_CASES("dec_gemma2_softcap"),
		FAMILY_CASES("dec_gemma3"),
		FAMILY_CASES("dec_mistral_sliding"),
		FAMILY_CASES("dec_mixtral_small"),
		FAMILY_CASES("dec_mpt"),
		FAMILY_CASES("dec_qwen2_moe"),
		FAMILY_CASES("vlm_qwen2vl"),
		FAMILY(each_of_three_positions_counts, open_decoder, "vlm_qwen2vl"),
		FAMILY(a_windows_rows_are_enough, open_long, "dec_mistral_sliding"),
		FAMILY(a_windows_rows_are_enough, open_long, "dec_gemma3"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
