/* references.c - the media references of a request, made descriptors (PROTOCOL 6). */
#include "config.h"
#include "daemon/serve/references.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/file.h"
#include "sdk/wire/schema.h"

struct references {
	struct job *job;
	const struct connection *connection;
	struct wire_frame *frame;
	struct wire_error *error;
};

static int references_count(void *arg, const struct wire_media *media)
{
	++*(unsigned *)arg;
	return 0;
}

static int references_bytes(const struct references *r, const struct wire_media *media, const void *bytes, size_t n)
{
	int fd = file_memfd("percept-media", bytes, n);

	if (fd < 0)
		wire_error_set(r->error, WIRE_INTERNAL, "There is no memory for %s (%s).", media->path, strerror(-fd));
	return fd;
}

static int references_bin(const struct references *r, const struct wire_media *media)
{
	return references_bytes(r, media, r->frame->tail + media->offset, media->length);
}

static int references_data(const struct references *r, const struct wire_media *media)
{
	uint8_t *bytes = malloc(strlen(media->text) / 4 * 3 + 3);
	long n = bytes ? wire_base64_decode(media->text, bytes) : -ENOMEM;
	int fd = -1;

	if (n > 0)
		fd = references_bytes(r, media, bytes, (size_t)n);
	else
		wire_error_path(r->error, media->path, "has \"data\" that is no base64 with bytes in it");
	free(bytes);
	return fd;
}

static int references_fd(const struct references *r, const struct wire_media *media)
{
	uint64_t bytes;
	int fd = r->frame->fds[media->fd];
	int kind = file_media_kind(fd, &bytes);

	if (kind > 0) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			wire_error_set(r->error, WIRE_INTERNAL, "There are no descriptors left for %s.", media->path);
		return fd;
	}
	if (kind == -EBADF)
		wire_error_path(r->error, media->path, "has a descriptor that is not open for reading; open it O_RDONLY");
	else
		wire_error_path(r->error, media->path, "has a descriptor that is neither a regular file nor a sealed memfd");
	return -1;
}

static int references_path(const struct references *r, const struct wire_media *media)
{
	int fd;

	if (r->connection->uid != geteuid()) {
		wire_error_path(r->error, media->path, "has a \"path\", which only user %u may use; send a descriptor (\"fd\") or "
				"bytes (\"bin\")", (unsigned)geteuid());
		return -1;
	}
	fd = file_open_media(media->text);
	if (fd >= 0)
		return fd;
	wire_error_path(r->error, media->path, "has a \"path\" that cannot be read as a regular file: %s", strerror(-fd));
	return -1;
}

static int (*const references_openers[])(const struct references *r, const struct wire_media *media) = {
	[WIRE_REF_BIN] = references_bin,
	[WIRE_REF_FD] = references_fd,
	[WIRE_REF_PATH] = references_path,
	[WIRE_REF_DATA] = references_data,
};

static int references_visit(void *arg, const struct wire_media *media)
{
	struct references *r = arg;
	struct media_call *call = &r->job->media[media->index];

	if (strcmp(media->kind, "image")) {
		wire_error_set(r->error, WIRE_MEDIA, "%s is %s, which no assistant here takes; send images.", media->path, media->kind);
		wire_error_number(r->error, "item", media->index);
		return -1;
	}
	if (media->reference == WIRE_REF_NONE)
		return wire_error_path(r->error, media->path, "needs one of \"fd\", \"bin\", \"path\", \"data\"");
	call->source = references_openers[media->reference](r, media);
	if (call->source < 0)
		return -1;
	/* Behind this, what `media` borrows from the part is gone. */
	if (wire_media_set_fd(media->part, media->index))
		return wire_error_set(r->error, WIRE_INTERNAL, "There is not enough memory for the request.");
	return 0;
}

int references_resolve(struct job *job, const struct connection *connection, struct wire_frame *frame,
		       struct wire_error *error)
{
	struct references references = {job, connection, frame, error};
	unsigned n = 0;

	if (wire_media_check(job->params, frame, error))
		return error->code;
	wire_media_each(job->params, references_count, &n);
	if (n > JOB_MAX_MEDIA) {
		wire_error_set(error, WIRE_LIMIT, "The request has %u media items; %d is the most.", n, JOB_MAX_MEDIA);
		wire_error_string(error, "limit", "media_items");
		wire_error_number(error, "value", JOB_MAX_MEDIA);
		return error->code;
	}
	if (!n)
		return 0;
	job->media = calloc(n, sizeof(*job->media));
	if (!job->media)
		return wire_error_set(error, WIRE_INTERNAL, "There is not enough memory for the request.");
	for (unsigned i = 0; i < n; i++)
		job->media[i].source = job->media[i].pixels = -1;
	job->n_media = n;
	return wire_media_each(job->params, references_visit, &references) ? error->code : 0;
}
