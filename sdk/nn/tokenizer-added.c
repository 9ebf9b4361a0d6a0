/* tokenizer-added.c - added tokens: found in a text before all else, the longest of the leftmost first.
 *
 * The tokens are kept in order of their bytes; at a position the range of those that begin with the text is narrowed byte
 * by byte, so that a position costs at most the length of the longest token, however many there are.
 */
#include "config.h" /* qsort_r */

#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { ADDED_MOST = 1 << 20, ADDED_LONGEST = 1024 };

static int added_flag(const cJSON *json, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, name));
}

/* Not every checkpoint marks its <|turn|> tokens as special; the form tells. */
static int added_looks_special(const char *text, size_t n)
{
	return n > 4 && !strncmp(text, "<|", 2) && !strncmp(text + n - 2, "|>", 2);
}

static int added_match_text(struct added_token *token, const struct normal_list *normals)
{
	struct text match = {0};
	int failed = text_put(&match, token->text, token->bytes);

	if (!failed && token->normalized)
		failed = normal_run(normals, &match);
	token->match = match.data;
	token->match_bytes = match.n;
	return failed;
}

static int added_load_one(struct added *a, const cJSON *json, const struct normal_list *normals, struct nn_error *error)
{
	const cJSON *content = cJSON_GetObjectItemCaseSensitive(json, "content");
	const cJSON *id = cJSON_GetObjectItemCaseSensitive(json, "id");

	if (!cJSON_IsString(content) || !cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble >= VOCAB_MOST ||
	    id->valuedouble != (int32_t)id->valuedouble)
		return nn_fail(error, -EINVAL, "tokenizer.json: an added token lacks its content or a whole id from 0 to %d.",
			       VOCAB_MOST - 1);
	if (!*content->valuestring || strlen(content->valuestring) > ADDED_LONGEST)
		return nn_fail(error, -EINVAL, "tokenizer.json: added token %d has 1 to %d bytes of content, not %zu.",
			       (int)id->valuedouble, ADDED_LONGEST, strlen(content->valuestring));
	if (a->n >= ADDED_MOST || text_reserve(&a->items, &a->room, a->n + 1, sizeof(*a->items)))
		return -ENOMEM;
	struct added_token *token = &a->items[a->n++];

	*token = (struct added_token){
		.text = strdup(content->valuestring),
		.bytes = strlen(content->valuestring),
		.id = (int32_t)id->valuedouble,
		.special = added_flag(json, "special"),
		.normalized = added_flag(json, "normalized"),
		.lstrip = added_flag(json, "lstrip"),
		.rstrip = added_flag(json, "rstrip"),
		.single_word = added_flag(json, "single_word"),
	};
	if (!token->text)
		return -ENOMEM;
	token->plain = added_flag(json, "plain");
	token->control = token->special || (!token->plain && added_looks_special(token->text, token->bytes));
	return added_match_text(token, normals);
}

static int added_compare(const void *x, const void *y, void *items)
{
	const struct added_token *a = &((struct added_token *)items)[*(const uint32_t *)x];
	const struct added_token *b = &((struct added_token *)items)[*(const uint32_t *)y];
	int order = memcmp(a->match, b->match, a->match_bytes < b->match_bytes ? a->match_bytes : b->match_bytes);

	if (order)
		return order;
	if (a->match_bytes != b->match_bytes)
		return a->match_bytes < b->match_bytes ? -1 : 1;
	return a < b ? -1 : a > b;
}

static int added_sort(struct added *a, int stage)
{
	a->order[stage] = calloc(a->n + 1, sizeof(**a->order));
	if (!a->order[stage])
		return -ENOMEM;
	for (size_t i = 0; i < a->n; i++) {
		const struct added_token *token = &a->items[i];

		if (token->normalized != stage || !token->match_bytes)
			continue;
		a->order[stage][a->n_order[stage]++] = (uint32_t)i;
		a->first[stage][(unsigned char)token->match[0]] = 1;
	}
	qsort_r(a->order[stage], a->n_order[stage], sizeof(**a->order), added_compare, a->items);
	return 0;
}

int added_load(struct added *a, const cJSON *json, const struct normal_list *normals, struct nn_error *error)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, json)
	{
		int failed = added_load_one(a, item, normals, error);

		if (failed)
			return failed;
	}
	return added_sort(a, 0) || added_sort(a, 1) ? -ENOMEM : 0;
}

/* Narrows [*low, *high) of the order, whose tokens share their first `depth` bytes, to those with `byte` next. */
static void added_narrow(const struct added *a, int stage, size_t depth, unsigned char byte, size_t *low, size_t *high)
{
	const uint32_t *order = a->order[stage];
	size_t from[2];

	for (int side = 0; side < 2; side++) {
		size_t l = *low, h = *high;

		while (l < h) {
			size_t middle = l + (h - l) / 2;
			const struct added_token *t = &a->items[order[middle]];
			int value = t->match_bytes <= depth ? -1 : (unsigned char)t->match[depth];

			if (value < byte + side)
				l = middle + 1;
			else
				h = middle;
		}
		from[side] = l;
	}
	*low = from[0];
	*high = from[1];
}

static const struct added_token *added_longest(const struct added *a, int stage, const char *s, size_t n, int specials)
{
	const struct added_token *best = NULL;
	size_t low = 0, high = a->n_order[stage];

	for (size_t depth = 0; low < high; depth++) {
		const struct added_token *t = &a->items[a->order[stage][low]];

		if (depth && t->match_bytes == depth && (specials || !t->control))
			best = t;
		if (depth == n)
			break;
		added_narrow(a, stage, depth, (unsigned char)s[depth], &low, &high);
	}
	return best;
}

static int added_is_word(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return 1;
	default:
		return 0;
	}
}

static int added_is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x85 || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ZS ||
	       c == 0x2028 || c == 0x2029;
}

/* The character that ends at `at` > 0, and where it begins. */
static size_t added_before(const char *s, size_t at, uint32_t *c)
{
	size_t begin = at - 1;

	while (begin && ((unsigned char)s[begin] & 0xc0) == 0x80)
		begin--;
	utf8_get(s + begin, at - begin, c, NULL);
	return begin;
}

static int added_alone(const char *s, size_t n, size_t at, size_t end)
{
	uint32_t before = ' ', after = ' ';

	if (at)
		added_before(s, at, &before);
	if (end < n)
		utf8_get(s + end, n - end, &after, NULL);
	return !added_is_word(before) && !added_is_word(after);
}

/* The token's place with the white space that it takes along, not before `done`. */
static void added_widen(const struct added_token *t, const char *s, size_t n, size_t done, size_t *at, size_t *end)
{
	uint32_t c;

	while (t->lstrip && *at > done) {
		size_t begin = added_before(s, *at, &c);

		if (!added_is_space(c))
			break;
		*at = begin;
	}
	while (t->rstrip && *end < n) {
		size_t length = utf8_get(s + *end, n - *end, &c, NULL);

		if (!added_is_space(c))
			break;
		*end += length;
	}
}

int added_each(const struct added *a, int stage, const char *s, size_t n, int specials,
	       int (*each)(void *arg, const char *s, size_t n, const struct added_token *token), void *arg)
{
	size_t done = 0;
	int failed = 0;

	for (size_t i = 0; i < n && !failed;) {
		const struct added_token *t = NULL;

		if (a->first[stage][(unsigned char)s[i]])
			t = added_longest(a, stage, s + i, n - i, specials);
		if (!t || (t->single_word && !added_alone(s, n, i, i + t->match_bytes))) {
			i += t ? t->match_bytes : 1;
			continue;
		}
		size_t at = i, end = i + t->match_bytes;

		added_widen(t, s, n, done, &at, &end);
		if (at > done)
			failed = each(arg, s + done, at - done, NULL);
		if (!failed)
			failed = each(arg, s + at, end - at, t);
		i = done = end;
	}
	if (!failed && done < n)
		failed = each(arg, s + done, n - done, NULL);
	return failed;
}

void added_fini(struct added *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->items[i].text);
		free(a->items[i].match);
	}
	free(a->items);
	free(a->order[0]);
	free(a->order[1]);
	*a = (struct added){0};
}
