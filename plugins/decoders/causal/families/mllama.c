/* mllama.c - the language model of Llama 3.2 Vision (Grattafiori 2024): LLaMA 3. Some layers of its files are another part's, and its
 * embeddings have more rows than the vocabulary: of tokens that are only read. */
#include "plugins/decoders/causal/families/families.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { MLLAMA_EXTRA_WORDS = 8 };

/* Where config.json leaves the list out. */
static const uint32_t mllama_others[] = { 3, 8, 13, 18, 23, 28, 33, 38 };

/* taken [n]: 1 where a layer is in the list. Returns how many are; 0 or fewer than n. */
static uint32_t mllama_take(const cJSON *list, unsigned char *taken, uint32_t n, struct nn_error *error)
{
	const size_t usual = sizeof(mllama_others) / sizeof(mllama_others[0]);
	const cJSON *item;
	uint32_t count = 0;

	if (!list || cJSON_IsNull(list)) {
		for (size_t i = 0; i < usual && mllama_others[i] < n; i++, count++)
			taken[mllama_others[i]] = 1;
		return count;
	}
	if (!cJSON_IsArray(list))
		nn_fail(error, -EINVAL, "config.json: \"cross_attention_layers\" must be a list of layers.");
	cJSON_ArrayForEach(item, list) {
		const double at = cJSON_IsNumber(item) ? item->valuedouble : NAN;

		if (!(at >= 0 && at < n) || at != floor(at) || taken[(uint32_t)at]) {
			nn_fail(error, -EINVAL, "config.json: \"cross_attention_layers\" must be different layers below %u.", n);
			return 0;
		}
		taken[(uint32_t)at] = 1;
		count++;
	}
	return count;
}

/* The layers of the file that are the decoder's own. */
static int mllama_own_layers(struct model *m, const cJSON *config, struct nn_error *error)
{
	const uint32_t n = m->shape.n_layers;
	unsigned char *taken = nn_checkpoint_alloc(m->checkpoint, n);
	uint32_t own = 0;

	m->file_layers = nn_checkpoint_alloc(m->checkpoint, n * sizeof(*m->file_layers));
	if (!taken || !m->file_layers)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	memset(taken, 0, n);
	const uint32_t others = mllama_take(cJSON_GetObjectItemCaseSensitive(config, "cross_attention_layers"), taken, n, error);

	if (error->code)
		return error->code;
	if (others == n)
		return nn_fail(error, -EINVAL, "config.json: all %u layers are \"cross_attention_layers\".", n);
	for (uint32_t i = 0; i < n; i++)
		if (!taken[i])
			m->file_layers[own++] = i;
	m->shape.n_layers = own;
	return 0;
}

static int mllama_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	m->shape.norm_eps = (float)nn_config_real(config, "rms_norm_eps", 1e-5, error);
	m->shape.vocab_read = MLLAMA_EXTRA_WORDS;
	if (m->gguf)
		return nn_fail(error, -ENOTSUP, "Llama 3.2 Vision is taken from Hugging Face's files, not from GGUF.");
	return error->code ? error->code : mllama_own_layers(m, config, error);
}

static int mllama_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	return model_rope(m, 0, model_rope_scaling(m, config), nn_config_real(config, "rope_theta", 500000, error), error);
}

static const struct family_defaults mllama_defaults = { 4096, 14336, 40, 32, 8, 128256, 131072, 0 };
static const char *const types[] = { "mllama_text_model", "mllama", NULL };
static const char *const classes[] = { "MllamaForCausalLM", "MllamaForConditionalGeneration", NULL };
const struct family family_mllama = {
	.name = "mllama", .defaults = &mllama_defaults, .types = types, .classes = classes, .configure = mllama_configure,
	.positions = mllama_positions, .load = llama_load, .mlp = feed_forward_layer,
};
