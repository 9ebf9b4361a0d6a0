/* convert-yuv.c - YCbCr rows to RGB with the arithmetic of libjpeg and of libwebp, so that results equal theirs. */
#include "config.h"
#include "daemon/media/convert.h"

#include <libavutil/pixdesc.h>
#include <string.h>

enum { CONVERT_YCCK = 2 }; /* Adobe's transform */

static const uint8_t *yuv_line(const AVFrame *frame, int plane, int y)
{
	return frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
}

static uint8_t yuv_clip(int v)
{
	return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

static int yuv_clamp(int v, int max)
{
	return v < 0 ? 0 : v > max ? max : v;
}

/* Subsampling of a picture's chroma; n: samples in a chroma row, last: its last row. */
struct yuv_shape {
	int shift_x, shift_y, n, last;
};

static struct yuv_shape yuv_shape(const AVFrame *frame)
{
	const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);

	return (struct yuv_shape){ d->log2_chroma_w, d->log2_chroma_h,
				   AV_CEIL_RSHIFT(frame->width, d->log2_chroma_w),
				   AV_CEIL_RSHIFT(frame->height, d->log2_chroma_h) - 1 };
}

/* out (2n) = in (n): each sample 3/4 of the nearer and 1/4 of the farther one; rounding alternates. */
static void yuv_double_width(uint8_t *out, const uint8_t *in, int n)
{
	out[0] = in[0];
	for (int x = 1; x < n; x++) {
		out[2 * x - 1] = (uint8_t)((3 * in[x - 1] + in[x] + 2) >> 2);
		out[2 * x] = (uint8_t)((3 * in[x] + in[x - 1] + 1) >> 2);
	}
	out[2 * n - 1] = in[n - 1];
}

/* The same in both directions: columns first, near row 3 to far row 1, and rounding once. */
static void yuv_double_both(uint8_t *out, const uint8_t *near, const uint8_t *far, int n)
{
	int sum = 3 * near[0] + far[0];

	out[0] = (uint8_t)((4 * sum + 8) >> 4);
	for (int x = 1; x < n; x++) {
		int next = 3 * near[x] + far[x];

		out[2 * x - 1] = (uint8_t)((3 * sum + next + 7) >> 4);
		out[2 * x] = (uint8_t)((3 * next + sum + 8) >> 4);
		sum = next;
	}
	out[2 * n - 1] = (uint8_t)((4 * sum + 7) >> 4);
}

static void yuv_double_height(uint8_t *out, const uint8_t *near, const uint8_t *far, int n, int bias)
{
	for (int x = 0; x < n; x++)
		out[x] = (uint8_t)((3 * near[x] + far[x] + bias) >> 2);
}

static void yuv_repeat(uint8_t *out, const uint8_t *in, int width, int shift)
{
	for (int x = 0; x < width; x++)
		out[x] = in[x >> shift];
}

/* Chroma row y of the picture as libjpeg-turbo's "fancy" upsampling has it (jdsample.c's rules of when: factors of two,
 * and for width only if there are more than two samples; else samples are repeated). */
static const uint8_t *yuv_upsample_jpeg(const struct convert *convert, struct yuv_shape shape, int plane, int y)
{
	const AVFrame *frame = convert->frame;
	uint8_t *out = convert->chroma[plane - 1];
	int row = y >> shape.shift_y, other = yuv_clamp(y & 1 ? row + 1 : row - 1, shape.last);
	const uint8_t *near = yuv_line(frame, plane, row);

	if (!shape.shift_x && !shape.shift_y)
		return near;
	if (shape.shift_x == 1 && shape.shift_y == 1 && shape.n > 2)
		yuv_double_both(out, near, yuv_line(frame, plane, other), shape.n);
	else if (shape.shift_x == 1 && shape.shift_y == 0 && shape.n > 2)
		yuv_double_width(out, near, shape.n);
	else if (shape.shift_x == 0 && shape.shift_y == 1)
		yuv_double_height(out, near, yuv_line(frame, plane, other), shape.n, y & 1 ? 2 : 1);
	else
		yuv_repeat(out, near, frame->width, shape.shift_x);
	return out;
}

/* JFIF 1.02: R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb, in 16-bit fractions, each rounded as
 * libjpeg's tables are. */
static void yuv_put_jpeg(uint8_t *rgba, int y, int cb, int cr)
{
	cb -= 128;
	cr -= 128;
	rgba[0] = yuv_clip(y + ((91881 * cr + 32768) >> 16));
	rgba[1] = yuv_clip(y + ((-22554 * cb - 46802 * cr + 32768) >> 16));
	rgba[2] = yuv_clip(y + ((116130 * cb + 32768) >> 16));
	rgba[3] = 255;
}

void convert_row_jpeg(struct convert *convert, int y, uint8_t *rgba)
{
	struct yuv_shape shape = yuv_shape(convert->frame);
	const uint8_t *luma = yuv_line(convert->frame, 0, y);
	const uint8_t *cb = yuv_upsample_jpeg(convert, shape, 1, y);
	const uint8_t *cr = yuv_upsample_jpeg(convert, shape, 2, y);

	for (int x = 0; x < convert->frame->width; x++, rgba += 4)
		yuv_put_jpeg(rgba, luma[x], cb[x], cr[x]);
}

/* Four components that FFmpeg gives as they are, or, of Adobe's YCCK, as YCbCr that is multiplied by black already. The
 * planes are, by Adobe's custom, inverted: cyan, magenta, yellow, black. */
void convert_row_jpeg_cmyk(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *k = yuv_line(convert->frame, 3, y);

	if (convert->header->adobe_transform == CONVERT_YCCK) {
		convert_row_jpeg(convert, y, rgba);
		return;
	}
	for (int plane = 0; plane < 3; plane++) {
		const uint8_t *c = yuv_line(convert->frame, plane, y);

		for (int x = 0; x < convert->frame->width; x++)
			rgba[4 * x + plane] = (uint8_t)((c[x] * k[x] + 127) / 255);
	}
	for (int x = 0; x < convert->frame->width; x++)
		rgba[4 * x + 3] = 255;
}

/* libwebp's upsampling: 9 3 3 1, in its own order of rounding. */
static void yuv_upsample_webp(uint8_t *out, const uint8_t *near, const uint8_t *far, int width)
{
	out[0] = (uint8_t)((3 * near[0] + far[0] + 2) >> 2);
	for (int x = 1; x <= (width - 1) / 2; x++) {
		int sum = near[x - 1] + near[x] + far[x - 1] + far[x] + 8;
		int across = (sum + 2 * (near[x] + far[x - 1])) >> 3;
		int along = (sum + 2 * (near[x - 1] + far[x])) >> 3;

		out[2 * x - 1] = (uint8_t)((across + near[x - 1]) >> 1);
		out[2 * x] = (uint8_t)((along + near[x]) >> 1);
	}
	if (!(width & 1))
		out[width - 1] = (uint8_t)((3 * near[width / 2 - 1] + far[width / 2 - 1] + 2) >> 2);
}

/* BT.601 studio range in libwebp's fixed point: 6 fraction bits after a product's 8 are dropped. */
static void yuv_put_webp(uint8_t *rgba, int y, int u, int v)
{
	int luma = (y * 19077) >> 8;

	rgba[0] = yuv_clip((luma + ((v * 26149) >> 8) - 14234) >> 6);
	rgba[1] = yuv_clip((luma - ((u * 6419) >> 8) - ((v * 13320) >> 8) + 8708) >> 6);
	rgba[2] = yuv_clip((luma + ((u * 33050) >> 8) - 17685) >> 6);
	rgba[3] = 255;
}

void convert_row_webp(struct convert *convert, int y, uint8_t *rgba)
{
	const AVFrame *frame = convert->frame;
	int last = AV_CEIL_RSHIFT(frame->height, 1) - 1, row = y / 2;
	int other = yuv_clamp(y & 1 ? row + 1 : row - 1, last);
	const uint8_t *luma = yuv_line(frame, 0, y), *alpha = frame->data[3] ? yuv_line(frame, 3, y) : NULL;

	for (int plane = 1; plane < 3; plane++)
		yuv_upsample_webp(convert->chroma[plane - 1], yuv_line(frame, plane, row),
				  yuv_line(frame, plane, other), frame->width);
	for (int x = 0; x < frame->width; x++, rgba += 4) {
		yuv_put_webp(rgba, luma[x], convert->chroma[0][x], convert->chroma[1][x]);
		if (alpha)
			rgba[3] = alpha[x];
	}
}
