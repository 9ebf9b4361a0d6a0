/* chat-line.c - lines from a terminal with editing and history, or from a pipe. */
#include "config.h"
#include "sdk/tool/chat.h"

#include <fcntl.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_HISTORY 1000

struct chat_lines {
	EditLine *edit;   /* NULL: no terminal */
	History *history;
	const char *prompt;
	char *path;       /* of the history, or NULL */
	int interrupted;
};

static char *lines_prompt(EditLine *edit)
{
	void *data = NULL;
	el_get(edit, EL_CLIENTDATA, &data);
	return (char *)((struct chat_lines *)data)->prompt;
}

/* Ctrl-C while a line is edited: the line is dropped. */
static unsigned char lines_on_interrupt(EditLine *edit, int c)
{
	void *data = NULL;
	(void)c;
	el_get(edit, EL_CLIENTDATA, &data);
	((struct chat_lines *)data)->interrupted = 1;
	return CC_EOF;
}

/* The terminal sends no signals while a line is edited; Ctrl-Z is to work all the same. */
static unsigned char lines_on_suspend(EditLine *edit, int c)
{
	(void)c;
	el_set(edit, EL_PREP_TERM, 0);
	raise(SIGTSTP);
	el_set(edit, EL_PREP_TERM, 1);
	return CC_REDISPLAY;
}

/* $XDG_STATE_HOME/percept/chat_history, its folders made; NULL without a home. */
static char *lines_history_path(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n = -1;
	if (state && *state == '/')
		n = asprintf(&path, "%s/percept/chat_history", state);
	else if (home && *home == '/')
		n = asprintf(&path, "%s/.local/state/percept/chat_history", home);
	if (n < 0)
		return NULL;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		close(fd);
	return path;
}

static void lines_open_editor(struct chat_lines *l)
{
	HistEvent event;
	l->edit = el_init("percept", stdin, stdout, stderr);
	if (!l->edit)
		return;
	el_set(l->edit, EL_CLIENTDATA, l);
	el_set(l->edit, EL_PROMPT, lines_prompt);
	el_set(l->edit, EL_SIGNAL, 1);
	el_set(l->edit, EL_EDITOR, "emacs");
	el_set(l->edit, EL_SETTY, "-d", "-isig", NULL);
	el_set(l->edit, EL_ADDFN, "chat-interrupt", "drops the line", lines_on_interrupt);
	el_set(l->edit, EL_BIND, "^C", "chat-interrupt", NULL);
	el_set(l->edit, EL_ADDFN, "chat-suspend", "stops the program", lines_on_suspend);
	el_set(l->edit, EL_BIND, "^Z", "chat-suspend", NULL);
	el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
	l->history = history_init();
	if (!l->history)
		return;
	history(l->history, &event, H_SETSIZE, LINES_HISTORY);
	history(l->history, &event, H_SETUNIQUE, 1);
	el_set(l->edit, EL_HIST, history, l->history);
	l->path = lines_history_path();
	if (l->path)
		history(l->history, &event, H_LOAD, l->path);
	el_source(l->edit, NULL);
}

struct chat_lines *lines_open(void)
{
	struct chat_lines *l = calloc(1, sizeof *l);
	if (l && isatty(0) && isatty(1))
		lines_open_editor(l);
	return l;
}

void lines_close(struct chat_lines *l)
{
	if (!l)
		return;
	if (l->history)
		history_end(l->history);
	if (l->edit)
		el_end(l->edit);
	free(l->path);
	free(l);
}

int lines_on_terminal(const struct chat_lines *l)
{
	return l->edit != NULL;
}

static char *lines_chomp(const char *text, size_t n)
{
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	return strndup(text, n);
}

static enum chat_line lines_read_pipe(char **line)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t n = getline(&text, &room, stdin);
	*line = n < 0 ? NULL : lines_chomp(text, (size_t)n);
	free(text);
	return *line ? CHAT_LINE : CHAT_END;
}

enum chat_line lines_read(struct chat_lines *l, const char *prompt, char **line)
{
	*line = NULL;
	if (!l->edit)
		return lines_read_pipe(line);
	int n = 0;
	l->prompt = prompt;
	l->interrupted = 0;
	el_set(l->edit, EL_PREP_TERM, 1); /* before the prompt: who sees it may type Ctrl-D at once */
	const char *text = el_gets(l->edit, &n);
	if (l->interrupted) {
		putchar('\n');
		el_reset(l->edit);
		return CHAT_INTERRUPTED;
	}
	if (!text || n <= 0)
		return CHAT_END;
	*line = lines_chomp(text, (size_t)n);
	return *line ? CHAT_LINE : CHAT_END;
}

void lines_remember(struct chat_lines *l, const char *text)
{
	HistEvent event;
	if (!l->history || !*text)
		return;
	history(l->history, &event, H_ENTER, text);
	if (l->path)
		history(l->history, &event, H_SAVE, l->path);
}
