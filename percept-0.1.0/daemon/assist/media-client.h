/* media-client.h - perceptd's end of percept-media: descriptors of media in, checked memfds of pixels out. */
#ifndef ASSIST_MEDIA_CLIENT_H
#define ASSIST_MEDIA_CLIENT_H

#include <stdint.h>
#include <uv.h>

#include "sdk/wire/frame.h"

/* One item on its way; the caller's memory, which stays until `done` or media_client_cancel. */
struct media_call {
	int source;              /* the item's descriptor; the caller's */
	void (*done)(void *arg, struct media_call *call);
	void *arg;
	/* What came of it: error.code is 0, or the rest is unset. */
	struct wire_error error; /* whoever gets it ends it */
	int pixels;              /* a sealed memfd of u8 RGB, the caller's from then on */
	uint32_t width, height, channels, frames;
	/* Inside. */
	uint64_t id, sent_ms;
	unsigned tries;
	struct media_call *next, **at;
	struct media_run *run;
};

struct media_setup {
	uv_loop_t *loop;
	const char *program;   /* absolute path of percept-media */
	unsigned time_ms;      /* wall clock an item; 0: percept-media's own limit */
	uint64_t max_pixels;   /* 0: the same */
	uint32_t max_side;     /* 0: the same */
	uint64_t max_bytes;    /* of a media file */
	uint32_t workers;      /* items at a time; 0: percept-media's own choice */
	uint32_t background;   /* 0x00RRGGBB, or MEDIA_BACKGROUND_NONE */
};

struct media_client;
/* The program is started at once, and again whenever it died and something is asked. `setup` must outlive it. NULL on
 * ENOMEM. [loop] */
struct media_client *media_client_new(const struct media_setup *setup);
/* Nothing may be in flight. [loop] */
void media_client_free(struct media_client *client);
/* Decodes call->source; done is called from the loop, exactly once, never from within this. [loop] */
void media_client_submit(struct media_client *client, struct media_call *call);
/* The call will not be done; its worker is ended. [loop] */
void media_client_cancel(struct media_client *client, struct media_call *call);

#endif
