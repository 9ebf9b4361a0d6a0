/* models-quantize.c - percept models quantize: a GGUF file in smaller block formats.
 *
 * Which tensor gets which format follows llama.cpp's rules, so that files of one name are alike. */
#include "sdk/tool/models.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/gguf-write.h"
#include "sdk/nn/quantise.h"
#include "sdk/tool/models-file.h"

enum { QUANTIZE_CHUNK = 1 << 20 /* values at a time, about */, QUANTIZE_VERSION = 2 };

struct quantize_type {
	const char *name, *most; /* the format of most tensors */
	uint32_t file_type;      /* general.file_type */
	int mixed;               /* some tensors have more bits */
};

static const struct quantize_type quantize_types[] = {
	{"Q8_0", "Q8_0", 7, 0},
	{"Q4_0", "Q4_0", 2, 0},
	{"Q4_K_M", "Q4_K", 15, 1},
	{"Q6_K", "Q6_K", 18, 0},
};

/* What a format of 256 becomes where rows are no multiple of it. */
static const struct {
	const char *format, *instead;
} quantize_fallbacks[] = {{"Q4_K", "Q5_0"}, {"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"}, {"Q8_0", "F16"}, {"Q4_0", "F16"},
			  {"Q5_0", "F16"}, {"Q5_1", "F16"}};

struct quantize {
	struct tool *tool;
	struct nn_gguf_file in;
	const struct quantize_type *type;
	uint32_t layers, experts;
	int tied; /* the embeddings are the head */
	struct nn_gguf_writer out;
	FILE *file;
	float *values;
	uint8_t *blocks;
};

static int quantize_named(const struct nn_gguf_tensor *t, const char *part)
{
	const size_t n = strlen(part);
	for (size_t i = 0; i + n <= t->name.n; i++)
		if (memcmp(t->name.bytes + i, part, n) == 0)
			return 1;
	return 0;
}

/* The first and last eighths of the layers, and every third of the others, gain most by more bits. */
static int quantize_sensitive(const struct quantize *q, const struct nn_gguf_tensor *t)
{
	const uint32_t i = (uint32_t)strtoul(t->name.bytes + 4, NULL, 10), n = q->layers;
	return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* The format that a tensor of the mixed type should have. */
static const char *quantize_mixed(const struct quantize *q, const struct nn_gguf_tensor *t)
{
	if (quantize_named(t, "attn_qkv.weight"))
		return "Q5_K";
	if ((quantize_named(t, "attn_v.weight") || quantize_named(t, "attn_k.weight")) && q->experts == 8)
		return "Q8_0";
	if ((quantize_named(t, "attn_v.weight") || quantize_named(t, "ffn_down")) && quantize_sensitive(q, t))
		return "Q6_K";
	return q->type->most;
}

static int quantize_is(const struct nn_gguf_tensor *t, const char *name)
{
	return t->name.n == strlen(name) && memcmp(t->name.bytes, name, t->name.n) == 0;
}

/* Vectors, routers and what is no float stay as they are. */
static const struct nn_block_format *quantize_format(const struct quantize *q, const struct nn_gguf_tensor *t)
{
	const uint64_t cols = t->rank ? t->shape[t->rank - 1] : 0;
	const char *name = q->type->most;
	if (t->rank < 2 || !quantize_named(t, ".weight") || quantize_named(t, "_norm") || quantize_named(t, "ffn_gate_inp") ||
	    quantize_is(t, "position_embd.weight") || quantize_is(t, "token_types.weight"))
		return t->format;
	if (quantize_is(t, "output.weight") || (q->tied && quantize_is(t, "token_embd.weight")))
		name = q->type->file_type == 7 ? "Q8_0" : "Q6_K";
	else if (q->type->mixed)
		name = quantize_mixed(q, t);
	for (size_t i = 0; i < sizeof quantize_fallbacks / sizeof *quantize_fallbacks; i++)
		if (strcmp(name, quantize_fallbacks[i].format) == 0 && cols % nn_block_format_named(name)->elements != 0)
			name = quantize_fallbacks[i].instead;
	return nn_block_format_named(name);
}

static uint32_t quantize_number(const struct nn_gguf *g, const char *suffix)
{
	for (uint64_t i = 0; i < g->n_values; i++) {
		const struct nn_gguf_value *v = &g->values[i];
		const size_t n = strlen(suffix);
		if (!v->is_array && v->key.n > n && memcmp(v->key.bytes + v->key.n - n, suffix, n) == 0)
			return nn_gguf_number(v, 0) >= 0 && nn_gguf_number(v, 0) < 1 << 16 ? (uint32_t)nn_gguf_number(v, 0) : 0;
	}
	return 0;
}

/* All values but those that name the types, which follow. */
static void quantize_header(struct quantize *q)
{
	static const char *const own[] = {"general.file_type", "general.quantization_version", "general.alignment"};
	const struct nn_gguf *g = &q->in.g;
	for (uint64_t i = 0; i < g->n_values; i++) {
		int skip = 0;
		for (size_t k = 0; k < sizeof own / sizeof *own; k++)
			skip |= g->values[i].key.n == strlen(own[k]) && memcmp(g->values[i].key.bytes, own[k], strlen(own[k])) == 0;
		if (!skip)
			nn_gguf_write_copy(&q->out, &g->values[i]);
	}
	nn_gguf_write_u32(&q->out, "general.quantization_version", QUANTIZE_VERSION);
	nn_gguf_write_u32(&q->out, "general.file_type", q->type->file_type);
	for (uint64_t i = 0; i < g->n_tensors; i++) {
		const struct nn_gguf_tensor *t = &g->tensors[i];
		nn_gguf_write_tensor(&q->out, t->name.bytes, t->name.n, quantize_format(q, t), t->rank, t->shape);
	}
	nn_gguf_write_header(&q->out, q->file);
}

/* Rows of a tensor, some at a time. */
static void quantize_tensor(struct quantize *q, const struct nn_gguf_tensor *t)
{
	const struct nn_block_format *to = quantize_format(q, t), *from = t->format;
	const uint64_t n = t->bytes / from->bytes * from->elements, step = QUANTIZE_CHUNK;
	if (to == from) {
		nn_gguf_write_data(&q->out, q->file, t->data, t->bytes, 1);
		return;
	}
	for (uint64_t at = 0; at < n && !q->out.error; at += step) {
		const uint64_t count = n - at < step ? n - at : step;
		nn_blocks_expand(from, t->data + at / from->elements * from->bytes, count / from->elements, q->values);
		nn_quantise(to, q->values, count, q->blocks);
		nn_gguf_write_data(&q->out, q->file, q->blocks, count / to->elements * to->bytes, at + count == n);
	}
}

static int quantize_write(struct quantize *q)
{
	const struct nn_gguf *g = &q->in.g;
	struct progress p;
	q->values = malloc(QUANTIZE_CHUNK * sizeof *q->values);
	q->blocks = malloc(QUANTIZE_CHUNK * sizeof(float));
	if (!q->values || !q->blocks)
		return -ENOMEM;
	quantize_header(q);
	progress_init(&p);
	for (uint64_t i = 0; i < g->n_tensors && !q->out.error; i++) {
		progress_show(&p, "quantising", (double)i, (double)g->n_tensors);
		quantize_tensor(q, &g->tensors[i]);
	}
	progress_clear(&p);
	return q->out.error;
}

static int quantize_run(struct quantize *q, const char *input, const char *output)
{
	struct models_file to;
	if (models_file_begin(q->tool, &to, output) != 0)
		return TOOL_FAILED;
	q->file = to.file;
	const int error = quantize_write(q);
	free(q->values);
	free(q->blocks);
	nn_gguf_write_fini(&q->out);
	if (models_file_end(q->tool, &to, error) != 0)
		return TOOL_FAILED;
	return models_file_report(q->tool, input, output);
}

static const struct quantize_type *quantize_type(struct tool *tool, const char *name)
{
	for (size_t i = 0; i < sizeof quantize_types / sizeof *quantize_types; i++)
		if (strcasecmp(name, quantize_types[i].name) == 0)
			return &quantize_types[i];
	tool_say(tool, 0, "'%s' is no type that models are quantised to. Q8_0, Q6_K, Q4_K_M and Q4_0 are.", name);
	return NULL;
}

/* The output's name where none is given: the input's without its type, and the new one. */
static void quantize_name(const char *input, const char *type, char output[PATH_MAX])
{
	char stem[PATH_MAX];
	snprintf(stem, sizeof stem, "%.*s", (int)(strlen(input) - strlen(".gguf")), input);
	char *dot = strrchr(stem, '.'), *slash = strrchr(stem, '/');
	if (dot && (!slash || dot > slash) && strlen(dot) < 10)
		*dot = '\0';
	if (snprintf(output, PATH_MAX, "%s.%s.gguf", stem, type) >= PATH_MAX)
		output[0] = '\0';
}

int models_quantize(struct tool *tool, const struct models_values *values, const char *const *words)
{
	struct quantize q = {.tool = tool, .type = quantize_type(tool, words[1])};
	struct nn_error error = {0};
	char path[PATH_MAX], output[PATH_MAX];
	if (!q.type)
		return TOOL_USAGE;
	if (models_find(tool, words[0], path) != 0)
		return TOOL_FAILED;
	if (!nn_gguf_is_path(path))
		return tool_say(tool, TOOL_FAILED, "%s is no GGUF file. 'percept models convert' makes one of a folder.", path);
	if (nn_gguf_open(&q.in, path, &error) < 0) {
		nn_gguf_close(&q.in);
		return tool_say(tool, TOOL_FAILED, "%s", error.text);
	}
	quantize_name(path, q.type->name, output);
	q.layers = quantize_number(&q.in.g, ".block_count");
	q.experts = quantize_number(&q.in.g, ".expert_count");
	q.tied = 1;
	for (uint64_t i = 0; i < q.in.g.n_tensors; i++)
		q.tied &= !quantize_is(&q.in.g.tensors[i], "output.weight");
	const int r = quantize_run(&q, path, values->output ? values->output : output);
	nn_gguf_close(&q.in);
	return r;
}
