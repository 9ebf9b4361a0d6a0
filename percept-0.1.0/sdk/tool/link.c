/* link.c - from a command to the daemon and back. */
#include "config.h"
#include "sdk/tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define LINK_HELLO_MS 10000

/* A daemon that is there but stuck is told from one that answers. */
static int link_greet(struct percept_connection *c, struct percept_error *error)
{
	static const char params[] = "{\"protocol\":[1],\"client\":{\"name\":\"percept\",\"version\":\"" PACKAGE_VERSION "\"}}";
	struct percept_request hello = {.size = sizeof hello, .timeout_ms = LINK_HELLO_MS, .method = "hello", .params = params};
	return percept_call(c, &hello, NULL, NULL, error);
}

static int link_absent(int code)
{
	return code == -ENOENT || code == -ECONNREFUSED;
}

static int link_fail(const struct tool *tool, const char *path, struct percept_error *error)
{
	int code = error->code;
	if (code <= -32000 || code == -EPROTO)
		return tool_fail(tool, error);
	tool_say(tool, 0, "%s", error->text);
	if (link_absent(code))
		fprintf(stderr, "Start one with 'perceptd --socket %s', or leave --no-start out.\n", path);
	else if (code == -ECHILD)
		fprintf(stderr, "'perceptd --check' examines its configuration.\n");
	else if (code == -ETIMEDOUT)
		fprintf(stderr, "It is there but stuck: end it and try again; its log says why.\n");
	percept_error_clear(error);
	return TOOL_NO_DAEMON;
}

int tool_connect(const struct tool *tool, struct percept_connection **connection)
{
	struct percept_error error = {0};
	char found[sizeof((struct sockaddr_un *)0)->sun_path] = "";
	const char *path = tool->socket;
	*connection = NULL;
	if (!path) {
		if (percept_socket_path(found, sizeof found, &error) < 0)
			return link_fail(tool, found, &error);
		path = found;
	}
	struct percept_connection *c = percept_connect(path, &error);
	if (!c && link_absent(error.code) && !tool->no_start) {
		percept_error_clear(&error);
		c = tool_start_daemon(tool, path, &error);
	}
	if (!c)
		return link_fail(tool, path, &error);
	if (link_greet(c, &error) < 0) {
		percept_close(c);
		return link_fail(tool, path, &error);
	}
	*connection = c;
	return 0;
}

static int link_take(const struct tool *tool, struct percept_answer *answer, cJSON **result)
{
	int r = TOOL_DONE;
	if (tool->json)
		puts(answer->result);
	if (result) {
		*result = cJSON_Parse(answer->result);
		if (!*result)
			r = tool_no_memory(tool);
	}
	percept_answer_clear(answer);
	return r;
}

int tool_call(const struct tool *tool, const char *method, const char *params, cJSON **result)
{
	struct percept_connection *c;
	struct percept_error error = {0};
	struct percept_answer answer;
	struct percept_request request = {.size = sizeof request, .method = method, .params = params};
	int r = tool_connect(tool, &c);
	if (r)
		return r;
	if (percept_call(c, &request, NULL, &answer, &error) < 0)
		r = tool_fail(tool, &error);
	else
		r = link_take(tool, &answer, result);
	percept_close(c);
	return r;
}

int tool_call_assistant(const struct tool *tool, const char *method, const char *name, cJSON **result)
{
	cJSON *params = cJSON_CreateObject();
	char *text = cJSON_AddStringToObject(params, "assistant", name) ? cJSON_PrintUnformatted(params) : NULL;
	cJSON_Delete(params);
	if (!text)
		return tool_no_memory(tool);
	int r = tool_call(tool, method, text, result);
	free(text);
	return r;
}
