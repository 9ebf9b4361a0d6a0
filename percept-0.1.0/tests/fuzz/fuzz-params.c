/* fuzz-params.c - params of every method against the table; the first byte names the method. */
#include <stdint.h>
#include <stdlib.h>

#include "sdk/wire/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int see(void *arg, const struct wire_media *media)
{
	return media->part == NULL || media->kind == NULL || media->path == NULL ? abort(), 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t methods = 0;
	while (wire_methods[methods] && wire_methods[methods]->stage == 1)
		methods++;
	if (size == 0)
		return 0;
	cJSON *params = wire_json_parse((const char *)data + 1, size - 1, NULL);
	struct wire_error error = {0};
	if (params && wire_method_check(wire_methods[data[0] % methods], params, &error) == 0) {
		struct wire_frame frame = {.tail_bytes = 100, .n_fds = 2};
		wire_media_each(params, see, NULL);
		wire_media_check(params, &frame, &error);
	} else if (params && (error.code != WIRE_PARAMS || wire_member(error.data, "path") == NULL)) {
		abort();
	}
	wire_error_fini(&error);
	cJSON_Delete(params);
	return 0;
}
