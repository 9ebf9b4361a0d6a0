/* writer.c - frames to the bytes and descriptors of a stream socket, as far as it takes them. */
#include "config.h"
#include "sdk/wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITER_IOV 64

/* A frame on its way. Its descriptors ride on the sendmsg that carries its first byte, then are closed. */
struct outgoing {
	struct outgoing *next;
	int *fds;
	unsigned n_fds;
	size_t n;
	size_t sent;
	uint8_t data[]; /* line, LF, tail; behind them the descriptors */
};

struct wire_writer {
	struct outgoing *first;
	struct outgoing **last;
	size_t pending;
};

struct wire_writer *wire_writer_new(void)
{
	struct wire_writer *w = calloc(1, sizeof(*w));
	if (w)
		w->last = &w->first;
	return w;
}

static void writer_close(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static void outgoing_free(struct outgoing *o)
{
	writer_close(o->fds, o->n_fds);
	free(o->fds);
	free(o);
}

void wire_writer_free(struct wire_writer *w)
{
	if (w == NULL)
		return;
	while (w->first) {
		struct outgoing *o = w->first;
		w->first = o->next;
		outgoing_free(o);
	}
	free(w);
}

size_t wire_writer_pending(const struct wire_writer *w)
{
	return w->pending;
}

/* Queues line, LF and tail in one piece. Takes the descriptors over only when it succeeds. */
static int writer_queue(struct wire_writer *w, const char *line, size_t n, const void *tail, size_t tail_bytes,
			struct outgoing **out)
{
	size_t total;
	if (__builtin_add_overflow(n, tail_bytes, &total) || __builtin_add_overflow(total, 1 + sizeof(**out), &total))
		return -EOVERFLOW;
	struct outgoing *o = malloc(total);
	if (o == NULL)
		return -ENOMEM;
	*o = (struct outgoing){.n = n + 1 + tail_bytes};
	memcpy(o->data, line, n);
	o->data[n] = '\n';
	if (tail_bytes)
		memcpy(o->data + n + 1, tail, tail_bytes);
	*w->last = o;
	w->last = &o->next;
	w->pending += o->n;
	*out = o;
	return 0;
}

int wire_writer_add_line(struct wire_writer *w, const char *line, size_t n)
{
	struct outgoing *o;
	return writer_queue(w, line, n, NULL, 0, &o);
}

/* The text of `json` with "bin" and "fds" as they must be; by malloc, or NULL. */
static char *writer_print(cJSON *json, size_t tail_bytes, unsigned n_fds, size_t *n)
{
	cJSON_DeleteItemFromObjectCaseSensitive(json, "bin");
	cJSON_DeleteItemFromObjectCaseSensitive(json, "fds");
	if (tail_bytes && !cJSON_AddNumberToObject(json, "bin", (double)tail_bytes))
		return NULL;
	if (n_fds && !cJSON_AddNumberToObject(json, "fds", n_fds))
		return NULL;
	return wire_json_print(json, n);
}

int wire_writer_add(struct wire_writer *w, cJSON *json, const void *tail, size_t tail_bytes, const int *fds, unsigned n_fds)
{
	struct outgoing *o;
	int *own = NULL, rc = -ENOMEM;
	char *line = NULL;
	size_t n;
	if (n_fds > WIRE_MAX_FDS) {
		rc = -E2BIG;
		goto fail;
	}
	if (n_fds && (own = malloc(n_fds * sizeof(*own))) == NULL)
		goto fail;
	line = writer_print(json, tail_bytes, n_fds, &n);
	if (line == NULL)
		goto fail;
	rc = writer_queue(w, line, n, tail, tail_bytes, &o);
	if (rc < 0)
		goto fail;
	free(line);
	if (n_fds) {
		memcpy(own, fds, n_fds * sizeof(*own));
		o->fds = own;
		o->n_fds = n_fds;
	}
	return 0;
fail:
	free(line);
	free(own);
	writer_close(fds, n_fds);
	return rc;
}

/* As many queued frames as fit in one sendmsg; one with descriptors to send goes alone. */
static size_t writer_gather(const struct wire_writer *w, struct iovec iov[WRITER_IOV])
{
	size_t n = 0;
	for (struct outgoing *o = w->first; o && n < WRITER_IOV; o = o->next) {
		if (o->n_fds && n)
			break;
		iov[n].iov_base = o->data + o->sent;
		iov[n++].iov_len = o->n - o->sent;
		if (o->n_fds)
			break;
	}
	return n;
}

/* `n` bytes are gone: drops frames that are sent whole. */
static void writer_advance(struct wire_writer *w, size_t n)
{
	w->pending -= n;
	writer_close(w->first->fds, w->first->n_fds);
	w->first->n_fds = 0;
	while (n) {
		struct outgoing *o = w->first;
		size_t take = n < o->n - o->sent ? n : o->n - o->sent;
		o->sent += take;
		n -= take;
		if (o->sent < o->n)
			return;
		w->first = o->next;
		if (w->first == NULL)
			w->last = &w->first;
		outgoing_free(o);
	}
}

static ssize_t writer_send(struct wire_writer *w, int socket)
{
	union {
		char bytes[CMSG_SPACE(WIRE_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov[WRITER_IOV];
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = writer_gather(w, iov)};
	struct outgoing *o = w->first;
	if (o->n_fds) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(o->n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(o->n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), o->fds, o->n_fds * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t wire_writer_push(struct wire_writer *w, int socket)
{
	while (w->first) {
		ssize_t n = writer_send(w, socket);
		if (n == -EAGAIN || n == -EWOULDBLOCK)
			break;
		if (n < 0)
			return n;
		writer_advance(w, (size_t)n);
	}
	return (ssize_t)w->pending;
}
