/* text.c - the words of one assistant. */
#include "config.h"
#include "daemon/engine/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/json-file.h"
#include "sdk/nn/gguf.h"

#define TEXT_MAX_IDS (1u << 26)

const char *const text_media_names[TEXT_MEDIA] = {"image", "audio", "video"};

static int text_bad_model(struct wire_error *error, const char *file, const char *reason)
{
	wire_error_set(error, WIRE_MODEL, "%s", reason[0] ? reason : "The tokenizer could not be read.");
	wire_error_string(error, "file", file);
	wire_error_string(error, "reason", reason);
	return error->code;
}

/* A token is given as a text or as an object with "content". */
static const char *text_token_name(const cJSON *item)
{
	if (cJSON_IsObject(item))
		item = cJSON_GetObjectItemCaseSensitive(item, "content");
	return cJSON_GetStringValue(item);
}

static void text_read_names(struct text *text, const cJSON *config)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, config) {
		size_t n = item->string ? strlen(item->string) : 0;
		const char *name = text_token_name(item);

		if (name && n > 6 && strcmp(item->string + n - 6, "_token") == 0 && !cJSON_HasObjectItem(text->names, item->string))
			cJSON_AddStringToObject(text->names, item->string, name);
	}
}

/* What files that name tokens by their ids leave out. */
static void text_name_ends(struct text *text)
{
	const struct {
		const char *name;
		int32_t id;
	} ends[] = {
		{"bos_token", nn_tokenizer_bos(text->tokenizer)},
		{"eos_token", nn_tokenizer_eos(text->tokenizer)},
		{"end_of_utterance_token", nn_tokenizer_special(text->tokenizer, "<end_of_utterance>")},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t n = 0;
		const char *piece = nn_tokenizer_piece(text->tokenizer, ends[i].id, &n);
		char *copy = piece && !cJSON_HasObjectItem(text->names, ends[i].name) ? strndup(piece, n) : NULL;

		if (copy)
			cJSON_AddStringToObject(text->names, ends[i].name, copy);
		free(copy);
	}
}

/* The placeholder of one kind of media: by name in the processor's or tokenizer's files, by id in config.json. */
static int32_t text_media_token(const struct text *text, const cJSON *config, const char *kind)
{
	char key[48];

	snprintf(key, sizeof(key), "%s_token", kind);
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(text->names, key));
	int32_t id = name ? nn_tokenizer_special(text->tokenizer, name) : -1;

	for (size_t i = 0; i < 2 && id < 0; i++) {
		snprintf(key, sizeof(key), i ? "%s_token_id" : "%s_token_index", kind);
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);

		if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < (double)nn_tokenizer_size(text->tokenizer))
			id = item->valueint;
	}
	return id;
}

/* The token that the tokenizer puts in front of a text, if it does. */
static int32_t text_start_token(const struct text *text)
{
	struct nn_ids plain = {0}, around = {0};
	int32_t start = -1;

	if (nn_tokenizer_encode(text->tokenizer, "a", 1, 0, &plain, NULL) == 0 &&
	    nn_tokenizer_encode(text->tokenizer, "a", 1, NN_ENCODE_AROUND, &around, NULL) == 0 && plain.n && around.n > plain.n &&
	    around.data[0] != plain.data[0])
		start = around.data[0];
	nn_ids_free(&plain);
	nn_ids_free(&around);
	return start;
}

/* The token that the tokenizer puts behind a text; else the one that ends texts. */
static int32_t text_stop_token(const struct text *text)
{
	struct nn_ids plain = {0}, around = {0};
	int32_t stop = nn_tokenizer_eos(text->tokenizer);

	if (nn_tokenizer_encode(text->tokenizer, "a", 1, 0, &plain, NULL) == 0 &&
	    nn_tokenizer_encode(text->tokenizer, "a", 1, NN_ENCODE_AROUND, &around, NULL) == 0 && plain.n &&
	    around.n > plain.n + (text->start >= 0))
		stop = around.data[around.n - 1];
	nn_ids_free(&plain);
	nn_ids_free(&around);
	return stop;
}

/* Whether a template writes that token. */
static int text_writes(const struct text *text, const char *source, int32_t id)
{
	size_t n = 0;
	const char *piece = id < 0 ? NULL : nn_tokenizer_piece(text->tokenizer, id, &n);

	return piece && n && memmem(source, strlen(source), piece, n) != NULL;
}

/* Gemma 3's template writes what begins a picture, not what stands for its rows. */
static void text_find_begin(struct text *text, const char *directory, const char *source)
{
	cJSON *config = json_file_read(directory, "config.json");
	const int32_t begin = text_media_token(text, config, "boi");

	if (!text_writes(text, source, text->media[0]) && text_writes(text, source, begin))
		text->media[0] = begin;
	cJSON_Delete(config);
}

/* Whether the template shows a user's words that are given as a string, or as a list of one part. */
static int text_shows(const struct text *text, int list)
{
	static const char words[] = "percept";
	cJSON *variables = cJSON_Duplicate(text->names, 1), *message = cJSON_CreateObject();
	char *shown = NULL;

	cJSON_AddStringToObject(message, "role", "user");
	if (list) {
		cJSON *part = cJSON_CreateObject();

		cJSON_AddStringToObject(part, "type", "text");
		cJSON_AddStringToObject(part, "text", words);
		cJSON_AddItemToArray(cJSON_AddArrayToObject(message, "content"), part);
	} else {
		cJSON_AddStringToObject(message, "content", words);
	}
	cJSON_AddItemToArray(cJSON_AddArrayToObject(variables, "messages"), message);
	cJSON_AddTrueToObject(variables, "add_generation_prompt");
	int r = nn_template_render(text->chat, variables, &nn_template_default_limits, &shown, NULL);
	int there = r == 0 && strstr(shown, words);

	free(shown);
	cJSON_Delete(variables);
	return there;
}

static int text_open_template(struct text *text, const char *directory, struct wire_error *error)
{
	struct nn_error why = {0};
	char *source = nn_template_find(directory);

	if (!source)
		return 0;
	text->chat = nn_template_new(source, &why);
	text_find_begin(text, directory, source);
	free(source);
	if (!text->chat)
		return text_bad_model(error, directory, why.text);
	text->chat_lists = !text_shows(text, 0) && text_shows(text, 1);
	return 0;
}

static int text_open_directory(struct text *text, const char *directory, const char *tower, struct wire_error *error)
{
	static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json", "processor_config.json"};
	struct nn_error why = {0};

	text->tokenizer = nn_tokenizer_open(directory, &why);
	if (!text->tokenizer)
		return text_bad_model(error, directory, why.text);
	text->names = cJSON_CreateObject();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		cJSON *json = json_file_read(directory, files[i]);

		text_read_names(text, json);
		cJSON_Delete(json);
	}
	text_name_ends(text);
	cJSON *config = tower ? json_file_read(tower, "config.json") : NULL;

	text_read_names(text, config);
	cJSON_Delete(config);
	config = json_file_read(directory, "config.json");

	for (size_t i = 0; i < TEXT_MEDIA; i++)
		text->media[i] = text_media_token(text, config, text_media_names[i]);
	cJSON_Delete(config);
	text->start = text_start_token(text);
	text->stop = text_stop_token(text);
	return text_open_template(text, directory, error);
}

int text_open(struct text *text, const struct percept_decoder *ops, void *decoder, const char *plugin, const char *model,
	      const char *tower, struct wire_error *error)
{
	int own = PERCEPT_HAS(ops, piece) && ops->tokenize && ops->piece, r = 0;

	*text = (struct text){.plugin = plugin, .start = -1, .stop = -1, .media = {-1, -1, -1}};
	if (own) {
		text->ops = ops;
		text->decoder = decoder;
		return 0;
	}
	char *directory = !model ? NULL : nn_gguf_is_path(model) ? strdup(model) : json_file_directory(model);

	if (!directory)
		return text_bad_model(error, plugin, "The decoder has no tokenizer of its own and no model= whose directory has one.");
	r = text_open_directory(text, directory, tower, error);
	free(directory);
	if (r)
		text_close(text);
	return r;
}

void text_close(struct text *text)
{
	if (text->chat)
		nn_template_free(text->chat);
	nn_tokenizer_close(text->tokenizer);
	cJSON_Delete(text->names);
	*text = (struct text){0};
}

static int text_encode_own(const struct text *text, struct call *call, const char *bytes, size_t n, int special,
			   struct nn_ids *ids, struct wire_error *error)
{
	const int32_t *given = NULL;
	uint32_t count = 0;

	call_reset(call, text->plugin);
	int r = text->ops->tokenize(&call->base, text->decoder, bytes, n, special, &given, &count);

	if (r)
		return call_failed(call, r, "tokenise the text", error);
	if (count > TEXT_MAX_IDS || (count && !given))
		return call_broken(call, error, "tokenize() says it made %u tokens", count);
	if (ids->n + count > ids->room) {
		size_t room = (ids->n + count) * 2;
		int32_t *data = reallocarray(ids->data, room, sizeof(*data));

		if (!data)
			return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
		ids->data = data;
		ids->room = room;
	}
	if (count)
		memcpy(ids->data + ids->n, given, count * sizeof(*given));
	ids->n += count;
	return 0;
}

int text_encode(const struct text *text, struct call *call, const char *bytes, size_t n, int special, struct nn_ids *ids,
		struct wire_error *error)
{
	struct nn_error why = {0};

	if (n == 0)
		return 0;
	if (!text->tokenizer)
		return text_encode_own(text, call, bytes, n, special, ids, error);
	if (nn_tokenizer_encode(text->tokenizer, bytes, n, special ? NN_ENCODE_SPECIAL : 0, ids, &why))
		return wire_error_set(error, WIRE_INTERNAL, "%s", why.text[0] ? why.text : "The text could not be tokenised.");
	return 0;
}

const char *text_piece(const struct text *text, int32_t id, size_t *n)
{
	const char *bytes = NULL;
	uint32_t count = 0;

	*n = 0;
	if (!text->tokenizer) {
		if (text->ops->piece(text->decoder, id, &bytes, &count) || !bytes || count > 65536)
			return "";
		*n = count;
		return bytes;
	}
	if (nn_tokenizer_is_special(text->tokenizer, id))
		return "";
	bytes = nn_tokenizer_piece(text->tokenizer, id, n);
	if (!bytes)
		*n = 0;
	return bytes ? bytes : "";
}
