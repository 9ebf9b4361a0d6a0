/* connection.h - what the files of libpercept share. */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdarg.h>
#include <cjson/cJSON.h>
#include <percept/client.h>

#include "sdk/wire/frame.h"

struct client_call; /* call.c */

struct percept_connection {
	int socket;
	int wake;      /* eventfd: written by percept_cancel() */
	int cancel_on; /* borrowed, or -1 */
	double next_id;
	struct wire_reader *reader;
	struct wire_writer *writer;
	struct client_call *call; /* the one in progress, or NULL */
};

/* What the reader calls; arg is the connection. Defined in call.c. */
extern const struct wire_reader_events client_reader_events;

/* Fills *error (may be NULL) by printf, freeing what was in it, and returns `code`. */
int client_fail(struct percept_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A file of an input: a descriptor, or bytes when fd is -1. */
struct client_file {
	int fd;
	uint8_t *bytes;
	size_t n;
};
/* In the messages a file is {"file":k}, k into `files`. */
struct percept_input {
	cJSON *options;
	cJSON *messages;
	struct client_file *files;
	size_t n_files, room;
};

/* Files on their way into one frame. fds are the sender's own duplicates; all of it is freed by client_cargo_fini. */
struct client_cargo {
	int fds[8];
	unsigned n_fds;
	uint8_t *tail;
	size_t tail_bytes;
};
/* Sorts the request's files into descriptors that ride and a tail, and rewrites the references in `params` to match.
 * On failure *cargo is empty. */
int client_cargo_load(struct client_cargo *cargo, cJSON *params, const struct percept_request *request,
		      struct percept_error *error);
void client_cargo_fini(struct client_cargo *cargo);

/* Appends what `fd` gives from where it stands (offset < 0) or from `offset` on, to the end, at most `limit` bytes in all
 * (-EFBIG beyond). Grows *bytes. 0 or -errno. */
int client_read_all(int fd, int64_t offset, size_t limit, uint8_t **bytes, size_t *n);

#endif
