/* words.c - WordPiece ids to text: BERT's vocabulary, a piece a line or in tokenizer.json. */
#include "plugins/experts/caption/caption.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WORDS_MAX = 1 << 22, WORDS_FILE_MAX = 1 << 27 };

/* A whole regular file, NUL-terminated; NULL if there is none that can be read. */
static char *words_read(const char *folder, const char *name, size_t *n)
{
	char path[4096];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) || stat(path, &st) || !S_ISREG(st.st_mode) ||
	    st.st_size > WORDS_FILE_MAX)
		return NULL;
	FILE *f = fopen(path, "re");
	char *text = f ? malloc((size_t)st.st_size + 1) : NULL;

	*n = text ? fread(text, 1, (size_t)st.st_size, f) : 0;
	if (text)
		text[*n] = '\0';
	if (f)
		fclose(f);
	return text;
}

/* Piece `id`; a place that has one keeps it. */
static int words_put(struct words *w, double id, const char *piece, size_t n)
{
	if (!(id >= 0 && id < WORDS_MAX))
		return 0;
	const uint32_t i = (uint32_t)id;

	if (i >= w->n) {
		const uint32_t room = i + i / 2 + 64;
		char **more = realloc(w->pieces, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		memset(more + w->n, 0, (room - w->n) * sizeof(*more));
		w->pieces = more;
		w->n = room;
	}
	if (!w->pieces[i] && !(w->pieces[i] = strndup(piece, n)))
		return -ENOMEM;
	return 0;
}

static int words_of_json(struct words *w, const char *text, size_t n)
{
	cJSON *json = cJSON_ParseWithLength(text, n);
	const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "model"), "vocab"), *item;
	const cJSON *added = cJSON_GetObjectItemCaseSensitive(json, "added_tokens");
	int r = cJSON_IsObject(vocab) ? 0 : -EINVAL;

	cJSON_ArrayForEach(item, vocab)
		if (r == 0 && cJSON_IsNumber(item))
			r = words_put(w, item->valuedouble, item->string, strlen(item->string));
	cJSON_ArrayForEach(item, added) {
		const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
		const char *content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));

		if (r == 0 && cJSON_IsNumber(id) && content)
			r = words_put(w, id->valuedouble, content, strlen(content));
	}
	cJSON_Delete(json);
	return r;
}

static int words_of_lines(struct words *w, const char *text, size_t n)
{
	double id = 0;
	int r = 0;

	for (size_t at = 0, length; at < n && r == 0; at += length + 1, id++) {
		length = strcspn(text + at, "\n");
		r = words_put(w, id, text + at, length && text[at + length - 1] == '\r' ? length - 1 : length);
	}
	return r;
}

int words_open(struct words *w, const char *folder, struct nn_error *error)
{
	static const struct {
		const char *name;
		int (*read)(struct words *w, const char *text, size_t n);
	} files[] = { { "tokenizer.json", words_of_json }, { "vocab.txt", words_of_lines } };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		size_t n;
		char *text = words_read(folder, files[i].name, &n);
		const int r = text ? files[i].read(w, text, n) : -ENOENT;

		free(text);
		if (r == 0 && w->n)
			return 0;
		if (r == -ENOMEM)
			return nn_fail(error, r, "Memory is out.");
	}
	return nn_fail(error, -EINVAL, "%s has no vocabulary: neither tokenizer.json nor vocab.txt can be read.", folder);
}

void words_fini(struct words *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		free(w->pieces[i]);
	free(w->pieces);
	*w = (struct words){ 0 };
}

/* Special tokens say nothing. */
static const char *words_piece(const struct words *w, int32_t id)
{
	const char *piece = id >= 0 && (uint32_t)id < w->n && w->pieces[id] ? w->pieces[id] : "";
	const size_t n = strlen(piece);

	return n > 2 && piece[0] == '[' && piece[n - 1] == ']' ? "" : piece;
}

char *words_text(struct percept_call *call, const struct words *w, const int32_t *ids, uint32_t n)
{
	size_t bytes = 1;

	for (uint32_t i = 0; i < n; i++)
		bytes += strlen(words_piece(w, ids[i])) + 1;
	char *text = percept_alloc(call, bytes), *to = text;

	for (uint32_t i = 0; text && i < n; i++) {
		const char *piece = words_piece(w, ids[i]);
		const int goes_on = !strncmp(piece, "##", 2) && piece[2];
		const int mark = piece[0] && !piece[1] && strchr(".,!?", piece[0]);

		piece += goes_on ? 2 : 0;
		if (!*piece)
			continue;
		if (to > text && !goes_on && !mark)
			*to++ = ' ';
		to = (char *)memcpy(to, piece, strlen(piece)) + strlen(piece);
	}
	return text;
}
