/* fault.h - why a media item was refused: a code of the protocol and one sentence. */
#ifndef MEDIA_FAULT_H
#define MEDIA_FAULT_H

#include "sdk/wire/media-wire.h"

struct media_fault {
	int code; /* 0, or enum wire_error_code */
	char text[MEDIA_TEXT_BYTES];
};

/* Fills *fault unless it is filled already (the first reason is the true one). Returns -1. [any] */
int media_fail(struct media_fault *fault, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
