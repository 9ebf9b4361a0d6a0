/* tokenizer-normal.c - normalizers of tokenizer.json. A type is one row of normal_types. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { NORMAL_DEPTH = 8, NORMAL_MOST = 64 };

struct normal {
	int (*run)(const struct normal *normal, struct text *text);
	utf8proc_option_t form;
	struct pattern *pattern;
	struct charsmap *map;
	char *content;
	int left, right;
};

static int normal_run_form(const struct normal *normal, struct text *text)
{
	utf8proc_uint8_t *made = NULL;
	utf8proc_ssize_t n;

	n = utf8proc_map((const utf8proc_uint8_t *)text->data, (utf8proc_ssize_t)text->n, &made, normal->form);
	if (n < 0)
		return n == UTF8PROC_ERROR_NOMEM ? -ENOMEM : -EINVAL;
	text->n = 0;
	int failed = text_put(text, made, (size_t)n);

	free(made);
	return failed;
}

static int normal_run_lowercase(const struct normal *normal, struct text *text)
{
	struct text made = {0};
	int failed = 0;

	for (size_t i = 0; i < text->n && !failed;) {
		uint32_t c;

		i += utf8_get(text->data + i, text->n - i, &c, NULL);
		if (c == 0x130) /* the one capital whose small form is two characters */
			failed = text_puts(&made, "i\xcc\x87");
		else
			failed = text_put_char(&made, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
	}
	if (!failed)
		failed = text_put(&made, "", 0);
	text_free(text);
	*text = made;
	return failed;
}

static int normal_is_mark(uint32_t c)
{
	return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_MN;
}

static int normal_run_accents(const struct normal *normal, struct text *text)
{
	size_t kept = 0;

	for (size_t i = 0; i < text->n;) {
		uint32_t c;
		size_t n = utf8_get(text->data + i, text->n - i, &c, NULL);

		if (!normal_is_mark(c)) {
			memmove(text->data + kept, text->data + i, n);
			kept += n;
		}
		i += n;
	}
	text->n = kept;
	return 0;
}

static int normal_is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static int normal_run_strip(const struct normal *normal, struct text *text)
{
	size_t from = 0, end = 0;
	int leading = 1;

	for (size_t i = 0; i < text->n;) {
		uint32_t c;
		size_t n = utf8_get(text->data + i, text->n - i, &c, NULL);

		i += n;
		if (!normal_is_space(c)) {
			end = i;
			leading = 0;
		} else if (leading) {
			from = i;
		}
	}
	if (!normal->left)
		from = 0;
	if (!normal->right)
		end = text->n;
	text->n = end > from ? end - from : 0;
	if (text->n)
		memmove(text->data, text->data + from, text->n);
	return 0;
}

static int normal_run_prepend(const struct normal *normal, struct text *text)
{
	struct text made = {0};
	int failed;

	if (!text->n)
		return 0;
	failed = text_puts(&made, normal->content);
	if (!failed)
		failed = text_put(&made, text->data, text->n);
	text_free(text);
	*text = made;
	return failed;
}

struct normal_replacing {
	const struct normal *normal;
	const char *s;
	struct text made;
};

static int normal_replace_part(void *arg, size_t at, size_t n, int matched)
{
	struct normal_replacing *r = arg;

	return matched ? text_puts(&r->made, r->normal->content) : text_put(&r->made, r->s + at, n);
}

static int normal_run_replace(const struct normal *normal, struct text *text)
{
	struct normal_replacing r = {.normal = normal, .s = text->data};
	int failed = pattern_each(normal->pattern, text->data, text->n, normal_replace_part, &r);

	if (!failed)
		failed = text_put(&r.made, "", 0);
	text_free(text);
	*text = r.made;
	return failed;
}

static int normal_run_charsmap(const struct normal *normal, struct text *text)
{
	return charsmap_run(normal->map, text);
}

static int normal_run_clean(const struct normal *normal, struct text *text)
{
	return clean_run(text);
}

static int normal_run_lower_words(const struct normal *normal, struct text *text)
{
	return clean_lower(text);
}

int normal_add_charsmap(struct normal_list *list, struct charsmap *m)
{
	if (!m || text_reserve(&list->items, &list->room, list->n + 1, sizeof(*list->items))) {
		charsmap_free(m);
		return -ENOMEM;
	}
	list->items[list->n++] = (struct normal){.run = normal_run_charsmap, .map = m};
	return 0;
}

static int normal_is_chinese(uint32_t c)
{
	static const uint32_t ranges[][2] = {{0x4e00, 0x9fff},	 {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
					     {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},	 {0x2f800, 0x2fa1f}};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return 1;
	return 0;
}

/* The first character of the canonical decomposition. */
static uint32_t normal_base(uint32_t c)
{
	utf8proc_int32_t all[32];
	int last = 0;
	utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, all, 32, UTF8PROC_DECOMPOSE, &last);

	return n > 0 && n <= 32 ? (uint32_t)all[0] : c;
}

/* BERT's words as llama.cpp finds them: small letters without accents, punctuation and Chinese characters apart, one space
 * between words. */
static int normal_run_words(const struct normal *normal, struct text *text)
{
	struct text made = {0};
	int failed = 0;

	for (size_t i = 0; i < text->n && !failed;) {
		uint32_t c;

		i += utf8_get(text->data + i, text->n - i, &c, NULL);
		c = normal_base(c);
		const utf8proc_category_t kind = utf8proc_category((utf8proc_int32_t)c);
		const int punctuation = kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
		const int symbol = kind >= UTF8PROC_CATEGORY_SM && kind <= UTF8PROC_CATEGORY_SO;
		const int alone = punctuation || (c < 0x7f && symbol) || normal_is_chinese(c);

		if (normal_is_space(c)) {
			failed = text_puts(&made, " ");
			continue;
		}
		if (!c || c == 0xfffd || (kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME) || (kind >= UTF8PROC_CATEGORY_CC && kind <= UTF8PROC_CATEGORY_CO))
			continue;
		failed = alone && text_puts(&made, " ");
		if (!failed)
			failed = text_put_char(&made, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
		if (!failed && alone)
			failed = text_puts(&made, " ");
	}
	if (!failed)
		failed = text_put(&made, "", 0);
	text_free(text);
	*text = made;
	return failed ? -ENOMEM : 0;
}

static int normal_open_none(struct normal *normal, const cJSON *json, struct nn_error *error)
{
	return 0;
}

static int normal_open_strip(struct normal *normal, const cJSON *json, struct nn_error *error)
{
	normal->left = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "strip_left"));
	normal->right = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "strip_right"));
	return 0;
}

static int normal_open_content(struct normal *normal, const cJSON *json, const char *name, struct nn_error *error)
{
	const cJSON *content = cJSON_GetObjectItemCaseSensitive(json, name);

	if (!cJSON_IsString(content))
		return nn_fail(error, -EINVAL, "tokenizer.json: a normalizer lacks the text \"%s\".", name);
	normal->content = strdup(content->valuestring);
	return normal->content ? 0 : -ENOMEM;
}

static int normal_open_prepend(struct normal *normal, const cJSON *json, struct nn_error *error)
{
	return normal_open_content(normal, json, "prepend", error);
}

static int normal_open_replace(struct normal *normal, const cJSON *json, struct nn_error *error)
{
	normal->pattern = pattern_new(cJSON_GetObjectItemCaseSensitive(json, "pattern"), error);
	return normal->pattern ? normal_open_content(normal, json, "content", error) : -EINVAL;
}

#define NORMAL_FORM(extra) (UTF8PROC_STABLE | (extra))
static const struct {
	const char *name;
	int (*run)(const struct normal *normal, struct text *text);
	int (*open)(struct normal *normal, const cJSON *json, struct nn_error *error);
	int form;
} normal_types[] = {
	{"NFC", normal_run_form, normal_open_none, NORMAL_FORM(UTF8PROC_COMPOSE)},
	{"NFD", normal_run_form, normal_open_none, NORMAL_FORM(UTF8PROC_DECOMPOSE)},
	{"NFKC", normal_run_form, normal_open_none, NORMAL_FORM(UTF8PROC_COMPOSE | UTF8PROC_COMPAT)},
	{"NFKD", normal_run_form, normal_open_none, NORMAL_FORM(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT)},
	{"Lowercase", normal_run_lowercase, normal_open_none, 0},
	{"StripAccents", normal_run_accents, normal_open_none, 0},
	{"Strip", normal_run_strip, normal_open_strip, 0},
	{"Prepend", normal_run_prepend, normal_open_prepend, 0},
	{"Replace", normal_run_replace, normal_open_replace, 0},
	{"Clean", normal_run_clean, normal_open_none, 0}, /* of OpenCLIP only, as the next */
	{"LowercaseWords", normal_run_lower_words, normal_open_none, 0},
	{"Words", normal_run_words, normal_open_none, 0}, /* of GGUF files only */
};

static int normal_load_one(struct normal_list *list, const cJSON *json, const char *type, struct nn_error *error)
{
	for (size_t i = 0; i < sizeof(normal_types) / sizeof(*normal_types); i++) {
		if (strcmp(type, normal_types[i].name))
			continue;
		if (list->n >= NORMAL_MOST)
			return nn_fail(error, -EINVAL, "tokenizer.json: more than %d normalizers.", NORMAL_MOST);
		if (text_reserve(&list->items, &list->room, list->n + 1, sizeof(*list->items)))
			return -ENOMEM;
		struct normal *normal = &list->items[list->n++];

		*normal = (struct normal){.run = normal_types[i].run, .form = (utf8proc_option_t)normal_types[i].form};
		return normal_types[i].open(normal, json, error);
	}
	return nn_fail(error, -ENOTSUP, "tokenizer.json: the normalizer type %.60s is not supported.", type);
}

static int normal_load_depth(struct normal_list *list, const cJSON *json, int depth, struct nn_error *error)
{
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(json, "type"), *item;
	int failed = 0;

	if (!json || cJSON_IsNull(json))
		return 0;
	if (!cJSON_IsString(type) || depth > NORMAL_DEPTH)
		return nn_fail(error, -EINVAL, "tokenizer.json: normalizer has no type, or is nested too deep.");
	if (strcmp(type->valuestring, "Sequence"))
		return normal_load_one(list, json, type->valuestring, error);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "normalizers"))
	{
		failed = normal_load_depth(list, item, depth + 1, error);
		if (failed)
			break;
	}
	return failed;
}

int normal_load(struct normal_list *list, const cJSON *json, struct nn_error *error)
{
	return normal_load_depth(list, json, 0, error);
}

int normal_run(const struct normal_list *list, struct text *text)
{
	int failed = 0;

	for (size_t i = 0; i < list->n && !failed; i++)
		if (text->n)
			failed = list->items[i].run(&list->items[i], text);
	return failed;
}

void normal_fini(struct normal_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		pattern_free(list->items[i].pattern);
		charsmap_free(list->items[i].map);
		free(list->items[i].content);
	}
	free(list->items);
	*list = (struct normal_list){0};
}
