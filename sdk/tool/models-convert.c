/* models-convert.c - percept models convert: a Hugging Face folder as one GGUF file. */
#include "sdk/tool/models-convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/llava.h"
#include "sdk/tool/models-file.h"
#include "sdk/tool/models.h"

#define RMS "attention.layer_norm_rms_epsilon"
#define LAYER_NORM "attention.layer_norm_epsilon"

static const struct convert_family convert_families[] = {
	{"llama", "llama", "llama", CONVERT_PERMUTED, RMS, 1e-6, 0, 10000},
	{"mistral", "llama", "mistral", CONVERT_PERMUTED, RMS, 1e-6, 0, 10000},
	{"llava_llama", "llama", "llama", CONVERT_PERMUTED, RMS, 1e-6, 0, 10000},
	{"llava_mistral", "llama", "mistral", CONVERT_PERMUTED, RMS, 1e-6, 0, 10000},
	{"mobilevlm", "llama", "llama", CONVERT_PERMUTED, RMS, 1e-6, 0, 10000},
	{"mixtral", "llama", "mixtral", CONVERT_PERMUTED, RMS, 1e-5, 0, 1e6},
	{"qwen2", "qwen2", "qwen2", 0, RMS, 1e-6, 0, 10000},
	{"qwen2_moe", "qwen2moe", "qwen2_moe", 0, RMS, 1e-6, 0, 10000},
	{"qwen2_vl", "qwen2vl", "qwen2", 0, RMS, 1e-6, 0, 1e6},
	{"qwen2_vl_text", "qwen2vl", "qwen2", 0, RMS, 1e-6, 0, 1e6},
	{"qwen2_5_vl", "qwen2vl", "qwen2", 0, RMS, 1e-6, 0, 1e6},
	{"qwen2_5_vl_text", "qwen2vl", "qwen2", 0, RMS, 1e-6, 0, 1e6},
	{"qwen3", "qwen3", "qwen3", 0, RMS, 1e-6, 128, 10000},
	{"qwen3_moe", "qwen3moe", "qwen3_moe", 0, RMS, 1e-6, 128, 10000},
	{"gemma2", "gemma2", "gemma2", CONVERT_NORMS, RMS, 1e-6, 256, 10000},
	{"gemma3_text", "gemma3", "gemma3", CONVERT_NORMS, RMS, 1e-6, 256, 1e6},
	{"phi3", "phi3", "phi3", CONVERT_LONGROPE, RMS, 1e-5, 0, 10000},
	{"cogvlm", "cogvlm", "cogvlm", CONVERT_FUSED, RMS, 1e-6, 0, 10000},
	{"gpt2", "gpt2", "gpt2", CONVERT_TURNED | CONVERT_NO_ROPE, LAYER_NORM, 1e-5, 0, 0},
	{"mpt", "mpt", "mpt", CONVERT_NO_ROPE, LAYER_NORM, 1e-5, 0, 0},
};

static int convert_find_family(struct convert *c)
{
	const char *said = nn_config_type(c->config), *type = *said || c->config == c->root ? said : "llama";
	char list[256] = "";
	size_t n = 0;
	for (size_t i = 0; i < sizeof convert_families / sizeof *convert_families; i++) {
		if (strcmp(type, convert_families[i].type) == 0) {
			c->family = &convert_families[i];
			return 0;
		}
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", convert_families[i].type);
	}
	return nn_fail(&c->error, -ENOTSUP, "%s: the family \"%.64s\" cannot be converted; these can: %s.", c->path, type, list);
}

/* Types by --type; `file_type` is general.file_type. */
static const struct {
	const char *option, *format;
	enum nn_type type;
	uint32_t file_type;
} convert_types[] = {{"f32", "F32", NN_F32, 0}, {"f16", "F16", NN_F16, 1}, {"bf16", "BF16", NN_BF16, 32}};

/* Without --type matrices keep the type that most of them have. */
static int convert_find_type(struct convert *c, const char *option)
{
	size_t counts[NN_BLOCKS + 1] = {0}, best = 0;
	for (size_t i = 0; i < nn_checkpoint_count(c->checkpoint); i++)
		counts[nn_checkpoint_at(c->checkpoint, i)->type] += nn_checkpoint_at(c->checkpoint, i)->bytes;
	for (size_t i = 0; i < sizeof convert_types / sizeof *convert_types; i++) {
		if (option && strcasecmp(option, convert_types[i].option) == 0) {
			c->matrices = nn_block_format_named(convert_types[i].format);
			return 0;
		}
		if (counts[convert_types[i].type] > counts[convert_types[best].type])
			best = i;
	}
	if (option)
		return nn_fail(&c->error, -EINVAL, "'%s' is no type that models are converted to. f32, f16 and bf16 are.", option);
	c->matrices = nn_block_format_named(convert_types[best].format);
	return 0;
}

void convert_general(struct convert *c, struct nn_gguf_writer *out, const char *architecture, const char *type)
{
	struct nn_error ignored = {0};
	struct model m;
	nn_gguf_write_text(out, "general.architecture", architecture, strlen(architecture));
	nn_gguf_write_text(out, "general.type", type, strlen(type));
	if (model_read(&m, c->path, &ignored) == 0) {
		nn_gguf_write_text(out, "general.name", m.name, strlen(m.name));
		if (strcmp(m.license, "not stated") != 0)
			nn_gguf_write_text(out, "general.license", m.license, strlen(m.license));
	}
	for (size_t i = 0; i < sizeof convert_types / sizeof *convert_types; i++)
		if (strcmp(c->matrices->name, convert_types[i].format) == 0)
			nn_gguf_write_u32(out, "general.file_type", convert_types[i].file_type);
	nn_gguf_write_u32(out, "general.quantization_version", 2);
}

static int convert_open(struct convert *c, const char *type)
{
	c->checkpoint = nn_checkpoint_open(c->path, &c->error);
	if (!c->checkpoint)
		return c->error.code ? c->error.code : -ENOMEM;
	if (nn_checkpoint_gguf(c->checkpoint))
		return nn_fail(&c->error, -EINVAL, "%s is a GGUF file already.", c->path);
	c->own = nn_llava_config(c->checkpoint, &c->error);
	if (c->error.code)
		return c->error.code;
	c->root = c->own ? c->own : nn_checkpoint_config(c->checkpoint);
	const cJSON *text = nn_config_object(c->root, "text_config");
	c->pictures = convert_has_pictures(nn_config_type(c->root));
	c->config = c->pictures && text ? text : c->root;
	return convert_find_type(c, type);
}

static int convert_prepare(struct convert *c)
{
	if (convert_find_family(c) || convert_sizes(c) || convert_list(c))
		return c->error.code;
	convert_general(c, &c->out, c->family->arch, "model");
	return convert_values(c) || convert_vocabulary(c) ? c->error.code : c->out.error;
}

static int convert_write(struct convert *c, const char *output)
{
	struct models_file to;
	if (models_file_begin(c->tool, &to, output) != 0)
		return TOOL_FAILED;
	c->file = to.file;
	int error = convert_data(c);
	if (!error && fflush(to.file) != 0)
		error = -errno;
	if (!error)
		error = convert_compare(c, to.part);
	if (c->error.code)
		tool_say(c->tool, 0, "%s", c->error.text);
	return models_file_end(c->tool, &to, error) != 0 ? TOOL_FAILED : models_file_report(c->tool, c->path, output);
}

/* The pictures' parts: a file of their own. */
static int convert_write_mmproj(struct convert *c, const char *output)
{
	struct models_file to;
	if (models_file_begin(c->tool, &to, output) != 0)
		return TOOL_FAILED;
	const int error = convert_mmproj(c, to.file);
	if (c->error.code)
		tool_say(c->tool, 0, "%s", c->error.text);
	return models_file_end(c->tool, &to, error) != 0 ? TOOL_FAILED : models_file_report(c->tool, c->path, output);
}

/* The output's name where none is given: the folder's and the type, in the folder where one stands. */
static void convert_name(const struct convert *c, char output[PATH_MAX])
{
	const char *slash = strrchr(c->path, '/');
	if (snprintf(output, PATH_MAX, "%s.%s.gguf", slash ? slash + 1 : c->path, c->matrices->name) >= PATH_MAX)
		output[0] = '\0';
}

/* "mmproj-" before a file's name. */
static void convert_name_mmproj(const char *output, char name[PATH_MAX])
{
	const char *slash = strrchr(output, '/'), *file = slash ? slash + 1 : output;
	if (snprintf(name, PATH_MAX, "%.*smmproj-%s", (int)(file - output), output, file) >= PATH_MAX)
		name[0] = '\0';
}

/* One file, or two: language model and pictures' parts. With --mmproj only the latter, under the name that was given. */
static int convert_all_files(struct convert *c, const struct models_values *values)
{
	char usual[PATH_MAX], beside[PATH_MAX];
	convert_name(c, usual);
	const char *output = values->output ? values->output : usual;
	convert_name_mmproj(output, beside);
	if (values->mmproj)
		return convert_write_mmproj(c, values->output ? output : beside);
	if (convert_prepare(c)) {
		tool_say(c->tool, 0, "%s", c->error.code ? c->error.text : "Memory is out.");
		return TOOL_FAILED;
	}
	const int r = convert_write(c, output);
	return r == TOOL_DONE && c->pictures ? convert_write_mmproj(c, beside) : r;
}

int models_convert(struct tool *tool, const struct models_values *values, const char *const *words)
{
	struct convert c = {.tool = tool};
	char path[PATH_MAX];
	int r = TOOL_FAILED;
	if (models_find(tool, words[0], path) != 0)
		return TOOL_FAILED;
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/';)
		path[--n] = '\0';
	c.path = path;
	if (convert_open(&c, values->type) == 0)
		r = convert_all_files(&c, values);
	else
		tool_say(tool, 0, "%s", c.error.code ? c.error.text : "Memory is out.");
	nn_gguf_write_fini(&c.out);
	free(c.tensors);
	cJSON_Delete(c.own);
	if (c.checkpoint)
		nn_checkpoint_close(c.checkpoint);
	return r;
}
