/* worker.c - one media item: header, limits, decoding, an upright RGB picture. */
#include "config.h"
#include "daemon/media/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "daemon/media/convert.h"
#include "daemon/media/decode.h"
#include "daemon/media/image-header.h"
#include "daemon/media/source.h"
#include "sdk/wire/frame.h"

enum { WORKER_CHANNELS = 3, WORKER_FIRST_MEMORY = 64 << 20, WORKER_FREE_DESCRIPTOR = 16 };

const struct media_limits media_default_limits = {
	.max_pixels = 1u << 26,
	.max_side = 32768,
	.time_ms = 20000,
	.file_bytes = 128u << 20,
};

uint64_t worker_memory_need(uint64_t pixels, uint64_t file_bytes)
{
	/* A frame has at most 8 bytes a pixel, a progressive JPEG's coefficients 8 and its planes 4, the result 3; the
	 * file is held up to three times by parser, packet and decoder. */
	return pixels * 20 + file_bytes * 4 + WORKER_FIRST_MEMORY;
}

static int worker_write(const AVFrame *frame, const struct image_header *header, uint32_t background,
			struct media_answer *answer, struct media_fault *fault)
{
	size_t bytes = (size_t)header->width * header->height * WORKER_CHANNELS;
	uint8_t *rgba = malloc((size_t)header->width * 4), *out;
	struct convert convert;

	if (!rgba || ftruncate(WORKER_RESULT, (off_t)bytes) < 0) {
		free(rgba);
		return media_fail(fault, WIRE_MEDIA, "There is not enough memory for the picture.");
	}
	out = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_RESULT, 0);
	if (out == MAP_FAILED) {
		free(rgba);
		return media_fail(fault, WIRE_MEDIA, "There is not enough memory for the picture.");
	}
	if (!convert_init(&convert, frame, header, background, fault)) {
		convert_picture(&convert, out, rgba);
		convert_fini(&convert);
		answer->width = header->orientation < 5 ? header->width : header->height;
		answer->height = header->orientation < 5 ? header->height : header->width;
		answer->channels = WORKER_CHANNELS;
		answer->frames = 1;
		answer->bytes = bytes;
	}
	munmap(out, bytes);
	free(rgba);
	return fault->code ? -1 : 0;
}

static int worker_decode_image(const struct worker_job *job, struct media_answer *answer, struct media_fault *fault)
{
	struct image_header header;
	AVFrame *frame = NULL;
	int result;

	if (image_header_read(job->source, &header, fault) < 0 ||
	    image_header_check(&header, job->request->max_pixels, job->request->max_side, fault) < 0)
		return -1;
	if (sandbox_grow(job->sandbox,
			 worker_memory_need((uint64_t)header.width * header.height, job->source->size)) < 0)
		return media_fail(fault, WIRE_MEDIA, "The picture needs more memory to decode than it may have.");
	if (decode_picture(job->source, &header, &frame, fault) < 0)
		return -1;
	result = worker_write(frame, &header, job->request->background, answer, fault);
	av_frame_free(&frame);
	return result;
}

/* How each kind of media is decoded. */
static const struct {
	uint32_t kind;
	worker_function *decode;
} worker_kinds[] = {
	{ MEDIA_IMAGE, worker_decode_image },
};

int worker_decode(const struct worker_job *job, struct media_answer *answer, struct media_fault *fault)
{
	for (size_t i = 0; i < sizeof(worker_kinds) / sizeof(worker_kinds[0]); i++)
		if (worker_kinds[i].kind == job->request->kind)
			return worker_kinds[i].decode(job, answer, fault);
	return media_fail(fault, WIRE_MEDIA, "This kind of media is not decoded here; send a picture.");
}

/* Moves the item's descriptors to their places. Those in the way are duplicated upwards first. */
static int worker_place_descriptors(const struct worker_start *start)
{
	const struct {
		int from, to;
	} places[] = { { start->file, WORKER_FILE }, { start->report, WORKER_REPORT }, { start->result, WORKER_RESULT } };
	int high[3];

	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(places[i].from, F_DUPFD_CLOEXEC, WORKER_FREE_DESCRIPTOR);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], places[i].to) < 0)
			return -errno;
	return 0;
}

static int worker_shut_in(const struct worker_start *start, struct sandbox_limits *sandbox)
{
	const struct media_limits *limits = start->limits;
	uint64_t pixels = start->request->max_pixels;
	int error;

	/* Ends with the zygote; which may have ended before that was said. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != start->parent)
		return -ESRCH;
	error = worker_place_descriptors(start);
	if (error)
		return error;
	*sandbox = (struct sandbox_limits){
		.memory_bytes = WORKER_FIRST_MEMORY,
		.memory_max = worker_memory_need(pixels, limits->file_bytes),
		.file_bytes = pixels * WORKER_CHANNELS,
		.cpu_s = start->request->time_ms / 1000 + 1,
	};
	return sandbox_enter(start->filter, sandbox);
}

/* Looks at the descriptor (no byte of it is read yet), closes the sandbox, does the work. -1 when no report is to be made. */
static int worker_do(const struct worker_start *start, struct media_answer *answer)
{
	struct sandbox_limits sandbox;
	struct media_source source;
	struct media_fault fault = { 0 };

	if (!media_source_init(&source, start->file, start->limits->file_bytes, &fault)) {
		source.fd = WORKER_FILE;
		if (worker_shut_in(start, &sandbox) < 0)
			return -1;
		start->work(&(struct worker_job){ start->request, &sandbox, &source }, answer, &fault);
	} else if (dup2(start->report, WORKER_REPORT) < 0) {
		return -1;
	}
	answer->status = fault.code;
	memcpy(answer->text, fault.text, sizeof(answer->text));
	return 0;
}

void worker_run(const struct worker_start *start)
{
	struct media_answer answer = { .magic = MEDIA_WIRE_MAGIC, .kind = start->request->kind };
	ssize_t n;

	if (worker_do(start, &answer) < 0)
		_exit(EXIT_FAILURE);
	do
		n = write(WORKER_REPORT, &answer, sizeof(answer));
	while (n < 0 && errno == EINTR);
	_exit(n == (ssize_t)sizeof(answer) ? EXIT_SUCCESS : EXIT_FAILURE);
}
