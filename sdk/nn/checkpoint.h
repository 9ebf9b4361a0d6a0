/* checkpoint.h - a model's files behind one interface: its configuration and its named tensors.
 *
 * Formats: a Hugging Face directory (config.json, model.safetensors or shards with an index), and GGUF, whose values become
 * the configuration. Weights stay in their file's type, mapped read-only.
 */
#ifndef NN_CHECKPOINT_H
#define NN_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/nn/blocks.h"
#include "sdk/nn/error.h"

/* NN_OTHER: a type that nothing here computes with; such a tensor may lie in a file, loading it is an error. NN_BLOCKS: a
 * block format of GGUF files, which the weight names. */
enum nn_type { NN_F32, NN_F16, NN_BF16, NN_I32, NN_U8, NN_I64, NN_OTHER, NN_BLOCKS };

#define NN_RANK 6

struct quant_format;

/* A tensor as it lies in its file. Row-major; rank <= NN_RANK; rows = shape[0], cols = product of the rest; a scalar is
 * (1, 1). `data` has no alignment. */
struct nn_weight {
	const char *name;
	const void *data;
	size_t bytes;
	enum nn_type type;
	const struct nn_block_format *format; /* of NN_BLOCKS; else NULL */
	uint32_t rank;
	uint64_t shape[NN_RANK];
	size_t rows, cols;
	const void *packed; /* set by nn_weight_pack: a layout that a kernel gains by; NULL: none */
	size_t packed_bytes;
	const struct quant_format *codes; /* set by nn_weight_pack_codes: what the packed layout consists of; NULL: floats */
	const uint16_t *halves; /* set by nn_weight_pack_as: BF16 in panels (dense.h); NULL: not so packed */
	uint32_t terms;     /* of BF16 that each number is the exact sum of; 0: it is rounded */
	const float *f32;   /* set by nn_weight_f32; NULL: not yet */
	uint32_t file;      /* which of the checkpoint's files */
};

struct nn_checkpoint;
struct nn_gguf;

/* Opens a directory (config.json, and model.safetensors or the shards of model.safetensors.index.json; where config.json is not
 * there open_clip_config.json and open_clip_model.safetensors), one .safetensors
 * file with config.json beside it, or a .gguf file (of a split one the first part); NULL and *error on failure: every header byte is checked. [any]. The other functions of
 * one checkpoint: one thread at a time; what they return may be read from many. */
struct nn_checkpoint *nn_checkpoint_open(const char *path, struct nn_error *error);
void nn_checkpoint_close(struct nn_checkpoint *checkpoint);
/* The header of a GGUF file, of a split one the first part's; NULL: another format. */
const struct nn_gguf *nn_checkpoint_gguf(const struct nn_checkpoint *checkpoint);
/* The root of config.json; lives as long as the checkpoint. Of GGUF: the scalar values by their keys, without the prefix
 * "<architecture>."; "model_type" is the architecture. Of a picture tower's GGUF file ("clip"): as
 * the Hugging Face checkpoint has it; its tensors are found by their names there too (mmproj.h). */
const cJSON *nn_checkpoint_config(const struct nn_checkpoint *checkpoint);
const char *nn_checkpoint_path(const struct nn_checkpoint *checkpoint);
/* Hex SHA-256 that names the content of configuration and weights. Content up to 64 MiB is hashed whole, of more the
 * headers, sizes, change times and samples. */
const char *nn_checkpoint_identity(struct nn_checkpoint *checkpoint);
/* Bytes of all tensors in the files. */
uint64_t nn_checkpoint_bytes(const struct nn_checkpoint *checkpoint);
/* NULL if there is none of that name. */
struct nn_weight *nn_checkpoint_weight(struct nn_checkpoint *checkpoint, const char *name);
/* For listings: tensors in file order. */
size_t nn_checkpoint_count(const struct nn_checkpoint *checkpoint);
struct nn_weight *nn_checkpoint_at(struct nn_checkpoint *checkpoint, size_t index);

/* How encoders and connectors compute their products: as exactly as f32 does (where the matrix unit of BF16 is faster at that, large
 * weights by its products of terms), or with both sides rounded to BF16 (8 bits of precision) and sums in
 * f32, which processors with AVX512_BF16 or AMX do several times faster. FAST: BF16 for weights that are large enough to gain by it. TERMS:
 * F32 by terms of BF16, whatever the processor and the size. */
enum nn_compute { NN_COMPUTE_F32, NN_COMPUTE_BF16, NN_COMPUTE_FAST, NN_COMPUTE_TERMS };
/* What nn_weight_pack packs for from now on: products of nn_gemm and nn_product; else nn_linear's. */
void nn_checkpoint_compute(struct nn_checkpoint *checkpoint, enum nn_compute how);

/* Loading a part: `prefixes` (NULL-terminated) are tried in order before each name, so that published names,
 * transformers 5 names and bundles all load; NULL: names are whole. The first failure is kept in *error (which may
 * not be NULL) and later calls return NULL. */
struct nn_loader {
	struct nn_checkpoint *checkpoint;
	const char *const *prefixes;
	struct nn_error *error;
};
/* A (rows, cols) weight of a float type; name by printf. rows or cols 0: any. Missing or misshapen: NULL and an error
 * that names file, tensor, and both shapes. */
struct nn_weight *nn_load(struct nn_loader *loader, size_t rows, size_t cols, const char *name, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, but missing is NULL without error. */
struct nn_weight *nn_load_maybe(struct nn_loader *loader, size_t rows, size_t cols, const char *name, ...)
	__attribute__((format(printf, 4, 5)));
/* A vector as f32 [n], converted once, owned by the checkpoint. */
const float *nn_load_vector(struct nn_loader *loader, size_t n, const char *name, ...)
	__attribute__((format(printf, 3, 4)));
const float *nn_load_vector_maybe(struct nn_loader *loader, size_t n, const char *name, ...)
	__attribute__((format(printf, 3, 4)));
/* `bytes` aligned to 64 that live as long as the checkpoint; NULL when memory is out. */
void *nn_checkpoint_alloc(struct nn_checkpoint *checkpoint, size_t bytes);
/* True for the types that nn_linear, nn_gemm and nn_embed compute with: F32, F16, BF16, blocks. [any] */
int nn_weight_usable(const struct nn_weight *weight);
/* Bytes of a row of a usable weight. [any] */
size_t nn_weight_row_bytes(const struct nn_weight *weight);
/* f [rows * cols] = rows `first` ... of a usable weight, exactly. [any] */
void nn_weight_read(const struct nn_weight *weight, size_t first, size_t rows, float *f);
/* All of a weight as f32, owned by the checkpoint; NULL when memory is out or the type is not usable. */
const float *nn_weight_f32(struct nn_checkpoint *checkpoint, struct nn_weight *weight);
/* Rows [first, first + rows) as a weight of its own, owned by the checkpoint, over the same data; `cols` (0: the weight's)
 * splits them: a row of the result is `cols` values. NULL when memory is out or there are none such. */
struct nn_weight *nn_weight_rows(struct nn_checkpoint *checkpoint, const struct nn_weight *weight, size_t first, size_t rows,
				 size_t cols);
/* (cols, rows) = the weight transposed, of a float type, owned by the checkpoint; NULL when memory is out. */
struct nn_weight *nn_weight_transposed(struct nn_checkpoint *checkpoint, const struct nn_weight *weight);

/* Reading config.json. A missing key is `fallback`; an ill-typed or out-of-range value sets *error once and gives
 * `fallback`. `names`: alternatives separated by '|' ("num_key_value_heads|n_head_kv"). */
int64_t nn_config_int(const cJSON *object, const char *names, int64_t fallback, int64_t min, int64_t max, struct nn_error *error);
double nn_config_real(const cJSON *object, const char *names, double fallback, struct nn_error *error);
int nn_config_bool(const cJSON *object, const char *names, int fallback, struct nn_error *error);
const char *nn_config_string(const cJSON *object, const char *names, const char *fallback);
const cJSON *nn_config_object(const cJSON *object, const char *names); /* NULL if absent */
/* The "model_type" of config.json; of one that has none, by its class in "architectures"; of several names for one kind the usual one.
 * "" where neither says. Never NULL. */
const char *nn_config_type(const cJSON *config);
/* The JSON object of a small file beside a model's others, to delete; NULL if there is none, or with an error. */
cJSON *nn_config_file(const char *directory, const char *name, struct nn_error *error);

#endif
