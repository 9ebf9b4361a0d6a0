/* tokenizer-post.c - what tokenizer.json's post-processor puts around one text. A type is one row of post_types. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <string.h>

enum { POST_DEPTH = 8, POST_MOST = 64 };

static int post_add(struct nn_ids *ids, const cJSON *id, struct nn_error *error)
{
	if (!cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble >= VOCAB_MOST || ids->n >= POST_MOST)
		return nn_fail(error, -EINVAL, "tokenizer.json: a token of the post-processor has no usable id.");
	return ids_put(ids, id->valueint);
}

/* {"SpecialToken": {"id": name}}, whose ids are in special_tokens[name]. */
static int post_add_special(struct nn_ids *ids, const cJSON *json, const cJSON *name,
			    struct nn_error *error)
{
	const cJSON *all = cJSON_GetObjectItemCaseSensitive(json, "special_tokens"), *token, *id;
	int failed = 0;

	if (!cJSON_IsString(name))
		return nn_fail(error, -EINVAL, "tokenizer.json: a token of the post-processor has no name.");
	token = cJSON_GetObjectItemCaseSensitive(all, name->valuestring);
	if (!token)
		return nn_fail(error, -EINVAL, "tokenizer.json: the post-processor's token %.60s is not in special_tokens.",
			       name->valuestring);
	cJSON_ArrayForEach(id, cJSON_GetObjectItemCaseSensitive(token, "ids"))
	{
		failed = post_add(ids, id, error);
		if (failed)
			break;
	}
	return failed;
}

static int post_open_template(struct post *post, const cJSON *json, struct nn_error *error)
{
	struct nn_ids *side = &post->before;
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "single"))
	{
		const cJSON *special = cJSON_GetObjectItemCaseSensitive(item, "SpecialToken");
		const cJSON *name = cJSON_GetObjectItemCaseSensitive(special, "id");
		int failed = 0;

		if (cJSON_GetObjectItemCaseSensitive(item, "Sequence"))
			side = &post->after;
		else
			failed = post_add_special(side, json, name, error);
		if (failed)
			return failed;
	}
	return 0;
}

/* "cls": [text, id], "sep": [text, id]. */
static int post_open_pair(struct post *post, const cJSON *json, struct nn_error *error)
{
	const cJSON *cls = cJSON_GetObjectItemCaseSensitive(json, "cls");
	const cJSON *sep = cJSON_GetObjectItemCaseSensitive(json, "sep");
	int failed = post_add(&post->before, cJSON_GetArrayItem(cls, 1), error);

	return failed ? failed : post_add(&post->after, cJSON_GetArrayItem(sep, 1), error);
}

static int post_open_none(struct post *post, const cJSON *json, struct nn_error *error)
{
	return 0;
}

static const struct {
	const char *name;
	int (*open)(struct post *post, const cJSON *json, struct nn_error *error);
} post_types[] = {
	{"TemplateProcessing", post_open_template},
	{"RobertaProcessing", post_open_pair},
	{"BertProcessing", post_open_pair},
	{"ByteLevel", post_open_none}, /* offsets only */
};

static int post_load_depth(struct post *post, const cJSON *json, int depth,
			   struct nn_error *error)
{
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(json, "type"), *item;
	int failed = 0;

	if (!json || cJSON_IsNull(json))
		return 0;
	if (!cJSON_IsString(type) || depth > POST_DEPTH)
		return nn_fail(error, -EINVAL, "tokenizer.json: post_processor has no type, or is nested too deep.");
	for (size_t i = 0; i < sizeof(post_types) / sizeof(*post_types); i++)
		if (!strcmp(type->valuestring, post_types[i].name))
			return post_types[i].open(post, json, error);
	if (strcmp(type->valuestring, "Sequence"))
		return nn_fail(error, -ENOTSUP, "tokenizer.json: the post-processor type %.60s is not supported.",
			       type->valuestring);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "processors"))
	{
		failed = post_load_depth(post, item, depth + 1, error);
		if (failed)
			break;
	}
	return failed;
}

int post_load(struct post *post, const cJSON *json, struct nn_error *error)
{
	return post_load_depth(post, json, 0, error);
}
