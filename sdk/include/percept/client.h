/* client.h - libpercept: talk to perceptd over its socket (protocol PP1). C11 and C++.
 *
 * One connection is used by one thread at a time; only percept_cancel() may be called from elsewhere. Calls block until
 * the daemon has answered. JSON goes in and out as UTF-8 text, so that no JSON library is imposed on anyone. The library
 * installs no signal handler, writes nothing to standard output or error, and keeps no globals.
 *
 * Functions that can fail return 0 or a negative code and fill *error, which may be NULL where the reason is not wanted:
 *   <= -32000  the daemon's answer (percept-protocol(7), "Errors"), or the same code found out here before sending
 *   otherwise  a negative errno: the socket, a file, memory
 *
 * Thread tags: [one] one thread at a time a connection; [any] any thread, any time, signal handlers included.
 */
#ifndef PERCEPT_CLIENT_H
#define PERCEPT_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PERCEPT_API __attribute__((visibility("default")))
#else
#define PERCEPT_API
#endif

/* ---- errors ------------------------------------------------------------------------------------------------ */

/* Begin with all zero. `text` is one sentence for a person. `data` is the daemon's error.data as JSON text, or NULL. */
struct percept_error {
	int code;
	char text[1020];
	char *data;
};
/* Frees `data` and zeroes the struct. [any thread] */
PERCEPT_API void percept_error_clear(struct percept_error *error);

/* ---- connections ------------------------------------------------------------------------------------------- */

struct percept_connection;

/* Writes the path that percept_connect(NULL) tries: $PERCEPT_SOCKET, else the user's own socket
 * ($XDG_RUNTIME_DIR/percept/percept.sock, or its place for users without that variable), else, if only that one exists,
 * the system's (/run/percept/percept.sock). -ENAMETOOLONG if it does not fit. [any thread] */
PERCEPT_API int percept_socket_path(char *path, size_t size, struct percept_error *error);

/* Connects to the socket `path` (NULL: by the rules above). The caller closes the result. NULL and *error on failure:
 * -ENOENT and -ECONNREFUSED mean that no daemon is there. [any thread] */
PERCEPT_API struct percept_connection *percept_connect(const char *path, struct percept_error *error);

/* The same over a connected stream socket, which is taken over (on failure too). [any thread] */
PERCEPT_API struct percept_connection *percept_adopt(int socket, struct percept_error *error);

/* Ends the connection; the daemon cancels what is still running for it. NULL is allowed. [one] */
PERCEPT_API void percept_close(struct percept_connection *connection);

/* Asks the call in progress to stop. It still returns its single answer, with status "cancelled" and what there is so
 * far. Without a call in progress nothing happens. [any] */
PERCEPT_API void percept_cancel(struct percept_connection *connection);

/* Makes `fd` becoming readable (a signalfd, an eventfd, a pipe) do the same as percept_cancel(), once a call. It is
 * polled, never read; -1 ends that. Borrowed. [one] */
PERCEPT_API void percept_cancel_on(struct percept_connection *connection, int fd);

/* ---- calls ------------------------------------------------------------------------------------------------- */

/* What a method is called with. Zero the struct, set `size` to sizeof it, then what is needed. All borrowed for the call.
 *
 * Inside params {"fd":k} refers to fds[k], for any number of descriptors: the first regular files ride along as
 * descriptors, and what cannot (further ones, pipes, sockets) is read to its end and sent in the frame's tail. Regular
 * files are read from their beginning. {"bin":[offset,length]} refers to `tail`. */
struct percept_request {
	uint32_t size;
	uint32_t timeout_ms;  /* 0: wait for ever. Else -ETIMEDOUT, after which the connection is of no more use */
	const char *method;
	const char *params;   /* JSON text of an object; NULL: {} */
	const void *tail;
	size_t tail_bytes;
	const int *fds;
	size_t n_fds;
};

/* Told while a call runs, on the calling thread. Zero the struct, set `size`; any function may be NULL. They may call
 * percept_cancel(), but nothing else on the same connection. */
struct percept_events {
	uint32_t size;
	uint32_t reserved;
	void *arg;
	/* New text of the answer: whole characters, NUL-terminated. */
	void (*delta)(void *arg, const char *text, size_t bytes);
	/* `stage` is "queue", "media", "encode", "connect", "prefill" or "decode"; total is 0 where it is not known. */
	void (*progress)(void *arg, const char *stage, double done, double total);
	/* Every notification, those included: its method, its params as JSON text, its tail. */
	void (*notification)(void *arg, const char *method, const char *params, const void *tail, size_t tail_bytes);
	/* The daemon is about to be asked to cancel. */
	void (*cancelling)(void *arg);
	/* Asked at least every 10 ms; not 0 does the same as percept_cancel(). */
	int (*stopped)(void *arg);
};

/* An answer, the caller's own. */
struct percept_answer {
	char *result; /* JSON text */
	void *tail;   /* NULL if there was none */
	size_t tail_bytes;
};
/* Frees what is in it and zeroes it. [any thread] */
PERCEPT_API void percept_answer_clear(struct percept_answer *answer);

/* Calls any method of the protocol and waits for its answer. `events` may be NULL. *answer (may be NULL) is set on
 * success only; the caller clears it. [one] */
PERCEPT_API int percept_call(struct percept_connection *connection, const struct percept_request *request,
			     const struct percept_events *events, struct percept_answer *answer, struct percept_error *error);

/* Says who is there and agrees on the protocol's version. Optional; if made, it is the first call. [one] */
PERCEPT_API int percept_hello(struct percept_connection *connection, const char *name, const char *version,
			      struct percept_answer *answer, struct percept_error *error);

/* ---- inputs: messages of text, pictures and sound ---------------------------------------------------------- */

/* A conversation and the options to answer it with. It keeps the descriptors it was given, so that it can be sent again
 * with more added, as a chat does. One thread at a time. Functions return 0 or a negative code as everywhere. */
struct percept_input;

/* NULL when memory is out. */
PERCEPT_API struct percept_input *percept_input_new(void);
PERCEPT_API void percept_input_free(struct percept_input *input);

/* Begins a message of "user", "system" or "assistant". Without one, what is added goes into a message of the user. */
PERCEPT_API int percept_input_message(struct percept_input *input, const char *role);
/* Adds UTF-8 text to the last message. */
PERCEPT_API int percept_input_text(struct percept_input *input, const char *text, struct percept_error *error);
/* Adds the file `path`; kind is "image", "audio" or "video". */
PERCEPT_API int percept_input_file(struct percept_input *input, const char *kind, const char *path,
				   struct percept_error *error);
/* Adds an open file, which is taken over (on failure too). What is not a regular file is read to its end now. */
PERCEPT_API int percept_input_fd(struct percept_input *input, const char *kind, int fd, struct percept_error *error);
/* Adds the content of a file that lies in memory; it is copied. */
PERCEPT_API int percept_input_bytes(struct percept_input *input, const char *kind, const void *bytes, size_t n,
				    struct percept_error *error);
/* Sets a member of params beside "input": name and JSON text ("temperature", "0.7"). NULL removes it. */
PERCEPT_API int percept_input_set(struct percept_input *input, const char *name, const char *json,
				  struct percept_error *error);
/* How many messages there are; and forgetting those from `count` on. */
PERCEPT_API size_t percept_input_count(const struct percept_input *input);
PERCEPT_API void percept_input_truncate(struct percept_input *input, size_t count);
/* The params as JSON text, malloc'ed, in which files are numbered ({"fd":k}, {"bin":[..]}). NULL when memory is out. */
PERCEPT_API char *percept_input_json(const struct percept_input *input);

/* Calls a method that takes messages: "response.create", "token.count", "embedding.create". [one] */
PERCEPT_API int percept_call_input(struct percept_connection *connection, const char *method,
				   const struct percept_input *input, const struct percept_events *events,
				   struct percept_answer *answer, struct percept_error *error);

#ifdef __cplusplus
}
#endif

#endif
