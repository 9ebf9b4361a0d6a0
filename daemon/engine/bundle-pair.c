/* bundle-pair.c - finds the two GGUF files of a vision-language model. */
#include "config.h"
#include "daemon/engine/bundle-pair.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/nn/mmproj.h"

/* What a header tells of a file. */
struct pair_facts {
	int tower;
	int part;         /* of a split file, but not its first */
	double d_model;   /* of tokens, or what a projector gives; 0: unknown */
	size_t bytes;
};

static int pair_bad(struct wire_error *error, const char *file, const char *reason)
{
	wire_error_set(error, WIRE_MODEL, "%s", reason);
	wire_error_string(error, "file", file);
	wire_error_string(error, "reason", reason);
	return error->code;
}

static double pair_number(const struct nn_gguf *g, const char *key)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);

	return v && !v->is_array && v->type != NN_GGUF_STRING ? nn_gguf_number(v, 0) : 0;
}

/* "<architecture>.embedding_length". */
static double pair_width(const struct nn_gguf *g)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, "general.architecture");
	const unsigned char *at = v ? v->data : NULL;
	const struct nn_gguf_text arch = v && !v->is_array && v->type == NN_GGUF_STRING ? nn_gguf_next_text(&at) : (struct nn_gguf_text){0};
	char key[128];

	if (!arch.n || arch.n > 64)
		return 0;
	snprintf(key, sizeof(key), "%.*s.embedding_length", (int)arch.n, arch.bytes);
	return pair_number(g, key);
}

/* False, with *why, for what is no GGUF file that can be read. */
static int pair_look(const char *path, struct pair_facts *facts, struct nn_error *why)
{
	struct nn_gguf_file file;
	struct nn_mmproj m;

	*facts = (struct pair_facts){0};
	if (nn_gguf_open(&file, path, why))
		return 0;
	facts->bytes = file.size;
	facts->tower = nn_mmproj_is(&file.g);
	facts->part = pair_number(&file.g, "split.no") > 0;
	if (!facts->tower)
		facts->d_model = pair_width(&file.g);
	else if (nn_mmproj_read(&m, &file.g, path, why) == 0)
		facts->d_model = m.d_model;
	nn_gguf_close(&file);
	return 1;
}

/* Each GGUF file of `folder` in turn, in the order of names, is given to take(arg, path). 0, or what take returned. */
static int pair_walk(const char *folder, int (*take)(void *arg, const char *path), void *arg)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, NULL, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (r == 0 && nn_gguf_is_path(entries[i]->d_name) && asprintf(&path, "%s/%s", folder, entries[i]->d_name) > 0)
			r = take(arg, path);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return r;
}

/* ---- a folder ---- */

struct pair_search {
	struct bundle_pair *pair;
	struct wire_error *error;
	const char *folder;
	double d_model;       /* beside a file: of its tokens */
	size_t bytes;         /* of the tower that was found */
};

static int pair_take_any(void *arg, const char *path)
{
	struct pair_search *s = arg;
	struct pair_facts facts;
	struct nn_error why = {0};
	char text[512];

	if (!pair_look(path, &facts, &why) || why.code)
		return pair_bad(s->error, path, why.text);
	char **place = facts.tower ? &s->pair->tower : &s->pair->text;

	if (facts.part)
		return 0;
	if (*place) {
		snprintf(text, sizeof(text), "%s holds several %s as GGUF files; name one of them: model = %s, mmproj = FILE.", s->folder,
			 facts.tower ? "picture towers" : "language models", facts.tower ? "TEXT-MODEL" : "FILE");
		return pair_bad(s->error, s->folder, text);
	}
	*place = strdup(path);
	return *place ? 0 : wire_error_set(s->error, WIRE_INTERNAL, "Memory is out.");
}

/* ---- beside a file ---- */

static int pair_take_beside(void *arg, const char *path)
{
	struct pair_search *s = arg;
	struct pair_facts facts;
	struct nn_error ignored = {0};

	if (!strcasestr(strrchr(path, '/') + 1, "mmproj") || !pair_look(path, &facts, &ignored) || !facts.tower ||
	    facts.d_model != s->d_model || facts.bytes <= s->bytes)
		return 0;
	free(s->pair->tower);
	s->pair->tower = strdup(path);
	s->bytes = facts.bytes;
	return s->pair->tower ? 0 : wire_error_set(s->error, WIRE_INTERNAL, "Memory is out.");
}

/* The model is one file: a language model, beside which its tower may lie, or a tower. */
static int pair_find_file(struct pair_search *s, const char *model, int look)
{
	struct pair_facts facts;
	struct nn_error why = {0};
	const char *slash = strrchr(model, '/');
	char *folder = slash ? strndup(model, slash == model ? 1 : (size_t)(slash - model)) : strdup(".");
	int r = 0;

	if (!pair_look(model, &facts, &why) || why.code) {
		free(folder);
		return pair_bad(s->error, model, why.text);
	}
	*(facts.tower ? &s->pair->tower : &s->pair->text) = strdup(model);
	s->d_model = facts.d_model;
	if (folder && look && !facts.tower && facts.d_model > 0)
		r = pair_walk(folder, pair_take_beside, s);
	free(folder);
	return r;
}

static int pair_has_config(const char *folder)
{
	char *path = NULL;
	int has = asprintf(&path, "%s/config.json", folder) > 0 && access(path, F_OK) == 0;

	free(path);
	return has;
}

int bundle_pair_find(struct bundle_pair *pair, const char *model, const char *mmproj, struct wire_error *error)
{
	struct pair_search s = {.pair = pair, .error = error, .folder = model};
	struct pair_facts facts;
	struct nn_error why = {0};
	const int none = mmproj && strcmp(mmproj, "none") == 0, given = mmproj && !none;
	struct stat st;
	int r = 0;

	*pair = (struct bundle_pair){0};
	if (model && nn_gguf_is_path(model))
		r = pair_find_file(&s, model, !mmproj);
	else if (model && stat(model, &st) == 0 && S_ISDIR(st.st_mode) && !pair_has_config(model))
		r = pair_walk(model, pair_take_any, &s);
	else if (model)
		pair->text = strdup(model);
	if (r || !mmproj)
		return r;
	free(pair->tower);
	pair->tower = given ? strdup(mmproj) : NULL;
	if (given && (!pair_look(mmproj, &facts, &why) || !facts.tower || why.code))
		return pair_bad(error, mmproj, why.code ? why.text : "The file that mmproj names is a language model; mmproj names the picture "
				"tower's file.");
	return 0;
}

void bundle_pair_fini(struct bundle_pair *pair)
{
	free(pair->text);
	free(pair->tower);
	*pair = (struct bundle_pair){0};
}
