/* progress.h - one line on the terminal about what the daemon does. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

struct progress {
	int on;    /* standard error is a terminal */
	int shown; /* the line is on the screen */
	unsigned turn;
};

void progress_init(struct progress *p);
/* `stage` as in response.in_progress; total 0: not known. */
void progress_show(struct progress *p, const char *stage, double done, double total);
/* Wipes the line. */
void progress_clear(struct progress *p);

#endif
