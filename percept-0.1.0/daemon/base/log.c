/* log.c - the log sink: the one writable global of the daemon. */
#include "config.h"
#include "daemon/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE 2048

static struct {
	_Atomic int level;
	int journal;
	char program[32];
} log_sink = {LOG_INFO, 0, ""};

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} log_levels[] = {{"error", 3}, {"warn", 4}, {"info", 6}, {"debug", 7}};

int log_level_named(const char *name)
{
	for (int i = LOG_ERROR; i <= LOG_DEBUG; i++)
		if (strcmp(name, log_levels[i].name) == 0)
			return i;
	return -1;
}

const char *log_level_name(enum log_level level)
{
	return log_levels[level].name;
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_sink.level, (int)level);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_sink.level, memory_order_relaxed);
}

/* True if stderr is the stream that JOURNAL_STREAM names (systemd.exec(5)). */
static int log_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program)
{
	const char *name = getenv("PERCEPT_LOG");
	int level = name ? log_level_named(name) : LOG_INFO;
	snprintf(log_sink.program, sizeof(log_sink.program), "%s", program);
	log_sink.journal = log_to_journal();
	log_set_level(level >= 0 ? (enum log_level)level : LOG_INFO);
	if (level < 0)
		log_warn("log", "PERCEPT_LOG=%.20s is unknown; using=info choices=error,warn,info,debug", name);
}

/* Appends at `at`; never beyond `end`. */
static char *log_put(char *at, const char *end, const char *format, ...) __attribute__((format(printf, 3, 4)));
static char *log_put(char *at, const char *end, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(at, (size_t)(end - at), format, args);
	va_end(args);
	return n < 0 ? at : n < end - at ? at + n : (char *)end - 1;
}

static char *log_put_time(char *at, const char *end)
{
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	at += strftime(at, (size_t)(end - at), "%Y-%m-%dT%H:%M:%S", &tm);
	return log_put(at, end, ".%03ldZ ", now.tv_nsec / 1000000);
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
	char line[LOG_LINE], *at = line, *end = line + sizeof(line) - 1;
	va_list args;
	if (level > log_level())
		return;
	if (log_sink.journal)
		at = log_put(at, end, "<%d>", log_levels[level].priority);
	else
		at = log_put_time(at, end);
	at = log_put(at, end, "%s[%ld] %s %s ", log_sink.program, (long)getpid(), log_levels[level].name, event);
	va_start(args, format);
	int n = vsnprintf(at, (size_t)(end - at), format, args);
	va_end(args);
	char *stop = n < 0 ? at : n < end - at ? at + n : end - 1;
	for (; at < stop; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	*stop++ = '\n';
	/* One write a line, so that lines of several threads and processes stay whole. */
	ssize_t done = write(STDERR_FILENO, line, (size_t)(stop - line));
	(void)done;
}
