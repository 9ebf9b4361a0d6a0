/* text.c - the text tower, into the space of the pictures: CLIP's sees what came before and is pooled where the text ends, SigLIP's
 * sees all of a text filled up to its full length and is pooled at the last place. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_VOCAB_MAX = 1 << 24, TEXT_CONTEXT_MAX = 1 << 16, TEXT_OLD_END = 2 };

static const char *const text_prefixes[] = { "text_model.", NULL };

const struct text_names clip_text_names = {
	.tokens = "embeddings.token_embedding.weight", .positions = "embeddings.position_embedding.weight", .last = "final_layer_norm",
	.projection = "text_projection", .prefixes = text_prefixes, .layers = &clip_names.layers,
};
const struct text_names siglip_text_names = {
	.tokens = "embeddings.token_embedding.weight", .positions = "embeddings.position_embedding.weight", .last = "final_layer_norm",
	.head = "head", .prefixes = text_prefixes, .layers = &clip_names.layers,
};

/* The row that stands for a text, and what else other libraries' configurations tell: "pool", "is_causal", "fill". */
static int text_configure_pool(struct text *t, const cJSON *config, struct nn_error *error)
{
	static const struct {
		const char *name;
		enum text_pool pool;
	} pools[] = { { "eos", TEXT_POOL_END }, { "argmax", TEXT_POOL_GREATEST }, { "last", TEXT_POOL_LAST }, { "first", TEXT_POOL_FIRST } };
	const char *name = nn_config_string(config, "pool", clip_kind.probe ? "last" : t->end == TEXT_OLD_END ? "argmax" : "eos");
	size_t i = 0;

	while (i < sizeof(pools) / sizeof(*pools) && strcmp(pools[i].name, name))
		i++;
	if (i == sizeof(pools) / sizeof(*pools))
		return nn_fail(error, -ENOTSUP, "The text tower pools by \"%.64s\", which is not known here.", name);
	t->pool = pools[i].pool;
	t->whole = !nn_config_bool(config, "is_causal", !clip_kind.probe, error);
	t->fill = nn_config_bool(config, "fill", t->whole || t->pool == TEXT_POOL_LAST, error);
	return error->code;
}

static int text_configure(struct text *t, const cJSON *config, struct nn_error *error)
{
	if (tower_configure(&t->tower, config, &clip_kind.text, error))
		return error->code;
	t->names = clip_kind.text_names;
	t->layers = *t->names->layers;
	if (t->names->adapt)
		t->names->adapt(&t->layers, config);
	t->vocab = (uint32_t)nn_config_int(config, "vocab_size", clip_kind.vocab, 1, TEXT_VOCAB_MAX, error);
	t->context = (uint32_t)nn_config_int(config, "max_position_embeddings", clip_kind.context, 2, TEXT_CONTEXT_MAX, error);
	t->end = (int32_t)nn_config_int(config, "eos_token_id", clip_kind.end, 0, INT32_MAX, error);
	t->pad = (int32_t)nn_config_int(config, "pad_token_id", clip_kind.end, 0, INT32_MAX, error);
	return text_configure_pool(t, config, error);
}

/* Into the space of the pictures: a matrix with a bias or without, kept as rows of outputs or of inputs; or none. */
static void text_load_projection(struct text *t, struct nn_loader *l, struct nn_loader *root, size_t d)
{
	const struct text_names *names = t->names;
	struct nn_weight *w = names->projection ? nn_load_maybe(root, 0, d, "%s.weight", names->projection) : NULL;
	const struct nn_weight *kept = names->turned && !w ? nn_load_maybe(root, d, 0, "%s", names->turned) : NULL;

	if (names->head) {
		const struct nn_weight *head = nn_load(l, 0, d, "%s.weight", names->head);

		t->projection = head ? tower_affine(&t->tower, l, head->rows, d, names->head) : t->projection;
		return;
	}
	if (kept && !(w = nn_weight_transposed(l->checkpoint, kept)))
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	if (!w && !names->turned)
		nn_load(root, 0, d, "%s.weight", names->projection);
	nn_weight_pack(l->checkpoint, w, l->error);
	t->tower.weight_bytes += w ? w->bytes : 0;
	t->projection = (struct affine){ w, w && !kept ? nn_load_vector_maybe(root, w->rows, "%s.bias", names->projection) : NULL };
}

static int text_load(struct text *t, struct nn_checkpoint *cp, struct nn_error *error)
{
	const struct text_names *names = t->names;
	struct nn_loader l = { .checkpoint = cp, .prefixes = names->prefixes, .error = error };
	struct nn_loader root = { .checkpoint = cp, .prefixes = names->turned ? names->prefixes : NULL, .error = error };
	const size_t d = t->tower.d_model;
	struct nn_weight *positions = nn_load(&l, t->context, d, "%s", names->positions);

	t->positions = positions ? nn_weight_f32(cp, positions) : NULL;
	t->tokens = nn_load(&l, t->vocab, d, "%s", names->tokens);
	t->last = tower_norm(&t->tower, &l, names->last);
	text_load_projection(t, &l, &root, d);
	t->tower.names = &t->layers;
	tower_load(&t->tower, &l);
	if (!error->code && !t->positions)
		nn_fail(error, -ENOMEM, "Memory is out.");
	t->tower.weight_bytes += error->code ? 0 : t->tokens->bytes + positions->bytes;
	return error->code;
}

/* Only SentencePiece's model, whose texts the reference tokenizer cleans itself. */
static int text_is_plain(const char *path)
{
	char file[4096 + 32];

	snprintf(file, sizeof(file), "%.4096s/tokenizer.json", path);
	return access(file, F_OK) != 0;
}

/* Whether the files have one. */
static int text_is_there(struct nn_checkpoint *cp)
{
	struct nn_error none = { 0 };
	struct nn_loader l = { .checkpoint = cp, .prefixes = clip_kind.text_names->prefixes, .error = &none };

	return nn_load_maybe(&l, 0, 0, "%s", clip_kind.text_names->tokens) != NULL;
}

int text_open(struct text **text, struct nn_checkpoint *cp, const cJSON *root, struct nn_error *error)
{
	const cJSON *config = nn_config_object(root, "text_config");
	struct nn_error why = { 0 };

	*text = NULL;
	if (!config || !clip_kind.text_names || !text_is_there(cp))
		return 0;
	struct text *t = calloc(1, sizeof(*t));

	if (!t)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (text_configure(t, config, error) || text_load(t, cp, error)) {
		text_close(t);
		return error->code;
	}
	/* Pictures can be encoded without it: its lack is an error only when text is given. */
	t->tokenizer = nn_tokenizer_open(nn_checkpoint_path(cp), &why);
	memcpy(t->why, why.text, sizeof(t->why));
	t->canonical = clip_kind.probe && text_is_plain(nn_checkpoint_path(cp));
	*text = t;
	return 0;
}

void text_close(struct text *t)
{
	if (!t)
		return;
	nn_tokenizer_close(t->tokenizer);
	tower_fini(&t->tower);
	free(t);
}

/* The row that stands for the text. */
static size_t text_pool_row(const struct text *t, const int32_t *ids, size_t n)
{
	size_t row = t->pool == TEXT_POOL_LAST ? n - 1 : 0;

	for (size_t i = 0; i < n; i++) {
		if (t->pool == TEXT_POOL_END && ids[i] == t->end)
			return i;
		if (t->pool == TEXT_POOL_GREATEST && ids[i] > ids[row])
			row = i;
	}
	return row;
}

/* (1, projection) of n ids, at most the context's. */
static struct nn_tensor text_forward(struct nn *c, struct percept_call *call, const struct text *t, const int32_t *ids, size_t n)
{
	const struct tower *tower = &t->tower;
	uint32_t *visible = t->whole ? NULL : nn_memory(c, n, sizeof(*visible));
	const struct tower_rows rows = { .visible = visible };
	struct nn_tensor x = nn_embed(c, t->tokens, ids, n);

	for (size_t i = 0; visible && i < n; i++)
		visible[i] = (uint32_t)i + 1;
	nn_add_to(c, x, nn_view((float *)t->positions, n, tower->d_model));
	tower_observe(c, call, "text_embeddings", x);
	for (uint32_t i = 0; i < tower->n_layers && !nn_stopped(c); i++) {
		tower_layer(c, tower, i, x, &rows, NULL);
		if (!i)
			tower_observe(c, call, "text_after_layer0", x);
	}
	x = nn_layer_norm(c, x, t->last.w, t->last.b, tower->norm_eps);
	tower_observe(c, call, "text_final_normed", x);
	x = nn_rows(x, text_pool_row(t, ids, n), 1);
	tower_observe(c, call, "text_pooled", x);
	return t->projection.w ? nn_gemm(c, x, t->projection.w, t->projection.b) : x;
}

/* A longer text is cut, its last token kept, as the reference tokenizer's truncation does. */
static size_t text_cut(const struct text *t, struct nn_ids *ids)
{
	if (ids->n <= t->context)
		return ids->n;
	ids->data[t->context - 1] = ids->data[ids->n - 1];
	return t->context;
}

/* The ids that the tower is given: cut, and filled up where it wants that, then in the arena. */
static const int32_t *text_fill(struct nn *c, const struct text *t, struct nn_ids *ids, size_t *n)
{
	*n = text_cut(t, ids);
	if (!t->fill)
		return ids->data;
	int32_t *all = nn_memory(c, t->context, sizeof(*all));

	for (size_t i = 0; all && i < t->context; i++)
		all[i] = i < *n ? ids->data[i] : t->pad;
	*n = t->context;
	return all;
}

/* In lower case, without ASCII punctuation, white space collapsed: SigLIP's canonical form. malloc'ed. */
static char *text_canonical(const struct text *t, const char *text)
{
	char *out = malloc(strlen(text) + 1);
	size_t n = 0;

	for (const char *s = text; out && *s; s++) {
		const unsigned char byte = (unsigned char)*s;

		if (!t->canonical)
			out[n++] = *s;
		else if (isspace(byte) && n && out[n - 1] != ' ')
			out[n++] = ' ';
		else if (!isspace(byte) && !ispunct(byte))
			out[n++] = (char)(byte < 128 ? tolower(byte) : byte);
	}
	if (out)
		out[n && t->canonical && out[n - 1] == ' ' ? n - 1 : n] = '\0';
	return out;
}

int text_encode(struct percept_call *call, const struct text *t, const char *text, const float **pooled)
{
	struct nn_ids ids = { 0 };
	struct nn_error why = { 0 };
	struct nn c;

	if (!t->tokenizer)
		return percept_fail(call, -ENOTSUP, "This model has no tokenizer that can be read: %s", t->why);
	char *clean = text_canonical(t, text);

	if (!clean || nn_tokenizer_encode(t->tokenizer, clean, strlen(clean), NN_ENCODE_SPECIAL | NN_ENCODE_AROUND, &ids, &why) || !ids.n) {
		free(clean);
		nn_ids_free(&ids);
		return percept_fail(call, why.code ? why.code : -EINVAL, "%s", why.code ? why.text : "The text is empty.");
	}
	free(clean);
	struct nn_arena *arena = nn_arena_new(0);
	struct nn_tensor y = { 0 };

	c.error = -ENOMEM;
	if (arena) {
		nn_begin(&c, call, arena);
		size_t n;
		const int32_t *all = text_fill(&c, t, &ids, &n);

		y = all ? text_forward(&c, call, t, all, n) : y;
	}
	float *out = c.error ? NULL : percept_alloc(call, y.cols * sizeof(float));

	if (out)
		memcpy(out, y.data, y.cols * sizeof(float));
	*pooled = out;
	nn_arena_free(arena);
	nn_ids_free(&ids);
	if (out)
		return 0;
	return percept_fail(call, c.error ? c.error : -ENOMEM, c.error == -ECANCELED ? "The encoding was cancelled." :
			    "The text was not encoded: memory is out, or its tokens are not of the tower's vocabulary.");
}
