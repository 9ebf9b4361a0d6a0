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
	unsigned tokens; /* values and keys in a line; 0: any number */
	unsigned requests_only; /* 1: a frame without "method" is invalid. 0: results and errors are expected too */
};
#define WIRE_MAX_FDS 128 /* between our own programs; clients may send 8 */
#define WIRE_MAX_DEPTH 32
#define WIRE_MAX_TOKENS 20000
#define WIRE_MAX_INT 9007199254740991.0 /* 2^53-1 */
extern const struct wire_limits wire_client_limits; /* what perceptd reads: 1 MiB, 64 MiB, 8; requests only */
extern const struct wire_limits wire_engine_limits; /* between perceptd and its engines: 64 MiB, 64 MiB, 128; answers too */
extern const struct wire_limits wire_answer_limits; /* what a client reads: 64 MiB, 64 MiB, no descriptors; answers too */

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
/* The frame's method, or NULL (an answer). Its id, or NULL (a notification). Its params, or NULL. All borrowed. */
const char *wire_frame_method(const struct wire_frame *frame);
const cJSON *wire_frame_id(const struct wire_frame *frame);
const cJSON *wire_frame_params(const struct wire_frame *frame);

/* An error on its way to a peer; starts as all zeroes. `data` (may be NULL) is owned. */
struct wire_error {
	int code;
	char text[512];
	cJSON *data;
};
/* Fills *e (freeing an older one) and returns e->code. */
int wire_error_set(struct wire_error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with WIRE_PARAMS, data.path and data.reason; the sentence names the path too. */
int wire_error_path(struct wire_error *e, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Adds a member to e->data. When memory is out the member is left away. */
void wire_error_number(struct wire_error *e, const char *name, double value);
void wire_error_string(struct wire_error *e, const char *name, const char *value);
void wire_error_fini(struct wire_error *e);
/* What a code means, in a few words; NULL if it is none of ours. */
const char *wire_error_name(int code);

/* Reading: bytes and descriptors in, frames out through `frame`. */
struct wire_reader;
struct wire_reader_events {
	/* A frame that is sound (JSON-RPC members checked). Takes *frame over. Non-zero: the reader is done, the rest of
	 * what was fed is dropped, and wire_reader_feed returns that value. The reader may not be freed in an event. */
	int (*frame)(void *arg, struct wire_frame *frame);
	/* The stream cannot be trusted any more; `id` is the request's, or NULL. Nothing is read after it. */
	void (*broken)(void *arg, const struct wire_error *error, const cJSON *id);
	/* A frame whose members are wrong (-32600) but whose borders are sound: answer it and go on. */
	void (*invalid)(void *arg, const struct wire_error *error, const cJSON *id);
};
/* NULL when memory is out. `limits` and `events` are borrowed for as long as the reader lives. */
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
/* Queues `json` (borrowed; "bin" and "fds" are written here) with a copy of the tail. Takes the descriptors over, also
 * when it fails: they are closed once sent. 0 or -errno. */
int wire_writer_add(struct wire_writer *writer, cJSON *json, const void *tail, size_t tail_bytes, const int *fds, unsigned n_fds);
/* Queues an already serialised line (without LF). */
int wire_writer_add_line(struct wire_writer *writer, const char *line, size_t n);
/* Sends what the socket takes (never blocks). Bytes left, or -errno of a socket that is gone. */
ssize_t wire_writer_push(struct wire_writer *writer, int socket);
size_t wire_writer_pending(const struct wire_writer *writer);

/* JSON by the protocol's rules: depth <= 32, tokens <= 20,000, strict UTF-8, no duplicate keys, no U+0000. NULL and
 * *why (static text) on failure. */
cJSON *wire_json_parse(const char *text, size_t n, const char **why);
/* The same with another limit of tokens (values and keys). */
cJSON *wire_json_parse_max(const char *text, size_t n, unsigned max_tokens, const char **why);
/* One line of JSON with a NUL behind, by malloc (free); NULL when memory is out. Integers up to 2^53-1 and all doubles
 * read back as they were, which cJSON's own printer does not do. `n` (may be NULL) is its length. [any] */
char *wire_json_print(const cJSON *value, size_t *n);
/* The member of that very name (cJSON's own look-up ignores case), or NULL. `object` may be NULL or no object. */
cJSON *wire_member(const cJSON *object, const char *name);
/* True if `number` is an integer within +-(2^53-1). */
int wire_is_int(const cJSON *number);
/* True if both are the same id. */
int wire_same_id(const cJSON *a, const cJSON *b);
/* The length of the UTF-8 character at `at` (1..4), or 0 if there is no sound one before `end`. [any] */
size_t wire_utf8_length(const unsigned char *at, const unsigned char *end);

/* Answers, new objects. `id` may be NULL (null). The result is taken over. */
cJSON *wire_result(const cJSON *id, cJSON *result);
cJSON *wire_error_answer(const cJSON *id, const struct wire_error *error);
cJSON *wire_notification(const char *method, cJSON *params);
cJSON *wire_request(double id, const char *method, cJSON *params);

#endif
