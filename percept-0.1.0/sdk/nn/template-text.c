/* template-text.c - values as text: Python's str() and repr(), and JSON. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The shortest digits that read back as the same number, as Python's repr does it. */
int value_put_float(struct text *out, double d)
{
	char digits[40], line[80];
	int places = 1, exponent;

	if (isnan(d))
		return text_puts(out, "nan");
	if (isinf(d))
		return text_puts(out, d < 0 ? "-inf" : "inf");
	do
		snprintf(digits, sizeof(digits), "%.*e", places - 1, d);
	while (strtod(digits, NULL) != d && places++ < 17);
	exponent = atoi(strchr(digits, 'e') + 1);
	if (exponent < -4 || exponent >= 16) {
		*strchr(digits, 'e') = '\0';
		snprintf(line, sizeof(line), "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
		return text_puts(out, line);
	}
	int decimals = places - 1 - exponent;

	snprintf(line, sizeof(line), "%.*f", decimals > 0 ? decimals : 1, d);
	return text_puts(out, line);
}

static int text_put_int(struct text *out, int64_t i)
{
	char line[32];

	snprintf(line, sizeof(line), "%lld", (long long)i);
	return text_puts(out, line);
}

static int repr_is_printable(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return 0;
	case UTF8PROC_CATEGORY_ZS:
		return c == ' ';
	default:
		return 1;
	}
}

static int repr_put_char(struct text *out, uint32_t c, char quote)
{
	char line[16];

	if (c == (uint32_t)quote || c == '\\') {
		line[0] = '\\';
		line[1] = (char)c;
		return text_put(out, line, 2);
	}
	if (c == '\n' || c == '\r' || c == '\t')
		return text_puts(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
	if (repr_is_printable(c))
		return text_put_char(out, c);
	snprintf(line, sizeof(line), c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
	return text_puts(out, line);
}

static int repr_string(struct text *out, struct str s)
{
	char quote = s.n && memchr(s.s, '\'', s.n) && !memchr(s.s, '"', s.n) ? '"' : '\'';
	int failed = text_put(out, &quote, 1);

	for (size_t i = 0; i < s.n && !failed;) {
		uint32_t c;

		i += utf8_get(s.s + i, s.n - i, &c, NULL);
		failed = repr_put_char(out, c, quote);
	}
	return failed ? failed : text_put(out, &quote, 1);
}

static int repr_list(struct run *r, const struct list *list, struct text *out)
{
	int failed = text_puts(out, list->tuple ? "(" : "[");

	for (size_t i = 0; i < list->n && !failed; i++) {
		if (i && text_puts(out, ", "))
			return -ENOMEM;
		failed = value_repr(r, list->items[i], out);
	}
	if (failed)
		return failed;
	return text_puts(out, !list->tuple ? "]" : list->n == 1 ? ",)" : ")");
}

static int repr_dict(struct run *r, const struct dict *dict, struct text *out)
{
	int failed = text_puts(out, "{");

	for (size_t i = 0; i < dict->n && !failed; i++) {
		if (i && text_puts(out, ", "))
			return -ENOMEM;
		failed = value_repr(r, dict->entries[i].key, out);
		if (!failed)
			failed = text_puts(out, ": ");
		if (!failed)
			failed = value_repr(r, dict->entries[i].value, out);
	}
	return failed ? failed : text_puts(out, "}");
}

int value_repr(struct run *r, struct value v, struct text *out)
{
	int failed = run_charge(r, 1 + (v.kind == VALUE_STRING ? v.s.n / 64 : 0));

	if (!failed && out->n > r->limits.output)
		failed = run_fail(r, "it makes more than %zu bytes of text", r->limits.output);
	if (failed || (failed = run_enter(r)))
		return failed;
	switch (v.kind) {
	case VALUE_UNDEFINED:
		failed = text_puts(out, "Undefined");
		break;
	case VALUE_NONE:
		failed = text_puts(out, "None");
		break;
	case VALUE_BOOL:
		failed = text_puts(out, v.i ? "True" : "False");
		break;
	case VALUE_INT:
		failed = text_put_int(out, v.i);
		break;
	case VALUE_FLOAT:
		failed = value_put_float(out, v.d);
		break;
	case VALUE_STRING:
		failed = repr_string(out, v.s);
		break;
	case VALUE_LIST:
		failed = repr_list(r, v.list, out);
		break;
	case VALUE_DICT:
		failed = repr_dict(r, v.dict, out);
		break;
	default:
		failed = text_puts(out, "<");
		failed = failed ? failed : text_puts(out, value_type(v));
		failed = failed ? failed : text_puts(out, ">");
	}
	run_leave(r);
	return failed;
}

int value_string(struct run *r, struct value v, struct str *s)
{
	struct text text = {0};
	struct value made;
	int failed;

	if (v.kind == VALUE_STRING || v.kind == VALUE_UNDEFINED) {
		*s = v.kind == VALUE_STRING ? v.s : (struct str){"", 0};
		return 0;
	}
	failed = value_repr(r, v, &text);
	if (failed) {
		text_free(&text);
		return failed;
	}
	failed = value_keep(r, &text, &made);
	if (!failed)
		*s = made.s;
	return failed;
}

/* One JSON text at work; Python's json.dumps. */
struct json_writer {
	struct run *r;
	struct text out;
	struct str indent;  /* of one level */
	int indented, ascii, sorted;
	struct str item, colon;
	uint32_t level;
};

static int json_put_char(struct json_writer *w, uint32_t c)
{
	static const char escapes[] = "\"\"\\\\\nn\rr\tt\bb\ff";
	char line[16];

	for (size_t i = 0; escapes[i]; i += 2) {
		if (c == (uint32_t)escapes[i]) {
			line[0] = '\\';
			line[1] = escapes[i + 1];
			return text_put(&w->out, line, 2);
		}
	}
	if (c >= 0x20 && (c < 0x7f || !w->ascii))
		return text_put_char(&w->out, c);
	if (c >= 0x10000)
		snprintf(line, sizeof(line), "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
			 (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
	else
		snprintf(line, sizeof(line), "\\u%04x", (unsigned)c);
	return text_puts(&w->out, line);
}

static int json_put_string(struct json_writer *w, struct str s)
{
	int failed = text_puts(&w->out, "\"");

	for (size_t i = 0; i < s.n && !failed;) {
		uint32_t c;

		i += utf8_get(s.s + i, s.n - i, &c, NULL);
		failed = json_put_char(w, c);
	}
	return failed ? failed : text_puts(&w->out, "\"");
}

static int json_put_line(struct json_writer *w)
{
	int failed = w->indented ? text_puts(&w->out, "\n") : 0;

	for (uint32_t i = 0; w->indented && i < w->level && !failed; i++)
		failed = text_put(&w->out, w->indent.s, w->indent.n);
	return failed;
}

static int json_put_value(struct json_writer *w, struct value v);

static int json_put_key(struct json_writer *w, struct value key)
{
	struct text name = {0};
	int failed;

	if (key.kind == VALUE_STRING)
		failed = json_put_string(w, key.s);
	else if (key.kind == VALUE_NONE || key.kind == VALUE_BOOL)
		failed = json_put_string(w, str_of(key.kind == VALUE_NONE ? "null" : key.i ? "true" : "false"));
	else if (key.kind != VALUE_INT && key.kind != VALUE_FLOAT)
		failed = run_fail(w->r, "a key of type %s cannot be JSON", value_type(key));
	else if (!(failed = value_repr(w->r, key, &name)))
		failed = json_put_string(w, (struct str){name.data, name.n});
	text_free(&name);
	return failed ? failed : text_put(&w->out, w->colon.s, w->colon.n);
}

static int json_entry_order(const void *a, const void *b)
{
	struct str x = ((const struct entry *)a)->key.s, y = ((const struct entry *)b)->key.s;
	int order = memcmp(x.s, y.s, x.n < y.n ? x.n : y.n);

	return order ? order : x.n < y.n ? -1 : x.n > y.n;
}

static int json_sort(struct json_writer *w, const struct dict **dict)
{
	struct dict *sorted = dict_new(w->r);

	if (!sorted || heap_reserve(&w->r->heap, &sorted->entries, &sorted->room, (*dict)->n + 1, sizeof(*sorted->entries)))
		return run_memory(w->r);
	for (size_t i = 0; i < (*dict)->n; i++) {
		if ((*dict)->entries[i].key.kind != VALUE_STRING)
			return run_fail(w->r, "keys that are not texts cannot be sorted");
		sorted->entries[sorted->n++] = (*dict)->entries[i];
	}
	qsort(sorted->entries, sorted->n, sizeof(*sorted->entries), json_entry_order);
	*dict = sorted;
	return 0;
}

/* A list's or dict's members between brackets. */
static int json_put_members(struct json_writer *w, const struct list *list, const struct dict *dict)
{
	size_t n = list ? list->n : dict->n;
	int failed = text_puts(&w->out, list ? "[" : "{");

	if (!failed && dict && w->sorted)
		failed = json_sort(w, &dict);
	w->level++;
	for (size_t i = 0; i < n && !failed; i++) {
		if (i)
			failed = text_put(&w->out, w->item.s, w->item.n);
		if (!failed)
			failed = json_put_line(w);
		if (!failed && dict)
			failed = json_put_key(w, dict->entries[i].key);
		if (!failed)
			failed = json_put_value(w, list ? list->items[i] : dict->entries[i].value);
	}
	w->level--;
	if (!failed && n)
		failed = json_put_line(w);
	return failed ? failed : text_puts(&w->out, list ? "]" : "}");
}

static int json_put_value(struct json_writer *w, struct value v)
{
	int failed = run_charge(w->r, 1 + (v.kind == VALUE_STRING ? v.s.n / 64 : 0));

	if (!failed && w->out.n > w->r->limits.output)
		failed = run_fail(w->r, "it makes more than %zu bytes of text", w->r->limits.output);
	if (failed || (failed = run_enter(w->r)))
		return failed;
	if (v.kind == VALUE_STRING)
		failed = json_put_string(w, v.s);
	else if (v.kind == VALUE_NONE || v.kind == VALUE_BOOL)
		failed = text_puts(&w->out, v.kind == VALUE_NONE ? "null" : v.i ? "true" : "false");
	else if (v.kind == VALUE_FLOAT && !isfinite(v.d))
		failed = text_puts(&w->out, isnan(v.d) ? "NaN" : v.d < 0 ? "-Infinity" : "Infinity");
	else if (v.kind == VALUE_INT || v.kind == VALUE_FLOAT)
		failed = value_repr(w->r, v, &w->out);
	else if (v.kind == VALUE_LIST || v.kind == VALUE_DICT)
		failed = json_put_members(w, v.kind == VALUE_LIST ? v.list : NULL, v.kind == VALUE_DICT ? v.dict : NULL);
	else
		failed = run_fail(w->r, "an object of type %s cannot be JSON", value_type(v));
	run_leave(w->r);
	return failed;
}

static int json_indent(struct json_writer *w, const struct value *indent)
{
	enum { WIDEST = 64 };
	static const char spaces[WIDEST + 1] = "                                                                ";

	if (!indent || indent->kind == VALUE_NONE)
		return 0;
	w->indented = 1;
	w->item = str_of(",");
	if (indent->kind == VALUE_STRING) {
		w->indent = indent->s;
		return 0;
	}
	if (indent->kind != VALUE_INT || indent->i > WIDEST)
		return run_fail(w->r, "the indent of tojson must be a text or a number up to %d", WIDEST);
	w->indent = (struct str){spaces, indent->i > 0 ? (size_t)indent->i : 0};
	return 0;
}

/* Hugging Face's tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False). */
int value_json(struct run *r, struct value v, const struct args *args, struct value *out)
{
	struct json_writer w = {.r = r, .item = str_of(", "), .colon = str_of(": ")};
	const struct value *ascii = args_get(args, 0, "ensure_ascii"), *sort = args_get(args, 3, "sort_keys");
	const struct value *separators = args_get(args, 2, "separators");
	int failed = json_indent(&w, args_get(args, 1, "indent"));

	w.ascii = ascii && value_true(*ascii);
	w.sorted = sort && value_true(*sort);
	if (!failed && separators && separators->kind != VALUE_NONE) {
		if (separators->kind != VALUE_LIST || separators->list->n != 2 ||
		    separators->list->items[0].kind != VALUE_STRING || separators->list->items[1].kind != VALUE_STRING)
			return run_fail(r, "the separators of tojson must be two texts");
		w.item = separators->list->items[0].s;
		w.colon = separators->list->items[1].s;
	}
	if (!failed)
		failed = json_put_value(&w, v);
	if (failed) {
		text_free(&w.out);
		return failed;
	}
	return value_keep(r, &w.out, out);
}
