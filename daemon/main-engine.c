/* main-engine.c - percept-engine: one assistant's process, started by perceptd with one end of a socketpair. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/conf/conf.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/loader.h"
#include "daemon/engine/sweep.h"
#include "sdk/wire/place.h"

static const char main_help[] =
	"Usage: percept-engine --fd N [--scan]\n"
	"       percept-engine --socket PATH [-c FILE] [--assistant NAME]\n"
	"       percept-engine --check [-c FILE] [--assistant NAME]\n"
	"       percept-engine --sweep [-c FILE]\n"
	"       percept-engine --probe FILE\n"
	"Runs one assistant: loads its plugins, answers requests on a socket. perceptd starts it.\n"
	"\n"
	"  --fd N            the connected socket to serve\n"
	"  --scan            only list plugins\n"
	"  --socket PATH     open an assistant and serve who connects there, one after the other: perceptd's requests,\n"
	"                    with text alone, for looking at an engine by itself\n"
	"  --check           open an assistant, say whether that worked, and exit\n"
	"  --sweep           open every part that the configuration names, and every installed one with its models; say which\n"
	"                    fit together, as a line of JSON\n"
	"  -c, --config FILE the configuration that has the assistant; perceptd's own if not given\n"
	"  --assistant NAME  which one; \"default\" if not given\n"
	"  --probe FILE      say what the plugin in FILE is, as a line of JSON\n"
	"  -h, --help        this text\n"
	"  -V, --version     the version\n";

struct main_arguments {
	int fd, scan, check, sweep;
	const char *probe, *socket, *config, *assistant;
};

static const struct option main_options[] = {
	{"fd", required_argument, NULL, 'f'},     {"scan", no_argument, NULL, 'S'},          {"probe", required_argument, NULL, 'p'},
	{"socket", required_argument, NULL, 's'}, {"check", no_argument, NULL, 'k'},         {"config", required_argument, NULL, 'c'},
	{"help", no_argument, NULL, 'h'},         {"assistant", required_argument, NULL, 'a'}, {"version", no_argument, NULL, 'V'},
	{"sweep", no_argument, NULL, 'w'},
	{NULL, 0, NULL, 0},
};

static int main_read_fd(const char *text, int *fd)
{
	char *end;
	long x = strtol(text, &end, 10);

	if (*end || end == text || x < 0 || x > 1000000)
		return fprintf(stderr, "percept-engine: --fd takes a number, not \"%s\".\n", text), 2;
	*fd = (int)x;
	return 0;
}

/* What does not go together. */
static int main_judge(const struct main_arguments *a)
{
	const int ways = (a->fd >= 0) + !!a->socket + a->check + a->sweep + !!a->probe, by_hand = a->socket || a->check;

	if (ways != 1)
		return fprintf(stderr, "percept-engine: give one of --fd, --socket, --check, --sweep and --probe%s. Try --help.\n",
			       ways ? "" : "; perceptd starts this program"), 2;
	if (!by_hand && (a->assistant || (a->config && !a->sweep)))
		return fputs("percept-engine: --config and --assistant are for --socket and --check, --config for --sweep.\n", stderr), 2;
	if (a->scan && a->fd < 0)
		return fputs("percept-engine: --scan needs --fd N.\n", stderr), 2;
	return -1;
}

/* -1 to go on, else the exit code. */
static int main_read(int argc, char **argv, struct main_arguments *a)
{
	int c, r;

	while ((c = getopt_long(argc, argv, "c:hV", main_options, NULL)) != -1)
		switch (c) {
		case 'f':
			if ((r = main_read_fd(optarg, &a->fd)))
				return r;
			break;
		case 'S':
			a->scan = 1;
			break;
		case 'k':
			a->check = 1;
			break;
		case 'w':
			a->sweep = 1;
			break;
		case 'p':
			a->probe = optarg;
			break;
		case 's':
			a->socket = optarg;
			break;
		case 'c':
			a->config = optarg;
			break;
		case 'a':
			a->assistant = optarg;
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
	return main_judge(a);
}

/* The assistant of the configuration as engine.open takes it; NULL after a sentence. */
static cJSON *main_assistant(const struct main_arguments *a)
{
	const char *name = a->assistant ? a->assistant : "default";
	struct conf_error error = {""};
	struct conf *conf = conf_load(a->config, &error);
	const struct conf_assistant *assistant = conf ? conf_assistant_named(conf, name) : NULL;
	cJSON *json = assistant ? conf_assistant_json(conf, assistant) : NULL;

	if (!conf)
		fprintf(stderr, "percept-engine: %s\n", error.text);
	else if (!assistant)
		fprintf(stderr, "percept-engine: %s has no assistant \"%s\".\n", conf->file ? conf->file : "The default configuration",
			name);
	else if (!json)
		fputs("percept-engine: Memory is out.\n", stderr);
	conf_free(conf);
	return json;
}

/* Every part of every assistant, and how they fit. The exit code. */
static int main_sweep(const struct main_arguments *a, const char *program)
{
	struct conf_error error = {""};
	struct conf *conf = conf_load(a->config, &error);
	cJSON *all = cJSON_CreateArray();
	int r = 1;

	for (size_t i = 0; conf && i < conf->n_assistants; i++)
		cJSON_AddItemToArray(all, conf_assistant_json(conf, &conf->assistants[i]));
	if (conf)
		r = sweep_run(all, program);
	else
		fprintf(stderr, "percept-engine: %s\n", error.text);
	cJSON_Delete(all);
	conf_free(conf);
	return r;
}

/* A socket file that nobody listens on any more may be replaced. */
static int main_is_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int stale = fd >= 0 && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
		    connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return stale;
}

/* The listening socket, for its owner alone; -1 after a sentence. */
static int main_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, failed;

	if (strlen(path) >= sizeof(address.sun_path))
		return fprintf(stderr, "percept-engine: a socket's path has at most %zu bytes.\n", sizeof(address.sun_path) - 1), -1;
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (main_is_stale(&address))
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	umask(0177);
	failed = fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) || listen(fd, 16);
	if (!failed)
		return fd;
	fprintf(stderr, "percept-engine: %s: %s.\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The assistant is opened before anybody connects. */
static int main_by_hand(const struct main_arguments *a, struct engine_setup *setup)
{
	int r;

	setup->assistant = main_assistant(a);
	if (!setup->assistant)
		return 1;
	setup->listener = a->socket ? main_listen(a->socket) : -1;
	if (a->socket && setup->listener < 0) {
		cJSON_Delete(setup->assistant);
		return 1;
	}
	r = engine_run(setup);
	if (a->socket)
		unlink(a->socket);
	return r;
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
	if (arguments.sweep)
		return main_sweep(&arguments, program);
	struct engine_setup setup = {.program = program, .fd = arguments.fd, .listener = -1, .scan_only = arguments.scan};

	if (arguments.fd < 0)
		return main_by_hand(&arguments, &setup);
	setup.plugin_path = main_plugin_path();
	return engine_run(&setup);
}
