/* cargo.c - a request's files: which ride as descriptors, which go into the tail. */
#include "sdk/client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENT_TAIL_LIMIT (64u << 20) /* of what a client sends: percept-protocol(7), section 2 */

/* Where a file went: a descriptor's index, or a place in the tail. */
struct cargo_place {
	int index; /* -1: in the tail */
	size_t offset, bytes;
};

int client_read_all(int fd, int64_t offset, size_t limit, uint8_t **bytes, size_t *n)
{
	size_t room = *n;
	for (;;) {
		if (*n == room) {
			if (room > limit)
				return -EFBIG;
			room = room < 65536 ? 65536 : room * 2;
			if (room > limit)
				room = limit + 1; /* one more, to see that there is more */
			uint8_t *grown = realloc(*bytes, room);
			if (!grown)
				return -ENOMEM;
			*bytes = grown;
		}
		ssize_t got = offset < 0 ? read(fd, *bytes + *n, room - *n) : pread(fd, *bytes + *n, room - *n, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return *n > limit ? -EFBIG : 0;
		*n += (size_t)got;
		if (offset >= 0)
			offset += got;
	}
}

static int cargo_read(struct client_cargo *cargo, int fd, int regular, size_t k, struct cargo_place *place,
		      struct percept_error *error)
{
	place->index = -1;
	place->offset = cargo->tail_bytes;
	int r = client_read_all(fd, regular ? 0 : -1, CLIENT_TAIL_LIMIT, &cargo->tail, &cargo->tail_bytes);
	place->bytes = cargo->tail_bytes - place->offset;
	if (r == -EFBIG)
		return client_fail(error, WIRE_LIMIT,
				   "File %zu of the request does not fit: what cannot be passed as a descriptor may have "
				   "%u MiB in all. Send fewer or smaller files.",
				   k + 1, CLIENT_TAIL_LIMIT >> 20);
	if (r < 0)
		return client_fail(error, r, "File %zu of the request cannot be read: %s.", k + 1, strerror(-r));
	if (place->bytes == 0)
		return client_fail(error, WIRE_MEDIA, "File %zu of the request is empty: give one with content.", k + 1);
	return 0;
}

static int cargo_add(struct client_cargo *cargo, int fd, size_t k, struct cargo_place *place, struct percept_error *error)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return client_fail(error, -errno, "File %zu of the request is not open: %s.", k + 1, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return client_fail(error, -EISDIR, "File %zu of the request is a directory: name a file.", k + 1);
	int regular = S_ISREG(st.st_mode);
	if (!regular || cargo->n_fds == sizeof cargo->fds / sizeof *cargo->fds)
		return cargo_read(cargo, fd, regular, k, place, error);
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return client_fail(error, -errno, "File %zu of the request cannot be passed on: %s.", k + 1, strerror(errno));
	place->index = (int)cargo->n_fds;
	cargo->fds[cargo->n_fds++] = copy;
	return 0;
}

/* Replaces `fd`, a member of `object`, by what place says. */
static int cargo_rewrite(cJSON *object, cJSON *fd, const struct cargo_place *place)
{
	if (place->index >= 0) {
		cJSON_SetNumberValue(fd, place->index);
		return 0;
	}
	cJSON_Delete(cJSON_DetachItemViaPointer(object, fd));
	cJSON *range = cJSON_AddArrayToObject(object, "bin");
	if (!range || !cJSON_AddItemToArray(range, cJSON_CreateNumber((double)place->offset)) ||
	    !cJSON_AddItemToArray(range, cJSON_CreateNumber((double)place->bytes)))
		return -ENOMEM;
	return 0;
}

/* Every reference below `node`. */
static int cargo_rewrite_all(cJSON *node, const struct cargo_place *places, size_t n, struct percept_error *error)
{
	cJSON *fd = cJSON_IsObject(node) ? cJSON_GetObjectItemCaseSensitive(node, "fd") : NULL;
	if (cJSON_IsNumber(fd)) {
		double k = fd->valuedouble;
		if (!(k >= 0 && k < (double)n) || k != (double)(size_t)k)
			return client_fail(error, WIRE_PARAMS, "The params name file %g, but the request has %zu.", k, n);
		if (cargo_rewrite(node, fd, &places[(size_t)k]) < 0)
			return client_fail(error, -ENOMEM, "Memory is out.");
	}
	for (cJSON *child = node->child; child; child = child->next) {
		if (!cJSON_IsObject(child) && !cJSON_IsArray(child))
			continue;
		int r = cargo_rewrite_all(child, places, n, error);
		if (r < 0)
			return r;
	}
	return 0;
}

int client_cargo_load(struct client_cargo *cargo, cJSON *params, const struct percept_request *request,
		      struct percept_error *error)
{
	int r = 0;
	struct cargo_place *places = NULL;
	memset(cargo, 0, sizeof *cargo);
	if (request->tail_bytes) {
		cargo->tail = malloc(request->tail_bytes);
		if (!cargo->tail)
			return client_fail(error, -ENOMEM, "Memory is out.");
		memcpy(cargo->tail, request->tail, request->tail_bytes);
		cargo->tail_bytes = request->tail_bytes;
	}
	if (request->n_fds) {
		places = calloc(request->n_fds, sizeof *places);
		if (!places)
			r = client_fail(error, -ENOMEM, "Memory is out.");
	}
	for (size_t k = 0; k < request->n_fds && r == 0; k++)
		r = cargo_add(cargo, request->fds[k], k, &places[k], error);
	if (r == 0 && cargo->tail_bytes > CLIENT_TAIL_LIMIT)
		r = client_fail(error, WIRE_LIMIT, "The request's tail has more than %u MiB: send less at a time.",
				CLIENT_TAIL_LIMIT >> 20);
	if (r == 0 && request->n_fds)
		r = cargo_rewrite_all(params, places, request->n_fds, error);
	free(places);
	if (r < 0)
		client_cargo_fini(cargo);
	return r;
}

void client_cargo_fini(struct client_cargo *cargo)
{
	for (unsigned i = 0; i < cargo->n_fds; i++)
		if (cargo->fds[i] >= 0)
			close(cargo->fds[i]);
	free(cargo->tail);
	memset(cargo, 0, sizeof *cargo);
}
