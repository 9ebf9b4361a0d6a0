/* zygote-item.c - one media item in the zygote: start a worker, end it, judge what it left. */
#include "config.h"
#include "daemon/media/zygote-item.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon/base/clock.h"
#include "daemon/base/file.h"
#include "sdk/wire/frame.h"

static_assert(MEDIA_SEALS == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
	      "the wire's seals are the system's");

uint64_t item_now_us(void)
{
	return clock_now_ns() / 1000;
}

/* A limit of a request: 0 or too much means the program's own. */
static uint64_t item_limit(uint64_t asked, uint64_t own)
{
	return asked && asked < own ? asked : own;
}

struct media_item *item_new(const struct media_request *request, int file, const struct media_limits *limits)
{
	struct media_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->request = *request;
	item->request.max_pixels = item_limit(request->max_pixels, limits->max_pixels);
	item->request.max_side = (uint32_t)item_limit(request->max_side, limits->max_side);
	item->request.time_ms = (uint32_t)item_limit(request->time_ms, limits->time_ms);
	item->file = file;
	list_init(&item->link);
	item->pid = item->pidfd = item->report = item->result = -1;
	return item;
}

void item_free(struct media_item *item)
{
	list_remove(&item->link);
	file_close(&item->file);
	file_close(&item->pidfd);
	file_close(&item->report);
	file_close(&item->result);
	free(item);
}

/* Makes the answer, once. */
static void item_answer(struct media_item *item, int status, int signal, const char *text)
{
	item->answer = (struct media_answer){ .magic = MEDIA_WIRE_MAGIC,
					      .status = status,
					      .id = item->request.id,
					      .kind = item->request.kind,
					      .signal = signal };
	if (item->start_us)
		item->answer.decode_us = item_now_us() - item->start_us;
	snprintf(item->answer.text, sizeof(item->answer.text), "%s", text);
	item->has_answer = true;
}

static pid_t item_fork(struct media_item *item, const struct zygote_config *config, void *filter, int report)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid)
		worker_run(&(struct worker_start){ .work = config->work,
						   .request = &item->request,
						   .limits = &config->limits,
						   .filter = filter,
						   .file = item->file,
						   .report = report,
						   .result = item->result,
						   .parent = parent });
	return pid;
}

void item_start(struct media_item *item, const struct zygote_config *config, void *filter)
{
	int ends[2] = { -1, -1 };

	item->start_us = item_now_us();
	item->end_us = item->start_us + item->request.time_ms * (uint64_t)1000;
	item->result = memfd_create("percept-media", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (item->result < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		goto fail;
	item->report = ends[0];
	item->pid = item_fork(item, config, filter, ends[1]);
	if (item->pid < 0)
		goto fail;
	item->pidfd = (int)syscall(SYS_pidfd_open, item->pid, 0);
	if (item->pidfd < 0) {
		kill(item->pid, SIGKILL);
		waitpid(item->pid, NULL, 0);
		goto fail;
	}
	close(ends[1]);
	file_close(&item->file);
	item->state = ITEM_RUNNING;
	return;
fail:
	file_close(&ends[1]);
	item->state = ITEM_DONE;
	item_answer(item, WIRE_OVERLOADED, 0, "The machine has no room for another media worker; try again later.");
}

void item_stop(struct media_item *item, int status, const char *text)
{
	if (item->state == ITEM_RUNNING)
		kill(item->pid, SIGKILL);
	item->state = item->state == ITEM_RUNNING ? ITEM_DYING : ITEM_DONE;
	item_answer(item, status, 0, text);
}

/* A worker's text may be anything: what is not printable ASCII becomes a question mark. */
static void item_clean_text(char *text, size_t n)
{
	text[n - 1] = '\0';
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

/* True when the picture that a worker reports is possible and the memfd is just as large. */
static bool item_is_sound(const struct media_item *item, const struct media_answer *report)
{
	const struct media_request *request = &item->request;
	struct stat status;

	if (report->kind != request->kind || report->channels != 3 || report->frames != 1)
		return false;
	if (!report->width || !report->height || report->width > request->max_side ||
	    report->height > request->max_side ||
	    (uint64_t)report->width * report->height > request->max_pixels)
		return false;
	if (report->bytes != (uint64_t)report->width * report->height * report->channels)
		return false;
	return !fstat(item->result, &status) && (uint64_t)status.st_size == report->bytes;
}

/* The worker ended of itself and said something. */
static void item_take_report(struct media_item *item, struct media_answer *report)
{
	if (report->status) {
		item_clean_text(report->text, sizeof(report->text));
		item_answer(item, WIRE_MEDIA, 0, report->text[0] ? report->text : "The file cannot be decoded.");
		return;
	}
	if (!item_is_sound(item, report) || fcntl(item->result, F_ADD_SEALS, MEDIA_SEALS) < 0) {
		item_answer(item, WIRE_MEDIA, 0, "The media worker gave an impossible result; the file may be hostile.");
		return;
	}
	item_answer(item, 0, 0, "");
	item->answer.width = report->width;
	item->answer.height = report->height;
	item->answer.channels = report->channels;
	item->answer.frames = report->frames;
	item->answer.bytes = report->bytes;
}

static void item_report_death(struct media_item *item, const siginfo_t *info)
{
	int signal = info->si_code == CLD_EXITED ? 0 : info->si_status;
	char text[MEDIA_TEXT_BYTES];

	if (signal == SIGXCPU)
		snprintf(text, sizeof(text), "Decoding took more than its %" PRIu32 " ms of processor time.",
			 item->request.time_ms);
	else if (signal)
		snprintf(text, sizeof(text),
			 "The media worker was ended by signal %d (%s); the file may be damaged, or try again.",
			 signal, strsignal(signal));
	else
		snprintf(text, sizeof(text), "The media worker could not start or ended early; try again.");
	item_answer(item, WIRE_MEDIA, signal, text);
}

void item_finish(struct media_item *item)
{
	struct media_answer report;
	siginfo_t info = { 0 };
	ssize_t n;

	while (waitid(P_PID, (id_t)item->pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	n = read(item->report, &report, sizeof(report));
	if (item->state == ITEM_DYING)
		; /* answered already */
	else if (info.si_code == CLD_EXITED && !info.si_status && n == (ssize_t)sizeof(report))
		item_take_report(item, &report);
	else
		item_report_death(item, &info);
	item->pid = -1;
	file_close(&item->pidfd);
	file_close(&item->report);
	if (item->answer.status)
		file_close(&item->result);
	item->state = ITEM_DONE;
}
