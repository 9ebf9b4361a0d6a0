/* models-whisper.c - Whisper as CTranslate2 has it (model.bin) into safetensors with Hugging Face's names.
 *
 * model.bin, little-endian: u32 version, text name, u32 revision, u32 tensors; of each: text name, u8 rank, u32 shape[rank], u8
 * type, u32 bytes, data. A text is u16 length and bytes, the last a NUL. q, k and v lie behind one another in one tensor. */
#include "sdk/tool/models-pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/nn/blocks.h"
#include "sdk/nn/quantise.h"
#include "sdk/tool/models-file.h"

enum { WHISPER_RANK = 4, WHISPER_TENSORS = 4096, WHISPER_NAME = 128, WHISPER_F32 = 0, WHISPER_F16 = 4 };

/* Names within a layer: part `index` of `parts` along the first dimension. */
static const struct whisper_rule {
	const char *from, *to;
	uint32_t index, parts;
} whisper_rules[] = {
	{"self_attention/layer_norm/gamma", "self_attn_layer_norm.weight", 0, 1},
	{"self_attention/layer_norm/beta", "self_attn_layer_norm.bias", 0, 1},
	{"self_attention/linear_0/weight", "self_attn.q_proj.weight", 0, 3},
	{"self_attention/linear_0/weight", "self_attn.k_proj.weight", 1, 3},
	{"self_attention/linear_0/weight", "self_attn.v_proj.weight", 2, 3},
	{"self_attention/linear_0/bias", "self_attn.q_proj.bias", 0, 3},
	{"self_attention/linear_0/bias", "self_attn.v_proj.bias", 2, 3},
	{"self_attention/linear_1/weight", "self_attn.out_proj.weight", 0, 1},
	{"self_attention/linear_1/bias", "self_attn.out_proj.bias", 0, 1},
	{"attention/layer_norm/gamma", "encoder_attn_layer_norm.weight", 0, 1},
	{"attention/layer_norm/beta", "encoder_attn_layer_norm.bias", 0, 1},
	{"attention/linear_0/weight", "encoder_attn.q_proj.weight", 0, 1},
	{"attention/linear_0/bias", "encoder_attn.q_proj.bias", 0, 1},
	{"attention/linear_1/weight", "encoder_attn.k_proj.weight", 0, 2},
	{"attention/linear_1/weight", "encoder_attn.v_proj.weight", 1, 2},
	{"attention/linear_1/bias", "encoder_attn.v_proj.bias", 1, 2},
	{"attention/linear_2/weight", "encoder_attn.out_proj.weight", 0, 1},
	{"attention/linear_2/bias", "encoder_attn.out_proj.bias", 0, 1},
	{"ffn/layer_norm/gamma", "final_layer_norm.weight", 0, 1},
	{"ffn/layer_norm/beta", "final_layer_norm.bias", 0, 1},
	{"ffn/linear_0/weight", "fc1.weight", 0, 1},
	{"ffn/linear_0/bias", "fc1.bias", 0, 1},
	{"ffn/linear_1/weight", "fc2.weight", 0, 1},
	{"ffn/linear_1/bias", "fc2.bias", 0, 1},
	/* Outside of layers. */
	{"layer_norm/gamma", "layer_norm.weight", 0, 1},
	{"layer_norm/beta", "layer_norm.bias", 0, 1},
	{"position_encodings/encodings", "embed_positions.weight", 0, 1},
	{"embeddings/weight", "embed_tokens.weight", 0, 1},
	{"conv1/weight", "conv1.weight", 0, 1},
	{"conv1/bias", "conv1.bias", 0, 1},
	{"conv2/weight", "conv2.weight", 0, 1},
	{"conv2/bias", "conv2.bias", 0, 1},
};

/* What is read at, and what comes of it. */
struct whisper {
	const unsigned char *at, *end;
	cJSON *header;
	FILE *file;
	uint64_t offset; /* of the next tensor's data */
	int write;       /* second pass: data, not the header */
	int error;
};

struct whisper_tensor {
	char name[WHISPER_NAME];
	uint32_t rank, shape[WHISPER_RANK], type, bytes;
	const unsigned char *data;
};

static uint64_t whisper_number(struct whisper *w, size_t n)
{
	uint64_t value = 0;
	if ((size_t)(w->end - w->at) < n) {
		w->error = -EINVAL;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		value |= (uint64_t)w->at[i] << (8 * i);
	w->at += n;
	return value;
}

static void whisper_text(struct whisper *w, char text[WHISPER_NAME])
{
	const size_t n = whisper_number(w, 2);
	text[0] = '\0';
	if (w->error || n >= WHISPER_NAME || n > (size_t)(w->end - w->at)) {
		w->error = -EINVAL;
		return;
	}
	memcpy(text, w->at, n);
	text[n] = '\0';
	w->at += n;
}

static int whisper_read(struct whisper *w, struct whisper_tensor *t)
{
	uint64_t n = 1;
	whisper_text(w, t->name);
	t->rank = (uint32_t)whisper_number(w, 1);
	if (w->error || t->rank > WHISPER_RANK)
		return w->error = -EINVAL;
	for (uint32_t i = 0; i < t->rank; i++) {
		t->shape[i] = (uint32_t)whisper_number(w, 4);
		if (__builtin_mul_overflow(n, t->shape[i], &n))
			return w->error = -EINVAL;
	}
	t->type = (uint32_t)whisper_number(w, 1);
	t->bytes = (uint32_t)whisper_number(w, 4);
	t->data = w->at;
	if (w->error || t->bytes > (size_t)(w->end - w->at))
		return w->error = -EINVAL;
	w->at += t->bytes;
	if ((t->type == WHISPER_F16 && n * 2 != t->bytes) || (t->type == WHISPER_F32 && n * 4 != t->bytes))
		return w->error = -EINVAL;
	return 0;
}

/* "encoder/layer_3/ffn/..." is "model.encoder.layers.3." and the rest; *rest NULL if it is nothing of the model. */
static void whisper_prefix(const char *name, char prefix[WHISPER_NAME], const char **rest)
{
	const char *slash = strchr(name, '/');
	unsigned layer;
	int n = 0;
	*rest = NULL;
	if (!slash || (strncmp(name, "encoder/", 8) != 0 && strncmp(name, "decoder/", 8) != 0))
		return;
	*rest = slash + 1;
	if (sscanf(slash + 1, "layer_%4u/%n", &layer, &n) == 1 && n > 0) {
		snprintf(prefix, WHISPER_NAME, "model.%.7s.layers.%u.", name, layer);
		*rest = slash + 1 + n;
	} else {
		snprintf(prefix, WHISPER_NAME, "model.%.7s.", name);
	}
}

static void whisper_announce(struct whisper *w, const struct whisper_tensor *t, const struct whisper_rule *rule, const char *name, uint64_t bytes)
{
	cJSON *entry = cJSON_AddObjectToObject(w->header, name);
	cJSON_AddStringToObject(entry, "dtype", "F16");
	cJSON *shape = cJSON_AddArrayToObject(entry, "shape"), *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
	for (uint32_t i = 0; i < t->rank; i++)
		cJSON_AddItemToArray(shape, cJSON_CreateNumber(i ? t->shape[i] : t->shape[0] / rule->parts));
	cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)w->offset));
	cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(w->offset + bytes)));
	if (!offsets)
		w->error = -ENOMEM;
	w->offset += bytes;
}

static void whisper_put(struct whisper *w, const struct whisper_tensor *t, const struct whisper_rule *rule)
{
	const size_t size = t->type == WHISPER_F16 ? 2 : 4, part = t->bytes / rule->parts, n = part / size;
	const unsigned char *from = t->data + part * rule->index;
	if (size == 2) {
		if (fwrite(from, 1, part, w->file) != part)
			w->error = errno ? -errno : -EIO;
		return;
	}
	float *values = malloc(n * sizeof *values + 1);
	uint8_t *halves = malloc(n * 2 + 1);
	if (!values || !halves) {
		w->error = -ENOMEM;
	} else {
		memcpy(values, from, n * sizeof *values);
		nn_quantise(nn_block_format_named("F16"), values, n, halves);
		if (fwrite(halves, 2, n, w->file) != n)
			w->error = errno ? -errno : -EIO;
	}
	free(values);
	free(halves);
}

static void whisper_tensor(struct whisper *w, const struct whisper_tensor *t)
{
	char prefix[WHISPER_NAME], name[2 * WHISPER_NAME];
	const char *rest;
	whisper_prefix(t->name, prefix, &rest);
	for (size_t i = 0; rest && i < sizeof whisper_rules / sizeof *whisper_rules && !w->error; i++) {
		const struct whisper_rule *rule = &whisper_rules[i];
		if (strcmp(rest, rule->from) != 0)
			continue;
		if ((t->type != WHISPER_F16 && t->type != WHISPER_F32) || t->rank < 1 || t->shape[0] % rule->parts) {
			w->error = -ENOTSUP;
			return;
		}
		snprintf(name, sizeof name, "%s%s", prefix, rule->to);
		if (w->write)
			whisper_put(w, t, rule);
		else
			whisper_announce(w, t, rule, name, t->bytes / (t->type == WHISPER_F16 ? 2 : 4) / rule->parts * 2);
	}
}

static int whisper_pass(struct whisper *w, const unsigned char *bytes, size_t n)
{
	struct whisper_tensor t;
	char name[WHISPER_NAME];
	w->at = bytes;
	w->end = bytes + n;
	whisper_number(w, 4);
	whisper_text(w, name);
	whisper_number(w, 4);
	const uint64_t tensors = whisper_number(w, 4);
	if (!w->error && (tensors > WHISPER_TENSORS || strcmp(name, "WhisperSpec") != 0))
		w->error = -EINVAL;
	for (uint64_t i = 0; i < tensors && !w->error && whisper_read(w, &t) == 0; i++)
		whisper_tensor(w, &t);
	return w->error;
}

/* First which tensors there are, then their data. */
static int whisper_write(struct whisper *w, const unsigned char *bytes, size_t n)
{
	w->header = cJSON_CreateObject();
	if (!w->header || whisper_pass(w, bytes, n))
		return w->header ? w->error : -ENOMEM;
	if (!cJSON_HasObjectItem(w->header, "model.decoder.embed_tokens.weight") || !cJSON_HasObjectItem(w->header, "model.encoder.conv1.weight"))
		return -EINVAL;
	char *text = cJSON_PrintUnformatted(w->header);
	const uint64_t length = text ? strlen(text) : 0, padded = (length + 7) / 8 * 8;
	if (!text || fwrite(&padded, sizeof padded, 1, w->file) != 1 ||
	    fprintf(w->file, "%s%*s", text, (int)(padded - length), "") != (int)padded)
		w->error = text ? -EIO : -ENOMEM;
	free(text);
	w->write = 1;
	return w->error ? w->error : whisper_pass(w, bytes, n);
}

static int whisper_convert(struct tool *tool, const char *from, const char *to)
{
	struct whisper w = {0};
	struct models_file out;
	struct stat st;
	const int fd = open(from, O_RDONLY | O_CLOEXEC);
	void *bytes = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	if (fd >= 0)
		close(fd);
	if (bytes == MAP_FAILED)
		return tool_say(tool, -1, "%s cannot be read: %s.", from, strerror(errno));
	int r = models_file_begin(tool, &out, to);
	if (r == 0) {
		w.file = out.file;
		errno = 0;
		r = models_file_end(tool, &out, whisper_write(&w, bytes, (size_t)st.st_size));
	}
	cJSON_Delete(w.header);
	munmap(bytes, (size_t)st.st_size);
	return r;
}

int models_convert_whisper(struct tool *tool, const char *folder, const char *kind)
{
	char from[PATH_MAX + 16], to[PATH_MAX + 32];
	snprintf(from, sizeof from, "%s/model.bin", folder);
	snprintf(to, sizeof to, "%s/model.safetensors", folder);
	if (strcmp(kind, "ctranslate2-whisper") != 0)
		return tool_say(tool, -1, "The catalogue asks for the conversion \"%s\", which this version does not know.", kind);
	if (whisper_convert(tool, from, to) != 0)
		return -1;
	unlink(from);
	return 0;
}
