/* interrupt.h - Ctrl-C while the daemon works: it is told, and what it says is still printed. */
#ifndef TOOL_INTERRUPT_H
#define TOOL_INTERRUPT_H

#include <signal.h>

#include "sdk/tool/tool.h"

struct interrupt {
	int fd; /* a signalfd, or -1 */
	int hit;
	sigset_t mask;                /* as it was before */
	struct sigaction actions[2];  /* likewise */
	struct percept_connection *connection;
};

/* From here to interrupt_end() SIGINT and SIGTERM cancel the calls on `connection`. 0 or -errno. */
int interrupt_begin(struct interrupt *i, struct percept_connection *connection);
/* For percept_events.cancelling: a second signal ends the program. */
void interrupt_once(struct interrupt *i);
void interrupt_end(struct interrupt *i);

#endif
