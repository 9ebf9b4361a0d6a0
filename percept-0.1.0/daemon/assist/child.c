/* child.c - a helper program on one end of a socketpair: started, watched until it is gone. */
#include "config.h"
#include "daemon/assist/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

/* The environment with `variable` in the place of one of its name; by malloc. */
static char **child_environment(const char *variable)
{
	size_t n = 0, name = strcspn(variable, "=") + 1;
	char **all, **at;

	while (environ[n])
		n++;
	at = all = calloc(n + 2, sizeof(*all));
	if (!all)
		return NULL;
	*at++ = (char *)variable;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], variable, name))
			*at++ = environ[i];
	return all;
}

static int child_spawn(struct child *child, uv_loop_t *loop, const struct child_start *start, int end)
{
	uv_stdio_container_t stdio[4] = {
		{.flags = UV_IGNORE},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = end},
	};
	uv_process_options_t options = {
		.exit_cb = child_on_exit,
		.file = start->argv[0],
		.args = (char **)start->argv,
		.stdio = stdio,
		.stdio_count = 4,
	};

	int err;

	if (start->variable)
		options.env = child_environment(start->variable);
	err = uv_spawn(loop, &child->process, &options);
	free(options.env);
	return err;
}

int child_start(uv_loop_t *loop, const struct child_start *start, struct child **out, int *socket)
{
	int ends[2];
	int err;
	struct child *child = calloc(1, sizeof(*child));

	if (!child)
		return -ENOMEM;
	child->exited = start->exited;
	child->arg = start->arg;
	child->process.data = child;
	if (socketpair(AF_UNIX, start->type | SOCK_CLOEXEC, 0, ends)) {
		err = -errno;
		free(child);
		return err;
	}
	/* Only our end: the flag belongs to the open socket, and the child may want to block. */
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	err = child_spawn(child, loop, start, ends[1]);
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
