/* test-libpercept.c - the client library against a scripted server at the other end of a socket pair. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <percept/client.h>

#include "sdk/wire/frame.h"

/* One end of the pair is the library's, the other the script's. Each frame that comes is answered by the next line of
 * the script; "%.0f" in it is the first request's id. A line NULL closes. */
struct peer {
	const char *const *script;
	int socket;
	double id;         /* of the first request */
	char *lines;       /* what came, one JSON text a line */
	uint8_t tail[256]; /* of the first request */
	size_t tail_bytes;
	unsigned n_fds;
	char files[512]; /* the content of its descriptors */
	int said_all;
};

struct fixture {
	pthread_t thread;
	struct peer peer;
	struct percept_connection *c;
	struct percept_error error;
	struct percept_answer answer;
	char heard[1024];
	atomic_int deltas;
};

static void peer_say(struct peer *p)
{
	const char *line = *p->script;
	char text[4096];
	if (!line) {
		shutdown(p->socket, SHUT_RDWR);
		p->said_all = 1;
		return;
	}
	p->script++;
	snprintf(text, sizeof text, line, p->id, p->id, p->id, p->id);
	assert_int_equal(send(p->socket, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void peer_keep(struct peer *p, const struct wire_frame *frame)
{
	p->id = cJSON_GetObjectItem(frame->json, "id")->valuedouble;
	p->tail_bytes = frame->tail_bytes < sizeof p->tail ? frame->tail_bytes : sizeof p->tail;
	if (p->tail_bytes)
		memcpy(p->tail, frame->tail, p->tail_bytes);
	p->n_fds = frame->n_fds;
	for (unsigned i = 0; i < frame->n_fds; i++) {
		char content[32] = "";
		assert_true(pread(frame->fds[i], content, sizeof content - 1, 0) >= 0);
		strcat(p->files, content);
	}
}

static int peer_frame(void *arg, struct wire_frame *frame)
{
	struct peer *p = arg;
	char *text = cJSON_PrintUnformatted(frame->json), *all = NULL;
	if (!p->lines)
		peer_keep(p, frame);
	assert_true(asprintf(&all, "%s%s\n", p->lines ? p->lines : "", text) > 0);
	free(p->lines);
	free(text);
	p->lines = all;
	wire_frame_fini(frame);
	peer_say(p);
	return 0;
}

static void peer_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	(void)arg, (void)id;
	fail_msg("the library sent a bad frame: %s", error->text);
}

static void *peer_run(void *arg)
{
	struct peer *p = arg;
	const struct wire_reader_events events = {.frame = peer_frame, .broken = peer_broken, .invalid = peer_broken};
	struct wire_reader *reader = wire_reader_new(&wire_client_limits, &events, p);
	struct pollfd readable = {.fd = p->socket, .events = POLLIN};
	ssize_t n = 1;
	while (!p->said_all && (n > 0 || n == -EAGAIN)) {
		poll(&readable, 1, -1);
		n = wire_reader_pull(reader, p->socket);
	}
	wire_reader_free(reader);
	return NULL;
}

static void fixture_begin(struct fixture *f, const char *const *script)
{
	int pair[2];
	memset(f, 0, sizeof *f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->c = percept_adopt(pair[0], &f->error);
	assert_non_null(f->c);
	f->peer.script = script;
	f->peer.socket = pair[1];
	assert_int_equal(pthread_create(&f->thread, NULL, peer_run, &f->peer), 0);
}

static void fixture_end(struct fixture *f)
{
	percept_close(f->c);
	pthread_join(f->thread, NULL);
	close(f->peer.socket);
	percept_answer_clear(&f->answer);
	percept_error_clear(&f->error);
	free(f->peer.lines);
}

static int fixture_call(struct fixture *f, const char *method, const char *params, const struct percept_events *events)
{
	struct percept_request request = {.size = sizeof request, .method = method, .params = params, .timeout_ms = 20000};
	return percept_call(f->c, &request, events, &f->answer, &f->error);
}

#define SCRIPT(...) (const char *const[]){__VA_ARGS__, NULL}

static void heard_delta(void *arg, const char *text, size_t n)
{
	struct fixture *f = arg;
	snprintf(f->heard + strlen(f->heard), sizeof f->heard - strlen(f->heard), "%zu:%s ", n, text);
	atomic_fetch_add(&f->deltas, 1);
}

static void heard_progress(void *arg, const char *stage, double done, double total)
{
	struct fixture *f = arg;
	snprintf(f->heard + strlen(f->heard), sizeof f->heard - strlen(f->heard), "%s %g/%g ", stage, done, total);
}

static void gives_result_and_tail(void **state)
{
	struct fixture f;
	(void)state;
	fixture_begin(&f, SCRIPT("{\"jsonrpc\":\"2.0\",\"id\":%.0f,\"result\":{\"a\":[1,\"\xc3\xbc\"]},\"bin\":3}\nxyz"));
	assert_int_equal(fixture_call(&f, "status", "{\"x\":1}", NULL), 0);
	assert_string_equal(f.answer.result, "{\"a\":[1,\"\xc3\xbc\"]}");
	assert_int_equal(f.answer.tail_bytes, 3);
	assert_memory_equal(f.answer.tail, "xyz", 3);
	assert_non_null(strstr(f.peer.lines, "\"method\":\"status\""));
	assert_non_null(strstr(f.peer.lines, "\"params\":{\"x\":1}"));
	fixture_end(&f);
}

static void gives_errors(void **state)
{
	struct fixture f;
	(void)state;
	fixture_begin(&f, SCRIPT("{\"jsonrpc\":\"2.0\",\"id\":%.0f,\"error\":{\"code\":-32602,\"message\":\"No.\",\"data\":{\"path\":\"a\"}}}\n",
				 "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Broken.\"}}\n"));
	assert_int_equal(fixture_call(&f, "x", NULL, NULL), -32602);
	assert_int_equal(f.error.code, -32602);
	assert_string_equal(f.error.text, "No.");
	assert_string_equal(f.error.data, "{\"path\":\"a\"}");
	assert_null(f.answer.result);
	assert_int_equal(fixture_call(&f, "x", NULL, NULL), -32700);
	assert_null(f.error.data);
	fixture_end(&f);
}

static void tells_events(void **state)
{
	struct fixture f;
	struct percept_events events = {.size = sizeof events, .delta = heard_delta, .progress = heard_progress, .arg = &f};
	(void)state;
#define NOTE(method, id, members) "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":{\"request_id\":" id "," members "}}\n"
	fixture_begin(&f, SCRIPT(NOTE("response.in_progress", "%.0f", "\"stage\":\"encode\",\"done\":1,\"total\":2")
				 NOTE("response.output_text.delta", "%.0f", "\"delta\":\"\xc3\xbc \"")
				 NOTE("response.output_text.delta", "99", "\"delta\":\"another's\"")
				 NOTE("response.output_text.delta", "%.0f", "\"delta\":\"b\"")
				 "{\"jsonrpc\":\"2.0\",\"id\":98,\"result\":{}}\n"
				 "{\"jsonrpc\":\"2.0\",\"id\":%.0f,\"result\":{}}\n"));
	assert_int_equal(fixture_call(&f, "response.create", "{\"input\":\"x\"}", &events), 0);
	assert_string_equal(f.heard, "encode 1/2 3:\xc3\xbc  1:b ");
	fixture_end(&f);
}

static void says_when_peer_ends(void **state)
{
	struct fixture f;
	(void)state;
	fixture_begin(&f, SCRIPT(NULL));
	assert_int_equal(fixture_call(&f, "x", NULL, NULL), -ECONNRESET);
	assert_int_equal(fixture_call(&f, "x", NULL, NULL), -ECONNRESET);
	fixture_end(&f);
	fixture_begin(&f, SCRIPT("HTTP/1.1 400 Bad Request\n"));
	assert_int_equal(fixture_call(&f, "x", NULL, NULL), -EPROTO);
	assert_non_null(strstr(f.error.text, "does not speak"));
	fixture_end(&f);
}

static void gives_up_in_time(void **state)
{
	struct fixture f;
	struct percept_request request = {.size = sizeof request, .method = "x", .timeout_ms = 30};
	(void)state;
	fixture_begin(&f, SCRIPT("\n"));
	assert_int_equal(percept_call(f.c, &request, NULL, NULL, &f.error), -ETIMEDOUT);
	fixture_end(&f);
}

static void refuses_bad_requests(void **state)
{
	struct fixture f;
	int fd = open("/dev/null", O_RDONLY);
	struct percept_request request = {.size = sizeof request, .method = "x", .params = "{\"a\":[{\"fd\":1}]}", .fds = &fd, .n_fds = 1};
	(void)state;
	fixture_begin(&f, SCRIPT("\n"));
	assert_int_equal(fixture_call(&f, "x", "[]", NULL), -32602);
	assert_int_equal(fixture_call(&f, "x", "{\"a\":1", NULL), -32602);
	assert_int_equal(fixture_call(&f, "x", "{\"a\":\"\xff\"}", NULL), -32602);
	assert_int_equal(fixture_call(&f, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(percept_call(f.c, &request, NULL, NULL, &f.error), -32008); /* /dev/null is empty */
	close(fd);
	fd = memfd_create("x", MFD_CLOEXEC);
	assert_int_equal(percept_call(f.c, &request, NULL, NULL, &f.error), -32602); /* there is no file 1 */
	close(fd);
	assert_int_equal(percept_call(f.c, &request, NULL, NULL, &f.error), -EBADF);
	assert_null(f.peer.lines);
	fixture_end(&f);
}

static void *cancel_soon(void *arg)
{
	struct fixture *f = arg;
	while (!atomic_load(&f->deltas))
		usleep(1000);
	percept_cancel(f->c);
	return NULL;
}

#define CANCELLED "{\"jsonrpc\":\"2.0\",\"id\":%.0f,\"result\":{\"status\":\"cancelled\"}}\n"

static void cancels_from_a_thread(void **state)
{
	struct fixture f;
	pthread_t thread;
	struct percept_events events = {.size = sizeof events, .delta = heard_delta, .arg = &f};
	(void)state;
	fixture_begin(&f, SCRIPT(NOTE("response.output_text.delta", "%.0f", "\"delta\":\"w\""), CANCELLED,
				 "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\n"));
	percept_cancel(f.c); /* nothing is running: nothing happens */
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &f), 0);
	assert_int_equal(fixture_call(&f, "response.create", "{\"input\":\"x\"}", &events), 0);
	pthread_join(thread, NULL);
	assert_string_equal(f.answer.result, "{\"status\":\"cancelled\"}");
	assert_non_null(strstr(f.peer.lines, "\"method\":\"response.cancel\",\"params\":{\"request_id\":1}"));
	percept_answer_clear(&f.answer);
	assert_int_equal(fixture_call(&f, "ping", NULL, NULL), 0);
	fixture_end(&f);
}

static void cancels_by_descriptor(void **state)
{
	struct fixture f;
	int ends[2];
	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	fixture_begin(&f, SCRIPT("\n", CANCELLED));
	percept_cancel_on(f.c, ends[0]);
	assert_int_equal(fixture_call(&f, "response.create", "{\"input\":\"x\"}", NULL), 0);
	assert_string_equal(f.answer.result, "{\"status\":\"cancelled\"}");
	fixture_end(&f);
	close(ends[0]);
	close(ends[1]);
}

static int file_of(const char *text)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void sorts_files(void **state)
{
	struct fixture f;
	int fds[11], ends[2];
	char params[512] = "{\"input\":[";
	struct percept_request request = {.size = sizeof request, .method = "x", .params = params, .fds = fds, .n_fds = 11};
	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "piped", 5), 5);
	close(ends[1]);
	for (int i = 0; i < 11; i++) {
		char name[3] = {(char)('a' + i), '.', '\0'};
		fds[i] = i == 1 ? ends[0] : file_of(name);
		sprintf(params + strlen(params), "%s{\"fd\":%d}", i ? "," : "", i);
	}
	strcat(params, ",{\"bin\":[0,2]}]}");
	request.tail = "--";
	request.tail_bytes = 2;
	fixture_begin(&f, SCRIPT("{\"jsonrpc\":\"2.0\",\"id\":%.0f,\"result\":{}}\n"));
	assert_int_equal(percept_call(f.c, &request, NULL, NULL, &f.error), 0);
	assert_int_equal(f.peer.n_fds, 8);
	assert_string_equal(f.peer.files, "a.c.d.e.f.g.h.i.");
	assert_int_equal(f.peer.tail_bytes, 11);
	assert_memory_equal(f.peer.tail, "--pipedj.k.", 11);
	assert_non_null(strstr(f.peer.lines, "[{\"fd\":0},{\"bin\":[2,5]},{\"fd\":1},{\"fd\":2},{\"fd\":3},{\"fd\":4},{\"fd\":5},{\"fd\":6},"
					     "{\"fd\":7},{\"bin\":[7,2]},{\"bin\":[9,2]},{\"bin\":[0,2]}]"));
	fixture_end(&f);
	for (int i = 0; i < 11; i++)
		assert_int_equal(close(fds[i]), 0); /* they stay the caller's */
}

static void inputs_are_conversations(void **state)
{
	struct percept_error error = {0};
	struct percept_input *in = percept_input_new();
	(void)state;
	assert_int_equal(percept_input_text(in, "one", &error), 0);
	assert_int_equal(percept_input_message(in, "assistant"), 0);
	assert_int_equal(percept_input_text(in, "two", &error), 0);
	assert_int_equal(percept_input_message(in, "user"), 0);
	assert_int_equal(percept_input_fd(in, "image", file_of("pixels"), &error), 0);
	assert_int_equal(percept_input_bytes(in, "audio", "sound", 5, &error), 0);
	assert_int_equal(percept_input_set(in, "temperature", "0.5", &error), 0);
	assert_int_equal(percept_input_set(in, "temperature", "0.25", &error), 0);
	assert_int_equal(percept_input_set(in, "seed", "{", &error), -32602);
	assert_int_equal(percept_input_message(in, "robot"), -EINVAL);
	assert_int_equal(percept_input_bytes(in, "smell", "x", 1, &error), -EINVAL);
	assert_int_equal(percept_input_bytes(in, "image", "", 0, &error), -32008);
	assert_int_equal(percept_input_fd(in, "image", file_of(""), &error), -32008);
	assert_int_equal(percept_input_file(in, "image", "/none/such", &error), -ENOENT);
	assert_int_equal(percept_input_count(in), 3);
	char *json = percept_input_json(in);
	assert_string_equal(json, "{\"temperature\":0.25,\"input\":["
				  "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"one\"}]},"
				  "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"two\"}]},"
				  "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"fd\":0},"
				  "{\"type\":\"input_audio\",\"bin\":[0,5]}]}]}");
	free(json);
	percept_input_truncate(in, 1);
	assert_int_equal(percept_input_count(in), 1);
	percept_input_free(in);
	percept_error_clear(&error);
}

static void connects_by_path(void **state)
{
	struct percept_error error = {0};
	char path[64], longer[200];
	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	assert_null(percept_connect("/none/such", &error));
	assert_int_equal(error.code, -ENOENT);
	assert_null(percept_connect(longer, NULL));
	setenv("PERCEPT_SOCKET", "/some/where", 1);
	assert_int_equal(percept_socket_path(path, sizeof path, &error), 0);
	assert_string_equal(path, "/some/where");
	setenv("PERCEPT_SOCKET", longer, 1);
	assert_true(percept_socket_path(path, sizeof path, &error) < 0);
	unsetenv("PERCEPT_SOCKET");
	percept_error_clear(&error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_result_and_tail), cmocka_unit_test(gives_errors), cmocka_unit_test(tells_events),
		cmocka_unit_test(says_when_peer_ends),   cmocka_unit_test(gives_up_in_time), cmocka_unit_test(refuses_bad_requests),
		cmocka_unit_test(cancels_from_a_thread), cmocka_unit_test(cancels_by_descriptor), cmocka_unit_test(sorts_files),
		cmocka_unit_test(inputs_are_conversations), cmocka_unit_test(connects_by_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
