/* main-engine.c - percept-engine: one assistant's process, started by perceptd with one end of a socketpair. */
#include "config.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/loader.h"
#include "sdk/wire/place.h"

static const char main_help[] =
	"Usage: percept-engine --fd N [--scan]\n"
	"       percept-engine --probe FILE\n"
	"Runs one assistant: loads its plugins, answers requests on a socket. perceptd starts it.\n"
	"\n"
	"  --fd N        the connected socket to serve\n"
	"  --scan        only list plugins\n"
	"  --probe FILE  say what the plugin in FILE is, as a line of JSON\n"
	"  --help, --version\n";

struct main_arguments {
	int fd, scan;
	const char *probe;
};

static const struct option main_options[] = {
	{"fd", required_argument, NULL, 'f'},  {"scan", no_argument, NULL, 's'}, {"probe", required_argument, NULL, 'p'},
	{"help", no_argument, NULL, 'h'},      {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0},
};

/* -1 to go on, else the exit code. */
static int main_read(int argc, char **argv, struct main_arguments *a)
{
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "hV", main_options, NULL)) != -1)
		switch (c) {
		case 'f':
			a->fd = (int)strtol(optarg, &end, 10);
			if (*end || end == optarg || a->fd < 0)
				return fprintf(stderr, "percept-engine: --fd takes a number, not \"%s\".\n", optarg), 2;
			break;
		case 's':
			a->scan = 1;
			break;
		case 'p':
			a->probe = optarg;
			break;
		case 'h':
			return fputs(main_help, stdout) < 0;
		case 'V':
			return puts("percept-engine " PACKAGE_VERSION) < 0;
		default:
			return fputs("Try percept-engine --help.\n", stderr), 2;
		}
	if (optind < argc)
		return fprintf(stderr, "percept-engine: \"%s\" is not expected; try --help.\n", argv[optind]), 2;
	if (a->fd < 0 && !a->probe)
		return fputs("percept-engine: --fd N is missing; perceptd starts this program. Try --help.\n", stderr), 2;
	return -1;
}

/* The colon-separated default plugin path as an array. */
static cJSON *main_plugin_path(void)
{
	char *folders = place_plugin_path(NULL), *rest = folders;
	cJSON *path = cJSON_CreateArray();
	const char *folder;

	while (rest && (folder = strsep(&rest, ":")))
		if (*folder)
			cJSON_AddItemToArray(path, cJSON_CreateString(folder));
	free(folders);
	return path;
}

int main(int argc, char **argv)
{
	struct main_arguments arguments = {.fd = -1};
	char program[PATH_MAX];
	int r = main_read(argc, argv, &arguments);

	if (r >= 0)
		return r;
	if (arguments.probe)
		return loader_probe(arguments.probe);
	log_init("percept-engine");
	signal(SIGPIPE, SIG_IGN);
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (n < 0)
		return perror("percept-engine: /proc/self/exe"), 1;
	program[n] = 0;
	return engine_run(arguments.fd, program, arguments.scan, main_plugin_path());
}
