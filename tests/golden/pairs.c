/* pairs.c - the GGUF files in a case's folder, in pairs of language model and picture tower. */
#include "tests/golden/pairs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/mmproj.h"

/* Files of a folder; how much further off than the folder's own weights 16-bit ones may be. */
enum { PAIR_FILES = 16, PAIR_ROUNDED = 100 };

/* Whether all of a file's weights have 32 bits. */
static int pair_is_exact(const struct nn_gguf *file)
{
	for (uint64_t i = 0; i < file->n_tensors; i++)
		if (strcmp(file->tensors[i].format->name, "F32"))
			return 0;
	return 1;
}

/* A GGUF file of the case's folder. */
struct pair_file {
	char path[PATH_MAX + 288];
	const char *name;
	int tower, exact;
};

/* All of them. Returns how many. */
static size_t pair_list_files(const struct golden *g, struct pair_file *files)
{
	struct dirent **entries = NULL;
	const int n = scandir(g->path, &entries, NULL, alphasort);
	size_t found = 0;

	for (int i = 0; i < n; free(entries[i++])) {
		struct pair_file *f = &files[found];
		struct nn_gguf_file header;
		struct nn_error ignored = { 0 };

		snprintf(f->path, sizeof(f->path), "%s/%s", g->path, entries[i]->d_name);
		if (found == PAIR_FILES || !nn_gguf_is_path(f->path) || nn_gguf_open(&header, f->path, &ignored))
			continue;
		f->name = strrchr(f->path, '/') + 1;
		f->tower = nn_mmproj_is(&header.g);
		f->exact = pair_is_exact(&header.g);
		nn_gguf_close(&header);
		found++;
	}
	free(entries);
	return found;
}

void pairs_run(struct golden *g, void (*run)(struct golden *g, const char *model))
{
	struct pair_file *files = calloc(PAIR_FILES + 1, sizeof(*files));
	const size_t n = files ? pair_list_files(g, files) : 0;
	const double abs = g->abs, rel = g->rel;

	for (size_t i = 0; i < n * n; i++) {
		const struct pair_file *text = &files[i / n], *tower = &files[i % n];

		if (text->tower || !tower->tower)
			continue;
		printf("  with %s and %s:\n", text->name, tower->name);
		g->abs = text->exact && tower->exact ? abs : abs * PAIR_ROUNDED;
		g->rel = text->exact && tower->exact ? rel : rel * PAIR_ROUNDED;
		g->mmproj = tower->path;
		run(g, text->path);
		g->mmproj = NULL;
	}
	g->abs = abs;
	g->rel = rel;
	free(files);
}
