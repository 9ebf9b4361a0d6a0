/* models-read.c - what the files of a model folder say. */
#include "sdk/tool/models.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/gguf.h"
#include "sdk/nn/mmproj.h"
#include "sdk/nn/template.h"

const char *model_type_name(const struct nn_weight *w)
{
	static const char *const names[] = {[NN_F32] = "F32", [NN_F16] = "F16", [NN_BF16] = "BF16", [NN_I32] = "I32",
					    [NN_U8] = "U8",   [NN_I64] = "I64", [NN_OTHER] = "other"};
	if (w->type == NN_BLOCKS && w->format)
		return w->format->name;
	return (size_t)w->type < sizeof names / sizeof *names && names[w->type] ? names[w->type] : "other";
}

void model_types(const struct model *m, char *text, size_t size)
{
	size_t n = 0;
	text[0] = '\0';
	for (const struct model_type *t = m->types; t < m->types + MODEL_TYPES && t->name && n < size; t++)
		n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", t->name);
}

/* A model card begins with lines between "---"; one of them is "license: NAME". */
static int license_of_card(const char *path, char *license, size_t size)
{
	char file[PATH_MAX + 16], line[512];
	snprintf(file, sizeof file, "%s/README.md", path);
	FILE *in = fopen(file, "re");
	int found = 0, head = 0;
	if (!in)
		return 0;
	for (int n = 0; !found && n < 200 && fgets(line, sizeof line, in); n++) {
		line[strcspn(line, "\r\n")] = '\0';
		if (strcmp(line, "---") == 0 && head++ == 1)
			break;
		if (strncmp(line, "license:", 8) == 0 || strncmp(line, "License:", 8) == 0) {
			const char *value = line + 8 + strspn(line + 8, " \t'\"");
			snprintf(license, size, "%.*s", (int)strcspn(value, "'\""), value);
			found = *license != '\0';
		}
	}
	fclose(in);
	return found;
}

/* The first line of words of LICENSE. */
static int license_of_file(const char *path, char *license, size_t size)
{
	static const char *const names[] = {"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"};
	char file[PATH_MAX + 16], line[512];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(file, sizeof file, "%s/%s", path, names[i]);
		FILE *in = fopen(file, "re");
		if (!in)
			continue;
		while (fgets(line, sizeof line, in)) {
			const char *text = line + strspn(line, " \t#\r\n");
			if (*text) {
				snprintf(license, size, "%.*s", (int)strcspn(text, "\r\n"), text);
				fclose(in);
				return 1;
			}
		}
		fclose(in);
	}
	return 0;
}

static void model_weights(struct model *m, struct nn_checkpoint *checkpoint)
{
	m->tensors = nn_checkpoint_count(checkpoint);
	for (size_t i = 0; i < m->tensors; i++) {
		const struct nn_weight *w = nn_checkpoint_at(checkpoint, i);
		uint64_t n = (uint64_t)w->rows * w->cols;
		const char *name = model_type_name(w);
		struct model_type *t = m->types;
		while (t + 1 < m->types + MODEL_TYPES && t->name && strcmp(t->name, name) != 0)
			t++;
		t->name = name;
		t->parameters += n;
		t->bytes += w->bytes;
		m->parameters += n;
	}
}

static void model_config(struct model *m, const cJSON *config)
{
	struct nn_error ignored = {0};
	const cJSON *text = nn_config_object(config, "text_config|llm_config|language_config");
	const cJSON *architectures = cJSON_GetObjectItemCaseSensitive(config, "architectures");
	const char *first = cJSON_GetStringValue(cJSON_GetArrayItem(architectures, 0));
	if (!text)
		text = config;
	const char *type = nn_config_type(config);
	snprintf(m->family, sizeof m->family, "%s", *type ? type : "unknown");
	snprintf(m->architecture, sizeof m->architecture, "%s", first ? first : "");
	m->context = nn_config_int(text, "max_position_embeddings|n_positions|n_ctx|max_seq_len|context_length", 0, 0, INT32_MAX, &ignored);
	int64_t layers = nn_config_int(text, "num_hidden_layers|n_layer|n_layers|block_count", 0, 0, 1 << 16, &ignored);
	int64_t heads = nn_config_int(text, "num_attention_heads|n_head|n_heads|attention.head_count", 0, 0, 1 << 16, &ignored);
	int64_t kv_heads = nn_config_int(text, "num_key_value_heads|num_multi_query_heads|attention.head_count_kv", heads, 0, 1 << 16, &ignored);
	int64_t width = nn_config_int(text, "hidden_size|n_embd|d_model|embedding_length", 0, 0, 1 << 24, &ignored);
	int64_t head_dim = nn_config_int(text, "head_dim|attention.key_length", heads ? width / heads : 0, 0, 1 << 20, &ignored);
	uint64_t size = 2 * sizeof(uint16_t);
	const int64_t factors[] = {layers, kv_heads, head_dim, m->context};
	for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
		if (__builtin_mul_overflow(size, (uint64_t)factors[i], &size))
			size = 0;
	m->cache_bytes = size;
	const char *license = nn_config_string(config, "license|general.license", NULL);
	if (license)
		snprintf(m->license, sizeof m->license, "%s", license);
}

/* What a picture tower's file says; nothing of others. */
static void model_pictures(struct model *m, const struct nn_gguf *gguf)
{
	struct nn_error ignored = {0};
	struct nn_mmproj p;
	if (!gguf || !nn_mmproj_is(gguf) || nn_mmproj_read(&p, gguf, m->path, &ignored))
		return;
	snprintf(m->pictures.projector, sizeof m->pictures.projector, "%s", p.family->projector);
	snprintf(m->pictures.tower, sizeof m->pictures.tower, "%s", p.tower_type);
	m->pictures.values = p.d_model;
	m->pictures.layers = p.layers;
	m->pictures.image_size = p.image_size;
	m->pictures.patch_size = p.patch_size;
}

int model_read(struct model *m, const char *path, struct nn_error *error)
{
	memset(m, 0, sizeof *m);
	snprintf(m->path, sizeof m->path, "%s", path);
	for (size_t n = strlen(m->path); n > 1 && m->path[n - 1] == '/';)
		m->path[--n] = '\0';
	const char *slash = strrchr(m->path, '/');
	m->name = slash ? slash + 1 : m->path;
	struct nn_checkpoint *checkpoint = nn_checkpoint_open(m->path, error);
	if (!checkpoint)
		return error->code ? error->code : -EINVAL;
	model_weights(m, checkpoint);
	m->bytes = nn_checkpoint_bytes(checkpoint);
	model_config(m, nn_checkpoint_config(checkpoint));
	const struct nn_gguf *gguf = nn_checkpoint_gguf(checkpoint);
	model_pictures(m, gguf);
	m->template = gguf && nn_gguf_value(gguf, "tokenizer.chat_template");
	nn_checkpoint_close(checkpoint);
	if (!license_of_card(m->path, m->license, sizeof m->license) && !*m->license &&
	    !license_of_file(m->path, m->license, sizeof m->license))
		snprintf(m->license, sizeof m->license, "not stated");
	char *template = m->template ? NULL : nn_template_find(m->path);
	m->template |= template != NULL;
	free(template);
	return 0;
}

cJSON *model_json(const struct model *m)
{
	cJSON *json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "name", m->name);
	cJSON_AddStringToObject(json, "path", m->path);
	cJSON_AddStringToObject(json, "family", m->family);
	cJSON_AddStringToObject(json, "architecture", m->architecture);
	cJSON_AddNumberToObject(json, "parameters", (double)m->parameters);
	cJSON *types = cJSON_AddObjectToObject(json, "types");
	for (const struct model_type *t = m->types; t < m->types + MODEL_TYPES && t->name; t++)
		cJSON_AddNumberToObject(types, t->name, (double)t->parameters);
	cJSON_AddNumberToObject(json, "tensors", (double)m->tensors);
	cJSON_AddNumberToObject(json, "bytes", (double)m->bytes);
	cJSON_AddNumberToObject(json, "context", (double)m->context);
	cJSON_AddBoolToObject(json, "template", m->template);
	cJSON_AddStringToObject(json, "license", m->license);
	cJSON_AddNumberToObject(json, "memory_bytes", (double)(m->bytes + m->cache_bytes));
	if (*m->pictures.projector) {
		cJSON *pictures = cJSON_AddObjectToObject(json, "pictures");
		cJSON_AddStringToObject(pictures, "tower", m->pictures.tower);
		cJSON_AddStringToObject(pictures, "projector", m->pictures.projector);
		cJSON_AddNumberToObject(pictures, "values", m->pictures.values);
		cJSON_AddNumberToObject(pictures, "layers", m->pictures.layers);
		cJSON_AddNumberToObject(pictures, "image_size", m->pictures.image_size);
		cJSON_AddNumberToObject(pictures, "patch_size", m->pictures.patch_size);
	}
	return json;
}
