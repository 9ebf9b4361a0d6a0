/* part.c - what plugins that hold one checkpoint have in common. */
#include "sdk/nn/part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/compute.h"

/* What every instance begins with. */
struct part_head {
	struct nn_checkpoint *checkpoint;
};

int nn_part_open(struct percept_call *call, const struct percept_open *open, const struct nn_part *part, void **instance)
{
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The %s needs a model: name a directory with config.json and model.safetensors.",
				    part->what);
	struct part_head *made = calloc(1, part->bytes);

	if (!made)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	made->checkpoint = nn_checkpoint_open(open->model, &error);
	if (made->checkpoint && percept_option(open, "compute"))
		nn_checkpoint_compute(made->checkpoint, nn_compute_option(open));
	if (!made->checkpoint || part->load(made, open, &error)) {
		part->close(made);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	*instance = made;
	return 0;
}

void nn_part_close(void *instance)
{
	struct part_head *head = instance;

	nn_checkpoint_close(head->checkpoint);
	free(head);
}

int nn_part_connect(struct percept_call *call, struct percept_embeddings *e, const char *what,
		    int (*work)(struct nn *c, struct percept_call *call, void *arg, float *data), void *arg)
{
	float *data = percept_alloc(call, (size_t)e->n * e->dim * sizeof(float));
	struct nn_arena *arena = data ? nn_arena_new(0) : NULL;
	int error = -ENOMEM;
	struct nn c;

	if (arena) {
		nn_begin(&c, call, arena);
		error = work(&c, call, arg, data);
		nn_arena_free(arena);
	}
	e->data = data;
	if (!error)
		return 0;
	return percept_fail(call, error, "%s %s.", what, error == -ECANCELED ? "was cancelled" : "failed: memory is out");
}

float *nn_part_copy(const struct nn *c, struct nn_tensor x, float *data)
{
	for (size_t i = 0; !c->error && i < x.rows; i++, data += x.cols)
		memcpy(data, x.data + i * x.stride, x.cols * sizeof(float));
	return data;
}
