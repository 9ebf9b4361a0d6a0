/* affine.h - what layers are made of: a matrix with its bias, and a norm's weights. */
#ifndef NN_AFFINE_H
#define NN_AFFINE_H

#include "sdk/nn/checkpoint.h"

/* A matrix and its bias; b NULL: none. */
struct affine {
	const struct nn_weight *w;
	const float *b;
};

/* A norm's weight and bias; b NULL: none; w NULL: no such norm. */
struct norm {
	const float *w, *b;
};

#endif
