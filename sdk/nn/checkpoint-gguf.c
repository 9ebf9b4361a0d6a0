/* checkpoint-gguf.c - GGUF files as a checkpoint: their tensors as weights, their values as a configuration. */
#include "config.h" /* asprintf */

#include "sdk/nn/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/checkpoint-impl.h"
#include "sdk/nn/text.h"

enum { GGUF_STRING_MAX = 1024 };

/* GGUF's numbers of the types that are not blocks. */
static enum nn_type gguf_type(const struct nn_block_format *format)
{
	static const struct {
		uint32_t ggml_type;
		enum nn_type type;
	} floats[] = { { 0, NN_F32 }, { 1, NN_F16 }, { 30, NN_BF16 } };

	for (size_t i = 0; i < sizeof(floats) / sizeof(*floats); i++)
		if (format->ggml_type == floats[i].ggml_type)
			return floats[i].type;
	return NN_BLOCKS;
}

static int gguf_weight(struct nn_weight *w, const struct nn_gguf_tensor *t)
{
	uint64_t cols = 1;

	*w = (struct nn_weight){
		.name = strndup(t->name.bytes, t->name.n), .data = t->data, .bytes = t->bytes, .type = gguf_type(t->format),
		.rank = t->rank, .rows = t->shape[0],
	};
	if (!w->name)
		return -ENOMEM;
	if (w->type == NN_BLOCKS)
		w->format = t->format;
	for (uint32_t i = 0; i < t->rank; i++) {
		w->shape[i] = t->shape[i];
		cols *= i ? t->shape[i] : 1; /* cannot overflow: the parser found the product within the file */
	}
	w->cols = cols;
	/* A vector is one row, as blocks lie along it. */
	if (t->rank == 1 && w->type == NN_BLOCKS) {
		w->rows = 1;
		w->cols = t->shape[0];
	}
	return 0;
}

int checkpoint_gguf_parse(struct checkpoint_file *file, const char *path, struct nn_error *error)
{
	struct nn_gguf *g = &file->gguf;
	int err = nn_gguf_parse(g, file->bytes, file->size, path, error);

	if (err)
		return err;
	file->is_gguf = 1;
	file->st.header_bytes = g->header_bytes;
	file->st.weights = calloc(g->n_tensors + 1, sizeof(*file->st.weights));
	if (!file->st.weights)
		return nn_fail(error, -ENOMEM, "%s: memory is out.", path);
	for (; file->st.n < g->n_tensors; file->st.n++)
		if (gguf_weight(&file->st.weights[file->st.n], &g->tensors[file->st.n]))
			return nn_fail(error, -ENOMEM, "%s: memory is out.", path);
	return 0;
}

int checkpoint_is_gguf(const struct checkpoint_file *file, const char *path)
{
	const size_t n = strlen(path);

	return (n > 5 && !strcmp(path + n - 5, ".gguf")) || (file->size >= 4 && !memcmp(file->bytes, "GGUF", 4));
}

/* A scalar as JSON; NULL with *skip for what a configuration has no use for. */
static cJSON *gguf_json(const struct nn_gguf_value *v, int *skip)
{
	const unsigned char *at = v->data;
	char text[GGUF_STRING_MAX + 1];

	*skip = v->is_array;
	if (*skip)
		return NULL;
	if (v->type == NN_GGUF_BOOL)
		return cJSON_CreateBool(nn_gguf_number(v, 0) != 0);
	if (v->type != NN_GGUF_STRING)
		return cJSON_CreateNumber(nn_gguf_number(v, 0));
	const struct nn_gguf_text s = nn_gguf_next_text(&at);

	*skip = s.n > GGUF_STRING_MAX || memchr(s.bytes, 0, s.n) || !utf8_valid(s.bytes, s.n);
	if (*skip)
		return NULL;
	memcpy(text, s.bytes, s.n);
	text[s.n] = '\0';
	return cJSON_CreateString(text);
}

static int gguf_add(cJSON *config, const struct nn_gguf_value *v, size_t prefix)
{
	const size_t n = v->key.n - prefix;
	int skip;
	char key[128];

	if (n >= sizeof(key) || !utf8_valid(v->key.bytes, v->key.n))
		return 0;
	memcpy(key, v->key.bytes + prefix, n);
	key[n] = '\0';
	/* What comes first stands. */
	if (cJSON_GetObjectItemCaseSensitive(config, key))
		return 0;
	cJSON *item = gguf_json(v, &skip);

	if (skip || (item && cJSON_AddItemToObject(config, key, item)))
		return 0;
	cJSON_Delete(item);
	return -ENOMEM;
}

/* The text of a key that must be a text; 0 if it is none. */
static int gguf_string(const struct nn_gguf *g, const char *key, struct nn_gguf_text *text)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);

	if (!v || v->is_array || v->type != NN_GGUF_STRING)
		return 0;
	const unsigned char *at = v->data;

	*text = nn_gguf_next_text(&at);
	return 1;
}

cJSON *checkpoint_gguf_config(const struct nn_gguf *g, const char *path, struct nn_error *error)
{
	cJSON *config = cJSON_CreateObject();
	struct nn_gguf_text arch = { 0 };
	char type[64];
	int failed = config ? 0 : -ENOMEM;

	if (!gguf_string(g, "general.architecture", &arch) || !arch.n || arch.n >= sizeof(type) ||
	    !utf8_valid(arch.bytes, arch.n) || memchr(arch.bytes, 0, arch.n)) {
		nn_fail(error, -EINVAL, "%s: \"general.architecture\" is missing or no name.", path);
		cJSON_Delete(config);
		return NULL;
	}
	memcpy(type, arch.bytes, arch.n);
	type[arch.n] = '\0';
	if (!failed && !cJSON_AddStringToObject(config, "model_type", type))
		failed = -ENOMEM;
	for (uint64_t i = 0; i < g->n_values && !failed; i++) {
		const struct nn_gguf_value *v = &g->values[i];
		const int own = v->key.n > arch.n + 1 && !memcmp(v->key.bytes, arch.bytes, arch.n) && v->key.bytes[arch.n] == '.';

		failed = gguf_add(config, v, own ? arch.n + 1 : 0);
	}
	if (!failed)
		return config;
	nn_fail(error, failed, "%s: memory is out.", path);
	cJSON_Delete(config);
	return NULL;
}

/* ---- split files: NAME-00001-of-00003.gguf ---- */

static uint64_t gguf_count(const struct nn_gguf *g, const char *key)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);
	const double n = v && !v->is_array && v->type != NN_GGUF_STRING ? nn_gguf_number(v, 0) : 0;

	return n >= 0 && n < 1e9 ? (uint64_t)n : UINT64_MAX;
}

/* Length of what stands before "-00001-of-00003.gguf"; 0 if the name is not of that form. */
static size_t gguf_split_stem(const char *name)
{
	unsigned part, parts;
	int end = 0;
	const size_t n = strlen(name), tail = strlen("-00001-of-00003.gguf");

	if (n <= tail || sscanf(name + n - tail, "-%5u-of-%5u.gguf%n", &part, &parts, &end) != 2 || (size_t)end != tail)
		return 0;
	return n - tail;
}

int checkpoint_gguf_parts(struct nn_checkpoint *cp, struct nn_error *error,
			  int (*add)(struct nn_checkpoint *cp, const char *directory, const char *name, struct nn_error *error))
{
	const struct nn_gguf *g = &cp->files[0].gguf;
	const uint64_t parts = gguf_count(g, "split.count"), tensors = gguf_count(g, "split.tensors.count");
	const size_t stem = gguf_split_stem(cp->files[0].name);
	uint64_t n = cp->files[0].st.n;
	char *name = NULL;
	int err = 0;

	if (parts <= 1)
		return 0;
	if (parts > CHECKPOINT_FILES_MAX || !stem || gguf_count(g, "split.no"))
		return nn_fail(error, -EINVAL, "%s: is one of several parts; name the first, NAME-00001-of-0000N.gguf.", cp->path);
	for (uint64_t i = 1; i < parts && !err; i++) {
		free(name);
		if (asprintf(&name, "%.*s-%05u-of-%05u.gguf", (int)stem, cp->files[0].name, (unsigned)i + 1, (unsigned)parts) < 0)
			return nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
		err = add(cp, cp->directory, name, error);
		if (err)
			break;
		const struct checkpoint_file *file = &cp->files[i];

		if (!file->is_gguf || gguf_count(&file->gguf, "split.no") != i || gguf_count(&file->gguf, "split.count") != parts)
			err = nn_fail(error, -EINVAL, "%s: is not part %u of %u.", name, (unsigned)i + 1, (unsigned)parts);
		n += file->st.n;
	}
	free(name);
	if (!err && tensors && tensors != n)
		err = nn_fail(error, -EINVAL, "%s: the parts hold %llu tensors; %llu were announced.", cp->path,
			      (unsigned long long)n, (unsigned long long)tensors);
	return err;
}

const struct nn_gguf *nn_checkpoint_gguf(const struct nn_checkpoint *cp)
{
	return cp->n_files && cp->files[0].is_gguf ? &cp->files[0].gguf : NULL;
}
