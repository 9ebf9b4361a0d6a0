/* zygote.c - requests in, workers forked and watched, answers out. */
#include "config.h"
#include "daemon/media/zygote-item.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon/base/file.h"
#include "daemon/base/log.h"
#include "daemon/media/decode.h"
#include "sdk/wire/frame.h"

/* Items at once; over ZYGOTE_FULL new ones are refused, at ZYGOTE_MAX_ITEMS nothing is read until answers have gone out. */
enum { ZYGOTE_FULL = 1024, ZYGOTE_MAX_ITEMS = 1088, ZYGOTE_SPARE_DESCRIPTORS = 64 };

struct zygote {
	const struct zygote_config *config;
	void *filter;
	struct list items; /* in order of arrival */
	unsigned n_items, n_running, full;
	struct pollfd *polls;   /* the socket, then one a worker */
	struct media_item **polled;
	bool ended;
};

static void zygote_add(struct zygote *z, struct media_item *item)
{
	list_add(&z->items, &item->link);
	z->n_items++;
}

/* Sends an answer, with `result` when it has one. 0, -EAGAIN when the socket is full, or another negative errno. */
static int zygote_send(int socket, struct media_answer *answer, int result)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec vector = { answer, sizeof(*answer) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (!answer->status) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &result, sizeof(int));
	}
	return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static struct media_item *zygote_find(struct zygote *z, uint64_t id)
{
	struct list *node, *after;

	list_each(node, after, &z->items) {
		struct media_item *item = list_entry(node, struct media_item, link);

		if (item->request.id == id && (item->state == ITEM_WAITING || item->state == ITEM_RUNNING))
			return item;
	}
	return NULL;
}

static void zygote_accept_decode(struct zygote *z, const struct media_request *request, int file)
{
	struct media_item *item = item_new(request, file, &z->config->limits);

	if (!item) {
		struct media_answer answer = { .magic = MEDIA_WIRE_MAGIC,
					       .status = WIRE_OVERLOADED,
					       .id = request->id,
					       .kind = request->kind,
					       .text = "There is no memory for another media item; try again later." };

		zygote_send(z->config->socket, &answer, -1);
		file_close(&file);
		return;
	}
	zygote_add(z, item);
	if (file < 0)
		item_stop(item, WIRE_MEDIA, "The request came without its descriptor; send it again.");
	else if (z->n_items > z->full)
		item_stop(item, WIRE_OVERLOADED, "Too many media items are waiting; try again later.");
}

static void zygote_accept_cancel(struct zygote *z, const struct media_request *request, int file)
{
	struct media_item *item = zygote_find(z, request->id);

	file_close(&file);
	if (!item)
		return;
	item_stop(item, MEDIA_CANCELLED, "The request was cancelled.");
}

static const struct {
	uint32_t verb;
	void (*accept)(struct zygote *z, const struct media_request *request, int file);
} zygote_verbs[] = {
	{ MEDIA_DECODE, zygote_accept_decode },
	{ MEDIA_CANCEL, zygote_accept_cancel },
};

/* One packet: its descriptor, the first if it has several (the others are closed), or -1. */
static ssize_t zygote_receive_packet(int socket, struct media_request *request, int *file)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec vector = { request, sizeof(*request) };
	struct msghdr message = { .msg_iov = &vector,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*file = -1;
	for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*file < 0)
				*file = fd;
			else
				close(fd);
		}
	}
	return n < 0 ? -errno : n;
}

/* Takes what has come. 0, or a negative errno when the socket has failed. */
static int zygote_receive(struct zygote *z)
{
	while (z->n_items < ZYGOTE_MAX_ITEMS) {
		struct media_request request;
		int file;
		ssize_t n = zygote_receive_packet(z->config->socket, &request, &file);
		size_t i = 0;

		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n < 0 && n != -ECONNRESET)
			return (int)n;
		if (n <= 0) {
			z->ended = true;
			return 0;
		}
		while (i < sizeof(zygote_verbs) / sizeof(zygote_verbs[0]) && zygote_verbs[i].verb != request.verb)
			i++;
		if (n == (ssize_t)sizeof(request) && request.magic == MEDIA_WIRE_MAGIC &&
		    i < sizeof(zygote_verbs) / sizeof(zygote_verbs[0])) {
			zygote_verbs[i].accept(z, &request, file);
			continue;
		}
		file_close(&file);
		log_warn("media.packet", "bytes=%zd text=\"not a request, ignored\"", n);
	}
	return 0;
}

/* Sends answers and frees what is done. True: some answer waits for room in the socket. */
static bool zygote_flush(struct zygote *z)
{
	struct list *node, *after;
	bool blocked = false;

	list_each(node, after, &z->items) {
		struct media_item *item = list_entry(node, struct media_item, link);

		if (item->has_answer && !blocked) {
			int error = zygote_send(z->config->socket, &item->answer, item->result);

			item->has_answer = error != 0;
			blocked = error == -EAGAIN || error == -EINTR || error == -ETOOMANYREFS;
			if (error && !blocked)
				z->ended = true;
		}
		if (item->state != ITEM_DONE || item->has_answer)
			continue;
		z->n_items--;
		item_free(item);
	}
	return blocked;
}

/* Starts as many waiting items as there is room for. A worker that is killed but not yet gone holds its place. */
static void zygote_start(struct zygote *z)
{
	struct list *node, *after;

	list_each(node, after, &z->items) {
		struct media_item *item = list_entry(node, struct media_item, link);

		if (z->n_running >= z->config->workers)
			return;
		if (item->state != ITEM_WAITING)
			continue;
		item_start(item, z->config, z->filter);
		z->n_running += item->state == ITEM_RUNNING;
	}
}

/* Ends workers that are over their time. Returns milliseconds to the next such end, or -1. */
static int zygote_expire(struct zygote *z)
{
	uint64_t now = item_now_us(), soonest = UINT64_MAX;
	struct list *node, *after;
	char text[MEDIA_TEXT_BYTES];

	list_each(node, after, &z->items) {
		struct media_item *item = list_entry(node, struct media_item, link);

		if (item->state != ITEM_RUNNING)
			continue;
		if (item->end_us <= now) {
			snprintf(text, sizeof(text), "Decoding took longer than %u ms and was stopped.",
				 item->request.time_ms);
			item_stop(item, WIRE_MEDIA, text);
		} else if (item->end_us < soonest) {
			soonest = item->end_us;
		}
	}
	return soonest == UINT64_MAX ? -1 : (int)((soonest - now) / 1000 + 1);
}

/* Waits for requests, ended workers, room in the socket. */
static int zygote_wait(struct zygote *z, int timeout_ms, bool blocked)
{
	struct list *node, *after;
	nfds_t n = 1;
	int error;

	z->polls[0] = (struct pollfd){ z->config->socket,
				       (short)((z->n_items < ZYGOTE_MAX_ITEMS ? POLLIN : 0) | (blocked ? POLLOUT : 0)),
				       0 };
	list_each(node, after, &z->items) {
		struct media_item *item = list_entry(node, struct media_item, link);

		if (item->pidfd < 0 || n > z->config->workers)
			continue;
		z->polls[n] = (struct pollfd){ item->pidfd, POLLIN, 0 };
		z->polled[n++] = item;
	}
	if (poll(z->polls, n, timeout_ms) < 0)
		return errno == EINTR ? 0 : -errno;
	for (nfds_t i = 1; i < n; i++)
		if (z->polls[i].revents) {
			item_finish(z->polled[i]);
			z->n_running--;
		}
	error = z->polls[0].revents & (POLLIN | POLLHUP | POLLERR) ? zygote_receive(z) : 0;
	return error;
}

static void zygote_end(struct zygote *z)
{
	struct list *node, *after;

	list_each(node, after, &z->items) {
		struct media_item *item = list_entry(node, struct media_item, link);

		if (item->pid > 0) {
			kill(item->pid, SIGKILL);
			item_finish(item);
		}
		item_free(item);
	}
	free(z->polls);
	free(z->polled);
	sandbox_filter_free(z->filter);
}

/* As many descriptors as the system lets us have; then as many items as they allow: a waiting item has one, a running
 * one three. */
static unsigned zygote_raise_descriptors(unsigned workers)
{
	struct rlimit limit;
	uint64_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return ZYGOTE_FULL / 8;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < 3 * (uint64_t)workers + 2 * ZYGOTE_SPARE_DESCRIPTORS)
		return 1;
	room = limit.rlim_cur - 3 * (uint64_t)workers - ZYGOTE_SPARE_DESCRIPTORS;
	return room < ZYGOTE_FULL ? (unsigned)room : ZYGOTE_FULL;
}

int zygote_run(const struct zygote_config *config)
{
	struct zygote z = { .config = config, .full = zygote_raise_descriptors(config->workers) };
	bool blocked = false;
	int error = -ENOMEM;

	list_init(&z.items);
	z.polls = calloc(config->workers + 1, sizeof(*z.polls));
	z.polled = calloc(config->workers + 1, sizeof(struct media_item *));
	z.filter = sandbox_filter_new();
	if (!z.polls || !z.polled || !z.filter)
		goto done;
	decode_warm_up();
	for (error = 0; !error && !z.ended;) {
		int timeout_ms;

		zygote_start(&z);
		timeout_ms = zygote_expire(&z);
		blocked = zygote_flush(&z);
		if (!z.ended)
			error = zygote_wait(&z, timeout_ms, blocked);
	}
done:
	zygote_end(&z);
	return error;
}
