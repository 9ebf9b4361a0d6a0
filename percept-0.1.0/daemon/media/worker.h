/* worker.h - one media item, decoded by one process that does nothing else. */
#ifndef MEDIA_WORKER_H
#define MEDIA_WORKER_H

#include <stdint.h>
#include <sys/types.h>
#include "daemon/media/fault.h"
#include "daemon/media/sandbox.h"
#include "daemon/media/source.h"
#include "sdk/wire/media-wire.h"

enum { WORKER_FILE = 0, WORKER_REPORT = 1, WORKER_RESULT = 3 }; /* a worker's descriptors; 2 is stderr */

/* What percept-media allows at most; a request may ask for less. */
struct media_limits {
	uint64_t max_pixels;
	uint32_t max_side;
	uint32_t time_ms;
	uint64_t file_bytes;
};
extern const struct media_limits media_default_limits;

/* One item, as its worker sees it. All is borrowed. */
struct worker_job {
	const struct media_request *request; /* its limits are filled in */
	const struct sandbox_limits *sandbox;
	struct media_source *source;
};

/*
 * Does one item inside the sandbox: reads job->source, fills WORKER_RESULT and *answer (width, height, channels, frames,
 * bytes). Returns 0, or -1 with *fault. [worker]
 */
typedef int worker_function(const struct worker_job *job, struct media_answer *answer, struct media_fault *fault);
worker_function worker_decode;

/* Descriptors and what else a new worker is given; all are borrowed. */
struct worker_start {
	worker_function *work;
	const struct media_request *request;
	const struct media_limits *limits;
	void *filter;       /* of sandbox_filter_new */
	int file, report, result;
	pid_t parent;
};

/* The whole life of a worker, from just after fork. Does not return. [worker] */
void worker_run(const struct worker_start *start) __attribute__((noreturn));

/* Address space that a picture of so many pixels in a file of so many bytes may need while it is decoded. [any] */
uint64_t worker_memory_need(uint64_t pixels, uint64_t file_bytes);

#endif
