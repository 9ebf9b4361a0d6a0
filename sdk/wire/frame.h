/* frame.h - PP1 frames: bytes and descriptors to JSON objects with tails, and back (PROTOCOL, section 1). */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cjson/cJSON.h>

/* Of one direction of one connection. */
struct wire_limits {
	size_t line;     /* bytes before LF */
	size_t tail;
	unsigned fds;    /* a frame, <= WIRE_MAX_FDS */
};
#define WIRE_MAX_FDS 128 /* between our own programs; clients may send 8 */
extern const struct wire_limits wire_client_limits; /* 1 MiB, 64 MiB, 8 */
extern const struct wire_limits wire_engine_limits; /* between perceptd and its engines */

enum wire_error_code {
	WIRE_PARSE = -32700, WIRE_INVALID = -32600, WIRE_NO_METHOD = -32601, WIRE_PARAMS = -32602, WIRE_INTERNAL = -32603,
	WIRE_VERSION = -32001, WIRE_UNAUTHORIZED = -32002, WIRE_FORBIDDEN = -32003, WIRE_OVERLOADED = -32004,
	WIRE_LIMIT = -32005, WIRE_CONTEXT = -32006, WIRE_NOT_READY = -32007, WIRE_MEDIA = -32008, WIRE_DEADLINE = -32009,
	WIRE_PLUGIN = -32010, WIRE_NOT_FOUND = -32011, WIRE_SHUTDOWN = -32012, WIRE_STORAGE = -32013, WIRE_DENIED = -32014,
	WIRE_MODEL = -32015, WIRE_TEMPLATE = -32016, WIRE_BUSY = -32017,
};

/* A received frame. Owned by whoever got it; wire_frame_fini closes descriptors that were not taken (set to -1). */
struct wire_frame {
	cJSON *json;     /* the whole object; never NULL */
	uint8_t *tail;   /* NULL if none */
	size_t tail_bytes;
	int fds[WIRE_MAX_FDS];
	unsigned n_fds;
};
void wire_frame_fini(struct wire_frame *frame);

/* An error on its way to a peer. `data` (may be NULL) is owned. */
struct wire_error {
	int code;
	char text[512];
	cJSON *data;
};
/* Fills *e (freeing an older one) and returns e->code. */
int wire_error_set(struct wire_error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same, with data.path and data.reason. */
int wire_error_path(struct wire_error *e, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));
void wire_error_fini(struct wire_error *e);

/* Reading: bytes and descriptors in, frames out through `frame`. */
struct wire_reader;
struct wire_reader_events {
	/* A frame that is sound (JSON-RPC members checked). Takes *frame over. Non-zero stops the feeding. */
	int (*frame)(void *arg, struct wire_frame *frame);
	/* The stream cannot be trusted any more; `id` is the request's, or NULL. Nothing is read after it. */
	void (*broken)(void *arg, const struct wire_error *error, const cJSON *id);
	/* A frame whose members are wrong (-32600) but whose borders are sound: answer it and go on. */
	void (*invalid)(void *arg, const struct wire_error *error, const cJSON *id);
};
struct wire_reader *wire_reader_new(const struct wire_limits *limits, const struct wire_reader_events *events, void *arg);
void wire_reader_free(struct wire_reader *reader);
/* What one recvmsg gave. Takes the descriptors over. -EPROTO once broken, -ENOMEM, or 0. */
int wire_reader_feed(struct wire_reader *reader, const void *bytes, size_t n, const int *fds, unsigned n_fds);
/* Bytes waiting for the rest of their frame. */
size_t wire_reader_pending(const struct wire_reader *reader);
/* recvmsg on `socket` (nonblocking) and feed. Returns bytes read, 0 at end of stream, -EAGAIN, or another -errno. */
ssize_t wire_reader_pull(struct wire_reader *reader, int socket);

/* Writing: a queue of frames that goes out by sendmsg as the socket takes it. */
struct wire_writer;
struct wire_writer *wire_writer_new(void);
void wire_writer_free(struct wire_writer *writer);
/* Queues `json` (borrowed; "bin" and "fds" are added here) with a copy of the tail and duplicates-by-taking of fds. */
int wire_writer_add(struct wire_writer *writer, cJSON *json, const void *tail, size_t tail_bytes, const int *fds, unsigned n_fds);
/* Queues an already serialised line (without LF). */
int wire_writer_add_line(struct wire_writer *writer, const char *line, size_t n);
/* Sends what the socket takes. Bytes left, or -errno. */
ssize_t wire_writer_push(struct wire_writer *writer, int socket);
size_t wire_writer_pending(const struct wire_writer *writer);

/* JSON by the protocol's rules: depth <= 32, tokens <= 20,000, strict UTF-8, no duplicate keys, no U+0000. NULL and
 * *why (static text) on failure. */
cJSON *wire_json_parse(const char *text, size_t n, const char **why);

/* Answers, new objects. `id` may be NULL (null). The result is taken over. */
cJSON *wire_result(const cJSON *id, cJSON *result);
cJSON *wire_error_answer(const cJSON *id, const struct wire_error *error);
cJSON *wire_notification(const char *method, cJSON *params);
cJSON *wire_request(double id, const char *method, cJSON *params);

#endif
