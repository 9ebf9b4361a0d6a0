/* fuzz-template.c - a chat template, then behind a NUL the variables for it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char usual[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"\\u00e9 x\"}, {\"role\": \"assistant\", "
				    "\"content\": [{\"type\": \"text\", \"text\": \"y\"}]}], \"bos_token\": \"<s>\", \"n\": 3, "
				    "\"add_generation_prompt\": true}";
	const struct nn_template_limits limits = {.steps = 20000, .depth = 100, .output = 1 << 16, .time_ms = 200};
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	size_t n = nul ? (size_t)(nul - data) : size;
	char *source = malloc(n + 1), *text = NULL;
	struct nn_error error = {0};

	if (!source)
		return 0;
	if (n)
		memcpy(source, data, n);
	source[n] = '\0';
	struct nn_template *t = nn_template_new(source, &error);
	cJSON *variables = nul ? cJSON_ParseWithLength((const char *)nul + 1, size - n - 1) : cJSON_Parse(usual);
	int failed = t ? nn_template_render(t, variables, &limits, &text, &error) : error.code;

	if (failed && (text || !error.code || !error.text[0]))
		abort();
	free(text);
	cJSON_Delete(variables);
	nn_template_free(t);
	free(source);
	return 0;
}
