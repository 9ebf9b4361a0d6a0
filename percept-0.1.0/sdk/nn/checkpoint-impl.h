/* checkpoint-impl.h - what a checkpoint consists of, for the files of sdk/nn that make one. */
#ifndef NN_CHECKPOINT_IMPL_H
#define NN_CHECKPOINT_IMPL_H

#include <sys/stat.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/digest.h"
#include "sdk/nn/safetensors.h"

enum { CHECKPOINT_FILES_MAX = 512 };

/* One file of weights, mapped read-only. */
struct checkpoint_file {
	char *name; /* in its directory */
	int fd;
	struct stat stat;
	const unsigned char *bytes;
	size_t size;
	struct nn_safetensors st;
};

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
	struct nn_arena *arena; /* converted and packed weights */
	char identity[NN_DIGEST_HEX];
};

/* True once the file is not the one that was opened any more. */
int checkpoint_changed(const struct checkpoint_file *file);

#endif
