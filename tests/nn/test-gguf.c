/* test-gguf.c - GGUF files: what they hold, and that damaged and hostile ones are refused with a reason and little memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/gguf.h"
#include "sdk/nn/tokenizer.h"

/* ---- files made by hand ---- */

struct file {
	unsigned char bytes[4096];
	size_t n;
};

static void put(struct file *f, const void *bytes, size_t n)
{
	assert_true(f->n + n <= sizeof(f->bytes));
	memcpy(f->bytes + f->n, bytes, n);
	f->n += n;
}

static void put_number(struct file *f, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char byte = (unsigned char)(value >> (8 * i));

		put(f, &byte, 1);
	}
}

static void put_u32(struct file *f, uint32_t value)
{
	put_number(f, value, 4);
}

static void put_u64(struct file *f, uint64_t value)
{
	put_number(f, value, 8);
}

static void put_text(struct file *f, const char *text)
{
	put_u64(f, strlen(text));
	put(f, text, strlen(text));
}

static void put_head(struct file *f, uint32_t version, uint64_t tensors, uint64_t values)
{
	f->n = 0;
	put(f, "GGUF", 4);
	put_u32(f, version);
	put_u64(f, tensors);
	put_u64(f, values);
}

static void put_string_value(struct file *f, const char *key, const char *value)
{
	put_text(f, key);
	put_u32(f, NN_GGUF_STRING);
	put_text(f, value);
}

static void put_u32_value(struct file *f, const char *key, uint32_t value)
{
	put_text(f, key);
	put_u32(f, NN_GGUF_U32);
	put_u32(f, value);
}

static void put_tensor(struct file *f, const char *name, uint32_t rank, const uint64_t *dims, uint32_t type, uint64_t offset)
{
	put_text(f, name);
	put_u32(f, rank);
	for (uint32_t i = 0; i < rank; i++)
		put_u64(f, dims[i]);
	put_u32(f, type);
	put_u64(f, offset);
}

/* Up to the next multiple of 32, then `n` bytes of data. */
static void put_data(struct file *f, size_t n)
{
	const unsigned char zero = 0;

	while (f->n % 32)
		put(f, &zero, 1);
	for (size_t i = 0; i < n; i++)
		put(f, &zero, 1);
}

static const uint64_t dims[] = { 4, 2, 1, 1, 1, 1, 1, 1 };

/* A good file: two values, tensors "a" (2, 4) and "b" (2, 4) of F32. */
static void put_good(struct file *f)
{
	put_head(f, 3, 2, 2);
	put_string_value(f, "general.architecture", "llama");
	put_u32_value(f, "llama.block_count", 7);
	put_tensor(f, "a", 2, dims, 0, 0);
	put_tensor(f, "b", 2, dims, 0, 32);
	put_data(f, 64);
}

/* ---- bad files: one function a kind ---- */

static void bad_magic(struct file *f)
{
	put_good(f);
	f->bytes[0] = 'g';
}

static void bad_version_0(struct file *f)
{
	put_good(f);
	f->bytes[4] = 0;
}

static void bad_version_1(struct file *f)
{
	put_good(f);
	f->bytes[4] = 1;
}

static void bad_version_big(struct file *f)
{
	put_good(f);
	memcpy(f->bytes + 4, "\0\0\0\3", 4); /* of the other byte order */
}

static void bad_version_late(struct file *f)
{
	put_good(f);
	memset(f->bytes + 4, 0xff, 4);
}

static void bad_tensor_count(struct file *f)
{
	put_head(f, 3, UINT64_MAX, 1);
	put_string_value(f, "general.architecture", "llama");
}

static void bad_tensor_count_wrapping(struct file *f)
{
	put_head(f, 3, 0x4000000000000000u, 1); /* times an entry's size it wraps around */
	put_string_value(f, "general.architecture", "llama");
}

static void bad_value_count(struct file *f)
{
	put_head(f, 3, 0, UINT64_MAX);
	put_string_value(f, "general.architecture", "llama");
}

static void bad_value_count_large(struct file *f)
{
	put_head(f, 3, 0, 0x0100000000000000u);
	put_string_value(f, "general.architecture", "llama");
}

static void bad_key_twice(struct file *f)
{
	put_head(f, 3, 0, 3);
	put_string_value(f, "general.architecture", "llama");
	put_u32_value(f, "llama.block_count", 1);
	put_u32_value(f, "llama.block_count", 2);
}

static void bad_tensor_twice(struct file *f)
{
	put_head(f, 3, 2, 1);
	put_string_value(f, "general.architecture", "llama");
	put_tensor(f, "a", 2, dims, 0, 0);
	put_tensor(f, "a", 2, dims, 0, 32);
	put_data(f, 64);
}

static void put_alignment(struct file *f, uint32_t alignment)
{
	put_head(f, 3, 1, 2);
	put_string_value(f, "general.architecture", "llama");
	put_u32_value(f, "general.alignment", alignment);
	put_tensor(f, "a", 2, dims, 0, 0);
	put_data(f, 64);
}

static void bad_alignment_0(struct file *f)
{
	put_alignment(f, 0);
}

static void bad_alignment_large(struct file *f)
{
	put_alignment(f, 0x80000000u);
}

static void bad_alignment_odd(struct file *f)
{
	put_alignment(f, 33);
}

static void bad_alignment_text(struct file *f)
{
	put_head(f, 3, 0, 2);
	put_string_value(f, "general.architecture", "llama");
	put_string_value(f, "general.alignment", "32");
}

static void put_one_tensor(struct file *f, const char *name, uint32_t rank, const uint64_t *shape, uint32_t type, uint64_t offset)
{
	put_head(f, 3, 1, 1);
	put_string_value(f, "general.architecture", "llama");
	put_tensor(f, name, rank, shape, type, offset);
	put_data(f, 128);
}

static void bad_dimension_0(struct file *f)
{
	put_one_tensor(f, "a", 2, (const uint64_t[]){ 4, 0 }, 0, 0);
}

static void bad_dimension_negative(struct file *f)
{
	put_one_tensor(f, "a", 1, (const uint64_t[]){ UINT64_MAX - 3 }, 0, 0);
}

static void bad_dimensions_wrapping(struct file *f)
{
	put_one_tensor(f, "a", 4, (const uint64_t[]){ 0x10000, 0x10000, 0x10000, 0x10000 }, 0, 0);
}

static void bad_bytes_wrapping(struct file *f)
{
	put_one_tensor(f, "a", 2, (const uint64_t[]){ 0x2000000000000000u, 2 }, 0, 0);
}

static void bad_rank_0(struct file *f)
{
	put_one_tensor(f, "a", 0, dims, 0, 0);
}

static void bad_rank_5(struct file *f)
{
	put_one_tensor(f, "a", 5, dims, 0, 0);
}

static void bad_rank_large(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, 0, 0);
	memset(f->bytes + 24 + 8 + 20 + 4 + 8 + 5 + 8 + 1, 0xff, 4);
}

static void bad_offset_behind(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, 0, 1 << 20);
}

static void bad_offset_cut(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, 0, 128);
}

static void bad_offset_wrapping(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, 0, UINT64_MAX - 31);
}

static void bad_offset_unaligned(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, 0, 4);
}

static void bad_overlap(struct file *f)
{
	put_head(f, 3, 2, 1);
	put_string_value(f, "general.architecture", "llama");
	put_tensor(f, "a", 1, (const uint64_t[]){ 16 }, 0, 0);
	put_tensor(f, "b", 2, dims, 0, 32);
	put_data(f, 96);
}

static void bad_key_endless(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_u64(f, UINT64_MAX);
	put(f, "general.architecture", 20);
}

static void bad_string_endless(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_text(f, "general.architecture");
	put_u32(f, NN_GGUF_STRING);
	put_u64(f, 1 << 30);
	put(f, "llama", 5);
}

static void bad_key_empty(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_string_value(f, "", "llama");
}

static void bad_key_nul(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_u64(f, 20);
	put(f, "general\0architecture", 20);
	put_u32(f, NN_GGUF_STRING);
	put_text(f, "llama");
}

static void put_array(struct file *f, const char *key, uint32_t type, uint64_t n)
{
	put_text(f, key);
	put_u32(f, NN_GGUF_ARRAY);
	put_u32(f, type);
	put_u64(f, n);
}

static void bad_array_of_arrays(struct file *f)
{
	put_head(f, 3, 0, 2);
	put_string_value(f, "general.architecture", "llama");
	put_array(f, "x", NN_GGUF_ARRAY, 1);
	put_u32(f, NN_GGUF_U8);
	put_u64(f, 1);
	put(f, "", 1);
}

static void bad_array_type(struct file *f)
{
	put_head(f, 3, 0, 2);
	put_string_value(f, "general.architecture", "llama");
	put_array(f, "x", 99, 1);
	put_u32(f, 0);
}

static void bad_array_wrapping(struct file *f)
{
	put_head(f, 3, 0, 2);
	put_string_value(f, "general.architecture", "llama");
	put_array(f, "x", NN_GGUF_F64, 0x2000000000000001u);
	put_u64(f, 0);
}

static void bad_array_endless(struct file *f)
{
	put_head(f, 3, 0, 2);
	put_string_value(f, "general.architecture", "llama");
	put_array(f, "x", NN_GGUF_STRING, 0x1000000000000000u);
	put_text(f, "a");
}

static void bad_value_type(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_text(f, "general.architecture");
	put_u32(f, 13);
	put_u64(f, 0);
}

static void bad_bool(struct file *f)
{
	put_head(f, 3, 0, 2);
	put_string_value(f, "general.architecture", "llama");
	put_text(f, "x");
	put_u32(f, NN_GGUF_BOOL);
	put(f, "\2", 1);
}

static void bad_tensor_type(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, 4, 0); /* Q4_2, which was taken out */
}

static void bad_tensor_type_large(struct file *f)
{
	put_one_tensor(f, "a", 2, dims, UINT32_MAX, 0);
}

static void bad_blocks_cut(struct file *f)
{
	put_one_tensor(f, "a", 1, (const uint64_t[]){ 33 }, 8, 0);
}

static void bad_name_long(struct file *f)
{
	char name[600];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	put_one_tensor(f, name, 2, dims, 0, 0);
}

static void bad_name_empty(struct file *f)
{
	put_one_tensor(f, "", 2, dims, 0, 0);
}

static void bad_no_architecture(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_u32_value(f, "llama.block_count", 1);
}

static void bad_architecture_number(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_u32_value(f, "general.architecture", 1);
}

static void bad_architecture_text(struct file *f)
{
	put_head(f, 3, 0, 1);
	put_string_value(f, "general.architecture", "\xff\xfe");
}

static void bad_part(struct file *f)
{
	put_head(f, 3, 0, 3);
	put_string_value(f, "general.architecture", "llama");
	put_u32_value(f, "split.count", 2);
	put_u32_value(f, "split.no", 1);
}

#define BAD(name) { #name, name }
static const struct {
	const char *name;
	void (*make)(struct file *f);
} bad[] = {
	BAD(bad_magic), BAD(bad_version_0), BAD(bad_version_1), BAD(bad_version_big), BAD(bad_version_late),
	BAD(bad_tensor_count), BAD(bad_tensor_count_wrapping), BAD(bad_value_count), BAD(bad_value_count_large),
	BAD(bad_key_twice), BAD(bad_tensor_twice), BAD(bad_alignment_0), BAD(bad_alignment_large), BAD(bad_alignment_odd),
	BAD(bad_alignment_text), BAD(bad_dimension_0), BAD(bad_dimension_negative), BAD(bad_dimensions_wrapping),
	BAD(bad_bytes_wrapping), BAD(bad_rank_0), BAD(bad_rank_5), BAD(bad_rank_large), BAD(bad_offset_behind),
	BAD(bad_offset_cut), BAD(bad_offset_wrapping), BAD(bad_offset_unaligned), BAD(bad_overlap), BAD(bad_key_endless),
	BAD(bad_string_endless), BAD(bad_key_empty), BAD(bad_key_nul), BAD(bad_array_of_arrays), BAD(bad_array_type),
	BAD(bad_array_wrapping), BAD(bad_array_endless), BAD(bad_value_type), BAD(bad_bool), BAD(bad_tensor_type),
	BAD(bad_tensor_type_large), BAD(bad_blocks_cut), BAD(bad_name_long), BAD(bad_name_empty), BAD(bad_no_architecture),
	BAD(bad_architecture_number), BAD(bad_architecture_text), BAD(bad_part),
};

/* ---- on disk ---- */

static char folder[64], path[128];

static int setup(void **state)
{
	strcpy(folder, "/tmp/percept-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/model.gguf", folder);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(folder);
}

static void store(const char *to, const unsigned char *bytes, size_t n)
{
	FILE *file = fopen(to, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static void opens_a_good_file(void **state)
{
	struct nn_error error = { 0 };
	struct file f;

	put_good(&f);
	store(path, f.bytes, f.n);
	struct nn_checkpoint *cp = nn_checkpoint_open(path, &error);

	assert_non_null(cp);
	assert_int_equal(nn_checkpoint_count(cp), 2);
	assert_string_equal(nn_config_string(nn_checkpoint_config(cp), "model_type", ""), "llama");
	assert_int_equal(nn_config_int(nn_checkpoint_config(cp), "num_hidden_layers|block_count", 0, 0, 100, &error), 7);
	const struct nn_weight *w = nn_checkpoint_weight(cp, "b");

	assert_non_null(w);
	assert_int_equal(w->type, NN_F32);
	assert_int_equal(w->rows, 2);
	assert_int_equal(w->cols, 4);
	assert_int_equal(strlen(nn_checkpoint_identity(cp)), 64);
	nn_checkpoint_close(cp);
}

static void refuses_every_kind(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct nn_error error = { 0 };
		struct file f = { .n = 0 };

		bad[i].make(&f);
		store(path, f.bytes, f.n);
		struct nn_checkpoint *cp = nn_checkpoint_open(path, &error);

		if (cp || !error.code || !strstr(error.text, "model.gguf"))
			fail_msg("%s was not refused with a reason: %s", bad[i].name, error.text);
	}
}

/* Cut at every byte: an error each time. */
static void refuses_truncation(void **state)
{
	struct file f;

	put_good(&f);
	for (size_t n = 0; n < f.n; n++) {
		struct nn_error error = { 0 };

		store(path, f.bytes, n);
		assert_null(nn_checkpoint_open(path, &error));
		assert_true(error.code && error.text[0]);
	}
}

static void joins_parts(void **state)
{
	char second[160], first[160];
	struct nn_error error = { 0 };
	struct file f;

	snprintf(first, sizeof(first), "%s/model-00001-of-00002.gguf", folder);
	snprintf(second, sizeof(second), "%s/model-00002-of-00002.gguf", folder);
	for (uint32_t no = 0; no < 2; no++) {
		put_head(&f, 3, 1, 4);
		put_string_value(&f, "general.architecture", "llama");
		put_u32_value(&f, "split.count", 2);
		put_u32_value(&f, "split.no", no);
		put_u32_value(&f, "split.tensors.count", 2);
		put_tensor(&f, no ? "b" : "a", 2, dims, 0, 0);
		put_data(&f, 32);
		store(no ? second : first, f.bytes, f.n);
	}
	struct nn_checkpoint *cp = nn_checkpoint_open(first, &error);

	assert_non_null(cp);
	assert_non_null(nn_checkpoint_weight(cp, "a"));
	assert_non_null(nn_checkpoint_weight(cp, "b"));
	nn_checkpoint_close(cp);
	assert_null(nn_checkpoint_open(second, &error)); /* not the first */
	unlink(second);
	error = (struct nn_error){ 0 };
	assert_null(nn_checkpoint_open(first, &error)); /* one is missing */
	assert_true(error.code != 0);
	unlink(first);
}

/* ---- tokenizers ---- */

/* A vocabulary of three tokens, with what a test spoils. */
struct vocabulary {
	const char *model;
	uint32_t tokens_type; /* NN_GGUF_STRING */
	uint64_t n_scores;    /* 3 */
	const char *merge;    /* of "gpt2" */
};

static void put_vocabulary(struct file *f, const struct vocabulary *v)
{
	put_head(f, 3, 0, 5);
	put_string_value(f, "general.architecture", "llama");
	put_string_value(f, "tokenizer.ggml.model", v->model);
	put_array(f, "tokenizer.ggml.tokens", v->tokens_type, 3);
	for (int i = 0; i < 3; i++) {
		if (v->tokens_type == NN_GGUF_STRING)
			put_text(f, i == 2 ? "ab" : i ? "b" : "a");
		else
			put_u32(f, 1);
	}
	put_array(f, "tokenizer.ggml.scores", NN_GGUF_F32, v->n_scores);
	for (uint64_t i = 0; i < v->n_scores; i++)
		put_u32(f, 0);
	put_array(f, "tokenizer.ggml.merges", NN_GGUF_STRING, 1);
	put_text(f, v->merge);
}

static void reads_a_tokenizer(void **state)
{
	static const char *const models[] = { "gpt2", "llama" };

	for (size_t i = 0; i < 2; i++) {
		struct nn_error error = { 0 };
		struct nn_ids ids = { 0 };
		struct file f;

		put_vocabulary(&f, &(struct vocabulary){ models[i], NN_GGUF_STRING, 3, "a b" });
		struct nn_tokenizer *t = nn_tokenizer_parse_gguf(f.bytes, f.n, "file", &error);

		assert_non_null(t);
		assert_int_equal(nn_tokenizer_encode(t, "abab", 4, 0, &ids, &error), 0);
		assert_true(ids.n >= 2);
		assert_int_equal(ids.data[ids.n - 1], 2);
		nn_ids_free(&ids);
		nn_tokenizer_close(t);
	}
}

static void refuses_bad_tokenizers(void **state)
{
	static const struct vocabulary all[] = {
		{ "strange", NN_GGUF_STRING, 3, "a b" }, { "llama", NN_GGUF_U32, 3, "a b" }, { "llama", NN_GGUF_STRING, 2, "a b" },
		{ "gpt2", NN_GGUF_STRING, 3, "ab" },     { "gpt2", NN_GGUF_STRING, 3, "a c" }, { "gpt2", NN_GGUF_STRING, 3, "b a" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct nn_error error = { 0 };
		struct file f;

		put_vocabulary(&f, &all[i]);
		assert_null(nn_tokenizer_parse_gguf(f.bytes, f.n, "file", &error));
		assert_true(error.code && error.text[0]);
	}
}

/* ---- memory ---- */

#ifndef __SANITIZE_ADDRESS__
#define COUNTED 1
extern void *__libc_malloc(size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_calloc(size_t n, size_t size);
static size_t counted;

void *malloc(size_t n)
{
	counted += n;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	counted += n * size;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	counted += n;
	return __libc_realloc(p, n);
}
#else
#define COUNTED 0
static size_t counted;
#endif

/* All that is asked for while a small file is opened and refused, given back or not, stays under 64 KiB. */
static void small_files_take_little_memory(void **state)
{
	for (size_t i = 0; COUNTED && i <= sizeof(bad) / sizeof(bad[0]); i++) {
		const int good = i == sizeof(bad) / sizeof(bad[0]);
		struct nn_error error = { 0 };
		struct file f = { .n = 0 };

		(good ? put_good : bad[i].make)(&f);
		store(path, f.bytes, f.n);
		const size_t before = counted;

		nn_checkpoint_close(nn_checkpoint_open(path, &error));
		if (counted - before > 64 << 10)
			fail_msg("%s took %zu bytes", good ? "a good file" : bad[i].name, counted - before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opens_a_good_file, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_every_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_truncation, setup, teardown),
		cmocka_unit_test_setup_teardown(joins_parts, setup, teardown),
		cmocka_unit_test(reads_a_tokenizer),
		cmocka_unit_test(refuses_bad_tokenizers),
		cmocka_unit_test_setup_teardown(small_files_take_little_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
