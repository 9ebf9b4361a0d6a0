/* ends.c - which tokens end an answer. */
#include "plugins/decoders/causal/ends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sdk/nn/gguf.h"

enum { ENDS_MAX = 64, ENDS_FILE_MAX = 1 << 20 };

/* generation_config.json beside the model; NULL if there is none that can be read: it is optional. */
static cJSON *ends_file(const char *model)
{
	char path[4096];
	struct stat st;

	if (stat(model, &st) || !S_ISDIR(st.st_mode) ||
	    snprintf(path, sizeof(path), "%s/generation_config.json", model) >= (int)sizeof(path))
		return NULL;
	FILE *f = stat(path, &st) || !S_ISREG(st.st_mode) ? NULL : fopen(path, "re");
	char *text = f ? malloc(ENDS_FILE_MAX) : NULL;
	cJSON *json = NULL;

	if (text)
		json = cJSON_ParseWithLength(text, fread(text, 1, ENDS_FILE_MAX, f));
	free(text);
	if (f)
		fclose(f);
	return json;
}

/* Adds `name` of `config`, a number or a list; returns whether it was there. */
static int ends_add(struct ends *e, uint32_t vocab, const cJSON *config, const char *name, struct nn_error *error)
{
	const cJSON *ids = cJSON_GetObjectItemCaseSensitive(config, name);
	const int n = cJSON_IsArray(ids) ? cJSON_GetArraySize(ids) : cJSON_IsNumber(ids);

	for (int i = 0; i < n && e->n < ENDS_MAX; i++) {
		const cJSON *id = cJSON_IsArray(ids) ? cJSON_GetArrayItem(ids, i) : ids;

		if (!cJSON_IsNumber(id) || !(id->valuedouble >= 0 && id->valuedouble < vocab)) {
			nn_fail(error, -EINVAL, "%s holds a token that is not of the vocabulary of %u.", name,
				vocab);
			return 1;
		}
		e->ids[e->n++] = (int32_t)id->valuedouble;
	}
	return n > 0;
}

/* What ends a turn or a text, by the names that models give it. */
static const char *const ends_names[] = { "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
					  "<EOT>", "<|end_of_text|>", "<｜end▁of▁sentence｜>" };

static int ends_has(const struct ends *e, int32_t id)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (e->ids[i] == id)
			return 1;
	return 0;
}

/* GGUF files say one or some of them; control tokens of these names end an answer, too. */
static void ends_add_gguf(struct ends *e, const struct nn_gguf *g, uint32_t vocab, const cJSON *config, struct nn_error *error)
{
	static const char *const keys[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
					    "tokenizer.ggml.eom_token_id" };
	const struct nn_gguf_value *tokens = nn_gguf_value(g, "tokenizer.ggml.tokens");
	const struct nn_gguf_value *types = nn_gguf_value(g, "tokenizer.ggml.token_type");
	const unsigned char *at = tokens ? tokens->data : NULL;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		ends_add(e, vocab, config, keys[i], error);
	if (!tokens || !tokens->is_array || tokens->type != NN_GGUF_STRING || !types || !types->is_array ||
	    types->type == NN_GGUF_STRING)
		return;
	for (uint64_t id = 0; id < tokens->n && id < types->n && id < vocab; id++) {
		const struct nn_gguf_text text = nn_gguf_next_text(&at);
		const int control = nn_gguf_number(types, id) == 3;

		for (size_t i = 0; control && i < sizeof(ends_names) / sizeof(ends_names[0]); i++)
			if (strlen(ends_names[i]) == text.n && !memcmp(ends_names[i], text.bytes, text.n) && e->n < ENDS_MAX &&
			    !ends_has(e, (int32_t)id))
				e->ids[e->n++] = (int32_t)id;
	}
}

int ends_read(struct ends *ends, const struct nn_checkpoint *checkpoint, uint32_t vocab, const cJSON *config, const cJSON *root,
	      struct nn_error *error)
{
	const struct nn_gguf *gguf = nn_checkpoint_gguf(checkpoint);
	cJSON *file = ends_file(nn_checkpoint_path(checkpoint));

	*ends = (struct ends){ .ids = calloc(ENDS_MAX, sizeof(*ends->ids)) };
	if (!ends->ids)
		nn_fail(error, -ENOMEM, "Memory is out.");
	else if (gguf)
		ends_add_gguf(ends, gguf, vocab, root, error);
	else if (!ends_add(ends, vocab, file, "eos_token_id", error) && !ends_add(ends, vocab, config, "eos_token_id", error))
		ends_add(ends, vocab, root, "eos_token_id", error);
	cJSON_Delete(file);
	return error->code;
}
