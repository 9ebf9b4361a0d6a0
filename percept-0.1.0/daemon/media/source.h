/* source.h - the bytes of one media file, read by pread through a window, never mapped. */
#ifndef MEDIA_SOURCE_H
#define MEDIA_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include "daemon/media/fault.h"

enum { SOURCE_WINDOW = 1 << 16 };

struct media_source {
	int fd;                /* -1: the bytes are in memory */
	const uint8_t *memory; /* borrowed */
	uint64_t size;
	uint64_t window_offset;
	size_t window_bytes;
	uint8_t window[SOURCE_WINDOW];
};

/* Looks at `fd` (borrowed): a regular file or a sealed memfd of 1..max_bytes bytes, else 0 is not returned and *fault
 * says why. [worker] */
int media_source_init(struct media_source *source, int fd, uint64_t max_bytes, struct media_fault *fault);

/* The same over `size` bytes of memory (borrowed). [any] */
void media_source_init_memory(struct media_source *source, const uint8_t *memory, size_t size);

/* n bytes (1..SOURCE_WINDOW) at `offset`, valid until the next call; NULL when the file ends before or cannot be read. */
const uint8_t *media_source_at(struct media_source *source, uint64_t offset, size_t n);

/* The bytes from `offset` on that can be had without another read, at least one; NULL at the end of the file. */
const uint8_t *media_source_run(struct media_source *source, uint64_t offset, size_t *n);

/* Copies up to n bytes from `offset`. Returns how many, 0 at the end, or a negative errno. */
int media_source_copy(struct media_source *source, uint64_t offset, uint8_t *out, int n);

#endif
