/* picture.c - a picture file through percept-media, as a media item. */
#include "tests/golden/picture.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/media/media-peer.h"

enum { PICTURE_TIMEOUT_MS = 60000 };

static int picture_map(struct percept_media *media, const struct media_answer *answer, int memory)
{
	void *data = answer->status ? MAP_FAILED : mmap(NULL, answer->bytes, PROT_READ, MAP_SHARED, memory, 0);

	if (data == MAP_FAILED)
		return -1;
	*media = (struct percept_media){ .size = sizeof(*media), .modality = PERCEPT_IMAGE, .format = PERCEPT_U8_RGB, .frames = 1,
					 .width = answer->width, .height = answer->height, .channels = 3, .data = data,
					 .bytes = answer->bytes };
	return 0;
}

int picture_open(struct percept_media *media, const char *path, const char *file)
{
	char name[PATH_MAX + 300];
	struct media_request request = peer_request(1);
	struct media_answer answer;
	int memory = -1, failed = -1;

	*media = (struct percept_media){ 0 };
	snprintf(name, sizeof(name), "%s/%s", path, file);
	const int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	struct media_peer peer = peer_start("percept-media", NULL);

	if (!peer_send(&peer, &request, fd) && !peer_receive(&peer, &answer, &memory, PICTURE_TIMEOUT_MS))
		failed = picture_map(media, &answer, memory);
	if (memory >= 0)
		close(memory);
	close(fd);
	peer_stop(&peer);
	return failed;
}

void picture_close(struct percept_media *media)
{
	if (media->data)
		munmap((void *)media->data, media->bytes);
	*media = (struct percept_media){ 0 };
}
