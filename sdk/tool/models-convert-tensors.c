/* models-convert-tensors.c - tensors by their names in GGUF files, and laid as those have them. */
#include "sdk/tool/models-convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/quantise.h"
#include "sdk/tool/progress.h"

enum { CONVERT_CHUNK = 1 << 20 /* values at a time, about */ };

static const char *const convert_suffixes[] = {".weight", ".bias"};

/* What folders put before the names. */
static struct nn_weight *convert_source(const struct convert *c, const struct nn_tensor_name *name, uint32_t layer, uint32_t expert,
					const char *suffix)
{
	static const char *const prefixes[] = {"model.", "", "transformer.", "language_model.model.", "language_model.",
					       "model.language_model.", "model.text_model."};
	char hf[NN_NAMES_MAX], full[NN_NAMES_MAX + 16];
	nn_names_write(name->hf, layer, expert, suffix, hf);
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		snprintf(full, sizeof full, "%s%s", prefixes[i], hf);
		struct nn_weight *w = nn_checkpoint_weight(c->checkpoint, full);
		if (w)
			return w;
	}
	return NULL;
}

static int convert_has_numbers(const char *hf, int n)
{
	for (; *hf; hf++)
		n -= *hf == '%';
	return n <= 0;
}

/* Vectors, routers and position tables are computed with as they are. */
static const struct nn_block_format *convert_format(const struct convert *c, const struct nn_tensor_name *name, const struct nn_weight *w)
{
	const int exact = w->rank < 2 || strstr(name->gguf, "_norm") || strstr(name->gguf, "ffn_gate_inp") ||
			  strcmp(name->gguf, "position_embd") == 0;
	return exact ? nn_block_format_named("F32") : c->matrices;
}

static void convert_shape(const struct convert *c, const struct convert_tensor *t, const struct nn_weight *w, uint64_t shape[NN_RANK],
			  uint32_t *rank)
{
	*rank = 0;
	if (t->experts > 1)
		shape[(*rank)++] = t->experts;
	for (uint32_t i = 0; i < w->rank && *rank < NN_RANK; i++)
		shape[(*rank)++] = w->shape[i];
	if ((c->family->traits & CONVERT_TURNED) && w->rank == 2 && strstr(t->from->hf, "%u")) {
		const uint64_t rows = shape[0];
		shape[0] = shape[1];
		shape[1] = rows;
	}
}

/* One of the file's tensors, if the folder has it. `used` marks the folder's. */
static int convert_add(struct convert *c, const struct nn_tensor_name *name, uint32_t layer, const char *suffix, unsigned char *used)
{
	struct convert_tensor *t = &c->tensors[c->n_tensors];
	const int many = convert_has_numbers(name->hf, 2);
	*t = (struct convert_tensor){.from = name, .suffix = suffix, .layer = layer, .experts = many ? c->experts : 1};
	struct nn_weight *first = convert_source(c, name, layer, 0, suffix);
	if (!first)
		return 0;
	for (uint32_t e = 0; e < t->experts; e++) {
		const struct nn_weight *w = convert_source(c, name, layer, e, suffix);
		if (!w || w->rows != first->rows || w->cols != first->cols || !nn_weight_usable(w) || w->rank < 1)
			return nn_fail(&c->error, -EINVAL, "%s: expert %u of layer %u has no \"%s%s\" like the others'.", c->path, e, layer, name->gguf,
				       suffix);
		for (size_t i = 0; i < nn_checkpoint_count(c->checkpoint); i++)
			used[i] |= nn_checkpoint_at(c->checkpoint, i) == w;
	}
	if (convert_has_numbers(name->hf, 1))
		snprintf(t->name, sizeof t->name, "blk.%u.%s%s", layer, name->gguf, suffix);
	else
		snprintf(t->name, sizeof t->name, "%s%s", name->gguf, suffix);
	t->format = convert_format(c, name, first);
	c->n_tensors++;
	return 0;
}

/* Buffers of older checkpoints that are no weights; and a head that is the embeddings again. */
static int convert_is_idle(const struct convert *c, const char *name)
{
	static const char *const ends[] = {"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"};
	struct nn_error ignored = {0};
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (strlen(name) > strlen(ends[i]) && strcmp(name + strlen(name) - strlen(ends[i]), ends[i]) == 0)
			return 1;
	const int tied = nn_config_bool(c->config, "tie_word_embeddings", nn_config_bool(c->root, "tie_word_embeddings", 0, &ignored), &ignored);
	return strcmp(name, "lm_head.weight") == 0 && tied;
}

/* What pictures go through, which has a file of its own. */
static int convert_is_picture(const struct convert *c, const char *name)
{
	static const char *const starts[] = {"vision_tower.", "multi_modal_projector.", "visual.", "vision.", "vision_model.", "connector.", "image_newline",
					     "mm_projector."};
	if (strncmp(name, "model.", 6) == 0)
		name += 6;
	for (size_t i = 0; c->pictures && i < sizeof starts / sizeof *starts; i++)
		if (strncmp(name, starts[i], strlen(starts[i])) == 0)
			return 1;
	return 0;
}

/* Every layer has what any has; but experts may be in some layers only. */
static int convert_whole_layers(struct convert *c, const struct nn_tensor_name *name, size_t found)
{
	if (!convert_has_numbers(name->hf, 1) || found == 0 || found == c->layers || (c->experts && strncmp(name->gguf, "ffn_", 4) == 0))
		return 0;
	return nn_fail(&c->error, -EINVAL, "%s: %zu of %u layers have \"%s\"; the checkpoint is not whole.", c->path, found, c->layers,
		       name->gguf);
}

static int convert_all(struct convert *c, unsigned char *used)
{
	const struct nn_tensor_name *name;
	for (size_t i = 0; !c->error.code && (name = nn_names_at(c->family->names, i)); i++) {
		const uint32_t layers = convert_has_numbers(name->hf, 1) ? c->layers : 1;
		for (size_t s = 0; s < sizeof convert_suffixes / sizeof *convert_suffixes && !c->error.code; s++) {
			const size_t before = c->n_tensors;
			if (strcmp(name->gguf, "output") == 0 && convert_is_idle(c, "lm_head.weight"))
				continue;
			for (uint32_t layer = 0; layer < layers && !c->error.code; layer++)
				convert_add(c, name, layer, convert_suffixes[s], used);
			if (!c->error.code)
				convert_whole_layers(c, name, c->n_tensors - before);
		}
	}
	return c->error.code;
}

/* What must be there at least, and nothing that no name is known for. */
static int convert_check(struct convert *c, const unsigned char *used)
{
	static const char *const needed[] = {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_output.weight"};
	for (size_t k = 0; k < sizeof needed / sizeof *needed; k++) {
		int there = 0;
		for (size_t i = 0; i < c->n_tensors; i++)
			there |= strcmp(c->tensors[i].name, needed[k]) == 0;
		if (!there)
			return nn_fail(&c->error, -EINVAL, "%s: the checkpoint has no tensor for \"%s\".", c->path, needed[k]);
	}
	for (size_t i = 0; i < nn_checkpoint_count(c->checkpoint); i++) {
		const char *name = nn_checkpoint_at(c->checkpoint, i)->name;
		if (!used[i] && !convert_is_idle(c, name) && !convert_is_picture(c, name))
			return nn_fail(&c->error, -ENOTSUP, "%s: GGUF's %s family has no place for the tensor \"%.100s\".", c->path, c->family->arch,
				       name);
	}
	return 0;
}

int convert_list(struct convert *c)
{
	const size_t n = nn_checkpoint_count(c->checkpoint);
	unsigned char *used = calloc(n + 1, 1);
	c->tensors = calloc(n + 1, sizeof *c->tensors);
	if (!used || !c->tensors)
		nn_fail(&c->error, -ENOMEM, "Memory is out.");
	else if (!convert_all(c, used))
		convert_check(c, used);
	free(used);
	for (size_t i = 0; i < c->n_tensors && !c->error.code; i++)
		if (strcmp(c->tensors[i].name, "token_embd.weight") == 0)
			c->rows = convert_source(c, c->tensors[i].from, 0, 0, ".weight")->rows;
	return c->error.code;
}

/* The folder's row that row `r` of the file is: halves of a head become neighbours. */
static size_t convert_row(const struct convert *c, const struct convert_tensor *t, size_t rows, size_t r)
{
	const int q = strcmp(t->from->gguf, "attn_q") == 0, k = strcmp(t->from->gguf, "attn_k") == 0;
	const size_t heads = q ? c->heads : c->kv_heads, head = heads ? rows / heads : 0;
	if (!(c->family->traits & CONVERT_PERMUTED) || (!q && !k) || head * heads != rows || head % 2)
		return r;
	const size_t within = r % head;
	return r - within + within % 2 * (head / 2) + within / 2;
}

/* One source of a tensor, rows in the file's order; with `last` the tensor ends. */
static int convert_rows(struct convert *c, const struct convert_tensor *t, const struct nn_weight *w, float *values, uint8_t *blocks, int last)
{
	const size_t step = w->cols < CONVERT_CHUNK ? CONVERT_CHUNK / w->cols : 1;
	const int one_more = (c->family->traits & CONVERT_NORMS) && strstr(t->from->gguf, "_norm");
	for (size_t at = 0; at < w->rows && !c->out.error; at += step) {
		const size_t rows = w->rows - at < step ? w->rows - at : step, n = rows * w->cols;
		for (size_t r = 0; r < rows; r++)
			nn_weight_read(w, convert_row(c, t, w->rows, at + r), 1, values + r * w->cols);
		for (size_t i = 0; one_more && i < n; i++)
			values[i] += 1;
		nn_quantise(t->format, values, n, blocks);
		nn_gguf_write_data(&c->out, c->file, blocks, n / t->format->elements * t->format->bytes, last && at + rows == w->rows);
	}
	return c->out.error;
}

static int convert_tensor(struct convert *c, const struct convert_tensor *t)
{
	size_t most = CONVERT_CHUNK;
	for (uint32_t e = 0; e < t->experts && !c->out.error; e++) {
		struct nn_weight *w = convert_source(c, t->from, t->layer, e, t->suffix);
		if ((c->family->traits & CONVERT_TURNED) && w->rank == 2 && convert_has_numbers(t->from->hf, 1))
			w = nn_weight_transposed(c->checkpoint, w);
		if (!w)
			return -ENOMEM;
		most = w->cols > most ? w->cols : most;
		float *values = malloc(most * sizeof *values);
		uint8_t *blocks = malloc(most * sizeof *values);
		const int error = values && blocks ? convert_rows(c, t, w, values, blocks, e + 1 == t->experts) : -ENOMEM;
		free(values);
		free(blocks);
		if (error)
			return error;
	}
	return c->out.error;
}

int convert_data(struct convert *c)
{
	const struct nn_block_format *f32 = nn_block_format_named("F32");
	struct progress p;
	for (size_t i = 0; i < c->n_extras; i++) {
		const uint64_t n = c->extras[i].n;
		nn_gguf_write_tensor(&c->out, c->extras[i].name, strlen(c->extras[i].name), f32, 1, &n);
	}
	for (size_t i = 0; i < c->n_tensors; i++) {
		const struct convert_tensor *t = &c->tensors[i];
		uint64_t shape[NN_RANK];
		uint32_t rank;
		convert_shape(c, t, convert_source(c, t->from, t->layer, 0, t->suffix), shape, &rank);
		nn_gguf_write_tensor(&c->out, t->name, strlen(t->name), t->format, rank, shape);
	}
	nn_gguf_write_header(&c->out, c->file);
	for (size_t i = 0; i < c->n_extras; i++)
		nn_gguf_write_data(&c->out, c->file, c->extras[i].values, c->extras[i].n * sizeof(float), 1);
	progress_init(&p);
	int error = 0;
	for (size_t i = 0; i < c->n_tensors && !error; i++) {
		progress_show(&p, "converting", (double)i, (double)c->n_tensors);
		error = convert_tensor(c, &c->tensors[i]);
	}
	progress_clear(&p);
	return error ? error : c->out.error;
}
