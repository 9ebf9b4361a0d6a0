/* tokenizer-parts.h - what a tokenizer is made of: vocabulary, added tokens, normalizers, splitters, model, surroundings.
 *
 * A text goes through them in this order: added tokens that match the raw text are cut out; the rest is normalised; added
 * tokens that match the normalised text are cut out; splitters cut the rest into pieces; the model turns each piece into ids.
 */
#ifndef NN_TOKENIZER_PARTS_H
#define NN_TOKENIZER_PARTS_H

#include <cjson/cJSON.h>

#include "sdk/nn/text.h"
#include "sdk/nn/tokenizer.h"

/* vocab: token texts and ids, both ways. Ids may have gaps, but reach at most VOCAB_MOST. */
enum { VOCAB_MOST = 1 << 24 };
struct vocab {
	struct vocab_entry {
		const char *text; /* NULL: no such id */
		uint32_t bytes;
	} *entries;
	size_t n, room;       /* of entries, by id */
	int32_t *slots;       /* hash table of ids; -1: empty */
	size_t mask, used;
	char **blocks;        /* where the texts lie */
	size_t n_blocks, blocks_room, block_left;
};
/* Adds text -> id. A text already there keeps its id as the one found. */
int vocab_add(struct vocab *v, const char *text, size_t bytes, int32_t id);
int32_t vocab_find(const struct vocab *v, const char *text, size_t bytes); /* -1: none */
void vocab_fini(struct vocab *v);

/* pieces: a text cut up. */
struct pieces {
	struct text text;
	struct piece {
		size_t at, n;
	} *items;
	size_t n, room;
};
/* Appends a piece with its text; an empty one is left out. */
int pieces_put(struct pieces *p, const char *s, size_t n);
void pieces_clear(struct pieces *p);
void pieces_free(struct pieces *p);

/* pattern: a regular expression or literal of tokenizer.json. */
struct pattern;
/* `json` is {"Regex": ...}, {"String": ...} or a string, which is literal. */
struct pattern *pattern_new(const cJSON *json, struct nn_error *error);
struct pattern *pattern_regex(const char *regex, struct nn_error *error);
void pattern_free(struct pattern *p);
/* Calls each(arg, at, n, matched) for matches and what lies between, in order, never empty. `s` is valid UTF-8. */
int pattern_each(const struct pattern *p, const char *s, size_t n,
		 int (*each)(void *arg, size_t at, size_t n, int matched), void *arg);

/* normal: a list of normalizers. */
struct normal;
struct normal_list {
	struct normal *items;
	size_t n, room;
};
int normal_load(struct normal_list *list, const cJSON *json, struct nn_error *error);
/* Replaces *text by its normal form. */
int normal_run(const struct normal_list *list, struct text *text);
void normal_fini(struct normal_list *list);

/* charsmap: SentencePiece's normalizer. `blob` is its precompiled map (n 0: none); prefix: a text begins with U+2581;
 * collapse: white space at the ends goes, and more than one in a row. NULL when memory is out or with *error. */
struct charsmap *charsmap_new(const unsigned char *blob, size_t n, int prefix, int collapse, struct nn_error *error);
int charsmap_run(const struct charsmap *m, struct text *text);
void charsmap_free(struct charsmap *m);
/* clean: OpenCLIP's repairs of a text, and small letters as Python makes them. */
int clean_run(struct text *text);
int clean_lower(struct text *text);
/* A tokenizer.json of OpenCLIP's compressed list of merges; NULL and *error. */
cJSON *clip_tokenizer_json(const unsigned char *bytes, size_t n, struct nn_error *error);
/* Appends it to a list, which owns it; NULL: nothing. */
int normal_add_charsmap(struct normal_list *list, struct charsmap *m);

/* split: a list of splitters ("pre-tokenizers"). */
struct split;
struct split_list {
	struct split *items;
	size_t n, room;
};
int split_load(struct split_list *list, const cJSON *json, struct nn_error *error);
/* Cuts *pieces further; *spare is scratch. */
int split_run(const struct split_list *list, struct pieces *pieces, struct pieces *spare);
void split_fini(struct split_list *list);
/* The 256 bytes as code points of the byte-level alphabet (GPT-2), and back (-1: not of it). */
uint32_t split_byte_char(unsigned char byte);
int split_char_byte(uint32_t c);

/* added: tokens that are cut out of a text before all else. */
struct added_token {
	char *text;
	size_t bytes;
	int32_t id;
	int special, control, normalized, lstrip, rstrip, single_word;
	int plain;      /* vocabulary whatever it looks like */
	char *match;    /* the text looked for: normalised where `normalized` */
	size_t match_bytes;
};
struct added {
	struct added_token *items;
	size_t n, room;
	uint32_t *order[2]; /* items by match text: of the raw text, of the normalised text */
	size_t n_order[2];
	unsigned char first[2][256]; /* bytes with which a match may begin */
};
int added_load(struct added *a, const cJSON *json, const struct normal_list *normals, struct nn_error *error);
/* Calls each(arg, s, n, token) for tokens found and for the text between (token NULL, never empty). `stage`: 0 raw, 1
 * normalised. Control tokens are text unless `specials`. */
int added_each(const struct added *a, int stage, const char *s, size_t n, int specials,
	       int (*each)(void *arg, const char *s, size_t n, const struct added_token *token), void *arg);
void added_fini(struct added *a);

/* merge: symbols of a text merged pair by pair. */
struct merge_symbol {
	int32_t id, previous, next; /* neighbours, or -1 */
	uint32_t at, n;             /* its text; n 0: merged into its left neighbour */
};
struct merge_word {
	const char *text;
	struct merge_symbol *symbols;
	size_t n, symbols_room;
	struct merge_pair *heap;
	size_t n_heap, heap_room;
};
/* The id that two neighbours make, and its rank; -1: none. */
typedef int32_t merge_find(const void *model, const struct merge_word *w, const struct merge_symbol *left,
			   const struct merge_symbol *right, uint32_t *rank);
/* Appends a symbol, text [at, at + n). */
int merge_add(struct merge_word *w, int32_t id, size_t at, size_t n);
int merge_all(struct merge_word *w, merge_find *find, const void *model);
void merge_free(struct merge_word *w);

/* model: pieces to ids. One row of the table in tokenizer-json.c for each. */
struct model_type {
	const char *name;
	void *(*open)(const cJSON *json, struct vocab *vocab, struct nn_error *error);
	int (*encode)(const void *model, const char *piece, size_t n, struct nn_ids *ids);
	void (*close)(void *model);
};
extern const struct model_type bpe_model, score_model, unigram_model, wordpiece_model;
/* A byte pair encoding whose merges are added one by one, `merges` of them; *joined is scratch. */
void *bpe_new(struct vocab *vocab, size_t merges, int ignore_merges, int byte_fallback, int32_t unknown);
int bpe_add(void *model, const char *const text[2], const size_t n[2], uint32_t rank, struct text *joined,
	    struct nn_error *error);
/* Models over tokens with scores [vocab->n] (taken over, also on failure); tokens marked in `barred` [vocab->n] (taken over,
 * may be NULL) are no text's. SentencePiece's BPE and unigram. unknown -1: none. NULL when memory is out. */
void *score_new(struct vocab *vocab, float *scores, unsigned char *barred, int32_t unknown);
void *unigram_new(struct vocab *vocab, float *scores, unsigned char *barred, int32_t unknown);
/* BERT's words: greedy longest matches. */
void *wordpiece_new(struct vocab *vocab, int32_t unknown);
int ids_put(struct nn_ids *ids, int32_t id);

/* post: ids that are put around a text. */
struct post {
	struct nn_ids before, after;
};
int post_load(struct post *post, const cJSON *json, struct nn_error *error);

enum piece_form { PIECE_PLAIN, PIECE_BYTE_LEVEL, PIECE_SPACES /* U+2581 is a space, <0x41> a byte */ };

struct nn_tokenizer {
	struct vocab vocab;
	struct added added;
	size_t size;        /* ids are below it */
	uint32_t *controls; /* indices into added.items of the special ones */
	size_t n_controls;
	uint32_t *by_id;    /* index into added.items + 1 by id, or 0 */
	struct normal_list normals;
	struct split_list splits;
	const struct model_type *type;
	void *model;
	struct post post;
	enum piece_form form;
	struct text bytes;  /* the bytes of all pieces, one after another */
	size_t *bytes_at;   /* size + 1 offsets into it */
	unsigned char *known; /* by id: there is such a token */
	int32_t bos, eos;
};

/* What tokenizers of all kinds of files share, once vocabulary and added tokens are there. */
int tokenizer_index_added(struct nn_tokenizer *t);
int tokenizer_list_controls(struct nn_tokenizer *t);
struct nn_gguf;
/* Fills *t from a GGUF file's header, or from a SentencePiece model's (`config` as below). */
int tokenizer_load_gguf(struct nn_tokenizer *t, const struct nn_gguf *g, const char *name, struct nn_error *error);
int tokenizer_load_sentencepiece(struct nn_tokenizer *t, const unsigned char *bytes, size_t n, const cJSON *config,
				 struct nn_error *error);
/* Fills *t from a parsed tokenizer.json. */
int tokenizer_load_json(struct nn_tokenizer *t, const cJSON *root, const cJSON *config, struct nn_error *error);
/* Fills *t from tokenizer.json's text; `config` is tokenizer_config.json or NULL. */
int tokenizer_load(struct nn_tokenizer *t, const char *json, size_t bytes, const cJSON *config, struct nn_error *error);

#endif
