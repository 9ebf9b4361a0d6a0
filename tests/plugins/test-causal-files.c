/* test-causal-files.c - GGUF files whose header is whole and whose model is none: the causal decoder says why it refuses them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */

#include "tests/plugins/host.h"

enum { U32 = 4, F32 = 6, STRING = 8 };

/* A value of a file: a number, or a text. */
struct value {
	const char *key;
	uint32_t type, number;
	const char *text;
};

struct bytes {
	unsigned char data[4096];
	size_t n;
};

static void put(struct bytes *b, const void *data, size_t n)
{
	assert_true(b->n + n <= sizeof(b->data));
	memcpy(b->data + b->n, data, n);
	b->n += n;
}

static void put_number(struct bytes *b, uint64_t v, size_t n)
{
	put(b, &v, n); /* tests run on little-endian machines */
}

static void put_text(struct bytes *b, const char *text)
{
	put_number(b, strlen(text), 8);
	put(b, text, strlen(text));
}

/* The values of a small LLaMA, but that one of them is `odd`, and embeddings of (8, 32). */
static void put_file(struct bytes *b, const struct value *odd)
{
	static const struct value usual[] = {
		{ "general.architecture", STRING, 0, "llama" }, { "llama.block_count", U32, 1, NULL },
		{ "llama.embedding_length", U32, 32, NULL },    { "llama.feed_forward_length", U32, 32, NULL },
		{ "llama.attention.head_count", U32, 4, NULL }, { "llama.attention.head_count_kv", U32, 4, NULL },
		{ "llama.context_length", U32, 64, NULL },      { "llama.rope.freq_base", F32, 0x461c4000, NULL },
		{ "llama.rope.dimension_count", U32, 8, NULL }, { "llama.attention.key_length", U32, 8, NULL },
		{ "llama.vocab_size", U32, 8, NULL },           { "llama.expert_count", U32, 0, NULL },
		{ "llama.attention.layer_norm_rms_epsilon", F32, 0x3727c5ac, NULL },
		{ "llama.rope.scaling.type", STRING, 0, "none" },
	};
	const size_t n = sizeof(usual) / sizeof(usual[0]);

	b->n = 0;
	put(b, "GGUF", 4);
	put_number(b, 3, 4);
	put_number(b, 2, 8);
	put_number(b, n, 8);
	for (size_t i = 0; i < n; i++) {
		const struct value *v = odd && !strcmp(odd->key, usual[i].key) ? odd : &usual[i];

		put_text(b, v->key);
		put_number(b, v->type, 4);
		if (v->type == STRING)
			put_text(b, v->text);
		else
			put_number(b, v->number, 4);
	}
	for (size_t i = 0; i < 2; i++) {
		put_text(b, i ? "token_embd.weight" : "output_norm.weight");
		put_number(b, 1 + i, 4);
		put_number(b, 32, 8);
		if (i)
			put_number(b, 8, 8);
		put_number(b, i ? 8 : 0, 4); /* Q8_0, F32 */
		put_number(b, i ? 128 : 0, 8);
	}
	while (b->n % 32)
		put(b, "", 1);
	for (size_t i = 0; i < 128 + 8 * 34; i++)
		put(b, "", 1);
}

/* Opens it; what it says goes to *text. */
static int open_file(const struct value *odd, char text[512])
{
	char path[] = "/tmp/percept-test-XXXXXX.gguf";
	const int fd = mkstemps(path, 5);
	struct check_host host;
	struct bytes b;
	void *decoder = NULL;
	const struct percept_decoder *ops = host_load("causal")->ops;
	const struct percept_open open = { .size = sizeof(open), .role = "decoder", .model = path, .assistant = "test",
					   .max_sequences = 1 };

	put_file(&b, odd);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b.data, b.n), (ssize_t)b.n);
	close(fd);
	check_host_init(&host);
	const int error = ops->open(check_host_begin(&host), &open, &decoder);

	snprintf(text, 512, "%s", host.text);
	if (!error)
		ops->close(decoder);
	check_host_fini(&host);
	unlink(path);
	return error;
}

/* The usual file lacks only its layers' tensors: that is what is said. */
static void misses_tensors_by_name(void **state)
{
	char text[512];

	assert_true(open_file(NULL, text) < 0);
	assert_non_null(strstr(text, "blk.0.attn_norm.weight"));
}

static void refuses_odd_values(void **state)
{
	static const struct value odd[] = {
		{ "general.architecture", STRING, 0, "strange" },
		{ "llama.block_count", U32, 1000000000, NULL },
		{ "llama.block_count", U32, 0, NULL },
		{ "llama.block_count", U32, 4000, NULL },
		{ "llama.block_count", STRING, 0, "1" },
		{ "llama.embedding_length", U32, UINT32_MAX, NULL },
		{ "llama.embedding_length", U32, 64, NULL },
		{ "llama.feed_forward_length", U32, 0, NULL },
		{ "llama.attention.head_count", U32, 0, NULL },
		{ "llama.attention.head_count", U32, UINT32_MAX, NULL },
		{ "llama.attention.head_count_kv", U32, 3, NULL },
		{ "llama.attention.key_length", U32, 100000, NULL },
		{ "llama.attention.key_length", U32, 1024, NULL },
		{ "llama.rope.dimension_count", U32, 9, NULL },
		{ "llama.rope.dimension_count", U32, 1 << 20, NULL },
		{ "llama.rope.freq_base", F32, 0x7fc00000, NULL }, /* not a number */
		{ "llama.attention.layer_norm_rms_epsilon", F32, 0x7f800000, NULL },
		{ "llama.attention.layer_norm_rms_epsilon", F32, 0xbf800000, NULL },
		{ "llama.vocab_size", U32, 1 << 30, NULL },
		{ "llama.vocab_size", U32, 9, NULL },
		{ "llama.expert_count", U32, 1 << 30, NULL },
		{ "llama.context_length", U32, UINT32_MAX, NULL },
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		char text[512];
		const int error = open_file(&odd[i], text);

		if (error >= 0 || !text[0])
			print_error("%s = %u was opened, or refused without a reason\n", odd[i].key, odd[i].number);
		assert_true(error < 0 && text[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(misses_tensors_by_name),
		cmocka_unit_test(refuses_odd_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
