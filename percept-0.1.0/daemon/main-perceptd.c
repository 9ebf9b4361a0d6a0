/* main-perceptd.c - perceptd: the daemon that clients speak to. */
#include "config.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/base/log.h"
#include "daemon/serve/check.h"
#include "daemon/serve/server.h"

static const char main_help[] =
	"Usage: perceptd [-c FILE] [--socket PATH] [--check]\n"
	"Serves the configured assistants on a Unix socket; stays in the foreground.\n"
	"\n"
	"  -c, --config FILE  the configuration; default: $PERCEPT_CONFIG, then perceptd.conf in\n"
	"                     $XDG_CONFIG_HOME/percept and /etc/percept, else one assistant of the bundled model\n"
	"  --socket PATH      the socket; default: $PERCEPT_SOCKET, then $XDG_RUNTIME_DIR/percept/percept.sock\n"
	"  --check            check the configuration and that every assistant can be opened, then exit\n"
	"  --help, --version\n"
	"\n"
	"SIGHUP reads the configuration again; SIGTERM lets the requests in flight end, then exits.\n";

struct main_arguments {
	const char *config, *socket;
	int check;
};

static const struct option main_options[] = {
	{"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'}, {"check", no_argument, NULL, 'k'},
	{"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
};

/* -1 to go on, else the exit code. */
static int main_read(int argc, char **argv, struct main_arguments *a)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:hV", main_options, NULL)) != -1)
		switch (c) {
		case 'c':
			a->config = optarg;
			break;
		case 's':
			a->socket = optarg;
			break;
		case 'k':
			a->check = 1;
			break;
		case 'h':
			return fputs(main_help, stdout) < 0;
		case 'V':
			return puts("perceptd " PACKAGE_VERSION) < 0;
		default:
			return fputs("Try perceptd --help.\n", stderr), 2;
		}
	if (optind < argc)
		return fprintf(stderr, "perceptd: \"%s\" is not expected; try --help.\n", argv[optind]), 2;
	return -1;
}

/* What a daemon needs from its process. */
static void main_settle(void)
{
	struct rlimit files;

	umask(0077);
	signal(SIGPIPE, SIG_IGN);
	/* Thousands of connections need thousands of descriptors. */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Large frames are given back to the system when they are freed. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	mallopt(M_TRIM_THRESHOLD, 256 << 10);
	mallopt(M_ARENA_MAX, 1);
}

static int main_serve(const struct main_arguments *arguments)
{
	struct server *server = malloc(sizeof(*server));
	struct wire_error error = {0};
	uv_loop_t loop;

	if (!server || uv_loop_init(&loop)) {
		fputs("perceptd: there is not enough memory to start.\n", stderr);
		free(server);
		return 1;
	}
	if (server_start(server, &loop, arguments->config, arguments->socket, &error)) {
		fprintf(stderr, "perceptd: %s\n", error.text);
		wire_error_fini(&error);
		uv_loop_close(&loop);
		free(server);
		return 1;
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	server_fini(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	free(server);
	return 0;
}

int main(int argc, char **argv)
{
	struct main_arguments arguments = {NULL, NULL, 0};
	int rc = main_read(argc, argv, &arguments);

	if (rc >= 0)
		return rc;
	log_init("perceptd");
	main_settle();
	return arguments.check ? check_run(arguments.config) : main_serve(&arguments);
}
