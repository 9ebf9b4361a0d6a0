/* tokenizer-split.c - splitters: what tokenizer.json calls pre-tokenizers. A type is one row of split_types. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SPLIT_DEPTH = 8, SPLIT_MOST = 64 };

enum split_behavior { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT, SPLIT_CONTIGUOUS };
static const char *const split_behaviors[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};

struct split {
	struct pattern *pattern;  /* NULL: no cut */
	enum split_behavior behavior;
	int invert;
	int prefix_space;         /* a piece begins with a space */
	int byte_level;           /* bytes become characters of the byte-level alphabet */
};

/* GPT-2: printable Latin-1 stands for itself, the other 68 bytes are U+0100 and on, in order. */
uint32_t split_byte_char(unsigned char byte)
{
	if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
		return byte;
	return byte <= 0x20 ? 0x100u + byte : byte <= 0xa0 ? 0x121u + (byte - 0x7fu) : 0x143u;
}

int split_char_byte(uint32_t c)
{
	if (c >= 0x100 && c <= 0x120)
		return (int)(c - 0x100);
	if (c >= 0x121 && c <= 0x142)
		return (int)(c - 0x121 + 0x7f);
	if (c == 0x143)
		return 0xad;
	return c < 0x100 && split_byte_char((unsigned char)c) == c ? (int)c : -1;
}

struct split_cut {
	const struct split *split;
	const char *s;
	struct pieces *out;
	size_t at, n;  /* a piece that may still grow */
	int matched;   /* the last part's side */
};

static int split_flush(struct split_cut *cut)
{
	size_t n = cut->n;

	cut->n = 0;
	return pieces_put(cut->out, cut->s + cut->at, n);
}

/* True if the part joins the piece before it. */
static int split_joins(const struct split_cut *cut, int matched)
{
	switch (cut->split->behavior) {
	case SPLIT_WITH_PREVIOUS:
		return matched && !cut->matched;
	case SPLIT_WITH_NEXT:
		return !matched && cut->matched;
	case SPLIT_CONTIGUOUS:
		return matched == cut->matched;
	default:
		return 0;
	}
}

static int split_part(void *arg, size_t at, size_t n, int matched)
{
	struct split_cut *cut = arg;
	int joins;

	matched ^= cut->split->invert;
	joins = cut->n && split_joins(cut, matched);
	cut->matched = matched;
	if (joins) {
		cut->n += n;
		return 0;
	}
	if (split_flush(cut))
		return -ENOMEM;
	if (matched && cut->split->behavior == SPLIT_REMOVED)
		return 0;
	cut->at = at;
	cut->n = n;
	return 0;
}

static int split_by_pattern(const struct split *split, const char *s, size_t n, struct pieces *out)
{
	struct split_cut cut = {.split = split, .s = s, .out = out, .matched = -1};
	int failed = pattern_each(split->pattern, s, n, split_part, &cut);

	return failed ? failed : split_flush(&cut);
}

static int split_to_byte_level(const struct pieces *in, struct pieces *out)
{
	struct text word = {0};
	int failed = 0;

	for (size_t i = 0; i < in->n && !failed; i++) {
		const unsigned char *s = (const unsigned char *)in->text.data + in->items[i].at;

		word.n = 0;
		for (size_t k = 0; k < in->items[i].n && !failed; k++)
			failed = text_put_char(&word, split_byte_char(s[k]));
		if (!failed)
			failed = pieces_put(out, word.data, word.n);
	}
	text_free(&word);
	return failed;
}

static int split_add_space(const struct pieces *in, struct pieces *out)
{
	struct text word = {0};
	int failed = 0;

	for (size_t i = 0; i < in->n && !failed; i++) {
		const char *s = in->text.data + in->items[i].at;

		word.n = 0;
		if (*s != ' ')
			failed = text_puts(&word, " ");
		if (!failed)
			failed = text_put(&word, s, in->items[i].n);
		if (!failed)
			failed = pieces_put(out, word.data, word.n);
	}
	text_free(&word);
	return failed;
}

static void split_swap(struct pieces *a, struct pieces *b)
{
	struct pieces kept = *a;

	*a = *b;
	*b = kept;
	pieces_clear(b);
}

static int split_apply(const struct split *split, struct pieces *pieces, struct pieces *spare)
{
	int failed = 0;

	if (split->prefix_space) {
		failed = split_add_space(pieces, spare);
		split_swap(pieces, spare);
	}
	if (split->pattern && !failed) {
		for (size_t k = 0; k < pieces->n && !failed; k++)
			failed = split_by_pattern(split, pieces->text.data + pieces->items[k].at,
						  pieces->items[k].n, spare);
		split_swap(pieces, spare);
	}
	if (split->byte_level && !failed) {
		failed = split_to_byte_level(pieces, spare);
		split_swap(pieces, spare);
	}
	return failed;
}

int split_run(const struct split_list *list, struct pieces *pieces, struct pieces *spare)
{
	int failed = 0;

	pieces_clear(spare);
	for (size_t i = 0; i < list->n && !failed; i++)
		failed = split_apply(&list->items[i], pieces, spare);
	return failed;
}

static int split_flag(const cJSON *json, const char *name, int fallback)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsBool(value) ? cJSON_IsTrue(value) : fallback;
}

static int split_behavior(const cJSON *json, enum split_behavior *behavior, struct nn_error *error)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, "behavior");

	if (!value)
		return 0;
	for (size_t i = 0; i < sizeof(split_behaviors) / sizeof(*split_behaviors); i++) {
		if (cJSON_IsString(value) && !strcmp(value->valuestring, split_behaviors[i])) {
			*behavior = (enum split_behavior)i;
			return 0;
		}
	}
	return nn_fail(error, -EINVAL, "tokenizer.json: the split behavior %.60s is unknown.",
		       cJSON_IsString(value) ? value->valuestring : "(no text)");
}

static int split_open_split(struct split *split, const cJSON *json, struct nn_error *error)
{
	split->pattern = pattern_new(cJSON_GetObjectItemCaseSensitive(json, "pattern"), error);
	split->invert = split_flag(json, "invert", 0);
	split->behavior = SPLIT_ISOLATED;
	return split->pattern ? split_behavior(json, &split->behavior, error) : -EINVAL;
}

static int split_open_regex(struct split *split, const char *regex, enum split_behavior behavior, struct nn_error *error)
{
	split->pattern = pattern_regex(regex, error);
	split->behavior = behavior;
	return split->pattern ? 0 : -EINVAL;
}

static int split_open_byte_level(struct split *split, const cJSON *json, struct nn_error *error)
{
	split->prefix_space = split_flag(json, "add_prefix_space", 1);
	split->byte_level = 1;
	if (!split_flag(json, "use_regex", 1))
		return 0;
	return split_open_regex(split, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
				SPLIT_ISOLATED, error);
}

static int split_open_digits(struct split *split, const cJSON *json, struct nn_error *error)
{
	return split_open_regex(split, split_flag(json, "individual_digits", 0) ? "\\p{N}" : "\\p{N}+", SPLIT_ISOLATED,
				error);
}

static int split_open_whitespace(struct split *split, const cJSON *json, struct nn_error *error)
{
	split->invert = 1;
	return split_open_regex(split, "\\w+|[^\\w\\s]+", SPLIT_REMOVED, error);
}

static int split_open_whitespace_split(struct split *split, const cJSON *json, struct nn_error *error)
{
	return split_open_regex(split, "\\s+", SPLIT_REMOVED, error);
}

static int split_open_punctuation(struct split *split, const cJSON *json, struct nn_error *error)
{
	int failed = split_open_regex(split, "[\\p{P}$+<=>^`|~]", SPLIT_ISOLATED, error);

	return failed ? failed : split_behavior(json, &split->behavior, error);
}

static int split_open_delimiter(struct split *split, const cJSON *json, struct nn_error *error)
{
	split->pattern = pattern_new(cJSON_GetObjectItemCaseSensitive(json, "delimiter"), error);
	split->behavior = SPLIT_REMOVED;
	return split->pattern ? 0 : -EINVAL;
}

static const struct {
	const char *name;
	int (*open)(struct split *split, const cJSON *json, struct nn_error *error);
} split_types[] = {
	{"Split", split_open_split},
	{"ByteLevel", split_open_byte_level},
	{"Digits", split_open_digits},
	{"Whitespace", split_open_whitespace},
	{"WhitespaceSplit", split_open_whitespace_split},
	{"Punctuation", split_open_punctuation},
	{"CharDelimiterSplit", split_open_delimiter},
};

static int split_load_one(struct split_list *list, const cJSON *json, const char *type, struct nn_error *error)
{
	for (size_t i = 0; i < sizeof(split_types) / sizeof(*split_types); i++) {
		if (strcmp(type, split_types[i].name))
			continue;
		if (list->n >= SPLIT_MOST)
			return nn_fail(error, -EINVAL, "tokenizer.json: more than %d pre-tokenizers.", SPLIT_MOST);
		if (text_reserve(&list->items, &list->room, list->n + 1, sizeof(*list->items)))
			return -ENOMEM;
		struct split *split = &list->items[list->n++];

		*split = (struct split){0};
		return split_types[i].open(split, json, error);
	}
	return nn_fail(error, -ENOTSUP, "tokenizer.json: the pre-tokenizer type %.60s is not supported.", type);
}

static int split_load_depth(struct split_list *list, const cJSON *json, int depth, struct nn_error *error)
{
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(json, "type"), *item;
	int failed = 0;

	if (!json || cJSON_IsNull(json))
		return 0;
	if (!cJSON_IsString(type) || depth > SPLIT_DEPTH)
		return nn_fail(error, -EINVAL, "tokenizer.json: pre_tokenizer has no type, or is nested too deep.");
	if (strcmp(type->valuestring, "Sequence"))
		return split_load_one(list, json, type->valuestring, error);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "pretokenizers"))
	{
		failed = split_load_depth(list, item, depth + 1, error);
		if (failed)
			break;
	}
	return failed;
}

int split_load(struct split_list *list, const cJSON *json, struct nn_error *error)
{
	return split_load_depth(list, json, 0, error);
}

void split_fini(struct split_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		pattern_free(list->items[i].pattern);
	free(list->items);
	*list = (struct split_list){0};
}
