/* gguf-write.c - encoding of GGUF's header, and its data in order. Little-endian, like the machines that this runs on. */
#include "sdk/nn/gguf-write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WRITE_ALIGN = 32 };

/* Appends to a buffer that grows by doubling: its capacity is the power of two above its size. */
static void write_append(struct nn_gguf_writer *w, unsigned char **to, size_t *size, const void *bytes, size_t n)
{
	size_t capacity = 4096;

	if (w->error || !n)
		return;
	while (capacity < *size)
		capacity *= 2;
	if (!*to || *size + n > capacity) {
		while (capacity < *size + n)
			capacity *= 2;
		unsigned char *more = realloc(*to, capacity);

		if (!more) {
			w->error = -ENOMEM;
			return;
		}
		*to = more;
	}
	memcpy(*to + *size, bytes, n);
	*size += n;
}

void nn_gguf_write_bytes(struct nn_gguf_writer *w, const void *bytes, size_t n)
{
	write_append(w, &w->values, &w->values_n, bytes, n);
}

void nn_gguf_write_element(struct nn_gguf_writer *w, const char *text, size_t n)
{
	const uint64_t length = n;

	nn_gguf_write_bytes(w, &length, sizeof(length));
	nn_gguf_write_bytes(w, text, n);
}

static void write_key(struct nn_gguf_writer *w, const char *key, size_t n, uint32_t type)
{
	nn_gguf_write_element(w, key, n);
	nn_gguf_write_bytes(w, &type, sizeof(type));
	w->n_values++;
}

void nn_gguf_write_text(struct nn_gguf_writer *w, const char *key, const char *text, size_t n)
{
	write_key(w, key, strlen(key), NN_GGUF_STRING);
	nn_gguf_write_element(w, text, n);
}

void nn_gguf_write_u32(struct nn_gguf_writer *w, const char *key, uint32_t value)
{
	write_key(w, key, strlen(key), NN_GGUF_U32);
	nn_gguf_write_bytes(w, &value, sizeof(value));
}

void nn_gguf_write_f32(struct nn_gguf_writer *w, const char *key, float value)
{
	write_key(w, key, strlen(key), NN_GGUF_F32);
	nn_gguf_write_bytes(w, &value, sizeof(value));
}

void nn_gguf_write_bool(struct nn_gguf_writer *w, const char *key, int value)
{
	const unsigned char byte = value != 0;

	write_key(w, key, strlen(key), NN_GGUF_BOOL);
	nn_gguf_write_bytes(w, &byte, 1);
}

static void write_array_head(struct nn_gguf_writer *w, uint32_t type, uint64_t n)
{
	nn_gguf_write_bytes(w, &type, sizeof(type));
	nn_gguf_write_bytes(w, &n, sizeof(n));
}

void nn_gguf_write_array(struct nn_gguf_writer *w, const char *key, enum nn_gguf_type type, uint64_t n)
{
	write_key(w, key, strlen(key), NN_GGUF_ARRAY);
	write_array_head(w, type, n);
}

void nn_gguf_write_copy(struct nn_gguf_writer *w, const struct nn_gguf_value *v)
{
	static const unsigned char sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
	const unsigned char *end = v->data;

	write_key(w, v->key.bytes, v->key.n, v->is_array ? NN_GGUF_ARRAY : v->type);
	if (v->is_array)
		write_array_head(w, v->type, v->n);
	for (uint64_t i = 0; v->type == NN_GGUF_STRING && i < (v->is_array ? v->n : 1); i++)
		nn_gguf_next_text(&end);
	if (v->type != NN_GGUF_STRING)
		end += sizes[v->type] * (v->is_array ? v->n : 1);
	nn_gguf_write_bytes(w, v->data, (size_t)(end - v->data));
}

static void write_listed(struct nn_gguf_writer *w, const void *bytes, size_t n)
{
	write_append(w, &w->tensors, &w->tensors_n, bytes, n);
}

uint64_t nn_gguf_write_tensor(struct nn_gguf_writer *w, const char *name, size_t n, const struct nn_block_format *format,
			      uint32_t rank, const uint64_t *shape)
{
	const uint64_t length = n;
	uint64_t elements = 1;

	write_listed(w, &length, sizeof(length));
	write_listed(w, name, n);
	write_listed(w, &rank, sizeof(rank));
	for (uint32_t i = rank; i-- > 0;) {
		write_listed(w, &shape[i], sizeof(shape[i]));
		elements *= shape[i];
	}
	const uint64_t bytes = elements / format->elements * format->bytes;

	write_listed(w, &format->ggml_type, sizeof(format->ggml_type));
	write_listed(w, &w->offset, sizeof(w->offset));
	w->offset += (bytes + WRITE_ALIGN - 1) / WRITE_ALIGN * WRITE_ALIGN;
	w->n_tensors++;
	return bytes;
}

static void write_file(struct nn_gguf_writer *w, FILE *file, const void *bytes, size_t n)
{
	if (!w->error && n && fwrite(bytes, 1, n, file) != n)
		w->error = errno ? -errno : -EIO;
}

static void write_pad(struct nn_gguf_writer *w, FILE *file)
{
	static const unsigned char zero[WRITE_ALIGN];
	const long at = w->error ? 0 : ftell(file);

	if (at < 0)
		w->error = -errno;
	else
		write_file(w, file, zero, (size_t)(-at & (WRITE_ALIGN - 1)));
}

void nn_gguf_write_header(struct nn_gguf_writer *w, FILE *file)
{
	const uint32_t version = 3;

	write_file(w, file, "GGUF", 4);
	write_file(w, file, &version, sizeof(version));
	write_file(w, file, &w->n_tensors, sizeof(w->n_tensors));
	write_file(w, file, &w->n_values, sizeof(w->n_values));
	write_file(w, file, w->values, w->values_n);
	write_file(w, file, w->tensors, w->tensors_n);
	write_pad(w, file);
}

void nn_gguf_write_data(struct nn_gguf_writer *w, FILE *file, const void *data, size_t n, int last)
{
	write_file(w, file, data, n);
	if (last)
		write_pad(w, file);
}

void nn_gguf_write_fini(struct nn_gguf_writer *w)
{
	free(w->values);
	free(w->tensors);
	*w = (struct nn_gguf_writer){ 0 };
}
