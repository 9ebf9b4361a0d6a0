/* test-doubles.c - what others rely on in colours and echo. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/plugins/host.h"

static const struct percept_open plain = { .size = sizeof(plain), .role = "test", .assistant = "test", .max_sequences = 2 };

static void colours_are_the_means_of_cells(void **state)
{
	const struct percept_encoder *ops = host_load("colours")->ops;
	struct check_host host;
	void *encoder;
	uint8_t rgb[8 * 8 * 3];

	check_host_init(&host);
	/* Red in the left half, and blue as bright as the row is low. */
	for (int i = 0; i < 64; i++) {
		rgb[i * 3] = i % 8 < 4 ? 255 : 0;
		rgb[i * 3 + 1] = 0;
		rgb[i * 3 + 2] = (uint8_t)(i / 8 * 30);
	}
	const struct percept_media m = { .size = sizeof(m), .modality = PERCEPT_IMAGE, .format = PERCEPT_U8_RGB, .frames = 1,
					 .width = 8, .height = 8, .channels = 3, .data = rgb, .bytes = sizeof(rgb) };
	struct percept_features f = { .size = sizeof(f) };

	assert_int_equal(ops->open(check_host_begin(&host), &plain, &encoder), 0);
	assert_int_equal(ops->encode(check_host_begin(&host), encoder, &m, &f), 0);
	assert_int_equal(f.layout.tokens, 16);
	assert_float_equal(f.data[0], 1, 1e-6);
	assert_float_equal(f.data[1], 0, 1e-6);
	assert_float_equal(f.data[2], 15.0 / 255, 1e-6);
	assert_float_equal(f.data[15 * 3], 0, 1e-6);
	assert_float_equal(f.data[15 * 3 + 2], 195.0 / 255, 1e-6);
	assert_float_equal(f.pooled[0], 0.5, 1e-6);
	assert_float_equal(f.pooled[2], 105.0 / 255, 1e-6);
	ops->close(encoder);
	check_host_fini(&host);
}

/* What the decoder says after `text`, up to its end; `rows` of them at a time. */
static void echo_say(const char *text, uint32_t step, char *out, size_t size)
{
	const struct percept_decoder *ops = host_load("echo")->ops;
	struct check_host host;
	void *decoder;
	const int32_t *ids;
	uint32_t n;
	size_t said = 0;

	check_host_init(&host);
	assert_int_equal(ops->open(check_host_begin(&host), &plain, &decoder), 0);
	assert_int_equal(ops->sequence_new(decoder, 1), 0);
	assert_int_equal(ops->tokenize(check_host_begin(&host), decoder, text, strlen(text), 0, &ids, &n), 0);
	struct percept_row *rows = calloc(n, sizeof(*rows));
	struct percept_batch b = { .size = sizeof(b) };

	for (uint32_t i = 0; i < n; i++)
		rows[i] = (struct percept_row){ .token = ids[i], .sequence = 1, .wants = i + 1 == n ? PERCEPT_WANT_LOGITS : 0 };
	for (uint32_t i = 0; i < n; i += step) {
		b.n = n - i < step ? n - i : step;
		b.rows = rows + i;
		assert_int_equal(ops->step(check_host_begin(&host), decoder, &b), 0);
	}
	while (said + 1 < size) {
		int32_t best = 0;
		const char *bytes;

		for (int32_t i = 1; i < 257; i++)
			best = b.logits[i] > b.logits[best] ? i : best;
		if (best == 256)
			break;
		assert_int_equal(ops->piece(decoder, best, &bytes, &n), 0);
		assert_int_equal(n, 1);
		out[said++] = bytes[0];
		const struct percept_row next = { .token = best, .sequence = 1, .wants = PERCEPT_WANT_LOGITS };

		b = (struct percept_batch){ .size = sizeof(b), .n = 1, .rows = &next };
		assert_int_equal(ops->step(check_host_begin(&host), decoder, &b), 0);
	}
	out[said] = '\0';
	free(rows);
	ops->close(decoder);
	check_host_fini(&host);
}

static void echo_says_its_prompt_and_ends(void **state)
{
	char out[64];

	echo_say("x", 1, out, sizeof(out));
	assert_string_equal(out, "x");
	echo_say("Gr\303\274n, again", 512, out, sizeof(out));
	assert_string_equal(out, "Gr\303\274n, again");
	echo_say("in three pieces", 6, out, sizeof(out));
	assert_string_equal(out, "in three pieces");
}

static void echo_refuses_a_full_sequence_whole(void **state)
{
	const struct percept_decoder *ops = host_load("echo")->ops;
	struct check_host host;
	struct percept_row rows[512];
	struct percept_batch b = { .size = sizeof(b), .n = 512, .rows = rows };
	void *decoder;

	check_host_init(&host);
	assert_int_equal(ops->open(check_host_begin(&host), &plain, &decoder), 0);
	for (int i = 0; i < 512; i++)
		rows[i] = (struct percept_row){ .token = 'a' };
	for (int i = 0; i < 8; i++)
		assert_int_equal(ops->step(check_host_begin(&host), decoder, &b), 0);
	assert_int_equal(ops->step(check_host_begin(&host), decoder, &b), -EINVAL);
	assert_true(host.text[0]);
	ops->close(decoder);
	check_host_fini(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(colours_are_the_means_of_cells),
		cmocka_unit_test(echo_says_its_prompt_and_ends),
		cmocka_unit_test(echo_refuses_a_full_sequence_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
