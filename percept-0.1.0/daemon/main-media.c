/* main-media.c - percept-media: decodes media for perceptd, each item in a sandboxed process of its own. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon/base/log.h"
#include "daemon/media/zygote.h"

enum { MEDIA_SOCKET = 3, MEDIA_MIN_WORKERS = 2, MEDIA_MAX_WORKERS = 16, EXIT_USAGE = 2 };

static const char media_usage[] =
	"usage: percept-media [--fd N] [--workers N] [--max-pixels N] [--max-side N] [--max-bytes N] [--time-ms N]\n"
	"perceptd starts this program; N of --fd is its end of a SOCK_SEQPACKET pair (default 3).\n";

struct media_options {
	struct zygote_config config;
	int help, version; /* asked for */
};

/* The options that take a number, with their ranges. */
static const struct media_number {
	const char *name;
	uint64_t min, max;
	size_t offset, size; /* in struct zygote_config */
} media_numbers[] = {
#define NUMBER(name, member, min, max) \
	{ name, min, max, offsetof(struct zygote_config, member), sizeof(((struct zygote_config *)0)->member) }
	NUMBER("fd", socket, 0, 65535),
	NUMBER("workers", workers, 1, 256),
	NUMBER("max-pixels", limits.max_pixels, 1, 1u << 30),
	NUMBER("max-side", limits.max_side, 1, 65535),
	NUMBER("max-bytes", limits.file_bytes, 1, 1u << 30),
	NUMBER("time-ms", limits.time_ms, 1, 86400000),
#undef NUMBER
};

enum { MEDIA_NUMBERS = sizeof(media_numbers) / sizeof(media_numbers[0]), MEDIA_HELP = 256, MEDIA_VERSION };

static int media_set_number(struct zygote_config *config, const struct media_number *number, const char *text)
{
	char *end;
	uint64_t value;
	uint32_t small;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text < '0' || *text > '9' || value < number->min || value > number->max) {
		fprintf(stderr, "percept-media: --%s is \"%s\"; it must be a number from %llu to %llu.\n", number->name,
			text, (unsigned long long)number->min, (unsigned long long)number->max);
		return -1;
	}
	small = (uint32_t)value;
	if (number->size == sizeof(value))
		memcpy((char *)config + number->offset, &value, sizeof(value));
	else
		memcpy((char *)config + number->offset, &small, sizeof(small));
	return 0;
}

static int media_parse(struct media_options *options, int argc, char **argv)
{
	struct option table[MEDIA_NUMBERS + 3] = { 0 };
	int c;

	for (int i = 0; i < MEDIA_NUMBERS; i++)
		table[i] = (struct option){ media_numbers[i].name, required_argument, NULL, i };
	table[MEDIA_NUMBERS] = (struct option){ "help", no_argument, &options->help, 1 };
	table[MEDIA_NUMBERS + 1] = (struct option){ "version", no_argument, &options->version, 1 };
	for (int index = 0; (c = getopt_long(argc, argv, "", table, &index)) != -1;) {
		if (c == '?')
			return -1;
		if (index < MEDIA_NUMBERS && media_set_number(&options->config, &media_numbers[index], optarg) < 0)
			return -1;
	}
	if (optind < argc) {
		fprintf(stderr, "percept-media: unexpected argument \"%s\".\n", argv[optind]);
		return -1;
	}
	return 0;
}

static unsigned media_default_workers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < MEDIA_MIN_WORKERS ? MEDIA_MIN_WORKERS :
	       cpus > MEDIA_MAX_WORKERS ? MEDIA_MAX_WORKERS : (unsigned)cpus;
}

/* Closes what was inherited by mistake, fills the gaps in 0 to 2, and gives up what is never needed. */
static int media_settle(int keep)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	if (keep > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0u, 0);
	signal(SIGPIPE, SIG_IGN);
	if (fcntl(keep, F_SETFD, FD_CLOEXEC) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) < 0)
		return -errno;
	return 0;
}

static int media_is_packet_socket(int fd)
{
	int type = 0;
	socklen_t n = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_SEQPACKET;
}

int main(int argc, char **argv)
{
	struct media_options options = { .config = { .socket = MEDIA_SOCKET,
						     .workers = media_default_workers(),
						     .limits = media_default_limits,
						     .work = worker_decode } };
	int error;

	if (media_parse(&options, argc, argv) < 0) {
		fputs(media_usage, stderr);
		return EXIT_USAGE;
	}
	if (options.help || options.version) {
		fputs(options.help ? media_usage : "percept-media " PACKAGE_VERSION "\n", stdout);
		return EXIT_SUCCESS;
	}
	if (!media_is_packet_socket(options.config.socket)) {
		fprintf(stderr, "percept-media: descriptor %d is not a SOCK_SEQPACKET socket; perceptd starts this program.\n",
			options.config.socket);
		return EXIT_USAGE;
	}
	log_init("percept-media");
	error = media_settle(options.config.socket);
	if (!error)
		error = zygote_run(&options.config);
	if (error)
		log_error("media.end", "reason=\"%s\"", strerror(-error));
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
