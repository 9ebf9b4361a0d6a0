/* gguf.c - reading the header of a GGUF file with every length, count, type and offset checked. */
#include "sdk/nn/gguf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GGUF_KEY_MAX = 65535, GGUF_NAME_MAX = 511, GGUF_ALIGNMENT = 32, GGUF_ALIGNMENT_MAX = 1 << 20 };

/* Bytes of a value of each type in enum nn_gguf_type; 0: not of one size. */
static const uint8_t gguf_sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

struct gguf_reader {
	const unsigned char *at, *end, *begin;
	const char *name;
	struct nn_error *error;
};

static size_t gguf_left(const struct gguf_reader *r)
{
	return (size_t)(r->end - r->at);
}

static int gguf_cut(const struct gguf_reader *r, const char *what)
{
	return nn_fail(r->error, -EINVAL, "%s: the file ends inside %s; it is damaged or was not copied whole.", r->name, what);
}

static uint64_t gguf_load(const unsigned char *bytes, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)bytes[i] << (8 * i);
	return v;
}

static int gguf_number(struct gguf_reader *r, size_t bytes, uint64_t *value, const char *what)
{
	*value = 0;
	if (gguf_left(r) < bytes)
		return gguf_cut(r, what);
	*value = gguf_load(r->at, bytes);
	r->at += bytes;
	return 0;
}

static int gguf_text(struct gguf_reader *r, struct nn_gguf_text *text, size_t max, const char *what)
{
	uint64_t n = 0;

	if (gguf_number(r, 8, &n, what))
		return -EINVAL;
	if (n > gguf_left(r))
		return gguf_cut(r, what);
	if (n > max)
		return nn_fail(r->error, -EINVAL, "%s: %s has %llu bytes; at most %zu are allowed.", r->name, what,
			       (unsigned long long)n, max);
	*text = (struct nn_gguf_text){ (const char *)r->at, n };
	r->at += n;
	return 0;
}

/* Steps over an array's elements and notes where they lie. */
static int gguf_array(struct gguf_reader *r, struct nn_gguf_value *v)
{
	struct nn_gguf_text element;
	uint64_t type;

	if (gguf_number(r, 4, &type, "an array's type") || gguf_number(r, 8, &v->n, "an array's length"))
		return -EINVAL;
	if (type == NN_GGUF_ARRAY || type > NN_GGUF_F64)
		return nn_fail(r->error, -EINVAL, "%s: \"%.*s\" is an array of %s.", r->name, (int)v->key.n, v->key.bytes,
			       type == NN_GGUF_ARRAY ? "arrays, which are not allowed" : "an unknown type");
	v->type = (enum nn_gguf_type)type;
	v->is_array = 1;
	v->data = r->at;
	if (type != NN_GGUF_STRING) {
		if (v->n > gguf_left(r) / gguf_sizes[type])
			return gguf_cut(r, "an array");
		r->at += v->n * gguf_sizes[type];
		return 0;
	}
	for (uint64_t i = 0; i < v->n; i++)
		if (gguf_text(r, &element, SIZE_MAX, "an array of strings"))
			return -EINVAL;
	return 0;
}

static int gguf_value(struct gguf_reader *r, struct nn_gguf_value *v)
{
	struct nn_gguf_text text;
	uint64_t type;

	if (gguf_text(r, &v->key, GGUF_KEY_MAX, "a key") || gguf_number(r, 4, &type, "a value's type"))
		return -EINVAL;
	if (!v->key.n || memchr(v->key.bytes, 0, v->key.n))
		return nn_fail(r->error, -EINVAL, "%s: a key is empty or holds a NUL byte.", r->name);
	if (type > NN_GGUF_F64)
		return nn_fail(r->error, -EINVAL, "%s: \"%.*s\" has the unknown type %llu.", r->name, (int)v->key.n,
			       v->key.bytes, (unsigned long long)type);
	if (type == NN_GGUF_ARRAY)
		return gguf_array(r, v);
	v->type = (enum nn_gguf_type)type;
	v->n = 1;
	v->data = r->at;
	if (type == NN_GGUF_STRING)
		return gguf_text(r, &text, SIZE_MAX, "a string");
	if (gguf_left(r) < gguf_sizes[type])
		return gguf_cut(r, "a value");
	if (type == NN_GGUF_BOOL && *r->at > 1)
		return nn_fail(r->error, -EINVAL, "%s: \"%.*s\" is a truth value of %u.", r->name, (int)v->key.n, v->key.bytes,
			       *r->at);
	r->at += gguf_sizes[type];
	return 0;
}

/* Bytes of a tensor whose last dimension is made of whole blocks. */
static int gguf_tensor_bytes(const struct gguf_reader *r, struct nn_gguf_tensor *t)
{
	uint64_t rows = 1, row = t->shape[t->rank - 1], bytes;

	for (uint32_t i = 0; i < t->rank; i++)
		if (!t->shape[i] || t->shape[i] > INT64_MAX)
			return nn_fail(r->error, -EINVAL, "%s: tensor \"%.*s\" has a dimension of %llu.", r->name, (int)t->name.n,
				       t->name.bytes, (unsigned long long)t->shape[i]);
	if (row % t->format->elements)
		return nn_fail(r->error, -EINVAL, "%s: tensor \"%.*s\" has rows of %llu values, no multiple of %s's %u.", r->name,
			       (int)t->name.n, t->name.bytes, (unsigned long long)row, t->format->name, t->format->elements);
	int over = __builtin_mul_overflow(row / t->format->elements, (uint64_t)t->format->bytes, &bytes);

	for (uint32_t i = 0; i + 1 < t->rank; i++)
		over |= __builtin_mul_overflow(rows, t->shape[i], &rows);
	if (over || __builtin_mul_overflow(bytes, rows, &t->bytes) || t->bytes > INT64_MAX)
		return nn_fail(r->error, -EINVAL, "%s: tensor \"%.*s\" is larger than any file.", r->name, (int)t->name.n,
			       t->name.bytes);
	return 0;
}

/* One tensor's entry; its offset is kept in `data` as a number until the data's place is known. */
static int gguf_tensor(struct gguf_reader *r, struct nn_gguf_tensor *t)
{
	uint64_t rank, type, offset;

	if (gguf_text(r, &t->name, GGUF_NAME_MAX, "a tensor's name") || gguf_number(r, 4, &rank, "a tensor's rank"))
		return -EINVAL;
	if (!t->name.n || memchr(t->name.bytes, 0, t->name.n))
		return nn_fail(r->error, -EINVAL, "%s: a tensor's name is empty or holds a NUL byte.", r->name);
	if (!rank || rank > 4)
		return nn_fail(r->error, -EINVAL, "%s: tensor \"%.*s\" has %llu dimensions; 1 to 4 are allowed.", r->name,
			       (int)t->name.n, t->name.bytes, (unsigned long long)rank);
	t->rank = (uint32_t)rank;
	for (uint32_t i = 0; i < t->rank; i++)
		if (gguf_number(r, 8, &t->shape[t->rank - 1 - i], "a tensor's dimensions"))
			return -EINVAL;
	if (gguf_number(r, 4, &type, "a tensor's type") || gguf_number(r, 8, &offset, "a tensor's offset"))
		return -EINVAL;
	t->format = nn_block_format((uint32_t)type);
	if (!t->format)
		return nn_fail(r->error, -EINVAL, "%s: tensor \"%.*s\" is of type %llu, which this version does not know.", r->name,
			       (int)t->name.n, t->name.bytes, (unsigned long long)type);
	t->data = (const unsigned char *)(uintptr_t)offset;
	return gguf_tensor_bytes(r, t);
}

static int gguf_text_compare(const struct nn_gguf_text *a, const struct nn_gguf_text *b)
{
	int order = memcmp(a->bytes, b->bytes, a->n < b->n ? a->n : b->n);

	return order ? order : (a->n > b->n) - (a->n < b->n);
}

/* Both kinds of entry begin with their name. */
static int gguf_entry_compare(const void *a, const void *b)
{
	return gguf_text_compare(a, b);
}

/* Sorted by name: duplicates lie side by side. */
static int gguf_unique(const struct gguf_reader *r, void *entries, size_t n, size_t size, const char *what)
{
	if (n)
		qsort(entries, n, size, gguf_entry_compare);
	for (size_t i = 1; i < n; i++) {
		const struct nn_gguf_text *a = (const void *)((char *)entries + (i - 1) * size);

		if (!gguf_entry_compare(a, (char *)entries + i * size))
			return nn_fail(r->error, -EINVAL, "%s: %s \"%.*s\" is there twice.", r->name, what, (int)a->n, a->bytes);
	}
	return 0;
}

/* Room for one entry more; grows as entries really come. */
static void *gguf_grow(void *entries, uint64_t n, size_t size)
{
	if (n & (n - 1) || (n && n < 8))
		return entries;
	return realloc(entries, (size_t)(n < 8 ? 8 : 2 * n) * size);
}

static int gguf_values(struct gguf_reader *r, struct nn_gguf *g, uint64_t count)
{
	while (g->n_values < count) {
		void *grown = gguf_grow(g->values, g->n_values, sizeof(*g->values));

		if (!grown)
			return nn_fail(r->error, -ENOMEM, "%s: memory is out.", r->name);
		g->values = grown;
		g->values[g->n_values] = (struct nn_gguf_value){ 0 };
		if (gguf_value(r, &g->values[g->n_values]))
			return -EINVAL;
		g->n_values++;
	}
	return gguf_unique(r, g->values, g->n_values, sizeof(*g->values), "key");
}

static int gguf_tensors(struct gguf_reader *r, struct nn_gguf *g, uint64_t count)
{
	while (g->n_tensors < count) {
		void *grown = gguf_grow(g->tensors, g->n_tensors, sizeof(*g->tensors));

		if (!grown)
			return nn_fail(r->error, -ENOMEM, "%s: memory is out.", r->name);
		g->tensors = grown;
		g->tensors[g->n_tensors] = (struct nn_gguf_tensor){ 0 };
		if (gguf_tensor(r, &g->tensors[g->n_tensors]))
			return -EINVAL;
		g->n_tensors++;
	}
	return gguf_unique(r, g->tensors, g->n_tensors, sizeof(*g->tensors), "tensor");
}

static int gguf_offset_compare(const void *a, const void *b)
{
	const struct nn_gguf_tensor *x = a, *y = b;

	return (x->data > y->data) - (x->data < y->data);
}

/* Offsets become places; each within the file, aligned, and after the one before. Leaves the tensors in file order. */
static int gguf_place(struct gguf_reader *r, struct nn_gguf *g, size_t alignment)
{
	size_t start = (size_t)(r->at - r->begin), size = (size_t)(r->end - r->begin);
	uint64_t used = 0;

	g->header_bytes = start;
	start = (start + alignment - 1) / alignment * alignment;
	if (g->n_tensors && start > size)
		return gguf_cut(r, "the padding behind the header");
	if (g->n_tensors)
		qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), gguf_offset_compare);
	for (uint64_t i = 0; i < g->n_tensors; i++) {
		struct nn_gguf_tensor *t = &g->tensors[i];
		uint64_t offset = (uintptr_t)t->data;

		if (offset % alignment || offset < used)
			return nn_fail(r->error, -EINVAL, "%s: tensor \"%.*s\" at offset %llu is %s.", r->name, (int)t->name.n,
				       t->name.bytes, (unsigned long long)offset,
				       offset % alignment ? "not aligned" : "inside another tensor");
		if (offset > size - start || t->bytes > size - start - offset)
			return nn_fail(r->error, -EINVAL, "%s: the data of tensor \"%.*s\" goes past the end of the file; it is "
				       "damaged or was not copied whole.", r->name, (int)t->name.n, t->name.bytes);
		used = offset + t->bytes;
		t->data = r->begin + start + offset;
	}
	return 0;
}

static int gguf_alignment(const struct gguf_reader *r, const struct nn_gguf *g, size_t *alignment)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, "general.alignment");
	double n = v ? nn_gguf_number(v, 0) : GGUF_ALIGNMENT;

	if (v && (v->is_array || v->type != NN_GGUF_U32 || n < 1 || n > GGUF_ALIGNMENT_MAX || ((size_t)n & ((size_t)n - 1))))
		return nn_fail(r->error, -EINVAL, "%s: \"general.alignment\" must be a power of two up to %d.", r->name,
			       GGUF_ALIGNMENT_MAX);
	*alignment = (size_t)n;
	return 0;
}

static int gguf_header(struct gguf_reader *r, struct nn_gguf *g)
{
	uint64_t magic, version, tensors, values;
	size_t alignment = GGUF_ALIGNMENT;

	if (gguf_number(r, 4, &magic, "its first bytes"))
		return -EINVAL;
	if (magic != 0x46554747)
		return nn_fail(r->error, -EINVAL, "%s: is no GGUF file.", r->name);
	if (gguf_number(r, 4, &version, "the header"))
		return -EINVAL;
	if (version != 2 && version != 3)
		return nn_fail(r->error, -EINVAL, "%s: is GGUF version %llu%s; versions 2 and 3 can be read.", r->name,
			       (unsigned long long)version, version & 0xffff ? "" : " (big-endian)");
	g->version = (uint32_t)version;
	if (gguf_number(r, 8, &tensors, "the header") || gguf_number(r, 8, &values, "the header"))
		return -EINVAL;
	/* The smallest entry has 12 bytes. */
	if (tensors > gguf_left(r) / 12 || values > gguf_left(r) / 12)
		return nn_fail(r->error, -EINVAL, "%s: announces %llu tensors and %llu values, more than the file can hold.", r->name,
			       (unsigned long long)tensors, (unsigned long long)values);
	int err = gguf_values(r, g, values);

	if (!err)
		err = gguf_alignment(r, g, &alignment);
	if (!err)
		err = gguf_tensors(r, g, tensors);
	return err ? err : gguf_place(r, g, alignment);
}

int nn_gguf_parse(struct nn_gguf *g, const unsigned char *bytes, size_t size, const char *name, struct nn_error *error)
{
	struct gguf_reader r = { bytes, bytes + size, bytes, name, error };
	int err;

	*g = (struct nn_gguf){ 0 };
	err = gguf_header(&r, g);
	if (err)
		nn_gguf_fini(g);
	return err;
}

void nn_gguf_fini(struct nn_gguf *g)
{
	free(g->values);
	free(g->tensors);
	*g = (struct nn_gguf){ 0 };
}

const struct nn_gguf_value *nn_gguf_value(const struct nn_gguf *g, const char *key)
{
	struct nn_gguf_value want = { .key = { key, strlen(key) } };

	return g->n_values ? bsearch(&want, g->values, g->n_values, sizeof(want), gguf_entry_compare) : NULL;
}

double nn_gguf_number(const struct nn_gguf_value *v, uint64_t i)
{
	uint64_t bits = gguf_load(v->data + i * gguf_sizes[v->type], gguf_sizes[v->type]);
	uint32_t half = (uint32_t)bits;
	double wide;
	float narrow;

	switch (v->type) {
	case NN_GGUF_I8: return (int8_t)bits;
	case NN_GGUF_I16: return (int16_t)bits;
	case NN_GGUF_I32: return (int32_t)bits;
	case NN_GGUF_I64: return (double)(int64_t)bits;
	case NN_GGUF_F32: memcpy(&narrow, &half, 4); return narrow;
	case NN_GGUF_F64: memcpy(&wide, &bits, 8); return wide;
	case NN_GGUF_STRING: case NN_GGUF_ARRAY: return 0;
	default: return (double)bits;
	}
}

struct nn_gguf_text nn_gguf_next_text(const unsigned char **at)
{
	struct nn_gguf_text text = { (const char *)*at + 8, gguf_load(*at, 8) };

	*at += 8 + text.n;
	return text;
}
