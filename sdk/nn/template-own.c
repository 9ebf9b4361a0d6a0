/* template-own.c - models whose prompts their own code writes, and no file beside the weights. */
#include "sdk/nn/template-parts.h"

#include <stdlib.h>
#include <string.h>
#include <cjson/cJSON.h>

#include "sdk/nn/checkpoint.h"

/* A message's words, whether it is a string or parts; the pictures of all messages. */
#define WORDS(message)                                                                                                        \
	"{% if " message ".content is string %}{{ " message ".content }}{% else %}{% for part in " message ".content %}"       \
	"{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
#define PICTURES                                                                                                              \
	"{% for message in messages %}{% if message.content is not string %}{% for part in message.content %}"                 \
	"{% if part.type == 'image' %}{{ image_token }}{% endif %}{% endfor %}{% endif %}{% endfor %}"

/* CogVLM: the picture stands behind the first token, in front of all turns. */
#define COGVLM(answer)                                                                                                        \
	"{{ bos_token }}" PICTURES "{% for message in messages %}{% if message.role == 'user' %}Question: " WORDS("message")   \
	" " answer "{% elif message.role == 'assistant' %} " WORDS("message") "{{ '\\n' }}"                                    \
	"{% else %}" WORDS("message") "{{ '\\n' }}{% endif %}{% endfor %}"

/* BLIP-2's conversations, as its paper and its examples have them: the picture in front of all, then questions and answers. */
#define BLIP2                                                                                                                  \
	PICTURES "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}Question: " WORDS("message")      \
	" Answer:{% elif message.role == 'assistant' %} " WORDS("message") ". {% else %}" WORDS("message") " {% endif %}{% endfor %}"

/* Idefics: turns of "User:" and "Assistant:", pictures where they stand; each ends with a token where the tokenizer has one for that. */
#define IDEFICS                                                                                                               \
	"{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}User:{% elif message.role == 'assistant' %}" \
	"Assistant:{% endif %}{% if message.content is string %} {{ message.content }}{% else %}{% for part in message.content %}" \
	"{% if part.type == 'image' %}{{ image_token }}{% else %}{% if loop.first %} {% endif %}{{ part.text }}{% endif %}"     \
	"{% endfor %}{% endif %}{% if end_of_utterance_token is defined %}{{ end_of_utterance_token }}{% endif %}{{ '\\n' }}"  \
	"{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"

/* By model_type and config.json's "template_version"; a model's first row is for any other. */
static const struct {
	const char *type, *version, *source;
} own[] = {
	{ "cogvlm", "chat", COGVLM("Answer:") },
	{ "cogvlm", "vqa", COGVLM("Short answer:") },
	{ "blip-2", "", BLIP2 },
	{ "cogvlm", "base", "{{ bos_token }}" PICTURES "{% set last = messages[-1] %}" WORDS("last") },
	{ "idefics", "", IDEFICS },
};

char *template_own(const char *type, const char *version)
{
	const char *found = NULL;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (!strcmp(own[i].type, type) && (!found || !strcmp(own[i].version, version)))
			found = own[i].source;
	return found ? strdup(found) : NULL;
}

char *template_own_of(const char *json, size_t n)
{
	cJSON *config = cJSON_ParseWithLength(json, n);
	char *found = template_own(nn_config_type(config), nn_config_string(config, "template_version", ""));

	cJSON_Delete(config);
	return found;
}
