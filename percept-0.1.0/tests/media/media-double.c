/* media-double.c - percept-media with another worker: the first byte of its file says what it does inside the sandbox. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "daemon/media/zygote.h"
#include "sdk/wire/frame.h"

enum { DOUBLE_SOCKET = 3, DOUBLE_WORKERS = 3, DOUBLE_TIME_MS = 30000 };

/* ---- ways out, each of which must fail: they return 0 or more when they got through ---- */

static long escape_open(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static long escape_create(void)
{
	return open("/tmp/percept-escape", O_WRONLY | O_CREAT, 0600);
}

static long escape_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long escape_socketpair(void)
{
	int ends[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

static long escape_execve(void)
{
	char *const argv[] = { "true", NULL };

	return execve("/bin/true", argv, NULL);
}

static long escape_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long escape_fork(void)
{
	return syscall(SYS_fork);
}

static long escape_kill(void)
{
	return kill(getppid(), 0);
}

static long escape_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? -1 : 0;
}

static long escape_memfd(void)
{
	return memfd_create("escape", 0);
}

static long escape_descriptor(void)
{
	return dup(WORKER_FILE);
}

static long escape_unlink(void)
{
	return unlink("/tmp/percept-escape-none") < 0 && errno != ENOENT ? -1 : 0;
}

static long escape_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1);
}

/* More than the three descriptors and stderr: a read tells EBADF from others. */
static long escape_inherited(void)
{
	char byte;

	for (int fd = SANDBOX_DESCRIPTORS; fd < 64; fd++)
		if (read(fd, &byte, 0) == 0 || errno != EBADF)
			return fd;
	return -1;
}

static const struct {
	const char *name;
	long (*try)(void);
} double_escapes[] = {
	{ "open", escape_open },	     { "create", escape_create },	  { "socket", escape_socket },
	{ "socketpair", escape_socketpair }, { "execve", escape_execve },	  { "ptrace", escape_ptrace },
	{ "fork", escape_fork },	     { "kill", escape_kill },		  { "executable memory", escape_executable },
	{ "memfd", escape_memfd },	     { "another descriptor", escape_descriptor }, { "unlink", escape_unlink },
	{ "dumpable", escape_dumpable },     { "inherited", escape_inherited },
};

static int double_escape(struct media_answer *answer, struct media_fault *fault)
{
	for (size_t i = 0; i < sizeof(double_escapes) / sizeof(double_escapes[0]); i++)
		if (double_escapes[i].try() >= 0)
			return media_fail(fault, WIRE_MEDIA, "escaped: %s", double_escapes[i].name);
	return media_fail(fault, WIRE_MEDIA, "all refused");
}

/* ---- what else a worker may do ---- */

static int double_hang(struct media_answer *answer, struct media_fault *fault)
{
	char byte;

	while (pread(WORKER_FILE, &byte, 1, 0) == 1)
		;
	return media_fail(fault, WIRE_MEDIA, "woke up");
}

static int double_abort(struct media_answer *answer, struct media_fault *fault)
{
	abort();
}

static int double_crash(struct media_answer *answer, struct media_fault *fault)
{
	volatile uintptr_t nowhere = 8;

	*(volatile int *)nowhere = 1;
	return 0;
}

static int double_exit(struct media_answer *answer, struct media_fault *fault)
{
	_exit(0);
}

/* The first 64 MiB are there, 100 are not. */
static int double_memory(struct media_answer *answer, struct media_fault *fault)
{
	void *small = malloc(32 << 20), *large = malloc(100 << 20);
	const char *text = !sandbox_limits_memory() ? "not limited" : small && !large ? "limited" : "wrong";

	free(large);
	free(small);
	return media_fail(fault, WIRE_MEDIA, "%s", text);
}

/* One black pixel. */
static int double_good(struct media_answer *answer, struct media_fault *fault)
{
	answer->width = answer->height = answer->frames = 1;
	answer->channels = 3;
	answer->bytes = 3;
	return write(WORKER_RESULT, "\0\0\0", 3) == 3 ? 0 : -1;
}

/* The same by way of a heap that grows and shrinks. */
static int double_heap(struct media_answer *answer, struct media_fault *fault)
{
	char *heap = NULL;

	for (size_t n = 1 << 10; n <= 32 << 20; n *= 2) {
		char *more = realloc(heap, n);

		if (!more)
			return media_fail(fault, WIRE_MEDIA, "the heap does not grow");
		heap = more;
		memset(heap + n / 2, 1, n / 2);
	}
	free(heap);
	return double_good(answer, fault);
}

/* Says that there are more pixels than it wrote. */
static int double_lie(struct media_answer *answer, struct media_fault *fault)
{
	int error = double_good(answer, fault);

	answer->width = 2;
	answer->bytes = 6;
	return error;
}

static int double_rude(struct media_answer *answer, struct media_fault *fault)
{
	return media_fail(fault, 12345, "\033[2J\xff rude");
}

static int double_flood(struct media_answer *answer, struct media_fault *fault)
{
	static const char block[1 << 16];

	while (write(WORKER_RESULT, block, sizeof(block)) > 0)
		;
	return media_fail(fault, WIRE_MEDIA, "the result has no limit");
}

static const struct {
	char letter;
	int (*act)(struct media_answer *answer, struct media_fault *fault);
} double_acts[] = {
	{ 'e', double_escape }, { 'h', double_hang }, { 'a', double_abort }, { 'c', double_crash },
	{ 'x', double_exit },	{ 'm', double_memory }, { 'g', double_good },
	{ 'b', double_heap }, { 'l', double_lie },
	{ 'r', double_rude },	{ 'f', double_flood },
};

static int double_work(const struct worker_job *job, struct media_answer *answer, struct media_fault *fault)
{
	const uint8_t *letter = media_source_at(job->source, 0, 1);

	for (size_t i = 0; letter && i < sizeof(double_acts) / sizeof(double_acts[0]); i++)
		if (double_acts[i].letter == *letter)
			return double_acts[i].act(answer, fault);
	return media_fail(fault, WIRE_MEDIA, "no such act");
}

int main(void)
{
	struct zygote_config config = { .socket = DOUBLE_SOCKET,
					.workers = DOUBLE_WORKERS,
					.limits = media_default_limits,
					.work = double_work };

	config.limits.time_ms = DOUBLE_TIME_MS;
	signal(SIGPIPE, SIG_IGN);
	return zygote_run(&config) ? EXIT_FAILURE : EXIT_SUCCESS;
}
