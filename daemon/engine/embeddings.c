/* embeddings.c - checks what encoders and connectors give, and keeps a copy. */
#include "daemon/engine/embeddings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/size.h"

#define EMBEDDINGS_MAX_ROWS (1u << 20)
#define EMBEDDINGS_MAX_PIECES (1u << 16)
#define EMBEDDINGS_MAX_TEXT 65536
#define EMBEDDINGS_MAX_VALUES ((size_t)1 << 31)

void embeddings_fini(struct embeddings *embeddings)
{
	for (uint32_t i = 0; embeddings->pieces && i < embeddings->n_pieces; i++)
		free((char *)embeddings->pieces[i].text);
	free(embeddings->pieces);
	free(embeddings->data);
	free(embeddings->positions);
	free(embeddings->told);
	if (embeddings->memory)
		embeddings->lane->fusion_ops->forget(embeddings->lane->connector->instance, embeddings->memory);
	*embeddings = (struct embeddings){0};
}

static int embeddings_finite(const float *data, size_t n)
{
	float sum = 0;

	/* 0 * x is 0 for finite x, else not a number. */
	for (size_t i = 0; i < n; i++)
		sum += 0 * data[i];
	return sum == 0;
}

int embeddings_check_layout(const struct call *call, const struct lane *lane, const struct percept_layout *layout,
			    struct wire_error *error)
{
	size_t rows, values;

	if (layout->dim != lane->encoder_info.dim)
		return call_broken(call, error, "its features have %u values a token, but its info() says %u", layout->dim,
				   lane->encoder_info.dim);
	if (layout->items == 0 || layout->tokens == 0 || !size_mul(layout->items, layout->tokens, &rows) ||
	    !size_mul(rows, layout->dim, &values) || rows > EMBEDDINGS_MAX_ROWS || values > EMBEDDINGS_MAX_VALUES)
		return call_broken(call, error, "its features are %u pieces of %u tokens", layout->items, layout->tokens);
	return 0;
}

int embeddings_check_features(const struct call *call, const struct lane *lane, const struct percept_features *features,
			      struct wire_error *error)
{
	const struct percept_layout *layout = &features->layout;
	int r = embeddings_check_layout(call, lane, layout, error);

	if (r)
		return r;
	size_t values = (size_t)layout->items * layout->tokens * layout->dim;

	if (!features->data)
		return call_broken(call, error, "its features have no data");
	if (!embeddings_finite(features->data, values))
		return call_broken(call, error, "its features are not all finite numbers");
	if (features->pooled && (features->pooled_dim == 0 || features->pooled_dim > EMBEDDINGS_MAX_ROWS))
		return call_broken(call, error, "its pooled vector has %llu values", (unsigned long long)features->pooled_dim);
	if (features->n_extra != lane->encoder_info.n_extra || (features->n_extra && !features->extra))
		return call_broken(call, error, "it gives %u further feature maps, but its info() says %u", features->n_extra,
				   lane->encoder_info.n_extra);
	for (uint32_t i = 0; i < features->n_extra; i++)
		if (!features->extra[i] || !embeddings_finite(features->extra[i], values))
			return call_broken(call, error, "its further feature maps are not all finite numbers");
	return 0;
}

static int embeddings_check(const struct call *call, const struct lane *lane, const struct percept_embeddings *answer,
			    int planned, struct wire_error *error)
{
	if (answer->dim != lane->connector_info.out_dim)
		return call_broken(call, error, "its embeddings have %u values, but its info() says %u", answer->dim,
				   lane->connector_info.out_dim);
	if (answer->n > EMBEDDINGS_MAX_ROWS || answer->n_pieces > EMBEDDINGS_MAX_PIECES || (answer->n_pieces && !answer->pieces) ||
	    answer->position_span > EMBEDDINGS_MAX_ROWS)
		return call_broken(call, error, "it gives %u rows in %u pieces", answer->n, answer->n_pieces);
	if (!planned && answer->n && !answer->data)
		return call_broken(call, error, "its embeddings have no data");
	if (!planned && !embeddings_finite(answer->data, (size_t)answer->n * answer->dim))
		return call_broken(call, error, "its embeddings are not all finite numbers");
	for (size_t i = 0; answer->positions && i < (size_t)answer->n * 4; i++)
		if (answer->positions[i] < 0 || answer->positions[i] >= (int32_t)EMBEDDINGS_MAX_ROWS)
			return call_broken(call, error, "the position of its row %zu is %d", i / 4, answer->positions[i]);
	for (uint32_t i = 0; i < answer->n_pieces; i++) {
		const struct percept_piece *piece = &answer->pieces[i];

		if (piece->kind == PERCEPT_PIECE_ROWS && (piece->first > answer->n || piece->count > answer->n - piece->first))
			return call_broken(call, error, "its piece %u is rows %u to %u of %u", i, piece->first,
					   piece->first + piece->count, answer->n);
		if ((piece->kind == PERCEPT_PIECE_TEXT || piece->kind == PERCEPT_PIECE_MARKER) &&
		    (!piece->text || strnlen(piece->text, EMBEDDINGS_MAX_TEXT) == EMBEDDINGS_MAX_TEXT))
			return call_broken(call, error, "its piece %u has no text, or too long a one", i);
		if (piece->kind != PERCEPT_PIECE_ROWS && piece->kind != PERCEPT_PIECE_TEXT &&
		    (piece->kind != PERCEPT_PIECE_MARKER || !lane->fusion_ops))
			return call_broken(call, error, "its piece %u is of the unknown kind %u", i, (unsigned)piece->kind);
	}
	return 0;
}

static int embeddings_copy_pieces(const struct percept_embeddings *answer, struct embeddings *copy)
{
	uint32_t n = answer->n_pieces ? answer->n_pieces : 1;

	copy->pieces = calloc(n, sizeof(*copy->pieces));
	if (!copy->pieces)
		return -1;
	copy->n_pieces = n;
	copy->bytes += n * sizeof(*copy->pieces);
	if (answer->n_pieces == 0)
		copy->pieces[0] = (struct percept_piece){.kind = PERCEPT_PIECE_ROWS, .count = answer->n};
	for (uint32_t i = 0; i < answer->n_pieces; i++) {
		copy->pieces[i] = answer->pieces[i];
		copy->pieces[i].text = NULL;
		if (answer->pieces[i].kind != PERCEPT_PIECE_ROWS && !(copy->pieces[i].text = strdup(answer->pieces[i].text)))
			return -1;
	}
	return 0;
}

static void *embeddings_memory(const void *from, size_t bytes, struct embeddings *copy)
{
	void *memory = malloc(bytes ? bytes : 1);

	copy->bytes += bytes;
	return memory ? memcpy(memory, from, bytes) : NULL;
}

int embeddings_copy(const struct call *call, const struct lane *lane, const struct percept_embeddings *answer, int planned,
		    struct embeddings *copy, struct wire_error *error)
{
	int r = embeddings_check(call, lane, answer, planned, error);

	*copy = (struct embeddings){.n = answer->n, .dim = answer->dim, .position_span = answer->position_span};
	if (r)
		return r;
	if (embeddings_copy_pieces(answer, copy))
		goto fail;
	if (answer->n && answer->data &&
	    !(copy->data = embeddings_memory(answer->data, (size_t)answer->n * answer->dim * sizeof(float), copy)))
		goto fail;
	if (answer->n && answer->positions &&
	    !(copy->positions = embeddings_memory(answer->positions, (size_t)answer->n * 4 * sizeof(int32_t), copy)))
		goto fail;
	return 0;
fail:
	embeddings_fini(copy);
	return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
}
