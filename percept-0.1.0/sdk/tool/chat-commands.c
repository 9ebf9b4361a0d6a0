/* chat-commands.c - what a line that begins with '/' does. */
#include "config.h"
#include "sdk/tool/chat.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chat_verb {
	const char *name, *argument, *help;
	int (*run)(struct chat *chat, const char *argument);
};
static const struct chat_verb chat_verbs[];

static int verb_help(struct chat *chat, const char *argument)
{
	(void)chat, (void)argument;
	for (const struct chat_verb *v = chat_verbs; v->name; v++)
		printf("  /%-8s %-6s %s\n", v->name, v->argument, v->help);
	puts("A line that ends with \\ goes on in the next; \"\"\" begins and ends a text of several lines.\n"
	     "Ctrl-C stops an answer and keeps what there is of it; Ctrl-D ends the chat.");
	return 0;
}

static int verb_needs(struct chat *chat, const char *name, const char *argument)
{
	return *argument ? 0 : tool_say(chat->tool, TOOL_USAGE, "/%s needs the name of a file.", name);
}

static int verb_add(struct chat *chat, const char *kind, const char *path)
{
	struct percept_error error = {0};
	size_t before = percept_input_count(chat->input);
	int was_open = chat->open;
	int r = verb_needs(chat, kind, path);
	if (r == 0)
		r = chat_open_message(chat);
	if (r == 0 && percept_input_file(chat->input, kind, path, &error) < 0) {
		r = tool_fail(chat->tool, &error);
		percept_input_truncate(chat->input, before);
		chat->open = was_open;
	}
	if (r == 0 && lines_on_terminal(chat->lines))
		printf("(%s goes with your next message)\n", path);
	return r;
}

static int verb_image(struct chat *chat, const char *path)
{
	return verb_add(chat, "image", path);
}

static int verb_audio(struct chat *chat, const char *path)
{
	return verb_add(chat, "audio", path);
}

static int verb_system(struct chat *chat, const char *text)
{
	if (*text)
		return tool_set_text(chat->tool, chat->input, "instructions", text);
	return percept_input_set(chat->input, "instructions", NULL, NULL);
}

static int verb_reset(struct chat *chat, const char *argument)
{
	(void)argument;
	percept_input_truncate(chat->input, 0);
	chat->open = 0;
	if (lines_on_terminal(chat->lines))
		puts("(a new conversation)");
	return 0;
}

static void save_message(FILE *out, const cJSON *message)
{
	const cJSON *part;
	fprintf(out, "%s:\n", json_text(message, "role"));
	cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(message, "content")) {
		const char *type = json_text(part, "type");
		if (strstr(type, "text"))
			fprintf(out, "%s\n", json_text(part, "text"));
		else
			fprintf(out, "[%s]\n", strncmp(type, "input_", 6) == 0 ? type + 6 : type);
	}
	fputc('\n', out);
}

static int verb_save(struct chat *chat, const char *path)
{
	int r = verb_needs(chat, "save", path);
	if (r)
		return r;
	char *text = percept_input_json(chat->input);
	cJSON *params = text ? cJSON_Parse(text) : NULL;
	free(text);
	if (!params)
		return tool_no_memory(chat->tool);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out) {
		const cJSON *message;
		cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(params, "input"))
			save_message(out, message);
	}
	cJSON_Delete(params);
	if (out && !ferror(out) && fclose(out) == 0)
		return lines_on_terminal(chat->lines) && printf("(saved as %s)\n", path) < 0;
	return tool_say(chat->tool, TOOL_FAILED, "%s cannot be written: %s. Name another file.", path, strerror(errno));
}

static int verb_stats(struct chat *chat, const char *argument)
{
	(void)argument;
	cJSON *result = chat->stats ? cJSON_Parse(chat->stats) : NULL;
	const cJSON *usage = cJSON_GetObjectItemCaseSensitive(result, "usage");
	const cJSON *timings = cJSON_GetObjectItemCaseSensitive(result, "timings");
	double tokens = json_number(usage, "output_tokens"), decode = json_number(timings, "decode_ms");
	if (!result)
		puts("(no answer yet)");
	else
		printf("(%.0f tokens read, of them %.0f kept from before; %.0f written, %.1f a second; first after %.0f ms)\n",
		       json_number(usage, "input_tokens"), json_number(usage, "cached_tokens"), tokens,
		       decode > 0 && tokens > 1 ? (tokens - 1) * 1000 / decode : 0, json_number(timings, "first_token_ms"));
	cJSON_Delete(result);
	return 0;
}

static int verb_exit(struct chat *chat, const char *argument)
{
	(void)argument;
	chat->done = 1;
	return 0;
}

static const struct chat_verb chat_verbs[] = {
	{"help", "", "this list", verb_help},
	{"image", "FILE", "shows a picture with your next message", verb_image},
	{"audio", "FILE", "plays a recording with your next message", verb_audio},
	{"system", "TEXT", "sets the instructions for the assistant; none: drops them", verb_system},
	{"stats", "", "what the last answer took", verb_stats},
	{"reset", "", "begins a new conversation", verb_reset},
	{"save", "FILE", "writes the conversation to a new file", verb_save},
	{"exit", "", "ends the chat", verb_exit},
	{0},
};

int chat_command(struct chat *chat, char *line)
{
	char *argument = line + strcspn(line, " \t");
	size_t n = (size_t)(argument - line) - 1;
	argument += strspn(argument, " \t");
	for (char *end = argument + strlen(argument); end > argument && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	for (const struct chat_verb *v = chat_verbs; v->name; v++)
		if (strlen(v->name) == n && strncmp(line + 1, v->name, n) == 0)
			return v->run(chat, argument);
	return tool_say(chat->tool, TOOL_USAGE, "%.*s is no command of the chat: /help lists them.", (int)n + 1, line);
}
