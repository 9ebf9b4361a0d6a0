/* media-wire.h - what perceptd and percept-media tell each other: one struct a packet. */
#ifndef WIRE_MEDIA_WIRE_H
#define WIRE_MEDIA_WIRE_H

#include <assert.h>
#include <stdint.h>

/*
 * A SOCK_SEQPACKET pair; percept-media has its end as descriptor 3 (or --fd N) and ends when perceptd closes its own.
 * perceptd sends media_request, a decode with exactly one descriptor (SCM_RIGHTS): a regular file or a sealed memfd.
 * Every decode gets exactly one media_answer, in any order; one with status 0 carries exactly one descriptor: a memfd
 * of `bytes` bytes with all four seals of MEDIA_SEALS. All numbers are in the machine's own byte order.
 */
#define MEDIA_WIRE_MAGIC 0x31445650u /* "PVD1" */

enum media_verb {
	MEDIA_DECODE = 1,
	MEDIA_CANCEL = 2, /* of `id`; no descriptor. A running worker is killed. Unknown ids are ignored. */
};

enum media_kind {
	MEDIA_IMAGE = 1, /* u8 RGB, row by row from the top: bytes = frames * height * width * 3 */
};

/* media_request.background: composite transparent pictures over this colour, or drop alpha as reference code does. */
#define MEDIA_BACKGROUND_NONE 0xffffffffu /* else 0x00RRGGBB */

struct media_request {
	uint32_t magic;
	uint32_t verb;
	uint64_t id;         /* chosen by perceptd, unique among those in flight */
	uint32_t kind;
	uint32_t time_ms;    /* wall clock of the worker; 0: percept-media's own limit, which is also the largest */
	uint64_t max_pixels; /* of one picture; 0: percept-media's own limit, which is also the largest */
	uint32_t max_side;   /* the same, pixels */
	uint32_t background;
} __attribute__((packed));

#define MEDIA_TEXT_BYTES 256

struct media_answer {
	uint32_t magic;
	int32_t status;      /* 0, or a code of PROTOCOL section 5 (enum wire_error_code); MEDIA_CANCELLED */
	uint64_t id;
	uint32_t kind;
	uint32_t width, height, channels, frames;
	int32_t signal;      /* that ended the worker, or 0 */
	uint64_t bytes;      /* of the memfd */
	uint64_t decode_us;  /* from fork to the worker's end */
	char text[MEDIA_TEXT_BYTES]; /* when status is not 0: one sentence, printable ASCII, NUL-terminated */
} __attribute__((packed));

#define MEDIA_CANCELLED 1 /* status of an item that MEDIA_CANCEL ended */

/* F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE of linux/fcntl.h */
#define MEDIA_SEALS 0xf

static_assert(sizeof(struct media_request) == 40, "the size of a request is part of the wire format");
static_assert(sizeof(struct media_answer) == 312, "the size of an answer is part of the wire format");

#endif
