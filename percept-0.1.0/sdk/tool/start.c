/* start.c - a perceptd of the user's own, started when none answers. */
#include "config.h"
#include "sdk/tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sdk/wire/place.h"

#define START_WAIT_MS 15000
#define START_STEP_MS 10

struct start {
	char program[PATH_MAX];
	char socket[PATH_MAX];
	char log[PATH_MAX];
	off_t log_from; /* where this start's lines begin */
	pid_t pid;
	int pidfd;      /* readable when the daemon has ended; -1 if the kernel has none */
};

static int start_fail(struct percept_error *error, int code, const char *what, const char *path)
{
	percept_error_clear(error);
	error->code = code;
	snprintf(error->text, sizeof error->text, "%s %.700s: %s.", what, path, strerror(-code));
	return code;
}

/* Makes every folder above `path`, for this user alone. */
static int start_make_folders(const char *path)
{
	char part[PATH_MAX];
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* $XDG_STATE_HOME/percept/perceptd.log, or beside the socket for a user without a home. */
static void start_log_path(struct start *s)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n;
	if (state && *state == '/')
		n = snprintf(s->log, sizeof s->log, "%s/percept/perceptd.log", state);
	else if (home && *home == '/')
		n = snprintf(s->log, sizeof s->log, "%s/.local/state/percept/perceptd.log", home);
	else
		n = snprintf(s->log, sizeof s->log, "%s.log", s->socket);
	if (n < 0 || (size_t)n >= sizeof s->log)
		snprintf(s->log, sizeof s->log, "/dev/null");
}

static int start_open_log(struct start *s, struct percept_error *error)
{
	start_log_path(s);
	int r = start_make_folders(s->log);
	int fd = r < 0 ? r : open(s->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return start_fail(error, r < 0 ? r : -errno, "The daemon's log cannot be opened,", s->log);
	s->log_from = lseek(fd, 0, SEEK_END);
	return fd;
}

/* The daemon works in "/": a configuration that is named from here is named from there. */
static int start_absolute_config(const char *here)
{
	char path[2 * PATH_MAX];
	const char *config = getenv("PERCEPT_CONFIG");
	if (!config || !*config || *config == '/')
		return 0;
	snprintf(path, sizeof path, "%s/%s", here, config);
	return setenv("PERCEPT_CONFIG", path, 1) < 0 ? -errno : 0;
}

/* In the process that becomes the daemon: nothing of the terminal's is kept. */
static void start_become(const struct start *s, int log, int report)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t none;
	char *const argv[] = {"perceptd", "--socket", (char *)s->socket, NULL};
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &usual, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDONLY);
	if (null >= 0 && dup2(null, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2 && chdir("/") == 0) {
		umask(077);
		execv(s->program, argv);
	}
	int code = -errno;
	if (write(report, &code, sizeof code) < 0)
		_exit(126);
	_exit(127);
}

/* Between: a session of its own, so that no terminal's signals reach the daemon, and no child to wait for. */
static void start_detach(const struct start *s, int log, int report)
{
	if (setsid() < 0)
		_exit(127);
	pid_t pid = fork();
	if (pid == 0)
		start_become(s, log, report);
	int told = (int)pid;
	if (write(report, &told, sizeof told) < 0)
		_exit(127);
	_exit(0);
}

/* What the two processes reported: the daemon's number, and an errno if the program did not run. */
static int start_read_report(struct start *s, int report)
{
	int word, r = -ECHILD;
	while (read(report, &word, sizeof word) == sizeof word) {
		if (word < 0)
			return word;
		s->pid = word;
		r = 0;
	}
	return r;
}

static int start_fork(struct start *s, int log, struct percept_error *error)
{
	int report[2];
	if (pipe2(report, O_CLOEXEC) < 0)
		return start_fail(error, -errno, "Cannot start", s->program);
	fflush(NULL);
	pid_t between = fork();
	if (between == 0)
		start_detach(s, log, report[1]);
	int code = between < 0 ? -errno : 0;
	close(report[1]);
	if (code == 0) {
		code = start_read_report(s, report[0]);
		while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(report[0]);
	return code < 0 ? start_fail(error, code, "Cannot start", s->program) : 0;
}

/* The last line that the daemon wrote since it was started. */
static void start_last_words(const struct start *s, char *text, size_t size)
{
	char tail[2048];
	ssize_t n = -1;
	struct stat st;
	int fd = open(s->log, O_RDONLY | O_CLOEXEC);
	text[0] = '\0';
	if (fd >= 0 && fstat(fd, &st) == 0) {
		off_t from = st.st_size - (off_t)sizeof tail + 1;
		n = pread(fd, tail, sizeof tail - 1, from > s->log_from ? from : s->log_from);
	}
	if (fd >= 0)
		close(fd);
	while (n > 0 && tail[n - 1] == '\n')
		n--;
	if (n <= 0)
		return;
	tail[n] = '\0';
	const char *line = strrchr(tail, '\n');
	snprintf(text, size, "%.500s", line ? line + 1 : tail);
}

static int start_ended(const struct start *s)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
	if (s->pidfd >= 0)
		return poll(&p, 1, 0) > 0;
	return kill(s->pid, 0) < 0 && errno == ESRCH;
}

static struct percept_connection *start_wait(struct start *s, struct percept_error *error)
{
	char words[600];
	s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	int ended = 0, waited = 0;
	struct percept_connection *c = NULL;
	for (; !c && !ended && waited < START_WAIT_MS; waited += START_STEP_MS) {
		struct timespec step = {0, START_STEP_MS * 1000000L};
		nanosleep(&step, NULL);
		ended = start_ended(s);
		c = percept_connect(s->socket, error);
	}
	if (s->pidfd >= 0)
		close(s->pidfd);
	if (c)
		return c;
	start_last_words(s, words, sizeof words);
	percept_error_clear(error);
	error->code = -ECHILD;
	snprintf(error->text, sizeof error->text, "perceptd was started and %s%s%.600s%s Its log: %.300s",
		 ended ? "ended at once" : "did not answer in 15 s", *words ? ", saying: " : "", words,
		 *words && words[strlen(words) - 1] == '.' ? "" : ".", s->log);
	return NULL;
}

/* One at a time: others wait for the lock and find the daemon that the first has started. */
static int start_lock(const struct start *s, struct percept_error *error)
{
	char path[PATH_MAX + 8];
	snprintf(path, sizeof path, "%s.start", s->socket);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return start_fail(error, -errno, "The lock for starting perceptd cannot be made,", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			int code = -errno;
			close(fd);
			return start_fail(error, code, "The lock for starting perceptd cannot be had,", path);
		}
	return fd;
}

static int start_prepare(struct start *s, const char *path, struct percept_error *error)
{
	struct wire_error why = {0};
	char here[PATH_MAX] = "";
	if (!getcwd(here, sizeof here) && *path != '/')
		return start_fail(error, -errno, "No absolute path for", path);
	int n = snprintf(s->socket, sizeof s->socket, "%s%s%s", *path == '/' ? "" : here, *path == '/' ? "" : "/", path);
	if (n < 0 || (size_t)n >= sizeof s->socket)
		return start_fail(error, -ENAMETOOLONG, "Too long a path:", path);
	int r = wire_socket_folder(s->socket, &why);
	if (r < 0) {
		percept_error_clear(error);
		error->code = r;
		snprintf(error->text, sizeof error->text, "%s", why.text);
		wire_error_fini(&why);
		return r;
	}
	r = start_absolute_config(here);
	if (r < 0)
		return start_fail(error, r, "No absolute path for", "PERCEPT_CONFIG");
	r = place_program("perceptd", s->program);
	return r < 0 ? start_fail(error, r, "No perceptd is installed at", s->program) : 0;
}

struct percept_connection *tool_start_daemon(const struct tool *tool, const char *path, struct percept_error *error)
{
	struct start s = {.pidfd = -1};
	(void)tool;
	int lock = start_prepare(&s, path, error) < 0 ? -1 : start_lock(&s, error);
	if (lock < 0) {
		error->code = -ECHILD; /* not to be taken for "none answers" */
		return NULL;
	}
	struct percept_connection *c = percept_connect(s.socket, error);
	int log = -1;
	if (!c) {
		percept_error_clear(error);
		log = start_open_log(&s, error);
	}
	if (log >= 0) {
		if (start_fork(&s, log, error) == 0)
			c = start_wait(&s, error);
		close(log);
	}
	close(lock);
	if (!c)
		error->code = -ECHILD;
	return c;
}
