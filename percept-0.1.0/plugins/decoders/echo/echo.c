/* echo.c - an example decoder over bytes: it says its prompt ('#': an embedding), then ends. */
#include <errno.h>
#include <stdlib.h>
#include <percept/plugin.h>
enum { CONTEXT = 4096, BATCH = 512, END = 256, VOCAB = 257, DIM = 3 };
struct sequence { uint32_t n, prompt; uint8_t said[CONTEXT + BATCH]; };
struct echo { uint32_t n; char byte[256]; struct sequence s[]; };
static const int32_t end[] = { END };
static int echo_open(struct percept_call *call, const struct percept_open *open, void **decoder)
{
	struct echo *e = *decoder = calloc(1, sizeof(*e) + open->max_sequences * sizeof(e->s[0]));
	if (!e)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	e->n = open->max_sequences;
	for (int i = 0; i < 256; i++)
		e->byte[i] = (char)i;
	return 0;
}
static int echo_info(void *decoder, struct percept_decoder_info *info)
{
	*info = (struct percept_decoder_info){ .size = sizeof(*info), .start = -1, .vocab = VOCAB,
		.capabilities = PERCEPT_CAN_EMBEDDINGS, .d_model = DIM, .n_layers = 1, .n_heads = 1,
		.context = CONTEXT, .max_batch = BATCH, .n_end = 1, .end = end, .family = "echo",
		.identity = "echo-1" };
	return 0;
}
static int echo_step(struct percept_call *call, void *decoder, struct percept_batch *b)
{
	struct echo *e = decoder;
	float *out = percept_alloc(call, ((size_t)b->n * VOCAB + 1) * sizeof(float));
	if (!out || percept_cancelled(call))
		return percept_fail(call, out ? -ECANCELED : -ENOMEM, "The step did not finish.");
	for (uint32_t i = 0; i < b->n; i++)
		if (b->n > BATCH || b->rows[i].sequence >= e->n || b->rows[i].token >= VOCAB ||
		    (b->rows[i].token < 0 && !b->rows[i].embedding) ||
		    e->s[b->rows[i].sequence].n >= CONTEXT)
			return percept_fail(call, -EINVAL, "Row %u is out of bounds.", i);
	b->logits = out;
	for (const struct percept_row *r = b->rows; r < b->rows + b->n; r++) {
		struct sequence *s = &e->s[r->sequence];
		s->said[s->n++] = r->token < 0 ? '#' : (uint8_t)r->token;
		if (!(r->wants & PERCEPT_WANT_LOGITS))
			continue;
		s->prompt = s->prompt ? s->prompt : s->n; /* the first row that wants ends it */
		out[s->n - s->prompt < s->prompt ? s->said[s->n - s->prompt] : END] = 16;
		out += VOCAB;
	}
	return 0;
}
static int echo_new(void *decoder, uint32_t s)
{
	struct echo *e = decoder;
	return s >= e->n ? -EINVAL : (int)(e->s[s].n = e->s[s].prompt = 0);
}
static void echo_free(void *decoder, uint32_t s) { echo_new(decoder, s); }
static uint64_t echo_bytes(void *decoder, uint32_t s)
{
	return sizeof(struct sequence) * (s == UINT32_MAX ? ((struct echo *)decoder)->n : 1);
}
static int echo_tokenize(struct percept_call *call, void *decoder, const char *text, size_t bytes,
			 int special, const int32_t **ids, uint32_t *n)
{
	int32_t *id = bytes < UINT32_MAX ? percept_alloc(call, (bytes + 1) * sizeof(*id)) : NULL;
	for (*n = 0, *ids = id; id && *n < bytes; ++*n)
		id[*n] = (uint8_t)text[*n];
	return id ? 0 : percept_fail(call, -ENOMEM, "Memory is out.");
}
static int echo_piece(void *decoder, int32_t token, const char **bytes, uint32_t *n)
{
	*bytes = &((struct echo *)decoder)->byte[token & 255], *n = token >= 0 && token < END;
	return token >= 0 && token < VOCAB ? 0 : -EINVAL;
}
static const struct percept_decoder ops = { .size = sizeof(ops), .open = echo_open,
	.close = free, .info = echo_info, .step = echo_step, .piece = echo_piece,
	.sequence_new = echo_new, .sequence_free = echo_free, .sequence_bytes = echo_bytes,
	.tokenize = echo_tokenize };
const struct percept_plugin percept_plugin = { .size = sizeof(percept_plugin), .abi = PERCEPT_ABI,
	.kind = PERCEPT_DECODER, .name = "echo", .version = "0.1.0", .license = "Apache-2.0",
	.summary = "Says its prompt again: an example", .ops = &ops };
