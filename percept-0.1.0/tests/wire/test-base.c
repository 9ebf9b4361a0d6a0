/* test-base.c - workers and letters, what descriptors are, where the socket is, lines of the log. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/base/file.h"
#include "daemon/base/log.h"
#include "daemon/base/size.h"
#include "daemon/base/worker.h"
#include "sdk/wire/place.h"

/* ---- workers ---- */

struct job {
	struct worker_job job;
	atomic_int *started;
	atomic_int *gate; /* run waits until it is not 0; NULL: no waiting */
	int ran, done;
};

static void job_run(struct worker_job *w)
{
	struct job *job = (struct job *)(void *)w;
	if (job->started)
		atomic_fetch_add(job->started, 1);
	while (job->gate && atomic_load(job->gate) == 0)
		usleep(1000);
	job->ran++;
}

static void job_done(struct worker_job *w)
{
	struct job *job = (struct job *)(void *)w;
	assert_int_equal(job->ran, 1);
	job->done++;
}

static void jobs_run_and_their_ends_come_on_the_loop(void **state)
{
	uv_loop_t loop;
	static struct job jobs[200];
	assert_int_equal(uv_loop_init(&loop), 0);
	struct worker *worker = worker_new(&loop, 3, "test");
	assert_non_null(worker);
	for (int i = 0; i < 200; i++) {
		jobs[i] = (struct job){.job = {.run = job_run, .done = job_done}};
		worker_submit(worker, &jobs[i].job);
	}
	uv_run(&loop, UV_RUN_DEFAULT); /* ends by itself when all are done */
	for (int i = 0; i < 200; i++)
		assert_int_equal(jobs[i].done, 1);
	worker_free(worker);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_waiting_job_can_be_withdrawn(void **state)
{
	uv_loop_t loop;
	atomic_int gate = 0, started = 0;
	assert_int_equal(uv_loop_init(&loop), 0);
	struct worker *worker = worker_new(&loop, 1, "test");
	struct job first = {.job = {.run = job_run, .done = job_done}, .gate = &gate, .started = &started};
	struct job second = {.job = {.run = job_run, .done = job_done}};
	struct job dropped = second;
	assert_false(worker_withdraw(&second.job)); /* never submitted */
	worker_submit(worker, &first.job);
	while (atomic_load(&started) == 0)
		usleep(1000);
	worker_submit(worker, &second.job);
	assert_int_equal(worker_waiting(worker), 1);
	assert_false(worker_withdraw(&first.job));
	assert_true(worker_withdraw(&second.job));
	assert_false(worker_withdraw(&second.job));
	assert_int_equal(worker_waiting(worker), 0);
	worker_submit(worker, &dropped.job);
	atomic_store(&gate, 1);
	worker_free(worker); /* waits for the first; the other may or may not have begun */
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(first.done, 1);
	assert_int_equal(second.ran + second.done, 0);
	assert_int_equal(dropped.ran, dropped.done);
}

struct letter {
	struct post post;
	int number;
};

static int letters_next;

static void letter_deliver(void *arg, struct post *post)
{
	struct letter *letter = (struct letter *)(void *)post;
	assert_int_equal(letter->number, letters_next++);
	if (letters_next == 1000)
		postbox_close(*(struct postbox **)arg);
}

struct sender {
	struct postbox *box;
	struct letter *letters;
};

static void sender_main(void *arg)
{
	struct sender *sender = arg;
	for (int i = 0; i < 1000; i++) {
		sender->letters[i].number = i;
		postbox_send(sender->box, &sender->letters[i].post);
	}
}

static void letters_come_in_order(void **state)
{
	uv_loop_t loop;
	static struct letter letters[1000];
	struct postbox *box;
	struct worker_thread thread;
	assert_int_equal(uv_loop_init(&loop), 0);
	box = postbox_open(&loop, letter_deliver, &box);
	struct sender sender = {box, letters};
	letters_next = 0;
	assert_int_equal(worker_thread_start(&thread, "sender", sender_main, &sender), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	worker_thread_join(&thread);
	assert_int_equal(letters_next, 1000);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_gate_waits_no_longer_than_told(void **state)
{
	struct worker_gate gate;
	assert_int_equal(worker_gate_init(&gate), 0);
	worker_gate_lock(&gate);
	while (worker_gate_wait_for(&gate, 1000000))
		;
	worker_gate_unlock(&gate);
	worker_gate_fini(&gate);
	assert_true(worker_processors() >= 1);
}

/* ---- descriptors, sizes ---- */

static void media_must_be_files_or_sealed_memfds(void **state)
{
	uint64_t bytes = 0;
	int pipes[2], fd = file_memfd("m", "abc", 3);
	assert_true(fd >= 0);
	assert_int_equal(file_media_kind(fd, &bytes), FILE_MEMFD);
	assert_int_equal(bytes, 3);
	assert_int_equal(file_check_sealed(fd, 3), 0);
	assert_int_equal(file_check_sealed(fd, 4), -EINVAL);
	file_close(&fd);
	assert_int_equal(fd, -1);
	static const unsigned flags[] = {MFD_CLOEXEC, MFD_CLOEXEC | MFD_ALLOW_SEALING};
	for (int i = 0; i < 2; i++) {
		fd = memfd_create("unsealed", flags[i]);
		assert_int_equal(file_media_kind(fd, &bytes), -ENOTSUP);
		assert_int_equal(file_check_sealed(fd, 0), -EINVAL);
		close(fd);
	}
	FILE *file = tmpfile(); /* without a name, and perhaps on a tmpfs */
	assert_non_null(file);
	assert_int_equal(file_media_kind(fileno(file), &bytes), FILE_REGULAR);
	fclose(file);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(file_media_kind(pipes[0], &bytes), -ENOTSUP);
	close(pipes[0]);
	close(pipes[1]);
	static const char *const others[] = {"/dev/zero", "/", "/proc/self"};
	for (int i = 0; i < 3; i++) {
		fd = open(others[i], O_RDONLY | O_CLOEXEC);
		assert_int_equal(file_media_kind(fd, &bytes), -ENOTSUP);
		close(fd);
	}
	assert_int_equal(file_media_kind(-1, &bytes), -EBADF);
}

static void paths_of_media_are_opened_with_care(void **state)
{
	char folder[] = "/tmp/percept-base-XXXXXX", file[64], link[64], fifo[64];
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/f", folder);
	snprintf(link, sizeof(link), "%s/l", folder);
	snprintf(fifo, sizeof(fifo), "%s/p", folder);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(symlink(file, link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	int fd = file_open_media(file);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(file_open_media(link), -ELOOP);
	assert_int_equal(file_open_media(fifo), -ENOTSUP);
	assert_int_equal(file_open_media("/dev/zero"), -ENOTSUP);
	assert_int_equal(file_open_media(folder), -ENOTSUP);
	assert_int_equal(file_open_media("relative"), -EINVAL);
	unlink(file);
	unlink(link);
	unlink(fifo);
	rmdir(folder);
}

static void sizes_do_not_wrap(void **state)
{
	size_t out = 7;
	assert_true(size_mul(SIZE_MAX / 2, 2, &out));
	assert_int_equal(out, SIZE_MAX - 1);
	assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &out));
	assert_false(size_add(SIZE_MAX, 1, &out));
	assert_int_equal(out, SIZE_MAX - 1);
}

/* ---- places ---- */

static void the_socket_is_where_the_environment_says(void **state)
{
	struct wire_error e = {0};
	char path[200], longest[200];
	setenv("XDG_RUNTIME_DIR", "/run/x", 1);
	unsetenv("PERCEPT_SOCKET");
	assert_int_equal(wire_socket_path(path, sizeof(path), &e), 0);
	assert_string_equal(path, "/run/x/percept/percept.sock");
	setenv("PERCEPT_SOCKET", "/tmp/s", 1);
	assert_int_equal(wire_socket_path(path, sizeof(path), &e), 0);
	assert_string_equal(path, "/tmp/s");
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[107] = '\0';
	assert_int_equal(wire_socket_path_check(longest, &e), 0);
	longest[107] = 'x';
	longest[108] = '\0';
	setenv("PERCEPT_SOCKET", longest, 1);
	assert_int_equal(wire_socket_path(path, sizeof(path), &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.text, "108 bytes"));
	assert_non_null(strstr(e.text, "107"));
	unsetenv("PERCEPT_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(wire_socket_path(path, sizeof(path), &e), 0);
	wire_error_fini(&e);
}

static void the_sockets_folder_must_be_ones_own(void **state)
{
	struct wire_error e = {0};
	struct stat st;
	char folder[] = "/tmp/percept-base-XXXXXX", own[64], path[100];
	assert_non_null(mkdtemp(folder));
	snprintf(own, sizeof(own), "%s/percept", folder);
	snprintf(path, sizeof(path), "%s/percept.sock", own);
	assert_int_equal(wire_socket_folder(path, &e), 0);
	assert_int_equal(stat(own, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(wire_socket_folder(path, &e), 0);
	chmod(own, 0777);
	assert_int_equal(wire_socket_folder(path, &e), -EPERM);
	rmdir(own);
	assert_int_equal(symlink("/tmp", own), 0);
	assert_int_equal(wire_socket_folder(path, &e), -EPERM);
	unlink(own);
	snprintf(path, sizeof(path), "%s/missing/s", folder);
	assert_int_equal(wire_socket_folder(path, &e), -ENOENT);
	rmdir(folder);
	wire_error_fini(&e);
}

static void folders_are_listed_once_and_in_order(void **state)
{
	char path[PATH_MAX];
	setenv("PERCEPT_MODELS", "/e : /f", 1);
	setenv("HOME", "/home/x", 1);
	unsetenv("XDG_DATA_HOME");
	char *list = place_model_path("/f:~/m::/g");
	assert_non_null(list);
	assert_memory_equal(list, "/e:/f:/home/x/m:/g:/home/x/.local/share/percept/models:", 55);
	free(list);
	unsetenv("PERCEPT_MODELS");
	assert_int_equal(place_find("/nowhere:/etc", "passwd", path), 0);
	assert_string_equal(path, "/etc/passwd");
	assert_int_equal(place_find("/etc", "/etc/passwd", path), 0);
	assert_int_equal(place_find("/etc", "not-there", path), -ENOENT);
}

/* ---- log ---- */

static void a_line_of_the_log_stays_one_line(void **state)
{
	int pipes[2], saved = dup(STDERR_FILENO);
	char text[4096], huge[3000];
	memset(huge, 'h', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	setenv("PERCEPT_LOG", "warn", 1);
	log_init("test");
	log_warn("event", "a=%s", "x\ny\x1b[0m");
	log_info("event", "not=%s", "written");
	log_error("event", "%s", huge);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	ssize_t n = read(pipes[0], text, sizeof(text) - 1);
	close(pipes[0]);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "] warn event a=x?y?[0m\n"));
	assert_null(strstr(text, "written"));
	assert_int_equal(text[n - 1], '\n');
	assert_true(n < 2300);
	assert_int_equal(log_level_named("debug"), LOG_DEBUG);
	assert_int_equal(log_level_named("x"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_run_and_their_ends_come_on_the_loop),
		cmocka_unit_test(a_waiting_job_can_be_withdrawn),
		cmocka_unit_test(letters_come_in_order),
		cmocka_unit_test(a_gate_waits_no_longer_than_told),
		cmocka_unit_test(media_must_be_files_or_sealed_memfds),
		cmocka_unit_test(paths_of_media_are_opened_with_care),
		cmocka_unit_test(sizes_do_not_wrap),
		cmocka_unit_test(the_socket_is_where_the_environment_says),
		cmocka_unit_test(the_sockets_folder_must_be_ones_own),
		cmocka_unit_test(folders_are_listed_once_and_in_order),
		cmocka_unit_test(a_line_of_the_log_stays_one_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
