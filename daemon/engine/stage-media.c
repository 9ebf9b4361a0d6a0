/* stage-media.c - a decoded item that perceptd passed on: mapped, checked again, named by its content. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/file.h"
#include "daemon/base/size.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

/* Bytes that the item's numbers say; 0 if they make no sense. */
static size_t stage_media_bytes(const struct percept_media *media)
{
	size_t bytes;

	if (media->modality == PERCEPT_AUDIO)
		return size_mul(media->samples, sizeof(float), &bytes) ? bytes : 0;
	if (!size_mul(media->width, media->height, &bytes) || !size_mul(bytes, 3, &bytes) || !size_mul(bytes, media->frames, &bytes))
		return 0;
	return bytes;
}

struct stage_field {
	const void *data;
	size_t bytes;
};

static struct stage_field stage_text(const char *text)
{
	return (struct stage_field){text ? text : "", text ? strlen(text) : 0};
}

static int stage_digest(const struct stage_field *fields, size_t n, char hex[NN_DIGEST_HEX])
{
	struct nn_digest *digest = nn_digest_new();

	for (size_t i = 0; digest && i < n; i++)
		nn_digest_field(digest, fields[i].data, fields[i].bytes);
	const int r = digest ? nn_digest_end(digest, hex) : -ENOMEM;

	nn_digest_free(digest);
	return r;
}

static const char *stage_part_name(const struct part *part)
{
	return part ? part->plugin.api->name : NULL;
}

/* Names the item by what its features come from, and by that and what becomes of them. */
static int stage_media_name(struct request *request, struct item *item)
{
	const struct percept_media *m = &item->media;
	const struct lane *lane = &request->engine->assembly.lanes[item->lane];
	const uint64_t numbers[] = {m->modality, m->format, m->frames, m->width, m->height, m->channels, m->detail, m->max_tokens,
				    m->samples, (uint64_t)(m->rate_hz * 1000)};
	const struct stage_field first[] = {{numbers, sizeof(numbers)}, stage_text(stage_part_name(lane->encoder)),
					    stage_text(lane->encoder_info.identity), {m->data, m->bytes}};
	const int r = stage_digest(first, sizeof(first) / sizeof(first[0]), item->features_key);
	const struct stage_field second[] = {
		stage_text(item->features_key), stage_text(stage_part_name(lane->connector)), stage_text(lane->connector_info.identity),
		stage_text(lane->connector_info.needs_text ? request->instruction : NULL), stage_text(stage_part_name(lane->expert)),
		stage_text(lane->expert_info.identity), stage_text(lane->expert ? lane->expert->template : NULL)};

	return r ? r : stage_digest(second, sizeof(second) / sizeof(second[0]), item->key);
}

int stage_media(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	size_t bytes = stage_media_bytes(&item->media);

	if (bytes == 0)
		return wire_error_set(error, WIRE_MEDIA, "The media item is empty.");
	if (file_check_sealed(item->fd, bytes))
		return wire_error_set(error, WIRE_INTERNAL, "A decoded media item came without seals, or with another size than %zu bytes.",
				      bytes);
	void *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, item->fd, 0);

	if (data == MAP_FAILED)
		return wire_error_set(error, WIRE_INTERNAL, "A decoded media item could not be mapped: %s.", strerror(errno));
	file_close(&item->fd);
	item->media.data = data;
	item->media.bytes = bytes;
	const int connects = request->kind != REQUEST_EMBEDDING || request->space != REQUEST_ENCODER;
	const int r = connects && item->media.max_tokens ? stage_bound(request, item, call, error) : 0;

	if (r)
		return r;
	if (stage_media_name(request, item))
		return wire_error_set(error, WIRE_INTERNAL, "A media item could not be named by its content.");
	return 0;
}

void stage_media_end(struct item *item)
{
	if (item->media.data)
		munmap((void *)item->media.data, item->media.bytes);
	item->media.data = NULL;
	file_close(&item->fd);
}
