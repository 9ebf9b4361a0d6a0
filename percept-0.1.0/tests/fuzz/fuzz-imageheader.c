/* fuzz-imageheader.c - any bytes as a picture file's header. */
#include "config.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "daemon/media/image-header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct media_source source;
	struct image_header header;
	struct media_fault fault = { 0 };

	media_source_init_memory(&source, data, size);
	if (image_header_read(&source, &header, &fault) < 0) {
		if (!fault.code || !fault.text[0])
			abort();
		return 0;
	}
	if (!header.width || !header.height || header.orientation < 1 || header.orientation > 8)
		abort();
	return 0;
}
