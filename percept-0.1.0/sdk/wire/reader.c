/* reader.c - bytes and descriptors of a stream socket to frames, at any split points. */
#include "config.h"
#include "sdk/wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READER_CHUNK 65536
#define READER_CMSG_FDS 253 /* the kernel's most for one message */

const struct wire_limits wire_client_limits = {1 << 20, 64 << 20, 8, WIRE_MAX_TOKENS, 1};
const struct wire_limits wire_engine_limits = {64 << 20, 64 << 20, WIRE_MAX_FDS, 0, 0};
const struct wire_limits wire_answer_limits = {64 << 20, 64 << 20, 0, 0, 0};

/* A growing run of bytes that grows only by what was received. */
struct bytes {
	uint8_t *data;
	size_t n;
	size_t room;
};

/* Descriptors that no frame has claimed yet. */
struct fd_run {
	int fds[WIRE_MAX_FDS];
	unsigned n;
};

/* The descriptors of one recvmsg belong to frames whose first byte came with them. recvmsg may give earlier frames'
 * bytes along with them, so the claim is checked when a line is complete: a frame that began in this chunk takes from
 * `fresh`, one that began before takes from `held`. Nothing may be left over when the chunk ends, but for the frame
 * whose line is still coming.
 */
struct wire_reader {
	const struct wire_limits *limits;
	const struct wire_reader_events *events;
	void *arg;
	struct bytes line;      /* of a line that came in parts */
	int in_line;            /* bytes of a line have come that are not only white space so far, or are in `line` */
	int began_here;         /* the line in progress began in this chunk */
	struct wire_frame frame; /* whose tail is coming; json NULL otherwise */
	struct bytes tail;
	size_t tail_left;
	struct wire_error invalid; /* of `frame`: its tail is skipped, then it is reported */
	struct fd_run held;
	struct fd_run fresh;
	int stopped; /* 0, or what feed returns from now on */
};

static void fds_close(struct fd_run *run)
{
	for (unsigned i = 0; i < run->n; i++)
		close(run->fds[i]);
	run->n = 0;
}

struct wire_reader *wire_reader_new(const struct wire_limits *limits, const struct wire_reader_events *events, void *arg)
{
	struct wire_reader *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->limits = limits;
	r->events = events;
	r->arg = arg;
	return r;
}

void wire_reader_free(struct wire_reader *r)
{
	if (r == NULL)
		return;
	fds_close(&r->held);
	fds_close(&r->fresh);
	wire_frame_fini(&r->frame);
	wire_error_fini(&r->invalid);
	free(r->line.data);
	free(r->tail.data);
	free(r);
}

size_t wire_reader_pending(const struct wire_reader *r)
{
	return r->line.n + r->tail.n;
}

/* Appends; the room doubles, up to `most`. */
static int bytes_add(struct bytes *b, const uint8_t *data, size_t n, size_t most)
{
	if (n > b->room - b->n) {
		size_t room = b->room ? b->room : 512;
		while (room - b->n < n)
			room *= 2; /* n is a chunk's or less than a limit: no overflow */
		if (room > most && most >= b->n + n)
			room = most;
		uint8_t *grown = realloc(b->data, room);
		if (grown == NULL)
			return -ENOMEM;
		b->data = grown;
		b->room = room;
	}
	memcpy(b->data + b->n, data, n);
	b->n += n;
	return 0;
}

static void bytes_reset(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

/* An id that an answer may carry, or NULL. */
static const cJSON *reader_id(const cJSON *json)
{
	const cJSON *id = wire_member(json, "id");
	if (cJSON_IsString(id) && strlen(id->valuestring) <= 64)
		return id;
	return wire_is_int(id) && id->valuedouble >= 0 ? id : NULL;
}

/* Reports `error` (ended here) once; nothing is read after it. */
static int reader_break(struct wire_reader *r, struct wire_error *error, const cJSON *json)
{
	r->stopped = -EPROTO;
	r->events->broken(r->arg, error, reader_id(json));
	wire_error_fini(error);
	return r->stopped;
}

static int reader_nomem(struct wire_reader *r)
{
	r->stopped = -ENOMEM;
	return r->stopped;
}

static int reader_over_limit(struct wire_reader *r, const char *limit, double value, const cJSON *json)
{
	struct wire_error e = {0};
	wire_error_set(&e, WIRE_LIMIT, "The %s is over its limit of %.0f bytes; the connection is closed.", limit, value);
	wire_error_string(&e, "limit", limit);
	wire_error_number(&e, "value", value);
	return reader_break(r, &e, json);
}

static int reader_bad_fds(struct wire_reader *r, const cJSON *json, const char *why)
{
	struct wire_error e = {0};
	wire_error_set(&e, WIRE_INVALID, "%s; send the descriptors with the first byte of a frame whose \"fds\" counts them.",
		       why);
	return reader_break(r, &e, json);
}

static int reader_is_answer(const cJSON *json)
{
	return wire_member(json, "method") == NULL && (wire_member(json, "result") || wire_member(json, "error"));
}

/* jsonrpc, method, id: 0, or WIRE_INVALID in *e. */
static int reader_check_members(const struct wire_reader *r, const cJSON *json, struct wire_error *e)
{
	const cJSON *version = wire_member(json, "jsonrpc"), *method = wire_member(json, "method");
	const cJSON *id = wire_member(json, "id");
	if (!cJSON_IsString(version) || strcmp(version->valuestring, "2.0") != 0)
		return wire_error_set(e, WIRE_INVALID, "A frame needs \"jsonrpc\":\"2.0\".");
	if (!r->limits->requests_only && reader_is_answer(json))
		return 0;
	if (!cJSON_IsString(method) || method->valuestring[0] == '\0')
		return wire_error_set(e, WIRE_INVALID, "A request needs \"method\", the name of a method.");
	if (id && !reader_id(json))
		return wire_error_set(e, WIRE_INVALID,
				      "\"id\" must be an integer from 0 to 2^53-1 or a string of at most 64 bytes.");
	return 0;
}

/* Hands the finished frame up. `last`: no byte of this chunk follows. */
static int reader_deliver(struct wire_reader *r, int last)
{
	struct wire_frame frame = r->frame;
	memset(&r->frame, 0, sizeof(r->frame));
	if (last && r->fresh.n) {
		int rc = reader_bad_fds(r, frame.json, "Descriptors came that no frame announced");
		wire_frame_fini(&frame);
		return rc;
	}
	if (r->invalid.code) {
		r->events->invalid(r->arg, &r->invalid, reader_id(frame.json));
		wire_error_fini(&r->invalid);
		wire_frame_fini(&frame);
		return 0;
	}
	frame.tail = r->tail.data;
	frame.tail_bytes = r->tail.n;
	r->tail = (struct bytes){0};
	int rc = r->events->frame(r->arg, &frame);
	if (rc)
		r->stopped = rc;
	return rc;
}

/* Moves the frame's `n` descriptors from where they wait. */
static int reader_claim(struct wire_reader *r, struct wire_frame *frame, unsigned n)
{
	struct fd_run *from = r->began_here ? &r->fresh : &r->held;
	if (from->n < n)
		return reader_bad_fds(r, frame->json, "Fewer descriptors came than the frame announces");
	memcpy(frame->fds, from->fds, n * sizeof(int));
	frame->n_fds = n;
	from->n -= n;
	memmove(from->fds, from->fds + n, from->n * sizeof(int));
	if (r->held.n)
		return reader_bad_fds(r, frame->json, "More descriptors came than the frame announces");
	return 0;
}

/* "bin" and "fds" of r->frame: what its borders are. */
static int reader_borders(struct wire_reader *r)
{
	const cJSON *json = r->frame.json, *bin = wire_member(json, "bin"), *fds = wire_member(json, "fds");
	struct wire_error e = {0};
	if (bin && (!wire_is_int(bin) || bin->valuedouble < 1)) {
		wire_error_set(&e, WIRE_INVALID, "\"bin\" must be the number of bytes behind the line, 1 or more.");
		return reader_break(r, &e, json);
	}
	if (bin && bin->valuedouble > (double)r->limits->tail)
		return reader_over_limit(r, "tail", (double)r->limits->tail, json);
	if (fds && (!wire_is_int(fds) || fds->valuedouble < 1 || fds->valuedouble > r->limits->fds)) {
		wire_error_set(&e, WIRE_INVALID, "\"fds\" must be the number of descriptors, 1 to %u.", r->limits->fds);
		return reader_break(r, &e, json);
	}
	r->tail_left = bin ? (size_t)bin->valuedouble : 0;
	return reader_claim(r, &r->frame, fds ? (unsigned)fds->valuedouble : 0);
}

/* One complete line without its LF; `last`: no byte of this chunk follows. */
static int reader_line(struct wire_reader *r, const char *text, size_t n, int last)
{
	const char *why = "";
	r->in_line = 0;
	r->frame.json = wire_json_parse_max(text, n, r->limits->tokens, &why);
	if (r->frame.json == NULL) {
		struct wire_error e = {0};
		if (strcmp(why, "memory is out") == 0)
			return reader_nomem(r);
		wire_error_set(&e, WIRE_PARSE, "The line is no JSON that Percept reads: %s.", why);
		return reader_break(r, &e, NULL);
	}
	int rc = reader_borders(r);
	if (rc)
		return rc;
	reader_check_members(r, r->frame.json, &r->invalid);
	return r->tail_left ? 0 : reader_deliver(r, last);
}

/* Takes tail bytes from `at`; returns how many, or < 0. */
static ssize_t reader_tail(struct wire_reader *r, const uint8_t *at, size_t n)
{
	size_t take = n < r->tail_left ? n : r->tail_left;
	if (!r->invalid.code && bytes_add(&r->tail, at, take, r->tail.n + r->tail_left) < 0)
		return reader_nomem(r);
	r->tail_left -= take;
	if (r->tail_left == 0) {
		int rc = reader_deliver(r, take == n);
		if (rc)
			return rc < 0 ? rc : -ECANCELED;
	}
	return (ssize_t)take;
}

/* The first byte of a line that is no white space, or NULL. */
static const uint8_t *reader_first(const uint8_t *at, size_t n)
{
	for (; n; at++, n--)
		if (*at != ' ' && *at != '\t' && *at != '\r')
			return at;
	return NULL;
}

/* Takes bytes of a line from `at`, its LF included; returns how many, or < 0. */
static ssize_t reader_text(struct wire_reader *r, const uint8_t *at, size_t n)
{
	const uint8_t *lf = memchr(at, '\n', n);
	size_t text = lf ? (size_t)(lf - at) : n, used = text + (lf != NULL);
	if (r->line.n == 0 && !r->in_line)
		r->began_here = 1;
	if (!r->in_line) {
		const uint8_t *first = reader_first(at, text);
		if (first && *first != '{') {
			struct wire_error e = {0};
			wire_error_set(&e, WIRE_PARSE, "A line must begin with '{': one JSON object a line.");
			return reader_break(r, &e, NULL);
		}
		r->in_line = first != NULL;
	}
	if (r->line.n + text > r->limits->line)
		return reader_over_limit(r, "line", (double)r->limits->line, NULL);
	int rc = 0;
	if (lf && !r->in_line) {
		r->line.n = 0; /* empty: a keep-alive */
	} else if (lf && r->line.n == 0) {
		rc = reader_line(r, (const char *)at, text, used == n);
	} else if (bytes_add(&r->line, at, text, r->limits->line) < 0) {
		rc = reader_nomem(r);
	} else if (lf) {
		rc = reader_line(r, (const char *)r->line.data, r->line.n, used == n);
		bytes_reset(&r->line);
	}
	if (rc)
		return rc < 0 ? rc : -ECANCELED;
	return (ssize_t)used;
}

/* The end of a chunk: descriptors stay only for a line that began in it and goes on. */
static int reader_settle(struct wire_reader *r)
{
	int pending = r->in_line || r->line.n;
	if (r->fresh.n && !(pending && r->began_here))
		return reader_bad_fds(r, r->frame.json, "Descriptors came that no frame announced");
	if (r->fresh.n)
		r->held = r->fresh;
	r->fresh.n = 0;
	r->began_here = 0;
	return 0;
}

/* Takes the descriptors over into r->fresh. */
static int reader_accept(struct wire_reader *r, const int *fds, unsigned n)
{
	unsigned most = r->stopped ? 0 : r->limits->fds < WIRE_MAX_FDS ? r->limits->fds : WIRE_MAX_FDS;
	for (unsigned i = 0; i < n; i++) {
		if (n <= most)
			r->fresh.fds[r->fresh.n++] = fds[i];
		else
			close(fds[i]);
	}
	if (r->stopped)
		return r->stopped;
	return n <= most ? 0 : reader_bad_fds(r, NULL, "More descriptors came than a frame may have");
}

int wire_reader_feed(struct wire_reader *r, const void *bytes, size_t n, const int *fds, unsigned n_fds)
{
	const uint8_t *at = bytes;
	int rc = reader_accept(r, fds, n_fds);
	if (rc)
		return rc;
	while (n) {
		ssize_t used = r->frame.json ? reader_tail(r, at, n) : reader_text(r, at, n);
		if (used < 0)
			return r->stopped;
		at += used;
		n -= (size_t)used;
	}
	return reader_settle(r);
}

/* The descriptors of a received message; *cut if the kernel dropped some. */
static unsigned reader_received_fds(struct msghdr *message, int fds[READER_CMSG_FDS])
{
	unsigned n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count && n < READER_CMSG_FDS; i++)
			memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

ssize_t wire_reader_pull(struct wire_reader *r, int socket)
{
	uint8_t chunk[READER_CHUNK];
	union {
		char bytes[CMSG_SPACE(READER_CMSG_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	int fds[READER_CMSG_FDS];
	struct iovec iov = {chunk, sizeof(chunk)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	unsigned n_fds = reader_received_fds(&message, fds);
	if (n == 0) {
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		return 0;
	}
	if ((message.msg_flags & MSG_CTRUNC) && !r->stopped) {
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		return reader_bad_fds(r, NULL, "Descriptors were lost on the way");
	}
	int rc = wire_reader_feed(r, chunk, (size_t)n, fds, n_fds);
	return rc ? (rc < 0 ? rc : -ECANCELED) : n;
}
