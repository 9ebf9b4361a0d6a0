/* models-verify.c - percept models verify and remove. */
#include "sdk/tool/models.h"

#include <errno.h>
#include <fts.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/nn/gguf.h"
#include "sdk/tool/models-pull.h"

enum { VERIFY_VALUES = 1 << 18 };

/* ---- verify ---- */

/* The first tensor with a number that is none; NULL: there is no such. */
static const char *verify_numbers(struct nn_checkpoint *checkpoint, float *values)
{
	struct progress p;
	const char *bad = NULL;
	const size_t n = nn_checkpoint_count(checkpoint);
	progress_init(&p);
	for (size_t i = 0; i < n && !bad; i++) {
		const struct nn_weight *w = nn_checkpoint_at(checkpoint, i);
		const size_t step = w->cols && w->cols < VERIFY_VALUES ? VERIFY_VALUES / w->cols : 0;
		progress_show(&p, "reading the weights", (double)i, (double)n);
		for (size_t r = 0; step && nn_weight_usable(w) && r < w->rows && !bad; r += step) {
			const size_t rows = w->rows - r < step ? w->rows - r : step;
			nn_weight_read(w, r, rows, values);
			for (size_t k = 0; k < rows * w->cols; k++)
				if (!isfinite(values[k]))
					bad = w->name;
		}
	}
	progress_clear(&p);
	return bad;
}

static int verify_weights(struct tool *tool, const char *path)
{
	struct nn_error error = {0};
	struct nn_checkpoint *checkpoint = nn_checkpoint_open(path, &error);
	float *values = checkpoint ? malloc(VERIFY_VALUES * sizeof *values) : NULL;
	const char *bad = values ? verify_numbers(checkpoint, values) : NULL;
	int r = TOOL_DONE;
	if (!checkpoint)
		r = tool_say(tool, TOOL_FAILED, "%s", error.text);
	else if (!values)
		r = tool_no_memory(tool);
	else if (bad)
		r = tool_say(tool, TOOL_FAILED, "%s: the tensor %s has numbers that are infinite or none. Bring the file again.", path, bad);
	free(values);
	nn_checkpoint_close(checkpoint);
	return r;
}

/* Against the catalogue's sum, where it has a model of that name. *known: whether it has. */
static int verify_digest(struct tool *tool, const char *path, char hex[NN_DIGEST_HEX], int *known)
{
	const char *slash = strrchr(path, '/'), *want;
	struct stat st;
	*known = 0;
	hex[0] = '\0';
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return TOOL_DONE;
	const int error = pull_digest(path, hex);
	if (error)
		return tool_say(tool, TOOL_FAILED, "%s cannot be read: %s.", path, strerror(-error));
	cJSON *entry = catalogue_find(tool, slash ? slash + 1 : path);
	want = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "sha256"));
	*known = want != NULL;
	const int same = !want || strcasecmp(want, hex) == 0;
	cJSON_Delete(entry);
	return same ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s is not the file of the catalogue: its SHA-256 is %s. Remove it, and pull it again.",
					   path, hex);
}

int models_verify(struct tool *tool, const struct models_values *values, const char *const *words)
{
	char path[PATH_MAX], hex[NN_DIGEST_HEX];
	int known;
	(void)values;
	if (models_find(tool, words[0], path) != 0)
		return TOOL_FAILED;
	int r = verify_weights(tool, path);
	if (r == TOOL_DONE)
		r = verify_digest(tool, path, hex, &known);
	if (r != TOOL_DONE)
		return r;
	if (tool->json) {
		cJSON *json = cJSON_CreateObject();
		cJSON_AddStringToObject(json, "path", path);
		cJSON_AddBoolToObject(json, "whole", 1);
		cJSON_AddStringToObject(json, "sha256", hex);
		cJSON_AddBoolToObject(json, "in_catalogue", known);
		char *text = cJSON_PrintUnformatted(json);
		puts(text ? text : "{}");
		free(text);
		cJSON_Delete(json);
		return TOOL_DONE;
	}
	printf("%s is whole%s.\n", path, known ? ", and the file of the catalogue" : "");
	if (*hex)
		printf("SHA-256 %s\n", hex);
	return TOOL_DONE;
}

/* ---- remove ---- */

int models_remove_tree(const char *path)
{
	char *const paths[] = {(char *)path, NULL};
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int error = fts ? 0 : -errno;
	for (FTSENT *e; fts && (e = fts_read(fts));)
		if (e->fts_info != FTS_D && remove(e->fts_accpath) != 0 && !error)
			error = -errno;
	if (fts)
		fts_close(fts);
	return error;
}

/* Only what is a model is removed, never a folder that happens to have that name. */
static int remove_is_model(const char *path)
{
	char file[PATH_MAX + 16];
	snprintf(file, sizeof file, "%s/config.json", path);
	return nn_gguf_is_path(path) || access(file, F_OK) == 0;
}

static int remove_agreed(struct tool *tool, const char *path)
{
	char answer[16] = "";
	if (!isatty(0))
		return tool_say(tool, 0, "Add --yes to remove %s.", path);
	fprintf(stderr, "Remove %s? [y/N] ", path);
	return fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y');
}

int models_remove(struct tool *tool, const struct models_values *values, const char *const *words)
{
	char path[PATH_MAX], part[PATH_MAX + 8];
	if (models_find(tool, words[0], path) != 0)
		return TOOL_FAILED;
	if (!remove_is_model(path))
		return tool_say(tool, TOOL_FAILED, "%s is no model.", path);
	if (!values->yes && !remove_agreed(tool, path))
		return TOOL_FAILED;
	const int error = models_remove_tree(path);
	if (error)
		return tool_say(tool, TOOL_FAILED, "%s cannot be removed: %s.", path, strerror(-error));
	snprintf(part, sizeof part, "%s.part", path);
	unlink(part);
	if (!tool->json)
		printf("%s is removed.\n", path);
	else
		puts("{\"removed\":true}");
	return TOOL_DONE;
}
