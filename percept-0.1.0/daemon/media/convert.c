/* convert.c - decoded pixel formats to RGBA rows, and rows to an upright RGB picture. */
#include "config.h"
#include "daemon/media/convert.h"

#include <libavutil/pixdesc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "sdk/wire/frame.h"

enum { CONVERT_OPAQUE = -1 };

/* Interleaved formats: where a pixel's red, green, blue and alpha bytes are. Of 16-bit samples the high byte is taken. */
static const struct convert_packed {
	enum AVPixelFormat format;
	int step, r, g, b, a;
} convert_packed[] = {
	{ AV_PIX_FMT_RGB24, 3, 0, 1, 2, CONVERT_OPAQUE },
	{ AV_PIX_FMT_BGR24, 3, 2, 1, 0, CONVERT_OPAQUE },
	{ AV_PIX_FMT_RGBA, 4, 0, 1, 2, 3 },
	{ AV_PIX_FMT_BGRA, 4, 2, 1, 0, 3 },
	{ AV_PIX_FMT_ARGB, 4, 1, 2, 3, 0 },
	{ AV_PIX_FMT_BGR0, 4, 2, 1, 0, CONVERT_OPAQUE },
	{ AV_PIX_FMT_RGB48BE, 6, 0, 2, 4, CONVERT_OPAQUE },
	{ AV_PIX_FMT_RGBA64BE, 8, 0, 2, 4, 6 },
	{ AV_PIX_FMT_GRAY8, 1, 0, 0, 0, CONVERT_OPAQUE },
	{ AV_PIX_FMT_YA8, 2, 0, 0, 0, 1 },
	{ AV_PIX_FMT_YA16BE, 4, 0, 0, 0, 2 },
};

static const struct convert_packed *convert_find_packed(int format)
{
	for (size_t i = 0; i < sizeof(convert_packed) / sizeof(convert_packed[0]); i++)
		if (convert_packed[i].format == format)
			return &convert_packed[i];
	return NULL;
}

static const uint8_t *convert_line(const struct convert *convert, int plane, int y)
{
	return convert->frame->data[plane] + (ptrdiff_t)y * convert->frame->linesize[plane];
}

static void convert_put(uint8_t *rgba, uint32_t r, uint32_t g, uint32_t b)
{
	rgba[0] = (uint8_t)r;
	rgba[1] = (uint8_t)g;
	rgba[2] = (uint8_t)b;
	rgba[3] = 255;
}

static void convert_row_packed(struct convert *convert, int y, uint8_t *rgba)
{
	const struct convert_packed *p = convert_find_packed(convert->frame->format);
	const uint8_t *in = convert_line(convert, 0, y);

	for (int x = 0; x < convert->frame->width; x++, in += p->step, rgba += 4) {
		rgba[0] = in[p->r];
		rgba[1] = in[p->g];
		rgba[2] = in[p->b];
		rgba[3] = p->a < 0 ? 255 : in[p->a];
	}
}

/* 16-bit grey: values over 255 are white, as Pillow's conversion of mode I;16 to RGB has it. */
static void convert_row_gray16(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *in = convert_line(convert, 0, y);

	for (int x = 0; x < convert->frame->width; x++, in += 2, rgba += 4) {
		uint32_t v = in[0] ? 255 : in[1];

		convert_put(rgba, v, v, v);
	}
}

static void convert_row_bilevel(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *in = convert_line(convert, 0, y);

	for (int x = 0; x < convert->frame->width; x++, rgba += 4) {
		uint32_t v = in[x / 8] >> (7 - x % 8) & 1 ? 255 : 0;

		convert_put(rgba, v, v, v);
	}
}

static void convert_row_palette(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *in = convert_line(convert, 0, y);

	for (int x = 0; x < convert->frame->width; x++, rgba += 4) {
		uint32_t argb;

		memcpy(&argb, convert->frame->data[1] + 4 * in[x], 4);
		convert_put(rgba, argb >> 16 & 255, argb >> 8 & 255, argb & 255);
		rgba[3] = (uint8_t)(argb >> 24);
	}
}

static void convert_row_rgb555(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *in = convert_line(convert, 0, y);

	for (int x = 0; x < convert->frame->width; x++, in += 2, rgba += 4) {
		uint32_t v = le16(in);

		convert_put(rgba, (v >> 10 & 31) * 255 / 31, (v >> 5 & 31) * 255 / 31, (v & 31) * 255 / 31);
	}
}

static void convert_row_rgb565(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *in = convert_line(convert, 0, y);

	for (int x = 0; x < convert->frame->width; x++, in += 2, rgba += 4) {
		uint32_t v = le16(in);

		convert_put(rgba, (v >> 11) * 255 / 31, (v >> 5 & 63) * 255 / 63, (v & 31) * 255 / 31);
	}
}

static void convert_row_gbr(struct convert *convert, int y, uint8_t *rgba)
{
	const uint8_t *g = convert_line(convert, 0, y), *b = convert_line(convert, 1, y),
		      *r = convert_line(convert, 2, y);

	for (int x = 0; x < convert->frame->width; x++, rgba += 4)
		convert_put(rgba, r[x], g[x], b[x]);
}

/* CMYK that FFmpeg has multiplied by black, rounding down: C K / 255 comes out one too low wherever it is whole, as it is in
 * all of a picture without black. */
static void convert_row_cmyk(struct convert *convert, int y, uint8_t *rgba)
{
	convert_row_gbr(convert, y, rgba);
	for (int i = 0; i < 4 * convert->frame->width; i++)
		rgba[i] = (uint8_t)(rgba[i] + (rgba[i] > 0 && rgba[i] < 255));
}

/* GIF: FFmpeg leaves transparent pixels and the surroundings of a small frame clear; reference code shows the colours
 * that the palette has there. Their alpha stays 0 for a background. */
static void convert_row_gif(struct convert *convert, int y, uint8_t *rgba)
{
	const struct image_header *h = convert->header;
	bool row_inside = (uint32_t)y >= h->gif.y && (uint32_t)y - h->gif.y < h->gif.height;

	convert_row_packed(convert, y, rgba);
	for (uint32_t x = 0; x < h->width; x++, rgba += 4) {
		bool inside = row_inside && x >= h->gif.x && x - h->gif.x < h->gif.width;

		if (!inside)
			memcpy(rgba, h->gif.outside, 3);
		else if (!rgba[3])
			memcpy(rgba, h->gif.transparent, 3);
	}
}

/* Which function reads a format of a decoder's; decoder NULL: of any. The first line that fits counts. */
static const struct {
	const char *decoder;
	enum AVPixelFormat format;
	convert_row_function *row;
} convert_rows[] = {
	{ "gif", AV_PIX_FMT_BGRA, convert_row_gif },
	{ "webp", AV_PIX_FMT_YUV420P, convert_row_webp },
	{ "webp", AV_PIX_FMT_YUVA420P, convert_row_webp },
	{ "mjpeg", AV_PIX_FMT_YUVJ444P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUVJ422P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUVJ420P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUVJ440P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUVJ411P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUV444P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUV422P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUV420P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUV440P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUV411P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUV410P, convert_row_jpeg },
	{ "mjpeg", AV_PIX_FMT_YUVA444P, convert_row_jpeg_cmyk },
	{ "mjpeg", AV_PIX_FMT_GBRP, convert_row_gbr },
	{ "mjpeg", AV_PIX_FMT_GBRAP, convert_row_cmyk },
	{ NULL, AV_PIX_FMT_GRAY16BE, convert_row_gray16 },
	{ NULL, AV_PIX_FMT_MONOBLACK, convert_row_bilevel },
	{ NULL, AV_PIX_FMT_PAL8, convert_row_palette },
	{ NULL, AV_PIX_FMT_RGB555LE, convert_row_rgb555 },
	{ NULL, AV_PIX_FMT_RGB565LE, convert_row_rgb565 },
};

static convert_row_function *convert_find_row(const char *decoder, int format)
{
	for (size_t i = 0; i < sizeof(convert_rows) / sizeof(convert_rows[0]); i++)
		if (convert_rows[i].format == format &&
		    (!convert_rows[i].decoder || !strcmp(convert_rows[i].decoder, decoder)))
			return convert_rows[i].row;
	return convert_find_packed(format) ? convert_row_packed : NULL;
}

int convert_init(struct convert *convert, const AVFrame *frame, const struct image_header *header,
		 uint32_t background, struct media_fault *fault)
{
	const char *name = av_get_pix_fmt_name(frame->format);

	*convert = (struct convert){ .frame = frame, .header = header, .background = background };
	convert->row = convert_find_row(header->type->decoder, frame->format);
	if (!convert->row)
		return media_fail(fault, WIRE_MEDIA, "The %s picture has a pixel format that is not read (%s).",
				  header->type->name, name ? name : "unknown");
	for (int i = 0; i < 2; i++) {
		convert->chroma[i] = malloc((size_t)frame->width + 8);
		if (convert->chroma[i])
			continue;
		convert_fini(convert);
		return media_fail(fault, WIRE_MEDIA, "There is not enough memory for the picture.");
	}
	return 0;
}

void convert_fini(struct convert *convert)
{
	free(convert->chroma[0]);
	free(convert->chroma[1]);
	convert->chroma[0] = convert->chroma[1] = NULL;
}

static void convert_blend(uint8_t *rgba, int width, uint32_t background)
{
	for (int x = 0; x < width; x++, rgba += 4)
		for (int c = 0; c < 3; c++) {
			uint32_t b = background >> (16 - 8 * c) & 255;

			rgba[c] = (uint8_t)((rgba[c] * rgba[3] + b * (255u - rgba[3]) + 127) / 255);
		}
}

/* EXIF orientation - 1: sides swapped; then counted from the right; then from the bottom. */
static const struct {
	bool swap, right, bottom;
} convert_turns[8] = {
	{ false, false, false }, { false, true, false }, { false, true, true }, { false, false, true },
	{ true, false, false },	 { true, true, false },	 { true, true, true },	{ true, false, true },
};

void convert_picture(struct convert *convert, uint8_t *out, uint8_t *rgba)
{
	bool swap = convert_turns[convert->header->orientation - 1].swap;
	ptrdiff_t w = convert->frame->width, h = convert->frame->height, out_w = swap ? h : w, out_h = swap ? w : h;
	ptrdiff_t step = swap ? 3 * out_w : 3, next = swap ? 3 : 3 * out_w;

	if (convert_turns[convert->header->orientation - 1].right) {
		out += 3 * (out_w - 1);
		*(swap ? &next : &step) *= -1;
	}
	if (convert_turns[convert->header->orientation - 1].bottom) {
		out += 3 * out_w * (out_h - 1);
		*(swap ? &step : &next) *= -1;
	}
	for (ptrdiff_t y = 0; y < h; y++) {
		uint8_t *to = out + y * next;

		convert->row(convert, (int)y, rgba);
		if (convert->background != MEDIA_BACKGROUND_NONE)
			convert_blend(rgba, (int)w, convert->background);
		for (const uint8_t *from = rgba; from < rgba + 4 * w; from += 4, to += step)
			memcpy(to, from, 3);
	}
}
