/* gguf-file.c - a GGUF file's header alone, for those who want its texts and not its weights. */
#include "sdk/nn/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int nn_gguf_is_path(const char *path)
{
	const size_t n = strlen(path);

	return n > 5 && !strcmp(path + n - 5, ".gguf");
}

static int gguf_file_map(struct nn_gguf_file *file, int fd, const char *path, struct nn_error *error)
{
	struct stat st;

	if (fstat(fd, &st))
		return nn_fail(error, -errno, "%s: cannot be examined: %s.", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return nn_fail(error, -EINVAL, "%s: is %s.", path, S_ISREG(st.st_mode) ? "empty" : "not a regular file");
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (map == MAP_FAILED)
		return nn_fail(error, -errno, "%s: cannot be mapped: %s.", path, strerror(errno));
	file->bytes = map;
	file->size = (size_t)st.st_size;
	return nn_gguf_parse(&file->g, map, file->size, path, error);
}

int nn_gguf_open(struct nn_gguf_file *file, const char *path, struct nn_error *error)
{
	/* A FIFO must not hold up the caller. */
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	*file = (struct nn_gguf_file){ 0 };
	if (fd < 0)
		return nn_fail(error, -errno, "%s: cannot be opened: %s.", path, strerror(errno));
	const int failed = gguf_file_map(file, fd, path, error);

	close(fd);
	if (failed)
		nn_gguf_close(file);
	return failed;
}

void nn_gguf_close(struct nn_gguf_file *file)
{
	nn_gguf_fini(&file->g);
	if (file->bytes)
		munmap((void *)file->bytes, file->size);
	*file = (struct nn_gguf_file){ 0 };
}
