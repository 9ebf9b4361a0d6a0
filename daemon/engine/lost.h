/* lost.h - faults of the computing threads, told to the loop: a mapped file that was cut short, a plugin that crashes. */
#ifndef ENGINE_LOST_H
#define ENGINE_LOST_H

#include <limits.h>

/* What a thread says before the process ends. */
struct lost {
	int signal;
	char file[PATH_MAX - 64]; /* SIGBUS: the file that the address belongs to; else the one whose code was running */
};

/* Faults of any thread are written to a pipe from now on, one struct a fault, before the process ends by them. Returns the
 * end to read, or -1: then nothing is said. Once a process. */
int lost_begin(void);

#endif
