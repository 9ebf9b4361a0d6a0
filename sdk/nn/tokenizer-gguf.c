/* tokenizer-gguf.c - the tokenizer that lies in a GGUF file: tokens, their types, scores or merges, and which rules cut a text
 * up, by name. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sdk/nn/gguf.h"

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define CASES "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define LLAMA3 CASES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2 CASES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define HAN "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
/* Letters of scripts with two cases. */
#define CASED "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}" \
	"\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"         \
	"\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}"         \
	"\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}" \
	"\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}"  \
	"\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}"   \
	"\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"   \
	"\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}"    \
	"\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"    \
	"\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}"   \
	"\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"  \
	"\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}"          \
	"\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

/* How texts are cut up, by tokenizer.ggml.pre: patterns after one another, each on the pieces of the one before. */
static const struct gguf_rule {
	const char *names[16]; /* NULL-terminated */
	const char *patterns[6];
	int ignore_merges;     /* a piece that is a token is that token */
	int bos;               /* a text begins with it unless the file says otherwise */
} gguf_rules[] = {
	{{"default"},
	 {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, 0, 0},
	{{"gpt-2", "phi-2", "mpt", "olmo", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "roberta-bpe", "a.x-4.0",
	  "mellum", "exaone4", "jais", "trillion"}, {GPT2}, 0, 0},
	{{"llama-bpe", "llama3", "llama-v3", "smaug-bpe", "dbrx", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "chatglm-bpe",
	  "glm4"}, {LLAMA3}, 1, 1},
	{{"qwen2", "stablelm2", "hunyuan", "megrez", "deepseek-r1-qwen", "kormo"}, {QWEN2}, 0, 0},
	{{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}, {"\\p{N}", GPT2}, 0, 0},
	{{"falcon"}, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, 0, 0},
	{{"deepseek-llm"},
	 {"[\\r\\n]", "\\s?[" CASED "]+", "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
	  "\\s+$", HAN, "\\p{N}+"}, 0, 0},
	{{"deepseek-coder"}, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}"}, 0, 0},
	{{"deepseek-v3", "hunyuan-dense", "joyai-llm"},
	 {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
	  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
	  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, 0, 0},
	{{"tekken"},
	 {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|"
	  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, 1, 1},
	{{"gpt-4o", "llama4", "kanana2"},
	 {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CASES "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" CASES "?|\\p{N}{1,3}|"
	  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, 0, 0},
};

/* What is read at. */
struct gguf_source {
	const struct nn_gguf *g;
	struct nn_tokenizer *t;
	const char *name;
	struct nn_error *error;
	const struct nn_gguf_value *tokens, *types, *scores;
};

static int gguf_text_is(struct nn_gguf_text text, const char *s)
{
	return text.n == strlen(s) && !memcmp(text.bytes, s, text.n);
}

static struct nn_gguf_text gguf_text(const struct gguf_source *s, const char *key)
{
	const struct nn_gguf_value *v = nn_gguf_value(s->g, key);
	const unsigned char *at = v ? v->data : NULL;

	return v && !v->is_array && v->type == NN_GGUF_STRING ? nn_gguf_next_text(&at) : (struct nn_gguf_text){"", 0};
}

static int gguf_flag(const struct gguf_source *s, const char *key, int fallback)
{
	const struct nn_gguf_value *v = nn_gguf_value(s->g, key);

	return v && !v->is_array && v->type == NN_GGUF_BOOL ? nn_gguf_number(v, 0) != 0 : fallback;
}

/* A token's id that the file names; `fallback` where it does not, -1 where it is none of the vocabulary. */
static int32_t gguf_id(const struct gguf_source *s, const char *key, int32_t fallback)
{
	const struct nn_gguf_value *v = nn_gguf_value(s->g, key);
	const double id = v && !v->is_array && v->type != NN_GGUF_STRING ? nn_gguf_number(v, 0) : fallback;

	return id >= 0 && id < (double)s->tokens->n ? (int32_t)id : -1;
}

/* An array of numbers as long as the tokens; NULL if there is none. */
static int gguf_numbers(const struct gguf_source *s, const char *key, const struct nn_gguf_value **v)
{
	*v = nn_gguf_value(s->g, key);
	if (!*v)
		return 0;
	if (!(*v)->is_array || (*v)->type == NN_GGUF_STRING || (*v)->n != s->tokens->n)
		return nn_fail(s->error, -EINVAL, "%s: \"%s\" is not a number for each token.", s->name, key);
	return 0;
}

static int gguf_type(const struct gguf_source *s, uint64_t id)
{
	const double type = s->types ? nn_gguf_number(s->types, id) : TOKEN_NORMAL;

	return type >= TOKEN_NORMAL && type <= TOKEN_BYTE ? (int)type : TOKEN_NORMAL;
}

static int gguf_load_vocab(struct gguf_source *s)
{
	const unsigned char *at;

	s->tokens = nn_gguf_value(s->g, "tokenizer.ggml.tokens");
	if (!s->tokens || !s->tokens->is_array || s->tokens->type != NN_GGUF_STRING || s->tokens->n > VOCAB_MOST)
		return nn_fail(s->error, -EINVAL, "%s: has no tokenizer: \"tokenizer.ggml.tokens\" is no list of texts.", s->name);
	if (gguf_numbers(s, "tokenizer.ggml.token_type", &s->types) || gguf_numbers(s, "tokenizer.ggml.scores", &s->scores))
		return -EINVAL;
	at = s->tokens->data;
	for (uint64_t id = 0; id < s->tokens->n; id++) {
		const struct nn_gguf_text text = nn_gguf_next_text(&at);
		const int failed = vocab_add(&s->t->vocab, text.bytes, text.n, (int32_t)id);

		if (failed == -ENOMEM)
			return failed;
		if (failed)
			return nn_fail(s->error, -EINVAL, "%s: token %llu is too long.", s->name, (unsigned long long)id);
	}
	return 0;
}

/* What ends a text or a turn is a control token, whatever type files give it; in the vocabularies of Gemma 4 and PLaMo "</s>"
 * is a word like others. */
static int gguf_is_end(const struct vocab *v, const char *text)
{
	static const char *const others[] = {"<|tool_response>", "<|plamo:eos|>"};
	static const char *const names[] = {"</s>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>",
					    "<|endoftext|>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
					    "<end_of_utterance>"};

	for (size_t i = 0; i < sizeof(others) / sizeof(*others) && !strcmp(text, names[0]); i++)
		if (vocab_find(v, others[i], strlen(others[i])) >= 0)
			return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(text, names[i]))
			return 1;
	return 0;
}

/* Phi-3's files do not say that its control tokens take the white space behind them along. */
static int gguf_is_phi3(const struct gguf_source *s)
{
	const struct nn_gguf_text name = gguf_text(s, "general.name");

	for (size_t i = 0; i + 4 <= name.n; i++)
		if (!strncasecmp(name.bytes + i, "phi3", 4) || (i + 5 <= name.n && !strncasecmp(name.bytes + i, "phi-3", 5)))
			return 1;
	return 0;
}

static int gguf_takes_space(const char *text)
{
	return strcmp(text, "<unk>") && strcmp(text, "<s>") && strcmp(text, "<|endoftext|>");
}

/* Tokens that are cut out of a text before all else: control tokens, and words that somebody has added. */
static int gguf_load_added(struct gguf_source *s)
{
	cJSON *list = cJSON_CreateArray();
	const struct vocab *v = &s->t->vocab;
	const int phi = gguf_is_phi3(s);
	int failed = list ? 0 : -ENOMEM;

	for (size_t id = 0; id < v->n && !failed; id++) {
		const char *text = v->entries[id].text;
		const int type = text ? gguf_type(s, id) : TOKEN_UNUSED;
		const int control = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || (type != TOKEN_UNUSED && gguf_is_end(v, text));

		if ((!control && type != TOKEN_USER) || !v->entries[id].bytes || v->entries[id].bytes > 1024 ||
		    strlen(text) != v->entries[id].bytes || !utf8_valid(text, v->entries[id].bytes))
			continue;
		cJSON *token = cJSON_CreateObject();

		failed = !cJSON_AddItemToArray(list, token) || !cJSON_AddStringToObject(token, "content", text) ||
			 !cJSON_AddNumberToObject(token, "id", (double)id) || !cJSON_AddBoolToObject(token, "special", control) ||
			 !cJSON_AddBoolToObject(token, "rstrip", control && phi && gguf_takes_space(text));
	}
	if (!failed)
		failed = added_load(&s->t->added, list, &s->t->normals, s->error);
	else
		failed = -ENOMEM;
	cJSON_Delete(list);
	return failed;
}

/* ---- byte-level BPE ---- */

static const struct gguf_rule *gguf_rule(const struct gguf_source *s)
{
	const struct nn_gguf_text pre = gguf_text(s, "tokenizer.ggml.pre");

	for (size_t i = 0; i < sizeof(gguf_rules) / sizeof(*gguf_rules); i++)
		for (size_t k = 0; gguf_rules[i].names[k]; k++)
			if (gguf_text_is(pre, gguf_rules[i].names[k]))
				return &gguf_rules[i];
	return &gguf_rules[0];
}

static cJSON *gguf_split(const char *pattern)
{
	cJSON *split = cJSON_CreateObject(), *regex = cJSON_AddObjectToObject(split, "pattern");

	cJSON_AddStringToObject(split, "type", "Split");
	cJSON_AddStringToObject(regex, "Regex", pattern);
	cJSON_AddStringToObject(split, "behavior", "Isolated");
	return split;
}

static int gguf_load_splits(struct gguf_source *s, const char *const *patterns, size_t n)
{
	int failed = 0;

	for (size_t i = 0; i < n && patterns[i] && !failed; i++) {
		cJSON *split = gguf_split(patterns[i]);

		failed = split_load(&s->t->splits, split, s->error);
		cJSON_Delete(split);
	}
	return failed;
}

static int gguf_load_json(struct gguf_source *s, const char *json,
			  int (*load)(struct gguf_source *s, const cJSON *json))
{
	cJSON *parsed = cJSON_Parse(json);
	int failed = parsed ? load(s, parsed) : -ENOMEM;

	cJSON_Delete(parsed);
	return failed;
}

static int gguf_json_split(struct gguf_source *s, const cJSON *json)
{
	return split_load(&s->t->splits, json, s->error);
}

static int gguf_json_normal(struct gguf_source *s, const cJSON *json)
{
	return normal_load(&s->t->normals, json, s->error);
}

/* A merge is two texts with a space between; a text may begin with one. */
static int gguf_merge_cut(struct nn_gguf_text merge, const char *text[2], size_t n[2])
{
	const char *space = merge.n > 1 ? memchr(merge.bytes + 1, ' ', merge.n - 1) : NULL;

	if (!space)
		return -EINVAL;
	text[0] = merge.bytes;
	n[0] = (size_t)(space - merge.bytes);
	text[1] = space + 1;
	n[1] = merge.n - n[0] - 1;
	return 0;
}

static int gguf_load_merges(struct gguf_source *s)
{
	const struct nn_gguf_value *v = nn_gguf_value(s->g, "tokenizer.ggml.merges");
	struct text joined = {0};
	const char *text[2];
	size_t n[2];
	int failed = 0;

	if (!v || !v->is_array || v->type != NN_GGUF_STRING || v->n > VOCAB_MOST)
		return nn_fail(s->error, -EINVAL, "%s: \"tokenizer.ggml.merges\" is no list of texts.", s->name);
	const unsigned char *at = v->data;

	for (uint64_t i = 0; i < v->n && !failed; i++) {
		if (gguf_merge_cut(nn_gguf_next_text(&at), text, n))
			failed = nn_fail(s->error, -EINVAL, "%s: merge %llu is not a pair of texts.", s->name, (unsigned long long)i);
		else
			failed = bpe_add(s->t->model, text, n, (uint32_t)i, &joined, s->error);
	}
	text_free(&joined);
	return failed;
}

static int gguf_load_bpe(struct gguf_source *s, int ignore_merges, int byte_fallback)
{
	const struct nn_gguf_value *v = nn_gguf_value(s->g, "tokenizer.ggml.merges");
	const size_t merges = v && v->is_array && v->n <= VOCAB_MOST ? v->n : 0;

	s->t->type = &bpe_model;
	s->t->model = bpe_new(&s->t->vocab, merges, ignore_merges, byte_fallback, -1);
	return s->t->model ? gguf_load_merges(s) : -ENOMEM;
}

static int gguf_open_gpt2(struct gguf_source *s)
{
	const struct gguf_rule *rule = gguf_rule(s);
	int failed = gguf_load_splits(s, rule->patterns, sizeof(rule->patterns) / sizeof(*rule->patterns));

	if (!failed)
		failed = gguf_load_json(s, "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", gguf_json_split);
	s->t->form = PIECE_BYTE_LEVEL;
	return failed ? failed : gguf_load_bpe(s, rule->ignore_merges, 0);
}

/* Gemma 4: merges over the text itself, spaces made visible, lines apart. */
static int gguf_open_gemma4(struct gguf_source *s)
{
	static const char *const patterns[] = {"[^\\n]+|[\\n]+"};
	int failed = gguf_load_json(s, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}",
				    gguf_json_normal);

	if (!failed)
		failed = gguf_load_splits(s, patterns, 1);
	s->t->form = PIECE_SPACES;
	return failed ? failed : gguf_load_bpe(s, 0, 1);
}

/* ---- SentencePiece ---- */

static float *gguf_scores(const struct gguf_source *s)
{
	float *scores = calloc(s->tokens->n + 1, sizeof(*scores));

	for (uint64_t i = 0; scores && s->scores && i < s->tokens->n; i++)
		scores[i] = (float)nn_gguf_number(s->scores, i);
	return scores;
}

/* What no text becomes: control tokens and bytes. */
static unsigned char *gguf_barred(const struct gguf_source *s)
{
	unsigned char *barred = calloc(s->tokens->n + 1, 1);

	for (uint64_t i = 0; barred && i < s->tokens->n; i++) {
		const int type = gguf_type(s, i);

		barred[i] = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_BYTE;
	}
	return barred;
}

static int gguf_open_llama(struct gguf_source *s)
{
	const int prefix = gguf_flag(s, "tokenizer.ggml.add_space_prefix", 1);
	float *scores = gguf_scores(s);
	unsigned char *barred = gguf_barred(s);
	int failed = normal_add_charsmap(&s->t->normals, charsmap_new(NULL, 0, prefix, 0, s->error));

	s->t->form = PIECE_SPACES;
	s->t->type = &score_model;
	if (scores && barred && !failed) {
		s->t->model = score_new(&s->t->vocab, scores, barred, gguf_id(s, "tokenizer.ggml.unknown_token_id", 0));
	} else {
		free(scores);
		free(barred);
	}
	return s->t->model ? 0 : -ENOMEM;
}

static int gguf_open_t5(struct gguf_source *s)
{
	const struct nn_gguf_value *map = nn_gguf_value(s->g, "tokenizer.ggml.precompiled_charsmap");
	const int bytes = map && map->is_array && (map->type == NN_GGUF_U8 || map->type == NN_GGUF_I8);
	float *scores = gguf_scores(s);
	unsigned char *barred = gguf_barred(s);
	int failed = normal_add_charsmap(&s->t->normals,
					 charsmap_new(bytes ? map->data : NULL, bytes ? map->n : 0,
						      gguf_flag(s, "tokenizer.ggml.add_space_prefix", 1),
						      gguf_flag(s, "tokenizer.ggml.remove_extra_whitespaces", 0), s->error));

	s->t->form = PIECE_SPACES;
	s->t->type = &unigram_model;
	if (scores && barred && !failed) {
		s->t->model = unigram_new(&s->t->vocab, scores, barred, gguf_id(s, "tokenizer.ggml.unknown_token_id", 2));
	} else {
		free(scores);
		free(barred);
	}
	return s->t->model ? 0 : -ENOMEM;
}

/* ---- WordPiece ---- */

static int gguf_open_bert(struct gguf_source *s)
{
	int failed = gguf_load_json(s, "{\"type\":\"Words\"}", gguf_json_normal);

	if (!failed)
		failed = gguf_load_json(s, "{\"type\":\"WhitespaceSplit\"}", gguf_json_split);
	s->t->form = PIECE_SPACES;
	s->t->type = &wordpiece_model;
	s->t->model = failed ? NULL : wordpiece_new(&s->t->vocab, gguf_id(s, "tokenizer.ggml.unknown_token_id", 100));
	return s->t->model ? 0 : failed ? failed : -ENOMEM;
}

/* By tokenizer.ggml.model. The ids are those that llama.cpp takes where the file names none. */
static const struct gguf_kind {
	const char *name;
	int (*open)(struct gguf_source *s);
	int bos, eos; /* a text begins and ends with them unless the file says otherwise */
	int32_t bos_id, eos_id;
	const char *bos_key, *eos_key;
} gguf_kinds[] = {
	{"gpt2", gguf_open_gpt2, 0, 0, 11, 11, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"},
	{"llama", gguf_open_llama, 1, 0, 1, 2, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"},
	{"gemma4", gguf_open_gemma4, 1, 0, 2, 1, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"},
	{"t5", gguf_open_t5, 0, 1, -1, 1, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"},
	{"bert", gguf_open_bert, 1, 1, 101, 102, "tokenizer.ggml.cls_token_id", "tokenizer.ggml.seperator_token_id"},
};

static int gguf_load_around(struct gguf_source *s, const struct gguf_kind *kind)
{
	struct nn_tokenizer *t = s->t;
	const int bos = kind->open == gguf_open_gpt2 ? gguf_rule(s)->bos : kind->bos;
	int failed = 0;

	t->bos = gguf_id(s, kind->bos_key, kind->bos_id);
	t->eos = gguf_id(s, kind->eos_key, kind->eos_id);
	if (t->bos >= 0 && gguf_flag(s, "tokenizer.ggml.add_bos_token", bos))
		failed = ids_put(&t->post.before, t->bos);
	if (!failed && t->eos >= 0 &&
	    (gguf_flag(s, "tokenizer.ggml.add_eos_token", kind->eos) || gguf_flag(s, "tokenizer.ggml.add_sep_token", 0)))
		failed = ids_put(&t->post.after, t->eos);
	return failed;
}

static int gguf_load(struct gguf_source *s)
{
	const struct nn_gguf_text model = gguf_text(s, "tokenizer.ggml.model");
	const struct gguf_kind *kind = NULL;
	int failed;

	for (size_t i = 0; i < sizeof(gguf_kinds) / sizeof(*gguf_kinds) && !kind; i++)
		if (gguf_text_is(model, gguf_kinds[i].name))
			kind = &gguf_kinds[i];
	if (!kind)
		return nn_fail(s->error, -ENOTSUP, "%s: the tokenizer \"%.*s\" is not supported.", s->name,
			       (int)(model.n < 60 ? model.n : 60), model.bytes);
	failed = gguf_load_vocab(s);
	if (!failed)
		failed = kind->open(s);
	if (!failed)
		failed = gguf_load_added(s);
	if (!failed)
		failed = tokenizer_index_added(s->t);
	if (!failed)
		failed = tokenizer_list_controls(s->t);
	return failed ? failed : gguf_load_around(s, kind);
}

int tokenizer_load_gguf(struct nn_tokenizer *t, const struct nn_gguf *g, const char *name, struct nn_error *error)
{
	struct gguf_source s = {.g = g, .t = t, .name = name, .error = error};

	return gguf_load(&s);
}
