/* text.h - the words of one assistant: its tokenizer, its chat template, its media's placeholders. */
#ifndef ENGINE_TEXT_H
#define ENGINE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/engine/call.h"
#include "sdk/nn/template.h"
#include "sdk/nn/tokenizer.h"

#define TEXT_MEDIA 3 /* image, audio, video */
extern const char *const text_media_names[TEXT_MEDIA];

/* Read-only once open. */
struct text {
	const struct percept_decoder *ops; /* with its own tokenizer; else NULL */
	void *decoder;
	const char *plugin;               /* the decoder's name */
	struct nn_tokenizer *tokenizer;   /* NULL: the decoder has its own */
	struct nn_template *chat;         /* NULL: messages are joined plainly */
	int chat_lists;                   /* 1: the template reads parts even where a message is only text */
	int32_t media[TEXT_MEDIA];        /* the special token that the template puts in an item's place; -1: none */
	int32_t start;                    /* the token that a prompt begins with; -1: none */
	int32_t stop;                     /* the token that an encoder's input ends with; -1: none */
	cJSON *names;                     /* bos_token, eos_token ... as templates want them */
};
/* From the decoder's own functions or its model's directory `model` (may be NULL); `tower`: the GGUF file of the pictures' parts, which
 * knows what their tokens are called; NULL: none. 0, or *error (-32015). [worker] */
int text_open(struct text *text, const struct percept_decoder *ops, void *decoder, const char *plugin, const char *model,
	      const char *tower, struct wire_error *error);
void text_close(struct text *text);
/* Appends the ids of `bytes` to *ids; `special`: special tokens in it are recognised. 0, or *error. [worker] */
int text_encode(const struct text *text, struct call *call, const char *bytes, size_t n, int special, struct nn_ids *ids,
		struct wire_error *error);
/* What `id` stands for; *n bytes, 0 for special tokens. Never NULL. [any] */
const char *text_piece(const struct text *text, int32_t id, size_t *n);

#endif
