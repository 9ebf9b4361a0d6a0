/* check-leaks.c - memory and descriptors that a plugin leaves behind, cycle after cycle. */
#include "sdk/tool/check.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>

/* The allocator's own caches make the first cycles grow, and single ones at any time; a leak grows in each of many
 * windows of cycles, by at least a pointer's size a cycle and by more than those caches do. */
enum { LEAK_WINDOWS = 10, LEAK_CYCLES = 100, LEAK_LEAST = 3, LEAK_MS = 1500, LEAK_BYTES = 8, LEAK_NOISE = 512 };

/* One cycle; CHECK_OK to go on. */
typedef enum check_verdict check_cycle(struct check *c, void *instance);

static size_t leak_bytes(void)
{
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static unsigned leak_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned n = 0;

	while (folder && readdir(folder))
		n++;
	if (folder)
		closedir(folder);
	return n;
}

/* Cycles of one window: LEAK_CYCLES, or fewer where each takes long. *n is how many. */
static enum check_verdict leak_window(struct check *c, void *instance, check_cycle *cycle, unsigned *n)
{
	const double begin = check_now_ms();
	enum check_verdict v = CHECK_OK;

	for (*n = 0; v == CHECK_OK && *n < LEAK_CYCLES && (*n < LEAK_LEAST || check_now_ms() - begin < LEAK_MS); ++*n) {
		v = cycle(c, instance);
		check_host_begin(&c->host);
	}
	return v;
}

static enum check_verdict leak_search(struct check *c, void *instance, check_cycle *cycle, const char *what)
{
	unsigned n, cycles = 0, descriptors = 0;
	size_t before, first = 0;
	int grows = 1;
	enum check_verdict v = CHECK_OK;

	if (!leak_bytes())
		return check_skip(c, "the allocator of this program does not count");
	/* The window before the first is a warm-up. */
	for (int i = -1; i < LEAK_WINDOWS && grows; i++) {
		before = leak_bytes();
		if (!i) {
			first = before;
			descriptors = leak_descriptors();
		}
		v = leak_window(c, instance, cycle, &n);
		if (v != CHECK_OK)
			return v;
		if (i < 0)
			continue;
		cycles += n;
		grows = leak_bytes() >= before + (n * LEAK_BYTES > LEAK_NOISE ? n * LEAK_BYTES : LEAK_NOISE);
	}
	if (grows)
		return check_no(c, "%s leaves memory behind: about %zu bytes each time.", what, (leak_bytes() - first) / cycles);
	if (leak_descriptors() > descriptors)
		return check_no(c, "%s leaves descriptors open: %u more after %u times.", what,
				leak_descriptors() - descriptors, cycles);
	return CHECK_OK;
}

static enum check_verdict leak_open(struct check *c, void *unused)
{
	void *instance;
	const enum check_verdict v = check_open(c, c->model, &instance);

	if (v == CHECK_OK)
		check_ops(c)->close(instance);
	return v;
}

enum check_verdict check_open_leaks(struct check *c)
{
	return leak_search(c, NULL, leak_open, "An open with its close");
}

static enum check_verdict leak_work(struct check *c, void *instance)
{
	const int r = check_work_of(c)(c, instance);

	if (!r)
		return CHECK_OK;
	return r == -EPROTO ? CHECK_NOT_OK : check_no(c, "It failed with %d: %s", r, c->host.text);
}

enum check_verdict check_work_leaks(struct check *c)
{
	void *instance;
	enum check_verdict v = check_open(c, c->model, &instance);

	if (v != CHECK_OK)
		return v;
	v = check_work_of(c) ? leak_search(c, instance, leak_work, "A call") :
			       check_skip(c, "there is no check of this kind's work yet");
	check_ops(c)->close(instance);
	return v;
}
