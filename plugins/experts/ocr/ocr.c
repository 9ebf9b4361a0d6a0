/* ocr.c - an expert that reads the text in a picture, by Tesseract: lines, where each lies, and how sure it is. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <percept/plugin.h>
#include <tesseract/capi.h>

enum { OCR_PIXELS = 1 << 28, OCR_SPANS = 4096, OCR_WAIT_NS = 5000000 };

/* Tesseract's object reads one picture at a time: whoever has set `taken` has it. */
struct ocr {
	TessBaseAPI *api;
	atomic_flag taken;
	char identity[192];
};

static void ocr_close(void *expert)
{
	struct ocr *o = expert;

	TessBaseAPIEnd(o->api);
	TessBaseAPIDelete(o->api);
	free(o);
}

static const char *ocr_text(const struct percept_open *open, const char *name)
{
	const struct percept_value *v = percept_option(open, name);

	return v ? v->string : NULL;
}

/* Reads with the languages' data from `folder` (NULL: Tesseract's own). */
static int ocr_start(struct ocr *o, const char *folder, const char *language, int64_t layout)
{
	o->api = TessBaseAPICreate();
	if (!o->api)
		return -ENOMEM;
	/* What it has to say goes nowhere: a plugin's words are its answers. */
	TessBaseAPISetVariable(o->api, "debug_file", "/dev/null");
	if (TessBaseAPIInit3(o->api, folder, language)) {
		TessBaseAPIDelete(o->api);
		return -ENOENT;
	}
	TessBaseAPISetVariable(o->api, "debug_file", "/dev/null");
	TessBaseAPISetPageSegMode(o->api, (TessPageSegMode)layout);
	return 0;
}

static int ocr_open(struct percept_call *call, const struct percept_open *open, void **expert)
{
	const char *language = ocr_text(open, "language"), *folder = open->model;
	const struct percept_value *layout = percept_option(open, "layout");
	struct ocr *o = calloc(1, sizeof(*o));
	int r = o ? ocr_start(o, folder, language, layout ? layout->integer : 3) : -ENOMEM;

	if (r) {
		free(o);
		return r == -ENOENT ? percept_fail(call, r, "Tesseract has no data for the language %s%s%s: install "
						   "tesseract-ocr-%s, or name a folder with %s.traineddata as model=.", language,
						   folder ? " in " : "", folder ? folder : "", language, language) :
				      percept_fail(call, r, "Memory is out.");
	}
	atomic_flag_clear(&o->taken);
	snprintf(o->identity, sizeof(o->identity), "ocr-1-%s-%s-%lld", TessVersion(), language,
		 (long long)(layout ? layout->integer : 3));
	*expert = o;
	return 0;
}

static int ocr_info(void *expert, struct percept_expert_info *info)
{
	const struct ocr *o = expert;

	*info = (struct percept_expert_info){ .size = sizeof(*info), .modalities = PERCEPT_IMAGE, .identity = o->identity };
	return 0;
}

static bool ocr_stopped(void *arg, int words)
{
	return percept_cancelled(arg);
}

/* One line of the page as a span; its words, of which there are `bytes` before, were copied behind them. */
static struct percept_span ocr_span(const TessResultIterator *at, const struct percept_media *m, size_t first, size_t bytes)
{
	int left = 0, top = 0, right = 0, bottom = 0;
	const float w = (float)m->width, h = (float)m->height;

	TessPageIteratorBoundingBox(TessResultIteratorGetPageIteratorConst(at), RIL_TEXTLINE, &left, &top, &right, &bottom);
	return (struct percept_span){
		.first = (uint32_t)first, .bytes = (uint32_t)bytes, .x = (float)left / w, .y = (float)top / h,
		.width = (float)(right - left) / w, .height = (float)(bottom - top) / h,
		.confidence = TessResultIteratorConfidence(at, RIL_TEXTLINE) / 100,
	};
}

/* Appends the page's lines to text[room], one below the other. Returns how many there are. */
static uint32_t ocr_lines(TessBaseAPI *api, const struct percept_media *m, char *text, size_t room, struct percept_span *spans)
{
	TessResultIterator *at = TessBaseAPIGetIterator(api);
	uint32_t n = 0;
	size_t used = 0;

	while (at && n < OCR_SPANS) {
		char *line = TessResultIteratorGetUTF8Text(at, RIL_TEXTLINE);
		size_t bytes = line ? strlen(line) : 0;

		while (bytes && (line[bytes - 1] == '\n' || line[bytes - 1] == ' '))
			bytes--;
		if (bytes && bytes + 2 < room - used) {
			memcpy(text + used, line, bytes);
			spans[n++] = ocr_span(at, m, used, bytes);
			used += bytes;
			text[used++] = '\n';
		}
		TessDeleteText(line);
		if (!TessResultIteratorNext(at, RIL_TEXTLINE))
			break;
	}
	if (at)
		TessResultIteratorDelete(at);
	text[used ? used - 1 : 0] = '\0';
	return n;
}

/* The picture is set, and recognised. */
static int ocr_recognise(struct percept_call *call, struct ocr *o, const struct percept_media *m)
{
	ETEXT_DESC *monitor = TessMonitorCreate();

	if (!monitor)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	TessMonitorSetCancelFunc(monitor, ocr_stopped);
	TessMonitorSetCancelThis(monitor, call);
	TessBaseAPISetImage(o->api, m->data, (int)m->width, (int)m->height, 3, (int)m->width * 3);
	TessBaseAPISetSourceResolution(o->api, 70);
	const int failed = TessBaseAPIRecognize(o->api, monitor);

	TessMonitorDelete(monitor);
	if (percept_cancelled(call))
		return percept_fail(call, -ECANCELED, "The reading was cancelled.");
	return failed ? percept_fail(call, -EIO, "Tesseract could not read the picture.") : 0;
}

static int ocr_result(struct percept_call *call, struct ocr *o, const struct percept_media *m, struct percept_expert_result *result)
{
	char *all = TessBaseAPIGetUTF8Text(o->api);
	/* The lines' texts are the page's, but for white space; each may end in a line feed more. */
	const size_t room = (all ? strlen(all) : 0) + OCR_SPANS * 2;
	char *text = percept_alloc(call, room);
	struct percept_span *spans = percept_alloc(call, OCR_SPANS * sizeof(*spans));
	const int confidence = TessBaseAPIMeanTextConf(o->api);

	TessDeleteText(all);
	if (!text || !spans)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	const uint32_t n = ocr_lines(o->api, m, text, room, spans);

	*result = (struct percept_expert_result){ .size = sizeof(*result), .n_spans = n, .text = text, .spans = spans,
						  .confidence = n ? (float)confidence / 100 : -1 };
	return 0;
}

static int ocr_read(struct percept_call *call, void *expert, const struct percept_media *m, const char *hint,
		    struct percept_expert_result *result)
{
	const struct timespec nap = { 0, OCR_WAIT_NS };
	struct ocr *o = expert;

	if (m->format != PERCEPT_U8_RGB || m->frames != 1 || m->channels != 3 || !m->width || !m->height ||
	    (uint64_t)m->width * m->height > OCR_PIXELS || m->bytes / 3 / m->width < m->height)
		return percept_fail(call, -EINVAL, "The ocr expert wants one RGB picture of at most %d pixels.", OCR_PIXELS);
	while (atomic_flag_test_and_set(&o->taken)) {
		if (percept_cancelled(call))
			return percept_fail(call, -ECANCELED, "The reading was cancelled.");
		nanosleep(&nap, NULL);
	}
	int r = ocr_recognise(call, o, m);

	if (!r)
		r = ocr_result(call, o, m, result);
	TessBaseAPIClear(o->api);
	atomic_flag_clear(&o->taken);
	return r;
}

static const struct percept_option options[] = {
	{ .name = "language", .type = PERCEPT_OPTION_STRING, .fallback = "eng",
	  .help = "Tesseract's names of languages, with + between them: eng+deu" },
	{ .name = "layout", .type = PERCEPT_OPTION_INT, .fallback = "3", .min = 1, .max = 13,
	  .help = "Tesseract's page segmentation mode: 3 finds the blocks of a page, 6 takes one block, 11 sparse text" },
};
static const struct percept_expert ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options,
	.open = ocr_open, .close = ocr_close, .info = ocr_info, .read = ocr_read,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_EXPERT, .name = "ocr", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Reads the text in a picture, by Tesseract", .ops = &ops,
};
