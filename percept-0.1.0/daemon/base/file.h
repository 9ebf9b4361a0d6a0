/* file.h - descriptors: their flags, and what they are. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* 0 or -errno. [any] */
int file_set_cloexec(int fd);
int file_set_nonblocking(int fd);
/* Closes *fd if it is one, and sets it to -1. [any] */
void file_close(int *fd);

/* What may be read as media (PROTOCOL 6). */
enum file_kind { FILE_REGULAR = 1, FILE_MEMFD = 2 };
/* FILE_REGULAR, FILE_MEMFD (sealed against writing, shrinking, growing, further seals), -EBADF if it is open for
 * writing only, -ENOTSUP for all else (FIFOs, devices, sockets, folders, memfds that are not sealed). *bytes is its
 * size. [any] */
int file_media_kind(int fd, uint64_t *bytes);
/* A memfd with all four seals of just `bytes` bytes: 0, or -EINVAL. [any] */
int file_check_sealed(int fd, uint64_t bytes);
/* A sealed memfd with these bytes, or -errno. [any] */
int file_memfd(const char *name, const void *bytes, size_t n);
/* Opens a client's path: absolute, O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, a regular file. fd or -errno. [any] */
int file_open_media(const char *path);
/* The whole of a file of at most `most` bytes, with a NUL behind, by malloc. -EFBIG if it is longer. [any] */
int file_read(const char *path, size_t most, char **text, size_t *n);

#endif
