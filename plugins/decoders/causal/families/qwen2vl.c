/* qwen2vl.c - the language models of Qwen2-VL (Wang 2024) and Qwen2.5-VL (Bai 2025): Qwen2 whose rows have three positions,
 * in time, down and across, each of which turns a section of a head's pairs (M-RoPE). Where the three are equal, as in text,
 * that is Qwen2's rotation. */
#include <errno.h>

#include "plugins/decoders/causal/families/families.h"
#include "sdk/nn/gguf.h"

enum { SECTIONS_MAX = 16 };

/* What transformers has where a configuration is silent. */
static const double sections_default[] = { 16, 24, 24 };

static int qwen2vl_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	if (!m->gguf)
		m->shape.norm_eps = (float)nn_config_real(config, "rms_norm_eps", 1e-5, error);
	return qwen2_configure(m, config, error);
}

/* The file's list, whose fourth section no row has positions for. */
static int qwen2vl_sections_gguf(const struct model *m, double *sections, uint32_t *n, struct nn_error *error)
{
	const struct nn_gguf_value *value = nn_gguf_value(nn_checkpoint_gguf(m->checkpoint), "qwen2vl.rope.dimension_sections");

	if (!value || !value->is_array || value->type == NN_GGUF_STRING || value->type == NN_GGUF_ARRAY || value->n < MODEL_AXES ||
	    value->n > MODEL_AXES + 1 || (value->n > MODEL_AXES && nn_gguf_number(value, MODEL_AXES) != 0))
		return nn_fail(error, -EINVAL, "The file does not say \"qwen2vl.rope.dimension_sections\" as three numbers.");
	for (*n = 0; *n < MODEL_AXES; ++*n)
		sections[*n] = nn_gguf_number(value, *n);
	return 0;
}

static int qwen2vl_sections(const struct model *m, const cJSON *scaling, double *sections, uint32_t *n, struct nn_error *error)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(scaling, "mrope_section"), *item;

	if (m->gguf)
		return qwen2vl_sections_gguf(m, sections, n, error);
	if (!list || cJSON_IsNull(list)) {
		for (*n = 0; *n < MODEL_AXES; ++*n)
			sections[*n] = sections_default[*n];
		return 0;
	}
	*n = 0;
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsArray(list) || !cJSON_IsNumber(item) || *n == SECTIONS_MAX)
			return nn_fail(error, -EINVAL, "config.json: \"mrope_section\" is not a list of at most %d numbers.",
				       SECTIONS_MAX);
		sections[(*n)++] = item->valuedouble;
	}
	return 0;
}

static int qwen2vl_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	const cJSON *scaling = model_rope_scaling(m, config);
	const double theta = nn_config_real(config, "rope_theta|rope.freq_base", m->gguf ? 1e4 : 1e6, error);
	double sections[SECTIONS_MAX];
	uint32_t n = 0;

	if (model_rope(m, 0, scaling, theta, error) || qwen2vl_sections(m, scaling, sections, &n, error))
		return error->code;
	return model_rope_axes(m, 0, sections, n, error);
}

static const char *const types[] = { "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2vl", NULL };
static const char *const classes[] = { "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", NULL };
const struct family family_qwen2_vl = {
	.name = "qwen2_vl", .types = types, .classes = classes, .configure = qwen2vl_configure, .positions = qwen2vl_positions,
	.load = qwen2_load, .mlp = feed_forward_layer,
};
