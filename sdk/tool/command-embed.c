/* command-embed.c - the embedding of a text or of media. */
#include "sdk/tool/embed.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sdk/tool/sampling.h"

struct embed {
	const char *space;
	int pooled, compare;
};

static const struct tool_option embed_options[] = {
	{'i', "image", TOOL_ITEM, 0, 0, 0, "FILE", "a picture ('-': standard input)", NULL},
	{'a', "audio", TOOL_ITEM, 0, 0, 0, "FILE", "a recording", NULL},
	{'v', "video", TOOL_ITEM, 0, 0, 0, "FILE", "a film", NULL},
	{0, "space", TOOL_TEXT, offsetof(struct embed, space), 0, 0, "SPACE",
	 "encoder, connector or text (else: text for text, connector for media)", NULL},
	{0, "pooled", TOOL_FLAG, offsetof(struct embed, pooled), 0, 0, NULL, "one vector an item", "pooled"},
	{0, "compare", TOOL_FLAG, offsetof(struct embed, compare), 0, 0, NULL, "a table of how alike pictures and texts are", NULL},
	{0},
};

const char *embed_kind(int letter)
{
	return letter == 'i' ? "image" : letter == 'a' ? "audio" : "video";
}

static int embed_fill(struct tool *tool, const struct embed *embed, const struct tool_items *items, struct percept_input *input)
{
	struct media_source s = {.tool = tool, .input = input};
	int r = 0, media = 0;
	for (size_t i = 0; i < items->n && r == 0; i++) {
		const struct tool_item *item = &items->list[i];
		media |= item->letter != 0;
		if (item->letter)
			r = media_add(&s, embed_kind(item->letter), item->text);
		else
			r = strcmp(item->text, "-") == 0 ? media_add_stdin(&s) : media_add_text(&s, item->text);
	}
	if (r == 0 && percept_input_count(input) == 0)
		return tool_say(tool, TOOL_USAGE, "Nothing to embed: give a text, or a picture (-i FILE).");
	if (r == 0)
		r = tool_set_text(tool, input, "space", embed->space ? embed->space : media ? "connector" : "text");
	if (r == 0 && tool->assistant)
		r = tool_set_text(tool, input, "assistant", tool->assistant);
	return r ? r : tool_set_params(tool, embed_options, embed, input);
}

/* The result object with the numbers as "data". */
static int embed_print_json(struct tool *tool, const struct percept_answer *answer)
{
	size_t n = strlen(answer->result);
	if (n < 2 || answer->result[n - 1] != '}')
		return tool_say(tool, TOOL_FAILED, "The daemon's answer is no object: it and this program are of different versions.");
	printf("%.*s%s\"data\":[", (int)n - 1, answer->result, n > 2 ? "," : "");
	for (size_t i = 0; i + sizeof(float) <= answer->tail_bytes; i += sizeof(float)) {
		float x;
		memcpy(&x, (const char *)answer->tail + i, sizeof x);
		printf("%s%.9g", i ? "," : "", (double)x);
	}
	puts("]}");
	return TOOL_DONE;
}

static int embed_send(struct tool *tool, struct percept_input *input)
{
	struct percept_connection *c;
	struct percept_error error = {0};
	struct percept_answer answer;
	int r = tool_connect(tool, &c);
	if (r)
		return r;
	if (percept_call_input(c, "embedding.create", input, NULL, &answer, &error) < 0) {
		r = tool_fail(tool, &error);
	} else {
		if (tool->json)
			r = embed_print_json(tool, &answer);
		else
			fwrite(answer.tail, 1, answer.tail_bytes, stdout);
		percept_answer_clear(&answer);
	}
	percept_close(c);
	return r;
}

static int embed_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	const struct embed *embed = values;
	if (embed->compare)
		return embed_compare(tool, items);
	if (!tool->json && isatty(1))
		return tool_say(tool, TOOL_USAGE, "Raw numbers are not for a terminal: send them to a file, or print them with --json.");
	struct percept_input *input = percept_input_new();
	if (!input)
		return tool_no_memory(tool);
	int r = embed_fill(tool, values, items, input);
	if (r == 0)
		r = embed_send(tool, input);
	percept_input_free(input);
	return r;
}

const struct tool_command command_embed = {
	.name = "embed",
	.arguments = "[TEXT|-]...",
	.summary = "the embedding of a text or of a picture",
	.details = "Prints 32-bit floats, little-endian, row by row; with --json the shape and the numbers.\n"
		   "With --compare every picture and every text gets one vector in the encoder's space, and the cosines of their\n"
		   "angles are printed: 1 is the same, 0 has nothing in common. An encoder with a text tower (CLIP, SigLIP) is needed\n"
		   "for texts.\n\n"
		   "  percept -A clip embed --compare -i cat.png -i dog.png 'a photo of a cat' 'a photo of a dog'",
	.options = embed_options,
	.values = sizeof(struct embed),
	.max_words = (size_t)-1,
	.run = embed_run,
};
