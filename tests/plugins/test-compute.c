/* test-compute.c - the option compute of a picture tower: whole features on every path, against those of plain f32. */
#include <math.h>
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

/* A tower whose matrices are large enough for tiles, with random weights. */
enum { SIDE = 112, PATCH = 14, DIM = 512, FF = 1024, LAYERS = 6, HEADS = 8, PATCHES = (SIDE / PATCH) * (SIDE / PATCH) };

struct model {
	char path[64];
	FILE *header, *data;
	char *text;
	size_t text_bytes, at;
	uint64_t seed;
};

static float model_random(struct model *m)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return (float)(int32_t)(m->seed >> 32) * 0x1p-31f;
}

/* A tensor (rows, cols), or of one dimension where rows is 0: middle + spread * random. */
static void model_tensor(struct model *m, const char *name, size_t rows, size_t cols, float middle, float spread)
{
	const size_t n = (rows ? rows : 1) * cols;
	char shape[64];

	if (rows)
		snprintf(shape, sizeof(shape), "%zu,%zu", rows, cols);
	else
		snprintf(shape, sizeof(shape), "%zu", cols);
	fprintf(m->header, "%s\"vision_model.%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", m->at ? "," : "{", name, shape,
		m->at, m->at + n * sizeof(float));
	m->at += n * sizeof(float);
	for (size_t i = 0; i < n; i++) {
		const float f = middle + spread * model_random(m);

		assert_int_equal(fwrite(&f, sizeof(f), 1, m->data), 1);
	}
}

/* A matrix that keeps the size of what it is multiplied with, and its bias. */
static void model_affine(struct model *m, const char *name, size_t rows, size_t cols)
{
	char full[96];

	snprintf(full, sizeof(full), "%s.weight", name);
	model_tensor(m, full, rows, cols, 0, sqrtf(3.0f / (float)cols));
	snprintf(full, sizeof(full), "%s.bias", name);
	model_tensor(m, full, 0, rows, 0, 0.1f);
}

static void model_norm(struct model *m, const char *name)
{
	char full[96];

	snprintf(full, sizeof(full), "%s.weight", name);
	model_tensor(m, full, 0, DIM, 1, 0.2f);
	snprintf(full, sizeof(full), "%s.bias", name);
	model_tensor(m, full, 0, DIM, 0, 0.1f);
}

static void model_layers(struct model *m)
{
	static const char *const square[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj" };
	char name[64];

	for (int i = 0; i < LAYERS; i++) {
		for (size_t j = 0; j < 4; j++) {
			snprintf(name, sizeof(name), "encoder.layers.%d.%s", i, square[j]);
			model_affine(m, name, DIM, DIM);
		}
		snprintf(name, sizeof(name), "encoder.layers.%d.mlp.fc1", i);
		model_affine(m, name, FF, DIM);
		snprintf(name, sizeof(name), "encoder.layers.%d.mlp.fc2", i);
		model_affine(m, name, DIM, FF);
		for (int j = 1; j <= 2; j++) {
			snprintf(name, sizeof(name), "encoder.layers.%d.layer_norm%d", i, j);
			model_norm(m, name);
		}
	}
}

static FILE *model_file(const struct model *m, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", m->path, name);
	FILE *file = fopen(path, "w+b");

	assert_non_null(file);
	return file;
}

static int model_make(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	char block[1 << 16];

	assert_non_null(m);
	strcpy(m->path, "/tmp/test-compute-XXXXXX");
	assert_non_null(mkdtemp(m->path));
	FILE *config = model_file(m, "config.json"), *weights = model_file(m, "model.safetensors");

	fprintf(config, "{\"model_type\":\"clip_vision_model\",\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
		"\"num_attention_heads\":%d,\"image_size\":%d,\"patch_size\":%d,\"hidden_act\":\"quick_gelu\"}", DIM, FF, LAYERS, HEADS, SIDE, PATCH);
	fclose(config);
	m->header = open_memstream(&m->text, &m->text_bytes);
	m->data = tmpfile();
	assert_true(m->header && m->data);
	model_tensor(m, "embeddings.class_embedding", 0, DIM, 0, 1);
	model_tensor(m, "embeddings.position_embedding.weight", PATCHES + 1, DIM, 0, 1);
	model_tensor(m, "embeddings.patch_embedding.weight", DIM, (size_t)3 * PATCH * PATCH, 0, 0.05f);
	model_norm(m, "pre_layrnorm");
	model_norm(m, "post_layernorm");
	model_layers(m);
	fputc('}', m->header);
	fclose(m->header);
	const uint64_t bytes = m->text_bytes;

	fwrite(&bytes, sizeof(bytes), 1, weights);
	fwrite(m->text, 1, m->text_bytes, weights);
	rewind(m->data);
	for (size_t n; (n = fread(block, 1, sizeof(block), m->data)) > 0;)
		assert_int_equal(fwrite(block, 1, n, weights), n);
	fclose(m->data);
	assert_int_equal(fclose(weights), 0);
	free(m->text);
	*state = m;
	return 0;
}

static int model_remove(void **state)
{
	static const char *const names[] = { "config.json", "model.safetensors" };
	struct model *m = *state;
	char path[128];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", m->path, names[i]);
		unlink(path);
	}
	rmdir(m->path);
	free(m);
	return 0;
}

/* Features of a random picture, to free; *n numbers. */
static float *features(const struct model *m, const char *compute, const char *cpu, size_t *n)
{
	static float pixels[3 * SIDE * SIDE];
	const struct percept_encoder *ops = host_load("clip")->ops;
	const struct percept_value values[] = { { .name = "compute", .type = PERCEPT_OPTION_ENUM, .given = 1, .string = compute } };
	const struct percept_open open = { .size = sizeof(open), .role = "image.encoder", .assistant = "test", .model = m->path, .n_values = 1,
					   .values = values };
	const struct percept_media media = { .size = sizeof(media), .modality = PERCEPT_IMAGE, .format = PERCEPT_F32_PIXELS, .frames = 1,
					     .width = SIDE, .height = SIDE, .channels = 3, .data = pixels, .bytes = sizeof(pixels) };
	struct percept_features f = { .size = sizeof(f) };
	struct model random = { .seed = 5 };
	struct check_host host;
	void *encoder = NULL;

	for (size_t i = 0; i < sizeof(pixels) / sizeof(*pixels); i++)
		pixels[i] = 2 * model_random(&random);
	setenv("PERCEPT_CPU", cpu, 1);
	check_host_init(&host);
	if (ops->open(check_host_begin(&host), &open, &encoder) || ops->encode(check_host_begin(&host), encoder, &media, &f))
		print_error("%s\n", host.text);
	assert_non_null(f.data);
	*n = (size_t)f.layout.items * f.layout.tokens * f.layout.dim;
	float *copy = malloc(*n * sizeof(*copy));

	assert_non_null(copy);
	memcpy(copy, f.data, *n * sizeof(*copy));
	ops->close(encoder);
	check_host_fini(&host);
	unsetenv("PERCEPT_CPU");
	return copy;
}

/* The root of the mean square of what they differ by, as a part of that of `b`. */
static double difference(const float *a, const float *b, size_t n)
{
	double off = 0, all = 0;

	for (size_t i = 0; i < n; i++) {
		off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
		all += (double)b[i] * b[i];
	}
	return sqrt(off / all);
}

static const char *const cpus[] = { "portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx" };

/* A set that this processor has not is the best one that it has. */
static void expect_near(const struct model *m, const char *compute, double most)
{
	size_t n, count;
	float *plain = features(m, "f32", "portable", &n);

	assert_int_equal(n, PATCHES * DIM);
	for (size_t i = 0; i < sizeof(cpus) / sizeof(*cpus); i++) {
		float *f = features(m, compute, cpus[i], &count);

		assert_int_equal(count, n);
		const double off = difference(f, plain, n);

		print_message("%s, %s: %.2e\n", compute, cpus[i], off);
		assert_true(off <= most);
		free(f);
	}
	free(plain);
}

/* Roundings of f32 in another order. */
static void f32_is_the_same_everywhere(void **state)
{
	expect_near(*state, "f32", 3e-6);
}

/* As perceptd.conf(5) says: numbers are rounded to 8 bits, in six products of each of six layers that add to what was there. */
static void bf16_is_off_by_half_a_hundredth(void **state)
{
	expect_near(*state, "bf16", 0.006);
}

static void fast_is_one_of_both(void **state)
{
	expect_near(*state, "fast", 0.006);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(f32_is_the_same_everywhere),
		cmocka_unit_test(bf16_is_off_by_half_a_hundredth),
		cmocka_unit_test(fast_is_one_of_both),
	};

	return cmocka_run_group_tests(tests, model_make, model_remove);
}
