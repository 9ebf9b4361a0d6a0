/* child.c - a helper program on one end of a socketpair: started, watched until it is gone. */
#include "daemon/assist/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct child {
	uv_process_t process;
	child_exited *exited;
	void *arg;
};

static void child_on_close(uv_handle_t *handle)
{
	free(handle->data);
}

static void child_on_exit(uv_process_t *process, int64_t status, int signal)
{
	struct child *child = process->data;

	if (child->exited)
		child->exited(child->arg, (int)status, signal);
	uv_close((uv_handle_t *)process, child_on_close);
}

static int child_spawn(struct child *child, uv_loop_t *loop, char *const argv[], int end)
{
	uv_stdio_container_t stdio[4] = {
		{.flags = UV_IGNORE},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = end},
	};
	uv_process_options_t options = {
		.exit_cb = child_on_exit,
		.file = argv[0],
		.args = (char **)argv,
		.stdio = stdio,
		.stdio_count = 4,
	};

	return uv_spawn(loop, &child->process, &options);
}

int child_start(uv_loop_t *loop, char *const argv[], int type, child_exited *exited, void *arg, struct child **out,
		int *socket)
{
	int ends[2];
	int err;
	struct child *child = calloc(1, sizeof(*child));

	if (!child)
		return -ENOMEM;
	child->exited = exited;
	child->arg = arg;
	child->process.data = child;
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends)) {
		err = -errno;
		free(child);
		return err;
	}
	/* Only our end: the flag belongs to the open socket, and the child may want to block. */
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	err = child_spawn(child, loop, argv, ends[1]);
	close(ends[1]);
	if (err) {
		close(ends[0]);
		/* uv_spawn initialises the handle even when it fails. */
		uv_close((uv_handle_t *)&child->process, child_on_close);
		return err;
	}
	*out = child;
	*socket = ends[0];
	return 0;
}

pid_t child_pid(const struct child *child)
{
	return child->process.pid;
}

void child_kill(struct child *child, int signal)
{
	uv_process_kill(&child->process, signal);
}

void child_forget(struct child *child)
{
	child->exited = NULL;
}
