/* decode.h - FFmpeg on one file: the one demuxer, the one decoder that its header's table names, no protocols. */
#ifndef MEDIA_DECODE_H
#define MEDIA_DECODE_H

#include <libavutil/frame.h>
#include "daemon/media/image-header.h"

/* Opens every decoder of the table once, so that a fork finds their tables made. [any] */
void decode_warm_up(void);

/* The first picture of `source`, in whatever pixel format the decoder has; it is as large as *header says. The caller
 * frees *out with av_frame_free. Returns 0, or -1 with *fault: damaged, cut off, out of memory. [worker] */
int decode_picture(struct media_source *source, const struct image_header *header, AVFrame **out,
		   struct media_fault *fault);

#endif
