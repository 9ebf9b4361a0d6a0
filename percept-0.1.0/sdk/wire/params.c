/* params.c - reading params that were checked: plain members, and media references. */
#include "sdk/wire/schema.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

double wire_param_number(const cJSON *params, const char *name, double fallback)
{
	const cJSON *value = wire_member(params, name);
	return cJSON_IsNumber(value) ? value->valuedouble : fallback;
}

int64_t wire_param_int(const cJSON *params, const char *name, int64_t fallback)
{
	const cJSON *value = wire_member(params, name);
	return wire_is_int(value) ? (int64_t)value->valuedouble : fallback;
}

int wire_param_bool(const cJSON *params, const char *name, int fallback)
{
	const cJSON *value = wire_member(params, name);
	return cJSON_IsBool(value) ? cJSON_IsTrue(value) : fallback;
}

const char *wire_param_string(const cJSON *params, const char *name, const char *fallback)
{
	const cJSON *value = wire_member(params, name);
	return cJSON_IsString(value) ? value->valuestring : fallback;
}

/* Fills what the part refers to; the part was checked, so one of the four is there. */
static void media_read(struct wire_media *media)
{
	const cJSON *bin = wire_member(media->part, "bin"), *fd = wire_member(media->part, "fd");
	const char *path = wire_param_string(media->part, "path", NULL);
	if (cJSON_IsArray(bin) && wire_is_int(bin->child) && wire_is_int(bin->child->next)) {
		media->reference = WIRE_REF_BIN;
		media->offset = (size_t)bin->child->valuedouble;
		media->length = (size_t)bin->child->next->valuedouble;
	} else if (wire_is_int(fd)) {
		media->reference = WIRE_REF_FD;
		media->fd = (unsigned)fd->valuedouble;
	} else if (path) {
		media->reference = WIRE_REF_PATH;
		media->text = path;
	} else {
		media->text = wire_param_string(media->part, "data", NULL);
		media->reference = media->text ? WIRE_REF_DATA : WIRE_REF_NONE;
	}
}

int wire_media_each(const cJSON *params, int (*visit)(void *arg, const struct wire_media *media), void *arg)
{
	static const struct {
		const char *type, *kind;
	} kinds[] = {{"input_image", "image"}, {"input_audio", "audio"}, {"input_video", "video"}};
	const cJSON *input = wire_member(params, "input"), *item, *part;
	unsigned n = 0, i = 0;
	if (!cJSON_IsArray(input))
		return 0;
	for (item = input->child; item; item = item->next, i++) {
		const cJSON *content = wire_member(item, "content");
		unsigned j = 0;
		for (part = cJSON_IsArray(content) ? content->child : NULL; part; part = part->next, j++) {
			const char *type = wire_param_string(part, "type", "");
			for (size_t k = 0; k < 3; k++) {
				char path[64];
				if (strcmp(type, kinds[k].type) != 0)
					continue;
				snprintf(path, sizeof(path), "input[%u].content[%u]", i, j);
				struct wire_media media = {.part = (cJSON *)part, .kind = kinds[k].kind, .index = n++, .path = path};
				media_read(&media);
				int rc = visit(arg, &media);
				if (rc)
					return rc;
			}
		}
	}
	return 0;
}

struct media_check {
	const struct wire_frame *frame;
	struct wire_error *error;
};

static int media_check_one(void *arg, const struct wire_media *media)
{
	const struct media_check *c = arg;
	char path[80];
	if (media->reference == WIRE_REF_BIN &&
	    (media->offset > c->frame->tail_bytes || media->length > c->frame->tail_bytes - media->offset)) {
		snprintf(path, sizeof(path), "%s.bin", media->path);
		return wire_error_path(c->error, path, "must lie within the frame's tail, which has %zu bytes.",
				       c->frame->tail_bytes);
	}
	if (media->reference == WIRE_REF_FD && media->fd >= c->frame->n_fds) {
		snprintf(path, sizeof(path), "%s.fd", media->path);
		return wire_error_path(c->error, path, "must be below the number of the frame's descriptors, which is %u.",
				       c->frame->n_fds);
	}
	return 0;
}

int wire_media_check(const cJSON *params, const struct wire_frame *frame, struct wire_error *error)
{
	struct media_check check = {frame, error};
	return wire_media_each(params, media_check_one, &check);
}

int wire_media_set_fd(cJSON *part, unsigned fd)
{
	cJSON_DeleteItemFromObjectCaseSensitive(part, "bin");
	cJSON_DeleteItemFromObjectCaseSensitive(part, "fd");
	cJSON_DeleteItemFromObjectCaseSensitive(part, "path");
	cJSON_DeleteItemFromObjectCaseSensitive(part, "data");
	return cJSON_AddNumberToObject(part, "fd", fd) ? 0 : -ENOMEM;
}

static int base64_digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

long wire_base64_decode(const char *text, uint8_t *out)
{
	size_t n = strlen(text), done = 0;
	if (n % 4 != 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 4) {
		int last = i + 4 == n;
		int padding = last && text[i + 3] == '=' ? 1 + (text[i + 2] == '=') : 0;
		uint32_t bits = 0;
		for (int k = 0; k < 4; k++) {
			int digit = k < 4 - padding ? base64_digit((unsigned char)text[i + (size_t)k]) : 0;
			if (digit < 0)
				return -EINVAL;
			bits = bits << 6 | (uint32_t)digit;
		}
		for (int k = 0; k < 3 - padding; k++, done++)
			if (out)
				out[done] = (uint8_t)(bits >> (16 - 8 * k));
	}
	return (long)done;
}
