/* sandbox.c - what a worker may still do once it touches a media file. */
#include "config.h"
#include "daemon/media/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* An argument that a call must have: (arg & mask) == value. mask 0: not looked at. */
struct sandbox_argument {
	unsigned index;
	uint64_t mask, value;
};

#define SANDBOX_WHOLE UINT64_MAX

/* What decoding needs, its error paths included: growing the heap, abort(), an assertion's text, a sanitizer's report. */
static const struct {
	int call;
	struct sandbox_argument arguments[2];
} sandbox_calls[] = {
	/* the file and the result */
	{ SCMP_SYS(read), { { 0 } } },
	{ SCMP_SYS(pread64), { { 0 } } },
	{ SCMP_SYS(lseek), { { 0 } } },
	{ SCMP_SYS(write), { { 0 } } },
	{ SCMP_SYS(writev), { { 0 } } },
	{ SCMP_SYS(ftruncate), { { 0 } } },
	{ SCMP_SYS(close), { { 0 } } },
	/* memory, never executable */
	{ SCMP_SYS(brk), { { 0 } } },
	{ SCMP_SYS(mmap), { { 2, PROT_EXEC, 0 } } },
	{ SCMP_SYS(mprotect), { { 2, PROT_EXEC, 0 } } },
	{ SCMP_SYS(mremap), { { 0 } } },
	{ SCMP_SYS(munmap), { { 0 } } },
	{ SCMP_SYS(madvise), { { 0 } } },
	{ SCMP_SYS(prlimit64), { { 0, SANDBOX_WHOLE, 0 }, { 1, SANDBOX_WHOLE, RLIMIT_AS } } },
	/* time, locks, the end */
	{ SCMP_SYS(clock_gettime), { { 0 } } },
	{ SCMP_SYS(gettimeofday), { { 0 } } },
	{ SCMP_SYS(futex), { { 0 } } },
	{ SCMP_SYS(sched_yield), { { 0 } } },
	{ SCMP_SYS(getrandom), { { 0 } } },
	{ SCMP_SYS(restart_syscall), { { 0 } } },
	{ SCMP_SYS(exit), { { 0 } } },
	{ SCMP_SYS(exit_group), { { 0 } } },
	/* abort() */
	{ SCMP_SYS(getpid), { { 0 } } },
	{ SCMP_SYS(gettid), { { 0 } } },
	{ SCMP_SYS(rt_sigaction), { { 0 } } },
	{ SCMP_SYS(rt_sigprocmask), { { 0 } } },
	{ SCMP_SYS(rt_sigreturn), { { 0 } } },
	{ SCMP_SYS(sigaltstack), { { 0 } } },
};

static int sandbox_allow(scmp_filter_ctx filter, int call, const struct sandbox_argument *arguments)
{
	struct scmp_arg_cmp compare[2];
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++)
		if (arguments[i].mask)
			compare[n++] = SCMP_CMP(arguments[i].index, SCMP_CMP_MASKED_EQ, arguments[i].mask,
						arguments[i].value);
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, n, compare);
}

void *sandbox_filter_new(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int error = filter ? 0 : -ENOMEM;

	/* The filter is a tree, not a list: fewer comparisons a call. */
	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; !error && i < sizeof(sandbox_calls) / sizeof(sandbox_calls[0]); i++)
		error = sandbox_allow(filter, sandbox_calls[i].call, sandbox_calls[i].arguments);
	if (!error)
		return filter;
	sandbox_filter_free(filter);
	errno = -error;
	return NULL;
}

void sandbox_filter_free(void *filter)
{
	if (filter)
		seccomp_release(filter);
}

bool sandbox_limits_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
	return false;
#else
	return true;
#endif
#else
	return true;
#endif
}

/* Bytes of address space in use; 0 when the system does not tell. */
static uint64_t sandbox_measure(void)
{
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 ? strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int sandbox_limit(int what, uint64_t now, uint64_t max)
{
	struct rlimit old, limit = { now, max };

	if (getrlimit(what, &old) < 0)
		return -errno;
	if (old.rlim_max < limit.rlim_max)
		limit.rlim_max = old.rlim_max;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	return setrlimit(what, &limit) < 0 ? -errno : 0;
}

static int sandbox_set_limits(const struct sandbox_limits *limits)
{
	uint64_t base = sandbox_measure();
	int error = 0;

	if (!base)
		return -ENOENT;
	if (sandbox_limits_memory())
		error = sandbox_limit(RLIMIT_AS, base + limits->memory_bytes, base + limits->memory_max);
	if (!error)
		error = sandbox_limit(RLIMIT_CORE, 0, 0);
	if (!error)
		error = sandbox_limit(RLIMIT_FSIZE, limits->file_bytes, limits->file_bytes);
	if (!error)
		error = sandbox_limit(RLIMIT_CPU, limits->cpu_s, limits->cpu_s + 1);
	if (!error)
		error = sandbox_limit(RLIMIT_NOFILE, SANDBOX_DESCRIPTORS, SANDBOX_DESCRIPTORS);
	return error;
}

int sandbox_enter(void *filter, const struct sandbox_limits *limits)
{
	int error = sandbox_set_limits(limits);

	if (error)
		return error;
	if (close_range(SANDBOX_DESCRIPTORS, ~0u, 0) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* abort() signals its own thread, whose process id the zygote could not know. */
	error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return error ? error : seccomp_load(filter);
}

int sandbox_grow(const struct sandbox_limits *limits, uint64_t bytes)
{
	struct rlimit limit;

	if (!sandbox_limits_memory())
		return 0;
	if (bytes > limits->memory_max)
		return -ENOMEM;
	if (getrlimit(RLIMIT_AS, &limit) < 0)
		return -errno;
	/* The hard limit is what was in use when the sandbox closed, and memory_max; or a lower one of the parent's. */
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max > limits->memory_max - bytes)
		limit.rlim_cur = limit.rlim_max - (limits->memory_max - bytes);
	return setrlimit(RLIMIT_AS, &limit) < 0 ? -errno : 0;
}
