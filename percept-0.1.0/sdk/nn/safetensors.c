/* safetensors.c - the header of a .safetensors file, byte by byte.
 *
 * A file is the header's length (8 bytes, little-endian), the header (a JSON object: name -> dtype, shape, data_offsets), and
 * the data, of which every byte belongs to exactly one tensor.
 */
#include "sdk/nn/safetensors.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ST_PREFIX = 8, ST_HEADER_MAX = 32 << 20, ST_DEPTH_MAX = 8, ST_COMMAS_MAX = 4 << 20, ST_NAME_MAX = 1024 };

struct st_dtype {
	const char *name;
	enum nn_type type;
	uint32_t bits;
};

static const struct st_dtype st_dtypes[] = {
	{ "F32", NN_F32, 32 },	      { "F16", NN_F16, 16 },	    { "BF16", NN_BF16, 16 },  { "I32", NN_I32, 32 },
	{ "U8", NN_U8, 8 },	      { "I64", NN_I64, 64 },	    { "F64", NN_OTHER, 64 },  { "I16", NN_OTHER, 16 },
	{ "I8", NN_OTHER, 8 },	      { "BOOL", NN_OTHER, 8 },	    { "U16", NN_OTHER, 16 },  { "U32", NN_OTHER, 32 },
	{ "U64", NN_OTHER, 64 },      { "F8_E4M3", NN_OTHER, 8 },   { "F8_E5M2", NN_OTHER, 8 },
};

/* A tensor's place, while the header is read. */
struct st_entry {
	struct nn_weight weight;
	uint64_t begin, end;
};

struct st_parse {
	const char *file;
	struct nn_error *error;
	uint64_t data_bytes;
	struct st_entry *entries;
	size_t n;
};

/* The length of the UTF-8 character at s[n], 0 if it is none. */
static size_t st_utf8_length(const unsigned char *s, size_t n)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

	for (size_t i = 0; i < 4; i++) {
		if ((s[0] & forms[i].mask) != forms[i].lead)
			continue;
		uint32_t code = s[0] & (unsigned char)~forms[i].mask;

		if (i + 1 > n)
			return 0;
		for (size_t j = 1; j <= i; j++) {
			if ((s[j] & 0xc0) != 0x80)
				return 0;
			code = code << 6 | (s[j] & 0x3f);
		}
		return code >= forms[i].least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? i + 1 : 0;
	}
	return 0;
}

/* Text that a JSON reader may be given: valid UTF-8, no control characters, depth and number of values bounded. */
static const char *st_check_text(const unsigned char *s, size_t n)
{
	size_t depth = 0, commas = 0, step;
	int quoted = 0;

	for (size_t i = 0; i < n; i += step) {
		step = st_utf8_length(s + i, n - i);
		if (!step)
			return "is not valid UTF-8";
		if (s[i] < 0x20 && (quoted || !memchr("\t\n\r", s[i], 3)))
			return "has control characters";
		if (quoted) {
			if (s[i] == '\\' && i + 1 < n && s[i + 1] < 0x80)
				step++;
			else if (s[i] == '"')
				quoted = 0;
			continue;
		}
		quoted = s[i] == '"';
		commas += s[i] == ',';
		depth += s[i] == '{' || s[i] == '[';
		if (depth > ST_DEPTH_MAX || commas > ST_COMMAS_MAX)
			return "is nested too deeply or has too many values";
		if ((s[i] == '}' || s[i] == ']') && depth)
			depth--;
	}
	return NULL;
}

/* A whole number from 0 to 2^53; -1 if it is none. */
static int64_t st_number(const cJSON *value)
{
	if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble <= 9007199254740992.0))
		return -1;
	int64_t n = (int64_t)value->valuedouble;

	return (double)n == value->valuedouble ? n : -1;
}

/* Member `name`, or NULL if it is missing or there twice. */
static const cJSON *st_member(const cJSON *object, const char *name)
{
	const cJSON *found = NULL;

	for (const cJSON *m = object->child; m; m = m->next) {
		if (strcmp(m->string, name))
			continue;
		if (found)
			return NULL;
		found = m;
	}
	return found;
}

static int st_bad(struct st_parse *p, const char *name, const char *what)
{
	return nn_fail(p->error, -EINVAL, "%s: the header's entry for tensor \"%.200s\" %s.", p->file, name, what);
}

static int st_shape(struct st_parse *p, struct st_entry *e, const cJSON *shape, uint64_t *elements)
{
	struct nn_weight *w = &e->weight;
	uint64_t rows = 1, cols = 1;

	if (!cJSON_IsArray(shape))
		return st_bad(p, w->name, "has no valid shape");
	for (const cJSON *d = shape->child; d; d = d->next) {
		int64_t n = st_number(d);

		if (n < 0)
			return st_bad(p, w->name, "has a dimension that is not a whole number");
		if (w->rank == NN_RANK)
			return st_bad(p, w->name, "has too many dimensions");
		if (w->rank == 0)
			rows = (uint64_t)n;
		else if (__builtin_mul_overflow(cols, (uint64_t)n, &cols))
			return st_bad(p, w->name, "has a shape that is too large");
		w->shape[w->rank++] = (uint64_t)n;
	}
	if (__builtin_mul_overflow(rows, cols, elements) || *elements > SIZE_MAX / 64)
		return st_bad(p, w->name, "has a shape that is too large");
	w->rows = rows;
	w->cols = cols;
	return 0;
}

static int st_offsets(struct st_parse *p, struct st_entry *e, const cJSON *offsets)
{
	const cJSON *first = cJSON_IsArray(offsets) ? offsets->child : NULL;
	int64_t begin = first ? st_number(first) : -1;
	int64_t end = first && first->next && !first->next->next ? st_number(first->next) : -1;

	if (begin < 0 || end < begin)
		return st_bad(p, e->weight.name, "has no valid data_offsets");
	if ((uint64_t)end > p->data_bytes)
		return nn_fail(p->error, -EINVAL,
			       "%s: the data of tensor \"%.200s\" ends after the end of the file; the file is cut short.",
			       p->file, e->weight.name);
	e->begin = (uint64_t)begin;
	e->end = (uint64_t)end;
	e->weight.bytes = (size_t)(end - begin);
	return 0;
}

static int st_tensor(struct st_parse *p, struct st_entry *e, const cJSON *object)
{
	const cJSON *dtype = st_member(object, "dtype");
	uint64_t elements = 0;

	if (!cJSON_IsString(dtype))
		return st_bad(p, e->weight.name, "has no valid dtype");
	if (st_shape(p, e, st_member(object, "shape"), &elements) ||
	    st_offsets(p, e, st_member(object, "data_offsets")))
		return -EINVAL;
	e->weight.type = NN_OTHER;
	for (size_t i = 0; i < sizeof(st_dtypes) / sizeof(*st_dtypes); i++) {
		if (strcmp(dtype->valuestring, st_dtypes[i].name))
			continue;
		e->weight.type = st_dtypes[i].type;
		if (elements * (st_dtypes[i].bits / 8) != e->end - e->begin)
			return st_bad(p, e->weight.name, "has a shape that does not fit its data_offsets");
	}
	return 0;
}

static int st_name(struct st_parse *p, struct st_entry *e, const char *name)
{
	size_t n = strlen(name);

	if (!n || n > ST_NAME_MAX)
		return nn_fail(p->error, -EINVAL, "%s: the header has a tensor with an empty or too long name.", p->file);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return nn_fail(p->error, -EINVAL, "%s: the header has a tensor whose name has control characters.",
				       p->file);
	e->weight.name = strdup(name);
	return e->weight.name ? 0 : nn_fail(p->error, -ENOMEM, "%s: memory is out.", p->file);
}

static int st_entries(struct st_parse *p, const cJSON *root)
{
	size_t n = (size_t)cJSON_GetArraySize(root);

	p->entries = calloc(n ? n : 1, sizeof(*p->entries));
	if (!p->entries)
		return nn_fail(p->error, -ENOMEM, "%s: memory is out.", p->file);
	for (const cJSON *m = root->child; m; m = m->next) {
		if (!cJSON_IsObject(m))
			return st_bad(p, m->string, "is not an object");
		if (!strcmp(m->string, "__metadata__"))
			continue;
		struct st_entry *e = &p->entries[p->n];
		int err = st_name(p, e, m->string);

		if (err)
			return err;
		p->n++;
		if (st_tensor(p, e, m))
			return -EINVAL;
	}
	return 0;
}

static int st_compare_names(const void *a, const void *b)
{
	const struct st_entry *x = a, *y = b;

	return strcmp(x->weight.name, y->weight.name);
}

static int st_compare_places(const void *a, const void *b)
{
	const struct st_entry *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return strcmp(x->weight.name, y->weight.name);
}

/* No name twice; every byte of the data belongs to exactly one tensor. */
static int st_check_all(struct st_parse *p)
{
	uint64_t at = 0;

	qsort(p->entries, p->n, sizeof(*p->entries), st_compare_names);
	for (size_t i = 1; i < p->n; i++)
		if (!strcmp(p->entries[i - 1].weight.name, p->entries[i].weight.name))
			return st_bad(p, p->entries[i].weight.name, "is there twice");
	qsort(p->entries, p->n, sizeof(*p->entries), st_compare_places);
	for (size_t i = 0; i < p->n; i++) {
		if (p->entries[i].begin < at)
			return st_bad(p, p->entries[i].weight.name, "overlaps another tensor's data");
		if (p->entries[i].begin > at)
			return st_bad(p, p->entries[i].weight.name, "leaves a gap before its data");
		at = p->entries[i].end;
	}
	if (at != p->data_bytes)
		return nn_fail(p->error, -EINVAL, "%s: %llu bytes at the end of the file belong to no tensor.", p->file,
			       (unsigned long long)(p->data_bytes - at));
	return 0;
}

static int st_weights(struct st_parse *p, struct nn_safetensors *st, const unsigned char *data)
{
	st->weights = calloc(p->n ? p->n : 1, sizeof(*st->weights));
	if (!st->weights)
		return nn_fail(p->error, -ENOMEM, "%s: memory is out.", p->file);
	for (; st->n < p->n; st->n++) {
		st->weights[st->n] = p->entries[st->n].weight;
		st->weights[st->n].data = data + p->entries[st->n].begin;
		p->entries[st->n].weight.name = NULL;
	}
	return 0;
}

static int st_header(struct st_parse *p, const unsigned char *text, size_t n, cJSON **root)
{
	const char *end = NULL, *bad = n && text[0] == '{' ? st_check_text(text, n) : "does not begin with {";

	*root = bad ? NULL : cJSON_ParseWithLengthOpts((const char *)text, n, &end, 0);
	if (!bad && (!*root || !cJSON_IsObject(*root)))
		bad = "is not valid JSON";
	for (; !bad && end < (const char *)text + n; end++)
		if (!memchr(" \t\n\r", *end, 4))
			bad = "has text after its end";
	return bad ? nn_fail(p->error, -EINVAL, "%s: the safetensors header %s; the file is damaged or of another format.",
			     p->file, bad) :
		     0;
}

int nn_safetensors_parse(struct nn_safetensors *st, const unsigned char *bytes, size_t size, const char *name,
			 struct nn_error *error)
{
	struct st_parse p = { .file = name, .error = error };
	uint64_t n = 0;
	cJSON *root = NULL;

	*st = (struct nn_safetensors){ 0 };
	if (size < ST_PREFIX)
		return nn_fail(error, -EINVAL, "%s: %zu bytes are too few for a safetensors file.", name, size);
	for (int i = 0; i < ST_PREFIX; i++)
		n |= (uint64_t)bytes[i] << (8 * i);
	if (n > ST_HEADER_MAX)
		return nn_fail(error, -EINVAL, "%s: the safetensors header would have %llu bytes; at most %d are allowed.",
			       name, (unsigned long long)n, (int)ST_HEADER_MAX);
	if (n > size - ST_PREFIX)
		return nn_fail(error, -EINVAL, "%s: the file ends within its header; it is cut short.", name);
	p.data_bytes = size - ST_PREFIX - n;
	st->header_bytes = ST_PREFIX + n;
	int err = st_header(&p, bytes + ST_PREFIX, n, &root);

	if (!err)
		err = st_entries(&p, root);
	if (!err)
		err = st_check_all(&p);
	if (!err)
		err = st_weights(&p, st, bytes + st->header_bytes);
	for (size_t i = 0; p.entries && i < p.n; i++)
		free((char *)p.entries[i].weight.name);
	free(p.entries);
	cJSON_Delete(root);
	return err;
}

void nn_safetensors_fini(struct nn_safetensors *st)
{
	for (size_t i = 0; i < st->n; i++)
		free((char *)st->weights[i].name);
	free(st->weights);
	*st = (struct nn_safetensors){ 0 };
}
