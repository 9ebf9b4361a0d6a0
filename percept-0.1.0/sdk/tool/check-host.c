/* check-host.c - the functions that percept check lends to a plugin. */
#include "sdk/tool/check-host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 64 bytes, so that what follows is aligned as plugin.h promises. */
struct check_block {
	struct check_block *next;
	char rest[56];
};

double check_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void *check_alloc(struct percept_call *call, size_t bytes)
{
	struct check_host *host = call->impl;
	size_t all;

	if (__builtin_add_overflow(bytes, 2 * sizeof(struct check_block) - 1, &all))
		return NULL;
	all -= all % sizeof(struct check_block);
	struct check_block *block = aligned_alloc(64, all);

	if (!block)
		return NULL;
	memset(block, 0, all);
	block->next = host->blocks;
	host->blocks = block;
	return block + 1;
}

static int check_fail(struct percept_call *call, int error, const char *format, ...)
{
	struct check_host *host = call->impl;
	va_list list;

	if (host->text[0])
		return error;
	va_start(list, format);
	vsnprintf(host->text, sizeof(host->text), format, list);
	va_end(list);
	host->error = error;
	return error;
}

static int check_cancelled(struct percept_call *call)
{
	struct check_host *host = call->impl;
	const uint64_t poll = __atomic_add_fetch(&host->polls, 1, __ATOMIC_RELAXED);

	if (poll < host->cancel_at)
		return 0;
	if (poll == host->cancel_at)
		host->cancelled_ms = check_now_ms();
	return 1;
}

static void check_progress(struct percept_call *call, uint64_t done, uint64_t total)
{
}

static void check_note(struct percept_call *call, enum percept_log_level level, const char *format, ...)
{
}

static void check_parallel(struct percept_call *call, void (*task)(void *arg, uint32_t index), void *arg, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		task(arg, i);
}

static uint32_t check_threads(struct percept_call *call)
{
	return 1;
}

void check_host_init(struct check_host *host)
{
	*host = (struct check_host){
		.table = { .size = sizeof(host->table), .abi = PERCEPT_ABI, .alloc = check_alloc, .fail = check_fail,
			   .cancelled = check_cancelled, .progress = check_progress, .note = check_note,
			   .parallel = check_parallel, .threads = check_threads },
		.cancel_at = UINT64_MAX,
	};
	host->call = (struct percept_call){ .size = sizeof(host->call), .host = &host->table, .impl = host };
}

void check_host_fini(struct check_host *host)
{
	while (host->blocks) {
		struct check_block *next = host->blocks->next;

		free(host->blocks);
		host->blocks = next;
	}
}

struct percept_call *check_host_begin(struct check_host *host)
{
	check_host_fini(host);
	host->text[0] = '\0';
	host->error = 0;
	host->polls = 0;
	host->cancel_at = UINT64_MAX;
	host->cancelled_ms = 0;
	return &host->call;
}
