/* fuzz-frame.c - the reader of frames: whatever comes, in whatever pieces, it says the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
	unsigned frames, broken, invalid;
	size_t bytes;
};

static int on_frame(void *arg, struct wire_frame *frame)
{
	struct tally *tally = arg;
	size_t n;
	tally->frames++;
	tally->bytes += frame->tail_bytes;
	char *text = wire_json_print(frame->json, &n);
	cJSON *again = text ? wire_json_parse(text, n, NULL) : NULL;
	if (text && (again == NULL || !cJSON_Compare(again, frame->json, 1)))
		abort();
	cJSON_Delete(again);
	free(text);
	wire_frame_fini(frame);
	return 0;
}

static void on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct tally *tally = arg;
	tally->broken++;
	cJSON_Delete(wire_error_answer(id, error));
}

static void on_invalid(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct tally *tally = arg;
	tally->invalid++;
	cJSON_Delete(wire_error_answer(id, error));
}

static const struct wire_reader_events events = {on_frame, on_broken, on_invalid};
static const struct wire_limits limits = {4096, 4096, 8, 1000, 1};

/* Feeds in pieces of 1 + seed-dependent lengths; seed 0: in one piece. */
static struct tally feed(const uint8_t *data, size_t size, uint32_t seed)
{
	struct tally tally = {0};
	struct wire_reader *reader = wire_reader_new(&limits, &events, &tally);
	while (reader && size) {
		seed = seed * 1664525 + (seed != 0) * 1013904223;
		size_t n = seed ? 1 + (seed >> 24) % 37 : size;
		n = n < size ? n : size;
		if (wire_reader_feed(reader, data, n, NULL, 0) != 0)
			break;
		data += n;
		size -= n;
	}
	wire_reader_free(reader);
	return tally;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tally whole = feed(data, size, 0), parts = feed(data, size, 1 + (uint32_t)size);
	if (whole.frames != parts.frames || whole.broken != parts.broken || whole.invalid != parts.invalid ||
	    whole.bytes != parts.bytes || whole.broken > 1)
		abort();
	return 0;
}
