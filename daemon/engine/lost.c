/* lost.c - the signal handler of faults. It knows no state but the number of a descriptor, and calls what signal-safety(7) allows. */
#include "config.h"
#include "daemon/engine/lost.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "daemon/base/exit.h"

/* The time that the loop has to tell the peer; it ends the process itself when a file was lost. */
enum { LOST_FD = 199, LOST_S = 1, LOST_CRASH_MS = 50, LOST_LINE = PATH_MAX + 128 };

static uintptr_t lost_hex(const char **at)
{
	uintptr_t x = 0;

	for (; (**at >= '0' && **at <= '9') || (**at >= 'a' && **at <= 'f'); ++*at)
		x = x * 16 + (uintptr_t)(**at <= '9' ? **at - '0' : **at - 'a' + 10);
	return x;
}

/* If the line of /proc/self/maps is of a file and covers the address, its name, else NULL. */
static const char *lost_line(const char *line, uintptr_t address)
{
	const char *at = line;
	const uintptr_t first = lost_hex(&at), end = *at == '-' ? (at++, lost_hex(&at)) : 0;

	return address >= first && address < end ? strchr(at, '/') : NULL;
}

/* The file that is mapped at the address; the empty text if there is none. */
static void lost_find(uintptr_t address, char *file, size_t bytes)
{
	char line[LOST_LINE];
	size_t n = 0;
	const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;

	file[0] = 0;
	while (fd >= 0 && !file[0] && (got = read(fd, line + n, sizeof(line) - 1 - n)) > 0) {
		char *end, *from = line;

		line[n += (size_t)got] = 0;
		for (; (end = strchr(from, '\n')) && !file[0]; from = end + 1) {
			*end = 0;
			const char *name = lost_line(from, address);

			if (name && strlen(name) < bytes)
				memcpy(file, name, strlen(name) + 1);
		}
		n -= (size_t)(from - line);
		memmove(line, from, n);
	}
	if (fd >= 0)
		close(fd);
}

static uintptr_t lost_program_counter(const void *context)
{
#if defined(__x86_64__)
	return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
#else
	return 0;
#endif
}

/* Several threads may fault at once. Returning makes the fault happen again, and then it ends the process. */
static void lost_on_fault(int number, siginfo_t *info, void *context)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	struct lost lost = {.signal = number};
	const int bus = number == SIGBUS && info->si_code == BUS_ADRERR;
	struct timespec wait = {.tv_sec = bus ? LOST_S : 0, .tv_nsec = bus ? 0 : LOST_CRASH_MS * 1000000L};

	lost_find(bus ? (uintptr_t)info->si_addr : lost_program_counter(context), lost.file, sizeof(lost.file));
	if (lost.file[0] && write(LOST_FD, &lost, sizeof(lost)) == sizeof(lost)) {
		while (nanosleep(&wait, &wait) && errno == EINTR)
			;
		if (bus)
			_exit(EXIT_FILE_LOST);
	}
	sigaction(number, &usual, NULL);
}

int lost_begin(void)
{
	static const int signals[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE};
	struct sigaction action = {.sa_sigaction = lost_on_fault, .sa_flags = SA_SIGINFO}, old;
	int ends[2];

	sigemptyset(&action.sa_mask);
	if (fcntl(LOST_FD, F_GETFD) >= 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -1;
	if (dup3(ends[1], LOST_FD, O_CLOEXEC) < 0) {
		close(ends[0]);
		close(ends[1]);
		return -1;
	}
	close(ends[1]);
	/* A sanitizer's report says more of a crash than we could. */
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && (old.sa_handler == SIG_DFL || signals[i] == SIGBUS))
			sigaction(signals[i], &action, NULL);
	return ends[0];
}
