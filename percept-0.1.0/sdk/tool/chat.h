/* chat.h - a conversation in the terminal: what its files share. */
#ifndef TOOL_CHAT_H
#define TOOL_CHAT_H

#include "sdk/tool/interrupt.h"
#include "sdk/tool/sampling.h"
#include "sdk/tool/tool.h"

/* ---- chat-line.c: lines from a terminal with editing and history, or from a pipe */
struct chat_lines;
enum chat_line { CHAT_LINE, CHAT_INTERRUPTED, CHAT_END };
/* NULL when memory is out. */
struct chat_lines *lines_open(void);
void lines_close(struct chat_lines *lines);
int lines_on_terminal(const struct chat_lines *lines);
/* One line without its end, by malloc. */
enum chat_line lines_read(struct chat_lines *lines, const char *prompt, char **line);
/* Keeps a whole message in the history. */
void lines_remember(struct chat_lines *lines, const char *text);

/* ---- the conversation */
struct chat {
	struct tool *tool;
	struct chat_lines *lines;
	struct percept_input *input;
	struct percept_connection *connection; /* NULL until needed, and after it was lost */
	char *stats;                           /* the last result, JSON text */
	int open;   /* the last message is the user's own and not sent yet */
	int failed; /* something went wrong on the way: the exit code, when no one sits there */
	int done;
};

/* Begins a message of the user's if none is open. 0, or an exit code. */
int chat_open_message(struct chat *chat);

/* ---- chat-commands.c */
/* Runs "/help" and the like. 0, or an exit code when it did not work. */
int chat_command(struct chat *chat, char *line);

#endif
