/* test-socket.c - frames with descriptors over real sockets, and the writer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/wire/frame.h"

struct ends {
	int client, server;
	struct wire_reader *reader;
	char heard[65536];
	size_t n;
	unsigned frames;
	ino_t inode; /* of the last descriptor that came */
	size_t tail_bytes;
};

static int on_frame(void *arg, struct wire_frame *frame)
{
	struct ends *e = arg;
	struct stat st;
	e->n += (size_t)snprintf(e->heard + e->n, sizeof(e->heard) - e->n, "%s:%u ", wire_frame_method(frame), frame->n_fds);
	e->frames++;
	e->tail_bytes = frame->tail_bytes;
	for (unsigned i = 0; i < frame->n_fds; i++) {
		assert_int_equal(fstat(frame->fds[i], &st), 0);
		e->inode = st.st_ino;
	}
	wire_frame_fini(frame);
	return 0;
}

static void on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct ends *e = arg;
	e->n += (size_t)snprintf(e->heard + e->n, sizeof(e->heard) - e->n, "broken%d ", error->code);
}

static void on_invalid(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct ends *e = arg;
	e->n += (size_t)snprintf(e->heard + e->n, sizeof(e->heard) - e->n, "invalid%d ", error->code);
}

static const struct wire_reader_events events = {on_frame, on_broken, on_invalid};

static struct ends *ends_new(void)
{
	int pair[2];
	struct ends *e = calloc(1, sizeof(*e));
	assert_non_null(e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	e->client = pair[0];
	e->server = pair[1];
	e->reader = wire_reader_new(&wire_client_limits, &events, e);
	assert_non_null(e->reader);
	return e;
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;
	DIR *dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Sends bytes with n_fds duplicates of descriptor 0. */
static void ends_send(struct ends *e, const char *text, unsigned n_fds)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(char *)(size_t)text, strlen(text)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	if (n_fds) {
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (unsigned i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &(int){e->client}, sizeof(int));
	}
	assert_int_equal(sendmsg(e->client, &m, 0), (ssize_t)iov.iov_len);
}

static void ends_pull(struct ends *e)
{
	while (wire_reader_pull(e->reader, e->server) > 0)
		;
}

static void ends_free(struct ends *e)
{
	wire_reader_free(e->reader);
	close(e->client);
	close(e->server);
	free(e);
}

/* A message is text and how many descriptors ride on it; `|` in `pull` says where the reader reads. */
struct message {
	const char *text;
	unsigned fds;
	int pull; /* read before the next is sent */
};

#define J "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
#define PING J "\"ping\"}\n"
#define ONE J "\"one\",\"fds\":1}\n"
#define TWO J "\"two\",\"fds\":2}\n"

static const struct {
	const char *name;
	struct message messages[4];
	const char *want;
} cases[] = {
	{"one with its frame", {{ONE, 1, 1}}, "one:1 "},
	{"eight", {{J "\"m\",\"fds\":8}\n", 8, 1}}, "m:8 "},
	{"behind a frame that is read along", {{PING, 0, 0}, {ONE, 1, 0}, {PING, 0, 0}}, "ping:0 one:1 ping:0 "},
	{"two frames in one message", {{ONE TWO, 3, 1}}, "one:1 two:2 "},
	{"behind empty lines", {{"\n\r\n" ONE, 1, 1}}, "one:1 "},
	{"a frame in parts", {{"{", 1, 1}, {"\"jsonrpc\":\"2.0\",\"id\":1,", 0, 1}, {"\"method\":\"m\",\"fds\":1}\n", 0, 1}}, "m:1 "},
	{"the next one in parts", {{PING "{", 1, 1}, {"\"jsonrpc\":\"2.0\",\"method\":\"m\",\"fds\":1}\n" PING, 0, 1}}, "ping:0 m:1 ping:0 "},
	{"with a tail that comes later", {{J "\"m\",\"fds\":1,\"bin\":3}\na", 1, 1}, {"bc" ONE, 1, 1}}, "m:1 one:1 "},
	{"a frame that is invalid", {{"{\"jsonrpc\":\"2.0\",\"id\":1,\"fds\":2}\n", 2, 1}, {PING, 0, 1}}, "invalid-32600 ping:0 "},
	{"too few", {{TWO, 1, 1}}, "broken-32600 "},
	{"too many", {{ONE, 2, 1}}, "broken-32600 "},
	{"none announced", {{PING, 1, 1}}, "broken-32600 "},
	{"nine", {{PING, 9, 1}}, "broken-32600 "},
	{"with an empty line", {{"\n", 1, 1}}, "broken-32600 "},
	{"in the middle of a line", {{"{\"jsonrpc\":", 0, 1}, {"\"2.0\",\"id\":1,", 1, 1}, {"\"method\":\"m\",\"fds\":1}\n", 0, 1}}, "broken-32600 "},
	{"before their frame", {{PING, 1, 1}, {ONE, 0, 1}}, "broken-32600 "},
	{"behind their frame", {{ONE, 0, 1}, {PING, 1, 1}}, "broken-32600 "},
	{"within a tail", {{J "\"m\",\"bin\":4}\nab", 0, 1}, {"c", 1, 1}}, "broken-32600 "},
	{"too many for a frame in parts", {{"{\"jsonrpc\":\"2.0\",", 2, 1}, {"\"id\":1,\"method\":\"m\",\"fds\":1}\n", 0, 1}}, "broken-32600 "},
	{"left when the client goes", {{"{\"jsonrpc\"", 4, 1}}, ""},
};

static void descriptors_belong_to_their_frame(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned before = open_descriptors();
		struct ends *e = ends_new();
		for (size_t k = 0; k < 4 && cases[i].messages[k].text; k++) {
			ends_send(e, cases[i].messages[k].text, cases[i].messages[k].fds);
			if (cases[i].messages[k].pull)
				ends_pull(e);
		}
		ends_pull(e);
		if (strcmp(e->heard, cases[i].want) != 0)
			print_error("%s\n", cases[i].name);
		assert_string_equal(e->heard, cases[i].want);
		ends_free(e);
		assert_int_equal(open_descriptors(), before);
	}
}

static void the_end_of_a_stream_is_told(void **state)
{
	struct ends *e = ends_new();
	assert_int_equal(wire_reader_pull(e->reader, e->server), -EAGAIN);
	shutdown(e->client, SHUT_WR);
	assert_int_equal(wire_reader_pull(e->reader, e->server), 0);
	ends_free(e);
}

/* Lets writer and reader take turns until all is through. */
static void through(struct wire_writer *w, struct ends *e)
{
	for (int turns = 0; wire_writer_pending(w) && turns < 100000; turns++) {
		assert_true(wire_writer_push(w, e->client) >= 0);
		ends_pull(e);
	}
	ends_pull(e);
	assert_int_equal(wire_writer_pending(w), 0);
}

static void a_frame_with_tail_and_descriptor_arrives(void **state)
{
	unsigned before = open_descriptors();
	struct ends *e = ends_new();
	struct wire_writer *w = wire_writer_new();
	FILE *file = tmpfile();
	struct stat st;
	static char tail[3000000];
	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	cJSON *json = wire_request(7, "m", NULL);
	int fds[] = {dup(0), dup(fileno(file))};
	fclose(file);
	assert_int_equal(wire_writer_add_line(w, PING, strlen(PING) - 1), 0);
	assert_int_equal(wire_writer_add(w, json, tail, sizeof(tail), fds, 2), 0);
	assert_int_equal(wire_writer_add_line(w, PING, strlen(PING) - 1), 0);
	assert_true(wire_writer_push(w, e->client) > 0); /* more than a socket takes at once */
	through(w, e);
	assert_string_equal(e->heard, "ping:0 m:2 ping:0 ");
	assert_int_equal(e->inode, st.st_ino);
	cJSON_Delete(json);
	wire_writer_free(w);
	ends_free(e);
	assert_int_equal(open_descriptors(), before);
}

static void many_frames_keep_their_order(void **state)
{
	struct ends *e = ends_new();
	struct wire_writer *w = wire_writer_new();
	for (int i = 0; i < 300; i++) {
		cJSON *json = wire_notification(i % 50 == 3 ? "f" : "n", cJSON_CreateObject());
		int fd = i % 50 == 3 ? dup(0) : -1;
		assert_int_equal(wire_writer_add(w, json, NULL, 0, &fd, fd >= 0), 0);
		cJSON_Delete(json);
	}
	through(w, e);
	assert_int_equal(e->frames, 300);
	for (int i = 0; i < 300; i++)
		assert_memory_equal(e->heard + 4 * i, i % 50 == 3 ? "f:1 " : "n:0 ", 4);
	wire_writer_free(w);
	ends_free(e);
}

static void unsent_descriptors_are_closed(void **state)
{
	unsigned before = open_descriptors();
	struct wire_writer *w = wire_writer_new();
	cJSON *json = wire_request(1, "m", NULL);
	int fd = dup(0), many[WIRE_MAX_FDS + 1];
	assert_int_equal(wire_writer_add(w, json, NULL, 0, &fd, 1), 0);
	for (int i = 0; i <= WIRE_MAX_FDS; i++)
		many[i] = dup(0);
	assert_int_equal(wire_writer_add(w, json, NULL, 0, many, WIRE_MAX_FDS + 1), -E2BIG);
	cJSON_Delete(json);
	wire_writer_free(w);
	assert_int_equal(open_descriptors(), before);
}

static void a_peer_that_is_gone_is_told(void **state)
{
	struct ends *e = ends_new();
	struct wire_writer *w = wire_writer_new();
	close(e->server);
	e->server = -1;
	assert_int_equal(wire_writer_add_line(w, PING, strlen(PING) - 1), 0);
	assert_int_equal(wire_writer_push(w, e->client), -EPIPE);
	wire_writer_free(w);
	ends_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_belong_to_their_frame),
		cmocka_unit_test(the_end_of_a_stream_is_told),
		cmocka_unit_test(a_frame_with_tail_and_descriptor_arrives),
		cmocka_unit_test(many_frames_keep_their_order),
		cmocka_unit_test(unsent_descriptors_are_closed),
		cmocka_unit_test(a_peer_that_is_gone_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
