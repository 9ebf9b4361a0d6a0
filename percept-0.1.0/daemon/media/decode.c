/* decode.c - FFmpeg on one file, through the file's own descriptor. */
#include "config.h"
#include "daemon/media/decode.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "sdk/wire/frame.h"

enum { DECODE_IO_BYTES = 1 << 16, DECODE_WORDS_BYTES = 128 };

/* One file being decoded. */
struct decode {
	struct media_source *source;
	uint64_t offset;
	AVIOContext *io;
	AVFormatContext *format;
	AVCodecContext *codec;
	AVPacket *packet;
	AVFrame *frame;
	char words[DECODE_WORDS_BYTES]; /* the decoder's first complaint */
};

static int decode_io_read(void *arg, uint8_t *out, int n)
{
	struct decode *d = arg;
	int got = media_source_copy(d->source, d->offset, out, n);

	if (got < 0)
		return AVERROR(-got);
	d->offset += (uint64_t)got;
	return got ? got : AVERROR_EOF;
}

static int64_t decode_io_seek(void *arg, int64_t offset, int whence)
{
	struct decode *d = arg;

	switch (whence & ~AVSEEK_FORCE) {
	case AVSEEK_SIZE:
		return (int64_t)d->source->size;
	case SEEK_CUR:
		offset += (int64_t)d->offset;
		break;
	case SEEK_END:
		offset += (int64_t)d->source->size;
		break;
	}
	if (offset < 0 || offset > (int64_t)d->source->size)
		return AVERROR(EINVAL);
	d->offset = (uint64_t)offset;
	return offset;
}

/* FFmpeg's log has no argument of ours; a decoder's context has: its first error is kept there. */
static void decode_log(void *object, int level, const char *format, va_list args)
{
	const AVClass *class = object ? *(const AVClass **)object : NULL;
	struct decode *d;

	if (level > AV_LOG_ERROR || !class || class != avcodec_get_class())
		return;
	d = ((AVCodecContext *)object)->opaque;
	if (!d || d->words[0])
		return;
	vsnprintf(d->words, sizeof(d->words), format, args);
	d->words[strcspn(d->words, "\n")] = '\0';
}

static int decode_open_format(struct decode *d, const struct image_type *type)
{
	const AVInputFormat *input = av_find_input_format(type->demuxer);
	uint8_t *buffer = av_malloc(DECODE_IO_BYTES);
	AVDictionary *options = NULL;
	int error;

	d->io = buffer ? avio_alloc_context(buffer, DECODE_IO_BYTES, 0, d, decode_io_read, NULL, decode_io_seek) :
			 NULL;
	if (!d->io) {
		av_free(buffer);
		return AVERROR(ENOMEM);
	}
	d->format = avformat_alloc_context();
	if (!d->format)
		return AVERROR(ENOMEM);
	d->format->pb = d->io;
	d->format->flags |= AVFMT_FLAG_CUSTOM_IO;
	av_dict_set(&options, "format_whitelist", type->demuxer, 0);
	av_dict_set(&options, "codec_whitelist", type->decoder, 0);
	av_dict_set(&options, "protocol_whitelist", "none", 0);
	error = input ? avformat_open_input(&d->format, "", input, &options) : AVERROR_DEMUXER_NOT_FOUND;
	av_dict_free(&options);
	return error;
}

static int decode_open_codec(struct decode *d, const struct image_header *header)
{
	const AVCodec *codec = avcodec_find_decoder_by_name(header->type->decoder);

	if (!codec)
		return AVERROR_DECODER_NOT_FOUND;
	d->codec = avcodec_alloc_context3(codec);
	d->packet = av_packet_alloc();
	d->frame = av_frame_alloc();
	if (!d->codec || !d->packet || !d->frame)
		return AVERROR(ENOMEM);
	d->codec->opaque = d;
	d->codec->thread_count = 1;
	d->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
	/* Of FFmpeg's inverse transforms the floating-point one comes closest to libjpeg's accurate integer one. */
	d->codec->idct_algo = FF_IDCT_FAAN;
	/* Nothing larger than what the header admitted; buffers are checked with their padding. */
	d->codec->max_pixels = ((int64_t)header->width + 128) * ((int64_t)header->height + 128);
	return avcodec_open2(d->codec, codec, NULL);
}

static int decode_run(struct decode *d, const struct image_header *header)
{
	int error = decode_open_format(d, header->type);

	if (error >= 0)
		error = decode_open_codec(d, header);
	if (error >= 0)
		error = av_read_frame(d->format, d->packet);
	if (error >= 0)
		error = avcodec_send_packet(d->codec, d->packet);
	if (error >= 0)
		error = avcodec_receive_frame(d->codec, d->frame);
	if (error == AVERROR(EAGAIN)) {
		error = avcodec_send_packet(d->codec, NULL);
		if (error >= 0)
			error = avcodec_receive_frame(d->codec, d->frame);
	}
	return error;
}

static int decode_explain(const struct decode *d, const struct image_header *header, int error,
			  struct media_fault *fault)
{
	const char *name = header->type->name;
	char words[AV_ERROR_MAX_STRING_SIZE];

	if (error == AVERROR(ENOMEM))
		return media_fail(fault, WIRE_MEDIA, "The %s picture needs more memory to decode than it may have.",
				  name);
	if (d->words[0])
		return media_fail(fault, WIRE_MEDIA, "The %s file is damaged (%s).", name, d->words);
	if (error == AVERROR_EOF)
		return media_fail(fault, WIRE_MEDIA, "The %s file has no picture in it.", name);
	av_make_error_string(words, sizeof(words), error);
	return media_fail(fault, WIRE_MEDIA, "The %s file is damaged or not supported (%s).", name, words);
}

static int decode_check(const struct decode *d, const struct image_header *header, struct media_fault *fault)
{
	const char *name = header->type->name;

	/* Errors that a decoder only logs are in the pixels all the same. */
	if (header->type->strict && d->words[0])
		return media_fail(fault, WIRE_MEDIA, "The %s file is damaged (%s).", name, d->words);
	if (d->frame->decode_error_flags || d->frame->flags & AV_FRAME_FLAG_CORRUPT)
		return media_fail(fault, WIRE_MEDIA, "The %s file is damaged.", name);
	if (d->frame->width != (int)header->width || d->frame->height != (int)header->height)
		return media_fail(fault, WIRE_MEDIA, "The %s file is damaged: it is %dx%d, its header says otherwise.",
				  name, d->frame->width, d->frame->height);
	return 0;
}

int decode_picture(struct media_source *source, const struct image_header *header, AVFrame **out,
		   struct media_fault *fault)
{
	struct decode d = { .source = source };
	int error, result;

	av_log_set_callback(decode_log);
	error = decode_run(&d, header);
	result = error < 0 ? decode_explain(&d, header, error, fault) : decode_check(&d, header, fault);
	if (!result) {
		*out = d.frame;
		d.frame = NULL;
	}
	av_frame_free(&d.frame);
	av_packet_free(&d.packet);
	avcodec_free_context(&d.codec);
	avformat_close_input(&d.format);
	if (d.io)
		av_freep(&d.io->buffer);
	avio_context_free(&d.io);
	return result;
}

void decode_warm_up(void)
{
	/* The decoders of the table, and the one that the WebP decoder uses inside. */
	static const char *const names[] = { "png", "mjpeg", "webp", "vp8", "gif", "bmp" };

	av_log_set_callback(decode_log);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const AVCodec *codec = avcodec_find_decoder_by_name(names[i]);
		AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;

		if (context) {
			context->thread_count = 1;
			context->idct_algo = FF_IDCT_FAAN;
			avcodec_open2(context, codec, NULL);
		}
		avcodec_free_context(&context);
	}
	av_find_input_format(names[0]);
}
