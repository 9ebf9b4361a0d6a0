/* sandbox.h - what a worker may still do once it touches a media file: compute, read its file, write its result. */
#ifndef MEDIA_SANDBOX_H
#define MEDIA_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/*
 * The system-call filter, built once by the zygote. NULL with errno set when it cannot be built. [any]
 * Calls that are not on the list fail with EPERM: open, socket, execve, ptrace, clone, kill of others ...
 */
void *sandbox_filter_new(void);
void sandbox_filter_free(void *filter);

enum { SANDBOX_DESCRIPTORS = 4 }; /* 0 to 3 stay open */

struct sandbox_limits {
	uint64_t memory_bytes; /* address space beyond what the process has now, at first */
	uint64_t memory_max;   /* the same, as far as sandbox_grow may raise it */
	uint64_t file_bytes;   /* of the result */
	uint32_t cpu_s;
};

/*
 * Shuts the calling process in, for good: no core, no new privileges, not dumpable, resource
 * limits, then the filter. The first SANDBOX_DESCRIPTORS descriptors stay, all others are closed. Returns 0 or a negative errno; then
 * the process must not go on. [worker]
 */
int sandbox_enter(void *filter, const struct sandbox_limits *limits);

/* Raises the address space limit to what the process had when it entered and `bytes` more, at most memory_max. Called
 * inside the sandbox, once a header told how much a picture needs. 0 or a negative errno. [worker] */
int sandbox_grow(const struct sandbox_limits *limits, uint64_t bytes);

/* False when built with a sanitizer: its shadow memory does not fit in an address space limit. */
bool sandbox_limits_memory(void);

#endif
