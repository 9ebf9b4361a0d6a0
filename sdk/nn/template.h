/* template.h - chat templates: a Jinja subset, under limits. */
#ifndef NN_TEMPLATE_H
#define NN_TEMPLATE_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/nn/error.h"

struct nn_template;

struct nn_template_limits {
	uint64_t steps;      /* statements and expressions evaluated */
	uint32_t depth;      /* of blocks, calls, brackets */
	size_t output;       /* bytes */
	uint32_t time_ms;
};
extern const struct nn_template_limits nn_template_default_limits;

/* trim_blocks and lstrip_blocks on, as Hugging Face compiles chat templates. NULL and *error (line, what) on failure. */
struct nn_template *nn_template_new(const char *source, struct nn_error *error);
void nn_template_free(struct nn_template *t);
/* Renders with the members of `variables` (messages, add_generation_prompt, bos_token, tools ...) to a malloc'ed string.
 * raise_exception() gives -EINVAL with its text; a limit gives -E2BIG. [any] */
int nn_template_render(const struct nn_template *t, const cJSON *variables, const struct nn_template_limits *limits,
		       char **text, struct nn_error *error);
/* The template of a model directory: chat_template.jinja, chat_template.json, the format that the model's own code has (CogVLM),
 * tokenizer_config.json; or of a .gguf file. malloc'ed, NULL if none. */
char *nn_template_find(const char *directory);

#endif
