/* bench-daemon.c - a perceptd of percept bench's own: one assistant, so many threads. */
#include "sdk/tool/bench.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A value in the configuration's double quotes. */
static void bench_quote(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static int bench_daemon_configure(const struct bench_daemon *d, const char *model, unsigned threads)
{
	char path[96], whole[PATH_MAX];
	snprintf(path, sizeof path, "%s/perceptd.conf", d->folder);
	FILE *out = fopen(path, "we");
	if (!out)
		return -1;
	fprintf(out, "[daemon]\nthreads = %u\n[assistant default]\nmodel = ", threads);
	bench_quote(out, strchr(model, '/') && realpath(model, whole) ? whole : model);
	fprintf(out, "\n");
	return fclose(out) == 0 && setenv("PERCEPT_CONFIG", path, 1) == 0 ? 0 : -1;
}

int bench_daemon_start(struct tool *tool, struct bench_daemon *d, const char *model, unsigned threads)
{
	struct percept_error error = {0};
	const char *temporary = getenv("TMPDIR");
	int n = snprintf(d->folder, sizeof d->folder, "%s/percept-bench-XXXXXX", temporary ? temporary : "/tmp");
	if (n < 0 || (size_t)n >= sizeof d->folder || !mkdtemp(d->folder)) {
		*d->folder = '\0';
		return tool_say(tool, TOOL_FAILED, "No folder for a while can be made in %s.", temporary ? temporary : "/tmp");
	}
	snprintf(d->socket, sizeof d->socket, "%s/s", d->folder);
	if (bench_daemon_configure(d, model, threads) < 0)
		return tool_say(tool, TOOL_FAILED, "The configuration in %s cannot be written.", d->folder);
	struct percept_connection *c = tool_start_daemon(tool, d->socket, &error);
	if (!c)
		return tool_fail(tool, &error);
	percept_close(c);
	return 0;
}

void bench_daemon_end(struct bench_daemon *d)
{
	static const char *const names[] = {"s.start", "s.lock", "s", "perceptd.conf", ""};
	struct percept_request request = {.size = sizeof request, .method = "shutdown", .timeout_ms = 5000};
	struct percept_connection *c = percept_connect(d->socket, NULL);
	char path[128];
	if (c) {
		percept_call(c, &request, NULL, NULL, NULL);
		percept_close(c);
	}
	for (int wait = 0; access(d->socket, F_OK) == 0 && wait < 500; wait++)
		usleep(10000);
	for (size_t i = 0; *d->folder && i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", d->folder, names[i]);
		remove(path);
	}
	*d->folder = '\0';
}
