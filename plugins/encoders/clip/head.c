/* head.c - the projection of a whole picture's vector. */
#include "plugins/encoders/clip/head.h"

void head_add(struct head *h, struct affine step)
{
	if (step.w && h->n < HEAD_STEPS)
		h->steps[h->n++] = step;
}

uint32_t head_dim(const struct head *h, uint32_t dim)
{
	return h->n ? (uint32_t)h->steps[h->n - 1].w->rows : dim;
}

/* Adds a matrix of any number of rows and its bias, which may be missing. True if there is one. */
static int head_find(struct head *h, struct nn_loader *l, size_t dim, const char *name, uint64_t *bytes)
{
	struct nn_weight *w = nn_load_maybe(l, 0, head_dim(h, (uint32_t)dim), "%s.weight", name);

	if (!w)
		return 0;
	*bytes += w->bytes;
	nn_weight_pack(l->checkpoint, w, l->error);
	head_add(h, (struct affine){ w, nn_load_vector_maybe(l, w->rows, "%s.bias", name) });
	return 1;
}

void head_load(struct head *h, struct nn_loader *l, size_t dim, uint64_t *bytes)
{
	static const char *const names[] = { "head.fc", "head", "head.proj", "head.mlp.fc1" };
	int found = 0;

	head_find(h, l, dim, "head.pre_logits.fc", bytes);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !found; i++)
		found = head_find(h, l, dim, names[i], bytes);
	head_find(h, l, dim, "head.mlp.fc2", bytes);
}

struct nn_tensor head_of(struct nn *c, const struct head *h, struct nn_tensor x)
{
	for (uint32_t i = 0; i < h->n; i++) {
		if (i)
			nn_activate(c, x, NN_GELU_ERF);
		x = nn_gemm(c, x, h->steps[i].w, h->steps[i].b);
	}
	return x;
}
