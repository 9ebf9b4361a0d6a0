/* command-chat.c - a conversation in the terminal, or over a pipe. */
#include "sdk/tool/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/tool/progress.h"

struct chat_values {
	struct sampling sampling;
	const char *system;
};

static const struct tool_option chat_options[] = {
	{'s', "system", TOOL_TEXT, offsetof(struct chat_values, system), 0, 0, "TEXT", "instructions for the assistant", NULL},
	SAMPLING_OPTIONS(struct chat_values, sampling),
	{0},
};

struct chat_stream {
	struct progress progress;
	struct interrupt interrupt;
	int quiet;
	int printed;
};

static void chat_on_delta(void *arg, const char *text, size_t n)
{
	struct chat_stream *s = arg;
	progress_clear(&s->progress);
	s->progress.on = 0;
	if (s->quiet)
		return;
	fwrite(text, 1, n, stdout);
	fflush(stdout);
	s->printed = 1;
}

static void chat_on_progress(void *arg, const char *stage, double done, double total)
{
	struct chat_stream *s = arg;
	progress_show(&s->progress, stage, done, total);
}

int chat_open_message(struct chat *chat)
{
	if (!chat->open && percept_input_message(chat->input, "user") < 0)
		return tool_no_memory(chat->tool);
	chat->open = 1;
	return 0;
}

/* The answer becomes part of the conversation; one that was stopped before its first word leaves none. */
static int chat_keep(struct chat *chat, size_t before, struct percept_answer *answer)
{
	struct percept_error error = {0};
	cJSON *result = cJSON_Parse(answer->result);
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(result, "output_text"));
	int r = 0;
	if (!text || !*text)
		percept_input_truncate(chat->input, before);
	else if (percept_input_message(chat->input, "assistant") < 0 || percept_input_text(chat->input, text, &error) < 0)
		r = tool_no_memory(chat->tool);
	percept_error_clear(&error);
	cJSON_Delete(result);
	free(chat->stats);
	chat->stats = answer->result;
	answer->result = NULL;
	return r;
}

static int chat_send(struct chat *chat, size_t before)
{
	struct percept_error error = {0};
	struct percept_answer answer;
	struct chat_stream s = {.quiet = chat->tool->json};
	struct percept_events events = {.size = sizeof events, .arg = &s, .delta = chat_on_delta, .progress = chat_on_progress};
	int r = chat->connection ? 0 : tool_connect(chat->tool, &chat->connection);
	if (r) {
		percept_input_truncate(chat->input, before);
		return r;
	}
	progress_init(&s.progress);
	interrupt_begin(&s.interrupt, chat->connection);
	r = percept_call_input(chat->connection, "response.create", chat->input, &events, &answer, &error);
	interrupt_end(&s.interrupt);
	progress_clear(&s.progress);
	if (!s.quiet && (r == 0 || s.printed))
		putchar('\n');
	if (r < 0) {
		if (r > -32000) { /* the connection's own trouble: a new one next time */
			percept_close(chat->connection);
			chat->connection = NULL;
		}
		percept_input_truncate(chat->input, before);
		return tool_fail(chat->tool, &error);
	}
	if (s.quiet)
		puts(answer.result);
	r = chat_keep(chat, before, &answer);
	percept_answer_clear(&answer);
	return r;
}

static int chat_say(struct chat *chat, const char *text)
{
	struct percept_error error = {0};
	size_t before = percept_input_count(chat->input) - (size_t)chat->open;
	int r = chat_open_message(chat);
	if (r == 0 && percept_input_text(chat->input, text, &error) < 0) {
		percept_input_truncate(chat->input, before);
		r = tool_fail(chat->tool, &error);
	}
	chat->open = 0;
	return r ? r : chat_send(chat, before);
}

/* Appends `line` and `between` to *text. */
static int chat_join(char **text, const char *line, const char *between)
{
	size_t n = *text ? strlen(*text) : 0, between_n = strlen(between), line_n = strlen(line);
	char *grown = realloc(*text, n + line_n + between_n + 1);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + n, line, line_n);
	memcpy(grown + n + line_n, between, between_n + 1);
	*text = grown;
	return 0;
}

/* Takes one line into the message: 1 if more is to come. */
static int chat_take_line(char **text, char *line, int *quoted)
{
	size_t n = strlen(line);
	char *mark = *quoted ? strstr(line, "\"\"\"") : strncmp(line, "\"\"\"", 3) == 0 && !*text ? line : NULL;
	if (mark && !*quoted) {
		char *close = strstr(line + 3, "\"\"\"");
		*quoted = close == NULL;
		if (close)
			*close = '\0';
		return chat_join(text, line + 3, *quoted && line[3] ? "\n" : "") < 0 ? -ENOMEM : *quoted;
	}
	if (mark) {
		*mark = '\0';
		*quoted = 0;
		return chat_join(text, line, "");
	}
	if (*quoted)
		return chat_join(text, line, "\n") < 0 ? -ENOMEM : 1;
	if (n > 0 && line[n - 1] == '\\') {
		line[n - 1] = '\0';
		return chat_join(text, line, "\n") < 0 ? -ENOMEM : 1;
	}
	return chat_join(text, line, "");
}

/* A whole message, of one or several lines. */
static enum chat_line chat_read(struct chat *chat, char **text)
{
	int quoted = 0, more = 1;
	*text = NULL;
	while (more > 0) {
		char *line;
		enum chat_line got = lines_read(chat->lines, *text || quoted ? ". " : "> ", &line);
		if (got == CHAT_INTERRUPTED || (got == CHAT_END && !*text)) {
			free(*text);
			*text = NULL;
			return got;
		}
		if (got == CHAT_END)
			break;
		more = chat_take_line(text, line, &quoted);
		free(line);
	}
	return *text ? CHAT_LINE : CHAT_END;
}

static int chat_is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

static void chat_loop(struct chat *chat)
{
	if (lines_on_terminal(chat->lines))
		puts("/help lists what can be done here, Ctrl-D ends.");
	while (!chat->done) {
		char *text;
		enum chat_line got = chat_read(chat, &text);
		if (got == CHAT_END)
			break;
		if (got == CHAT_INTERRUPTED) {
			puts("(Ctrl-D or /exit ends the chat)");
			continue;
		}
		if (!chat_is_blank(text)) {
			lines_remember(chat->lines, text);
			chat->failed |= *text == '/' ? chat_command(chat, text) : chat_say(chat, text);
		}
		fflush(stdout);
		free(text);
	}
	if (lines_on_terminal(chat->lines) && !chat->done)
		putchar('\n');
}

static int chat_set(struct chat *chat, const struct chat_values *values)
{
	int r = tool_set_params(chat->tool, chat_options, values, chat->input);
	if (r == 0 && values->system)
		r = tool_set_text(chat->tool, chat->input, "instructions", values->system);
	if (r == 0 && chat->tool->assistant)
		r = tool_set_text(chat->tool, chat->input, "assistant", chat->tool->assistant);
	return r ? r : tool_connect(chat->tool, &chat->connection);
}

static int chat_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	struct chat chat = {.tool = tool, .input = percept_input_new(), .lines = lines_open()};
	(void)items;
	int r = chat.input && chat.lines ? chat_set(&chat, values) : tool_no_memory(tool);
	if (r == 0) {
		chat_loop(&chat);
		r = chat.failed && !lines_on_terminal(chat.lines) ? TOOL_FAILED : TOOL_DONE;
	}
	lines_close(chat.lines);
	percept_input_free(chat.input);
	percept_close(chat.connection);
	free(chat.stats);
	return r;
}

const struct tool_command command_chat = {
	.name = "chat",
	.arguments = "",
	.summary = "a conversation in the terminal",
	.details = "Every line is a message; /help lists the commands. Over a pipe it reads messages line by line and prints answers.",
	.options = chat_options,
	.values = sizeof(struct chat_values),
	.run = chat_run,
};
