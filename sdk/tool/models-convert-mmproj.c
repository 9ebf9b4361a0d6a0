/* models-convert-mmproj.c - the picture tower and the projector of a Hugging Face folder as a GGUF file of their own. */
#include "sdk/tool/models-convert-mmproj.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/quantise.h"

enum { MMPROJ_TENSORS = 1 << 16 };

/* Bundles by config.json's model_type. */
static const struct mmproj_kind mmproj_kinds[] = {
	{"llava", "pixtral", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "gelu", 1024, "pixtral", NULL},
	{"llava", "mlp", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "quick_gelu", 224, NULL, NULL},
	{"llava_next", "mlp", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "quick_gelu", 224, NULL, NULL},
	{"llava_llama", "mlp", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "quick_gelu", 224, NULL, NULL},
	{"llava_mistral", "mlp", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "quick_gelu", 224, NULL, NULL},
	{"mobilevlm", "ldp", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "quick_gelu", 224, NULL,
	 "model.mm_projector.model.mlp.1.weight"},
	{"mobilevlm", "ldpv2", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "quick_gelu", 224, NULL, NULL},
	{"gemma3", "gemma3", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-6, "gelu_pytorch_tanh", 224, NULL, NULL},
	{"idefics3", "idefics3", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-6, "gelu_pytorch_tanh", 224, NULL, NULL},
	{"smolvlm", "idefics3", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-6, "gelu_pytorch_tanh", 224, NULL, NULL},
	{"internvl", "internvl", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-6, "gelu", 448, NULL, NULL},
	{"mistral3", "pixtral", "hidden_size", "num_hidden_layers", "num_attention_heads", 1e-5, "gelu", 1024, "pixtral", NULL},
	{"cogvlm", "cogvlm", "hidden_size", "num_hidden_layers", "num_heads", 1e-6, "gelu", 490, NULL, NULL},
	{"qwen2_vl", "qwen2vl_merger", "embed_dim", "depth", "num_heads", 1e-6, "quick_gelu", 560, NULL, NULL},
	{"qwen2_5_vl", "qwen2.5vl_merger", "hidden_size", "depth", "num_heads", 1e-6, "silu", 560, NULL, NULL},
};

int convert_has_pictures(const char *type)
{
	for (size_t i = 0; i < sizeof mmproj_kinds / sizeof *mmproj_kinds; i++)
		if (strcmp(mmproj_kinds[i].type, type) == 0)
			return 1;
	return 0;
}

uint32_t mmproj_side(struct mmproj_writer *w, const char *name, uint32_t fallback)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(w->tower, name), *first = cJSON_GetArrayItem(list, 0);
	if (!cJSON_IsArray(list))
		return mmproj_whole(w, w->tower, name, fallback);
	if (cJSON_IsNumber(first) && first->valuedouble >= 1 && first->valuedouble <= 1 << 20)
		return (uint32_t)first->valuedouble;
	nn_fail(&w->c->error, -EINVAL, "%s: config.json: \"%s\" is out of range.", w->c->path, name);
	return fallback;
}

uint32_t mmproj_whole(struct mmproj_writer *w, const cJSON *object, const char *names, uint32_t fallback)
{
	return (uint32_t)nn_config_int(object, names, fallback, 1, INT32_MAX, &w->c->error);
}

static int mmproj_is_kind(const struct mmproj_writer *w, const struct mmproj_kind *kind)
{
	return strcmp(kind->type, nn_config_type(w->c->root)) == 0 &&
	       (!kind->tower || strcmp(kind->tower, nn_config_string(w->tower, "model_type", "")) == 0) &&
	       (!kind->sign || nn_checkpoint_weight(w->c->checkpoint, kind->sign));
}

static int mmproj_begin(struct mmproj_writer *w)
{
	const char *type = nn_config_type(w->c->root);
	w->tower = nn_config_object(w->c->root, "vision_config");
	for (size_t i = 0; i < sizeof mmproj_kinds / sizeof *mmproj_kinds && !w->kind; i++)
		if (mmproj_is_kind(w, &mmproj_kinds[i]))
			w->kind = &mmproj_kinds[i];
	for (size_t i = 0; w->kind && (w->family = nn_mmproj_family_at(i)) && strcmp(w->family->projector, w->kind->projector) != 0; i++)
		continue;
	if (!w->family || !w->tower)
		return nn_fail(&w->c->error, -ENOTSUP, "%s: the pictures' parts of a model of the type \"%.64s\" cannot be converted.", w->c->path, type);
	w->layers = mmproj_whole(w, w->tower, w->kind->layers, strcmp(w->kind->layers, "depth") == 0 ? 32 : 12);
	w->n_heads = mmproj_whole(w, w->tower, w->kind->heads, 12);
	if (!w->c->error.code && w->layers > NN_MMPROJ_LAYERS)
		return nn_fail(&w->c->error, -EINVAL, "%s: config.json: %u layers are out of range.", w->c->path, w->layers);
	return w->c->error.code ? w->c->error.code : mmproj_bounds(w);
}

/* ---- tensors ---- */

/* By its name in published folders, or as other versions wrote it. */
static struct nn_weight *mmproj_source(const struct mmproj_writer *w, const char *name)
{
	static const char *const written[][2] = {{"", ""}, {"", "model."}, {"vision_tower.vision_model.", "vision_tower."},
						 {"vision_tower.vision_model.", "model.vision_tower."}, {"model.", "model.model."},
						 {"language_model.model.", "model.language_model."},
						 {"vision_tower.", "model.vision_tower.vision_tower."},
						 {"multi_modal_projector.linear_1", "model.mm_projector.0"},
						 {"multi_modal_projector.linear_2", "model.mm_projector.2"}};
	char full[NN_MMPROJ_NAME + 32];
	for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
		const size_t n = strlen(written[i][0]);
		if (strncmp(name, written[i][0], n) != 0)
			continue;
		snprintf(full, sizeof full, "%s%s", written[i][1], name + n);
		struct nn_weight *found = nn_checkpoint_weight(w->c->checkpoint, full);
		if (found)
			return found;
	}
	return NULL;
}

/* Vectors, positions and single embeddings are exact; a convolution is computed in 16 bits of this kind or in 32. */
static const struct nn_block_format *mmproj_format(const struct mmproj_writer *w, const char *name, const struct nn_weight *from)
{
	const int f16 = strcmp(w->c->matrices->name, "F16") == 0;
	const int special = strstr(name, "patch_embd") || strstr(name, "input_projection");
	const int exact = from->rank < 2 || strstr(name, "_embd") || strstr(name, "norm") || strstr(name, "newline") || strstr(name, "ln");
	return special ? nn_block_format_named(f16 ? "F16" : "F32") : exact ? nn_block_format_named("F32") : w->c->matrices;
}

static int mmproj_add(struct mmproj_writer *w, const char *prefix, const struct nn_mmproj_name *name, uint32_t layer, const char *suffix)
{
	const uint32_t parts = name->how == NN_MMPROJ_QKV ? 3 : name->how == NN_MMPROJ_MOMENTS ? 2 : 1;
	char hf[NN_MMPROJ_NAME], full[NN_MMPROJ_NAME + 32], gguf[NN_MMPROJ_NAME];
	snprintf(hf, sizeof hf, name->hf, layer);
	snprintf(full, sizeof full, "%s%.100s%s", prefix, hf, suffix);
	const struct nn_weight *from = mmproj_source(w, full);
	if (!from)
		return 0;
	if (!nn_weight_usable(from) || (name->how == NN_MMPROJ_TURNS && from->rows % (2 * (size_t)w->n_heads)) || (parts == 3 && from->rows % 3) || (parts == 2 && (from->rank != 5 || from->shape[2] != 2)) ||
	    w->n + parts > MMPROJ_TENSORS)
		return nn_fail(&w->c->error, -EINVAL, "%s: tensor \"%.200s\" has an unexpected shape or type.", w->c->path, from->name);
	snprintf(gguf, sizeof gguf, name->gguf, layer);
	for (uint32_t i = 0; i < parts; i++) {
		struct mmproj_tensor *t = &w->tensors[w->n++];
		*t = (struct mmproj_tensor){.from = from, .how = name->how, .part = i, .format = mmproj_format(w, gguf, from),
					    .heads = w->n_heads};
		snprintf(t->name, sizeof t->name, "%.100s%s%s", gguf, suffix, parts == 2 && i ? ".1" : "");
		if (parts == 3)
			*(strstr(t->name, "attn_q") + 5) = "qkv"[i];
	}
	return 0;
}

/* Pixtral: the embedding of what ends a row of patches, which is the language model's. */
static int mmproj_add_break(struct mmproj_writer *w)
{
	struct nn_tokenizer *tokenizer = nn_tokenizer_open(w->c->path, &w->c->error);
	const int32_t id = tokenizer ? nn_tokenizer_special(tokenizer, "[IMG_BREAK]") : -1;
	const struct nn_weight *from = mmproj_source(w, "language_model.model.embed_tokens.weight");
	nn_tokenizer_close(tokenizer);
	if (w->c->error.code)
		return w->c->error.code;
	if (id < 0 || !from || !nn_weight_usable(from) || from->rank != 2 || (uint64_t)id >= from->shape[0] || w->n == MMPROJ_TENSORS)
		return nn_fail(&w->c->error, -EINVAL, "%s: the file holds the embedding of [IMG_BREAK], which this %s lacks.", w->c->path,
			       id < 0 ? "tokenizer" : "checkpoint");
	w->tensors[w->n++] = (struct mmproj_tensor){.name = "v.token_embd.img_break", .from = from, .how = NN_MMPROJ_WHOLE, .row = 1,
						    .part = (uint32_t)id, .format = nn_block_format_named("F32")};
	return 0;
}

/* Those that not every tower has. */
static int mmproj_is_needed(const struct nn_mmproj_name *name)
{
	return strchr(name->gguf, '%') && !strstr(name->gguf, "_norm");
}

/* What the features do not need: LLaVA's last norm; a fused tensor where its parts are written. */
static int mmproj_is_idle(const struct mmproj_writer *w, const struct nn_mmproj_name *name)
{
	int parts = 0;
	for (const struct nn_mmproj_name *other = w->family->layers; other->gguf; other++)
		parts |= other->how == NN_MMPROJ_QKV;
	return (parts && strstr(name->gguf, "attn_qkv")) || (w->n_states && strcmp(name->gguf, "v.post_ln") == 0) ||
	       strcmp(name->gguf, "v.image_newline") == 0;
}

static int mmproj_add_list(struct mmproj_writer *w, const char *prefix, const struct nn_mmproj_name *list)
{
	static const char *const both[] = {".weight", ".bias", NULL}, *const none[] = {"", NULL};
	for (; list->gguf && !w->c->error.code; list++) {
		const uint32_t layers = strchr(list->gguf, '%') ? w->layers : 1;
		const size_t before = w->n;
		if (mmproj_is_idle(w, list))
			continue;
		for (uint32_t i = 0; i < layers; i++)
			for (const char *const *s = list->how == NN_MMPROJ_PAIR || list->how == NN_MMPROJ_QKV ? both : none; *s; s++)
				if (mmproj_add(w, prefix, list, i, *s))
					return w->c->error.code;
		if (w->n == before && mmproj_is_needed(list))
			return nn_fail(&w->c->error, -EINVAL, "%s: the checkpoint has no tensor for \"%s\".", w->c->path, list->gguf);
	}
	return w->c->error.code;
}

/* ---- data ---- */

static void mmproj_shape(const struct mmproj_tensor *t, uint64_t shape[NN_RANK], uint32_t *rank)
{
	memcpy(shape, t->from->shape, sizeof t->from->shape);
	*rank = t->from->rank;
	if (t->row) {
		shape[0] = shape[1];
		*rank = 1;
	}
	/* Kernels as legacy converters write them: no dimensions of one. */
	if (strncmp(t->name, "mm.model.", 9) == 0 && *rank == 4) {
		const uint64_t from[] = {shape[0], shape[1], shape[2], shape[3]};
		*rank = 1;
		for (size_t i = 1; i < 4; i++)
			if (from[i] != 1)
				shape[(*rank)++] = from[i];
	}
	if (t->how == NN_MMPROJ_QKV)
		shape[0] /= 3;
	if (t->how == NN_MMPROJ_MOMENTS) {
		shape[2] = shape[3];
		shape[3] = shape[4];
		*rank = 4;
	}
}

/* The source's row that becomes row r. */
static size_t mmproj_from(const struct mmproj_tensor *t, size_t r)
{
	const size_t head = t->how == NN_MMPROJ_TURNS ? t->from->rows / t->heads : 1, at = r % head;
	if (t->row)
		return t->part;
	if (t->how == NN_MMPROJ_TURNS)
		return r - at + at % 2 * (head / 2) + at / 2;
	return r + (t->how == NN_MMPROJ_QKV ? t->part * (t->from->rows / 3) : 0);
}

/* One row of the tensor, from the source's. `row` holds it all; the result's values come first. Returns how many those are. */
static size_t mmproj_row(const struct mmproj_tensor *t, size_t r, float *row)
{
	const struct nn_weight *w = t->from;
	const size_t plane = t->how == NN_MMPROJ_MOMENTS ? (size_t)(w->shape[3] * w->shape[4]) : 0;
	nn_weight_read(w, mmproj_from(t, r), 1, row);
	for (size_t i = 0; t->how == NN_MMPROJ_NORM && i < w->cols; i++)
		row[i] += 1;
	for (size_t c = 0; plane && c < w->shape[1]; c++)
		memmove(row + c * plane, row + (2 * c + t->part) * plane, plane * sizeof *row);
	return plane ? w->cols / 2 : w->cols;
}

static int mmproj_write_tensor(struct mmproj_writer *w, FILE *file, const struct mmproj_tensor *t)
{
	const size_t rows = t->row ? 1 : t->how == NN_MMPROJ_QKV ? t->from->rows / 3 : t->from->rows;
	float *row = malloc((t->from->cols + 1) * sizeof *row);
	uint8_t *blocks = malloc((t->from->cols + 1) * sizeof *row);
	for (size_t r = 0; row && blocks && r < rows && !w->out.error; r++) {
		const size_t n = mmproj_row(t, r, row);
		nn_quantise(t->format, row, n, blocks);
		nn_gguf_write_data(&w->out, file, blocks, n / t->format->elements * t->format->bytes, r + 1 == rows);
	}
	const int error = row && blocks ? w->out.error : -ENOMEM;
	free(row);
	free(blocks);
	return error;
}

static int mmproj_write(struct mmproj_writer *w, FILE *file)
{
	for (size_t i = 0; i < w->n; i++) {
		uint64_t shape[NN_RANK];
		uint32_t rank;
		mmproj_shape(&w->tensors[i], shape, &rank);
		nn_gguf_write_tensor(&w->out, w->tensors[i].name, strlen(w->tensors[i].name), w->tensors[i].format, rank, shape);
	}
	nn_gguf_write_header(&w->out, file);
	int error = w->out.error;
	for (size_t i = 0; i < w->n && !error; i++)
		error = mmproj_write_tensor(w, file, &w->tensors[i]);
	return error;
}

/* d_ff and the projector's output, as the tensors have them. */
static int mmproj_sizes(struct mmproj_writer *w, uint32_t *d_model, uint32_t *d_ff)
{
	*d_model = *d_ff = 0;
	for (size_t i = 0; i < w->n; i++) {
		const struct mmproj_tensor *t = &w->tensors[i];
		if (strcmp(t->name, "v.blk.0.ffn_up.weight") == 0)
			*d_ff = (uint32_t)t->from->rows;
		if (strncmp(t->name, "mm.", 3) == 0 && t->from->rank == 2)
			*d_model = (uint32_t)(t->how == NN_MMPROJ_TURNED ? t->from->cols : t->from->rows);
	}
	if (*d_model && *d_ff)
		return 0;
	return nn_fail(&w->c->error, -EINVAL, "%s: the checkpoint has no tensors of a picture tower and its projector.", w->c->path);
}

int convert_mmproj(struct convert *c, FILE *file)
{
	struct mmproj_writer w = {.c = c, .tensors = calloc(MMPROJ_TENSORS, sizeof *w.tensors)};
	uint32_t d_model, d_ff;
	if (!w.tensors)
		nn_fail(&c->error, -ENOMEM, "Memory is out.");
	else if (!mmproj_begin(&w) && !mmproj_add_list(&w, w.family->tower, w.family->layers) && !mmproj_add_list(&w, "", w.family->rest) &&
		 (strcmp(w.family->projector, "pixtral") != 0 || !mmproj_add_break(&w)) && !mmproj_sizes(&w, &d_model, &d_ff))
		mmproj_put_values(&w, d_model, d_ff);
	const int error = c->error.code ? c->error.code : w.out.error ? w.out.error : mmproj_write(&w, file);
	nn_gguf_write_fini(&w.out);
	free(w.tensors);
	return error;
}
