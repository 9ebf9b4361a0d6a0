/* checkpoint.c - a model's files: found, mapped, indexed by name, and named by their content. */
#include "sdk/nn/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/nn/arena.h"
#include "sdk/nn/checkpoint-impl.h"
#include "sdk/nn/digest.h"

enum { CHECKPOINT_JSON_MAX = 32 << 20, CHECKPOINT_WHOLE = 64 << 20, CHECKPOINT_SAMPLES = 64, CHECKPOINT_SAMPLE = 64 << 10 };

static char *checkpoint_join(const char *directory, const char *name)
{
	size_t n = strlen(directory) + strlen(name) + 2;
	char *path = malloc(n);

	if (path)
		snprintf(path, n, "%s/%s", directory, name);
	return path;
}

/* Maps a regular file that is not empty. */
static int file_open(struct checkpoint_file *file, const char *path, struct nn_error *error)
{
	/* A FIFO must not hold up the caller. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		return nn_fail(error, -errno, "%s: cannot be opened: %s.", path, strerror(errno));
	if (fstat(file->fd, &file->stat))
		return nn_fail(error, -errno, "%s: cannot be examined: %s.", path, strerror(errno));
	if (!S_ISREG(file->stat.st_mode) || file->stat.st_size <= 0)
		return nn_fail(error, -EINVAL, "%s: is %s.", path, S_ISREG(file->stat.st_mode) ? "empty" : "not a regular file");
	if ((uint64_t)file->stat.st_size > SIZE_MAX / 2)
		return nn_fail(error, -EFBIG, "%s: is too large.", path);
	void *map = mmap(NULL, (size_t)file->stat.st_size, PROT_READ, MAP_PRIVATE, file->fd, 0);

	if (map == MAP_FAILED)
		return nn_fail(error, -errno, "%s: cannot be mapped: %s.", path, strerror(errno));
	file->bytes = map;
	file->size = (size_t)file->stat.st_size;
	return 0;
}

static void file_close(struct checkpoint_file *file)
{
	nn_safetensors_fini(&file->st);
	nn_gguf_fini(&file->gguf);
	if (file->bytes)
		munmap((void *)file->bytes, file->size);
	if (file->fd >= 0)
		close(file->fd);
	free(file->name);
}

void checkpoint_forget(struct nn_checkpoint *cp, const struct nn_weight *w)
{
	const struct checkpoint_file *file = &cp->files[w->file];
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), data = (uintptr_t)w->data, map = (uintptr_t)file->bytes;
	const uintptr_t begin = (data + page - 1) / page * page, end = (data + w->bytes) / page * page;

	/* Some weights lie in the arena. */
	if (data >= map && data + w->bytes <= map + file->size && begin < end)
		madvise((void *)begin, end - begin, MADV_DONTNEED);
}

int checkpoint_changed(const struct checkpoint_file *file)
{
	struct stat now;

	return fstat(file->fd, &now) || now.st_size != file->stat.st_size ||
	       now.st_mtim.tv_sec != file->stat.st_mtim.tv_sec || now.st_mtim.tv_nsec != file->stat.st_mtim.tv_nsec;
}

/* Reads a JSON object; a missing file is an empty one where `maybe`. Its bytes go to *text for the identity. */
static cJSON *checkpoint_json(const char *path, int maybe, char **text, size_t *bytes, struct nn_error *error)
{
	struct checkpoint_file file = { .fd = -1 };
	cJSON *root = NULL;

	*text = NULL;
	*bytes = 0;
	if (maybe && access(path, F_OK) && errno == ENOENT)
		return cJSON_CreateObject();
	if (file_open(&file, path, error))
		goto out;
	if (file.size > CHECKPOINT_JSON_MAX) {
		nn_fail(error, -EFBIG, "%s: has %zu bytes; at most %d are allowed.", path, file.size, CHECKPOINT_JSON_MAX);
		goto out;
	}
	*text = malloc(file.size + 1);
	ssize_t got = *text ? pread(file.fd, *text, file.size, 0) : -1;

	if (got < 0 || (size_t)got != file.size) {
		nn_fail(error, *text ? -EIO : -ENOMEM, "%s: cannot be read.", path);
		goto out;
	}
	(*text)[file.size] = 0;
	*bytes = file.size;
	root = cJSON_ParseWithOpts(*text, NULL, 1);
	if (!root || !cJSON_IsObject(root)) {
		nn_fail(error, -EINVAL, "%s: is not a valid JSON object.", path);
		cJSON_Delete(root);
		root = NULL;
	}
out:
	file_close(&file);
	return root;
}

/* Maps and parses one file of weights; `name` lies in the checkpoint's directory. */
static int checkpoint_add(struct nn_checkpoint *cp, const char *directory, const char *name, struct nn_error *error)
{
	struct checkpoint_file *files = realloc(cp->files, (cp->n_files + 1) * sizeof(*files));
	char *path = checkpoint_join(directory, name);
	int err = -ENOMEM;

	if (files)
		cp->files = files;
	if (!files || !path) {
		nn_fail(error, -ENOMEM, "%s: memory is out.", name);
		goto out;
	}
	struct checkpoint_file *file = &files[cp->n_files++];

	*file = (struct checkpoint_file){ .fd = -1, .name = strdup(name) };
	err = file->name ? file_open(file, path, error) : nn_fail(error, -ENOMEM, "%s: memory is out.", name);
	if (!err)
		err = checkpoint_is_gguf(file, path) ? checkpoint_gguf_parse(file, path, error) :
						       nn_safetensors_parse(&file->st, file->bytes, file->size, path, error);
	/* Cut short while it was parsed: the map's last pages may be gone. */
	if (!err && checkpoint_changed(file))
		err = nn_fail(error, -EBUSY, "%s: the file changed while it was read; try again.", path);
out:
	free(path);
	return err;
}

static int checkpoint_has_file(const struct nn_checkpoint *cp, const char *name)
{
	for (size_t i = 0; i < cp->n_files; i++)
		if (!strcmp(cp->files[i].name, name))
			return 1;
	return 0;
}

/* All files that the index names. */
static int checkpoint_add_shards(struct nn_checkpoint *cp, const char *index_path, struct nn_error *error)
{
	const cJSON *map = nn_config_object(cp->index, "weight_map");

	if (!map || !map->child)
		return nn_fail(error, -EINVAL, "%s: has no \"weight_map\".", index_path);
	for (const cJSON *m = map->child; m; m = m->next) {
		const char *name = cJSON_GetStringValue(m);

		if (!name || !*name || *name == '.' || strchr(name, '/'))
			return nn_fail(error, -EINVAL, "%s: \"weight_map\" must name files of the same directory.", index_path);
		if (checkpoint_has_file(cp, name))
			continue;
		if (cp->n_files == CHECKPOINT_FILES_MAX)
			return nn_fail(error, -EINVAL, "%s: names more than %d files.", index_path, CHECKPOINT_FILES_MAX);
		int err = checkpoint_add(cp, cp->directory, name, error);

		if (err)
			return err;
	}
	return 0;
}

static int checkpoint_compare(const void *a, const void *b)
{
	const struct nn_weight *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* One list of all files' tensors, and one sorted by name. */
static int checkpoint_index(struct nn_checkpoint *cp, struct nn_error *error)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < cp->n_files; i++)
		n += cp->files[i].st.n;
	cp->all = calloc(n + 1, sizeof(*cp->all));
	cp->by_name = calloc(n + 1, sizeof(*cp->by_name));
	if (!cp->all || !cp->by_name)
		return nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
	for (size_t i = 0; i < cp->n_files; i++) {
		for (size_t j = 0; j < cp->files[i].st.n; j++, at++) {
			cp->all[at] = cp->by_name[at] = &cp->files[i].st.weights[j];
			cp->all[at]->file = (uint32_t)i;
			cp->bytes += cp->all[at]->bytes;
		}
	}
	cp->n = n;
	qsort(cp->by_name, n, sizeof(*cp->by_name), checkpoint_compare);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(cp->by_name[i - 1]->name, cp->by_name[i]->name))
			return nn_fail(error, -EINVAL, "%s: tensor \"%.200s\" is in two files.", cp->path, cp->by_name[i]->name);
	const cJSON *map = nn_config_object(cp->index, "weight_map");

	for (const cJSON *m = map ? map->child : NULL; m; m = m->next) {
		const struct nn_weight *w = nn_checkpoint_weight(cp, m->string);

		if (!w || strcmp(cp->files[w->file].name, m->valuestring))
			return nn_fail(error, -EINVAL, "%s: tensor \"%.200s\" is not in %s as the index says.", cp->path, m->string,
				       m->valuestring);
	}
	return 0;
}

/* OpenCLIP's own files: their weights were named, or there is no other configuration. */
static int checkpoint_is_openclip(const struct nn_checkpoint *cp)
{
	static const char weights[] = "open_clip_model.safetensors";
	const size_t n = strlen(cp->path), m = sizeof(weights) - 1;
	char *usual = checkpoint_join(cp->directory, "config.json"), *own = checkpoint_join(cp->directory, "open_clip_config.json");
	const int named = n >= m && !strcmp(cp->path + n - m, weights);
	const int is = usual && own && !access(own, F_OK) && (named || access(usual, F_OK));

	free(usual);
	free(own);
	return is;
}

/* Finds the files of a directory, or the directory of a file. */
static int checkpoint_find(struct nn_checkpoint *cp, struct nn_error *error)
{
	struct stat st;
	char *text = NULL;
	size_t bytes;

	if (stat(cp->path, &st))
		return nn_fail(error, -errno, "%s: cannot be opened: %s.", cp->path, strerror(errno));
	if (!S_ISDIR(st.st_mode)) {
		const char *slash = strrchr(cp->path, '/');

		cp->directory = slash ? strndup(cp->path, (size_t)(slash - cp->path) + (slash == cp->path)) : strdup(".");
		if (!cp->directory)
			return nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
		int err = checkpoint_add(cp, cp->directory, slash ? slash + 1 : cp->path, error);

		return err || !cp->files[0].is_gguf ? err : checkpoint_gguf_parts(cp, error, checkpoint_add);
	}
	cp->directory = strdup(cp->path);
	char *index = checkpoint_join(cp->path, "model.safetensors.index.json");
	const char *name = cp->directory && checkpoint_is_openclip(cp) ? "open_clip_model.safetensors" : "model.safetensors";
	char *single = checkpoint_join(cp->path, name);
	int err;

	if (!cp->directory || !index || !single)
		err = nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
	else if (access(single, F_OK) && !access(index, F_OK)) {
		cp->index = checkpoint_json(index, 0, &text, &bytes, error);
		err = cp->index ? checkpoint_add_shards(cp, index, error) : -EINVAL;
	} else
		err = checkpoint_add(cp, cp->path, name, error);
	free(text);
	free(single);
	free(index);
	return err;
}

/* What a picture tower's GGUF file says, as config.json would. */
static cJSON *checkpoint_mmproj_config(struct nn_checkpoint *cp, struct nn_error *error)
{
	if (nn_mmproj_read(&cp->mmproj, nn_checkpoint_gguf(cp), cp->path, error))
		return NULL;
	cJSON *config = nn_mmproj_config(&cp->mmproj);

	if (!config)
		nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
	return config;
}

/* config.json, or what a GGUF file says. */
static cJSON *checkpoint_config(struct nn_checkpoint *cp, struct nn_error *error)
{
	const struct nn_gguf *gguf = nn_checkpoint_gguf(cp);

	if (gguf)
		return nn_mmproj_is(gguf) ? checkpoint_mmproj_config(cp, error) : checkpoint_gguf_config(gguf, cp->path, error);
	char *path = checkpoint_join(cp->directory, checkpoint_is_openclip(cp) ? "open_clip_config.json" : "config.json");
	cJSON *config = path ? checkpoint_json(path, 1, &cp->config_text, &cp->config_bytes, error) : NULL;

	if (!path)
		nn_fail(error, -ENOMEM, "%s: memory is out.", cp->path);
	free(path);
	return config;
}

struct nn_checkpoint *nn_checkpoint_open(const char *path, struct nn_error *error)
{
	struct nn_checkpoint *cp = calloc(1, sizeof(*cp));

	if (!cp || !(cp->path = strdup(path)) || !(cp->arena = nn_arena_new(0))) {
		nn_fail(error, -ENOMEM, "%s: memory is out.", path);
		goto fail;
	}
	if (checkpoint_find(cp, error))
		goto fail;
	cp->config = checkpoint_config(cp, error);
	if (!cp->config || checkpoint_index(cp, error) || (cp->mmproj.family && checkpoint_mmproj_names(cp, error)))
		goto fail;
	return cp;
fail:
	nn_checkpoint_close(cp);
	return NULL;
}

void nn_checkpoint_close(struct nn_checkpoint *cp)
{
	if (!cp)
		return;
	for (size_t i = 0; i < cp->n_files; i++)
		file_close(&cp->files[i]);
	free(cp->files);
	free(cp->all);
	free(cp->by_name);
	checkpoint_mmproj_free(cp);
	nn_arena_free(cp->arena);
	cJSON_Delete(cp->index);
	cJSON_Delete(cp->config);
	free(cp->config_text);
	free(cp->directory);
	free(cp->path);
	free(cp);
}

const cJSON *nn_checkpoint_config(const struct nn_checkpoint *cp)
{
	return cp->config;
}

const char *nn_checkpoint_path(const struct nn_checkpoint *cp)
{
	return cp->path;
}

uint64_t nn_checkpoint_bytes(const struct nn_checkpoint *cp)
{
	return cp->bytes;
}

size_t nn_checkpoint_count(const struct nn_checkpoint *cp)
{
	return cp->n;
}

struct nn_weight *nn_checkpoint_at(struct nn_checkpoint *cp, size_t index)
{
	return index < cp->n ? cp->all[index] : NULL;
}

struct nn_weight *nn_checkpoint_weight(struct nn_checkpoint *cp, const char *name)
{
	struct nn_weight key = { .name = name }, *p = &key;
	struct nn_weight **found = cp->n ? bsearch(&p, cp->by_name, cp->n, sizeof(p), checkpoint_compare) : NULL;

	return found ? *found : cp->view ? checkpoint_mmproj_weight(cp, name) : NULL;
}

void nn_checkpoint_compute(struct nn_checkpoint *cp, enum nn_compute how)
{
	cp->compute = how;
	cp->whole = 1;
}

void *nn_checkpoint_alloc(struct nn_checkpoint *cp, size_t bytes)
{
	return nn_arena_alloc(cp->arena, bytes);
}

/* What of a large file is looked at: header, size, change time, and evenly spaced samples of its data. */
static void identity_sample(struct nn_digest *d, const struct checkpoint_file *file)
{
	int64_t facts[3] = { file->stat.st_size, file->stat.st_mtim.tv_sec, file->stat.st_mtim.tv_nsec };
	size_t step = file->size / CHECKPOINT_SAMPLES;

	nn_digest_field(d, facts, sizeof(facts));
	nn_digest_field(d, file->bytes, file->st.header_bytes);
	for (size_t i = 0; i < CHECKPOINT_SAMPLES; i++)
		nn_digest_field(d, file->bytes + i * step, step < CHECKPOINT_SAMPLE ? step : CHECKPOINT_SAMPLE);
}

const char *nn_checkpoint_identity(struct nn_checkpoint *cp)
{
	struct nn_digest *d = cp->identity[0] ? NULL : nn_digest_new();
	size_t total = 0;

	if (!d)
		return cp->identity;
	for (size_t i = 0; i < cp->n_files; i++)
		total += cp->files[i].size;
	nn_digest_field(d, cp->config_text, cp->config_bytes);
	for (size_t i = 0; i < cp->n_files; i++) {
		nn_digest_field(d, cp->files[i].name, strlen(cp->files[i].name));
		if (total <= CHECKPOINT_WHOLE)
			nn_digest_field(d, cp->files[i].bytes, cp->files[i].size);
		else
			identity_sample(d, &cp->files[i]);
	}
	nn_digest_end(d, cp->identity);
	nn_digest_free(d);
	return cp->identity;
}
