/* child.h - a helper program on one end of a socketpair: started, watched until it is gone. */
#ifndef ASSIST_CHILD_H
#define ASSIST_CHILD_H

#include <sys/types.h>
#include <uv.h>

/* A running program. Frees itself once it is gone and nobody holds it. */
struct child;

/* The program is gone: its exit status, and the signal that ended it or 0. Called once, then the child is freed. */
typedef void child_exited(void *arg, int status, int signal);

/* How to start one. */
struct child_start {
	char *const *argv;
	int type;
	const char *variable;
	child_exited *exited;
	void *arg;
};

/* Starts argv[0] with one end of a socketpair of `type` (SOCK_STREAM, SOCK_SEQPACKET) as its descriptor 3, stderr shared,
 * everything else closed; `variable` ("NAME=value", may be NULL) joins its environment. *socket is the other end, nonblocking, the caller's. 0 or a negative errno. [loop] */
int child_start(uv_loop_t *loop, const struct child_start *start, struct child **out, int *socket);
pid_t child_pid(const struct child *child);
/* [loop] */
void child_kill(struct child *child, int signal);
/* Nobody wants the news of its end any more. [loop] */
void child_forget(struct child *child);

#endif
