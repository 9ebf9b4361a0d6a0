/* frame.c - a received frame: its parts, and its end. */
#include "sdk/wire/frame.h"

#include <stdlib.h>
#include <unistd.h>

void wire_frame_fini(struct wire_frame *frame)
{
	cJSON_Delete(frame->json);
	free(frame->tail);
	for (unsigned i = 0; i < frame->n_fds; i++)
		if (frame->fds[i] >= 0)
			close(frame->fds[i]);
	frame->json = NULL;
	frame->tail = NULL;
	frame->tail_bytes = 0;
	frame->n_fds = 0;
}

const char *wire_frame_method(const struct wire_frame *frame)
{
	return cJSON_GetStringValue(wire_member(frame->json, "method"));
}

const cJSON *wire_frame_id(const struct wire_frame *frame)
{
	return wire_member(frame->json, "id");
}

const cJSON *wire_frame_params(const struct wire_frame *frame)
{
	return wire_member(frame->json, "params");
}
