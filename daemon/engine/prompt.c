/* prompt.c - messages to tokens and media, plainly. With a chat template: prompt-chat.c. */
#include "config.h"
#include "daemon/engine/prompt.h"
#include "daemon/engine/json-file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void prompt_fini(struct prompt *prompt)
{
	nn_ids_free(&prompt->ids);
	for (size_t i = 0; i < prompt->n; i++)
		free(prompt->pieces[i].text);
	free(prompt->pieces);
	*prompt = (struct prompt){.woven = prompt->woven};
}

static struct prompt_piece *prompt_add(struct prompt *prompt)
{
	if (prompt->n == prompt->room) {
		size_t room = prompt->room ? prompt->room * 2 : 16;
		void *pieces = reallocarray(prompt->pieces, room, sizeof(*prompt->pieces));

		if (!pieces)
			return NULL;
		prompt->pieces = pieces;
		prompt->room = room;
	}
	return &prompt->pieces[prompt->n++];
}

int prompt_add_item(struct prompt *prompt, int32_t item)
{
	struct prompt_piece *piece = prompt_add(prompt);

	if (!piece)
		return -ENOMEM;
	*piece = (struct prompt_piece){.item = item};
	return 0;
}

/* The ids from `first` on are a stretch. */
static int prompt_add_ids(struct prompt *prompt, size_t first, struct wire_error *error)
{
	struct prompt_piece *piece = prompt->ids.n > first ? prompt_add(prompt) : NULL;

	if (!piece)
		return prompt->ids.n > first ? wire_error_set(error, WIRE_INTERNAL, "Memory is out.") : 0;
	*piece = (struct prompt_piece){-1, first, prompt->ids.n - first, NULL};
	return 0;
}

int prompt_add_text(struct prompt *prompt, const struct assembly *assembly, struct call *call, const char *text, size_t n,
		    struct wire_error *error)
{
	size_t first = prompt->ids.n;

	if (prompt->woven && n) {
		struct prompt_piece *piece = prompt_add(prompt);

		if (piece)
			*piece = (struct prompt_piece){.item = -1, .text = strndup(text, n)};
		return piece && piece->text ? 0 : wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	}
	int r = text_encode(&assembly->text, call, text, n, 0, &prompt->ids, error);

	return r ? r : prompt_add_ids(prompt, first, error);
}

const char *prompt_part_text(const cJSON *part)
{
	return cJSON_GetStringValue(wire_member(part, "text"));
}

char *prompt_instructions(const struct assembly *assembly, const cJSON *params, int raw)
{
	const char *own = cJSON_GetStringValue(wire_member(params, "instructions"));
	const char *first = raw ? NULL : assembly->instructions;
	char *all = NULL;

	if ((!own || !*own) && !first)
		return NULL;
	if (asprintf(&all, "%s%s%s", first ? first : "", first && own && *own ? "\n" : "", own ? own : "") < 0)
		return NULL;
	return all;
}

/* Text waits in `text` until media or the end of the prompt comes, so that it is tokenised in one. */
struct prompt_text {
	char *data;
	size_t n;
	int failed;
	int last; /* it does not end at media: those come before all of it */
};

static void prompt_text_add(struct prompt_text *text, const char *more)
{
	size_t n = strlen(more);
	char *data = realloc(text->data, text->n + n + 1);

	if (!data) {
		text->failed = 1;
		return;
	}
	memcpy(data + text->n, more, n + 1);
	text->data = data;
	text->n += n;
}

static int prompt_text_flush(struct prompt *prompt, const struct assembly *assembly, struct call *call,
			     struct prompt_text *text, struct wire_error *error)
{
	int r = text->failed ? wire_error_set(error, WIRE_INTERNAL, "Memory is out.")
			     : prompt_add_text(prompt, assembly, call, text->data ? text->data : "", text->n, error);

	free(text->data);
	*text = (struct prompt_text){0};
	return r;
}

static int prompt_plain_message(struct prompt *prompt, const struct assembly *assembly, struct call *call,
				const cJSON *message, int32_t *item, struct prompt_text *text, struct wire_error *error)
{
	const cJSON *content = wire_member(message, "content"), *part;

	if (cJSON_IsString(content))
		prompt_text_add(text, content->valuestring);
	cJSON_ArrayForEach(part, json_list(content)) {
		const char *words = prompt_part_text(part);

		if (words) {
			prompt_text_add(text, words);
			continue;
		}
		int r = text->last ? 0 : prompt_text_flush(prompt, assembly, call, text, error);

		if (r)
			return r;
		if (prompt_add_item(prompt, (*item)++))
			return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	}
	return 0;
}

static int prompt_build_plain(struct prompt *prompt, const struct assembly *assembly, struct call *call, const cJSON *params,
			      int raw, struct wire_error *error)
{
	const cJSON *input = wire_member(params, "input"), *message;
	struct prompt_text text = {.last = assembly->leads && !raw};
	int32_t item = 0;
	int r = 0, first = 1;
	char *instructions = prompt_instructions(assembly, params, raw);

	if (instructions) {
		prompt_text_add(&text, instructions);
		prompt_text_add(&text, "\n");
	}
	free(instructions);
	if (cJSON_IsString(input))
		prompt_text_add(&text, input->valuestring);
	cJSON_ArrayForEach(message, json_list(input)) {
		if (!first && !raw)
			prompt_text_add(&text, "\n");
		first = 0;
		r = prompt_plain_message(prompt, assembly, call, message, &item, &text, error);
		if (r)
			break;
	}
	if (assembly->prefix && !raw)
		prompt_text_add(&text, "\n");
	if (r == 0)
		return prompt_text_flush(prompt, assembly, call, &text, error);
	free(text.data);
	return r;
}

/* The token that the model's texts begin with leads, unless it leads already; `behind` the media that lead, if so. */
static int prompt_add_start(struct prompt *prompt, int32_t start, int behind, struct wire_error *error)
{
	struct nn_ids *ids = &prompt->ids;
	size_t at = 0;

	while (behind && at < prompt->n && prompt->pieces[at].item >= 0)
		at++;
	if (start < 0 || (at < prompt->n && prompt->pieces[at].count && ids->data[prompt->pieces[at].first] == start))
		return 0;
	if (ids->n == ids->room) {
		int32_t *data = reallocarray(ids->data, ids->room + 16, sizeof(*data));

		if (!data)
			return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
		ids->data = data;
		ids->room += 16;
	}
	ids->data[ids->n++] = start;
	struct prompt_piece *piece = prompt_add(prompt);

	if (!piece)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	memmove(prompt->pieces + at + 1, prompt->pieces + at, (prompt->n - 1 - at) * sizeof(*piece));
	prompt->pieces[at] = (struct prompt_piece){-1, ids->n - 1, 1, NULL};
	return 0;
}

int prompt_build(struct prompt *prompt, const struct assembly *assembly, struct call *call, const cJSON *params,
		 size_t n_items, struct wire_error *error)
{
	int raw = cJSON_IsTrue(wire_member(params, "raw"));

	prompt->woven = n_items > 0;
	int r = raw || !assembly->text.chat ? prompt_build_plain(prompt, assembly, call, params, raw, error)
					    : prompt_build_chat(prompt, assembly, call, params, n_items, error);

	if (r == 0)
		r = prompt_add_start(prompt, assembly->text.start, assembly->leads, error);
	if (r == 0 && prompt->n == 0)
		r = wire_error_path(error, "input", "is empty: there is nothing to answer");
	return r;
}
