/* quant-pack.c - weights from GGUF's blocks into panels of codes. */
#include "sdk/nn/quant.h"

#include <string.h>

#include "sdk/nn/blocks.h"

/* Bytes of a block's codes, by enum quant_code. */
static const uint16_t quant_code_bytes[] = { 128, 192, 256, 320, 384, 512, 256 };
/* Bytes of scales behind a block and of a head, by enum quant_scale. */
static const struct {
	uint8_t block, head;
} quant_scale_bytes[] = { { 32, 0 }, { 64, 0 }, { 16, 32 }, { 32, 64 }, { 32, 32 }, { 32, 64 } };

size_t quant_block_bytes(const struct quant_format *f)
{
	return quant_code_bytes[f->code] + (size_t)quant_scale_bytes[f->scale].block;
}

size_t quant_head_bytes(const struct quant_format *f)
{
	return quant_scale_bytes[f->scale].head;
}

size_t quant_panel_bytes(const struct quant_format *f, size_t cols)
{
	const size_t blocks = cols / QUANT_K;

	return (blocks * quant_block_bytes(f) + (blocks + QUANT_SUPER - 1) / QUANT_SUPER * quant_head_bytes(f) + 63) & ~(size_t)63;
}

/* Four codes of a row, as they lie in a line. */
static uint32_t pack_chunk(const uint8_t *code, int j)
{
	uint32_t four;

	memcpy(&four, code + 4 * j, sizeof(four));
	return four;
}

static void pack_line(uint8_t *lines, int line, int row, uint32_t four)
{
	memcpy(lines + QUANT_LINE * line + 4 * row, &four, sizeof(four));
}

/* Bits [from, from + 4) of 32 codes. */
static void pack_4(uint8_t *lines, int row, const uint8_t *code)
{
	for (int j = 0; j < 4; j++)
		pack_line(lines, j, row, (pack_chunk(code, j) & 0x0f0f0f0f) | (pack_chunk(code, j + 4) & 0x0f0f0f0f) << 4);
}

static void pack_2(uint8_t *lines, int row, const uint8_t *code, int from)
{
	for (int line = 0; line < 2; line++) {
		uint32_t sum = 0;

		for (int j = 0; j < 4; j++)
			sum |= (pack_chunk(code, line * 4 + j) >> from & 0x03030303) << (2 * j);
		pack_line(lines, line, row, sum);
	}
}

static void pack_1(uint8_t *lines, int row, const uint8_t *code, int from)
{
	uint32_t sum = 0;

	for (int j = 0; j < 8; j++)
		sum |= (pack_chunk(code, j) >> from & 0x01010101) << j;
	pack_line(lines, 0, row, sum);
}

static void pack_codes(uint8_t *lines, int row, const uint8_t *code, enum quant_code kind)
{
	if (kind == QUANT_CODE_8) {
		for (int j = 0; j < 8; j++)
			pack_line(lines, j, row, pack_chunk(code, j));
		return;
	}
	if (kind == QUANT_CODE_2 || kind == QUANT_CODE_3)
		pack_2(lines, row, code, 0);
	else
		pack_4(lines, row, code);
	if (kind == QUANT_CODE_3)
		pack_1(lines + 2 * QUANT_LINE, row, code, 2);
	if (kind == QUANT_CODE_5)
		pack_1(lines + 4 * QUANT_LINE, row, code, 4);
	if (kind == QUANT_CODE_6)
		pack_2(lines + 4 * QUANT_LINE, row, code, 4);
}

static void pack_f16(uint8_t *to, int row, uint16_t h)
{
	memcpy(to + 2 * row, &h, sizeof(h));
}

/* The scales of block `i` of what was read. */
static void pack_scales(uint8_t *to, int row, const struct quant_codes *c, int i, enum quant_scale kind)
{
	const int8_t *s = c->scale;

	switch (kind) {
	case QUANT_DM:
		pack_f16(to + 2 * QUANT_PANEL, row, c->e);
		/* fall through */
	case QUANT_D:
		pack_f16(to, row, c->d);
		break;
	case QUANT_K32M:
		to[QUANT_PANEL + row] = c->min[i];
		/* fall through */
	case QUANT_K32:
		to[row] = (uint8_t)s[i];
		break;
	case QUANT_K16:
	case QUANT_K16M:
		for (int half = 0; half < 2; half++)
			to[QUANT_PANEL * half + row] = kind == QUANT_K16 ? (uint8_t)s[2 * i + half] :
						       (uint8_t)(s[2 * i + half] | c->min[2 * i + half] << 4);
		break;
	}
}

/* One row into its place in a panel. */
static void pack_row(const struct nn_weight *w, const struct quant_format *f, size_t index, int row, uint8_t *panel)
{
	const uint8_t *from = (const uint8_t *)w->data + index * nn_weight_row_bytes(w);
	const size_t elements = w->format->elements, head = quant_head_bytes(f), lines = quant_code_bytes[f->code];
	const int floats = w->format->ggml_type != f->ggml_type;
	struct quant_codes c;
	float values[256];

	for (size_t k = 0; k < w->cols; k += elements, from += w->format->bytes) {
		if (floats)
			w->format->expand(from, values);
		else
			f->read(from, &c);
		if (head) {
			pack_f16(panel, row, c.d);
			if (head > 2 * QUANT_PANEL)
				pack_f16(panel + 2 * QUANT_PANEL, row, c.e);
			panel += head;
		}
		for (size_t i = 0; i < elements / QUANT_K; i++, panel += quant_block_bytes(f)) {
			if (floats)
				quant_read_floats(values + i * QUANT_K, &c);
			pack_codes(panel, row, c.code + (floats ? 0 : i * QUANT_K), f->code);
			pack_scales(panel + lines, row, &c, (int)i, f->scale);
		}
	}
}

void quant_pack(const struct nn_weight *w, const struct quant_format *f, uint8_t *packed, size_t begin, size_t end)
{
	const size_t bytes = quant_panel_bytes(f, w->cols);

	for (size_t p = begin; p < end; p++) {
		const size_t first = p * QUANT_PANEL, rows = w->rows - first < QUANT_PANEL ? w->rows - first : QUANT_PANEL;

		/* Rows that are not there have scales of 0. */
		if (rows < QUANT_PANEL)
			memset(packed + p * bytes, 0, bytes);
		for (size_t r = 0; r < rows; r++)
			pack_row(w, f, first + r, (int)r, packed + p * bytes);
	}
}
