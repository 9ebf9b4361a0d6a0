/* file.c - descriptors: their flags, and what they are. */
#include "config.h"
#include "daemon/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int file_set_cloexec(int fd)
{
	int flags = fcntl(fd, F_GETFD);
	return flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0 ? -errno : 0;
}

int file_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

void file_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Seals do not tell: every file of a tmpfs answers F_GET_SEALS. */
static int file_is_memfd(int fd)
{
	static const char memfd[] = "/memfd:";
	char name[64], link[sizeof(memfd)];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(name, link, sizeof(link));
	return n >= (ssize_t)sizeof(memfd) - 1 && memcmp(link, memfd, sizeof(memfd) - 1) == 0;
}

int file_media_kind(int fd, uint64_t *bytes)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	*bytes = (uint64_t)st.st_size;
	if (st.st_nlink > 0 || !file_is_memfd(fd))
		return FILE_REGULAR;
	int seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & FILE_SEALS) == FILE_SEALS ? FILE_MEMFD : -ENOTSUP;
}

int file_check_sealed(int fd, uint64_t bytes)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & FILE_SEALS) != FILE_SEALS)
		return -EINVAL;
	return fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes ? -EINVAL : 0;
}

static int file_write_all(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t done = write(fd, bytes, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		bytes += done;
		n -= (size_t)done;
	}
	return 0;
}

int file_memfd(const char *name, const void *bytes, size_t n)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	int rc = file_write_all(fd, bytes, n);
	if (rc == 0 && fcntl(fd, F_ADD_SEALS, FILE_SEALS) < 0)
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int file_open_media(const char *path)
{
	struct stat st;
	if (*path != '/')
		return -EINVAL;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -ENOTSUP;
}

int file_read(const char *path, size_t most, char **text, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	size_t room = 4096;
	*n = 0;
	*text = NULL;
	if (fd < 0)
		return -errno;
	for (;;) {
		char *grown = realloc(*text, room + 1);
		if (grown == NULL) {
			rc = -ENOMEM;
			break;
		}
		*text = grown;
		ssize_t got = read(fd, *text + *n, room - *n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			rc = got < 0 ? -errno : 0;
			break;
		}
		*n += (size_t)got;
		if (*n > most) {
			rc = -EFBIG;
			break;
		}
		if (*n == room)
			room *= 2;
	}
	close(fd);
	if (rc < 0) {
		free(*text);
		*text = NULL;
		return rc;
	}
	(*text)[*n] = '\0';
	return 0;
}
