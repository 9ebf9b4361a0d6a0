/* ends.c - which tokens end an answer. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

/* Adds eos_token_id of `config`, a number or a list; returns whether it was there. */
static int ends_add(struct model *m, const cJSON *config, struct nn_error *error)
{
	const cJSON *ids = cJSON_GetObjectItemCaseSensitive(config, "eos_token_id");
	const int n = cJSON_IsArray(ids) ? cJSON_GetArraySize(ids) : cJSON_IsNumber(ids);

	for (int i = 0; i < n && i < ENDS_MAX; i++) {
		const cJSON *id = cJSON_IsArray(ids) ? cJSON_GetArrayItem(ids, i) : ids;

		if (!cJSON_IsNumber(id) || !(id->valuedouble >= 0 && id->valuedouble < m->shape.vocab)) {
			nn_fail(error, -EINVAL, "eos_token_id holds a token that is not of the vocabulary of %u.", m->shape.vocab);
			return 1;
		}
		m->end[m->n_end++] = (int32_t)id->valuedouble;
	}
	return n > 0;
}

int model_end_tokens(struct model *m, const cJSON *config, const cJSON *root, struct nn_error *error)
{
	cJSON *file = ends_file(nn_checkpoint_path(m->checkpoint));

	m->end = calloc(ENDS_MAX, sizeof(*m->end));
	if (!m->end)
		nn_fail(error, -ENOMEM, "Memory is out.");
	else if (!ends_add(m, file, error) && !ends_add(m, config, error))
		ends_add(m, root, error);
	cJSON_Delete(file);
	return error->code;
}
