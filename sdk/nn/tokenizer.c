/* tokenizer.c - text to token ids and back. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/gguf.h"

enum { TOKENIZER_FILE_LIMIT = 256 << 20, CONFIG_FILE_LIMIT = 16 << 20 };

void nn_ids_free(struct nn_ids *ids)
{
	free(ids->data);
	*ids = (struct nn_ids){0};
}

/* "<0x41>" is the byte 'A'; -1: another piece. */
static int tokenizer_byte_piece(const char *s, size_t n)
{
	char *end;

	if (n != 6 || strncmp(s, "<0x", 3) || s[5] != '>')
		return -1;
	long value = strtol(s + 3, &end, 16);

	return end == s + 5 ? (int)value : -1;
}

static int tokenizer_put_byte_level(struct text *out, const char *s, size_t n)
{
	size_t start = out->n;

	for (size_t i = 0; i < n;) {
		uint32_t c;
		int valid;

		i += utf8_get(s + i, n - i, &c, &valid);
		int byte = valid ? split_char_byte(c) : -1;
		char value = (char)byte;

		if (byte < 0) { /* not of the alphabet: the piece stands for itself */
			out->n = start;
			return text_put(out, s, n);
		}
		if (text_put(out, &value, 1))
			return -ENOMEM;
	}
	return 0;
}

static int tokenizer_put_spaces(struct text *out, const char *s, size_t n)
{
	int byte = tokenizer_byte_piece(s, n), failed = 0;
	char value = (char)byte;

	if (byte >= 0)
		return text_put(out, &value, 1);
	for (size_t i = 0; i < n && !failed;) {
		int mark = n - i >= 3 && !memcmp(s + i, "\xe2\x96\x81", 3);

		failed = mark ? text_put(out, " ", 1) : text_put(out, s + i, 1);
		i += mark ? 3 : 1;
	}
	return failed;
}

static int tokenizer_put_plain(struct text *out, const char *s, size_t n)
{
	return text_put(out, s, n);
}

static int (*const tokenizer_put_piece[])(struct text *out, const char *s, size_t n) = {
	[PIECE_PLAIN] = tokenizer_put_plain,
	[PIECE_BYTE_LEVEL] = tokenizer_put_byte_level,
	[PIECE_SPACES] = tokenizer_put_spaces,
};

/* Lays down the bytes of every piece, so that asking for them needs no memory. */
static int tokenizer_lay_bytes(struct nn_tokenizer *t)
{
	int failed = 0;

	t->bytes_at = calloc(t->size + 1, sizeof(*t->bytes_at));
	t->known = calloc(t->size + 1, 1);
	if (!t->bytes_at || !t->known || text_put(&t->bytes, "", 0))
		return -ENOMEM;
	for (size_t id = 0; id < t->size && !failed; id++) {
		const struct vocab_entry *e = id < t->vocab.n ? &t->vocab.entries[id] : NULL;

		t->bytes_at[id] = t->bytes.n;
		t->known[id] = t->by_id[id] || (e && e->text);
		if (t->by_id[id])
			failed = text_puts(&t->bytes, t->added.items[t->by_id[id] - 1].text);
		else if (e && e->text)
			failed = tokenizer_put_piece[t->form](&t->bytes, e->text, e->bytes);
	}
	t->bytes_at[t->size] = t->bytes.n;
	return failed;
}

static struct nn_tokenizer *tokenizer_new(void)
{
	struct nn_tokenizer *t = calloc(1, sizeof(*t));

	if (t)
		t->bos = t->eos = -1;
	return t;
}

/* The tokenizer, whose parts were loaded unless `failed`. */
static struct nn_tokenizer *tokenizer_finish(struct nn_tokenizer *t, int failed, struct nn_error *error)
{
	if (!t)
		failed = -ENOMEM;
	if (!failed)
		failed = tokenizer_lay_bytes(t);
	if (!failed)
		return t;
	nn_fail(error, failed, "There is not enough memory for the tokenizer.");
	nn_tokenizer_close(t);
	return NULL;
}

struct nn_tokenizer *nn_tokenizer_parse(const char *json, size_t bytes, const char *config, size_t config_bytes,
					struct nn_error *error)
{
	struct nn_tokenizer *t = tokenizer_new();
	cJSON *settings = config ? cJSON_ParseWithLength(config, config_bytes) : NULL;
	int failed = t ? tokenizer_load(t, json, bytes, settings, error) : -ENOMEM;

	cJSON_Delete(settings);
	return tokenizer_finish(t, failed, error);
}

struct nn_tokenizer *nn_tokenizer_parse_gguf(const void *bytes, size_t n, const char *name, struct nn_error *error)
{
	struct nn_tokenizer *t = NULL;
	struct nn_gguf g;

	if (nn_gguf_parse(&g, bytes, n, name, error))
		return NULL;
	t = tokenizer_new();
	t = tokenizer_finish(t, t ? tokenizer_load_gguf(t, &g, name, error) : -ENOMEM, error);
	nn_gguf_fini(&g);
	return t;
}

struct nn_tokenizer *nn_tokenizer_parse_sentencepiece(const void *bytes, size_t n, const char *config, size_t config_bytes,
						      struct nn_error *error)
{
	struct nn_tokenizer *t = tokenizer_new();
	cJSON *settings = config ? cJSON_ParseWithLength(config, config_bytes) : NULL;
	int failed = t ? tokenizer_load_sentencepiece(t, bytes, n, settings, error) : -ENOMEM;

	cJSON_Delete(settings);
	return tokenizer_finish(t, failed, error);
}

static struct nn_tokenizer *tokenizer_from_json(const struct text *text, const struct text *config, struct nn_error *error)
{
	return nn_tokenizer_parse(text->data, text->n, config->data, config->n, error);
}

static struct nn_tokenizer *tokenizer_from_sentencepiece(const struct text *text, const struct text *config,
							 struct nn_error *error)
{
	return nn_tokenizer_parse_sentencepiece(text->data, text->n, config->data, config->n, error);
}

static struct nn_tokenizer *tokenizer_from_clip(const struct text *text, const struct text *config, struct nn_error *error)
{
	struct nn_tokenizer *t = tokenizer_new();
	cJSON *json = clip_tokenizer_json((const unsigned char *)text->data, text->n, error);
	cJSON *settings = config->data ? cJSON_ParseWithLength(config->data, config->n) : NULL;
	int failed = !t ? -ENOMEM : json ? tokenizer_load_json(t, json, settings, error) : -EINVAL;

	cJSON_Delete(json);
	cJSON_Delete(settings);
	return tokenizer_finish(t, failed, error);
}

/* A GGUF file may be larger than what is read of it: it is mapped. */
static struct nn_tokenizer *tokenizer_open_gguf(const char *path, struct nn_error *error)
{
	struct nn_gguf_file file;
	struct nn_tokenizer *t = NULL;

	if (nn_gguf_open(&file, path, error))
		return NULL;
	t = tokenizer_new();
	t = tokenizer_finish(t, t ? tokenizer_load_gguf(t, &file.g, path, error) : -ENOMEM, error);
	nn_gguf_close(&file);
	return t;
}

/* The files of a directory that hold a tokenizer; the first that is there is taken. */
static const struct {
	const char *name;
	struct nn_tokenizer *(*parse)(const struct text *text, const struct text *config, struct nn_error *error);
} tokenizer_files[] = {
	{"tokenizer.json", tokenizer_from_json},
	{"tokenizer.model", tokenizer_from_sentencepiece},
	{"spiece.model", tokenizer_from_sentencepiece},
	{"bpe_simple_vocab_16e6.txt.gz", tokenizer_from_clip},
};

struct nn_tokenizer *nn_tokenizer_open(const char *path, struct nn_error *error)
{
	struct nn_tokenizer *t = NULL;
	struct text text = {0}, config = {0};
	int failed = -ENOENT;
	size_t i = 0;

	if (nn_gguf_is_path(path))
		return tokenizer_open_gguf(path, error);
	for (; i < sizeof(tokenizer_files) / sizeof(*tokenizer_files); i++) {
		failed = text_read(&text, path, tokenizer_files[i].name, TOKENIZER_FILE_LIMIT, error);
		if (failed != -ENOENT)
			break;
	}
	if (failed == -ENOENT)
		nn_fail(error, failed, "%s has no tokenizer.json, tokenizer.model or spiece.model.", path);
	if (failed)
		return NULL;
	failed = text_read(&config, path, "tokenizer_config.json", CONFIG_FILE_LIMIT, error);
	if (!failed || failed == -ENOENT)
		t = tokenizer_files[i].parse(&text, &config, error);
	text_free(&config);
	text_free(&text);
	return t;
}

void nn_tokenizer_close(struct nn_tokenizer *t)
{
	if (!t)
		return;
	if (t->model)
		t->type->close(t->model);
	vocab_fini(&t->vocab);
	added_fini(&t->added);
	normal_fini(&t->normals);
	split_fini(&t->splits);
	nn_ids_free(&t->post.before);
	nn_ids_free(&t->post.after);
	text_free(&t->bytes);
	free(t->bytes_at);
	free(t->known);
	free(t->by_id);
	free(t->controls);
	free(t);
}

/* One encoding at work. */
struct encoding {
	const struct nn_tokenizer *t;
	int specials;
	struct nn_ids *ids;
	struct text normal;
	struct pieces pieces, spare;
};

/* Text without added tokens: splitters, then the model. */
static int encoding_words(struct encoding *e, const char *s, size_t n)
{
	int failed;

	pieces_clear(&e->pieces);
	failed = pieces_put(&e->pieces, s, n);
	if (!failed)
		failed = split_run(&e->t->splits, &e->pieces, &e->spare);
	for (size_t i = 0; i < e->pieces.n && !failed; i++)
		failed = e->t->type->encode(e->t->model, e->pieces.text.data + e->pieces.items[i].at,
					    e->pieces.items[i].n, e->ids);
	return failed;
}

static int encoding_normal_part(void *arg, const char *s, size_t n, const struct added_token *token)
{
	struct encoding *e = arg;

	return token ? ids_put(e->ids, token->id) : encoding_words(e, s, n);
}

static int encoding_raw_part(void *arg, const char *s, size_t n, const struct added_token *token)
{
	struct encoding *e = arg;
	int failed;

	if (token)
		return ids_put(e->ids, token->id);
	e->normal.n = 0;
	failed = text_put(&e->normal, s, n);
	if (!failed)
		failed = normal_run(&e->t->normals, &e->normal);
	if (!failed)
		failed = added_each(&e->t->added, 1, e->normal.data, e->normal.n, e->specials, encoding_normal_part, e);
	return failed;
}

static int encoding_around(struct encoding *e, const struct nn_ids *ids)
{
	int failed = 0;

	for (size_t i = 0; i < ids->n && !failed; i++)
		failed = ids_put(e->ids, ids->data[i]);
	return failed;
}

int nn_tokenizer_encode(const struct nn_tokenizer *t, const char *text, size_t bytes, unsigned flags, struct nn_ids *ids,
			struct nn_error *error)
{
	struct encoding e = {.t = t, .specials = (flags & NN_ENCODE_SPECIAL) != 0, .ids = ids};
	struct text valid = {0};
	size_t before = ids->n;
	int failed = 0;

	if (!utf8_valid(text, bytes))
		failed = utf8_put_valid(&valid, text, bytes);
	if (valid.n) {
		text = valid.data;
		bytes = valid.n;
	}
	if (!failed && flags & NN_ENCODE_AROUND)
		failed = encoding_around(&e, &t->post.before);
	if (!failed)
		failed = added_each(&t->added, 0, text, bytes, e.specials, encoding_raw_part, &e);
	if (!failed && flags & NN_ENCODE_AROUND)
		failed = encoding_around(&e, &t->post.after);
	text_free(&valid);
	text_free(&e.normal);
	pieces_free(&e.pieces);
	pieces_free(&e.spare);
	if (!failed)
		return 0;
	ids->n = before;
	return nn_fail(error, failed, failed == -ENOMEM ? "There is not enough memory to turn the text into tokens."
							: "The tokenizer's pattern takes too long on this text.");
}

const char *nn_tokenizer_piece(const struct nn_tokenizer *t, int32_t id, size_t *bytes)
{
	if (id < 0 || (size_t)id >= t->size || !t->known[id])
		return NULL;
	*bytes = t->bytes_at[id + 1] - t->bytes_at[id];
	return t->bytes.data + t->bytes_at[id];
}

int32_t nn_tokenizer_special(const struct nn_tokenizer *t, const char *text)
{
	for (size_t i = 0; i < t->added.n; i++)
		if (!strcmp(t->added.items[i].text, text))
			return t->added.items[i].id;
	return -1;
}

int nn_tokenizer_is_special(const struct nn_tokenizer *t, int32_t id)
{
	return id >= 0 && (size_t)id < t->size && t->by_id[id] && t->added.items[t->by_id[id] - 1].control;
}

size_t nn_tokenizer_special_count(const struct nn_tokenizer *t)
{
	return t->n_controls;
}

const char *nn_tokenizer_special_at(const struct nn_tokenizer *t, size_t i, int32_t *id)
{
	if (i >= t->n_controls)
		return NULL;
	*id = t->added.items[t->controls[i]].id;
	return t->added.items[t->controls[i]].text;
}

size_t nn_tokenizer_size(const struct nn_tokenizer *t)
{
	return t->size;
}

int32_t nn_tokenizer_bos(const struct nn_tokenizer *t)
{
	return t->bos;
}

int32_t nn_tokenizer_eos(const struct nn_tokenizer *t)
{
	return t->eos;
}
