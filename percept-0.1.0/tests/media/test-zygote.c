/* test-zygote.c - the zygote and its sandbox, with a worker that misbehaves on demand (media-double). */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "sdk/wire/frame.h"
#include "tests/media/media-peer.h"

enum { WAIT_MS = 20000, FLOOD = 300 };

static int start(void **state)
{
	struct media_peer *peer = malloc(sizeof(*peer));

	*peer = peer_start("tests/media/media-double", NULL);
	*state = peer;
	return 0;
}

static int stop(void **state)
{
	int status = peer_stop(*state);

	free(*state);
	/* It survived everything and ended of itself. */
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

/* A sealed memfd of one letter: what the double is to do. */
static int letter_file(char letter)
{
	int fd = memfd_create("letter", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &letter, 1), 1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, MEDIA_SEALS), 0);
	return fd;
}

static void send_letter(const struct media_peer *peer, uint64_t id, char letter, uint32_t time_ms)
{
	struct media_request request = peer_request(id);
	int fd = letter_file(letter);

	request.time_ms = time_ms;
	assert_int_equal(peer_send(peer, &request, fd), 0);
	close(fd);
}

/* Receives one answer and closes its memfd. */
static struct media_answer receive(const struct media_peer *peer)
{
	struct media_answer answer;
	int fd;

	assert_int_equal(peer_receive(peer, &answer, &fd, WAIT_MS), 0);
	assert_true((fd >= 0) == (answer.status == 0));
	if (fd >= 0)
		close(fd);
	return answer;
}

static struct media_answer act(const struct media_peer *peer, char letter)
{
	send_letter(peer, 1, letter, 0);
	return receive(peer);
}

static void assert_works(const struct media_peer *peer)
{
	struct media_answer answer = act(peer, 'g');

	assert_string_equal(answer.text, "");
	assert_int_equal(answer.status, 0);
	assert_int_equal(answer.bytes, 3);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void refuses_every_way_out_of_the_sandbox(void **state)
{
	assert_string_equal(act(*state, 'e').text, "all refused");
}

static void limits_memory_until_a_header_is_read(void **state)
{
	struct media_answer answer = act(*state, 'm');

	assert_true(!strcmp(answer.text, "limited") || !strcmp(answer.text, "not limited"));
}

static void a_heap_may_grow_and_shrink(void **state)
{
	struct media_answer answer = act(*state, 'b');

	assert_string_equal(answer.text, "");
	assert_int_equal(answer.status, 0);
}

static void limits_the_size_of_a_result(void **state)
{
	struct media_answer answer = act(*state, 'f');

	assert_int_equal(answer.status, WIRE_MEDIA);
	assert_int_equal(answer.signal, SIGXFSZ);
	assert_works(*state);
}

static void seals_a_result(void **state)
{
	struct media_answer answer;
	int fd;

	send_letter(*state, 7, 'g', 0);
	assert_int_equal(peer_receive(*state, &answer, &fd, WAIT_MS), 0);
	assert_int_equal(answer.id, 7);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & MEDIA_SEALS, MEDIA_SEALS);
	assert_int_equal(lseek(fd, 0, SEEK_END), 3);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	close(fd);
}

static void survives_workers_that_crash(void **state)
{
	struct media_answer answer = act(*state, 'a');

	assert_int_equal(answer.status, WIRE_MEDIA);
	assert_int_equal(answer.signal, SIGABRT);
	assert_non_null(strstr(answer.text, "signal 6"));
	assert_int_equal(act(*state, 'c').status, WIRE_MEDIA);
	assert_int_equal(act(*state, 'x').status, WIRE_MEDIA);
	assert_works(*state);
}

static void does_not_believe_a_worker(void **state)
{
	struct media_answer answer = act(*state, 'l');

	assert_int_equal(answer.status, WIRE_MEDIA);
	answer = act(*state, 'r');
	assert_int_equal(answer.status, WIRE_MEDIA);
	assert_string_equal(answer.text, "?[2J? rude");
}

static void ends_a_worker_that_hangs(void **state)
{
	double began = now_ms();
	struct media_answer answer;

	send_letter(*state, 1, 'h', 200);
	answer = receive(*state);
	assert_int_equal(answer.status, WIRE_MEDIA);
	assert_non_null(strstr(answer.text, "200 ms"));
	assert_true(now_ms() - began >= 200);
	assert_true(now_ms() - began < 5000);
	assert_works(*state);
}

static void a_cancelled_worker_is_killed_at_once(void **state)
{
	struct media_request cancel = peer_request(5);
	double began = now_ms();
	struct media_answer answer;

	cancel.verb = MEDIA_CANCEL;
	send_letter(*state, 5, 'h', 0);
	usleep(50000);
	assert_int_equal(peer_send(*state, &cancel, -1), 0);
	answer = receive(*state);
	assert_int_equal(answer.id, 5);
	assert_int_equal(answer.status, MEDIA_CANCELLED);
	assert_true(now_ms() - began < 5000);
	/* Once more: nothing has that id now. */
	assert_int_equal(peer_send(*state, &cancel, -1), 0);
	assert_works(*state);
}

static void a_waiting_item_can_be_cancelled(void **state)
{
	struct media_request cancel = peer_request(0);

	cancel.verb = MEDIA_CANCEL;
	for (uint64_t id = 1; id <= 5; id++)
		send_letter(*state, id, 'h', 0);
	for (uint64_t id = 5; id >= 1; id--) {
		struct media_answer answer;

		cancel.id = id;
		assert_int_equal(peer_send(*state, &cancel, -1), 0);
		answer = receive(*state);
		assert_int_equal(answer.id, id);
		assert_int_equal(answer.status, MEDIA_CANCELLED);
	}
	assert_works(*state);
}

/* The zygote's children, as the kernel lists them. */
static pid_t first_child(pid_t pid)
{
	char path[64], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return (pid_t)strtol(text, NULL, 10);
}

static void a_worker_killed_from_outside_fails_its_own_item_only(void **state)
{
	/* One of its own, so that no worker of an earlier test is still on its way out. */
	struct media_peer peer = peer_start("tests/media/media-double", NULL);
	struct media_answer answer;
	pid_t worker = 0;

	send_letter(&peer, 9, 'h', 0);
	for (int i = 0; i < 1000 && !(worker = first_child(peer.pid)); i++)
		usleep(5000);
	if (worker) { /* else the kernel has no such list */
		assert_int_equal(kill(worker, SIGKILL), 0);
		answer = receive(&peer);
		assert_int_equal(answer.id, 9);
		assert_int_equal(answer.status, WIRE_MEDIA);
		assert_int_equal(answer.signal, SIGKILL);
		assert_works(&peer);
	}
	assert_int_equal(peer_stop(&peer), 0);
}

static void answers_every_item_of_a_flood(void **state)
{
	uint8_t seen[FLOOD] = { 0 };
	unsigned sent = 0, received = 0;

	while (received < FLOOD) {
		struct media_answer answer;

		for (; sent < FLOOD && sent - received < 40; sent++)
			send_letter(*state, sent, sent % 7 ? 'g' : 'a', 0);
		answer = receive(*state);
		assert_true(answer.id < FLOOD && !seen[answer.id]);
		seen[answer.id] = 1;
		assert_int_equal(answer.status, answer.id % 7 ? 0 : WIRE_MEDIA);
		received++;
	}
}

static void ends_its_workers_when_the_socket_closes(void **state)
{
	struct media_peer peer = peer_start("tests/media/media-double", NULL);
	pid_t worker = 0;

	send_letter(&peer, 1, 'h', 0);
	for (int i = 0; i < 1000 && !(worker = first_child(peer.pid)); i++)
		usleep(5000);
	assert_int_equal(peer_stop(&peer), 0);
	if (worker) {
		assert_int_equal(kill(worker, 0), -1);
		assert_int_equal(errno, ESRCH);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_every_way_out_of_the_sandbox),
		cmocka_unit_test(limits_memory_until_a_header_is_read),
		cmocka_unit_test(a_heap_may_grow_and_shrink),
		cmocka_unit_test(limits_the_size_of_a_result),
		cmocka_unit_test(seals_a_result),
		cmocka_unit_test(survives_workers_that_crash),
		cmocka_unit_test(does_not_believe_a_worker),
		cmocka_unit_test(ends_a_worker_that_hangs),
		cmocka_unit_test(a_cancelled_worker_is_killed_at_once),
		cmocka_unit_test(a_waiting_item_can_be_cancelled),
		cmocka_unit_test(a_worker_killed_from_outside_fails_its_own_item_only),
		cmocka_unit_test(answers_every_item_of_a_flood),
		cmocka_unit_test(ends_its_workers_when_the_socket_closes),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
