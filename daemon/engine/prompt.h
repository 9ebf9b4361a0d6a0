/* prompt.h - messages to tokens and media, in order. */
#ifndef ENGINE_PROMPT_H
#define ENGINE_PROMPT_H

#include "daemon/engine/assembly.h"
#include "daemon/engine/guard.h"

/* A stretch of the prompt: tokens ids[first .. first + count), a text that is not tokenised yet, or a media item. */
struct prompt_piece {
	int32_t item; /* -1: tokens or text */
	size_t first, count;
	char *text;   /* owned; NULL: tokens. No special token's name in it counts */
};
struct prompt {
	struct nn_ids ids;
	struct prompt_piece *pieces;
	size_t n, room;
	int woven; /* 1: what media items put around themselves may join the texts beside them, so these stay texts */
};
void prompt_fini(struct prompt *prompt);

/* Builds the prompt of response.create's `params` ("input", "instructions", "raw") with `n_items` media parts:
 *   raw             the texts and media in order, nothing added but the token that the model's texts begin with;
 *   a template      the model's chat template over the messages. What users write is guarded: no special token in it counts;
 *   no template     all texts and media in order, a line feed between messages; where the whole prompt sees itself both ways,
 *                   media first, and a line feed at the end.
 * The assistant's instructions, then the request's, lead as a system message (raw: only the request's, as text).
 * 0, or *error. [worker] */
int prompt_build(struct prompt *prompt, const struct assembly *assembly, struct call *call, const cJSON *params,
		 size_t n_items, struct wire_error *error);
/* The special tokens of the assembly's tokenizer. */
struct guard_names prompt_names(const struct assembly *assembly);
/* Appends a stretch; 0 or -ENOMEM. */
int prompt_add_item(struct prompt *prompt, int32_t item);
int prompt_add_text(struct prompt *prompt, const struct assembly *assembly, struct call *call, const char *text, size_t n,
		    struct wire_error *error);
/* prompt-chat.c: the messages of `params` rendered by the template and split. 0, or *error. [worker] */
int prompt_build_chat(struct prompt *prompt, const struct assembly *assembly, struct call *call, const cJSON *params,
		      size_t n_items, struct wire_error *error);
/* The instructions of assistant and request in one, malloc'ed; NULL if there are none or memory is out. */
char *prompt_instructions(const struct assembly *assembly, const cJSON *params, int raw);
/* The text of a content part, NULL if it is media. */
const char *prompt_part_text(const cJSON *part);

#endif
