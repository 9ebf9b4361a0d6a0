/* tokenizer-sentencepiece.c - SentencePiece's model files (protocol buffers): tokens, scores, and the normalizer. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE };
enum { MODEL_UNIGRAM = 1, MODEL_BPE };

/* A message's bytes. */
struct proto {
	const unsigned char *at, *end;
};

/* One field: a number, or a stretch of bytes. */
struct proto_field {
	uint32_t number;
	uint64_t value;
	struct proto bytes;
};

static int proto_varint(struct proto *p, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64 && p->at < p->end; shift += 7) {
		const unsigned char byte = *p->at++;

		*value |= (uint64_t)(byte & 127) << shift;
		if (!(byte & 128))
			return 0;
	}
	return -EINVAL;
}

static int proto_fixed(struct proto *p, size_t n, uint64_t *value)
{
	if ((size_t)(p->end - p->at) < n)
		return -EINVAL;
	*value = 0;
	for (size_t i = 0; i < n; i++)
		*value |= (uint64_t)p->at[i] << (8 * i);
	p->at += n;
	return 0;
}

/* 1 and the next field, 0 at the end, -EINVAL. */
static int proto_next(struct proto *p, struct proto_field *field)
{
	uint64_t tag, n;

	*field = (struct proto_field){0};
	if (p->at == p->end)
		return 0;
	if (proto_varint(p, &tag) || tag >> 3 > UINT32_MAX)
		return -EINVAL;
	field->number = (uint32_t)(tag >> 3);
	switch (tag & 7) {
	case 0:
		return proto_varint(p, &field->value) ? -EINVAL : 1;
	case 1:
		return proto_fixed(p, 8, &field->value) ? -EINVAL : 1;
	case 5:
		return proto_fixed(p, 4, &field->value) ? -EINVAL : 1;
	case 2:
		if (proto_varint(p, &n) || n > (uint64_t)(p->end - p->at))
			return -EINVAL;
		field->bytes = (struct proto){p->at, p->at + n};
		p->at += n;
		return 1;
	default:
		return -EINVAL;
	}
}

/* What a model file says. */
struct sentencepiece {
	struct nn_tokenizer *t;
	struct nn_error *error;
	float *scores;
	unsigned char *types, *barred;
	size_t scores_room, types_room;
	uint64_t model, bos, eos, unknown;
	int prefix, collapse;
	struct proto map;
};

static int sentencepiece_damaged(struct sentencepiece *s)
{
	return nn_fail(s->error, -EINVAL, "The SentencePiece model is damaged or of another format.");
}

/* A token's text, score and type; 0 or -EINVAL. */
static int piece_read(struct proto p, struct nn_piece *piece)
{
	struct proto_field f;
	int more;

	*piece = (struct nn_piece){.text = "", .type = PIECE_NORMAL};
	while ((more = proto_next(&p, &f)) > 0) {
		const uint32_t bits = (uint32_t)f.value;

		if (f.number == 1 && f.bytes.at) {
			piece->text = (const char *)f.bytes.at;
			piece->n = (size_t)(f.bytes.end - f.bytes.at);
		} else if (f.number == 2) {
			memcpy(&piece->score, &bits, sizeof(piece->score));
		} else if (f.number == 3) {
			piece->type = (unsigned char)f.value;
		}
	}
	return more;
}

int nn_pieces_next(const unsigned char **at, const unsigned char *end, struct nn_piece *piece)
{
	struct proto p = {*at, end};
	struct proto_field f;
	int more;

	do
		more = proto_next(&p, &f);
	while (more > 0 && f.number != 1);
	*at = p.at;
	return more <= 0 ? more : piece_read(f.bytes, piece) ? -EINVAL : 1;
}

static int sentencepiece_piece(struct sentencepiece *s, struct proto p)
{
	struct nn_piece piece;
	const size_t id = s->t->vocab.n;

	if (piece_read(p, &piece) || id >= VOCAB_MOST)
		return sentencepiece_damaged(s);
	if (text_reserve(&s->scores, &s->scores_room, id + 1, sizeof(*s->scores)) ||
	    text_reserve(&s->types, &s->types_room, id + 1, 1))
		return -ENOMEM;
	s->scores[id] = piece.score;
	s->types[id] = piece.type;
	const int failed = vocab_add(&s->t->vocab, piece.text, piece.n, (int32_t)id);

	return failed && failed != -ENOMEM ? sentencepiece_damaged(s) : failed;
}

static int sentencepiece_trainer(struct sentencepiece *s, struct proto p)
{
	struct proto_field f;
	int more;

	while ((more = proto_next(&p, &f)) > 0) {
		if (f.number == 3)
			s->model = f.value;
		else if (f.number == 40)
			s->unknown = f.value;
		else if (f.number == 41)
			s->bos = f.value;
		else if (f.number == 42)
			s->eos = f.value;
	}
	return more ? sentencepiece_damaged(s) : 0;
}

static int sentencepiece_normalizer(struct sentencepiece *s, struct proto p)
{
	struct proto_field f;
	int more;

	while ((more = proto_next(&p, &f)) > 0) {
		if (f.number == 2)
			s->map = f.bytes;
		else if (f.number == 3)
			s->prefix = f.value != 0;
		else if (f.number == 4)
			s->collapse = f.value != 0;
	}
	return more ? sentencepiece_damaged(s) : 0;
}

static int sentencepiece_read(struct sentencepiece *s, struct proto p)
{
	struct proto_field f;
	int more, failed = 0;

	while (!failed && (more = proto_next(&p, &f)) != 0) {
		if (more < 0)
			failed = sentencepiece_damaged(s);
		else if (f.number == 1)
			failed = sentencepiece_piece(s, f.bytes);
		else if (f.number == 2)
			failed = sentencepiece_trainer(s, f.bytes);
		else if (f.number == 3)
			failed = sentencepiece_normalizer(s, f.bytes);
	}
	if (!failed && (!s->t->vocab.n || (s->model != MODEL_UNIGRAM && s->model != MODEL_BPE)))
		failed = nn_fail(s->error, -ENOTSUP, "The SentencePiece model is neither BPE nor unigram.");
	return failed;
}

/* Control tokens, and words that somebody has added; the latter are looked for in the normalised text. */
static int sentencepiece_added(struct sentencepiece *s)
{
	const struct vocab *v = &s->t->vocab;
	cJSON *list = cJSON_CreateArray();
	const struct normal_list none = {0};
	int failed = list ? 0 : -ENOMEM;

	for (size_t id = 0; id < v->n && !failed; id++) {
		const int control = s->types[id] == PIECE_CONTROL || s->types[id] == PIECE_UNKNOWN;
		const char *text = v->entries[id].text;

		if ((!control && s->types[id] != PIECE_USER) || !v->entries[id].bytes || v->entries[id].bytes > 1024 ||
		    strlen(text) != v->entries[id].bytes || !utf8_valid(text, v->entries[id].bytes))
			continue;
		cJSON *token = cJSON_CreateObject();

		failed = !cJSON_AddItemToArray(list, token) || !cJSON_AddStringToObject(token, "content", text) ||
			 !cJSON_AddNumberToObject(token, "id", (double)id) || !cJSON_AddBoolToObject(token, "special", control) ||
			 !cJSON_AddBoolToObject(token, "normalized", !control);
	}
	failed = failed ? -ENOMEM : added_load(&s->t->added, list, &none, s->error);
	cJSON_Delete(list);
	return failed;
}

static int sentencepiece_model(struct sentencepiece *s)
{
	struct nn_tokenizer *t = s->t;
	const size_t n = t->vocab.n;
	const int32_t unknown = s->unknown < n ? (int32_t)s->unknown : -1;

	s->barred = calloc(n + 1, 1);
	if (!s->barred)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		s->barred[i] = s->types[i] != PIECE_NORMAL && s->types[i] != PIECE_USER;
	t->form = PIECE_SPACES;
	t->type = s->model == MODEL_BPE ? &score_model : &unigram_model;
	t->model = (s->model == MODEL_BPE ? score_new : unigram_new)(&t->vocab, s->scores, s->barred, unknown);
	s->scores = NULL;
	s->barred = NULL;
	return t->model ? 0 : -ENOMEM;
}

static int sentencepiece_flag(const cJSON *config, const char *name, int fallback)
{
	const cJSON *flag = cJSON_GetObjectItemCaseSensitive(config, name);

	return cJSON_IsBool(flag) ? cJSON_IsTrue(flag) : fallback;
}

/* LLaMA's and Gemma's files begin a text, T5's end it. */
static int sentencepiece_around(struct sentencepiece *s, const cJSON *config)
{
	struct nn_tokenizer *t = s->t;
	int failed = 0;

	t->bos = s->bos < t->vocab.n && s->types[s->bos] == PIECE_CONTROL ? (int32_t)s->bos : -1;
	t->eos = s->eos < t->vocab.n && s->types[s->eos] == PIECE_CONTROL ? (int32_t)s->eos : -1;
	if (t->bos >= 0 && sentencepiece_flag(config, "add_bos_token", s->model == MODEL_BPE))
		failed = ids_put(&t->post.before, t->bos);
	if (!failed && t->eos >= 0 && sentencepiece_flag(config, "add_eos_token", s->model == MODEL_UNIGRAM))
		failed = ids_put(&t->post.after, t->eos);
	return failed;
}

int tokenizer_load_sentencepiece(struct nn_tokenizer *t, const unsigned char *bytes, size_t n, const cJSON *config,
				 struct nn_error *error)
{
	struct sentencepiece s = {.t = t, .error = error, .model = MODEL_UNIGRAM, .bos = 1, .eos = 2, .prefix = 1, .collapse = 1};
	int failed = sentencepiece_read(&s, (struct proto){bytes, bytes + n});

	if (!failed)
		failed = normal_add_charsmap(&t->normals, charsmap_new(s.map.at, (size_t)(s.map.end - s.map.at), s.prefix,
								       s.collapse, error));
	if (!failed)
		failed = sentencepiece_added(&s);
	if (!failed)
		failed = sentencepiece_around(&s, config);
	if (!failed)
		failed = sentencepiece_model(&s);
	if (!failed)
		failed = tokenizer_index_added(t);
	if (!failed)
		failed = tokenizer_list_controls(t);
	free(s.scores);
	free(s.barred);
	free(s.types);
	return failed;
}
