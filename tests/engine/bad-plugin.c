/* bad-plugin.c - one source, many plugins that a host must refuse or survive: BAD says which. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <percept/plugin.h>

static int bad_open(struct percept_call *call, const struct percept_open *open, void **instance)
{
	static const int here;

	if (BAD == 55)
		abort();
	*instance = (void *)&here;
	return 0;
}

static void bad_close(void *instance)
{
}

static int bad_info(void *instance, struct percept_encoder_info *info)
{
	info->modalities = PERCEPT_IMAGE;
	info->dim = 8;
	info->identity = "bad";
	return 0;
}

/* What the picture's width asks for. */
static int bad_encode(struct percept_call *call, void *instance, const struct percept_media *media, struct percept_features *f)
{
	float *data = percept_alloc(call, 4 * 8 * sizeof(float));

	f->layout = (struct percept_layout){.size = sizeof(f->layout), .items = 1, .tokens = 4, .dim = 8};
	f->data = data;
	switch (media->width) {
	case 1:
		return -EIO;
	case 2:
		return percept_fail(call, -EIO, "The lens is dirty.");
	case 3:
		f->layout.dim = 9;
		break;
	case 4:
		f->data = NULL;
		break;
	case 5:
		data[3] = NAN;
		break;
	case 6:
		f->layout.items = f->layout.tokens = UINT32_MAX;
		break;
	case 7:
		abort();
	case 8: /* polls every 5 ms for a minute */
		for (int i = 0; i < 12000 && !percept_cancelled(call); i++)
			usleep(5000);
		return percept_cancelled(call) ? -ECANCELED : 0;
	case 9:
		return -ECANCELED;
	default:
		break;
	}
	return 0;
}

static const struct percept_encoder bad_ops = {
	.size = BAD == 7 ? 40 : sizeof(struct percept_encoder),
	.open = bad_open,
	.close = bad_close,
	.info = bad_info,
	.encode = BAD == 8 ? NULL : bad_encode,
};

/* 4 rows, as wide as the test's decoder wants: BAD 20. */
static int bad_connector_info(void *instance, struct percept_connector_info *info)
{
	info->in_dim = BAD == 21 ? 192 : 8;
	info->out_dim = BAD == 22 ? 7 : WIDTH;
	info->position_components = 1;
	info->identity = "bad";
	return 0;
}

static int bad_connect(struct percept_call *call, void *instance, const struct percept_features *features,
		       const char *instruction, struct percept_embeddings *e)
{
	e->n = 4;
	e->dim = WIDTH;
	e->data = percept_alloc(call, 4 * WIDTH * sizeof(float));
	return e->data ? 0 : -ENOMEM;
}

static const struct percept_connector bad_connector = {
	.size = sizeof(struct percept_connector),
	.open = bad_open,
	.close = bad_close,
	.info = bad_connector_info,
	.connect = bad_connect,
};

/* ---- BAD 30: a decoder over bytes whose next token depends on all rows, with fork, trim and hidden states; it is slow behind
 * a '~', fails a step that has a '!', gives no number behind a '?', and no logits at all behind a '|'. ---- */

enum { BAD_VOCAB = 128, BAD_CONTEXT = 512, BAD_DIM = 4 };
struct bad_sequence {
	uint32_t n;
	int32_t token[BAD_CONTEXT];
};
struct bad_decoder {
	uint32_t n;
	char byte[BAD_VOCAB];
	struct bad_sequence s[];
};

static int bad_decoder_open(struct percept_call *call, const struct percept_open *open, void **decoder)
{
	struct bad_decoder *d = *decoder = calloc(1, sizeof(*d) + open->max_sequences * sizeof(d->s[0]));

	for (int i = 0; d && i < BAD_VOCAB; i++)
		d->byte[i] = (char)i;
	if (d)
		d->n = open->max_sequences;
	return d ? 0 : -ENOMEM;
}

static int bad_decoder_info(void *decoder, struct percept_decoder_info *info)
{
	static const int32_t end[] = {0};

	*info = (struct percept_decoder_info){.size = sizeof(*info), .start = -1, .vocab = BAD_VOCAB, .d_model = BAD_DIM,
		.context = BAD_CONTEXT, .max_batch = 64, .n_end = 1, .end = end, .family = "bad", .identity = "bad",
		.capabilities = PERCEPT_CAN_EMBEDDINGS | PERCEPT_CAN_FORK | PERCEPT_CAN_TRIM | PERCEPT_CAN_HIDDEN};
	return 0;
}

/* Logits by a hash of the sequence's tokens: letters only. */
static void bad_logits(const struct bad_sequence *s, float *out)
{
	uint32_t h = 0, slow = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		h = h * 31 + (uint32_t)s->token[i] + 7;
		slow |= s->token[i] == '~';
		if (s->token[i] == '?')
			out[0] = NAN;
	}
	for (int i = 0; i < BAD_VOCAB; i++)
		out[i] = isnan(out[0]) ? NAN : 0;
	out['a' + h % 26] = isnan(out[0]) ? NAN : 9;
	if (slow)
		usleep(20000);
}

static int bad_step(struct percept_call *call, void *decoder, struct percept_batch *b)
{
	struct bad_decoder *d = decoder;
	float *out = percept_alloc(call, b->n * BAD_VOCAB * sizeof(float)), *hidden = percept_alloc(call, b->n * BAD_DIM * 4);
	int none = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		if (b->rows[i].token == '!')
			return percept_fail(call, -EIO, "The step tripped over an exclamation mark.");
		none |= b->rows[i].token == '|';
	}
	b->logits = none ? NULL : out;
	b->hidden = hidden;
	for (uint32_t i = 0; i < b->n; i++) {
		struct bad_sequence *s = &d->s[b->rows[i].sequence];

		s->token[s->n++] = b->rows[i].token < 0 ? '#' : b->rows[i].token;
		if (b->rows[i].wants & PERCEPT_WANT_LOGITS)
			bad_logits(s, out), out += BAD_VOCAB;
		if (b->rows[i].wants & PERCEPT_WANT_HIDDEN)
			hidden[0] = (float)s->n, hidden[1] = (float)b->rows[i].token, hidden += BAD_DIM;
	}
	return 0;
}

static int bad_new(void *decoder, uint32_t s)
{
	((struct bad_decoder *)decoder)->s[s].n = 0;
	return 0;
}

static int bad_fork(void *decoder, uint32_t from, uint32_t to, uint32_t length)
{
	struct bad_decoder *d = decoder;

	d->s[to] = d->s[from];
	d->s[to].n = length;
	return 0;
}

static int bad_trim(void *decoder, uint32_t s, uint32_t length)
{
	((struct bad_decoder *)decoder)->s[s].n = length;
	return 0;
}

static void bad_free(void *decoder, uint32_t s)
{
}

static uint64_t bad_bytes(void *decoder, uint32_t s)
{
	return 1000;
}

static int bad_tokenize(struct percept_call *call, void *decoder, const char *text, size_t bytes, int special,
			const int32_t **ids, uint32_t *n)
{
	int32_t *id = percept_alloc(call, (bytes + 1) * sizeof(*id));

	for (size_t i = 0; i < bytes; i++)
		id[i] = text[i] & 127;
	*ids = id;
	*n = (uint32_t)bytes;
	return 0;
}

static int bad_piece(void *decoder, int32_t token, const char **bytes, uint32_t *n)
{
	*bytes = &((struct bad_decoder *)decoder)->byte[token & 127];
	*n = 1;
	return 0;
}

static const struct percept_decoder bad_decoder = {
	.size = sizeof(struct percept_decoder), .open = bad_decoder_open, .close = free, .info = bad_decoder_info,
	.step = bad_step, .sequence_new = bad_new, .sequence_fork = bad_fork, .sequence_trim = bad_trim,
	.sequence_free = bad_free, .sequence_bytes = bad_bytes, .tokenize = bad_tokenize, .piece = bad_piece,
};

/* ---- BAD 40 and 50 to 55: feature fusion, of which each fails at its place, 55 as it opens. ---- */

static int bad_fusion_info(void *instance, struct percept_fusion_info *info)
{
	info->in_dim = 8;
	info->d_model = WIDTH;
	info->hooks = PERCEPT_CAN_HOOK_LAYERS;
	info->identity = "bad";
	return 0;
}

static int bad_remember(struct percept_call *call, void *fusion, const struct percept_features *f, void **memory,
			uint64_t *bytes)
{
	if (BAD == 51)
		return percept_fail(call, -EIO, "The thread is torn.");
	*memory = BAD == 50 ? NULL : malloc(1);
	return 0;
}

static void bad_forget(void *fusion, void *memory)
{
	free(memory);
}

static int bad_bind(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory)
{
	return BAD == 52 && memory ? percept_fail(call, -EIO, "The knot is loose.") : 0;
}

static int bad_after(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n,
		     float *hidden)
{
	return percept_fail(call, -EIO, "The layer is faulty.");
}

static int bad_hooks(struct percept_call *call, void *fusion, struct percept_hooks *hooks)
{
	if (BAD == 53)
		return percept_fail(call, -EIO, "The hook is bent.");
	hooks->after_layer = BAD == 54 ? bad_after : NULL;
	return 0;
}

/* ---- BAD 41 to 43: the kinds that no assistant runs as its part. ---- */

static int bad_respond(struct percept_call *call, void *remote, const char *request, const struct percept_media *media,
		       uint32_t n, void (*delta)(void *arg, const char *text, size_t bytes), void *arg, const char **result)
{
	return 0;
}

static int bad_expert_info(void *expert, struct percept_expert_info *info)
{
	info->modalities = PERCEPT_IMAGE;
	return 0;
}

static int bad_read(struct percept_call *call, void *expert, const struct percept_media *media, const char *hint,
		    struct percept_expert_result *result)
{
	result->text = "";
	return 0;
}

static int bad_generator_info(void *generator, struct percept_generator_info *info)
{
	info->modality = PERCEPT_IMAGE;
	return 0;
}

static int bad_generate(struct percept_call *call, void *generator, const char *text, const float *hidden, uint32_t n,
			int (*emit)(void *arg, const struct percept_media *media), void *arg)
{
	return 0;
}

static const struct percept_fusion bad_fusion = {
	.size = sizeof(bad_fusion), .open = bad_open, .close = bad_close, .info = bad_fusion_info, .remember = bad_remember,
	.forget = bad_forget, .bind = bad_bind, .hooks = bad_hooks,
};
static const struct percept_remote bad_remote = {
	.size = sizeof(bad_remote), .open = bad_open, .close = bad_close, .respond = bad_respond,
};
static const struct percept_expert bad_expert = {
	.size = sizeof(bad_expert), .open = bad_open, .close = bad_close, .info = bad_expert_info, .read = bad_read,
};
static const struct percept_generator bad_generator = {
	.size = sizeof(bad_generator), .open = bad_open, .close = bad_close, .info = bad_generator_info, .generate = bad_generate,
};
#define BAD_FUSES (BAD == 40 || (BAD >= 50 && BAD <= 55))
#define BAD_KIND (BAD_FUSES ? PERCEPT_FUSION : BAD == 41 ? PERCEPT_REMOTE : BAD == 42 ? PERCEPT_EXPERT : PERCEPT_GENERATOR)
#define BAD_OPS (BAD_FUSES ? (const void *)&bad_fusion : BAD == 41 ? (const void *)&bad_remote : \
		 BAD == 42 ? (const void *)&bad_expert : (const void *)&bad_generator)

#if BAD == 2
__attribute__((constructor)) static void bad_constructor(void)
{
	abort();
}
#elif BAD == 3
__attribute__((constructor)) static void bad_constructor(void)
{
	pause();
}
#elif BAD == 4
__attribute__((constructor)) static void bad_constructor(void)
{
	_exit(0);
}
#endif

#if BAD != 1
const struct percept_plugin percept_plugin = {
	.size = BAD == 6 ? 12 : sizeof(struct percept_plugin),
	.abi = BAD == 5 ? 99 : PERCEPT_ABI,
	.kind = BAD == 9 ? 77 : BAD >= 40 ? BAD_KIND : BAD >= 30 ? PERCEPT_DECODER : BAD >= 20 ? PERCEPT_CONNECTOR : PERCEPT_ENCODER,
	.name = BAD == 10 ? "Not A Name" : NAME,
	.version = "1",
	.license = "Apache-2.0",
	.summary = "For tests",
	.ops = BAD == 11 ? NULL : BAD >= 40 ? BAD_OPS : BAD >= 30 ? (const void *)&bad_decoder : BAD >= 20 ? (const void *)&bad_connector : (const void *)&bad_ops,
};
#endif
