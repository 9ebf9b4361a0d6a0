/* source.c - the bytes of one media file, read by pread through a window. */
#include "config.h"
#include "daemon/media/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sdk/wire/frame.h"

/* The names of what is not a regular file. */
static const struct {
	mode_t type;
	const char *name;
} source_types[] = {
	{ S_IFDIR, "a folder" },
	{ S_IFIFO, "a pipe" },
	{ S_IFSOCK, "a socket" },
	{ S_IFCHR, "a character device" },
	{ S_IFBLK, "a block device" },
};

static const char *source_name_type(mode_t mode)
{
	for (size_t i = 0; i < sizeof(source_types) / sizeof(source_types[0]); i++)
		if ((mode & S_IFMT) == source_types[i].type)
			return source_types[i].name;
	return "a special file";
}

/* True for a memfd that its owner could have sealed and did not. Files of other kinds have no seals (EINVAL), files on
 * tmpfs have F_SEAL_SEAL. */
static bool source_is_unsealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && !(seals & (F_SEAL_SEAL | F_SEAL_WRITE));
}

int media_source_init(struct media_source *source, int fd, uint64_t max_bytes, struct media_fault *fault)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat status;

	media_source_init_memory(source, NULL, 0);
	source->fd = fd;
	if (flags < 0 || fstat(fd, &status) < 0)
		return media_fail(fault, WIRE_MEDIA, "The descriptor cannot be examined: %s.", strerror(errno));
	if (!S_ISREG(status.st_mode))
		return media_fail(fault, WIRE_MEDIA,
				  "The descriptor is %s; send a regular file or a sealed memfd.",
				  source_name_type(status.st_mode));
	if ((flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
		return media_fail(fault, WIRE_MEDIA, "The descriptor is not open for reading; open it with O_RDONLY.");
	if (source_is_unsealed(fd))
		return media_fail(fault, WIRE_MEDIA,
				  "The memfd is not sealed; add F_SEAL_WRITE and F_SEAL_SHRINK before sending it.");
	if (status.st_size <= 0)
		return media_fail(fault, WIRE_MEDIA, "The file is empty.");
	if ((uint64_t)status.st_size > max_bytes)
		return media_fail(fault, WIRE_MEDIA,
				  "The file has %jd bytes, more than the limit of %" PRIu64 "; send a smaller one.",
				  (intmax_t)status.st_size, max_bytes);
	source->size = (uint64_t)status.st_size;
	return 0;
}

void media_source_init_memory(struct media_source *source, const uint8_t *memory, size_t size)
{
	source->fd = -1;
	source->memory = memory;
	source->size = size;
	source->window_offset = 0;
	source->window_bytes = 0;
}

/* Fills the window from `offset`. The file may shrink while it is read: then the window is short. */
static void source_load(struct media_source *source, uint64_t offset)
{
	source->window_offset = offset;
	source->window_bytes = 0;
	while (source->window_bytes < SOURCE_WINDOW) {
		ssize_t n = pread(source->fd, source->window + source->window_bytes,
				  SOURCE_WINDOW - source->window_bytes, (off_t)(offset + source->window_bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		source->window_bytes += (size_t)n;
	}
}

static bool source_window_has(const struct media_source *source, uint64_t offset, size_t n)
{
	return offset >= source->window_offset &&
	       offset - source->window_offset <= source->window_bytes &&
	       source->window_bytes - (offset - source->window_offset) >= n;
}

const uint8_t *media_source_at(struct media_source *source, uint64_t offset, size_t n)
{
	if (offset > source->size || n > source->size - offset || n > SOURCE_WINDOW)
		return NULL;
	if (source->fd < 0)
		return source->memory + offset;
	if (!source_window_has(source, offset, n))
		source_load(source, offset);
	if (!source_window_has(source, offset, n))
		return NULL;
	return source->window + (offset - source->window_offset);
}

const uint8_t *media_source_run(struct media_source *source, uint64_t offset, size_t *n)
{
	const uint8_t *bytes = media_source_at(source, offset, 1);

	if (!bytes)
		return NULL;
	*n = source->fd < 0 ? (size_t)(source->size - offset) :
			      source->window_bytes - (size_t)(offset - source->window_offset);
	return bytes;
}

int media_source_copy(struct media_source *source, uint64_t offset, uint8_t *out, int n)
{
	ssize_t got;

	if (offset >= source->size || n <= 0)
		return 0;
	if ((uint64_t)n > source->size - offset)
		n = (int)(source->size - offset);
	if (source->fd < 0) {
		memcpy(out, source->memory + offset, (size_t)n);
		return n;
	}
	do
		got = pread(source->fd, out, (size_t)n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : (int)got;
}
