/* interrupt.c - Ctrl-C while the daemon works: it is told, and what it says is still printed. */
#include "config.h"
#include "sdk/tool/interrupt.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int interrupt_signals[] = {SIGINT, SIGTERM};
#define INTERRUPT_SIGNALS (sizeof interrupt_signals / sizeof *interrupt_signals)

/* Libraries have threads of their own that do not block the signals: what reaches those is passed to the first thread,
 * whose number is the process's, and which reads it from the signalfd. */
static void interrupt_forward(int number)
{
	int saved = errno;
	syscall(SYS_tgkill, getpid(), getpid(), number);
	errno = saved;
}

static void interrupt_drain(struct interrupt *i)
{
	struct signalfd_siginfo info;
	while (i->fd >= 0 && read(i->fd, &info, sizeof info) == sizeof info)
		i->hit = 1;
}

/* The old actions come back before the old mask: the forwarder never runs in the first thread. */
static void interrupt_restore(struct interrupt *i)
{
	for (size_t k = 0; k < INTERRUPT_SIGNALS; k++)
		sigaction(interrupt_signals[k], &i->actions[k], NULL);
	sigprocmask(SIG_SETMASK, &i->mask, NULL);
}

int interrupt_begin(struct interrupt *i, struct percept_connection *connection)
{
	struct sigaction forward = {.sa_handler = interrupt_forward, .sa_flags = SA_RESTART};
	sigset_t set;
	memset(i, 0, sizeof *i);
	sigemptyset(&set);
	for (size_t k = 0; k < INTERRUPT_SIGNALS; k++)
		sigaddset(&set, interrupt_signals[k]);
	i->connection = connection;
	i->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (i->fd < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &set, &i->mask);
	for (size_t k = 0; k < INTERRUPT_SIGNALS; k++)
		sigaction(interrupt_signals[k], &forward, &i->actions[k]);
	percept_cancel_on(connection, i->fd);
	return 0;
}

void interrupt_once(struct interrupt *i)
{
	interrupt_drain(i);
	interrupt_restore(i);
}

void interrupt_end(struct interrupt *i)
{
	if (i->fd < 0)
		return;
	percept_cancel_on(i->connection, -1);
	interrupt_drain(i);
	interrupt_restore(i);
	close(i->fd);
	i->fd = -1;
}
