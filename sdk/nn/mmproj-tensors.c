/* mmproj-tensors.c - a picture tower's GGUF tensors under their Hugging Face names, laid as those have them. */
#include "sdk/nn/mmproj.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/checkpoint-impl.h"

enum { TENSOR_SOURCES = 3 };

/* One Hugging Face name. `made` is its weight: the file's own, or NULL until somebody asks for it. */
struct mmproj_alias {
	char name[NN_MMPROJ_NAME];
	enum nn_mmproj_how how;
	struct nn_weight *sources[TENSOR_SOURCES];
	struct nn_weight *made;
};

struct mmproj_view {
	struct mmproj_alias *aliases; /* by name */
	size_t n;
};

static int tensor_compare(const void *a, const void *b)
{
	const struct mmproj_alias *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* ---- weights that are made of others ---- */

/* A weight of `rank` dimensions; `data` of `bytes` in the arena. */
static struct nn_weight *tensor_new(struct nn_checkpoint *cp, const struct nn_weight *like, uint32_t rank, const uint64_t *shape)
{
	struct nn_weight *w = nn_checkpoint_alloc(cp, sizeof(*w));
	uint64_t cols = 1;

	if (!w)
		return NULL;
	*w = (struct nn_weight){ .name = like->name, .type = like->type, .format = like->format, .file = like->file, .rank = rank,
				 .rows = shape[0] };
	for (uint32_t i = 0; i < rank; i++) {
		w->shape[i] = shape[i];
		cols *= i ? shape[i] : 1;
	}
	w->cols = cols;
	return w;
}

/* The same weight in f32. */
static const struct nn_weight *tensor_plain(struct nn_checkpoint *cp, struct nn_weight *w)
{
	const float *f = nn_weight_f32(cp, w);
	struct nn_weight *made = f ? tensor_new(cp, w, w->rank, w->shape) : NULL;

	if (!made)
		return NULL;
	made->type = NN_F32;
	made->format = NULL;
	made->rows = w->rows;
	made->cols = w->cols;
	made->data = f;
	made->bytes = w->rows * w->cols * sizeof(float);
	return made;
}

/* The sources in one type: their own if they share it and, with `floats`, are not in blocks; else f32. */
static int tensor_alike(struct nn_checkpoint *cp, const struct mmproj_alias *a, size_t n, int floats, const struct nn_weight **out)
{
	int same = !(floats && a->sources[0]->type == NN_BLOCKS);

	for (size_t i = 1; i < n; i++)
		same &= a->sources[i]->type == a->sources[0]->type && a->sources[i]->format == a->sources[0]->format;
	for (size_t i = 0; i < n; i++) {
		out[i] = same ? a->sources[i] : tensor_plain(cp, a->sources[i]);
		if (!out[i])
			return -ENOMEM;
	}
	return 0;
}

/* One below the other. */
static struct nn_weight *tensor_stack(struct nn_checkpoint *cp, const struct mmproj_alias *a)
{
	const struct nn_weight *from[TENSOR_SOURCES];
	size_t bytes = 0;

	if (tensor_alike(cp, a, 3, a->sources[0]->rank == 1, from))
		return NULL;
	const uint64_t shape[] = { from[0]->shape[0] + from[1]->shape[0] + from[2]->shape[0], from[0]->shape[1] };
	struct nn_weight *w = tensor_new(cp, from[0], from[0]->rank, shape);

	for (size_t i = 0; i < 3; i++)
		bytes += from[i]->bytes;
	unsigned char *data = w ? nn_checkpoint_alloc(cp, bytes) : NULL;

	if (!data)
		return NULL;
	w->data = data;
	w->bytes = bytes;
	for (size_t i = 0; i < 3; data += from[i++]->bytes)
		memcpy(data, from[i]->data, from[i]->bytes);
	return w;
}

/* Two (d, c, p, p) as one (d, c, 2, p, p). */
static struct nn_weight *tensor_moments(struct nn_checkpoint *cp, const struct mmproj_alias *a)
{
	const struct nn_weight *from[TENSOR_SOURCES];

	if (tensor_alike(cp, a, 2, 1, from))
		return NULL;
	const uint64_t *s = from[0]->shape, shape[] = { s[0], s[1], 2, s[2], s[3] };
	struct nn_weight *w = tensor_new(cp, from[0], 5, shape);
	const size_t planes = s[0] * s[1], each = from[0]->bytes / planes;
	unsigned char *data = w ? nn_checkpoint_alloc(cp, 2 * from[0]->bytes) : NULL;

	if (!data)
		return NULL;
	w->data = data;
	w->bytes = 2 * from[0]->bytes;
	for (size_t i = 0; i < 2 * planes; i++, data += each)
		memcpy(data, (const unsigned char *)from[i % 2]->data + i / 2 * each, each);
	return w;
}

static struct nn_weight *tensor_less_one(struct nn_checkpoint *cp, const struct mmproj_alias *a)
{
	const struct nn_weight *from = tensor_plain(cp, a->sources[0]);
	struct nn_weight *w = from ? tensor_new(cp, from, from->rank, from->shape) : NULL;
	float *data = w ? nn_checkpoint_alloc(cp, from->bytes) : NULL;

	if (!data)
		return NULL;
	for (size_t i = 0; i < from->rows * from->cols; i++)
		data[i] = ((const float *)from->data)[i] - 1;
	w->data = data;
	w->bytes = from->bytes;
	return w;
}

static struct nn_weight *tensor_turned(struct nn_checkpoint *cp, const struct mmproj_alias *a)
{
	struct nn_weight *w = a->sources[0];
	const struct nn_weight *from = w->type == NN_BLOCKS ? tensor_plain(cp, w) : w;

	return w->shape[0] == cp->mmproj.width ? w : from ? nn_weight_transposed(cp, from) : NULL;
}

/* Heads' rows as halves, not as neighbours, turn together. */
static struct nn_weight *tensor_turns(struct nn_checkpoint *cp, const struct mmproj_alias *a)
{
	const struct nn_weight *from = a->sources[0];
	const size_t head = from->rows / cp->mmproj.heads, each = from->bytes / from->rows;
	struct nn_weight *w = tensor_new(cp, from, from->rank, from->shape);
	unsigned char *data = w ? nn_checkpoint_alloc(cp, from->bytes) : NULL;

	if (!data)
		return NULL;
	w->data = data;
	w->bytes = from->bytes;
	for (size_t i = 0; i < from->rows; i++) {
		const size_t at = i % head, row = i - at + (at < head / 2 ? 2 * at : 2 * (at - head / 2) + 1);

		memcpy(data + i * each, (const unsigned char *)from->data + row * each, each);
	}
	return w;
}

static struct nn_weight *(*const tensor_makers[])(struct nn_checkpoint *cp, const struct mmproj_alias *a) = {
	[NN_MMPROJ_QKV] = tensor_stack,
	[NN_MMPROJ_MOMENTS] = tensor_moments,
	[NN_MMPROJ_NORM] = tensor_less_one,
	[NN_MMPROJ_TURNED] = tensor_turned,
	[NN_MMPROJ_TURNS] = tensor_turns,
};

/* ---- which names there are ---- */

/* What the sources must be like for their maker. */
static int tensor_check(const struct nn_checkpoint *cp, const struct mmproj_alias *a, struct nn_error *error)
{
	const size_t n = a->how == NN_MMPROJ_QKV ? 3 : a->how == NN_MMPROJ_MOMENTS ? 2 : 1;
	const struct nn_weight *first = a->sources[0];
	int good = tensor_makers[a->how] == NULL || (nn_weight_usable(first) && (a->how != NN_MMPROJ_TURNED || first->rank == 2) &&
						     (a->how != NN_MMPROJ_QKV || first->rank <= 2) &&
						     (a->how != NN_MMPROJ_TURNS || (first->rank == 2 && first->rows &&
										    first->rows % (2 * (size_t)cp->mmproj.heads) == 0)) &&
						     (a->how != NN_MMPROJ_MOMENTS || first->rank == 4));

	for (size_t i = 1; i < n && good; i++) {
		const struct nn_weight *w = a->sources[i];

		good = w && nn_weight_usable(w) && w->rank == first->rank && w->cols == first->cols &&
		       (a->how == NN_MMPROJ_MOMENTS || w->rank == 1 || w->shape[1] == first->shape[1]) &&
		       (a->how == NN_MMPROJ_QKV || !memcmp(w->shape, first->shape, sizeof(w->shape)));
	}
	if (good)
		return 0;
	return nn_fail(error, -EINVAL, "%s: tensor \"%.200s\" has an unexpected shape or type, or lacks the others that it is used with.",
		       cp->path, first->name);
}

/* attn_q becomes attn_k and attn_v; a whole name its second moment. */
static void tensor_others(struct nn_checkpoint *cp, struct mmproj_alias *a, char name[NN_MMPROJ_NAME])
{
	char *letter = strstr(name, "attn_q");

	if (a->how == NN_MMPROJ_QKV && letter) {
		letter[5] = 'k';
		a->sources[1] = nn_checkpoint_weight(cp, name);
		letter[5] = 'v';
		a->sources[2] = nn_checkpoint_weight(cp, name);
	} else if (a->how == NN_MMPROJ_MOMENTS) {
		snprintf(name + strlen(name), NN_MMPROJ_NAME - strlen(name), ".1");
		a->sources[1] = nn_checkpoint_weight(cp, name);
	}
}

/* The name in the file, which may be that of the MLP's other matrix. */
static void tensor_gguf_name(const struct nn_checkpoint *cp, const char *format, uint32_t layer, const char *suffix, char out[NN_MMPROJ_NAME])
{
	static const char *const swapped[][2] = { { "v.blk.%u.ffn_up", "v.blk.%u.ffn_down" }, { "v.blk.%u.ffn_down", "v.blk.%u.ffn_up" } };
	char base[NN_MMPROJ_NAME];

	for (size_t i = 0; i < 2; i++)
		if (!strcmp(format, swapped[i][0]) && nn_mmproj_swapped(&cp->mmproj, layer)) {
			format = swapped[i][1];
			break;
		}
	snprintf(base, sizeof(base), format, layer);
	snprintf(out, NN_MMPROJ_NAME, "%.*s%s", NN_MMPROJ_NAME - 16, base, suffix);
}

/* One name, if the file has its tensor. */
static int tensor_add(struct nn_checkpoint *cp, const char *prefix, const struct nn_mmproj_name *name, uint32_t layer, const char *suffix,
		      struct nn_error *error)
{
	struct mmproj_view *v = cp->view;
	struct mmproj_alias *a = &v->aliases[v->n];
	char gguf[NN_MMPROJ_NAME], hf[NN_MMPROJ_NAME];

	tensor_gguf_name(cp, name->gguf, layer, suffix, gguf);
	*a = (struct mmproj_alias){ .how = name->how, .sources = { nn_checkpoint_weight(cp, gguf) } };
	if (!a->sources[0])
		return 0;
	snprintf(hf, sizeof(hf), name->hf, layer);
	snprintf(a->name, sizeof(a->name), "%s%.100s%s", prefix, hf, suffix);
	tensor_others(cp, a, gguf);
	if (tensor_check(cp, a, error))
		return error->code;
	a->made = tensor_makers[a->how] ? NULL : a->sources[0];
	v->n++;
	return 0;
}

static int tensor_add_list(struct nn_checkpoint *cp, const char *prefix, const struct nn_mmproj_name *list, struct nn_error *error)
{
	static const char *const both[] = { ".weight", ".bias", NULL }, *const none[] = { "", NULL };

	for (; list->gguf; list++) {
		const char *const *suffixes = list->how == NN_MMPROJ_PAIR || list->how == NN_MMPROJ_QKV ? both : none;
		const uint32_t layers = strchr(list->gguf, '%') ? cp->mmproj.layers : 1;

		for (uint32_t i = 0; i < layers; i++)
			for (const char *const *s = suffixes; *s; s++)
				if (tensor_add(cp, prefix, list, i, *s, error))
					return error->code;
	}
	return 0;
}

int checkpoint_mmproj_names(struct nn_checkpoint *cp, struct nn_error *error)
{
	const struct nn_mmproj_family *family = cp->mmproj.family;

	/* Each tensor gets at most one name. */
	cp->view = calloc(1, sizeof(*cp->view));
	if (cp->view)
		cp->view->aliases = calloc(cp->n + 1, sizeof(*cp->view->aliases));
	if (!cp->view || !cp->view->aliases)
		return nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
	if (tensor_add_list(cp, family->tower, family->layers, error) || tensor_add_list(cp, "", family->rest, error))
		return error->code;
	qsort(cp->view->aliases, cp->view->n, sizeof(*cp->view->aliases), tensor_compare);
	return 0;
}

struct nn_weight *checkpoint_mmproj_weight(struct nn_checkpoint *cp, const char *name)
{
	struct mmproj_alias key = { .how = NN_MMPROJ_WHOLE };

	if (strlen(name) >= sizeof(key.name))
		return NULL;
	memcpy(key.name, name, strlen(name) + 1);
	struct mmproj_alias *a = bsearch(&key, cp->view->aliases, cp->view->n, sizeof(key), tensor_compare);

	if (a && !a->made)
		a->made = tensor_makers[a->how](cp, a);
	return a ? a->made : NULL;
}

void checkpoint_mmproj_free(struct nn_checkpoint *cp)
{
	if (cp->view)
		free(cp->view->aliases);
	free(cp->view);
}
