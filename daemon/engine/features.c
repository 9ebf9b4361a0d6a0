/* features.c - encoders' features in a folder of files, which the engines of a machine share. */
#include "config.h"
#include "daemon/engine/features.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/size.h"
#include "sdk/nn/digest.h"
#include "sdk/wire/place.h"

#define FEATURES_MAGIC "percept-features-1"
#define FEATURES_EXTRA 64 /* further feature maps */
#define FEATURES_SUFFIX ".features"

/* A file: this, times_s [items], item_tokens [items], then f32: data, pooled, extra maps. Of this machine's byte order. */
struct features_head {
	char magic[24];
	struct percept_layout layout; /* its pointers are nobody's: what is there is told below */
	uint64_t pooled_dim;
	uint32_t has_times, has_item_tokens, n_extra, reserved;
	char digest[NN_DIGEST_HEX + 7]; /* SHA-256 of all else */
};

/* Where the parts of a file lie. */
struct features_plan {
	size_t times, tokens, data, pooled, extra, end;
	size_t values; /* of a map */
};

static int features_plan(const struct features_head *head, struct features_plan *p)
{
	size_t rows, bytes, maps;

	if (head->n_extra > FEATURES_EXTRA || head->layout.items == 0 || !size_mul(head->layout.items, head->layout.tokens, &rows) ||
	    !size_mul(rows, head->layout.dim, &p->values) || !size_mul(p->values, sizeof(float), &bytes) ||
	    !size_mul(bytes, head->n_extra + 1, &maps) || maps > SIZE_MAX / 4 || head->pooled_dim > UINT32_MAX)
		return -EINVAL;
	p->times = sizeof(*head);
	p->tokens = p->times + (head->has_times ? head->layout.items * sizeof(double) : 0);
	p->data = p->tokens + (head->has_item_tokens ? head->layout.items * sizeof(uint32_t) : 0);
	p->pooled = p->data + bytes;
	p->extra = p->pooled + head->pooled_dim * sizeof(float);
	p->end = p->extra + bytes * head->n_extra;
	return 0;
}

int features_open(struct features_store *store, const char *where, uint64_t budget, struct wire_error *error)
{
	const char *folder = strcmp(where, "auto") == 0 ? getenv("PERCEPT_FEATURES") : strcmp(where, "off") == 0 ? NULL : where;
	char path[PATH_MAX];

	*store = (struct features_store){.budget = budget};
	if (!folder || !*folder || budget == 0)
		return 0;
	if (place_expand(folder, path) || path[0] != '/')
		return wire_error_set(error, WIRE_PARAMS, "features = %.200s is neither auto, off nor an absolute folder.", folder);
	if (mkdir(path, 0700) && errno != EEXIST)
		return wire_error_set(error, WIRE_PARAMS, "The folder of features %s cannot be made: %s.", path, strerror(errno));
	store->folder = strdup(path);
	return store->folder ? 0 : wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
}

void features_close(struct features_store *store)
{
	free(store->folder);
	*store = (struct features_store){0};
}

static int features_path(const struct features_store *store, const char *key, const char *suffix, char path[PATH_MAX])
{
	const int n = snprintf(path, PATH_MAX, "%s/%s%s", store->folder, key, suffix);

	return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int features_read(int fd, void *to, size_t bytes)
{
	for (size_t n = 0; n < bytes;) {
		const ssize_t got = read(fd, (char *)to + n, bytes - n);

		if (got == 0 || (got < 0 && errno != EINTR))
			return -EIO;
		n += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

/* One stretch of a file. */
struct features_stretch {
	const void *data;
	size_t bytes;
};

/* The head's digest, of its other members and what follows. 0 or -errno. */
static int features_digest(const struct features_head *head, const struct features_stretch *rest, size_t n, char digest[NN_DIGEST_HEX])
{
	struct nn_digest *d = nn_digest_new();

	if (d)
		nn_digest_add(d, head, offsetof(struct features_head, digest));
	for (size_t i = 0; d && i < n; i++)
		nn_digest_add(d, rest[i].data, rest[i].bytes);
	const int r = d ? nn_digest_end(d, digest) : -ENOMEM;

	nn_digest_free(d);
	return r;
}

/* The file behind its head, in the call's memory; NULL if it is not what the head says. */
static char *features_body(int fd, struct percept_call *call, struct features_head *head, struct features_plan *p)
{
	char digest[NN_DIGEST_HEX];
	struct stat st;
	char *body;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || features_read(fd, head, sizeof(*head)) ||
	    memcmp(head->magic, FEATURES_MAGIC, sizeof(FEATURES_MAGIC)) || features_plan(head, p) ||
	    st.st_size != (off_t)p->end)
		return NULL;
	body = percept_alloc(call, p->end);
	if (!body || features_read(fd, body + sizeof(*head), p->end - sizeof(*head)))
		return NULL;
	const struct features_stretch rest = {body + sizeof(*head), p->end - sizeof(*head)};

	return features_digest(head, &rest, 1, digest) == 0 && memcmp(digest, head->digest, sizeof(digest)) == 0 ? body : NULL;
}

int features_load(const struct features_store *store, const char *key, struct percept_call *call, struct percept_features *features)
{
	struct features_head head;
	struct features_plan p;
	char path[PATH_MAX];
	const int fd = !store->folder || features_path(store, key, FEATURES_SUFFIX, path) ? -1 :
		       open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *body = fd < 0 ? NULL : features_body(fd, call, &head, &p);
	const float **extra = body && head.n_extra ? percept_alloc(call, head.n_extra * sizeof(*extra)) : NULL;

	if (body)
		futimens(fd, NULL);
	if (fd >= 0)
		close(fd);
	if (!body || (head.n_extra && !extra))
		return -ENOENT;
	for (uint32_t i = 0; i < head.n_extra; i++)
		extra[i] = (const float *)(void *)(body + p.extra) + i * p.values;
	features->layout = head.layout;
	features->layout.size = sizeof(features->layout);
	features->layout.times_s = head.has_times ? (const double *)(void *)(body + p.times) : NULL;
	features->layout.item_tokens = head.has_item_tokens ? (const uint32_t *)(void *)(body + p.tokens) : NULL;
	features->data = (const float *)(void *)(body + p.data);
	features->pooled = head.pooled_dim ? (const float *)(void *)(body + p.pooled) : NULL;
	features->pooled_dim = head.pooled_dim;
	features->n_extra = head.n_extra;
	features->extra = extra;
	return 0;
}

/* ---- keeping ---- */

struct features_file {
	char name[NAME_MAX + 1];
	uint64_t bytes;
	struct timespec used;
};

static int features_by_use(const void *a, const void *b)
{
	const struct timespec *x = &((const struct features_file *)a)->used, *y = &((const struct features_file *)b)->used;

	return x->tv_sec != y->tv_sec ? (x->tv_sec < y->tv_sec ? -1 : 1) : (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* The folder's files of ours, by malloc, and how many. */
static struct features_file *features_list(DIR *folder, size_t *n)
{
	struct features_file *list = NULL;
	const struct dirent *entry;
	size_t room = 0;
	struct stat st;

	*n = 0;
	while ((entry = readdir(folder))) {
		const size_t length = strlen(entry->d_name), suffix = sizeof(FEATURES_SUFFIX) - 1;

		if (length <= suffix || strcmp(entry->d_name + length - suffix, FEATURES_SUFFIX) ||
		    fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		if (*n == room) {
			struct features_file *more = reallocarray(list, room = room ? room * 2 : 64, sizeof(*list));

			if (!more)
				break;
			list = more;
		}
		memcpy(list[*n].name, entry->d_name, length + 1);
		list[*n].bytes = (uint64_t)st.st_size;
		list[(*n)++].used = st.st_mtim;
	}
	return list;
}

static void features_trim(const struct features_store *store)
{
	DIR *folder = opendir(store->folder);
	uint64_t all = 0;
	size_t n = 0;
	struct features_file *list = folder ? features_list(folder, &n) : NULL;

	for (size_t i = 0; i < n; i++)
		all += list[i].bytes;
	if (all > store->budget)
		qsort(list, n, sizeof(*list), features_by_use);
	for (size_t i = 0; i < n && all > store->budget; i++) {
		unlinkat(dirfd(folder), list[i].name, 0);
		all -= list[i].bytes;
	}
	free(list);
	if (folder)
		closedir(folder);
}

static int features_write(FILE *file, const struct percept_features *f, struct features_head *head, const struct features_plan *p)
{
	struct features_stretch rest[4 + FEATURES_EXTRA] = {
		{f->layout.times_s, p->tokens - p->times}, {f->layout.item_tokens, p->data - p->tokens},
		{f->data, p->pooled - p->data}, {f->pooled, p->extra - p->pooled},
	};
	const size_t n = 4 + head->n_extra;

	for (uint32_t i = 0; i < head->n_extra; i++)
		rest[4 + i] = (struct features_stretch){f->extra[i], p->values * sizeof(float)};
	if (features_digest(head, rest, n, head->digest) || fwrite(head, sizeof(*head), 1, file) != 1)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		if (rest[i].bytes && fwrite(rest[i].data, rest[i].bytes, 1, file) != 1)
			return -EIO;
	return 0;
}

void features_save(const struct features_store *store, const char *key, const struct percept_features *f)
{
	struct features_head head = {
		.magic = FEATURES_MAGIC, .layout = f->layout, .pooled_dim = f->pooled ? f->pooled_dim : 0,
		.has_times = f->layout.times_s != NULL, .has_item_tokens = f->layout.item_tokens != NULL, .n_extra = f->n_extra,
	};
	struct features_plan p;
	char path[PATH_MAX], part[PATH_MAX];

	head.layout.times_s = NULL;
	head.layout.item_tokens = NULL;
	if (!store->folder || features_plan(&head, &p) || p.end > store->budget || features_path(store, key, FEATURES_SUFFIX, path) ||
	    features_path(store, key, ".XXXXXX", part))
		return;
	const int fd = mkostemp(part, O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	int r = file ? features_write(file, f, &head, &p) : -EIO;

	if (file ? fclose(file) : fd >= 0 && close(fd))
		r = -EIO;
	if (r == 0 && rename(part, path) == 0) {
		features_trim(store);
		return;
	}
	log_warn("features", "file=%s error=\"%s\"", path, strerror(errno));
	if (fd >= 0)
		unlink(part);
}
