/* command-ask.c - a question, with pictures, sound and text in the order of the command line. */
#include "sdk/tool/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sdk/tool/interrupt.h"
#include "sdk/tool/media.h"
#include "sdk/tool/progress.h"
#include "sdk/tool/sampling.h"

#define ASK_STOP TOOL_NO_LETTER /* --stop */

struct ask {
	struct sampling sampling;
	const char *system;
	int raw;
};

static const struct tool_option ask_options[] = {
	{'i', "image", TOOL_ITEM, 0, 0, 0, "FILE", "a picture ('-': standard input)", NULL},
	{'a', "audio", TOOL_ITEM, 0, 0, 0, "FILE", "a recording", NULL},
	{'v', "video", TOOL_ITEM, 0, 0, 0, "FILE", "a film", NULL},
	{'s', "system", TOOL_TEXT, offsetof(struct ask, system), 0, 0, "TEXT", "instructions for the assistant", NULL},
	SAMPLING_OPTIONS(struct ask, sampling),
	{ASK_STOP, "stop", TOOL_ITEM, 0, 0, 0, "TEXT", "end the answer before TEXT (up to 16 times)", NULL},
	{0, "raw", TOOL_FLAG, offsetof(struct ask, raw), 0, 0, NULL, "the text as it is, without the chat template", "raw"},
	{0},
};

static const struct {
	int letter;
	const char *kind;
} ask_kinds[] = {{'i', "image"}, {'a', "audio"}, {'v', "video"}};

/* While the answer comes. */
struct ask_stream {
	struct progress progress;
	struct interrupt interrupt;
	int print; /* the text, as it comes */
	int printed, ends_line;
};

static void ask_on_delta(void *arg, const char *text, size_t n)
{
	struct ask_stream *s = arg;
	progress_clear(&s->progress);
	s->progress.on = 0;
	if (!s->print || n == 0)
		return;
	fwrite(text, 1, n, stdout);
	fflush(stdout);
	s->printed = 1;
	s->ends_line = text[n - 1] == '\n';
}

static void ask_on_progress(void *arg, const char *stage, double done, double total)
{
	struct ask_stream *s = arg;
	progress_show(&s->progress, stage, done, total);
}

static void ask_on_cancelling(void *arg)
{
	struct ask_stream *s = arg;
	interrupt_once(&s->interrupt);
}

int tool_set_text(const struct tool *tool, struct percept_input *input, const char *name, const char *text)
{
	struct percept_error error = {0};
	cJSON *value = cJSON_CreateString(text);
	char *json = cJSON_PrintUnformatted(value);
	cJSON_Delete(value);
	if (!json)
		return tool_no_memory(tool);
	int r = percept_input_set(input, name, json, &error);
	free(json);
	percept_error_clear(&error);
	return r < 0 ? tool_say(tool, TOOL_USAGE, "The text for %s is not UTF-8: convert it, with iconv for example.", name) : 0;
}

/* Words that follow each other are one text. */
static int ask_add_words(struct media_source *s, const struct tool_items *items, size_t *i)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return tool_no_memory(s->tool);
	for (size_t first = *i; *i < items->n && items->list[*i].letter == 0 && strcmp(items->list[*i].text, "-") != 0; ++*i)
		fprintf(out, "%s%s", *i > first ? " " : "", items->list[*i].text);
	int r = fclose(out) == 0 ? 0 : tool_no_memory(s->tool);
	if (r == 0 && *text)
		r = media_add_text(s, text);
	free(text);
	return r;
}

static int ask_add_item(struct media_source *s, const struct tool_item *item)
{
	for (size_t k = 0; k < sizeof ask_kinds / sizeof *ask_kinds; k++)
		if (ask_kinds[k].letter == item->letter)
			return media_add(s, ask_kinds[k].kind, item->text);
	return media_add_stdin(s); /* the word "-" */
}

static int ask_fill(struct tool *tool, const struct tool_items *items, struct percept_input *input)
{
	struct media_source s = {.tool = tool, .input = input};
	int r = 0;
	for (size_t i = 0; i < items->n && r == 0;) {
		const struct tool_item *item = &items->list[i];
		if (item->letter == ASK_STOP)
			i++;
		else if (item->letter == 0 && strcmp(item->text, "-") != 0)
			r = ask_add_words(&s, items, &i);
		else
			r = ask_add_item(&s, &items->list[i++]);
	}
	if (r == 0 && media_stdin_piped(&s))
		r = media_add_stdin(&s);
	if (r == 0 && percept_input_count(input) == 0)
		r = tool_say(tool, TOOL_USAGE, "Nothing to ask: give a question, a picture (-i FILE), or pipe text in.");
	return r;
}

static int ask_set_stops(struct tool *tool, const struct tool_items *items, struct percept_input *input)
{
	struct percept_error error = {0};
	cJSON *stops = cJSON_CreateArray();
	for (size_t i = 0; i < items->n; i++)
		if (items->list[i].letter == ASK_STOP)
			cJSON_AddItemToArray(stops, cJSON_CreateString(items->list[i].text));
	char *json = cJSON_GetArraySize(stops) > 0 ? cJSON_PrintUnformatted(stops) : NULL;
	cJSON_Delete(stops);
	int r = json && percept_input_set(input, "stop", json, &error) < 0 ? tool_fail(tool, &error) : 0;
	free(json);
	return r;
}

static int ask_set(struct tool *tool, const struct ask *ask, struct percept_input *input)
{
	int r = tool_set_params(tool, ask_options, ask, input);
	if (r == 0 && ask->system)
		r = tool_set_text(tool, input, "instructions", ask->system);
	if (r == 0 && tool->assistant)
		r = tool_set_text(tool, input, "assistant", tool->assistant);
	if (r == 0 && tool->json && percept_input_set(input, "return_tokens", "true", NULL) < 0)
		r = tool_no_memory(tool);
	if (r == 0 && tool->json && !isatty(2) && percept_input_set(input, "stream", "false", NULL) < 0)
		r = tool_no_memory(tool);
	return r;
}

static int ask_print(struct tool *tool, struct ask_stream *s, struct percept_answer *answer)
{
	cJSON *result = cJSON_Parse(answer->result);
	if (!result)
		return tool_no_memory(tool);
	int cancelled = strcmp(json_text(result, "status"), "cancelled") == 0;
	if (tool->json)
		puts(answer->result);
	else if (!s->ends_line)
		putchar('\n');
	if (!tool->json && isatty(2) && strcmp(json_text(result, "finish_reason"), "length") == 0)
		fprintf(stderr, "(ended at the most tokens allowed: -n raises it)\n");
	if (strcmp(json_text(result, "finish_reason"), "deadline") == 0)
		tool_say(tool, 0, "the deadline ended the answer: give it more time with --deadline");
	cJSON_Delete(result);
	return cancelled || s->interrupt.hit ? TOOL_INTERRUPTED : TOOL_DONE;
}

static int ask_send(struct tool *tool, struct percept_input *input)
{
	struct percept_connection *c;
	struct percept_error error = {0};
	struct percept_answer answer;
	struct ask_stream s = {.print = !tool->json};
	struct percept_events events = {.size = sizeof events, .arg = &s, .delta = ask_on_delta,
					.progress = ask_on_progress, .cancelling = ask_on_cancelling};
	int r = tool_connect(tool, &c);
	if (r)
		return r;
	progress_init(&s.progress);
	interrupt_begin(&s.interrupt, c);
	r = percept_call_input(c, "response.create", input, &events, &answer, &error);
	interrupt_end(&s.interrupt);
	progress_clear(&s.progress);
	if (r < 0) {
		if (s.printed && !s.ends_line)
			putchar('\n');
		r = tool_fail(tool, &error);
		r = s.interrupt.hit ? TOOL_INTERRUPTED : r;
	} else {
		r = ask_print(tool, &s, &answer);
		percept_answer_clear(&answer);
	}
	percept_close(c);
	return r;
}

static int ask_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	struct percept_input *input = percept_input_new();
	if (!input)
		return tool_no_memory(tool);
	int r = ask_fill(tool, items, input);
	if (r == 0)
		r = ask_set(tool, values, input);
	if (r == 0)
		r = ask_set_stops(tool, items, input);
	if (r == 0)
		r = ask_send(tool, input);
	percept_input_free(input);
	return r;
}

const struct tool_command command_ask = {
	.name = "ask",
	.arguments = "[PROMPT|-]...",
	.summary = "answers a question about pictures, sound and text",
	.details = "Media and text are sent in the order of the command line. '-' is standard input, taken for what it is: text or\n"
		   "a picture; text that is piped in without a '-' comes last. The answer is printed as it comes. Ctrl-C ends it and\n"
		   "keeps what there is. With --json the one result object is printed, token ids included.\n\n"
		   "  percept ask -i cat.png 'What is this?'\n"
		   "  percept ask 'Compare' -i a.png 'with' -i b.png\n"
		   "  grim - | percept ask -i - 'What is on the screen?'\n"
		   "  percept ask 'Summarise:' < notes.txt",
	.options = ask_options,
	.values = sizeof(struct ask),
	.max_words = (size_t)-1,
	.run = ask_run,
};
