/* text.c - growing byte strings, UTF-8, and small files. */
#include "sdk/nn/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int text_reserve(void *array, size_t *room, size_t need, size_t size)
{
	void **items = array;
	size_t bytes, grown = *room > SIZE_MAX / 2 ? SIZE_MAX : *room * 2;

	if (need <= *room)
		return 0;
	if (grown < need)
		grown = need;
	if (grown < 16)
		grown = 16;
	if (__builtin_mul_overflow(grown, size, &bytes))
		return -ENOMEM;
	void *moved = realloc(*items, bytes);

	if (!moved)
		return -ENOMEM;
	*items = moved;
	*room = grown;
	return 0;
}

int text_put(struct text *t, const void *bytes, size_t n)
{
	size_t need;

	if (__builtin_add_overflow(t->n, n, &need) || __builtin_add_overflow(need, 1, &need))
		return -ENOMEM;
	if (text_reserve(&t->data, &t->room, need, 1))
		return -ENOMEM;
	if (n)
		memcpy(t->data + t->n, bytes, n);
	t->n += n;
	t->data[t->n] = '\0';
	return 0;
}

int text_puts(struct text *t, const char *string)
{
	return text_put(t, string, strlen(string));
}

int text_put_char(struct text *t, uint32_t c)
{
	unsigned char b[4];

	if (c < 0x80) {
		b[0] = (unsigned char)c;
		return text_put(t, b, 1);
	}
	if (c < 0x800) {
		b[0] = (unsigned char)(0xc0 | c >> 6);
		b[1] = (unsigned char)(0x80 | (c & 63));
		return text_put(t, b, 2);
	}
	if (c < 0x10000) {
		b[0] = (unsigned char)(0xe0 | c >> 12);
		b[1] = (unsigned char)(0x80 | (c >> 6 & 63));
		b[2] = (unsigned char)(0x80 | (c & 63));
		return text_put(t, b, 3);
	}
	b[0] = (unsigned char)(0xf0 | (c >> 18 & 7));
	b[1] = (unsigned char)(0x80 | (c >> 12 & 63));
	b[2] = (unsigned char)(0x80 | (c >> 6 & 63));
	b[3] = (unsigned char)(0x80 | (c & 63));
	return text_put(t, b, 4);
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}

size_t utf8_length(unsigned char first)
{
	return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t utf8_get(const char *s, size_t n, uint32_t *c, int *valid)
{
	const unsigned char *b = (const unsigned char *)s;
	size_t length = utf8_length(b[0]), i = 1;
	unsigned char low = 0x80, high = 0xbf;
	uint32_t value = b[0];

	if (valid)
		*valid = 1;
	*c = value;
	if (b[0] < 0x80)
		return 1;
	if (b[0] >= 0xc2 && b[0] <= 0xf4) {
		/* The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF. */
		low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
		high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
		value &= length == 2 ? 0x1f : length == 3 ? 0x0f : 0x07;
		for (; i < length && i < n && b[i] >= low && b[i] <= high; i++) {
			value = value << 6 | (b[i] & 63);
			low = 0x80;
			high = 0xbf;
		}
		if (i == length) {
			*c = value;
			return length;
		}
	}
	if (valid)
		*valid = 0;
	*c = 0xfffd;
	return i;
}

int utf8_valid(const char *s, size_t n)
{
	uint32_t c;
	int valid = 1;

	for (size_t i = 0; i < n && valid;)
		i += utf8_get(s + i, n - i, &c, &valid);
	return valid;
}

int utf8_put_valid(struct text *out, const char *s, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n;) {
		uint32_t c;
		int valid;
		size_t length = utf8_get(s + i, n - i, &c, &valid);

		if (!valid) {
			if (text_put(out, s + from, i - from) || text_put(out, "\xef\xbf\xbd", 3))
				return -ENOMEM;
			from = i + length;
		}
		i += length;
	}
	return text_put(out, s + from, n - from);
}

static int text_read_all(struct text *out, int fd, size_t size)
{
	if (text_reserve(&out->data, &out->room, size + 1, 1))
		return -ENOMEM;
	while (out->n < size) {
		ssize_t got = read(fd, out->data + out->n, size - out->n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		out->n += (size_t)got;
	}
	out->data[out->n] = '\0';
	return 0;
}

int text_read(struct text *out, const char *directory, const char *name, size_t limit, struct nn_error *error)
{
	char path[4096];
	struct stat st;
	int fd, failed;

	*out = (struct text){0};
	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return nn_fail(error, -ENAMETOOLONG, "The path %.100s... is too long.", directory);
	/* Without O_NONBLOCK a FIFO of that name would block. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 || fstat(fd, &st)) {
		failed = -errno;
		nn_fail(error, failed, "%s cannot be read: %s.", path, strerror(-failed));
	} else if (!S_ISREG(st.st_mode)) {
		failed = nn_fail(error, -EINVAL, "%s is not a regular file.", path);
	} else if ((uint64_t)st.st_size > limit) {
		failed = nn_fail(error, -EFBIG, "%s is larger than %zu MiB.", path, limit >> 20);
	} else {
		failed = text_read_all(out, fd, (size_t)st.st_size);
		if (failed)
			nn_fail(error, failed, "%s cannot be read: %s.", path, strerror(-failed));
	}
	if (fd >= 0)
		close(fd);
	if (failed)
		text_free(out);
	return failed;
}
