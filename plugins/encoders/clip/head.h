/* head.h - the projection of a whole picture's vector, under the names that timm and OpenCLIP give it. */
#ifndef CLIP_HEAD_H
#define CLIP_HEAD_H

#include "plugins/encoders/clip/tower.h"

enum { HEAD_STEPS = 4 };

/* Matrices one after the other, gelu between them; none: the vector itself. */
struct head {
	struct affine steps[HEAD_STEPS];
	uint32_t n;
};

/* Finds "head.pre_logits.fc", and behind it "head.fc", "head", "head.proj" or "head.mlp.fc1" and "head.mlp.fc2", behind the loader's
 * prefixes, for vectors of `dim`. What is not there is left out. Bytes are counted into *weight_bytes. */
void head_load(struct head *head, struct nn_loader *loader, size_t dim, uint64_t *weight_bytes);
/* One more step; w NULL: none. */
void head_add(struct head *head, struct affine step);
struct nn_tensor head_of(struct nn *c, const struct head *head, struct nn_tensor x);
/* The dimension of head_of()'s rows, for vectors of `dim`. */
uint32_t head_dim(const struct head *head, uint32_t dim);

#endif
