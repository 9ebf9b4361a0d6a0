/* checkpoint-impl.h - what a checkpoint consists of, for the files of sdk/nn that make one. */
#ifndef NN_CHECKPOINT_IMPL_H
#define NN_CHECKPOINT_IMPL_H

#include <sys/stat.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/digest.h"
#include "sdk/nn/gguf.h"
#include "sdk/nn/mmproj.h"
#include "sdk/nn/safetensors.h"

enum { CHECKPOINT_FILES_MAX = 512 };

/* One file of weights, mapped read-only. */
struct checkpoint_file {
	char *name; /* in its directory */
	int fd;
	struct stat stat;
	const unsigned char *bytes;
	size_t size;
	struct nn_safetensors st; /* the weights; of a GGUF file too */
	struct nn_gguf gguf;
	int is_gguf;
};

struct mmproj_view;

struct nn_checkpoint {
	char *path, *directory;
	cJSON *config, *index;
	char *config_text;
	size_t config_bytes;
	struct checkpoint_file *files;
	size_t n_files;
	struct nn_weight **all, **by_name;
	size_t n;
	uint64_t bytes;
	enum nn_compute compute; /* what weights are packed for, where `whole` is set */
	int whole;               /* for nn_gemm and nn_product, not for nn_linear */
	struct nn_arena *arena; /* converted and packed weights */
	char identity[NN_DIGEST_HEX];
	struct nn_mmproj mmproj;  /* of a picture tower's GGUF file; else zero */
	struct mmproj_view *view; /* its tensors by their other names; NULL: none */
};

/* By its name or its first bytes. */
int checkpoint_is_gguf(const struct checkpoint_file *file, const char *path);
/* Parses a mapped GGUF file: fills file->gguf and file->st. */
int checkpoint_gguf_parse(struct checkpoint_file *file, const char *path, struct nn_error *error);
/* The scalar values as a configuration: the prefix "<architecture>." is left out, model_type is the architecture. */
cJSON *checkpoint_gguf_config(const struct nn_gguf *gguf, const char *path, struct nn_error *error);
/* Fills cp->view: the tensors of a picture tower's file by their names in a checkpoint. */
int checkpoint_mmproj_names(struct nn_checkpoint *cp, struct nn_error *error);
/* By such a name; NULL if there is none, or memory is out. */
struct nn_weight *checkpoint_mmproj_weight(struct nn_checkpoint *cp, const char *name);
void checkpoint_mmproj_free(struct nn_checkpoint *cp);
/* Adds the other parts of a split file. */
int checkpoint_gguf_parts(struct nn_checkpoint *cp, struct nn_error *error,
			  int (*add)(struct nn_checkpoint *cp, const char *directory, const char *name, struct nn_error *error));

/* The weight's pages of its file need not stay in memory: they were read, and a copy is what is computed with. */
void checkpoint_forget(struct nn_checkpoint *cp, const struct nn_weight *w);

/* True once the file is not the one that was opened any more. */
int checkpoint_changed(const struct checkpoint_file *file);

#endif
