/* command-look.c - what an encoder saw of a picture, and where the words of an answer come from. */
#include "sdk/tool/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/tool/interrupt.h"
#include "sdk/tool/look.h"
#include "sdk/tool/media.h"
#include "sdk/tool/png.h"
#include "sdk/tool/sampling.h"

struct look_options {
	const char *output, *system;
	struct tool_number token, max_tokens;
	int raw;
};

static const struct tool_option look_options[] = {
	{'o', "output", TOOL_TEXT, offsetof(struct look_options, output), 0, 0, "FILE.png", "write a PNG file as well", NULL},
	{'T', "token", TOOL_WHOLE, offsetof(struct look_options, token), 1, 4096, "N", "where the answer's N-th token attended, not all",
	 NULL},
	{'n', "max-tokens", TOOL_WHOLE, offsetof(struct look_options, max_tokens), 1, 4096, "N", "at most N tokens of answer (else 64)",
	 "max_output_tokens"},
	{'s', "system", TOOL_TEXT, offsetof(struct look_options, system), 0, 0, "TEXT", "instructions for the assistant", NULL},
	{0, "raw", TOOL_FLAG, offsetof(struct look_options, raw), 0, 0, NULL, "the text as it is, without the chat template", "raw"},
	{0},
};

/* The first word is the picture, the others are the question. */
static int look_fill(struct tool *tool, const struct look_options *options, const struct tool_items *items,
		     struct percept_input *input)
{
	struct media_source s = {.tool = tool, .input = input};
	char *text = NULL;
	size_t size = 0;
	int r = media_add(&s, "image", items->list[0].text);
	FILE *out = r ? NULL : open_memstream(&text, &size);
	if (r == 0 && !out)
		return tool_no_memory(tool);
	for (size_t i = 1; r == 0 && i < items->n; i++)
		fprintf(out, "%s%s", i > 1 ? " " : "", items->list[i].text);
	if (out && fclose(out))
		r = tool_no_memory(tool);
	if (r == 0 && text && *text)
		r = media_add_text(&s, text);
	free(text);
	if (r == 0 && options->system)
		r = tool_set_text(tool, input, "instructions", options->system);
	if (r == 0 && tool->assistant)
		r = tool_set_text(tool, input, "assistant", tool->assistant);
	return r ? r : tool_set_params(tool, look_options, options, input);
}

/* ---- what is said */

static void look_say_tiles(const struct look *look, const char *name)
{
	const char *overview = look->overview < 0 ? "" : look->overview == 0 ? ", the whole picture first" : ", the whole picture last";
	printf("%s: %u x %u pixels, ", name, look->width, look->height);
	if (look->tiles > 1)
		printf("%u tiles (%u x %u%s) of ", look->tiles, look->grid_cols, look->grid_rows, overview);
	if (look->tile_width)
		printf("%u x %u, ", look->tile_width, look->tile_height);
	printf("%.0f x %.0f patches", json_number(look->image, "cols"), json_number(look->image, "rows"));
	if (look->n_tokens)
		printf(", %u tokens", look->n_tokens);
	putchar('\n');
}

static int look_say_answer(const struct look *look)
{
	struct tool_table table;
	const cJSON *token;
	int n = 0;
	printf("%s\n\n", json_text(look->result, "output_text"));
	table_init(&table, "TOKEN|TEXT|ON THE PICTURE");
	cJSON_ArrayForEach(token, look->tokens) {
		const cJSON *share = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(token, "shares"), 0);
		table_cell(&table, "%d", ++n);
		table_cell(&table, "%s", json_text(token, "text"));
		table_cell(&table, "%.1f %%", cJSON_IsNumber(share) ? 100 * share->valuedouble : 0);
	}
	return table_print(&table);
}

/* The parts of the tail as arrays in their ranges' place; pixels are left out. */
static int look_print_json(const struct tool *tool, struct look *look)
{
	cJSON *image = (cJSON *)look->image;
	const struct {
		cJSON *object;
		const char *name;
		const float *data;
		size_t n;
	} parts[] = {
		{image, "views", look->views, (size_t)4 * look->tiles},
		{image, "areas", look->areas, (size_t)4 * look->n_tokens},
		{look->result, "attention", look->attention, (size_t)look->answer * look->n_tokens},
	};
	cJSON_DeleteItemFromObjectCaseSensitive(image, "pixels");
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (parts[i].data)
			cJSON_ReplaceItemInObjectCaseSensitive(parts[i].object, parts[i].name,
							       cJSON_CreateFloatArray(parts[i].data, (int)parts[i].n));
	char *text = cJSON_PrintUnformatted(look->result);
	if (!text)
		return tool_no_memory(tool);
	puts(text);
	free(text);
	return TOOL_DONE;
}

/* ---- what is drawn */

/* The heat of the answer over the picture, or NULL after saying why there is none. */
static float *look_heat(const struct tool *tool, const struct look *look, int64_t token, struct look_canvas *canvas)
{
	const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(look->image, "unmapped"));
	if (!why)
		why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(look->result, "unseen"));
	float *heat = look->areas && look->attention && canvas->rgb ? calloc((size_t)canvas->width * canvas->height, sizeof *heat) : NULL;
	if (heat && look_draw_heat(look, token, canvas, heat)) {
		look_lay_heat(canvas, heat);
		return heat;
	}
	free(heat);
	tool_say(tool, 0, "%s", why ? why : "There is no attention to show over this picture.");
	return NULL;
}

static int look_write(const struct tool *tool, const char *file, struct look_canvas *canvas)
{
	if (!canvas->rgb)
		return tool_say(tool, TOOL_FAILED, "The encoder does not show its pixels: %s was not written.", file);
	int r = look_enlarge(canvas);
	if (r == 0)
		r = png_write(file, canvas->rgb, canvas->width, canvas->height);
	return r < 0 ? tool_say(tool, TOOL_FAILED, "%s could not be written: %s.", file, strerror(-r)) : 0;
}

/* Without a question the tiles, with one the heat over the picture. */
static int look_show(struct tool *tool, const struct look_options *options, struct look *look, const char *name)
{
	const int asked = look->tokens != NULL;
	struct look_canvas canvas;
	float *heat = NULL;
	int r = asked ? look_draw_picture(look, &canvas) : look_draw_tiles(look, &canvas);
	if (r < 0)
		return tool_no_memory(tool);
	if (asked)
		heat = look_heat(tool, look, options->token.set ? (int64_t)options->token.value - 1 : -1, &canvas);
	if (tool->json) {
		r = look_print_json(tool, look);
	} else {
		if (canvas.rgb)
			look_print(&canvas, heat);
		look_say_tiles(look, name);
		r = asked ? look_say_answer(look) : TOOL_DONE;
	}
	if (r == 0 && options->output)
		r = look_write(tool, options->output, &canvas);
	free(heat);
	free(canvas.rgb);
	return r;
}

static int look_take(struct tool *tool, const struct look_options *options, const struct percept_answer *answer, const char *name)
{
	struct look look;
	int r = look_read(tool, answer, &look);
	if (r == 0 && options->token.set && !look.tokens)
		r = tool_say(tool, TOOL_USAGE, "--token needs a question: an answer's tokens are what it counts.");
	else if (r == 0 && options->token.set && options->token.value > look.answer)
		r = tool_say(tool, TOOL_USAGE, "The answer has %u tokens: --token takes 1 to %u.", look.answer, look.answer);
	if (r == 0)
		r = look_show(tool, options, &look, name);
	look_fini(&look);
	return r;
}

static int look_send(struct tool *tool, const struct look_options *options, struct percept_input *input, const char *name)
{
	struct percept_connection *c;
	struct percept_error error = {0};
	struct percept_answer answer;
	struct interrupt interrupt;
	int r = tool_connect(tool, &c);
	if (r)
		return r;
	interrupt_begin(&interrupt, c);
	r = percept_call_input(c, "image.look", input, NULL, &answer, &error);
	interrupt_end(&interrupt);
	if (r < 0) {
		r = tool_fail(tool, &error);
		r = interrupt.hit ? TOOL_INTERRUPTED : r;
	} else {
		r = interrupt.hit ? TOOL_INTERRUPTED : look_take(tool, options, &answer, name);
		percept_answer_clear(&answer);
	}
	percept_close(c);
	return r;
}

static int look_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	struct percept_input *input = percept_input_new();
	if (!input)
		return tool_no_memory(tool);
	int r = look_fill(tool, values, items, input);
	if (r == 0)
		r = look_send(tool, values, input, items->list[0].text);
	percept_input_free(input);
	return r;
}

const struct tool_command command_look = {
	.name = "look",
	.arguments = "IMAGE|- [PROMPT]...",
	.summary = "what an encoder saw of a picture, and where an answer's words attended",
	.details = "Without a prompt: the tiles that were encoded, in their grid, in true colours. With one: the answer, how much of each\n"
		   "token's attention was on the picture, and a heat map of it over the picture (the mean over all heads and layers).\n"
		   "Colours on a terminal; elsewhere, and with NO_COLOR, shades of ASCII.\n\n"
		   "  percept look cat.png\n"
		   "  percept look cat.png 'What colour is the cat?' -o attention.png\n"
		   "  percept look cat.png 'What colour is the cat?' --token 3",
	.options = look_options,
	.values = sizeof(struct look_options),
	.min_words = 1,
	.max_words = (size_t)-1,
	.run = look_run,
};
