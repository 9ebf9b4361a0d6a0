/* golden.h - a folder of golden vectors: its tensors, its tolerance, and the verdict on each output. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>

/* A tensor of a .safetensors file. */
struct golden_tensor {
	char name[128], type[8]; /* "F32", "I32", "U8" ... */
	uint64_t shape[6];
	uint32_t rank;
	size_t n;                /* values */
	const void *data;        /* aligned to 4 */
	int seen;                /* a verdict was given on it */
};

/* All tensors of a file; `bytes` holds them. Zeroed: none. */
struct golden_tensors {
	struct golden_tensor *all;
	size_t n;
	unsigned char *bytes, *data;
};

struct golden {
	char path[PATH_MAX];        /* of the folder, without a slash at its end */
	const char *name;           /* its last part */
	cJSON *info;                /* case.json; NULL: none */
	struct golden_tensors io;   /* io.safetensors */
	double abs, rel;            /* |got - want| <= abs + rel |want| */
	unsigned checked, failed;   /* outputs */
	const char *mmproj;         /* the picture tower's GGUF file of the pair that is run; NULL: none */
	char skip[256];             /* why it was not run; else empty */
};

/* Reads what there is. 0, or -1 after a message. */
int golden_open(struct golden *g, const char *path);
void golden_close(struct golden *g);

/* path/file: its size in *n, malloc'ed with a NUL behind it; NULL if it cannot be read. */
char *golden_read(const char *path, const char *file, size_t *n);
cJSON *golden_json(const char *path, const char *file);
/* 0, or -1 if there is no such file or it is damaged. */
int golden_tensors_open(struct golden_tensors *t, const char *path, const char *file);
void golden_tensors_close(struct golden_tensors *t);
/* By name and type (NULL: any); NULL if there is none. */
const struct golden_tensor *golden_tensor(const struct golden_tensors *t, const char *type, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints a line on the output called `name`: the largest differences and the verdict. */
void golden_compare(struct golden *g, const char *name, const float *got, size_t n_got, const float *want, size_t n_want);
/* The same against the tensor `name` of io; if that lacks it, nothing is said: a case need not have every output. */
void golden_check(struct golden *g, const char *name, const float *got, size_t n);
void golden_check_ids(struct golden *g, const char *name, const int32_t *got, size_t n_got, const int32_t *want, size_t n_want);
/* A verdict with no numbers. */
void golden_verdict(struct golden *g, const char *name, int passed);
/* Says which of io's "out." tensors nothing was compared with. */
void golden_left_out(const struct golden *g);
/* Something went wrong before there was anything to compare. */
void golden_fail(struct golden *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
void golden_skip(struct golden *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A runner of an architecture. */
typedef void golden_runner(struct golden *g);
golden_runner case_blocks, case_clip, case_clip_vision, case_connector, case_convnext, case_decode,
	case_decoder, case_e2e, case_eva, case_flex, case_image, case_native, case_openclip, case_qformer, case_real, case_resize,
	case_sampling, case_siglip2, case_t5, case_template, case_tokenizer, case_vlm;
golden_runner case_caption, case_crossing, case_resampler;

#endif
