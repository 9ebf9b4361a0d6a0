/* vocabulary.c - embeddings and head: one matrix each; two where tokens were added behind a vocabulary that stays as it was; or those of
 * other files, which were trained anew. */
#include "plugins/decoders/causal/causal.h"

#include <errno.h>
#include <string.h>

#include "plugins/decoders/causal/names.h"

/* Where files with the words of a model may have them. */
static const char *const words_prefixes[] = { "", "model.", "transformer.", "lang_encoder.transformer.", "lang_encoder.model.",
					      "lang_encoder.gpt_neox.", "lang_encoder.", NULL };

/* The head (rows, word_dim) in the loader's files, by the family's name or by what transformers calls it now; NULL: none. */
static struct nn_weight *vocabulary_find_head(struct model *m, struct nn_loader *l, size_t rows)
{
	char name[NN_NAMES_MAX];

	names_tensor(m, "output.weight", 0, 0, name);
	struct nn_weight *head = nn_load_maybe(l, rows, m->shape.word_dim, "%s", name);

	return head || m->gguf ? head : nn_load_maybe(l, rows, m->shape.word_dim, "lm_head.weight");
}

/* The embeddings of the other files, and their head if they have one; tokens that the model's own head has no row for are only read. 0 or
 * error->code. */
static int vocabulary_load_words(struct model *m, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = m->words, .prefixes = words_prefixes, .error = error };
	struct shape *s = &m->shape;
	char name[NN_NAMES_MAX];

	names_tensor(m, "token_embd.weight", 0, 0, name);
	m->embeddings = nn_load(&l, 0, s->word_dim, "%s", name);
	if (!m->embeddings)
		return error->code;
	if (m->gguf || m->embeddings->rows > MODEL_VOCAB_MAX)
		return nn_fail(error, -EINVAL, "%s: embeddings of %zu tokens cannot take the place of this model's.",
			       nn_checkpoint_path(m->words), m->embeddings->rows);
	struct nn_weight *head = vocabulary_find_head(m, &l, m->embeddings->rows);
	struct nn_weight *own = head ? NULL : vocabulary_find_head(m, &m->head_loader, 0);

	if (own && own->rows > m->embeddings->rows)
		return nn_fail(error, -EINVAL, "%s: %zu tokens are fewer than the %zu of the model's head.", nn_checkpoint_path(m->words),
			       m->embeddings->rows, own->rows);
	m->head = own ? own : head ? head : m->embeddings;
	s->vocab = (uint32_t)m->head->rows;
	s->vocab_read = (uint32_t)(m->embeddings->rows - m->head->rows);
	s->vocab_added = 0;
	if (own) {
		model_pack(m, own);
		return error->code;
	}
	m->weight_bytes += m->head->bytes;
	return nn_weight_pack(m->words, m->head, error);
}

int vocabulary_load(struct model *m, struct nn_error *error)
{
	const struct shape *s = &m->shape;
	const size_t first = s->vocab - s->vocab_added;

	if (m->words)
		return vocabulary_load_words(m, error);
	m->embeddings = model_weight(m, first + s->vocab_read, s->word_dim, "token_embd.weight", 0);
	/* A file without a head of its own has the embeddings as its head. */
	m->head = vocabulary_find_head(m, &m->head_loader, first);
	if (s->vocab_added) {
		m->embeddings_added = nn_load(&m->body, s->vocab_added, s->word_dim, MODEL_ADDED_WORDS);
		m->head_added = m->head ? nn_load(&m->head_loader, s->vocab_added, s->word_dim, "lm_head.additional_fc.weight") :
					  m->embeddings_added;
		model_pack(m, m->head_added);
	}
	if (!m->head && s->vocab_read && m->embeddings)
		m->head = nn_weight_rows(m->checkpoint, m->embeddings, 0, first, 0);
	else if (!m->head)
		m->head = m->embeddings;
	model_pack(m, m->head);
	return error->code;
}

/* Rows of `x` whose ids are of the second part become that part's. */
static void vocabulary_embed_added(struct nn *c, const struct model *m, const int32_t *ids, uint32_t n, struct nn_tensor x)
{
	const int64_t first = (int64_t)m->shape.vocab - m->shape.vocab_added;

	for (uint32_t t = 0; x.data && t < n && !c->error; t++) {
		const int32_t id = (int32_t)(ids[t] - first);
		struct nn_tensor row = ids[t] >= first ? nn_embed(c, m->embeddings_added, &id, 1) : (struct nn_tensor){ 0 };

		if (row.data)
			memcpy(x.data + t * x.stride, row.data, x.cols * sizeof(float));
	}
}

struct nn_tensor causal_embeddings(struct nn *c, const struct model *m, const int32_t *ids, uint32_t n)
{
	const int64_t first = (int64_t)m->shape.vocab - m->shape.vocab_added;
	int32_t *own = m->shape.vocab_added ? nn_memory(c, n, sizeof(*own)) : NULL;

	for (uint32_t t = 0; own && t < n; t++)
		own[t] = ids[t] < first ? ids[t] : 0;
	struct nn_tensor x = nn_embed(c, m->embeddings, own ? own : ids, n);

	if (own)
		vocabulary_embed_added(c, m, ids, n, x);
	if (m->shape.embedding_scale != 1)
		nn_scale(c, x, m->shape.embedding_scale);
	return m->project_in ? nn_linear(c, x, m->project_in, NULL) : x;
}

struct nn_tensor causal_head(struct nn *c, const struct model *m, struct nn_tensor x)
{
	struct nn_tensor own = nn_linear(c, x, m->head, NULL);

	if (!m->shape.vocab_added)
		return own;
	struct nn_tensor added = nn_linear(c, x, m->head_added, NULL), y = nn_new(c, x.rows, m->shape.vocab);

	for (size_t t = 0; y.data && own.data && added.data && t < y.rows; t++) {
		memcpy(y.data + t * y.stride, own.data + t * own.stride, own.cols * sizeof(float));
		memcpy(y.data + t * y.stride + own.cols, added.data + t * added.stride, added.cols * sizeof(float));
	}
	return y;
}
