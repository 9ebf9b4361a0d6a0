/* tokenizer-json.c - tokenizer.json and tokenizer_config.json (Hugging Face) to a tokenizer's parts. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The models; a new one is one file and one row. */
static const struct model_type *const model_types[] = {&bpe_model};

static const cJSON *json_get(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static int json_load_vocab(struct vocab *vocab, const cJSON *json, struct nn_error *error)
{
	const cJSON *item;

	if (!cJSON_IsObject(json))
		return nn_fail(error, -EINVAL, "tokenizer.json: model.vocab is not an object of ids by text.");
	cJSON_ArrayForEach(item, json)
	{
		int whole = cJSON_IsNumber(item) && item->valuedouble == item->valueint;
		int failed = whole ? vocab_add(vocab, item->string, strlen(item->string), item->valueint) : -EINVAL;

		if (failed == -ENOMEM)
			return nn_fail(error, failed, "There is not enough memory for the vocabulary.");
		if (failed)
			return nn_fail(error, -EINVAL, "tokenizer.json: the token %.60s has %s.", item->string,
				       failed == -EEXIST ? "an id that another token has" : "no usable id or is too long");
	}
	return 0;
}

/* An old file has no model.type. */
static const struct model_type *json_model_type(const cJSON *model)
{
	const cJSON *type = json_get(model, "type");
	const char *name = cJSON_IsString(type) ? type->valuestring : json_get(model, "merges") ? "BPE" : "?";

	for (size_t i = 0; i < sizeof(model_types) / sizeof(*model_types); i++)
		if (!strcmp(name, model_types[i]->name))
			return model_types[i];
	return NULL;
}

static int json_load_model(struct nn_tokenizer *t, const cJSON *model, struct nn_error *error)
{
	const cJSON *type = json_get(model, "type");
	int failed;

	t->type = json_model_type(model);
	if (!t->type)
		return nn_fail(error, -ENOTSUP, "tokenizer.json: the model type %.60s is not supported.",
			       cJSON_IsString(type) ? type->valuestring : "(none)");
	failed = json_load_vocab(&t->vocab, json_get(model, "vocab"), error);
	if (failed)
		return failed;
	t->model = t->type->open(model, &t->vocab, error);
	return t->model ? 0 : nn_fail(error, -ENOMEM, "There is not enough memory for the tokenizer.");
}

/* The forms in which tokenizer_config.json names a token: a text, or an object with "content". */
static const char *json_token_text(const cJSON *json)
{
	const cJSON *content = cJSON_IsObject(json) ? json_get(json, "content") : json;

	return cJSON_IsString(content) ? content->valuestring : NULL;
}

static void json_mark_control(struct nn_tokenizer *t, const cJSON *json)
{
	const char *text = json_token_text(json);

	for (size_t i = 0; text && i < t->added.n; i++)
		if (!strcmp(t->added.items[i].text, text))
			t->added.items[i].control = 1;
}

static void json_mark_controls(struct nn_tokenizer *t, const cJSON *config)
{
	static const char *const one[] = {"bos_token", "eos_token", "unk_token", "pad_token", "image_token", "video_token",
					  "audio_token", "cls_token", "sep_token", "mask_token"};
	static const char *const many[] = {"extra_special_tokens", "additional_special_tokens"};
	const cJSON *item;

	for (size_t i = 0; i < sizeof(one) / sizeof(*one); i++)
		json_mark_control(t, json_get(config, one[i]));
	for (size_t i = 0; i < sizeof(many) / sizeof(*many); i++)
		cJSON_ArrayForEach(item, json_get(config, many[i])) json_mark_control(t, item);
}

int tokenizer_list_controls(struct nn_tokenizer *t)
{
	t->controls = calloc(t->added.n + 1, sizeof(*t->controls));
	for (size_t i = 0; t->controls && i < t->added.n; i++)
		if (t->added.items[i].control)
			t->controls[t->n_controls++] = (uint32_t)i;
	return t->controls ? 0 : -ENOMEM;
}

static int32_t json_token_id(const struct nn_tokenizer *t, const cJSON *config, const char *name)
{
	const char *text = json_token_text(json_get(config, name));
	int32_t id = text ? nn_tokenizer_special(t, text) : -1;

	return id >= 0 || !text ? id : vocab_find(&t->vocab, text, strlen(text));
}

/* Ids of added tokens: the vocabulary's where it has the text. */
int tokenizer_index_added(struct nn_tokenizer *t)
{
	t->size = t->vocab.n;
	for (size_t i = 0; i < t->added.n; i++) {
		struct added_token *token = &t->added.items[i];
		int32_t id = vocab_find(&t->vocab, token->text, token->bytes);

		if (id >= 0)
			token->id = id;
		if ((size_t)token->id >= t->size)
			t->size = (size_t)token->id + 1;
	}
	t->by_id = calloc(t->size + 1, sizeof(*t->by_id));
	if (!t->by_id)
		return -ENOMEM;
	for (size_t i = 0; i < t->added.n; i++)
		t->by_id[t->added.items[i].id] = (uint32_t)i + 1;
	return 0;
}

/* What the decoder makes of a piece, by the types named anywhere in it. */
static enum piece_form json_piece_form(const cJSON *decoder, int depth)
{
	const cJSON *type = json_get(decoder, "type"), *item;
	enum piece_form form = PIECE_PLAIN;

	if (cJSON_IsString(type) && !strcmp(type->valuestring, "ByteLevel"))
		return PIECE_BYTE_LEVEL;
	if (cJSON_IsString(type) && (!strcmp(type->valuestring, "ByteFallback") || !strcmp(type->valuestring, "Metaspace")))
		return PIECE_SPACES;
	if (depth < 8)
		cJSON_ArrayForEach(item, json_get(decoder, "decoders"))
			if (form == PIECE_PLAIN)
				form = json_piece_form(item, depth + 1);
	return form;
}

int tokenizer_load_json(struct nn_tokenizer *t, const cJSON *root, const cJSON *config, struct nn_error *error)
{
	int failed;

	if (!cJSON_IsObject(root) || !cJSON_IsObject(json_get(root, "model")))
		return nn_fail(error, -EINVAL, "tokenizer.json is not a tokenizer: it has no \"model\".");
	if ((failed = json_load_model(t, json_get(root, "model"), error)) ||
	    (failed = normal_load(&t->normals, json_get(root, "normalizer"), error)) ||
	    (failed = added_load(&t->added, json_get(root, "added_tokens"), &t->normals, error)) ||
	    (failed = split_load(&t->splits, json_get(root, "pre_tokenizer"), error)) ||
	    (failed = post_load(&t->post, json_get(root, "post_processor"), error)) ||
	    (failed = tokenizer_index_added(t)))
		return failed;
	json_mark_controls(t, config);
	failed = tokenizer_list_controls(t);
	if (failed)
		return failed;
	t->form = json_piece_form(json_get(root, "decoder"), 0);
	t->bos = json_token_id(t, config, "bos_token");
	t->eos = json_token_id(t, config, "eos_token");
	/* Some files leave the beginning to the configuration. */
	if (!t->post.before.n && t->bos >= 0 && cJSON_IsTrue(json_get(config, "add_bos_token")))
		return ids_put(&t->post.before, t->bos);
	return 0;
}

int tokenizer_load(struct nn_tokenizer *t, const char *json, size_t bytes, const cJSON *config, struct nn_error *error)
{
	cJSON *root = cJSON_ParseWithLength(json, bytes);
	int failed;

	if (!root)
		return nn_fail(error, -EINVAL, "tokenizer.json is not JSON, or memory is out.");
	failed = tokenizer_load_json(t, root, config, error);
	cJSON_Delete(root);
	if (failed)
		nn_fail(error, failed, "There is not enough memory for the tokenizer.");
	return failed;
}
