/* test-checkpoint.c - model files: what they hold, and that damaged ones are refused with a reason. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/safetensors.h"

/* ---- a folder of its own ---- */

struct folder {
	char path[64];
};

static void folder_init(struct folder *f)
{
	strcpy(f->path, "/tmp/percept-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
}

static void folder_fini(struct folder *f)
{
	static const char *const names[] = { "config.json", "model.safetensors", "model.safetensors.index.json", "a.safetensors",
					     "b.safetensors" };
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->path), 0);
}

static void folder_write(const struct folder *f, const char *name, const void *bytes, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* A file of that header and `data` bytes 0, 1, 2 ...; the size goes to *size. */
static unsigned char *file_of(const char *header, size_t data, size_t *size)
{
	size_t n = strlen(header);
	unsigned char *bytes = malloc(8 + n + data);

	for (size_t i = 0; i < 8; i++)
		bytes[i] = (unsigned char)((uint64_t)n >> (8 * i));
	memcpy(bytes + 8, header, n);
	for (size_t i = 0; i < data; i++)
		bytes[8 + n + i] = (unsigned char)i;
	*size = 8 + n + data;
	return bytes;
}

#define TENSOR(name, dtype, shape, begin, end) \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

/* ---- headers ---- */

static const struct {
	const char *header;
	size_t data;
	const char *reason; /* part of the text; NULL: it is good */
} headers[] = {
	{ "{}", 0, NULL },
	{ "{" TENSOR("a", "F32", "2,2", 0, 16) "}", 16, NULL },
	{ "{" TENSOR("a", "F32", "2,2", 0, 16) "}   \n", 16, NULL },
	{ "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("a", "F32", "", 0, 4) "," TENSOR("b", "BF16", "3", 4, 10) "}", 10, NULL },
	{ "{" TENSOR("b", "U8", "4", 4, 8) "," TENSOR("a", "F32", "1", 0, 4) "}", 8, NULL },
	{ "{" TENSOR("a", "F32", "0,7", 0, 0) "," TENSOR("b", "F16", "2", 0, 4) "}", 4, NULL },
	{ "{" TENSOR("a", "F4_NEW", "2,2", 0, 3) "}", 3, NULL },
	{ "", 0, "does not begin" },
	{ " {}", 0, "does not begin" },
	{ "[]", 0, "does not begin" },
	{ "{", 0, "not valid JSON" },
	{ "{}x", 0, "text after its end" },
	{ "{}{}", 0, "text after its end" },
	{ "{\"a\":\"\xff\"}", 0, "UTF-8" },
	{ "{\"a\":\"\xc0\x80\"}", 0, "UTF-8" },
	{ "{\"a\":\"\xed\xa0\x80\"}", 0, "UTF-8" },
	{ "{\"a\x01\":1}", 0, "control characters" },
	{ "{\"a\":[[[[[[[[[[[[]]]]]]]]]]]]}", 0, "nested too deeply" },
	{ "{\"a\":5}", 0, "not an object" },
	{ "{\"__metadata__\":5}", 0, "not an object" },
	{ "{" TENSOR("", "U8", "1", 0, 1) "}", 1, "empty or too long name" },
	{ "{" TENSOR("a\\n", "U8", "1", 0, 1) "}", 1, "control characters" },
	{ "{" TENSOR("a", "F32", "2,2", 0, 16) "}", 15, "cut short" },
	{ "{" TENSOR("a", "F32", "2,2", 0, 16) "}", 17, "belong to no tensor" },
	{ "{" TENSOR("a", "F32", "2,2", 0, 15) "}", 15, "does not fit" },
	{ "{" TENSOR("a", "F32", "2,3", 0, 16) "}", 16, "does not fit" },
	{ "{" TENSOR("a", "F32", "-2,-2", 0, 16) "}", 16, "whole number" },
	{ "{" TENSOR("a", "F32", "2.5", 0, 10) "}", 10, "whole number" },
	{ "{" TENSOR("a", "F32", "1e300", 0, 4) "}", 4, "whole number" },
	{ "{" TENSOR("a", "F32", "\"4\"", 0, 16) "}", 16, "whole number" },
	{ "{" TENSOR("a", "F32", "4294967296,4294967296,4", 0, 0) "}", 0, "too large" },
	{ "{" TENSOR("a", "F32", "4294967296,4294967296", 0, 0) "}", 0, "too large" },
	{ "{" TENSOR("a", "F32", "4611686018427387904,1", 0, 0) "}", 0, "whole number" },
	{ "{" TENSOR("a", "U8", "1,1,1,1,1,1,1", 0, 1) "}", 1, "too many dimensions" },
	{ "{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("a", "U8", "4", 4, 8) "}", 8, "there twice" },
	{ "{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("b", "U8", "4", 3, 7) "}", 7, "overlaps" },
	{ "{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("b", "U8", "4", 0, 4) "}", 4, "overlaps" },
	{ "{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("b", "U8", "4", 5, 9) "}", 9, "gap" },
	{ "{" TENSOR("a", "U8", "4", 1, 5) "}", 5, "gap" },
	{ "{" TENSOR("a", "U8", "4", 4, 0) "}", 4, "data_offsets" },
	{ "{" TENSOR("a", "U8", "4", -4, 0) "}", 4, "data_offsets" },
	{ "{" TENSOR("a", "U8", "4", 0, 1e19) "}", 4, "data_offsets" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,2,4]}}", 4, "data_offsets" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "data_offsets" },
	{ "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "shape" },
	{ "{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "dtype" },
	{ "{\"a\":{\"dtype\":3,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "dtype" },
	{ "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "dtype" },
};

static void bad_headers_are_refused_with_a_reason(void **state)
{
	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
		struct nn_safetensors st;
		struct nn_error error = { 0 };
		size_t size;
		unsigned char *bytes = file_of(headers[i].header, headers[i].data, &size);
		int err = nn_safetensors_parse(&st, bytes, size, "weights", &error);

		if (!headers[i].reason && err)
			fail_msg("header %zu: %s", i, error.text);
		if (headers[i].reason && (err != -EINVAL || !strstr(error.text, headers[i].reason) || !strstr(error.text, "weights")))
			fail_msg("header %zu: %d, %s", i, err, error.text);
		if (!err)
			nn_safetensors_fini(&st);
		free(bytes);
	}
}

static const char *const small_header = "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("a.weight", "F32", "2,2", 0, 16) "," TENSOR(
	"b", "BF16", "3", 16, 22) "," TENSOR("c", "I64", "1", 22, 30) "}";

/* Cut at every byte, and every bit of the header flipped: refused with a reason, or whole tensors inside the file. */
static void damage_at_every_byte_is_survived(void **state)
{
	size_t size, header = 8 + strlen(small_header);
	unsigned char *bytes = file_of(small_header, 30, &size);

	for (size_t i = 0; i < size + header * 8; i++) {
		size_t n = i < size ? i : size, bit = i < size ? 0 : i - size;
		/* Its own block, so that a sanitizer sees a step too far. */
		unsigned char *copy = malloc(n + !n);
		struct nn_safetensors st;
		struct nn_error error = { 0 };

		memcpy(copy, bytes, n);
		if (i >= size)
			copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
		if (nn_safetensors_parse(&st, copy, n, "weights", &error)) {
			assert_true(error.code < 0 && error.text[0]);
		} else {
			assert_true(i >= size);
			for (size_t j = 0; j < st.n; j++)
				assert_true((unsigned char *)st.weights[j].data >= copy + st.header_bytes &&
					    (unsigned char *)st.weights[j].data + st.weights[j].bytes <= copy + n);
			nn_safetensors_fini(&st);
		}
		free(copy);
	}
	free(bytes);
}

static void a_header_longer_than_the_file_is_refused(void **state)
{
	static const uint64_t lengths[] = { 3, 100, 33u << 20, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		unsigned char bytes[10] = { 0 };
		struct nn_safetensors st;
		struct nn_error error = { 0 };

		for (size_t j = 0; j < 8; j++)
			bytes[j] = (unsigned char)(lengths[i] >> (8 * j));
		assert_int_equal(nn_safetensors_parse(&st, bytes, 10, "weights", &error), -EINVAL);
	}
}

/* ---- checkpoints ---- */

static void a_checkpoint_gives_weights_by_name_prefix_and_shape(void **state)
{
	static const char *const prefixes[] = { "model.", "", NULL };
	struct folder f;
	struct nn_error error = { 0 };
	size_t size;
	unsigned char *bytes = file_of(small_header, 30, &size);

	folder_init(&f);
	folder_write(&f, "model.safetensors", bytes, size);
	folder_write(&f, "config.json", "{\"hidden_size\":7}", 17);
	struct nn_checkpoint *cp = nn_checkpoint_open(f.path, &error);

	assert_non_null(cp);
	assert_int_equal(nn_checkpoint_count(cp), 3);
	assert_int_equal(nn_checkpoint_bytes(cp), 30);
	assert_int_equal(nn_config_int(nn_checkpoint_config(cp), "hidden_size", 0, 1, 10, &error), 7);
	struct nn_loader l = { cp, prefixes, &error };
	struct nn_weight *w = nn_load(&l, 2, 2, "%s.weight", "a");

	assert_non_null(w);
	assert_int_equal(w->rows * 10 + w->cols, 22);
	const float *v = nn_load_vector(&l, 3, "b");

	assert_non_null(v);
	/* 0x1110 as bfloat16. */
	assert_true(v[0] == 0x1.2p-93f);
	assert_ptr_equal(nn_load_vector(&l, 3, "b"), v);
	assert_null(nn_load_maybe(&l, 2, 2, "nothing"));
	assert_null(nn_load_vector_maybe(&l, 2, "nothing"));
	assert_int_equal(error.code, 0);
	assert_null(nn_load(&l, 2, 3, "a.weight"));
	assert_non_null(strstr(error.text, "(2, 2)"));
	assert_non_null(strstr(error.text, "(2, 3)"));
	assert_non_null(strstr(error.text, "model.safetensors"));
	assert_null(nn_load(&l, 2, 2, "a.weight"));
	error.code = 0;
	assert_null(nn_load(&l, 0, 0, "missing"));
	assert_non_null(strstr(error.text, "\"missing\""));
	error.code = 0;
	assert_null(nn_load(&l, 0, 0, "c"));
	assert_non_null(strstr(error.text, "type"));
	nn_checkpoint_close(cp);
	folder_fini(&f);
	free(bytes);
}

static void identity_names_the_content(void **state)
{
	char first[80], again[80];
	struct nn_error error = { 0 };
	size_t size;
	unsigned char *bytes = file_of(small_header, 30, &size);

	for (int i = 0; i < 4; i++) {
		struct folder f;

		folder_init(&f);
		bytes[size - 1] ^= i == 2;
		folder_write(&f, "model.safetensors", bytes, size);
		folder_write(&f, "config.json", i == 3 ? "{ }" : "{}", i == 3 ? 3 : 2);
		struct nn_checkpoint *cp = nn_checkpoint_open(f.path, &error);

		assert_non_null(cp);
		strcpy(i ? again : first, nn_checkpoint_identity(cp));
		assert_int_equal(strlen(nn_checkpoint_identity(cp)), 64);
		if (i)
			assert_int_equal(strcmp(first, again) != 0, i > 1);
		nn_checkpoint_close(cp);
		folder_fini(&f);
	}
	free(bytes);
}

static void a_file_that_changes_is_noticed(void **state)
{
	struct folder f;
	struct nn_error error = { 0 };
	size_t size;
	unsigned char *bytes = file_of(small_header, 30, &size);

	folder_init(&f);
	folder_write(&f, "model.safetensors", bytes, size);
	struct nn_checkpoint *cp = nn_checkpoint_open(f.path, &error);
	struct nn_loader l = { cp, NULL, &error };

	assert_non_null(nn_load(&l, 2, 2, "a.weight"));
	folder_write(&f, "model.safetensors", bytes, size - 1);
	assert_null(nn_load(&l, 2, 2, "a.weight"));
	assert_non_null(strstr(error.text, "changed"));
	nn_checkpoint_close(cp);
	folder_fini(&f);
	free(bytes);
}

/* Two shards and an index; what the index says must be so. */
static void shards_are_one_checkpoint(void **state)
{
	static const struct {
		const char *index, *reason;
	} cases[] = {
		{ "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}", NULL },
		{ "{\"weight_map\":{\"x\":\"b.safetensors\",\"y\":\"a.safetensors\"}}", "is not in" },
		{ "{\"weight_map\":{\"x\":\"a.safetensors\",\"z\":\"b.safetensors\"}}", "is not in" },
		{ "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"c.safetensors\"}}", "cannot be opened" },
		{ "{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "same directory" },
		{ "{\"weight_map\":{\"x\":5}}", "same directory" },
		{ "{\"weight_map\":{}}", "weight_map" },
		{ "{}", "weight_map" },
		{ "[", "JSON" },
	};
	size_t a_size, b_size;
	unsigned char *a = file_of("{" TENSOR("x", "F32", "2", 0, 8) "}", 8, &a_size);
	unsigned char *b = file_of("{" TENSOR("y", "F32", "1", 0, 4) "}", 4, &b_size);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct folder f;
		struct nn_error error = { 0 };

		folder_init(&f);
		folder_write(&f, "a.safetensors", a, a_size);
		folder_write(&f, "b.safetensors", b, b_size);
		folder_write(&f, "model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
		struct nn_checkpoint *cp = nn_checkpoint_open(f.path, &error);

		if (cases[i].reason ? cp || !strstr(error.text, cases[i].reason) : !cp)
			fail_msg("index %zu: %s", i, error.text);
		if (cp)
			assert_non_null(nn_checkpoint_weight(cp, "y"));
		nn_checkpoint_close(cp);
		folder_fini(&f);
	}
	free(a);
	free(b);
}

static void what_is_no_model_is_refused(void **state)
{
	struct folder f;
	struct nn_error error = { 0 };
	char fifo[128];

	folder_init(&f);
	assert_null(nn_checkpoint_open(f.path, &error));
	assert_non_null(strstr(error.text, "model.safetensors"));
	error.code = 0;
	folder_write(&f, "model.safetensors", "", 0);
	assert_null(nn_checkpoint_open(f.path, &error));
	assert_non_null(strstr(error.text, "empty"));
	error.code = 0;
	assert_null(nn_checkpoint_open("/nonexistent", &error));
	assert_int_equal(error.code, -ENOENT);
	error.code = 0;
	snprintf(fifo, sizeof(fifo), "%s/a.safetensors", f.path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_null(nn_checkpoint_open(fifo, &error));
	assert_non_null(strstr(error.text, "not a regular file"));
	folder_fini(&f);
}

static void configuration_is_checked(void **state)
{
	cJSON *o = cJSON_Parse("{\"n\":5,\"big\":1e300,\"half\":0.5,\"s\":\"x\",\"b\":true,\"null\":null,\"o\":{\"n\":6},\"neg\":-1}");
	struct nn_error e = { 0 };

	assert_int_equal(nn_config_int(o, "num|n", 1, 0, 10, &e), 5);
	assert_int_equal(nn_config_int(o, "null|nothing", 4, 0, 10, &e), 4);
	assert_int_equal(nn_config_int(nn_config_object(o, "o"), "n", 4, 0, 10, &e), 6);
	assert_true(nn_config_real(o, "half", 1, &e) == 0.5);
	assert_int_equal(nn_config_bool(o, "b", 0, &e), 1);
	assert_string_equal(nn_config_string(o, "t|s", "y"), "x");
	assert_null(nn_config_object(o, "n"));
	assert_null(nn_config_object(NULL, "n"));
	assert_int_equal(nn_config_int(NULL, "n", 3, 0, 10, &e), 3);
	assert_int_equal(e.code, 0);
	static const char *const bad[] = { "big", "half", "s", "b", "o", "neg" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct nn_error error = { 0 };

		assert_int_equal(nn_config_int(o, bad[i], 2, 0, 10, &error), 2);
		assert_int_equal(error.code, -EINVAL);
		assert_non_null(strstr(error.text, bad[i]));
	}
	nn_config_bool(o, "n", 0, &e);
	assert_int_equal(e.code, -EINVAL);
	cJSON_Delete(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_headers_are_refused_with_a_reason),
		cmocka_unit_test(damage_at_every_byte_is_survived),
		cmocka_unit_test(a_header_longer_than_the_file_is_refused),
		cmocka_unit_test(a_checkpoint_gives_weights_by_name_prefix_and_shape),
		cmocka_unit_test(identity_names_the_content),
		cmocka_unit_test(a_file_that_changes_is_noticed),
		cmocka_unit_test(shards_are_one_checkpoint),
		cmocka_unit_test(what_is_no_model_is_refused),
		cmocka_unit_test(configuration_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
