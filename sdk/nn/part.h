/* part.h - what plugins that hold one checkpoint have in common: how they are opened, and how their result leaves the arena. */
#ifndef NN_PART_H
#define NN_PART_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

/* A kind of instance: zeroed memory whose first member is its checkpoint. */
struct nn_part {
	const char *what; /* "mlp connector" */
	size_t bytes;
	/* Reads what the checkpoint, which is open, has, and the options. 0 or error->code. */
	int (*load)(void *instance, const struct percept_open *open, struct nn_error *error);
	void (*close)(void *instance); /* also of what load() left half done */
};

/* percept_connector.open and the like: the instance goes to *instance, by the option compute where the plugin has it. 0, or a negative
 * errno after percept_fail(). */
int nn_part_open(struct percept_call *call, const struct percept_open *open, const struct nn_part *part, void **instance);
/* Closes the checkpoint and frees the instance: all of close() for those that hold nothing else. */
void nn_part_close(void *instance);

/* Fills e->data [n][dim], counts and dimension being there, in the call's arena: work() writes it, and returns 0, c->error or what
 * percept_fail() gave. `what` begins the sentence that says why not: "The projection". 0 or a negative errno after percept_fail(). */
int nn_part_connect(struct percept_call *call, struct percept_embeddings *e, const char *what,
		    int (*work)(struct nn *c, struct percept_call *call, void *arg, float *data), void *arg);
/* Copies x, row behind row, and returns where the next goes; nothing once c->error is set. */
float *nn_part_copy(const struct nn *c, struct nn_tensor x, float *data);

#endif
