/* prompt-chat.c - messages through the model's chat template, guarded on the way in, split on the way out. */
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/guard.h"
#include "daemon/engine/prompt.h"
#include "daemon/engine/json-file.h"

static const char *prompt_special_at(const void *arg, size_t i, int32_t *id)
{
	return nn_tokenizer_special_at(arg, i, id);
}

struct guard_names prompt_names(const struct assembly *assembly)
{
	const struct nn_tokenizer *tokenizer = assembly->text.tokenizer;

	return (struct guard_names){tokenizer ? nn_tokenizer_special_count(tokenizer) : 0, prompt_special_at, tokenizer};
}

static cJSON *prompt_guarded(const struct guard_names *names, const char *text)
{
	char *guarded = guard_put(names, text);
	cJSON *string = guarded ? cJSON_CreateString(guarded) : NULL;

	free(guarded);
	return string;
}

/* Appends text to the string `into`, unguarded as yet. */
static int prompt_join(char **into, const char *text)
{
	size_t have = *into ? strlen(*into) : 0, n = strlen(text);
	char *joined = realloc(*into, have + n + 1);

	if (!joined)
		return -1;
	memcpy(joined + have, text, n + 1);
	*into = joined;
	return 0;
}

/* "input_image" -> "image". */
static const char *prompt_media_kind(const cJSON *part)
{
	const char *type = cJSON_GetStringValue(wire_member(part, "type"));

	return type && strncmp(type, "input_", 6) == 0 ? type + 6 : "image";
}

static void prompt_append_part(cJSON *list, const char *type, cJSON *text)
{
	cJSON *part = cJSON_CreateObject();

	cJSON_AddStringToObject(part, "type", type);
	if (text)
		cJSON_AddItemToObject(part, "text", text);
	cJSON_AddItemToArray(list, part);
}

/* A message's content as the template wants it: a list of parts. Neighbouring texts are one, so that no name of a special
 * token can be put together from two. */
static cJSON *prompt_content_list(const struct guard_names *names, const cJSON *content)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *part;
	char *text = NULL;

	if (cJSON_IsString(content))
		prompt_append_part(list, "text", prompt_guarded(names, content->valuestring));
	cJSON_ArrayForEach(part, json_list(content)) {
		const char *words = prompt_part_text(part);

		if (words) {
			prompt_join(&text, words);
			continue;
		}
		if (text)
			prompt_append_part(list, "text", prompt_guarded(names, text));
		free(text);
		text = NULL;
		prompt_append_part(list, prompt_media_kind(part), NULL);
	}
	if (text)
		prompt_append_part(list, "text", prompt_guarded(names, text));
	free(text);
	return list;
}

/* The same as one string, a marker in each media item's place. */
static cJSON *prompt_content_string(const struct guard_names *names, const cJSON *content)
{
	char *all = calloc(1, 1), *text = NULL, *guarded;
	const cJSON *part;

	if (cJSON_IsString(content)) {
		free(all);
		return prompt_guarded(names, content->valuestring);
	}
	cJSON_ArrayForEach(part, json_list(content)) {
		const char *words = prompt_part_text(part);

		if (words) {
			prompt_join(&text, words);
			continue;
		}
		guarded = text ? guard_put(names, text) : NULL;
		if (guarded)
			prompt_join(&all, guarded);
		prompt_join(&all, GUARD_MARKER);
		free(guarded);
		free(text);
		text = NULL;
	}
	guarded = text ? guard_put(names, text) : NULL;
	if (guarded)
		prompt_join(&all, guarded);
	cJSON *string = all ? cJSON_CreateString(all) : NULL;

	free(guarded);
	free(text);
	free(all);
	return string;
}

static int prompt_has_media(const cJSON *content)
{
	const cJSON *part;

	cJSON_ArrayForEach(part, json_list(content))
		if (!prompt_part_text(part))
			return 1;
	return 0;
}

static void prompt_add_message(cJSON *messages, const char *role, cJSON *content)
{
	cJSON *message = cJSON_CreateObject();

	cJSON_AddStringToObject(message, "role", role);
	cJSON_AddItemToObject(message, "content", content);
	cJSON_AddItemToArray(messages, message);
}

/* `markers`: media are markers in strings; else parts of lists, which the template puts its placeholders for. */
static cJSON *prompt_messages(const struct assembly *assembly, const struct guard_names *names, const cJSON *params, int markers)
{
	const cJSON *input = wire_member(params, "input"), *message;
	cJSON *messages = cJSON_CreateArray();
	char *instructions = prompt_instructions(assembly, params, 0);
	int lists = assembly->text.chat_lists && !markers;

	if (instructions) {
		cJSON *text = cJSON_CreateString(instructions);

		prompt_add_message(messages, "system", lists ? prompt_content_list(names, text) : prompt_content_string(names, text));
		cJSON_Delete(text);
	}
	free(instructions);
	if (cJSON_IsString(input))
		prompt_add_message(messages, "user", lists ? prompt_content_list(names, input) : prompt_content_string(names, input));
	cJSON_ArrayForEach(message, json_list(input)) {
		const char *role = cJSON_GetStringValue(wire_member(message, "role"));
		const cJSON *content = wire_member(message, "content");
		int list = lists || (!markers && prompt_has_media(content));

		prompt_add_message(messages, role ? role : "user",
				   list ? prompt_content_list(names, content) : prompt_content_string(names, content));
	}
	return messages;
}

static int prompt_render(const struct assembly *assembly, const cJSON *params, int markers, char **text, struct wire_error *error)
{
	struct guard_names names = prompt_names(assembly);
	cJSON *variables = assembly->text.names ? cJSON_Duplicate(assembly->text.names, 1) : cJSON_CreateObject();
	struct nn_error why = {0};

	/* Models without a token for pictures: the template says where they stand. */
	if (!cJSON_HasObjectItem(variables, "image_token"))
		cJSON_AddStringToObject(variables, "image_token", GUARD_MARKER);
	cJSON_AddItemToObject(variables, "messages", prompt_messages(assembly, &names, params, markers));
	cJSON_AddTrueToObject(variables, "add_generation_prompt");
	int r = nn_template_render(assembly->text.chat, variables, &nn_template_default_limits, text, &why);

	cJSON_Delete(variables);
	if (r == 0)
		return 0;
	return wire_error_set(error, WIRE_TEMPLATE, "The model's chat template could not render these messages: %s", why.text);
}

/* The media item that a special token is the placeholder of: the next one. */
static int prompt_is_placeholder(const struct assembly *assembly, int32_t id)
{
	for (size_t i = 0; i < TEXT_MEDIA; i++)
		if (assembly->text.media[i] == id)
			return 1;
	return 0;
}

static int prompt_add_id(struct prompt *prompt, const struct assembly *assembly, struct call *call,
			 const struct guard_piece *piece, struct wire_error *error)
{
	/* Through the tokenizer, which knows the one token that this text is. */
	size_t first = prompt->ids.n;
	int r = text_encode(&assembly->text, call, piece->text, piece->n, 1, &prompt->ids, error);

	if (r == 0 && prompt->ids.n == first)
		return 0;
	if (r == 0 && prompt->n && prompt->pieces[prompt->n - 1].item < 0 && !prompt->pieces[prompt->n - 1].text) {
		prompt->pieces[prompt->n - 1].count += prompt->ids.n - first;
		return 0;
	}
	if (r == 0 && prompt_add_item(prompt, -1))
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	if (r == 0)
		prompt->pieces[prompt->n - 1] = (struct prompt_piece){-1, first, prompt->ids.n - first, NULL};
	return r;
}

/* Splits the rendered text (changed on the way). *items: how many placeholders it had. */
static int prompt_split(struct prompt *prompt, const struct assembly *assembly, struct call *call, char *text, size_t *items,
			struct wire_error *error)
{
	struct guard_names names = prompt_names(assembly);
	struct guard_piece piece;
	int r = 0;

	for (*items = 0; r == 0 && (piece = guard_next(&names, text)).kind != GUARD_END; text += piece.n) {
		if (piece.kind == GUARD_ITEM || (piece.kind == GUARD_SPECIAL && prompt_is_placeholder(assembly, piece.id)))
			r = prompt_add_item(prompt, (int32_t)(*items)++) ? wire_error_set(error, WIRE_INTERNAL, "Memory is out.") : 0;
		else if (piece.kind == GUARD_SPECIAL)
			r = prompt_add_id(prompt, assembly, call, &piece, error);
		else
			r = prompt_add_text(prompt, assembly, call, text, guard_remove(text, piece.n), error);
	}
	return r;
}

int prompt_build_chat(struct prompt *prompt, const struct assembly *assembly, struct call *call, const cJSON *params,
		      size_t n_items, struct wire_error *error)
{
	/* A template that was not written for media may drop them or fail on them: then markers in its strings. */
	for (int markers = 0; markers < 2; markers++) {
		char *text = NULL;
		size_t items = 0;
		int r = prompt_render(assembly, params, markers, &text, error);

		if (r == 0)
			r = prompt_split(prompt, assembly, call, text, &items, error);
		free(text);
		if (r == 0 && items == n_items)
			return 0;
		if (r && (markers || n_items == 0))
			return r;
		prompt_fini(prompt);
	}
	return wire_error_set(error, WIRE_TEMPLATE, "The model's chat template does not put each of the %zu media items into the prompt.",
			      n_items);
}
