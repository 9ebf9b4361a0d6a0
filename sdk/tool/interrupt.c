/* interrupt.c - Ctrl-C while the daemon works: it is told, and what it says is still printed. */
#include "sdk/tool/interrupt.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void interrupt_drain(struct interrupt *i)
{
	struct signalfd_siginfo info;
	while (i->fd >= 0 && read(i->fd, &info, sizeof info) == sizeof info)
		i->hit = 1;
}

int interrupt_begin(struct interrupt *i, struct percept_connection *connection)
{
	sigset_t set;
	memset(i, 0, sizeof *i);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	i->connection = connection;
	i->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (i->fd < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &set, &i->before);
	percept_cancel_on(connection, i->fd);
	return 0;
}

void interrupt_once(struct interrupt *i)
{
	interrupt_drain(i);
	sigprocmask(SIG_SETMASK, &i->before, NULL);
}

void interrupt_end(struct interrupt *i)
{
	if (i->fd < 0)
		return;
	percept_cancel_on(i->connection, -1);
	interrupt_drain(i);
	sigprocmask(SIG_SETMASK, &i->before, NULL);
	close(i->fd);
	i->fd = -1;
}
