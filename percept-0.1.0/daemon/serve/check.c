/* check.c - perceptd --check: is the configuration sound, and can every assistant be opened? */
#include "daemon/serve/check.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "daemon/assist/engine.h"
#include "daemon/serve/server.h"
#include "daemon/serve/settings.h"

enum { CHECK_EXIT_MS = 5000 };

struct check {
	const char *name;
	int failed;
};

static void check_on_ready(void *arg, struct engine *engine)
{
	struct check *check = arg;

	printf("assistant %s: can be opened\n", check->name);
	engine_drain(engine, CHECK_EXIT_MS);
}

static void check_on_gone(void *arg, struct engine *engine, const struct wire_error *why)
{
	struct check *check = arg;

	if (engine_info(engine))
		return;
	check->failed = 1;
	printf("assistant %s: %s\n", check->name, why->code ? why->text : "its engine ended before it was ready");
}

static const struct engine_events check_events = {check_on_ready, check_on_gone};

/* One after the other: together they may need more memory than there is. */
static int check_assistants(const struct settings *settings, const char *program)
{
	uv_loop_t loop;
	struct engine_setup setup = {&loop, program, settings->start_ms, settings->hang_ms, CHECK_EXIT_MS};
	const cJSON *one;
	int failed = 0;

	if (uv_loop_init(&loop))
		return 1;
	cJSON_ArrayForEach(one, settings->assistants) {
		struct check check = {cJSON_GetStringValue(wire_member(one, "name")), 0};
		struct wire_error error = {0};

		if (!engine_start(&setup, one, &check_events, &check, &error)) {
			printf("assistant %s: %s\n", check.name, error.text);
			check.failed = 1;
		}
		uv_run(&loop, UV_RUN_DEFAULT);
		wire_error_fini(&error);
		failed |= check.failed;
	}
	uv_loop_close(&loop);
	return failed;
}

int check_run(const char *config)
{
	struct settings settings;
	struct wire_error error = {0};
	char program[PATH_MAX];
	int failed;

	if (settings_load(config, &settings, &error)) {
		fprintf(stderr, "perceptd: %s\n", error.text);
		wire_error_fini(&error);
		return 1;
	}
	if (server_find_program("PERCEPT_ENGINE", "percept-engine", program, &error)) {
		fprintf(stderr, "perceptd: %s\n", error.text);
		failed = 1;
	} else {
		failed = check_assistants(&settings, program);
	}
	if (!failed)
		puts("The configuration is sound.");
	settings_fini(&settings);
	wire_error_fini(&error);
	return failed;
}
