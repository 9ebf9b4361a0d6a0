/* ask.c - another assistant as the captioner: it is shown the picture, and what it answers is the caption. */
#include "config.h"
#include "plugins/experts/caption/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <percept/client.h>

enum { BMP_HEAD = 54, BMP_SIDE_MAX = 1 << 15 };

static void put(uint8_t *to, uint32_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

/* The picture as a BMP file, whose rows go from the bottom up, blue first, each to a multiple of four bytes. */
static void bmp_fill(uint8_t *to, const struct percept_media *m, uint32_t stride, uint32_t bytes)
{
	memcpy(to, "BM", 2);
	put(to + 2, bytes, 4);
	put(to + 10, BMP_HEAD, 4);
	put(to + 14, 40, 4); /* of the second part of the head: width, height, planes, bits */
	put(to + 18, m->width, 4);
	put(to + 22, m->height, 4);
	put(to + 26, 1, 2);
	put(to + 28, 24, 2);
	for (uint32_t y = 0; y < m->height; y++) {
		const uint8_t *from = (const uint8_t *)m->data + (size_t)(m->height - 1 - y) * m->width * 3;
		uint8_t *row = to + BMP_HEAD + (size_t)y * stride;

		for (uint32_t x = 0; x < m->width; x++, from += 3, row += 3) {
			row[0] = from[2];
			row[1] = from[1];
			row[2] = from[0];
		}
	}
}

/* A sealed memory file, as the daemon takes them; -1 with errno. */
static int bmp_file(const struct percept_media *m)
{
	const uint32_t stride = (m->width * 3 + 3) / 4 * 4, bytes = BMP_HEAD + stride * m->height;
	const int fd = memfd_create("caption", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *map = fd < 0 || ftruncate(fd, bytes) ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED) {
		bmp_fill(map, m, stride, bytes);
		munmap(map, bytes);
		if (!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
			return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int ask_stopped(void *call)
{
	return percept_cancelled(call);
}

/* The question about the file, which is taken over. */
static int ask_fill(struct percept_input *input, const struct ask *a, int file, struct percept_error *error)
{
	char most[16], *name = NULL;
	cJSON *json = cJSON_CreateString(a->assistant);
	int r = percept_input_fd(input, "image", file, error);

	name = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	snprintf(most, sizeof(most), "%u", a->most);
	if (!r)
		r = percept_input_text(input, a->prompt, error);
	if (!r)
		r = name ? percept_input_set(input, "assistant", name, error) : -ENOMEM;
	if (!r)
		r = percept_input_set(input, "max_output_tokens", most, error);
	if (!r)
		r = percept_input_set(input, "temperature", "0", error);
	cJSON_free(name);
	return r;
}

/* The answer's text into the call's arena; its status "cancelled" is none. */
static int ask_take(struct percept_call *call, const struct percept_answer *answer, struct percept_expert_result *result)
{
	cJSON *json = answer->result ? cJSON_Parse(answer->result) : NULL;
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "output_text"));
	const char *status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "status"));
	const int cancelled = status && !strcmp(status, "cancelled");
	char *copy = text && !cancelled ? percept_alloc(call, strlen(text) + 1) : NULL;

	if (copy)
		strcpy(copy, text);
	cJSON_Delete(json);
	*result = (struct percept_expert_result){ .size = sizeof(*result), .text = copy, .confidence = -1 };
	return copy ? 0 : cancelled ? -ECANCELED : -EPROTO;
}

int ask_read(struct percept_call *call, const struct ask *a, const struct percept_media *m, struct percept_expert_result *result)
{
	struct percept_events events = { .size = sizeof(events), .arg = call, .stopped = ask_stopped };
	struct percept_error error = { 0 };
	struct percept_answer answer = { 0 };

	if (m->format != PERCEPT_U8_RGB || m->frames != 1 || m->channels != 3 || !m->width || !m->height || m->width > BMP_SIDE_MAX ||
	    m->height > BMP_SIDE_MAX || m->bytes / 3 / m->width < m->height || (uint64_t)m->width * m->height > UINT32_MAX / 4)
		return percept_fail(call, -EINVAL, "The caption expert takes one RGB picture.");
	const int file = bmp_file(m);

	if (file < 0)
		return percept_fail(call, -ENOMEM, "The picture cannot be passed on: %s.", strerror(errno));
	struct percept_connection *c = percept_connect(a->socket, &error);
	struct percept_input *input = c ? percept_input_new() : NULL;
	int r = input ? ask_fill(input, a, file, &error) : -ENOMEM;

	if (!input)
		close(file);
	if (!r)
		r = percept_call_input(c, "response.create", input, &events, &answer, &error);
	if (!r)
		r = ask_take(call, &answer, result);
	if (r == -ECANCELED || percept_cancelled(call))
		r = percept_fail(call, -ECANCELED, "The captioning was cancelled.");
	else if (r)
		r = percept_fail(call, r == -ENOMEM ? r : -EIO, "Assistant %s, which captions pictures, did not answer: %s", a->assistant,
				 error.text[0] ? error.text : "it gave no text.");
	percept_input_free(input);
	percept_close(c);
	percept_answer_clear(&answer);
	percept_error_clear(&error);
	return r;
}
