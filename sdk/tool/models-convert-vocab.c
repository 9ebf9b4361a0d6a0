/* models-convert-vocab.c - the tokenizer: tokens, their types, scores or merges, and the name of the rules that cut texts up. */
#include "sdk/tool/models-convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/gguf.h"
#include "sdk/nn/template.h"

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };
enum { VOCAB_FILE = 1 << 28 /* bytes at most */, VOCAB_TOKENS = 1 << 22 };

#define CASES "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPLIT3 "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?"

/* tokenizer.json's steps one after another, and what GGUF calls them. */
static const struct {
	const char *steps, *name;
} convert_rules[] = {
	{"<bytes>", "gpt-2"},
	{"<digits><bytes>", "smollm"},
	{CASES "|" WORD "\\p{L}+" SPLIT3 "<raw>", "llama-bpe"},
	{CASES "|" WORD "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+<raw>", "qwen2"},
	{WORD UPPER "*" LOWER "+|" WORD UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+<raw>", "tekken"},
	{WORD UPPER "*" LOWER "+" CASES "?|" WORD UPPER "+" LOWER "*" CASES "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|"
	 "\\s+(?!\\S)|\\s+<raw>", "gpt-4o"},
};

struct vocab_token {
	char *text;
	int32_t type;
	float score;
};

struct vocab {
	struct convert *c;
	struct vocab_token *tokens;
	size_t n;               /* the embeddings' rows */
	cJSON *json, *config;   /* tokenizer.json, tokenizer_config.json; may be NULL */
	int bytes;              /* byte-level, with merges; else SentencePiece's kind, with scores */
};

/* All of a file in the folder; NULL if it is not there or too large. */
static char *vocab_file(const struct convert *c, const char *name, size_t *n)
{
	char path[4096 + 64];
	snprintf(path, sizeof path, "%.4096s/%s", c->path, name);
	FILE *in = fopen(path, "re");
	char *text = NULL;
	*n = 0;
	if (!in)
		return NULL;
	if (fseek(in, 0, SEEK_END) == 0 && ftell(in) >= 0 && ftell(in) < VOCAB_FILE && (text = malloc((size_t)ftell(in) + 1))) {
		*n = (size_t)ftell(in);
		rewind(in);
		*n = fread(text, 1, *n, in);
		text[*n] = '\0';
	}
	fclose(in);
	return text;
}

cJSON *convert_json(const struct convert *c, const char *name)
{
	size_t n;
	char *text = vocab_file(c, name, &n);
	cJSON *json = text ? cJSON_ParseWithLength(text, n) : NULL;
	free(text);
	return json;
}

static int vocab_put(struct vocab *v, double id, const char *text, size_t n, int32_t type, float score)
{
	if (!(id >= 0 && id < (double)v->n))
		return nn_fail(&v->c->error, -EINVAL, "%s: the token \"%.*s\" has the id %.0f; the embeddings have %zu rows.", v->c->path,
			       n > 60 ? 60 : (int)n, text, id, v->n);
	struct vocab_token *t = &v->tokens[(size_t)id];
	free(t->text);
	*t = (struct vocab_token){strndup(text, n), type, score};
	return t->text ? 0 : nn_fail(&v->c->error, -ENOMEM, "Memory is out.");
}

/* Words and control tokens that were added to a vocabulary. */
static int vocab_added(struct vocab *v, const cJSON *list, int keyed)
{
	const cJSON *item;
	cJSON_ArrayForEach(item, list) {
		const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
		const double id = keyed && item->string ? strtod(item->string, NULL) :
							  cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(item, "id"));
		const int special = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "special"));
		if (!text || (id >= 0 && id < (double)v->n && v->tokens[(size_t)id].type == TOKEN_UNKNOWN))
			continue;
		if (vocab_put(v, id, text, strlen(text), special ? TOKEN_CONTROL : TOKEN_USER, 0))
			return v->c->error.code;
	}
	return 0;
}

/* ---- tokenizer.model ---- */

static int vocab_pieces(struct vocab *v, const char *bytes, size_t n)
{
	const unsigned char *at = (const unsigned char *)bytes, *end = at + n;
	struct nn_piece piece;
	int more;
	for (size_t id = 0; (more = nn_pieces_next(&at, end, &piece)) > 0; id++)
		if (vocab_put(v, (double)id, piece.text, piece.n, piece.type, piece.score))
			return v->c->error.code;
	if (more < 0)
		return nn_fail(&v->c->error, -EINVAL, "%s: tokenizer.model is damaged.", v->c->path);
	return vocab_added(v, cJSON_GetObjectItemCaseSensitive(v->config, "added_tokens_decoder"), 1);
}

/* ---- tokenizer.json ---- */

/* "a b", or ["a", "b"]. */
static int vocab_merge(const cJSON *merge, const char **a, size_t *n, const char **b)
{
	const char *both = cJSON_GetStringValue(merge);
	if (both) {
		const char *space = *both ? strchr(both + 1, ' ') : NULL;
		*a = both;
		*n = space ? (size_t)(space - both) : 0;
		*b = space ? space + 1 : NULL;
	} else {
		*a = cJSON_GetStringValue(cJSON_GetArrayItem(merge, 0));
		*b = cJSON_GetStringValue(cJSON_GetArrayItem(merge, 1));
		*n = *a ? strlen(*a) : 0;
	}
	return *a && *b ? 0 : -EINVAL;
}

static int vocab_by_text(const void *a, const void *b)
{
	return strcmp((*(struct vocab_token *const *)a)->text, (*(struct vocab_token *const *)b)->text);
}

/* A merge's rank is its score: what is merged first has the highest. */
static int vocab_rank(struct vocab *v, const cJSON *merges, struct vocab_token **sorted, size_t n_sorted)
{
	const cJSON *merge;
	char joined[2048];
	float score = 0;
	cJSON_ArrayForEach(merge, merges) {
		const char *a, *b;
		size_t n;
		if (vocab_merge(merge, &a, &n, &b))
			return nn_fail(&v->c->error, -EINVAL, "%s: tokenizer.json: a merge is no pair of texts.", v->c->path);
		snprintf(joined, sizeof joined, "%.*s%s", (int)n, a, b);
		struct vocab_token key = {.text = joined}, *wanted = &key;
		struct vocab_token **found = bsearch(&wanted, sorted, n_sorted, sizeof *sorted, vocab_by_text);
		score -= 1;
		if (found && (*found)->score == 0)
			(*found)->score = score;
	}
	return 0;
}

static int vocab_scores(struct vocab *v, const cJSON *merges)
{
	struct vocab_token **sorted = calloc(v->n + 1, sizeof *sorted);
	size_t n = 0;
	if (!sorted)
		return nn_fail(&v->c->error, -ENOMEM, "Memory is out.");
	for (size_t i = 0; i < v->n; i++)
		if (v->tokens[i].text)
			sorted[n++] = &v->tokens[i];
	qsort(sorted, n, sizeof *sorted, vocab_by_text);
	const int error = vocab_rank(v, merges, sorted, n);
	free(sorted);
	return error;
}

static int vocab_is_byte(const char *text)
{
	unsigned byte;
	int end = 0;
	return sscanf(text, "<0x%2X>%n", &byte, &end) == 1 && end == 6 && text[6] == '\0';
}

/* Does any step of tokenizer.json work on bytes? */
static int vocab_is_bytes(const cJSON *json)
{
	const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "type"));
	const cJSON *steps = cJSON_GetObjectItemCaseSensitive(json, "pretokenizers"), *step;
	int is = type && strcmp(type, "ByteLevel") == 0;
	cJSON_ArrayForEach(step, steps)
		is |= vocab_is_bytes(step);
	return is;
}

static int vocab_words(struct vocab *v)
{
	const cJSON *model = cJSON_GetObjectItemCaseSensitive(v->json, "model"), *item;
	const char *type = nn_config_string(model, "type", "BPE"), *unknown = nn_config_string(model, "unk_token", "");
	v->bytes = vocab_is_bytes(cJSON_GetObjectItemCaseSensitive(v->json, "pre_tokenizer"));
	if (strcmp(type, "BPE") != 0 || (!v->bytes && !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(model, "byte_fallback"))))
		return nn_fail(&v->c->error, -ENOTSUP, "%s: tokenizer.json is neither byte-level BPE nor SentencePiece's BPE.", v->c->path);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(model, "vocab")) {
		const int32_t kind = v->bytes ? TOKEN_NORMAL : strcmp(item->string, unknown) == 0 ? TOKEN_UNKNOWN :
				     vocab_is_byte(item->string) ? TOKEN_BYTE : TOKEN_NORMAL;
		if (vocab_put(v, cJSON_GetNumberValue(item), item->string, strlen(item->string), kind, 0))
			return v->c->error.code;
	}
	if (!v->bytes && vocab_scores(v, cJSON_GetObjectItemCaseSensitive(model, "merges")))
		return v->c->error.code;
	return vocab_added(v, cJSON_GetObjectItemCaseSensitive(v->json, "added_tokens"), 0);
}

/* The steps before the merges, as one text. */
static void vocab_steps(const cJSON *step, char *text, size_t size)
{
	const char *type = nn_config_string(step, "type", "");
	const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(step, "pattern"), *each;
	const cJSON *regex = cJSON_GetObjectItemCaseSensitive(step, "use_regex");
	size_t n = strlen(text);
	cJSON_ArrayForEach(each, cJSON_GetObjectItemCaseSensitive(step, "pretokenizers"))
		vocab_steps(each, text, size);
	if (strcmp(type, "ByteLevel") == 0)
		snprintf(text + n, size - n, "%s", cJSON_IsFalse(regex) ? "<raw>" : "<bytes>");
	else if (strcmp(type, "Digits") == 0)
		snprintf(text + n, size - n, "%s", cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(step, "individual_digits")) ? "<digits>" : "<numbers>");
	else if (strcmp(type, "Sequence") != 0)
		snprintf(text + n, size - n, "%s", nn_config_string(pattern, "Regex|String", type));
}

static const char *vocab_rule(struct vocab *v)
{
	char steps[4096] = "";
	if (!v->bytes)
		return "default";
	vocab_steps(cJSON_GetObjectItemCaseSensitive(v->json, "pre_tokenizer"), steps, sizeof steps);
	for (size_t i = 0; i < sizeof convert_rules / sizeof *convert_rules; i++)
		if (strcmp(steps, convert_rules[i].steps) == 0)
			return convert_rules[i].name;
	nn_fail(&v->c->error, -ENOTSUP, "%s: tokenizer.json cuts texts up by rules that GGUF has no name for: %.200s", v->c->path, steps);
	return NULL;
}

/* ---- writing ---- */

static void vocab_write_tokens(struct vocab *v)
{
	struct nn_gguf_writer *w = &v->c->out;
	char pad[32];
	nn_gguf_write_array(w, "tokenizer.ggml.tokens", NN_GGUF_STRING, v->n);
	for (size_t i = 0; i < v->n; i++) {
		snprintf(pad, sizeof pad, "[PAD%zu]", i);
		const char *text = v->tokens[i].text ? v->tokens[i].text : pad;
		nn_gguf_write_element(w, text, strlen(text));
	}
	if (!v->bytes) {
		nn_gguf_write_array(w, "tokenizer.ggml.scores", NN_GGUF_F32, v->n);
		for (size_t i = 0; i < v->n; i++)
			nn_gguf_write_bytes(w, &v->tokens[i].score, sizeof v->tokens[i].score);
	}
	nn_gguf_write_array(w, "tokenizer.ggml.token_type", NN_GGUF_I32, v->n);
	for (size_t i = 0; i < v->n; i++) {
		const int32_t type = v->tokens[i].text ? v->tokens[i].type : TOKEN_UNUSED;
		nn_gguf_write_bytes(w, &type, sizeof type);
	}
}

static int vocab_write_merges(struct vocab *v)
{
	const cJSON *merges = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(v->json, "model"), "merges"), *merge;
	char text[2048];
	nn_gguf_write_array(&v->c->out, "tokenizer.ggml.merges", NN_GGUF_STRING, (uint64_t)cJSON_GetArraySize(merges));
	cJSON_ArrayForEach(merge, merges) {
		const char *a, *b;
		size_t n;
		if (vocab_merge(merge, &a, &n, &b))
			return nn_fail(&v->c->error, -EINVAL, "%s: tokenizer.json: a merge is no pair of texts.", v->c->path);
		snprintf(text, sizeof text, "%.*s %s", (int)n, a, b);
		nn_gguf_write_element(&v->c->out, text, strlen(text));
	}
	return 0;
}

/* A token that tokenizer_config.json names by its text, else config.json by its id; -1: neither. */
static int32_t vocab_id(const struct vocab *v, const struct nn_tokenizer *t, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(v->config, name), *id;
	const char *text = cJSON_IsObject(item) ? nn_config_string(item, "content", NULL) : cJSON_GetStringValue(item);
	char key[64];
	const int32_t found = text ? nn_tokenizer_special(t, text) : -1;
	snprintf(key, sizeof key, "%s_id", name);
	id = cJSON_GetObjectItemCaseSensitive(v->c->config, key);
	id = cJSON_IsArray(id) ? cJSON_GetArrayItem(id, 0) : id;
	return found >= 0 ? found : cJSON_IsNumber(id) && id->valuedouble >= 0 && id->valuedouble < (double)v->n ? (int32_t)id->valuedouble : -1;
}

/* What stands around a text, as the folder's tokenizer does it. */
static void vocab_write_around(struct vocab *v, const struct nn_tokenizer *t, int32_t bos, int32_t eos)
{
	struct nn_gguf_writer *w = &v->c->out;
	struct nn_error ignored = {0};
	struct nn_ids around = {0}, plain = {0};
	size_t n = 0;
	nn_tokenizer_encode(t, "a", 1, NN_ENCODE_AROUND, &around, &ignored);
	nn_tokenizer_encode(t, "a", 1, 0, &plain, &ignored);
	nn_gguf_write_bool(w, "tokenizer.ggml.add_bos_token", around.n && bos >= 0 && around.data[0] == bos);
	nn_gguf_write_bool(w, "tokenizer.ggml.add_eos_token", around.n && eos >= 0 && around.data[around.n - 1] == eos);
	const char *first = plain.n ? nn_tokenizer_piece(t, plain.data[0], &n) : NULL;
	nn_gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", first && n && first[0] == ' ');
	nn_ids_free(&around);
	nn_ids_free(&plain);
}

static void vocab_write_ids(struct vocab *v, const struct nn_tokenizer *t)
{
	static const struct {
		const char *name, *key;
	} ids[] = {{"bos_token", "tokenizer.ggml.bos_token_id"}, {"eos_token", "tokenizer.ggml.eos_token_id"},
		   {"unk_token", "tokenizer.ggml.unknown_token_id"}, {"pad_token", "tokenizer.ggml.padding_token_id"}};
	int32_t found[4];
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		found[i] = vocab_id(v, t, ids[i].name);
		if (found[i] < 0 && i < 2)
			found[i] = i ? nn_tokenizer_eos(t) : nn_tokenizer_bos(t);
		if (found[i] >= 0)
			nn_gguf_write_u32(&v->c->out, ids[i].key, (uint32_t)found[i]);
	}
	vocab_write_around(v, t, found[0], found[1]);
}

static int vocab_write(struct vocab *v, const struct nn_tokenizer *t)
{
	const char *rule = vocab_rule(v), *model = v->bytes ? "gpt2" : "llama";
	if (!rule)
		return v->c->error.code;
	nn_gguf_write_text(&v->c->out, "tokenizer.ggml.model", model, strlen(model));
	nn_gguf_write_text(&v->c->out, "tokenizer.ggml.pre", rule, strlen(rule));
	vocab_write_tokens(v);
	if (v->bytes && vocab_write_merges(v))
		return v->c->error.code;
	vocab_write_ids(v, t);
	char *template = nn_template_find(v->c->path);
	if (template)
		nn_gguf_write_text(&v->c->out, "tokenizer.chat_template", template, strlen(template));
	free(template);
	return 0;
}

/* tokenizer.json says more than tokenizer.model, whose scores are exact: the latter first. */
static int vocab_read(struct vocab *v)
{
	size_t n;
	char *pieces = vocab_file(v->c, "tokenizer.model", &n);
	v->config = convert_json(v->c, "tokenizer_config.json");
	if (pieces)
		vocab_pieces(v, pieces, n);
	else if ((v->json = convert_json(v->c, "tokenizer.json")))
		vocab_words(v);
	else
		nn_fail(&v->c->error, -ENOENT, "%s: has no tokenizer.model and no tokenizer.json that can be read.", v->c->path);
	free(pieces);
	return v->c->error.code;
}

int convert_vocabulary(struct convert *c)
{
	struct vocab v = {.c = c, .n = (size_t)c->rows};
	struct nn_tokenizer *t = nn_tokenizer_open(c->path, &c->error);
	if (!t)
		return c->error.code;
	v.tokens = c->rows <= VOCAB_TOKENS ? calloc(v.n + 1, sizeof *v.tokens) : NULL;
	if (!v.tokens)
		nn_fail(&c->error, -ENOMEM, "%s: a vocabulary of %llu tokens is too large.", c->path, (unsigned long long)c->rows);
	else if (!vocab_read(&v))
		vocab_write(&v, t);
	for (size_t i = 0; v.tokens && i < v.n; i++)
		free(v.tokens[i].text);
	free(v.tokens);
	cJSON_Delete(v.json);
	cJSON_Delete(v.config);
	nn_tokenizer_close(t);
	return c->error.code;
}

/* Texts of many kinds; none that normal forms change, as GGUF's byte-level tokenizers know none. */
static const char convert_probe[] = "Hello  World! It's I'LL we'd 1234567 12,345.67\n\n\ttab \r\n  (x+y)==z; snake_case CamelCase \"quoted\" <b>"
				    " na\xc3\xafve \xd0\xbc\xd0\xb8\xd1\x80 \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x98\x80 ...   end ";

int convert_compare(struct convert *c, const char *file)
{
	struct nn_gguf_file made;
	struct nn_ids is = {0}, was = {0};
	struct nn_tokenizer *from = nn_tokenizer_open(c->path, &c->error), *to = NULL;
	if (from && nn_gguf_open(&made, file, &c->error) == 0) {
		to = nn_tokenizer_parse_gguf(made.bytes, made.size, file, &c->error);
		nn_gguf_close(&made);
	}
	if (to && !nn_tokenizer_encode(from, convert_probe, sizeof convert_probe - 1, NN_ENCODE_AROUND, &was, &c->error) &&
	    !nn_tokenizer_encode(to, convert_probe, sizeof convert_probe - 1, NN_ENCODE_AROUND, &is, &c->error) &&
	    (is.n != was.n || memcmp(is.data, was.data, is.n * sizeof *is.data) != 0))
		nn_fail(&c->error, -ENOTSUP, "%s: a GGUF file cannot hold this tokenizer: it would cut texts up otherwise.", c->path);
	nn_ids_free(&is);
	nn_ids_free(&was);
	nn_tokenizer_close(from);
	nn_tokenizer_close(to);
	return c->error.code;
}
