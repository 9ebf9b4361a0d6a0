/* quant.h - weights that stay codes, and products with them in integers. Only files of sdk/nn include this.
 *
 * A weight is scale * code + offset, with scale and offset of 32 or 16 weights that follow each other in a row. Its packed
 * copy is panels of QUANT_PANEL rows; a panel is blocks of QUANT_K columns, each some lines of codes and then scales; where
 * scales are products, a head stands before each QUANT_SUPER blocks.
 *
 * Lines are 64 bytes; byte 4 * row + i of what is called chunk j (0 .. 7) is the code of column 4 * j + i. Chunks share
 * lines: of 4 bits, line j % 4 has chunk j in its low or (j >= 4) high half; of 2 bits, line j / 4 at bit 2 * (j % 4);
 * of 1 bit, the only line at bit j; of 8 bits, line j. Codes of 3, 5 and 6 bits are 2 + 1, 4 + 1 and 4 + 2, the low ones first.
 *
 * A row of activations is two terms a number: x = d * (128 * high + low), 15 bits of the largest of QUANT_SUPER blocks.
 */
#ifndef NN_QUANT_H
#define NN_QUANT_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/tensor.h"

enum { QUANT_PANEL = 16, QUANT_K = 32, QUANT_SUPER = 8, QUANT_LINE = 64, QUANT_ROWS = 16, QUANT_TERM = 16256 };

/* How codes lie; QUANT_CODE_T: 4 bits that choose from the 16 values of IQ4_NL, each + 128. */
enum quant_code { QUANT_CODE_2, QUANT_CODE_3, QUANT_CODE_4, QUANT_CODE_5, QUANT_CODE_6, QUANT_CODE_8, QUANT_CODE_T };

/* What stands behind a block's codes, [QUANT_PANEL] each, and in the head. */
enum quant_scale {
	QUANT_D,    /* f16 d: d * (code - centre) */
	QUANT_DM,   /* f16 d, f16 m: d * code + m */
	QUANT_K32,  /* i8 s, head f16 d: d * s * (code - centre) */
	QUANT_K32M, /* u8 s, u8 m, head f16 d, f16 e: d * s * code - e * m */
	QUANT_K16,  /* i8 s for each half of the block, head f16 d */
	QUANT_K16M, /* s | m << 4 for each half, head f16 d, f16 e */
};

/* A GGUF block's content: codes, and f16 numbers and small scales by what the format has. */
struct quant_codes {
	uint8_t code[256];
	uint16_t d, e;             /* of the block; e: m or the factor of minima */
	int8_t scale[16];          /* of 32 or 16 codes */
	uint8_t min[16];
};

struct quant_format {
	uint32_t ggml_type;        /* whose blocks it takes */
	uint8_t code, scale;       /* enum quant_code, enum quant_scale */
	uint8_t centre;
	void (*read)(const uint8_t *block, struct quant_codes *codes);
};

/* The format that takes blocks of this type as they are; NULL: none does. */
const struct quant_format *quant_format(uint32_t ggml_type);
/* 32 floats as a block of Q8_0's: for formats that have no codes of their own here. */
void quant_read_floats(const float *values, struct quant_codes *codes);

/* Bytes of a block with its scales, and of a head. */
size_t quant_block_bytes(const struct quant_format *f);
size_t quant_head_bytes(const struct quant_format *f);
size_t quant_panel_bytes(const struct quant_format *f, size_t cols);

/* QUANT_K numbers of a row of activations. */
struct quant_block {
	_Alignas(32) int8_t high[QUANT_K];
	int8_t low[QUANT_K];
	float d;         /* of QUANT_SUPER blocks */
	float s;         /* the block's sum, in units of d */
	float half[2];   /* the sums of its halves */
	int32_t sum[2];  /* the same */
};

/* y [rows][QUANT_PANEL] = the panel times `rows` rows; x [blocks][rows], with QUANT_ROWS more behind it that may be read. Row r of
 * y begins at y + r * stride. */
struct quant_tile {
	float *y;
	size_t stride;
	const uint8_t *panel;
	const struct quant_block *x;
	size_t blocks;
	uint32_t rows; /* 1 .. the kernels' own number */
	int stream;    /* the panel comes from memory, and the next one will */
	const struct quant_format *format;
};

/* Results are bitwise the same on every path: sums of integers are exact, and floats are added block by block. */
struct quant_kernels {
	uint32_t rows; /* of a tile, at most; <= QUANT_ROWS */
	void (*tile)(const struct quant_tile *t);
	/* (optional) `n` tiles with the same panel, and the one that lies `panel_bytes` behind it: its results follow in y's rows. */
	void (*pair)(const struct quant_tile *t, size_t n, size_t panel_bytes);
	/* to[i * apart] = numbers 32 * i ... of x. */
	void (*encode)(const float *x, size_t blocks, struct quant_block *to, size_t apart);
};

/* nn_linear_all for weights that are codes, of columns as x has them. */
void quant_linear(struct nn *c, struct nn_tensor x, uint32_t n, const struct nn_weight *const *w, const float *const *b,
		  struct nn_tensor *y);

extern const struct quant_kernels quant_portable, quant_avx2, quant_vnni, quant_amx;

/* nn_weight_pack_codes's work on one weight: panels [begin, end). */
void quant_pack(const struct nn_weight *w, const struct quant_format *f, uint8_t *packed, size_t begin, size_t end);

#endif
