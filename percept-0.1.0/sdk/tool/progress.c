/* progress.c - one line on the terminal about what the daemon does. */
#include "sdk/tool/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *stage, *text;
} progress_texts[] = {
	{"queue", "waiting for its turn"}, {"media", "reading the media"}, {"encode", "looking"},
	{"connect", "connecting"},         {"prefill", "reading"},          {"decode", "answering"},
};

void progress_init(struct progress *p)
{
	const char *terminal = getenv("TERM");
	*p = (struct progress){.on = isatty(2) && !(terminal && strcmp(terminal, "dumb") == 0)};
}

void progress_show(struct progress *p, const char *stage, double done, double total)
{
	static const char *const wheel[] = {"|", "/", "-", "\\"};
	const char *text = stage;
	if (!p->on)
		return;
	for (size_t i = 0; i < sizeof progress_texts / sizeof *progress_texts; i++)
		if (strcmp(stage, progress_texts[i].stage) == 0)
			text = progress_texts[i].text;
	fprintf(stderr, "\r\033[K%s %s", wheel[p->turn++ % 4], text);
	if (total > 0)
		fprintf(stderr, " %.0f %%", 100 * done / total);
	fflush(stderr);
	p->shown = 1;
}

void progress_clear(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = 0;
}
