/* golden.c - reading a folder of golden vectors. */
#include "tests/golden/golden.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sdk/nn/safetensors.h"

char *golden_read(const char *path, const char *file, size_t *n)
{
	char name[PATH_MAX];
	struct stat st;

	if (snprintf(name, sizeof(name), "%s/%s", path, file) >= (int)sizeof(name) || stat(name, &st) || !S_ISREG(st.st_mode))
		return NULL;
	FILE *f = fopen(name, "re");
	char *bytes = f ? malloc((size_t)st.st_size + 1) : NULL;

	if (bytes) {
		*n = fread(bytes, 1, (size_t)st.st_size, f);
		bytes[*n] = '\0';
	}
	if (f)
		fclose(f);
	return bytes;
}

cJSON *golden_json(const char *path, const char *file)
{
	size_t n;
	char *text = golden_read(path, file, &n);
	cJSON *json = text ? cJSON_ParseWithLength(text, n) : NULL;

	free(text);
	return json;
}

static const char *const golden_types[] = {
	[NN_F32] = "F32", [NN_F16] = "F16", [NN_BF16] = "BF16", [NN_I32] = "I32", [NN_U8] = "U8", [NN_I64] = "I64", [NN_OTHER] = "?",
};

/* Values are copied, so that each is aligned. */
int golden_tensors_open(struct golden_tensors *t, const char *path, const char *file)
{
	struct nn_safetensors st;
	struct nn_error error = { 0 };
	size_t n = 0, at = 0;

	*t = (struct golden_tensors){ .bytes = (unsigned char *)golden_read(path, file, &n) };
	if (!t->bytes)
		return -1;
	if (nn_safetensors_parse(&st, t->bytes, n, file, &error)) {
		printf("  %s: %s\n", file, error.text);
		golden_tensors_close(t);
		return -1;
	}
	t->all = calloc(st.n + 1, sizeof(*t->all));
	t->data = malloc(n + st.n * 16);
	for (size_t i = 0; t->all && t->data && i < st.n; i++) {
		const struct nn_weight *w = &st.weights[i];
		struct golden_tensor *to = &t->all[t->n++];

		snprintf(to->name, sizeof(to->name), "%s", w->name);
		snprintf(to->type, sizeof(to->type), "%s", golden_types[w->type]);
		memcpy(to->shape, w->shape, sizeof(to->shape));
		to->rank = w->rank;
		to->n = w->rows * w->cols;
		to->data = memcpy(t->data + at, w->data, w->bytes);
		at += (w->bytes + 15) / 16 * 16;
	}
	nn_safetensors_fini(&st);
	return 0;
}

void golden_tensors_close(struct golden_tensors *t)
{
	free(t->all);
	free(t->bytes);
	free(t->data);
	*t = (struct golden_tensors){ 0 };
}

const struct golden_tensor *golden_tensor(const struct golden_tensors *t, const char *type, const char *format, ...)
{
	char name[256];
	va_list list;

	va_start(list, format);
	vsnprintf(name, sizeof(name), format, list);
	va_end(list);
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->all[i].name, name))
			return type && strcmp(t->all[i].type, type) ? NULL : &t->all[i];
	}
	return NULL;
}

static double golden_number(const cJSON *object, const char *name, double fallback)
{
	const cJSON *item = cJSON_GetObjectItem(object, name);

	return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

/* The two forms of a tolerance: {max_abs, max_rel}, and {"f32": {atol, rtol}}. */
static void golden_tolerance(struct golden *g)
{
	const cJSON *all = cJSON_GetObjectItem(g->info, "tolerance"), *f32 = cJSON_GetObjectItem(all, "f32");

	g->abs = golden_number(all, "max_abs", golden_number(f32, "atol", 0));
	g->rel = golden_number(all, "max_rel", golden_number(f32, "rtol", 0));
}

int golden_open(struct golden *g, const char *path)
{
	*g = (struct golden){ 0 };
	if (!realpath(path, g->path)) {
		printf("%s: there is no such folder\n", path);
		return -1;
	}
	g->name = strrchr(g->path, '/') + 1;
	g->info = golden_json(g->path, "case.json");
	golden_tensors_open(&g->io, g->path, "io.safetensors");
	golden_tolerance(g);
	return 0;
}

void golden_close(struct golden *g)
{
	cJSON_Delete(g->info);
	golden_tensors_close(&g->io);
}
