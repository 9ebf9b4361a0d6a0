/* media-client.c - perceptd's end of percept-media: descriptors of media in, checked memfds of pixels out. */
#include "daemon/assist/media-client.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/assist/child.h"
#include "daemon/base/file.h"
#include "daemon/base/log.h"
#include "sdk/wire/media-wire.h"

enum { MEDIA_IN_FLIGHT = 16, MEDIA_TRIES = 2, MEDIA_TICK_MS = 500, MEDIA_GRACE_MS = 3000, MEDIA_DEFAULT_MS = 30000 };

/* A run of calls, in order. */
struct media_run {
	struct media_call *first, **last;
	unsigned n;
};

struct media_client {
	const struct media_setup *setup;
	struct child *child;
	int socket;              /* -1 while there is no program */
	uv_poll_t *poll;         /* of the socket */
	uv_timer_t timer;        /* runs while something is in flight */
	uint64_t last_id;
	int start_error;         /* of the last start, or 0 */
	struct media_run waiting, flying;
	bool freed;
};

static void media_on_poll(uv_poll_t *poll, int status, int events);
static void media_on_timer(uv_timer_t *timer);

static void media_run_add(struct media_run *run, struct media_call *call)
{
	call->run = run;
	call->next = NULL;
	call->at = run->last;
	*run->last = call;
	run->last = &call->next;
	run->n++;
}

static void media_run_take(struct media_call *call)
{
	struct media_run *run = call->run;

	*call->at = call->next;
	if (call->next)
		call->next->at = call->at;
	else
		run->last = call->at;
	call->next = NULL;
	call->at = NULL;
	call->run = NULL;
	run->n--;
}

static void media_free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void media_on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void media_hang_up(struct media_client *client)
{
	if (client->poll) {
		uv_close((uv_handle_t *)client->poll, media_free_handle);
		client->poll = NULL;
	}
	if (client->socket >= 0)
		close(client->socket);
	client->socket = -1;
}

static void media_push(struct media_client *client);

/* The program is gone: what it had gets another try, then fails. */
static void media_on_gone(struct media_client *client)
{
	struct media_call *call;
	struct media_run lost = {NULL, &lost.first, 0};

	media_hang_up(client);
	while ((call = client->flying.first)) {
		media_run_take(call);
		media_run_add(call->tries < MEDIA_TRIES ? &client->waiting : &lost, call);
	}
	while ((call = lost.first)) {
		media_run_take(call);
		wire_error_set(&call->error, WIRE_INTERNAL, "The media program ended while it read this item; send the request "
			       "again, or look into the log of perceptd.");
		call->done(call->arg, call);
	}
	if (!client->freed)
		media_push(client);
}

static void media_on_exited(void *arg, int status, int signal)
{
	struct media_client *client = arg;

	client->child = NULL;
	log_write(client->freed ? LOG_DEBUG : LOG_WARN, "media.exit", "status=%d signal=%d", status, signal);
	media_on_gone(client);
}

/* Ends a program that misbehaves; its exit does the rest. */
static void media_kill(struct media_client *client, const char *why)
{
	log_error("media.bad", "pid=%d why=\"%s\"", client->child ? (int)child_pid(client->child) : 0, why);
	if (client->child)
		child_kill(client->child, SIGKILL);
}

static int media_start(struct media_client *client)
{
	const struct media_setup *setup = client->setup;
	char bytes[48], workers[32];
	char *argv[] = {(char *)setup->program, "--fd", "3", NULL, NULL, NULL};
	struct child_start start = {argv, SOCK_SEQPACKET, NULL, media_on_exited, client};
	int err, n = 3;

	if (setup->max_bytes) {
		snprintf(bytes, sizeof(bytes), "--max-bytes=%llu", (unsigned long long)setup->max_bytes);
		argv[n++] = bytes;
	}
	if (setup->workers) {
		snprintf(workers, sizeof(workers), "--workers=%u", setup->workers);
		argv[n++] = workers;
	}
	err = child_start(setup->loop, &start, &client->child, &client->socket);
	if (err)
		return err;
	client->poll = calloc(1, sizeof(*client->poll));
	if (!client->poll || uv_poll_init(client->setup->loop, client->poll, client->socket)) {
		free(client->poll);
		client->poll = NULL;
		media_kill(client, "no memory to watch it");
		return -ENOMEM;
	}
	client->poll->data = client;
	uv_poll_start(client->poll, UV_READABLE, media_on_poll);
	log_info("media.start", "pid=%d program=%s", (int)child_pid(client->child), client->setup->program);
	return 0;
}

static int media_send(struct media_client *client, uint32_t verb, uint64_t id, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct media_request request = {
		.magic = MEDIA_WIRE_MAGIC, .verb = verb, .id = id, .kind = MEDIA_IMAGE,
		.time_ms = client->setup->time_ms, .max_pixels = client->setup->max_pixels,
		.max_side = client->setup->max_side, .background = client->setup->background,
	};
	struct iovec iov = {&request, sizeof(request)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(client->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Sends what waits, as far as the socket and the limit of items in flight allow. */
static void media_push(struct media_client *client)
{
	struct media_call *call;
	int err = 0;

	if (!client->waiting.first || (client->child && client->socket < 0))
		return;
	if (!client->child)
		err = media_start(client);
	while (!err && (call = client->waiting.first) && client->flying.n < MEDIA_IN_FLIGHT) {
		err = media_send(client, MEDIA_DECODE, call->id, call->source);
		if (err)
			break;
		media_run_take(call);
		media_run_add(&client->flying, call);
		call->tries++;
		call->sent_ms = uv_now(client->setup->loop);
	}
	if (client->poll)
		uv_poll_start(client->poll, UV_READABLE | (err == -EAGAIN ? UV_WRITABLE : 0), media_on_poll);
	client->start_error = client->child ? 0 : err;
	if (client->start_error || !uv_is_active((uv_handle_t *)&client->timer))
		uv_timer_start(&client->timer, media_on_timer, client->start_error ? 0 : MEDIA_TICK_MS, MEDIA_TICK_MS);
}

/* There is no program to send it to. */
static void media_fail_waiting(struct media_client *client)
{
	struct media_call *call;

	while (!client->child && (call = client->waiting.first)) {
		media_run_take(call);
		wire_error_set(&call->error, WIRE_INTERNAL, "The media program %s cannot be started: %s; check the installation.",
			       client->setup->program, strerror(-client->start_error));
		call->done(call->arg, call);
	}
}

/* NULL, or what is wrong with an answer of status 0. */
static const char *media_check(const struct media_answer *answer, int fd)
{
	uint64_t bytes;

	if (fd < 0)
		return "a success without a descriptor";
	if (!answer->width || !answer->height || !answer->frames || answer->channels != 3)
		return "a picture without a size";
	if (__builtin_mul_overflow((uint64_t)answer->width * answer->height, (uint64_t)3, &bytes) ||
	    __builtin_mul_overflow(bytes, (uint64_t)answer->frames, &bytes) || bytes != answer->bytes)
		return "a size that is not width * height * channels * frames";
	if (file_check_sealed(fd, bytes))
		return "a memfd that is not sealed or has another size than announced";
	return NULL;
}

static void media_on_answer(struct media_client *client, struct media_answer *answer, int fd)
{
	struct media_call *call = client->flying.first;
	const char *wrong = NULL;

	while (call && call->id != answer->id)
		call = call->next;
	/* Unknown: it was cancelled. */
	if (call && answer->status == 0)
		wrong = media_check(answer, fd);
	if (wrong)
		media_kill(client, wrong);
	if (!call || wrong) {
		if (fd >= 0)
			close(fd);
		return;
	}
	media_run_take(call);
	answer->text[MEDIA_TEXT_BYTES - 1] = '\0';
	if (answer->status == 0) {
		call->pixels = fd;
		call->width = answer->width;
		call->height = answer->height;
		call->channels = answer->channels;
		call->frames = answer->frames;
		fd = -1;
	} else {
		wire_error_set(&call->error, answer->status < 0 ? answer->status : WIRE_MEDIA, "%s",
			       answer->text[0] ? answer->text : "The item cannot be decoded.");
		if (answer->signal)
			wire_error_number(&call->error, "signal", answer->signal);
	}
	if (fd >= 0)
		close(fd);
	call->done(call->arg, call);
}

/* One packet: 1 read, 0 nothing there, or -errno. */
static int media_receive(struct media_client *client)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct media_answer answer;
	struct iovec iov = {&answer, sizeof(answer)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(client->socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fd = -1;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		size_t count = c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		for (size_t i = 0; i < count; i++) {
			if (fd >= 0)
				close(fd);
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		}
	}
	if (n == sizeof(answer) && answer.magic == MEDIA_WIRE_MAGIC && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		media_on_answer(client, &answer, fd);
		return 1;
	}
	if (fd >= 0)
		close(fd);
	return n == 0 ? -EPIPE : -EPROTO;
}

static void media_on_poll(uv_poll_t *poll, int status, int events)
{
	struct media_client *client = poll->data;
	int n = 1;

	while (client->socket >= 0 && n > 0)
		n = media_receive(client);
	if (n < 0) {
		/* Its exit is on the way, or is made. */
		uv_poll_stop(poll);
		if (client->child)
			child_kill(client->child, SIGKILL);
		return;
	}
	media_push(client);
}

static void media_on_timer(uv_timer_t *timer)
{
	struct media_client *client = timer->data;
	uint64_t limit = (client->setup->time_ms ? client->setup->time_ms : MEDIA_DEFAULT_MS) + MEDIA_GRACE_MS;
	uint64_t now = uv_now(client->setup->loop);

	if (client->start_error)
		media_fail_waiting(client);
	if (!client->flying.first && !client->waiting.first) {
		uv_timer_stop(timer);
		return;
	}
	if (client->flying.first && now - client->flying.first->sent_ms > limit) {
		client->flying.first->tries = MEDIA_TRIES;
		media_kill(client, "an item over its time limit was not answered");
	}
}

struct media_client *media_client_new(const struct media_setup *setup)
{
	struct media_client *client = calloc(1, sizeof(*client));
	int err;

	if (!client)
		return NULL;
	client->setup = setup;
	client->socket = -1;
	client->waiting.last = &client->waiting.first;
	client->flying.last = &client->flying.first;
	uv_timer_init(setup->loop, &client->timer);
	client->timer.data = client;
	err = media_start(client);
	if (err)
		log_error("media.start", "program=%s error=\"%s\"", setup->program, strerror(-err));
	return client;
}

void media_client_free(struct media_client *client)
{
	if (!client)
		return;
	client->freed = true;
	if (client->child)
		child_forget(client->child);
	media_hang_up(client);
	uv_close((uv_handle_t *)&client->timer, media_on_timer_closed);
}

void media_client_submit(struct media_client *client, struct media_call *call)
{
	call->id = ++client->last_id;
	call->tries = 0;
	call->pixels = -1;
	media_run_add(&client->waiting, call);
	media_push(client);
}

void media_client_cancel(struct media_client *client, struct media_call *call)
{
	bool sent = call->run == &client->flying;

	if (!call->run)
		return;
	media_run_take(call);
	if (sent && client->socket >= 0)
		media_send(client, MEDIA_CANCEL, call->id, -1);
	media_push(client);
}
